/* SPDX-License-Identifier: ISC */
/*
 * way.c: channels from worker to worker: files beside the slots, which say whose they are.  They outlive everybody
 * until the next boot, as slots do.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/name.h"
#include "shm/channel.h"

void
stash__way_file(const uint8_t id[STASH__ID], char file[STASH__WAY_FILE_MAX])
{
	for (int i = 0; i < STASH__ID; i++)
		snprintf(file + 2 * i, 3, "%02x", id[i]);
}

void
stash__way_row_id(const uint8_t id[STASH__ID], uint8_t row[STASH__ID])
{
	memmove(row, id, STASH__ID);
	row[STASH__ID - 1] ^= 1;
}

/* Without room for the rings: each side takes it before it writes there first (channel.c), so there is no SIGBUS. */
static int
fill(int fd, const struct stash__way_page *page)
{
	int error = posix_fallocate(fd, 0, STASH__PAGE);

	if (error != 0)
		errno = error;
	if (error != 0 || ftruncate(fd, (off_t)(STASH__PAGE + 2 * page->channel.ring_bytes)) < 0)
		return stash__fail_errno("no room for a channel from %s to %s", page->from, page->to);
	if (pwrite(fd, page, sizeof *page, 0) != (ssize_t)sizeof *page)
		return stash__fail_errno("the channel from %s to %s can't be written", page->from, page->to);
	return STASH_OK;
}

int
stash__way_make(int dirfd, const uint8_t id[STASH__ID], const char *from, const char *to, int *fd)
{
	struct stash__way_page page = {
		.channel = { .magic = STASH__MAGIC_CHANNEL,
		    .format = STASH__CHANNEL_FORMAT,
		    .ring_bytes = STASH__WAY_RING,
		    /* Its sender sleeps for other things too: it is rung for each answer. */
		    .client_asleep = 1 },
	};
	char file[STASH__WAY_FILE_MAX];
	int result;

	memcpy(page.channel.id, id, STASH__ID);
	memcpy(page.from, from, strnlen(from, STASH_NAME_MAX));
	memcpy(page.to, to, strnlen(to, STASH_NAME_MAX));
	stash__way_file(id, file);
	*fd = openat(dirfd, file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (*fd < 0)
		return stash__fail_errno("a channel from %s to %s can't be made", from, to);
	result = fill(*fd, &page);
	if (result < 0) {
		close(*fd);
		(void)unlinkat(dirfd, file, 0);
		*fd = -1;
	}
	return result;
}

int
stash__way_read(int fd, uint8_t id[STASH__ID], char from[STASH_NAME_MAX + 1], char to[STASH_NAME_MAX + 1])
{
	struct stash__way_page page;
	ssize_t n = stash__read_at(fd, &page, sizeof page, 0);

	if (n < 0)
		return stash__fail_errno("a channel between workers can't be read");
	if (n != (ssize_t)sizeof page || page.channel.magic != STASH__MAGIC_CHANNEL)
		return stash__fail(STASH_E_PROTO, "what stands beside the slots as a channel is none");
	if (page.channel.format != STASH__CHANNEL_FORMAT)
		return stash__fail(STASH_E_FORMAT, "a channel between workers has format %u, this version knows %u",
		    page.channel.format, STASH__CHANNEL_FORMAT);
	page.from[STASH_NAME_MAX] = page.to[STASH_NAME_MAX] = '\0';
	if (stash__check_name(page.from) < 0 || stash__check_name(page.to) < 0)
		return stash__fail(STASH_E_PROTO, "a channel between workers names none");
	memcpy(id, page.channel.id, STASH__ID);
	memcpy(from, page.from, sizeof page.from);
	memcpy(to, page.to, sizeof page.to);
	return STASH_OK;
}
