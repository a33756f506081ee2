/* SPDX-License-Identifier: ISC */
/*
 * names.c: keys and values of the registry's further rows, made and read.  Knows nothing of who has what.
 */
#include "shm/names.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/name.h"

#define MARK '\x01'
#define BETWEEN '\x1f'

size_t
stash__name_key(
    char key[STASH__NAME_KEY_MAX], enum stash__name_kind kind, const char *name, const char *other, unsigned part)
{
	if (other != NULL)
		return (size_t)snprintf(
		    key, STASH__NAME_KEY_MAX, "%c%c%.200s%c%.200s", MARK, (char)kind, name, BETWEEN, other);
	if (part > 0)
		return (size_t)snprintf(
		    key, STASH__NAME_KEY_MAX, "%c%c%.200s%c%02u", MARK, (char)kind, name, BETWEEN, part % 100);
	return (size_t)snprintf(key, STASH__NAME_KEY_MAX, "%c%c%.200s", MARK, (char)kind, name);
}

static int
take_name(char to[STASH_NAME_MAX + 1], const char *from, size_t len)
{
	if (len > STASH_NAME_MAX || memchr(from, '\0', len) != NULL)
		return STASH_E_FORMAT;
	memcpy(to, from, len);
	to[len] = '\0';
	return stash__check_name(to) < 0 ? STASH_E_FORMAT : STASH_OK;
}

static int
take_part(struct stash__name_key *to)
{
	const char *digits = to->other;

	if (strlen(digits) != 2 || digits[0] < '0' || digits[0] > '9' || digits[1] < '0' || digits[1] > '9')
		return STASH_E_FORMAT;
	to->part = (unsigned)(digits[0] - '0') * 10 + (unsigned)(digits[1] - '0');
	to->other[0] = '\0';
	return to->part > 0 ? STASH_OK : STASH_E_FORMAT;
}

static int
split(const char *key, size_t len, struct stash__name_key *to)
{
	const char *between = memchr(key + 2, BETWEEN, len - 2);
	size_t first = between != NULL ? (size_t)(between - key) - 2 : len - 2;
	bool two = to->kind == STASH__NAME_MEMBER || to->kind == STASH__NAME_MONITOR;

	if (take_name(to->name, key + 2, first) < 0)
		return STASH_E_FORMAT;
	if (between == NULL)
		return two ? STASH_E_FORMAT : STASH_OK;
	if (take_name(to->other, between + 1, len - first - 3) < 0)
		return STASH_E_FORMAT;
	if (two)
		return STASH_OK;
	return to->kind == STASH__NAME_VALUE ? take_part(to) : STASH_E_FORMAT;
}

int
stash__name_key_split(const void *key, size_t len, struct stash__name_key *to)
{
	const char *text = key;

	memset(to, 0, sizeof *to);
	if (len == 0 || text[0] != MARK)
		return STASH_OK;
	if (len > 2 && strchr("avgmh", text[1]) != NULL && text[1] != '\0') {
		to->kind = (enum stash__name_kind)text[1];
		if (split(text, len, to) == STASH_OK)
			return STASH_OK;
	}
	memset(to, 0, sizeof *to);
	return stash__fail(STASH_E_FORMAT, "a key of the registry can't be read");
}

