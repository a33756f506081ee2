/* SPDX-License-Identifier: ISC */
/*
 * stashctl reexec: supervisor and stash of the binary that stands on the disk
 * now, while workers and clients go on. It returns when the new supervisor has
 * taken over, and tells if it is another one than was promised.
 */
#include <inttypes.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "client/client.h"
#include "stashctl/ctl.h"

#define LOOK_MS 10

/* One that has taken over answers again; until then nobody does. */
static int
await(struct stash_client *client, const struct stash__about *before, int64_t deadline, struct stash__about *now)
{
	int code;

	for (;;) {
		code = stash__about(client, now, stash__left_ms(deadline));
		if (code < 0 || now->starts > before->starts)
			return code;
		if (stash__now_ns() >= deadline)
			return stash__fail(STASH_E_TIMEDOUT, "the new supervisor has not taken over yet");
		(void)poll(NULL, 0, LOOK_MS);
	}
}

static void
show(const struct tool *t, const struct stash__about *before, const struct stash__about *now)
{
	json_t *o;

	if (!t->json) {
		fprintf(t->out, "supervisor %" PRIu64 ", process %" PRId64 ", of stashd %s has taken over from %s\n",
		    now->starts, now->supervisor, now->version, before->version);
		if (strcmp(now->version, now->keeper_version) != 0)
			fprintf(t->out,
			    "the keeper, process %" PRId64 ", stays stashd %s until stashd is started anew\n",
			    now->keeper, now->keeper_version);
		return;
	}
	o = tool_json();
	tool_json_set(o, "version", tool_json_string(now->version));
	tool_json_set(o, "was", tool_json_string(before->version));
	tool_json_set(o, "supervisor", tool_json_number(now->starts));
	tool_json_set(o, "pid", json_integer(now->supervisor));
	tool_json_set(o, "keeper_pid", json_integer(now->keeper));
	tool_json_set(o, "keeper_version", tool_json_string(now->keeper_version));
	tool_json_line(t, o);
}

static int
reexec(const struct tool *t, struct stash_client *client)
{
	struct stash__about before, next = { 0 }, now = { 0 };
	int timeout_ms = tool_timeout(t, CTL_LONG_MS);
	int64_t deadline = stash__deadline_ns(timeout_ms);
	int code = stash__about(client, &before, timeout_ms);

	if (code == 0)
		code = stash__reexec(client, &next, timeout_ms);
	if (code == 0)
		code = await(client, &before, deadline, &now);
	if (code < 0)
		return tool_error(t, code, "reexec");
	if (now.generation != next.generation)
		return tool_fail(t, tool_exit(STASH_E_START),
		    "reexec: stashd %s couldn't take over, and %s goes on: its log says why", next.version,
		    now.version);
	show(t, &before, &now);
	return 0;
}

static int
run(struct tool *t, int argc, char **argv)
{
	struct stash_client *client;
	int status = tool_connect(t, &client);

	(void)argc;
	(void)argv;
	if (status != 0)
		return status;
	status = reexec(t, client);
	stash_client_close(client);
	return status;
}

const struct tool_command ctl_reexec = {
	.name = "reexec",
	.usage = "",
	.help = "replace supervisor and stash by the binary on the disk; no call fails",
	.options = "j",
	.run = run,
};
