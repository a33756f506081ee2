/* SPDX-License-Identifier: ISC */
/*
 * failing.c: by LD_PRELOAD between a program and its libraries: counts calls and lets one of them fail, as the page
 * says (failing.h).  A call that is to fail isn't made.  Nothing in here may call what it stands before, but by its
 * real address.
 */
#include "failing.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "wrap.h"

static struct failing_page *page; /* NULL: nothing is counted, nothing fails */
static enum failing_process process = FAILING_IS_client;

struct object {
	uintptr_t base, end;
};
static const char *const names[] = FAILING_OBJECTS;
enum { OBJECTS = sizeof(names) / sizeof(names[0]) };
static struct object objects[OBJECTS];

/* ---- who and where ---- */

static int
note_object(struct dl_phdr_info *info, size_t size, void *arg)
{
	uintptr_t end = 0;
	int i = 0;

	(void)size;
	(void)arg;
	if (info->dlpi_name[0] != '\0') {
		for (i = 1; i < OBJECTS && strstr(info->dlpi_name, names[i]) == NULL; i++)
			;
	}
	if (i == OBJECTS || objects[i].end != 0)
		return 0;
	for (int k = 0; k < info->dlpi_phnum; k++) {
		if (info->dlpi_phdr[k].p_type == PT_LOAD &&
		    info->dlpi_phdr[k].p_vaddr + info->dlpi_phdr[k].p_memsz > end)
			end = info->dlpi_phdr[k].p_vaddr + info->dlpi_phdr[k].p_memsz;
	}
	objects[i].base = info->dlpi_addr;
	objects[i].end = info->dlpi_addr + end;
	return 0;
}

__attribute__((constructor)) static void
begin(void)
{
	const char *path = getenv(FAILING_ENV);
	long fd, at;

	(void)dl_iterate_phdr(note_object, NULL);
	if (strcmp(program_invocation_short_name, "stashd") == 0)
		process = FAILING_IS_keeper;
	else if (strncmp(program_invocation_short_name, "stash", 5) != 0 &&
	    strncmp(program_invocation_short_name, "failing", 7) != 0)
		return;
	if (path == NULL || (fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC)) < 0)
		return;
	at = syscall(SYS_mmap, NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	(void)syscall(SYS_close, fd);
	if (at != -1)
		page = (struct failing_page *)at;
}

void
failing_child(void)
{
	process = FAILING_IS_fresh;
}

void
failing_title(const char *title)
{
	static const char *const own[] = { "stashd: supervisor", "stashd: stash", "stashd: config", "stash: status" };
	static const enum failing_process is[] = { FAILING_IS_supervisor, FAILING_IS_stash, FAILING_IS_config,
		FAILING_IS_status };

	process = FAILING_IS_worker;
	for (int i = 0; i < 4; i++) {
		if (strcmp(title, own[i]) == 0)
			process = is[i];
	}
}

/* 0: from a place that isn't looked at, a module for example. */
static uint64_t
place_of(enum failing_function function, const void *to)
{
	uintptr_t at = (uintptr_t)to;

	for (int i = 0; i < OBJECTS; i++) {
		if (at >= objects[i].base && at < objects[i].end)
			return FAILING_PLACE(process, function, i, at - objects[i].base);
	}
	return 0;
}

static void
count(uint64_t place)
{
	uint64_t at = place * UINT64_C(0x9e3779b97f4a7c15) >> 50;

	for (int i = 0; i < FAILING_PLACES; i++) {
		struct failing_place *p = &page->places[(at + (uint64_t)i) % FAILING_PLACES];
		uint64_t there = 0;

		if (atomic_compare_exchange_strong(&p->place, &there, place) || there == place) {
			atomic_fetch_add(&p->count, 1);
			return;
		}
	}
	atomic_fetch_add(&page->lost, 1);
}

void
failing_live(int64_t more)
{
	if (page != NULL && process == FAILING_IS_client)
		atomic_fetch_add(&page->live, more);
}

/* ---- whether it fails ---- */

int
failing_call(enum failing_function function, const void *to)
{
	uint64_t place, what, n;
	uint32_t mode;

	if (page == NULL || (mode = atomic_load(&page->mode)) == FAILING_OFF || (place = place_of(function, to)) == 0)
		return 0;
	if (mode == FAILING_COUNTS) {
		count(place);
		return 0;
	}
	what = page->what;
	if (place != what &&
	    (FAILING_OFFSET_OF(what) != 0 || FAILING_PROCESS_OF(what) != process ||
		FAILING_FUNCTION_OF(what) != function))
		return 0;
	n = atomic_fetch_add(&page->passed, 1) + 1;
	if (page->for_good != 0 ? n < page->at : n != page->at)
		return 0;
	atomic_store(&page->pid, (int32_t)syscall(SYS_getpid));
	atomic_store(&page->where, place);
	atomic_fetch_add(&page->fired, 1);
	return page->error;
}
