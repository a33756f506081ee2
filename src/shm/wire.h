/* SPDX-License-Identifier: ISC */
/*
 * wire.h: the messages on the sockets between client, supervisor, worker, stash and keeper, in one place.
 * Each is one SEQPACKET datagram of at most STASH__WIRE_MAX bytes: items packed by stash_buf_add_int/_text/_bytes
 * and read by stash_view_*, the first two being type and request number (0 where no answer is awaited); an answer
 * has its request's number.  Descriptors ride along in the order given as [a, b].  A message that does not end
 * where its items end is refused (stash_view_end).  No native struct is ever sent.
 * "error" is 0 or a STASH_E_*, "text" its sentence.
 */
#ifndef STASH_SHM_WIRE_H
#define STASH_SHM_WIRE_H

#define STASH__WIRE_VERSION 1
#define STASH__WIRE_MAX (128 * 1024)
#define STASH__WIRE_FDS 8

#define STASH__SOCKET_NAME "stash.sock"	    /* in the run directory */
#define STASH__STATUS_NAME "status"	    /* the status page's file there */
#define STASH__SLOT_DIR "slot"		    /* NAME.out, NAME.in and NAME.bell in it */
#define STASH__WAY_DIR "way"		    /* channels from worker to worker in it */
#define STASH__ROWS_NAME "supervisor.rows"  /* the supervisor's own slot */
#define STASH__WORKER_ENV "STASH_WORKER_FD" /* the control socket's descriptor in a program that was exec'ed */

/* ---- supervisor <-> worker (socketpair, made for each incarnation) ---- */
enum stash__worker_wire {
	/* supervisor to worker */

	/* Before the fork, so that it is there at once: version, name, incarnation, the supervisor's pid, restarts,
	 * last_reason, ack_disk, no_persist, max_attempts, spin_ns, argc, argv... (bytes each, no NUL), the store's
	 * directory [slot out (rw), slot in (ro), bell page (rw), own bell, stash's bell, status page] */
	STASH__W_START = 1,
	/* the predecessor is retired: touch the base, run init; whether the death signal stays (0/1) */
	STASH__W_GO = 2,
	/* id (16 bytes), place, client gone (0/1), uid, pid, enum stash__attach [channel, client's bell]: place's row
	 * is in the base, or will be when the base has turned (new channel: zeros) */
	STASH__W_ATTACH = 3,
	/* id: its client is dead: handle what is published, drop replies, delete the row */
	STASH__W_GONE = 4,
	/* error, text: the answer to GROW: slot files have grown, map them anew [slot out (rw), slot in (ro)] */
	STASH__W_GROWN = 5,
	/* end in order (also said by SIGTERM) */
	STASH__W_STOP = 6,
	/* error, text, name as it was asked for, without error: id (16 bytes), name of the worker there [the channel's
	 * file, that worker's bell, its bell page]: the answer to WAY, or, behind GO, one that the name had before */
	STASH__W_WAY_TO = 33,
	/* behind those: that was all */
	STASH__W_WAYS = 34,
	/* number, error, text, ref: the answer to NAMES */
	STASH__W_NAMED = 41,
	/* ref, number (grows), name, enum stash_reason: the end of a monitored worker; again to each incarnation until
	 * TAKEN */
	STASH__W_DOWN = 42,
	/* layout, version, state size, fields packed (none: nothing): the answer to ASK_FIELDS */
	STASH__W_FIELDS = 60,

	/* worker to supervisor */

	/* init has returned: error (0, STASH_IGNORE, STASH_E_*), text */
	STASH__W_READY = 16,
	/* image bytes, ring bytes wanted: waits for GROWN */
	STASH__W_GROW = 17,
	/* behaviour name, layout version, state size, fields packed (shm/fields.h): once, before READY */
	STASH__W_LAYOUT = 18,
	/* id: the row is deleted, let go of the channel */
	STASH__W_DETACHED = 19,
	/* id, error, text: positions beyond the base, or the channel broke the rules: close it */
	STASH__W_REFUSED = 20,
	/* priority, line */
	STASH__W_LOG = 21,
	/* name: a channel of this worker's name to that one's; answered by WAY_TO */
	STASH__W_WAY = 32,
	/* id: its row is deleted, let go of it */
	STASH__W_WAY_OVER = 35,
	/* (with a number) enum stash__name_ask (shm/names.h), name, ref, bytes: waits for NAMED; may be asked again */
	STASH__W_NAMES = 40,
	/* number: of the last DOWN in an entry */
	STASH__W_TAKEN = 43,
	/* layout, version: of the state that it has found; asked again if unanswered */
	STASH__W_ASK_FIELDS = 61
};

