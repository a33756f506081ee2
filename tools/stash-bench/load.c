/* SPDX-License-Identifier: ISC */
/*
 * Load on one worker: processes that call it, each with one call in flight or
 * with many, and the proof that every call counted exactly once: each notes the
 * numbers that it was given, and at the end the counter must agree with all of
 * them together.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <bsd/string.h>

#include "base/error.h"
#include "stash-bench/bench.h"

#define WARM_DIVISOR 8		      /* of a run's time goes before the measured part */
#define NUMBERS (UINT64_C(1) << 30)   /* room of a ledger: memory is taken only where it is touched */
#define END_NS (20 * STASH__NS_PER_S) /* for callers to end after their time */
#define CLOCK_EVERY 32		      /* answers between two looks at the clock, with many in flight */
#define SETTLE_CALLS 3		      /* the first calls open the channel */

/* What one caller found. */
struct caller {
	struct bench_ledger ledger;
	struct bench_times times;
	uint64_t answered, errors;
	uint64_t from_answered;
	uint64_t first; /* the counter before */
	int64_t start, from, to;
	char why[256];
};

/* What all share. */
struct crowd {
	const struct bench_daemon *daemon;
	struct bench_load load;
	struct caller *callers;
	uint64_t *bits; /* of all ledgers */
	uint64_t first;
};

/* ---- a caller ---- */

/* True: it was answered with a number. */
static bool
note(struct caller *me, int code, const struct stash_reply *reply)
{
	uint64_t number;

	if (code == 0 && reply->len == sizeof number) {
		memcpy(&number, reply->data, sizeof number);
		bench_ledger_note(&me->ledger, number - me->first);
		me->answered++;
		return true;
	}
	if (me->errors++ == 0)
		snprintf(me->why, sizeof me->why, "%s: %s", stash_errname(code), stash_errmsg());
	return false;
}

/* Whether the run goes on; the measured part begins after the warm-up. */
static bool
goes_on(struct caller *me, const struct bench_load *load, int64_t now)
{
	if (me->from == 0 && now - me->start > load->run_ns / WARM_DIVISOR) {
		me->from = now;
		me->from_answered = me->answered;
	}
	me->to = now;
	return now - me->start < load->run_ns + load->run_ns / WARM_DIVISOR && me->errors == 0;
}

static void
one_by_one(struct caller *me, const struct bench_load *load, struct stash_client *client)
{
	int64_t before = stash__now_ns(), now;
	struct stash_reply reply;
	int code;

	do {
		if (load->pause_ns > 0) {
			bench_sleep_ns(load->pause_ns);
			before = stash__now_ns();
		}
		code = stash_call(client, BENCH_NAME, "add", NULL, 0, &reply, STASH_TIMEOUT);
		(void)note(me, code, &reply);
		stash_reply_free(&reply);
		now = stash__now_ns();
		if (me->from != 0 && code == 0)
			bench_times_add(&me->times, now - before);
		before = now;
	} while (goes_on(me, load, now));
}

/* Takes an answer: 1; 0: none has come, or none is open. */
static int
take(struct caller *me, struct stash_client *client, unsigned *open)
{
	struct stash_reply reply;
	int64_t ref = stash_call_next(client, &reply, STASH_TIMEOUT);

	if (ref > 0) {
		(void)note(me, reply.error, &reply);
		(*open)--;
	} else {
		(void)note(me, ref < 0 ? (int)ref : STASH_E_TIMEDOUT, &reply);
	}
	stash_reply_free(&reply);
	return ref > 0;
}

static void
many_at_once(struct caller *me, const struct bench_load *load, struct stash_client *client)
{
	unsigned open = 0, since = 0;
	bool more = true;
	int64_t ref;

	while (more || open > 0) {
		while (more && open < load->flight) {
			ref = stash_call_start(client, BENCH_NAME, "add", NULL, 0, STASH_TIMEOUT);
			if (ref == STASH_E_BUSY && open > 0)
				break;
			if (ref < 0) {
				(void)note(me, (int)ref, NULL);
				more = false;
				break;
			}
			open++;
		}
		if (open > 0 && take(me, client, &open) == 0)
			break;
		if (more && ++since >= CLOCK_EVERY) {
			since = 0;
			more = goes_on(me, load, stash__now_ns());
		}
	}
}

static int
caller_job(void *arg, unsigned number, struct bench_gate *gate)
{
	const struct crowd *crowd = arg;
	struct caller *me = &crowd->callers[number];
	struct stash_client *client;
	struct stash_reply reply;
	int code = bench_client(crowd->daemon, &client);

	if (crowd->load.pin != BENCH_PIN_NONE)
		(void)bench_pin(0, 0);
	for (int i = 0; i < SETTLE_CALLS && code == 0; i++) {
		code = stash_call(client, BENCH_NAME, "add", NULL, 0, &reply, STASH_TIMEOUT);
		(void)note(me, code, &reply);
		stash_reply_free(&reply);
	}
	bench_gate_pass(gate);
	if (code != 0)
		return 1;
	me->start = stash__now_ns();
	if (crowd->load.flight > 1)
		many_at_once(me, &crowd->load, client);
	else
		one_by_one(me, &crowd->load, client);
	stash_client_close(client);
	return 0;
}

/* ---- all of them ---- */

