/* SPDX-License-Identifier: ISC */
/*
 * What another process may have written into shared memory: a request, a reply, an entry, and the tail behind it. The
 * first byte says which, and whether the checksum is made right, so that what lies behind it is reached too.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "shm/channel.h"
#include "shm/checksum.h"
#include "shm/slot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct stash__channel channel;
static struct stash__out out;
static struct stash__copy copy;

static void
open_once(void)
{
	static const struct stash__origin origin = { "boot", "store" };
	char dir[] = "/tmp/fuzz-ring.XXXXXX";
	int memfd, dirfd, fd;

	if (channel.page != NULL)
		return;
	STASH_ASSERT(mkdtemp(dir) != NULL);
	dirfd = open(dir, O_RDONLY | O_DIRECTORY);
	STASH_ASSERT(stash__channel_make(origin.boot_id, 0, &memfd) == 0 && stash__channel_map(&channel, memfd) == 0);
	STASH_ASSERT(
	    stash__out_make(dirfd, "w.out", &origin, 0, &fd) == 0 && stash__out_map(&out, fd, true, NULL) == 0);
	(void)unlinkat(dirfd, "w.out", 0);
	(void)rmdir(dir);
	close(dirfd);
}

static void
read_channel(const uint8_t *data, size_t size, uint64_t at, bool request, bool mend)
{
	unsigned char *ring = request ? channel.req : channel.rep;
	struct stash__message m;
	uint64_t head = at, sum;
	int result;

	memcpy(ring + at % channel.ring_bytes, data, size);
	if (mend && size >= 8) {
		sum = stash__checksum(ring + at % channel.ring_bytes, size, at);
		memcpy(ring + at % channel.ring_bytes, &sum, sizeof sum);
	}
	atomic_store(request ? &channel.page->req_tail : &channel.page->rep_tail, at + size);
	result = request ? stash__request_read(&channel, &head, 0, &copy, &m) :
			   stash__reply_read(&channel, &head, &copy, &m);
	if (result == 1) {
		STASH_ASSERT(head > at && head <= at + size && m.head.len <= size);
		STASH_ASSERT(m.data[m.head.len] == '\0' && strlen(m.tag) <= STASH_TAG_MAX);
	} else
		STASH_ASSERT(result <= 0);
}

static void
read_entry(const uint8_t *data, size_t size, uint64_t at, bool mend)
{
	unsigned char *to = out.ring + at % out.ring_bytes;
	struct stash__entry_view v;
	uint64_t sum;

	memcpy(to, data, size);
	if (mend && size >= 8) {
		sum = stash__checksum(to, size, at);
		memcpy(to, &sum, sizeof sum);
	}
	if (stash__entry_view(&out, at, at + size, &v) == 0) {
		STASH_ASSERT(v.head.bytes <= size && v.image + v.head.image_len <= to + size);
		for (uint32_t i = 0; i < v.head.npositions; i++)
			STASH_ASSERT((const unsigned char *)&v.positions[i + 1] <= to + size);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t at;

	open_once();
	if (size < 2 || size - 2 > STASH__RING_MIN)
		return 0;
	at = (uint64_t)data[1] * 4093 * 8; /* near the end of the ring too */
	if (data[0] & 2)
		read_entry(data + 2, size - 2, at, data[0] & 1);
	else
		read_channel(data + 2, size - 2, at, data[0] & 4, data[0] & 1);
	return 0;
}