/* Whose channel it is. */
enum stash__attach {
	STASH__ATTACH_CLIENT = 0, /* a memfd; the bell is the client's eventfd */
	STASH__ATTACH_WAY = 1,	  /* another worker's, a file */
	STASH__ATTACH_LINE = 2 /* of a client of another user: the bell is an end of a line, at which it rings, too */
};

/* ---- client or tool <-> supervisor (the broker socket) ---- */
enum stash__broker_wire {
	/* requests */

	STASH__B_HELLO = 1, /* version, label [client's bell] */
	/* name, ring_bytes: a channel to that worker; waits while the name is starting or restarting */
	STASH__B_OPEN = 2,
	STASH__B_PRESENT = 3,	   /* id, name [channel memfd]: to a new supervisor */
	STASH__B_CLOSE = 4,	   /* id: done with it */
	STASH__B_WHEREIS = 5,	   /* name */
	STASH__B_WHICH = 6,	   /* supervisor path: its children in OTP's order */
	STASH__B_STOP = 7,	   /* the whole tree; answered when it has begun, the socket's end says: over */
	STASH__B_BOUNCE = 8,	   /* name: answered when it runs again */
	STASH__B_KILL = 9,	   /* name, signal: by pidfd */
	STASH__B_SCAN = 10,	   /* database (enum stash__scan), from key (bytes), rows at most */
	STASH__B_LIST = 11,	   /* every worker of the tree, in order, supervisors before their children */
	STASH__B_PING = 12,	   /* nothing */
	STASH__B_AWAIT = 13,	   /* name, timeout in ms: answered when it is running */
	STASH__B_CANCEL = 14,	   /* request number: no answer is awaited any more */
	STASH__B_START_CHILD = 15, /* supervisor path, token (16 bytes, of this request alone), child (shm/spec.h) */
	STASH__B_TERMINATE_CHILD = 16, /* supervisor path, id; so have the next two and GET_CHILDSPEC */
	STASH__B_RESTART_CHILD = 17,
	STASH__B_DELETE_CHILD = 18,
	STASH__B_COUNT_CHILDREN = 19, /* supervisor path */
	STASH__B_GET_CHILDSPEC = 20,
	/* request number: the request of that number, which follows, was sent to a supervisor that has died since; no
	 * answer */
	STASH__B_AGAIN = 21,
	/* dry run (0/1): the config file is read again and applied, or what that would do is told.  Answer: STEPS, more
	 * than one; the last one when all is done */
	STASH__B_RELOAD = 31,
	/* prefix: names and aliases in order, as PROCESSES; each with the name under which it is listed */
	STASH__B_NAMES = 34,
	STASH__B_VALUE = 35, /* name: its value */
	STASH__B_GROUP = 36, /* group: its members in order, as PROCESSES */
	/* name, incarnation (0: whichever runs) [sealed memfd: the state's bytes]: of a program that isn't linked;
	 * answered when it is safe */
	STASH__B_PUT = 46,
	/* [regular file, for writing]: the store is copied to it, see S_COPY.  Answer: DONE */
	STASH__B_COPY = 48,
	STASH__B_SHOW = 50, /* name: its last state in its behaviour's own words */
	/* the next supervisor and stash by the binary that stands on the disk now; answered by REEXECED before the
	 * supervisor gives way */
	STASH__B_REEXEC = 56,
	STASH__B_ABOUT = 57, /* who answers: ABOUT_IS */

	/* answers */

