/* SPDX-License-Identifier: ISC */
/*
 * What the test programs share: a directory and a run directory of its own for each test, counts of
 * what a test leaves behind, programs started and waited for with a bound, and a whole stashd.
 * Every function fails the running test by itself; nothing here ever waits without a bound.
 */
#ifndef TESTS_TESTLIB_H
#define TESTS_TESTLIB_H

#include <check.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

/* ---- the frame ---- */

/* The whole main(): runs the suites as CK_* say, prints what Check prints, exits 0 or 1. */
#define TEST_MAIN(...) \
	int main(void) \
	{ \
		return t_main((t_suite_fn *const[]){ __VA_ARGS__, NULL }); \
	}
typedef Suite *t_suite_fn(void);
int t_main(t_suite_fn *const *suites);

/*
 * A case whose tests each run between t_setup and t_teardown, added to `suite`. `seconds` bounds each
 * test (CK_TIMEOUT_MULTIPLIER stretches it, for sanitizers and valgrind).
 */
TCase *t_case(Suite *suite, const char *name, int seconds);

/*
 * t_setup: makes both directories, sets RUNTIME_DIRECTORY, becomes the reaper of everything that the
 * test starts, notes the descriptors and shared maps. t_teardown: fails the test if a child is left,
 * or another number of descriptors or maps; removes the directories.
 */
void t_setup(void);
void t_teardown(void);

/* How much longer than on a plain build things may take here: 1, or more under sanitizers, valgrind. */
int t_patience(void);

/* ---- files; the directories belong to the running test ---- */

const char *t_dir(void);     /* on disk, empty at first */
const char *t_run_dir(void); /* on tmpfs, empty at first; is RUNTIME_DIRECTORY */
/* A path in t_dir(); lives until the end of the test. */
const char *t_path(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void t_write_file(const char *path, const char *text);
/* The whole file, NUL behind it, to be freed by the caller; `len` may be NULL. */
char *t_read_file(const char *path, size_t *len);
/* Removes a tree; missing is fine. Returns how many entries it held, the top not counted. */
int t_remove_tree(const char *path);
/* What was built, by its name in the build directory: "stashd", "examples/sequence.so". */
const char *t_build(const char *name);
const char *t_points(const char *name); /* the same of the build with crash points */

/* ---- what is left behind ---- */

int t_fd_count(void);
int t_map_count(void); /* shared maps of this process */
/* Living children of `parent` (0: of this process), zombies too. Up to `max` pids, returns how many. */
int t_children(pid_t parent, pid_t *pids, int max);
/* Reaps and waits until no child is left, at most `ms`; names and kills those left and fails. */
void t_no_children(int ms);
/* The same without failing or killing: names those left on `out`, returns how many. */
int t_name_children(FILE *out, int ms);

/* ---- waiting ---- */

/* Asks every millisecond until `done(arg)` is true: true; or `ms` (times t_patience()) are over: false. */
bool t_wait_for(bool (*done)(void *), void *arg, int ms);

/* ---- programs ---- */

struct t_proc {
	pid_t pid;	    /* 0: none */
	int pidfd;	    /* open until the program is reaped */
	int status;	    /* as waitpid gives it; -1 before */
	char log[PATH_MAX]; /* file that takes its standard output and error */
};

/*
 * Starts argv[0] (searched in PATH), its standard input empty, its output in a new file of t_dir().
 * `env`: NULL, or "NAME=value" (sets), "NAME" (removes), on top of this process's environment.
 * The program is killed when the test process dies.
 */
void t_spawn(struct t_proc *p, const char *const *argv, const char *const *env);
/* True when it has ended within `ms` (times t_patience()); it is reaped then and `status` is set. */
bool t_ended(struct t_proc *p, int ms);
/* The same, but fails the test if it goes on; returns the exit status, or 256 + signal. */
int t_wait(struct t_proc *p, int ms);
void t_kill(struct t_proc *p, int sig); /* by the pidfd; the caller waits */
/* What it has written so far; to be freed by the caller. */
char *t_output(const struct t_proc *p);
/* Waits until its output holds `text`; fails the test (and shows the output) if it ends or time runs out. */
void t_wait_output(struct t_proc *p, const char *text, int ms);

struct t_result {
	int status; /* exit status, or 256 + signal */
	char *out, *err;
};
/* Runs a program to its end with `input` (NULL: empty) as standard input; at most 30 s (times patience). */
void t_run(struct t_result *r, const char *input, const char *const *argv);
void t_result_free(struct t_result *r);

/* ---- a whole stashd ---- */

struct t_stashd {
	const char *const *env; /* set by the caller, or NULL */
	bool points;		/* set by the caller: the build with crash points */
	const char *binary;	/* set by the caller: another program in its place; NULL: the one that was built */
	struct t_proc proc;
	const char *dir;  /* the store's directory; NULL: "store" in t_dir() */
	const char *conf; /* where the config text is written; NULL: "stashd.conf" in t_dir() */
};

/*
 * Starts it with this config text (NULL: the file as it is) and waits until its socket answers. Zero the
 * struct before the first time; it serves for later starts on the same directory too.
 */
void t_stashd_start(struct t_stashd *d, const char *config);
/* SIGTERM; fails unless it exits with 0 within `ms` and leaves no process (of the test's own programs, none counts). */
void t_stashd_stop(struct t_stashd *d, int ms);
/* SIGKILL to everything that this test has started, all at once, and reaps it. */
void t_kill_all(void);

#endif
