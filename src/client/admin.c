/* SPDX-License-Identifier: ISC */
/*
 * admin.c: what is asked of the supervisor: whereis, which_children, stop, bounce.
 */
#include <string.h>

#include <stash/supervisor.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/name.h"
#include "client/client.h"
#include "shm/record.h"
#include "shm/wire.h"

int
stash__answer_garbled(void)
{
	return stash__fail(STASH_E_PROTO, "the supervisor's answer can't be understood");
}

int
stash__answer_error(struct stash_view *v, bool term)
{
	int error = (int)stash_view_int(v);
	const char *text = stash_view_text(v), *words = term ? stash_view_text(v) : "";

	return error < 0 ? stash__fail_term(error, words, "%s", text) : error;
}

/* Asks with one text, and perhaps nothing else. */
static int
ask(struct stash_client *c, int type, const char *text, int timeout_ms,
    int (*fn)(void *, int, struct stash_view *, int *, int), void *arg)
{
	struct stash_buf items;
	int result;

	stash__buf_init(&items, STASH__WIRE_MAX);
	if (text != NULL)
		(void)stash_buf_add_text(&items, text);
	result = stash__client_request(c, type, &items, timeout_ms, fn, arg);
	stash__buf_fini(&items);
	return result;
}

int
stash__answer_done(void *arg, int type, struct stash_view *v, int *fds, int nfds)
{
	int result = stash__answer_error(v, type == STASH__B_DONE);

	(void)arg;
	(void)fds;
	(void)nfds;
	if (result < 0 || type != STASH__B_DONE)
		return result < 0 ? result : stash__answer_garbled();
	return STASH_OK;
}

static int
on_process(void *arg, int type, struct stash_view *v, int *fds, int nfds)
{
	int result = stash__answer_error(v, type == STASH__B_DONE);

	(void)fds;
	(void)nfds;
	if (result < 0 || type != STASH__B_PROCESS)
		return result < 0 ? result : stash__answer_garbled();
	return stash__view_process(v, arg) < 0 ? stash__answer_garbled() : STASH_OK;
}

int
stash_whereis(struct stash_client *c, const char *name, struct stash_process *process)
{
	struct stash_process mine;
	int result = stash__client_check(c, "stash_whereis");

	if (process != NULL)
		memset(process, 0, sizeof *process);
	if (result == STASH_OK)
		result = name == NULL ? stash__fail(STASH_E_INVAL, "stash_whereis() without a name") :
					stash__check_name(name);
	if (result == STASH_OK)
		result = ask(c, STASH__B_WHEREIS, name, (int)(c->wait_ns / STASH__NS_PER_MS), on_process,
		    process != NULL ? process : &mine);
	return result;
}

struct each {
	stash_process_fn *fn;
	void *arg;
	int result; /* the function's, when it wanted no more */
};

static int
on_processes(void *arg, int type, struct stash_view *v, int *fds, int nfds)
{
	struct each *each = arg;
	int result = stash__answer_error(v, type == STASH__B_DONE);
	int64_t more, count;

	(void)fds;
	(void)nfds;
	if (result < 0 || type != STASH__B_PROCESSES)
		return result < 0 ? result : stash__answer_garbled();
	more = stash_view_int(v);
	count = stash_view_int(v);
	for (; count > 0; count--) {
		struct stash_process process;
		if (stash__view_process(v, &process) < 0)
			return stash__answer_garbled();
		if (each->result == 0)
			each->result = each->fn(each->arg, &process);
	}
	return more != 0;
}

int
stash_which_children(struct stash_client *c, const char *supervisor, stash_process_fn *fn, void *arg, int timeout_ms)
{
	struct each each = { fn, arg, 0 };
	int result = stash__client_check(c, "stash_which_children");

	if (result == STASH_OK && (supervisor == NULL || fn == NULL))
		result = stash__fail(STASH_E_INVAL, "stash_which_children() without a supervisor or a function");
	if (result == STASH_OK)
		result = stash__check_path(supervisor);
	if (result == STASH_OK)
		result = ask(c, STASH__B_WHICH, supervisor, timeout_ms, on_processes, &each);
	return result < 0 ? result : each.result;
}

/* Nobody listens any more; or somebody else does, who may know nothing of it. */
static bool
is_over(struct stash_client *c, void *arg)
{
	const int32_t *told = arg;

	return c->link == LINK_DOWN ? c->nobody : c->link == LINK_UP && c->supervisor != *told;
}

int
stash_stop(struct stash_client *c, int timeout_ms)
{
	int64_t deadline = stash__deadline_ns(timeout_ms);
	int result = stash__client_check(c, "stash_stop");
	int32_t told;

	if (result == STASH_OK)
		result = ask(c, STASH__B_STOP, NULL, timeout_ms, stash__answer_done, NULL);
	while (result == STASH_OK) {
		told = c->supervisor;
		if (stash__wait(c, deadline, is_over, &told) < 0)
			return stash__fail(
			    STASH_E_TIMEDOUT, "stashd on %s is still stopping after %d ms", c->dir, timeout_ms);
		if (c->link == LINK_DOWN)
			return STASH_OK;
		result = ask(c, STASH__B_STOP, NULL, stash__left_ms(deadline), stash__answer_done, NULL);
		if (result < 0 && c->link == LINK_DOWN && c->nobody)
			return STASH_OK;
	}
	return result;
}

int
stash_bounce(struct stash_client *c, const char *name, int timeout_ms)
{
	int result = stash__client_check(c, "stash_bounce");

	if (result == STASH_OK)
		result = name == NULL ? stash__fail(STASH_E_INVAL, "stash_bounce() without a name") :
					stash__check_name(name);
	return result == STASH_OK ? ask(c, STASH__B_BOUNCE, name, timeout_ms, stash__answer_done, NULL) : result;
}
