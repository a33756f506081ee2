/* SPDX-License-Identifier: ISC */
/*
 * bell.c: the system calls behind bell.h: an eventfd or a fifo, and poll.
 */
#include "shm/bell.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

#define RING_TRIES 3
#define BROKEN_MS 10 /* between two looks while a call fails that can't */

int
stash__bell_make(void)
{
	int bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	return bell >= 0 ? bell : stash__fail_errno("cannot make a doorbell (eventfd)");
}

bool
stash__bell_is_one(int fd)
{
	static const char eventfd_name[] = "anon_inode:[eventfd]";
	char link[32], name[sizeof eventfd_name + 1];
	ssize_t n;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, name, sizeof name);
	return n == sizeof eventfd_name - 1 && memcmp(name, eventfd_name, sizeof eventfd_name - 1) == 0;
}

int
stash__bell_open(int dirfd, const char *file)
{
	struct stat st;
	int bell;

	if (mkfifoat(dirfd, file, 0600) < 0 && errno != EEXIST)
		return stash__fail_errno("cannot make the doorbell %s", file);
	/* For reading, too: then it opens at once, and keeps what was rung while nobody else has it. */
	bell = openat(dirfd, file, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
	if (bell < 0)
		return stash__fail_errno("cannot open the doorbell %s", file);
	if (fstat(bell, &st) == 0 && S_ISFIFO(st.st_mode))
		return bell;
	close(bell);
	return stash__fail(STASH_E_CORRUPT, "%s isn't a doorbell (a fifo)", file);
}

void
stash__bell_ring(int bell)
{
	/* An eventfd that its process has made blocking is never filled by ringing: that needs 2^64 rings without a
	 * read.  Processes of one user could fill it all the same, by one write, but they could kill this one as well;
	 * those of others never get it (stash__line_make()).  A fifo's descriptor is nobody else's, and a full one
	 * rings. */
	eventfd_t one = 1;

	/* A ring that is lost is a caller who waits for ever. */
	for (int tries = 0; write(bell, &one, sizeof one) < 0 && errno != EAGAIN && tries < RING_TRIES;)
		tries += errno != EINTR;
}

bool
stash__bell_clear(int bell)
{
	char rings[512]; /* an eventfd's count, or as many as came through a fifo */
	bool rang = false;
	ssize_t n;

	do {
		n = read(bell, rings, sizeof rings);
		rang = rang || n > 0;
	} while (n == (ssize_t)sizeof rings || (n < 0 && errno == EINTR));
	if (n >= 0 || errno == EAGAIN)
		return rang;
	/* One that can't be read rings for ever: whoever waits for it looks by himself, from time to time. */
	stash__pause_ms(BROKEN_MS);
	return true;
}

/* ---- between users ---- */

int
stash__line_make(int ends[2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
		return stash__fail_errno("cannot make a bell for a client of another user");
	return STASH_OK;
}

void
stash__line_ring(int end)
{
	ssize_t n;

	/* Full: it rings already. The flags are this call's, not the descriptor's. */
	do
		n = send(end, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
}

bool
stash__line_clear(int end)
{
	char rings[4096];
	ssize_t n;

	/* Once: what comes in faster than this wakes us again, as it would anyway. */
	do
		n = recv(end, rings, sizeof rings, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n > 0 || (n < 0 && errno == EAGAIN);
}

/* What is left until the deadline; NULL for ever. */
static const struct timespec *
left(int64_t deadline, struct timespec *ts)
{
	int64_t ns;

	if (deadline == INT64_MAX)
		return NULL;
	ns = deadline - stash__now_ns();
	if (ns < 0)
		ns = 0;
	ts->tv_sec = ns / 1000000000;
	ts->tv_nsec = ns % 1000000000;
	return ts;
}

int
stash__bell_poll_more(int bell, const int others[3], int64_t deadline)
{
	struct pollfd fds[4] = { { bell, POLLIN, 0 }, { others[0], POLLIN, 0 }, { others[1], POLLIN, 0 },
		{ others[2], POLLIN, 0 } };
	nfds_t n = others[2] >= 0 ? 4 : others[1] >= 0 ? 3 : 2;
	struct timespec ts;
	int mask = 0, ready = ppoll(fds, n, left(deadline, &ts), NULL);

	if (ready < 0 && errno != EINTR)
		stash__pause_ms(BROKEN_MS);
	if (ready <= 0)
		return 0;
	if (fds[0].revents != 0) {
		/* POLLERR only when the counter overflows by a foreign hand: reading mends it. */
		stash__bell_clear(bell);
		mask |= 1;
	}
	for (nfds_t i = 1; i < n; i++)
		if (fds[i].revents != 0)
			mask |= 1 << i;
	return mask;
}

int
stash__bell_poll(int bell, int other, int second, int64_t deadline)
{
	return stash__bell_poll_more(bell, (const int[3]){ other, second, -1 }, deadline);
}

uint32_t
stash__core(void)
{
	int core = sched_getcpu();

	return core < 0 ? 0 : (uint32_t)core + 1;
}
