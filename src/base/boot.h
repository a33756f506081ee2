/* SPDX-License-Identifier: ISC */
/*
 * Which boot this is, and which process a pid means: pid and start time
 * together are unique within a boot.
 */
#ifndef BASE_BOOT_H
#define BASE_BOOT_H

#include <sys/types.h>

#include <stdint.h>

#define STASH__BOOT_ID_LEN 16

/* The kernel's random id of this boot. 0 or STASH_E_SYSTEM. */
int stash__boot_id(unsigned char id[STASH__BOOT_ID_LEN]);

/* When that process was started, in clock ticks since boot; also of a zombie. STASH_E_NOENT: there is none. */
int stash__start_time(pid_t pid, uint64_t *ticks);

#endif
