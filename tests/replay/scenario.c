/* SPDX-License-Identifier: ISC */
/* Reads scenario files, and compares what was seen with what is expected. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay/scenario.h"

static void *
need(void *p)
{
	if (p == NULL) {
		fprintf(stderr, "otp-replay: out of memory\n");
		abort();
	}
	return p;
}

void
lines_add(struct lines *l, const char *fmt, ...)
{
	va_list ap;

	l->line = need(reallocarray(l->line, l->count + 1, sizeof(char *)));
	va_start(ap, fmt);
	if (vasprintf(&l->line[l->count], fmt, ap) < 0)
		need(NULL);
	va_end(ap);
	l->count++;
}

void
lines_clear(struct lines *l)
{
	while (l->count > 0)
		free(l->line[--l->count]);
	free(l->line);
	l->line = NULL;
}

/* ---- reading ---- */

static int
complain(const char *file, int number, const char *what)
{
	fprintf(stderr, "otp-replay: %s:%d: %s\n", file, number, what);
	return -1;
}

static int
kind_of(const char *word)
{
	static const char *const kinds[] = {
		[ITEM_SUPERVISOR] = "supervisor", [ITEM_CHILD] = "child", [ITEM_DO] = "do", [ITEM_POST] = "post"
	};
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(kinds[i], word) == 0)
			return (int)i;
	}
	return -1;
}

void
item_free(struct item *it)
{
	free(it->text);
	free(it->buffer);
	lines_clear(&it->expect);
}

bool
item_parse(struct item *it, const char *line)
{
	char *save = NULL, *word;
	size_t n = 0;
	int kind;

	memset(it, 0, sizeof(*it));
	it->text = need(strdup(line));
	it->buffer = need(strdup(line));
	word = strtok_r(it->buffer, " ", &save);
	kind = word == NULL ? -1 : kind_of(word);
	while (kind >= 0 && (it->word[n] = strtok_r(NULL, " ", &save)) != NULL && n < SCENARIO_WORDS - 1)
		n++;
	it->word[SCENARIO_WORDS - 1] = NULL;
	if (kind < 0 || n == 0 || n == SCENARIO_WORDS - 1 || (kind == ITEM_POST && n < 2)) {
		item_free(it);
		return false;
	}
	it->kind = (unsigned)kind;
	return true;
}

static int
add_item(struct scenario *s, int number, const char *line)
{
	struct item it;

	if (!item_parse(&it, line))
		return complain(s->file, number, "not a line of a scenario");
	s->item = need(reallocarray(s->item, s->count + 1, sizeof(it)));
	s->item[s->count++] = it;
	return 0;
}

static int
add_line(struct scenario *s, int number, char *line)
{
	line[strcspn(line, "\n")] = '\0';
	if (line[0] == '\0' || line[0] == '#')
		return 0;
	if (strncmp(line, "scenario ", 9) == 0) {
		free(s->name);
		s->name = need(strdup(line + 9));
		return 0;
	}
	if (strncmp(line, "expect ", 7) != 0)
		return add_item(s, number, line);
	if (s->count == 0 || s->item[s->count - 1].kind < ITEM_DO)
		return complain(s->file, number, "something is expected where nothing was done");
	lines_add(&s->item[s->count - 1].expect, "%s", line + 7);
	return 0;
}

int
scenario_read(struct scenario *s, const char *file)
{
	char *line = NULL;
	size_t room = 0;
	int number = 0, error = 0;
	FILE *f = fopen(file, "r");

	memset(s, 0, sizeof(*s));
	s->file = need(strdup(file));
	if (f == NULL) {
		perror(file);
		return -1;
	}
	while (error == 0 && getline(&line, &room, f) >= 0)
		error = add_line(s, ++number, line);
	free(line);
	if (ferror(f) != 0 || fclose(f) != 0)
		error = complain(file, number, "can't be read to its end");
	if (error == 0 && s->name == NULL)
		error = complain(file, number, "it has no name");
	return error;
}

