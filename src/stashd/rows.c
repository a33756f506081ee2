/* SPDX-License-Identifier: ISC */
/*
 * rows.c: what stands in the supervisor's rows: the tree's (in parts, if one is too long for the store), the
 * registry's, and the event log; layouts.c has the layouts'.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "shm/record.h"
#include "stashd/server.h"

/* ---- the tree ---- */

/*
 * A row of the machine may be longer than one of the store.  The first part stands under the key itself and begins with
 * the number of parts; part i, from 1 up, under the key, a control character (which no path has) and i.
 */
#define PART_BYTES 3900
#define PARTS_MAX 99
#define PART_MARK '\x1f'

/* Rows in more than one part, which are few. */
struct records_long {
	LIST_ENTRY(records_long) link;
	unsigned parts;
	char key[];
};

static struct records_long *
find_long(struct server *s, const char *key)
{
	struct records_long *l;

	LIST_FOREACH(l, &s->records.longs, link) {
		if (strcmp(l->key, key) == 0)
			return l;
	}
	return NULL;
}

size_t
records_part_key(char out[SUP_KEY_MAX + 4], const char *key, unsigned part)
{
	return (size_t)(part == 0 ? snprintf(out, SUP_KEY_MAX + 4, "%s", key) :
				    snprintf(out, SUP_KEY_MAX + 4, "%s%c%02u", key, PART_MARK, part));
}

bool
records_is_part(const char *key)
{
	return strchr(key, PART_MARK) != NULL;
}

/* Remembers how many parts a row has, and deletes those that it had before. */
void
records_parts(struct server *s, const char *key, unsigned parts)
{
	struct records_long *l = find_long(s, key);
	unsigned before = l != NULL ? l->parts : 1;
	char name[SUP_KEY_MAX + 4];

	for (unsigned i = parts == 0 ? 1 : parts; i < before; i++)
		records_del(s, STASH__SCAN_TREE, name, records_part_key(name, key, i));
	if (l != NULL && parts <= 1) {
		LIST_REMOVE(l, link);
		free(l);
	} else if (l == NULL && parts > 1) {
		l = malloc(sizeof(*l) + strlen(key) + 1);
		if (l == NULL)
			return;
		memcpy(l->key, key, strlen(key) + 1);
		LIST_INSERT_HEAD(&s->records.longs, l, link);
	}
	if (parts > 1)
		l->parts = parts;
}

static void
put_parts(struct server *s, const char *key, const unsigned char *value, size_t len)
{
	unsigned parts = (unsigned)((len + PART_BYTES - 1) / PART_BYTES);
	unsigned char part[PART_BYTES + 1];
	char name[SUP_KEY_MAX + 4];

	if (parts == 0)
		parts = 1;
	if (parts > PARTS_MAX) {
		stash__log(LOG_ERR, "%s: its specification is too long to be stored", key);
		return;
	}
	for (unsigned i = 0; i < parts; i++) {
		size_t n = len - i * PART_BYTES < PART_BYTES ? len - i * PART_BYTES : PART_BYTES;

		part[0] = (unsigned char)parts;
		memcpy(part + 1, value + i * PART_BYTES, n);
		records_put(s, STASH__SCAN_TREE, name, records_part_key(name, key, i), part, n + 1);
	}
	records_parts(s, key, parts);
}

void
records_tree_forget(struct server *s, const char *key, unsigned parts)
{
	if (parts > 1)
		records_parts(s, key, parts);
	records_del(s, STASH__SCAN_TREE, key, strlen(key));
	records_parts(s, key, 0);
}

void
records_tree(struct server *s, const char *key, bool gone)
{
	struct stash_buf *buf = &s->records.scratch;
	const void *value;
	size_t len;

	if (gone) {
		records_tree_forget(s, key, 0);
		return;
	}
	stash__buf_reset(buf);
	if (sup_pack(s->machine, key, buf) < 0 || stash_buf_data(buf, &value, &len) < 0) {
		stash__log(LOG_ERR, "%s: its row can't be made: %s", key, stash_errmsg());
		return;
	}
	put_parts(s, key, value, len);
}

/* ---- registry ---- */

