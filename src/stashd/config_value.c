/* SPDX-License-Identifier: ISC */
/*
 * One setting of libconfig into one field, by the type of its key: what is
 * allowed is in the table of keys, how it is told that something is wrong is in
 * here. A field is only written when the value is right.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/name.h"
#include "base/parse.h"
#include "base/text.h"
#include "stashd/config_parts.h"

/* A setting that is being read. */
struct reading {
	struct conf *conf;
	const struct conf_key *key;
	const config_setting_t *setting;
	unsigned line;
	void *field;
};

static const char *
text_of(const struct reading *r)
{
	return config_setting_get_string(r->setting);
}

static bool
is_text(const config_setting_t *setting)
{
	return config_setting_type(setting) == CONFIG_TYPE_STRING;
}

static bool
is_integer(const config_setting_t *setting)
{
	int type = config_setting_type(setting);

	return type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64;
}

static int64_t
integer_of(const config_setting_t *setting)
{
	if (config_setting_type(setting) == CONFIG_TYPE_INT)
		return config_setting_get_int(setting);
	return config_setting_get_int64(setting);
}

const char *
conf_kind_text(const config_setting_t *setting)
{
	switch (config_setting_type(setting)) {
	case CONFIG_TYPE_STRING:
		return "text";
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		return "a number";
	case CONFIG_TYPE_FLOAT:
		return "a number with a fraction";
	case CONFIG_TYPE_BOOL:
		return "a boolean";
	case CONFIG_TYPE_GROUP:
		return "a group";
	default:
		return "a list";
	}
}

/* What a duration or a size may be, with its words. */
static const char *
wanted_measure(const struct reading *r)
{
	const char *words = conf_words_text(r->conf, r->key->words);
	const char *of;

	if (r->key->type == CONF_SIZE)
		return "a number of bytes, or text with a unit like \"64M\"";
	if (!r->key->bare)
		return "text with a unit like \"50us\", \"2ms\", or 0";
	if (r->key->unit_ns == STASH__NS_PER_S)
		of = "a number of seconds, or text with a unit like \"5s\", \"2m\"";
	else
		of = "a number of milliseconds, or text with a unit like \"500ms\", \"5s\"";
	return words == NULL || *words == '\0' ? of : conf_printf(r->conf, "%s, or %s", of, words);
}

static const char *
wanted(const struct reading *r)
{
	switch (r->key->type) {
	case CONF_GROUP:
		return "a group, { ... }";
	case CONF_CHILDREN:
		return "a list of groups, ( { ... }, { ... } )";
	case CONF_ID:
	case CONF_NAME:
		return "a name, in quotes";
	case CONF_MODULE:
		return "the path of a .so, in quotes";
	case CONF_DIR:
		return "an absolute path, in quotes";
	case CONF_EXEC:
		return "a list of texts, [\"PROGRAM\", \"ARGUMENT\"]";
	case CONF_ARGS:
		return "a list of texts and numbers, (\"a\", 1)";
	case CONF_USERS:
		return "a list of users, names or numbers, (\"web\", 1000)";
	case CONF_GROUPS:
		return "a list of groups, names or numbers, (\"web\", 1000)";
	case CONF_BOOL:
	case CONF_NOT:
		return "true or false";
	case CONF_WORD:
		return conf_printf(r->conf, "one of %s", conf_words_text(r->conf, r->key->words));
	case CONF_NUMBER:
		return "a whole number";
	case CONF_DURATION:
	case CONF_SIZE:
		break;
	}
	return wanted_measure(r);
}

static void
wrong_type(const struct reading *r)
{
	conf_mistaken(r->conf, r->line, r->key->key, "must be %s; this is %s", wanted(r), conf_kind_text(r->setting));
}

static void
not_yet(const struct reading *r)
{
	conf_mistaken(r->conf, r->line, r->key->key, "not in this version of stashd; leave it out");
}

