/* SPDX-License-Identifier: ISC */
/*
 * The real world: a scenario is carried out by a stashd of its own with processes as workers, through what anybody may
 * use: config file, clients' requests, SIGKILL, event log. What happens is seen in the event log and by the workers,
 * which ask here how to behave; nothing here knows what is expected.
 *
 *   real.c        one scenario from its directory to its last process; when a step is over
 *   real_steps.c  the steps                    real_spec.c    what is declared, as config and as specifications
 *   real_root.c   stashd: start, end           real_workers.c the workers' questions, their lives
 *   real_log.c    the event log                real_look.c    what processes do at a moment
 *   real_ask.c    requests that wait for their answer, real_posts.c those that don't; real_words.c answers in words
 *   real_host.c   where a config can't say it (a supervisor that is ignored, a wrong flag): a program of the replayer's
 *                 own with the tree embedded, which asks here what each supervisor's init is
 */
#ifndef REPLAY_REAL_H
#define REPLAY_REAL_H

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/types.h>

#include <stash/stash.h>

#include "client/client.h"
#include "replay/inside.h"

/*
 * Times of a scenario, in ms, as they are here: so much longer that a busy machine is no reason for a kill. The factor
 * divides no default, so that what was stretched can be told.
 */
int32_t real_stretch(int32_t ms);
int32_t real_unstretch(int32_t ms);

/* A process that a worker's module runs in. */
struct proc {
	struct proc *next;
	struct path *path;
	int fd, pidfd;
	pid_t pid;
	enum life life;
	/* what it has asked, and when; answered in its turn */
	enum { ASKS_NOTHING = 0, ASKS_INIT, ASKS_STOP } asks;
	int64_t asked_ns;
};

/* What was seen in this step, and when. */
struct mark {
	int64_t time_ns; /* CLOCK_REALTIME */
	size_t order;
	char *line;
};
struct marks {
	struct mark *at;
	size_t count;
};

struct real_post; /* a post without an answer */
struct real_call; /* a "do" without an answer */

/* What the processes of stashd do, as one look showed them. */
struct look {
	uint64_t hash;
	bool moving;   /* some process is on its way from one state to another */
	bool stopping; /* some process is about to be dead */
	pid_t first;   /* of those that haven't asked yet how to start, the one that was made first; 0: none */
	bool root;     /* the top supervisor lives */
};

/* The answer that was given last, until the event log has what follows from it. */
struct effect {
	const struct path *path; /* NULL: nothing is waited for */
	bool start;
	int64_t since_ns;
};

struct real {
	struct world w;	      /* what is declared, and how paths behave; no machine */
	pthread_mutex_t lock; /* of w: supervisors' inits are asked for at any time */
	char dir[PATH_MAX / 2], store[PATH_MAX];
	int listener;
	struct proc *procs;
	struct effect effect;
	/* the tree */
	bool hosted; /* by the replayer's own program */
	pid_t pid;   /* of stashd; 0: none */
	int pidfd, hook;
	bool stopping;		     /* it was asked to */
	const struct item *starting; /* the start that wasn't answered yet */
	unsigned starts;
	struct stash_client *client; /* for looks and posts */
	struct stash_client *caller; /* for a "do", which is made by a thread */
	struct real_post *posts;
	struct real_call *call;
	int wake;			/* by that thread */
	uint64_t seq;			/* the last event seen */
	char failed[SUP_TERM_MAX + 20]; /* the start's answer, if root wasn't started */
	/* this step */
	struct marks events, answers;
	struct lines noproc;
	bool moved;  /* something was seen since this was last asked */
	bool broken; /* something went wrong that is no scenario's business */
};

/* real.c */
/* Whether everything was as expected. dir is empty, and stays as it is then. */
bool real_run(const struct scenario *s, const char *dir);
void real_complain(struct real *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int64_t real_time_ns(void);
void real_event(struct real *r, int64_t time_ns, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* To a "do" (tag NULL) or a post. */
void real_answer(struct real *r, const char *tag, int64_t time_ns, const char *text);
void real_settle(struct real *r);
const char *real_tag(const struct item *it); /* NULL: of a "do" */
char *const *real_words(const struct item *it);

/* real_steps.c */
void real_step(struct real *r, const struct item *it);

/* real_spec.c */
bool real_needs_host(const struct scenario *s);
int real_write_config(struct real *r, const char *file);
/* A supervisor's specification as it is now declared, for a machine. */
struct sup_spec *real_sup_spec(struct real *r, const char *path);
/* What start_child() is given; valid until real_child_free(). */
struct real_child;
const struct stash_child_spec *real_child_spec(struct real *r, const char *path, struct real_child **child);
const struct stash_child_spec *real_instance_spec(
    struct real *r, const char *above, const char *label, struct real_child **child);
void real_child_free(struct real_child *child);
/* Of a request; NULL: it has none. */
const struct stash_child_spec *real_request_spec(struct real *r, char *const *word, struct real_child **child);
bool real_is_simple(struct real *r, const char *path);
/* The id by which a request means it: an instance's name, if there was one with that label. */
const char *real_id(struct real *r, const char *above, const char *label, char *buf, size_t size);
/* Of a path or an id in the tree: the scenario's. */
const char *real_label(const char *path, char *buf, size_t size);

/* real_root.c */
void real_root_start(struct real *r, const struct item *it);
void real_root_stop(struct real *r);
void real_root_look(struct real *r); /* has it ended? */
void real_root_kill(struct real *r);
int real_host(int argc, char **argv); /* --host */

/* real_workers.c */
int real_workers_listen(struct real *r);
/* Hears what they say, for up to ms. */
void real_workers_hear(struct real *r, int ms);
struct proc *real_proc(const struct real *r, const struct path *path);
struct proc *real_proc_pid(const struct real *r, pid_t pid);
void real_proc_tell(struct real *r, const struct proc *proc, const char *text);
void real_proc_outcome(struct real *r, struct proc *proc, const char *outcome);
/* Answers the question whose turn it is, if its turn has come; whether there are any. */
bool real_workers_answer(struct real *r, const struct look *look);
/* A start (or its failure), or an end, of that path is in the event log. */
void real_workers_effect(struct real *r, const char *path, bool start);
bool real_proc_dead(const struct proc *proc);
void real_procs_free(struct real *r);

/* real_log.c */
void real_log_read(struct real *r);

/* real_ask.c */
void real_ask(struct real *r, const struct item *it);
bool real_ask_busy(const struct real *r); /* a "do" isn't answered */
void real_ask_end(struct real *r);	  /* takes its answer, if it has come */
bool real_connect(struct real *r);
void real_disconnect(struct real *r);

/* real_posts.c */
void real_post(struct real *r, const struct item *it);
void real_posts_end(struct real *r);	/* those that are answered */
void real_posts_unlink(struct real *r); /* from a connection that is about to be closed */
void real_posts_over(struct real *r);	/* root has ended: no answers come any more */

/* real_look.c */
void real_look(struct real *r, struct look *look);

/* real_words.c */
struct real_children {
	FILE *f;
	bool simple;
	size_t count;
};
FILE *real_word_file(char **text, size_t *len);
void real_word_error(FILE *f, int error, const char *term);
int real_word_child(void *children, const struct stash_process *p);
void real_word_counts(FILE *f, uint64_t specs, uint64_t active, uint64_t supervisors, uint64_t workers);
int real_word_spec(void *f, const struct stash_child_spec *spec);

#endif
