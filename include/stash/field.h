/* SPDX-License-Identifier: ISC */
/*
 * Descriptions of a state's struct, field by field, so that tools can print a
 * stored state without the program that made it, and a later version of that
 * program can take it over by the names of its fields (stash_field(3) has the
 * rules). Tables of them are static data; they are stored beside the states,
 * under the layout's name and version. Nothing in here runs.
 */
#ifndef STASH_FIELD_H
#define STASH_FIELD_H

#include <stddef.h>
#include <stdint.h>

#include <stash/version.h>

/* What a field holds. Since 0.1.0. */
enum stash_type {
	STASH_TYPE_BYTES = 0, /* shown in hex */
	STASH_TYPE_INT = 1,
	STASH_TYPE_UINT = 2,
	STASH_TYPE_FLOAT = 3,
	STASH_TYPE_BOOL = 4,
	STASH_TYPE_TEXT = 5,	/* a char array, up to its NUL */
	STASH_TYPE_TIME_MS = 6, /* an int64_t, in milliseconds since 1970 */
	STASH_TYPE_STRUCT = 7	/* described by fields of its own */
};

/*
 * Flag of a field: never shown by a tool or in a crash report. Reserved for a
 * later version, which will honour it.
 */
#define STASH_FIELD_SECRET 1u

/*
 * One field. Never grows; arrays of it are static and end with STASH_FIELD_END.
 * Since 0.1.0.
 */
struct stash_field {
	const char *name;
	uint32_t offset;		  /* from the start of the struct, in bytes */
	uint32_t size;			  /* of one element, in bytes */
	uint32_t count;			  /* of elements */
	uint32_t type;			  /* enum stash_type */
	uint32_t flags;			  /* STASH_FIELD_SECRET, or 0 */
	uint32_t reserved;		  /* 0 */
	const struct stash_field *fields; /* of STASH_TYPE_STRUCT; else NULL */
};

/* Ends a table of fields. Since 0.1.0. */
/* clang-format off */
#define STASH_FIELD_END { NULL, 0, 0, 0, 0, 0, 0, NULL }

/*
 * A field, everything said by hand; the only one for C++. s: the struct, m: its
 * member, elem: type or expression of one element, type: enum stash_type,
 * flags, sub: fields of STASH_TYPE_STRUCT, or NULL. Since 0.1.0.
 */
#define STASH_FIELD_AS(s, m, elem, type, flags, sub) \
	{ #m, (uint32_t)offsetof(s, m), (uint32_t)sizeof(elem), (uint32_t)(sizeof(((s *)0)->m) / sizeof(elem)), \
	    type, flags, 0, sub }

/* A member of a plain type, or a text in a char array. C11. Since 0.1.0. */
#define STASH_FIELD(s, m) STASH_FIELD_AS(s, m, ((s *)0)->m, STASH_TYPE_OF(((s *)0)->m), 0, NULL)

/* A member that is an array of a plain type. C11. Since 0.1.0. */
#define STASH_FIELD_ARRAY(s, m) STASH_FIELD_AS(s, m, ((s *)0)->m[0], STASH_TYPE_OF(((s *)0)->m[0]), 0, NULL)

/* A member that is a struct, with its own table of fields. Since 0.1.0. */
#define STASH_FIELD_STRUCT(s, m, sub) STASH_FIELD_AS(s, m, ((s *)0)->m, STASH_TYPE_STRUCT, 0, sub)

/* The enum stash_type of an expression. C11. Since 0.1.0. */
#define STASH_TYPE_OF(x) \
	_Generic((x), \
	    _Bool: STASH_TYPE_BOOL, \
	    float: STASH_TYPE_FLOAT, \
	    double: STASH_TYPE_FLOAT, \
	    signed char: STASH_TYPE_INT, \
	    short: STASH_TYPE_INT, \
	    int: STASH_TYPE_INT, \
	    long: STASH_TYPE_INT, \
	    long long: STASH_TYPE_INT, \
	    unsigned char: STASH_TYPE_UINT, \
	    unsigned short: STASH_TYPE_UINT, \
	    unsigned: STASH_TYPE_UINT, \
	    unsigned long: STASH_TYPE_UINT, \
	    unsigned long long: STASH_TYPE_UINT, \
	    char *: STASH_TYPE_TEXT, \
	    default: STASH_TYPE_BYTES)
/* clang-format on */

#endif