	/* error, text, version, store id, pid of the supervisor, spin_ns, lines (1: the client is another user's, and
	 * has a line for each channel in place of both bells) [status page] */
	STASH__B_WELCOME = 64,
	/* error, text; to OPEN: id, ring_bytes [channel memfd, worker's bell or the client's end of the line, bell page
	 * (ro)]; to PRESENT: id [worker's bell, bell page]; with a line: [bell page], the line stays, or [a new end,
	 * bell page]; with an error no more items and no descriptors */
	STASH__B_CHANNEL = 65,
	STASH__B_PROCESS = 66,	 /* error, text, then one process (stash__pack_process) */
	STASH__B_PROCESSES = 67, /* error, text, more (1: further messages follow), count, that many processes */
	STASH__B_DONE = 68,	 /* error, text, term (stash_errterm) */
	STASH__B_ROWS = 69, /* error, text, count, whether that was all [memfd: rows as store_row_next() reads them] */
	STASH__B_DOWN = 70, /* unasked, request number 0: id, error, text: this channel is down for good */
	/* error (0, STASH_IGNORE, STASH_E_*), text, term, whether a process follows (0/1), that process */
	STASH__B_STARTED = 71,
	STASH__B_COUNTS = 72, /* error, text; without error: specs, active, supervisors, workers */
	STASH__B_CHILDSPEC =
	    73,			/* error, text; without error: more (0/1), place (0 begins), bytes: of a packed child */
	STASH__B_VALUE_OF = 80, /* error, text; without error: bytes */
	STASH__B_FREED = 81,	/* unasked, request number 0: alias: it isn't the name of whom it was any more */
	/* error, text; without error: version, pid of the supervisor, supervisors so far (this one included),
	 * generation of its binary (0: the one that stashd was started by), version of the keeper, its pid (0: dead) */
	STASH__B_ABOUT_IS = 110,
	STASH__B_REEXECED = 111, /* error, text; without error: version and generation of who comes now */
	STASH__B_WORDS = 100,	 /* error, text; without error: version of the state, text: "" if it has none */
	/* error, text, term, more (1: further messages follow), count, for each of that many steps: what ("flags",
	 * "remove", "change", "add", "later"), path (of "later" a key), why */
	STASH__B_STEPS = 101
};

enum stash__scan {
	STASH__SCAN_STATE = 1, /* value: packed stash_state without data; history, registry, ... likewise as stored */
	STASH__SCAN_HISTORY = 2,
	STASH__SCAN_CURSOR = 3,
	STASH__SCAN_REGISTRY = 4,
	STASH__SCAN_TREE = 5,
	STASH__SCAN_EVENT = 6,
	STASH__SCAN_SCHEMA = 7,
	STASH__SCAN_META = 8
};

/* ---- supervisor <-> stash (socketpair; handed on from supervisor to supervisor by the keeper) ---- */
/*
 * Requests of one name are done in the order in which they come.  Those marked (disk) are answered when a commit
 * that began after them is over; all others are answered without waiting for the disk, and may overtake them.
 */
enum stash__stash_wire {
	/* name, no_persist, history, image bytes, ring bytes [worker's bell, or none].  Makes the slot with what
	 * the store has, or finds it; grows it to hold images and a ring of that size (0: as it is).  The bell
	 * is kept and rung once; without one the last one stays.  Answer: OPENED */
	STASH__S_OPEN = 1,
	/* name, incarnation, wait status (as waitpid's; -1: unknown), cause (enum stash__cause), max_attempts
	 * (0: 3).  Only when its pidfd says dead, and before it is reaped.  Answer: RETIRED */
	STASH__S_RETIRE = 2,
	/* name, id (bytes), uid, use (enum stash__use): makes a row, or finds it.  Answer: ROW */
	STASH__S_CHANNEL = 3,
	/* name, id (bytes): deletes the row; only while all incarnations are retired (else STASH_E_BUSY).
	 * Answer: DONE */
	STASH__S_UNCHANNEL = 4,
	/* name, keep: (disk) commits what is there; keep = 0: then deletes the slot's files, what is stored
	 * stays.  STASH_E_BUSY: an incarnation is not retired.  Answer: DONE */
	STASH__S_CLOSE = 5,
	/* database (enum stash__scan, + STASH__SCAN_HEADS), from key (bytes), rows at most: (disk) what was
	 * folded and submitted before it is in it.  Answer: ROWS [memfd: a slice, for store_row_next()] */
	STASH__S_SCAN = 6,
	/* All rows of tree, registry and schema: those stored, then those submitted and not yet stored, in
	 * order: a later one of the same key counts.  Answer: ROWS [memfd: for stash__rows_next()] */
	STASH__S_DUMP = 7,
	/* (disk) folds and commits everything.  Answer: DONE */
	STASH__S_SYNC = 8,
	/* (disk) the same; then marks the store clean, deletes slots, status page and the supervisor's rows;
	 * answers DONE; exits with 0. With an error it goes on as before.  STASH_E_BUSY: some incarnation is not
	 * retired */
	STASH__S_SHUTDOWN = 9,
	/* [regular file, for writing]: (disk) the store, as of one moment, is written to the file from its beginning.
	 * One at a time, else STASH_E_BUSY.  Nothing else waits for it.  Answer: DONE */
	STASH__S_COPY = 10,

