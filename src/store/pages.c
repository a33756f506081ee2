/* SPDX-License-Identifier: ISC */
/*
 * pages.c: LMDB's file, page by page, read and never mapped: whether each page is what it says, each is used once, the
 * keys of a page are within what the page above it says, and no page is free that is used.  What a walk by LMDB's
 * cursors doesn't meet, a lookup or the next commit would: a wrong key in a branch hides states, a used page in the
 * free list is overwritten.  LMDB 0.9's format: all numbers as the machine has them.
 */
#include <sys/stat.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <stash/error.h>

#include "base/error.h"
#include "base/file.h"
#include "store/env.h"

#define META_MAGIC 0xBEEFC0DEu
#define HEADER 16u
#define DEPTH_MAX 32
#define NO_PAGE UINT64_MAX

enum { P_BRANCH = 0x01, P_LEAF = 0x02, P_OVERFLOW = 0x04, P_META = 0x08 };
enum { F_BIGDATA = 0x01, F_SUBDATA = 0x02, F_DUPDATA = 0x04 };

/* MDB_db, MDB_meta: as they stand in the file. */
struct tree {
	uint32_t pad;
	uint16_t flags, depth;
	uint64_t branches, leaves, overflows, entries, root;
};

struct meta_page {
	uint32_t magic, version;
	uint64_t address, mapsize;
	struct tree trees[2]; /* the free list; the database of databases */
	uint64_t last_page, txn;
};

struct header {
	uint64_t number;
	uint16_t pad, flags, lower, upper; /* of an overflow page the last two are a count of pages */
};

struct node {
	const unsigned char *key, *data;
	size_t key_len;
	uint64_t child; /* of a branch */
	uint32_t data_len;
	uint16_t flags;
};

struct key {
	const unsigned char *bytes; /* NULL: no bound */
	size_t len;
};

struct pages {
	int fd;
	size_t size;	  /* bytes of a page */
	uint64_t in_file; /* pages */
	struct meta_page meta;
	unsigned char *seen; /* a bit for each page: used or free */
	const char *what;    /* the tree that is walked */
	bool numbers;	     /* its keys are numbers */
	bool lists;	     /* its values are lists of free pages */
	struct tree count;   /* what was met of it */
};

static int
bad(const struct pages *p, uint64_t page, const char *why)
{
	return stash__fail(STASH_E_CORRUPT, "page %llu, of %s: damaged: %s", (unsigned long long)page, p->what, why);
}

/* ---- pages ---- */

static int
mark(struct pages *p, uint64_t page)
{
	if (page < 2 || page > p->meta.last_page)
		return bad(p, page, "there is no such page");
	if ((p->seen[page / 8] & 1u << page % 8) != 0)
		return bad(p, page, "it is used twice, or free and used");
	p->seen[page / 8] |= (unsigned char)(1u << page % 8);
	return 0;
}

static int
read_page(const struct pages *p, uint64_t page, unsigned char *bytes)
{
	ssize_t n;

	if (page >= p->in_file)
		return bad(p, page, "it is behind the end of the file");
	n = stash__read_at(p->fd, bytes, p->size, (off_t)(page * p->size));
	if (n < 0)
		return stash__fail_errno("page %llu can't be read", (unsigned long long)page);
	return n == (ssize_t)p->size ? 0 : bad(p, page, "it is cut short");
}

/* Reads a page of a tree and checks its header. */
static int
take_page(struct pages *p, uint64_t page, unsigned char *bytes, struct header *h)
{
	int rc = mark(p, page);

	if (rc == 0)
		rc = read_page(p, page, bytes);
	if (rc != 0)
		return rc;
	memcpy(h, bytes, HEADER);
	if (h->number != page)
		return bad(p, page, "it has another page's number");
	return 0;
}

static size_t
count_of(const struct header *h)
{
	return (h->lower - HEADER) / 2u;
}