static void
set_pointer(const struct reading *r, const void *value)
{
	memcpy(r->field, &value, sizeof(value));
}

/* The value as it is written: 0 is never "the default". */
static void
set_value(const struct reading *r, int64_t value)
{
	uint32_t narrow;

	if (r->key->later) {
		if (value != r->key->same)
			not_yet(r);
		return;
	}
	if (value == 0)
		value = r->key->zero;
	narrow = (uint32_t)value;
	if (r->key->width == sizeof(narrow))
		memcpy(r->field, &narrow, sizeof(narrow));
	else
		memcpy(r->field, &value, sizeof(value));
}

/* A value in words, in the largest unit in which it is whole. */
static const char *
value_text(const struct reading *r, int64_t value)
{
	static const struct {
		int64_t factor;
		const char *name;
	} times[] = { { STASH__NS_PER_S, "s" }, { STASH__NS_PER_MS, "ms" }, { STASH__NS_PER_US, "us" }, { 1, "ns" } },
	  sizes[] = { { INT64_C(1) << 30, "G" }, { INT64_C(1) << 20, "M" } };
	int64_t ns;
	size_t i;

	if (r->key->type == CONF_SIZE)
		for (i = 0; i < 2; i++)
			if (value % sizes[i].factor == 0)
				return conf_printf(r->conf, "%" PRId64 "%s", value / sizes[i].factor, sizes[i].name);
	if (r->key->type != CONF_DURATION || value == 0 || __builtin_mul_overflow(value, r->key->unit_ns, &ns))
		return conf_printf(r->conf, "%" PRId64, value);
	for (i = 0; ns % times[i].factor != 0; i++)
		;
	return conf_printf(r->conf, "%" PRId64 "%s", ns / times[i].factor, times[i].name);
}

static void
set_in_range(const struct reading *r, int64_t value)
{
	if (value >= r->key->min && value <= r->key->max) {
		set_value(r, value);
		return;
	}
	conf_mistaken(r->conf, r->line, r->key->key, "%s is out of range; %s to %s is allowed", value_text(r, value),
	    value_text(r, r->key->min), value_text(r, r->key->max));
}

static const struct conf_word *
find_word(const struct conf_word *word, const char *text)
{
	for (; word != NULL && word->word != NULL; word++)
		if (strcmp(word->word, text) == 0)
			return word;
	return NULL;
}

/* Whether the text is one of the key's words: then it is dealt with. */
static bool
read_known_word(const struct reading *r)
{
	const struct conf_word *word = find_word(r->key->words, text_of(r));

	if (word == NULL)
		return false;
	if (word->later)
		conf_mistaken(r->conf, r->line, r->key->key, "\"%s\" is not in this version of stashd; %s", word->word,
		    r->key->later ? "leave it out" :
				    conf_printf(r->conf, "take one of %s", conf_words_text(r->conf, r->key->words)));
	else
		set_value(r, word->value);
	return true;
}

#define WORDS_MAX 8

/* "; did you mean X?", or nothing. */
static const char *
hint(const struct reading *r)
{
	const char *words[WORDS_MAX + 1], *nearest;
	const struct conf_word *word;
	size_t n = 0;

	for (word = r->key->words; word != NULL && word->word != NULL && n < WORDS_MAX; word++)
		if (!word->later)
			words[n++] = word->word;
	words[n] = NULL;
	nearest = stash__nearest(text_of(r), words);
	return nearest == NULL ? "" : conf_printf(r->conf, "; did you mean \"%s\"?", nearest);
}

static void
read_word(const struct reading *r)
{
	if (!is_text(r->setting))
		wrong_type(r);
	else if (!read_known_word(r))
		conf_mistaken(r->conf, r->line, r->key->key, "\"%s\" is unknown; it must be %s%s", text_of(r),
		    wanted(r), hint(r));
}

static void
read_number(const struct reading *r)
{
	if (is_integer(r->setting))
		set_in_range(r, integer_of(r->setting));
	else
		wrong_type(r);
}

