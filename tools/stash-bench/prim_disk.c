/* SPDX-License-Identifier: ISC */
/*
 * What the disk costs: a flush, a bare commit, and how many flushes the device
 * was asked for.
 */
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "stash-bench/prim.h"
#include "store/bench.h"

#define BLOCK 4096
#define BLOCKS 64

static int
write_block(int fd, unsigned i)
{
	char block[BLOCK];

	memset(block, (int)(i & 0xff), sizeof block);
	if (pwrite(fd, block, sizeof block, (off_t)(i % BLOCKS) * BLOCK) != BLOCK)
		return stash__fail_errno("cannot write to a temporary file");
	return fdatasync(fd) == 0 ? 0 : stash__fail_errno("cannot flush a temporary file");
}

static int
flush_rounds(int fd, unsigned rounds, int64_t *ns)
{
	int64_t start;
	int error = 0;

	/* The file's blocks are all there before the first flush that counts. */
	for (unsigned i = 0; i < BLOCKS && error == 0; i++) {
		char block[BLOCK] = { 0 };

		if (pwrite(fd, block, sizeof block, (off_t)i * BLOCK) != BLOCK)
			error = stash__fail_errno("cannot write to a temporary file");
	}
	if (error == 0 && fsync(fd) != 0)
		error = stash__fail_errno("cannot flush a temporary file");
	for (unsigned i = 0; i < rounds && error == 0; i++) {
		start = stash__now_ns();
		error = write_block(fd, i);
		ns[i] = stash__now_ns() - start;
	}
	return error;
}

/* Gives fn a temporary directory, and room for as many times as there are rounds; the median of these. */
static int
in_directory(const char *dir, unsigned rounds, int (*fn)(const char *path, unsigned rounds, int64_t *ns), double *ns)
{
	int64_t *times = calloc(rounds, sizeof *times);
	char path[PATH_MAX];
	int error = bench_temporary(dir, path);

	if (error == 0 && times == NULL)
		error = stash__fail(STASH_E_NOMEM, "no memory for %u times", rounds);
	if (error == 0)
		error = fn(path, rounds, times);
	if (error == 0)
		*ns = (double)bench_median_ns(times, rounds);
	if (*path != '\0')
		bench_remove(path);
	free(times);
	return error;
}

static int
flush_in(const char *path, unsigned rounds, int64_t *ns)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd, error;

	if (dir < 0)
		return stash__fail_errno("%s: can't be opened", path);
	fd = openat(dir, "block", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	close(dir);
	if (fd < 0)
		return stash__fail_errno("%s: no file can be made there", path);
	error = flush_rounds(fd, rounds, ns);
	close(fd);
	return error;
}

int
bench_prim_flush(const char *dir, unsigned rounds, double *ns)
{
	return in_directory(dir, rounds, flush_in, ns);
}

int
bench_prim_commit(const char *dir, unsigned rounds, double *ns)
{
	return in_directory(dir, rounds, store_bench_commit, ns);
}

/* ---- flushes of the device ---- */

int64_t
bench_flushes(const char *dir)
{
	char path[96];
	int64_t flushes = -1;
	struct stat st;
	FILE *file;

	if (stat(dir, &st) != 0)
		return -1;
	/* A partition's are counted with its disk's. */
	snprintf(path, sizeof path, "/sys/dev/block/%u:%u/partition", major(st.st_dev), minor(st.st_dev));
	snprintf(path, sizeof path, "/sys/dev/block/%u:%u/%sstat", major(st.st_dev), minor(st.st_dev),
	    access(path, F_OK) == 0 ? "../" : "");
	file = fopen(path, "re");
	if (file == NULL)
		return -1;
	if (fscanf(file, "%*d %*d %*d %*d %*d %*d %*d %*d %*d %*d %*d %*d %*d %*d %*d %" SCNd64, &flushes) != 1)
		flushes = -1;
	fclose(file);
	return flushes;
}
