/* SPDX-License-Identifier: ISC */
/*
 * children.c: OTP's requests to a supervisor about its children.  The supervisor decides everything; here arguments
 * are checked, and its answers made into what the API promises.
 */
#include <stdlib.h>
#include <string.h>

#include <stash/supervisor.h>

#include "base/error.h"
#include "base/name.h"
#include "base/random.h"
#include "client/client.h"
#include "shm/record.h"
#include "shm/spec.h"
#include "shm/wire.h"

/* ---- asking ---- */

static int
check(const struct stash_client *c, const char *function, const char *supervisor)
{
	int result = stash__client_check(c, function);

	if (result == STASH_OK && supervisor == NULL)
		result = stash__fail(STASH_E_INVAL, "%s() without a supervisor", function);
	return result == STASH_OK ? stash__check_path(supervisor) : result;
}

static int
check_child(const struct stash_client *c, const char *function, const char *supervisor, const char *id)
{
	int result = check(c, function, supervisor);

	if (result == STASH_OK && id == NULL)
		result = stash__fail(STASH_E_INVAL, "%s() without an id", function);
	return result == STASH_OK ? stash__check_name(id) : result;
}

typedef int answer_fn(void *arg, int type, struct stash_view *, int *fds, int nfds);

/* id NULL: about the supervisor as a whole. */
static int
ask(struct stash_client *c, int type, const char *supervisor, const char *id, int timeout_ms, answer_fn *fn, void *arg)
{
	struct stash_buf items;
	int result;

	stash__buf_init(&items, STASH__WIRE_MAX);
	(void)stash_buf_add_text(&items, supervisor);
	if (id != NULL)
		(void)stash_buf_add_text(&items, id);
	result = stash__client_request(c, type, &items, timeout_ms, fn, arg);
	stash__buf_fini(&items);
	return result;
}

/* ---- start, restart ---- */

struct started {
	struct stash_process *process;
	int result;
};

static int
on_started(void *arg, int type, struct stash_view *v, int *fds, int nfds)
{
	struct started *s = arg;
	int result = stash__answer_error(v, true);

	(void)fds;
	(void)nfds;
	if (type != STASH__B_STARTED)
		return result < 0 ? result : stash__answer_garbled();
	s->result = result;
	/* Also with an error: of the child that is there already. */
	if (stash__view_range(v, 0, 1) == 1 && stash__view_process(v, s->process) < 0)
		return stash__answer_garbled();
	return result < 0 ? result : STASH_OK;
}

static int
pack_start(struct stash_buf *items, const char *supervisor, const struct stash_child_spec *spec)
{
	uint8_t token[STASH__ID];
	int result;

	/* By it a supervisor that is asked again knows what its predecessor has done. */
	result = stash__random(token, sizeof token);
	if (result < 0)
		return result;
	(void)stash_buf_add_text(items, supervisor);
	(void)stash_buf_add_bytes(items, token, sizeof token);
	result = stash__pack_child(items, spec);
	if (result == STASH_E_TOOBIG)
		return stash__fail(
		    STASH_E_TOOBIG, "a specification in a request has at most %d bytes", STASH__WIRE_MAX);
	return result;
}

int
stash_start_child(struct stash_client *c, const char *supervisor, const struct stash_child_spec *spec,
    struct stash_process *process, int timeout_ms)
{
	struct stash_process mine;
	struct started started = { process != NULL ? process : &mine, 0 };
	struct stash_buf items;
	int result = check(c, "stash_start_child", supervisor);

	memset(started.process, 0, sizeof mine);
	if (result == STASH_OK && spec == NULL)
		result = stash__fail(STASH_E_INVAL, "stash_start_child() without a specification");
	if (result < 0)
		return result;
	stash__buf_init(&items, STASH__WIRE_MAX);
	result = pack_start(&items, supervisor, spec);
	if (result == STASH_OK)
		result = stash__client_request(c, STASH__B_START_CHILD, &items, timeout_ms, on_started, &started);
	stash__buf_fini(&items);
	return result < 0 ? result : started.result;
}

int
stash_restart_child(
    struct stash_client *c, const char *supervisor, const char *id, struct stash_process *process, int timeout_ms)
{
	struct stash_process mine;
	struct started started = { process != NULL ? process : &mine, 0 };
	int result = check_child(c, "stash_restart_child", supervisor, id);

