/* SPDX-License-Identifier: ISC */
/*
 * The specification of a child or of a supervisor as the tree machine knows it:
 * OTP's flags, and a blob for what only the layer round the machine understands
 * (module, program, arguments, ack, ...). Specs are counted references and never
 * change once a machine has them. What is wrong in one is told in two ways: by
 * sup_spec_make() with a sentence, before anything runs, and by the machine at
 * the start, in OTP's words.
 */
#ifndef SUPERVISOR_SPEC_H
#define SUPERVISOR_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <stash/buf.h>
#include <stash/supervisor.h>

/* Bytes of the blobs payload and args at most. */
#define SUP_BLOB_MAX ((size_t)STASH_DATA_MAX)

enum sup_kind { SUP_WORKER = 1, SUP_SUPERVISOR = 2 };

struct sup_spec {
	uint32_t refs; /* sup_spec_ref(), sup_spec_unref() */
	/* of the place in the supervisor above */
	enum sup_kind kind; /* what it is */
	char *id;
	char *name;		  /* of a worker; "": none */
	int32_t type;		  /* enum sup_kind: what is reported and counted */
	int32_t restart;	  /* enum stash_restart */
	int32_t significant;	  /* 0 or 1 */
	int32_t shutdown_ms;	  /* >= 0 as it stands, STASH_INFINITY or STASH_BRUTAL_KILL */
	int32_t start_timeout_ms; /* > 0 or STASH_INFINITY; of a worker */
	void *payload;		  /* the layer's; NULL if payload_len is 0 */
	size_t payload_len;
	/* of a supervisor itself */
	int32_t strategy;	    /* enum stash_strategy */
	int32_t auto_shutdown;	    /* enum stash_auto_shutdown */
	int32_t intensity;	    /* restarts, 0 is 0 */
	int32_t period_s;	    /* > 0 */
	struct sup_spec **children; /* in the order of starting; with SIMPLE_ONE_FOR_ONE the one template */
	size_t nchildren;
};

/* A spec with OTP's defaults for that kind; id and name are copied (name NULL: the id). NULL: no memory. */
struct sup_spec *sup_spec_create(enum sup_kind kind, const char *id, const char *name);
/* The payload is copied; the child's reference passes over, also on failure. Only before a machine has the spec. */
int sup_spec_set_payload(struct sup_spec *spec, const void *data, size_t len);
int sup_spec_add_child(struct sup_spec *spec, struct sup_spec *child);
struct sup_spec *sup_spec_ref(struct sup_spec *spec);
void sup_spec_unref(struct sup_spec *spec); /* NULL is fine */

/*
 * How public specs become these. pack adds to the buffer what the layer wants to find again in the payload of this
 * worker; an error of it (with its message) ends the conversion. NULL: no payload.
 */
struct sup_convert {
	int (*pack)(void *arg, const struct stash_child_spec *child, struct stash_buf *payload);
	void *arg;
	bool released; /* refuse what <stash/supervisor.h> keeps for a later version */
	/* what OTP checks at the start is left to the machine, which tells it in its order and with its term */
	bool as_otp;
};

/*
 * The whole tree, or one child for start_child, checked and copied. 0; STASH_E_SPEC with the path of the child and the
 * name of the member in the message ("root/web: restart: ...") and OTP's term, STASH_E_INVAL for reserved members,
 * _TOOBIG, _NOMEM.
 * sup_spec_make() also finds names that occur twice in the tree. above: the path of the supervisor.
 */
int sup_spec_make(const struct sup_convert *how, const struct stash_supervisor_spec *in, struct sup_spec **out);
int sup_spec_make_child(
    const struct sup_convert *how, const char *above, const struct stash_child_spec *in, struct sup_spec **out);

/* One spec without its children, and with them: for rows and messages. Reading checks everything: STASH_E_CORRUPT. */
int sup_spec_pack(const struct sup_spec *spec, struct stash_buf *buf);
int sup_spec_unpack(struct stash_view *view, struct sup_spec **out);
int sup_spec_pack_tree(const struct sup_spec *spec, struct stash_buf *buf);
int sup_spec_unpack_tree(struct stash_view *view, struct sup_spec **out);

/* What two specifications differ in, themselves and not their children; the names are the config's keys. */
enum {
	SUP_FIELD_KIND = 1, /* one is a supervisor, or SIMPLE_ONE_FOR_ONE, and the other isn't */
	SUP_FIELD_NAME = 2,
	SUP_FIELD_TYPE = 4,
	SUP_FIELD_RESTART = 8,
	SUP_FIELD_SIGNIFICANT = 16,
	SUP_FIELD_SHUTDOWN = 32,
	SUP_FIELD_START_TIMEOUT = 64,
	SUP_FIELD_PAYLOAD = 128,
	SUP_FIELD_STRATEGY = 256,
	SUP_FIELD_AUTO_SHUTDOWN = 512,
	SUP_FIELD_INTENSITY = 1024,
	SUP_FIELD_PERIOD = 2048,
	SUP_FIELD_ORDER = 4096,	  /* of a step: children that stay have changed places */
	SUP_FIELD_TEMPLATE = 8192 /* of a step: the template of SIMPLE_ONE_FOR_ONE */
};
unsigned sup_spec_compare(const struct sup_spec *a, const struct sup_spec *b);

/*
 * What OTP says to it, in words ("invalid_restart_type"), or NULL if it is right: a supervisor's own flags; a child in
 * a supervisor with that auto_shutdown.
 */
const char *sup_spec_check_flags(const struct sup_spec *spec);
const char *sup_spec_check_child(const struct sup_spec *spec, int32_t auto_shutdown);

#endif
