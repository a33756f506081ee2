/* SPDX-License-Identifier: ISC */
/*
 * From what is written on the command line to a process, and figures out of a
 * black box. A name that isn't there is answered with the nearest that is.
 */
#include <stdlib.h>
#include <string.h>

#include <bsd/string.h>

#include "base/error.h"
#include "base/text.h"
#include "stash-inspect/inspect.h"

struct finding {
	const char *operand;
	char owner[STASH_NAME_MAX + 1]; /* of the operand, if that is an alias */
	bool path;			/* the operand is a child's path */
	bool found;
	struct stash_process process;
	const char **names; /* of all others, ends with NULL */
	size_t count;
};

static int
consider(void *arg, const struct stash_process *p)
{
	struct finding *f = arg;
	const char *what = f->path ? p->child : p->name;

	if (strcmp(what, f->operand) == 0) {
		f->process = *p;
		f->found = true;
		return 1;
	}
	if (*what != '\0') {
		f->names = tool_realloc(f->names, (f->count + 2) * sizeof *f->names);
		f->names[f->count++] = strdup(what);
		f->names[f->count] = NULL;
	}
	return 0;
}

static int
not_found(const struct finding *f)
{
	const char *near = f->names != NULL ? stash__nearest(f->operand, f->names) : NULL;

	if (near != NULL)
		return stash__fail(STASH_E_NOENT, "there is no \"%s\": did you mean \"%s\"?", f->operand, near);
	return stash__fail(STASH_E_NOENT, "there is no \"%s\"; list shows what there is", f->operand);
}

/* An alias stands for the child that has it. */
static int
consider_alias(void *arg, const struct stash__name_key *key, const struct stash__name_row *row)
{
	struct finding *f = arg;

	if (key->kind != STASH__NAME_ALIAS || strcmp(key->name, f->operand) != 0)
		return 0;
	strlcpy(f->owner, row->owner, sizeof f->owner);
	f->operand = f->owner;
	return 1;
}

static int
look_for(const struct look *look, struct finding *f)
{
	int code = stash_store_list(look->store, NULL, consider, f);

	if (code != 0 || f->found)
		return code;
	code = stash__store_names(look->store, consider_alias, f);
	return code == 1 ? stash_store_list(look->store, NULL, consider, f) : code;
}

int
find_process(const struct look *look, const char *operand, struct stash_process *process)
{
	struct finding f = { .operand = operand, .path = strchr(operand, '/') != NULL };
	int code;

	if (f.path)
		code = stash__store_processes(look->store, consider, &f);
	else
		code = look_for(look, &f);
	if (code >= 0 && !f.found)
		code = not_found(&f);
	for (size_t i = 0; i < f.count; i++)
		free((char *)(uintptr_t)f.names[i]);
	free(f.names);
	if (code < 0)
		return code;
	*process = f.process;
	return STASH_OK;
}

uint64_t
bins_quantile(const stash__word bins[STASH__BOX_BINS], double share)
{
	uint64_t all = 0, below = 0;

	for (size_t i = 0; i < STASH__BOX_BINS; i++)
		all += bins[i];
	for (size_t i = 0; i < STASH__BOX_BINS && all > 0; i++) {
		below += bins[i];
		if ((double)below >= share * (double)all)
			return UINT64_C(2) << i;
	}
	return 0;
}
