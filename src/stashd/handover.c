/* SPDX-License-Identifier: ISC */
/*
 * handover.c: a supervisor by exec: what the keeper's child packs and what the new binary reads; nothing is taken over
 * here, and nothing of the running tree is touched before both sides agree on all formats.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <stash/version.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/info.h"
#include "base/log.h"
#include "base/point.h"
#include "shm/format.h"
#include "shm/wire.h"
#include "stashd/handover.h"
#include "stashd/mail.h"
#include "stashd/plan.h"
#include "stashd/server.h"
#include "supervisor/row.h"
#include "worker/worker.h"

#define MAGIC "stash handover"
#define HELLO_MS 5000
#define WORDS_MAX 16
#define FORMATS_MAX 64
#define IDS_MAX 65536

/* ---- formats ---- */

/* In which the running one speaks, and from which on this binary understands it. */
static const struct format {
	const char *name;
	int64_t lowest, number;
} formats[] = {
	{ "handover", 1, 1 },
	{ "keeper", STASH__KEEPER_FIRST, STASH__KEEPER_VERSION },
	{ "messages", STASH__WIRE_VERSION, STASH__WIRE_VERSION },
	{ "slots", STASH__SLOT_FORMAT, STASH__SLOT_FORMAT },
	{ "channels", STASH__CHANNEL_FORMAT, STASH__CHANNEL_FORMAT },
	{ "store", STASH__INFO_FORMAT, STASH__INFO_FORMAT },
	{ "tree", ROW_FORMAT, ROW_FORMAT },
	{ "plans", PLAN_FORMAT_FIRST, PLAN_FORMAT },
};
enum { FORMATS = sizeof(formats) / sizeof(formats[0]) };

static void
pack_formats(struct stash_buf *buf)
{
	stash_buf_add_int(buf, FORMATS);
	for (int i = 0; i < FORMATS; i++) {
		stash_buf_add_text(buf, formats[i].name);
		stash_buf_add_int(buf, formats[i].number);
	}
}

static int
check_format(const char *name, int64_t number)
{
	for (int i = 0; i < FORMATS; i++) {
		const struct format *f = &formats[i];

		if (strcmp(f->name, name) != 0)
			continue;
		if (number >= f->lowest && number <= f->number)
			return 0;
		return stash__fail(STASH_E_FORMAT,
		    "stashd %s knows format %lld of the %s, and %lld is in use: stop stashd, and start the new one",
		    stash_version(), (long long)f->number, name, (long long)number);
	}
	return stash__fail(STASH_E_FORMAT,
	    "stashd %s doesn't know a format that is in use, of the %s: stop stashd, and start the new one",
	    stash_version(), name);
}

static int
read_formats(struct stash_view *view)
{
	int64_t count = stash__view_range(view, 1, FORMATS_MAX);
	int result = 0;

	for (int64_t i = 0; i < count && result == 0 && view->error == 0; i++) {
		const char *name = stash_view_text(view);
		int64_t number = stash_view_int(view);

		if (view->error == 0)
			result = check_format(name, number);
	}
	return result;
}

/* ---- packing ---- */

/* A path may be no UTF-8; NULL is told from "". */
static void
add_string(struct stash_buf *buf, const char *text)
{
	stash_buf_add_int(buf, text != NULL);
	stash_buf_add_bytes(buf, text, text != NULL ? strlen(text) : 0);
}

static int64_t
mask_bits(const sigset_t *mask)
{
	uint64_t bits = 0;

	for (int signal = 1; signal <= 64; signal++)
		bits |= sigismember(mask, signal) == 1 ? 1ull << (signal - 1) : 0;
	return (int64_t)bits;
}

static void
add_ids(struct stash_buf *buf, const struct access_ids *ids)
{
	stash_buf_add_int(buf, (int64_t)ids->n);
	for (size_t i = 0; i < ids->n; i++)
		stash_buf_add_int(buf, ids->ids[i]);
}

int
handover_pack(const struct server_job *job, const struct keeper_other *other, struct stash_buf *buf)
{
	const struct stash__supervise_config *c = job->config;
	int result;

	stash_buf_add_text(buf, MAGIC);
	pack_formats(buf);
	stash_buf_add_text(buf, stash_version());
	stash_buf_add_int(buf, (int64_t)other->starts);
	stash_buf_add_int(buf, (int64_t)other->generation);
	stash_buf_add_int(buf, other->trial);
	stash_buf_add_int(buf, job->lock_fd);
	stash_buf_add_int(buf, mask_bits(&job->child_mask));
	stash_buf_add_bytes(buf, job->store_id, STASH__ID);
	add_string(buf, job->dir);
	add_string(buf, job->run_dir);
	add_string(buf, c->source);
	stash_buf_add_int(buf, (int64_t)c->store_bytes);
	stash_buf_add_int(buf, c->ack);
	stash_buf_add_int(buf, c->history);
	stash_buf_add_int(buf, c->spin_ns);
	stash_buf_add_int(buf, c->fold_interval_ns);
	stash_buf_add_int(buf, c->commit_interval_ns);
	add_ids(buf, &c->access.users);
	add_ids(buf, &c->access.groups);
	add_ids(buf, &c->access.readers);
	result = sup_spec_pack_tree(job->tree, buf);
	return result < 0 ? result : stash_buf_data(buf, NULL, NULL);
}

