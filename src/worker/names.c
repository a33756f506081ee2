/* SPDX-License-Identifier: ISC */
/*
 * names.c: what a callback asks the supervisor about names, groups and monitors, and what monitors tell.
 * A question takes effect at once; it is asked again until it is answered, since a supervisor may die with it.  Nothing
 * here touches the slot: a callback that waits is still in its message.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <stash/worker.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/name.h"
#include "base/sock.h"
#include "shm/names.h"
#include "shm/wire.h"
#include "worker/worker.h"

#define ASK_AGAIN_MS 250
#define BUSY_MS 5

/* The end of somebody's incarnation, until it is a record. */
struct down {
	STAILQ_ENTRY(down) link;
	int64_t ref;
	uint64_t number; /* of all ends that this worker is told of */
	uint32_t reason;
	char name[STASH_NAME_MAX + 1];
};

/* ---- asking ---- */

struct question {
	enum stash__name_ask what;
	const char *name;
	int64_t ref;
	const void *data;
	size_t len;
};

static int
send_question(struct stash_worker *w, const struct question *q)
{
	struct pollfd p = { .fd = w->control, .events = POLLOUT };
	struct stash_buf out;
	const void *data;
	size_t len;
	int result;

	stash__buf_init(&out, STASH__WIRE_MAX);
	(void)stash_buf_add_int(&out, STASH__W_NAMES);
	(void)stash_buf_add_int(&out, (int64_t)w->names.number);
	(void)stash_buf_add_int(&out, q->what);
	(void)stash_buf_add_text(&out, q->name);
	(void)stash_buf_add_int(&out, q->ref);
	(void)stash_buf_add_bytes(&out, q->data, q->len);
	result = stash_buf_data(&out, &data, &len);
	while (result == STASH_OK) {
		result = stash__sock_send(w->control, data, len, NULL, 0);
		if (result != STASH_E_BUSY)
			break;
		(void)poll(&p, 1, ASK_AGAIN_MS);
		result = STASH_OK;
	}
	stash__buf_fini(&out);
	return result == STASH_E_DOWN ? STASH_OK : result; /* who waits finds that nobody is there */
}

/* Reads what comes, until the answer is there or it is time to ask again. */
static int
await(struct stash_worker *w, int ms)
{
	int64_t deadline = stash__deadline_ns(ms), left;
	struct pollfd p = { .fd = w->control, .events = POLLIN };
	int result = STASH_OK;

	while (result == STASH_OK && !w->names.answered && (left = deadline - stash__now_ns()) > 0) {
		(void)poll(&p, 1, (int)(left / STASH__NS_PER_MS) + 1);
		result = stash__control_read(w);
		if (result == STASH_OK && w->abandoned)
			result = stash__fail(STASH_E_DOWN, "supervisor and keeper are both dead: nobody can answer");
	}
	return result;
}

static int
ask(struct stash_worker *w, const struct question *q)
{
	struct names *n = &w->names;
	int result = STASH_OK;

	n->number++;
	n->answered = false;
	while (result == STASH_OK) {
		result = send_question(w, q);
		if (result == STASH_OK)
			result = await(w, ASK_AGAIN_MS);
		if (result < 0 || (n->answered && n->error != STASH_E_BUSY))
			break;
		if (n->answered) {
			/* Its rows are not safe yet. */
			struct pollfd p = { .fd = w->control, .events = 0 };
			n->answered = false;
			(void)poll(&p, 1, BUSY_MS);
		}
	}
	w->now = stash__now_ns();
	return result < 0 ? result : n->error;
}

void
stash__names_answer(struct stash_worker *w, struct stash_view *v)
{
	uint64_t number = (uint64_t)stash_view_int(v);
	int error = (int)stash_view_int(v);
	const char *text = stash_view_text(v);
	int64_t ref = stash_view_int(v);

	if (stash_view_end(v) < 0 || number != w->names.number || w->names.answered)
		return;
	w->names.answered = true;
	w->names.ref = ref;
	w->names.error = error < 0 ? stash__fail(error, "%s", text) : STASH_OK;
}

static int
ask_name(struct stash_worker *w, const char *function, enum stash__name_ask what, const char *name, const void *data,
    size_t len)
{
	struct question q = { what, name, 0, data, len };
	int result = stash__worker_in_callback(w, function);

	if (result == STASH_OK)
		result = name == NULL ? stash__fail(STASH_E_INVAL, "%s() without a name", function) :
					stash__check_name(name);
	return result < 0 ? result : ask(w, &q);
}

int
stash_register(struct stash_worker *w, const char *alias)
{
	return ask_name(w, "stash_register", STASH__ASK_REGISTER, alias, NULL, 0);
}

int
stash_unregister(struct stash_worker *w, const char *alias)
{
	return ask_name(w, "stash_unregister", STASH__ASK_UNREGISTER, alias, NULL, 0);
}

