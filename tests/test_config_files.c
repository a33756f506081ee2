/* SPDX-License-Identifier: ISC */
/*
 * The config and the world: includes with their own line numbers, modules and
 * programs that are there or not, the table in the manual, and stashd's command
 * line up to the point where something would be started.
 */
#include <sys/stat.h>

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include <stash/error.h>
#include <stash/supervisor.h>

#include "stashd/config.h"
#include "stashd/config_parts.h"
#include "testlib.h"

Suite *config_files_suite(void);

static struct conf *parsed;
static char *told;

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

/* What conf_print_mistakes() writes, without the test's directory before each file. */
static const char *
tell(void)
{
	size_t len, skip = strlen(t_path("%s", ""));
	FILE *out;
	char *at;

	free(told);
	out = open_memstream(&told, &len);
	ck_assert_ptr_nonnull(out);
	conf_print_mistakes(parsed, out);
	fclose(out);
	while ((at = strstr(told, t_path("%s", ""))) != NULL)
		memmove(at, at + skip, strlen(at + skip) + 1);
	return told;
}

/* Writes x.conf, parses it, and says its mistakes. */
static const char *
mistakes(const char *text)
{
	int error;

	t_write_file(t_path("x.conf"), text);
	conf_free(parsed);
	error = conf_parse_file(&parsed, t_path("x.conf"));
	ck_assert_ptr_nonnull(parsed);
	ck_assert_int_eq(error, *tell() == '\0' ? 0 : STASH_E_SPEC);
	return told;
}

/* ---- includes ---- */

START_TEST(includes_are_found_from_their_file)
{
	const struct stash_supervisor_spec *tree;
	char text[512];

	ck_assert_int_eq(mkdir(t_path("sub"), 0700), 0);
	ck_assert_int_eq(mkdir(t_path("sub/sub"), 0700), 0);
	t_write_file(t_path("sub/a.inc"), "{ id = \"a\"; module = \"m.so\"; },\n@include \"sub/b.inc\"\n");
	/* No newline at the end. */
	t_write_file(t_path("sub/sub/b.inc"), "{ id = \"b\"; module = \"m.so\"; }");
	t_write_file(t_path("c.inc"), ", { id = \"c\"; module = \"m.so\"; }");
	snprintf(text, sizeof(text),
	    "tree = { children = (\n  @include \"sub/a.inc\"\n\t@include \t\"%s\" # all\n); };", t_path("c.inc"));
	ck_assert_str_eq(mistakes(text), "");
	tree = conf_tree(parsed);
	ck_assert_uint_eq(tree->nchildren, 3);
	ck_assert_str_eq(tree->children[0].id, "a");
	ck_assert_str_eq(tree->children[1].id, "b");
	ck_assert_str_eq(tree->children[2].id, "c");
	/* A module's path starts from the first file's directory, also in an include. */
	ck_assert_str_eq(tree->children[1].module, t_path("m.so"));
}
END_TEST

START_TEST(mistakes_name_the_included_file_and_its_line)
{
	t_write_file(t_path("a.inc"), "{ id = \"a\";\n  module = \"m.so\"; restart = 1; },\n\n{ id = \"x\";\n");
	t_write_file(t_path("b.inc"), "\nfoo = 1;\n\nbar = 2; module = \"m.so\"; },");
	ck_assert_str_eq(mistakes("\n\ntree = { children = (\n@include \"a.inc\"\n@include \"b.inc\"\n"
				  "{ id = \"a\"; module = \"m.so\";\n baz = 3; } ); };"),
	    "a.inc:2: restart: must be one of \"permanent\", \"transient\", \"temporary\"; this is a number\n"
	    "b.inc:2: foo: unknown key; stashd.conf(5) lists those of a worker\n"
	    "b.inc:4: bar: unknown key; stashd.conf(5) lists those of a worker\n"
	    "x.conf:6: id: \"a\" is the id of a sibling already, at a.inc:1; take another\n"
	    "x.conf:7: baz: unknown key; stashd.conf(5) lists those of a worker\n");
}
END_TEST

