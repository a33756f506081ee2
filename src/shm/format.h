/* SPDX-License-Identifier: ISC */
/*
 * format.h: every byte that processes share in memory: bell page, status page, channel, slot.
 * Each piece has one living writer, named at its struct.  Positions are bytes in a ring that only grow
 * (index = position modulo size); entry and request numbers count from 1.  A tail is stored with release
 * and read with acquire: what stands behind a tail does not exist.  Nothing here is trusted by the other
 * side before it has been copied and checked.  stash-format(5) tells the same in words.
 */
#ifndef STASH_SHM_FORMAT_H
#define STASH_SHM_FORMAT_H

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <stash/error.h>
#include <stash/message.h>

#define STASH__LINE 64 /* a cache line; what two processes write never shares one */
#define STASH__PAGE 4096
#define STASH__ID 16 /* bytes of a store, boot or channel id */

#define STASH__SLOT_FORMAT 2u
#define STASH__CHANNEL_FORMAT 1u

#define STASH__MAGIC_BELL 0x6c6c65622e687473ull	   /* "sth.bell" */
#define STASH__MAGIC_STATUS 0x746174732e687473ull  /* "sth.stat" */
#define STASH__MAGIC_CHANNEL 0x6e6168632e687473ull /* "sth.chan" */
#define STASH__MAGIC_OUT 0x74756f2e2e687473ull	   /* "sth..out" */
#define STASH__MAGIC_IN 0x6e692e2e2e687473ull	   /* "sth...in" */

typedef _Atomic uint64_t stash__word;
typedef _Atomic uint32_t stash__half;

static_assert(sizeof(void *) == 8, "64-bit machines only");
static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && sizeof(stash__word) == 8, "positions are lock-free words");

/* ---- bell page: one for each worker name, written by the worker, read by its clients and the stash ---- */
struct stash__bell_page {
	uint64_t magic;
	uint32_t format;
	uint32_t reserved;
	uint8_t pad0[STASH__LINE - 16];
	stash__half asleep; /* 1: ring before expecting that it looks */
	stash__half core;   /* the core that it runs on while it is awake, counted from 1; 0: none */
	stash__half crowd;  /* clients that were served since it last slept or spun: more than one forbids spinning */
	uint32_t reserved2;
	stash__word incarnation;
	stash__word ready; /* the incarnation whose init has returned well: for a supervisor that takes over */
	uint8_t pad1[STASH__LINE - 32];
};
static_assert(sizeof(struct stash__bell_page) == 128, "bell page");

/* ---- status page of the store: written by the stash process, mapped read-only by everybody ---- */
struct stash__status_page {
	uint64_t magic;
	uint32_t format;
	uint32_t reserved;
	uint8_t store_id[STASH__ID];
	uint8_t pad0[STASH__LINE - 32];
	stash__word incarnation; /* of the stash process, from 1 */
	stash__word heartbeat;	 /* CLOCK_MONOTONIC in ns, moved about once a second */
	stash__half store_full;	 /* 1: no room, new calls are refused before they are sent */
	stash__half store_error; /* the last commit's STASH_E_* as a positive number, 0: it went well */
	stash__word pid;
	stash__word rounds;    /* fold rounds that found something */
	stash__word entries;   /* entries folded */
	stash__word commits;   /* write transactions that succeeded */
	stash__word commit_ns; /* time spent in them */
	uint8_t pad1[STASH__LINE];
	stash__word bytes_used; /* of the store, at the last commit */
	stash__word bytes_quota;
	stash__word broken; /* entries skipped because they failed validation */
	stash__word deaths; /* of stash processes since this boot's first */
	uint8_t pad2[STASH__LINE - 32];
};
static_assert(sizeof(struct stash__status_page) == 256 && offsetof(struct stash__status_page, incarnation) == 64 &&
	offsetof(struct stash__status_page, bytes_used) == 192,
    "status page");

