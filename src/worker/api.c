/* SPDX-License-Identifier: ISC */
/*
 * api.c: what callbacks may call (stash/worker.h), but for timers and posts.
 */
#include <bsd/string.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <stash/worker.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/name.h"
#include "worker/worker.h"

int
stash__worker_in_callback(const struct stash_worker *w, const char *function)
{
	if (w == NULL)
		return stash__fail(STASH_E_INVAL, "%s() without a worker", function);
	if (!w->in_callback || !pthread_equal(pthread_self(), w->thread))
		return stash__fail(STASH_E_INVAL, "%s() may only be called in a callback, on its thread", function);
	return STASH_OK;
}

static int
answer(struct stash_worker *w, const char *function, int32_t code, int32_t app_code, const void *data, size_t len)
{
	int result = stash__worker_in_callback(w, function);

	if (result < 0)
		return result;
	if (w->from == NULL || w->replied)
		return stash__fail(STASH_E_INVAL, "%s(): %s", function,
		    w->from == NULL ? "there is no call in hand" : "the call in hand is answered already");
	if (len > STASH_DATA_MAX)
		return stash__fail(STASH_E_TOOBIG, "a reply of %zu bytes is over the limit of %d", len, STASH_DATA_MAX);
	if (data == NULL && len > 0)
		return stash__fail(STASH_E_INVAL, "a reply of %zu bytes at NULL", len);
	result = stash__mailbox_reply(w, w->from, w->message.head.number, code, app_code, data, len);
	if (result == STASH_OK)
		w->replied = true;
	return result;
}

int
stash_reply(struct stash_worker *w, const void *data, size_t len)
{
	return answer(w, "stash_reply", STASH_OK, 0, data, len);
}

/* printf's text in `small' if it fits, else in memory of its own (*large); its length, or an error. */
static int
format(char *small, size_t size, char **large, const char *fmt, va_list ap)
{
	va_list again;
	int n;

	*large = NULL;
	va_copy(again, ap);
	n = vsnprintf(small, size, fmt, ap);
	if (n >= (int)size && vasprintf(large, fmt, again) < 0) {
		*large = NULL;
		n = stash__fail(STASH_E_NOMEM, "no memory for a reply");
	} else if (n < 0)
		n = stash__fail(STASH_E_INVAL, "a reply's format cannot be printed");
	va_end(again);
	return n;
}

int
stash_replyf(struct stash_worker *w, const char *fmt, ...)
{
	char small[512], *large;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = format(small, sizeof small, &large, fmt, ap);
	va_end(ap);
	if (n < 0)
		return n;
	n = answer(w, "stash_replyf", STASH_OK, 0, large != NULL ? large : small, (size_t)n);
	free(large);
	return n;
}

int
stash_reply_error(struct stash_worker *w, int app_code, const char *fmt, ...)
{
	char small[512], *large;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = format(small, sizeof small, &large, fmt, ap);
	va_end(ap);
	if (n < 0)
		return n;
	n = answer(w, "stash_reply_error", STASH_E_APP, app_code, large != NULL ? large : small, (size_t)n);
	free(large);
	return n;
}

int
stash_reply_to(struct stash_worker *w, const struct stash_from *from, const void *data, size_t len)
{
	struct mailbox *mb;
	int result = stash__worker_in_callback(w, "stash_reply_to");

	if (result < 0)
		return result;
	if (from == NULL || (data == NULL && len > 0))
		return stash__fail(STASH_E_INVAL, "stash_reply_to(): nobody to answer, or %zu bytes at NULL", len);
	if (len > STASH_DATA_MAX)
		return stash__fail(STASH_E_TOOBIG, "a reply of %zu bytes is over the limit of %d", len, STASH_DATA_MAX);
	mb = stash__mailbox_find(w, (const uint8_t *)from->word);
	if (mb == NULL || mb->gone || mb->broken || from->word[2] > mb->req_count)
		return stash__fail(STASH_E_NOENT, "that caller is gone");
	result = stash__mailbox_reply(w, mb, from->word[2], STASH_OK, 0, data, len);
	if (result == STASH_E_BUSY)
		return stash__fail(result,
		    "that caller's channel has no room: answers in it are unread, or the call in hand is to have one");
	if (result == STASH_OK && mb == w->from && from->word[2] == w->message.head.number)
		w->replied = true;
	return result;
}

