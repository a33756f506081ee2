/* SPDX-License-Identifier: ISC */
/*
 * The recorded scenarios of OTP, on the machine: each agrees; and each agrees too
 * if the machine is exchanged for one made from its rows, at every event.
 */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay/world.h"
#include "supervisor/node.h"
#include "testlib.h"
#include "testlib_tree.h"

Suite *tree_otp_suite(void);

/* ---- all of them ---- */

static struct scenario *scenarios;
static size_t nscenarios;

static int
is_scenario(const struct dirent *d)
{
	size_t len = strlen(d->d_name);

	return len > 4 && strcmp(d->d_name + len - 4, ".scn") == 0;
}

static void
read_scenarios(void)
{
	char dir[PATH_MAX], file[PATH_MAX + NAME_MAX + 2];
	struct dirent **entries;
	int i, n;

	snprintf(dir, sizeof(dir), "%s", __FILE__);
	*(strrchr(dir, '/') + 1) = '\0';
	strncat(dir, "conformance", sizeof(dir) - strlen(dir) - 1);
	n = scandir(dir, &entries, is_scenario, alphasort);
	ck_assert_msg(n > 0, "no scenarios in %s", dir);
	scenarios = calloc((size_t)n, sizeof(*scenarios));
	for (i = 0; i < n; i++) {
		snprintf(file, sizeof(file), "%s/%s", dir, entries[i]->d_name);
		ck_assert_int_eq(scenario_read(&scenarios[i], file), 0);
		free(entries[i]);
	}
	free(entries);
	nscenarios = (size_t)n;
}

static void
free_scenarios(void)
{
	while (nscenarios > 0)
		scenario_free(&scenarios[--nscenarios]);
	free(scenarios);
}

/* ---- one run ---- */

/* A run in which the machine is exchanged after event number cut; SIZE_MAX: never. */
struct run {
	struct world w;
	struct t_rows rows;
	size_t cut;
	bool done;	    /* the cut was made */
	bool skipped;	    /* or wasn't, since requests waited, which rows don't hold */
	bool ignore_result; /* the answer of the "do" in hand got lost */
	size_t lost;	    /* tags of lost answers */
	char *tag[64];
};

static bool
requests_wait(const struct sup *sup)
{
	const struct sup_node *n;
	const struct sup_msg *m;

	for (n = sup_next(sup, NULL); n != NULL; n = sup_next(sup, n)) {
		if (n->sub == NULL)
			continue;
		TAILQ_FOREACH(m, &n->sub->queue, link) {
			if (m->kind == SUP_MSG_REQUEST)
				return true;
		}
	}
	return false;
}

/* The request that a supervisor works on ends without an answer. */
static void
lose_answers(struct run *r)
{
	const struct sup_node *n;

	for (n = sup_next(r->w.sup, NULL); n != NULL; n = sup_next(r->w.sup, n)) {
		const char *tag;

		if (n->sub == NULL || n->sub->op.ask == NULL)
			continue;
		tag = world_forget_request(&r->w, n->sub->op.ask->id);
		if (tag == NULL) {
			r->ignore_result = true;
		} else {
			ck_assert_uint_lt(r->lost, 64);
			r->tag[r->lost++] = strdup(tag);
		}
	}
}

static void
exchange(struct run *r)
{
	struct sup_ops ops = world_ops(&r->w);
	const char *wrong;

	lose_answers(r);
	sup_destroy(r->w.sup);
	r->w.sup = sup_create(&ops);
	ck_assert_msg(sup_restore(r->w.sup, r->rows.row, r->rows.count) == 0, "%s, event %zu: %s", r->w.scenario->name,
	    r->cut, stash_errmsg());
	world_rebind(&r->w);
	sup_resume(r->w.sup, false, r->w.now);
	wrong = sup_check(r->w.sup);
	ck_assert_msg(wrong == NULL, "%s, resumed after event %zu: %s", r->w.scenario->name, r->cut, wrong);
}

static void
after_event(struct world *w, void *arg)
{
	struct run *r = arg;
	const char *wrong = sup_check(w->sup);

	ck_assert_msg(wrong == NULL, "%s, event %zu: %s", w->scenario->name, w->told, wrong);
	if (r->cut == SIZE_MAX)
		t_rows_check(&r->rows, w->sup);
	if (w->told != r->cut || r->done)
		return;
	r->done = true;
	if (requests_wait(w->sup))
		r->skipped = true;
	else
		exchange(r);
}

