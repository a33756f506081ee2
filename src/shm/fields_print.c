/* SPDX-License-Identifier: ISC */
/*
 * A state image as text for people: by its fields, or in hex. What is in the
 * image is foreign: text is escaped, so that it can't steer a terminal or
 * pretend to be another line. Names of fields were checked: no control
 * character is in them.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/text.h"
#include "shm/fields.h"

/* A path of field names: each level may add a name, an index and a dot. */
#define PATH_BYTES ((STASH__FIELDS_DEPTH + 1) * (STASH_NAME_MAX + 16))

struct printer {
	FILE *out;
	char path[PATH_BYTES]; /* of the struct that is printed, with its dot; "" at the top */
	size_t len;
};

static void
print_hex(FILE *out, const unsigned char *at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		fprintf(out, "%02x", at[i]);
}

static void
print_text(FILE *out, const unsigned char *at, size_t len)
{
	putc('"', out);
	for (size_t begin = 0, i = 0; i <= len; i++) {
		if (i < len && at[i] != '"' && at[i] != '\\')
			continue;
		stash__escape_to(out, at + begin, i - begin);
		if (i < len)
			fprintf(out, "\\%c", at[i]);
		begin = i + 1;
	}
	putc('"', out);
}

/* The shortest digits that give the same number again. */
static void
print_float(FILE *out, double value, size_t size)
{
	char text[64];
	int digits = size == sizeof(float) ? 6 : 15, most = size == sizeof(float) ? 9 : 17;

	for (;; digits++) {
		snprintf(text, sizeof text, "%.*g", digits, value);
		if (digits >= most)
			break;
		if (size == sizeof(float) ? strtof(text, NULL) == (float)value : strtod(text, NULL) == value)
			break;
	}
	fputs(text, out);
}

static void
print_time(FILE *out, int64_t ms)
{
	bool before = ms % 1000 < 0;
	int64_t part = before ? ms % 1000 + 1000 : ms % 1000;
	time_t seconds = ms / 1000 - before;
	struct tm tm;
	char day[64], zone[16];

	if (localtime_r(&seconds, &tm) == NULL || strftime(day, sizeof day, "%Y-%m-%d %H:%M:%S", &tm) == 0 ||
	    strftime(zone, sizeof zone, "%z", &tm) == 0)
		fprintf(out, "%" PRId64 " ms", ms);
	else
		fprintf(out, "%s.%03d %s", day, (int)part, zone);
}

static void
print_element(FILE *out, const struct stash_field *f, const unsigned char *at)
{
	switch (f->type) {
	case STASH_TYPE_INT:
		fprintf(out, "%" PRId64, stash__field_int(f, at));
		break;
	case STASH_TYPE_UINT:
		fprintf(out, "%" PRIu64, stash__field_uint(f, at));
		break;
	case STASH_TYPE_FLOAT:
		print_float(out, stash__field_float(f, at), f->size);
		break;
	case STASH_TYPE_BOOL:
		fputs(*at != 0 ? "true" : "false", out);
		break;
	case STASH_TYPE_TEXT:
		print_text(out, at, stash__field_text_len(f, at));
		break;
	case STASH_TYPE_TIME_MS:
		print_time(out, stash__field_int(f, at));
		break;
	default:
		print_hex(out, at, f->size);
		break;
	}
}

static void print_level(struct printer *p, const struct stash_field *fields, const unsigned char *image);

/* Each struct of a field goes one level down, under its name. */
static void
print_structs(struct printer *p, const struct stash_field *f, const unsigned char *at)
{
	size_t was = p->len;

	for (uint32_t i = 0; i < f->count; i++, at += f->size) {
		if (f->count == 1)
			p->len = was + (size_t)snprintf(p->path + was, sizeof p->path - was, "%s.", f->name);
		else
			p->len = was +
			    (size_t)snprintf(p->path + was, sizeof p->path - was, "%s[%" PRIu32 "].", f->name, i);
		print_level(p, f->fields, at);
	}
	p->len = was;
	p->path[was] = '\0';
}

static void
print_field(struct printer *p, const struct stash_field *f, const unsigned char *at)
{
	fprintf(p->out, "%s%s = %s", p->path, f->name, f->count == 1 ? "" : "[");
	for (uint32_t i = 0; i < f->count; i++, at += f->size) {
		if (i > 0)
			fputs(", ", p->out);
		print_element(p->out, f, at);
	}
	fputs(f->count == 1 ? "\n" : "]\n", p->out);
}

static void
print_level(struct printer *p, const struct stash_field *fields, const unsigned char *image)
{
	for (const struct stash_field *f = fields; f->name != NULL && !ferror(p->out); f++) {
		if ((f->flags & STASH_FIELD_SECRET) != 0)
			fprintf(p->out, "%s%s = (secret)\n", p->path, f->name);
		else if (f->type == STASH_TYPE_STRUCT)
			print_structs(p, f, image + f->offset);
		else
			print_field(p, f, image + f->offset);
	}
}

int
stash__fields_print(FILE *out, const struct stash_field *fields, const void *image, size_t len)
{
	struct printer p = { .out = out };
	int result = stash__fields_check(fields, len);

	if (result < 0)
		return result;
	if (fields != NULL)
		print_level(&p, fields, image);
	return ferror(out) ? stash__fail_errno("cannot write a state") : STASH_OK;
}

int
stash__hex_print(FILE *out, const void *image, size_t len)
{
	const unsigned char *at = image;

	for (size_t line = 0; line < len && !ferror(out); line += 16) {
		size_t n = len - line < 16 ? len - line : 16;

		fprintf(out, "%08zx ", line);
		for (size_t i = 0; i < 16; i++)
			fprintf(out, i < n ? " %02x" : "   ", i < n ? at[line + i] : 0u);
		fputs("  |", out);
		for (size_t i = 0; i < n; i++)
			putc(at[line + i] < 0x80 && isprint(at[line + i]) ? at[line + i] : '.', out);
		fputs("|\n", out);
	}
	return ferror(out) ? stash__fail_errno("cannot write a state") : STASH_OK;
}
