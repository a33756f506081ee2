/* SPDX-License-Identifier: ISC */
/*
 * What a worker's code may ask of the library. Each function names the contexts
 * in which it may be called: "callback" is inside a behaviour's callback, on its
 * thread; "event" is a handler of the worker's libevent base, between callbacks;
 * "any" is both, and the worker's other threads. Elsewhere: STASH_E_INVAL.
 *
 * Inside a callback everything here belongs to its transition: it leaves once,
 * when the transition is safe, and not at all when the callback fails. From an
 * event handler and from other threads it takes effect at once; there the state
 * is not to be touched. No function here blocks, unless said. data, len is copied before a
 * call returns; NULL with 0 is an empty payload.
 */
#ifndef STASH_WORKER_H
#define STASH_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <stash/behaviour.h>
#include <stash/buf.h>
#include <stash/error.h>
#include <stash/message.h>
#include <stash/version.h>

struct event_base;
struct stash_client;

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Answers the call in hand, once: len bytes, up to STASH_DATA_MAX. Context:
 * callback handle_call. Returns 0, so that "return stash_reply(...)" is right;
 * STASH_E_TOOBIG; STASH_E_INVAL if there is no call in hand or it has its
 * answer. Since 0.1.0.
 */
#if defined(__cplusplus) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow" /* g++ takes struct stash_reply for a hidden constructor */
#endif
STASH_API int stash_reply(struct stash_worker *worker, const void *data, size_t len);
#if defined(__cplusplus) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

/* The same with a payload made by printf's rules, without the NUL. Since 0.1.0. */
STASH_API int stash_replyf(struct stash_worker *worker, const char *fmt, ...) STASH_PRINTF(2, 3);

/*
 * The same with an error: the caller gets STASH_E_APP, app_code in reply->code,
 * and the text as data. Returns 0: the transition counts, and the worker goes
 * on. Since 0.1.0.
 */
STASH_API int stash_reply_error(struct stash_worker *worker, int app_code, const char *fmt, ...) STASH_PRINTF(3, 4);

/*
 * Answers a call that STASH_NOREPLY has left open, of this incarnation or of an
 * earlier one. from: a copy of msg->from. Context: callback. Returns 0;
 * STASH_E_NOENT if the caller is gone or has its answer, which does no harm;
 * STASH_E_BUSY if its client has left so many answers unread that there is no
 * room, beside that for the call in hand if this is of the same client and not
 * answered yet; STASH_E_TOOBIG. Since 0.1.0.
 */
STASH_API int stash_reply_to(struct stash_worker *worker, const struct stash_from *from, const void *data, size_t len);

/*
 * Whether that caller lives and its deadline hasn't passed. Context: callback,
 * event. Since 0.1.0.
 */
STASH_API bool stash_from_waits(struct stash_worker *worker, const struct stash_from *from);

/*
 * Lets it crash, with a reason in words: "return stash_fail(...)". Context:
 * callback. Returns STASH_E_APP. Since 0.1.0.
 */
STASH_API int stash_fail(struct stash_worker *worker, const char *fmt, ...) STASH_PRINTF(2, 3);

/*
 * handle_continue comes next, with this tag, before any other message and behind
 * the transition in hand, to which it belongs: when the worker dies before it has
 * run, the next incarnation runs it behind its init. To be returned: "return
 * stash_continue(...)"; goes with STASH_NOREPLY too. The last one of a callback
 * counts. tag: 1 to STASH_TAG_MAX bytes. Context: callback. Returns
 * STASH_CONTINUE; STASH_E_INVAL if the behaviour has no handle_continue. Since
 * 0.1.0.
 */
STASH_API int stash_continue(struct stash_worker *worker, const char *tag);

/*
 * Sends a message to oneself, of kind STASH_MSG_POST: so do event handlers and
 * threads change the state. One of a callback belongs to its transition and is
 * handled once, whoever crashes; one of an event handler or thread ends with this
 * incarnation. tag: 1 to STASH_TAG_MAX bytes. Context: any. Returns 0;
 * STASH_E_TOOBIG; STASH_E_BUSY if 1,024 posts, requests and ends of monitored
 * workers are open. Since 0.1.0.
 */
