/* SPDX-License-Identifier: ISC */
/*
 * describe.h: a specification of the tree machine as a public one again.
 */
#ifndef STASHD_DESCRIBE_H
#define STASHD_DESCRIBE_H

#include <stddef.h>

#include "stashd/plan.h"
#include "supervisor/spec.h"

struct describe_plan;
struct describe_block;
struct describe {
	struct stash_child_spec child; /* good until describe_end(), and as long as the specification */
	const struct plan_table *plans;
	struct describe_plan *read;
	struct describe_block *blocks;
};
/* What plan_read() says; _NOMEM.  To be ended, also after a failure. */
int describe_begin(struct describe *, const struct plan_table *, const struct sup_spec *);
void describe_end(struct describe *);

#endif
