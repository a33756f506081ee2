/* SPDX-License-Identifier: ISC */
/*
 * The tools' command lines, run within the test: what is refused and how it is told, help, exit codes, and what each
 * command says where no stashd is.
 */
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/out.h"
#include "stash-inspect/inspect.h"
#include "stashctl/ctl.h"
#include "testlib.h"
#include "testlib_store.h"
#include "testlib_tools.h"

/* ---- command lines ---- */

struct line {
	const struct tool_program *program;
	const char *words[8];
	int status;
	const char *says; /* on standard error */
};

START_TEST(test_command_lines)
{
	static const struct line lines[] = {
		{ &stashctl, { NULL }, EX_USAGE, "no command" },
		{ &stashctl, { "cal", "a", "b" }, EX_USAGE, "did you mean call?" },
		{ &stashctl, { "frobnicate" }, EX_USAGE, "unknown command frobnicate\n" },
		{ &stashctl, { "call", "a" }, EX_USAGE, "usage: stashctl [OPTION...] call NAME TAG [DATA...]" },
		{ &stashctl, { "ping", "more" }, EX_USAGE, "\"more\" is too much" },
		{ &stashctl, { "ping", "-x" }, EX_USAGE, "unknown option -x" },
		{ &stashctl, { "ping", "--tiemout=1" }, EX_USAGE, "did you mean --timeout?" },
		{ &stashctl, { "ping", "-t" }, EX_USAGE, "-t needs an argument" },
		{ &stashctl, { "ping", "-t", "soon" }, EX_USAGE, "soon" },
		{ &stashctl, { "ping", "-t", "-1" }, EX_USAGE, "-1" },
		{ &stashctl, { "ping", "-t", "1e99" }, EX_USAGE, "1e99" },
		{ &stashctl, { "call", "--json", "a", "b" }, EX_USAGE, "--json is not for call" },
		{ &stashctl, { "kill", "a", "SIGNONE" }, EX_USAGE, "SIGNONE" },
		{ &stashctl, { "kill", "a", "0" }, EX_USAGE, "no signal" },
		{ &stashctl, { "x\033y" }, EX_USAGE, "x\\x1by" },
		{ &stash_inspect, { "tre" }, EX_USAGE, "did you mean tree?" },
		{ &stash_inspect, { "list", "-n", "3" }, EX_USAGE, "--lines is not for list" },
		{ &stash_inspect, { "events", "-n", "few" }, EX_USAGE, "few" },
		{ &stash_inspect, { "events", "-s", "10" }, EX_USAGE, "unit" },
		{ &stash_inspect, { "show", "-jr", "a" }, EX_USAGE, "--raw" },
	};
	struct tt_result r;

	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		tt_run(&r, lines[i].program, NULL, lines[i].words);
		tt_exits(&r, lines[i].status);
		tt_complains(&r, lines[i].says);
		ck_assert_str_eq(r.out, "");
		tt_free(&r);
	}
}
END_TEST

START_TEST(test_help)
{
	struct tt_result r;

	TT_RUN(&r, &stashctl, "--help");
	tt_exits(&r, 0);
	tt_says(&r, "which-children [SUPERVISOR]");
	tt_says(&r, "-t, --timeout SECONDS");
	tt_free(&r);
	TT_RUN(&r, &stashctl, "kill", "-h");
	tt_exits(&r, 0);
	tt_says(&r, "usage: stashctl [OPTION...] kill {NAME | SUPERVISOR ID} [SIGNAL]");
	ck_assert_ptr_null(strstr(r.out, "--json"));
	tt_free(&r);
	TT_RUN(&r, &stash_inspect, "show", "x", "-V");
	tt_exits(&r, 0);
	ck_assert_str_eq(r.out, "stash-inspect 0.1.0\n");
	tt_free(&r);
}
END_TEST

START_TEST(test_times)
{
	static const struct {
		const char *text;
		int ms; /* -2: wrong */
	} times[] = { { "2", 2000 }, { "0.5", 500 }, { ".5", 500 }, { "0", 0 }, { "500ms", 500 }, { "2m", 120000 },
		{ "infinity", -1 }, { "0.0001", 1 }, { "", -2 }, { "-3", -2 }, { "1x", -2 }, { "nan", -2 },
		{ "inf", -2 }, { "0x10s", -2 }, { "9999999", -2 }, { "1 ", -2 }, { "100us", -2 } };
	int ms;

	for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
		ms = -2;
		ck_assert_msg(tool_milliseconds(times[i].text, &ms) == (times[i].ms != -2) && ms == times[i].ms,
		    "%s: %d", times[i].text, ms);
	}
}
END_TEST

