/* SPDX-License-Identifier: ISC */
/*
 * Foreign bytes into what reads specifications and the rows of the tree. A specification that was accepted packs to
 * the same bytes. Rows that were accepted make a tree that holds together, whose own rows make the same tree, and
 * which goes on working, on the same boot and on another one. Input: rows, each as length of key, key, two bytes of
 * length, value; or, if the first byte is odd, changes to the rows of a real tree: (row, position, byte) each.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "supervisor/machine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ROWS_MAX 32
#define EVENTS_MAX 200

struct rows {
	struct sup_row row[ROWS_MAX];
	size_t count;
};

static void
add_row(struct rows *r, const void *key, size_t key_len, const void *value, size_t len)
{
	char *name = strndup(key, key_len);
	void *copy = malloc(len + 1);

	STASH_ASSERT(name != NULL && copy != NULL);
	memcpy(copy, value, len);
	r->row[r->count++] = (struct sup_row){ .key = name, .value = copy, .len = len };
}

static void
free_rows(struct rows *r)
{
	while (r->count > 0) {
		free((void *)(uintptr_t)r->row[--r->count].key);
		free((void *)(uintptr_t)r->row[r->count].value);
	}
}

static void
read_rows(struct rows *r, const uint8_t *data, size_t size)
{
	while (size > 3 && r->count < ROWS_MAX) {
		size_t key = data[0], len;

		if (key + 3 > size)
			return;
		len = (size_t)data[key + 1] << 8 | data[key + 2];
		if (key + 3 + len > size)
			len = size - key - 3;
		add_row(r, data + 1, key, data + key + 3, len);
		data += key + 3 + len;
		size -= key + 3 + len;
	}
}

/* ---- a real tree ---- */

static struct sup_spec *
worker(const char *id, int32_t restart)
{
	struct sup_spec *s = sup_spec_create(SUP_WORKER, id, NULL);

	STASH_ASSERT(s != NULL && sup_spec_set_payload(s, "payload", 7) == 0);
	s->restart = restart;
	return s;
}

static struct sup_spec *
some_tree(void)
{
	struct sup_spec *root = sup_spec_create(SUP_SUPERVISOR, "root", NULL);
	struct sup_spec *group = sup_spec_create(SUP_SUPERVISOR, "group", NULL);
	struct sup_spec *pool = sup_spec_create(SUP_SUPERVISOR, "pool", NULL);

	STASH_ASSERT(root != NULL && group != NULL && pool != NULL);
	group->strategy = STASH_REST_FOR_ONE;
	pool->strategy = STASH_SIMPLE_ONE_FOR_ONE;
	root->intensity = 3;
	STASH_ASSERT(sup_spec_add_child(pool, worker("one", STASH_PERMANENT)) == 0);
	STASH_ASSERT(sup_spec_add_child(group, worker("b", STASH_TRANSIENT)) == 0);
	STASH_ASSERT(sup_spec_add_child(group, worker("c", STASH_PERMANENT)) == 0);
	STASH_ASSERT(sup_spec_add_child(root, worker("a", STASH_PERMANENT)) == 0);
	STASH_ASSERT(sup_spec_add_child(root, group) == 0);
	STASH_ASSERT(sup_spec_add_child(root, pool) == 0);
	return root;
}

/* Answers what the machine wants, as mode says, for a bounded number of times. */
static void
go_on(struct sup *sup, uint8_t mode, int64_t *now)
{
	struct sup_action a;
	const struct sup_node *n;
	int events = 0;

	for (;;) {
		const char *wrong;

		while (sup_next_action(sup, &a))
			;
		wrong = sup_check(sup);
		if (wrong != NULL)
			fprintf(stderr, "%s\n", wrong);
		STASH_ASSERT(wrong == NULL);
		if (++events > EVENTS_MAX)
			return;
		if (sup_deadline(sup) <= *now) {
			sup_clock(sup, *now);
			continue;
		}
		for (n = sup_next(sup, NULL); n != NULL; n = sup_next(sup, n)) {
			if (sup_node_spec(n)->kind == SUP_WORKER &&
			    (sup_node_state(n) == SUP_STARTING || sup_node_state(n) == SUP_STOPPING ||
				sup_node_state(n) == SUP_KILLING || sup_node_state(n) == SUP_ABORTING))
				break;
		}
		if (n == NULL)
			return;
		*now += 1000000;
		if (sup_node_state(n) == SUP_STARTING && events % 5 != mode % 5)
			sup_ready(sup, sup_node_handle(n), sup_node_start(n), *now);
		else
			sup_exited(sup, sup_node_handle(n), sup_node_start(n),
			    mode & 1 ? STASH_REASON_KILLED : STASH_REASON_CRASH, *now);
	}
}

