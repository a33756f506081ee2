/* SPDX-License-Identifier: ISC */
/*
 * Random histories of random trees: workers that start, fail, end and hang,
 * requests, time, stops, takeovers, boots. After each event what must always hold
 * is asked for: no two processes for one child, each request answered once, every
 * change in the rows, every status told, nobody left waiting for nobody.
 * STASH_TEST_SEED=N does again what a failed run has printed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "testlib.h"
#include "testlib_tree.h"

Suite *tree_random_suite(void);

#define EVENTS 120000
#define EVENTS_MAX 1500 /* of one history */
#define PROCS_MAX 512

struct proc {
	char *path;
	uint64_t node, start;
	bool ready, asked, killed;
};

struct told {
	char *path;
	enum stash_status status;
};

static struct {
	struct sup *sup;
	int64_t now;
	struct t_rows rows;
	struct proc proc[PROCS_MAX];
	size_t procs;
	struct told told[PROCS_MAX];
	size_t ntold;
	uint64_t open[PROCS_MAX];
	size_t nopen;
	uint64_t last_request, last_start, late_node, late_start;
	bool ended, resumed;
	int names;
} sim;

/* ---- chance ---- */

static uint64_t seed;

static unsigned
chance(unsigned n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)((seed >> 11) % n);
}

static const char *
some_id(void)
{
	static const char *const ids[] = { "a", "b", "c", "d", "e", "s", "t", "u", "p" };

	return ids[chance(sizeof(ids) / sizeof(ids[0]))];
}

/* Sometimes a name that another child has; sometimes a wrong flag. */
static struct sup_spec *
some_worker(const char *id)
{
	static const int32_t shutdowns[] = { 5000, 0, 50, STASH_INFINITY, STASH_BRUTAL_KILL };
	char name[32];
	struct sup_spec *s;

	snprintf(name, sizeof(name), "n%d", chance(10) == 0 ? sim.names / 2 : ++sim.names);
	s = sup_spec_create(SUP_WORKER, id, chance(3) == 0 ? "" : name);
	s->restart = (int32_t)chance(3);
	s->shutdown_ms = shutdowns[chance(5)];
	s->start_timeout_ms = chance(3) == 0 ? 200 : STASH_INFINITY;
	s->type = chance(9) == 0 ? SUP_SUPERVISOR : SUP_WORKER;
	if (chance(6) == 0)
		s->significant = 1;
	if (chance(60) == 0)
		s->restart = 9;
	return s;
}

static struct sup_spec *
some_super(const char *id, int depth)
{
	static const int32_t shutdowns[] = { STASH_INFINITY, STASH_INFINITY, STASH_INFINITY, 100, STASH_BRUTAL_KILL };
	struct sup_spec *s = sup_spec_create(SUP_SUPERVISOR, id, NULL), *c;
	unsigned n = chance(5), i;

	s->restart = (int32_t)chance(3);
	s->shutdown_ms = shutdowns[chance(5)];
	s->strategy = (int32_t)chance(4);
	s->auto_shutdown = (int32_t)chance(3);
	s->intensity = chance(4) == 0 ? 0 : (int32_t)chance(30);
	s->period_s = 1 + (int32_t)chance(20);
	if (s->strategy == STASH_SIMPLE_ONE_FOR_ONE)
		n = chance(30) != 0;
	for (i = 0; i < n; i++) {
		const char *child = some_id();

		c = depth < 3 && s->strategy != STASH_SIMPLE_ONE_FOR_ONE && chance(3) == 0 ?
		    some_super(child, depth + 1) :
		    some_worker(child);
		if (s->auto_shutdown == STASH_AUTO_NEVER || c->restart == STASH_PERMANENT)
			c->significant = 0;
		ck_assert_int_eq(sup_spec_add_child(s, c), 0);
	}
	return s;
}

/* ---- processes ---- */

static struct proc *
find_proc(const char *path)
{
	size_t i;

	for (i = 0; i < sim.procs; i++) {
		if (strcmp(sim.proc[i].path, path) == 0)
			return &sim.proc[i];
	}
	return NULL;
}

static void
drop_proc(struct proc *p)
{
	sim.late_node = p->node;
	sim.late_start = p->start;
	free(p->path);
	*p = sim.proc[--sim.procs];
}

static void
start_proc(const struct sup_action *a)
{
	ck_assert_msg(find_proc(a->path) == NULL, "two processes for %s", a->path);
	ck_assert_msg(a->start > sim.last_start, "start numbers don't grow");
	ck_assert_uint_lt(sim.procs, PROCS_MAX);
	sim.last_start = a->start;
	sim.proc[sim.procs++] = (struct proc){ .path = strdup(a->path), .node = a->node, .start = a->start };
}

