/* SPDX-License-Identifier: ISC */
/*
 * The words for what processes are and do, the same in every command's output.
 * The words are part of the JSON schema.
 */
#include "common/out.h"

const char *
tool_status_name(uint32_t status)
{
	switch ((enum stash_status)status) {
	case STASH_STARTING:
		return "starting";
	case STASH_RUNNING:
		return "running";
	case STASH_RESTARTING:
		return "restarting";
	case STASH_STOPPING:
		return "stopping";
	case STASH_STOPPED:
		return "stopped";
	case STASH_HELD:
		return "held";
	}
	return "-";
}

const char *
tool_status_word(const struct stash_process *process)
{
	return process->failed != 0 ? "failed" : tool_status_name(process->status);
}

const char *
tool_reason_name(uint32_t reason)
{
	switch ((enum stash_reason)reason) {
	case STASH_REASON_NORMAL:
		return "normal";
	case STASH_REASON_SHUTDOWN:
		return "shutdown";
	case STASH_REASON_KILLED:
		return "killed";
	case STASH_REASON_CRASH:
		return "crash";
	case STASH_REASON_NOPROC:
		return "noproc";
	}
	return "-";
}

const char *
tool_kind_name(uint32_t kind)
{
	switch ((enum stash_msg_kind)kind) {
	case STASH_MSG_CALL:
		return "call";
	case STASH_MSG_CAST:
		return "cast";
	case STASH_MSG_SEND:
		return "send";
	case STASH_MSG_TIMER:
		return "timer";
	case STASH_MSG_POST:
		return "post";
	case STASH_MSG_REPLY:
		return "reply";
	case STASH_MSG_DOWN:
		return "down";
	case STASH_MSG_TASK:
		return "task";
	}
	return "";
}

json_t *
tool_json_process(const struct stash_process *process)
{
	json_t *o = tool_json();

	tool_json_set(o, "id", tool_json_string(process->id));
	tool_json_set(o, "name", *process->name != '\0' ? tool_json_string(process->name) : json_null());
	tool_json_set(o, "child", tool_json_string(process->child));
	tool_json_set(o, "type", json_string(process->is_supervisor != 0 ? "supervisor" : "worker"));
	tool_json_set(o, "status", json_string(tool_status_name(process->status)));
	tool_json_set(o, "failed", json_boolean(process->failed != 0));
	tool_json_set(o, "pid", process->pid > 0 ? json_integer(process->pid) : json_null());
	tool_json_set(o, "start_time", tool_json_number(process->start_time));
	tool_json_set(o, "incarnation", tool_json_number(process->incarnation));
	tool_json_set(o, "restarts", tool_json_number(process->restarts));
	tool_json_set(o, "version", tool_json_number(process->version));
	return o;
}
