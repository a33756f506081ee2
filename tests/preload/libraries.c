/* SPDX-License-Identifier: ISC */
/*
 * libraries.c: the functions of LMDB and libevent.  A commit that fails ends its transaction all the same.
 */
#include <lmdb.h>

#include <event2/event.h>

#include "wrap.h"

WRAP_AS(event_base_new, struct event_base *, event_base_new, (void), (), ((void)failed, (struct event_base *)NULL))
WRAP_AS(event_new, struct event *, event_new,
    (struct event_base * base, evutil_socket_t fd, short what, event_callback_fn fn, void *arg),
    (base, fd, what, fn, arg), ((void)failed, (struct event *)NULL))
WRAP(event_add, int, -1, (struct event * event, const struct timeval *after), (event, after))

WRAP_CODE(mdb_env_create, (MDB_env * *env), (env))
WRAP_CODE(mdb_env_open, (MDB_env * env, const char *path, unsigned flags, mdb_mode_t mode), (env, path, flags, mode))
WRAP_CODE(mdb_env_set_mapsize, (MDB_env * env, size_t n), (env, n))
WRAP_CODE(mdb_env_info, (MDB_env * env, MDB_envinfo *to), (env, to))
WRAP_CODE(mdb_env_stat, (MDB_env * env, MDB_stat *to), (env, to))
WRAP_CODE(mdb_env_get_fd, (MDB_env * env, mdb_filehandle_t *to), (env, to))
WRAP_CODE(mdb_env_copyfd2, (MDB_env * env, mdb_filehandle_t fd, unsigned flags), (env, fd, flags))
WRAP_CODE(mdb_reader_list, (MDB_env * env, MDB_msg_func *fn, void *arg), (env, fn, arg))
WRAP_CODE(mdb_txn_begin, (MDB_env * env, MDB_txn *parent, unsigned flags, MDB_txn **to), (env, parent, flags, to))
WRAP_CODE(mdb_dbi_open, (MDB_txn * txn, const char *name, unsigned flags, MDB_dbi *to), (txn, name, flags, to))
WRAP_CODE(mdb_stat, (MDB_txn * txn, MDB_dbi dbi, MDB_stat *to), (txn, dbi, to))
WRAP_CODE(mdb_get, (MDB_txn * txn, MDB_dbi dbi, MDB_val *key, MDB_val *data), (txn, dbi, key, data))
WRAP_CODE(
    mdb_put, (MDB_txn * txn, MDB_dbi dbi, MDB_val *key, MDB_val *data, unsigned flags), (txn, dbi, key, data, flags))
WRAP_CODE(mdb_del, (MDB_txn * txn, MDB_dbi dbi, MDB_val *key, MDB_val *data), (txn, dbi, key, data))
WRAP_CODE(mdb_cursor_open, (MDB_txn * txn, MDB_dbi dbi, MDB_cursor **to), (txn, dbi, to))
WRAP_CODE(mdb_cursor_get, (MDB_cursor * cursor, MDB_val *key, MDB_val *data, MDB_cursor_op op), (cursor, key, data, op))
WRAP_CODE(mdb_cursor_del, (MDB_cursor * cursor, unsigned flags), (cursor, flags))

int
mdb_txn_commit(MDB_txn *txn)
{
	int failed = failing_call(FAILING_mdb_txn_commit, __builtin_return_address(0)), result;
	REAL(int, mdb_txn_commit, (MDB_txn *));

	if (failed == 0)
		return real(txn);
	if (failed != FAILING_DONE) {
		mdb_txn_abort(txn);
		return failed;
	}
	result = real(txn);
	return result != 0 ? result : EIO;
}
