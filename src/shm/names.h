/* SPDX-License-Identifier: ISC */
/*
 * What the registry has besides the names of children: aliases, values, members of groups, monitors. Their rows stand
 * in the registry's database under keys that no name can have: byte 1, a letter for the kind, one name or two with a
 * byte 31 between them.
 *
 * 	a alias			text owner, int since
 * 	v name			text owner, int since, int length, int checksum, the first bytes (bare)
 * 	v name, number		the next ones, in parts of STASH__VALUE_PART bytes
 * 	g group, member		int since
 * 	m watcher, target	int ref, int seen, int last, bytes: number (8) and reason (1) of each end
 * 						that isn't taken yet
 * 	h worker		int incarnation, int hand, int since, int commits, int batch, int held: the supervisor
 * 				has found it stuck, and is about to kill it
 *
 * All of it is foreign to whoever reads it: what is not right is STASH_E_FORMAT.
 */
#ifndef SHM_NAMES_H
#define SHM_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <stash/behaviour.h>
#include <stash/buf.h>
#include <stash/error.h>

enum stash__name_kind {
	STASH__NAME_OWN = 0, /* the row of a child: shm/record.h */
	STASH__NAME_ALIAS = 'a',
	STASH__NAME_VALUE = 'v',
	STASH__NAME_MEMBER = 'g',
	STASH__NAME_MONITOR = 'm',
	STASH__NAME_STUCK = 'h'
};

enum {
	STASH__NAME_KEY_MAX = 2 * STASH_NAME_MAX + 4, /* with the NUL */
	STASH__VALUE_PART = 3800,
	STASH__DOWN_BYTES = 9,
	STASH__DOWNS_MAX = 400 /* ends that one monitor keeps for a watcher that doesn't take them */
};

struct stash__name_key {
	enum stash__name_kind kind;
	char name[STASH_NAME_MAX + 1];	/* alias, name, group, watcher, worker */
	char other[STASH_NAME_MAX + 1]; /* member, target; else "" */
	unsigned part;			/* of a value: 0 is the first */
};

/* Makes a key with its NUL; other: NULL for kinds of one name; part: of a value.  Returns its length. */
size_t stash__name_key(
    char key[STASH__NAME_KEY_MAX], enum stash__name_kind kind, const char *name, const char *other, unsigned part);
/* Takes one apart; a key that doesn't begin with byte 1 is STASH__NAME_OWN and nothing more is looked at. */
int stash__name_key_split(const void *key, size_t len, struct stash__name_key *to);

/* What a stuck incarnation has in hand, as its black box says it, and for how long the supervisor has seen that. */
struct stash__stuck {
	uint64_t incarnation; /* 0: none is stuck */
	uint64_t hand, since, commits;
	uint32_t batch;
	int64_t held_ns;
};

struct stash__name_row {
	const char *owner; /* of alias, value; these point into the value */
	int64_t since_ns;  /* CLOCK_REALTIME */
	size_t total;	   /* of a value: its whole length */
	uint64_t sum;	   /* and its XXH3 */
	const void *data;  /* the first part of it; of a monitor the reasons */
	size_t len;
	int64_t ref;   /* of a monitor */
	uint64_t seen; /* the last incarnation of the target whose end is noted */
	uint64_t last; /* the last number that the watcher was told an end by, as of this row */
	struct stash__stuck stuck;
};
int stash__name_pack(struct stash_buf *buf, enum stash__name_kind kind, const struct stash__name_row *row);
/* Not for further parts of a value: they are bare. */
int stash__name_unpack(const void *value, size_t len, enum stash__name_kind kind, struct stash__name_row *row);

/* An end, in STASH__DOWN_BYTES; put returns that. */
size_t stash__down_put(unsigned char *at, uint64_t number, enum stash_reason reason);
void stash__down_get(const unsigned char *at, uint64_t *number, enum stash_reason *reason);

/* What a worker may ask about names, in STASH__W_NAMES. */
enum stash__name_ask {
	STASH__ASK_REGISTER = 1,
	STASH__ASK_UNREGISTER = 2,
	STASH__ASK_PUT = 3,
	STASH__ASK_JOIN = 4,
	STASH__ASK_LEAVE = 5,
	STASH__ASK_MONITOR = 6,
	STASH__ASK_DEMONITOR = 7,
	STASH__ASK_LAST = 7
};

#endif