static bool
is_lost(const struct run *r, const char *line)
{
	size_t i, len;

	if (r->ignore_result && strncmp(line, "result ", 7) == 0)
		return true;
	for (i = 0; i < r->lost; i++) {
		len = strlen(r->tag[i]);
		if (strncmp(line, "reply ", 6) == 0 && strncmp(line + 6, r->tag[i], len) == 0 && line[6 + len] == ' ')
			return true;
	}
	return false;
}

/* Names of instances that have ended aren't in rows: a request finds nobody then, instead of nobody any more. */
static bool
is_forgotten(const struct run *r, const struct lines *seen)
{
	return r->done && seen->count == 1 &&
	    (strstr(seen->line[0], " error simple_one_for_one") != NULL ||
		strstr(seen->line[0], " error not_found") != NULL);
}

static bool
agrees(const struct run *r, const struct lines *expected, const struct lines *seen)
{
	struct lines a = { NULL, 0 }, b = { NULL, 0 };
	bool same;
	size_t i;

	for (i = 0; i < expected->count; i++) {
		if (!is_lost(r, expected->line[i]))
			lines_add(&a, "%s", expected->line[i]);
	}
	for (i = 0; i < seen->count; i++) {
		if (!is_lost(r, seen->line[i]))
			lines_add(&b, "%s", seen->line[i]);
	}
	same = lines_agree(&a, &b);
	lines_clear(&a);
	lines_clear(&b);
	return same;
}

static void
explain(const struct run *r, const struct item *it)
{
	char text[4096] = "";
	size_t i, at = 0;

	for (i = 0; i < r->w.seen.count && at < sizeof(text); i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "\n\t%s", r->w.seen.line[i]);
	ck_abort_msg("%s differs at \"%s\" (machine exchanged after event %zu), seen:%s", r->w.scenario->name, it->text,
	    r->cut, text);
}

/* How many events there were. */
static size_t
run(const struct scenario *s, size_t cut, size_t *skipped)
{
	struct run r = { .cut = cut };
	size_t told;
	int step;

	world_open(&r.w, s);
	r.w.after = after_event;
	r.w.after_arg = &r;
	r.w.row = t_rows_set;
	r.w.row_arg = &r.rows;
	while ((step = world_step(&r.w)) >= 0 && !r.skipped) {
		if (!agrees(&r, &s->item[step].expect, &r.w.seen) && !is_forgotten(&r, &r.w.seen))
			explain(&r, &s->item[step]);
		r.ignore_result = false;
	}
	told = r.w.told;
	*skipped += r.skipped;
	world_close(&r.w);
	t_rows_free(&r.rows);
	while (r.lost > 0)
		free(r.tag[--r.lost]);
	return told;
}

/* ---- tests ---- */

START_TEST(every_scenario_agrees)
{
	size_t i, skipped = 0;

	read_scenarios();
	for (i = 0; i < nscenarios; i++)
		(void)run(&scenarios[i], SIZE_MAX, &skipped);
	free_scenarios();
}
END_TEST

/* One part of eight of all scenarios, so that two can run at a time. */
START_TEST(every_scenario_agrees_with_a_takeover_at_each_event)
{
	size_t i, events, cut, cuts = 0, skipped = 0;

	read_scenarios();
	for (i = (size_t)_i; i < nscenarios; i += 8) {
		events = run(&scenarios[i], SIZE_MAX, &skipped);
		for (cut = 1; cut <= events; cut++, cuts++)
			(void)run(&scenarios[i], cut, &skipped);
	}
	ck_assert_uint_gt(cuts, 500);
	ck_assert_msg(skipped < cuts / 5, "%zu of %zu takeovers were left out", skipped, cuts);
	printf("takeovers: %zu, left out since requests waited: %zu\n", cuts - skipped, skipped);
	free_scenarios();
}
END_TEST

Suite *
tree_otp_suite(void)
{
	Suite *s = suite_create("tree_otp");
	TCase *c = t_case(s, "scenarios", 60);

	tcase_add_test(c, every_scenario_agrees);
	tcase_add_loop_test(c, every_scenario_agrees_with_a_takeover_at_each_event, 0, 8);
	return s;
}

TEST_MAIN(tree_otp_suite)
