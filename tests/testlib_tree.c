/* SPDX-License-Identifier: ISC */
/* See testlib_tree.h. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "testlib_tree.h"

/* ---- rows ---- */

void
t_rows_set(void *arg, const char *key, const void *value, size_t len)
{
	struct t_rows *rows = arg;
	size_t i;
	void *copy;

	for (i = 0; i < rows->count && strcmp(rows->row[i].key, key) != 0; i++)
		;
	if (value == NULL && i == rows->count)
		return;
	if (i < rows->count) {
		free((void *)(uintptr_t)rows->row[i].key);
		free((void *)(uintptr_t)rows->row[i].value);
	}
	if (value == NULL) {
		rows->row[i] = rows->row[--rows->count];
		return;
	}
	if (i == rows->count) {
		rows->row = reallocarray(rows->row, rows->count + 1, sizeof(*rows->row));
		ck_assert_ptr_nonnull(rows->row);
		rows->count++;
	}
	copy = malloc(len);
	ck_assert_ptr_nonnull(copy);
	memcpy(copy, value, len);
	rows->row[i] = (struct sup_row){ .key = strdup(key), .value = copy, .len = len };
}

void
t_rows_free(struct t_rows *rows)
{
	while (rows->count > 0)
		t_rows_set(rows, rows->row[0].key, NULL, 0);
	free(rows->row);
	rows->row = NULL;
}

void
t_rows_check(const struct t_rows *rows, const struct sup *sup)
{
	struct stash_buf *buf;
	const struct sup_node *n;
	const void *data;
	size_t i, at, len, nodes = 0, parts = 0;

	for (n = sup_next(sup, NULL); n != NULL; n = sup_next(sup, n))
		nodes++;
	for (i = 0; i < rows->count; i++) {
		parts += strstr(rows->row[i].key, "//") != NULL;
		buf = stash_buf_create();
		ck_assert_msg(sup_pack(sup, rows->row[i].key, buf) == 0, "row %s is left over", rows->row[i].key);
		ck_assert_int_eq(stash_buf_data(buf, &data, &len), 0);
		for (at = 0; at < len && at < rows->row[i].len; at++) {
			if (((const char *)data)[at] != ((const char *)rows->row[i].value)[at])
				break;
		}
		ck_assert_msg(at == len && len == rows->row[i].len, "row %s changed at byte %zu and wasn't saved",
		    rows->row[i].key, at);
		stash_buf_destroy(buf);
	}
	ck_assert_uint_eq(rows->count - parts, nodes);
}

/* ---- specifications out of words ---- */

static void
set_flag(struct sup_spec *s, const char *flag)
{
	static const struct {
		const char *word;
		int32_t strategy;
	} strategies[] = { { "one_for_all", STASH_ONE_FOR_ALL }, { "rest_for_one", STASH_REST_FOR_ONE },
		{ "simple", STASH_SIMPLE_ONE_FOR_ONE } };
	static const char *const restarts[] = { "permanent", "transient", "temporary" };
	char *end;
	int32_t i;

	for (i = 0; i < 3; i++) {
		if (strcmp(flag, strategies[i].word) == 0)
			s->strategy = strategies[i].strategy;
		if (strcmp(flag, restarts[i]) == 0)
			s->restart = i;
	}
	if (strcmp(flag, "brutal") == 0)
		s->shutdown_ms = STASH_BRUTAL_KILL;
	else if (strcmp(flag, "infinity") == 0)
		s->shutdown_ms = STASH_INFINITY;
	else if (strncmp(flag, "intensity=", 10) == 0)
		s->intensity = atoi(flag + 10);
	else if (strncmp(flag, "period=", 7) == 0)
		s->period_s = atoi(flag + 7);
	else if (strncmp(flag, "timeout=", 8) == 0)
		s->start_timeout_ms = atoi(flag + 8);
	else if (strcmp(flag, "any") == 0)
		s->auto_shutdown = STASH_AUTO_ANY_SIGNIFICANT;
	else if (strcmp(flag, "all") == 0)
		s->auto_shutdown = STASH_AUTO_ALL_SIGNIFICANT;
	else if (strcmp(flag, "significant") == 0)
		s->significant = 1;
	else if (strtol(flag, &end, 10) >= 0 && end != flag && strcmp(end, "ms") == 0)
		s->shutdown_ms = atoi(flag);
}