/* ---- channel: a sealed memfd; page 0 is this header, then the request ring, then the reply ring ---- */
#define STASH__FULL 0x4c4c5546u /* the mark in `full': a word that a stray write hardly makes */
struct stash__channel_page {
	uint64_t magic; /* this line is written once, before the channel is handed out, and read once, at attach */
	uint32_t format;
	uint32_t reserved;
	uint64_t ring_bytes; /* of each of the two rings, a multiple of the page size */
	uint8_t id[STASH__ID];
	uint8_t pad0[STASH__LINE - 40];
	/* the client's */
	stash__word req_tail;
	stash__word rep_head;
	stash__half client_asleep;
	stash__half client_core;   /* as in the bell page */
	stash__half client_closed; /* 1: it will not come back, should the next supervisor wait for it */
	uint8_t pad1[STASH__LINE - 28];
	/* the worker's; when it is dead, the supervisor's */
	stash__word req_head;
	stash__word rep_tail;
	stash__half full; /* STASH__FULL: no room for a larger state, new calls are refused before they are sent */
	uint8_t pad2[STASH__LINE - 20];
	/* the supervisor's */
	stash__half down; /* not 0: a STASH_E_* as a positive number; no request here is ever executed again */
	uint8_t pad3[STASH__LINE - 4];
};
/* Behind it, in a way (a channel from worker to worker): whose it is. */
struct stash__way_page {
	struct stash__channel_page channel;
	char from[STASH_NAME_MAX + 1], to[STASH_NAME_MAX + 1];
};
static_assert(sizeof(struct stash__channel_page) == 256 && offsetof(struct stash__channel_page, req_tail) == 64 &&
	offsetof(struct stash__channel_page, req_head) == 128 && offsetof(struct stash__channel_page, down) == 192,
    "channel page");

/* A request or a reply in a ring.  Frames are contiguous (rings are mapped twice in a row) and 8-byte aligned. */
struct stash__frame {
	uint64_t checksum; /* XXH3-64 of all that follows, data included, seeded with the frame's position */
	uint64_t number;   /* requests: counted from 1 in the channel; replies: of the request that they answer */
	int64_t deadline;  /* requests: CLOCK_MONOTONIC in ns, INT64_MAX: none */
	uint32_t len;	   /* of the data */
	uint8_t kind;	   /* enum stash_msg_kind; replies: 0 */
	uint8_t tag_len;   /* without its NUL; replies: 0 */
	uint16_t reserved;
	int32_t code;	  /* replies: STASH_OK or STASH_E_* */
	int32_t app_code; /* replies: with STASH_E_APP */
			  /* the tag with its NUL, padded to 8 bytes; then the data, padded to 8 bytes */
};
static_assert(sizeof(struct stash__frame) == 40 && offsetof(struct stash__frame, len) == 24, "frame");

#define STASH__PAD8(n) (((uint64_t)(n) + 7) & ~7ull)
#define STASH__FRAME_HEAD_MAX (sizeof(struct stash__frame) + 64) /* with the longest tag */
#define STASH__RING_MIN (64u * 1024)				 /* of one ring of a channel */
#define STASH__RING_DEFAULT (2048u * 1024)			 /* the same */
#define STASH__RING_MAX (64u * 1024 * 1024)
#define STASH__WAY_RING STASH__RING_DEFAULT /* of each of its two rings; room for them is taken as they fill */

/* ---- slot, out half: written by the worker, mapped read-only by the stash ---- */

/* What the worker is doing. */
enum stash__phase {
	STASH__PHASE_NONE = 0,
	STASH__PHASE_INIT = 1,
	STASH__PHASE_IDLE = 2,	   /* asleep or looking for messages */
	STASH__PHASE_CALLBACK = 3, /* a message's callback runs */
	STASH__PHASE_BETWEEN = 4,  /* awake, between callbacks or preparing the entry */
	STASH__PHASE_SUBMIT = 5,   /* writing the entry and publishing */
	STASH__PHASE_WAITING = 6,  /* for room or for the disk */
	STASH__PHASE_TERMINATE = 7,
	STASH__PHASE_DONE = 8 /* about to exit as it should */
};

#define STASH__BOX_PCS 32
#define STASH__BOX_TEXT 256
#define STASH__BOX_BINS 40 /* bin b counts callbacks that took 2^b <= ns < 2^(b+1) */

