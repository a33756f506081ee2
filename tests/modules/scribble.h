/* SPDX-License-Identifier: ISC */
/*
 * scribble.h: writing where nobody should, the same for the same seed: into the memory that this process shares with
 * others and may write to.  Half of the writes hit words that mean something (heads, tails, lengths, numbers,
 * checksums, the black box), most of the rest the neighbourhood of tails, and some hit anything.
 */
#ifndef TESTS_SCRIBBLE_H
#define TESTS_SCRIBBLE_H

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "shm/format.h"

enum scribble_kind {
	SCRIBBLE_OUT = 1,     /* entry ring and black box */
	SCRIBBLE_BELL = 2,    /* the worker's bell page */
	SCRIBBLE_CHANNEL = 4, /* channels of clients */
	SCRIBBLE_WAY = 8      /* channels from worker to worker */
};

/* A piece of a file that is mapped here. */
struct scribble_map {
	unsigned char *at;
	uint64_t bytes, offset, file; /* file: its inode */
	enum scribble_kind kind;
};

struct scribble {
	uint64_t state;
	struct scribble_map maps[512];
	unsigned n;
};

static inline uint64_t
scribble_next(struct scribble *s)
{
	uint64_t z = s->state += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static inline uint64_t
scribble_below(struct scribble *s, uint64_t n)
{
	return scribble_next(s) % n;
}

static inline unsigned
scribble_kind_of(const char *path)
{
	size_t len = strlen(path);

	if (strstr(path, "/memfd:stash-channel") != NULL)
		return SCRIBBLE_CHANNEL;
	if (strstr(path, "/way/") != NULL)
		return SCRIBBLE_WAY;
	if (strstr(path, "/slot/") == NULL)
		return 0;
	if (len > 4 && strcmp(path + len - 4, ".out") == 0)
		return SCRIBBLE_OUT;
	return len > 5 && strcmp(path + len - 5, ".bell") == 0 ? SCRIBBLE_BELL : 0;
}

/* What there is to hit, of these kinds. */
static inline void
scribble_begin(struct scribble *s, uint64_t seed, unsigned kinds)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[4096];

	s->state = seed;
	s->n = 0;
	while (f != NULL && fgets(line, sizeof line, f) != NULL) {
		uint64_t from, to, offset, inode;
		char rights[8], path[3072] = "";
		unsigned kind;

		line[strcspn(line, "\n")] = '\0';
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %" SCNx64 " %*s %" SCNu64 " %3071[^\n]", &from, &to,
			rights, &offset, &inode, path) != 6 ||
		    strcmp(rights, "rw-s") != 0)
			continue;
		kind = scribble_kind_of(path) & kinds;
		if (kind != 0 && s->n < sizeof s->maps / sizeof s->maps[0])
			s->maps[s->n++] = (struct scribble_map){ (unsigned char *)(uintptr_t)from, to - from, offset,
				inode, (enum scribble_kind)kind };
	}
	if (f != NULL)
		fclose(f);
}

/* Where a byte of that file is mapped; NULL: nowhere. */
static inline unsigned char *
scribble_at(const struct scribble *s, uint64_t file, uint64_t offset)
{
	for (unsigned i = 0; i < s->n; i++)
		if (s->maps[i].file == file && offset >= s->maps[i].offset &&
		    offset - s->maps[i].offset + 8 <= s->maps[i].bytes)
			return s->maps[i].at + (offset - s->maps[i].offset);
	return NULL;
}

static inline uint64_t
scribble_value(struct scribble *s, uint64_t was)
{
	switch (scribble_below(s, 8)) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX;
	case 2:
		return was + 1 + scribble_below(s, 8);
	case 3:
		return was - 1 - scribble_below(s, 8);
	case 4:
		return was + 8 * (1 + scribble_below(s, 4096));
	case 5:
		return was - 8 * (1 + scribble_below(s, 4096));
	case 6:
		return was ^ 1ull << scribble_below(s, 64);
	default:
		return scribble_next(s);
	}
}

/* A word, or a half, a byte of one. */
static inline void
scribble_word(struct scribble *s, unsigned char *at)
{
	uint64_t was, now;

	if (at == NULL)
		return;
	memcpy(&was, at, sizeof was);
	now = scribble_value(s, was);
	memcpy(at, &now, (size_t)1 << scribble_below(s, 4));
}

#define SCRIBBLE_OF(type, member) (uint16_t) offsetof(struct type, member)
#define SCRIBBLE_BOX(member) (uint16_t)(STASH__OUT_BOX + offsetof(struct stash__box, member))

