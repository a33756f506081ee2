/* SPDX-License-Identifier: ISC */
/*
 * A random history: a tree, and what happens to it. Each step is chosen by what
 * is there at that moment, so that most of them hit something; all of it comes out
 * as lines of a scenario.
 */
#include <bsd/string.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "simulate/run.h"

#define STEPS_MAX 24
#define BEINGS_MAX 128

struct history {
	struct run *r;
	uint64_t seed;
	int tags, labels;
	bool holds; /* something may hold, and a "do" not be answered */
};

static unsigned
chance(struct history *h, unsigned n)
{
	uint64_t z = h->seed += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return (unsigned)((z ^ (z >> 31)) % n);
}

/* One of the texts, separated by '|'. */
static void
pick(struct history *h, const char *texts, char out[64])
{
	const char *at = texts;
	unsigned n = 1;
	size_t len;

	for (; *at != '\0'; at++)
		n += *at == '|';
	for (n = chance(h, n), at = texts; n > 0; n--)
		at = strchr(at, '|') + 1;
	len = strcspn(at, "|");
	memcpy(out, at, len);
	out[len] = '\0';
}

__attribute__((format(printf, 2, 3))) static bool
say(struct history *h, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return run_line(h->r, text);
}

/* ---- trees ---- */

#define INITS \
	"init=error|init=ignore|init=ok,error,ok|init=ok,ok,error,ok|init=ok,error|init=ok,ignore|init=ok,ignore,ok"
#define HOLDS "init=hold|init=ok,hold|init=ok,hold,ok|init=ok,hold,error,ok"

/* How it behaves, with a time to stop in which that means something. */
static void
pick_behaviour(struct history *h, char stop[64], char init[64])
{
	stop[0] = init[0] = '\0';
	switch (chance(h, 12)) {
	case 0:
		pick(h, " shutdown=brutal_kill| shutdown=infinity| shutdown=100", stop);
		break;
	case 1:
		pick(h, " term=crash| term=untrapped| shutdown=100 term=slow:50", stop);
		break;
	case 2:
		pick(h, " shutdown=100 term=ignore| shutdown=100 term=slow:1000", stop);
		break;
	case 3:
	case 4:
		pick(h, " shutdown=infinity term=hold", stop);
		h->holds = true;
		break;
	default:
		break;
	}
	if (chance(h, 4) == 0) {
		pick(h, INITS, init);
	} else if (chance(h, 5) == 0) {
		pick(h, HOLDS, init);
		h->holds = true;
	}
}

static void
pick_place(struct history *h, const char *automatic, char place[64])
{
	pick(h, "|| restart=transient| restart=temporary", place);
	if (place[0] != '\0' && automatic[0] != '\0' && chance(h, 2) == 0)
		strlcat(place, " significant=true", 64);
	if (chance(h, 150) == 0)
		pick(h, " restart=wrong| significant=true| type=supervisor", place);
}

static void
declare_worker(struct history *h, const char *path, const char *automatic)
{
	char place[64], stop[64], init[64];

	pick_place(h, automatic, place);
	pick_behaviour(h, stop, init);
	say(h, "child %s%s%s%s%s", path, place, stop, init[0] == '\0' ? "" : " ", init);
}

static void declare_super(struct history *h, const char *path, const char *above, int depth);

static void
declare_children(struct history *h, const char *path, const char *automatic, bool simple, int depth)
{
	unsigned n = simple ? chance(h, 40) != 0 : chance(h, 5), i;
	char child[400];

	for (i = 0; i < n; i++) {
		snprintf(child, sizeof(child), "%s/%c", path, (char)('a' + (chance(h, 60) == 0 ? 0 : i)));
		if (!simple && depth < 3 && chance(h, 3) == 0)
			declare_super(h, child, automatic, depth + 1);
		else
			declare_worker(h, child, automatic);
	}
}

static void
declare_super(struct history *h, const char *path, const char *above, int depth)
{
	char strategy[64], intensity[64], automatic[64], place[64] = "", stop[64] = "", init[64] = "";

	pick(h, "|strategy=one_for_all|strategy=rest_for_one|strategy=simple_one_for_one", strategy);
	pick(h, "|| intensity=0| intensity=2| intensity=3 period=2| intensity=10 period=3600", intensity);
	pick(h, "||| auto_shutdown=any_significant| auto_shutdown=all_significant", automatic);
	if (depth > 0) {
		pick_place(h, above, place);
		if (chance(h, 8) == 0)
			pick(h, " shutdown=brutal_kill| shutdown=100| shutdown=5000", stop);
	}
	if (chance(h, 12) == 0)
		pick(h, " init=error| init=ignore| init=ok,error,ok| init=ok,ignore", init);
	say(h, "supervisor %s%s%s%s%s%s%s%s", path, strategy[0] == '\0' ? "" : " ", strategy, intensity, automatic,
	    place, stop, init);
	declare_children(h, path, automatic, strstr(strategy, "simple") != NULL, depth);
}

/* ---- who is there ---- */

struct crowd {
	const struct being *one[BEINGS_MAX];
	size_t count;
};

static void
gather(const struct being *b, bool supers, struct crowd *crowd)
{
	size_t i;

	if (b == NULL)
		return;
	if (b->super == supers && crowd->count < BEINGS_MAX)
		crowd->one[crowd->count++] = b;
	for (i = 0; i < b->nchild; i++)
		gather(b->child[i], supers, crowd);
}

