/* SPDX-License-Identifier: ISC */
/*
 * Which names, tags and paths are allowed; see name.h. A tag is checked for each
 * message, so a good one costs one pass over its bytes and nothing else.
 */
#include <stdint.h>
#include <string.h>

#include "base/error.h"
#include "base/name.h"
#include "base/text.h"

/* What of a wrong name is shown: enough to know it again. */
#define SHOWN_MAX 96

static int
bad(int code, const char *what, const char *name, size_t len, const char *why)
{
	char shown[SHOWN_MAX];

	if (stash__escape(shown, sizeof(shown), name, len) >= sizeof(shown))
		return stash__fail(code, "%s \"%s...\" %s", what, shown, why);
	return stash__fail(code, "%s \"%s\" %s", what, shown, why);
}

/* Why the characters aren't those of a name (or tag, when space is ' '); NULL: they are. */
static const char *
wrong_character(const char *name, size_t len, int space)
{
	uint32_t cp = 0;
	size_t n;

	for (; len > 0; name += n, len -= n) {
		/* Most are letters: no call for them. */
		if (*name > '/' && *name < 0x7f) {
			n = 1;
			continue;
		}
		n = stash__utf8_next(name, len, &cp);
		if (n == 0)
			return "isn't UTF-8";
		if (stash__is_control(cp))
			return "has a control character";
		if (cp == '/')
			return "has a '/'";
		if (cp == (uint32_t)space)
			return "has a space";
	}
	return NULL;
}

static int
check(const char *what, const char *name, size_t len, size_t max, int space)
{
	const char *why;

	if (len == 0)
		return stash__fail(STASH_E_INVAL, "%s is empty", what);
	if (len > max) {
		bad(STASH_E_TOOBIG, what, name, len, "is too long");
		return stash__fail(STASH_E_TOOBIG, "%s: %zu bytes, %zu are allowed", stash_errmsg(), len, max);
	}
	why = wrong_character(name, len, space);
	if (why != NULL)
		return bad(STASH_E_INVAL, what, name, len, why);
	return 0;
}

int
stash__check_name(const char *name)
{
	if (name == NULL)
		return stash__fail(STASH_E_INVAL, "name is NULL");
	return check("name", name, strlen(name), STASH_NAME_MAX, -1);
}

int
stash__check_tag(const char *tag)
{
	if (tag == NULL)
		return stash__fail(STASH_E_INVAL, "tag is NULL");
	return stash__check_tag_bytes(tag, strlen(tag));
}

int
stash__check_tag_bytes(const void *tag, size_t len)
{
	return check("tag", tag, len, STASH_TAG_MAX, ' ');
}

int
stash__check_path(const char *path)
{
	const char *id, *slash;
	size_t len;
	int error;

	if (path == NULL)
		return stash__fail(STASH_E_INVAL, "child path is NULL");
	len = strlen(path);
	if (len > STASH_PATH_MAX)
		return stash__fail(STASH_E_TOOBIG, "child path \"%.32s...\" is too long: %zu bytes, %d are allowed",
		    path, len, STASH_PATH_MAX);
	for (id = path;; id = slash + 1) {
		slash = strchrnul(id, '/');
		error = check("id in a child path", id, (size_t)(slash - id), STASH_NAME_MAX, -1);
		if (error != 0 || *slash == '\0')
			return error;
	}
}
