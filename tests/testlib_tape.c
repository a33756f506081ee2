/* SPDX-License-Identifier: ISC */
/*
 * testlib_tape.c: see testlib_tape.h.
 */
#include "testlib_tape.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "testlib.h"

#define SECTOR 512
#define FILES_MAX 64
#define NAMES_MAX 64
#define PENDING_MAX 65536

/* A file: what is on the disk for certain. */
struct tape_file {
	uint64_t ino;
	unsigned char *bytes;
	size_t len, room;
};

struct name {
	char text[64];
	uint64_t ino;
};

struct names {
	struct name list[NAMES_MAX];
	size_t count;
};

struct tape_disk {
	const struct tape *tape;
	uint64_t at;
	struct tape_file files[FILES_MAX];
	size_t nfiles;
	struct names names;
	bool making, made;				/* the directory: it was recorded; it is there for certain */
	const struct tape_record *pending[PENDING_MAX]; /* not on the disk for certain; in order */
	size_t npending;
};

struct tape *
tt_tape_make(const char *file, size_t room)
{
	int fd = open(file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct tape *tape;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)(sizeof *tape + room)), 0);
	tape = mmap(NULL, sizeof *tape + room, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(tape, MAP_FAILED);
	close(fd);
	tape->room = room;
	return tape;
}

void
tt_tape_free(struct tape *tape)
{
	munmap(tape, sizeof *tape + tape->room);
}

struct tape_disk *
tt_disk_create(const struct tape *tape)
{
	struct tape_disk *d = calloc(1, sizeof *d);

	ck_assert_ptr_nonnull(d);
	d->tape = tape;
	return d;
}

void
tt_disk_destroy(struct tape_disk *d)
{
	for (size_t i = 0; i < d->nfiles; i++)
		free(d->files[i].bytes);
	free(d);
}

/* ---- files and names ---- */

static struct tape_file *
file_of(struct tape_disk *d, uint64_t ino)
{
	for (size_t i = 0; i < d->nfiles; i++)
		if (d->files[i].ino == ino)
			return &d->files[i];
	ck_assert_uint_lt(d->nfiles, FILES_MAX);
	d->files[d->nfiles].ino = ino;
	return &d->files[d->nfiles++];
}

static void
resize(struct tape_file *f, size_t len)
{
	if (len > f->room) {
		f->room = 2 * len;
		f->bytes = realloc(f->bytes, f->room);
		ck_assert_ptr_nonnull(f->bytes);
	}
	if (len > f->len)
		memset(f->bytes + f->len, 0, len - f->len);
	f->len = len;
}

static void
put(struct tape_file *f, const unsigned char *bytes, size_t at, size_t len)
{
	if (at + len > f->len)
		resize(f, at + len);
	memcpy(f->bytes + at, bytes, len);
}

static void
drop_name(struct names *n, const char *text)
{
	for (size_t i = 0; i < n->count; i++) {
		if (strcmp(n->list[i].text, text) == 0) {
			n->list[i] = n->list[--n->count];
			return;
		}
	}
}

static void
put_name(struct names *n, const char *text, uint64_t ino)
{
	drop_name(n, text);
	ck_assert_uint_lt(n->count, NAMES_MAX);
	snprintf(n->list[n->count].text, sizeof n->list[0].text, "%s", text);
	n->list[n->count++].ino = ino;
}

/* A change of names; one whose name isn't there has no effect. */
static void
change_names(struct names *n, const struct tape_record *r)
{
	const char *text = (const char *)r->data;

	if (r->kind == TAPE_NAME) {
		put_name(n, text, r->ino);
	} else if (r->kind == TAPE_GONE) {
		drop_name(n, text);
	} else {
		for (size_t i = 0; i < n->count; i++) {
			if (strcmp(n->list[i].text, text) != 0)
				continue;
			uint64_t ino = n->list[i].ino;

			drop_name(n, text);
			put_name(n, text + strlen(text) + 1, ino);
			return;
		}
	}
}

static bool
is_name(const struct tape_record *r)
{
	return r->kind == TAPE_NAME || r->kind == TAPE_RENAME || r->kind == TAPE_GONE;
}

/* ---- time goes on ---- */

static const struct tape_record *
record_at(const struct tape *tape, uint64_t place)
{
	return (const struct tape_record *)(const void *)(tape->records + place);
}

static void
apply(struct tape_disk *d, const struct tape_record *r)
{
	if (r->kind == TAPE_MADE)
		d->made = true;
	else if (is_name(r))
		change_names(&d->names, r);
	else if (r->kind == TAPE_WRITE)
		put(file_of(d, r->ino), r->data, r->at, r->len);
	else
		resize(file_of(d, r->ino), r->at);
}

