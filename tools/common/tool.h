/* SPDX-License-Identifier: ISC */
/*
 * What the tools have in common: a program is a table of commands and a table
 * of options; one command is one file. tool_run() reads the command line, finds
 * the command and runs it on the streams that it was given, so that a test can
 * run a tool within its own process. Nothing writes anywhere but to these
 * streams, and nothing in here exits, but for want of memory.
 */
#ifndef COMMON_TOOL_H
#define COMMON_TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <stash/stash.h>

struct tool;

/* An option: a letter and a long name, both always. */
struct tool_option {
	char letter;
	const char *name;
	const char *arg; /* what its argument is called; NULL: it takes none */
	const char *help;
};

struct tool_command {
	const char *name;
	const char *usage;   /* its operands: "NAME TAG [DATA...]" */
	const char *help;    /* a line */
	int min, max;	     /* operands; max -1: any number */
	const char *options; /* letters that it takes besides those that all commands take; NULL: none */
	/* argv[0] is the command's name. Returns the exit status. */
	int (*run)(struct tool *tool, int argc, char **argv);
};

struct tool_program {
	const char *name;
	const char *about;			    /* a line */
	const struct tool_command *const *commands; /* ends with NULL */
	const struct tool_command *first;	    /* run if none is given; NULL: that is an error */
	const struct tool_option *options;	    /* ends with a letter of 0; -h and -V are there by themselves */
	const char *common;			    /* letters that every command takes */
};

/* A tool that runs. */
struct tool {
	const struct tool_program *program;
	const struct tool_command *command;
	FILE *in, *out, *err;
	const char *values[128]; /* by letter; "" of an option without argument; NULL: not given */
	const char *dir;	 /* -d; NULL: what the library takes */
	int timeout_ms;		 /* -t; -1: none */
	bool json;		 /* -j */
};

/* A main(): the exit status, the streams flushed. argv as main() has it. */
int tool_main(const struct tool_program *program, int argc, char **argv);
/* The same on other streams. */
int tool_run(const struct tool_program *program, int argc, char **argv, FILE *in, FILE *out, FILE *err);

static inline bool
tool_has(const struct tool *t, char letter)
{
	return t->values[(unsigned char)letter] != NULL;
}

/* ---- what it says when it fails (say.c) ---- */

/* EX_* for a STASH_E_*: the one table of exit codes. */
int tool_exit(int code);
/* "PROGRAM: TEXT" on err, control characters escaped; returns status. */
int tool_fail(const struct tool *t, int status, const char *fmt, ...) STASH_PRINTF(3, 4);
/* The same with stash_errmsg() behind ": " and OTP's term in parentheses, and the exit code for it. */
int tool_error(const struct tool *t, int code, const char *fmt, ...) STASH_PRINTF(3, 4);
/* A wrong command line: the same, then how it should look. EX_USAGE. */
int tool_usage(const struct tool *t, const char *fmt, ...) STASH_PRINTF(2, 3);
/* status, unless out couldn't be written: then it says so. Each command ends with this. */
int tool_end(const struct tool *t, int status);
bool tool_terminal(FILE *f);
/* Bytes from outside: as they are into a pipe; on a terminal escaped, but lines stay lines. */
void tool_put(FILE *f, const void *data, size_t len);
/* A path in a command that is shown: quoted for a shell, if it needs that. */
void tool_path(FILE *f, const char *path);

/* ---- numbers on the command line (args.c) ---- */

/* "2", "0.5", "500ms", "2m", "infinity" (-1), in milliseconds. False: none of these. */
bool tool_milliseconds(const char *text, int *ms);
/* -t, else that default. */
int tool_timeout(const struct tool *t, int otherwise_ms);

/* ---- names (target.c) ---- */

/*
 * What a command's operand means: a name, or, with a '/', a child's path, for which the
 * supervisor is asked. STASH_E_NOENT names what is near.
 */
int tool_target(struct stash_client *client, const char *operand, char name[STASH_NAME_MAX + 1], int timeout_ms);

/* The same for a command that takes NAME, a path, or the pair SUPERVISOR ID: argc words of it, 1 or 2. */
int tool_target_words(
    struct stash_client *client, int argc, char **argv, char name[STASH_NAME_MAX + 1], int timeout_ms);

/* A child as OTP's requests name it. The words as above; a name is looked up. */
struct tool_child {
	char supervisor[STASH_PATH_MAX + 1], id[STASH_NAME_MAX + 1];
};
int tool_child(struct stash_client *client, int argc, char **argv, struct tool_child *child);

/* Opens a client; the exit status of a failure, which it has told, or 0. */
int tool_connect(const struct tool *t, struct stash_client **client);

#endif
