/* SPDX-License-Identifier: ISC */
/*
 * Judges what the tree machine does, from outside: it sees the events that go in
 * and the actions that come out, keeps its own picture of the tree, and says which
 * rule was broken first. It asks the machine nothing.
 */
#ifndef SIMULATE_ORACLE_H
#define SIMULATE_ORACLE_H

#include <stdbool.h>
#include <stdint.h>

#include "replay/inside.h"

#define WINDOW_MAX 64

/* As far as it can be seen from outside. */
enum phase {
	PHASE_DOWN = 0,
	PHASE_STARTING,
	PHASE_UP,
	PHASE_STOPPING, /* a worker: it was asked to, or killed */
	PHASE_DEAD,	/* has ended unasked, and its supervisor has done nothing about it yet */
	PHASE_RETRY	/* a restart has failed, and the next one has to come */
};

/* Why a child was started. */
enum why { WHY_INIT, WHY_RESTART, WHY_GROUP, WHY_REQUEST };

struct being {
	struct being *above, **child;
	size_t nchild;
	char *path;
	const char *id;
	struct sup_spec *spec;	/* what it said itself when it began */
	struct sup_spec *place; /* what the supervisor above knows of it */
	bool super, instance;
	enum phase phase;
	enum why why;
	enum stash_reason last;
	uint64_t node, start;
	int64_t asked_at; /* SIGNAL came */
	bool signalled, killed, again;
	bool added;   /* its last start was asked for by start_child */
	bool owed;    /* its supervisor has to start it */
	bool leaving; /* temporary, in a group that is stopped */
	/* a supervisor */
	bool through; /* of the supervisor above: its start is over */
	enum sup_init said;
	bool untold; /* is up, and that was not told yet: it may even have ended since then */
	bool unsure; /* a child was stopped or restarted: before or after another one's end had its turn?
			* An instance: was it meant? */
	bool rollback, ending, asked, doomed, group, ghost;
	int64_t window[WINDOW_MAX];
	size_t nwindow;
};

struct plea {
	struct plea *next;
	uint64_t id;
	enum sup_request_kind kind;
	char *supervisor, *child;
	struct sup_spec *spec;
};

/* What a supervisor's init has said; it begins to work later, as far as can be seen. */
struct said {
	struct said *next;
	char *path;
	struct sup_spec *spec;
	enum sup_init outcome;
};

struct oracle {
	struct world *w;
	struct world_watch watch;
	struct being *root;
	struct plea *pleas;
	struct said *said;
	uint64_t last_start;
	bool stop_asked;
	uint64_t events, actions;
	const char *rule; /* the broken one; NULL: none */
	char detail[512];
};

void oracle_open(struct oracle *o, struct world *w);
void oracle_close(struct oracle *o);
void oracle_stop_asked(struct oracle *o);
/* All that the machine can do without another event is done. */
void oracle_quiet(struct oracle *o);
/* Another machine has taken over: it may say again what the old one has said. */
void oracle_taken_over(struct oracle *o);

/* being.c: the picture, and what it takes to keep it */
void broken(struct oracle *o, const char *rule, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
struct being *being_find(const struct oracle *o, const char *path);
struct being *being_child(const struct being *above, const char *id);
struct being *being_add(struct oracle *o, struct being *above, const char *id, struct sup_spec *spec);
void being_remove(struct oracle *o, struct being *b);
void being_clear(struct being *b); /* its children are gone */
bool being_lives(const struct being *b);
bool anything_lives(const struct being *b); /* below it, or itself, if it is a worker */
bool being_busy(const struct being *b);	    /* one of its children is on its way */
bool being_stops(const struct being *b);    /* it was asked to, and lives */
bool being_simple(const struct being *b);
bool wants_restart(const struct being *b);
bool is_unclear(const struct being *b); /* has ended, and nothing comes of it: may be through or not */
bool spec_is_wrong(const struct sup_spec *spec);
struct plea *plea_for(const struct oracle *o, enum sup_request_kind kind, const struct being *above, const char *id);

/* start.c; begin(): NULL if something is broken */
struct being *begin(struct oracle *o, const char *path);
void is_up(struct oracle *o, struct being *b);
void has_failed(struct oracle *o, struct being *b);
void has_ignored(struct oracle *o, struct being *b);
bool is_said(const struct oracle *o, const char *path); /* its init was asked, and it hasn't begun yet */
void drop_said(struct oracle *o, const char *path);
/* stop.c */
bool may_stop(const struct oracle *o, const struct being *c);
/* Whether it would have been asked to by now. */
bool must_stop(const struct oracle *o, const struct being *c);
/* Waits for a child; also for one that has still to hear of it. */
bool being_waits(const struct oracle *o, const struct being *b);
void note_stop(const struct oracle *o, struct being *c); /* it is stopped now */
bool time_is_over(const struct oracle *o, const struct being *c);
bool is_doomed(const struct oracle *o, const struct being *c);
void doom(struct being *b);
void judge_signal(struct oracle *o, const struct sup_action *a);
void judge_kill(struct oracle *o, const struct sup_action *a);
/* report.c */
void judge_report(struct oracle *o, const struct sup_action *a);
bool is_significant_end(const struct being *b, bool all_others);
/* reply.c */
void judge_reply(struct oracle *o, const struct sup_action *a);
void plea_free(struct plea *p);

#endif
