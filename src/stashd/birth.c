/* SPDX-License-Identifier: ISC */
/*
 * birth.c: from the fork to the worker's own code: signals, group, title, output, module or program.  Nothing of the
 * supervisor's may be reached from here on; its descriptors are closed already.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/title.h"
#include "shm/wire.h"
#include "stashd/birth.h"
#include "stashd/mail.h"
#include "stashd/proc.h"
#include "worker/worker.h"

static _Noreturn void
fail(int control)
{
	struct stash_buf *buf = mail_begin(STASH__W_READY, 0);

	mail_add_result(buf, STASH_E_START);
	(void)mail_send_wait(control, buf, NULL, 0, 1000);
	_exit(EX_UNAVAILABLE);
}

const struct stash_behaviour *
birth_load(const char *path)
{
	void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	const struct stash_module *module;

	if (handle == NULL) {
		(void)stash__fail(STASH_E_START, "can't load the module: %s", dlerror());
		return NULL;
	}
	module = dlsym(handle, "stash_module");
	if (module == NULL) {
		(void)stash__fail(STASH_E_START, "%s: has no stash_module: use STASH_MODULE() in it", path);
		return NULL;
	}
	if (module->api_version != STASH_API_VERSION || module->reserved != 0 || module->behaviour == NULL) {
		(void)stash__fail(STASH_E_START,
		    "%s: was built for version %u of the API, this stashd has version %u: build it anew", path,
		    module->api_version, STASH_API_VERSION);
		return NULL;
	}
	return module->behaviour;
}

static _Noreturn void
run_behaviour(const struct stash_behaviour *behaviour, int control)
{
	static struct stash_behaviour taken;
	int status;

	if (behaviour == NULL || stash__behaviour_take(&taken, behaviour) < 0)
		fail(control);
	status = stash__worker_run(&taken, control);
	fflush(NULL);
	_exit(status);
}

/* What a service manager has told stashd is not for its workers. */
static void
forget_manager(void)
{
	static const char *const names[] = { "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS",
		"LISTEN_PID", "LISTEN_FDNAMES", STASH__WORKER_ENV, "STASH_NAME", "STASH_INCARNATION" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		(void)unsetenv(names[i]);
}

static int
set_number(const char *name, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	return setenv(name, text, 1);
}

/* What a program finds out from its environment; stashctl(1) in a script does so too. */
static int
set_environment(const struct birth *b, int control)
{
	int result = setenv("STASH_DIR", b->dir, 1);

	if (result == 0 && plan_linked(b->plan))
		return set_number(STASH__WORKER_ENV, (uint64_t)control);
	if (result == 0 && b->named)
		result = setenv("STASH_NAME", b->name, 1);
	if (result == 0 && b->named)
		result = set_number("STASH_INCARNATION", b->incarnation);
	if (result == 0 && b->notify[0] != '\0')
		result = setenv("NOTIFY_SOCKET", b->notify, 1);
	return result;
}

/* A program without libstash can't do it itself. */
static void
await_go(const struct birth *b, int control)
{
	struct mail m;
	bool go = false;
	int result;

	while (!go) {
		(void)mail_wait(control, INT64_MAX);
		result = mail_recv(control, &m);
		if (result == STASH_E_PENDING)
			continue;
		if (result < 0 || m.type == STASH__W_STOP)
			_exit(EXIT_SUCCESS);
		go = m.type == STASH__W_GO;
		mail_done(&m);
	}
	if (!b->plan->dies_with_supervisor)
		(void)prctl(PR_SET_PDEATHSIG, 0);
}

/* The words of exec, then those of args, which one that is linked is told otherwise. */
static char **
make_words(const struct plan *plan)
{
	size_t n = 0, nargs = plan_linked(plan) ? 0 : (size_t)plan->nargs;
	char **words;

	while (plan->exec[n] != NULL)
		n++;
	words = calloc(n + nargs + 1, sizeof(*words));
	if (words == NULL)
		return plan->exec;
	memcpy(words, plan->exec, n * sizeof(*words));
	memcpy(words + n, plan->args, nargs * sizeof(*words));
	return words;
}

static _Noreturn void
run_program(const struct birth *b, int control)
{
	const struct plan *plan = b->plan;

	/* Without libstash it is ready when its exec closes the socket, or later. */
	if (fcntl(control, F_SETFD, plan_linked(plan) ? 0 : FD_CLOEXEC) == 0 && set_environment(b, control) == 0) {
		if (!plan_linked(plan))
			await_go(b, control);
		execvp(plan->exec[0], make_words(plan));
	}
	(void)stash__fail_errno("can't run %s", plan->exec[0]);
	(void)fcntl(control, F_SETFD, FD_CLOEXEC);
	fail(control);
}

/* Standard output and error become the pipe. */
static void
take_output(int log)
{
	if (dup2(log, STDOUT_FILENO) < 0 || dup2(log, STDERR_FILENO) < 0)
		_exit(EX_OSERR);
	close(log);
	setvbuf(stdout, NULL, _IOLBF, 0);
	stash__log_sink(NULL, NULL);
	stash__log_hasty(false);
	stash__log_journald(false);
	stash__log_prefix("");
}

void
birth_run(void *arg, int control, int log)
{
	const struct birth *b = arg;
	struct sigaction dflt = { .sa_handler = SIG_DFL };
	char title[STASH_NAME_MAX + 16];

	/* Until the supervisor lets it go it dies with it; stash__worker_run() says so again, as a program has to. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != b->parent)
		_exit(EX_OSERR);
	(void)sigaction(SIGPIPE, &dflt, NULL);
	(void)sigprocmask(SIG_SETMASK, b->mask, NULL);
	(void)setpgid(0, 0);
	snprintf(title, sizeof(title), "stash: %s", b->name);
	stash__title(title);
	take_output(log);
	forget_manager();
	switch (b->plan->kind) {
	case PLAN_MODULE:
		run_behaviour(birth_load(b->plan->module), control);
	case PLAN_BEHAVIOUR:
		run_behaviour(b->plan->behaviour, control);
	case PLAN_EXEC:
		run_program(b, control);
	}
	_exit(EX_SOFTWARE);
}