static int
check_header(const struct pages *p, const struct header *h, uint16_t kind)
{
	if ((h->flags & (P_BRANCH | P_LEAF | P_OVERFLOW | P_META)) != kind)
		return bad(p, h->number, "it is of another kind");
	if (h->lower < HEADER || h->lower > h->upper || h->upper > p->size || (h->lower - HEADER) % 2 != 0)
		return bad(p, h->number, "its bounds make no sense");
	return count_of(h) > 0 ? 0 : bad(p, h->number, "it is empty");
}

/* ---- nodes ---- */

static int
take_node(
    const struct pages *p, const unsigned char *bytes, const struct header *h, size_t i, bool branch, struct node *node)
{
	uint16_t at, part[4];
	size_t end;

	memcpy(&at, bytes + HEADER + 2 * i, sizeof(at));
	if (at < h->upper || (size_t)at + 8 > p->size || at % 2 != 0)
		return bad(p, h->number, "an entry stands outside of it");
	memcpy(part, bytes + at, sizeof(part)); /* lo, hi, flags, length of the key */
	node->key = bytes + at + 8;
	node->key_len = part[3];
	node->data = node->key + node->key_len;
	node->flags = branch ? 0 : part[2];
	node->child = part[0] | (uint64_t)part[1] << 16 | (uint64_t)part[2] << 32;
	node->data_len = branch ? 0 : part[0] | (uint32_t)part[1] << 16;
	end = (size_t)at + 8 + node->key_len;
	if (!branch)
		end += (node->flags & F_BIGDATA) != 0 ? sizeof(uint64_t) : node->data_len;
	return end <= p->size ? 0 : bad(p, h->number, "an entry is longer than there is room");
}

static int
compare(const struct pages *p, const struct key *a, const struct key *b)
{
	size_t common = a->len < b->len ? a->len : b->len;
	uint64_t x, y;
	int order;

	if (p->numbers && a->len == sizeof(x) && b->len == sizeof(y)) {
		memcpy(&x, a->bytes, sizeof(x));
		memcpy(&y, b->bytes, sizeof(y));
		return x < y ? -1 : x > y;
	}
	order = memcmp(a->bytes, b->bytes, common);
	return order != 0 ? order : a->len < b->len ? -1 : a->len > b->len;
}

/* Keys grow, from the lower bound on, and stay below the upper one. */
static int
check_key(const struct pages *p, uint64_t page, const struct key *key, const struct key *last, const struct key *low,
    const struct key *high)
{
	if (p->numbers && key->len != sizeof(uint64_t))
		return bad(p, page, "a key is no number");
	if (last->bytes != NULL && compare(p, key, last) <= 0)
		return bad(p, page, "its keys are out of order");
	if ((low->bytes != NULL && compare(p, key, low) < 0) || (high->bytes != NULL && compare(p, key, high) >= 0))
		return bad(p, page, "a key isn't where it is looked for");
	return 0;
}

