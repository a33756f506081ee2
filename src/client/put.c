/* SPDX-License-Identifier: ISC */
/*
 * put.c: the state of a program that isn't linked with this library, handed to the supervisor, which writes it in the
 * program's place.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <stash/supervisor.h>

#include "base/error.h"
#include "base/name.h"
#include "client/client.h"
#include "shm/wire.h"

static int
write_all(int fd, const void *data, size_t len)
{
	const unsigned char *bytes = data;

	while (len > 0) {
		ssize_t n = write(fd, bytes, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return stash__fail_errno("no memory for a state of %zu bytes", len);
		bytes += n;
		len -= (size_t)n;
	}
	return STASH_OK;
}

/* Bytes that nobody can change any more, as a descriptor. */
static int
seal(const void *data, size_t len)
{
	int fd = memfd_create("stash put", MFD_CLOEXEC | MFD_ALLOW_SEALING), result;

	if (fd < 0)
		return stash__fail_errno("no memory for a state of %zu bytes", len);
	result = write_all(fd, data, len);
	if (result == STASH_OK && fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW) < 0)
		result = stash__fail_errno("a state of %zu bytes can't be sealed", len);
	if (result == STASH_OK)
		return fd;
	close(fd);
	return result;
}

/* Within the program itself, which incarnation it is: what it leaves behind when it dies can't put any more. */
static int64_t
own_incarnation(const char *name)
{
	const char *self = getenv("STASH_NAME"), *text = getenv("STASH_INCARNATION");
	int64_t number = 0;

	if (self == NULL || text == NULL || strcmp(self, name) != 0)
		return 0;
	return stash_parse_int(text, 1, INT64_MAX, &number) == STASH_OK ? number : 0;
}

static int
on_done(void *arg, int type, struct stash_view *v, int *fds, int nfds)
{
	int error = (int)stash_view_int(v);
	const char *text = stash_view_text(v);

	(void)arg;
	(void)fds;
	(void)nfds;
	if (type != STASH__B_DONE)
		return stash__fail(STASH_E_PROTO, "the supervisor's answer can't be understood");
	return error < 0 ? stash__fail(error, "%s", text) : STASH_OK;
}

static int
check(struct stash_client *c, const char *name, const void *data, size_t len)
{
	int result = stash__client_check(c, "stash_state_put");

	if (result == STASH_OK)
		result = name == NULL ? stash__fail(STASH_E_INVAL, "stash_state_put() without a name") :
					stash__check_name(name);
	if (result < 0)
		return result;
	if (data == NULL && len > 0)
		return stash__fail(STASH_E_INVAL, "stash_state_put(): a state of %zu bytes at NULL", len);
	if (len > STASH_STATE_MAX)
		return stash__fail(
		    STASH_E_TOOBIG, "a state of %zu bytes is over the limit of %d", len, STASH_STATE_MAX);
	return STASH_OK;
}

int
stash_state_put(struct stash_client *c, const char *name, const void *data, size_t len, int timeout_ms)
{
	struct stash_buf items;
	int result = check(c, name, data, len), fd;

	if (result < 0)
		return result;
	fd = seal(data, len);
	if (fd < 0)
		return fd;
	stash__buf_init(&items, STASH__WIRE_MAX);
	(void)stash_buf_add_text(&items, name);
	(void)stash_buf_add_int(&items, own_incarnation(name));
	result = stash__client_request_with(c, STASH__B_PUT, &items, fd, timeout_ms, on_done, NULL);
	stash__buf_fini(&items);
	close(fd);
	return result;
}
