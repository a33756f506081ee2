/* SPDX-License-Identifier: ISC */
/*
 * The config file's text: what each key becomes, and what is said, word for
 * word, about each kind of mistake. Files, modules and the command line are in
 * test_config_files.c.
 */
#include <stdlib.h>
#include <string.h>

#include <stash/supervisor.h>

#include "stashd/config.h"
#include "stashd/config_parts.h"
#include "testlib.h"

Suite *config_suite(void);

static struct conf *parsed;
static char *told;

/* Each test begins with a directory that holds a module to be found. */
static void
begin(void)
{
	t_write_file(t_path("m.so"), "");
	parsed = NULL;
	told = NULL;
}

static void
end(void)
{
	conf_free(parsed);
	free(told);
}

/* The mistakes in a text, told before the next one is parsed. */
static const char *
mistakes(const char *text)
{
	size_t len;
	FILE *out;
	int error;

	conf_free(parsed);
	free(told);
	error = conf_parse_string(&parsed, text, "x", t_dir());
	ck_assert_ptr_nonnull(parsed);
	out = open_memstream(&told, &len);
	ck_assert_ptr_nonnull(out);
	ck_assert_int_eq(error, conf_print_mistakes(parsed, out) == 0 ? 0 : STASH_E_SPEC);
	fclose(out);
	return told;
}

/* The tree of a text without mistakes. */
static const struct stash_supervisor_spec *
good(const char *text)
{
	ck_assert_str_eq(mistakes(text), "");
	return conf_tree(parsed);
}

/* The one child of a tree, with these keys on line 2. */
static const char *
worker(const char *keys)
{
	static char text[8192];

	ck_assert_int_lt(
	    snprintf(text, sizeof(text), "tree = { children = (\n{ id = \"a\"; module = \"m.so\"; %s }\n); };", keys),
	    (int)sizeof(text));
	return text;
}

static const struct stash_child_spec *
good_worker(const char *keys)
{
	return &good(worker(keys))->children[0];
}

static const char *
store(const char *keys)
{
	static char text[1024];

	snprintf(text, sizeof(text), "store = {\n%s };\ntree = { children = ( ); };", keys);
	return text;
}

/* ---- what is right ---- */

START_TEST(what_is_left_out_is_default)
{
	const struct stash_supervisor_spec *tree = good(worker("")), empty = { .size = sizeof(empty) };
	struct stash_child_spec child = { .size = sizeof(child) };
	struct stash__supervise_config store_default;
	struct stash_supervisor_spec top = *tree;

	top.children = NULL;
	top.nchildren = 0;
	ck_assert_mem_eq(&top, &empty, sizeof(top));
	ck_assert_uint_eq(tree->nchildren, 1);
	child.id = tree->children[0].id;
	child.module = tree->children[0].module;
	ck_assert_str_eq(child.id, "a");
	ck_assert_str_eq(child.module, t_path("m.so"));
	ck_assert_mem_eq(&tree->children[0], &child, sizeof(child));
	stash__supervise_defaults(&store_default);
	ck_assert_mem_eq(conf_store(parsed), &store_default, sizeof(store_default));
	ck_assert_uint_eq(conf_workers(parsed), 1);
}
END_TEST

START_TEST(every_key_of_a_worker_reaches_its_field)
{
	const struct stash_child_spec *c = good_worker(
	    "name = \"n\"; args = (\"x\", 1); restart = \"transient\"; "
	    "shutdown = 7; persist = false; ack = \"disk\"; start_timeout = \"2s\"; "
	    "max_attempts = 9; on_supervisor_loss = \"kill\"; significant = false; "
	    "handler_timeout = \"1500ms\";");

	ck_assert_str_eq(c->name, "n");
	ck_assert_str_eq(c->args[0], "x");
	ck_assert_str_eq(c->args[1], "1");
	ck_assert_ptr_null(c->args[2]);
	ck_assert_uint_eq(c->restart, STASH_TRANSIENT);
	ck_assert_int_eq(c->shutdown_ms, 7);
	ck_assert_uint_eq(c->no_persist, 1);
	ck_assert_uint_eq(c->ack, STASH_ACK_DISK);
	ck_assert_int_eq(c->start_timeout_ms, 2000);
	ck_assert_uint_eq(c->max_attempts, 9);
	ck_assert_int_eq(c->handler_timeout_ms, 1500);
	ck_assert_uint_eq(c->on_supervisor_loss, STASH_LOSS_KILL);
	ck_assert_uint_eq(c->significant, 0);
}
END_TEST

