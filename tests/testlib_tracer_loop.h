/* SPDX-License-Identifier: ISC */
/*
 * What the two files of the tracer share; nobody else needs it.
 */
#ifndef TESTS_TESTLIB_TRACER_LOOP_H
#define TESTS_TESTLIB_TRACER_LOOP_H

#include "testlib_tracer.h"

/* "Trace this process", answered by one byte; the end of the socket means the end. */
struct tracer_order {
	pid_t pid;
	enum tracer_kind kind;
};

_Noreturn void tracer_loop(int socket, const struct tracer_plan *, struct tracer_report *);

#endif
