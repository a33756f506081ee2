/* SPDX-License-Identifier: ISC */
/* See shrink.h. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "simulate/shrink.h"

#define SECONDS_EACH 5

/* ---- in another process ---- */

struct verdict *
verdict_create(void)
{
	void *p = mmap(NULL, sizeof(struct verdict), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		abort();
	}
	return p;
}

void
verdict_of(struct verdict *v, const struct run *r)
{
	v->invalid += r->invalid;
	v->steps += r->steps;
	v->events += r->o.events;
	v->actions += r->o.actions;
	if (r->o.rule == NULL)
		return;
	snprintf(v->rule, sizeof(v->rule), "%s", r->o.rule);
	snprintf(v->detail, sizeof(v->detail), "%s", r->o.detail);
}

void
verdict_by(struct verdict *v, void (*work)(struct verdict *v, void *arg), void *arg, unsigned limit)
{
	int status;
	pid_t pid;

	fflush(NULL);
	if ((pid = fork()) < 0) {
		perror("fork");
		abort();
	}
	if (pid == 0) {
		alarm(limit);
		work(v, arg);
		fflush(NULL);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid) {
		perror("waitpid");
		abort();
	}
	if (v->rule[0] == '\0' && WIFSIGNALED(status)) {
		snprintf(v->rule, sizeof(v->rule), "%s", WTERMSIG(status) == SIGALRM ? "it hangs" : "it dies");
		snprintf(v->detail, sizeof(v->detail), "%s", strsignal(WTERMSIG(status)));
	} else if (v->rule[0] == '\0' && status != 0) {
		snprintf(v->rule, sizeof(v->rule), "it ends");
		snprintf(v->detail, sizeof(v->detail), "status %d", WEXITSTATUS(status));
	}
}

/* ---- stories ---- */

void
story_read(struct story *s, const char *text)
{
	memset(s, 0, sizeof(*s));
	while (*text != '\0' && s->count < RUN_ITEMS) {
		size_t len = strcspn(text, "\n");

		if ((s->line[s->count++] = strndup(text, len)) == NULL)
			abort();
		text += len + (text[len] == '\n');
	}
}

void
story_free(struct story *s)
{
	while (s->count > 0)
		free(s->line[--s->count]);
}

struct trial {
	const struct story *story;
	bool takeover;
};

static void
carry_out(struct verdict *v, void *arg)
{
	static struct run r;
	const struct trial *t = arg;
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	size_t i;

	if (null < 0 || dup2(null, STDERR_FILENO) < 0)
		abort();
	run_open(&r, t->takeover);
	for (i = 0; i < t->story->count && run_line(&r, t->story->line[i]); i++)
		;
	verdict_of(v, &r);
}

static bool
still_breaks(const struct story *s, bool takeover, const char *rule)
{
	static struct verdict *v;
	struct trial t = { .story = s, .takeover = takeover };

	if (v == NULL)
		v = verdict_create();
	memset(v, 0, sizeof(*v));
	verdict_by(v, carry_out, &t, SECONDS_EACH);
	return v->invalid == 0 && strcmp(v->rule, rule) == 0;
}

/* ---- smaller ones ---- */

struct hunt {
	struct story *story;
	bool takeover;
	const char *rule;
};

/* The story without the marked lines, if that still breaks the rule. */
static bool
leave_out(const struct hunt *h, const bool *out)
{
	struct story less = { .count = 0 };
	size_t i;

	for (i = 0; i < h->story->count; i++) {
		if (!out[i])
			less.line[less.count++] = h->story->line[i];
	}
	if (less.count == h->story->count || !still_breaks(&less, h->takeover, h->rule))
		return false;
	for (i = 0; i < h->story->count; i++) {
		if (out[i])
			free(h->story->line[i]);
	}
	*h->story = less;
	return true;
}

static bool
leave_out_runs(const struct hunt *h)
{
	size_t size, at;
	bool any = false, out[RUN_ITEMS];

	for (size = h->story->count / 2; size > 0; size /= 2) {
		at = h->story->count;
		while (at > 0) {
			size_t from = at > size ? at - size : 0;

			memset(out, 0, sizeof(out));
			memset(out + from, 1, at - from);
			any = leave_out(h, out) || any;
			at = from < h->story->count ? from : h->story->count;
		}
	}
	return any;
}

/* Whether a line speaks of a path, or of one below it. */
static bool
speaks_of(const char *line, const char *path, size_t len)
{
	const char *at;

	for (at = line; (at = strstr(at, path)) != NULL; at += len) {
		if (at[len] == '\0' || at[len] == '/' || at[len] == ' ')
			return true;
	}
	return false;
}

