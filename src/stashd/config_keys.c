/* SPDX-License-Identifier: ISC */
/*
 * The one table of all keys of the config file. Parsing, messages and the table
 * in stashd.conf(5) follow it; a key's meaning is written nowhere else.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "stashd/config_parts.h"

static const struct conf_word strategies[] = { { "one_for_one", STASH_ONE_FOR_ONE, false },
	{ "one_for_all", STASH_ONE_FOR_ALL, false }, { "rest_for_one", STASH_REST_FOR_ONE, false },
	{ "simple_one_for_one", STASH_SIMPLE_ONE_FOR_ONE, false }, { NULL, 0, false } };
static const struct conf_word restarts[] = { { "permanent", STASH_PERMANENT, false },
	{ "transient", STASH_TRANSIENT, false }, { "temporary", STASH_TEMPORARY, false }, { NULL, 0, false } };
static const struct conf_word auto_shutdowns[] = { { "never", STASH_AUTO_NEVER, false },
	{ "any_significant", STASH_AUTO_ANY_SIGNIFICANT, false },
	{ "all_significant", STASH_AUTO_ALL_SIGNIFICANT, false }, { NULL, 0, false } };
static const struct conf_word acks[] = { { "crash", STASH_ACK_CRASH, false }, { "disk", STASH_ACK_DISK, false },
	{ NULL, 0, false } };
static const struct conf_word notifies[] = { { "stash", STASH_NOTIFY_STASH, false },
	{ "none", STASH_NOTIFY_NONE, false }, { "sd_notify", STASH_NOTIFY_SD, false }, { NULL, 0, false } };
static const struct conf_word types[] = { { "worker", 1, false }, { "supervisor", 2, false }, { NULL, 0, false } };
static const struct conf_word losses[] = { { "keep", STASH_LOSS_KEEP, false }, { "kill", STASH_LOSS_KILL, false },
	{ NULL, 0, false } };
static const struct conf_word poisons[] = { { "hold", STASH_POISON_HOLD, true },
	{ "rollback", STASH_POISON_ROLLBACK, true }, { "reset", STASH_POISON_RESET, true },
	{ "escalate", STASH_POISON_ESCALATE, true }, { NULL, 0, false } };
static const struct conf_word infinity[] = { { "infinity", STASH_INFINITY, false }, { NULL, 0, false } };
static const struct conf_word shutdowns[] = { { "brutal_kill", STASH_BRUTAL_KILL, false },
	{ "infinity", STASH_INFINITY, false }, { NULL, 0, false } };

#define FIELD(type, member) .offset = offsetof(struct type, member), .width = sizeof(((struct type *)0)->member)
#define STORE(member) .where = CONF_STORE, FIELD(stash__supervise_config, member)
#define SUPERVISOR(member) .where = CONF_SUPERVISOR, FIELD(stash_supervisor_spec, member)
#define CHILD(member) .where = CONF_CHILD, FIELD(stash_child_spec, member)
#define WORKER(member) .where = CONF_WORKER, FIELD(stash_child_spec, member)
#define WORDS(list) .type = CONF_WORD, .words = (list)
#define NUMBER(lowest, highest) .type = CONF_NUMBER, .min = (lowest), .max = (highest)
/* In milliseconds, or in nanoseconds and then never without a unit. */
#define MS(lowest) .type = CONF_DURATION, .unit_ns = STASH__NS_PER_MS, .bare = true, .min = (lowest), .max = INT32_MAX
#define NS(lowest, highest) .type = CONF_DURATION, .unit_ns = 1, .min = (lowest), .max = (highest)
#define LATER(value) .later = true, .same = (value)

