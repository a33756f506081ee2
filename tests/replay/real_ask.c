/* SPDX-License-Identifier: ISC */
/*
 * Requests to a real stashd. A "do" is a call of the public API, made by a thread, since a call waits for its answer,
 * and what it waits for may need the replayer.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "replay/real.h"

#define CALL_MS 60000 /* a request that holds is given up with the scenario */
#define OPEN_MS 500

struct real_call {
	pthread_t thread;
	struct real *r;
	const struct item *item;
	struct stash_client *client;
	const struct stash_child_spec *spec;
	struct real_child *child;
	char id[STASH_PATH_MAX + 1], store[PATH_MAX];
	bool simple;
	char *text;
	int64_t time_ns;
	int wake;
	atomic_bool done;
};

/* The answer of all that answer with no more than an error. */
static int
call_plain(struct real_call *c, const char *request, const char *supervisor, const char *id)
{
	if (strcmp(request, "start_child") == 0)
		return stash_start_child(c->client, supervisor, c->spec, NULL, CALL_MS);
	if (strcmp(request, "terminate_child") == 0)
		return stash_terminate_child(c->client, supervisor, id, CALL_MS);
	if (strcmp(request, "restart_child") == 0)
		return stash_restart_child(c->client, supervisor, id, NULL, CALL_MS);
	if (strcmp(request, "delete_child") == 0)
		return stash_delete_child(c->client, supervisor, id, CALL_MS);
	fprintf(stderr, "otp-replay: unknown request %s\n", request);
	abort();
}

static void
call(struct real_call *c, FILE *f)
{
	char *const *word = c->item->word;
	struct real_children children = { f, c->simple, 0 };
	struct stash_child_counts counts;
	int result = 0;

	if (c->client == NULL)
		result = stash_client_open(&c->client, c->store, NULL);
	if (result < 0) {
		real_word_error(f, result, stash_errterm());
	} else if (strcmp(word[0], "which_children") == 0) {
		result = stash_which_children(c->client, word[1], real_word_child, &children, CALL_MS);
		if (result == 0 && children.count == 0)
			fprintf(f, "none");
	} else if (strcmp(word[0], "count_children") == 0) {
		result = stash_count_children(c->client, word[1], &counts, CALL_MS);
		if (result == 0)
			real_word_counts(f, counts.specs, counts.active, counts.supervisors, counts.workers);
	} else if (strcmp(word[0], "get_childspec") == 0) {
		result = stash_get_childspec(c->client, word[1], c->id, real_word_spec, f, CALL_MS);
	} else {
		result = call_plain(c, word[0], word[1], c->id);
		real_word_error(f, result, stash_errterm());
		return;
	}
	if (result < 0 && ftell(f) == 0)
		real_word_error(f, result, stash_errterm());
}

static void *
run_call(void *arg)
{
	struct real_call *c = arg;
	size_t len;
	FILE *f = real_word_file(&c->text, &len);

	call(c, f);
	if (fclose(f) != 0)
		abort();
	c->time_ns = real_time_ns();
	atomic_store(&c->done, true);
	(void)!write(c->wake, &(uint64_t){ 1 }, sizeof(uint64_t));
	return NULL;
}

static void
begin_call(struct real *r, const struct item *it)
{
	struct real_call *c = world_alloc(sizeof(*c));
	char id[STASH_PATH_MAX + 1];

	c->r = r;
	c->item = it;
	c->client = r->caller;
	c->wake = r->wake;
	c->simple = real_is_simple(r, it->word[1]);
	c->spec = real_request_spec(r, it->word, &c->child);
	snprintf(c->store, sizeof(c->store), "%s", r->store);
	snprintf(c->id, sizeof(c->id), "%s",
	    it->word[2] == NULL ? "" : real_id(r, it->word[1], it->word[2], id, sizeof(id)));
	r->caller = NULL;
	r->call = c;
	if (pthread_create(&c->thread, NULL, run_call, c) != 0)
		abort();
}

/* An answer that has come. */
void
real_ask_end(struct real *r)
{
	struct real_call *c = r->call;

	if (c == NULL || !atomic_load(&c->done))
		return;
	pthread_join(c->thread, NULL);
	r->call = NULL;
	r->caller = c->client;
	r->moved = true;
	real_answer(r, NULL, c->time_ns, c->text);
	real_child_free(c->child);
	free(c->text);
	free(c);
}

bool
real_ask_busy(const struct real *r)
{
	return r->call != NULL;
}

void
real_ask(struct real *r, const struct item *it)
{
	if (it->kind == ITEM_POST)
		real_post(r, it);
	else
		begin_call(r, it);
}

/* ---- the connection ---- */

bool
real_connect(struct real *r)
{
	struct stash_client_options options = { .size = sizeof(options), .label = "otp-replay", .wait_ms = OPEN_MS };

	if (r->pid == 0)
		return false;
	return r->client != NULL || stash_client_open(&r->client, r->store, &options) == 0;
}

void
real_disconnect(struct real *r)
{
	/* What was answered before the end is still there to be read. */
	if (r->client != NULL && r->client->link == LINK_UP) {
		stash__link_run(r->client);
		real_posts_end(r);
	}
	real_posts_unlink(r);
	stash_client_close(r->client);
	r->client = NULL;
	stash_client_close(r->caller);
	r->caller = NULL;
}