/* What a crash left: by the handler (signal), or by the loop (an error result). */
struct stash__crash {
	uint32_t present; /* written last: 1 a signal, 2 an error result */
	int32_t signal;	  /* 0 with an error result */
	int32_t code;	  /* si_code; or the callback's result */
	int32_t sender;	  /* si_pid, when another process sent the signal (si_code <= 0); else 0 */
	uint64_t address; /* si_addr */
	uint32_t npcs;
	uint32_t reserved;
	uint64_t pcs[STASH__BOX_PCS];
	char text[STASH__BOX_TEXT]; /* stash_fail()'s sentence, NUL-terminated */
};

/* The black box: the message in hand, counters, the crash.  Readable at any moment; torn reads do no harm. */
struct stash__box {
	stash__word in_hand; /* STASH__HAND(); 0: nothing */
	stash__half phase;   /* enum stash__phase */
	stash__half batch;   /* messages taken in this batch so far, the one in hand included */
	stash__half kind;
	stash__half attempt;
	stash__word len;
	stash__word since; /* CLOCK_MONOTONIC in ns: when the phase or the message began */
	stash__word asked; /* why it ends: 1: STASH_STOP, STASH_IGNORE; 2: STASH_STOP_SHUTDOWN; 3: it was told to */
	uint8_t pad0[STASH__LINE - 48];
	char tag[STASH_TAG_MAX + 1];
	stash__word handled;   /* messages, of all incarnations */
	stash__word commits;   /* entries, of all incarnations */
	stash__word waits;     /* times that it slept */
	stash__word waited_ns; /* for the stash: room or disk */
	uint8_t pad1[STASH__LINE - 32];
	stash__word bins[STASH__BOX_BINS];
	struct stash__crash crash;
};
static_assert(offsetof(struct stash__box, tag) == 64 && offsetof(struct stash__box, handled) == 128 &&
	offsetof(struct stash__box, bins) == 192 && sizeof(struct stash__box) <= STASH__PAGE,
    "black box");

/* One word: 16 bits of the incarnation, 16 of the channel's place, 32 of the request's number (its low bits). */
#define STASH__HAND(incarnation, place, number) \
	(((uint64_t)((incarnation)&0xffff) << 48) | ((uint64_t)((place)&0xffff) << 32) | ((number)&0xffffffffull))
#define STASH__HAND_INCARNATION(w) ((uint32_t)((w) >> 48))
#define STASH__HAND_PLACE(w) ((uint32_t)((w) >> 32) & 0xffff)
#define STASH__HAND_NUMBER(w) ((uint32_t)(w))
#define STASH__PLACE_NONE 0xffffu   /* init, a timer, a message of another thread: nothing that is kept */
#define STASH__PLACE_RECORD 0xfffeu /* a record: the number is its id */
#define STASH__PLACES 65534u

/* By how much an incarnation can lie beyond the fence of its slot; what is further is a stray write. */
#define STASH__OWNER_AHEAD (1u << 20)

struct stash__out_page {
	uint64_t magic; /* this line and the next: by the stash, before the file gets its name */
	uint32_t format;
	uint32_t reserved;
	uint8_t boot_id[STASH__ID];
	uint8_t store_id[STASH__ID];
	uint8_t pad0[STASH__LINE - 48];
	stash__word ring; /* STASH__RING(): where the entry ring is; the worker moves it while the ring is empty */
	uint8_t pad1[STASH__LINE - 8];
	/* who owns this half: written by the child before it says hello */
	stash__word owner; /* incarnation */
	stash__word owner_pid;
	stash__word owner_start; /* start time in clock ticks since boot */
	stash__half ack_disk;	 /* 1: it waits for durable before it publishes */
	uint32_t reserved2;
	uint8_t pad2[STASH__LINE - 32];
	stash__word out_tail; /* bytes */
	stash__word wanted;   /* the entry number that it waits for to be durable; 0: none */
	uint8_t pad3[STASH__LINE - 16];
	char layout[STASH_NAME_MAX + 1]; /* behaviour's name and layout, for the store; set before the first entry */
	uint8_t pad4[7 + 48 - 0];
	stash__word layout_version;
};
static_assert(offsetof(struct stash__out_page, ring) == 64 && offsetof(struct stash__out_page, owner) == 128 &&
	offsetof(struct stash__out_page, out_tail) == 192 && offsetof(struct stash__out_page, layout) == 256 &&
	offsetof(struct stash__out_page, layout_version) == 512,
    "out page");