static void
read_duration_text(const struct reading *r)
{
	int64_t ns;

	if (read_known_word(r))
		return;
	if (stash__parse_ns(text_of(r), &ns) != 0)
		conf_mistaken(
		    r->conf, r->line, r->key->key, "\"%s\" is no duration; write %s%s", text_of(r), wanted(r), hint(r));
	else if (ns % r->key->unit_ns != 0)
		conf_mistaken(r->conf, r->line, r->key->key, "\"%s\" is too fine; whole %s are counted", text_of(r),
		    r->key->unit_ns == STASH__NS_PER_S ? "seconds" : "milliseconds");
	else
		set_in_range(r, ns / r->key->unit_ns);
}

static void
read_duration(const struct reading *r)
{
	if (is_text(r->setting))
		read_duration_text(r);
	else if (!is_integer(r->setting))
		wrong_type(r);
	else if (!r->key->bare && integer_of(r->setting) != 0)
		conf_mistaken(r->conf, r->line, r->key->key, "a number needs a unit here; write %s", wanted(r));
	else
		set_in_range(r, integer_of(r->setting));
}

static void
read_size(const struct reading *r)
{
	uint64_t bytes;

	if (!is_text(r->setting))
		read_number(r);
	else if (stash__parse_size(text_of(r), &bytes) != 0)
		conf_mistaken(r->conf, r->line, r->key->key, "\"%s\" is no size; write %s", text_of(r), wanted(r));
	else
		set_in_range(r, bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes);
}

static void
read_bool(const struct reading *r)
{
	int value = config_setting_get_bool(r->setting);

	if (config_setting_type(r->setting) != CONFIG_TYPE_BOOL)
		wrong_type(r);
	else
		set_value(r, r->key->type == CONF_NOT ? value == 0 : value != 0);
}

static void
read_name(const struct reading *r)
{
	const char *text = text_of(r);

	if (!is_text(r->setting))
		wrong_type(r);
	else if ((*text != '\0' || r->key->type == CONF_ID) && stash__check_name(text) != 0)
		conf_mistaken(r->conf, r->line, r->key->key, "%s; take another", stash_errmsg());
	else
		set_pointer(r, conf_copy(r->conf, text, strlen(text)));
}

static void
read_path(const struct reading *r)
{
	const char *text = text_of(r);

	if (!is_text(r->setting))
		wrong_type(r);
	else if (*text == '\0')
		conf_mistaken(r->conf, r->line, r->key->key, "is empty; it must be %s", wanted(r));
	else if (r->key->type == CONF_MODULE)
		set_pointer(r, conf_find_module(r->conf, r->line, text));
	else if (text[0] != '/')
		conf_mistaken(r->conf, r->line, r->key->key, "\"%s\" must be %s", text, wanted(r));
	else
		set_pointer(r, conf_copy(r->conf, text, strlen(text)));
}

/* A number as short as it can be without another value. */
static const char *
float_text(struct conf *conf, double value)
{
	char text[40];
	int digits;

	for (digits = 15; digits < 18; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, value);
		if (strtod(text, NULL) == value)
			break;
	}
	return conf_copy(conf, text, strlen(text));
}

/* An element as text; NULL: it can't be one. */
static const char *
element_text(const struct reading *r, const config_setting_t *element)
{
	const char *text;

	if (is_text(element)) {
		text = config_setting_get_string(element);
		return conf_copy(r->conf, text, strlen(text));
	}
	if (r->key->type == CONF_EXEC)
		return NULL;
	if (is_integer(element))
		return conf_printf(r->conf, "%" PRId64, integer_of(element));
	if (config_setting_type(element) == CONFIG_TYPE_FLOAT)
		return float_text(r->conf, config_setting_get_float(element));
	return NULL;
}