	/* Unasked, number 0, once the store is open, all slots are folded and committed as far as that went:
	 * error, text (without error: what was found, in words), incarnation (of the stash process), store id
	 * (bytes), slots found, was clean (0/1), boot is new (0/1) [status page (ro), stash's bell].  With an
	 * error nothing follows the text but the exit, and no descriptors */
	STASH__S_HELLO = 64,
	/* error, text; without error: fence, version, retired, channels, then for the first STASH__S_CHANNELS of
	 * them (id, place, uid); whoever has more reads the base [slot out (rw), slot in (ro), bell page (rw)] */
	STASH__S_OPENED = 65,
	/* error, text; without error: fence, verdict (enum stash__verdict), place, number, attempts, own fault
	 * (0/1), kind, tag, len, phase, version, crashes (own faults with no message handled well in between) */
	STASH__S_RETIRED = 66,
	STASH__S_ROW = 67,  /* error, text; without error: place */
	STASH__S_DONE = 68, /* error, text */
	STASH__S_ROWS = 69, /* error, text; without error: count, whether that was all (0/1) [memfd] */
	/* Unasked, number 0: name, text: an entry of that slot is broken; its worker must be killed and retired.
	 * The name is "" for the supervisor's own rows: those behind the last good one are lost */
	STASH__S_BROKEN = 70
};

#define STASH__S_CHANNELS 3000	/* rows that an OPENED lists */
#define STASH__SCAN_HEADS 0x100 /* of states only the first row of each, not those with more data */

/* Why the supervisor says that an incarnation ended. */
enum stash__cause {
	STASH__CAUSE_EXIT = 0,	  /* by itself: the status and the black box tell */
	STASH__CAUSE_STOPPED = 1, /* the supervisor had asked it to stop (SIGTERM, then SIGKILL): no fault of its own */
	STASH__CAUSE_STUCK = 2,	  /* handler_timeout: own fault */
	STASH__CAUSE_NEVER = 3,	  /* it never got its go */
	STASH__CAUSE_LOSS = 4	  /* with its supervisor, as it was to: no fault, and no attempt at its message */
};

enum stash__verdict {
	STASH__VERDICT_NONE = 0,   /* nothing in hand, or all of it is safe: nobody is charged */
	STASH__VERDICT_AGAIN = 1,  /* the message is tried again */
	STASH__VERDICT_ASIDE = 2,  /* set aside: its caller gets STASH_E_CRASHED */
	STASH__VERDICT_CAREFUL = 3 /* nobody can be charged yet: the batch is done again one by one */
};

/* ---- supervisor <-> keeper ---- */
/* Of these, which alone are spoken between binaries of two versions.  In version 1 END had no second number. */
#define STASH__KEEPER_VERSION 2
#define STASH__KEEPER_FIRST 1 /* what a supervisor still understands */
enum stash__keeper_wire {
	STASH__K_STORE =
	    1, /* key, pid that it belongs to (0: none) [descriptors, at most 4]; replaces; no answer.  A child
			      * of the keeper whose pid stands in no item is an orphan of somebody's, and is killed */
	STASH__K_DROP = 2,   /* key; no answer */
	STASH__K_FETCH = 3,  /* all: answered by one ITEM for each key, then END */
	STASH__K_STATUS = 4, /* key, pid: waitid(WNOWAIT) by the pidfd that is kept there; answered by STATUSED */
	STASH__K_REAP = 5,   /* key, pid: by that pidfd; no answer */
	STASH__K_BEAT = 6,   /* I live; no answer */
	STASH__K_OVER = 7,   /* result code, text, term: the tree has ended for good, do not start me again */
	/* start my successor by the binary as it stands on the disk now, beside me; answered by REEXECED */
	STASH__K_REEXEC = 16,
	STASH__K_YIELD = 17, /* whoever asked for it knows: end me, and let that one go on; no answer */
	/* The first word of one that came by exec, before FETCH: error, text, its version.  With an error it ends */
	STASH__K_HELLO = 18,
	STASH__K_SETTLED = 19, /* I have taken over all that there was; no answer */

	STASH__K_ITEM = 64, /* key, pid [descriptors] */
	/* starts (how many supervisors there were, with this one); whether one of them had begun a tree: it has
	 * stored a worker's descriptors, or said SETTLED */
	STASH__K_END = 65,
	STASH__K_STATUSED = 66, /* pid, state (0: runs, 1: dead, 2: not my child), wait status */
	STASH__K_REEXECED = 80	/* error, text; without error: version and generation of the successor, which waits */
};

#endif