static void
stop_proc(const struct sup_action *a)
{
	struct proc *p = find_proc(a->path);

	ck_assert_msg(p != NULL && p->start == a->start, "a signal for nobody at %s", a->path);
	ck_assert_msg(sim.resumed || !p->killed, "a second signal for %s", a->path);
	p->asked = true;
	p->killed = p->killed || a->kind == SUP_ACT_KILL;
}

/* ---- what comes out ---- */

static void
note_status(const struct sup_action *a)
{
	size_t i;

	for (i = 0; i < sim.ntold && strcmp(sim.told[i].path, a->path) != 0; i++)
		;
	if (a->kind == SUP_ACT_GONE) {
		if (i == sim.ntold)
			return;
		free(sim.told[i].path);
		sim.told[i] = sim.told[--sim.ntold];
		return;
	}
	if (i == sim.ntold) {
		ck_assert_uint_lt(sim.ntold, PROCS_MAX);
		sim.told[sim.ntold++].path = strdup(a->path);
	}
	sim.told[i].status = a->status;
}

static void
note_reply(uint64_t id)
{
	size_t i;

	for (i = 0; i < sim.nopen && sim.open[i] != id; i++)
		;
	ck_assert_msg(i < sim.nopen, "request %ju was answered twice", (uintmax_t)id);
	sim.open[i] = sim.open[--sim.nopen];
}

static void
save(const struct sup_action *a)
{
	struct stash_buf *buf;
	const void *data;
	size_t len;

	if (a->kind == SUP_ACT_FORGET) {
		t_rows_set(&sim.rows, a->key, NULL, 0);
		return;
	}
	buf = stash_buf_create();
	ck_assert_int_eq(sup_pack(sim.sup, a->key, buf), 0);
	ck_assert_int_eq(stash_buf_data(buf, &data, &len), 0);
	t_rows_set(&sim.rows, a->key, data, len);
	stash_buf_destroy(buf);
}

static void
carry_out(const struct sup_action *a, bool *acted)
{
	switch (a->kind) {
	case SUP_ACT_SAVE:
	case SUP_ACT_FORGET:
		ck_assert_msg(!*acted, "a row comes behind an act");
		save(a);
		return;
	case SUP_ACT_STATUS:
	case SUP_ACT_GONE:
		ck_assert_msg(!*acted, "a status comes behind an act");
		note_status(a);
		return;
	case SUP_ACT_START:
		start_proc(a);
		break;
	case SUP_ACT_SIGNAL:
	case SUP_ACT_KILL:
		stop_proc(a);
		break;
	case SUP_ACT_REPLY:
		note_reply(a->request);
		break;
	case SUP_ACT_DONE:
		ck_assert_msg(!sim.ended, "the tree ended twice");
		ck_assert_msg(sim.procs == 0, "the tree ended before its processes");
		sim.ended = true;
		break;
	case SUP_ACT_UP:
	case SUP_ACT_REPORT:
		break;
	}
	*acted = true;
}

/* ---- what must hold ---- */

static bool
is_alive(enum sup_state state)
{
	return state != SUP_DOWN && state != SUP_EXITED && state != SUP_RESTARTING;
}

static void
check_worker(const struct sup_node *n)
{
	const struct proc *p = find_proc(sup_node_path(n));
	size_t i;

	ck_assert_msg(
	    is_alive(sup_node_state(n)) == (p != NULL), "%s has %s process", sup_node_path(n), p == NULL ? "no" : "a");
	if (p != NULL)
		ck_assert_uint_eq(p->start, sup_node_start(n));
	for (i = 0; i < sim.ntold && strcmp(sim.told[i].path, sup_node_path(n)) != 0; i++)
		;
	ck_assert_msg(i < sim.ntold, "%s: no status was told", sup_node_path(n));
	ck_assert_msg(sim.told[i].status == sup_node_status(n), "%s: status %d was told, and it is %d",
	    sup_node_path(n), sim.told[i].status, sup_node_status(n));
}

static void
check_all(void)
{
	const char *wrong = sup_check(sim.sup);
	const struct sup_node *n;
	size_t workers = 0, i;

	ck_assert_msg(wrong == NULL, "%s", wrong);
	t_rows_check(&sim.rows, sim.sup);
	for (n = sup_next(sim.sup, NULL); n != NULL; n = sup_next(sim.sup, n)) {
		if (sup_node_spec(n)->kind != SUP_WORKER)
			continue;
		workers++;
		check_worker(n);
	}
	ck_assert_uint_eq(workers, sim.ntold);
	for (i = 0; i < sim.procs; i++)
		ck_assert_ptr_nonnull(sup_find_path(sim.sup, sim.proc[i].path));
	n = sup_root(sim.sup);
	ck_assert(sim.ended == (n == NULL || !is_alive(sup_node_state(n))));
	if (sim.ended)
		ck_assert_msg(sim.nopen == 0, "a request got no answer");
}