STASH_API int stash_post(struct stash_worker *worker, const char *tag, const void *data, size_t len);

/*
 * The worker's name; good as long as the worker, never NULL. Context: any.
 * Since 0.1.0.
 */
STASH_API const char *stash_self(const struct stash_worker *worker);

/* What init was given; good as long as the worker. Context: any. Since 0.1.0. */
STASH_API const struct stash_init *stash_init_info(const struct stash_worker *worker);

/*
 * The behaviour's local_size bytes, aligned to 64, the same from init to
 * terminate; NULL if local_size is 0. Context: callback, event. Since 0.1.0.
 */
STASH_API void *stash_local(struct stash_worker *worker);

/*
 * One line into stashd's log, under the worker's name. priority: LOG_* of
 * syslog.h. Leaves at once, also when the callback fails. Context: any. Since
 * 0.1.0.
 */
STASH_API void stash_log(struct stash_worker *worker, int priority, const char *fmt, ...) STASH_PRINTF(3, 4);

/*
 * Sends a message of kind STASH_MSG_TIMER to oneself in ms milliseconds; 0: as
 * soon as possible. Ends with this incarnation: init arms it again. Stores in
 * *ref, which may be NULL, the number by which it can be cancelled, and which
 * the message carries. Context: callback, event. Returns 0; STASH_E_TOOBIG.
 * Since 0.1.0.
 */
STASH_API int stash_send_after(
    struct stash_worker *worker, uint64_t ms, const char *tag, const void *data, size_t len, int64_t *ref);

/*
 * The same again and again, every ms milliseconds, ms > 0; late ticks come as
 * one. Since 0.1.0.
 */
STASH_API int stash_send_interval(
    struct stash_worker *worker, uint64_t ms, const char *tag, const void *data, size_t len, int64_t *ref);

/*
 * Cancels a timer. Context: callback, event. Returns 0: it won't come;
 * STASH_E_NOENT: it has come, or was another incarnation's. Since 0.1.0.
 */
STASH_API int stash_cancel_timer(struct stash_worker *worker, int64_t ref);

/*
 * Runs a function in a process of its own: run(data, len, result), in a copy of
 * the worker's memory, made when the transition that asked for it is safe. Its
 * end comes as a message of kind STASH_MSG_TASK with this tag and ref: code is
 * what run has returned, data what it has put into result (up to
 * STASH_DATA_MAX bytes). If it crashed or left without returning, code is
 * STASH_E_CRASHED, after timeout_ms milliseconds (-1: no limit)
 * STASH_E_TIMEDOUT, if it could not be started another STASH_E_*; data is then
 * a sentence. Of this library run may call stash_buf_* and stash_view_* only;
 * of the worker's descriptors it has but the standard ones. Ends with this
 * incarnation, unreported. Stores in *ref, which may be NULL, the number by
 * which it can be cancelled. At most 64 at once. Context: callback. Returns 0;
 * STASH_E_TOOBIG; STASH_E_BUSY: too many. Since 0.1.0.
 */
STASH_API int stash_task(struct stash_worker *worker, const char *tag,
    int (*run)(const void *data, size_t len, struct stash_buf *result), const void *data, size_t len, int timeout_ms,
    int64_t *ref);

/*
 * Kills a task, at once, also if the callback fails later; no message of it
 * comes, even if it has ended already. Context: callback, event. Returns 0;
 * STASH_E_NOENT: its message has come, or it was another incarnation's. Since
 * 0.1.0.
 */
STASH_API int stash_task_cancel(struct stash_worker *worker, int64_t ref);

/*
 * A call of another worker whose answer comes as a message of kind
 * STASH_MSG_REPLY to handle_info, with the tag of the request, *ref and the code
 * that stash_call() would have returned; to the next incarnation if need be. In a
 * callback it leaves with its transition and is handled once there, whoever
 * crashes. timeout_ms: -1: for ever; then the answer's code is
 * STASH_E_TIMEDOUT. ref may be NULL. Context: callback, event. Blocks for the
 * supervisor when that name is asked for the first time, in a callback also for
 * room, up to STASH_TIMEOUT; in an event handler until it is in the worker's
 * slot, from which the next incarnation sends it if this one dies. Returns 0;
 * STASH_E_NOENT, _DOWN, _BUSY (no room; 1,024 are open), _TOOBIG. Since 0.1.0.
 */
