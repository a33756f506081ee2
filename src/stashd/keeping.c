/* SPDX-License-Identifier: ISC */
/*
 * keeping.c: what the keeper keeps for supervisors, and what it tells them of children that they did not fork.
 */
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "shm/wire.h"
#include "stashd/keeping.h"
#include "stashd/mail.h"
#include "stashd/proc.h"

#define KEPT_PIDFD 1 /* among the descriptors of a child */

void
keeping_store(struct keeper *k, struct mail *m)
{
	const char *key = stash_view_text(&m->view);
	pid_t pid = (pid_t)stash__view_range(&m->view, 0, INT32_MAX);
	int fds[STASH__SOCK_FDS];
	int nfds = m->nfds;

	if (stash_view_end(&m->view) < 0 || nfds > VAULT_FDS)
		return;
	for (int i = 0; i < nfds; i++)
		fds[i] = mail_take_fd(m, i);
	/* Workers come behind the rows of their tree. */
	k->begun = k->begun || strncmp(key, "w/", 2) == 0;
	if (vault_store(&k->vault, key, pid, fds, nfds) < 0)
		stash__log(LOG_ERR, "%s: %s", key, stash_errmsg());
}

void
keeping_drop(struct keeper *k, struct mail *m)
{
	const char *key = stash_view_text(&m->view);

	if (stash_view_end(&m->view) < 0)
		return;
	vault_drop(&k->vault, key);
	/* A dead worker may have left something behind. */
	if (k->next_scan > stash__now_ns() + SCAN_SOON_NS)
		k->next_scan = stash__now_ns() + SCAN_SOON_NS;
}

void
keeping_fetch(struct keeper *k)
{
	struct vault_item *item = NULL;
	struct stash_buf *buf;
	int result = 0;

	while (result == 0 && (item = vault_next(&k->vault, item)) != NULL) {
		buf = mail_begin(STASH__K_ITEM, 0);
		stash_buf_add_text(buf, item->key);
		stash_buf_add_int(buf, item->pid);
		result = mail_send_wait(k->socket, buf, item->fds, item->nfds, 5000);
	}
	buf = mail_begin(STASH__K_END, 0);
	stash_buf_add_int(buf, (int64_t)k->starts);
	stash_buf_add_int(buf, k->begun);
	if (result == 0)
		result = mail_send_wait(k->socket, buf, NULL, 0, 5000);
	if (result < 0)
		stash__log(LOG_ERR, "can't hand descriptors to the supervisor: %s", stash_errmsg());
}

/* Never by the number, which may be another child's by now: one may have died between reaping and saying so. */
static int
kept_pidfd(struct keeper *k, const char *key, pid_t pid)
{
	const struct vault_item *item = vault_find(&k->vault, key);

	return item != NULL && item->pid == pid && item->nfds > KEPT_PIDFD ? item->fds[KEPT_PIDFD] : -1;
}

void
keeping_status(struct keeper *k, struct mail *m)
{
	const char *key = stash_view_text(&m->view);
	pid_t pid = (pid_t)stash__view_range(&m->view, 1, INT32_MAX);
	siginfo_t info = { 0 };
	struct stash_buf *buf;
	int state, pidfd, result;

	if (stash_view_end(&m->view) < 0)
		return;
	pidfd = kept_pidfd(k, key, pid);
	if (pidfd < 0 || waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOWAIT | WNOHANG) < 0)
		state = 2;
	else
		state = info.si_pid == pid ? 1 : 0;
	buf = mail_begin(STASH__K_STATUSED, m->number);
	stash_buf_add_int(buf, pid);
	stash_buf_add_int(buf, state);
	stash_buf_add_int(buf, state == 1 ? proc_wait_status(&info) : -1);
	result = mail_send_wait(k->socket, buf, NULL, 0, 5000);
	if (result == STASH_E_TIMEDOUT && k->pid != 0) {
		/* Without this answer it would wait for ever; the next one asks again. */
		stash__log(LOG_ERR, "the supervisor doesn't read what it has asked for: killed");
		(void)pidfd_send_signal(k->pidfd, SIGKILL, NULL, 0);
	}
}

void
keeping_reap(struct keeper *k, struct mail *m)
{
	const char *key = stash_view_text(&m->view);
	pid_t pid = (pid_t)stash__view_range(&m->view, 1, INT32_MAX);
	siginfo_t info;
	int pidfd;

	if (stash_view_end(&m->view) < 0)
		return;
	pidfd = kept_pidfd(k, key, pid);
	if (pidfd >= 0)
		(void)waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG);
}