START_TEST(every_key_of_the_store_reaches_its_field)
{
	const struct stash__supervise_config *s;

	good(store(
	    "ack = \"disk\"; commit_interval = \"5ms\"; fold_interval = \"1ms\"; history = 3; run_dir = \"/x/y\"; "
	    "size = \"64M\"; spin = \"20us\";"));
	s = conf_store(parsed);
	ck_assert_uint_eq(s->ack, STASH_ACK_DISK);
	ck_assert_int_eq(s->commit_interval_ns, 5000000);
	ck_assert_int_eq(s->fold_interval_ns, 1000000);
	ck_assert_uint_eq(s->history, 3);
	ck_assert_str_eq(s->run_dir, "/x/y");
	ck_assert_uint_eq(s->store_bytes, 64u << 20);
	ck_assert_int_eq(s->spin_ns, 20000);
}
END_TEST

START_TEST(users_are_names_or_numbers)
{
	const struct stash__supervise_config *s;

	good(store("allow_users = (\"root\", 1000, 4294967294); allow_groups = [\"root\"]; read_only_users = ( );"));
	s = conf_store(parsed);
	ck_assert_uint_eq(s->access.users.n, 3);
	ck_assert_uint_eq(s->access.users.ids[0], 0);
	ck_assert_uint_eq(s->access.users.ids[1], 1000);
	ck_assert_uint_eq(s->access.users.ids[2], UINT32_MAX - 1);
	ck_assert_uint_eq(s->access.groups.n, 1);
	ck_assert_uint_eq(s->access.groups.ids[0], 0);
	ck_assert_uint_eq(s->access.readers.n, 0);
	ck_assert(access_any(&s->access));
	good(store(""));
	ck_assert(!access_any(&conf_store(parsed)->access));
}
END_TEST

START_TEST(a_tree_is_nested_and_keeps_its_order)
{
	const struct stash_supervisor_spec *tree = good(
	    "tree = { strategy = \"rest_for_one\"; intensity = 3; period = \"2m\"; auto_shutdown = \"never\"; "
	    "children = (\n"
	    "{ id = \"db\"; strategy = \"one_for_all\"; shutdown = \"brutal_kill\"; restart = \"temporary\"; "
	    "children = (\n"
	    "  { id = \"pool\"; module = \"m.so\"; },\n"
	    "  { id = \"cache\"; exec = [\"/bin/sh\", \"-c\"]; notify = \"none\"; } ); },\n"
	    "{ id = \"web\"; children = ( { id = \"in\"; children = ( ); } ); } ); };");
	const struct stash_supervisor_spec *db = tree->children[0].supervisor, *web = tree->children[1].supervisor;

	ck_assert_uint_eq(tree->strategy, STASH_REST_FOR_ONE);
	ck_assert_int_eq(tree->intensity, 3);
	ck_assert_uint_eq(tree->period_s, 120);
	ck_assert_uint_eq(tree->nchildren, 2);
	ck_assert_uint_eq(db->size, sizeof(*db));
	ck_assert_uint_eq(db->strategy, STASH_ONE_FOR_ALL);
	ck_assert_int_eq(tree->children[0].shutdown_ms, STASH_BRUTAL_KILL);
	ck_assert_uint_eq(tree->children[0].restart, STASH_TEMPORARY);
	ck_assert_uint_eq(db->nchildren, 2);
	ck_assert_str_eq(db->children[0].id, "pool");
	ck_assert_str_eq(db->children[1].exec[0], "/bin/sh");
	ck_assert_str_eq(db->children[1].exec[1], "-c");
	ck_assert_ptr_null(db->children[1].exec[2]);
	ck_assert_uint_eq(db->children[1].notify, STASH_NOTIFY_NONE);
	ck_assert_uint_eq(web->nchildren, 1);
	ck_assert_ptr_nonnull(web->children[0].supervisor);
	ck_assert_uint_eq(web->children[0].supervisor->nchildren, 0);
	ck_assert_ptr_null(web->children[0].supervisor->children);
	ck_assert_uint_eq(conf_workers(parsed), 2);
}
END_TEST

