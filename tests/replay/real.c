/* SPDX-License-Identifier: ISC */
/*
 * A scenario on a real stashd, in a directory of its own, from the first process to the last; when a step is over; and
 * what is printed of it. The comparison with what is expected comes last and has no influence on anything.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "replay/real.h"

#define STEP_MS 60000	/* for one step, before it is given up */
#define CALM_ROUNDS 2	/* looks in which nothing has moved */
#define REST_MAX_MS 8	/* between two looks, while something moves */
#define WAITING_MS 3000 /* a "do" whose answer doesn't come while all rests: it waits for what is held */

int64_t
real_time_ns(void)
{
	return stash__time_ns();
}

void
real_complain(struct real *r, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "otp-replay: %s: ", r->w.scenario->name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	r->broken = true;
}

const char *
real_tag(const struct item *it)
{
	return it->kind == ITEM_POST ? it->word[0] : NULL;
}

char *const *
real_words(const struct item *it)
{
	return it->kind == ITEM_POST ? it->word + 1 : it->word;
}

/* ---- what was seen ---- */

static void
marks_add(struct marks *m, int64_t time_ns, char *line)
{
	m->at = reallocarray(m->at, m->count + 1, sizeof(*m->at));
	if (m->at == NULL || line == NULL)
		abort();
	m->at[m->count] = (struct mark){ time_ns, m->count, line };
	m->count++;
}

void
real_event(struct real *r, int64_t time_ns, const char *fmt, ...)
{
	char *line = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&line, fmt, ap) < 0)
		abort();
	va_end(ap);
	marks_add(&r->events, time_ns, line);
	r->moved = true;
}

void
real_answer(struct real *r, const char *tag, int64_t time_ns, const char *text)
{
	char *line = NULL;

	r->moved = true;
	if (asprintf(&line, "%s%s %s", tag == NULL ? "result" : "reply ", tag == NULL ? "" : tag, text) < 0)
		abort();
	if (tag == NULL || strcmp(text, "error noproc") != 0) {
		marks_add(&r->answers, time_ns, line);
		return;
	}
	lines_add(&r->noproc, "%s", line);
	free(line);
}

static int
compare_marks(const void *a, const void *b)
{
	const struct mark *x = a, *y = b;

	if (x->time_ns != y->time_ns)
		return x->time_ns < y->time_ns ? -1 : 1;
	return x->order < y->order ? -1 : 1;
}

static int
compare_lines(const void *a, const void *b)
{
	return strverscmp(*(char *const *)a, *(char *const *)b);
}

static void
take_marks(struct marks *m, struct lines *to)
{
	size_t i;

	if (m->count > 0)
		qsort(m->at, m->count, sizeof(*m->at), compare_marks);
	for (i = 0; i < m->count; i++) {
		lines_add(to, "%s", m->at[i].line);
		free(m->at[i].line);
	}
	free(m->at);
	m->at = NULL;
	m->count = 0;
}

/* The events in their order, then the answers in theirs. */
static void
take_seen(struct real *r)
{
	struct lines *seen = &r->w.seen;
	size_t i;

	lines_clear(seen);
	take_marks(&r->events, seen);
	take_marks(&r->answers, seen);
	if (r->noproc.count > 1)
		qsort(r->noproc.line, r->noproc.count, sizeof(char *), compare_lines);
	for (i = 0; i < r->noproc.count; i++)
		lines_add(seen, "%s", r->noproc.line[i]);
	lines_clear(&r->noproc);
}

/* ---- when a step is over ---- */

/* Everything that can be known at this moment. The log is asked for first: what the stash was asked for before that
 * is done when it answers, so that a process that was about to be made is there. */
static void
look(struct real *r, struct look *l)
{
	real_workers_hear(r, 0);
	if (real_connect(r) && r->client->link == LINK_UP)
		real_log_read(r);
	real_ask_end(r);
	real_look(r, l);
	real_posts_end(r);
	real_root_look(r);
	if (real_workers_answer(r, l))
		l->moving = true;
	real_workers_hear(r, 0);
}

void
real_settle(struct real *r)
{
	int64_t begin = stash__now_ns(), calm_since = begin;
	uint64_t hash = 0;
	int calm = 0, rest = 1;
	struct look l;

	while (
	    calm < CALM_ROUNDS || (real_ask_busy(r) && stash__now_ns() - calm_since < WAITING_MS * STASH__NS_PER_MS)) {
		r->moved = false;
		look(r, &l);
		if (r->moved || l.moving || l.hash != hash) {
			calm = 0;
			calm_since = stash__now_ns();
		} else {
			calm++;
		}
		hash = l.hash;
		if (stash__now_ns() - begin > STEP_MS * STASH__NS_PER_MS) {
			real_complain(r, "a step doesn't end");
			return;
		}
		if (r->moved)
			rest = 1;
		else if (l.moving || real_ask_busy(r))
			real_workers_hear(r, rest = rest < REST_MAX_MS ? 2 * rest : REST_MAX_MS);
	}
}