static int
place_worker(const struct crowd *crowd)
{
	uint64_t pid;
	int error = bench_ask_once(crowd->daemon, BENCH_NAME, "pid", &pid);

	if (error != 0)
		return error;
	if (crowd->load.pin == BENCH_PIN_NONE)
		bench_unpin((pid_t)pid);
	else if (!bench_pin((pid_t)pid, crowd->load.pin == BENCH_PIN_TWO ? 1 : 0))
		return stash__fail(STASH_E_SYSTEM, "the worker can't be put on a core");
	return 0;
}

static size_t
ledger_bytes(const struct crowd *crowd)
{
	return crowd->load.clients * (size_t)(NUMBERS / 8);
}

static int
crowd_make(struct crowd *crowd)
{
	unsigned n = crowd->load.clients;

	crowd->callers = bench_share(n * sizeof *crowd->callers);
	crowd->bits = bench_share(ledger_bytes(crowd));
	if (crowd->callers == NULL || crowd->bits == NULL)
		return STASH_E_NOMEM;
	for (unsigned i = 0; i < n; i++) {
		crowd->callers[i].ledger = (struct bench_ledger){ .bits = crowd->bits + i * (NUMBERS / 64),
			.room = NUMBERS };
		crowd->callers[i].first = crowd->first;
	}
	return 0;
}

static void
crowd_free(struct crowd *crowd)
{
	bench_unshare(crowd->callers, crowd->load.clients * sizeof *crowd->callers);
	bench_unshare(crowd->bits, ledger_bytes(crowd));
}

static double
rate_of(const struct caller *caller)
{
	if (caller->to <= caller->from || caller->from == 0)
		return 0;
	return (double)(caller->answered - caller->from_answered) * 1e9 / (double)(caller->to - caller->from);
}

static int
sum_up(const struct crowd *crowd, uint64_t last, struct bench_outcome *outcome)
{
	unsigned n = crowd->load.clients;
	struct bench_ledger *ledgers = calloc(n, sizeof *ledgers);

	outcome->times = calloc(1, sizeof *outcome->times);
	if (ledgers == NULL || outcome->times == NULL) {
		free(ledgers);
		return stash__fail(STASH_E_NOMEM, "no memory for %u callers", n);
	}
	for (unsigned i = 0; i < n; i++) {
		const struct caller *caller = &crowd->callers[i];
		double rate = rate_of(caller);

		ledgers[i] = caller->ledger;
		outcome->rate += rate;
		outcome->least = i == 0 || rate < outcome->least ? rate : outcome->least;
		outcome->calls += caller->answered;
		outcome->errors += caller->errors;
		bench_times_merge(outcome->times, &caller->times);
		if (*outcome->why == '\0')
			strlcpy(outcome->why, caller->why, sizeof outcome->why);
	}
	outcome->mean = outcome->rate / n;
	outcome->once = bench_audit(ledgers, n, last - crowd->first, &outcome->audit);
	free(ledgers);
	return 0;
}

int
bench_load(const struct bench_daemon *daemon, const struct bench_load *load, struct bench_outcome *outcome)
{
	struct crowd crowd = { .daemon = daemon, .load = *load };
	struct bench_crew crew = { 0 };
	uint64_t last;
	int error = place_worker(&crowd), ended;

	*outcome = (struct bench_outcome){ 0 };
	if (error == 0)
		error = bench_ask_once(daemon, BENCH_NAME, "nop", &crowd.first);
	if (error == 0)
		error = crowd_make(&crowd);
	if (error == 0)
		error = bench_crew_start(&crew, load->clients, caller_job, &crowd);
	if (error == 0) {
		error = bench_crew_go(&crew, END_NS);
		ended = bench_crew_end(&crew, error != 0 ? 0 : load->run_ns + END_NS);
		error = error != 0 ? error : ended;
	}
	if (error != 0 && crowd.callers != NULL && crowd.callers[0].errors > 0)
		(void)stash__fail(error, "a caller failed: %s", crowd.callers[0].why);
	if (error == 0)
		error = bench_ask_once(daemon, BENCH_NAME, "nop", &last);
	if (error == 0)
		error = sum_up(&crowd, last, outcome);
	crowd_free(&crowd);
	if (error != 0)
		bench_outcome_free(outcome);
	return error;
}

void
bench_outcome_free(struct bench_outcome *outcome)
{
	free(outcome->times);
	outcome->times = NULL;
}

void
bench_report_once(struct bench_report *report, const struct bench_outcome *outcome)
{
	const struct bench_audit *a = &outcome->audit;
	struct bench_figure figure = {
		.name = "  of these lost, double or failed", .unit = BENCH_COUNT, .sense = BENCH_AT_MOST, .wanted = 0
	};

	bench_value(report, BENCH_COUNT, (double)(outcome->calls + outcome->errors), "  calls, all in all");
	figure.value = (double)(a->missing + a->doubled + a->wrong + a->beyond + outcome->errors);
	bench_figure(report, &figure);
	if (outcome->errors > 0)
		tool_fail(report->tool, 0, "%" PRIu64 " calls failed; the first: %s", outcome->errors, outcome->why);
	if (!outcome->once)
		tool_fail(report->tool, 0,
		    "not exactly once: %" PRIu64 " numbers are missing, %" PRIu64 " were given twice, %" PRIu64
		    " are above the counter",
		    a->missing, a->doubled + a->wrong, a->beyond);
}

int
bench_load_run(const struct bench_setup *setup, const struct bench_tree *tree, const struct bench_load *load,
    struct bench_outcome *outcome)
{
	struct bench_daemon daemon;
	int error = bench_daemon_start(setup, tree, &daemon);

	if (error != 0)
		return error;
	error = bench_load(&daemon, load, outcome);
	return bench_daemon_end(&daemon, error);
}