static void
drain(void)
{
	struct sup_action a;
	bool acted;
	int rests = 0;

	do {
		acted = false;
		while (sup_next_action(sim.sup, &a))
			carry_out(&a, &acted);
		sim.resumed = false;
		if (sup_deadline(sim.sup) > sim.now)
			break;
		sup_clock(sim.sup, sim.now);
		ck_assert_int_lt(++rests, 10000);
	} while (true);
	check_all();
}

/* ---- events ---- */

static void
end_proc(struct proc *p, enum stash_reason reason)
{
	uint64_t node = p->node, start = p->start;

	drop_proc(p);
	sup_exited(sim.sup, node, start, reason, sim.now);
}

static void
start_outcome(struct proc *p)
{
	uint64_t node = p->node, start = p->start;
	unsigned what = chance(20);

	if (what < 14) {
		p->ready = true;
		sup_ready(sim.sup, node, start, sim.now);
		return;
	}
	if (what == 14)
		return; /* takes its time */
	drop_proc(p);
	if (what < 18)
		sup_failed(sim.sup, node, start, "init_error", sim.now);
	else if (what == 18)
		sup_ignored(sim.sup, node, start, sim.now);
	else
		sup_exited(sim.sup, node, start, STASH_REASON_KILLED, sim.now);
}

static void
event_proc(void)
{
	struct proc *p;

	if (sim.procs == 0)
		return;
	p = &sim.proc[chance((unsigned)sim.procs)];
	if (p->killed)
		end_proc(p, STASH_REASON_KILLED);
	else if (!p->ready)
		start_outcome(p);
	else if (p->asked && chance(5) > 0)
		end_proc(p, chance(4) > 0 ? STASH_REASON_SHUTDOWN : STASH_REASON_CRASH);
	else if (chance(3) == 0)
		end_proc(p, (enum stash_reason)chance(4));
}

static const struct sup_node *
some_node(void)
{
	const struct sup_node *n;
	unsigned count = 0;

	for (n = sup_next(sim.sup, NULL); n != NULL; n = sup_next(sim.sup, n))
		count++;
	count = count == 0 ? 0 : chance(count);
	for (n = sup_next(sim.sup, NULL); n != NULL && count > 0; n = sup_next(sim.sup, n))
		count--;
	return n;
}

static void
event_request(void)
{
	const struct sup_node *n = some_node(), *above = n == NULL ? NULL : sup_node_above(n);
	struct sup_request r = { .id = ++sim.last_request, .kind = (enum sup_request_kind)(1 + chance(8)) };
	char *path;

	if (n == NULL || sim.nopen == PROCS_MAX)
		return;
	r.supervisor = path = strdup(above == NULL || chance(8) == 0 ? sup_node_path(n) : sup_node_path(above));
	r.child = chance(4) == 0 ? some_id() : sup_node_id(n);
	if (r.kind == SUP_START_CHILD) {
		r.spec = chance(4) == 0 ? some_super(some_id(), 2) : some_worker(some_id());
		r.name = chance(2) == 0 ? NULL : some_id();
		r.args = "args";
		r.args_len = chance(5);
	}
	sim.open[sim.nopen++] = r.id;
	sup_request(sim.sup, &r, sim.now);
	sup_spec_unref(r.spec);
	free(path);
}

static void
event_time(void)
{
	int64_t deadline = sup_deadline(sim.sup);

	if (deadline != SUP_NEVER && chance(2) == 0)
		sim.now = deadline;
	else
		sim.now += (int64_t)chance(3000) * T_MS;
	sup_clock(sim.sup, sim.now);
}

static void
event_late(void)
{
	if (sim.late_node == 0)
		return;
	sup_ready(sim.sup, sim.late_node, sim.late_start, sim.now);
	sup_exited(sim.sup, sim.late_node, sim.late_start, STASH_REASON_CRASH, sim.now);
	sup_ignored(sim.sup, sim.late_node, sim.late_start, sim.now);
}

static void
start_tree(void)
{
	sim.ended = false;
	ck_assert_int_eq(sup_start(sim.sup, some_super("root", 0), sim.now), 0);
}

static struct sup_spec *
some_child(void)
{
	return chance(3) == 0 ? some_super(some_id(), 3) : some_worker(some_id());
}

