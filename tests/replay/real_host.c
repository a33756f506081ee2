/* SPDX-License-Identifier: ISC */
/*
 * otp-replay --host DIR FD: a tree that is embedded in a program, with everything round it as in stashd: keeper,
 * supervisor, stash, broker, workers. Only what a supervisor's init is, and with it the specification, is asked for at
 * the other end of FD: outcomes that a config file doesn't have, and values that stashd would refuse before OTP could.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>

#include "base/buf.h"
#include "replay/real.h"
#include "shm/wire.h"
#include "stashd/supervise.h"

static int sock;
static struct sup_spec *latest; /* the machine takes a reference of its own */

static bool
same(const struct sup_spec *a, const struct sup_spec *b)
{
	struct stash_buf *x = stash_buf_create(), *y = stash_buf_create();
	const void *p, *q;
	size_t n, m;
	bool equal;

	if (sup_spec_pack_tree(a, x) < 0 || sup_spec_pack_tree(b, y) < 0 || stash_buf_data(x, &p, &n) < 0 ||
	    stash_buf_data(y, &q, &m) < 0)
		abort();
	equal = n == m && memcmp(p, q, n) == 0;
	stash_buf_destroy(x);
	stash_buf_destroy(y);
	return equal;
}

static enum sup_init
init(void *arg, const char *path, struct sup_spec **spec)
{
	static char answer[STASH__WIRE_MAX];
	struct stash_view view;
	enum sup_init outcome;
	ssize_t n;

	(void)arg;
	if (send(sock, path, strlen(path), MSG_NOSIGNAL) < 0 || (n = recv(sock, answer, sizeof(answer), 0)) <= 0) {
		fprintf(stderr, "otp-replay --host: nobody says what %s is\n", path);
		abort();
	}
	stash_view_init(&view, answer, (size_t)n);
	outcome = (enum sup_init)stash__view_range(&view, SUP_INIT_OK, SUP_INIT_IGNORE);
	sup_spec_unref(latest);
	latest = NULL;
	if (sup_spec_unpack_tree(&view, &latest) < 0) {
		fprintf(stderr, "otp-replay --host: what %s is can't be read\n", path);
		abort();
	}
	if (!same(*spec, latest))
		*spec = latest;
	return outcome;
}

int
real_host(int argc, char **argv)
{
	const struct sup_ops ops = { .init = init };
	const struct stash_supervisor_spec root = { .size = sizeof(root) };
	struct stash__supervise_config config;
	int result;

	if (argc != 4)
		return EX_USAGE;
	sock = atoi(argv[3]);
	stash__supervise_defaults(&config);
	config.ops = &ops;
	result = stash__supervise(&root, argv[2], &config);
	if (result == 0)
		return 0;
	return result == STASH_E_BUSY ? EX_TEMPFAIL : EX_SOFTWARE;
}