START_TEST(what_is_written_counts_as_written)
{
	ck_assert_int_eq(good("tree = { intensity = 0; children = ( ); };")->intensity, STASH_NO_RESTARTS);
	ck_assert_int_eq(good_worker("shutdown = 0;")->shutdown_ms, 1);
	ck_assert_int_eq(good_worker("shutdown = \"0s\";")->shutdown_ms, 1);
	good(store("spin = 0; commit_interval = 0; history = 0;"));
	ck_assert_int_eq(conf_store(parsed)->spin_ns, 0);
	ck_assert_int_eq(conf_store(parsed)->commit_interval_ns, 0);
	ck_assert_uint_eq(conf_store(parsed)->history, 0);
	ck_assert_uint_eq(good_worker("persist = true;")->no_persist, 0);
	ck_assert_uint_eq(good_worker("name = \"\";")->no_persist, 1);
	ck_assert_uint_eq(good_worker("ack = \"crash\";")->ack, STASH_ACK_CRASH);
}
END_TEST

START_TEST(durations_have_units)
{
	static const struct {
		const char *text;
		int32_t ms;
	} table[] = { { "5000", 5000 }, { "\"500ms\"", 500 }, { "\"5s\"", 5000 }, { "\"2m\"", 120000 },
		{ "\"1h\"", 3600000 }, { "\"1d\"", 86400000 }, { "\"3000us\"", 3 }, { "\"infinity\"", STASH_INFINITY },
		{ "\"brutal_kill\"", STASH_BRUTAL_KILL }, { "2147483647", INT32_MAX }, { "0x10", 16 },
		{ "5000L", 5000 } };
	char keys[64];
	size_t i;

	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		snprintf(keys, sizeof(keys), "shutdown = %s;", table[i].text);
		ck_assert_msg(good_worker(keys)->shutdown_ms == table[i].ms, "%s", keys);
	}
	ck_assert_uint_eq(good("tree = { period = \"1m\"; children = ( ); };")->period_s, 60);
	ck_assert_uint_eq(good("tree = { period = \"2000ms\"; children = ( ); };")->period_s, 2);
}
END_TEST

START_TEST(args_are_text_and_numbers)
{
	const char *const *args = good_worker("args = (\"\", \"a b\", -5, 5000000000, 0x10, 2.5, 1e300, 0.1, \"\\n\");")
				      ->args;
	static const char *const want[] = { "", "a b", "-5", "5000000000", "16", "2.5", "1e+300", "0.1", "\n", NULL };
	size_t i;

	for (i = 0; want[i] != NULL; i++)
		ck_assert_str_eq(args[i], want[i]);
	ck_assert_ptr_null(args[i]);
	ck_assert_str_eq(good_worker("args = [1, 2];")->args[1], "2");
	ck_assert_ptr_null(good_worker("args = [];")->args[0]);
}
END_TEST

START_TEST(names_have_a_largest_size)
{
	char name[STASH_NAME_MAX + 2], keys[STASH_NAME_MAX + 32], want[STASH_NAME_MAX + 128];

	memset(name, 'n', sizeof(name));
	name[STASH_NAME_MAX] = '\0';
	snprintf(keys, sizeof(keys), "name = \"%s\";", name);
	ck_assert_str_eq(good_worker(keys)->name, name);
	name[STASH_NAME_MAX] = 'n';
	name[STASH_NAME_MAX + 1] = '\0';
	snprintf(keys, sizeof(keys), "name = \"%s\";", name);
	snprintf(want, sizeof(want),
	    "x:2: name: name \"%.95s...\" is too long: 201 bytes, 200 are allowed; take another\n", name);
	ck_assert_str_eq(mistakes(worker(keys)), want);
}
END_TEST

