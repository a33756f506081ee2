/* SPDX-License-Identifier: ISC */
/*
 * The tree as the last supervisor has left it, built from its rows by the
 * supervisor's own machine, which starts nothing here. Nothing in it runs: what
 * the registry knows of processes that are still there is added.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bsd/string.h>

#include "base/buf.h"
#include "base/error.h"
#include "shm/rows.h"
#include "stash-inspect/inspect.h"
#include "stashd/rowset.h"
#include "supervisor/machine.h"

struct owners {
	struct stash_process *list; /* in the order of paths */
	size_t count;
};

static int
by_child(const void *a, const void *b)
{
	return strcmp(((const struct stash_process *)a)->child, ((const struct stash_process *)b)->child);
}

static int
add_owner(void *arg, const struct stash_process *p)
{
	struct owners *o = arg;

	if (*p->child == '\0')
		return 0;
	o->list = tool_realloc(o->list, (o->count + 1) * sizeof *o->list);
	o->list[o->count++] = *p;
	return 0;
}

static int
add_row(void *arg, const struct store_row *row)
{
	struct stash__rows_row packed = { STORE_DB_TREE, false, row->key, row->value, row->klen, row->vlen };

	return stash__rows_pack(arg, &packed);
}

/* The rows in a file, as a new supervisor gets them. */
static int
read_rows(const struct look *look, struct rowset *rows)
{
	struct stash_buf buf;
	int fd = memfd_create("rows", MFD_CLOEXEC), result;

	if (fd < 0)
		return stash__fail_errno("no memory for the rows of the tree");
	stash__buf_init(&buf, STASH__BUF_MAX);
	result = stash__store_rows(look->store, STORE_DB_TREE, add_row, &buf);
	if (result == STASH_OK && buf.len > 0 && pwrite(fd, buf.data, buf.len, 0) != (ssize_t)buf.len)
		result = stash__fail_errno("no memory for the rows of the tree");
	if (result == STASH_OK)
		result = rowset_read(rows, fd);
	stash__buf_fini(&buf);
	close(fd);
	return result;
}

static void
describe(const struct sup_node *node, const struct owners *owners, struct stash_process *p)
{
	const struct stash_process *owner;

	memset(p, 0, sizeof *p);
	strlcpy(p->id, sup_node_id(node), sizeof p->id);
	strlcpy(p->name, sup_node_name(node), sizeof p->name);
	strlcpy(p->child, sup_node_path(node), sizeof p->child);
	p->is_supervisor = sup_node_spec(node)->kind == SUP_SUPERVISOR;
	p->restarts = sup_node_restarts(node);
	p->status = STASH_STOPPED;
	p->failed = sup_node_failed(node);
	owner = owners->count == 0 ? NULL : bsearch(p, owners->list, owners->count, sizeof *owners->list, by_child);
	if (owner != NULL && !p->is_supervisor)
		*p = *owner;
}

static int
walk(const struct rowset *rows, const struct owners *owners, stash_process_fn *fn, void *arg)
{
	const struct sup_node *node = NULL;
	struct stash_process process;
	struct sup *sup = sup_create(NULL);
	int result;

	if (sup == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for the tree");
	result = sup_restore(sup, rows->tree, rows->ntree);
	while (result == STASH_OK && (node = sup_next(sup, node)) != NULL) {
		describe(node, owners, &process);
		result = fn(arg, &process);
	}
	sup_destroy(sup);
	return result;
}

int
offline_tree(const struct look *look, stash_process_fn *fn, void *arg)
{
	struct owners owners = { NULL, 0 };
	struct rowset rows = { .ntree = 0 };
	int result = stash_store_list(look->store, NULL, add_owner, &owners);

	if (result == STASH_OK)
		result = read_rows(look, &rows);
	if (owners.count > 0)
		qsort(owners.list, owners.count, sizeof *owners.list, by_child);
	if (result == STASH_OK && rows.ntree > 0)
		result = walk(&rows, &owners, fn, arg);
	/* A store that no supervisor of this kind has written: what the registry says. */
	for (size_t i = 0; i < owners.count && result == STASH_OK && rows.ntree == 0; i++)
		result = fn(arg, &owners.list[i]);
	rowset_free(&rows);
	free(owners.list);
	return result;
}