static inline uint64_t
scribble_meant(struct scribble *s, enum scribble_kind kind)
{
	static const uint16_t out[] = { 0, 8, 16, 32, SCRIBBLE_OF(stash__out_page, ring),
		SCRIBBLE_OF(stash__out_page, ring), SCRIBBLE_OF(stash__out_page, owner),
		SCRIBBLE_OF(stash__out_page, owner_pid), SCRIBBLE_OF(stash__out_page, owner_start),
		SCRIBBLE_OF(stash__out_page, ack_disk), SCRIBBLE_OF(stash__out_page, out_tail),
		SCRIBBLE_OF(stash__out_page, out_tail), SCRIBBLE_OF(stash__out_page, out_tail),
		SCRIBBLE_OF(stash__out_page, wanted), SCRIBBLE_OF(stash__out_page, layout),
		SCRIBBLE_OF(stash__out_page, layout_version), SCRIBBLE_BOX(in_hand), SCRIBBLE_BOX(in_hand),
		SCRIBBLE_BOX(phase), SCRIBBLE_BOX(batch), SCRIBBLE_BOX(kind), SCRIBBLE_BOX(attempt), SCRIBBLE_BOX(len),
		SCRIBBLE_BOX(since), SCRIBBLE_BOX(asked), SCRIBBLE_BOX(tag), SCRIBBLE_BOX(tag[56]),
		SCRIBBLE_BOX(handled), SCRIBBLE_BOX(commits), SCRIBBLE_BOX(crash.present), SCRIBBLE_BOX(crash.code),
		SCRIBBLE_BOX(crash.address), SCRIBBLE_BOX(crash.npcs), SCRIBBLE_BOX(crash.text[248]) };
	static const uint16_t bell[] = { 0, 8, SCRIBBLE_OF(stash__bell_page, asleep),
		SCRIBBLE_OF(stash__bell_page, core), SCRIBBLE_OF(stash__bell_page, crowd),
		SCRIBBLE_OF(stash__bell_page, incarnation), SCRIBBLE_OF(stash__bell_page, ready) };
	static const uint16_t channel[] = { 0, 8, SCRIBBLE_OF(stash__channel_page, ring_bytes),
		SCRIBBLE_OF(stash__channel_page, id), SCRIBBLE_OF(stash__channel_page, req_tail),
		SCRIBBLE_OF(stash__channel_page, req_tail), SCRIBBLE_OF(stash__channel_page, rep_head),
		SCRIBBLE_OF(stash__channel_page, rep_head), SCRIBBLE_OF(stash__channel_page, client_asleep),
		SCRIBBLE_OF(stash__channel_page, client_core), SCRIBBLE_OF(stash__channel_page, client_closed),
		SCRIBBLE_OF(stash__channel_page, req_head), SCRIBBLE_OF(stash__channel_page, req_head),
		SCRIBBLE_OF(stash__channel_page, rep_tail), SCRIBBLE_OF(stash__channel_page, rep_tail),
		SCRIBBLE_OF(stash__channel_page, down), SCRIBBLE_OF(stash__way_page, from),
		SCRIBBLE_OF(stash__way_page, to) };

	if (kind == SCRIBBLE_OUT)
		return out[scribble_below(s, sizeof out / sizeof out[0])];
	if (kind == SCRIBBLE_BELL)
		return bell[scribble_below(s, sizeof bell / sizeof bell[0])];
	return channel[scribble_below(s, sizeof channel / sizeof channel[0])];
}

/* Up to half a KiB before and behind the tail of one of the file's rings. */
static inline uint64_t
scribble_near_tail(struct scribble *s, const struct scribble_map *m)
{
	const unsigned char *page = scribble_at(s, m->file, 0);
	uint64_t tail, ring = STASH__OUT_RING, bytes = STASH__ENTRIES_MIN;
	bool second = scribble_below(s, 2) != 0;

	if (page == NULL)
		return 0;
	if (m->kind == SCRIBBLE_OUT) {
		memcpy(&tail, page + offsetof(struct stash__out_page, out_tail), sizeof tail);
	} else {
		memcpy(&tail,
		    page +
			(second ? offsetof(struct stash__channel_page, rep_tail) :
				  offsetof(struct stash__channel_page, req_tail)),
		    sizeof tail);
		bytes = STASH__RING_DEFAULT;
		ring = STASH__PAGE + (second ? bytes : 0);
	}
	return ring + (tail - 512 + 8 * scribble_below(s, 128)) % bytes / 8 * 8;
}

static inline void
scribble_once(struct scribble *s)
{
	const struct scribble_map *m;
	uint64_t how = scribble_below(s, 10);

	if (s->n == 0)
		return;
	m = &s->maps[scribble_below(s, s->n)];
	if (how < 5)
		scribble_word(s, scribble_at(s, m->file, scribble_meant(s, m->kind)));
	else if (how < 8 && m->kind != SCRIBBLE_BELL)
		scribble_word(s, scribble_at(s, m->file, scribble_near_tail(s, m)));
	else
		scribble_word(s, m->at + scribble_below(s, m->bytes / 8) * 8);
}

#endif
