/* SPDX-License-Identifier: ISC */
/*
 * The groups of the config file: which keys stand where, children and their
 * kinds, what must be there and what can't go together. Values are read by
 * config_value.c, the whole tree is looked at by config_check.c. A mistake never
 * ends the reading, so that all are told at once.
 */
#include <unistd.h>

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "stashd/config_parts.h"

/* A group that is being read: what it is and what its keys go into. */
struct group {
	const config_setting_t *setting;
	unsigned where;
	struct stash_supervisor_spec *supervisor; /* of CONF_SUPERVISOR */
	struct stash_child_spec *child;		  /* of CONF_CHILD */
	const struct group *above;		  /* of CONF_CHILD */
	const char *path;
};

static void read_supervisor(struct conf *conf, const struct group *group);

static const config_setting_t *
member(const config_setting_t *group, const char *key)
{
	return config_setting_get_member(group, key);
}

/* The line of a key in its group; 0: not there. */
static unsigned
line_of(const config_setting_t *group, const char *key)
{
	const config_setting_t *setting = member(group, key);

	return setting == NULL ? 0 : config_setting_source_line(setting);
}

static void
missing(struct conf *conf, const config_setting_t *group, const char *key, const char *what)
{
	conf_mistaken(conf, config_setting_source_line(group), key, "missing; %s", what);
}

static void *
target_of(struct conf *conf, const struct group *group, const struct conf_key *key)
{
	switch (key->where) {
	case CONF_STORE:
		return &conf->store;
	case CONF_SUPERVISOR:
		return group->supervisor;
	default:
		return group->child;
	}
}

/* All keys of a group but those that hold further groups. */
static void
read_keys(struct conf *conf, const struct group *group)
{
	int n = config_setting_length(group->setting), i;
	const config_setting_t *setting;
	const struct conf_key *key;

	for (i = 0; i < n && !conf->nomem; i++) {
		setting = config_setting_get_elem(group->setting, (unsigned)i);
		key = conf_key_find(config_setting_name(setting), group->where);
		if (key == NULL)
			conf_key_unknown(
			    conf, config_setting_source_line(setting), config_setting_name(setting), group->where);
		else if ((key->type == CONF_GROUP && config_setting_is_group(setting)) ||
		    (key->type == CONF_CHILDREN && config_setting_is_list(setting)))
			continue;
		else
			conf_read_value(conf, key, setting, target_of(conf, group, key));
	}
}

/* What a child is, by the keys that it has. */
static unsigned
kind_of(const config_setting_t *setting)
{
	if (member(setting, "children") != NULL || member(setting, "strategy") != NULL)
		return CONF_CHILD | CONF_SUPERVISOR;
	if (member(setting, "module") != NULL || member(setting, "exec") != NULL)
		return CONF_CHILD | CONF_WORKER;
	if (member(setting, "intensity") != NULL || member(setting, "period") != NULL)
		return CONF_CHILD | CONF_SUPERVISOR;
	return CONF_CHILD | CONF_WORKER;
}

/* What can't be seen from one key alone. */
static void
check_worker(struct conf *conf, const struct group *group)
{
	unsigned module = line_of(group->setting, "module"), exec = line_of(group->setting, "exec");
	const config_setting_t *persist = member(group->setting, "persist");
	struct stash_child_spec *child = group->child;

	if (module == 0 && exec == 0)
		missing(conf, group->setting, "module", "a child has one of module, exec, children");
	if (module != 0 && exec != 0)
		conf_mistaken(conf, exec, "exec", "this child has a module too; take one of them out");
	if (exec == 0 && line_of(group->setting, "notify") != 0)
		conf_mistaken(conf, line_of(group->setting, "notify"), "notify", "is for exec only; take it out");
	if (exec != 0 && child->notify != STASH_NOTIFY_STASH && child->handler_timeout_ms > 0)
		conf_mistaken(conf, line_of(group->setting, "handler_timeout"), "handler_timeout",
		    "is for callbacks, and a program without libstash has none; take it out");
	if (child->name == NULL || *child->name != '\0')
		return;
	if (persist != NULL && child->no_persist == 0)
		conf_mistaken(conf, config_setting_source_line(persist), "persist",
		    "a child without a name can't keep a state; give it a name, or write persist = false");
	child->no_persist = 1;
}

