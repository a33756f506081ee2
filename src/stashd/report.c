/* SPDX-License-Identifier: ISC */
/*
 * report.c: what is told about a death that nobody asked for: by its own fault, a block of lines with the crash, the
 * message that was in hand and the state; by somebody else's, one line.  The next incarnation never waits for it.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bsd/stdlib.h>
#include <bsd/string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "stashd/proc.h"
#include "stashd/server.h"

#define PAYLOAD_SHOWN 200
#define WALK_MAX 256	/* messages of one batch that are stepped over to find the one in hand */
#define UNDER_WAY_MAX 4 /* states being written at a time */

struct report {
	LIST_ENTRY(report) link;
	struct server *server;
	struct worker *worker;
	uint64_t incarnation;
	int pid;
	struct verdict v;
	char death[STASH__BOX_TEXT * 2 + 100];		       /* how it died */
	char message[STASH_TAG_MAX + 5 * PAYLOAD_SHOWN + 200]; /* what was in hand; "": nothing */
	uint64_t pcs[STASH__BOX_PCS];			       /* the backtrace of a signal */
	uint32_t npcs;
	struct stash__base *base; /* NULL: there was none */
	struct status *status;
};

/* ---- words ---- */

static const char *
kind_text(uint32_t kind)
{
	static const char *const texts[] = {
		[STASH_MSG_CALL] = "call",
		[STASH_MSG_CAST] = "cast",
		[STASH_MSG_SEND] = "message",
		[STASH_MSG_TIMER] = "timer",
		[STASH_MSG_POST] = "post",
		[STASH_MSG_TASK] = "task",
	};

	return kind < sizeof(texts) / sizeof(texts[0]) && texts[kind] != NULL ? texts[kind] : "message";
}

static const char *
verdict_text(enum stash__verdict verdict)
{
	switch (verdict) {
	case STASH__VERDICT_AGAIN:
		return "it is tried again";
	case STASH__VERDICT_ASIDE:
		return "it is set aside, its sender gets STASH_E_CRASHED";
	case STASH__VERDICT_CAREFUL:
		return "its batch is done again one by one";
	case STASH__VERDICT_NONE:
		break;
	}
	return "it is done";
}

static void
describe_death(const struct life *l, bool own_fault, char *text, size_t size)
{
	const struct stash__crash *c = &l->crash;
	char how[64], name[32], why[STASH__BOX_TEXT * 2];

	proc_describe(l->wait_status, how, sizeof(how));
	if (l->cause == STASH__CAUSE_STUCK) {
		stuck_describe(l, why, sizeof(why));
		snprintf(text, size, "handler_timeout: %s (%s)", why, how);
	} else if (c->present == 2) {
		stash__escape(why, sizeof(why), c->text, strlen(c->text));
		snprintf(text, size, "%s: %s",
		    c->code < 0 ? stash_errname(c->code) : "a callback's result that means nothing", why);
	} else if (c->present == 1 && c->sender != 0) {
		proc_signal_name(c->signal, name, sizeof(name));
		snprintf(text, size, "%s, sent by process %d (%s)", name, c->sender, how);
	} else if (c->present == 1) {
		proc_signal_name(c->signal, name, sizeof(name));
		snprintf(
		    text, size, "%s, code %d, address 0x%llx (%s)", name, c->code, (unsigned long long)c->address, how);
	} else {
		snprintf(text, size, "%s%s%s", how, l->bereaved ? ", with its supervisor" : "",
		    own_fault && WIFEXITED(l->wait_status) && l->wait_status >= 0 ? ", unasked" : "");
	}
}

char *
report_death(const struct life *l)
{
	char death[sizeof(((struct report *)NULL)->death)], *text;

	describe_death(l, false, death, sizeof(death));
	if (asprintf(
		&text, "incarnation %llu, process %d: %s", (unsigned long long)l->incarnation, (int)l->pid, death) < 0)
		return NULL;
	return text;
}

/* ---- the message in hand ---- */

static const struct channel *
channel_at(const struct worker *w, uint32_t place)
{
	const struct channel *c;

	LIST_FOREACH(c, &w->channels, of_worker) {
		if (c->placed && c->place == place)
			return c;
	}
	return NULL;
}