START_TEST(syntax_errors_name_the_included_file_and_its_line)
{
	t_write_file(t_path("a.inc"), "\n\nstore = 5 };\n");
	ck_assert_str_eq(mistakes("\n@include \"a.inc\"\n"),
	    "a.inc:3: syntax error: can't be understood at \"store = 5 };\"; "
	    "is a '=', ';', ',', quote or bracket missing there or before?\n");
	t_write_file(t_path("a.inc"), "\nx = \"\n");
	ck_assert_str_eq(mistakes("\n@include \"a.inc\"\n"),
	    "a.inc:2: syntax error: this text isn't closed; a quote is missing behind it\n");
	ck_assert_str_eq(mistakes("@include \"m.so\"\n\n }\n"),
	    "x.conf:3: syntax error: can't be understood at \"}\"; "
	    "is a '=', ';', ',', quote or bracket missing there or before?\n");
}
END_TEST

START_TEST(includes_that_cannot_be)
{
	ck_assert_int_eq(mkdir(t_path("dir"), 0700), 0);
	t_write_file(t_path("self.inc"), "\n@include \"self.inc\"\n");
	t_write_file(t_path("one.inc"), "@include \"two.inc\"\n");
	t_write_file(t_path("two.inc"), "\n\n@include \"one.inc\"\n");
	ck_assert_str_eq(mistakes("@include \"no\"\n@include \"dir\"\n@include \"self.inc\"\n@include \"one.inc\"\n"
				  "@include \"\"\n@include \"m.so\n@include \"/dev/null\"\n"),
	    "x.conf:1: @include: \"no\": no such file\n"
	    "x.conf:2: @include: \"dir\": isn't a file\n"
	    "self.inc:2: @include: \"self.inc\": this file includes itself; take the line out\n"
	    "two.inc:3: @include: \"one.inc\": this file includes itself; take the line out\n"
	    "x.conf:5: @include: a file in quotes must follow: @include \"FILE\"\n"
	    "x.conf:6: @include: a file in quotes must follow: @include \"FILE\"\n"
	    "x.conf:7: @include: \"/dev/null\": isn't a file\n");
}
END_TEST

START_TEST(includes_have_a_depth)
{
	char name[16], text[64];
	int i;

	for (i = 0; i <= 11; i++) {
		snprintf(name, sizeof(name), "%d.inc", i);
		snprintf(text, sizeof(text), "@include \"%d.inc\"\n", i + 1);
		t_write_file(t_path("%s", name), text);
	}
	ck_assert_str_eq(mistakes("@include \"1.inc\"\n"),
	    "10.inc:1: @include: \"11.inc\": includes in includes, too deep; 10 levels are allowed\n");
	t_write_file(t_path("10.inc"), "tree = { children = ( ); };");
	ck_assert_str_eq(mistakes("@include \"1.inc\"\n"), "");
}
END_TEST

START_TEST(files_that_are_no_config)
{
	FILE *f;

	ck_assert_int_eq(conf_parse_file(&parsed, t_path("nix")), STASH_E_NOENT);
	ck_assert_ptr_null(parsed);
	ck_assert_int_eq(conf_parse_file(&parsed, t_dir()), STASH_E_SYSTEM);
	ck_assert_ptr_null(parsed);
	ck_assert_ptr_nonnull(strstr(stash_errmsg(), "isn't a file"));
	f = fopen(t_path("x.conf"), "we");
	ck_assert_uint_eq(fwrite("a = 1;\0b", 1, 8, f), 8);
	fclose(f);
	ck_assert_int_eq(conf_parse_file(&parsed, t_path("x.conf")), STASH_E_SPEC);
	ck_assert_str_eq(tell(), "x.conf:1: syntax error: this file has a NUL byte; it isn't text\n");
}
END_TEST

/* ---- modules and programs ---- */

START_TEST(modules_are_searched_beside_the_config)
{
	char want[PATH_MAX];

	mistakes(
	    "tree = { children = (\n{ id = \"a\"; module = \"nix.so\"; },\n{ id = \"b\"; module = \"/nix.so\"; },\n"
	    "{ id = \"c\"; module = 5; },\n{ id = \"d\"; module = \"\"; },\n{ id = \"e\"; module = \".\"; } ); };");
	snprintf(want, sizeof(want),
	    "x.conf:2: module: \"nix.so\" is neither in %s nor in %s; give its path\n"
	    "x.conf:3: module: \"/nix.so\" is no file that can be read\n"
	    "x.conf:4: module: must be the path of a .so, in quotes; this is a number\n"
	    "x.conf:5: module: is empty; it must be the path of a .so, in quotes\n"
	    "x.conf:6: module: \".\" is neither in %s nor in %s; give its path\n",
	    t_dir(), conf_module_dir, t_dir(), conf_module_dir);
	ck_assert_str_eq(told, want);
}
END_TEST