/* JSON itself leaves these as they are; a terminal takes U+009B for the beginning of a command. */
START_TEST(test_json_is_safe_on_a_terminal)
{
	static const char said[] = "a\x7f\xc2\x9b"
				   "31m\xc2\x80\x1b[m\xc3\xa9\n";
	struct tool tool = { .json = true };
	char *text = NULL;
	size_t len;
	json_t *object = tool_json(), *again;

	tool.out = open_memstream(&text, &len);
	ck_assert_ptr_nonnull(tool.out);
	tool_json_set(object, "said", tool_json_string(said));
	tool_json_line(&tool, object);
	fclose(tool.out);
	ck_assert_str_eq(text, "{\"schema\":1,\"said\":\"a\\u007F\\u009B31m\\u0080\\u001B[m\xc3\xa9\\n\"}\n");
	again = json_loads(text, 0, NULL);
	ck_assert_str_eq(json_string_value(json_object_get(again, "said")), said);
	json_decref(again);
	free(text);
}
END_TEST

START_TEST(test_exit_codes)
{
	static const int codes[][2] = { { STASH_OK, 0 }, { STASH_E_APP, 1 }, { STASH_E_INVAL, 64 },
		{ STASH_E_CORRUPT, 65 }, { STASH_E_TOOBIG, 65 }, { STASH_E_NOENT, 68 }, { STASH_E_DOWN, 69 },
		{ STASH_E_HELD, 69 }, { STASH_E_CRASHED, 70 }, { STASH_E_SYSTEM, 71 }, { STASH_E_EXIST, 73 },
		{ STASH_E_TIMEDOUT, 75 }, { STASH_E_BUSY, 75 }, { STASH_E_FULL, 75 }, { STASH_E_RESTARTING, 75 },
		{ STASH_E_ACCES, 77 }, { STASH_E_SPEC, 78 } };

	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
		ck_assert_int_eq(tool_exit(codes[i][0]), codes[i][1]);
	/* Each code has one of its own choice, none falls through. */
	for (int code = 0; code >= STASH_E_TEMPLATE; code--) {
		int status = tool_exit(code);

		ck_assert(status == 0 ? code == 0 : status == 1 || (status >= 64 && status <= 78));
	}
}
END_TEST

/* Without a stashd every command says so, and how it can be helped. */
START_TEST(test_no_stashd)
{
	static const char *const commands[][5] = { { "call", "a", "b", "-5" }, { "cast", "a", "b", "--", "--x" },
		{ "send", "a", "b", "-" }, { "ping" }, { "which-children" }, { "restart", "a" },
		{ "kill", "a", "term" }, { "shutdown" }, { "wait", "a", "-t", "0.01" } };
	struct tt_result r;

	for (int i = 0; i < 2; i++) {
		for (size_t n = 0; n < sizeof commands / sizeof *commands; n++) {
			const char *words[8] = { "-d", ts_dir() };

			for (size_t w = 0; w < 5 && commands[n][w] != NULL; w++)
				words[2 + w] = commands[n][w];
			tt_run(&r, &stashctl, "input", words);
			tt_exits(&r, EX_UNAVAILABLE);
			tt_complains(&r, "no stashd");
			tt_free(&r);
		}
		/* The second time with a database. */
		store_close(ts_open(NULL));
	}
	TT_RUN(&r, &stash_inspect, "-d", t_path("none"));
	tt_exits(&r, EX_UNAVAILABLE);
	tt_complains(&r, "stash.info");
	tt_free(&r);
}
END_TEST

START_TEST(test_data_too_long)
{
	char *input = malloc(STASH_DATA_MAX + 2);
	struct tt_result r;

	memset(input, 'x', STASH_DATA_MAX + 1);
	input[STASH_DATA_MAX + 1] = '\0';
	tt_run(&r, &stashctl, input, (const char *const[]){ "-d", ts_dir(), "call", "a", "b", "-", NULL });
	tt_exits(&r, EX_DATAERR);
	tt_complains(&r, "1048576");
	tt_free(&r);
	input[STASH_DATA_MAX] = '\0';
	tt_run(&r, &stashctl, input, (const char *const[]){ "-d", ts_dir(), "call", "a", "b", "-", NULL });
	tt_exits(&r, EX_UNAVAILABLE);
	tt_free(&r);
	free(input);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("tools");
	TCase *tc = t_case(s, "command lines", 10);

	tcase_add_test(tc, test_command_lines);
	tcase_add_test(tc, test_help);
	tcase_add_test(tc, test_times);
	tcase_add_test(tc, test_json_is_safe_on_a_terminal);
	tcase_add_test(tc, test_exit_codes);
	tcase_add_test(tc, test_no_stashd);
	tcase_add_test(tc, test_data_too_long);
	return s;
}

TEST_MAIN(suite)