int
stash_registry_put(struct stash_worker *w, const char *name, const void *data, size_t len)
{
	if (len > STASH_VALUE_MAX)
		return stash__fail(
		    STASH_E_TOOBIG, "a value of %zu bytes is over the limit of %d", len, STASH_VALUE_MAX);
	if (data == NULL && len > 0)
		return stash__fail(STASH_E_INVAL, "a value of %zu bytes at NULL", len);
	return ask_name(w, "stash_registry_put", STASH__ASK_PUT, name, data != NULL ? data : "", len);
}

int
stash_group_join(struct stash_worker *w, const char *group)
{
	return ask_name(w, "stash_group_join", STASH__ASK_JOIN, group, NULL, 0);
}

int
stash_group_leave(struct stash_worker *w, const char *group)
{
	return ask_name(w, "stash_group_leave", STASH__ASK_LEAVE, group, NULL, 0);
}

/* ---- monitors ---- */

int
stash_monitor(struct stash_worker *w, const char *name, int64_t *ref)
{
	int result = ask_name(w, "stash_monitor", STASH__ASK_MONITOR, name, NULL, 0);

	if (result == STASH_OK && ref != NULL)
		*ref = w->names.ref;
	return result;
}

/* What has come and isn't handled yet, is not to come any more. */
static void
forget(struct stash_worker *w, int64_t ref)
{
	struct down *d, *next;

	STAILQ_FOREACH_SAFE(d, &w->names.downs, link, next) {
		if (d->ref == ref)
			d->ref = 0; /* its number has been told all the same */
	}
	stash__records_forget_down(w, ref);
}

int
stash_demonitor(struct stash_worker *w, int64_t ref)
{
	struct question q = { STASH__ASK_DEMONITOR, "", ref, NULL, 0 };
	int result = stash__worker_in_callback(w, "stash_demonitor");

	if (result == STASH_OK)
		result = ask(w, &q);
	if (result == STASH_OK)
		forget(w, ref);
	return result;
}

/* ---- ends that are told ---- */

/*
 * Told by the supervisor -> waits here -> a record, in the next entry -> taken, the supervisor needn't tell it again.
 * A batch may be on its way into an entry whenever the socket is read: so what comes waits for the next one.
 */

static void
say_taken(struct stash_worker *w)
{
	struct stash_buf out;
	const void *data;
	size_t len;

	/* A full socket: it is told again by the next supervisor, or to the next incarnation. */
	stash__buf_init(&out, STASH__WIRE_MAX);
	(void)stash_buf_add_int(&out, STASH__W_TAKEN);
	(void)stash_buf_add_int(&out, 0);
	(void)stash_buf_add_int(&out, (int64_t)w->names.taken);
	if (stash_buf_data(&out, &data, &len) == STASH_OK)
		(void)stash__sock_send(w->control, data, len, NULL, 0);
	stash__buf_fini(&out);
}

void
stash__names_begin(struct stash_worker *w)
{
	w->names.taken = w->heard;
	if (w->names.told < w->heard)
		w->names.told = w->heard;
}

void
stash__names_down(struct stash_worker *w, struct stash_view *v)
{
	struct down *d = calloc(1, sizeof *d);

	if (d == NULL)
		return; /* it is told again */
	d->ref = stash_view_int(v);
	d->number = (uint64_t)stash_view_int(v);
	strncpy(d->name, stash_view_text(v), STASH_NAME_MAX);
	d->reason = (uint32_t)stash__view_range(v, STASH_REASON_NORMAL, STASH_REASON_NOPROC);
	if (stash_view_end(v) == STASH_OK && d->number > w->names.told) {
		w->names.told = d->number;
		STAILQ_INSERT_TAIL(&w->names.downs, d, link);
		return;
	}
	if (d->number <= w->names.taken)
		say_taken(w); /* a new supervisor doesn't know it */
	free(d);
}

bool
stash__names_wait(const struct stash_worker *w)
{
	return !STAILQ_EMPTY(&w->names.downs) && w->nrecords < STASH__RECORDS_MAX;
}

int
stash__names_record(struct stash_worker *w)
{
	struct down *d;
	int result = STASH_OK;

	while (result == STASH_OK && stash__names_wait(w)) {
		d = STAILQ_FIRST(&w->names.downs);
		if (d->number <= w->heard)
			say_taken(w); /* a predecessor has had it, and died before it could say so */
		else if (d->ref != 0)
			result = stash__record_down(w, d->ref, d->number, d->name, d->reason);
		if (result == STASH_OK) {
			STAILQ_REMOVE_HEAD(&w->names.downs, link);
			free(d);
		}
	}
	return result;
}

void
stash__names_safe(struct stash_worker *w)
{
	if (w->heard <= w->names.taken)
		return;
	w->names.taken = w->heard;
	say_taken(w);
}

void
stash__names_free_all(struct stash_worker *w)
{
	struct down *d;

	while ((d = STAILQ_FIRST(&w->names.downs)) != NULL) {
		STAILQ_REMOVE_HEAD(&w->names.downs, link);
		free(d);
	}
}