/* All that was begun before the flush is on the disk now. */
static void
flushed(struct tape_disk *d, const struct tape_record *sync)
{
	size_t left = 0;

	for (size_t i = 0; i < d->npending; i++) {
		const struct tape_record *r = d->pending[i];
		bool mine = sync->at == 2 ? r->kind == TAPE_MADE :
		    sync->at == 1	  ? is_name(r) :
					    (r->kind == TAPE_WRITE || r->kind == TAPE_SIZE) && r->ino == sync->ino;

		if (mine && r < sync)
			apply(d, r);
		else
			d->pending[left++] = r;
	}
	d->npending = left;
}

static void
wrote(struct tape_disk *d, const struct tape_record *write)
{
	for (size_t i = 0; i < d->npending; i++) {
		if (d->pending[i] != write)
			continue;
		apply(d, write);
		memmove(d->pending + i, d->pending + i + 1, (d->npending - i - 1) * sizeof d->pending[0]);
		d->npending--;
		return;
	}
}

const struct tape_record *
tt_disk_step(struct tape_disk *d)
{
	const struct tape_record *r;

	if (d->at >= atomic_load(&d->tape->tail))
		return NULL;
	r = record_at(d->tape, d->at);
	/* Whoever wrote it was killed. */
	if (atomic_load(&r->ready) == 0)
		return NULL;
	d->at += r->bytes;
	switch (r->kind) {
	case TAPE_WRITE:
	case TAPE_SIZE:
	case TAPE_NAME:
	case TAPE_RENAME:
	case TAPE_GONE:
	case TAPE_MADE:
		d->making = d->making || r->kind == TAPE_MADE;
		ck_assert_uint_lt(d->npending, PENDING_MAX);
		d->pending[d->npending++] = r;
		break;
	case TAPE_SYNCED:
		flushed(d, record_at(d->tape, r->ref));
		break;
	case TAPE_WROTE:
		wrote(d, record_at(d->tape, r->ref));
		break;
	default:
		break;
	}
	return r;
}

/* ---- images ---- */

static bool
happens(unsigned odds, unsigned *random)
{
	*random = *random * 1103515245u + 12345u;
	return (*random >> 16) % 8 < odds;
}

static void
put_some(struct tape_file *f, const struct tape_record *r, unsigned odds, unsigned *random)
{
	/* Sectors as the disk has them, wherever the write began. */
	for (size_t at = r->at, end = r->at + r->len, next; at < end; at = next) {
		next = (at / SECTOR + 1) * SECTOR;
		if (next > end)
			next = end;
		if (happens(odds, random))
			put(f, r->data + (at - r->at), at, next - at);
	}
}

static void
save(const char *dir, const char *name, const struct tape_file *f, unsigned odds, unsigned random)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
	/* LMDB writes this one through a map: zeros, or anything. */
	if (strcmp(name, "lock.mdb") == 0 && odds > 0) {
		for (size_t i = 0; i < f->len; i++) {
			random = random * 1103515245u + 12345u;
			f->bytes[i] = (unsigned char)(random >> 16);
		}
	}
	ck_assert_int_eq(write(fd, f->bytes, f->len), (ssize_t)f->len);
	close(fd);
}

void
tt_disk_image(const struct tape_disk *disk, const char *dir, unsigned odds, unsigned random)
{
	struct tape_disk *d = malloc(sizeof *d);

	ck_assert_ptr_nonnull(d);
	*d = *disk;
	for (size_t i = 0; i < d->nfiles; i++) {
		d->files[i].bytes = malloc(d->files[i].len + 1);
		d->files[i].room = d->files[i].len;
		ck_assert_ptr_nonnull(d->files[i].bytes);
		memcpy(d->files[i].bytes, disk->files[i].bytes != NULL ? disk->files[i].bytes : (unsigned char *)"",
		    d->files[i].len);
	}
	for (size_t i = 0; i < d->npending; i++) {
		const struct tape_record *r = d->pending[i];

		if (r->kind == TAPE_WRITE)
			put_some(file_of(d, r->ino), r, odds, &random);
		else if (happens(odds, &random))
			apply(d, r);
	}
	t_remove_tree(dir);
	/* Files whose directory is lost are lost. */
	if (d->making && !d->made) {
		tt_disk_destroy(d);
		return;
	}
	ck_assert_int_eq(mkdir(dir, 0700), 0);
	for (size_t i = 0; i < d->names.count; i++)
		save(dir, d->names.list[i].text, file_of(d, d->names.list[i].ino), odds, random + (unsigned)i);
	tt_disk_destroy(d);
}
