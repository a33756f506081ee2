/* SPDX-License-Identifier: ISC */
/*
 * Processes of another user, for tests that run as root; what they find comes back as text.
 */
#ifndef TESTS_TESTLIB_USERS_H
#define TESTS_TESTLIB_USERS_H

#include <stdbool.h>
#include <sys/types.h>

/* Numbers that nobody on a usual system has but nobody itself. */
#define T_STRANGER 65534u
#define T_OTHER 65533u
#define T_GROUP 64242u

/* Not root: these tests can't be run, and the reason is printed. */
bool t_no_users(void);
/* Lets other users through the directories of the running test, down to the given one. */
void t_open_dirs(void);

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

/* In the child: a sentence out of printf's words, good until the next one. */
const char *t_wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