START_TEST(paths_have_a_largest_size)
{
	char id[STASH_NAME_MAX + 1], text[2048];
	int room;

	memset(id, 'i', sizeof(id));
	id[STASH_NAME_MAX] = '\0';
	/* "root/" and twice 200 with their slashes are 407 bytes: 93 are left. */
	for (room = 93; room <= 94; room++) {
		snprintf(text, sizeof(text),
		    "tree = { children = ( { id = \"%s\"; children = ( { id = \"%s\"; children = (\n"
		    "{ id = \"%.*s\"; module = \"m.so\"; } ); } ); } ); };",
		    id, id, room, id);
		if (room == 93)
			good(text);
	}
	ck_assert_str_eq(mistakes(text),
	    "x:2: id: the path of this child, the ids from the root joined by '/', has 501 bytes; 500 are allowed\n");
}
END_TEST

/* ---- what is wrong ---- */

struct mistake {
	const char *text, *want;
};

/* Keys of a worker, on line 2. */
static const struct mistake in_worker[] = {
	{ "restart = \"permanant\";",
	    "restart: \"permanant\" is unknown; it must be one of \"permanent\", \"transient\", \"temporary\"; "
	    "did you mean \"permanent\"?" },
	{ "restart = \"x\";",
	    "restart: \"x\" is unknown; it must be one of \"permanent\", \"transient\", \"temporary\"" },
	{ "restart = 1;", "restart: must be one of \"permanent\", \"transient\", \"temporary\"; this is a number" },
	{ "shutdown = \"5 parsecs\";",
	    "shutdown: \"5 parsecs\" is no duration; write a number of milliseconds, or text with a unit like "
	    "\"500ms\", \"5s\", or \"brutal_kill\", \"infinity\"" },
	{ "shutdown = \"brutalkill\";",
	    "shutdown: \"brutalkill\" is no duration; write a number of milliseconds, or text with a unit like "
	    "\"500ms\", \"5s\", or \"brutal_kill\", \"infinity\"; did you mean \"brutal_kill\"?" },
	{ "shutdown = 2.5;",
	    "shutdown: must be a number of milliseconds, or text with a unit like \"500ms\", \"5s\", or "
	    "\"brutal_kill\", \"infinity\"; this is a number with a fraction" },
	{ "shutdown = -1;", "shutdown: -1ms is out of range; 0 to 2147483647ms is allowed" },
	{ "shutdown = 2147483648;", "shutdown: 2147483648ms is out of range; 0 to 2147483647ms is allowed" },
	{ "shutdown = \"30d\";", "shutdown: 2592000s is out of range; 0 to 2147483647ms is allowed" },
	{ "shutdown = \"99999999999999999999s\";",
	    "shutdown: \"99999999999999999999s\" is no duration; write a number of milliseconds, or text with a unit "
	    "like \"500ms\", \"5s\", or \"brutal_kill\", \"infinity\"" },
	{ "start_timeout = 0;", "start_timeout: 0 is out of range; 1ms to 2147483647ms is allowed" },
	{ "start_timeout = \"1500us\";", "start_timeout: \"1500us\" is too fine; whole milliseconds are counted" },
	{ "max_attempts = 0;", "max_attempts: 0 is out of range; 1 to 65535 is allowed" },
	{ "max_attempts = 4294967299;", "max_attempts: 4294967299 is out of range; 1 to 65535 is allowed" },
	{ "max_attempts = \"3\";", "max_attempts: must be a whole number; this is text" },
	{ "persist = 1;", "persist: must be true or false; this is a number" },
	{ "name = \"x/y\";", "name: name \"x/y\" has a '/'; take another" },
	{ "name = \"\\x1b\";", "name: name \"\\x1b\" has a control character; take another" },
	{ "name = \"\xff\";", "name: name \"\\xff\" isn't UTF-8; take another" },
	{ "name = 5;", "name: must be a name, in quotes; this is a number" },
	{ "args = \"x\";", "args: must be a list of texts and numbers, (\"a\", 1); this is text" },
	{ "args = (1, true);", "args: must be a list of texts and numbers, (\"a\", 1); element 2 is a boolean" },
	{ "args = ({ a = 1; });", "args: must be a list of texts and numbers, (\"a\", 1); element 1 is a group" },
	{ "exec = [\"/bin/sh\"];", "exec: this child has a module too; take one of them out" },
	{ "exec = [];",
	    "exec: must be a list of texts, [\"PROGRAM\", \"ARGUMENT\"]; there is no program in it\n"
	    "x:2: exec: this child has a module too; take one of them out" },
	{ "notify = \"none\";", "notify: is for exec only; take it out" },
	{ "name = \"\"; persist = true;",
	    "persist: a child without a name can't keep a state; give it a name, or write persist = false" },
	{ "restrat = \"permanent\";", "restrat: unknown key; did you mean \"restart\"?" },
	{ "colour = 1;", "colour: unknown key; stashd.conf(5) lists those of a worker" },
	{ "intensity = 1;", "intensity: is a key of a supervisor, not of a worker; take it out here" },
	{ "spin = 1;", "spin: is a key of store, not of a worker; take it out here" },
	{ "children = ( );", "module: is a key of a worker, not of a nested supervisor; take it out here" },
	{ "handler_timeout = 0;", "handler_timeout: 0 is out of range; 1ms to 2147483647ms is allowed" },
	{ "handler_timeout = \"5x\";",
	    "handler_timeout: \"5x\" is no duration; write a number of milliseconds, or text with a unit like "
	    "\"500ms\", \"5s\", or \"infinity\"" },
	{ "history = 16;", "history: not in this version of stashd; leave it out" },
	{ "poison_after = 3;", "poison_after: not in this version of stashd; leave it out" },
	{ "on_poison = \"hold\";", "on_poison: \"hold\" is not in this version of stashd; leave it out" },
	{ "significant = true;",
	    "significant: counts for auto_shutdown only, which root doesn't have; write auto_shutdown = "
	    "\"any_significant\" there" },
	{ "type = \"wrker\";",
	    "type: \"wrker\" is unknown; it must be one of \"worker\", \"supervisor\"; did you mean \"worker\"?" },
	{ "on_supervisor_loss = \"keep_running\";",
	    "on_supervisor_loss: \"keep_running\" is unknown; it must be one of \"keep\", \"kill\"" },
};