static int
write_file(const struct server_job *job, const struct keeper_other *other)
{
	struct stash_buf buf;
	const char *data;
	const void *start = NULL;
	size_t left = 0;
	ssize_t n = 0;
	int file = memfd_create("stash handover", MFD_CLOEXEC), result;

	if (file < 0)
		return stash__fail_errno("can't make a memory file");
	stash__buf_init(&buf, STASH__BUF_MAX);
	result = handover_pack(job, other, &buf);
	if (result == 0)
		result = stash_buf_data(&buf, &start, &left);
	for (data = start; result == 0 && left > 0; data += n, left -= (size_t)n) {
		n = write(file, data, left);
		if (n < 0)
			result = stash__fail_errno("can't write a memory file");
	}
	stash__buf_fini(&buf);
	if (result == 0)
		return file;
	close(file);
	return result;
}

/* ---- in the keeper's child ---- */

static void
say_hello(int socket, int error)
{
	struct stash_buf *buf = mail_begin(STASH__K_HELLO, 0);

	mail_add_result(buf, error);
	stash_buf_add_text(buf, stash_version());
	(void)mail_send_wait(socket, buf, NULL, 0, HELLO_MS);
}

static int
exec_it(const struct server_job *job, const struct keeper_other *other, int file)
{
	const struct stash__binary *b = job->config->binary;
	int keep[] = { file, other->socket, job->lock_fd, other->file };
	const char *words[WORDS_MAX + 2];
	char where[64];
	int n = 0;

	while (n < WORDS_MAX && b->words[n] != NULL) {
		words[n] = b->words[n];
		n++;
	}
	snprintf(where, sizeof(where), "--handover=%d,%d", file, other->socket);
	words[n] = where;
	words[n + 1] = NULL;
	spawn_close_others(keep, 4);
	if (fcntl(file, F_SETFD, 0) < 0 || fcntl(other->socket, F_SETFD, 0) < 0 || fcntl(job->lock_fd, F_SETFD, 0) < 0)
		return stash__fail_errno("can't hand descriptors over");
	/* The words of exec are not const for history's sake alone. */
	(void)execveat(other->file, "", (char *const *)(uintptr_t)words, environ, AT_EMPTY_PATH);
	return stash__fail_errno("%s: can't be executed", b->path);
}

_Noreturn void
handover_exec(void *arg, const struct keeper_other *other)
{
	const struct server_job *job = arg;
	int result = write_file(job, other);

	if (result >= 0)
		result = exec_it(job, other, result);
	say_hello(other->socket, result);
	_exit(EX_OSERR);
}

/* ---- in the new binary ---- */

static char *
view_string(struct stash_view *view)
{
	bool there = stash__view_range(view, 0, 1) != 0;
	size_t len;
	const char *data = stash_view_bytes(view, &len);

	return there && view->error == 0 ? strndup(data, len) : NULL;
}

static void
view_mask(struct stash_view *view, sigset_t *mask)
{
	uint64_t bits = (uint64_t)stash_view_int(view);

	sigemptyset(mask);
	for (int signal = 1; signal <= 64; signal++) {
		if ((bits & 1ull << (signal - 1)) != 0)
			(void)sigaddset(mask, signal);
	}
}

static void
view_ids(struct stash_view *view, struct access_ids *ids)
{
	size_t n = (size_t)stash__view_range(view, 0, IDS_MAX);
	uint32_t *all = calloc(n + 1, sizeof(*all));

	if (all == NULL) {
		view->error = STASH_E_NOMEM;
		return;
	}
	for (size_t i = 0; i < n; i++)
		all[i] = (uint32_t)stash__view_range(view, 0, UINT32_MAX);
	*ids = (struct access_ids){ all, n };
}

static void
view_config(struct stash_view *view, struct stash__supervise_config *c)
{
	c->store_bytes = (uint64_t)stash__view_range(view, 1, INT64_MAX);
	c->ack = (uint32_t)stash__view_range(view, STASH_ACK_DEFAULT, STASH_ACK_DISK);
	c->history = (uint32_t)stash__view_range(view, 0, UINT32_MAX);
	c->spin_ns = stash__view_range(view, 0, INT64_MAX);
	c->fold_interval_ns = stash__view_range(view, 0, INT64_MAX);
	c->commit_interval_ns = stash__view_range(view, 0, INT64_MAX);
	view_ids(view, &c->access.users);
	view_ids(view, &c->access.groups);
	view_ids(view, &c->access.readers);
}

