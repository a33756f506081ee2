/* SPDX-License-Identifier: ISC */
/*
 * testlib_damage.c: see testlib_damage.h.
 */
#include "testlib_damage.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <stash/stash.h>

#include "stash-inspect/inspect.h"
#include "stashctl/ctl.h"
#include "testlib_tools.h"

struct t_stashd td_stashd;
unsigned char *td_whole;
size_t td_whole_len;

/* ---- the store ---- */

const char *
td_config(void)
{
	static char text[2048];

	snprintf(text, sizeof text,
	    "store = { history = 3; };\n"
	    "tree = { intensity = 100; period = 5; children = (\n"
	    "  { id = \"sequence\"; module = \"%s\"; args = [\"0\"]; },\n"
	    "  { id = \"agent\"; module = \"%s\"; args = [\"a\"]; } ); };\n",
	    t_build("examples/sequence.so"), t_build("examples/agent.so"));
	return text;
}

void
td_start(void)
{
	t_stashd_start(&td_stashd, td_config());
	ck_assert_int_eq(setenv("STASH_DIR", t_store(&td_stashd), 1), 0);
}

/* The numbers from..to, each once. */
void
td_take_with(struct stash_client *c, int from, int to)
{
	char text[16], value[900];

	for (int i = from; i <= to; i++) {
		struct stash_reply reply;

		snprintf(text, sizeof text, "%d", i);
		t_expect_call(c, "sequence", "next_number", NULL, text);
		snprintf(value, sizeof value, "%-*d", 30 + i * 97 % 800, i);
		ck_assert_int_eq(stash_call(c, "agent", "update", value, strlen(value), &reply, 30000), STASH_OK);
		stash_reply_free(&reply);
	}
}

void
td_take(int from, int to)
{
	struct stash_client *c = t_client(&td_stashd);

	td_take_with(c, from, to);
	stash_client_close(c);
}

static int
is_newest(void *arg, const struct stash_state *stored)
{
	return stored->version == *(uint64_t *)arg ? 1 : 2;
}

static bool
is_stored(void *arg)
{
	struct stash_store *store = arg;
	struct stash_state state;
	uint64_t version;

	ck_assert_int_eq(stash_store_read(store, "sequence", &state), STASH_OK);
	version = state.version;
	stash_state_free(&state);
	return stash_store_history(store, "sequence", is_newest, &version) == 1;
}

void
td_await_stored(void)
{
	struct stash_store *store;

	ck_assert_int_eq(stash_store_open(&store, t_store(&td_stashd), NULL), STASH_OK);
	ck_assert(t_wait_for(is_stored, store, 20000));
	stash_store_close(store);
}

const char *
td_data(void)
{
	return t_path("store/data.mdb");
}

void
td_save(const unsigned char *bytes, size_t len)
{
	int fd = open(td_data(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, bytes, len), (ssize_t)len);
	close(fd);
}

void
td_inspect(int status, const char *says, const char *const *words)
{
	struct tt_result r;

	tt_run(&r, &stash_inspect, NULL, words);
	tt_exits(&r, status);
	if (says != NULL && strstr(r.out, says) == NULL)
		tt_complains(&r, says);
	tt_free(&r);
}

void
td_ctl(int status, const char *says, const char *const *words)
{
	struct tt_result r;

	tt_run(&r, &stashctl, NULL, words);
	tt_exits(&r, status);
	if (says != NULL && strstr(r.out, says) == NULL)
		tt_complains(&r, says);
	tt_free(&r);
}

/* A store with a backup at number 20, and ten more; stopped in order. */
void
td_begin(void)
{
	memset(&td_stashd, 0, sizeof td_stashd);
	ck_assert_int_eq(mkdir(t_path("backups"), 0700), 0);
	td_start();
	td_take(0, 19);
	INSPECT(0, "verified", "backup", t_path("backups"));
	td_take(20, 29);
	t_stashd_stop(&td_stashd, 20000);
	td_whole = (unsigned char *)t_read_file(td_data(), &td_whole_len);
}

void
td_end(void)
{
	free(td_whole);
}