START_TEST(mistakes_in_a_worker)
{
	const struct mistake *m = &in_worker[_i];
	char want[512];

	snprintf(want, sizeof(want), "x:2: %s\n", m->want);
	ck_assert_str_eq(mistakes(worker(m->text)), want);
}
END_TEST

static const struct mistake in_store[] = {
	{ "ack = \"dsk\";", "ack: \"dsk\" is unknown; it must be one of \"crash\", \"disk\"; did you mean \"disk\"?" },
	{ "spin = 50;", "spin: a number needs a unit here; write text with a unit like \"50us\", \"2ms\", or 0" },
	{ "spin = \"2s\";", "spin: 2s is out of range; 0 to 1s is allowed" },
	{ "fold_interval = 0;", "fold_interval: 0 is out of range; 100us to 1s is allowed" },
	{ "size = \"1K\";", "size: 1024 is out of range; 1M to 64G is allowed" },
	{ "size = \"65G\";", "size: 65G is out of range; 1M to 64G is allowed" },
	{ "size = \"1X\";", "size: \"1X\" is no size; write a number of bytes, or text with a unit like \"64M\"" },
	{ "size = true;", "size: must be a number of bytes, or text with a unit like \"64M\"; this is a boolean" },
	{ "run_dir = \"tmp\";", "run_dir: \"tmp\" must be an absolute path, in quotes" },
	{ "run_dir = \"\";", "run_dir: is empty; it must be an absolute path, in quotes" },
	{ "history = 65536;", "history: 65536 is out of range; 0 to 65535 is allowed" },
	{ "allow_users = \"root\";",
	    "allow_users: must be a list of users, names or numbers, (\"web\", 1000); this is text" },
	{ "allow_users = (\"no such one\");",
	    "allow_users: there is no user \"no such one\" on this system; add it, or take it out" },
	{ "allow_groups = (\"no such one\");",
	    "allow_groups: there is no group \"no such one\" on this system; add it, or take it out" },
	{ "read_only_users = (1, 4294967295L);",
	    "read_only_users: 4294967295 is out of range; 0 to 4294967294 is allowed" },
	{ "allow_groups = (-1);", "allow_groups: -1 is out of range; 0 to 4294967294 is allowed" },
	{ "allow_users = (true);",
	    "allow_users: must be a list of users, names or numbers, (\"web\", 1000); there is a boolean in it" },
	{ "siz = 1;", "siz: unknown key; did you mean \"size\"?" },
	{ "id = \"x\";", "id: is a key of a child, not of store; take it out here" },
};

