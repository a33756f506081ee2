/* SPDX-License-Identifier: ISC */
/*
 * Requests to a real stashd. A "do" is a call of the public API, made by a thread, since a call waits for its answer
 * and what it waits for may need the replayer. Posts go over one connection, so that their answers come in the order
 * in which they were given.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "replay/real.h"
#include "shm/record.h"
#include "shm/spec.h"
#include "shm/wire.h"

#define CALL_MS 60000 /* a request that holds is given up with the scenario */
#define LOOK_MS 10000
#define OPEN_MS 500

/* ---- answers in words ---- */

static FILE *
open_text(char **text, size_t *len)
{
	FILE *f = open_memstream(text, len);

	if (f == NULL)
		abort();
	return f;
}

static void
write_error(FILE *f, int error, const char *term)
{
	if (error == STASH_IGNORE)
		fprintf(f, "ok undefined");
	else if (error >= 0)
		fprintf(f, "ok");
	else if (term[0] != '\0')
		fprintf(f, "error %s", term);
	else if (error == STASH_E_DOWN || error == STASH_E_NOENT || error == STASH_E_TIMEDOUT)
		fprintf(f, "error noproc");
	else
		fprintf(f, "error %s", stash_errname(error));
}

struct children {
	FILE *f;
	bool simple;
	size_t count;
};

static int
write_child(void *arg, const struct stash_process *p)
{
	struct children *c = arg;
	const char *state = p->status == STASH_STOPPED ? "undefined" :
	    p->status == STASH_RESTARTING	       ? "restarting" :
							 "running";
	char label[STASH_NAME_MAX + 1];

	if (c->count++ == 0 && c->simple)
		fprintf(c->f, "unordered");
	fprintf(c->f, "%s%s,%s,%s", c->count > 1 || c->simple ? " " : "",
	    p->id[0] == '\0' ? "-" : real_label(p->id, label, sizeof(label)),
	    p->is_supervisor ? "supervisor" : "worker", state);
	return 0;
}

static void
write_counts(FILE *f, uint64_t specs, uint64_t active, uint64_t supervisors, uint64_t workers)
{
	fprintf(f, "specs=%ju active=%ju supervisors=%ju workers=%ju", (uintmax_t)specs, (uintmax_t)active,
	    (uintmax_t)supervisors, (uintmax_t)workers);
}

static int
write_spec(void *arg, const struct stash_child_spec *spec)
{
	static const char *const restarts[] = { "permanent", "transient", "temporary" };
	FILE *f = arg;

	fprintf(f, "restart=%s significant=%s shutdown=", spec->restart <= 2 ? restarts[spec->restart] : "wrong",
	    spec->significant ? "true" : "false");
	if (spec->shutdown_ms == STASH_INFINITY)
		fprintf(f, "infinity");
	else if (spec->shutdown_ms == STASH_BRUTAL_KILL)
		fprintf(f, "brutal_kill");
	else
		fprintf(f, "%d", (int)real_unstretch(spec->shutdown_ms));
	fprintf(f, " type=%s", spec->type == SUP_SUPERVISOR ? "supervisor" : "worker");
	return 0;
}

/* ---- a "do" ---- */

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
	struct children children = { f, c->simple, 0 };
	struct stash_child_counts counts;
	int result = 0;

	if (c->client == NULL)
		result = stash_client_open(&c->client, c->store, NULL);
	if (result < 0) {
		write_error(f, result, stash_errterm());
	} else if (strcmp(word[0], "which_children") == 0) {
		result = stash_which_children(c->client, word[1], write_child, &children, CALL_MS);
		if (result == 0 && children.count == 0)
			fprintf(f, "none");
	} else if (strcmp(word[0], "count_children") == 0) {
		result = stash_count_children(c->client, word[1], &counts, CALL_MS);
		if (result == 0)
			write_counts(f, counts.specs, counts.active, counts.supervisors, counts.workers);
	} else if (strcmp(word[0], "get_childspec") == 0) {
		result = stash_get_childspec(c->client, word[1], c->id, write_spec, f, CALL_MS);
	} else {
		result = call_plain(c, word[0], word[1], c->id);
		write_error(f, result, stash_errterm());
		return;
	}
	if (result < 0 && ftell(f) == 0)
		write_error(f, result, stash_errterm());
}

static void *
run_call(void *arg)
{
	struct real_call *c = arg;
	size_t len;
	FILE *f = open_text(&c->text, &len);

	call(c, f);
	if (fclose(f) != 0)
		abort();
	c->time_ns = real_time_ns();
	atomic_store(&c->done, true);
	(void)!write(c->wake, &(uint64_t){ 1 }, sizeof(uint64_t));
	return NULL;
}

static const struct stash_child_spec *
spec_of(struct real *r, char *const *word, struct real_child **child)
{
	char path[STASH_PATH_MAX + 1];

	*child = NULL;
	if (strcmp(word[0], "start_child") != 0)
		return NULL;
	if (real_is_simple(r, word[1]))
		return real_instance_spec(r, word[1], word[2], child);
	snprintf(path, sizeof(path), "%s/%s", word[1], word[2]);
	return real_child_spec(r, path, child);
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
	c->spec = spec_of(r, it->word, &c->child);
	snprintf(c->store, sizeof(c->store), "%s", r->store);
	snprintf(c->id, sizeof(c->id), "%s",
	    it->word[2] == NULL ? "" : real_id(r, it->word[1], it->word[2], id, sizeof(id)));
	r->caller = NULL;
	r->call = c;
	if (pthread_create(&c->thread, NULL, run_call, c) != 0)
		abort();
}

