/* SPDX-License-Identifier: ISC */
/*
 * OTP's requests from the command line, on a stashd that runs: what stashctl prints, what it says when something is
 * wrong, and its exit codes.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "stash-inspect/inspect.h"
#include "stashctl/ctl.h"
#include "testlib.h"
#include "testlib_live.h"
#include "testlib_tools.h"

static struct t_stashd stashd;

/* Runs stashctl; wants this status, and these words: of its output if that is good, else of its errors. */
static void
ctl(int line, int status, const char *says, const char *input, const char *const *words)
{
	struct tt_result r;

	tt_run(&r, &stashctl, input, words);
	ck_assert_msg(r.status == status, "line %d: exit %d, not %d\n%s%s", line, r.status, status, r.out, r.err);
	ck_assert_msg(
	    strstr(status == 0 ? r.out : r.err, says) != NULL, "line %d: no \"%s\" in\n%s%s", line, says, r.out, r.err);
	if (status != 0)
		ck_assert_str_eq(r.out, "");
	tt_free(&r);
}
#define CTL(status, says, ...) ctl(__LINE__, status, says, NULL, (const char *const[]){ __VA_ARGS__, NULL })

/* root: a, web (w), pool (template t); the modules lie in the current directory. */
static void
begin(void)
{
	memset(&stashd, 0, sizeof stashd);
	ck_assert_int_eq(symlink(t_build("tests/modules/child.so"), t_path("child.so")), 0);
	ck_assert_int_eq(chdir(t_dir()), 0);
	t_stashd_start(&stashd,
	    "tree = { intensity = 100; children = (\n"
	    "  { id = \"a\"; module = \"child.so\"; },\n"
	    "  { id = \"web\"; strategy = \"one_for_one\"; intensity = 100; children = (\n"
	    "    { id = \"w\"; name = \"web.w\"; module = \"child.so\"; } ); },\n"
	    "  { id = \"pool\"; strategy = \"simple_one_for_one\"; children = (\n"
	    "    { id = \"t\"; module = \"child.so\"; args = [\"first\"]; } ); }\n"
	    "); };\n");
	ck_assert_int_eq(setenv("STASH_DIR", t_store(&stashd), 1), 0);
	/* The top answers when all have started. */
	CTL(0, "specs 3, active 3, supervisors 2, workers 1", "count-children");
}

static void
end(void)
{
	ck_assert_int_eq(chdir("/"), 0);
	t_stashd_stop(&stashd, 20000);
}

START_TEST(children)
{
	begin();
	CTL(0, "specs 3, active 3, supervisors 2, workers 1", "count-children");
	CTL(0, "root/b: started, process ", "start-child", "root",
	    "{ id = \"b\"; module = \"child.so\"; args = [\"3\"]; restart = \"transient\"; };");
	CTL(0, "b 3", "call", "b", "args");
	CTL(0, "", "terminate-child", "root/b");
	CTL(EX_UNAVAILABLE, "stopped", "call", "b", "args");
	CTL(0, "undefined", "which-children", "root");
	CTL(0, "root/b: started", "restart-child", "root", "b");
	CTL(0, "", "terminate-child", "b");
	CTL(0, "", "delete-child", "root", "b");
	CTL(EX_NOHOST, "root has no child \"b\"", "delete-child", "root", "b");
	/* Words of a shell that quotes nothing, and standard input. */
	CTL(0, "root/c: started", "start-child", "root", "{", "id = \"c\";", "module = \"child.so\"", "}");
	ctl(__LINE__, 0, "root/web/d: started", "{ id = \"d\"; # a comment\n  module = \"child.so\"; }\n",
	    (const char *const[]){ "start-child", "root/web", "-", NULL });
	CTL(0, "\"child\":\"root/e\"", "-j", "start-child", "root",
	    "{ id = \"e\"; exec = [\"/bin/cat\"]; notify = \"none\"; }");
	CTL(0, "root/f: has nothing to run", "start-child", "root",
	    "{ id = \"f\"; module = \"child.so\"; args = (\"ignore\"); }");
	CTL(0, "\"ignored\":true", "restart-child", "root/f", "--json");
	CTL(0, "\"specs\":6", "count-children", "-j");
	end();
}
END_TEST

