/* SPDX-License-Identifier: ISC */
/*
 * stashd's command line: reads the config, tells every mistake in it, makes the
 * store's directory if it isn't there, and hands over to stash__supervise(). It
 * knows nothing of workers, stores or sockets.
 */
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <syslog.h>
#include <unistd.h>

#include <bsd/string.h>

#include <stash/client.h>
#include <stash/error.h>
#include <stash/supervisor.h>

#include "base/error.h"
#include "base/log.h"
#include "base/title.h"
#include "base/text.h"
#include "stashd/config.h"
#include "stashd/supervise.h"

#define DEFAULT_DIR "/var/lib/stash"
#define DEFAULT_FILE "/etc/stash/stashd.conf"

struct command {
	const char *dir, *file;
	char *cwd; /* from which file was named */
	int cwd_error;
	bool check, verbose, detach, syslog;
	const char *handover;	 /* in a supervisor that a keeper has made by exec; else NULL */
	char *binary, *absolute; /* what a keeper would exec, and with which file; NULL: it can't */
	const char *words[8];
};

enum { OPTION_DETACH = 256, OPTION_HANDOVER, OPTION_SYSLOG };

static const struct option options[] = { { "check", no_argument, NULL, 'n' },
	{ "detach", no_argument, NULL, OPTION_DETACH }, { "dir", required_argument, NULL, 'd' },
	{ "file", required_argument, NULL, 'f' }, { "help", no_argument, NULL, 'h' },
	{ "verbose", no_argument, NULL, 'v' }, { "version", no_argument, NULL, 'V' },
	/* said by a keeper to the next supervisor, and by nobody else */
	{ "handover", required_argument, NULL, OPTION_HANDOVER }, { "syslog", no_argument, NULL, OPTION_SYSLOG },
	{ NULL, 0, NULL, 0 } };

static const char usage[] = "usage: stashd [-nv] [-d DIR] [-f FILE] [--detach]\n"
			    "  -d, --dir DIR    the store's directory; else $STASH_DIR, else " DEFAULT_DIR "\n"
			    "  -f, --file FILE  the config file; else " DEFAULT_FILE "\n"
			    "  -n, --check      check the config, modules included, and start nothing\n"
			    "  -v, --verbose    log more; with -n: show the tree\n"
			    "      --detach     go into the background when the tree is up\n"
			    "  -h, --help       this\n"
			    "  -V, --version    the version\n"
			    "stashd(8) and stashd.conf(5) say more.\n";

/* "stashd: WHAT: WHY" on standard error, safe on a terminal. */
static void
complain(const char *what, const char *why)
{
	fputs("stashd: ", stderr);
	if (what != NULL) {
		stash__escape_to(stderr, what, strlen(what));
		fputs(": ", stderr);
	}
	stash__escape_to(stderr, why, strlen(why));
	fputc('\n', stderr);
}

/* The exit status for an error: the table is in stash(7). */
static int
status_of(int error)
{
	switch (error) {
	case STASH_OK:
		return EX_OK;
	case STASH_E_FORMAT:
	case STASH_E_CORRUPT:
	case STASH_E_LAYOUT:
		return EX_DATAERR;
	case STASH_E_START:
	case STASH_E_ESCALATED:
	case STASH_E_CRASHED:
		return EX_SOFTWARE;
	case STASH_E_BUSY:
	case STASH_E_FULL:
	case STASH_E_TIMEDOUT:
		return EX_TEMPFAIL;
	case STASH_E_ACCES:
		return EX_NOPERM;
	case STASH_E_SPEC:
	case STASH_E_NOENT:
		return EX_CONFIG;
	case STASH_E_DOWN:
		return EX_UNAVAILABLE;
	default:
		return EX_OSERR;
	}
}

/* ---- the command line ---- */

/* Whether getopt refused a long option, the word before optind; in a cluster of short ones that is an earlier word. */
static bool
refused_long(const char *word)
{
	const struct option *option;

	if (strncmp(word, "--", 2) != 0)
		return false;
	for (option = options; option->name != NULL; option++)
		if (option->val == optopt && strncmp(option->name, word + 2, strcspn(word + 2, "=")) == 0)
			return true;
	return optopt == 0;
}

