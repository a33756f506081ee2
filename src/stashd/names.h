/* SPDX-License-Identifier: ISC */
/*
 * names.h: what belongs to a worker besides its own name: aliases, values, memberships in groups, and its monitors of
 * others.  All of it is kept over restarts and goes with the child's end for good.  Each change is a row of the
 * registry (shm/names.h) before anybody is told of it.
 *
 *   registry.c  aliases and values; all that a worker has, from its rows to its end
 *   group.c     groups                        monitor.c  monitors
 *   nameword.c  what workers ask              namequery.c  what clients ask
 */
#ifndef STASHD_NAMES_H
#define STASHD_NAMES_H

#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <stash/behaviour.h>

#include "shm/names.h"

struct server;
struct worker;
struct life;
struct mail;
struct peer;
struct rowset;
struct sup_node;

struct alias {
	RB_ENTRY(alias) by_name;
	LIST_ENTRY(alias) of_owner;
	struct worker *owner;
	int64_t since_ns; /* CLOCK_REALTIME */
	char name[STASH_NAME_MAX + 1];
};
RB_HEAD(aliases, alias);
int alias_compare(const struct alias *, const struct alias *);
RB_PROTOTYPE(aliases, alias, by_name, alias_compare)

struct value {
	RB_ENTRY(value) by_name;
	LIST_ENTRY(value) of_owner;
	struct worker *owner;
	int64_t since_ns;
	size_t len;
	unsigned char *data;
	char name[STASH_NAME_MAX + 1];
};
RB_HEAD(values, value);
int value_compare(const struct value *, const struct value *);
RB_PROTOTYPE(values, value, by_name, value_compare)

struct member {
	RB_ENTRY(member) by_group; /* and by the worker's name in it */
	LIST_ENTRY(member) of_worker;
	struct worker *worker;
	int64_t since_ns;
	char group[STASH_NAME_MAX + 1];
};
RB_HEAD(members, member);
int member_compare(const struct member *, const struct member *);
RB_PROTOTYPE(members, member, by_group, member_compare)

struct monitor {
	RB_ENTRY(monitor) by_target; /* and by the watcher's name */
	LIST_ENTRY(monitor) of_watcher;
	struct worker *watcher;
	int64_t ref;
	uint64_t seen; /* the last incarnation of the target whose end is noted */
	size_t nends;  /* of it, that the watcher hasn't taken */
	char target[STASH_NAME_MAX + 1];
};
/* An end that a watcher hasn't taken yet. */
struct ending {
	TAILQ_ENTRY(ending) link;
	struct monitor *monitor;
	uint64_t number; /* none twice for a watcher; they grow */
	enum stash_reason reason;
};
TAILQ_HEAD(endings, ending);
RB_HEAD(monitors, monitor);
int monitor_compare(const struct monitor *, const struct monitor *);
RB_PROTOTYPE(monitors, monitor, by_target, monitor_compare)

struct registry {
	struct aliases aliases;
	struct values values;
	struct members members;
	struct monitors monitors;
	int64_t last_ref;
};

/* What a worker has. */
struct belongings {
	LIST_HEAD(, alias) aliases;
	LIST_HEAD(, value) values;
	LIST_HEAD(, member) members;
	LIST_HEAD(, monitor) monitors; /* of others */
	struct endings ends;	       /* that it is to be told, by number */
	uint64_t last_end;	       /* the last number given */
	uint64_t told;		       /* how far its living incarnation has been told */
	/* The incarnation that was let go and whose end isn't noted; 0: none. */
	uint64_t ran;
};

/* ---- registry.c ---- */
/* The child that has this name or alias; NULL: none. */
const struct sup_node *registry_node(struct server *, const char *name);
/* Its worker; also one of the config whose turn to start hasn't come yet. */
struct worker *registry_worker(struct server *, const char *name);
/* Each of these has put its rows when it returns, and submitted nothing.  0 or an error. */
int registry_register(struct worker *, const char *alias);
int registry_unregister(struct worker *, const char *alias);
int registry_put(struct worker *, const char *name, const void *data, size_t len);
const struct alias *registry_alias(struct server *, const char *name); /* NULL: none */
const struct alias *registry_next(struct server *, const struct alias *from, const char *prefix);
const struct value *registry_value(struct server *, const char *name); /* NULL: none */
/* Its own name is known now: it is nobody else's. */
void registry_claim(struct worker *);
/* Its end for good: all that it has is free.  Rows are put, not submitted. */
void registry_over(struct worker *);
/* What an earlier supervisor has left; then, when the tree is there, what of it has no owner any more goes. */
int registry_load(struct server *, const struct rowset *);
void registry_settle(struct server *);
/* Frees the memory, no more. */
void registry_free(struct server *);
/* Puts a row, or deletes it. */
void registry_row(struct server *, enum stash__name_kind, const char *name, const char *other,
    const struct stash__name_row *row /* NULL: gone */);

/* ---- group.c ---- */
int group_join(struct worker *, const char *group);
int group_leave(struct worker *, const char *group);
void group_over(struct worker *);
/* The members of a group by name; NULL begins, NULL ends. */
const struct member *group_next(struct server *, const char *group, const struct member *);
int group_load(struct worker *, const char *group, const struct stash__name_row *);
void group_free(struct server *);

/* ---- monitor.c ---- */
int monitor_begin(struct worker *watcher, const char *name, int64_t *ref);
void monitor_end(struct worker *watcher, int64_t ref);
void monitor_over(struct worker *watcher);
/* An incarnation was let go: whatever ran under its name before is over. */
void monitor_went(struct life *);
/* An incarnation that was let go has ended: rows are put, nobody is told yet. */
void monitor_died(struct worker *, uint64_t incarnation, enum stash_reason);
/* Its last incarnation is over, by what is known of it, and nobody has said how. */
void monitor_lost(struct worker *);
/* Tells the living incarnations of all who watch it; or this watcher, what it wasn't told. */
void monitor_tell(struct worker *target);
void monitor_tell_news(struct worker *watcher);
/* The same to a new incarnation of it, which is told everything that isn't taken. */
void monitor_catch_up(struct worker *watcher);
/* The watcher has what it was told, up to that number. */
void monitor_taken(struct worker *watcher, uint64_t number);
int monitor_load(struct worker *watcher, const char *target, const struct stash__name_row *);
void monitor_free(struct server *);

/* ---- nameword.c: STASH__W_NAMES, STASH__W_TAKEN ---- */
void names_asked(struct life *, struct mail *);
void names_taken(struct life *, struct mail *);

/* ---- namequery.c ---- */
void query_names(struct peer *, uint64_t number, const char *prefix);
void query_value(struct peer *, uint64_t number, const char *name);
void query_group(struct peer *, uint64_t number, const char *group);
/* An alias is somebody else's, or nobody's: clients that have a channel under it open another one. */
void query_freed(struct worker *before, const char *alias);

#endif
