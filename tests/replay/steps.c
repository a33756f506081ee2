/* SPDX-License-Identifier: ISC */
/* The steps of a scenario, and the answers to its requests. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay/inside.h"

/* ---- answers ---- */

static struct unanswered *
take_asked(struct world *w, uint64_t id)
{
	struct unanswered *a, **at;

	for (at = &w->asked; (a = *at) != NULL; at = &a->next) {
		if (a->id == id) {
			*at = a->next;
			return a;
		}
	}
	return NULL;
}

static void
answer(struct world *w, uint64_t id, const char *text)
{
	struct unanswered *a = take_asked(w, id);

	if (a == NULL)
		return;
	if (a->tag == NULL)
		lines_add(&w->seen, "result %s", text);
	else if (strcmp(text, "error noproc") == 0)
		lines_add(&w->noproc, "reply %s %s", a->tag, text);
	else
		lines_add(&w->seen, "reply %s %s", a->tag, text);
	free(a->tag);
	free(a);
}

static uint64_t
ask(struct world *w, const struct item *it, const char *tag)
{
	struct unanswered *a = world_alloc(sizeof(*a)), **end;

	a->id = ++w->last_request;
	a->tag = tag == NULL ? NULL : strdup(tag);
	a->item = it;
	for (end = &w->asked; *end != NULL; end = &(*end)->next)
		;
	*end = a;
	return a->id;
}

static const char *
type_word(int32_t type)
{
	return type == SUP_SUPERVISOR ? "supervisor" : "worker";
}

static void
write_children(FILE *f, const struct sup_action *a)
{
	static const char *const states[] = { [SUP_CHILD_UNDEFINED] = "undefined",
		[SUP_CHILD_RUNNING] = "running",
		[SUP_CHILD_RESTARTING] = "restarting" };
	size_t i;

	if (a->nchildren == 0) {
		fprintf(f, "none");
		return;
	}
	if (a->unordered)
		fprintf(f, "unordered ");
	for (i = 0; i < a->nchildren; i++) {
		fprintf(f, "%s%s,%s,%s", i == 0 ? "" : " ", a->children[i].node == 0 ? "-" : a->children[i].id,
		    type_word(a->children[i].type), states[a->children[i].state]);
	}
}

static void
write_spec(FILE *f, const struct sup_spec *spec)
{
	static const char *const restarts[] = { "permanent", "transient", "temporary" };

	fprintf(
	    f, "restart=%s significant=%s shutdown=", restarts[spec->restart], spec->significant ? "true" : "false");
	if (spec->shutdown_ms == STASH_INFINITY)
		fprintf(f, "infinity");
	else if (spec->shutdown_ms == STASH_BRUTAL_KILL)
		fprintf(f, "brutal_kill");
	else
		fprintf(f, "%d", spec->shutdown_ms);
	fprintf(f, " type=%s", type_word(spec->type));
}

static void
write_answer(FILE *f, const struct item *it, const struct sup_action *a)
{
	const char *request = it->kind == ITEM_POST ? it->word[1] : it->word[0];

	if (a->code == STASH_IGNORE)
		fprintf(f, "ok undefined");
	else if (a->code < 0)
		fprintf(f, "error %s", a->term);
	else if (strcmp(request, "which_children") == 0)
		write_children(f, a);
	else if (strcmp(request, "count_children") == 0)
		fprintf(f, "specs=%ju active=%ju supervisors=%ju workers=%ju", (uintmax_t)a->specs,
		    (uintmax_t)a->active, (uintmax_t)a->supervisors, (uintmax_t)a->workers);
	else if (strcmp(request, "get_childspec") == 0)
		write_spec(f, a->spec);
	else
		fprintf(f, "ok");
}

void
answer_request(struct world *w, const struct sup_action *a)
{
	const struct unanswered *asked;
	char *text = NULL;
	size_t len;
	FILE *f;

	for (asked = w->asked; asked != NULL && asked->id != a->request; asked = asked->next)
		;
	if (asked == NULL)
		return;
	if ((f = open_memstream(&text, &len)) == NULL)
		abort();
	write_answer(f, asked->item, a);
	if (fclose(f) != 0)
		abort();
	answer(w, a->request, text);
	free(text);
}