START_TEST(failures)
{
	static const char b[] = "{ id = \"b\"; module = \"child.so\"; }";

	begin();
	CTL(EX_CANTCREAT, "already_started", "start-child", "root", "{ id = \"a\"; module = \"child.so\"; }");
	CTL(EX_TEMPFAIL, "terminate it first (running)", "restart-child", "root/a");
	CTL(EX_TEMPFAIL, "terminate it first (running)", "delete-child", "a");
	CTL(0, "", "terminate-child", "a");
	CTL(EX_CANTCREAT, "(already_present)", "start-child", "root", "{ id = \"a\"; module = \"child.so\"; }");
	CTL(EX_NOHOST, "there is no supervisor root/x (noproc)", "start-child", "root/x", b);
	CTL(EX_NOHOST, "(not_found)", "terminate-child", "root", "x");
	CTL(EX_NOHOST, "no such name", "terminate-child", "x");
	CTL(EX_NOHOST, "(noproc)", "count-children", "root/x");
	CTL(1, "it was told to fail (init_error)", "start-child", "root",
	    "{ id = \"b\"; module = \"child.so\"; args = [\"fail\"]; }");
	CTL(EX_CANTCREAT, "is taken", "start-child", "root",
	    "{ id = \"b\"; name = \"web.w\"; module = \"child.so\"; }");
	CTL(EX_CONFIG, "bad_combination", "start-child", "root",
	    "{ id = \"b\"; module = \"child.so\"; restart = \"temporary\"; significant = true; }");
	CTL(EX_USAGE, "is empty", "delete-child", "root/");
	CTL(EX_USAGE, "operands are missing", "start-child", "root");
	CTL(EX_USAGE, "too much", "delete-child", "root", "a", "b");
	CTL(0, "", "terminate-child", "root", "web");
	CTL(EX_UNAVAILABLE, "(noproc)", "count-children", "root/web");
	CTL(EX_TEMPFAIL, "", "start-child", "-t", "0.1", "root",
	    "{ id = \"g\"; module = \"child.so\"; args = [\"until=go\"]; }");
	t_write_file(t_path("go"), "");
	end();
	CTL(EX_UNAVAILABLE, "no stashd", "count-children");
}
END_TEST

/* Nothing is asked when the specification is wrong; no stashd has to be there. */
START_TEST(wrong_specifications)
{
	static const struct {
		const char *spec, *says;
	} wrong[] = {
		{ "{ id = \"b\"; modul = \"x\"; }", "specification:1: modul: unknown key; did you mean \"module\"?" },
		{ "{ id = \"b\"; }", "specification:1: module: missing" },
		{ "{ id = \"b\"; module = \"none.so\"; }", "specification:1: module: \"none.so\" is neither in " },
		{ "{ id = \"b\"; module = \"child.so\"", "specification:1: syntax error: " },
		{ "{ id = ; module = \"child.so\"; }", "at \"{ id = ; module" },
		{ "5", "must be one child, { id = " },
		{ "{ id = \"b\"; module = \"child.so\"; }; store = { }", "must be one child" },
		{ "{ id = \"b\"; strategy = \"simple_one_for_one\"; children = ( ); }",
		    "children: with simple_one_for_one" },
		{ "{ name = \"n\"; restart = \"permanent\"; }",
		    "restart: a child without an id is one of simple_one_for_one" },
		{ "{ nam = \"n\"; }", "nam: unknown key; did you mean \"name\"?" },
	};

	ck_assert_int_eq(symlink(t_build("tests/modules/child.so"), t_path("child.so")), 0);
	ck_assert_int_eq(chdir(t_dir()), 0);
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		CTL(EX_CONFIG, wrong[i].says, "start-child", "root", wrong[i].spec);
	ctl(__LINE__, EX_CONFIG, "standard input:2: restart: \"never\" is unknown",
	    "{ id = \"b\"; module = \"child.so\";\nrestart = \"never\"; }",
	    (const char *const[]){ "start-child", "root", "-", NULL });
	ck_assert_int_eq(chdir("/"), 0);
}
END_TEST