static void
note(struct conf *conf, const struct group *group, const void *siblings)
{
	struct conf_node *node = conf_alloc(conf, sizeof(*node));

	if (node == NULL)
		return;
	node->spec = group->child;
	node->siblings = siblings;
	node->path = group->path;
	node->template = group->above->supervisor->strategy == STASH_SIMPLE_ONE_FOR_ONE;
	node->id_line = line_of(group->setting, "id");
	node->name_line = line_of(group->setting, "name");
	node->module_line = line_of(group->setting, "module");
	TAILQ_INSERT_TAIL(&conf->nodes, node, entry);
	conf->workers += group->child->supervisor == NULL && !node->template;
}

/* Its path, if its id is good; a path that is too long ends the way down. */
static bool
find_path(struct conf *conf, struct group *group, const char *above)
{
	const char *id = group->child->id;

	if (id == NULL)
		group->path = above;
	else
		group->path = conf_printf(conf, "%s/%s", above, id);
	if (group->path == NULL)
		return false;
	if (strlen(group->path) <= STASH_PATH_MAX)
		return true;
	conf_mistaken(conf, line_of(group->setting, "id"), "id",
	    "the path of this child, the ids from the root joined by '/', has %zu bytes; %d are allowed",
	    strlen(group->path), STASH_PATH_MAX);
	return false;
}

static void
check_significant(struct conf *conf, const struct group *group)
{
	unsigned line = line_of(group->setting, "significant");

	if (group->child->significant == 0)
		return;
	if (group->above->supervisor->auto_shutdown == STASH_AUTO_NEVER)
		conf_mistaken(conf, line, "significant",
		    "counts for auto_shutdown only, which %s doesn't have; "
		    "write auto_shutdown = \"any_significant\" there",
		    group->above->path);
	else if (group->child->restart == STASH_PERMANENT)
		conf_mistaken(conf, line, "significant",
		    "a permanent child never ends for good; write restart = \"transient\" or \"temporary\"");
}

static void
read_child(struct conf *conf, const config_setting_t *setting, struct stash_child_spec *child, const void *siblings,
    const struct group *above)
{
	struct group group = { .setting = setting, .where = kind_of(setting), .child = child, .above = above };
	bool good;

	child->size = sizeof(*child);
	if ((group.where & CONF_SUPERVISOR) != 0) {
		group.supervisor = conf_alloc(conf, sizeof(*group.supervisor));
		if (group.supervisor == NULL)
			return;
		child->supervisor = group.supervisor;
	}
	read_keys(conf, &group);
	if (member(setting, "id") == NULL)
		missing(conf, setting, "id", "each child has one, unlike those of its siblings");
	good = find_path(conf, &group, above->path);
	note(conf, &group, siblings);
	check_significant(conf, &group);
	if (group.supervisor == NULL)
		check_worker(conf, &group);
	else if (good)
		read_supervisor(conf, &group);
}

static void
read_children(struct conf *conf, const config_setting_t *list, const struct group *group)
{
	int n = config_setting_length(list), i;
	struct stash_child_spec *children = conf_alloc(conf, (size_t)n * sizeof(*children));
	const config_setting_t *setting;

	if (children == NULL)
		return;
	for (i = 0; i < n && !conf->nomem; i++) {
		setting = config_setting_get_elem(list, (unsigned)i);
		if (config_setting_is_group(setting))
			read_child(conf, setting, &children[i], children, group);
		else
			conf_mistaken(conf, config_setting_source_line(setting), "children",
			    "each child must be a group, { id = ... }; child %d is %s", i + 1, conf_kind_text(setting));
	}
	group->supervisor->children = n == 0 ? NULL : children;
	group->supervisor->nchildren = (size_t)n;
}

