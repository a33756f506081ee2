/* SPDX-License-Identifier: ISC */
/*
 * stashd's config file: libconfig text in, a specification of the tree and the
 * store's settings out. Every mistake is collected, as "FILE:LINE: KEY: what is
 * wrong; what to do", before anything is refused. Nothing in here starts, makes
 * or changes anything; only conf_check_modules() runs code from outside, in
 * throw-away processes.
 */
#ifndef STASHD_CONFIG_H
#define STASHD_CONFIG_H

#include <stddef.h>
#include <stdio.h>

#include <stash/supervisor.h>

#include "stashd/supervise.h"

struct conf;

/*
 * Parses a file, or a text: then file is its name in messages, and dir is what relative paths in it start from.
 * *conf is to be freed by conf_free(), also after STASH_E_SPEC, when it holds mistakes; else it is NULL.
 * Returns 0; STASH_E_SPEC; STASH_E_NOENT, _ACCES, _SYSTEM: the file can't be read; _NOMEM.
 */
int conf_parse_file(struct conf **conf, const char *path);
int conf_parse_string(struct conf **conf, const char *text, const char *file, const char *dir);
/*
 * One child, "{ id = ...; }", as it stands among children; above: the path of its supervisor, file and dir as above.
 * Without an id it is one of a simple_one_for_one: name and args are all that it may have. What only its supervisor
 * can say is not checked. Returns what conf_parse_string() does.
 */
int conf_parse_child(struct conf **conf, const char *text, const char *above, const char *file, const char *dir);
const struct stash_child_spec *conf_child(const struct conf *conf); /* what conf_parse_child() has read */
void conf_free(struct conf *conf);				    /* NULL is fine */

/* Valid until conf_free(), complete only without mistakes. */
const struct stash__supervise_config *conf_store(const struct conf *conf); /* what the file doesn't say is default */
const struct stash_supervisor_spec *conf_tree(const struct conf *conf);
size_t conf_workers(const struct conf *conf); /* in the whole tree */

/*
 * Loads each module in a process of its own, that is thrown away, and looks at its behaviour; adds mistakes.
 * Returns 0; STASH_E_SPEC; _SYSTEM, _NOMEM.
 */
int conf_check_modules(struct conf *conf);

/* The mistakes, a line for each, in the file's order; safe on a terminal. How many; errors are the stream's. */
size_t conf_print_mistakes(const struct conf *conf, FILE *out);

/* The tree for people; errors are the stream's. */
void conf_print(const struct conf *conf, FILE *out);

#endif