static int
read_rest(struct stash_view *view, struct handover *h)
{
	const uint8_t *id;
	size_t len;

	h->keeper_version = strdup(stash_view_text(view));
	h->starts = (uint64_t)stash__view_range(view, 0, INT64_MAX);
	h->generation = (uint64_t)stash__view_range(view, 1, INT64_MAX);
	h->trial = stash__view_range(view, 0, 1) != 0;
	h->lock_fd = (int)stash__view_range(view, 3, INT32_MAX);
	view_mask(view, &h->child_mask);
	id = stash_view_bytes(view, &len);
	if (len == sizeof(h->store_id))
		memcpy(h->store_id, id, len);
	else
		view->error = STASH_E_FORMAT;
	h->dir = view_string(view);
	h->run_dir = view_string(view);
	h->source = view_string(view);
	view_config(view, &h->config);
	if (view->error == 0 && sup_spec_unpack_tree(view, &h->tree) < 0)
		return STASH_E_FORMAT;
	if (stash_view_end(view) < 0 || h->dir == NULL || h->run_dir == NULL || h->keeper_version == NULL)
		return stash__fail(STASH_E_FORMAT, "what the keeper hands over can't be read");
	return 0;
}

int
handover_read(const void *data, size_t len, struct handover *h)
{
	struct stash_view view;
	int result;

	memset(h, 0, sizeof(*h));
	stash__supervise_defaults(&h->config);
	stash_view_init(&view, data, len);
	if (strcmp(stash_view_text(&view), MAGIC) != 0 || view.error != 0)
		return stash__fail(STASH_E_FORMAT, "this is nothing that a keeper hands over");
	result = read_formats(&view);
	if (result == 0)
		result = read_rest(&view, h);
	if (result < 0)
		handover_free(h);
	return result;
}

void
handover_free(struct handover *h)
{
	free(h->dir);
	free(h->run_dir);
	free(h->source);
	free(h->keeper_version);
	free((void *)(uintptr_t)h->config.access.users.ids);
	free((void *)(uintptr_t)h->config.access.groups.ids);
	free((void *)(uintptr_t)h->config.access.readers.ids);
	sup_spec_unref(h->tree);
	memset(h, 0, sizeof(*h));
}

static int
read_file(int file, struct handover *h)
{
	struct stat st;
	void *data;
	int result;

	if (fstat(file, &st) < 0 || st.st_size == 0)
		return stash__fail(STASH_E_FORMAT, "this is nothing that a keeper hands over");
	data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, file, 0);
	if (data == MAP_FAILED)
		return stash__fail_errno("can't map what the keeper hands over");
	result = handover_read(data, (size_t)st.st_size, h);
	(void)munmap(data, (size_t)st.st_size);
	return result;
}

static int
serve(struct handover *h, int socket, const struct stash__supervise_config *given)
{
	struct plan_table table = { .ack = h->config.ack, .history = h->config.history };
	struct server_job job = { .config = &h->config,
		.plans = &table,
		.tree = h->tree,
		.dir = h->dir,
		.run_dir = h->run_dir,
		.store_id = h->store_id,
		.lock_fd = h->lock_fd,
		.child_mask = h->child_mask,
		.generation = h->generation,
		.keeper_version = h->keeper_version,
		.trial = h->trial };
	int status;

	h->config.log = given->log;
	h->config.log_arg = given->log_arg;
	h->config.reread = given->reread;
	h->config.reread_arg = given->reread_arg;
	h->config.binary = given->binary;
	h->config.source = h->source;
	(void)fcntl(h->lock_fd, F_SETFD, FD_CLOEXEC);
	stash__crash_preload();
	stash__point_process("supervisor", NULL);
	say_hello(socket, 0);
	status = server_run(&job, socket, h->starts);
	plan_table_free(&table);
	return status;
}

int
stash__supervise_handed_over(const char *where, const struct stash__supervise_config *given)
{
	struct handover h;
	int file, socket, result;

	if (sscanf(where, "%d,%d", &file, &socket) != 2 || fcntl(socket, F_SETFD, FD_CLOEXEC) < 0 ||
	    fcntl(file, F_SETFD, FD_CLOEXEC) < 0)
		return EX_USAGE;
	if (given->log != NULL)
		stash__log_sink(given->log, given->log_arg);
	result = read_file(file, &h);
	close(file);
	if (result < 0) {
		say_hello(socket, result);
		return EX_CONFIG;
	}
	result = serve(&h, socket, given);
	handover_free(&h);
	return result;
}
