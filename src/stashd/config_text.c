/* SPDX-License-Identifier: ISC */
/*
 * From files to the one text that libconfig parses. Three things are done here
 * because libconfig 1.5 can't: includes are found from the file that they stand
 * in, may be absolute, and one that is a directory or includes itself is a
 * mistake (libconfig would end the process); an integer that needs 64 bits gets
 * the "L" that libconfig wants for it (it would cut it silently); and what is
 * not closed is told by where it begins. Each line of the text knows its file.
 */
#include <sys/stat.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "stashd/config_parts.h"

#define TEXT_MAX ((size_t)64 << 20) /* bytes of all files together */
#define INCLUDES_MAX 1000
#define DEPTH_MAX 10

/* A file that is being copied into the text. */
struct source {
	struct conf *conf;
	const struct source *up; /* what includes it */
	const char *file, *dir;
	const char *at, *end;
	unsigned line, depth;
	dev_t dev;
	ino_t ino;
};

/* The array with room for need elements, moved or not; NULL: it stays as it is. */
static void *
grown(struct conf *conf, void *array, size_t *room, size_t need, size_t element)
{
	size_t count = *room < 256 ? 256 : *room * 2;
	void *bigger;

	if (need <= *room)
		return array;
	bigger = reallocarray(array, count, element);
	if (bigger == NULL)
		conf->nomem = true;
	else
		*room = count;
	return bigger;
}

static void
put(struct source *s, char c)
{
	struct conf_text *text = &s->conf->text;
	char *data = grown(s->conf, text->data, &text->room, text->len + 2, 1);

	if (data == NULL)
		return;
	text->data = data;
	data[text->len++] = c;
	data[text->len] = '\0';
}

/* The next line of the text is the current one of s. */
static void
mark_line(struct source *s)
{
	struct conf_text *text = &s->conf->text;
	struct conf_line *lines = grown(s->conf, text->lines, &text->lines_room, text->nlines + 1, sizeof(*lines));

	if (lines == NULL)
		return;
	text->lines = lines;
	lines[text->nlines++] = (struct conf_line){ s->file, s->line };
}

static void
new_line(struct source *s)
{
	s->at++;
	s->line++;
	put(s, '\n');
	mark_line(s);
}

static bool
looking_at(const struct source *s, const char *what)
{
	size_t len = strlen(what);

	return (size_t)(s->end - s->at) >= len && memcmp(s->at, what, len) == 0;
}

/* The line of the text that is being written. */
static unsigned
here(const struct source *s)
{
	return (unsigned)s->conf->text.nlines;
}

/* From the opening quote to the closing one. */
static void
copy_string(struct source *s)
{
	unsigned begin = here(s);

	put(s, *s->at++);
	while (s->at < s->end && *s->at != '"') {
		if (looking_at(s, "\\x00") || looking_at(s, "\\X00"))
			conf_mistaken(
			    s->conf, here(s), "syntax error", "text can't have a NUL in it; take out the \\x00");
		if (*s->at == '\\' && s->end - s->at > 1 && s->at[1] != '\n')
			put(s, *s->at++);
		if (*s->at == '\n')
			new_line(s);
		else
			put(s, *s->at++);
	}
	if (s->at == s->end)
		conf_mistaken(s->conf, begin, "syntax error", "this text isn't closed; a quote is missing behind it");
	else
		put(s, *s->at++);
}

static void
skip_comment(struct source *s)
{
	unsigned begin = here(s);

	for (s->at += 2; s->at < s->end && !looking_at(s, "*/");) {
		if (*s->at == '\n')
			new_line(s);
		else
			s->at++;
	}
	if (s->at == s->end) {
		conf_mistaken(s->conf, begin, "syntax error", "this comment isn't closed; \"*/\" is missing behind it");
		return;
	}
	s->at += 2;
	put(s, ' ');
}

static void
skip_line_comment(struct source *s)
{
	while (s->at < s->end && *s->at != '\n')
		s->at++;
}

/* A word or a number that begins here: letters, digits, dots, and the sign of an exponent. */
static size_t
token_length(const struct source *s)
{
	const char *p;

	for (p = s->at; p < s->end; p++) {
		if (isalnum((unsigned char)*p) || *p == '.' || *p == '_' || *p == '*')
			continue;
		if ((*p == '-' || *p == '+') && p > s->at && (p[-1] == 'e' || p[-1] == 'E'))
			continue;
		if (*p != '-' || isdigit((unsigned char)*s->at))
			break;
	}
	return (size_t)(p - s->at);
}

