/* SPDX-License-Identifier: ISC */
/*
 * access.c: the rules as the broker applies them: numbers are compared, names were looked up when the config was read.
 */
#include "stashd/access.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "shm/wire.h"

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59 /* Linux 4.13 */
#endif

#define GROUPS_SOME 64

static bool
holds(const struct access_ids *list, uint32_t id)
{
	for (size_t i = 0; i < list->n; i++)
		if (list->ids[i] == id)
			return true;
	return false;
}

bool
access_same(const struct access_ids *a, const struct access_ids *b)
{
	return a->n == b->n && (a->n == 0 || memcmp(a->ids, b->ids, a->n * sizeof(*a->ids)) == 0);
}

bool
access_any(const struct access_rules *rules)
{
	return rules->users.n + rules->groups.n + rules->readers.n > 0;
}

unsigned
access_of(const struct access_rules *rules, uint32_t uid, const uint32_t *gids, size_t ngids)
{
	unsigned access = 0;

	if (uid == 0 || uid == geteuid())
		return ACCESS_OWN;
	if (holds(&rules->users, uid))
		access |= ACCESS_CALL;
	if (holds(&rules->readers, uid))
		access |= ACCESS_LOOK;
	for (size_t i = 0; i < ngids; i++)
		if (holds(&rules->groups, gids[i]))
			access |= ACCESS_CALL;
	return access;
}

/* The groups besides the first; how many there are.  More than there is memory for count as none. */
static size_t
peer_groups(int fd, uint32_t first, uint32_t some[GROUPS_SOME], uint32_t **gids)
{
	socklen_t len = (GROUPS_SOME - 1) * sizeof(*some);
	uint32_t *more;

	_Static_assert(sizeof(gid_t) == sizeof(uint32_t), "groups are read as they are");
	*gids = some;
	some[0] = first;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, some + 1, &len) == 0)
		return 1 + len / sizeof(*some);
	/* len says how much it would be. */
	if (errno != ERANGE || (more = malloc(sizeof(*more) + len)) == NULL)
		return 1;
	more[0] = first;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, more + 1, &len) < 0) {
		free(more);
		return 1;
	}
	*gids = more;
	return 1 + len / sizeof(*more);
}

unsigned
access_of_socket(const struct access_rules *rules, int fd, uint32_t *uid, uint32_t *pid)
{
	struct ucred cred = { .uid = UINT32_MAX };
	socklen_t len = sizeof(cred);
	uint32_t some[GROUPS_SOME], *gids = some;
	unsigned access;
	size_t n = 0;

	*uid = UINT32_MAX;
	*pid = 0;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return 0;
	*uid = cred.uid;
	*pid = (uint32_t)cred.pid;
	if (rules->groups.n > 0)
		n = peer_groups(fd, cred.gid, some, &gids);
	access = access_of(rules, cred.uid, gids, n);
	if (gids != some)
		free(gids);
	return access;
}

bool
access_may(unsigned access, int64_t type)
{
	if ((access & ACCESS_OWN) != 0)
		return true;
	switch (type) {
	case STASH__B_HELLO:
	case STASH__B_PING:
	case STASH__B_CANCEL:
	case STASH__B_AGAIN:
	case STASH__B_WHEREIS:
	case STASH__B_LIST:
	case STASH__B_NAMES:
	case STASH__B_VALUE:
	case STASH__B_GROUP:
	case STASH__B_AWAIT:
		return (access & (ACCESS_CALL | ACCESS_LOOK)) != 0;
	case STASH__B_OPEN:
	case STASH__B_PRESENT:
	case STASH__B_CLOSE:
		return (access & ACCESS_CALL) != 0;
	case STASH__B_WHICH:
	case STASH__B_COUNT_CHILDREN:
	case STASH__B_GET_CHILDSPEC:
	case STASH__B_SCAN:
	case STASH__B_SHOW:
	case STASH__B_ABOUT:
		return (access & ACCESS_LOOK) != 0;
	default:
		return false;
	}
}