void
records_registry(struct worker *w, bool gone)
{
	struct server *s = w->server;
	struct stash_buf *buf = &s->records.scratch;
	const struct sup_node *node = sup_find(s->machine, w->listed);
	struct stash__registry_row row = { .since_ns = w->since_ns };
	const void *value;
	size_t len;

	if (w->spec == NULL || w->spec->name[0] == '\0')
		return;
	if (gone || node == NULL) {
		records_del(s, STASH__SCAN_REGISTRY, w->name, strlen(w->name));
		return;
	}
	query_describe(s, node, &row.process);
	memcpy(row.boot_id, s->origin.boot_id, sizeof(row.boot_id));
	stash__buf_reset(buf);
	if (stash__pack_registry(buf, &row) == 0 && stash_buf_data(buf, &value, &len) == 0)
		records_put(s, STASH__SCAN_REGISTRY, w->name, strlen(w->name), value, len);
}

void
records_longs_free(struct server *s)
{
	struct records_long *row;

	while ((row = LIST_FIRST(&s->records.longs)) != NULL) {
		LIST_REMOVE(row, link);
		free(row);
	}
}

/* ---- events ---- */

void
records_event(struct server *s, enum stash_event_type type, enum stash_reason reason, const char *child,
    const char *name, const char *fmt, ...)
{
	struct stash_buf *buf = &s->records.scratch;
	char text[STASH__EVENT_TEXT_MAX + 1];
	struct stash_event event = {
		.time_ns = stash__time_ns(), .type = type, .reason = reason, .child = child, .name = name, .text = text
	};
	const void *value;
	size_t len;
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		text[0] = '\0';
	va_end(ap);
	stash__buf_reset(buf);
	if (stash__pack_event(buf, &event) == 0 && stash_buf_data(buf, &value, &len) == 0)
		records_put(s, STASH__SCAN_EVENT, NULL, 0, value, len);
	records_submit(s);
}

static const char *
reason_text(enum stash_reason reason)
{
	static const char *const texts[] = {
		[STASH_REASON_NORMAL] = "normal",
		[STASH_REASON_SHUTDOWN] = "shutdown",
		[STASH_REASON_KILLED] = "killed",
		[STASH_REASON_CRASH] = "crash",
		[STASH_REASON_NOPROC] = "noproc",
	};

	return texts[reason];
}

/* Why a worker couldn't start, if it has said so. */
static const char *
why(const struct sup_action *a, const struct worker *w)
{
	return w != NULL && w->why != NULL ? w->why : a->term;
}

void
records_report(struct server *s, const struct sup_action *a)
{
	char slot_name[STASH_NAME_MAX + 1];
	struct worker *w;

	worker_slot_name(a->path, a->name, slot_name);
	w = worker_find(s, slot_name);
	switch (a->report) {
	case SUP_REP_STARTED:
		stash__log(LOG_DEBUG, "%s: started", a->path);
		records_event(s, STASH_EV_STARTED, STASH_REASON_NORMAL, a->path, a->name, "%s", "");
		break;
	case SUP_REP_START_FAILED:
		stash__log(LOG_ERR, "%s: couldn't be started: %s", a->path, why(a, w));
		records_event(s, STASH_EV_START_FAILED, STASH_REASON_CRASH, a->path, a->name, "%s", why(a, w));
		break;
	case SUP_REP_IGNORED:
		stash__log(LOG_INFO, "%s: has nothing to run", a->path);
		records_event(s, STASH_EV_IGNORED, STASH_REASON_NORMAL, a->path, a->name, "%s", "");
		break;
	case SUP_REP_STOPPED:
		stash__log(LOG_DEBUG, "%s: stopped (%s)", a->path, reason_text(a->reason));
		records_event(s, STASH_EV_EXITED, a->reason, a->path, a->name, "%s",
		    w != NULL && w->death != NULL ? w->death : "");
		break;
	case SUP_REP_RESTARTING:
		stash__log(LOG_DEBUG, "%s: is started again", a->path);
		break;
	case SUP_REP_ESCALATED:
		stash__log(LOG_ERR, "%s: more restarts than allowed: it ends, with all its children", a->path);
		records_event(
		    s, STASH_EV_ESCALATED, STASH_REASON_SHUTDOWN, a->path, a->name, "more restarts than allowed");
		break;
	case SUP_REP_AUTO_SHUTDOWN:
		stash__log(LOG_INFO, "%s: its significant children have ended: it ends", a->path);
		break;
	case SUP_REP_KILLED:
		stash__log(
		    LOG_WARNING, "%s: its time was over%s%s: killed", a->path, a->term[0] != '\0' ? ", " : "", a->term);
		break;
	}
}
