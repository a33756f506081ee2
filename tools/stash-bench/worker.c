/* SPDX-License-Identifier: ISC */
/*
 * stash-bench worker: a module's behaviour with another size of its state, for
 * --state. stashd starts it as a program; started by hand it says so and ends.
 */
#include <dlfcn.h>
#include <sysexits.h>

#include <stash/behaviour.h>

#include "base/parse.h"
#include "stash-bench/bench.h"

static int
run(struct tool *t, int argc, char **argv)
{
	void *handle = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
	const struct stash_module *module = handle != NULL ? dlsym(handle, "stash_module") : NULL;
	struct stash_behaviour behaviour;
	uint64_t bytes;
	int status;

	if (module == NULL)
		return tool_fail(t, EX_NOINPUT, "%s", dlerror());
	if (stash__parse_size(argv[2], &bytes) < 0 || bytes < module->behaviour->state_size || bytes > STASH_STATE_MAX)
		return tool_usage(t, "%s: not a size for the state of %s", argv[2], argv[1]);
	behaviour = *module->behaviour;
	behaviour.state_size = bytes;
	status = stash_worker_main(&behaviour, argc, argv);
	if (status != 0 && status != STASH_EXIT_SHUTDOWN)
		return tool_fail(t, status, "%s", stash_errmsg());
	return status;
}

const struct tool_command bench_worker = {
	.name = "worker",
	.usage = "MODULE BYTES",
	.help = "what stashd starts for --state",
	.min = 2,
	.max = 2,
	.run = run,
};
