/* SPDX-License-Identifier: ISC */
/*
 * The memory of a config: blocks that are freed together, strings, and the list
 * of mistakes. A failed allocation is noted once, in conf->nomem, and the
 * parser's result says it; nobody may use a NULL from here.
 */
#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "stashd/config_parts.h"

#define BLOCK_BYTES ((size_t)16 << 10)

struct conf_block {
	struct conf_block *next;
	size_t used, room;
	alignas(max_align_t) unsigned char data[];
};

struct conf *
conf_create(void)
{
	struct conf *conf = calloc(1, sizeof(*conf));

	if (conf == NULL)
		return NULL;
	TAILQ_INIT(&conf->nodes);
	TAILQ_INIT(&conf->mistakes);
	return conf;
}

void
conf_free(struct conf *conf)
{
	struct conf_block *block;

	if (conf == NULL)
		return;
	while ((block = conf->memory) != NULL) {
		conf->memory = block->next;
		free(block);
	}
	free(conf->text.data);
	free(conf->text.lines);
	free(conf);
}

/* A new block in front: large things get one of their own, with nothing left over. */
static struct conf_block *
add_block(struct conf *conf, size_t size)
{
	size_t room = size > BLOCK_BYTES / 4 ? size : BLOCK_BYTES;
	struct conf_block *block = calloc(1, sizeof(*block) + room);

	if (block == NULL) {
		conf->nomem = true;
		return NULL;
	}
	block->room = room;
	block->next = conf->memory;
	conf->memory = block;
	return block;
}

void *
conf_alloc(struct conf *conf, size_t size)
{
	struct conf_block *block = conf->memory;
	void *memory;

	size = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
	if (block == NULL || block->room - block->used < size)
		block = add_block(conf, size);
	if (block == NULL)
		return NULL;
	memory = block->data + block->used;
	block->used += size;
	return memory;
}

char *
conf_copy(struct conf *conf, const char *text, size_t len)
{
	char *copy = conf_alloc(conf, len + 1);

	if (copy != NULL)
		memcpy(copy, text, len);
	return copy;
}

static char *
conf_vprintf(struct conf *conf, const char *fmt, va_list ap)
{
	char *text, *copy;

	if (vasprintf(&text, fmt, ap) < 0) {
		conf->nomem = true;
		return NULL;
	}
	copy = conf_copy(conf, text, strlen(text));
	free(text);
	return copy;
}

char *
conf_printf(struct conf *conf, const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = conf_vprintf(conf, fmt, ap);
	va_end(ap);
	return text;
}

char *
conf_join(struct conf *conf, const char *dir, const char *path)
{
	if (path[0] == '/' || strcmp(dir, ".") == 0)
		return conf_copy(conf, path, strlen(path));
	return conf_printf(conf, "%s%s%s", dir, dir[strlen(dir) - 1] == '/' ? "" : "/", path);
}

char *
conf_dirname(struct conf *conf, const char *path)
{
	const char *slash = strrchr(path, '/');

	if (slash == NULL)
		return conf_copy(conf, ".", 1);
	return conf_copy(conf, path, slash == path ? 1 : (size_t)(slash - path));
}

/* In the order of the lines; those of one line as they came. */
static void
insert(struct conf_mistakes *list, struct conf_mistake *mistake)
{
	struct conf_mistake *before;

	TAILQ_FOREACH_REVERSE(before, list, conf_mistakes, entry)
		if (before->line <= mistake->line)
			break;
	if (before == NULL)
		TAILQ_INSERT_HEAD(list, mistake, entry);
	else
		TAILQ_INSERT_AFTER(list, before, mistake, entry);
}

void
conf_mistaken(struct conf *conf, unsigned line, const char *about, const char *fmt, ...)
{
	struct conf_mistake *mistake = conf_alloc(conf, sizeof(*mistake));
	size_t at = line == 0 ? 0 : line - 1;
	const struct conf_line *where;
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = conf_vprintf(conf, fmt, ap);
	va_end(ap);
	if (mistake == NULL || text == NULL || conf->text.nlines == 0)
		return;
	where = &conf->text.lines[at < conf->text.nlines ? at : conf->text.nlines - 1];
	mistake->line = line;
	mistake->text = conf_printf(conf, "%s:%u: %s: %s", where->file, where->line, about, text);
	if (mistake->text != NULL)
		insert(&conf->mistakes, mistake);
}

size_t
conf_print_mistakes(const struct conf *conf, FILE *out)
{
	const struct conf_mistake *mistake;
	size_t n = 0;

	TAILQ_FOREACH(mistake, &conf->mistakes, entry) {
		stash__escape_to(out, mistake->text, strlen(mistake->text));
		fputc('\n', out);
		n++;
	}
	return n;
}