/* Reads "id[flags](children)" at *at and moves it behind. */
static struct sup_spec *
read_spec(const char **at)
{
	size_t len = strcspn(*at, "[]() "), i;
	char *id = strndup(*at, len), *flags = NULL, *flag, *save = NULL;
	const char *name = NULL, *open;
	struct sup_spec *s;

	*at += len;
	if (**at == '[') {
		flags = strndup(*at + 1, strcspn(*at + 1, "]"));
		*at += strlen(flags) + 2;
		if ((name = strstr(flags, "name=")) != NULL)
			name += 5;
		if (strstr(flags, "nameless") != NULL)
			name = "";
	}
	open = **at == '(' ? *at : NULL;
	s = sup_spec_create(open != NULL ? SUP_SUPERVISOR : SUP_WORKER, id, NULL);
	if (name != NULL) {
		free(s->name);
		s->name = strndup(name, strcspn(name, ","));
	}
	for (flag = flags == NULL ? NULL : strtok_r(flags, ",", &save); flag != NULL; flag = strtok_r(NULL, ",", &save))
		set_flag(s, flag);
	free(flags);
	free(id);
	if (open == NULL)
		return s;
	for ((*at)++; **at != ')'; *at += strspn(*at, " "))
		ck_assert_int_eq(sup_spec_add_child(s, read_spec(at)), 0);
	(*at)++;
	for (i = 0; i < s->nchildren; i++)
		ck_assert_ptr_nonnull(s->children[i]);
	return s;
}

struct sup_spec *
t_spec(const char *text)
{
	struct sup_spec *s = read_spec(&text);

	ck_assert_msg(*text == '\0', "not a specification: %s", text);
	return s;
}

/* ---- another one ---- */

static struct sup_spec *
copy_spec(const struct sup_spec *of)
{
	struct stash_buf *buf = stash_buf_create();
	struct stash_view view;
	struct sup_spec *s = NULL;
	const void *data;
	size_t len;

	ck_assert_int_eq(sup_spec_pack_tree(of, buf), 0);
	ck_assert_int_eq(stash_buf_data(buf, &data, &len), 0);
	stash_view_init(&view, data, len);
	ck_assert_int_eq(sup_spec_unpack_tree(&view, &s), 0);
	stash_buf_destroy(buf);
	return s;
}

/* Away, to another place, or with another member. */
static void
change_child(struct sup_spec *at, unsigned (*chance)(unsigned))
{
	unsigned i = chance((unsigned)at->nchildren);
	struct sup_spec *child = at->children[i];

	switch (chance(4)) {
	case 0:
		memmove(&at->children[i], &at->children[i + 1], (--at->nchildren - i) * sizeof(struct sup_spec *));
		sup_spec_unref(child);
		break;
	case 1:
		at->children[i] = at->children[0];
		at->children[0] = child;
		break;
	case 2:
		child->shutdown_ms = 1 + (int32_t)chance(100);
		break;
	default:
		ck_assert_int_eq(sup_spec_set_payload(child, "payload", chance(7)), 0);
		break;
	}
}

struct sup_spec *
t_spec_change(const struct sup_spec *of, unsigned (*chance)(unsigned), struct sup_spec *(*fresh)(void))
{
	struct sup_spec *s = copy_spec(of), *at = s, *child;

	while (at->nchildren > 0 && chance(2) == 0) {
		child = at->children[chance((unsigned)at->nchildren)];
		if (child->kind != SUP_SUPERVISOR)
			break;
		at = child;
	}
	if (at->nchildren > 0 && chance(2) == 0) {
		change_child(at, chance);
	} else if (at->strategy != STASH_SIMPLE_ONE_FOR_ONE) {
		at->strategy = (int32_t)chance(3);
		at->intensity = (int32_t)chance(30);
		ck_assert_int_eq(sup_spec_add_child(at, fresh()), 0);
	}
	return s;
}