/* An answer that has come. */
static void
end_call(struct real *r)
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

/* ---- posts ---- */

struct real_post {
	struct real_post *next;
	struct asked asked;
	struct real *r;
	const struct item *item;
	struct children children; /* so far, of an answer in several messages */
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
		(void)write_child(&p->children, &process);
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
		(void)write_spec(p->children.f, &child.spec);
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

		write_error(p->children.f, error, term ? stash_view_text(v) : "");
		return post_done(p);
	}
	if (type == STASH__B_PROCESSES)
		return on_processes(p, v);
	if (type == STASH__B_CHILDSPEC)
		return on_childspec(p, v);
	for (int i = 0; i < 4; i++)
		n[i] = (uint64_t)stash_view_int(v);
	write_counts(p->children.f, n[0], n[1], n[2], n[3]);
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

	spec = spec_of(r, word, &child);
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

static void
begin_post(struct real *r, const struct item *it)
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
	p->children.f = open_text(&p->text, &p->len);
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

static void
end_posts(struct real *r)
{
	struct real_post *p, *next;

	for (p = r->posts; p != NULL; p = next) {
		next = p->next;
		if (p->asked.done)
			post_free(r, p);
	}
}

void
real_ask_over(struct real *r)
{
	const struct item *it;

	while (r->posts != NULL) {
		it = r->posts->item;
		post_free(r, r->posts);
		real_answer(r, real_tag(it), real_time_ns(), "error noproc");
	}
}

void
real_ask(struct real *r, const struct item *it)
{
	if (it->kind == ITEM_POST)
		begin_post(r, it);
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
	struct real_post *p;

	/* What was answered before the end is still there to be read. */
	if (r->client != NULL && r->client->link == LINK_UP) {
		stash__link_run(r->client);
		end_posts(r);
	}
	if (r->client != NULL) {
		for (p = r->posts; p != NULL; p = p->next)
			TAILQ_REMOVE(&r->client->askeds, &p->asked, link);
	}
	stash_client_close(r->client);
	r->client = NULL;
	stash_client_close(r->caller);
	r->caller = NULL;
}

/* ---- looking ---- */

struct looking {
	struct real *r;
	struct look *look;
};

static void
mix(struct look *look, const void *data, size_t len)
{
	const unsigned char *at = data;

	for (; len > 0; len--)
		look->hash = (look->hash ^ *at++) * 0x100000001b3u;
}

/* One that was asked to stop and is not to stop by itself. */
static bool
is_deaf(const struct proc *proc)
{
	const char *shutdown = proc->path->declared == NULL ? NULL : item_option(proc->path->declared, "shutdown");

	return proc->life == LIFE_DEAF && shutdown != NULL && strcmp(shutdown, "infinity") == 0;
}

/* A worker with a process: whether that is on its way from one state to another. */
static void
look_at_process(const struct real *r, struct look *look, const struct stash_process *p)
{
	const struct proc *proc = real_proc_pid(r, p->pid);

	if (proc == NULL || proc->path == NULL) {
		look->moving = true;
		if (p->status == STASH_STOPPING)
			look->stopping = true;
		else if (look->first == 0 || p->pid < look->first)
			look->first = p->pid;
		return;
	}
	if (real_proc_dead(proc)) {
		look->moving = look->stopping = true;
		return;
	}
	if (proc->life == LIFE_HELD_START || proc->life == LIFE_HELD_STOP || is_deaf(proc))
		return;
	if (p->status == STASH_STOPPING && proc->life != LIFE_DEAF && proc->life != LIFE_SLOW)
		look->stopping = true;
	if (proc->life != LIFE_RUNNING || p->status != STASH_RUNNING)
		look->moving = true;
}

static void
look_at(struct looking *l, const struct stash_process *p)
{
	mix(l->look, p->child, strlen(p->child));
	mix(l->look, &p->status, sizeof(p->status));
	mix(l->look, &p->pid, sizeof(p->pid));
	if (strcmp(p->child, "root") == 0)
		l->look->root = p->status != STASH_STOPPED;
	/* One without a process waits for its turn, if it waits for anything. */
	if (!p->is_supervisor && p->pid != 0)
		look_at_process(l->r, l->look, p);
}

static int
on_list(void *arg, int type, struct stash_view *v, int *fds, int nfds)
{
	int error = (int)stash_view_int(v);
	struct stash_process process;
	int64_t more, count;

	(void)fds;
	(void)nfds;
	(void)stash_view_text(v);
	if (error < 0 || type != STASH__B_PROCESSES)
		return error < 0 ? error : STASH_E_PROTO;
	more = stash_view_int(v);
	for (count = stash_view_int(v); count > 0 && stash__view_process(v, &process) == 0; count--)
		look_at(arg, &process);
	return more != 0;
}

void
real_ask_look(struct real *r, struct look *look)
{
	struct looking looking = { r, look };

	memset(look, 0, sizeof(*look));
	end_call(r);
	if (r->pid == 0)
		return;
	look->moving = true;
	if (!real_connect(r) || r->client->link != LINK_UP)
		return;
	look->moving = false;
	if (stash__client_request(r->client, STASH__B_LIST, NULL, LOOK_MS, on_list, &looking) < 0 || !look->root)
		look->moving = true; /* it has ended, or hasn't begun */
	end_posts(r);
}