/* Whether len bytes are an integer without suffix; its value, UINT64_MAX if it is too large. */
static bool
is_integer(const char *at, size_t len, uint64_t *value)
{
	bool hex = len > 2 && at[0] == '0' && (at[1] == 'x' || at[1] == 'X');
	size_t i = hex ? 2 : 0;
	char digits[40];

	if (!isdigit((unsigned char)at[0]))
		return false;
	for (; i < len; i++)
		if (hex ? !isxdigit((unsigned char)at[i]) : !isdigit((unsigned char)at[i]))
			return false;
	*value = UINT64_MAX;
	if (len < sizeof(digits)) {
		memcpy(digits, at, len);
		digits[len] = '\0';
		*value = strtoull(digits, NULL, hex ? 16 : 10);
	}
	return true;
}

static void
copy_token(struct source *s)
{
	size_t len = token_length(s), i;
	uint64_t value = 0;
	bool integer = is_integer(s->at, len, &value);

	if (integer && value > INT64_MAX)
		conf_mistaken(s->conf, here(s), "number", "%.*s doesn't fit into 64 bits; write a smaller one",
		    (int)(len < 40 ? len : 40), s->at);
	for (i = 0; i < len; i++)
		put(s, *s->at++);
	if (integer && value > INT32_MAX)
		put(s, 'L');
}

/* All that can be read from fd, to be freed by the caller also after a failure. */
static int
read_all(struct conf *conf, int fd, char **data, size_t *len)
{
	size_t room = 0;
	ssize_t got;
	char *bigger;

	*data = NULL;
	*len = 0;
	for (;;) {
		bigger = grown(conf, *data, &room, *len + 4096, 1);
		if (bigger == NULL)
			return stash__fail(STASH_E_NOMEM, "out of memory");
		*data = bigger;
		if (room - *len < 4096)
			continue;
		got = read(fd, *data + *len, 4096);
		if (got == 0)
			return 0;
		if (got > 0)
			*len += (size_t)got;
		else if (errno != EINTR)
			return stash__fail_errno("can't be read");
		if (*len + conf->text.len > TEXT_MAX)
			return stash__fail(STASH_E_SYSTEM, "more than %zu MiB of config", TEXT_MAX >> 20);
	}
}

/* Opens s->file. An include must be a regular file; the first one may also be a pipe. */
static int
open_source(struct source *s)
{
	int fd = open(s->file, O_RDONLY | O_CLOEXEC | O_NOCTTY | (s->up != NULL ? O_NONBLOCK : 0));
	struct stat st;

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return stash__fail(STASH_E_NOENT, "no such file");
	if (fd < 0)
		return stash__fail_errno("can't be read");
	if (fstat(fd, &st) != 0 || S_ISDIR(st.st_mode) || (s->up != NULL && !S_ISREG(st.st_mode))) {
		close(fd);
		return stash__fail(STASH_E_SYSTEM, "isn't a file");
	}
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	return fd;
}

static void copy_source(struct source *s);

static const char *
why_not_include(const struct source *s)
{
	const struct source *up;

	for (up = s->up; up != NULL; up = up->up)
		if (up->dev == s->dev && up->ino == s->ino)
			return "this file includes itself; take the line out";
	if (s->depth > DEPTH_MAX)
		return "includes in includes, too deep; 10 levels are allowed";
	if (++s->conf->text.includes > INCLUDES_MAX)
		return "too many includes; 1000 are allowed";
	return NULL;
}

/* Copies a file that s includes on its line. */
static void
include_file(const struct source *s, const char *path)
{
	struct source in = { .conf = s->conf, .up = s, .line = 1, .depth = s->depth + 1 };
	const char *why;
	char *data = NULL;
	size_t len;
	int fd;

	in.file = conf_join(s->conf, s->dir, path);
	in.dir = in.file == NULL ? NULL : conf_dirname(s->conf, in.file);
	if (in.dir == NULL)
		return;
	fd = open_source(&in);
	why = fd < 0 ? stash_errmsg() : why_not_include(&in);
	if (why == NULL && read_all(s->conf, fd, &data, &len) != 0)
		why = stash_errmsg();
	if (fd >= 0)
		close(fd);
	if (why != NULL) {
		conf_mistaken(s->conf, here(s), "@include", "\"%s\": %s", in.file, why);
	} else {
		in.at = data;
		in.end = data + len;
		s->conf->text.nlines--;
		mark_line(&in);
		copy_source(&in);
	}
	free(data);
}

