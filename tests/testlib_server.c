/* SPDX-License-Identifier: ISC */
/* A supervisor without processes; see testlib_server.h. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "testlib_server.h"

static struct stash__supervise_config config;
static struct plan_table plans;

static const struct stash_behaviour behaviour = { .size = sizeof(behaviour), .name = "fuzz" };
static const struct stash_child_spec template = { .size = sizeof(template), .id = "one", .behaviour = &behaviour };
static const struct stash_supervisor_spec pool = {
	.size = sizeof(pool), .strategy = STASH_SIMPLE_ONE_FOR_ONE, .children = &template, .nchildren = 1
};
static const struct stash_child_spec children[] = {
	{ .size = sizeof(children[0]), .id = "pool", .supervisor = &pool },
	{ .size = sizeof(children[0]), .id = "a", .behaviour = &behaviour },
};
static const struct stash_supervisor_spec root = { .size = sizeof(root), .children = children, .nchildren = 2 };

static void
say_nothing(void *arg, int priority, const char *text)
{
	(void)arg;
	(void)priority;
	(void)text;
}

struct server *
t_server_begin(void)
{
	struct server *s = calloc(1, sizeof(*s));
	struct sup_spec *tree;

	STASH_ASSERT(s != NULL && supervise_make_tree(&root, &plans, &tree) == 0);
	stash__log_sink(say_nothing, NULL);
	stash__supervise_defaults(&config);
	s->config = &config;
	s->plans = &plans;
	s->tree = tree;
	s->dir = s->run_dir = "/nonexistent";
	s->run_fd = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* nothing of ours is in there */
	s->slot_fd = s->way_fd = s->signals_fd = s->lock_fd = s->broker.fd = s->keep.fd = -1;
	s->phase = SERVER_UP;
	TAILQ_INIT(&s->broker.peers);
	STAILQ_INIT(&s->turns);
	STAILQ_INIT(&s->reloads);
	STAILQ_INIT(&s->records.backlog);
	LIST_INIT(&s->records.longs);
	LIST_INIT(&s->records.layouts);
	stash__buf_init(&s->records.scratch, STASH__BUF_MAX);
	s->events = event_base_new();
	s->machine = sup_create(NULL);
	STASH_ASSERT(s->run_fd >= 0 && s->events != NULL && s->machine != NULL && stashlink_init(&s->stash, s, 1) == 0);
	STASH_ASSERT(turn_begin(s, sup_spec_ref(tree)) == 0);
	return s;
}

void
t_server_end(struct server *s)
{
	reload_free(s);
	reports_free(s);
	broker_close(s);
	mailroom_free(s);
	workers_free(s);
	turn_free(s);
	sup_destroy(s->machine);
	records_close(s);
	stashlink_close(&s->stash);
	event_base_free(s->events);
	sup_spec_unref(s->tree);
	plan_table_free(&plans);
	close(s->run_fd);
	free(s);
}

void
t_server_turn(struct server *s)
{
	(void)event_base_loop(s->events, EVLOOP_NONBLOCK);
}
