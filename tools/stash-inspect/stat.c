/* SPDX-License-Identifier: ISC */
/*
 * stash-inspect stat: figures of the store, of the stash process and of the
 * workers. While a stashd runs they come from the status page, which costs
 * nobody anything; offline the database is asked.
 */
#include <inttypes.h>
#include <string.h>

#include <bsd/string.h>

#include "base/clock.h"
#include "stash-inspect/figures.h"

int
figures_gather(const struct look *look, struct figures *f)
{
	int code;

	memset(f, 0, sizeof *f);
	code = stash__store_status(look->store, &f->page);
	if (code < 0 && code != STASH_E_NOENT)
		return code;
	f->has_page = code == STASH_OK;
	if (!look->online) {
		code = stash__store_stat(look->store, &f->stat);
		f->has_stat = code == STASH_OK;
		if (code < 0 && code != STASH_E_NOENT && code != STASH_E_BUSY)
			return code;
	}
	if (f->has_page && look->online)
		f->beat_ns = stash__now_ns() - (int64_t)f->page.heartbeat;
	f->has_about = look->online && stash__store_about(look->store, &f->about) == STASH_OK;
	return stash__store_processes(look->store, figures_count, f);
}

int
figures_count(void *arg, const struct stash_process *p)
{
	struct figures *f = arg;

	if (p->is_supervisor != 0) {
		f->supervisors++;
		return 0;
	}
	f->workers++;
	if (p->status < FIGURES_STATUSES)
		f->by_status[p->status]++;
	if (p->failed != 0 && f->failed < FIGURES_NAMED)
		strlcpy(f->failed_name[f->failed], *p->name != '\0' ? p->name : p->child, sizeof f->failed_name[0]);
	f->failed += p->failed != 0;
	f->restarts += p->restarts;
	return 0;
}

static void
print_stash(FILE *out, const struct look *look, const struct figures *f)
{
	const struct stash__status_page *p = &f->page;
	char used[TOOL_TIME_MAX], quota[TOOL_TIME_MAX], beat[TOOL_TIME_MAX], each[TOOL_TIME_MAX];

	if (!f->has_page)
		return;
	if (look->online)
		fprintf(out, "stash        pid %" PRIu64 ", incarnation %" PRIu64 ", heartbeat %s ago\n",
		    (uint64_t)p->pid, (uint64_t)p->incarnation, tool_duration(f->beat_ns, beat));
	fprintf(out, "folded       %" PRIu64 " entries in %" PRIu64 " rounds, %" PRIu64 " skipped as broken\n",
	    (uint64_t)p->entries, (uint64_t)p->rounds, (uint64_t)p->broken);
	fprintf(out, "commits      %" PRIu64 ", %s each; the last one: %s\n", (uint64_t)p->commits,
	    tool_duration(p->commits > 0 ? (int64_t)(p->commit_ns / p->commits) : 0, each),
	    p->store_error == 0 ? "went well" : stash_strerror(-(int)p->store_error));
	fprintf(out, "store        %s of %s used%s\n", tool_bytes(p->bytes_used, used),
	    tool_bytes(p->bytes_quota, quota), p->store_full != 0 ? ", full: calls are refused" : "");
	fprintf(out, "deaths       %" PRIu64 " of stash processes since the boot\n", (uint64_t)p->deaths);
}

static void
print_about(FILE *out, const struct figures *f)
{
	const struct stash__about *a = &f->about;

	if (!f->has_about)
		return;
	fprintf(
	    out, "supervisor   pid %" PRId64 ", number %" PRIu64 ", stashd %s\n", a->supervisor, a->starts, a->version);
	if (a->keeper == 0)
		fprintf(out, "keeper       dead: nobody will start the next supervisor; restart stashd\n");
	else
		fprintf(out, "keeper       pid %" PRId64 ", stashd %s\n", a->keeper, a->keeper_version);
}

static void
print_database(FILE *out, const struct figures *f)
{
	char size[TOOL_TIME_MAX], spare[TOOL_TIME_MAX], quota[TOOL_TIME_MAX];

	if (!f->has_stat)
		return;
	fprintf(out, "database     %s, %s of it free, quota %s, transaction %" PRIu64 "\n",
	    tool_bytes(f->stat.file_bytes, size), tool_bytes(f->stat.free_bytes, spare),
	    tool_bytes(f->stat.quota_bytes, quota), f->stat.txn);
	fprintf(out, "rows        ");
	for (int db = 0; db < STORE_DB_COUNT; db++)
		fprintf(out, " %s %" PRIu64, store_db_name((enum store_db)db), f->stat.rows[db]);
	putc('\n', out);
}