/* The file: this page, a page for the black box, the entry ring.  It grows in place and never shrinks: a larger ring
 * stands behind the old one, and the word `ring' (offset and length in pages) says which counts. */
#define STASH__OUT_BOX STASH__PAGE
#define STASH__OUT_RING (2 * STASH__PAGE)
#define STASH__RING(offset, bytes) (((uint64_t)((offset) / STASH__PAGE) << 32) | (uint64_t)((bytes) / STASH__PAGE))
#define STASH__RING_OFFSET(w) (((w) >> 32) * STASH__PAGE)
#define STASH__RING_BYTES(w) (((w)&0xffffffffull) * STASH__PAGE)
#define STASH__ENTRIES_MIN (64u * 1024)	  /* bytes of a new slot's ring */
#define STASH__ENTRIES_MAX (4096u * 1024) /* what traffic alone may make it grow to */

/* How far one channel got with an entry. */
struct stash__position {
	uint32_t place;
	uint32_t flags; /* STASH__POSITION_GONE: the client is dead and all is handled, the row goes */
	uint64_t req_bytes, req_count;
	uint64_t rep_bytes, rep_count;
};
#define STASH__POSITION_GONE 1u
static_assert(sizeof(struct stash__position) == 40, "position");

/*
 * What a transition has left to be done: kept in the base until an entry says that it is.  In an entry those that are
 * new, and DONE for those that are over; in a base those that are open, in the order of their ids.
 */
struct stash__record {
	uint32_t bytes; /* all of it, a multiple of 8 */
	uint8_t kind;	/* enum stash__record_kind */
	uint8_t tag_len;
	uint16_t reserved;
	uint64_t id;	  /* from 1 up, in the slot; of DONE: which one is over */
	uint64_t number;  /* REQUEST: of the request in its channel; DOWN: as the supervisor counts what it tells */
	int64_t ref;	  /* the caller's: of a request, a monitor */
	int64_t deadline; /* REQUEST: CLOCK_MONOTONIC in ns, INT64_MAX: none */
	uint32_t place;	  /* REQUEST: its channel's */
	int32_t code;	  /* DOWN: enum stash_reason */
	uint32_t len;	  /* of the data */
	uint32_t reserved2;
	/* the tag with its NUL, padded to 8 bytes; then the data, padded to 8 bytes */
};
static_assert(sizeof(struct stash__record) == 56, "record");

enum stash__record_kind {
	STASH__RECORD_DONE = 0,
	STASH__RECORD_POST = 1,	    /* a message to oneself */
	STASH__RECORD_CONTINUE = 2, /* handle_continue is due with this tag */
	STASH__RECORD_REQUEST = 3,  /* its answer is to be handled */
	STASH__RECORD_DOWN = 4	    /* the supervisor has told it; the data is the name */
};
#define STASH__KIND_CONTINUE 100		 /* in the black box, in place of a message's kind */
#define STASH__RECORDS_MAX 1024u		 /* open ones of a slot */
#define STASH__RECORDS_BYTES (16u * 1024 * 1024) /* the same, in bytes */

/* One batch's outcome. */
struct stash__entry {
	uint64_t checksum; /* XXH3-64 of all that follows, seeded with the entry's position in the ring */
	uint32_t bytes;	   /* all of it, a multiple of 8 */
	uint32_t flags;
	uint64_t number;      /* from 1, without gaps over all incarnations of the name */
	uint64_t incarnation; /* who wrote it */
	int64_t stamp;	      /* CLOCK_MONOTONIC in ns, taken after the last message was */
	uint64_t version;     /* messages that changed the state, of all incarnations */
	uint32_t image_len;
	uint16_t npositions;
	uint16_t reserved;
	uint32_t records_bytes; /* a multiple of 8 */
	uint32_t layout_sum;	/* stash__layout_sum() of the out page's layout; 0: not told */
	/* npositions of struct stash__position; then records; then the image, padded to 8 bytes */
};
#define STASH__ENTRY_IMAGE 1u /* the state changed: an image follows */
#define STASH__ENTRY_INIT 2u  /* made by init: no proof that the state is sound */
#define STASH__ENTRY_LAST 4u  /* made by terminate */
static_assert(sizeof(struct stash__entry) == 64, "entry");