static const struct unanswered *
find_start(const struct world *w)
{
	const struct unanswered *a;
	const char *request;

	for (a = w->asked; a != NULL; a = a->next) {
		request = a->item->kind == ITEM_POST ? a->item->word[1] : a->item->word[0];
		if (strcmp(request, "start") == 0)
			return a;
	}
	return NULL;
}

/* To who started the top supervisor, if that wasn't answered yet. */
void
answer_start(struct world *w, const char *text)
{
	const struct unanswered *a = find_start(w);

	if (a != NULL)
		answer(w, a->id, text);
}

void
answer_done(struct world *w, const struct sup_action *a)
{
	char text[SUP_TERM_MAX + 16];

	snprintf(text, sizeof(text), "error %s", a->term);
	answer_start(w, a->code == STASH_IGNORE ? "ignore" : text);
}

/* ---- steps ---- */

static void
do_start(struct world *w, const struct item *it, const char *tag)
{
	uint64_t id = ask(w, it, tag);

	if (sup_start(w->sup, world_spec(w, "root"), w->now) < 0)
		answer(w, id, "error already_started");
	world_drain(w);
}

static void
do_request(struct world *w, const struct item *it, const char *tag, char *const *word)
{
	static const char *const names[] = { [SUP_START_CHILD] = "start_child",
		[SUP_TERMINATE_CHILD] = "terminate_child",
		[SUP_RESTART_CHILD] = "restart_child",
		[SUP_DELETE_CHILD] = "delete_child",
		[SUP_WHICH_CHILDREN] = "which_children",
		[SUP_COUNT_CHILDREN] = "count_children",
		[SUP_GET_CHILDSPEC] = "get_childspec" };
	struct sup_request request = {
		.id = ask(w, it, tag), .supervisor = word[1], .child = word[2], .name = word[2]
	};
	char *path = NULL;

	for (request.kind = SUP_GET_CHILDSPEC; strcmp(names[request.kind], word[0]) != 0; request.kind--) {
		if (request.kind == SUP_START_CHILD) {
			fprintf(stderr, "otp-replay: %s: unknown step: %s\n", w->scenario->file, it->text);
			abort();
		}
	}
	if (request.kind == SUP_START_CHILD) {
		if (asprintf(&path, "%s/%s", word[1], word[2]) < 0)
			abort();
		request.spec = world_spec(w, path);
		free(path);
	}
	if (w->watch != NULL)
		w->watch->request(w->watch->arg, &request);
	sup_request(w->sup, &request, w->now);
	sup_spec_unref(request.spec);
	world_drain(w);
}

static void
do_exit(struct world *w, const struct path *p, const char *how)
{
	enum stash_reason reason = STASH_REASON_CRASH;

	if (strcmp(how, "normal") == 0)
		reason = STASH_REASON_NORMAL;
	else if (strncmp(how, "shutdown", 8) == 0)
		reason = STASH_REASON_SHUTDOWN;
	if (p->life == LIFE_NONE || p->life == LIFE_HELD_START)
		lines_add(&w->seen, "result error not_running");
	else if (p->life == LIFE_HELD_STOP)
		lines_add(&w->seen, "result error held");
	else
		process_end(w, world_path(w, p->name), reason);
}

static void
do_kill(struct world *w, struct path *p)
{
	if (p->life == LIFE_NONE)
		lines_add(&w->seen, "result error not_running");
	else
		process_end(w, p, STASH_REASON_KILLED);
}

static void
do_release(struct world *w, struct path *p, const char *outcome)
{
	if (p->life == LIFE_HELD_START && outcome != NULL)
		process_outcome(w, p, outcome);
	else if (p->life == LIFE_HELD_STOP && outcome == NULL)
		process_end(w, p, STASH_REASON_SHUTDOWN);
	else
		lines_add(&w->seen, "result error not_held");
}

static void
do_stop(struct world *w)
{
	if (sup_stop(w->sup, w->now) < 0)
		lines_add(&w->seen, "result error noproc");
	world_drain(w);
}

