/* SPDX-License-Identifier: ISC */
/*
 * What is checked outside the text: names that occur twice in the whole tree,
 * files that must be there, and modules, each of which is loaded in a process
 * that is thrown away: code from outside never runs in stashd itself.
 */
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <stash/behaviour.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/name.h"
#include "base/take.h"
#include "stashd/config_parts.h"

#ifndef MODULE_DIR
#define MODULE_DIR "/usr/local/lib/stash/modules"
#endif

#define LOAD_MS 5000 /* for a module's constructors */
#define PROGRAM_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* ---- names ---- */

/* A word that must be the only one of its kind. */
struct word {
	const void *among;
	const char *text;
	const struct conf_node *node;
	unsigned line;
};

static int
compare(const void *left, const void *right)
{
	const struct word *a = left, *b = right;
	int order = strcmp(a->text, b->text);

	if (a->among != b->among)
		return (uintptr_t)a->among < (uintptr_t)b->among ? -1 : 1;
	return order != 0 ? order : (a->line > b->line) - (a->line < b->line);
}

static void
twice(struct conf *conf, const struct word *first, const struct word *second)
{
	const struct conf_line *there = &conf->text.lines[first->line - 1];

	if (second->among != NULL)
		conf_mistaken(conf, second->line, "id", "\"%s\" is the id of a sibling already, at %s:%u; take another",
		    second->text, there->file, there->line);
	else if (first->node->siblings != second->node->siblings ||
	    first->node->name_line + second->node->name_line != 0)
		conf_mistaken(conf, second->line, second->node->name_line != 0 ? "name" : "id",
		    "\"%s\" is the name of %s already, at %s:%u; %s", second->text, first->node->path, there->file,
		    there->line, second->node->name_line != 0 ? "take another" : "write a name = \"...\" to it");
}

static void
find_doubles(struct conf *conf, struct word *words, size_t n)
{
	size_t i, first = 0;

	qsort(words, n, sizeof(*words), compare);
	for (i = 1; i < n; i++) {
		if (words[i].among != words[first].among || strcmp(words[i].text, words[first].text) != 0)
			first = i;
		else
			twice(conf, &words[first], &words[i]);
	}
}

/* The name of a worker, which is its id if it has none of its own; NULL: no worker, or none. */
static const char *
name_of(const struct conf_node *node)
{
	const char *name = node->spec->name != NULL ? node->spec->name : node->spec->id;

	/* One that was written and is wrong has been told. */
	if (node->template)
		return NULL;
	if (node->name_line != 0 && node->spec->name == NULL)
		return NULL;
	if (node->spec->supervisor != NULL || name == NULL || *name == '\0')
		return NULL;
	return name;
}

void
conf_check_names(struct conf *conf)
{
	size_t n = 0, ids = 0, names = 0;
	struct conf_node *node;
	struct word *words;
	const char *name;

	TAILQ_FOREACH(node, &conf->nodes, entry)
		n++;
	words = conf_alloc(conf, 2 * (n + 1) * sizeof(*words));
	if (words == NULL)
		return;
	TAILQ_FOREACH(node, &conf->nodes, entry) {
		if (node->spec->id != NULL)
			words[ids++] = (struct word){ node->siblings, node->spec->id, node, node->id_line };
		name = name_of(node);
		if (name != NULL)
			words[n + 1 + names++] = (struct word){ NULL, name, node,
				node->name_line != 0 ? node->name_line : node->id_line };
	}
	find_doubles(conf, words, ids);
	find_doubles(conf, words + n + 1, names);
}

/* ---- files ---- */

const char conf_module_dir[] = MODULE_DIR;

static bool
is_file(const char *path, int mode)
{
	struct stat st;

	return path != NULL && stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, mode) == 0;
}

const char *
conf_find_module(struct conf *conf, unsigned line, const char *module)
{
	char *beside = conf_join(conf, conf->absolute_dir, module), *installed;

	if (is_file(beside, R_OK))
		return beside;
	installed = conf_join(conf, conf_module_dir, module);
	if (is_file(installed, R_OK))
		return installed;
	if (module[0] == '/')
		conf_mistaken(conf, line, "module", "\"%s\" is no file that can be read", module);
	else
		conf_mistaken(conf, line, "module", "\"%s\" is neither in %s nor in %s; give its path", module,
		    conf->absolute_dir, conf_module_dir);
	return NULL;
}

/* As a shell finds it, but never in the current directory. */
static const char *
search(struct conf *conf, const char *program)
{
	const char *at = getenv("PATH"), *end;
	char *dir, *path;

	for (at = at == NULL ? PROGRAM_PATH : at;; at = end + 1) {
		end = strchrnul(at, ':');
		dir = conf_copy(conf, at, (size_t)(end - at));
		path = dir != NULL && dir[0] == '/' ? conf_join(conf, dir, program) : NULL;
		if (is_file(path, X_OK))
			return path;
		if (*end == '\0')
			return NULL;
	}
}

const char *
conf_find_program(struct conf *conf, unsigned line, const char *program)
{
	const char *path;

	if (strchr(program, '/') == NULL) {
		path = search(conf, program);
		if (path == NULL)
			conf_mistaken(
			    conf, line, "exec", "\"%s\" is nowhere in PATH as a program; give its path", program);
		return path;
	}
	path = conf_join(conf, conf->absolute_dir, program);
	if (is_file(path, X_OK))
		return path;
	conf_mistaken(conf, line, "exec", "\"%s\" is no program that can be run", path == NULL ? program : path);
	return NULL;
}

