/* SPDX-License-Identifier: ISC */
/*
 * kv: keeps values under keys. Both may be anything, of any length, so the state
 * is a list with pointers: encode() writes what is stored of it, decode() makes
 * it again.
 *
 *	call set KEY VALUE	replies ok; the key is the first word, the value all behind it
 *	call get KEY		replies the value, or nil
 */
#include <stdlib.h>
#include <string.h>

#include <stash/stash.h>

struct pair {
	struct pair *next;
	size_t key_len, value_len;
	char bytes[]; /* the key, then the value */
};

struct kv {
	struct pair *first;
};

/* Where the pair with that key hangs, or a new one would. */
static struct pair **
find(struct kv *kv, const void *key, size_t len)
{
	struct pair **at = &kv->first;

	while (*at != NULL && ((*at)->key_len != len || memcmp((*at)->bytes, key, len) != 0))
		at = &(*at)->next;
	return at;
}

static int
set(struct kv *kv, const void *key, size_t key_len, const void *value, size_t value_len)
{
	struct pair **at = find(kv, key, key_len), *old = *at, *new = malloc(sizeof *new + key_len + value_len);

	if (new == NULL)
		return STASH_E_NOMEM;
	*new = (struct pair){ .next = old != NULL ? old->next : NULL, .key_len = key_len, .value_len = value_len };
	memcpy(new->bytes, key, key_len);
	memcpy(new->bytes + key_len, value, value_len);
	*at = new;
	free(old);
	return STASH_OK;
}

static int
handle_call(struct stash_worker *worker, void *state, const struct stash_msg *msg)
{
	const char *text = msg->data, *space = memchr(text, ' ', msg->len);
	const struct pair *pair;

	if (stash_msg_is(msg, "set") && space != NULL) {
		int result = set(state, text, (size_t)(space - text), space + 1, msg->len - (size_t)(space - text) - 1);
		return result < 0 ? result : stash_reply(worker, "ok", 2);
	}
	if (stash_msg_is(msg, "get")) {
		pair = *find(state, text, msg->len);
		return pair == NULL ? stash_reply(worker, "nil", 3) :
				      stash_reply(worker, pair->bytes + pair->key_len, pair->value_len);
	}
	return STASH_E_UNKNOWN;
}

static int
encode(const void *state, struct stash_buf *out)
{
	int result = STASH_OK;

	for (const struct pair *p = ((const struct kv *)state)->first; p != NULL; p = p->next) {
		(void)stash_buf_add_bytes(out, p->bytes, p->key_len);
		result = stash_buf_add_bytes(out, p->bytes + p->key_len, p->value_len);
	}
	return result;
}

static int
decode(const void *data, size_t len, uint32_t layout, void *state)
{
	struct stash_view view;

	(void)layout; /* there was never another one */
	stash_view_init(&view, data, len);
	while (view.left > 0) {
		size_t key_len, value_len;
		const void *key = stash_view_bytes(&view, &key_len), *value = stash_view_bytes(&view, &value_len);
		int result = view.error != 0 ? view.error : set(state, key, key_len, value, value_len);
		if (result < 0)
			return result;
	}
	return STASH_OK;
}

static int
format_status(const void *state, FILE *out)
{
	for (const struct pair *p = ((const struct kv *)state)->first; p != NULL; p = p->next)
		fprintf(out, "%.*s: %.*s\n", (int)p->key_len, p->bytes, (int)p->value_len, p->bytes + p->key_len);
	return STASH_OK;
}

static const struct stash_behaviour kv = STASH_BEHAVIOUR(.name = "kv", .state_size = sizeof(struct kv),
    .layout_version = 1, .handle_call = handle_call, .format_status = format_status, .encode = encode,
    .decode = decode);

STASH_MODULE(&kv);
