/* SPDX-License-Identifier: ISC */
/*
 * access.h: who may use a stashd besides its own user and root, and for what.  The kernel says who a client is
 * (SO_PEERCRED, SO_PEERGROUPS); file modes only let those in who may ask.
 */
#ifndef STASHD_ACCESS_H
#define STASHD_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbers of users or groups; the array is borrowed. */
struct access_ids {
	const uint32_t *ids;
	size_t n;
};

/* As the config has it; all empty: nobody else. */
struct access_rules {
	struct access_ids users, groups; /* may call */
	struct access_ids readers;	 /* users that may look, also into slots */
};

/* What a client may do: any of these. */
enum access {
	ACCESS_CALL = 1, /* call, cast, send; find names, list them */
	ACCESS_LOOK = 2, /* everything that changes nothing, states included */
	ACCESS_OWN = 4	 /* everything: stashd's own user, and root */
};

/* What a foreign user may have at once, so that he can't use up what the others need. */
enum {
	ACCESS_PEERS_MAX = 32,		  /* connections */
	ACCESS_CHANNELS_MAX = 64,	  /* channels, those of dead clients that aren't let go of yet included */
	ACCESS_WAITS_MAX = 64,		  /* requests of one connection that wait */
	ACCESS_UNREAD_MAX = 512 * 1024,	  /* bytes that one connection hasn't read */
	ACCESS_RING_MAX = 4 * 1024 * 1024 /* bytes of one ring */
};

bool access_any(const struct access_rules *); /* somebody else may do something */
bool access_same(const struct access_ids *, const struct access_ids *);

/* Of that user in these groups; 0: nothing. */
unsigned access_of(const struct access_rules *, uint32_t uid, const uint32_t *gids, size_t ngids);
/* The same of whoever connected that socket; *uid is set. */
unsigned access_of_socket(const struct access_rules *, int fd, uint32_t *uid, uint32_t *pid);

/* Whether a request of that type (enum stash__broker_wire) is for those who may do that. */
bool access_may(unsigned access, int64_t type);

#endif