STASH_API int stash_request(struct stash_worker *worker, const char *name, const char *tag, const void *data,
    size_t len, int timeout_ms, int64_t *ref);

/*
 * A client of this worker's own, borrowed; NULL: no memory. Its stash_cast() and
 * stash_send() go by the worker's own channels: those of a callback leave with
 * its transition and arrive once, whoever crashes; so do those of an event
 * handler from when they have returned 0, which is when they are in the worker's
 * slot. Its other calls block, may only be made in a callback, leave at once, and
 * are made again when the callback is run again; a call to oneself is
 * STASH_E_DEADLOCK, in a ring it gets its timeout. Context: callback; event:
 * casts and sends only, the others give STASH_E_INVAL. Since 0.1.0.
 */
STASH_API struct stash_client *stash_worker_client(struct stash_worker *worker);

/*
 * Names, groups and monitors. These functions ask the supervisor and block until
 * it answers, also while it is being replaced. They take effect at once, not
 * with the transition, and may be asked for again, as a callback does that is
 * run again. What they made stays over restarts, and is freed with the child's
 * end for good: when it has ended and won't come back by itself, or is no child
 * any more. Context: callback. Each also returns STASH_E_INVAL for what is no
 * name; STASH_E_DOWN if nobody is left to answer.
 */

/*
 * Takes a further name, under which the worker is found and called like under
 * its own. One's own again: 0. Returns 0; STASH_E_EXIST: it is somebody else's;
 * STASH_E_INVAL: this child has no name at all. Since 0.1.0.
 */
STASH_API int stash_register(struct stash_worker *worker, const char *alias);

/*
 * Gives a further name up, with its value. Returns 0, also if nobody has it;
 * STASH_E_EXIST: it is somebody else's; STASH_E_INVAL: it is the child's own.
 * Since 0.1.0.
 */
STASH_API int stash_unregister(struct stash_worker *worker, const char *alias);

/*
 * Stores a value with a name of one's own, in place of the last one: what others
 * are to know of this worker without calling it. len: up to STASH_VALUE_MAX.
 * Returns 0; STASH_E_TOOBIG; STASH_E_NOENT: nobody has that name; STASH_E_EXIST:
 * somebody else has. Since 0.1.0.
 */
STASH_API int stash_registry_put(struct stash_worker *worker, const char *name, const void *data, size_t len);

/*
 * Joins a group, which is there as long as it has members; its name has nothing
 * to do with names of workers. A member already: 0. Since 0.1.0.
 */
STASH_API int stash_group_join(struct stash_worker *worker, const char *group);

/* Leaves it. No member: 0. Since 0.1.0. */
STASH_API int stash_group_leave(struct stash_worker *worker, const char *group);

/*
 * Asks to be told of each end of a worker's incarnation, by a message of kind
 * STASH_MSG_DOWN to handle_info: tag "DOWN", the worker's name as data, ref, and
 * code: its enum stash_reason. Told at once with STASH_REASON_NOPROC if there is
 * none; a worker that is being restarted is one. An alias stands for the worker
 * that has it at this moment. Stays over restarts of both; asked again, also by
 * a later incarnation: the same ref. An end that this worker doesn't live to
 * handle is told to its next incarnation; so each end is told once, but at most
 * 400 of one monitor that wait are kept. ref: stored in *ref, which may be NULL. Since 0.1.0.
 */
STASH_API int stash_monitor(struct stash_worker *worker, const char *name, int64_t *ref);

/*
 * No DOWN of that monitor comes any more, also none that is on its way. Unknown
 * ref: 0. Since 0.1.0.
 */
STASH_API int stash_demonitor(struct stash_worker *worker, int64_t ref);

/*
 * The worker's libevent 2.1 base, for events of its own; borrowed, never to be
 * looped, broken or freed. Context: callback, event; elsewhere NULL. Since
 * 0.1.0.
 */
STASH_API struct event_base *stash_worker_events(struct stash_worker *worker);

#ifdef __cplusplus
}
#endif

#endif
