/* SPDX-License-Identifier: ISC */
/*
 * One message, with descriptors, over a unix SOCK_SEQPACKET socket. Nothing in
 * here raises SIGPIPE, ends early for a signal, or loses a descriptor: what
 * isn't handed to the caller is closed.
 */
#ifndef BASE_SOCK_H
#define BASE_SOCK_H

#include <stddef.h>

/* Descriptors that one message may carry. */
#define STASH__SOCK_FDS 16

/*
 * Sends len > 0 bytes and nfds descriptors (fds may be NULL if that is 0), which
 * stay the caller's. Never waits. Returns 0; STASH_E_BUSY: it would have to
 * wait; _DOWN: the other side is gone; _TOOBIG: more than the socket takes as
 * one message; _INVAL, _NOMEM, _SYSTEM.
 */
int stash__sock_send(int fd, const void *data, size_t len, const int *fds, int nfds);

/*
 * Receives one message into data, of size bytes, and up to maxfds descriptors,
 * close-on-exec and the caller's. flags: 0, or MSG_DONTWAIT. fds and nfds may
 * be NULL if maxfds is 0; *len and *nfds are always set.
 * Returns 0; STASH_E_PENDING: nothing there; _DOWN: the other side is gone;
 * _PROTO: longer than size, or more descriptors than maxfds, and it is dropped;
 * _NOMEM, _SYSTEM.
 */
int stash__sock_recv(int fd, void *data, size_t size, size_t *len, int *fds, int maxfds, int *nfds, int flags);

#endif
