/* SPDX-License-Identifier: ISC */
/*
 * What stands in the rows of the store that more than one process understands,
 * and how a process is told on a socket: packed by whoever writes them, read by
 * the reader and the tools. All of it is foreign to whoever reads it: names,
 * lengths and ranges are checked, and what is not right is STASH_E_FORMAT.
 *
 *	registry  key: the name       value: struct stash__registry_row
 *	event     key: the number     value: struct stash_event without its number
 *	schema    key: layout, NUL, version and chunk (4 bytes each, big-endian)
 *	                              value: of all chunks in a row: the image's length (int),
 *	                              packed fields (fields.h); the first chunk that isn't full is the last
 */
#ifndef SHM_RECORD_H
#define SHM_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include <stash/buf.h>
#include <stash/client.h>
#include <stash/field.h>
#include <stash/store.h>

#include "shm/format.h"

/* Longest text of an event; a longer one is cut when it is packed. */
#define STASH__EVENT_TEXT_MAX 2000

/* A process, without its reserved members: id, name, child, numbers. */
int stash__pack_process(struct stash_buf *buf, const struct stash_process *process);
/* Reads one; *process is written whole. */
int stash__view_process(struct stash_view *view, struct stash_process *process);

/* Who has a name. */
struct stash__registry_row {
	struct stash_process process;
	uint8_t boot_id[STASH__ID]; /* pid and start time mean something in this boot only */
	int64_t since_ns;	    /* CLOCK_REALTIME: when its status became what it is */
};
int stash__pack_registry(struct stash_buf *buf, const struct stash__registry_row *row);
int stash__unpack_registry(const void *value, size_t len, struct stash__registry_row *row);

/* seq isn't packed; texts may be NULL. */
int stash__pack_event(struct stash_buf *buf, const struct stash_event *event);
/* The texts point into value. */
int stash__unpack_event(uint64_t seq, const void *value, size_t len, struct stash_event *event);

enum {
	STASH__SCHEMA_KEY_MAX = STASH_NAME_MAX + 1 + 4 + 4,
	STASH__SCHEMA_CHUNK = 4000 /* bytes of a full one */
};
/* The key's length; STASH_E_INVAL, _TOOBIG: the layout's name is none. */
int stash__schema_key(unsigned char key[STASH__SCHEMA_KEY_MAX], const char *layout, uint32_t version, uint32_t chunk);
/* All chunks in a row. */
int stash__pack_schema(struct stash_buf *buf, const struct stash_field *fields, uint64_t image_len);
/* *fields as from stash__fields_unpack(): NULL for an empty table. */
int stash__unpack_schema(const void *value, size_t len, uint64_t *image_len, struct stash_field **fields);

#endif
