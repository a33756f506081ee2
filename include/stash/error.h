/* SPDX-License-Identifier: ISC */
/*
 * The results of every function of libstash, and the words for them.
 *
 * 0, or a positive number where a function says so, is good; a negative one is
 * a code of enum stash_error, and stash_errmsg() then holds a sentence: what,
 * on which thing, why. errno and the store's own numbers never come out. Any
 * call may give STASH_E_INVAL, _NOMEM, _SYSTEM and _FORKED; one with a name or
 * a payload also _NOENT, _ACCES, _DOWN and _TOOBIG; a call's answer also
 * _TIMEDOUT, _CRASHED, _HELD, _APP, _BUSY, _FULL, _DEADLOCK and _PROTO. The
 * others are named at the functions that give them. Values never change.
 */
#ifndef STASH_ERROR_H
#define STASH_ERROR_H

#include <stash/version.h>

/*
 * Whether the thing asked for was done: (no) it had no effect, for certain;
 * (unknown) it may have been done or not; the others say it themselves.
 * Since 0.1.0; those marked "later" aren't given by this version.
 */
enum stash_error {
	STASH_OK = 0,
	STASH_E_INVAL = -1,  /* (no) a wrong argument, context or order of calls */
	STASH_E_NOMEM = -2,  /* (no) out of memory */
	STASH_E_SYSTEM = -3, /* a system call failed: its errno is in stash_errmsg(), in words */
	STASH_E_ACCES = -4,  /* (no) credentials or modes don't allow it */
	STASH_E_NOENT = -5,  /* (no) no such name, version, child (OTP: not_found), reference, key */
	STASH_E_EXIST = -6,  /* (no) the name is someone else's */
	STASH_E_TOOBIG = -7, /* (no) over a limit of version.h */
	STASH_E_FULL = -8,   /* (no) no room in the store, or for a larger state: wasn't run */
	/* (no) mailbox full; too many calls in flight; directory in use by another stashd */
	STASH_E_BUSY = -9,
	STASH_E_TIMEDOUT = -10, /* (unknown) the deadline has passed */
	STASH_E_PENDING = -11,	/* not answered yet, the reference stays good */
	/* this message crashed its worker, or met its death max_attempts times; it is not in the state */
	STASH_E_CRASHED = -12,
	STASH_E_HELD = -13, /* (no) held back, the reply's text says why; later */
	/*
	 * (no) no stashd on this directory, or it is stopping; or the child is
	 * stopped and won't come back by itself
	 */
	STASH_E_DOWN = -14,
	STASH_E_DEADLOCK = -15, /* (no) a call to oneself, or in a ring */
	STASH_E_APP = -16,	/* the worker's own: stash_reply_error(), stash_fail() */
	STASH_E_UNKNOWN = -17,	/* a callback's result: unknown tag */
	/* (unknown) the other side broke the channel's rules, or this one never read its replies */
	STASH_E_PROTO = -18,
	STASH_E_FORMAT = -19,	  /* (no) can't be parsed; another format version */
	STASH_E_CORRUPT = -20,	  /* (no) a checksum fails */
	STASH_E_LAYOUT = -21,	  /* (no) no way from the stored layout to the behaviour's */
	STASH_E_FORKED = -22,	  /* (no) the handle of another process */
	STASH_E_SPEC = -23,	  /* (no) a wrong specification */
	STASH_E_START = -24,	  /* a start failed */
	STASH_E_ESCALATED = -25,  /* the top supervisor gave up: too many restarts */
	STASH_E_STARTED = -26,	  /* (no) OTP's already_started */
	STASH_E_PRESENT = -27,	  /* (no) OTP's already_present */
	STASH_E_RUNNING = -28,	  /* (no) OTP's running */
	STASH_E_RESTARTING = -29, /* (no) OTP's restarting */
	STASH_E_TEMPLATE = -30	  /* (no) OTP's simple_one_for_one */
};

#ifdef __cplusplus
extern "C" {
#endif

/*
 * What a code means, in a few words: "mailbox full". Static, never NULL, also
 * for a number that is no code. Never blocks. Since 0.1.0.
 */
STASH_API const char *stash_strerror(int code);

/*
 * A code's name: "STASH_E_BUSY". Static, never NULL; a number that is no code
 * gives "unknown". Never blocks. Since 0.1.0.
 */
STASH_API const char *stash_errname(int code);

/*
 * The sentence for this thread's last failure, of any function, also of an
 * open. Never NULL, "" before the first one; owned by the library and good
 * until this thread's next failure. A good result doesn't clear it. Since
 * 0.1.0.
 */
STASH_API const char *stash_errmsg(void);

/*
 * OTP's error term for this thread's last failure, flattened into words:
 * "already_started", "failed_to_start_child b init_error"; "" if OTP has none
 * for it. Never NULL; owned and changed as stash_errmsg() is. Since 0.1.0.
 */
STASH_API const char *stash_errterm(void);

#ifdef __cplusplus
}
#endif

#endif