/* ---- the machine ---- */

void
t_tree_open(struct t_tree *t)
{
	memset(t, 0, sizeof(*t));
	t->now = 1000 * T_MS;
	t->sup = sup_create(NULL);
	ck_assert_ptr_nonnull(t->sup);
}

void
t_tree_start(struct t_tree *t, const char *spec)
{
	t_tree_open(t);
	ck_assert_int_eq(sup_start(t->sup, t_spec(spec), t->now), 0);
}

void
t_tree_close(struct t_tree *t)
{
	sup_destroy(t->sup);
	t_rows_free(&t->rows);
	free(t->log);
}

static void
save(struct t_tree *t, const struct sup_action *a)
{
	struct stash_buf *buf = stash_buf_create();
	const void *data;
	size_t len;

	ck_assert_int_eq(sup_pack(t->sup, a->key, buf), 0);
	ck_assert_int_eq(stash_buf_data(buf, &data, &len), 0);
	t_rows_set(&t->rows, a->key, data, len);
	stash_buf_destroy(buf);
}

static const char *
code_word(int code)
{
	return code == 0 ? "ok" : code == STASH_IGNORE ? "ignore" : stash_errname(code);
}

static void
write_report(FILE *f, const struct sup_action *a)
{
	static const char *const words[] = { [SUP_REP_STARTED] = "STARTED",
		[SUP_REP_START_FAILED] = "FAILED",
		[SUP_REP_IGNORED] = "IGNORED",
		[SUP_REP_STOPPED] = "STOPPED",
		[SUP_REP_RESTARTING] = "RESTARTING",
		[SUP_REP_ESCALATED] = "ESCALATED",
		[SUP_REP_AUTO_SHUTDOWN] = "AUTO_SHUTDOWN",
		[SUP_REP_KILLED] = "TOO_LATE" };
	static const char *const reasons[] = { "normal", "shutdown", "killed", "crash", "noproc" };

	fprintf(f, "; %s %s", words[a->report], a->path);
	if (a->report == SUP_REP_STOPPED)
		fprintf(f, " %s", reasons[a->reason]);
	if (a->term[0] != '\0')
		fprintf(f, " %s", a->term);
}

static void
write_action(struct t_tree *t, FILE *f, const struct sup_action *a)
{
	static const char *const words[] = {
		[SUP_ACT_START] = "START", [SUP_ACT_SIGNAL] = "SIGNAL", [SUP_ACT_KILL] = "KILL", [SUP_ACT_GONE] = "GONE"
	};
	static const char *const statuses[] = { "", "starting", "running", "restarting", "stopping", "stopped",
		"held" };

	switch (a->kind) {
	case SUP_ACT_SAVE:
		save(t, a);
		break;
	case SUP_ACT_FORGET:
		t_rows_set(&t->rows, a->key, NULL, 0);
		break;
	case SUP_ACT_STATUS:
		if (t->statuses)
			fprintf(f, "; %s %s", a->path, statuses[a->status]);
		break;
	case SUP_ACT_START:
	case SUP_ACT_SIGNAL:
	case SUP_ACT_KILL:
	case SUP_ACT_GONE:
		fprintf(f, "; %s %s", words[a->kind], a->path);
		break;
	case SUP_ACT_REPORT:
		write_report(f, a);
		break;
	case SUP_ACT_REPLY:
		fprintf(f, "; REPLY %ju %s%s%s", (uintmax_t)a->request, code_word(a->code),
		    a->term[0] == '\0' ? "" : " ", a->term);
		break;
	case SUP_ACT_UP:
		fprintf(f, "; UP");
		break;
	case SUP_ACT_DONE:
		fprintf(f, "; DONE %s%s%s", code_word(a->code), a->term[0] == '\0' ? "" : " ", a->term);
		break;
	}
}