/* The directory of the tests' modules stays the same wherever the file is given from. */
START_TEST(paths_of_modules_are_absolute)
{
	char *cwd = getcwd(NULL, 0);
	int error;

	t_write_file(t_path("x.conf"), "tree = { children = ( { id = \"a\"; module = \"m.so\"; } ); };");
	ck_assert_int_eq(chdir(t_dir()), 0);
	error = conf_parse_file(&parsed, "x.conf");
	ck_assert_int_eq(chdir(cwd), 0);
	free(cwd);
	ck_assert_int_eq(error, 0);
	ck_assert_str_eq(conf_tree(parsed)->children[0].module, t_path("m.so"));
}
END_TEST

static const struct {
	const char *module, *want; /* NULL: it is good */
} modules[] = {
	{ "examples/sequence.so", NULL },
	{ "examples/agent.so", NULL },
	{ "tests/modules/pair.so", NULL },     /* handle_continue */
	{ "tests/modules/layout_3.so", NULL }, /* code_change */
	{ "tests/modules/layout_4.so", NULL }, /* encode, decode */
	{ "tests/modules/config_crashes.so", "loading it crashes (SIGABRT)" },
	{ "tests/modules/config_exits.so", "loading it ends the process" },
	{ "tests/modules/config_hangs.so", "loading it takes longer than 5 s" },
	{ "tests/modules/config_plain.so", "isn't a module: it has no stash_module, which STASH_MODULE() makes" },
	{ "tests/modules/config_old.so", "was built for another version of stash; build it again" },
	{ "tests/modules/config_empty.so", "its behaviour: its first member, size, must be sizeof of the struct" },
	{ "tests/modules/config_later.so",
	    "its behaviour has callbacks that are not in this version of stash; leave them out" },
	{ "tests/modules/config_layout.so", "its behaviour has no layout_version; they count from 1" },
};

START_TEST(modules_are_loaded_in_another_process)
{
	char text[PATH_MAX + 100], want[PATH_MAX + 100] = "";
	const char *path = t_build(modules[_i].module);

	snprintf(text, sizeof(text), "tree = { children = (\n{ id = \"a\";\nmodule = \"%s\"; } ); };", path);
	if (modules[_i].want != NULL)
		snprintf(want, sizeof(want), "x.conf:3: module: %s: %s\n", path, modules[_i].want);
	ck_assert_str_eq(mistakes(text), "");
	ck_assert_int_eq(conf_check_modules(parsed), modules[_i].want == NULL ? 0 : STASH_E_SPEC);
	ck_assert_str_eq(tell(), want);
}
END_TEST

/* The loader's own words, and one line for a module that many children have. */
START_TEST(a_module_that_cannot_be_loaded_is_told_once)
{
	char want[PATH_MAX];

	mistakes(
	    "tree = { children = (\n{ id = \"a\"; module = \"m.so\"; },\n{ id = \"b\"; module = \"m.so\"; } ); };");
	ck_assert_int_eq(conf_check_modules(parsed), STASH_E_SPEC);
	snprintf(want, sizeof(want), "x.conf:2: module: m.so: file too short\n");
	ck_assert_str_eq(tell(), want);
}
END_TEST