static int
wrong_option(int result, char *const *argv)
{
	const char *names[sizeof(options) / sizeof(options[0])], *nearest = NULL, *word = argv[optind - 1];
	char shown[80], text[160] = "unknown option; see stashd -h";
	size_t i, n = 0;

	for (i = 0; options[i].name != NULL; i++) {
		if (options[i].val < OPTION_HANDOVER)
			names[n++] = options[i].name;
	}
	names[n] = NULL;
	if (!refused_long(word)) {
		snprintf(shown, sizeof(shown), "-%c", optopt);
	} else {
		snprintf(shown, sizeof(shown), "%.60s", word);
		nearest = optopt == 0 ? stash__nearest(word + 2, names) : NULL;
		if (optopt != 0)
			strlcpy(text, "takes no value; see stashd -h", sizeof(text));
	}
	if (result == ':')
		strlcpy(text, "a value must follow; see stashd -h", sizeof(text));
	else if (nearest != NULL)
		snprintf(text, sizeof(text), "unknown option; did you mean --%s?", nearest);
	complain(shown, text);
	return EX_USAGE;
}

/* Takes the options; -1: go on, else the exit status. */
static int
parse_options(struct command *command, int argc, char **argv)
{
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":d:f:hnvV", options, NULL)) != -1) {
		switch (c) {
		case 'd':
			command->dir = optarg;
			break;
		case 'f':
			command->file = optarg;
			break;
		case 'n':
			command->check = true;
			break;
		case 'v':
			command->verbose = true;
			break;
		case OPTION_DETACH:
			command->detach = true;
			break;
		case OPTION_HANDOVER:
			command->handover = optarg;
			break;
		case OPTION_SYSLOG:
			command->syslog = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return EX_OK;
		case 'V':
			printf("stashd %s\n", stash_version());
			return EX_OK;
		default:
			return wrong_option(c, argv);
		}
	}
	if (optind < argc) {
		complain(argv[optind], "stashd takes options only; see stashd -h");
		return EX_USAGE;
	}
	return -1;
}

/* ---- the config and the directory ---- */

/* Reads the config and, with -n, checks its modules; all mistakes are told. */
static int
read_config(const struct command *command, struct conf **conf)
{
	int error = conf_parse_file(conf, command->file);
	char text[64];
	size_t n;

	if (error == 0 || error == STASH_E_SPEC) {
		int checked = command->check ? conf_check_modules(*conf) : 0;

		error = checked != 0 ? checked : error;
	}
	if (error == STASH_E_SPEC) {
		n = conf_print_mistakes(*conf, stderr);
		snprintf(text, sizeof(text), "%zu mistake%s; nothing was started", n, n == 1 ? "" : "s");
		complain(command->file, text);
	} else if (error == STASH_E_NOENT) {
		complain(command->file, "no such file; write it as stashd.conf(5) says, or name another one with -f");
	} else if (error != 0) {
		complain(NULL, stash_errmsg());
	}
	return error;
}

/* The store's directory must be there and writable; its last component is made. */
static int
prepare_dir(const char *dir)
{
	char text[256];
	struct stat st;
	int error;

	if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
		error = errno;
		snprintf(text, sizeof(text), "the store's directory can't be made: %s%s", strerror(error),
		    error == ENOENT ? "; make the one above it first" :
				      "; make it yourself, or name another one with -d");
		complain(dir, text);
		return error == EACCES || error == EPERM ? EX_NOPERM : EX_CANTCREAT;
	}
	if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode)) {
		complain(dir, "isn't a directory; name another one with -d");
		return EX_CANTCREAT;
	}
	if (access(dir, R_OK | W_OK | X_OK) != 0) {
		error = errno;
		snprintf(text, sizeof(text),
		    "the store's directory isn't writable for user %ld: %s; run stashd as its owner", (long)geteuid(),
		    strerror(error));
		complain(dir, text);
		return error == EROFS ? EX_CANTCREAT : EX_NOPERM;
	}
	return EX_OK;
}

/* ---- running ---- */

/* Whether standard error goes to the journal, which says so by device and inode. */
static bool
is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return stream != NULL && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
	    st.st_dev == (dev_t)dev && st.st_ino == (ino_t)ino;
}

