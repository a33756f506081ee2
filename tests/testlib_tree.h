/* SPDX-License-Identifier: ISC */
/*
 * The tree machine under test: built from a few words, driven by hand, its
 * actions written down as lines of text, its rows kept as a supervisor's slot
 * would keep them, and checked after each event.
 */
#ifndef TESTS_TESTLIB_TREE_H
#define TESTS_TESTLIB_TREE_H

#include <stdint.h>

#include "supervisor/machine.h"

/* Rows by key. */
struct t_rows {
	struct sup_row *row;
	size_t count;
};
/* For struct world, too: value NULL removes. */
void t_rows_set(void *rows, const char *key, const void *value, size_t len);
void t_rows_free(struct t_rows *rows);
/* Fails the test unless the rows are exactly those that the machine would write now. */
void t_rows_check(const struct t_rows *rows, const struct sup *sup);

struct t_tree {
	struct sup *sup;
	int64_t now; /* ns; starts at one second */
	struct t_rows rows;
	char *log;
	bool statuses; /* write STATUS lines, too */
};

#define T_MS INT64_C(1000000)

/*
 * A specification: "id" is a worker, "id(...)" a supervisor with those children; behind the id, flags in brackets:
 * one_for_all, rest_for_one, simple; permanent, transient, temporary; brutal, infinity, 500ms; intensity=3, period=10,
 * timeout=100; any, all (auto_shutdown), significant; name=x, nameless.
 * "root[one_for_all,intensity=3](a b[transient] s(x y))"
 */
struct sup_spec *t_spec(const char *text);
/* The same with a difference, by chance, which may make it wrong; fresh: a child to be added. */
struct sup_spec *t_spec_change(
    const struct sup_spec *of, unsigned (*chance)(unsigned), struct sup_spec *(*fresh)(void));

void t_tree_open(struct t_tree *t);
/* Opens it and starts it with that specification. */
void t_tree_start(struct t_tree *t, const char *spec);
void t_tree_close(struct t_tree *t);
/*
 * All actions since the last time, rows put into t->rows, the rest as lines: "START root/a", "SIGNAL root/a",
 * "KILL root/a", "STARTED root/a", "STOPPED root/a crash", "REPLY 7 STASH_E_RUNNING running", "UP", "DONE ...".
 */
const char *t_tree_log(struct t_tree *t);
/* The same, compared with what is expected: lines separated by "; ". */
#define t_tree_is(t, expected) ck_assert_str_eq(t_tree_log(t), expected)

/* Events of the worker at path, in its current start. */
void t_tree_ready(struct t_tree *t, const char *path);
void t_tree_failed(struct t_tree *t, const char *path);
void t_tree_ignored(struct t_tree *t, const char *path);
void t_tree_exit(struct t_tree *t, const char *path, enum stash_reason reason);
void t_tree_ask(struct t_tree *t, uint64_t id, enum sup_request_kind kind, const char *supervisor, const char *child);
void t_tree_add(struct t_tree *t, uint64_t id, const char *supervisor, const char *spec);
/* Another specification; a mistake in it fails the test. */
void t_tree_reload(struct t_tree *t, uint64_t id, const char *spec);
void t_tree_sleep(struct t_tree *t, int64_t ms);
/* Brings every worker that starts up, until none does; its lines are dropped. */
void t_tree_settle(struct t_tree *t);
/* Goes on with another machine, made from the rows. */
void t_tree_takeover(struct t_tree *t, bool new_boot);

#endif