START_TEST(programs_must_be_there)
{
	const struct stash_supervisor_spec *tree;

	ck_assert_int_eq(setenv("PATH", t_path("bin"), 1), 0);
	ck_assert_int_eq(mkdir(t_path("bin"), 0700), 0);
	t_write_file(t_path("bin/prog"), "#!/bin/sh\n");
	ck_assert_int_eq(chmod(t_path("bin/prog"), 0700), 0);
	ck_assert_str_eq(
	    mistakes("tree = { children = (\n{ id = \"a\"; exec = [\"prog\", \"x\"]; },\n"
		     "{ id = \"b\"; exec = [\"bin/prog\"]; },\n{ id = \"c\"; exec = [\"/bin/sh\"]; } ); };"),
	    "");
	tree = conf_tree(parsed);
	ck_assert_str_eq(tree->children[0].exec[0], t_path("bin/prog"));
	ck_assert_str_eq(tree->children[0].exec[1], "x");
	ck_assert_str_eq(tree->children[1].exec[0], t_path("bin/prog"));
	ck_assert_str_eq(tree->children[2].exec[0], "/bin/sh");
	ck_assert_str_eq(mistakes("tree = { children = (\n{ id = \"a\"; exec = [\"nix\"]; },\n"
				  "{ id = \"b\"; exec = [\"./m.so\"]; },\n{ id = \"c\"; exec = \"prog\"; },\n"
				  "{ id = \"d\"; exec = [1]; },\n{ id = \"e\"; exec = [\"\"]; } ); };"),
	    "x.conf:2: exec: \"nix\" is nowhere in PATH as a program; give its path\n"
	    "x.conf:3: exec: \"./m.so\" is no program that can be run\n"
	    "x.conf:4: exec: must be a list of texts, [\"PROGRAM\", \"ARGUMENT\"]; this is text\n"
	    "x.conf:5: exec: must be a list of texts, [\"PROGRAM\", \"ARGUMENT\"]; element 1 is a number\n"
	    "x.conf:6: exec: must be a list of texts, [\"PROGRAM\", \"ARGUMENT\"]; there is no program in it\n");
}
END_TEST

/* ---- the manual ---- */

/* The row of the table in stashd.conf(5) for a key, as mdoc has it. */
static void
manual_row(struct conf *conf, const struct conf_key *key, char *row, size_t size)
{
	static const char *const groups[] = { [CONF_FILE] = "file",
		[CONF_STORE] = "store",
		[CONF_SUPERVISOR] = "supervisor",
		[CONF_CHILD] = "child",
		[CONF_WORKER] = "worker" };
	char *text = conf_printf(
	    conf, "%s Ta %s Ta %s Ta %s", key->key, groups[key->where], key->dflt, conf_type_text(conf, key));
	FILE *out = fmemopen(row, size, "w");

	ck_assert_ptr_nonnull(out);
	fputs(".It Ic ", out);
	for (; *text != '\0'; text++) {
		if (*text == '"')
			fputs("\\(dq", out);
		else
			fputc(*text, out);
	}
	fputc('\n', out);
	fclose(out);
}

START_TEST(the_manual_has_every_key_and_no_other)
{
	FILE *page = fopen("man/stashd.conf.5", "re");
	const struct conf_key *key = conf_keys;
	char line[512], want[512];

	ck_assert_msg(page != NULL, "man/stashd.conf.5: run the tests from the top of the tree");
	ck_assert_str_eq(mistakes("tree = { children = ( ); };"), "");
	while (fgets(line, sizeof(line), page) != NULL) {
		if (strncmp(line, ".It Ic ", 7) != 0 || strstr(line, " Ta ") == NULL)
			continue;
		ck_assert_msg(key->key != NULL, "the manual has more than the parser: %s", line);
		manual_row(parsed, key++, want, sizeof(want));
		ck_assert_str_eq(line, want);
	}
	fclose(page);
	ck_assert_msg(key->key == NULL, "the manual lacks %s", key->key);
}
END_TEST

/* What the manual says of a default must be what is done: the store's are given in the config's own words. */
START_TEST(the_defaults_in_the_manual_are_the_real_ones)
{
	struct stash__supervise_config real, written;
	const struct conf_key *key;
	char text[1024];
	FILE *out = fmemopen(text, sizeof(text), "w");

	fputs("store = { ", out);
	for (key = conf_keys; key->key != NULL; key++)
		if (key->where == CONF_STORE && key->type != CONF_DIR)
			fprintf(out, "%s = %s; ", key->key, key->dflt);
	fputs("}; tree = { children = ( ); };", out);
	fclose(out);
	ck_assert_str_eq(mistakes(text), "");
	written = *conf_store(parsed);
	stash__supervise_defaults(&real);
	/* 0 is the default of these two, too. */
	if (real.store_bytes == 0)
		real.store_bytes = UINT64_C(1) << 30;
	if (real.fold_interval_ns == 0)
		real.fold_interval_ns = 2000000;
	if (real.ack == STASH_ACK_DEFAULT)
		real.ack = STASH_ACK_CRASH;
	ck_assert_mem_eq(&written, &real, sizeof(real));
}
END_TEST

/* ---- the command line ---- */

struct line {
	const char *argv[6];
	int status;
	const char *out, *err; /* NULL: not looked at */
};

#define HELP "; see stashd -h\n"

