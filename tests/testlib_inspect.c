/* SPDX-License-Identifier: ISC */
/*
 * testlib_inspect.c: a store made by hand, row by row.
 */
#include "testlib_inspect.h"

#include <bsd/string.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/boot.h"
#include "base/buf.h"
#include "base/clock.h"
#include "reader/reader.h"
#include "shm/record.h"
#include "testlib.h"
#include "testlib_store.h"

static const struct stash_field fields[] = { STASH_FIELD(struct ti_state, next), STASH_FIELD(struct ti_state, note),
	STASH_FIELD_END };

/* ---- a store to look at ---- */

static void
put_state(struct store_batch *batch, const char *name, uint64_t seq, int64_t next, const char *note)
{
	struct ti_state image = { .next = next };
	struct store_state state = { .name = name,
		.seq = seq,
		.version = seq,
		.committed_ns = (int64_t)seq * STASH__NS_PER_S,
		.layout_version = 1,
		.layout = "sequence",
		.data = &image,
		.len = sizeof image };

	strlcpy(image.note, note, sizeof image.note);
	ts_good(store_put_state(batch, &state, 8));
}

static void
put_owner(struct store_batch *batch, const char *name, const char *child, pid_t pid)
{
	struct stash__registry_row row = { .since_ns = STASH__NS_PER_S };
	struct stash_process *p = &row.process;
	struct stash_buf buf;

	ts_good(stash__boot_id(row.boot_id));
	strlcpy(p->name, name, sizeof p->name);
	strlcpy(p->child, child, sizeof p->child);
	strlcpy(p->id, strrchr(child, '/') + 1, sizeof p->id);
	p->pid = pid;
	p->status = STASH_RUNNING;
	p->restarts = 2;
	p->incarnation = 3;
	if (pid == getpid())
		ts_good(stash__start_time(pid, &p->start_time));
	stash__buf_init(&buf, 4096);
	ts_good(stash__pack_registry(&buf, &row));
	ts_good(store_put_row(batch, STORE_DB_REGISTRY, name, strlen(name), buf.data, buf.len));
	stash__buf_fini(&buf);
}

static void
put_further(struct store_batch *batch, enum stash__name_kind kind, const char *name, const char *other,
    const struct stash__name_row *row)
{
	char key[STASH__NAME_KEY_MAX];
	struct stash_buf buf;

	stash__buf_init(&buf, 4096);
	ts_good(stash__name_pack(&buf, kind, row));
	ts_good(store_put_row(
	    batch, STORE_DB_REGISTRY, key, stash__name_key(key, kind, name, other, 0), buf.data, buf.len));
	stash__buf_fini(&buf);
}

/* A further name of `sequence' with a value, a group, a monitor. */
void
ti_put_names(void)
{
	struct stash__name_row row = { .owner = "sequence", .since_ns = STASH__NS_PER_S, .data = "", .ref = 1 };
	struct store *s = ts_open(NULL);
	struct store_batch *batch;

	ts_good(store_begin(s, &batch));
	put_further(batch, STASH__NAME_ALIAS, "front", NULL, &row);
	put_further(batch, STASH__NAME_MEMBER, "all", "sequence", &row);
	put_further(batch, STASH__NAME_MEMBER, "all", "web.endpoint", &row);
	put_further(batch, STASH__NAME_MONITOR, "sequence", "web.endpoint", &row);
	row.data = "value";
	row.total = row.len = 5;
	put_further(batch, STASH__NAME_VALUE, "front", NULL, &row);
	ts_good(store_commit(batch));
	store_close(s);
}

static void
put_event(struct store_batch *batch, uint32_t type, uint32_t reason, int64_t time_ns, const char *text)
{
	struct stash_event event = { .time_ns = time_ns,
		.type = type,
		.reason = reason,
		.child = "root/sequence",
		.name = "sequence",
		.text = text };
	struct stash_buf buf;

	stash__buf_init(&buf, 4096);
	ts_good(stash__pack_event(&buf, &event));
	ts_good(store_put_event(batch, buf.data, buf.len, NULL));
	stash__buf_fini(&buf);
}

void
ti_put_event(uint32_t type, const char *text)
{
	struct store_batch *batch;
	struct store *store = ts_open(NULL);

	ts_good(store_begin(store, &batch));
	put_event(batch, type, STASH_REASON_CRASH, stash__time_ns(), text);
	ts_good(store_commit(batch));
	store_close(store);
}

static void
put_schema(struct store_batch *batch)
{
	unsigned char key[STASH__SCHEMA_KEY_MAX];
	int len = stash__schema_key(key, "sequence", 1, 0);
	struct stash_buf buf;

	stash__buf_init(&buf, 4096);
	ts_good(stash__pack_schema(&buf, fields, sizeof(struct ti_state)));
	ts_good(store_put_row(batch, STORE_DB_SCHEMA, key, (size_t)len, buf.data, buf.len));
	stash__buf_fini(&buf);
}

/* Three workers, one of them alive (this process), one without an owner; a crash that was noted. */
void
ti_make_store(void)
{
	struct store_batch *batch;
	struct store *store = ts_open(NULL);

	stash__reader_map_bytes = ts_options().map_bytes;
	ck_assert_int_eq(setenv("STASH_DIR", ts_dir(), 1), 0);
	ck_assert_int_eq(setenv("TZ", "UTC", 1), 0);
	ts_good(store_begin(store, &batch));
	put_state(batch, "sequence", 1, 124, "");
	put_state(batch, "sequence", 2, 125, "");
	put_state(batch, "sequence", 3, 126, "x\033[31m");
	put_state(batch, "web.endpoint", 9, 1, "");
	put_state(batch, "forgotten", 5, 1, "");
	put_owner(batch, "sequence", "root/sequence", 1);
	put_owner(batch, "web.endpoint", "root/web/endpoint", getpid());
	put_event(batch, STASH_EV_STARTED, 0, STASH__NS_PER_S, "");
	put_event(batch, STASH_EV_EXITED, STASH_REASON_CRASH, 2 * STASH__NS_PER_S, "SIGABRT in \033cast");
	put_event(batch, STASH_EV_MESSAGE, STASH_REASON_CRASH, 2 * STASH__NS_PER_S, "cast b: set aside");
	put_event(batch, STASH_EV_EXITED, STASH_REASON_NORMAL, stash__time_ns(), "");
	put_schema(batch);
	ts_good(store_commit(batch));
	store_close(store);
}