/* Each child with all that is said of it, also as "SUPERVISOR ID". */
static bool
leave_out_children(const struct hunt *h)
{
	bool any = false, out[RUN_ITEMS];
	char path[512], pair[512], *cut;
	size_t i, j;

	for (i = 0; i < h->story->count; i++) {
		const char *line = h->story->line[i];

		if (strncmp(line, "child ", 6) != 0 && strncmp(line, "supervisor ", 11) != 0)
			continue;
		line = strchr(line, ' ') + 1;
		snprintf(path, sizeof(path), "%.*s", (int)strcspn(line, " "), line);
		snprintf(pair, sizeof(pair), "%s", path);
		if ((cut = strrchr(pair, '/')) == NULL)
			continue;
		*cut = ' ';
		for (j = 0; j < h->story->count; j++)
			out[j] = speaks_of(h->story->line[j], path, strlen(path)) ||
			    speaks_of(h->story->line[j], pair, strlen(pair));
		if (leave_out(h, out)) {
			any = true;
			i = SIZE_MAX;
		}
	}
	return any;
}

/* Another text in place of a line's, if that still breaks the rule; it passes over. */
static bool
say_otherwise(const struct hunt *h, size_t i, char *text)
{
	char *old = h->story->line[i];

	h->story->line[i] = text;
	if (still_breaks(h->story, h->takeover, h->rule)) {
		free(old);
		return true;
	}
	h->story->line[i] = old;
	free(text);
	return false;
}

/* The line without what stands from..to. */
static char *
without(const char *line, const char *from, const char *to)
{
	char *text;

	if (asprintf(&text, "%.*s%s", (int)(from - line), line, to) < 0)
		abort();
	return text;
}

/* Options, one by one; in lists of outcomes, each; and "do" in place of "post". */
static bool
leave_out_words(const struct hunt *h)
{
	bool any = false;
	const char *at, *end;
	size_t i;

	for (i = 0; i < h->story->count; i++) {
		at = h->story->line[i];
		if (strncmp(at, "post ", 5) == 0) {
			char *text;

			if (asprintf(&text, "do%s", strchr(at + 5, ' ')) < 0)
				abort();
			any = say_otherwise(h, i, text) || any;
		}
		for (at = strchr(h->story->line[i], '='); at != NULL; at = strchr(at + 1, '=')) {
			while (*at != ' ')
				at--;
			end = at + 1 + strcspn(at + 1, " ");
			if (say_otherwise(h, i, without(h->story->line[i], at, end))) {
				any = true;
				at = h->story->line[i];
				continue;
			}
			at = strchr(at, '=');
		}
		for (at = strchr(h->story->line[i], ','); at != NULL; at = strchr(at + 1, ',')) {
			end = at + 1 + strcspn(at + 1, " ,");
			if (say_otherwise(h, i, without(h->story->line[i], at, end))) {
				any = true;
				at = h->story->line[i];
			}
		}
	}
	return any;
}

void
story_shrink(struct story *s, bool takeover, const char *rule)
{
	struct hunt h = { .story = s, .takeover = takeover, .rule = rule };
	bool any = true;

	if (!still_breaks(s, takeover, rule)) {
		fprintf(stderr, "tree-simulate: it doesn't break the rule again; all of it follows\n");
		return;
	}
	while (any) {
		any = leave_out_children(&h);
		any = leave_out_runs(&h) || any;
		any = leave_out_words(&h) || any;
	}
}

/* ---- as a scenario ---- */

struct printing {
	const struct story *story;
	bool takeover;
	FILE *out;
};

static void
print_lines(struct verdict *v, void *arg)
{
	static struct run r;
	const struct printing *p = arg;
	size_t i, j;
	bool on = true;

	run_open(&r, p->takeover);
	for (i = 0; i < p->story->count && on; i++) {
		fprintf(p->out, "%s\n", p->story->line[i]);
		fflush(p->out);
		on = run_line(&r, p->story->line[i]);
		for (j = 0; r.item[r.scenario.count - 1].kind >= ITEM_DO && j < r.w.seen.count; j++)
			fprintf(p->out, "expect %s\n", r.w.seen.line[j]);
	}
	verdict_of(v, &r);
}

void
story_print(const struct story *s, bool takeover, const char *name, FILE *out)
{
	struct printing p = { .story = s, .takeover = takeover, .out = out };
	struct verdict *v = verdict_create();

	fprintf(out, "scenario %s\n", name);
	if (takeover)
		fprintf(out, "# the machine is exchanged for one out of its rows at each event\n");
	verdict_by(v, print_lines, &p, SECONDS_EACH);
	fprintf(out, "# %s: %s\n", v->rule, v->detail);
	munmap(v, sizeof(*v));
}
