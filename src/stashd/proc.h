/* SPDX-License-Identifier: ISC */
/*
 * proc.h: small questions about processes, as keeper and supervisor ask them.
 */
#ifndef STASHD_PROC_H
#define STASHD_PROC_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What waitpid() would have said, from what waitid() did. */
int proc_wait_status(const siginfo_t *);
/* In words: "exit status 1", "SIGSEGV, core dumped". */
void proc_describe(int wait_status, char *text, size_t size);
/* "SIGSEGV"; "signal 77". */
void proc_signal_name(int signal, char *text, size_t size);
/* Whether somebody debugs it. */
bool proc_traced(pid_t);
/* A pidfd of that very process, by its start time; -1: there is none such. */
int proc_open(pid_t, uint64_t start_time);
/* Raises the limit of open descriptors to the hard one; returns it. */
uint64_t proc_raise_files(void);

#endif