const struct conf_key conf_keys[] = {
	{ .key = "store", .where = CONF_FILE, .type = CONF_GROUP, .dflt = "{ }" },
	{ .key = "tree", .where = CONF_FILE, .type = CONF_GROUP, .dflt = "must be there" },

	{ .key = "ack", STORE(ack), WORDS(acks), .dflt = "\"crash\"" },
	{ .key = "allow_groups", STORE(access.groups), .type = CONF_GROUPS, .dflt = "( )" },
	{ .key = "allow_users", STORE(access.users), .type = CONF_USERS, .dflt = "( )" },
	{ .key = "commit_interval", STORE(commit_interval_ns), NS(0, 10 * STASH__NS_PER_S), .dflt = "\"5ms\"" },
	{ .key = "fold_interval",
	    STORE(fold_interval_ns),
	    NS(100 * STASH__NS_PER_US, STASH__NS_PER_S),
	    .dflt = "\"2ms\"" },
	{ .key = "history", STORE(history), NUMBER(0, UINT16_MAX), .dflt = "16" },
	{ .key = "read_only_users", STORE(access.readers), .type = CONF_USERS, .dflt = "( )" },
	{ .key = "run_dir", STORE(run_dir), .type = CONF_DIR, .dflt = "see stashd(8)" },
	{ .key = "size",
	    STORE(store_bytes),
	    .type = CONF_SIZE,
	    .min = INT64_C(1) << 20,
	    .max = INT64_C(64) << 30,
	    .dflt = "\"1G\"" },
	{ .key = "spin", STORE(spin_ns), NS(0, STASH__NS_PER_S), .dflt = "\"50us\"" },

	{ .key = "strategy", SUPERVISOR(strategy), WORDS(strategies), .dflt = "\"one_for_one\"" },
	{ .key = "intensity", SUPERVISOR(intensity), NUMBER(0, INT32_MAX), .zero = STASH_NO_RESTARTS, .dflt = "1" },
	{ .key = "period",
	    SUPERVISOR(period_s),
	    .type = CONF_DURATION,
	    .unit_ns = STASH__NS_PER_S,
	    .bare = true,
	    .min = 1,
	    .max = INT32_MAX,
	    .dflt = "5" },
	{ .key = "auto_shutdown", SUPERVISOR(auto_shutdown), WORDS(auto_shutdowns), .dflt = "\"never\"" },
	{ .key = "children", .where = CONF_SUPERVISOR, .type = CONF_CHILDREN, .dflt = "must be there" },

	{ .key = "id", CHILD(id), .type = CONF_ID, .dflt = "must be there" },
	{ .key = "restart", CHILD(restart), WORDS(restarts), .dflt = "\"permanent\"" },
	{ .key = "shutdown", CHILD(shutdown_ms), MS(0), .words = shutdowns, .zero = 1, .dflt = "5000 or \"infinity\"" },
	{ .key = "significant", CHILD(significant), .type = CONF_BOOL, .dflt = "false" },
	{ .key = "type", CHILD(type), WORDS(types), .dflt = "what it is" },

	{ .key = "name", WORKER(name), .type = CONF_NAME, .dflt = "the id" },
	{ .key = "module", WORKER(module), .type = CONF_MODULE, .dflt = "none" },
	{ .key = "exec", WORKER(exec), .type = CONF_EXEC, .dflt = "none" },
	{ .key = "args", WORKER(args), .type = CONF_ARGS, .dflt = "none" },
	{ .key = "persist", WORKER(no_persist), .type = CONF_NOT, .dflt = "true" },
	{ .key = "ack", WORKER(ack), WORDS(acks), .dflt = "the store's" },
	{ .key = "start_timeout", WORKER(start_timeout_ms), MS(1), .words = infinity, .dflt = "60000" },
	{ .key = "max_attempts", WORKER(max_attempts), NUMBER(1, UINT16_MAX), .dflt = "3" },
	{ .key = "notify", WORKER(notify), WORDS(notifies), .dflt = "\"stash\"" },
	{ .key = "on_supervisor_loss", WORKER(on_supervisor_loss), WORDS(losses), .dflt = "\"keep\"" },
	{ .key = "handler_timeout", WORKER(handler_timeout_ms), MS(1), .words = infinity, .dflt = "\"infinity\"" },
	{ .key = "history", WORKER(history), NUMBER(0, UINT16_MAX), LATER(CONF_NO_VALUE), .dflt = "the store's" },
	{ .key = "poison_after", WORKER(poison_after), NUMBER(1, INT32_MAX), LATER(CONF_NO_VALUE), .dflt = "none" },
	{ .key = "on_poison", WORKER(on_poison), WORDS(poisons), LATER(CONF_NO_VALUE), .dflt = "none" },

	{ .key = NULL },
};