	memset(started.process, 0, sizeof mine);
	if (result == STASH_OK)
		result = ask(c, STASH__B_RESTART_CHILD, supervisor, id, timeout_ms, on_started, &started);
	return result < 0 ? result : started.result;
}

/* ---- terminate, delete ---- */

int
stash_terminate_child(struct stash_client *c, const char *supervisor, const char *id, int timeout_ms)
{
	int result = check_child(c, "stash_terminate_child", supervisor, id);

	if (result == STASH_OK)
		result = ask(c, STASH__B_TERMINATE_CHILD, supervisor, id, timeout_ms, stash__answer_done, NULL);
	return result;
}

int
stash_delete_child(struct stash_client *c, const char *supervisor, const char *id, int timeout_ms)
{
	int result = check_child(c, "stash_delete_child", supervisor, id);

	if (result == STASH_OK)
		result = ask(c, STASH__B_DELETE_CHILD, supervisor, id, timeout_ms, stash__answer_done, NULL);
	return result;
}

/* ---- questions ---- */

static int
on_counts(void *arg, int type, struct stash_view *v, int *fds, int nfds)
{
	struct stash_child_counts *counts = arg;
	int result = stash__answer_error(v, type == STASH__B_DONE);

	(void)fds;
	(void)nfds;
	if (result < 0 || type != STASH__B_COUNTS)
		return result < 0 ? result : stash__answer_garbled();
	counts->specs = (uint64_t)stash_view_int(v);
	counts->active = (uint64_t)stash_view_int(v);
	counts->supervisors = (uint64_t)stash_view_int(v);
	counts->workers = (uint64_t)stash_view_int(v);
	return stash_view_end(v) < 0 ? stash__answer_garbled() : STASH_OK;
}

int
stash_count_children(struct stash_client *c, const char *supervisor, struct stash_child_counts *counts, int timeout_ms)
{
	struct stash_child_counts mine;
	int result = check(c, "stash_count_children", supervisor);

	if (counts == NULL)
		counts = &mine;
	memset(counts, 0, sizeof *counts);
	if (result == STASH_OK)
		result = ask(c, STASH__B_COUNT_CHILDREN, supervisor, NULL, timeout_ms, on_counts, counts);
	return result;
}

/* The parts of an answer, put together. */
static int
on_childspec(void *arg, int type, struct stash_view *v, int *fds, int nfds)
{
	struct stash_buf *whole = arg;
	int result = stash__answer_error(v, type == STASH__B_DONE);
	int64_t more, place;
	const void *part;
	size_t len;

	(void)fds;
	(void)nfds;
	if (result < 0 || type != STASH__B_CHILDSPEC)
		return result < 0 ? result : stash__answer_garbled();
	more = stash__view_range(v, 0, 1);
	place = stash_view_int(v);
	part = stash_view_bytes(v, &len);
	/* A supervisor that was asked again begins anew. */
	if (place == 0)
		stash__buf_reset(whole);
	if (stash_view_end(v) < 0 || place != (int64_t)whole->len)
		return stash__answer_garbled();
	result = stash_buf_add(whole, part, len);
	return result < 0 ? result : (int)more;
}

static int
hand_over(const struct stash_buf *whole, int (*fn)(void *arg, const struct stash_child_spec *), void *arg)
{
	struct stash__child child;
	struct stash_view view;
	const void *data;
	size_t len;
	int result = stash_buf_data(whole, &data, &len);

	if (result < 0)
		return result;
	stash_view_init(&view, data, len);
	result = stash__view_child(&view, &child);
	if (result == STASH_OK)
		result = stash_view_end(&view) < 0 ? stash__answer_garbled() : fn(arg, &child.spec);
	stash__child_free(&child);
	return result;
}

int
stash_get_childspec(struct stash_client *c, const char *supervisor, const char *id,
    int (*fn)(void *arg, const struct stash_child_spec *), void *arg, int timeout_ms)
{
	struct stash_buf whole;
	int result = check_child(c, "stash_get_childspec", supervisor, id);

	if (result == STASH_OK && fn == NULL)
		result = stash__fail(STASH_E_INVAL, "stash_get_childspec() without a function");
	if (result < 0)
		return result;
	stash__buf_init(&whole, STASH__BUF_MAX);
	result = ask(c, STASH__B_GET_CHILDSPEC, supervisor, id, timeout_ms, on_childspec, &whole);
	if (result == STASH_OK)
		result = hand_over(&whole, fn, arg);
	stash__buf_fini(&whole);
	return result;
}
