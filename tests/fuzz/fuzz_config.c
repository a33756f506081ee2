/* SPDX-License-Identifier: ISC */
/*
 * Any text as a config file: it is taken or has mistakes that are told, each on a
 * line that begins with the file's name; what is taken can be printed and has
 * ids that are allowed. Only an include by an absolute path finds a file.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/name.h"
#include "stashd/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void); /* NOLINT(bugprone-reserved-identifier): LeakSanitizer calls it */
const char *__lsan_default_options(void);      /* NOLINT(bugprone-reserved-identifier) */

/* libconfig 1.5 forgets a text that it has read just before a syntax error. */
const char *
__lsan_default_suppressions(void) /* NOLINT(bugprone-reserved-identifier) */
{
	return "leak:libconfig.so\n";
}

const char *
__lsan_default_options(void) /* NOLINT(bugprone-reserved-identifier) */
{
	return "print_suppressions=0";
}

static void
check_tree(const struct stash_supervisor_spec *tree)
{
	const struct stash_child_spec *child;
	size_t i;

	STASH_ASSERT(tree->size == sizeof(*tree));
	for (i = 0; i < tree->nchildren; i++) {
		child = &tree->children[i];
		STASH_ASSERT(child->size == sizeof(*child) && stash__check_name(child->id) == 0);
		STASH_ASSERT((child->module != NULL) + (child->exec != NULL) + (child->supervisor != NULL) == 1);
		if (child->supervisor != NULL)
			check_tree(child->supervisor);
	}
}

/* The lines of a text, each of which must be a mistake in the file, or in one that was included. */
static size_t
count_mistakes(const char *text)
{
	size_t n = 0;

	for (; *text != '\0'; text = strchr(text, '\n') + 1, n++)
		STASH_ASSERT(strncmp(text, "fuzz:", 5) == 0 || *text == '/');
	return n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf *conf;
	size_t len, mistakes;
	char *text = malloc(size + 1), *out = NULL;
	FILE *stream = open_memstream(&out, &len);
	int error;

	STASH_ASSERT(text != NULL && stream != NULL);
	memcpy(text, data, size);
	text[size] = '\0';
	error = conf_parse_string(&conf, text, "fuzz", "/nonexistent");
	STASH_ASSERT(error == 0 || error == STASH_E_SPEC);
	mistakes = conf_print_mistakes(conf, stream);
	fflush(stream);
	STASH_ASSERT(count_mistakes(out) == mistakes && (mistakes > 0) == (error != 0));
	if (error == 0) {
		check_tree(conf_tree(conf));
		conf_print(conf, stream);
	}
	conf_free(conf);
	fclose(stream);
	free(out);
	free(text);
	return 0;
}