START_TEST(instances)
{
	begin();
	CTL(0, "root/pool/t-1: started, process ", "start-child", "root/pool", "{ }");
	CTL(0, "root/pool/ann: started, process ", "start-child", "root/pool",
	    "{ name = \"ann\"; args = [\"x\", \"y z\"]; }");
	CTL(0, "ann first x y z", "call", "ann", "args");
	CTL(0, "ann first x y z", "call", "root/pool/ann", "args");
	CTL(EX_CANTCREAT, "taken", "start-child", "root/pool", "{ name = \"ann\"; }");
	CTL(EX_USAGE, "simple_one_for_one", "restart-child", "root/pool", "ann");
	CTL(EX_USAGE, "simple_one_for_one", "delete-child", "ann");
	CTL(0, "specs 1, active 2, supervisors 0, workers 2", "count-children", "root/pool");
	CTL(0, "id = \"t\"; name = \"t\"; ", "get-childspec", "ann");
	CTL(0, "", "terminate-child", "ann");
	CTL(0, "specs 1, active 1, supervisors 0, workers 1", "count-children", "root/pool");
	/* Without an id it is for no other supervisor. */
	CTL(EX_CONFIG, "one has no id", "start-child", "root", "{ }");
	end();
}
END_TEST

/* What get-childspec prints is what start-child takes. */
START_TEST(specifications)
{
	struct tt_result r;
	json_t *o;

	begin();
	CTL(0, "", "start-child", "root",
	    "{ id = \"b\"; name = \"b e\\\"e\"; module = \"child.so\"; args = [\"x\\ty\", \"\"];"
	    " restart = \"temporary\";"
	    " shutdown = \"brutal_kill\"; persist = false; ack = \"disk\"; start_timeout = \"infinity\";"
	    " handler_timeout = 1234;"
	    " max_attempts = 5; type = \"supervisor\"; }");
	TT_RUN(&r, &stashctl, "get-childspec", "root/b", "-j");
	o = tt_json(&r, 0);
	ck_assert_str_eq(json_string_value(json_object_get(o, "shutdown")), "brutal_kill");
	ck_assert_int_eq(json_integer_value(json_object_get(o, "handler_timeout")), 1234);
	ck_assert_str_eq(json_string_value(json_array_get(json_object_get(o, "args"), 0)), "x\ty");
	ck_assert(json_is_false(json_object_get(o, "persist")));
	json_decref(o);
	tt_free(&r);
	for (int i = 0; i < 2; i++) {
		struct tt_result again;

		TT_RUN(&r, &stashctl, "get-childspec", "root", i == 0 ? "b" : "web");
		tt_exits(&r, 0);
		CTL(0, "", "terminate-child", "root", i == 0 ? "b" : "web");
		if (i == 1)
			CTL(0, "", "delete-child", "root/web");
		ctl(__LINE__, 0, "", r.out, (const char *const[]){ "start-child", "root", "-", NULL });
		TT_RUN(&again, &stashctl, "get-childspec", "root", i == 0 ? "b" : "web");
		ck_assert_str_eq(again.out, r.out);
		tt_free(&again);
		tt_free(&r);
	}
	CTL(0, "", "call", "web.w", "count");
	end();
}
END_TEST

/* A path, a name, or OTP's pair. */
START_TEST(operands)
{
	struct tt_result r;

	begin();
	CTL(0, "1", "call", "web.w", "count");
	CTL(0, "", "restart", "root/web", "w");
	CTL(0, "2", "call", "web.w", "count");
	CTL(0, "", "kill", "root/web", "w");
	CTL(0, "3", "call", "web.w", "count");
	CTL(0, "", "kill", "root/web", "w", "TERM");
	CTL(0, "4", "call", "web.w", "count");
	CTL(0, "", "kill", "root/web/w", "9");
	CTL(0, "5", "call", "web.w", "count");
	CTL(EX_USAGE, "no signal", "kill", "root/web", "w", "NONE");
	CTL(EX_NOHOST, "root/web has no worker \"x\"", "kill", "root/web", "x");
	CTL(EX_NOHOST, "root has no worker \"web\"", "restart", "root", "web");
	CTL(0, "", "wait", "root/web", "w");
	CTL(0, "", "terminate-child", "web.w");
	CTL(0, "root/web/w: started", "restart-child", "root/web/w");
	TT_RUN(&r, &stash_inspect, "whereis", "root/web", "w");
	tt_says(&r, "web.w");
	tt_free(&r);
	end();
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("admin by stashctl");
	TCase *tc = t_case(s, "stashctl", 60);

	tcase_add_test(tc, children);
	tcase_add_test(tc, failures);
	tcase_add_test(tc, wrong_specifications);
	tcase_add_test(tc, instances);
	tcase_add_test(tc, specifications);
	tcase_add_test(tc, operands);
	return s;
}

TEST_MAIN(suite)