START_TEST(mistakes_in_the_store)
{
	const struct mistake *m = &in_store[_i];
	char want[512];

	snprintf(want, sizeof(want), "x:2: %s\n", m->want);
	ck_assert_str_eq(mistakes(store(m->text)), want);
}
END_TEST

/* Whole texts. */
static const struct mistake whole[] = {
	{ "", "x:1: tree: missing; write tree = { children = ( ... ); };\n" },
	{ "\n\nfoo = 1;",
	    "x:1: tree: missing; write tree = { children = ( ... ); };\n"
	    "x:3: foo: unknown key; stashd.conf(5) lists those of the file\n" },
	{ "tree = 5; store = \"x\";",
	    "x:1: tree: must be a group, { ... }; this is a number\n"
	    "x:1: store: must be a group, { ... }; this is text\n" },
	{ "\ntree = { };", "x:2: children: missing; write children = ( ... ); ( ) is none\n" },
	{ "tree = { children = 5; };",
	    "x:1: children: must be a list of groups, ( { ... }, { ... } ); this is a number\n" },
	{ "tree = { children = ( 5,\n[1] ); };",
	    "x:1: children: each child must be a group, { id = ... }; child 1 is a number\n"
	    "x:2: children: each child must be a group, { id = ... }; child 2 is a list\n" },
	{ "tree = { restart = \"permanent\"; children = ( ); };",
	    "x:1: restart: is a key of a child, not of the top supervisor; take it out here\n" },
	{ "tree = { strategy = \"simple_one_for_one\"; auto_shutdown = \"all_significant\"; children = ( ); };",
	    "x:1: children: with simple_one_for_one it must be one, the template for all; here are 0\n" },
	{ "tree = { auto_shutdown = \"all_significant\"; children = (\n"
	  "{ id = \"a\"; strategy = \"one_for_one\"; significant = true; children = ( ); } ); };",
	    "x:2: significant: a permanent child never ends for good; "
	    "write restart = \"transient\" or \"temporary\"\n" },
	{ "tree = { intensity = -1; period = 0; children = ( ); };",
	    "x:1: intensity: -1 is out of range; 0 to 2147483647 is allowed\n"
	    "x:1: period: 0 is out of range; 1s to 2147483647s is allowed\n" },
	{ "tree = { period = \"1500ms\"; children = ( ); };",
	    "x:1: period: \"1500ms\" is too fine; whole seconds are counted\n" },
	{ "tree = { children = (\n{ module = \"m.so\"; },\n{ id = \"a\"; } ); };",
	    "x:2: id: missing; each child has one, unlike those of its siblings\n"
	    "x:3: module: missing; a child has one of module, exec, children\n" },
	{ "tree = { children = (\n{ id = \"\"; module = \"m.so\"; } ); };", "x:2: id: name is empty; take another\n" },
	{ "tree = { children = (\n{ id = \"s\"; strategy = \"one_for_one\"; } ); };",
	    "x:2: children: missing; write children = ( ... ); ( ) is none\n" },
	{ "tree = { children = (\n{ id = \"s\"; children = ( ); name = \"x\"; } ); };",
	    "x:2: name: is a key of a worker, not of a nested supervisor; take it out here\n" },
	/* ids and names that are there twice */
	{ "tree = { children = (\n{ id = \"a\"; module = \"m.so\"; },\n{ module = \"m.so\";\n  id = \"a\"; } ); };",
	    "x:4: id: \"a\" is the id of a sibling already, at x:2; take another\n" },
	{ "tree = { children = (\n{ id = \"a\"; children = ( ); },\n{ id = \"a\"; children = ( ); } ); };",
	    "x:3: id: \"a\" is the id of a sibling already, at x:2; take another\n" },
	{ "tree = { children = (\n{ id = \"a\"; module = \"m.so\"; },\n"
	  "{ id = \"b\"; module = \"m.so\"; name = \"a\"; } ); };",
	    "x:3: name: \"a\" is the name of root/a already, at x:2; take another\n" },
	{ "tree = { children = (\n{ id = \"s\"; children = (\n{ id = \"a\"; module = \"m.so\"; } ); },\n"
	  "{ id = \"a\"; module = \"m.so\"; } ); };",
	    "x:4: id: \"a\" is the name of root/s/a already, at x:3; write a name = \"...\" to it\n" },
	/* what libconfig can't parse */
	{ "tree = {\n", "x:2: syntax error: ends too early; is a bracket not closed?\n" },
	{ "tree = { children = ( ) }\nstore = ;",
	    "x:2: syntax error: can't be understood at \"store = ;\"; "
	    "is a '=', ';', ',', quote or bracket missing there or before?\n" },
	{ "a = 1;\na = 2;", "x:2: syntax error: a key is there twice in one group, at \"a = 2;\"; take one out\n" },
	{ "a = [1,\n\"b\"];", "x:2: syntax error: text and numbers don't mix in [ ]; write ( ), at \"\"b\"];\"\n" },
	{ "a = 1;\nb = \"two\nthree", "x:2: syntax error: this text isn't closed; a quote is missing behind it\n" },
	{ "a = 1; /* two\n\n\n", "x:1: syntax error: this comment isn't closed; \"*/\" is missing behind it\n" },
	{ "\na = 99999999999999999999;",
	    "x:2: number: 99999999999999999999 doesn't fit into 64 bits; write a smaller one\n" },
	{ "\na = \"b\\x00c\";", "x:2: syntax error: text can't have a NUL in it; take out the \\x00\n" },
	{ "\n@include x", "x:2: @include: a file in quotes must follow: @include \"FILE\"\n" },
};

