/* SPDX-License-Identifier: ISC */
/*
 * A tape (modules/power_tape.h) read as a disk: what it held at each moment for certain, and what it may have held
 * besides.
 */
#ifndef TESTS_TESTLIB_TAPE_H
#define TESTS_TESTLIB_TAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "modules/power_tape.h"

/* A tape with that many bytes of room; its file is for TAPE_ENV. */
struct tape *tt_tape_make(const char *file, size_t room);
void tt_tape_free(struct tape *);

struct tape_disk;
/* At the tape's beginning. */
struct tape_disk *tt_disk_create(const struct tape *);
void tt_disk_destroy(struct tape_disk *);
/* Goes on by one record, which is returned; NULL: that was all. */
const struct tape_record *tt_disk_step(struct tape_disk *);
/*
 * Writes the directory as a power failure at this moment may leave it: all that was flushed, and of the rest, of eight
 * sectors and changes of names each, `odds' that were written.  What is written through maps is anything.
 */
void tt_disk_image(const struct tape_disk *, const char *dir, unsigned odds, unsigned random);

#endif
