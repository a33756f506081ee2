/* SPDX-License-Identifier: ISC */
/*
 * The tree of a config for people, as stashd -nv shows it: each line a child
 * with what is not the default. Text from the file is escaped.
 */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "stashd/config_parts.h"

static void
print_text(FILE *out, const char *text)
{
	stash__escape_to(out, text, strlen(text));
}

/* The word for a field's value, by the table of keys. */
static const char *
word_of(const char *key, unsigned where, int64_t value)
{
	const struct conf_word *word = conf_key_find(key, where)->words;

	for (; word->word != NULL; word++)
		if (word->value == value)
			return word->word;
	return "?";
}

static void
print_ms(FILE *out, const char *key, int32_t ms)
{
	if (ms < 0)
		fprintf(out, ", %s %s", key, word_of(key, CONF_CHILD | CONF_WORKER, ms));
	else if (ms > 0)
		fprintf(out, ", %s %" PRId32 " ms", key, ms);
}

static void
print_list(FILE *out, const char *const *list)
{
	for (; list != NULL && *list != NULL; list++) {
		fputs(" \"", out);
		print_text(out, *list);
		fputc('"', out);
	}
}

/* What a child of either kind has. */
static void
print_common(FILE *out, const struct stash_child_spec *child)
{
	fprintf(out, ", %s", word_of("restart", CONF_CHILD, child->restart));
	if (child->significant != 0)
		fputs(", significant", out);
	if (child->type != 0)
		fprintf(out, ", type %s", word_of("type", CONF_CHILD, child->type));
	print_ms(out, "shutdown", child->shutdown_ms);
}

static void
print_worker(FILE *out, const struct stash_child_spec *child)
{
	if (child->module != NULL) {
		fputs(": ", out);
		print_text(out, child->module);
	} else {
		fputs(":", out);
		print_list(out, child->exec);
	}
	print_list(out, child->args);
	if (child->name != NULL) {
		fputs(*child->name != '\0' ? ", name " : ", no name", out);
		print_text(out, child->name);
	}
	print_common(out, child);
	print_ms(out, "start_timeout", child->start_timeout_ms);
	print_ms(out, "handler_timeout", child->handler_timeout_ms);
	if (child->ack != STASH_ACK_DEFAULT)
		fprintf(out, ", ack %s", word_of("ack", CONF_WORKER, child->ack));
	if (child->notify != STASH_NOTIFY_STASH)
		fprintf(out, ", notify %s", word_of("notify", CONF_WORKER, child->notify));
	if (child->on_supervisor_loss != STASH_LOSS_KEEP)
		fprintf(out, ", on_supervisor_loss %s",
		    word_of("on_supervisor_loss", CONF_WORKER, child->on_supervisor_loss));
	if (child->max_attempts != 0)
		fprintf(out, ", max_attempts %" PRIu32, child->max_attempts);
	if (child->no_persist != 0)
		fputs(", not persistent", out);
	fputc('\n', out);
}

static void
print_supervisor(FILE *out, const struct stash_supervisor_spec *spec)
{
	int32_t intensity = spec->intensity == 0 ? 1 : spec->intensity == STASH_NO_RESTARTS ? 0 : spec->intensity;

	fprintf(out, ": %s, %" PRId32 " restart%s in %" PRIu32 " s",
	    word_of("strategy", CONF_SUPERVISOR, spec->strategy), intensity, intensity == 1 ? "" : "s",
	    spec->period_s == 0 ? 5 : spec->period_s);
	if (spec->auto_shutdown != STASH_AUTO_NEVER)
		fprintf(out, ", auto_shutdown %s", word_of("auto_shutdown", CONF_SUPERVISOR, spec->auto_shutdown));
}

static void
print_children(FILE *out, const struct stash_supervisor_spec *spec, int depth)
{
	const struct stash_child_spec *child;
	size_t i;

	for (i = 0; i < spec->nchildren; i++) {
		child = &spec->children[i];
		fprintf(out, "%*s", 2 * depth, "");
		print_text(out, child->id);
		if (child->supervisor == NULL) {
			print_worker(out, child);
			continue;
		}
		print_supervisor(out, child->supervisor);
		print_common(out, child);
		fputc('\n', out);
		print_children(out, child->supervisor, depth + 1);
	}
}

void
conf_print(const struct conf *conf, FILE *out)
{
	fputs("root", out);
	print_supervisor(out, &conf->tree);
	fputc('\n', out);
	print_children(out, &conf->tree, 1);
}
