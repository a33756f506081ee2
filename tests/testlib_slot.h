/* SPDX-License-Identifier: ISC */
/*
 * A worker without supervisor and stash: the test plays both.  It makes slot, bell page and status page in a directory,
 * forks a process that runs a behaviour, says START, GO and ATTACH to it, and folds its entries in a thread.
 */
#ifndef TESTS_TESTLIB_SLOT_H
#define TESTS_TESTLIB_SLOT_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#include <stash/behaviour.h>

#include "base/buf.h"
#include "shm/channel.h"
#include "shm/slot.h"

#define T_CHANNELS 200

struct t_world {
	int dirfd;
	const char *dir;
	struct stash__out out;
	struct stash__in in;
	int bell, stash_bell, bell_page_fd, status_fd;
	struct stash__bell_page *bell_page;
	int control;
	pid_t pid;
	uint64_t incarnation;
	bool ack_disk;
	int64_t spin_ns;
	bool refuses;	/* set by the test: there is no more room in the slot */
	unsigned grows; /* how often room was asked for */
	/* what the folding thread knows; kept under lock */
	pthread_mutex_t lock;
	pthread_t folder;
	_Atomic bool stop, hold; /* hold: folds nothing */
	_Atomic bool no_disk;	 /* folds, but nothing becomes durable */
	struct stash__base base;
	struct stash__row rows[T_CHANNELS];
	unsigned char *image;
	uint64_t broken;
	int memfds[T_CHANNELS], bells[T_CHANNELS];
	struct stash__channel channels[T_CHANNELS];
	unsigned nchannels;
};

void t_world_open(struct t_world *, uint64_t image_bytes);
void t_world_close(struct t_world *);
/* Forks the worker and says START; then GO unless `wait`; attaches every channel that was made. */
void t_world_start(struct t_world *, const struct stash_behaviour *, bool wait);
void t_world_go(struct t_world *);
/* Waits for READY: its error. */
int t_world_ready(struct t_world *);
/* Waits for the end of the worker: its wait status; and folds all that it left. */
int t_world_wait(struct t_world *);
/* Makes a channel and its row; attaches it if a worker runs. */
unsigned t_world_channel(struct t_world *, uint64_t ring_bytes);
void t_world_attach(struct t_world *, unsigned channel, bool gone);
void t_world_say_gone(struct t_world *, unsigned channel);
/* Waits for a message of that type from the worker, and skips others; the rest of it is read by the caller. */
void t_world_expect(struct t_world *, int type, struct stash_view *);
/* Answers the worker's GROW, for which it waits. */
void t_world_grow(struct t_world *);
/* The same for one that was read already: what it asked for is given or, if the world refuses, isn't. */
void t_world_give(struct t_world *, int64_t image, int64_t ring);
/* Waits until the worker asks for the fields of that layout, and answers: NULL: it has none. */
void t_world_tell(struct t_world *, const char *layout, int64_t version, const struct stash_field *, uint64_t len);
/* Folds what is there: the state as folded is to be read under the lock. */
void t_world_fold(struct t_world *);
/* The thread folds nothing from now on, until the test takes `hold' back. */
void t_world_hold(struct t_world *);

/* A client of one of its channels. */
struct t_caller {
	struct t_world *t;
	struct stash__channel *c;
	unsigned channel;
	uint64_t tail, count, head;
	struct stash__copy copy;
	struct stash__message m; /* the answer that was read last */
};

void t_caller_open(struct t_caller *, struct t_world *, unsigned channel);
void t_caller_close(struct t_caller *);
/* A world with one caller, whose worker is ready; and its end, in order, without a broken rule. */
void t_world_begin(
    struct t_world *, struct t_caller *, const struct stash_behaviour *, uint64_t image_bytes, uint64_t ring_bytes);
void t_world_finish(struct t_world *, struct t_caller *);
/* Publishes a message of that kind; its number. */
uint64_t t_caller_send(struct t_caller *, uint32_t kind, const char *tag, const char *text);
/* A call. */
uint64_t t_caller_ask(struct t_caller *, const char *tag, const char *text);
/* Waits for the next answer. */
void t_caller_answer(struct t_caller *);
void t_caller_answer_growing(struct t_caller *); /* the world gives, or refuses, room meanwhile */
/* Both, for a call that is answered with this code and text. */
void t_caller_expect(struct t_caller *, const char *tag, const char *text, int code, const char *answer);

#endif