static void
read_list(const struct reading *r)
{
	const config_setting_t *element;
	const char **list;
	int n, i;

	if (!config_setting_is_array(r->setting) && !config_setting_is_list(r->setting)) {
		wrong_type(r);
		return;
	}
	n = config_setting_length(r->setting);
	list = conf_alloc(r->conf, ((size_t)n + 1) * sizeof(*list));
	for (i = 0; list != NULL && i < n; i++) {
		element = config_setting_get_elem(r->setting, (unsigned)i);
		list[i] = element_text(r, element);
		if (list[i] == NULL && !r->conf->nomem) {
			conf_mistaken(r->conf, config_setting_source_line(element), r->key->key,
			    "must be %s; element %d is %s", wanted(r), i + 1, conf_kind_text(element));
			return;
		}
	}
	if (list != NULL && r->key->type == CONF_EXEC) {
		if (n == 0 || list[0] == NULL || *list[0] == '\0') {
			conf_mistaken(
			    r->conf, r->line, r->key->key, "must be %s; there is no program in it", wanted(r));
			return;
		}
		list[0] = conf_find_program(r->conf, r->line, list[0]);
	}
	set_pointer(r, list);
}

/* One user or group. */
static bool
read_id(const struct reading *r, const config_setting_t *element, uint32_t *id)
{
	unsigned line = config_setting_source_line(element);
	bool user = r->key->type == CONF_USERS;
	const char *name;
	int64_t number;

	if (is_text(element)) {
		name = config_setting_get_string(element);
		if (user ? conf_find_user(name, id) : conf_find_group(name, id))
			return true;
		conf_mistaken(r->conf, line, r->key->key,
		    "there is no %s \"%s\" on this system; add it, or take it out", user ? "user" : "group", name);
	} else if (is_integer(element)) {
		number = integer_of(element);
		*id = (uint32_t)number;
		/* The last number means nobody at all. */
		if (number >= 0 && number < UINT32_MAX)
			return true;
		conf_mistaken(r->conf, line, r->key->key, "%" PRId64 " is out of range; 0 to %" PRIu32 " is allowed",
		    number, UINT32_MAX - 1);
	} else {
		conf_mistaken(
		    r->conf, line, r->key->key, "must be %s; there is %s in it", wanted(r), conf_kind_text(element));
	}
	return false;
}

static void
read_ids(const struct reading *r)
{
	struct access_ids list = { NULL, 0 };
	uint32_t *ids;
	int n;

	if (!config_setting_is_array(r->setting) && !config_setting_is_list(r->setting)) {
		wrong_type(r);
		return;
	}
	n = config_setting_length(r->setting);
	ids = conf_alloc(r->conf, ((size_t)n + 1) * sizeof(*ids));
	for (int i = 0; ids != NULL && i < n; i++)
		if (!read_id(r, config_setting_get_elem(r->setting, (unsigned)i), &ids[list.n++]))
			return;
	list.ids = list.n > 0 ? ids : NULL;
	if (ids != NULL)
		memcpy(r->field, &list, sizeof(list));
}

void
conf_read_value(struct conf *conf, const struct conf_key *key, const config_setting_t *setting, void *target)
{
	static void (*const readers[])(const struct reading *) = { [CONF_GROUP] = wrong_type,
		[CONF_CHILDREN] = wrong_type,
		[CONF_ID] = read_name,
		[CONF_NAME] = read_name,
		[CONF_MODULE] = read_path,
		[CONF_DIR] = read_path,
		[CONF_EXEC] = read_list,
		[CONF_ARGS] = read_list,
		[CONF_USERS] = read_ids,
		[CONF_GROUPS] = read_ids,
		[CONF_BOOL] = read_bool,
		[CONF_NOT] = read_bool,
		[CONF_WORD] = read_word,
		[CONF_NUMBER] = read_number,
		[CONF_DURATION] = read_duration,
		[CONF_SIZE] = read_size };
	struct reading r = { conf, key, setting, config_setting_source_line(setting), NULL };

	if (target != NULL)
		r.field = (unsigned char *)target + key->offset;
	readers[key->type](&r);
}