int
stash__name_pack(struct stash_buf *buf, enum stash__name_kind kind, const struct stash__name_row *row)
{
	switch (kind) {
	case STASH__NAME_ALIAS:
		stash_buf_add_text(buf, row->owner);
		return stash_buf_add_int(buf, row->since_ns);
	case STASH__NAME_VALUE:
		stash_buf_add_text(buf, row->owner);
		stash_buf_add_int(buf, row->since_ns);
		stash_buf_add_int(buf, (int64_t)row->total);
		stash_buf_add_int(buf, (int64_t)row->sum);
		return stash_buf_add(buf, row->data, row->len);
	case STASH__NAME_MEMBER:
		return stash_buf_add_int(buf, row->since_ns);
	case STASH__NAME_MONITOR:
		stash_buf_add_int(buf, row->ref);
		stash_buf_add_int(buf, (int64_t)row->seen);
		stash_buf_add_int(buf, (int64_t)row->last);
		return stash_buf_add_bytes(buf, row->data, row->len);
	case STASH__NAME_STUCK:
		stash_buf_add_int(buf, (int64_t)row->stuck.incarnation);
		stash_buf_add_int(buf, (int64_t)row->stuck.hand);
		stash_buf_add_int(buf, (int64_t)row->stuck.since);
		stash_buf_add_int(buf, (int64_t)row->stuck.commits);
		stash_buf_add_int(buf, row->stuck.batch);
		return stash_buf_add_int(buf, row->stuck.held_ns);
	case STASH__NAME_OWN:
		break;
	}
	return stash__fail(STASH_E_INVAL, "no further row of the registry is of kind %d", (int)kind);
}

size_t
stash__down_put(unsigned char *at, uint64_t number, enum stash_reason reason)
{
	uint64_t little = htole64(number);

	memcpy(at, &little, sizeof little);
	at[sizeof little] = (unsigned char)reason;
	return STASH__DOWN_BYTES;
}

void
stash__down_get(const unsigned char *at, uint64_t *number, enum stash_reason *reason)
{
	uint64_t little;

	memcpy(&little, at, sizeof little);
	*number = le64toh(little);
	*reason = at[sizeof little] <= STASH_REASON_NOPROC ? (enum stash_reason)at[sizeof little] : STASH_REASON_KILLED;
}

static void
unpack_owner(struct stash_view *view, struct stash__name_row *row)
{
	row->owner = stash_view_text(view);
	if (view->error == 0 && stash__check_name(row->owner) < 0)
		view->error = STASH_E_FORMAT;
	row->since_ns = stash_view_int(view);
}

static void
unpack_monitor(struct stash_view *view, struct stash__name_row *row)
{
	row->ref = stash__view_range(view, 1, INT64_MAX);
	row->seen = (uint64_t)stash__view_range(view, 0, INT64_MAX);
	row->last = (uint64_t)stash__view_range(view, 0, INT64_MAX);
	row->data = stash_view_bytes(view, &row->len);
	if (view->error == 0 && (row->len > STASH__DOWNS_MAX * STASH__DOWN_BYTES || row->len % STASH__DOWN_BYTES != 0))
		view->error = STASH_E_FORMAT;
}

static void
unpack_stuck(struct stash_view *view, struct stash__stuck *stuck)
{
	stuck->incarnation = (uint64_t)stash__view_range(view, 1, INT64_MAX);
	stuck->hand = (uint64_t)stash_view_int(view);
	stuck->since = (uint64_t)stash_view_int(view);
	stuck->commits = (uint64_t)stash_view_int(view);
	stuck->batch = (uint32_t)stash__view_range(view, 0, UINT32_MAX);
	stuck->held_ns = stash__view_range(view, 0, INT64_MAX);
}

int
stash__name_unpack(const void *value, size_t len, enum stash__name_kind kind, struct stash__name_row *row)
{
	struct stash_view view;

	memset(row, 0, sizeof *row);
	stash_view_init(&view, value, len);
	if (kind == STASH__NAME_ALIAS || kind == STASH__NAME_VALUE)
		unpack_owner(&view, row);
	else if (kind == STASH__NAME_MEMBER)
		row->since_ns = stash_view_int(&view);
	else if (kind == STASH__NAME_STUCK)
		unpack_stuck(&view, &row->stuck);
	else
		unpack_monitor(&view, row);
	if (kind == STASH__NAME_VALUE) {
		row->total = (size_t)stash__view_range(&view, 0, STASH_VALUE_MAX);
		row->sum = (uint64_t)stash_view_int(&view);
		row->len = view.left < row->total ? view.left : row->total;
		row->data = stash__view_take(&view, row->len);
	}
	if (stash_view_end(&view) == STASH_OK)
		return STASH_OK;
	memset(row, 0, sizeof *row);
	return stash__fail(STASH_E_FORMAT, "a row of the registry can't be read");
}
