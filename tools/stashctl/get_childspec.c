/* SPDX-License-Identifier: ISC */
/*
 * stashctl get-childspec: a child's specification, as the config file has it (so
 * that start-child takes it), or as JSON with the same keys.
 */
#include <string.h>

#include "stashctl/ctl.h"

/* ---- as an object, in the order of the manual ---- */

static void
set_list(json_t *o, const char *key, const char *const *list)
{
	json_t *array;

	if (list == NULL)
		return;
	array = json_array();
	for (; *list != NULL; list++)
		json_array_append_new(array, tool_json_string(*list));
	tool_json_set(o, key, array);
}

static void
set_word(json_t *o, const char *key, const char *const *words, size_t n, uint32_t value)
{
	tool_json_set(o, key, json_string(value < n ? words[value] : "?"));
}
#define WORD(o, key, words, value) set_word(o, key, words, sizeof(words) / sizeof((words)[0]), value)

static void
set_ms(json_t *o, const char *key, int32_t ms)
{
	if (ms == STASH_INFINITY)
		tool_json_set(o, key, json_string("infinity"));
	else if (ms == STASH_BRUTAL_KILL)
		tool_json_set(o, key, json_string("brutal_kill"));
	else
		tool_json_set(o, key, json_integer(ms));
}

static json_t *describe(json_t *o, const struct stash_child_spec *spec);

static void
set_supervisor(json_t *o, const struct stash_supervisor_spec *s)
{
	static const char *const strategies[] = { "one_for_one", "one_for_all", "rest_for_one", "simple_one_for_one" };
	static const char *const shutdowns[] = { "never", "any_significant", "all_significant" };
	json_t *children = json_array();

	WORD(o, "strategy", strategies, s->strategy);
	tool_json_set(o, "intensity", json_integer(s->intensity == STASH_NO_RESTARTS ? 0 : s->intensity));
	tool_json_set(o, "period", json_integer(s->period_s));
	WORD(o, "auto_shutdown", shutdowns, s->auto_shutdown);
	for (size_t i = 0; i < s->nchildren; i++)
		json_array_append_new(children, describe(json_object(), &s->children[i]));
	tool_json_set(o, "children", children);
}

static void
set_worker(json_t *o, const struct stash_child_spec *spec)
{
	static const char *const acks[] = { "default", "crash", "disk" };
	static const char *const notifies[] = { "stash", "none", "sd_notify" };
	static const char *const losses[] = { "keep", "kill" };

	if (spec->name != NULL)
		tool_json_set(o, "name", tool_json_string(spec->name));
	if (spec->module != NULL)
		tool_json_set(o, "module", tool_json_string(spec->module));
	if (spec->behaviour_name != NULL)
		tool_json_set(o, "behaviour_name", tool_json_string(spec->behaviour_name));
	set_list(o, "exec", spec->exec);
	set_list(o, "args", spec->args);
	if (spec->exec != NULL)
		WORD(o, "notify", notifies, spec->notify);
	tool_json_set(o, "persist", json_boolean(spec->no_persist == 0));
	WORD(o, "ack", acks, spec->ack);
	set_ms(o, "start_timeout", spec->start_timeout_ms);
	if (spec->handler_timeout_ms > 0)
		set_ms(o, "handler_timeout", spec->handler_timeout_ms);
	tool_json_set(o, "max_attempts", json_integer(spec->max_attempts));
	if (spec->on_supervisor_loss != STASH_LOSS_KEEP)
		WORD(o, "on_supervisor_loss", losses, spec->on_supervisor_loss);
}

static json_t *
describe(json_t *o, const struct stash_child_spec *spec)
{
	static const char *const restarts[] = { "permanent", "transient", "temporary" };
	static const char *const types[] = { "?", "worker", "supervisor" };

	tool_json_set(o, "id", tool_json_string(spec->id));
	if (spec->supervisor == NULL)
		set_worker(o, spec);
	WORD(o, "restart", restarts, spec->restart);
	set_ms(o, "shutdown", spec->shutdown_ms);
	tool_json_set(o, "significant", json_boolean(spec->significant != 0));
	WORD(o, "type", types, spec->type);
	if (spec->supervisor != NULL)
		set_supervisor(o, spec->supervisor);
	return o;
}

/* ---- the object in the config file's syntax ---- */

static void
write_text(FILE *out, const char *text)
{
	putc('"', out);
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < ' ' || c == 127)
			fprintf(out, "\\x%02x", c);
		else
			putc(c, out);
	}
	putc('"', out);
}

static void write_group(FILE *out, const json_t *group, int depth);

static void
write_array(FILE *out, const json_t *array, int depth)
{
	size_t i;
	json_t *value;
	bool groups = json_array_size(array) > 0 && json_is_object(json_array_get(array, 0));

	fputs(groups ? "(\n" : "(", out);
	json_array_foreach(array, i, value) {
		if (!groups) {
			fputs(i > 0 ? ", " : "", out);
			write_text(out, json_string_value(value));
			continue;
		}
		fprintf(out, "%s%*s", i > 0 ? ",\n" : "", depth * 2 + 2, "");
		write_group(out, value, depth + 1);
	}
	putc(')', out);
}

static void
write_value(FILE *out, const json_t *value, int depth)
{
	if (json_is_string(value))
		write_text(out, json_string_value(value));
	else if (json_is_array(value))
		write_array(out, value, depth);
	else if (json_is_boolean(value))
		fputs(json_is_true(value) ? "true" : "false", out);
	else
		fprintf(out, "%lld", (long long)json_integer_value(value));
}

static void
write_group(FILE *out, const json_t *group, int depth)
{
	const char *key;
	json_t *value;

	putc('{', out);
	json_object_foreach((json_t *)(uintptr_t)group, key, value) {
		fprintf(out, " %s = ", key);
		write_value(out, value, depth);
		putc(';', out);
	}
	fputs(" }", out);
}

/* ---- the command ---- */

static int
show(void *arg, const struct stash_child_spec *spec)
{
	const struct tool *t = arg;
	json_t *o;

	if (t->json) {
		tool_json_line(t, describe(tool_json(), spec));
		return 0;
	}
	o = describe(json_object(), spec);
	write_group(t->out, o, 0);
	putc('\n', t->out);
	json_decref(o);
	return 0;
}

static int
ask(const struct tool *t, struct stash_client *client, const struct tool_child *child)
{
	return stash_get_childspec(
	    client, child->supervisor, child->id, show, (void *)(uintptr_t)t, tool_timeout(t, STASH_TIMEOUT));
}

static int
run(struct tool *t, int argc, char **argv)
{
	return ctl_child(t, argc, argv, ask);
}

const struct tool_command ctl_get_childspec = {
	.name = "get-childspec",
	.usage = "PATH | NAME | SUPERVISOR ID",
	.help = "print a child's specification as the config file has it",
	.min = 1,
	.max = 2,
	.options = "j",
	.run = run,
};
