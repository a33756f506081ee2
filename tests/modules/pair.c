/* SPDX-License-Identifier: ISC */
/*
 * A worker for tests that talks to others: casts and requests inside transitions, posts and continues, each counted
 * where it is made and where it is handled, so that a test can tell what was lost or came twice.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include <stash/stash.h>

#define WAITING 64
#define PART (100 * 1024)

static unsigned char large[STASH_DATA_MAX];
static int events; /* handled by libevent, of this incarnation */

struct pair {
	int64_t told;	 /* casts made */
	int64_t heard;	 /* casts handled */
	int64_t taken;	 /* numbers given away */
	int64_t asked;	 /* requests made */
	int64_t got;	 /* of these, answered with a number */
	int64_t sum;	 /* of those numbers */
	int64_t refused; /* answered with an error */
	int64_t last_code;
	int64_t posted, post_handled;
	int64_t continues, continued;
	int64_t spinning; /* posts itself again as long as it is not 0 */
	struct stash_from held[WAITING];
	int64_t nheld;
	struct stash_from waiting[WAITING]; /* by request, ref modulo WAITING */
};

static const struct stash_field fields[] = { STASH_FIELD(struct pair, told), STASH_FIELD(struct pair, heard),
	STASH_FIELD(struct pair, taken), STASH_FIELD(struct pair, asked), STASH_FIELD(struct pair, got),
	STASH_FIELD_END };

static void
on_event(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	events++;
}

static int
watch(struct stash_worker *w)
{
	static const struct timeval often = { .tv_usec = 1000 };
	struct event_base *base = stash_worker_events(w);
	struct event *e = base != NULL ? event_new(base, -1, EV_PERSIST, on_event, NULL) : NULL;

	return e != NULL && event_add(e, &often) == 0 ? STASH_OK : stash_fail(w, "no events");
}

static int
init(struct stash_worker *w, void *state, const struct stash_init *in)
{
	(void)state;
	if (in->argc > 1 && strcmp(in->argv[1], "continue") == 0)
		return stash_continue(w, "begin");
	if (in->argc > 1 && strcmp(in->argv[1], "events") == 0)
		return watch(w);
	return STASH_OK;
}

static int
handle_continue(struct stash_worker *w, void *state, const char *tag)
{
	struct pair *p = state;

	p->continued++;
	if (strcmp(tag, "again") == 0 && p->continued % 3 != 0)
		return stash_continue(w, "again");
	return STASH_OK;
}

/* "tell NAME": a cast in the transition. */
static int
tell(struct stash_worker *w, struct pair *p, const char *name)
{
	int result = stash_cast(stash_worker_client(w), name, "hear", "1", 1);

	if (result < 0)
		return stash_reply_error(w, -result, "%s", stash_errmsg());
	p->told++;
	return stash_replyf(w, "%" PRId64, p->told);
}

/* "ask NAME": answered when the other one has answered. */
static int
ask(struct stash_worker *w, struct pair *p, const struct stash_msg *msg, const char *tag, size_t len, int timeout_ms)
{
	int64_t ref;
	int result = stash_request(w, stash_msg_text(msg), tag, large, len, timeout_ms, &ref);

	if (result < 0)
		return stash_reply_error(w, -result, "%s", stash_errmsg());
	p->asked++;
	p->waiting[ref % WAITING] = msg->from;
	return STASH_NOREPLY;
}

/* ---- from a handler of events ---- */

static struct {
	struct event *event;
	char tag[STASH_TAG_MAX + 1], name[STASH_NAME_MAX + 1];
} sending;

/* What it sends is safe when that has returned 0, whether the next message kills the worker or the handler does. */
static void
on_send(evutil_socket_t fd, short what, void *arg)
{
	struct stash_worker *w = arg;
	int result;

	(void)fd;
	(void)what;
	if (strncmp(sending.tag, "event_ask", 9) == 0)
		result = stash_request(w, sending.name, "take", NULL, 0, -1, NULL);
	else
		result = stash_cast(stash_worker_client(w), sending.name, "hear", "1", 1);
	if (result < 0)
		stash_log(w, 3, "%s to %s from an event: %s", sending.tag, sending.name, stash_errmsg());
	if (strstr(sending.tag, "_then_message") != NULL)
		(void)stash_post(w, "poison", NULL, 0);
	else
		raise(SIGKILL);
}

/* "events": how many there were.  Else: has the handler called when there is no message. */
static int
use_events(struct stash_worker *w, const struct stash_msg *msg)
{
	struct event_base *base = stash_worker_events(w);

	if (stash_msg_is(msg, "events"))
		return stash_replyf(w, "%d", events);
	(void)snprintf(sending.tag, sizeof sending.tag, "%s", msg->tag);
	(void)snprintf(sending.name, sizeof sending.name, "%s", stash_msg_text(msg));
	sending.event = base != NULL ? event_new(base, -1, 0, on_send, w) : NULL;
	if (sending.event == NULL)
		return stash_fail(w, "no events");
	event_active(sending.event, EV_TIMEOUT, 1);
	return STASH_OK;
}

/* As much as fits into no ring with a few more of these. */
static int
tell_much(struct stash_worker *w, struct pair *p)
{
	for (int i = 0; i < 10; i++) {
		if (stash_cast(stash_worker_client(w), "b", "hear", large, PART) < 0)
			return stash_fail(w, "%s", stash_errmsg());
		p->told++;
	}
	return STASH_OK;
}

/* As many posts as can be open, and a continue behind them. */
static int
flood(struct stash_worker *w, struct pair *p)
{
	int n = 0, result;

	while ((result = stash_post(w, "posted", NULL, 0)) == STASH_OK && n < 100000)
		n++;
	p->posted += n;
	p->continues++;
	(void)stash_replyf(w, "%d %d", n, result);
	return stash_continue(w, "after");
}

