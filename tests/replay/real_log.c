/* SPDX-License-Identifier: ISC */
/* The event log of the scenario's stashd, in the scenario's words; of a stashd that has ended as well. */
#include <stdio.h>
#include <string.h>

#include "replay/real.h"

static const char *
reason_word(uint32_t reason)
{
	static const char *const words[] = { [STASH_REASON_NORMAL] = "normal",
		[STASH_REASON_SHUTDOWN] = "shutdown",
		[STASH_REASON_KILLED] = "killed",
		[STASH_REASON_CRASH] = "crash" };

	return reason <= STASH_REASON_CRASH ? words[reason] : "unknown";
}

static void
on_root(struct real *r, const struct stash_event *e)
{
	if (r->starting == NULL)
		return;
	if (e->type == STASH_EV_STARTED) {
		real_answer(r, real_tag(r->starting), e->time_ns, "ok");
		r->starting = NULL;
	} else if (e->type == STASH_EV_IGNORED) {
		snprintf(r->failed, sizeof(r->failed), "ignore");
	}
}

static int
on_event(void *arg, const struct stash_event *e)
{
	struct real *r = arg;
	char label[STASH_PATH_MAX + 1];
	const char *path = real_label(e->child, label, sizeof(label));

	r->seq = e->seq;
	if (e->type >= STASH_EV_STARTED && e->type <= STASH_EV_EXITED)
		real_workers_effect(r, path, e->type != STASH_EV_EXITED);
	switch (e->type) {
	case STASH_EV_STARTED:
		real_event(r, e->time_ns, "started %s", path);
		break;
	case STASH_EV_START_FAILED:
		real_event(r, e->time_ns, "start_failed %s", path);
		break;
	case STASH_EV_IGNORED:
		real_event(r, e->time_ns, "start_ignored %s", path);
		break;
	case STASH_EV_EXITED:
		real_event(r, e->time_ns, "stopped %s %s", path, reason_word(e->reason));
		break;
	case STASH_EV_TAKEOVER:
		real_complain(r, "the supervisor has died: %s", e->text);
		break;
	default:
		break;
	}
	if (strcmp(e->child, "root") == 0)
		on_root(r, e);
	return 0;
}

void
real_log_read(struct real *r)
{
	struct stash_store *store;
	int result = stash_store_open(&store, r->store, NULL);

	if (result == 0) {
		result = stash_store_log(store, STASH_LOG_EVENTS, r->seq, on_event, r);
		stash_store_close(store);
	}
	/* Where nothing was ever stored there is nothing to read. */
	if (result < 0 && result != STASH_E_NOENT && result != STASH_E_DOWN && result != STASH_E_TIMEDOUT)
		real_complain(r, "the event log can't be read: %s", stash_errmsg());
}