/* The rest of a supervisor whose keys have been read: its children. */
static void
read_supervisor(struct conf *conf, const struct group *group)
{
	const config_setting_t *children = member(group->setting, "children");

	group->supervisor->size = sizeof(*group->supervisor);
	if (children == NULL)
		missing(conf, group->setting, "children", "write children = ( ... ); ( ) is none");
	else if (config_setting_is_list(children))
		read_children(conf, children, group);
	if (children != NULL && group->supervisor->strategy == STASH_SIMPLE_ONE_FOR_ONE &&
	    group->supervisor->nchildren != 1)
		conf_mistaken(conf, config_setting_source_line(children), "children",
		    "with simple_one_for_one it must be one, the template for all; here are %zu",
		    group->supervisor->nchildren);
}

static void
read_root(struct conf *conf, const config_setting_t *root)
{
	struct group file = { .setting = root, .where = CONF_FILE };
	struct group store = { .setting = member(root, "store"), .where = CONF_STORE };
	struct group tree = { .setting = member(root, "tree"),
		.where = CONF_TOP | CONF_SUPERVISOR,
		.supervisor = &conf->tree,
		.path = "root" };

	read_keys(conf, &file);
	if (store.setting != NULL && config_setting_is_group(store.setting))
		read_keys(conf, &store);
	if (tree.setting == NULL)
		missing(conf, root, "tree", "write tree = { children = ( ... ); };");
	if (tree.setting == NULL || !config_setting_is_group(tree.setting))
		return;
	read_keys(conf, &tree);
	read_supervisor(conf, &tree);
}

/* Of a child below simple_one_for_one. */
static void
check_instance(struct conf *conf, const config_setting_t *setting)
{
	int n = config_setting_length(setting);

	for (int i = 0; i < n; i++) {
		const config_setting_t *key = config_setting_get_elem(setting, (unsigned)i);
		const char *name = config_setting_name(key);

		if (conf_key_find(name, CONF_SUPERVISOR | CONF_CHILD | CONF_WORKER) == NULL)
			conf_key_unknown(conf, config_setting_source_line(key), name, CONF_CHILD | CONF_WORKER);
		else if (strcmp(name, "name") != 0 && strcmp(name, "args") != 0)
			conf_mistaken(conf, config_setting_source_line(key), name,
			    "a child without an id is one of simple_one_for_one, which has name and args only; "
			    "for another write id = \"...\"");
	}
}

/* What is put before a text that is one child. */
static const char one_child[] = "child = ";

/* A text that is one child. Its supervisor runs elsewhere: what only that one knows is taken as right. */
static void
read_one(struct conf *conf, const config_setting_t *root)
{
	const config_setting_t *setting = member(root, "child");
	struct stash_supervisor_spec anyone = { .auto_shutdown = STASH_AUTO_ANY_SIGNIFICANT };
	struct group above = { .setting = root, .supervisor = &anyone, .path = conf->above };
	struct group instance = { .setting = setting, .where = CONF_CHILD | CONF_WORKER, .child = &conf->child };

	conf->child.size = sizeof(conf->child);
	if (config_setting_length(root) != 1 || setting == NULL || !config_setting_is_group(setting)) {
		conf_mistaken(conf, 1, "syntax error", "must be one child, { id = \"...\"; ... }");
	} else if (member(setting, "id") != NULL) {
		read_child(conf, setting, &conf->child, &conf->child, &above);
	} else {
		check_instance(conf, setting);
		read_keys(conf, &instance);
	}
}

/* libconfig's words for people who don't know them. */
static void
syntax_mistake(struct conf *conf, const config_t *config)
{
	unsigned line = (unsigned)config_error_line(config);
	const char *text = config_error_text(config), *excerpt;
	char shown[64];
	size_t len;

	excerpt = conf_line_text(conf, line, &len);
	if (conf->above != NULL && line == 1 && len >= sizeof(one_child) - 1) {
		excerpt += sizeof(one_child) - 1;
		len -= sizeof(one_child) - 1;
	}
	stash__escape(shown, sizeof(shown), excerpt, len);
	if (text != NULL && strcmp(text, "duplicate setting name") == 0)
		conf_mistaken(
		    conf, line, "syntax error", "a key is there twice in one group, at \"%s\"; take one out", shown);
	else if (text != NULL && strcmp(text, "mismatched element type in array") == 0)
		conf_mistaken(
		    conf, line, "syntax error", "text and numbers don't mix in [ ]; write ( ), at \"%s\"", shown);
	else if (len > 0)
		conf_mistaken(conf, line, "syntax error",
		    "can't be understood at \"%s\"; is a '=', ';', ',', quote or bracket missing there or before?",
		    shown);
	else
		conf_mistaken(conf, line, "syntax error", "ends too early; is a bracket not closed?");
}

