/* SPDX-License-Identifier: ISC */
/*
 * stash_process DIR RUN_DIR CONTROL BELL: the stash process alone, as stashd runs it, for tests that play the rest.
 * CONTROL and BELL are inherited descriptors.  $STASH_TEST_QUOTA (bytes), $STASH_TEST_MAP, $STASH_TEST_COMMIT_NS.
 */
#include <err.h>
#include <stdlib.h>

#include <bsd/stdlib.h>

#include <stash/error.h>

#include "base/log.h"
#include "base/parse.h"
#include "stash/process.h"

static uint64_t
size_of(const char *variable)
{
	const char *text = getenv(variable);
	uint64_t bytes = 0;

	if (text != NULL && stash__parse_size(text, &bytes) < 0)
		errx(2, "%s: %s", variable, stash_errmsg());
	return bytes;
}

int
main(int argc, char **argv)
{
	struct stash__stash_options options = { .deaths = 7 };

	if (argc != 5)
		errx(2, "usage: stash_process DIR RUN_DIR CONTROL BELL");
	options.dir = argv[1];
	options.run_dir = argv[2];
	options.control = (int)strtonum(argv[3], 0, 1023, NULL);
	options.bell = (int)strtonum(argv[4], 0, 1023, NULL);
	options.quota_bytes = size_of("STASH_TEST_QUOTA");
	options.map_bytes = size_of("STASH_TEST_MAP");
	options.commit_interval_ns = (int64_t)size_of("STASH_TEST_COMMIT_NS");
	stash__log_prefix("stash");
	return stash__stash_main(&options);
}