#define KEYS (sizeof(conf_keys) / sizeof(conf_keys[0]))

const struct conf_key *
conf_key_find(const char *name, unsigned where)
{
	const struct conf_key *key;

	for (key = conf_keys; key->key != NULL; key++)
		if ((key->where & where) != 0 && strcmp(key->key, name) == 0)
			return key;
	return NULL;
}

const char *
conf_where_text(unsigned where)
{
	switch (where) {
	case CONF_FILE:
		return "the file";
	case CONF_STORE:
		return "store";
	case CONF_SUPERVISOR:
		return "a supervisor";
	case CONF_TOP | CONF_SUPERVISOR:
		return "the top supervisor";
	case CONF_SUPERVISOR | CONF_CHILD:
		return "a nested supervisor";
	case CONF_CHILD:
		return "a child";
	default:
		return "a worker";
	}
}

void
conf_key_unknown(struct conf *conf, unsigned line, const char *name, unsigned where)
{
	const struct conf_key *key = conf_key_find(name, ~0u);
	const char *names[KEYS], *nearest;
	size_t n = 0;

	if (key != NULL) {
		conf_mistaken(conf, line, name, "is a key of %s, not of %s; take it out here",
		    conf_where_text(key->where), conf_where_text(where));
		return;
	}
	for (key = conf_keys; key->key != NULL; key++)
		if ((key->where & where) != 0)
			names[n++] = key->key;
	names[n] = NULL;
	nearest = stash__nearest(name, names);
	if (nearest != NULL)
		conf_mistaken(conf, line, name, "unknown key; did you mean \"%s\"?", nearest);
	else
		conf_mistaken(
		    conf, line, name, "unknown key; stashd.conf(5) lists those of %s", conf_where_text(where));
}

char *
conf_words_text(struct conf *conf, const struct conf_word *words)
{
	char *text = conf_copy(conf, "", 0);
	const struct conf_word *word;

	for (word = words; text != NULL && word != NULL && word->word != NULL; word++)
		if (!word->later)
			text = conf_printf(conf, "%s%s\"%s\"", text, *text == '\0' ? "" : ", ", word->word);
	return text;
}

char *
conf_type_text(struct conf *conf, const struct conf_key *key)
{
	static const char *const plain[] = { [CONF_GROUP] = "group",
		[CONF_CHILDREN] = "list of groups",
		[CONF_ID] = "name",
		[CONF_NAME] = "name or \"\"",
		[CONF_MODULE] = "file",
		[CONF_DIR] = "directory",
		[CONF_EXEC] = "list of text",
		[CONF_ARGS] = "list of text and numbers",
		[CONF_USERS] = "list of names and numbers",
		[CONF_GROUPS] = "list of names and numbers",
		[CONF_BOOL] = "true, false",
		[CONF_NOT] = "true, false",
		[CONF_WORD] = NULL,
		[CONF_NUMBER] = "number",
		[CONF_DURATION] = "duration",
		[CONF_SIZE] = "size" };
	const char *of = plain[key->type];

	if (key->later)
		return conf_copy(conf, "later", 5);
	if (key->type == CONF_WORD)
		return conf_words_text(conf, key->words);
	if (key->bare)
		of = key->unit_ns == STASH__NS_PER_S ? "s, duration" : "ms, duration";
	if (key->words != NULL)
		return conf_printf(conf, "%s, %s", of, conf_words_text(conf, key->words));
	return conf_copy(conf, of, strlen(of));
}
