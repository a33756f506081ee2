/* SPDX-License-Identifier: ISC */
/*
 * What a callback asks of its message. The message is the library's own, but
 * its tag and payload are a stranger's: they are only ever looked at within
 * their lengths.
 */
#include <string.h>

#include <stash/message.h>

#include "base/error.h"
#include "base/text.h"

bool
stash_msg_is(const struct stash_msg *msg, const char *tag)
{
	return msg != NULL && tag != NULL && strcmp(msg->tag, tag) == 0;
}

const char *
stash_msg_text(const struct stash_msg *msg)
{
	if (msg == NULL) {
		stash__fail(STASH_E_INVAL, "message: is NULL");
		return NULL;
	}
	if (msg->len == 0)
		return "";
	if (memchr(msg->data, '\0', msg->len) != NULL) {
		stash__fail(STASH_E_INVAL, "message \"%s\": its payload is no text: a NUL is in it", msg->tag);
		return NULL;
	}
	if (!stash__utf8_ok(msg->data, msg->len)) {
		stash__fail(STASH_E_INVAL, "message \"%s\": its payload is no text: not UTF-8", msg->tag);
		return NULL;
	}
	return msg->data;
}

int
stash_msg_int(const struct stash_msg *msg, int64_t min, int64_t max, int64_t *value)
{
	const char *text = stash_msg_text(msg);

	if (text == NULL)
		return STASH_E_INVAL;
	if (stash_parse_int(text, min, max, value) != 0)
		return stash__fail(STASH_E_INVAL, "message \"%s\": %s", msg->tag, stash_errmsg());
	return 0;
}
