/* SPDX-License-Identifier: ISC */
/*
 * stash-inspect events: what happened, the oldest first.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/parse.h"
#include "base/text.h"
#include "stash-inspect/inspect.h"

#define NEWEST 50
#define FOLLOW_NS (200 * STASH__NS_PER_MS)

static const char *
type_name(uint32_t type)
{
	switch ((enum stash_event_type)type) {
	case STASH_EV_STARTED:
		return "started";
	case STASH_EV_START_FAILED:
		return "start-failed";
	case STASH_EV_IGNORED:
		return "ignored";
	case STASH_EV_EXITED:
		return "exited";
	case STASH_EV_ESCALATED:
		return "escalated";
	case STASH_EV_TAKEOVER:
		return "takeover";
	case STASH_EV_CONFIG:
		return "config";
	case STASH_EV_STORE:
		return "store";
	case STASH_EV_HELD:
		return "held";
	case STASH_EV_RELEASED:
		return "released";
	case STASH_EV_RECOVERED:
		return "recovered";
	case STASH_EV_DEAD_LETTER:
		return "dead-letter";
	case STASH_EV_MESSAGE:
		return "message";
	}
	return "-";
}

/* What is kept of an event until it is known to be among the newest. */
struct kept {
	struct stash_event event; /* without texts */
	char *texts[3];		  /* child, name, text */
};

struct listing {
	const struct look *look;
	int64_t since_ns; /* CLOCK_REALTIME */
	uint64_t last;	  /* seq of the newest seen */
	struct kept *ring;
	size_t room, count; /* room 0: everything is kept, ring grows */
	size_t all;
};

static void
forget(struct kept *k)
{
	for (size_t i = 0; i < 3; i++)
		free(k->texts[i]);
}

static char *
copy(const char *text)
{
	size_t len = strlen(text) + 1;

	return memcpy(tool_alloc(len), text, len);
}

static struct kept *
place(struct listing *l)
{
	struct kept *k;

	if (l->room > 0 && l->count == l->room) {
		k = &l->ring[l->all++ % l->room];
		forget(k);
		return k;
	}
	l->ring = tool_realloc(l->ring, (l->count + 1) * sizeof *l->ring);
	l->all++;
	return &l->ring[l->count++];
}

static int
keep(void *arg, const struct stash_event *event)
{
	struct listing *l = arg;
	struct kept *k;

	l->last = event->seq;
	if (event->time_ns < l->since_ns)
		return 0;
	k = place(l);
	k->event = *event;
	k->texts[0] = copy(event->child);
	k->texts[1] = copy(event->name);
	k->texts[2] = copy(event->text);
	return 0;
}

static void
show_json(const struct look *look, const struct kept *k)
{
	json_t *line = look_json(look);

	tool_json_set(line, "seq", tool_json_number(k->event.seq));
	tool_json_set(line, "time", tool_json_time(k->event.time_ns));
	tool_json_set(line, "type", json_string(type_name(k->event.type)));
	tool_json_set(line, "child", tool_json_string(k->texts[0]));
	tool_json_set(line, "name", *k->texts[1] != '\0' ? tool_json_string(k->texts[1]) : json_null());
	if (k->event.type == STASH_EV_EXITED)
		tool_json_set(line, "reason", json_string(tool_reason_name(k->event.reason)));
	tool_json_set(line, "text", tool_json_string(k->texts[2]));
	tool_json_line(look->t, line);
}

/* A line, not a table: it may be followed by more. */
static void
show_text(FILE *out, const struct kept *k)
{
	char text[TOOL_TIME_MAX];

	fprintf(out, "%6llu  %s  %-12s  ", (unsigned long long)k->event.seq, tool_time_local(k->event.time_ns, text),
	    type_name(k->event.type));
	stash__escape_to(out, k->texts[0], strlen(k->texts[0]));
	if (k->event.type == STASH_EV_EXITED)
		fprintf(out, "  %s", tool_reason_name(k->event.reason));
	if (*k->texts[2] != '\0') {
		fputs("  ", out);
		stash__escape_to(out, k->texts[2], strlen(k->texts[2]));
	}
	putc('\n', out);
}

/* The oldest first; then there are none left. */
static void
show_all(struct listing *l)
{
	size_t first = l->room > 0 && l->count == l->room ? l->all % l->room : 0;

	for (size_t i = 0; i < l->count; i++) {
		struct kept *k = &l->ring[(first + i) % l->count];

		if (l->look->t->json)
			show_json(l->look, k);
		else
			show_text(l->look->t->out, k);
		forget(k);
	}
	free(l->ring);
	l->ring = NULL;
	l->count = l->all = 0;
}

static int
read_options(const struct tool *t, struct listing *l)
{
	int64_t lines = NEWEST, since;

	if (tool_has(t, 'n') && stash_parse_int(t->values['n'], 0, 1000000, &lines) < 0)
		return tool_usage(t, "-n %s: not a number of events", t->values['n']);
	l->room = (size_t)lines;
	if (!tool_has(t, 's'))
		return 0;
	if (stash__parse_ns(t->values['s'], &since) < 0)
		return tool_usage(t, "-s %s: not a time: give it with its unit, as 90s, 10m, 2h, 1d", t->values['s']);
	l->since_ns = stash__time_ns() - since;
	if (!tool_has(t, 'n'))
		l->room = 0;
	return 0;
}

/* A stashd that ends, starts or is being replaced is no reason to stop following. */
static bool
passes(int code)
{
	return code == STASH_E_BUSY || code == STASH_E_TIMEDOUT || code == STASH_E_DOWN;
}

static int
list(struct listing *l)
{
	const struct timespec nap = { .tv_nsec = FOLLOW_NS };
	const struct tool *t = l->look->t;
	int code;

	for (;;) {
		code = stash_store_log(l->look->store, STASH_LOG_EVENTS, l->last, keep, l);
		show_all(l);
		if (code < 0 && !(tool_has(t, 'f') && passes(code)))
			return tool_error(t, code, "events");
		if (!tool_has(t, 'f') || fflush(t->out) != 0)
			return 0;
		l->room = 0;
		clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
	}
}

static int
run(struct tool *t, int argc, char **argv)
{
	struct listing l = { .look = NULL };
	struct look look;
	int status = read_options(t, &l);

	(void)argc;
	(void)argv;
	if (status == 0)
		status = look_open(t, &look);
	if (status != 0)
		return status;
	l.look = &look;
	status = list(&l);
	look_close(&look);
	return status;
}

const struct tool_command inspect_events = {
	.name = "events",
	.usage = "",
	.help = "what happened, oldest first",
	.max = 0,
	.options = "nsf",
	.run = run,
};