static const struct being *
someone(struct history *h, bool supers)
{
	struct crowd crowd = { .count = 0 };

	gather(h->r->o.root, supers, &crowd);
	return crowd.count == 0 ? NULL : crowd.one[chance(h, (unsigned)crowd.count)];
}

static const struct path *
someone_held(struct history *h)
{
	const struct path *p, *found = NULL;
	unsigned seen = 0;

	for (p = h->r->w.paths; p != NULL; p = p->next) {
		if (p->life == LIFE_HELD_START || p->life == LIFE_HELD_STOP) {
			if (chance(h, ++seen) == 0)
				found = p;
		}
	}
	return found;
}

/* ---- steps ---- */

static bool
ask(struct history *h, const char *request)
{
	if (h->holds)
		return say(h, "post t%d %s", ++h->tags, request);
	return say(h, "do %s", request);
}

static bool
step_process(struct history *h)
{
	const struct being *b = someone(h, false);
	char how[64];

	if (b == NULL || !being_lives(b))
		return true;
	if (chance(h, 3) == 0)
		return say(h, "do kill %s", b->path);
	pick(h, "normal|shutdown|abnormal|abnormal", how);
	return say(h, "do exit %s %s", b->path, how);
}

static bool
step_release(struct history *h)
{
	const struct path *p = someone_held(h);
	char how[64];

	if (p == NULL)
		return step_process(h);
	if (p->life == LIFE_HELD_STOP)
		return say(h, "do release %s", p->name);
	pick(h, "ok|ok|ok|error|ignore", how);
	return say(h, "do release %s %s", p->name, how);
}

/* A label that nobody has now: below such a supervisor OTP would let two have one. */
static void
new_child(struct history *h, const struct being *above, char request[512])
{
	const struct path *known;
	char path[512];

	if (being_simple(above)) {
		snprintf(request, 512, "start_child %s x%d", above->path, ++h->labels);
		return;
	}
	snprintf(path, sizeof(path), "%s/%c", above->path, (char)('a' + chance(h, 6)));
	known = world_find(&h->r->w, path);
	if (known == NULL || known->declared == NULL || chance(h, 3) == 0) {
		if (known != NULL && known->declared != NULL ? known->declared->kind == ITEM_SUPERVISOR :
							       chance(h, 5) == 0)
			declare_super(h, path, "", 2);
		else
			declare_worker(h, path, above->spec->auto_shutdown == STASH_AUTO_NEVER ? "" : "x");
	}
	snprintf(request, 512, "start_child %s %s", above->path, strrchr(path, '/') + 1);
}

static bool
step_request(struct history *h)
{
	const struct being *above = someone(h, true), *c;
	char kind[64], request[512];

	if (above == NULL)
		return true;
	if (chance(h, 4) == 0) {
		new_child(h, above, request);
		return ask(h, request);
	}
	pick(h,
	    "terminate_child|terminate_child|restart_child|restart_child|delete_child|which_children|count_children|"
	    "get_"
	    "childspec",
	    kind);
	if (strcmp(kind, "which_children") == 0 || strcmp(kind, "count_children") == 0) {
		snprintf(request, sizeof(request), "%s %s", kind, above->path);
		return ask(h, request);
	}
	c = above->nchild > 0 && chance(h, 12) > 0 ? above->child[chance(h, (unsigned)above->nchild)] : NULL;
	snprintf(request, sizeof(request), "%s %s %s", kind, above->path, c == NULL ? "b" : c->id);
	return ask(h, request);
}

static bool
step_set(struct history *h)
{
	const struct being *b = someone(h, false);
	char init[64], term[64] = "";

	if (b == NULL)
		return true;
	pick(h, "init=ok|init=ok|" INITS "|" HOLDS, init);
	h->holds = h->holds || strstr(init, "hold") != NULL;
	if (chance(h, 3) == 0)
		pick(h, " term=ok| term=crash", term);
	return say(h, "do set %s %s%s", b->path, init, term);
}

static bool
step(struct history *h)
{
	static const char *const sleeps[] = { "200", "4000", "7000" };
	unsigned what = chance(h, 100);

	if (h->r->o.root == NULL)
		return what < 80 ? step_set(h) : ask(h, "start");
	if (what < 40)
		return step_process(h);
	if (what < 60)
		return step_release(h);
	if (what < 88)
		return step_request(h);
	if (what < 93)
		return step_set(h);
	if (what < 97)
		return say(h, "do sleep %s", sleeps[chance(h, 3)]);
	return what < 98 ? say(h, "do stop") : true;
}

/* All that holds lets go, and the tree stops: what was forgotten shows. */
static bool
end(struct history *h)
{
	const struct path *p;
	unsigned rounds = 0;

	while (rounds++ < 60 && h->r->o.root != NULL) {
		p = someone_held(h);
		if (p == NULL && rounds > 1 && h->r->o.stop_asked)
			break;
		if (p == NULL && !say(h, "do stop"))
			return false;
		if (p != NULL && !say(h, "do release %s%s", p->name, p->life == LIFE_HELD_START ? " ok" : ""))
			return false;
	}
	return true;
}

void
history_run(struct run *r, uint64_t seed)
{
	struct history h = { .r = r, .seed = seed };
	unsigned n = 1 + chance(&h, STEPS_MAX);

	declare_super(&h, "root", "", 0);
	if (!ask(&h, "start"))
		return;
	while (n-- > 0) {
		if (!step(&h))
			return;
	}
	(void)end(&h);
}