START_TEST(mistakes_in_the_whole)
{
	ck_assert_str_eq(mistakes(whole[_i].text), whole[_i].want);
}
END_TEST

START_TEST(two_without_a_name_are_fine)
{
	good("tree = { children = ( { id = \"a\"; module = \"m.so\"; name = \"\"; }, "
	     "{ id = \"b\"; module = \"m.so\"; name = \"\"; } ); };");
	/* A supervisor has no name: its id may be a worker's name. */
	good("tree = { children = ( { id = \"a\"; children = ( { id = \"a\"; module = \"m.so\"; } ); } ); };");
}
END_TEST

START_TEST(comments_and_text_are_told_apart)
{
	static const char text[] =
	    "# tree = 1; \"\n// /* \"\n/* tree = 2; \n# */ tree = { children = (\r\n"
	    "{ id = \"a\"; module = \"m.so\"; # \"\n"
	    "args = [\"# no // comment /* \\\" \", \"@include\n@include \\\"x\\\"\"]; } ); }; // @include \"x\"";
	const struct stash_child_spec *c = good(text)->children;

	ck_assert_str_eq(c->args[0], "# no // comment /* \" ");
	ck_assert_str_eq(c->args[1], "@include\n@include \"x\"");
}
END_TEST

START_TEST(all_mistakes_are_told_in_their_order)
{
	static const char *const order[] = {
		"x:1: foo: ", "x:2: bar: ", "x:3: restart: ", "x:3: module: ", "x:4: exec: ", "x:4: id: ", "x:5: size: "
	};
	const char *at = mistakes(
	    "foo = 1;\ntree = { bar = 2; children = (\n{ id = \"a\"; restart = 3; module = \"no.so\"; },\n"
	    "{ id = \"a\"; exec = 5; } ); };\nstore = { size = 1; };");
	size_t i;

	for (i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		ck_assert_msg(strncmp(at, order[i], strlen(order[i])) == 0, "%s is not next in:\n%s", order[i], told);
		at = strchr(at, '\n') + 1;
	}
	ck_assert_str_eq(at, "");
}
END_TEST

