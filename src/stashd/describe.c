/* SPDX-License-Identifier: ISC */
/*
 * describe.c: a specification of the tree machine as it was given, as far as that is known: what was left to a default
 * stands there as a value.  What it points to is the specification's, or in memory that is freed at once.
 */
#include "stashd/describe.h"

#include <stdlib.h>

#include "base/error.h"

/* The plan of a worker, kept as long as the description. */
struct describe_plan {
	struct describe_plan *next;
	struct plan plan;
};
struct describe_block {
	struct describe_block *next;
	max_align_t data[];
};

static void *
take_memory(struct describe *d, size_t bytes)
{
	struct describe_block *block = calloc(1, sizeof(*block) + bytes);

	if (block == NULL) {
		(void)stash__fail(STASH_E_NOMEM, "no memory for a specification");
		return NULL;
	}
	block->next = d->blocks;
	d->blocks = block;
	return block->data;
}

static int
fill_worker(struct describe *d, const struct sup_spec *spec, struct stash_child_spec *out)
{
	struct describe_plan *p = take_memory(d, sizeof(*p));
	int result = p == NULL ? STASH_E_NOMEM : plan_read(&p->plan, d->plans, spec->payload, spec->payload_len);

	if (result < 0)
		return result;
	p->next = d->read;
	d->read = p;
	plan_describe(&p->plan, out);
	out->name = spec->name;
	out->start_timeout_ms = spec->start_timeout_ms;
	return 0;
}

static int fill(struct describe *d, const struct sup_spec *spec, struct stash_child_spec *out);

static int
fill_supervisor(struct describe *d, const struct sup_spec *spec, struct stash_child_spec *child)
{
	struct stash_supervisor_spec *out = take_memory(d, sizeof(*out));
	struct stash_child_spec *children = take_memory(d, (spec->nchildren + 1) * sizeof(*children));
	int result = out == NULL || children == NULL ? STASH_E_NOMEM : 0;

	if (result < 0)
		return result;
	out->size = sizeof(*out);
	out->strategy = (uint32_t)spec->strategy;
	out->auto_shutdown = (uint32_t)spec->auto_shutdown;
	out->intensity = spec->intensity == 0 ? STASH_NO_RESTARTS : spec->intensity;
	out->period_s = (uint32_t)spec->period_s;
	out->children = spec->nchildren > 0 ? children : NULL;
	out->nchildren = spec->nchildren;
	for (size_t i = 0; i < spec->nchildren && result == 0; i++)
		result = fill(d, spec->children[i], &children[i]);
	child->supervisor = out;
	return result;
}

static int
fill(struct describe *d, const struct sup_spec *spec, struct stash_child_spec *out)
{
	out->size = sizeof(*out);
	out->id = spec->id;
	out->restart = (uint32_t)spec->restart;
	out->significant = (uint32_t)spec->significant;
	out->type = (uint32_t)spec->type;
	/* A written 0 can't be told from the default. */
	out->shutdown_ms = spec->shutdown_ms == 0 ? 1 : spec->shutdown_ms;
	return spec->kind == SUP_SUPERVISOR ? fill_supervisor(d, spec, out) : fill_worker(d, spec, out);
}

int
describe_begin(struct describe *d, const struct plan_table *plans, const struct sup_spec *spec)
{
	*d = (struct describe){ .plans = plans };
	return fill(d, spec, &d->child);
}

void
describe_end(struct describe *d)
{
	struct describe_block *block;

	for (; d->read != NULL; d->read = d->read->next)
		plan_free(&d->read->plan);
	while ((block = d->blocks) != NULL) {
		d->blocks = block->next;
		free(block);
	}
}