static void
print(const struct look *look, const struct figures *f)
{
	const struct stash__info *info = stash__store_info(look->store);
	FILE *out = look->t->out;

	fprintf(out, "directory    %s\nstore id     %s, format %u\nrun          %s\n", stash__store_dir(look->store),
	    info->id_text, (unsigned)info->format, info->run_dir);
	print_about(out, f);
	print_stash(out, look, f);
	print_database(out, f);
	fprintf(out, "workers      %" PRIu64, f->workers);
	for (uint32_t i = 1; i < FIGURES_STATUSES; i++) {
		if (f->by_status[i] > 0)
			fprintf(out, ", %" PRIu64 " %s", f->by_status[i], tool_status_name(i));
		if (i == STASH_STOPPED && f->failed > 0)
			fprintf(out, " (%" PRIu64 " failed)", f->failed);
	}
	fprintf(out, "; %" PRIu64 " restarts\n", f->restarts);
}

static json_t *
json_stash(const struct look *look, const struct figures *f)
{
	const struct stash__status_page *p = &f->page;
	json_t *o;

	if (!f->has_page)
		return json_null();
	o = json_object();
	tool_json_set(o, "pid", tool_json_number(p->pid));
	tool_json_set(o, "incarnation", tool_json_number(p->incarnation));
	tool_json_set(o, "heartbeat_age_ns", look->online ? json_integer(f->beat_ns) : json_null());
	tool_json_set(o, "rounds", tool_json_number(p->rounds));
	tool_json_set(o, "entries", tool_json_number(p->entries));
	tool_json_set(o, "broken", tool_json_number(p->broken));
	tool_json_set(o, "commits", tool_json_number(p->commits));
	tool_json_set(o, "commit_ns", tool_json_number(p->commit_ns));
	tool_json_set(
	    o, "last_commit", json_string(p->store_error == 0 ? "STASH_OK" : stash_errname(-(int)p->store_error)));
	tool_json_set(o, "bytes_used", tool_json_number(p->bytes_used));
	tool_json_set(o, "bytes_quota", tool_json_number(p->bytes_quota));
	tool_json_set(o, "full", json_boolean(p->store_full != 0));
	tool_json_set(o, "deaths", tool_json_number(p->deaths));
	return o;
}

static json_t *
json_process(int64_t pid, const char *version)
{
	json_t *o;

	if (pid == 0)
		return json_null();
	o = json_object();
	tool_json_set(o, "pid", json_integer(pid));
	tool_json_set(o, "version", tool_json_string(version));
	return o;
}

static json_t *
json_supervisor(const struct stash__about *a)
{
	json_t *o = json_process(a->supervisor, a->version);

	tool_json_set(o, "number", tool_json_number(a->starts));
	return o;
}

static json_t *
json_database(const struct figures *f)
{
	json_t *o, *rows;

	if (!f->has_stat)
		return json_null();
	o = json_object();
	rows = json_object();
	tool_json_set(o, "file_bytes", tool_json_number(f->stat.file_bytes));
	tool_json_set(o, "free_bytes", tool_json_number(f->stat.free_bytes));
	tool_json_set(o, "quota_bytes", tool_json_number(f->stat.quota_bytes));
	tool_json_set(o, "transaction", tool_json_number(f->stat.txn));
	for (int db = 0; db < STORE_DB_COUNT; db++)
		tool_json_set(rows, store_db_name((enum store_db)db), tool_json_number(f->stat.rows[db]));
	tool_json_set(o, "rows", rows);
	return o;
}

static void
print_json(const struct look *look, const struct figures *f)
{
	const struct stash__info *info = stash__store_info(look->store);
	json_t *line = look_json(look), *workers = json_object();

	tool_json_set(line, "directory", tool_json_string(stash__store_dir(look->store)));
	tool_json_set(line, "store_id", tool_json_string(info->id_text));
	tool_json_set(line, "format", json_integer((json_int_t)info->format));
	tool_json_set(line, "run_directory", tool_json_string(info->run_dir));
	tool_json_set(line, "supervisor", f->has_about ? json_supervisor(&f->about) : json_null());
	tool_json_set(
	    line, "keeper", f->has_about ? json_process(f->about.keeper, f->about.keeper_version) : json_null());
	tool_json_set(line, "stash", json_stash(look, f));
	tool_json_set(line, "database", json_database(f));
	for (uint32_t i = 1; i < FIGURES_STATUSES; i++)
		tool_json_set(workers, tool_status_name(i), tool_json_number(f->by_status[i]));
	tool_json_set(workers, "failed", tool_json_number(f->failed));
	tool_json_set(workers, "all", tool_json_number(f->workers));
	tool_json_set(workers, "restarts", tool_json_number(f->restarts));
	tool_json_set(line, "workers", workers);
	tool_json_line(look->t, line);
}

static int
run(struct tool *t, int argc, char **argv)
{
	struct figures f;
	struct look look;
	int status = look_open(t, &look), code;

	(void)argc;
	(void)argv;
	if (status != 0)
		return status;
	code = figures_gather(&look, &f);
	if (code < 0)
		status = tool_error(t, code, "stat");
	else if (t->json)
		print_json(&look, &f);
	else
		print(&look, &f);
	look_close(&look);
	return status;
}

const struct tool_command inspect_stat = {
	.name = "stat",
	.usage = "",
	.help = "figures of store, stash process and workers",
	.max = 0,
	.run = run,
};