static const struct line lines[] = {
	{ { "-V" }, 0, "stashd 0.1.0\n", "" },
	{ { "--version" }, 0, "stashd 0.1.0\n", "" },
	{ { "-h" }, 0, NULL, "" },
	{ { "--help" }, 0, NULL, "" },
	{ { "-x" }, EX_USAGE, "", "stashd: -x: unknown option" HELP },
	{ { "-nx" }, EX_USAGE, "", "stashd: -x: unknown option" HELP },
	{ { "--chek" }, EX_USAGE, "", "stashd: --chek: unknown option; did you mean --check?\n" },
	{ { "--zzz" }, EX_USAGE, "", "stashd: --zzz: unknown option" HELP },
	{ { "-d" }, EX_USAGE, "", "stashd: -d: a value must follow" HELP },
	{ { "--dir" }, EX_USAGE, "", "stashd: --dir: a value must follow" HELP },
	{ { "--check", "-xn" }, EX_USAGE, "", "stashd: -x: unknown option" HELP },
	{ { "-nd" }, EX_USAGE, "", "stashd: -d: a value must follow" HELP },
	{ { "--check=yes" }, EX_USAGE, "", "stashd: --check=yes: takes no value" HELP },
	{ { "start", "-n" }, EX_USAGE, "", "stashd: start: stashd takes options only" HELP },
	{ { "-nf", "nix.conf" }, EX_CONFIG, "",
	    "stashd: nix.conf: no such file; write it as stashd.conf(5) says, or name another one with -f\n" },
	{ { "-nf", "/" }, EX_OSERR, "", "stashd: /: isn't a file\n" },
};

START_TEST(command_lines)
{
	const char *argv[8] = { t_build("stashd") };
	struct t_result r;

	memcpy(argv + 1, lines[_i].argv, sizeof(lines[_i].argv));
	t_run(&r, NULL, argv);
	if (lines[_i].err != NULL)
		ck_assert_str_eq(r.err, lines[_i].err);
	if (lines[_i].out != NULL)
		ck_assert_str_eq(r.out, lines[_i].out);
	ck_assert_int_eq(r.status, lines[_i].status);
	t_result_free(&r);
}
END_TEST

static void
run_stashd(struct t_result *r, const char *a, const char *b, const char *c)
{
	t_run(r, NULL, (const char *const[]){ t_build("stashd"), "-f", t_path("x.conf"), a, b, c, NULL });
}

START_TEST(check_tells_nothing_of_a_good_config)
{
	struct t_result r;
	char text[PATH_MAX + 512], want[2 * PATH_MAX];

	snprintf(text, sizeof(text),
	    "tree = { intensity = 0; children = ( { id = \"a\"; module = \"%s\"; args = (1, \"x\"); },\n"
	    "{ id = \"s\"; strategy = \"one_for_all\"; shutdown = 100; children = (\n"
	    "{ id = \"b\"; name = \"\"; exec = [\"/bin/sh\"]; "
	    "notify = \"none\"; shutdown = \"brutal_kill\"; restart = \"temporary\"; } ); } ); };",
	    t_build("examples/sequence.so"));
	t_write_file(t_path("x.conf"), text);
	run_stashd(&r, "-n", NULL, NULL);
	ck_assert_str_eq(r.err, "");
	ck_assert_str_eq(r.out, "");
	ck_assert_int_eq(r.status, 0);
	t_result_free(&r);
	snprintf(want, sizeof(want),
	    "root: one_for_one, 0 restarts in 5 s\n"
	    "  a: %s \"1\" \"x\", permanent\n"
	    "  s: one_for_all, 1 restart in 5 s, permanent, shutdown 100 ms\n"
	    "    b: \"/bin/sh\", no name, temporary, shutdown brutal_kill, notify none, not persistent\n",
	    t_build("examples/sequence.so"));
	run_stashd(&r, "-nv", "-d", t_path("store"));
	ck_assert_str_eq(r.out, want);
	ck_assert_str_eq(r.err, "");
	ck_assert_int_eq(access(t_path("store"), F_OK), -1);
	t_result_free(&r);
}
END_TEST

