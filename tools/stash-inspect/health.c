/* SPDX-License-Identifier: ISC */
/*
 * stash-inspect health: one line, and an exit status of 0 or 1, for whoever
 * watches machines. A stopped child is no illness: somebody stopped it, or its
 * work was done; one that ought to run and doesn't is, also if nobody tries to
 * start it any more.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <bsd/string.h>

#include "base/clock.h"
#include "stash-inspect/figures.h"

/* It beats about once a second, and is killed after ten without. */
#define BEAT_MAX_NS (3 * STASH__NS_PER_S)

#define PROBLEMS_MAX 8

struct verdict {
	char problem[PROBLEMS_MAX][1024];
	size_t count;
};

static void STASH_PRINTF(2, 3) ill(struct verdict *v, const char *fmt, ...)
{
	va_list ap;

	if (v->count == PROBLEMS_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(v->problem[v->count++], sizeof v->problem[0], fmt, ap);
	va_end(ap);
}

/* Nobody tries again, so that this is the only place where it is told for good: with names. */
static void
judge_failed(const struct figures *f, struct verdict *v)
{
	char names[sizeof v->problem[0]] = "";

	for (uint64_t i = 0; i < f->failed && i < FIGURES_NAMED; i++) {
		strlcat(names, i > 0 ? ", " : "", sizeof names);
		strlcat(names, f->failed_name[i], sizeof names);
	}
	if (f->failed > FIGURES_NAMED)
		strlcat(names, ", ...", sizeof names);
	if (f->failed > 0)
		ill(v, "%" PRIu64 " of %" PRIu64 " workers are stopped since their start failed: %s", f->failed,
		    f->workers, names);
}

static void
judge(const struct figures *f, struct verdict *v)
{
	uint64_t absent = f->by_status[STASH_RESTARTING] + f->by_status[STASH_STARTING] + f->by_status[STASH_STOPPING];
	char text[TOOL_TIME_MAX];

	if (!f->has_page)
		ill(v, "the stash process has no status page");
	else if (f->beat_ns > BEAT_MAX_NS)
		ill(v, "the stash process is silent for %s", tool_duration(f->beat_ns, text));
	if (f->has_page && f->page.store_full != 0)
		ill(v, "the store is full: calls are refused");
	if (f->has_page && f->page.store_error != 0)
		ill(v, "the last commit failed: %s", stash_strerror(-(int)f->page.store_error));
	if (f->has_about && f->about.keeper == 0)
		ill(v, "the keeper is dead, and nobody will start the next supervisor: restart stashd");
	if (absent > 0)
		ill(v,
		    "%" PRIu64 " of %" PRIu64 " workers are not running: %" PRIu64 " restarting, %" PRIu64
		    " starting, %" PRIu64 " stopping",
		    absent, f->workers, f->by_status[STASH_RESTARTING], f->by_status[STASH_STARTING],
		    f->by_status[STASH_STOPPING]);
	if (f->by_status[STASH_HELD] > 0)
		ill(v, "%" PRIu64 " workers are held back", f->by_status[STASH_HELD]);
	judge_failed(f, v);
}

static void
print(const struct look *look, const struct figures *f, const struct verdict *v)
{
	FILE *out = look->t->out;
	char text[TOOL_TIME_MAX];

	if (v->count == 0) {
		fprintf(out, "healthy: %" PRIu64 " workers run, heartbeat %s ago", f->by_status[STASH_RUNNING],
		    tool_duration(f->beat_ns, text));
		/* No illness, but worth knowing: what only a new start of stashd changes. */
		if (f->has_about && strcmp(f->about.version, f->about.keeper_version) != 0)
			fprintf(
			    out, "; the keeper is stashd %s, all else %s", f->about.keeper_version, f->about.version);
		putc('\n', out);
		return;
	}
	fprintf(out, "ill: ");
	for (size_t i = 0; i < v->count; i++)
		fprintf(out, "%s%s", i > 0 ? "; " : "", v->problem[i]);
	putc('\n', out);
}

static void
print_json(const struct tool *t, bool online, const struct figures *f, const struct verdict *v)
{
	json_t *line = tool_json(), *problems = json_array();

	tool_json_set(line, "online", json_boolean(online));
	tool_json_set(line, "healthy", json_boolean(v->count == 0));
	tool_json_set(line, "running", tool_json_number(f->by_status[STASH_RUNNING]));
	for (size_t i = 0; i < v->count; i++)
		json_array_append_new(problems, tool_json_string(v->problem[i]));
	tool_json_set(line, "problems", problems);
	tool_json_set(line, "version", f->has_about ? tool_json_string(f->about.version) : json_null());
	tool_json_set(line, "keeper_version",
	    f->has_about && f->about.keeper != 0 ? tool_json_string(f->about.keeper_version) : json_null());
	tool_json_line(t, line);
}

static int
run(struct tool *t, int argc, char **argv)
{
	struct look look = { .t = t };
	struct figures f = { .has_page = false };
	struct verdict v = { .count = 0 };
	int code = look_store(t, &look.store);

	(void)argc;
	(void)argv;
	if (code != 0)
		return code;
	code = stash__store_online(look.store);
	look.online = code > 0;
	if (look.online)
		code = figures_gather(&look, &f);
	if (!look.online && code == 0)
		ill(&v, "no stashd runs on %s", stash__store_dir(look.store));
	else if (code < 0)
		ill(&v, "stashd doesn't answer: %s", stash_errmsg());
	else
		judge(&f, &v);
	if (t->json)
		print_json(t, look.online, &f, &v);
	else
		print(&look, &f, &v);
	look_close(&look);
	return v.count == 0 ? 0 : 1;
}

const struct tool_command inspect_health = {
	.name = "health",
	.usage = "",
	.help = "one line; exit status 0 if all is well, else 1",
	.max = 0,
	.run = run,
};
