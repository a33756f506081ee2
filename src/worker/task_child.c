/* SPDX-License-Identifier: ISC */
/*
 * task_child.c: the process of a task, from the fork to its exit.  It has a copy of the worker's memory, no map of any
 * slot or channel, and no descriptor but the standard ones and its result; it must never touch anything else
 * of the worker's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <stash/buf.h>

#include "base/buf.h"
#include "base/title.h"
#include "worker/task.h"

/* No handler of the worker's may run here: they write to what isn't mapped. */
static void
reset_signals(const sigset_t *mask)
{
	struct sigaction action, dflt = { .sa_handler = SIG_DFL };

	for (int signal = 1; signal < NSIG; signal++) {
		if (sigaction(signal, NULL, &action) == 0 && action.sa_handler != SIG_DFL &&
		    action.sa_handler != SIG_IGN)
			(void)sigaction(signal, &dflt, NULL);
	}
	(void)sigprocmask(SIG_SETMASK, mask, NULL);
}

static void
close_others(int keep)
{
	unsigned from = STDERR_FILENO + 1;

	if (keep > (int)from)
		(void)close_range(from, (unsigned)keep - 1, 0);
	(void)close_range(keep >= (int)from ? (unsigned)keep + 1 : from, ~0u, 0);
}

static int
write_all(int fd, const void *data, size_t len, off_t at)
{
	const unsigned char *bytes = data;

	while (len > 0) {
		ssize_t n = pwrite(fd, bytes, len, at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		bytes += n;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Data, then what makes them count. */
static int
hand_in(int fd, int code, const struct stash_buf *buf)
{
	struct stash__task_result head = { .done = STASH__TASK_DONE };
	const void *data;
	size_t len;
	int error = stash_buf_data(buf, &data, &len);

	head.code = error < 0 ? error : code;
	head.len = error < 0 ? 0 : len;
	if (write_all(fd, data, head.len, sizeof head) < 0)
		return EXIT_FAILURE;
	return write_all(fd, &head, sizeof head, 0) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

void
stash__task_child(const struct task *t, const char *worker, pid_t parent, const sigset_t *mask)
{
	char title[STASH_NAME_MAX + STASH_TAG_MAX + 16];
	struct stash_buf result;
	int code;

	/* In this order: a worker that dies between the two is no parent any more. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(EXIT_FAILURE);
	reset_signals(mask);
	close_others(t->memfd);
	snprintf(title, sizeof title, "stash: %s task %s", worker, t->tag);
	stash__title(title);
	stash__buf_init(&result, STASH_DATA_MAX);
	code = t->run(t->given, t->given_len, &result);
	(void)fflush(stdout);
	_exit(hand_in(t->memfd, code, &result));
}