static void
to_syslog(void *arg, int priority, const char *line)
{
	(void)arg;
	syslog(LOG_DAEMON | priority, "%s", line);
}

/* SIGHUP and stashctl reload: in a process that ends after it, so nothing is freed. */
static int
reread(void *arg, struct stash__reread *result)
{
	const struct command *command = arg;
	struct conf *conf = NULL;
	int error, checked;
	size_t len;
	FILE *out;

	if (command->cwd == NULL)
		return stash__fail(STASH_E_SYSTEM,
		    "%s: the directory from which it was named couldn't be found out at the start", command->file);
	if (chdir(command->cwd) < 0)
		return stash__fail_errno("%s: the directory from which it was named, %s", command->file, command->cwd);
	error = conf_parse_file(&conf, command->file);
	if (error == 0 || error == STASH_E_SPEC) {
		checked = conf_check_modules(conf);
		error = checked != 0 ? checked : error;
	}
	if (error == STASH_E_SPEC && (out = open_memstream(&result->mistakes, &len)) != NULL) {
		(void)conf_print_mistakes(conf, out);
		(void)fclose(out);
	}
	if (error == 0) {
		result->tree = conf_tree(conf);
		result->config = conf_store(conf);
	}
	return error;
}

/* PATH as it is from any directory; to be freed.  NULL: it can't be told. */
static char *
make_absolute(const char *cwd, const char *path)
{
	char *absolute = NULL;

	if (path[0] == '/')
		return strdup(path);
	return cwd != NULL && asprintf(&absolute, "%s/%s", cwd, path) > 0 ? absolute : NULL;
}

/* By which path this program was started; a link that it was started by is followed anew when it is asked for. */
static char *
find_binary(const char *cwd, const char *name)
{
	static const char deleted[] = " (deleted)";
	char path[PATH_MAX + sizeof(deleted)];
	ssize_t n;

	if (strchr(name, '/') != NULL)
		return make_absolute(cwd, name);
	n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	if (n <= 0)
		return NULL;
	path[n] = '\0';
	/* It may have been replaced already since the exec. */
	if (access(path, F_OK) != 0 && (size_t)n > strlen(deleted) && strcmp(path + n - strlen(deleted), deleted) == 0)
		path[(size_t)n - strlen(deleted)] = '\0';
	return strdup(path);
}

/* With which words the next supervisor would be executed: those of this one. */
static void
make_words(struct command *command)
{
	int n = 0;

	command->words[n++] = "stashd";
	command->words[n++] = "-f";
	command->words[n++] = command->absolute;
	if (command->verbose)
		command->words[n++] = "-v";
	if (command->syslog)
		command->words[n++] = "--syslog";
	command->words[n] = NULL;
}

/* What of the settings no config file says. */
static void
add_settings(struct command *command, struct stash__supervise_config *config, struct stash__binary *binary)
{
	config->source = command->file;
	config->reread = reread;
	config->reread_arg = command;
	if (command->syslog)
		config->log = to_syslog;
	if (command->binary == NULL || command->absolute == NULL)
		return;
	make_words(command);
	*binary = (struct stash__binary){ command->binary, command->words };
	config->binary = binary;
}

static int
run(struct command *command, const struct conf *conf)
{
	struct stash__supervise_config config = *conf_store(conf);
	struct stash__binary binary;
	int error;

	add_settings(command, &config, &binary);
	config.last = true;
	error = stash__supervise(conf_tree(conf), command->dir, &config);
	/* The end of a tree that has begun to run is in the log. */
	if (error != 0 && error != STASH_E_START && error != STASH_E_ESCALATED)
		complain(NULL, stash_errmsg());
	return status_of(error);
}

static int
run_handed_over(struct command *command)
{
	struct stash__supervise_config config;
	struct stash__binary binary;

	stash__supervise_defaults(&config);
	add_settings(command, &config, &binary);
	return stash__supervise_handed_over(command->handover, &config);
}

/* What a background process has of its terminal: nothing. Its log goes on to a file or a pipe, else to syslog. */
static bool
leave_terminal(void)
{
	bool use_syslog = isatty(STDERR_FILENO) == 1;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (setsid() < 0 || null < 0)
		_exit(EX_OSERR);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	if (use_syslog)
		dup2(null, STDERR_FILENO);
	if (null > STDERR_FILENO)
		close(null);
	return use_syslog;
}

