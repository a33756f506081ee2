/* SPDX-License-Identifier: ISC */
/*
 * The auction house, all together: auctions are started and ended at run time, and while bids come from several
 * processes everything is killed again and again. The highest accepted bid wins, and none that was accepted is lost.
 */
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <stash/stash.h>

#include "base/clock.h"
#include "testlib_examples.h"

#define BIDDERS 6
#define SECONDS 10
enum { FIRST_PRICE = 20, TOO_LOW = 3, OVER = 2 };

/* What the bidders know, shared by their processes. */
struct floor {
	_Atomic int64_t next; /* an amount that nobody has bid yet */
	_Atomic int64_t best; /* the highest that was accepted so far: amount * BIDDERS + bidder */
	_Atomic int64_t accepted, refused, wrong, over_ns;
	char what[256];
};

static struct floor *house;
static struct t_stashd d;

static void
begin(const char *catalogue)
{
	char args[PATH_MAX];

	memset(&d, 0, sizeof d);
	snprintf(args, sizeof args, "args = [\"%s\"]", t_path("auctions.txt"));
	t_write_file(t_path("auctions.txt"), catalogue);
	t_example_start(&d, "auction.conf",
	    (const char *const[]){ "args = [\"auctions.txt\"]", args, "intensity = 10", "intensity = 1000000", NULL });
}

/* ---- sessions ---- */

/* What status says, up to its first seconds. */
static void
stands(const char *name, const char *words)
{
	char command[100], *status;

	snprintf(command, sizeof command, "call %s status", name);
	status = t_session_output(command, NULL);
	ck_assert_msg(strncmp(status, words, strlen(words)) == 0, "%s: '%s' instead of '%s'", name, status, words);
	free(status);
}

START_TEST(auctions_come_and_go_and_one_is_lost_to_nobody)
{
	pid_t teapot;

	begin("teapot 60 20 A blue teapot\nglobe 90 100 A globe\n");
	t_session_says("start-child root/auctions { name = \"teapot\"; }", "root/auctions/teapot: started");
	t_session_says("start-child root/auctions { name = \"globe\"; }", "root/auctions/globe: started");
	stands("teapot", "A blue teapot: 20 by nobody, open, ");
	t_session("call teapot bid alice 30", "30");
	t_session_fails("call teapot bid bob 25", 1, "the price is 30 already");
	t_session("call globe bid bob 120", "120");
	teapot = t_reborn(&d, "teapot", 0);
	t_session("kill teapot", "");
	(void)t_reborn(&d, "teapot", teapot);
	stands("teapot", "A blue teapot: 30 by alice, open, ");
	t_session("terminate-child root/auctions teapot", "");
	t_session_fails("call teapot status", EX_NOHOST, "teapot");
	stands("globe", "A globe: 120 by bob, open, ");
	t_session_says("start-child root/auctions { name = \"teapot\"; }", "root/auctions/teapot: started");
	stands("teapot", "A blue teapot: 30 by alice, open, ");
	t_stashd_stop(&d, 10000);
}
END_TEST

static bool
no_process(void *arg)
{
	return t_pid(&d, T_WORKER, arg) == 0;
}

START_TEST(an_auction_that_is_not_in_the_catalogue_ends_in_order)
{
	begin("teapot 60 20 A blue teapot\n");
	t_session_says("start-child root/auctions { name = \"teapot\"; }", "root/auctions/teapot: started");
	t_session_says("start-child root/auctions { name = \"unicorn\"; }", "root/auctions/unicorn: started");
	t_wait_output(&d.proc, "has no such auction", 10000);
	ck_assert(t_wait_for(no_process, "unicorn", 10000));
	stands("teapot", "A blue teapot: 20 by nobody, open, ");
	t_stashd_stop(&d, 10000);
}
END_TEST

/* ---- the storm ---- */

static void
raise_to(_Atomic int64_t *to, int64_t value)
{
	for (int64_t now = *to; value > now && !atomic_compare_exchange_weak(to, &now, value);)
		;
}

static bool
complain(const char *what, int64_t amount, const char *text)
{
	snprintf(house->what, sizeof house->what, "a bid of %lld: %s: %s", (long long)amount, what, text);
	atomic_fetch_add(&house->wrong, 1);
	return false;
}

/* One bid and its answer, against what was known before it was made; false: no more. */
static bool
one_bid(struct stash_client *client, int bidder)
{
	int64_t amount = atomic_fetch_add(&house->next, 1), before = house->best / BIDDERS;
	struct stash_reply reply;
	char text[64];
	int result;
	bool go_on = true;

	snprintf(text, sizeof text, "bidder%d %lld", bidder, (long long)amount);
	result = stash_call(client, "lamp", "bid", text, strlen(text), &reply, 60000);
	if (result == STASH_OK) {
		atomic_fetch_add(&house->accepted, 1);
		raise_to(&house->best, amount * BIDDERS + bidder);
		if (amount <= before)
			go_on = complain("accepted over a higher one", amount, reply.data);
	} else if (result == STASH_E_APP && reply.code == TOO_LOW) {
		atomic_fetch_add(&house->refused, 1);
		if (atoll((const char *)reply.data + strlen("the price is ")) < before)
			go_on = complain("an accepted one is lost", amount, reply.data);
	} else {
		(void)atomic_compare_exchange_strong(&house->over_ns, &(int64_t){ 0 }, stash__time_ns());
		go_on = result == STASH_E_APP && reply.code == OVER ?
		    false :
		    complain(stash_errname(result), amount, stash_errmsg());
	}
	stash_reply_free(&reply);
	return go_on;
}

