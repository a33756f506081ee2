/* SPDX-License-Identifier: ISC */
/*
 * auction: one worker for each auction, found by its name. It loads what is sold
 * from the catalogue, takes bids, and counts down; all that it knows is in its
 * state, the deadline too, so that no crash loses a bid or prolongs an auction.
 *
 *	args			the catalogue: a line "NAME SECONDS PRICE TITLE" for each auction
 *	call bid BIDDER AMOUNT	replies the new price, or an error: too low, over
 *	call status		replies what is sold, the price, whose it is, the seconds left
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include <stash/stash.h>

struct auction {
	char title[64], bidder[32];
	int64_t price; /* the highest bid; the first price, as long as there is none */
	int64_t bids;
	int64_t ends_ms; /* since 1970, so that a reboot doesn't stop the clock; 0: not loaded yet */
	int64_t sold;
};

static const struct stash_field fields[] = { STASH_FIELD(struct auction, title), STASH_FIELD(struct auction, bidder),
	STASH_FIELD(struct auction, price), STASH_FIELD(struct auction, bids),
	STASH_FIELD_AS(struct auction, ends_ms, int64_t, STASH_TYPE_TIME_MS, 0, NULL),
	STASH_FIELD(struct auction, sold), STASH_FIELD_END };

static int64_t
milliseconds_left(const struct auction *auction)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return auction->ends_ms - (now.tv_sec * 1000 + now.tv_nsec / 1000000);
}

static int
count_down(struct stash_worker *worker, const struct auction *auction)
{
	int64_t left = milliseconds_left(auction);

	return stash_send_after(worker, left > 0 ? (uint64_t)left : 0, "hammer", NULL, 0, NULL);
}

/* A new auction has to be loaded; one that was going on goes on. */
static int
init(struct stash_worker *worker, void *state, const struct stash_init *start)
{
	const struct auction *auction = state;

	if (start->argc < 2)
		return stash_fail(worker, "no catalogue is given");
	if (auction->ends_ms == 0)
		return stash_continue(worker, "load");
	return auction->sold ? STASH_OK : count_down(worker, auction);
}

/* Finds the auction of that name; 0 seconds: there is none. */
static int64_t
look_up(FILE *catalogue, const char *name, struct auction *auction)
{
	char *line = NULL, found[STASH_NAME_MAX + 1];
	int64_t seconds = 0;
	size_t size = 0;

	while (seconds == 0 && getline(&line, &size, catalogue) >= 0) {
		int64_t s, price;
		int title = 0;
		if (sscanf(line, "%200s %" SCNd64 " %" SCNd64 " %n", found, &s, &price, &title) != 3 ||
		    strcmp(found, name) != 0)
			continue;
		seconds = s;
		auction->price = price;
		line[title + (int)strcspn(line + title, "\n")] = '\0';
		strncpy(auction->title, line + title, sizeof auction->title - 1);
	}
	free(line);
	return seconds;
}

/* From here on the auction runs; its supervisor has not waited for that. */
static int
handle_continue(struct stash_worker *worker, void *state, const char *tag)
{
	const char *path = stash_init_info(worker)->argv[1];
	struct auction *auction = state;
	FILE *catalogue = fopen(path, "re");
	int64_t seconds;

	(void)tag;
	if (catalogue == NULL)
		return stash_fail(worker, "the catalogue %s can't be read", path);
	seconds = look_up(catalogue, stash_self(worker), auction);
	(void)fclose(catalogue);
	if (seconds <= 0) {
		stash_log(worker, LOG_ERR, "the catalogue %s has no such auction", path);
		return STASH_STOP; /* in order, so that nobody tries it again */
	}
	auction->ends_ms -= milliseconds_left(auction) - seconds * 1000; /* from now on */
	stash_log(worker, LOG_INFO, "%s: bids from %" PRId64 " up, for %" PRId64 " s", auction->title, auction->price,
	    seconds);
	return count_down(worker, auction);
}

static int
bid(struct stash_worker *worker, struct auction *auction, const char *text)
{
	char bidder[sizeof auction->bidder] = "";
	int64_t amount;

	if (text == NULL || sscanf(text, "%31s %" SCNd64, bidder, &amount) != 2)
		return stash_reply_error(worker, 1, "a bid is a name and an amount");
	if (auction->sold || milliseconds_left(auction) <= 0)
		return stash_reply_error(worker, 2, "the auction is over");
	if (amount <= auction->price)
		return stash_reply_error(worker, 3, "the price is %" PRId64 " already", auction->price);
	auction->price = amount;
	auction->bids++;
	memcpy(auction->bidder, bidder, sizeof bidder);
	return stash_replyf(worker, "%" PRId64, amount);
}

static int
handle_call(struct stash_worker *worker, void *state, const struct stash_msg *msg)
{
	struct auction *auction = state;
	int64_t left = milliseconds_left(auction);

	if (stash_msg_is(msg, "bid"))
		return bid(worker, auction, stash_msg_text(msg));
	if (!stash_msg_is(msg, "status"))
		return STASH_E_UNKNOWN;
	return stash_replyf(worker, "%s: %" PRId64 " by %s, %s, %" PRId64 " s left, %" PRId64 " bids", auction->title,
	    auction->price, auction->bids > 0 ? auction->bidder : "nobody", auction->sold ? "sold" : "open",
	    left > 0 && !auction->sold ? (left + 999) / 1000 : 0, auction->bids);
}

/* The hammer falls, unless the clock was set back meanwhile. */
static int
handle_info(struct stash_worker *worker, void *state, const struct stash_msg *msg)
{
	struct auction *auction = state;

	if (msg->kind != STASH_MSG_TIMER || auction->sold)
		return STASH_OK;
	if (milliseconds_left(auction) > 0)
		return count_down(worker, auction);
	auction->sold = 1;
	stash_log(worker, LOG_INFO, "%s goes to %s for %" PRId64, auction->title,
	    auction->bids > 0 ? auction->bidder : "nobody", auction->price);
	return STASH_OK;
}

static const struct stash_behaviour auction = STASH_BEHAVIOUR(.name = "auction", .state_size = sizeof(struct auction),
    .layout_version = 1, .fields = fields, .init = init, .handle_call = handle_call, .handle_info = handle_info,
    .handle_continue = handle_continue);

STASH_MODULE(&auction);