static void
take_rows(struct rows *r, struct sup *sup)
{
	const struct sup_node *n;
	struct stash_buf *buf;
	const void *value;
	size_t len;
	char key[64];
	int i;

	for (n = sup_next(sup, NULL); n != NULL; n = sup_next(sup, n)) {
		buf = stash_buf_create();
		STASH_ASSERT(sup_pack(sup, sup_node_path(n), buf) == 0 && stash_buf_data(buf, &value, &len) == 0);
		add_row(r, sup_node_path(n), strlen(sup_node_path(n)), value, len);
		stash_buf_destroy(buf);
	}
	for (i = 0; i < 6; i++) {
		snprintf(key, sizeof(key), "root//%d", i);
		buf = stash_buf_create();
		STASH_ASSERT(sup_pack(sup, key, buf) == 0 && stash_buf_data(buf, &value, &len) == 0);
		add_row(r, key, strlen(key), value, len);
		stash_buf_destroy(buf);
	}
}

/* The rows of a tree in the midst of something, with some bytes changed. */
static void
make_rows(struct rows *r, const uint8_t *data, size_t size)
{
	struct sup *sup = sup_create(NULL);
	struct sup_request request = {
		.id = 1, .kind = SUP_START_CHILD, .supervisor = "root/pool", .name = "x", .args = "args", .args_len = 4
	};
	const struct sup_node *n;
	int64_t now = 1000000000;

	STASH_ASSERT(sup != NULL && sup_start(sup, some_tree(), now) == 0);
	go_on(sup, 4, &now);
	sup_request(sup, &request, now);
	n = sup_find_path(sup, data[0] & 2 ? "root/a" : "root/group/b");
	if (n != NULL && (data[0] & 4) != 0)
		sup_exited(sup, sup_node_handle(n), sup_node_start(n), STASH_REASON_CRASH, now);
	if ((data[0] & 8) != 0)
		(void)sup_stop(sup, now);
	take_rows(r, sup);
	sup_destroy(sup);
	for (data++, size--; size >= 3; data += 3, size -= 3) {
		struct sup_row *row = &r->row[data[0] % r->count];

		if (row->len > 0)
			((uint8_t *)(uintptr_t)row->value)[data[1] % row->len] = data[2];
	}
}

/* ---- what must hold ---- */

static void
try_specs(const uint8_t *data, size_t size)
{
	struct stash_view view;
	struct sup_spec *spec;
	struct stash_buf *buf;
	const void *packed;
	size_t len;

	stash_view_init(&view, data, size);
	if (sup_spec_unpack_tree(&view, &spec) < 0)
		return;
	buf = stash_buf_create();
	STASH_ASSERT(sup_spec_pack_tree(spec, buf) == 0 && stash_buf_data(buf, &packed, &len) == 0);
	STASH_ASSERT(len == size - view.left && memcmp(packed, data, len) == 0);
	stash_buf_destroy(buf);
	sup_spec_unref(spec);
}

/* What the tree says now under the keys of r. */
static void
pack_rows(const struct sup *sup, const struct rows *r, struct rows *out)
{
	struct stash_buf *buf;
	const void *value;
	size_t i, len;

	for (i = 0; i < r->count; i++) {
		buf = stash_buf_create();
		STASH_ASSERT(sup_pack(sup, r->row[i].key, buf) == 0 && stash_buf_data(buf, &value, &len) == 0);
		add_row(out, r->row[i].key, strlen(r->row[i].key), value, len);
		stash_buf_destroy(buf);
	}
}

/* Rows that the tree itself has written are taken as they are. */
static void
same_again(const struct sup *sup, const struct rows *r)
{
	struct rows first = { .count = 0 }, second = { .count = 0 };
	struct sup *again = sup_create(NULL);
	size_t i;

	pack_rows(sup, r, &first);
	STASH_ASSERT(again != NULL && sup_restore(again, first.row, first.count) == 0);
	pack_rows(again, r, &second);
	for (i = 0; i < r->count; i++) {
		STASH_ASSERT(first.row[i].len == second.row[i].len);
		STASH_ASSERT(memcmp(first.row[i].value, second.row[i].value, first.row[i].len) == 0);
	}
	sup_destroy(again);
	free_rows(&first);
	free_rows(&second);
}

static void
try_rows(const struct rows *r, uint8_t mode, bool new_boot)
{
	struct sup *sup = sup_create(NULL);
	int64_t now = 2000000000;

	STASH_ASSERT(sup != NULL);
	if (sup_restore(sup, r->row, r->count) == 0) {
		STASH_ASSERT(sup_check(sup) == NULL);
		same_again(sup, r);
		sup_resume(sup, new_boot, now);
		go_on(sup, mode, &now);
		(void)sup_stop(sup, now);
		go_on(sup, mode, &now);
	}
	sup_destroy(sup);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rows r = { .count = 0 };

	if (size < 2)
		return 0;
	try_specs(data, size);
	if ((data[0] & 1) != 0)
		make_rows(&r, data, size);
	else
		read_rows(&r, data + 1, size - 1);
	if (r.count > 0) {
		try_rows(&r, data[0] >> 4, false);
		try_rows(&r, data[0] >> 4, true);
	}
	free_rows(&r);
	return 0;
}
