/* SPDX-License-Identifier: ISC */
/*
 * The boot's id and a process's start time, out of /proc. A program's name in
 * /proc/PID/stat is its own choice: whatever it holds, it must not be taken for
 * a field.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/boot.h"
#include "base/error.h"

/* Bytes of /proc/PID/stat at most: 52 numbers and a name. */
#define STAT_MAX 2048

/* Reads a whole small file as text into text, of size bytes. -1: errno tells why. */
static int
read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), saved;
	size_t len = 0;
	ssize_t n = 0;

	if (fd == -1)
		return -1;
	while (len < size - 1) {
		n = read(fd, text + len, size - 1 - len);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	saved = errno;
	close(fd);
	errno = saved;
	text[len] = '\0';
	return n < 0 ? -1 : 0;
}

static int
hex_digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c == '\0' ? NULL : strchr(digits, c);

	return at == NULL ? -1 : (int)(at - digits);
}

int
stash__boot_id(unsigned char id[STASH__BOOT_ID_LEN])
{
	static const char path[] = "/proc/sys/kernel/random/boot_id";
	char text[64];
	const char *p;
	int digit, n = 0;

	if (read_text(path, text, sizeof(text)) == -1)
		return stash__fail_errno("%s", path);
	memset(id, 0, STASH__BOOT_ID_LEN);
	for (p = text; *p != '\0' && *p != '\n'; p++) {
		if (*p == '-')
			continue;
		digit = hex_digit(*p);
		if (digit == -1 || n == 2 * STASH__BOOT_ID_LEN)
			break;
		id[n / 2] = (unsigned char)(id[n / 2] << 4 | digit);
		n++;
	}
	if (n != 2 * STASH__BOOT_ID_LEN || (*p != '\0' && *p != '\n'))
		return stash__fail(STASH_E_SYSTEM, "%s: is no boot id", path);
	return 0;
}

/* Field 22 of a line of /proc/PID/stat. -1: there is none. */
static int
parse_start_time(const char *line, uint64_t *ticks)
{
	/* The name, field 2, may hold anything; behind its last ')' there are only numbers and one letter. */
	const char *p = strrchr(line, ')');
	char *end;
	int field;

	for (field = 2; p != NULL && field < 22; field++) {
		p = strchr(p, ' ');
		if (p != NULL)
			p++;
	}
	if (p == NULL)
		return -1;
	errno = 0;
	*ticks = strtoull(p, &end, 10);
	return errno != 0 || end == p || *end != ' ' ? -1 : 0;
}

int
stash__start_time(pid_t pid, uint64_t *ticks)
{
	char path[64], line[STAT_MAX];

	if (pid <= 0)
		return stash__fail(STASH_E_INVAL, "process %ld: is no process number", (long)pid);
	snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	if (read_text(path, line, sizeof(line)) == -1) {
		if (errno == ENOENT || errno == ESRCH)
			return stash__fail(STASH_E_NOENT, "process %ld: there is none", (long)pid);
		return stash__fail_errno("%s", path);
	}
	if (parse_start_time(line, ticks) == -1)
		return stash__fail(STASH_E_SYSTEM, "%s: can't find the start time in it", path);
	return 0;
}
