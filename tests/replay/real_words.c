/* SPDX-License-Identifier: ISC */
/* Answers of a real stashd in the scenario's words. */
#include <stdio.h>
#include <stdlib.h>

#include "replay/real.h"

FILE *
real_word_file(char **text, size_t *len)
{
	FILE *f = open_memstream(text, len);

	if (f == NULL)
		abort();
	return f;
}

void
real_word_error(FILE *f, int error, const char *term)
{
	if (error == STASH_IGNORE)
		fprintf(f, "ok undefined");
	else if (error >= 0)
		fprintf(f, "ok");
	else if (term[0] != '\0')
		fprintf(f, "error %s", term);
	else if (error == STASH_E_DOWN || error == STASH_E_NOENT || error == STASH_E_TIMEDOUT)
		fprintf(f, "error noproc");
	else
		fprintf(f, "error %s", stash_errname(error));
}

int
real_word_child(void *arg, const struct stash_process *p)
{
	struct real_children *c = arg;
	const char *state = p->status == STASH_STOPPED ? "undefined" :
	    p->status == STASH_RESTARTING	       ? "restarting" :
							 "running";
	char label[STASH_NAME_MAX + 1];

	if (c->count++ == 0 && c->simple)
		fprintf(c->f, "unordered");
	fprintf(c->f, "%s%s,%s,%s", c->count > 1 || c->simple ? " " : "",
	    p->id[0] == '\0' ? "-" : real_label(p->id, label, sizeof(label)),
	    p->is_supervisor ? "supervisor" : "worker", state);
	return 0;
}

void
real_word_counts(FILE *f, uint64_t specs, uint64_t active, uint64_t supervisors, uint64_t workers)
{
	fprintf(f, "specs=%ju active=%ju supervisors=%ju workers=%ju", (uintmax_t)specs, (uintmax_t)active,
	    (uintmax_t)supervisors, (uintmax_t)workers);
}

int
real_word_spec(void *arg, const struct stash_child_spec *spec)
{
	static const char *const restarts[] = { "permanent", "transient", "temporary" };
	FILE *f = arg;

	fprintf(f, "restart=%s significant=%s shutdown=", spec->restart <= 2 ? restarts[spec->restart] : "wrong",
	    spec->significant ? "true" : "false");
	if (spec->shutdown_ms == STASH_INFINITY)
		fprintf(f, "infinity");
	else if (spec->shutdown_ms == STASH_BRUTAL_KILL)
		fprintf(f, "brutal_kill");
	else
		fprintf(f, "%d", (int)real_unstretch(spec->shutdown_ms));
	fprintf(f, " type=%s", spec->type == SUP_SUPERVISOR ? "supervisor" : "worker");
	return 0;
}