START_TEST(a_deep_tree_ends_in_a_mistake)
{
	enum { DEPTH = 3000 };
	static char text[DEPTH * 24 + 100];
	char *at = stpcpy(text, "tree = { children = ( ");
	int i;

	for (i = 0; i < DEPTH; i++)
		at = stpcpy(at, "{ children = ( ");
	for (i = 0; i < DEPTH; i++)
		at = stpcpy(at, "); } ");
	stpcpy(at, "); };");
	ck_assert_str_ne(mistakes(text), "");
}
END_TEST

START_TEST(four_thousand_workers_are_no_trouble)
{
	enum { COUNT = 4000 };
	char *text = malloc(COUNT * 64 + 100), *at = stpcpy(text, "tree = { children = (");
	int i;

	for (i = 0; i < COUNT; i++)
		at += snprintf(at, 64, "%s\n{ id = \"w%d\"; module = \"m.so\"; }", i == 0 ? "" : ",", i);
	stpcpy(at, " ); };");
	ck_assert_uint_eq(good(text)->nchildren, COUNT);
	ck_assert_str_eq(conf_tree(parsed)->children[COUNT - 1].id, "w3999");
	free(text);
}
END_TEST

Suite *
config_suite(void)
{
	Suite *suite = suite_create("config");
	TCase *right = t_case(suite, "right", 20), *wrong = t_case(suite, "wrong", 20);

	tcase_add_checked_fixture(right, begin, end);
	tcase_add_checked_fixture(wrong, begin, end);
	tcase_add_test(right, what_is_left_out_is_default);
	tcase_add_test(right, every_key_of_a_worker_reaches_its_field);
	tcase_add_test(right, every_key_of_the_store_reaches_its_field);
	tcase_add_test(right, users_are_names_or_numbers);
	tcase_add_test(right, a_tree_is_nested_and_keeps_its_order);
	tcase_add_test(right, what_is_written_counts_as_written);
	tcase_add_test(right, durations_have_units);
	tcase_add_test(right, args_are_text_and_numbers);
	tcase_add_test(right, two_without_a_name_are_fine);
	tcase_add_test(right, comments_and_text_are_told_apart);
	tcase_add_test(right, four_thousand_workers_are_no_trouble);
	tcase_add_test(wrong, names_have_a_largest_size);
	tcase_add_test(wrong, paths_have_a_largest_size);
	tcase_add_loop_test(wrong, mistakes_in_a_worker, 0, sizeof(in_worker) / sizeof(in_worker[0]));
	tcase_add_loop_test(wrong, mistakes_in_the_store, 0, sizeof(in_store) / sizeof(in_store[0]));
	tcase_add_loop_test(wrong, mistakes_in_the_whole, 0, sizeof(whole) / sizeof(whole[0]));
	tcase_add_test(wrong, all_mistakes_are_told_in_their_order);
	tcase_add_test(wrong, a_deep_tree_ends_in_a_mistake);
	return suite;
}

TEST_MAIN(config_suite)