/* Bytes of a request ring, wherever it wraps. */
static bool
ring_read(int memfd, uint64_t ring_bytes, uint64_t at, void *to, size_t len)
{
	uint64_t index = at % ring_bytes;
	size_t first = len < ring_bytes - index ? len : (size_t)(ring_bytes - index);

	return stash__read_at(memfd, to, first, (off_t)(STASH__PAGE + index)) == (ssize_t)first &&
	    stash__read_at(memfd, (char *)to + first, len - first, STASH__PAGE) == (ssize_t)(len - first);
}

/* The beginning of a request's payload, out of the client's ring: foreign, and only shown.  False: it isn't there. */
static bool
read_payload(const struct channel *c, uint64_t number, unsigned char *to, size_t *len)
{
	struct stash__channel_page page;
	struct stash__frame frame;
	uint64_t at;

	if (c->memfd < 0 || stash__read_at(c->memfd, &page, sizeof(page), 0) != (ssize_t)sizeof(page) ||
	    page.ring_bytes < STASH__RING_MIN || page.ring_bytes > STASH__RING_MAX)
		return false;
	at = atomic_load(&page.req_head);
	for (int i = 0; i < WALK_MAX; i++) {
		if (!ring_read(c->memfd, page.ring_bytes, at, &frame, sizeof(frame)) || frame.len > STASH_DATA_MAX ||
		    frame.tag_len > STASH_TAG_MAX)
			return false;
		if (frame.number == number) {
			at += sizeof(frame) + STASH__PAD8(frame.tag_len + 1u);
			*len = frame.len < PAYLOAD_SHOWN ? frame.len : PAYLOAD_SHOWN;
			return ring_read(c->memfd, page.ring_bytes, at, to, *len);
		}
		at += sizeof(frame) + STASH__PAD8(frame.tag_len + 1u) + STASH__PAD8(frame.len);
	}
	return false;
}

static void
describe_message(const struct worker *w, const struct verdict *v, char *text, size_t size)
{
	unsigned char payload[PAYLOAD_SHOWN];
	char shown[4 * PAYLOAD_SHOWN + 1], tag[4 * STASH_TAG_MAX + 1];
	const struct channel *c = channel_at(w, v->place);
	size_t len = 0;
	int n;

	text[0] = '\0';
	/* What the black box says of an idle worker is its last message, which is done. */
	if (v->kind == 0 || (v->verdict == STASH__VERDICT_NONE && v->phase != STASH__PHASE_CALLBACK))
		return;
	stash__escape(tag, sizeof(tag), v->tag, strlen(v->tag));
	n = snprintf(text, size, "%s %s, %llu bytes", kind_text(v->kind), tag, (unsigned long long)v->len);
	if (v->number != 0 && c != NULL && read_payload(c, v->number, payload, &len)) {
		stash__escape(shown, sizeof(shown), payload, len);
		n += snprintf(text + n, size - (size_t)n, ": \"%s\"%s, from process %u", shown,
		    len < v->len ? "..." : "", c->pid);
	}
	if (v->verdict != STASH__VERDICT_NONE)
		snprintf(text + n, size - (size_t)n, "; attempt %u: %s", v->attempts, verdict_text(v->verdict));
}

/* ---- the report ---- */

struct report *
report_begin(struct life *l, const struct verdict *v)
{
	struct worker *w = l->worker;
	struct report *r;
	char death[sizeof(r->death)], message[sizeof(r->message)];

	if (l->node == 0 || l->lost || l->phase == LIFE_LOADING || l->answer == STASH_IGNORE ||
	    (l->cause != STASH__CAUSE_EXIT && l->cause != STASH__CAUSE_STUCK))
		return NULL;
	if (!v->own_fault && l->wait_status >= 0 && WIFEXITED(l->wait_status))
		return NULL; /* it wanted to end */
	describe_death(l, v->own_fault, death, sizeof(death));
	describe_message(w, v, message, sizeof(message));
	r = v->own_fault ? calloc(1, sizeof(*r)) : NULL;
	if (message[0] != '\0')
		records_event(l->server, STASH_EV_MESSAGE, v->own_fault ? STASH_REASON_CRASH : STASH_REASON_KILLED,
		    w->path, w->name, "%s", message);
	if (r == NULL) {
		if (message[0] != '\0')
			stash__log(LOG_WARNING, "%s: it had in hand: %s", w->name, message);
		return NULL;
	}
	r->server = l->server;
	r->worker = w;
	r->incarnation = l->incarnation;
	r->pid = (int)l->pid;
	r->v = *v;
	r->npcs = l->crash.present == 1 && l->crash.npcs <= STASH__BOX_PCS ? l->crash.npcs : 0;
	memcpy(r->pcs, l->crash.pcs, sizeof(r->pcs));
	strlcpy(r->death, death, sizeof(r->death));
	strlcpy(r->message, message, sizeof(r->message));
	r->base = w->plan.no_persist ? down_former_base(w) : down_base(w);
	LIST_INSERT_HEAD(&l->server->reports, r, link);
	return r;
}

