/* SPDX-License-Identifier: ISC */
/*
 * What show has gathered, for people: a line for each thing, then the state.
 */
#include <inttypes.h>
#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "shm/fields.h"
#include "stash-inspect/show.h"

const char *
phase_name(uint32_t phase)
{
	switch ((enum stash__phase)phase) {
	case STASH__PHASE_NONE:
		return "nothing";
	case STASH__PHASE_INIT:
		return "init";
	case STASH__PHASE_IDLE:
		return "idle";
	case STASH__PHASE_CALLBACK:
		return "callback";
	case STASH__PHASE_BETWEEN:
		return "between";
	case STASH__PHASE_SUBMIT:
		return "submit";
	case STASH__PHASE_WAITING:
		return "waiting";
	case STASH__PHASE_TERMINATE:
		return "terminate";
	case STASH__PHASE_DONE:
		return "done";
	}
	return "-";
}

static void
title(FILE *out, const char *text)
{
	fprintf(out, "%-10s  ", text);
}

static void
escaped(FILE *out, const char *text)
{
	stash__escape_to(out, text, strlen(text));
}

static void
process(FILE *out, const struct stash_process *p)
{
	if (*p->child == '\0')
		return;
	title(out, "child");
	escaped(out, p->child);
	fprintf(out, ", %s", tool_status_word(p));
	if (p->pid > 0)
		fprintf(out, ", pid %d", (int)p->pid);
	fprintf(out, ", incarnation %" PRIu64 ", restarts %" PRIu64 "\n", p->incarnation, p->restarts);
}

static void
version(FILE *out, const struct shown *s)
{
	char text[TOOL_TIME_MAX];

	title(out, "version");
	if (!s->has_state) {
		fprintf(out, "none, nothing was ever committed\n");
		return;
	}
	fprintf(out, "%" PRIu64 ", committed %s, ", s->state.version, tool_time_local(s->state.committed_ns, text));
	if (!s->has_slot || s->look.durable)
		fprintf(out, "on the disk\n");
	else
		fprintf(out, "%s\n", s->look.no_persist ? "never on the disk: persist = false" : "not on the disk yet");
	title(out, "layout");
	escaped(out, *s->state.layout != '\0' ? s->state.layout : "-");
	fprintf(out, " %u, %s\n", (unsigned)s->state.layout_version, tool_bytes(s->state.len, text));
}

static void
doing(FILE *out, const struct stash__look *l)
{
	const struct stash__box *box = &l->box;
	char text[TOOL_TIME_MAX];

	title(out, l->alive ? "does" : "did last");
	fprintf(out, "%s", phase_name(box->phase));
	if (box->in_hand != 0) {
		fprintf(out, ": %s ", tool_kind_name(box->kind));
		escaped(out, box->tag);
		fprintf(out, ", %" PRIu64 " bytes, attempt %u", (uint64_t)box->len, (unsigned)box->attempt);
	}
	if (l->alive && box->since > 0)
		fprintf(out, ", for %s", tool_duration(stash__now_ns() - (int64_t)box->since, text));
	putc('\n', out);
}

static void
figures(FILE *out, const struct stash__look *l)
{
	const struct stash__box *box = &l->box;
	char half[TOOL_TIME_MAX], most[TOOL_TIME_MAX], last[TOOL_TIME_MAX];

	title(out, "handled");
	fprintf(out, "%" PRIu64 " messages in %" PRIu64 " batches, %u channels, slept %" PRIu64 " times\n",
	    (uint64_t)box->handled, (uint64_t)box->commits, (unsigned)l->channels, (uint64_t)box->waits);
	if (bins_quantile(box->bins, 1) > 0) {
		title(out, "callbacks");
		fprintf(out, "half below %s, 99 %% below %s, all below %s\n",
		    tool_duration((int64_t)bins_quantile(box->bins, 0.5), half),
		    tool_duration((int64_t)bins_quantile(box->bins, 0.99), most),
		    tool_duration((int64_t)bins_quantile(box->bins, 1), last));
	}
	title(out, "entries");
	fprintf(out,
	    "%" PRIu64 ", %" PRIu64 " of %" PRIu64 " bytes of the ring not folded yet, answers wait for the %s\n",
	    l->entries, l->unfolded, l->ring_bytes, l->ack_disk ? "disk" : "slot only");
	if (l->retired > 0) {
		title(out, "deaths");
		fprintf(out, "%" PRIu64 ", the last one: %s", l->retired, tool_reason_name(l->last_reason));
		if (l->crashes > 0)
			fprintf(out, "; %u crashes in a row", (unsigned)l->crashes);
		putc('\n', out);
	}
}

static void
signal_name(FILE *out, int number)
{
	const char *name = number > 0 && number < SIGRTMIN ? sigabbrev_np(number) : NULL;

	if (name != NULL)
		fprintf(out, "SIG%s", name);
	else
		fprintf(out, "signal %d", number);
}

/* What a crash has left in the black box that its supervisor hasn't come to yet.  It stays there until the name's next
 * process begins, which there may never be; once it is reported, it is the last crash.  Of a start that failed there is
 * an event, too, which doesn't say how. */
static void
fresh_crash(FILE *out, const struct shown *s)
{
	const struct stash__crash *c = &s->look.box.crash;
	bool start = s->start_failed && s->look.box.phase == STASH__PHASE_INIT;

	if (c->present == 0 || s->reported)
		return;
	title(out, "crash");
	if (c->present == 1)
		signal_name(out, c->signal);
	else
		fprintf(out, "%s", stash_errname(c->code));
	if (c->address != 0)
		fprintf(out, " at 0x%" PRIx64, c->address);
	if (*c->text != '\0') {
		fputs(": ", out);
		escaped(out, c->text);
	}
	fputs(start ? ", when it was started\n" : ", not reported yet\n", out);
}

static void
last_crash(FILE *out, const struct shown *s)
{
	char text[TOOL_TIME_MAX];

	if (s->crash.seq == 0)
		return;
	title(out, "last crash");
	fprintf(out, "%s, %s", tool_time_local(s->crash.time_ns, text), tool_reason_name(s->crash.reason));
	if (*s->crash.text != '\0') {
		fputs(": ", out);
		escaped(out, s->crash.text);
	}
	putc('\n', out);
}

/* Line by line, each of them foreign. */
static void
words(FILE *out, const struct shown *s)
{
	if (s->words_version != s->state.version)
		fprintf(out, "version %" PRIu64 ":\n", s->words_version);
	for (const char *line = s->words; *line != '\0';) {
		size_t n = strcspn(line, "\n");

		stash__escape_to(out, line, n);
		putc('\n', out);
		line += n + (line[n] != '\0');
	}
}

void
show_text(const struct look *look, const struct shown *s)
{
	FILE *out = look->t->out;
	int code = STASH_OK;

	title(out, "name");
	escaped(out, s->name);
	putc('\n', out);
	process(out, &s->process);
	version(out, s);
	if (s->has_slot) {
		doing(out, &s->look);
		figures(out, &s->look);
		fresh_crash(out, s);
	}
	last_crash(out, s);
	if (!s->has_state)
		return;
	fprintf(out, "\n");
	if (s->words != NULL) {
		words(out, s);
		return;
	}
	if (s->fields != NULL)
		code = stash__fields_print(out, s->fields, s->state.data, s->state.len);
	if (s->fields == NULL || code == STASH_E_FORMAT)
		stash__hex_print(out, s->state.data, s->state.len);
}