/* ---- slot, in half: written by the stash, mapped read-only by the worker and by readers ---- */

/* One channel in a base.  At most one request of a channel can be set aside: they are taken in order. */
struct stash__row {
	uint8_t id[STASH__ID];
	uint64_t req_bytes, req_count; /* requests consumed */
	uint64_t rep_bytes, rep_count; /* replies written */
	uint64_t aside; /* number of the request that is answered by an error and not executed; 0: none */
	uint32_t uid;
	uint32_t used; /* enum stash__use */
};

/* What a place is used for. */
enum stash__use {
	STASH__USE_NONE = 0,
	STASH__USE_IN = 1, /* a client's channel to this worker */
	STASH__USE_OUT = 2 /* a channel of this worker to another one: requests written, replies taken */
};
static_assert(sizeof(struct stash__row) == 64, "row");

/* The fold of all entries so far; rows and image follow. */
struct stash__base {
	uint64_t checksum; /* XXH3-64 of all that follows, up to the image's end */
	uint64_t turn;	   /* counts the bases written; a reader compares it before and after copying */
	uint64_t entry;	   /* number of the last entry folded */
	uint64_t changed;  /* number of the last entry that changed the state; 0: none */
	uint64_t version;
	uint64_t fence;	  /* the highest incarnation that may write no more */
	int64_t time;	  /* CLOCK_REALTIME in ns when the image last changed here */
	uint64_t retired; /* deaths retired, of all kinds */
	uint32_t image_len;
	uint32_t nrows; /* places in use or once used: rows [0, nrows) follow */
	uint32_t layout_version;
	uint32_t last_reason; /* enum stash_reason of the last incarnation that was retired */
	/* the message that was in hand at the last death(s) and is tried again */
	uint32_t again_place;
	uint32_t again_attempts; /* incarnations in a row that died with it; 0: none */
	uint64_t again_number;
	uint32_t careful;  /* 1: batches of one message until an entry lies beyond again_place, again_number */
	uint32_t crashes;  /* own faults with no message handled well in between */
	uint64_t out_head; /* where in the entry ring the entry behind `entry' begins */
	/* what the last retire said, for who asks again */
	uint64_t last_number;
	uint32_t last_place;
	uint16_t last_attempts;
	uint8_t last_verdict;	/* enum stash__verdict */
	uint8_t last_fault;	/* 1: died by its own fault */
	uint64_t last_record;	/* the highest id that was given to a record */
	uint64_t heard;		/* the highest number of a DOWN */
	uint32_t records_bytes; /* of the open records, a multiple of 8 */
	uint32_t nrecords;
	char layout[STASH_NAME_MAX + 1];
	uint8_t pad[7];
	/* nrows of struct stash__row, then the records, then image_len bytes */
};
static_assert(offsetof(struct stash__base, layout) == 152 && sizeof(struct stash__base) % 8 == 0, "base");

struct stash__in_page {
	uint64_t magic;
	uint32_t format;
	uint32_t reserved;
	uint8_t boot_id[STASH__ID];
	uint8_t store_id[STASH__ID];
	uint8_t pad0[STASH__LINE - 48];
	stash__word bases[2];	/* STASH__RING() of where each base may stand; moves when the file grows */
	stash__half base_now;	/* 0 or 1 */
	stash__half no_persist; /* 1: nothing of it goes to the store */
	stash__word bytes;	/* of the file: who has mapped less maps again */
	uint8_t pad1[STASH__LINE - 32];
	stash__word out_head;	  /* bytes of the entry ring that are folded: room */
	stash__word durable;	  /* number of the last entry on the disk that changed the state */
	stash__half stash_asleep; /* 1: the stash does not look at this slot by itself */
	stash__half history;	  /* stored states that the store keeps of it */
	stash__word blame; /* the stash's own: entry number in 56 bits, times that the stash crashed on it in 8 */
	uint8_t pad2[STASH__LINE - 32];
};
static_assert(sizeof(struct stash__in_page) == 192 && offsetof(struct stash__in_page, bases) == 64 &&
	offsetof(struct stash__in_page, out_head) == 128,
    "in page");

#define STASH__IN_BASES STASH__PAGE
#define STASH__ROWS_MIN 32u /* rows that a new slot has room for */

#endif