static int
hold(struct pair *p, const struct stash_msg *msg)
{
	p->held[p->nheld++ % WAITING] = msg->from;
	return STASH_NOREPLY;
}

static int
release(struct stash_worker *w, struct pair *p)
{
	while (p->nheld > 0)
		(void)stash_reply_to(w, &p->held[--p->nheld % WAITING], "1", 1);
	return STASH_OK;
}

static int
spin(struct stash_worker *w, struct pair *p)
{
	p->spinning = !p->spinning;
	return p->spinning ? stash_post(w, "spin", NULL, 0) : STASH_OK;
}

static int
block(struct stash_worker *w, const char *name)
{
	struct stash_reply reply;
	int result = stash_call(stash_worker_client(w), name, "count", NULL, 0, &reply, 1000);

	if (result < 0)
		(void)stash_reply_error(w, -result, "%s", stash_errmsg());
	else
		(void)stash_reply(w, reply.data, reply.len);
	stash_reply_free(&reply);
	return STASH_OK;
}

static int
post(struct stash_worker *w, struct pair *p, const char *tag, const char *text)
{
	p->posted++;
	return stash_post(w, tag, text, strlen(text)) < 0 ? stash_fail(w, "%s", stash_errmsg()) : STASH_OK;
}

static int
handle_call(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	struct pair *p = state;
	const char *text = stash_msg_text(msg);

	if (stash_msg_is(msg, "tell"))
		return tell(w, p, text);
	if (stash_msg_is(msg, "tell_and_die")) {
		(void)tell(w, p, text);
		abort();
	}
	if (stash_msg_is(msg, "ask"))
		return ask(w, p, msg, "take", 0, -1);
	if (stash_msg_is(msg, "ask_shortly"))
		return ask(w, p, msg, "take", 0, 50);
	if (stash_msg_is(msg, "ask_large"))
		return ask(w, p, msg, "large", sizeof large, -1);
	if (stash_msg_is(msg, "ask_hold"))
		return ask(w, p, msg, "hold", 0, -1);
	if (stash_msg_is(msg, "large"))
		return msg->len == sizeof large ? stash_reply(w, msg->data, msg->len) : STASH_E_INVAL;
	if (stash_msg_is(msg, "hold"))
		return hold(p, msg);
	if (stash_msg_is(msg, "release"))
		return release(w, p);
	if (stash_msg_is(msg, "held"))
		return stash_replyf(w, "%" PRId64, p->nheld);
	if (stash_msg_is(msg, "flood"))
		return flood(w, p);
	if (stash_msg_is(msg, "spin"))
		return spin(w, p);
	if (strncmp(msg->tag, "event", 5) == 0)
		return use_events(w, msg);
	if (stash_msg_is(msg, "take"))
		return stash_replyf(w, "%" PRId64, ++p->taken);
	if (stash_msg_is(msg, "block"))
		return block(w, text);
	if (stash_msg_is(msg, "post"))
		return post(w, p, "posted", text);
	if (stash_msg_is(msg, "post_poison"))
		return post(w, p, "poison", text);
	if (stash_msg_is(msg, "continue")) {
		p->continues++;
		(void)stash_reply(w, NULL, 0);
		return stash_continue(w, "after");
	}
	if (stash_msg_is(msg, "continue_again"))
		return stash_continue(w, "again");
	if (stash_msg_is(msg, "stop"))
		return STASH_STOP;
	if (stash_msg_is(msg, "never"))
		return STASH_NOREPLY;
	if (stash_msg_is(msg, "count"))
		return stash_replyf(w,
		    "told %" PRId64 " heard %" PRId64 " taken %" PRId64 " asked %" PRId64 " got %" PRId64
		    " sum %" PRId64 " refused %" PRId64 " code %" PRId64 " posted %" PRId64 " %" PRId64
		    " continued %" PRId64 " %" PRId64,
		    p->told, p->heard, p->taken, p->asked, p->got, p->sum, p->refused, p->last_code, p->posted,
		    p->post_handled, p->continues, p->continued);
	return STASH_E_UNKNOWN;
}

static int
handle_cast(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	struct pair *p = state;

	if (stash_msg_is(msg, "tell_much"))
		return tell_much(w, p);
	if (!stash_msg_is(msg, "hear"))
		return STASH_E_UNKNOWN;
	p->heard++;
	return STASH_OK;
}

static int
answered(struct stash_worker *w, struct pair *p, const struct stash_msg *msg)
{
	struct stash_from *from = &p->waiting[msg->ref % WAITING];
	int64_t number = 0;

	p->last_code = msg->code;
	if (msg->code == STASH_OK && msg->len == sizeof large) {
		p->got++;
	} else if (msg->code == STASH_OK && stash_msg_int(msg, 1, INT64_MAX, &number) == STASH_OK) {
		p->got++;
		p->sum += number;
	} else
		p->refused++;
	(void)stash_reply_to(w, from, msg->data, msg->len);
	return STASH_OK;
}

static int
handle_info(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	struct pair *p = state;

	if (msg->kind == STASH_MSG_REPLY)
		return answered(w, p, msg);
	if (stash_msg_is(msg, "poison"))
		abort();
	if (stash_msg_is(msg, "spin"))
		return p->spinning ? stash_post(w, "spin", NULL, 0) : STASH_OK;
	p->post_handled++;
	return STASH_OK;
}

static const struct stash_behaviour pair = STASH_BEHAVIOUR(.name = "pair", .state_size = sizeof(struct pair),
    .layout_version = 1, .fields = fields, .init = init, .handle_call = handle_call, .handle_cast = handle_cast,
    .handle_info = handle_info, .handle_continue = handle_continue);

STASH_MODULE(&pair);
