/* SPDX-License-Identifier: ISC */
/*
 * Processes of another user, for tests that run as root; what they find comes back as text.
 */
#ifndef TESTS_TESTLIB_USERS_H
#define TESTS_TESTLIB_USERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Numbers that nobody on a usual system has but nobody itself. */
#define T_STRANGER 65534u
#define T_OTHER 65533u
#define T_GROUP 64242u

/* What the config's store says of the stranger. */
#define T_ALLOW_STRANGER "allow_users = [65534];"
#define T_STRANGER_READS "read_only_users = [65534];"

struct t_stashd;

/* Not root: these tests can't be run, and the reason is printed. */
bool t_no_users(void);
/* Lets other users through the directories of the running test, down to the given one. */
void t_open_dirs(void);
/* A stashd with the worker "echo" and that much more about its store; false: t_no_users(). */
bool t_users_begin(struct t_stashd *, const char *store);

struct t_user {
	uid_t uid;
	gid_t gid;   /* 0: the same number as uid */
	gid_t extra; /* a further group; 0: none */
};
/*
 * Runs fn in a child that is that user. It returns NULL, or what is wrong, which fails the test. The child has no
 * memory of the parent's clients: it opens its own.
 */
typedef const char *t_user_fn(void *arg);
void t_as_user(const struct t_user *, t_user_fn *, void *arg);
/* The same in two halves. */
pid_t t_user_start(const struct t_user *, t_user_fn *, void *arg, int *words);
void t_user_end(pid_t, int words);

/* In the child: calls, casts and finds the worker of t_users_begin(); the struct t_stashd is its argument. */
const char *t_calls(void *stashd);

/* In shared memory: what goes on between both for a while. */
struct t_storm {
	_Atomic uint64_t calls, done;
	_Atomic bool stop;
};

/* In the child: a sentence out of printf's words, good until the next one. */
const char *t_wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
