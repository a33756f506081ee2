/* SPDX-License-Identifier: ISC */
/*
 * The payload of a message from the command line or from standard input. It is
 * bytes: nothing is added, and only words are joined.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "stashctl/ctl.h"

static int
read_all(const struct tool *t, struct ctl_data *data)
{
	/* One byte more than may be, to notice it. */
	size_t room = (size_t)STASH_DATA_MAX + 1;

	data->bytes = tool_alloc(room);
	data->len = fread(data->bytes, 1, room, t->in);
	if (ferror(t->in))
		return tool_fail(t, tool_exit(STASH_E_SYSTEM), "%s: standard input can't be read: %s", t->command->name,
		    strerror(errno));
	if (data->len > STASH_DATA_MAX)
		return tool_fail(t, tool_exit(STASH_E_TOOBIG),
		    "%s: standard input has more than the %d bytes that a message may have: send less at a time",
		    t->command->name, STASH_DATA_MAX);
	return 0;
}

int
ctl_data(const struct tool *t, int argc, char **argv, struct ctl_data *data)
{
	size_t len = 0, n;

	*data = (struct ctl_data){ NULL, 0 };
	if (argc == 1 && strcmp(argv[0], "-") == 0)
		return read_all(t, data);
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