/* ---- printing ---- */

/* The supervisor of which this line tells that an instance has stopped, or is about to; NULL: another line. */
static char *
stopped_below_simple(struct real *r, const char *line)
{
	char above[STASH_PATH_MAX + 1], *cut;

	if ((sscanf(line, "stopped %500s", above) != 1 && sscanf(line, "stopping %500s", above) != 1) ||
	    (cut = strrchr(above, '/')) == NULL)
		return NULL;
	*cut = '\0';
	return real_is_simple(r, above) ? strdup(above) : NULL;
}

/* How many lines from here on are about instances of one supervisor that have stopped. */
static size_t
count_together(struct real *r, const struct lines *seen, size_t from)
{
	char *first = stopped_below_simple(r, seen->line[from]), *other;
	size_t n = 1;

	while (first != NULL && from + n < seen->count) {
		other = stopped_below_simple(r, seen->line[from + n]);
		if (other == NULL || strcmp(first, other) != 0) {
			free(other);
			break;
		}
		free(other);
		n++;
	}
	free(first);
	return n;
}

/* Instances stop side by side, in an order that is the system's: it is not told. */
static void
print_seen(struct real *r)
{
	struct lines *seen = &r->w.seen;
	size_t i, j, n;

	for (i = 0; i < seen->count; i += n) {
		n = count_together(r, seen, i);
		if (n > 1) {
			qsort(seen->line + i, n, sizeof(char *), compare_lines);
			printf("expect {\n");
		}
		for (j = i; j < i + n; j++)
			printf("expect %s\n", seen->line[j]);
		if (n > 1)
			printf("expect }\n");
	}
}

static bool
print_step(struct real *r, const struct item *it)
{
	bool same = lines_agree_apart(&it->expect, &r->w.seen);
	size_t i;

	print_seen(r);
	if (same)
		return true;
	printf("# differs, expected is:\n");
	for (i = 0; i < it->expect.count; i++)
		printf("#\t%s\n", it->expect.line[i]);
	return false;
}

/* ---- the whole ---- */

static bool
steps(struct real *r, const struct scenario *s)
{
	bool all = true;
	size_t i;

	for (i = 0; i < s->count && !r->broken; i++) {
		printf("%s\n", s->item[i].text);
		if (s->item[i].kind <= ITEM_CHILD) {
			pthread_mutex_lock(&r->lock);
			world_declare(&r->w, &s->item[i]);
			pthread_mutex_unlock(&r->lock);
			continue;
		}
		r->w.block++;
		real_step(r, &s->item[i]);
		real_settle(r);
		take_seen(r);
		all = print_step(r, &s->item[i]) && all;
	}
	return all && !r->broken;
}

static void
close_all(struct real *r)
{
	real_root_kill(r);
	real_procs_free(r);
	real_disconnect(r);
	real_posts_over(r);
	close(r->listener);
	close(r->wake);
	take_seen(r);
	lines_clear(&r->w.seen);
	world_free_paths(&r->w);
}

static int
open_all(struct real *r, const struct scenario *s, const char *dir)
{
	char run[PATH_MAX];

	r->w.scenario = s;
	r->hosted = real_needs_host(s);
	snprintf(r->dir, sizeof(r->dir), "%s", dir);
	snprintf(r->store, sizeof(r->store), "%s/store", dir);
	snprintf(run, sizeof(run), "%s/run", dir);
	r->listener = r->wake = -1;
	if (pthread_mutex_init(&r->lock, NULL) != 0 || mkdir(run, 0700) < 0 ||
	    setenv("RUNTIME_DIRECTORY", run, 1) < 0 || (r->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0 ||
	    real_workers_listen(r) < 0) {
		perror(dir);
		return -1;
	}
	/* Whatever this has started is this one's to reap. */
	return prctl(PR_SET_CHILD_SUBREAPER, 1);
}

bool
real_run(const struct scenario *s, const char *dir)
{
	static struct real r;
	bool same = false;

	printf("scenario %s\n", s->name);
	if (open_all(&r, s, dir) == 0) {
		same = steps(&r, s);
		if (r.broken)
			printf("# it was given up\n");
		close_all(&r);
	}
	return same;
}
