/* SPDX-License-Identifier: ISC */
/*
 * found.c: the slots that a start finds in the run directory.  Those of another boot are deleted, those whose
 * making was interrupted too; one that isn't this store's, or that knows of more on the disk than there is,
 * stops the start: the store was exchanged, and which one is right only the operator can say.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "stash/inside.h"

enum whose { OURS, HALF_MADE, OLD_BOOT, STRANGE };

/* A slot whose making was interrupted has no base yet, or no in half at all. */
static int
has_base(int fd, const struct stash__in_page *page, const char *name)
{
	uint64_t offset = STASH__RING_OFFSET(page->bases[page->base_now & 1]);
	struct stash__base base;
	ssize_t n = stash__read_at(fd, &base, sizeof base, (off_t)offset);

	if (n < 0)
		return stash__fail_errno("the slot of %s can't be read", name);
	return n == (ssize_t)sizeof base && base.turn != 0 ? OURS : HALF_MADE;
}

static int
whose(const struct stash *s, const char *name)
{
	struct stash__in_page page;
	int fd = stash__slot_file_open(s, name, "in", O_RDONLY), result;
	ssize_t n;

	if (fd < 0)
		return fd;
	n = stash__read_at(fd, &page, sizeof page, 0);
	/* Nothing is known then, and nothing may be deleted. */
	if (n < 0)
		result = stash__fail_errno("the slot of %s can't be read", name);
	else if (n != (ssize_t)sizeof page || page.magic != STASH__MAGIC_IN)
		result = STRANGE;
	else if (memcmp(page.boot_id, s->origin.boot_id, STASH__ID) != 0)
		result = OLD_BOOT;
	else if (memcmp(page.store_id, s->origin.store_id, STASH__ID) != 0)
		result = STRANGE;
	else
		result = has_base(fd, &page, name);
	close(fd);
	return result;
}

/* The ways out, when slots and store don't belong together. */
static int
refuse(const struct stash *s, const char *name, const char *why, bool can_keep)
{
	char keep[300] = "";

	if (can_keep)
		snprintf(keep, sizeof keep,
		    "Keep the slots, whose states take the place of the store's: stashctl -d %.150s "
		    "keep-slots. Or ",
		    s->options->dir);
	return stash__fail(STASH_E_CORRUPT,
	    "the slot of %.200s %s: the store in %.150s was exchanged, or restored from a copy. %s%siscard the slots, "
	    "and with them what is not in the store: stashctl -d %.150s discard-slots. Or put back the store that "
	    "they belong to",
	    name, why, s->options->dir, keep, can_keep ? "d" : "D", s->options->dir);
}

static int
find(struct stash *s, const char *name)
{
	struct slot *slot;
	int found = whose(s, name), result;

	if (found < 0)
		return found;
	if (found == STRANGE)
		return refuse(s, name, "belongs to another store", false);
	if (found != OURS) {
		stash__slot_unlink(s, name);
		return STASH_OK;
	}
	slot = stash__slot_add(s, name);
	if (slot == NULL)
		return STASH_E_NOMEM;
	result = stash__slot_map(s, slot);
	if (result == STASH_OK)
		result = stash__slot_load_stored(s, slot);
	if (result == 1)
		return refuse(s, name, "has a later state than the store", true);
	if (result == 2)
		return refuse(s, name, "has an earlier state than the store", false);
	return result < 0 ? stash__fail(result, "the slot of %s: %s", name, stash_errmsg()) : result;
}

static bool
ends_in(const char *file, const char *end)
{
	size_t len = strlen(file), n = strlen(end);

	return len > n && strcmp(file + len - n, end) == 0;
}

/* Pass 1: all with an in half; pass 2: what is left over of others. */
static int
scan_pass(struct stash *s, DIR *dir, int pass)
{
	char name[STASH_NAME_MAX + 1];
	struct dirent *d;
	int result = STASH_OK;

	rewinddir(dir);
	while (result == STASH_OK && (errno = 0, d = readdir(dir)) != NULL) {
		if (pass == 1 && stash__slot_name(name, d->d_name, "in"))
			result = find(s, name);
		else if (pass == 2 &&
		    (stash__slot_name(name, d->d_name, "out") || stash__slot_name(name, d->d_name, "bell") ||
			stash__slot_name(name, d->d_name, "fifo")) &&
		    stash__slot_find(s, name) == NULL)
			stash__slot_unlink(s, name);
		else if (pass == 2 && ends_in(d->d_name, ".new"))
			(void)unlinkat(s->slot_dir, d->d_name, 0);
	}
	if (result == STASH_OK && errno != 0)
		result = stash__fail_errno("cannot read the slot directory in %s", s->options->run_dir);
	return result;
}

int
stash__slots_scan(struct stash *s)
{
	int fd = fcntl(s->slot_dir, F_DUPFD_CLOEXEC, 0), result;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (dir == NULL) {
		if (fd >= 0)
			close(fd);
		return stash__fail_errno("cannot read the slot directory in %s", s->options->run_dir);
	}
	result = scan_pass(s, dir, 1);
	if (result == STASH_OK)
		result = scan_pass(s, dir, 2);
	closedir(dir);
	return result;
}