void
scenario_free(struct scenario *s)
{
	size_t i;

	for (i = 0; i < s->count; i++)
		item_free(&s->item[i]);
	free(s->item);
	free(s->file);
	free(s->name);
	memset(s, 0, sizeof(*s));
}

const char *
item_option(const struct item *it, const char *key)
{
	size_t len = strlen(key), i;

	for (i = 0; it->word[i] != NULL; i++) {
		if (strncmp(it->word[i], key, len) == 0 && it->word[i][len] == '=')
			return it->word[i] + len + 1;
	}
	return NULL;
}

/* ---- comparing ---- */

static int
compare_words(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The words behind "unordered", in one order. */
static char *
sorted(const char *text)
{
	char *copy = need(strdup(text)), *save = NULL, *word, *words[1024];
	struct lines out = { NULL, 0 };
	size_t n = 0, i;

	for (word = strtok_r(copy, " ", &save); word != NULL && n < 1024; word = strtok_r(NULL, " ", &save))
		words[n++] = word;
	qsort(words, n, sizeof(words[0]), compare_words);
	lines_add(&out, "%s", n > 0 ? words[0] : "");
	for (i = 1; i < n; i++) {
		char *longer;

		if (asprintf(&longer, "%s %s", out.line[0], words[i]) < 0)
			need(NULL);
		free(out.line[0]);
		out.line[0] = longer;
	}
	free(copy);
	word = out.line[0];
	free(out.line);
	return word;
}

static bool
same_line(const char *a, const char *b)
{
	char *left, *right;
	bool same;

	if (strcmp(a, b) == 0)
		return true;
	if (strstr(a, " unordered ") == NULL || strstr(b, " unordered ") == NULL)
		return false;
	left = sorted(a);
	right = sorted(b);
	same = strcmp(left, right) == 0;
	free(left);
	free(right);
	return same;
}

/* The lines from..to in any order at seen[*at]. */
static bool
same_set(char *const *from, size_t n, const struct lines *seen, size_t at)
{
	bool *used = need(calloc(n + 1, sizeof(bool)));
	bool same = true;
	size_t i, j;

	for (i = 0; i < n && same; i++) {
		for (j = 0; j < n; j++) {
			if (!used[j] && same_line(from[j], seen->line[at + i]))
				break;
		}
		same = j < n;
		if (same)
			used[j] = true;
	}
	free(used);
	return same;
}

bool
lines_agree(const struct lines *expected, const struct lines *seen)
{
	size_t at = 0, i, n;

	for (i = 0; i < expected->count; i++) {
		if (strcmp(expected->line[i], "{") != 0) {
			if (at >= seen->count || !same_line(expected->line[i], seen->line[at++]))
				return false;
			continue;
		}
		for (n = 0; i + 1 + n < expected->count && strcmp(expected->line[i + 1 + n], "}") != 0; n++)
			;
		if (at + n > seen->count || !same_set(expected->line + i + 1, n, seen, at))
			return false;
		at += n;
		i += n + 1;
	}
	return at == seen->count;
}

static bool
is_answer(const char *line)
{
	return strncmp(line, "result ", 7) == 0 || strncmp(line, "reply ", 6) == 0;
}

static struct lines
only(const struct lines *all, bool answers)
{
	struct lines some = { NULL, 0 };
	size_t i;

	for (i = 0; i < all->count; i++) {
		if (is_answer(all->line[i]) == answers)
			lines_add(&some, "%s", all->line[i]);
	}
	return some;
}

bool
lines_agree_apart(const struct lines *expected, const struct lines *seen)
{
	bool same = true;

	for (int answers = 0; answers <= 1; answers++) {
		struct lines a = only(expected, answers == 1), b = only(seen, answers == 1);

		same = same && lines_agree(&a, &b);
		lines_clear(&a);
		lines_clear(&b);
	}
	return same;
}
