/* SPDX-License-Identifier: ISC */
/*
 * What the files config*.c share: the memory of a config, its text with includes
 * put in place, and the one table of keys that the parser, its messages and the
 * manual are made from. Nobody else includes this, but the tests.
 */
#ifndef STASHD_CONFIG_PARTS_H
#define STASHD_CONFIG_PARTS_H

#include <bsd/sys/queue.h>
#include <libconfig.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <stash/version.h>

#include "stashd/config.h"

/* ---- a config, while it is read and after ---- */

struct conf_block;

struct conf_mistake {
	TAILQ_ENTRY(conf_mistake) entry;
	unsigned line; /* of the text */
	char *text;
};
TAILQ_HEAD(conf_mistakes, conf_mistake);

/* Where a line of the text comes from. */
struct conf_line {
	const char *file;
	unsigned line;
};

/* All files in one, without comments; lines[0] is line 1. */
struct conf_text {
	char *data;
	size_t len, room;
	struct conf_line *lines;
	size_t nlines, lines_room;
	unsigned includes; /* so far */
};

/* A child of the tree, in the order of the file; lines are those of its group and of its keys, 0: not written. */
struct conf_node {
	TAILQ_ENTRY(conf_node) entry;
	struct stash_child_spec *spec;
	const void *siblings; /* the array that it is in */
	const char *path;
	bool template; /* of a simple_one_for_one: its name is nobody's */
	unsigned id_line, name_line, module_line;
};
TAILQ_HEAD(conf_nodes, conf_node);

struct conf {
	struct stash__supervise_config store;
	struct stash_supervisor_spec tree;
	struct stash_child_spec child; /* of a text that is one child of above */
	const char *above;	       /* NULL: the text is a whole config */
	const char *dir;	       /* relative paths start here: as it was given, and absolute */
	const char *absolute_dir;
	size_t workers;
	struct conf_text text;
	struct conf_nodes nodes;
	struct conf_mistakes mistakes;
	struct conf_block *memory;
	bool nomem; /* an allocation has failed: what is there is incomplete */
};

/* ---- config_memory.c: all that a config consists of, freed at once ---- */

struct conf *conf_create(void);
/* Zeroed, aligned for anything; NULL sets conf->nomem. */
void *conf_alloc(struct conf *conf, size_t size);
char *conf_copy(struct conf *conf, const char *text, size_t len);
char *conf_printf(struct conf *conf, const char *fmt, ...) STASH_PRINTF(2, 3);
/* dir/path, or path if it is absolute. */
char *conf_join(struct conf *conf, const char *dir, const char *path);
/* The directory that a file lies in. */
char *conf_dirname(struct conf *conf, const char *path);
/* A mistake on that line of the text; about: the key. */
void conf_mistaken(struct conf *conf, unsigned line, const char *about, const char *fmt, ...) STASH_PRINTF(4, 5);

/* ---- config_text.c ---- */

/* Reads the text with all includes into conf->text. 0, with or without mistakes; else what conf_parse_file() says. */
int conf_read_file(struct conf *conf, const char *path);
int conf_read_string(struct conf *conf, const char *text, const char *file);
/* A line of the text, blanks around it left out; *len bytes, not ended by a NUL. */
const char *conf_line_text(const struct conf *conf, unsigned line, size_t *len);

/* ---- config_keys.c ---- */

/*
 * The groups in which a key may stand: a nested supervisor has those of SUPERVISOR and CHILD, a worker those of CHILD
 * and WORKER.
 */
enum {
	CONF_FILE = 1,
	CONF_STORE = 2,
	CONF_SUPERVISOR = 4,
	CONF_CHILD = 8,
	CONF_WORKER = 16,
	CONF_TOP = 32 /* no key is; with SUPERVISOR: the top one */
};

enum conf_type {
	CONF_GROUP,    /* { } */
	CONF_CHILDREN, /* ( { }, ... ) */
	CONF_ID,       /* text that is a name */
	CONF_NAME,     /* the same, or "" */
	CONF_MODULE,   /* text, a file */
	CONF_DIR,      /* text, an absolute path */
	CONF_EXEC,     /* list of text */
	CONF_ARGS,     /* list of text and numbers */
	CONF_USERS,    /* list of names of users, or their numbers; struct access_ids */
	CONF_GROUPS,   /* the same of groups */
	CONF_BOOL,
	CONF_NOT,  /* bool; the field is its opposite */
	CONF_WORD, /* one of words */
	CONF_NUMBER,
	CONF_DURATION, /* number of units, or text with a unit, or one of words */
	CONF_SIZE      /* bytes, or text with a unit */
};

struct conf_word {
	const char *word; /* NULL: the end */
	int64_t value;
	bool later; /* known, but not in this version */
};

/* Of same: none. */
#define CONF_NO_VALUE INT64_MIN

struct conf_key {
	const char *key; /* NULL: the end of the table */
	unsigned where;	 /* one of the groups */
	enum conf_type type;
	size_t offset, width; /* of the field; of the config, supervisor or child, by where */
	const struct conf_word *words;
	int64_t min, max; /* of a number, a size, a duration in units */
	int64_t unit_ns;  /* of a duration */
	int64_t zero;	  /* what the field gets for a written 0 */
	bool bare;	  /* a duration may be written as a number */
	bool later;	  /* not in this version, except that the value same may be written */
	int64_t same;	  /* of later */
	const char *dflt; /* for people: what it is if left out */
};

extern const struct conf_key conf_keys[];

/* The key of that name in one of those groups; NULL: none. */
const struct conf_key *conf_key_find(const char *name, unsigned where);
/* Adds the mistake that name is no key there. */
void conf_key_unknown(struct conf *conf, unsigned line, const char *name, unsigned where);
/* A group in words, "a worker"; what a key takes in words, as the manual has it. */
const char *conf_where_text(unsigned where);
char *conf_type_text(struct conf *conf, const struct conf_key *key);
/* Its words for a message: "a", "b" or "c". */
char *conf_words_text(struct conf *conf, const struct conf_word *words);

/* ---- config_value.c ---- */

/* Reads a setting into the key's field of target; adds mistakes. Of neither CONF_GROUP nor CONF_CHILDREN. */
void conf_read_value(struct conf *conf, const struct conf_key *key, const config_setting_t *setting, void *target);
/* What a setting is, in words: "a number". */
const char *conf_kind_text(const config_setting_t *setting);

/* ---- config_check.c ---- */

/* What can be seen only when all is read: ids and names that are there twice. */
void conf_check_names(struct conf *conf);
/* Where modules are looked for that don't lie beside the config file. */
extern const char conf_module_dir[];
/* The absolute path of a module or a program, as the manual says where they are searched; NULL: a mistake was added. */
const char *conf_find_module(struct conf *conf, unsigned line, const char *module);
const char *conf_find_program(struct conf *conf, unsigned line, const char *program);
/* The number of a user or a group; false: there is none of that name. */
bool conf_find_user(const char *name, uint32_t *id);
bool conf_find_group(const char *name, uint32_t *id);

#endif