static void
event_reload(void)
{
	struct sup_spec *spec;
	int error;

	if (sup_root(sim.sup) == NULL || sim.nopen == PROCS_MAX)
		return;
	spec = chance(6) == 0 ? some_super("root", 0) :
				t_spec_change(sup_node_spec(sup_root(sim.sup)), chance, some_child);
	sim.open[sim.nopen++] = ++sim.last_request;
	error = sup_reload(sim.sup, spec, sim.last_request, sim.now);
	sim.nopen -= error < 0;
	ck_assert_msg(error == 0 || error == STASH_E_SPEC || error == STASH_E_DOWN, "%s", stash_errmsg());
}

/* Another machine, as after the death of the supervisor, or of the whole system. */
static void
event_takeover(bool boot)
{
	const struct sup_node *n;
	size_t i;

	sup_destroy(sim.sup);
	sim.sup = sup_create(NULL);
	ck_assert_msg(sup_restore(sim.sup, sim.rows.row, sim.rows.count) == 0, "%s", stash_errmsg());
	t_rows_check(&sim.rows, sim.sup);
	sim.nopen = 0;
	sim.late_node = 0;
	sim.resumed = true;
	while (boot && sim.procs > 0)
		drop_proc(&sim.proc[0]);
	for (i = 0; i < sim.procs; i++) {
		n = sup_find_path(sim.sup, sim.proc[i].path);
		ck_assert_ptr_nonnull(n);
		sim.proc[i].node = sup_node_handle(n);
	}
	sup_resume(sim.sup, boot, sim.now);
	n = sup_root(sim.sup);
	if (boot && n != NULL)
		sim.ended = !is_alive(sup_node_state(n));
	drain();
	for (i = 0; i < sim.procs; i++) {
		struct proc p = sim.proc[i];

		if (p.ready || p.killed || chance(2) == 0)
			continue;
		drop_proc(&sim.proc[i]); /* it died with the one that had forked it */
		sup_lost(sim.sup, p.node, p.start, sim.now);
		drain();
		break;
	}
}

static void
one_event(void)
{
	unsigned what = chance(1000);

	if (what < 570)
		event_proc();
	else if (what < 600)
		event_reload();
	else if (what < 800)
		event_request();
	else if (what < 950)
		event_time();
	else if (what < 970)
		event_late();
	else if (what < 990)
		event_takeover(false);
	else if (what < 993)
		event_takeover(true);
	else if (what < 996)
		(void)sup_stop(sim.sup, sim.now);
	else if (what < 997)
		sup_kill(sim.sup, sim.now);
	if (sim.ended && chance(3) == 0) {
		drain();
		start_tree();
	}
	drain();
}

/* Everybody does what he is asked to: then there is an end. */
static void
come_to_an_end(void)
{
	int rounds = 0;
	size_t i;

	(void)sup_stop(sim.sup, sim.now);
	drain();
	while (!sim.ended) {
		ck_assert_msg(++rounds < 2000, "the tree doesn't end");
		for (i = 0; i < sim.procs; i++) {
			struct proc *p = &sim.proc[i];

			if (p->asked)
				end_proc(p, p->killed ? STASH_REASON_KILLED : STASH_REASON_SHUTDOWN);
			else if (!p->ready) {
				p->ready = true;
				sup_ready(sim.sup, p->node, p->start, sim.now);
			} else
				continue;
			break;
		}
		drain();
	}
}

static void
history(unsigned events)
{
	memset(&sim, 0, sizeof(sim));
	sim.now = 1000 * T_MS;
	sim.ended = true;
	sim.sup = sup_create(NULL);
	start_tree();
	drain();
	while (events-- > 0)
		one_event();
	come_to_an_end();
	sup_destroy(sim.sup);
	while (sim.ntold > 0)
		free(sim.told[--sim.ntold].path);
	t_rows_free(&sim.rows);
}

START_TEST(what_must_hold_holds_in_random_histories)
{
	const char *given = getenv("STASH_TEST_SEED");
	unsigned events = 0, n;

	seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) * 1000003 + (uint64_t)_i;
	seed = seed == 0 ? 1 : seed;
	printf("STASH_TEST_SEED=%ju\n", (uintmax_t)seed);
	fflush(stdout);
	while (events < EVENTS / 4) {
		n = 1 + chance(EVENTS_MAX);
		history(n);
		events += n;
	}
}
END_TEST

Suite *
tree_random_suite(void)
{
	Suite *s = suite_create("tree_random");
	TCase *c = t_case(s, "histories", 60);

	tcase_add_loop_test(c, what_must_hold_holds_in_random_histories, 0, 4);
	return s;
}

TEST_MAIN(tree_random_suite)
