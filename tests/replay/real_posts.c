/* SPDX-License-Identifier: ISC */
/*
 * Requests that are posted: all over one connection, so that their answers come in the order in which they were given.
 * The library's calls wait for theirs; what they send and get is written here anew.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "replay/real.h"
#include "shm/record.h"
#include "shm/spec.h"
#include "shm/wire.h"

struct real_post {
	struct real_post *next;
	struct asked asked;
	struct real *r;
	const struct item *item;
	struct real_children children; /* so far, of an answer in several messages */
	struct stash_buf spec;
	char *text;
	size_t len;
};

static int
post_done(struct real_post *p)
{
	if (fclose(p->children.f) != 0)
		abort();
	real_answer(p->r, real_tag(p->item), real_time_ns(), p->text);
	p->children.f = NULL;
	return 0;
}

static int
on_processes(struct real_post *p, struct stash_view *v)
{
	int64_t more = stash_view_int(v), count = stash_view_int(v);
	struct stash_process process;

	for (; count > 0 && stash__view_process(v, &process) == 0; count--)
		(void)real_word_child(&p->children, &process);
	if (more != 0)
		return 1;
	if (p->children.count == 0)
		fprintf(p->children.f, "none");
	return post_done(p);
}

static int
on_childspec(struct real_post *p, struct stash_view *v)
{
	int64_t more = stash_view_int(v);
	struct stash__child child;
	struct stash_view view;
	const void *part;
	size_t len;

	(void)stash_view_int(v); /* no supervisor dies here: the parts come in order */
	part = stash_view_bytes(v, &len);
	stash_buf_add(&p->spec, part, len);
	if (more != 0)
		return 1;
	stash_view_init(&view, p->spec.data, p->spec.len);
	if (stash__view_child(&view, &child) == 0)
		(void)real_word_spec(p->children.f, &child.spec);
	stash__child_free(&child);
	return post_done(p);
}

static int
on_post(void *arg, int type, struct stash_view *v, int *fds, int nfds)
{
	struct real_post *p = arg;
	int error = (int)stash_view_int(v);
	uint64_t n[4];

	(void)fds;
	(void)nfds;
	p->r->moved = true;
	(void)stash_view_text(v);
	if (error < 0 || type == STASH__B_DONE || type == STASH__B_STARTED) {
		bool term = type == STASH__B_DONE || type == STASH__B_STARTED;

		real_word_error(p->children.f, error, term ? stash_view_text(v) : "");
		return post_done(p);
	}
	if (type == STASH__B_PROCESSES)
		return on_processes(p, v);
	if (type == STASH__B_CHILDSPEC)
		return on_childspec(p, v);
	for (int i = 0; i < 4; i++)
		n[i] = (uint64_t)stash_view_int(v);
	real_word_counts(p->children.f, n[0], n[1], n[2], n[3]);
	return post_done(p);
}

static int
post_type(const char *request)
{
	static const struct {
		const char *name;
		int type;
	} types[] = { { "start_child", STASH__B_START_CHILD }, { "terminate_child", STASH__B_TERMINATE_CHILD },
		{ "restart_child", STASH__B_RESTART_CHILD }, { "delete_child", STASH__B_DELETE_CHILD },
		{ "which_children", STASH__B_WHICH }, { "count_children", STASH__B_COUNT_CHILDREN },
		{ "get_childspec", STASH__B_GET_CHILDSPEC } };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (strcmp(types[i].name, request) == 0)
			return types[i].type;
	}
	fprintf(stderr, "otp-replay: unknown request %s\n", request);
	abort();
}

static void
pack_post(struct real *r, struct stash_buf *buf, char *const *word)
{
	static uint64_t token[2];
	char id[STASH_PATH_MAX + 1];
	const struct stash_child_spec *spec;
	struct real_child *child;

	spec = real_request_spec(r, word, &child);
	stash_buf_add_text(buf, word[1]);
	if (spec != NULL) {
		token[0]++;
		stash_buf_add_bytes(buf, token, sizeof(token));
		if (stash__pack_child(buf, spec) < 0)
			real_complain(r, "%s %s: %s", word[1], word[2], stash_errmsg());
	} else if (word[2] != NULL) {
		stash_buf_add_text(buf, real_id(r, word[1], word[2], id, sizeof(id)));
	}
	real_child_free(child);
}

static void
post_free(struct real *r, struct real_post *p)
{
	struct real_post **at;

	for (at = &r->posts; *at != p; at = &(*at)->next)
		;
	*at = p->next;
	if (r->client != NULL)
		TAILQ_REMOVE(&r->client->askeds, &p->asked, link);
	if (p->children.f != NULL)
		(void)fclose(p->children.f);
	stash__buf_fini(&p->asked.message);
	stash__buf_fini(&p->spec);
	free(p->text);
	free(p);
}

void
real_post(struct real *r, const struct item *it)
{
	char *const *word = real_words(it);
	struct real_post *p;

	if (!real_connect(r)) {
		real_answer(r, real_tag(it), real_time_ns(), "error noproc");
		return;
	}
	p = world_alloc(sizeof(*p));
	p->r = r;
	p->item = it;
	p->children.f = real_word_file(&p->text, &p->len);
	p->children.simple = real_is_simple(r, word[1]);
	p->asked.fd = -1;
	p->asked.fn = on_post;
	p->asked.arg = p;
	p->next = r->posts;
	r->posts = p;
	stash__buf_init(&p->spec, STASH__BUF_MAX);
	stash__buf_init(&p->asked.message, STASH__WIRE_MAX);
	p->asked.number = stash__link_compose(r->client, &p->asked.message, post_type(word[0]));
	pack_post(r, &p->asked.message, word);
	TAILQ_INSERT_TAIL(&r->client->askeds, &p->asked, link);
	p->asked.sent = stash__link_send(r->client, &p->asked.message, NULL, 0) == 0;
}

void
real_posts_end(struct real *r)
{
	struct real_post *p, *next;

	for (p = r->posts; p != NULL; p = next) {
		next = p->next;
		if (p->asked.done)
			post_free(r, p);
	}
}

void
real_posts_unlink(struct real *r)
{
	struct real_post *p;

	for (p = r->client == NULL ? NULL : r->posts; p != NULL; p = p->next)
		TAILQ_REMOVE(&r->client->askeds, &p->asked, link);
}

void
real_posts_over(struct real *r)
{
	const struct item *it;

	while (r->posts != NULL) {
		it = r->posts->item;
		post_free(r, r->posts);
		real_answer(r, real_tag(it), real_time_ns(), "error noproc");
	}
}