const char *
t_tree_log(struct t_tree *t)
{
	struct sup_action a;
	const char *wrong;
	size_t len;
	FILE *f;

	free(t->log);
	t->log = NULL;
	f = open_memstream(&t->log, &len);
	ck_assert_ptr_nonnull(f);
	while (sup_next_action(t->sup, &a))
		write_action(t, f, &a);
	ck_assert_int_eq(fclose(f), 0);
	wrong = sup_check(t->sup);
	ck_assert_msg(wrong == NULL, "%s", wrong);
	t_rows_check(&t->rows, t->sup);
	return len == 0 ? "" : t->log + 2;
}

/* ---- events ---- */

static const struct sup_node *
find(const struct t_tree *t, const char *path)
{
	const struct sup_node *n = sup_find_path(t->sup, path);

	ck_assert_msg(n != NULL, "there is no %s", path);
	return n;
}

void
t_tree_ready(struct t_tree *t, const char *path)
{
	const struct sup_node *n = find(t, path);

	sup_ready(t->sup, sup_node_handle(n), sup_node_start(n), t->now);
}

void
t_tree_failed(struct t_tree *t, const char *path)
{
	const struct sup_node *n = find(t, path);

	sup_failed(t->sup, sup_node_handle(n), sup_node_start(n), "init_error", t->now);
}

void
t_tree_ignored(struct t_tree *t, const char *path)
{
	const struct sup_node *n = find(t, path);

	sup_ignored(t->sup, sup_node_handle(n), sup_node_start(n), t->now);
}

void
t_tree_exit(struct t_tree *t, const char *path, enum stash_reason reason)
{
	const struct sup_node *n = find(t, path);

	sup_exited(t->sup, sup_node_handle(n), sup_node_start(n), reason, t->now);
}

void
t_tree_ask(struct t_tree *t, uint64_t id, enum sup_request_kind kind, const char *supervisor, const char *child)
{
	struct sup_request request = { .id = id, .kind = kind, .supervisor = supervisor, .child = child };

	if (kind == SUP_START_CHILD)
		request.name = child;
	sup_request(t->sup, &request, t->now);
}

void
t_tree_add(struct t_tree *t, uint64_t id, const char *supervisor, const char *spec)
{
	struct sup_request request = {
		.id = id, .kind = SUP_START_CHILD, .supervisor = supervisor, .spec = t_spec(spec)
	};

	sup_request(t->sup, &request, t->now);
	sup_spec_unref(request.spec);
}

void
t_tree_reload(struct t_tree *t, uint64_t id, const char *spec)
{
	ck_assert_msg(sup_reload(t->sup, t_spec(spec), id, t->now) == 0, "%s", stash_errmsg());
}

void
t_tree_sleep(struct t_tree *t, int64_t ms)
{
	t->now += ms * T_MS;
	sup_clock(t->sup, t->now);
}

void
t_tree_settle(struct t_tree *t)
{
	const struct sup_node *n;

	(void)t_tree_log(t);
	for (;;) {
		for (n = sup_next(t->sup, NULL); n != NULL; n = sup_next(t->sup, n)) {
			if (sup_node_state(n) == SUP_STARTING && sup_node_spec(n)->kind == SUP_WORKER)
				break;
		}
		if (n == NULL)
			return;
		t_tree_ready(t, sup_node_path(n));
		(void)t_tree_log(t);
	}
}

void
t_tree_takeover(struct t_tree *t, bool new_boot)
{
	(void)t_tree_log(t);
	sup_destroy(t->sup);
	t->sup = sup_create(NULL);
	ck_assert_msg(sup_restore(t->sup, t->rows.row, t->rows.count) == 0, "%s", stash_errmsg());
	sup_resume(t->sup, new_boot, t->now);
}
