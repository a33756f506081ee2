/* SPDX-License-Identifier: ISC */
/*
 * What the stash process of a running stashd says of itself: its status page,
 * read as any tool may read it.
 */
#include "stash-bench/status.h"

#include "reader/reader.h"

#define SETTLE_LOOK_NS (50 * STASH__NS_PER_MS)
#define SETTLE_LOOKS 200

int
bench_status(const struct bench_daemon *daemon, struct bench_status *status)
{
	struct stash__status_page page;
	struct stash_store *store;
	char path[PATH_MAX];
	int code = stash_store_open(&store, bench_daemon_store(daemon, path), NULL);

	if (code == 0)
		code = stash__store_status(store, &page);
	if (code == 0)
		*status = (struct bench_status){ .pid = (pid_t)atomic_load(&page.pid),
			.entries = atomic_load(&page.entries),
			.commits = atomic_load(&page.commits),
			.commit_ns = atomic_load(&page.commit_ns) };
	stash_store_close(store);
	return code;
}

int
bench_settle(const struct bench_daemon *daemon)
{
	struct bench_status last = { 0 }, now;
	int code = 0;

	for (int i = 0; i < SETTLE_LOOKS && code == 0 && !bench_interrupted(); i++) {
		bench_sleep_ns(SETTLE_LOOK_NS);
		code = bench_status(daemon, &now);
		if (i > 0 && now.entries == last.entries && now.commits == last.commits)
			break;
		last = now;
	}
	return code;
}