static void
report_free(struct report *r)
{
	LIST_REMOVE(r, link);
	free(r->base);
	free(r);
}

static void
log_state(const struct report *r, char *text)
{
	const char *name = r->worker->name;
	char *line;

	if (r->base == NULL || r->base->version == 0) {
		stash__log(LOG_ERR, "%s:   state: nothing was ever committed", name);
		return;
	}
	stash__log(LOG_ERR, "%s:   state, version %llu%s", name, (unsigned long long)r->base->version,
	    text[0] == '\0' ? ", can't be shown" : ":");
	while ((line = strsep(&text, "\n")) != NULL) {
		if (line[0] != '\0')
			stash__log(LOG_ERR, "%s:     %s", name, line);
	}
}

/* The file of an object; the program's own name has made way for the process's title. */
static const char *
object_name(const Dl_info *info)
{
	const char *slash = info->dli_fname != NULL ? strrchr(info->dli_fname, '/') : NULL;

	return slash != NULL ? slash + 1 : getprogname();
}

/* As addr2line(1) wants it, where the object is one of this process as well; a module is not. */
static void
log_backtrace(const struct report *r)
{
	char line[STASH__BOX_PCS * 40] = "";
	size_t n = 0;

	for (uint32_t i = 0; i < r->npcs && n < sizeof(line) - 40; i++) {
		Dl_info info;
		bool known = dladdr((const void *)(uintptr_t)r->pcs[i], &info) != 0;

		n += (size_t)(known ? snprintf(line + n, sizeof(line) - n, " %.18s+0x%llx", object_name(&info),
					  (unsigned long long)(r->pcs[i] - (uintptr_t)info.dli_fbase)) :
				      snprintf(line + n, sizeof(line) - n, " 0x%llx", (unsigned long long)r->pcs[i]));
	}
	if (n > 0)
		stash__log(LOG_ERR, "%s:   backtrace:%s", r->worker->name, line);
}

static void
log_report(struct report *r, char *state)
{
	const char *name = r->worker->name;

	stash__log(LOG_ERR,
	    "%s: crash report: incarnation %llu, process %d, %llu crashes without a message handled well in between",
	    name, (unsigned long long)r->incarnation, r->pid, (unsigned long long)r->v.crashes);
	stash__log(LOG_ERR, "%s:   ended by %s", name, r->death);
	log_backtrace(r);
	if (r->message[0] != '\0')
		stash__log(LOG_ERR, "%s:   in hand: %s", name, r->message);
	else
		stash__log(LOG_ERR, "%s:   no message was in hand", name);
	log_state(r, state);
}

static void
on_state(void *arg, const char *text)
{
	struct report *r = arg;
	char *copy = strdup(text);

	r->status = NULL;
	log_report(r, copy != NULL ? copy : (char[]){ "" });
	free(copy);
	report_free(r);
}

static unsigned
under_way(const struct server *s)
{
	const struct report *r;
	unsigned n = 0;

	LIST_FOREACH(r, &s->reports, link)
		n += r->status != NULL;
	return n;
}

void
report_write(struct report *r)
{
	struct server *s = r->server;
	const struct stash__base *b = r->base;
	struct plainly plainly = { NULL, 0 };
	uint64_t image_len;

	if (b != NULL && b->image_len > 0 && under_way(s) < UNDER_WAY_MAX) {
		plainly.fields = records_fields(s, b->layout, b->layout_version, &image_len, &plainly.len);
		r->status = status_begin(s, &r->worker->plan, b, &plainly, on_state, r);
	}
	if (r->status != NULL)
		return;
	log_report(r, (char[]){ "" });
	report_free(r);
}

bool
report_is_about(const struct worker *w)
{
	const struct report *r;

	LIST_FOREACH(r, &w->server->reports, link) {
		if (r->worker == w)
			return true;
	}
	return false;
}

void
reports_free(struct server *s)
{
	struct report *r;

	while ((r = LIST_FIRST(&s->reports)) != NULL) {
		if (r->status != NULL)
			status_cancel(r->status);
		report_free(r);
	}
}