/* A value that has pages of its own. */
static int
take_overflow(struct pages *p, const struct node *node, unsigned char **value)
{
	struct header h;
	uint64_t first, need;
	unsigned char *bytes;
	uint32_t pages;
	int rc = 0;

	memcpy(&first, node->data, sizeof(first));
	need = (HEADER + node->data_len + p->size - 1) / p->size;
	if (first < 2 || first + need > p->in_file || first + need - 1 > p->meta.last_page)
		return bad(p, first, "it is behind the end of the file");
	bytes = malloc(need * p->size);
	if (bytes == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory to look at a value of %u bytes", node->data_len);
	for (uint64_t i = 0; rc == 0 && i < need; i++)
		rc = mark(p, first + i);
	for (uint64_t i = 0; rc == 0 && i < need; i++)
		rc = read_page(p, first + i, bytes + i * p->size);
	memcpy(&h, bytes, HEADER);
	pages = h.lower | (uint32_t)h.upper << 16;
	if (rc == 0 && (h.number != first || (h.flags & P_OVERFLOW) == 0 || pages < need))
		rc = bad(p, first, "it isn't the value that it should be");
	/* Pages that the value needs no more are its own all the same. */
	for (uint64_t i = need; rc == 0 && i < pages; i++)
		rc = mark(p, first + i);
	p->count.overflows += pages;
	if (rc != 0 || value == NULL) {
		free(bytes);
		return rc;
	}
	memmove(bytes, bytes + HEADER, node->data_len);
	*value = bytes;
	return 0;
}

/* Pages that a transaction gave up: their count, then their numbers. */
static int
take_list(struct pages *p, uint64_t page, const unsigned char *value, size_t len)
{
	uint64_t count, number;
	int rc = 0;

	if (len < sizeof(count) || len % sizeof(count) != 0)
		return bad(p, page, "a list of free pages has a wrong length");
	memcpy(&count, value, sizeof(count));
	if (count > len / sizeof(count) - 1)
		return bad(p, page, "a list of free pages is longer than there is room");
	for (uint64_t i = 1; rc == 0 && i <= count; i++) {
		memcpy(&number, value + i * sizeof(number), sizeof(number));
		rc = mark(p, number);
	}
	return rc;
}

/* ---- trees ---- */

static int walk_tree(struct pages *, const struct tree *);

static int
take_leaf_node(struct pages *p, uint64_t page, const struct node *node)
{
	unsigned char *value = NULL;
	struct pages outer = *p;
	struct tree tree;
	int rc = 0;

	p->count.entries++;
	if ((node->flags & (F_SUBDATA | F_DUPDATA)) != 0) {
		if (p->lists || node->flags != F_SUBDATA || node->data_len != sizeof(tree))
			return bad(p, page, "an entry is of a kind that isn't used");
		memcpy(&tree, node->data, sizeof(tree));
		p->what = "a database";
		rc = walk_tree(p, &tree);
		p->what = outer.what;
		p->count = outer.count;
		p->count.entries++;
		return rc;
	}
	if ((node->flags & F_BIGDATA) != 0)
		rc = take_overflow(p, node, p->lists ? &value : NULL);
	if (rc == 0 && p->lists)
		rc = take_list(p, page, value != NULL ? value : node->data, node->data_len);
	free(value);
	return rc;
}

static int walk_page(struct pages *, uint64_t page, unsigned depth, const struct key *low, const struct key *high);

static int
walk_branch(struct pages *p, const unsigned char *bytes, const struct header *h, unsigned depth, const struct key *low,
    const struct key *high)
{
	struct key last = { NULL, 0 }, from = *low, to;
	struct node node, next;
	size_t n = count_of(h);
	int rc = 0;

	p->count.branches++;
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = take_node(p, bytes, h, i, true, &node);
		if (rc == 0 && i > 0) {
			/* The first has no key of its own. */
			from = (struct key){ node.key, node.key_len };
			rc = check_key(p, h->number, &from, &last, low, high);
			last = from;
		}
		to = *high;
		if (rc == 0 && i + 1 < n && (rc = take_node(p, bytes, h, i + 1, true, &next)) == 0)
			to = (struct key){ next.key, next.key_len };
		if (rc == 0)
			rc = walk_page(p, node.child, depth - 1, &from, &to);
	}
	return rc;
}

static int
walk_leaf(
    struct pages *p, const unsigned char *bytes, const struct header *h, const struct key *low, const struct key *high)
{
	struct key last = { NULL, 0 }, key;
	struct node node;
	int rc = 0;

	p->count.leaves++;
	for (size_t i = 0; rc == 0 && i < count_of(h); i++) {
		rc = take_node(p, bytes, h, i, false, &node);
		if (rc != 0)
			break;
		key = (struct key){ node.key, node.key_len };
		rc = check_key(p, h->number, &key, &last, low, high);
		last = key;
		if (rc == 0)
			rc = take_leaf_node(p, h->number, &node);
	}
	return rc;
}

