/* SPDX-License-Identifier: ISC */
/*
 * The payload of a message, or a state, from the command line or from standard input. It is
 * bytes: nothing is added, and only words are joined.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "stashctl/ctl.h"

static int
read_all(const struct tool *t, size_t max, struct ctl_data *data)
{
	/* One byte more than may be, to notice it. */
	size_t room = max + 1;

	data->bytes = tool_alloc(room);
	data->len = fread(data->bytes, 1, room, t->in);
	if (ferror(t->in))
		return tool_fail(t, tool_exit(STASH_E_SYSTEM), "%s: standard input can't be read: %s", t->command->name,
		    strerror(errno));
	if (data->len > max)
		return tool_fail(t, tool_exit(STASH_E_TOOBIG),
		    "%s: standard input has more than the %zu bytes that may be sent at once: send less at a time",
		    t->command->name, max);
	return 0;
}

int
ctl_data(const struct tool *t, int argc, char **argv, size_t max, struct ctl_data *data)
{
	size_t len = 0, n;

	*data = (struct ctl_data){ NULL, 0 };
	if (argc == 1 && strcmp(argv[0], "-") == 0)
		return read_all(t, max, data);
	for (int i = 0; i < argc; i++)
		len += strlen(argv[i]) + 1;
	data->bytes = tool_alloc(len);
	for (int i = 0; i < argc; i++) {
		if (i > 0)
			data->bytes[data->len++] = ' ';
		n = strlen(argv[i]);
		memcpy(data->bytes + data->len, argv[i], n);
		data->len += n;
	}
	return 0;
}
