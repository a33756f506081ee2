/* SPDX-License-Identifier: ISC */
/*
 * stash-inspect show: one name in full: its last state by fields, what its
 * worker does, and how the last one ended. It asks nobody but for the words:
 * state and black box are read from shared memory, also while the worker hangs.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <bsd/string.h>

#include "shm/fields.h"
#include "stash-inspect/show.h"

/* Whether it tells the end of the process whose black box was looked at: incarnations alone are counted anew where no
 * slots are left. */
static bool
is_its_end(const struct shown *s, const struct stash_event *event)
{
	char begin[64];
	int len = snprintf(
	    begin, sizeof begin, "incarnation %" PRIu64 ", process %d:", s->look.incarnation, (int)s->look.pid);

	return event->type == STASH_EV_EXITED && strncmp(event->text, begin, (size_t)len) == 0;
}

static int
read_crash(void *arg, const struct stash_event *event)
{
	struct shown *s = arg;

	if (s->has_slot && strcmp(event->name, s->name) == 0) {
		s->reported = s->reported || is_its_end(s, event);
		s->start_failed = event->type == STASH_EV_START_FAILED ||
		    (s->start_failed && event->type != STASH_EV_STARTED);
	}
	if (event->type == STASH_EV_MESSAGE && s->crash.seq != 0 && strcmp(event->name, s->name) == 0) {
		strlcat(s->crash.text, "; ", sizeof s->crash.text);
		strlcat(s->crash.text, event->text, sizeof s->crash.text);
	}
	if (event->type != STASH_EV_EXITED || strcmp(event->name, s->name) != 0 ||
	    (event->reason != STASH_REASON_CRASH && event->reason != STASH_REASON_KILLED))
		return 0;
	s->crash.seq = event->seq;
	s->crash.time_ns = event->time_ns;
	s->crash.reason = event->reason;
	strlcpy(s->crash.text, event->text, sizeof s->crash.text);
	return 0;
}

/* What there is of a name; each part may be missing, but not all. */
static int
gather(const struct look *look, struct shown *s)
{
	int code = stash_store_read(look->store, s->name, &s->state), seen;

	if (code < 0 && code != STASH_E_NOENT)
		return code;
	s->has_state = code == STASH_OK;
	seen = stash__store_look(look->store, s->name, &s->look);
	if (seen < 0 && seen != STASH_E_NOENT)
		return seen;
	s->has_slot = seen == STASH_OK;
	if (s->has_state) {
		code = stash__store_fields(look->store, &s->state, &s->fields);
		if (code < 0)
			tool_error(look->t, code, "show: the fields of \"%s\" are not to be had", s->name);
	}
	/* What can't be had in words is shown without them. */
	if (s->has_state && look->online && !tool_has(look->t, 'r') && !tool_has(look->t, 'F'))
		(void)stash__store_words(look->store, s->name, &s->words_version, &s->words);
	code = stash_store_log(look->store, STASH_LOG_EVENTS, 0, read_crash, s);
	if (code < 0)
		tool_error(look->t, code, "show: the events are not to be had");
	return STASH_OK;
}

/* The lines of one field: "next = 1", "point.x = 1", "point[2].x = 1". */
static bool
is_field(const char *line, const char *field)
{
	size_t len = strlen(field);

	return strncmp(line, field, len) == 0 && (line[len] == ' ' || line[len] == '.' || line[len] == '[');
}

static int
print_field(const struct look *look, const struct shown *s, const char *field)
{
	char *text = NULL, *rest, *line;
	size_t len, found = 0;
	FILE *out = open_memstream(&text, &len);
	int code;

	if (out == NULL)
		return tool_fail(look->t, tool_exit(STASH_E_NOMEM), "show: no memory for the state");
	code = stash_store_print(look->store, &s->state, out);
	if (fclose(out) != 0 || code < 0) {
		free(text);
		return tool_error(look->t, code < 0 ? code : STASH_E_NOMEM, "show");
	}
	for (rest = text; s->fields != NULL && (line = strsep(&rest, "\n")) != NULL && *line != '\0';) {
		if (is_field(line, field))
			fprintf(look->t->out, "%s\n", line);
		found += is_field(line, field);
	}
	free(text);
	if (found > 0)
		return 0;
	return tool_fail(look->t, tool_exit(STASH_E_NOENT), "show: the state of \"%s\" has no field \"%s\"%s", s->name,
	    field, s->fields == NULL ? ": no fields are known for its layout" : "");
}

static int
show(const struct look *look, struct shown *s)
{
	const struct tool *t = look->t;

	if (!tool_has(t, 'r') && !tool_has(t, 'F')) {
		if (t->json)
			show_json(look, s);
		else
			show_text(look, s);
		return 0;
	}
	if (!s->has_state)
		return tool_fail(t, tool_exit(STASH_E_NOENT), "show: \"%s\" has no state", s->name);
	if (tool_has(t, 'F'))
		return print_field(look, s, t->values['F']);
	fwrite(s->state.data, 1, s->state.len, t->out);
	return 0;
}

/* The process is of use, not needed: a name may be known by its slot alone, and a stashd may not answer. */
static int
find(const struct look *look, const char *operand, struct shown *s)
{
	int code = find_process(look, operand, &s->process);

	if (code == STASH_OK)
		strlcpy(s->name, s->process.name, sizeof s->name);
	else if (code == STASH_E_NOENT || strchr(operand, '/') != NULL || strlen(operand) > STASH_NAME_MAX)
		return tool_error(look->t, code, "show");
	else
		strlcpy(s->name, operand, sizeof s->name);
	if (*s->name == '\0')
		return tool_fail(
		    look->t, tool_exit(STASH_E_NOENT), "show: %s has no name, so it keeps no state", operand);
	return 0;
}

static int
run(struct tool *t, int argc, char **argv)
{
	struct shown *s;
	struct look look;
	int status, code;

	(void)argc;
	if (t->json && (tool_has(t, 'r') || tool_has(t, 'F')))
		return tool_usage(t, "show: --json goes neither with --raw nor with --field");
	status = look_open(t, &look);
	if (status != 0)
		return status;
	s = tool_alloc(sizeof *s);
	memset(s, 0, sizeof *s);
	status = find(&look, argv[1], s);
	if (status == 0) {
		code = gather(&look, s);
		status = code < 0 ? tool_error(t, code, "show") : show(&look, s);
	}
	free(s->words);
	stash__fields_free(s->fields);
	stash_state_free(&s->state);
	free(s);
	look_close(&look);
	return status;
}

const struct tool_command inspect_show = {
	.name = "show",
	.usage = "NAME",
	.help = "a name's last state, what its worker does, its last crash",
	.min = 1,
	.max = 1,
	.options = "Fr",
	.run = run,
};