static int
walk_page(struct pages *p, uint64_t page, unsigned depth, const struct key *low, const struct key *high)
{
	unsigned char *bytes = malloc(p->size);
	struct header h;
	int rc;

	if (bytes == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for a page");
	rc = take_page(p, page, bytes, &h);
	if (rc == 0)
		rc = check_header(p, &h, depth > 1 ? P_BRANCH : P_LEAF);
	if (rc == 0)
		rc = depth > 1 ? walk_branch(p, bytes, &h, depth, low, high) : walk_leaf(p, bytes, &h, low, high);
	free(bytes);
	return rc;
}

static int
walk_tree(struct pages *p, const struct tree *tree)
{
	static const struct key none = { NULL, 0 };
	int rc;

	memset(&p->count, 0, sizeof(p->count));
	if (tree->root == NO_PAGE && tree->depth == 0 && tree->entries == 0)
		return 0;
	if (tree->depth == 0 || tree->depth > DEPTH_MAX)
		return bad(p, tree->root, "its tree has a wrong depth");
	rc = walk_page(p, tree->root, tree->depth, &none, &none);
	if (rc == 0 &&
	    (p->count.branches != tree->branches || p->count.leaves != tree->leaves ||
		p->count.overflows != tree->overflows || p->count.entries != tree->entries))
		rc = bad(p, tree->root, "its tree has other numbers of pages or entries than are noted");
	return rc;
}

/* ---- the whole ---- */

static int
take_meta(struct pages *p, off_t bytes)
{
	struct meta_page m[2];
	struct header h;

	p->what = "the file's beginning";
	p->size = 4096; /* of the first page; others are found by what it says */
	for (int i = 0; i < 2; i++) {
		unsigned char page[HEADER + sizeof(m[0])];

		if (stash__read_at(p->fd, page, sizeof(page), (off_t)((size_t)i * p->size)) != (ssize_t)sizeof(page))
			return stash__fail_errno("page %d can't be read", i);
		memcpy(&h, page, HEADER);
		memcpy(&m[i], page + HEADER, sizeof(m[i]));
		if (h.number != (uint64_t)i || (h.flags & P_META) == 0 || m[i].magic != META_MAGIC)
			return bad(p, (uint64_t)i, "it says nothing of a database");
		if (m[i].trees[0].pad < 512 || m[i].trees[0].pad > 65536 ||
		    (m[i].trees[0].pad & (m[i].trees[0].pad - 1)) != 0)
			return bad(p, (uint64_t)i, "the size of its pages makes no sense");
		p->size = m[i].trees[0].pad;
	}
	p->meta = m[0].txn < m[1].txn ? m[1] : m[0];
	p->in_file = (uint64_t)bytes / p->size;
	if (p->meta.last_page < 1 || p->meta.last_page > STORE_MAP_BYTES / p->size)
		return bad(p, 0, "the number of its pages makes no sense");
	return 0;
}

static int
walk(struct pages *p)
{
	int rc;

	p->what = "the free list";
	p->numbers = p->lists = true;
	rc = walk_tree(p, &p->meta.trees[0]);
	if (rc != 0)
		return rc;
	p->what = "the list of databases";
	p->numbers = p->lists = false;
	return walk_tree(p, &p->meta.trees[1]);
}

int
store_walk_pages(MDB_env *env)
{
	struct pages p = { .fd = -1 };
	struct stat st;
	int rc = mdb_env_get_fd(env, &p.fd);

	if (rc != 0)
		return store_fail(rc, "the file can't be read");
	if (fstat(p.fd, &st) != 0)
		return stash__fail_errno("the file can't be read");
	rc = take_meta(&p, st.st_size);
	if (rc != 0)
		return rc;
	p.seen = calloc(1, p.meta.last_page / 8 + 1);
	if (p.seen == NULL)
		return stash__fail(
		    STASH_E_NOMEM, "no memory for a store of %llu pages", (unsigned long long)p.meta.last_page);
	rc = walk(&p);
	free(p.seen);
	return rc;
}