START_TEST(check_tells_every_mistake)
{
	struct t_result r;
	char want[4 * PATH_MAX];

	t_write_file(t_path("x.conf"),
	    "foo = \"\\x1b[31m\";\ntree = { children = (\n"
	    "{ id = \"a\"; module = \"m.so\"; restart = \"\\x1b\"; } ); };");
	snprintf(want, sizeof(want),
	    "%s:1: foo: unknown key; stashd.conf(5) lists those of the file\n"
	    "%s:3: restart: \"\\x1b\" is unknown; it must be one of \"permanent\", \"transient\", \"temporary\"\n"
	    "%s:3: module: %s: file too short\n"
	    "stashd: %s: 3 mistakes; nothing was started\n",
	    t_path("x.conf"), t_path("x.conf"), t_path("x.conf"), t_path("m.so"), t_path("x.conf"));
	run_stashd(&r, "-n", NULL, NULL);
	ck_assert_str_eq(r.err, want);
	ck_assert_str_eq(r.out, "");
	ck_assert_int_eq(r.status, EX_CONFIG);
	t_result_free(&r);
}
END_TEST

START_TEST(the_store_directory_must_be_possible)
{
	struct t_result r;
	char want[2 * PATH_MAX];

	t_write_file(t_path("x.conf"), "tree = { children = ( ); };");
	run_stashd(&r, "-d", t_path("a/b"), NULL);
	snprintf(want, sizeof(want),
	    "stashd: %s: the store's directory can't be made: No such file or directory; make the one above it first\n",
	    t_path("a/b"));
	ck_assert_str_eq(r.err, want);
	ck_assert_int_eq(r.status, EX_CANTCREAT);
	t_result_free(&r);
	run_stashd(&r, "-d", t_path("m.so"), NULL);
	snprintf(want, sizeof(want), "stashd: %s: isn't a directory; name another one with -d\n", t_path("m.so"));
	ck_assert_str_eq(r.err, want);
	ck_assert_int_eq(r.status, EX_CANTCREAT);
	t_result_free(&r);
}
END_TEST

/* Root may write everywhere, so that it gives that right away first. */
START_TEST(the_store_directory_must_be_writable)
{
	const char *const argv[] = { "setpriv", "--bounding-set=-dac_override,-dac_read_search", t_build("stashd"),
		"-f", t_path("x.conf"), "-d", t_path("store"), NULL };
	char want[2 * PATH_MAX];
	struct t_result r;

	t_write_file(t_path("x.conf"), "tree = { children = ( ); };");
	ck_assert_int_eq(mkdir(t_path("store"), 0500), 0);
	snprintf(want, sizeof(want),
	    "stashd: %s: the store's directory isn't writable for user %ld: Permission denied; "
	    "run stashd as its owner\n",
	    t_path("store"), (long)geteuid());
	t_run(&r, NULL, geteuid() == 0 ? argv : argv + 2);
	ck_assert_str_eq(r.err, want);
	ck_assert_int_eq(r.status, EX_NOPERM);
	t_result_free(&r);
}
END_TEST

Suite *
config_files_suite(void)
{
	Suite *suite = suite_create("config_files");
	TCase *files = t_case(suite, "files", 30), *program = t_case(suite, "stashd", 60);

	tcase_add_checked_fixture(files, begin, end);
	tcase_add_checked_fixture(program, begin, end);
	tcase_add_test(files, includes_are_found_from_their_file);
	tcase_add_test(files, mistakes_name_the_included_file_and_its_line);
	tcase_add_test(files, syntax_errors_name_the_included_file_and_its_line);
	tcase_add_test(files, includes_that_cannot_be);
	tcase_add_test(files, includes_have_a_depth);
	tcase_add_test(files, files_that_are_no_config);
	tcase_add_test(files, modules_are_searched_beside_the_config);
	tcase_add_test(files, paths_of_modules_are_absolute);
	tcase_add_loop_test(files, modules_are_loaded_in_another_process, 0, sizeof(modules) / sizeof(modules[0]));
	tcase_add_test(files, a_module_that_cannot_be_loaded_is_told_once);
	tcase_add_test(files, programs_must_be_there);
	tcase_add_test(files, the_manual_has_every_key_and_no_other);
	tcase_add_test(files, the_defaults_in_the_manual_are_the_real_ones);
	tcase_add_loop_test(program, command_lines, 0, sizeof(lines) / sizeof(lines[0]));
	tcase_add_test(program, check_tells_nothing_of_a_good_config);
	tcase_add_test(program, check_tells_every_mistake);
	tcase_add_test(program, the_store_directory_must_be_possible);
	tcase_add_test(program, the_store_directory_must_be_writable);
	return suite;
}

TEST_MAIN(config_files_suite)
