/* SPDX-License-Identifier: ISC */
/*
 * A message as a behaviour's callback sees it, and what reads its payload.
 * The struct is lent: it grows at the end in later versions and must not be
 * copied; struct stash_from may be. Payloads are aligned to 16 bytes and have
 * a NUL behind their last byte.
 */
#ifndef STASH_MESSAGE_H
#define STASH_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <stash/version.h>

/*
 * Where a message comes from. Since 0.1.0; those marked "later" don't come in
 * this version.
 */
enum stash_msg_kind {
	STASH_MSG_CALL = 1,  /* stash_call(), stash_call_start(): wants an answer */
	STASH_MSG_CAST = 2,  /* stash_cast() */
	STASH_MSG_SEND = 3,  /* stash_send() */
	STASH_MSG_TIMER = 4, /* stash_send_after(), stash_send_interval() */
	STASH_MSG_POST = 5,  /* stash_post() */
	STASH_MSG_REPLY = 6, /* the answer to a stash_request() */
	STASH_MSG_DOWN = 7,  /* the end of a monitored worker: stash_monitor() */
	STASH_MSG_TASK = 8   /* the end of a task: stash_task() */
};

/*
 * Whom to answer: plain data without a meaning of its own; may stay in the
 * state over restarts. Since 0.1.0.
 */
struct stash_from {
	uint64_t word[4];
};

/*
 * One message. Valid, with all that it points to, until the callback returns.
 * Since 0.1.0.
 */
struct stash_msg {
	const char *tag;	/* NUL-terminated, 1 to STASH_TAG_MAX bytes */
	const void *data;	/* the payload, never NULL; aligned to 16, a NUL past len */
	size_t len;		/* its length in bytes, at most STASH_DATA_MAX */
	struct stash_from from; /* of a call: for stash_reply_to() */
	uint32_t kind;		/* enum stash_msg_kind; tells a timer's "tick" from a stranger's */
	/* from 1; more: a predecessor was killed on this message, and effects outside the state may have happened */
	uint32_t attempt;
	int64_t ref;	  /* of the timer, request, task or monitor that it comes from; else 0 */
	int32_t code;	  /* REPLY, TASK, DOWN: what came of it; else 0 */
	int32_t app_code; /* REPLY with code STASH_E_APP: the worker's own; else 0 */
	uint32_t uid;	  /* the sender's, by the kernel, when its channel was opened */
	uint32_t pid;	  /* likewise */
};

/*
 * The payload of a message or a reply as a plain struct; NULL if its length is
 * another. m: pointer to struct stash_msg or struct stash_reply, evaluated more
 * than once. Since 0.1.0.
 */
#define STASH_AS(m, type) ((m)->len == sizeof(type) ? (const type *)(m)->data : (const type *)NULL)

#ifdef __cplusplus
extern "C" {
#endif

/* Whether the message has this tag. Never blocks, has no error. Since 0.1.0. */
STASH_API bool stash_msg_is(const struct stash_msg *msg, const char *tag);

/*
 * The payload as text: the message's own bytes, good as long as the message.
 * NULL if there is a NUL inside or if it isn't UTF-8; stash_errmsg() says
 * which. Never blocks. Since 0.1.0.
 */
STASH_API const char *stash_msg_text(const struct stash_msg *msg);

/*
 * The payload as a number: all of it one decimal number from min to max, a '-'
 * in front if need be and nothing else.
 * Returns 0 and stores it in *value (which may be NULL), or STASH_E_INVAL and
 * leaves *value alone. Never blocks. Since 0.1.0.
 */
STASH_API int stash_msg_int(const struct stash_msg *msg, int64_t min, int64_t max, int64_t *value);

/* The same for a NUL-terminated text. Since 0.1.0. */
STASH_API int stash_parse_int(const char *text, int64_t min, int64_t max, int64_t *value);

#ifdef __cplusplus
}
#endif

#endif