/* Whether the stashd that runs on the directory is that process. */
static bool
is_running(const char *dir, pid_t pid)
{
	char *path;
	FILE *file;
	long found = 0;

	if (asprintf(&path, "%s/stashd.pid", dir) < 0)
		return false;
	file = fopen(path, "re");
	free(path);
	if (file == NULL)
		return false;
	if (fscanf(file, "%ld", &found) != 1)
		found = 0;
	fclose(file);
	return found == (long)pid;
}

static int
any_child(void *arg, const struct stash_process *process)
{
	(void)arg;
	(void)process;
	return 1;
}

/* Whether its whole tree is up: a request is answered when the start is over. */
static bool
is_up(const char *dir, pid_t pid)
{
	struct stash_client *client;
	bool up;

	if (!is_running(dir, pid) || stash_client_open(&client, dir, NULL) != 0)
		return false;
	up = stash_which_children(client, "root", any_child, NULL, 1000) >= 0;
	stash_client_close(client);
	return up;
}

/* In the first process: waits until the other one's tree is up, or it has ended; the exit status. */
static int
see_it_start(const char *dir, pid_t pid)
{
	struct pollfd poller = { .fd = pidfd_open(pid, 0), .events = POLLIN };
	int status = 0;

	if (poller.fd < 0) {
		complain("--detach", "pidfd_open failed");
		return EX_OSERR;
	}
	while (poll(&poller, 1, 20) == 0)
		if (is_up(dir, pid))
			return EX_OK;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EX_SOFTWARE;
}

static int
run_detached(struct command *command, const struct conf *conf)
{
	char *dir = realpath(command->dir, NULL);
	int status;
	pid_t pid;

	if (dir == NULL) {
		complain(command->dir, strerror(errno));
		return EX_CANTCREAT;
	}
	command->dir = dir;
	pid = fork();
	if (pid < 0) {
		complain("--detach", strerror(errno));
		status = EX_OSERR;
	} else if (pid > 0) {
		status = see_it_start(dir, pid);
	} else {
		command->syslog = leave_terminal();
		status = chdir("/") == 0 ? run(command, conf) : EX_OSERR;
	}
	free(dir);
	return status;
}

/* From the config to the end of the tree, or of what -n wants to know. */
static int
begin(struct command *command)
{
	struct conf *conf = NULL;
	int error = read_config(command, &conf), status = status_of(error);

	if (error == 0 && command->check && command->verbose)
		conf_print(conf, stdout);
	if (error == 0 && !command->check)
		status = prepare_dir(command->dir);
	if (error == 0 && !command->check && status == EX_OK)
		status = command->detach ? run_detached(command, conf) : run(command, conf);
	conf_free(conf);
	return status;
}

int
main(int argc, char **argv)
{
	struct command command = { .dir = getenv("STASH_DIR"), .file = DEFAULT_FILE };
	int status;

	command.cwd = getcwd(NULL, 0); /* NULL: said when it is needed */
	command.cwd_error = command.cwd == NULL ? errno : 0;
	command.binary = find_binary(command.cwd, argc > 0 ? argv[0] : "");
	stash__title_init(argc, argv);
	if (command.dir == NULL || *command.dir == '\0')
		command.dir = DEFAULT_DIR;
	status = parse_options(&command, argc, argv);
	if (status >= 0) {
		free(command.binary);
		free(command.cwd);
		return fflush(stdout) == 0 ? status : EX_OSERR;
	}
	if (command.cwd == NULL && command.cwd_error == ENOMEM) {
		complain(NULL, strerror(ENOMEM));
		free(command.binary);
		return EX_OSERR;
	}
	command.absolute = make_absolute(command.cwd, command.file);
	stash__log_journald(is_journal());
	if (command.verbose)
		stash__log_level(LOG_DEBUG);
	status = command.handover != NULL ? run_handed_over(&command) : begin(&command);
	free(command.absolute);
	free(command.binary);
	free(command.cwd);
	return fflush(stdout) == 0 ? status : EX_OSERR;
}