bool
stash_from_waits(struct stash_worker *w, const struct stash_from *from)
{
	const struct mailbox *mb;

	if (w == NULL || from == NULL)
		return false;
	mb = stash__mailbox_find(w, (const uint8_t *)from->word);
	return mb != NULL && !mb->gone && !mb->broken && (int64_t)from->word[3] > stash__now_ns();
}

int
stash_fail(struct stash_worker *w, const char *fmt, ...)
{
	va_list ap;
	int result = stash__worker_in_callback(w, "stash_fail");

	if (result < 0)
		return result;
	va_start(ap, fmt);
	result = stash__vfail(STASH_E_APP, fmt, ap);
	va_end(ap);
	w->failed_in_words = true;
	return result;
}

int
stash_continue(struct stash_worker *w, const char *tag)
{
	int result = stash__worker_in_callback(w, "stash_continue");

	if (result == STASH_OK)
		result = stash__check_tag(tag);
	if (result == STASH_OK && w->behaviour->handle_continue == NULL)
		result = stash__fail(
		    STASH_E_INVAL, "stash_continue(): the behaviour %s has no handle_continue", w->behaviour->name);
	if (result < 0)
		return result;
	strlcpy(w->continue_tag, tag, sizeof w->continue_tag);
	return STASH_CONTINUE;
}

const char *
stash_self(const struct stash_worker *w)
{
	return w->start.name;
}

const struct stash_init *
stash_init_info(const struct stash_worker *w)
{
	return &w->init;
}

void *
stash_local(struct stash_worker *w)
{
	return w->local;
}

void
stash_log(struct stash_worker *w, int priority, const char *fmt, ...)
{
	char line[STASH__LOG_LINE_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	stash__control_log(w, priority, line);
}

/* ---- libevent ---- */

/* Both only end the wait: the loop looks at everything itself. */
static void
wake(int fd, short what, void *arg)
{
	struct stash_worker *w = arg;

	(void)fd;
	(void)what;
	(void)event_base_loopbreak(w->events);
}

/* The deadline: that there was something ends the wait, and what came at the same time is handled first. */
static void
pass(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

struct event_base *
stash_worker_events(struct stash_worker *w)
{
	struct event *bell, *control, *lines;

	if (w == NULL || w->events != NULL)
		return w != NULL ? w->events : NULL;
	w->events = event_base_new();
	if (w->events == NULL) {
		(void)stash__fail(STASH_E_NOMEM, "cannot make an event loop");
		return NULL;
	}
	bell = event_new(w->events, w->bell, EV_READ | EV_PERSIST, wake, w);
	control = event_new(w->events, w->control, EV_READ | EV_PERSIST, wake, w);
	lines = stash__mailbox_lines(w) < 0 ? NULL : event_new(w->events, w->lines, EV_READ | EV_PERSIST, wake, w);
	w->alarm = evtimer_new(w->events, pass, NULL);
	if (bell == NULL || control == NULL || lines == NULL || w->alarm == NULL || event_add(bell, NULL) < 0 ||
	    event_add(control, NULL) < 0 || event_add(lines, NULL) < 0 || stash__task_watch(w) < 0) {
		struct event *const made[] = { bell, control, lines, w->alarm };
		for (size_t i = 0; i < sizeof made / sizeof made[0]; i++)
			if (made[i] != NULL)
				event_free(made[i]);
		event_base_free(w->events);
		w->events = NULL;
		w->alarm = NULL;
		(void)stash__fail(STASH_E_NOMEM, "cannot watch the bell in an event loop");
	}
	return w->events;
}