static void
bid_until_it_is_over(int bidder)
{
	struct stash_client *client = NULL;

	if (stash_client_open(&client, t_store(&d), NULL) < 0)
		complain("open", 0, stash_errmsg());
	while (client != NULL && one_bid(client, bidder))
		;
	stash_client_close(client);
}

static void
start_bidders(pid_t pids[BIDDERS])
{
	for (int i = 0; i < BIDDERS; i++) {
		pids[i] = fork();
		ck_assert_int_ge(pids[i], 0);
		if (pids[i] == 0) {
			bid_until_it_is_over(i);
			_exit(0);
		}
	}
}

/* How many of them are still bidding. */
static int
reap(pid_t pids[BIDDERS])
{
	int left = 0;

	for (int i = 0; i < BIDDERS; i++) {
		int status = 0;
		if (pids[i] != 0 && waitpid(pids[i], &status, WNOHANG) == pids[i]) {
			ck_assert_int_eq(status, 0);
			pids[i] = 0;
		}
		left += pids[i] != 0;
	}
	return left;
}

static unsigned
kill_while_they_bid(pid_t pids[BIDDERS])
{
	static const struct {
		enum t_who who;
		int every_ms;
	} paces[] = { { T_WORKER, 20 }, { T_STASH, 50 }, { T_SUPERVISOR, 200 } };
	int64_t next[3] = { 0 };
	unsigned killed = 0;

	for (int64_t now = stash__now_ns(); reap(pids) > 0; now = stash__now_ns()) {
		for (int i = 0; i < 3; i++) {
			if (now < next[i])
				continue;
			killed += t_murder(&d, paces[i].who, "lamp");
			next[i] = now + paces[i].every_ms * STASH__NS_PER_MS;
		}
		(void)poll(NULL, 0, 1); /* the pace of the killing */
	}
	return killed;
}

static void
judge(int64_t opened_ns, unsigned killed, pid_t globe)
{
	char sold[200];

	printf("%u killed; %lld bids accepted, %lld refused, the highest %lld\n", killed, (long long)house->accepted,
	    (long long)house->refused, (long long)house->best / BIDDERS);
	ck_assert_msg(house->wrong == 0, "%lld wrong, the last: %s", (long long)house->wrong, house->what);
	ck_assert_int_gt(house->accepted, 10);
	ck_assert_uint_gt(killed, 5);
	/* No crash has shortened it, and not by much prolonged. */
	ck_assert_int_ge(house->over_ns - opened_ns, SECONDS * STASH__NS_PER_S);
	ck_assert_int_le(house->over_ns - opened_ns, (SECONDS + 20) * STASH__NS_PER_S * t_patience());
	snprintf(sold, sizeof sold, "A lamp: %lld by bidder%lld, sold, 0 s left, %lld bids",
	    (long long)house->best / BIDDERS, (long long)house->best % BIDDERS, (long long)house->accepted);
	t_wait_output(&d.proc, "A lamp goes to ", 20000);
	stands("lamp", sold);
	stands("globe", "A globe: 120 by bob, open, ");
	ck_assert_int_eq(t_reborn(&d, "globe", 0), globe); /* next door nobody has noticed */
	/* Nor does it come back to life after everything has died. */
	t_murder_all(&d);
	t_stashd_start(&d, NULL);
	free(t_session_output("start-child root/auctions { name = \"lamp\"; }", NULL)); /* it may be there already */
	stands("lamp", sold);
}

START_TEST(the_highest_accepted_bid_wins_whoever_is_killed)
{
	pid_t pids[BIDDERS];
	char catalogue[100];
	int64_t opened_ns;
	pid_t globe;

	house = mmap(NULL, sizeof *house, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(house, MAP_FAILED);
	house->next = FIRST_PRICE + 1;
	snprintf(catalogue, sizeof catalogue, "lamp %d %d A lamp\nglobe 3600 100 A globe\n", SECONDS, FIRST_PRICE);
	begin(catalogue);
	opened_ns = stash__time_ns();
	t_session_says("start-child root/auctions { name = \"lamp\"; }", "root/auctions/lamp: started");
	t_session_says("start-child root/auctions { name = \"globe\"; }", "root/auctions/globe: started");
	t_session("call globe bid bob 120", "120");
	globe = t_reborn(&d, "globe", 0);
	start_bidders(pids);
	judge(opened_ns, kill_while_they_bid(pids), globe);
	t_stashd_stop(&d, 20000);
	munmap(house, sizeof *house);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("auction");
	TCase *tc = t_case(s, "auction", 180);

	tcase_add_test(tc, auctions_come_and_go_and_one_is_lost_to_nobody);
	tcase_add_test(tc, an_auction_that_is_not_in_the_catalogue_ends_in_order);
	tcase_add_test(tc, the_highest_accepted_bid_wins_whoever_is_killed);
	return s;
}

TEST_MAIN(suite)
