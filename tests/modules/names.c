/* SPDX-License-Identifier: ISC */
/*
 * A worker for tests of the registry: each tag of a call is one function of it, answered by its result in words; what
 * monitors tell is counted in the state.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <stash/stash.h>

struct names {
	int64_t downs, casts, ref;
	int64_t reasons[5];
	int64_t unordered; /* a DOWN with an unknown ref, or of another kind */
	char last[STASH_NAME_MAX + 1];
};

static const struct stash_field fields[] = { STASH_FIELD(struct names, downs), STASH_FIELD(struct names, casts),
	STASH_FIELD_ARRAY(struct names, reasons), STASH_FIELD_END };

static int
answer(struct stash_worker *w, int result)
{
	return stash_replyf(w, "%s", stash_errname(result));
}

/* "NAME=VALUE"; "NAME#COUNT": that many bytes. */
static int
put(struct stash_worker *w, const char *text)
{
	char name[STASH_NAME_MAX + 1];
	size_t n = strcspn(text, "=#"), len;
	char *data;
	int result;

	snprintf(name, sizeof name, "%.*s", (int)n, text);
	if (text[n] == '=')
		return stash_registry_put(w, name, text + n + 1, strlen(text + n + 1));
	len = (size_t)strtoul(text + n + 1, NULL, 10);
	data = malloc(len + 1);
	for (size_t i = 0; i < len; i++)
		data[i] = (char)('a' + i % 23);
	result = stash_registry_put(w, name, data, len);
	free(data);
	return result;
}

static int
monitor(struct stash_worker *w, struct names *s, const char *name)
{
	int64_t ref = 0;
	int result = stash_monitor(w, name, &ref);

	if (result < 0)
		return answer(w, result);
	s->ref = ref;
	return stash_replyf(w, "%" PRId64, ref);
}

static int
init(struct stash_worker *w, void *state, const struct stash_init *start)
{
	struct names *s = state;
	int result = STASH_OK;

	for (int i = 1; i < start->argc && result == STASH_OK; i++) {
		const char *arg = start->argv[i];
		if (strncmp(arg, "register:", 9) == 0)
			result = stash_register(w, arg + 9);
		else if (strncmp(arg, "join:", 5) == 0)
			result = stash_group_join(w, arg + 5);
		else if (strncmp(arg, "monitor:", 8) == 0)
			result = stash_monitor(w, arg + 8, &s->ref);
	}
	return result < 0 ? stash_fail(w, "%s", stash_errmsg()) : STASH_OK;
}

static int
handle_call(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	struct names *s = state;
	const char *text = stash_msg_text(msg);

	if (stash_msg_is(msg, "self"))
		return stash_replyf(w, "%s", stash_self(w));
	if (stash_msg_is(msg, "register"))
		return answer(w, stash_register(w, text));
	if (stash_msg_is(msg, "unregister"))
		return answer(w, stash_unregister(w, text));
	if (stash_msg_is(msg, "put"))
		return answer(w, put(w, text));
	if (stash_msg_is(msg, "join"))
		return answer(w, stash_group_join(w, text));
	if (stash_msg_is(msg, "leave"))
		return answer(w, stash_group_leave(w, text));
	if (stash_msg_is(msg, "monitor"))
		return monitor(w, s, text);
	if (stash_msg_is(msg, "demonitor"))
		return answer(w, stash_demonitor(w, strtoll(text, NULL, 10)));
	if (stash_msg_is(msg, "downs"))
		return stash_replyf(w, "%" PRId64, s->downs);
	if (stash_msg_is(msg, "reasons"))
		return stash_replyf(w,
		    "%" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " last %s wrong %" PRId64, s->reasons[0],
		    s->reasons[1], s->reasons[2], s->reasons[3], s->reasons[4], s->last, s->unordered);
	if (stash_msg_is(msg, "casts"))
		return stash_replyf(w, "%" PRId64, s->casts);
	if (stash_msg_is(msg, "call"))
		return answer(w, stash_call(stash_worker_client(w), text, "self", NULL, 0, NULL, 1000));
	if (stash_msg_is(msg, "abort"))
		abort();
	if (stash_msg_is(msg, "stop"))
		return STASH_STOP;
	if (stash_msg_is(msg, "stop_shutdown"))
		return STASH_STOP_SHUTDOWN;
	/* It is asked, and then its callback is run again. */
	if (stash_msg_is(msg, "register_and_die")) {
		int result = stash_register(w, text);
		if (msg->attempt == 1)
			raise(SIGKILL);
		return answer(w, result);
	}
	return STASH_E_UNKNOWN;
}

static int
handle_cast(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	(void)w;
	(void)msg;
	((struct names *)state)->casts++;
	return STASH_OK;
}

static int
handle_info(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	struct names *s = state;

	(void)w;
	if (msg->kind != STASH_MSG_DOWN || !stash_msg_is(msg, "DOWN") || msg->code < 0 || msg->code > 4) {
		s->unordered++;
		return STASH_OK;
	}
	s->downs++;
	s->reasons[msg->code]++;
	s->unordered += msg->ref <= 0;
	snprintf(s->last, sizeof s->last, "%s", stash_msg_text(msg));
	return STASH_OK;
}

static const struct stash_behaviour names = STASH_BEHAVIOUR(.name = "names", .state_size = sizeof(struct names),
    .layout_version = 1, .fields = fields, .init = init, .handle_call = handle_call, .handle_cast = handle_cast,
    .handle_info = handle_info);

STASH_MODULE(&names);