static void
carry_out_step(struct world *w, const struct item *it)
{
	char *const *word = it->kind == ITEM_POST ? it->word + 1 : it->word;
	const char *tag = it->kind == ITEM_POST ? it->word[0] : NULL;

	if (strcmp(word[0], "start") == 0)
		do_start(w, it, tag);
	else if (strcmp(word[0], "stop") == 0)
		do_stop(w);
	else if (strcmp(word[0], "exit") == 0)
		do_exit(w, world_path(w, word[1]), word[2]);
	else if (strcmp(word[0], "kill") == 0)
		do_kill(w, world_path(w, word[1]));
	else if (strcmp(word[0], "release") == 0)
		do_release(w, world_path(w, word[1]), word[2]);
	else if (strcmp(word[0], "set") == 0)
		path_set(world_path(w, word[1]), it);
	else if (strcmp(word[0], "sleep") == 0)
		world_sleep(w, strtoll(word[1], NULL, 10));
	else
		do_request(w, it, tag, word);
}

static int
compare_lines(const void *a, const void *b)
{
	return strverscmp(*(char *const *)a, *(char *const *)b);
}

int
world_step(struct world *w)
{
	const struct scenario *s = w->scenario;
	const struct item *it;
	size_t i;

	for (; w->item < s->count && s->item[w->item].kind <= ITEM_CHILD; w->item++)
		world_declare(w, &s->item[w->item]);
	if (w->item == s->count)
		return -1;
	w->block++;
	it = &s->item[w->item++];
	lines_clear(&w->seen);
	carry_out_step(w, it);
	world_settle(w);
	if (w->noproc.count > 1)
		qsort(w->noproc.line, w->noproc.count, sizeof(char *), compare_lines);
	for (i = 0; i < w->noproc.count; i++)
		lines_add(&w->seen, "%s", w->noproc.line[i]);
	lines_clear(&w->noproc);
	return (int)(it - s->item);
}

/* ---- life ---- */

/* What the supervisor above knows of a child: no init of the child's own changes that. */
static void
keep_place(struct sup_spec *spec, const struct sup_spec *known)
{
	spec->restart = known->restart;
	spec->significant = known->significant;
	spec->shutdown_ms = known->shutdown_ms;
	spec->type = known->type;
}

/* A supervisor's start uses what is declared when it starts. */
static enum sup_init
init(void *arg, const char *path, struct sup_spec **spec)
{
	struct world *w = arg;
	struct sup_spec *now = world_spec(w, path);
	const char *outcome = path_next_init(w, world_path(w, path));
	struct stash_buf *old = stash_buf_create(), *new = stash_buf_create();
	enum sup_init said;
	const void *a, *b;
	size_t alen, blen;

	sup_spec_unref(w->latest);
	w->latest = now;
	keep_place(now, *spec);
	if (sup_spec_pack_tree(*spec, old) < 0 || sup_spec_pack_tree(now, new) < 0)
		abort();
	stash_buf_data(old, &a, &alen);
	stash_buf_data(new, &b, &blen);
	if (alen != blen || memcmp(a, b, alen) != 0)
		*spec = now;
	stash_buf_destroy(old);
	stash_buf_destroy(new);
	said = strcmp(outcome, "ok") == 0 ? SUP_INIT_OK :
	    strcmp(outcome, "error") == 0 ? SUP_INIT_ERROR :
					    SUP_INIT_IGNORE;
	if (w->watch != NULL)
		w->watch->init(w->watch->arg, path, now, said);
	return said;
}

struct sup_ops
world_ops(struct world *w)
{
	return (struct sup_ops){ .init = init, .arg = w };
}

void
world_open(struct world *w, const struct scenario *s)
{
	struct sup_ops ops = world_ops(w);

	memset(w, 0, sizeof(*w));
	w->scenario = s;
	w->events_end = &w->events;
	w->now = 1000000000000;
	if ((w->sup = sup_create(&ops)) == NULL)
		abort();
}

const char *
world_forget_request(struct world *w, uint64_t id)
{
	struct unanswered *a = take_asked(w, id);
	const char *tag = a == NULL || a->tag == NULL ? NULL : a->item->word[0];

	if (a != NULL)
		free(a->tag);
	free(a);
	return tag;
}

void
world_close(struct world *w)
{
	struct event *e;

	while (w->asked != NULL)
		(void)world_forget_request(w, w->asked->id);
	while ((e = w->events) != NULL) {
		w->events = e->next;
		free(e);
	}
	lines_clear(&w->seen);
	lines_clear(&w->noproc);
	world_free_paths(w);
	sup_spec_unref(w->latest);
	sup_destroy(w->sup);
}