/* ---- users ---- */

bool
conf_find_user(const char *name, uint32_t *id)
{
	const struct passwd *user = getpwnam(name);

	if (user != NULL)
		*id = user->pw_uid;
	return user != NULL;
}

bool
conf_find_group(const char *name, uint32_t *id)
{
	const struct group *group = getgrnam(name);

	if (group != NULL)
		*id = group->gr_gid;
	return group != NULL;
}

/* ---- modules ---- */

/* Whether it has members set that <stash/behaviour.h> keeps for a later version; as stash__behaviour_take() sees it. */
static bool
uses_reserved(const struct stash_behaviour *behaviour)
{
	return behaviour->check_state != NULL || behaviour->apply != NULL || behaviour->snapshot_every != 0;
}

/* Why a module can't be run; NULL: it can. */
static const char *
why_not(const struct stash_module *module)
{
	struct stash_behaviour behaviour;

	if (module == NULL)
		return "isn't a module: it has no stash_module, which STASH_MODULE() makes";
	if (module->api_version != STASH_API_VERSION)
		return "was built for another version of stash; build it again";
	if (module->behaviour == NULL)
		return "its STASH_MODULE() has no behaviour";
	if (stash__take(&behaviour, sizeof(behaviour), module->behaviour, "its behaviour") != 0)
		return stash_errmsg();
	if (behaviour.name == NULL || stash__check_name(behaviour.name) != 0)
		return "its behaviour has no name, or one that isn't allowed";
	if (behaviour.state_size > STASH_STATE_MAX)
		return "its behaviour's state is larger than 16 MiB";
	if (behaviour.state_size > 0 && behaviour.layout_version == 0)
		return "its behaviour has no layout_version; they count from 1";
	if (uses_reserved(&behaviour))
		return "its behaviour has callbacks that are not in this version of stash; leave them out";
	return NULL;
}

/* In the throw-away process: what is wrong goes into the pipe. */
static _Noreturn void
load(const char *path, int out)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	const char *why;
	void *module;

	if (null >= 0) {
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
	}
	module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	why = module == NULL ? dlerror() : why_not(dlsym(module, "stash_module"));
	if (why != NULL && write(out, why, strlen(why)) < 0)
		_exit(1);
	_exit(0);
}

/* Reads until the other side is closed, at most LOAD_MS; whether it was closed. */
static bool
hear(int fd, char *text, size_t size)
{
	int64_t deadline = stash__deadline_ns(LOAD_MS);
	struct pollfd poller = { .fd = fd, .events = POLLIN };
	size_t len = 0;
	ssize_t got = 1;

	while (got > 0) {
		int ready = poll(&poller, 1, stash__left_ms(deadline));

		if (ready == 0)
			break;
		if (ready < 0)
			continue;
		got = read(fd, text + len, size - 1 - len);
		if (got > 0)
			len += (size_t)got;
		else if (got < 0 && errno == EINTR)
			got = 1;
	}
	text[len] = '\0';
	return got <= 0;
}

static void
tell(struct conf *conf, const struct conf_node *node, bool ended, const char *text, int status)
{
	const char *path = node->spec->module;

	if (!ended)
		conf_mistaken(
		    conf, node->module_line, "module", "%s: loading it takes longer than %d s", path, LOAD_MS / 1000);
	else if (WIFSIGNALED(status))
		conf_mistaken(conf, node->module_line, "module", "%s: loading it crashes (SIG%s)", path,
		    sigabbrev_np(WTERMSIG(status)));
	else if (WEXITSTATUS(status) != 0)
		conf_mistaken(conf, node->module_line, "module", "%s: loading it ends the process", path);
	else if (strncmp(text, path, strlen(path)) == 0)
		conf_mistaken(conf, node->module_line, "module", "%s", text);
	else if (*text != '\0')
		conf_mistaken(conf, node->module_line, "module", "%s: %s", path, text);
}

static int
check_module(struct conf *conf, const struct conf_node *node)
{
	char text[1024];
	int pipefd[2], status = 0;
	bool ended;
	pid_t pid;

	if (pipe2(pipefd, O_CLOEXEC) != 0)
		return stash__fail_errno("can't check modules: pipe");
	pid = fork();
	if (pid < 0) {
		close(pipefd[0]);
		close(pipefd[1]);
		return stash__fail_errno("can't check modules: fork");
	}
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		load(node->spec->module, pipefd[1]);
	}
	close(pipefd[1]);
	ended = hear(pipefd[0], text, sizeof(text));
	close(pipefd[0]);
	if (!ended)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	tell(conf, node, ended, text, status);
	return 0;
}

/* Whether an earlier child has the same module: once is enough. */
static bool
seen(struct conf_nodes *list, const struct conf_node *node)
{
	const struct conf_node *other;

	TAILQ_FOREACH(other, list, entry) {
		if (other == node)
			return false;
		if (other->spec->module != NULL && strcmp(other->spec->module, node->spec->module) == 0)
			return true;
	}
	return false;
}

int
conf_check_modules(struct conf *conf)
{
	const struct conf_node *node;
	int error;

	TAILQ_FOREACH(node, &conf->nodes, entry) {
		if (node->spec->module == NULL || seen(&conf->nodes, node))
			continue;
		error = check_module(conf, node);
		if (error != 0)
			return error;
	}
	if (conf->nomem)
		return stash__fail(STASH_E_NOMEM, "config: out of memory");
	return TAILQ_EMPTY(&conf->mistakes) ? 0 : stash__fail(STASH_E_SPEC, "config: there are mistakes in it");
}
