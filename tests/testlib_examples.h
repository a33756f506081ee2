/* SPDX-License-Identifier: ISC */
/*
 * The examples as a reader runs them: a config of src/examples under a real stashd, and a shell session of real
 * stashctl calls against it, line for line.
 */
#ifndef TESTS_TESTLIB_EXAMPLES_H
#define TESTS_TESTLIB_EXAMPLES_H

#include "testlib.h"
#include "testlib_live.h"

/*
 * Starts stashd on that config of src/examples, with the built modules beside it, and sets STASH_DIR for the
 * session. edits: pairs, what of the config this test wants otherwise, and how; they end with NULL. NULL: none.
 */
void t_example_start(struct t_stashd *, const char *conf, const char *const *edits);

/* "$ stashctl COMMAND": ends well and writes exactly that. The words of a command are parted by single spaces. */
void t_session(const char *command, const char *output);
/* "$ stashctl COMMAND": ends well, and what it writes holds these words. */
void t_session_says(const char *command, const char *words);
/* "$ stashctl COMMAND": ends with that status, and its complaint holds these words. */
void t_session_fails(const char *command, int status, const char *words);
/* The same without a test; its output (standard error too) to be freed by the caller. */
char *t_session_output(const char *command, int *status);

/* Waits until a worker of that name runs with another pid than `old`; returns it. */
pid_t t_reborn(const struct t_stashd *, const char *name, pid_t old);

#endif
