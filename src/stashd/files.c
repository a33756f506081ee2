/* SPDX-License-Identifier: ISC */
/*
 * files.c: see files.h.
 */
#include "base/error.h"
#include "base/log.h"
#include "stashd/files.h"
#include "stashd/proc.h"
#include "stashd/server.h"

void
files_begin(struct server *s)
{
	s->files.limit = (unsigned)proc_raise_files();
}

static unsigned
claimed(const struct files *f)
{
	return FILES_OWN + f->claimed + f->channels * FILES_CHANNEL + f->clients * FILES_CLIENT;
}

static bool
fit(const struct files *f, unsigned more, unsigned reserve)
{
	return claimed(f) + more + reserve <= f->limit;
}

static int
refuse(struct server *s, const char *what)
{
	struct files *f = &s->files;
	int result = stash__fail(STASH_E_BUSY,
	    "no descriptors are left for %s: of %u, the hard limit, %u workers, %u channels and %u clients have a "
	    "claim to %u: raise the limit (LimitNOFILE=, ulimit -Hn) and start stashd again, or delete children",
	    what, f->limit, f->workers, f->channels, f->clients, claimed(f));

	if (!f->told)
		stash__log(LOG_WARNING, "%s", stash_errmsg());
	f->told = true;
	return result;
}

int
files_for_workers(struct server *s, unsigned more)
{
	/* In two steps, since a tree may have more than a number holds of their descriptors. */
	if (more <= s->files.limit && fit(&s->files, more * FILES_WORKER, FILES_SPARE + FILES_VISITS)) {
		s->files.told = false;
		return 0;
	}
	return refuse(s, more == 1 ? "a worker" : "so many workers");
}

int
files_for_channel(struct server *s)
{
	return fit(&s->files, FILES_CHANNEL, FILES_SPARE + FILES_VISITS) ? 0 : refuse(s, "a channel");
}

bool
files_for_client(const struct server *s)
{
	return fit(&s->files, FILES_CLIENT, FILES_SPARE);
}

bool
files_for_both(const struct server *s)
{
	const struct files *f = &s->files;
	unsigned open = FILES_OWN + (f->claimed - f->workers * FILES_WORKER) + f->lives * FILES_WORKER +
	    f->channels * FILES_CHANNEL + f->clients * FILES_CLIENT;

	return open + FILES_WORKER + FILES_SPARE <= f->limit;
}

unsigned
files_workers_of(const struct sup_spec *spec)
{
	unsigned n = spec->kind == SUP_WORKER;

	if (spec->kind == SUP_SUPERVISOR && spec->strategy != STASH_SIMPLE_ONE_FOR_ONE)
		for (size_t i = 0; i < spec->nchildren; i++)
			n += files_workers_of(spec->children[i]);
	return n;
}