/* An include stands alone on its line, as libconfig has it: @include "FILE". */
static bool
take_include(struct source *s)
{
	static const char word[] = "@include";
	const char *p = s->at, *quote;
	char *path;

	while (p < s->end && (*p == ' ' || *p == '\t'))
		p++;
	if ((size_t)(s->end - p) < sizeof(word) || memcmp(p, word, sizeof(word) - 1) != 0)
		return false;
	for (p += sizeof(word) - 1; p < s->end && (*p == ' ' || *p == '\t'); p++)
		;
	quote = p < s->end && *p == '"' ? memchr(p + 1, '"', (size_t)(s->end - p) - 1) : NULL;
	if (quote == NULL || quote == p + 1 || memchr(p, '\n', (size_t)(quote - p)) != NULL) {
		conf_mistaken(s->conf, here(s), "@include", "a file in quotes must follow: @include \"FILE\"");
		skip_line_comment(s);
		return true;
	}
	s->at = quote + 1;
	path = conf_copy(s->conf, p + 1, (size_t)(quote - p) - 1);
	if (path != NULL)
		include_file(s, path);
	put(s, '\n');
	mark_line(s);
	return true;
}

static void
copy_one(struct source *s)
{
	unsigned char c = (unsigned char)*s->at;

	if (c == '\n') {
		new_line(s);
	} else if (c == '"') {
		copy_string(s);
	} else if (c == '#' || looking_at(s, "//")) {
		skip_line_comment(s);
	} else if (looking_at(s, "/*")) {
		skip_comment(s);
	} else if (isalnum(c) || c == '.' || c == '_' || c == '*') {
		copy_token(s);
	} else {
		put(s, c == '\r' ? ' ' : (char)c);
		s->at++;
	}
}

static void
copy_source(struct source *s)
{
	const char *begin = s->at;

	if (s->at < s->end && memchr(s->at, '\0', (size_t)(s->end - s->at)) != NULL) {
		conf_mistaken(s->conf, here(s), "syntax error", "this file has a NUL byte; it isn't text");
		return;
	}
	while (s->at < s->end && !s->conf->nomem) {
		bool line_begins = s->at == begin || s->at[-1] == '\n';

		if (!line_begins || !take_include(s))
			copy_one(s);
	}
}

int
conf_read_string(struct conf *conf, const char *text, const char *file)
{
	struct source s = { .conf = conf, .dir = conf->dir, .at = text, .end = text + strlen(text), .line = 1 };

	s.file = conf_copy(conf, file, strlen(file));
	if (s.file != NULL) {
		mark_line(&s);
		copy_source(&s);
	}
	return conf->nomem ? stash__fail(STASH_E_NOMEM, "%s: out of memory", file) : 0;
}

int
conf_read_file(struct conf *conf, const char *path)
{
	struct source s = { .conf = conf, .line = 1 };
	char *data = NULL;
	int fd, error;
	size_t len;

	s.file = conf_copy(conf, path, strlen(path));
	s.dir = conf->dir;
	if (s.file == NULL)
		return stash__fail(STASH_E_NOMEM, "%s: out of memory", path);
	fd = open_source(&s);
	error = fd < 0 ? fd : read_all(conf, fd, &data, &len);
	if (fd >= 0)
		close(fd);
	if (error != 0) {
		error = stash__fail(error, "%s: %s", path, stash_errmsg());
	} else {
		s.at = data;
		s.end = data + len;
		mark_line(&s);
		copy_source(&s);
		error = conf->nomem ? stash__fail(STASH_E_NOMEM, "%s: out of memory", path) : 0;
	}
	free(data);
	return error;
}

const char *
conf_line_text(const struct conf *conf, unsigned line, size_t *len)
{
	const char *at = conf->text.data, *end, *newline;

	*len = 0;
	if (at == NULL)
		return "";
	for (end = at + conf->text.len; line > 1 && (newline = memchr(at, '\n', (size_t)(end - at))) != NULL; line--)
		at = newline + 1;
	newline = memchr(at, '\n', (size_t)(end - at));
	end = newline != NULL ? newline : end;
	while (at < end && isspace((unsigned char)*at))
		at++;
	while (end > at && isspace((unsigned char)end[-1]))
		end--;
	*len = (size_t)(end - at);
	return at;
}
