/* SPDX-License-Identifier: ISC */
/*
 * The version of the library and of its headers, the limits that hold for all
 * parts, and the two macros with which every declaration is marked. Library,
 * soname, store format and channel format count separately. Values given here
 * never change.
 */
#ifndef STASH_VERSION_H
#define STASH_VERSION_H

#define STASH_API __attribute__((visibility("default")))
#define STASH_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/*
 * The version of these headers. A module carries it, and stashd refuses one
 * that it doesn't know. Since 0.1.0.
 */
#define STASH_API_VERSION 1u

/*
 * Limits, in bytes, without the NUL. More than that is STASH_E_TOOBIG. A name
 * is UTF-8 and has no control character and no '/'; a tag has no space either.
 * Since 0.1.0.
 */
enum {
	STASH_NAME_MAX = 200,	   /* of a name, alias, group, id */
	STASH_TAG_MAX = 63,	   /* of a tag, and of a table's name */
	STASH_PATH_MAX = 500,	   /* of a child path: ids joined by '/', "root/web/endpoint" */
	STASH_DATA_MAX = 1048576,  /* of a payload: request, reply, event, result, table value */
	STASH_VALUE_MAX = 65536,   /* of a value in the registry */
	STASH_KEY_MAX = 240,	   /* of a table's key; for a later version */
	STASH_STATE_MAX = 16777216 /* of a state image; each commit copies it */
};

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The version of the library in use, "0.1.0". Static, never NULL; never blocks.
 * Since 0.1.0.
 */
STASH_API const char *stash_version(void);

#ifdef __cplusplus
}
#endif

#endif
