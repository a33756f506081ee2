/* SPDX-License-Identifier: ISC */
/*
 * A worker for tests of handler_timeout: each of its callbacks hangs on demand, those that are done again only once:
 * argv[1] is a directory in which the file "hung" says that it was.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <stash/stash.h>

struct stuck {
	int64_t done;
	int64_t encode_hangs;
};

static const struct stash_field fields[] = { STASH_FIELD(struct stuck, done), STASH_FIELD(struct stuck, encode_hangs),
	STASH_FIELD_END };

static const char *dir;
static int terminate_hangs;

static _Noreturn void
hang(void)
{
	for (;;)
		(void)poll(NULL, 0, -1); /* what the test is about */
}

static int
first_time(void)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof path, "%s/hung", dir);
	fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static int
init(struct stash_worker *w, void *state, const struct stash_init *in)
{
	(void)w;
	(void)state;
	dir = in->argc > 1 ? in->argv[1] : ".";
	return STASH_OK;
}

static int
handle(struct stash_worker *w, struct stuck *s, const struct stash_msg *msg)
{
	sigset_t set;

	if (stash_msg_is(msg, "hang"))
		hang();
	if (stash_msg_is(msg, "hang_deaf")) {
		sigemptyset(&set);
		sigaddset(&set, SIGABRT);
		(void)sigprocmask(SIG_BLOCK, &set, NULL);
		hang();
	}
	if (stash_msg_is(msg, "slow"))
		(void)poll(NULL, 0, atoi(stash_msg_text(msg)));
	if (stash_msg_is(msg, "timer"))
		(void)stash_send_after(w, 1, "hang", NULL, 0, NULL);
	if (stash_msg_is(msg, "encode"))
		s->encode_hangs = 1;
	s->done++;
	if (stash_msg_is(msg, "continue"))
		return stash_continue(w, "go");
	if (stash_msg_is(msg, "stop")) {
		terminate_hangs = 1;
		return STASH_STOP;
	}
	return STASH_OK;
}

static int
handle_call(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	struct stuck *s = state;
	int result = handle(w, s, msg);

	if (result >= 0)
		(void)stash_replyf(w, "%" PRId64, s->done);
	return result;
}

static int
handle_cast(struct stash_worker *w, void *state, const struct stash_msg *msg)
{
	return handle(w, state, msg);
}

static int
handle_continue(struct stash_worker *w, void *state, const char *tag)
{
	struct stuck *s = state;

	(void)w;
	(void)tag;
	if (first_time())
		hang();
	s->done += 100;
	return STASH_OK;
}

static int
encode(const void *state, struct stash_buf *out)
{
	const struct stuck *s = state;

	if (s->encode_hangs != 0)
		hang();
	return stash_buf_add(out, s, sizeof *s);
}

static int
decode(const void *data, size_t len, uint32_t layout, void *state)
{
	(void)layout;
	if (len != sizeof(struct stuck))
		return STASH_E_FORMAT;
	memcpy(state, data, len);
	return STASH_OK;
}

static void
terminate(struct stash_worker *w, void *state, enum stash_reason reason)
{
	(void)w;
	(void)state;
	(void)reason;
	if (terminate_hangs)
		hang();
}

static const struct stash_behaviour stuck = STASH_BEHAVIOUR(.name = "stuck", .state_size = sizeof(struct stuck),
    .layout_version = 1, .fields = fields, .init = init, .handle_call = handle_call, .handle_cast = handle_cast,
    .handle_info = handle_cast, .handle_continue = handle_continue, .encode = encode, .decode = decode,
    .terminate = terminate);

STASH_MODULE(&stuck);