static int
parse_text(struct conf *conf)
{
	config_t config;

	if (TAILQ_EMPTY(&conf->mistakes)) {
		config_init(&config);
		if (config_read_string(&config, conf->text.data == NULL ? "" : conf->text.data) == CONFIG_TRUE) {
			if (conf->above != NULL)
				read_one(conf, config_root_setting(&config));
			else
				read_root(conf, config_root_setting(&config));
			conf_check_names(conf);
		} else {
			syntax_mistake(conf, &config);
		}
		config_destroy(&config);
	}
	if (conf->nomem)
		return stash__fail(STASH_E_NOMEM, "config: out of memory");
	if (!TAILQ_EMPTY(&conf->mistakes))
		return stash__fail(STASH_E_SPEC, "config: there are mistakes in it");
	return 0;
}

/* A directory for modules, which are loaded by processes that may stand elsewhere. Links in it stay what they are. */
static const char *
absolute(struct conf *conf, const char *dir)
{
	char *cwd;

	if (dir[0] == '/')
		return dir;
	cwd = getcwd(NULL, 0);
	dir = cwd == NULL ? dir : strcmp(dir, ".") == 0 ? conf_copy(conf, cwd, strlen(cwd)) : conf_join(conf, cwd, dir);
	free(cwd);
	return dir;
}

/* With dir, or that of the file at path. */
static struct conf *
begin(const char *path, const char *dir)
{
	struct conf *conf = conf_create();

	if (conf == NULL)
		return NULL;
	stash__supervise_defaults(&conf->store);
	conf->tree.size = sizeof(conf->tree);
	conf->dir = dir == NULL ? conf_dirname(conf, path) : conf_copy(conf, dir, strlen(dir));
	conf->absolute_dir = conf->dir == NULL ? NULL : absolute(conf, conf->dir);
	if (conf->absolute_dir != NULL)
		return conf;
	conf_free(conf);
	return NULL;
}

/* Parses what was read, or not; hands the config over if it is good or has mistakes to tell. */
static int
finish(struct conf *conf, int error, struct conf **result)
{
	if (error == 0)
		error = parse_text(conf);
	if (error == 0 || error == STASH_E_SPEC) {
		*result = conf;
		return error;
	}
	conf_free(conf);
	return error;
}

int
conf_parse_file(struct conf **result, const char *path)
{
	struct conf *conf = begin(path, NULL);

	*result = NULL;
	if (conf == NULL)
		return stash__fail(STASH_E_NOMEM, "%s: out of memory", path);
	return finish(conf, conf_read_file(conf, path), result);
}

int
conf_parse_string(struct conf **result, const char *text, const char *file, const char *dir)
{
	struct conf *conf = begin(NULL, dir);

	*result = NULL;
	if (conf == NULL)
		return stash__fail(STASH_E_NOMEM, "%s: out of memory", file);
	return finish(conf, conf_read_string(conf, text, file), result);
}

int
conf_parse_child(struct conf **result, const char *text, const char *above, const char *file, const char *dir)
{
	struct conf *conf = begin(NULL, dir);
	char *whole;

	*result = NULL;
	if (conf == NULL)
		return stash__fail(STASH_E_NOMEM, "%s: out of memory", file);
	conf->above = conf_copy(conf, above, strlen(above));
	whole = conf_printf(conf, "%s%s", one_child, text);
	if (conf->nomem) {
		conf_free(conf);
		return stash__fail(STASH_E_NOMEM, "%s: out of memory", file);
	}
	return finish(conf, conf_read_string(conf, whole, file), result);
}

const struct stash_child_spec *
conf_child(const struct conf *conf)
{
	return &conf->child;
}

const struct stash__supervise_config *
conf_store(const struct conf *conf)
{
	return &conf->store;
}

const struct stash_supervisor_spec *
conf_tree(const struct conf *conf)
{
	return &conf->tree;
}

size_t
conf_workers(const struct conf *conf)
{
	return conf->workers;
}
