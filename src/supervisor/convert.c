/* SPDX-License-Identifier: ISC */
/*
 * Public specs, as a program or a config gives them, become those of the tree
 * machine. Here everything is found that can be wrong before anything runs, and
 * told with the path of the child and the name of the member.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/name.h"
#include "base/take.h"
#include "supervisor/spec.h"

/* All paths and names of a tree, to find those that occur twice. */
struct named {
	char *path, *name;
};
struct names {
	struct named *at;
	size_t count, room;
};

struct convert {
	const struct sup_convert *how;
	struct names names;
	size_t top; /* bytes of the path of what is converted */
};

static int
wrong(const char *path, const char *member, const char *what)
{
	return stash__fail(STASH_E_SPEC, "%s: %s: %s", path, member, what);
}

/* ---- in OTP's words ---- */

/*
 * The term for what is wrong in the supervisor whose path has len bytes: each one between it and the top fails to
 * start. It is said bare of a child that is to be started by itself.
 */
static int
otp_wrong(const struct convert *c, const char *path, size_t len, const char *term, const char *sentence)
{
	char terms[STASH__ERRTERM_MAX] = "";
	const char *id = path + c->top;
	int at = 0, n;

	while (len > c->top && id < path + len && at < (int)sizeof(terms)) {
		n = (int)strcspn(id + 1, "/");
		at += snprintf(terms + at, sizeof(terms) - (size_t)at, "failed_to_start_child %.*s ", n, id + 1);
		id += 1 + n;
	}
	if (at < (int)sizeof(terms))
		snprintf(terms + at, sizeof(terms) - (size_t)at, "%s", term);
	return stash__fail_term(STASH_E_SPEC, terms, "%s", sentence);
}

/* A member of a child: its supervisor says it. */
static int
child_wrong(const struct convert *c, const char *path, const char *member, const char *word, const char *what)
{
	char sentence[STASH__ERRMSG_MAX], term[200];
	size_t above = (size_t)(strrchr(path, '/') - path);

	snprintf(sentence, sizeof(sentence), "%s: %s: %s", path, member, what);
	snprintf(term, sizeof(term), "%s%s", above >= c->top ? "start_spec " : "", word);
	return otp_wrong(c, path, above, term, sentence);
}

static int
super_wrong(const struct convert *c, const char *path, const char *member, const char *term, const char *what)
{
	char sentence[STASH__ERRMSG_MAX];

	snprintf(sentence, sizeof(sentence), "%s: %s: %s", path, member, what);
	return otp_wrong(c, path, strlen(path), term, sentence);
}

static int
reserved(const char *path, const char *member)
{
	return stash__fail(STASH_E_INVAL, "%s: %s: is for a later version; leave it 0", path, member);
}

/* ---- names that occur twice ---- */

static int
note_names(struct names *names, const char *path, const char *name)
{
	struct named *grown;

	if (names->count == names->room) {
		names->room = names->room == 0 ? 64 : 2 * names->room;
		grown = reallocarray(names->at, names->room, sizeof(*grown));
		if (grown == NULL)
			return stash__fail(STASH_E_NOMEM, "no memory for the names of the tree");
		names->at = grown;
	}
	names->at[names->count].path = strdup(path);
	names->at[names->count].name = strdup(name);
	names->count++;
	if (names->at[names->count - 1].path == NULL || names->at[names->count - 1].name == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for the names of the tree");
	return 0;
}

static void
free_names(struct names *names)
{
	while (names->count > 0) {
		names->count--;
		free(names->at[names->count].path);
		free(names->at[names->count].name);
	}
	free(names->at);
}

static int
by_path(const void *a, const void *b)
{
	return strcmp(((const struct named *)a)->path, ((const struct named *)b)->path);
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

static int
same_path(const struct convert *c, const struct named *child)
{
	char term[STASH_NAME_MAX + 32];
	const char *id = strrchr(child->path, '/') + 1;

	if (c->how->as_otp)
		return 0;
	snprintf(term, sizeof(term), "duplicate_child_name %s", id);
	return child_wrong(c, child->path, "id", term, "two children of this supervisor have it");
}

static int
check_twice(const struct convert *c)
{
	const struct names *names = &c->names;
	size_t i;
	int error;

	if (names->count == 0)
		return 0;
	qsort(names->at, names->count, sizeof(*names->at), by_path);
	for (i = 1; i < names->count; i++) {
		if (strcmp(names->at[i].path, names->at[i - 1].path) == 0 && (error = same_path(c, &names->at[i])) < 0)
			return error;
	}
	qsort(names->at, names->count, sizeof(*names->at), by_name);
	for (i = 1; i < names->count; i++) {
		if (names->at[i].name[0] != '\0' && strcmp(names->at[i].name, names->at[i - 1].name) == 0 &&
		    strcmp(names->at[i].path, names->at[i - 1].path) != 0)
			return stash__fail(STASH_E_SPEC, "%s: name: %s is the name of %s, too", names->at[i].path,
			    names->at[i].name, names->at[i - 1].path);
	}
	return 0;
}

/* ---- members ---- */

static int
check_reserved(const char *path, const struct stash_child_spec *in)
{
	if (in->history != 0)
		return reserved(path, "history");
	if (in->poison_after != 0)
		return reserved(path, "poison_after");
	if (in->on_poison != 0)
		return reserved(path, "on_poison");
	return 0;
}

/* Exactly one thing is to be run. */
static int
check_what(const char *path, const struct stash_child_spec *in)
{
	int count = (in->behaviour != NULL) + (in->behaviour_name != NULL) + (in->module != NULL) + (in->exec != NULL) +
	    (in->supervisor != NULL);

	if (count != 1)
		return stash__fail(STASH_E_SPEC,
		    "%s: exactly one of behaviour, behaviour_name, module, exec and supervisor has to be set, not %d",
		    path, count);
	if (in->module != NULL && in->module[0] == '\0')
		return wrong(path, "module", "is an empty text; it has to be the path of a .so");
	if (in->notify != STASH_NOTIFY_STASH && in->notify <= STASH_NOTIFY_SD && in->exec == NULL)
		return wrong(path, "notify", "is for programs: without exec it has to be STASH_NOTIFY_STASH");
	if (in->exec != NULL && (in->exec[0] == NULL || in->exec[0][0] == '\0'))
		return wrong(path, "exec", "is empty; it has to begin with the path of a program");
	if (in->supervisor != NULL && in->name != NULL && in->name[0] != '\0')
		return wrong(path, "name", "a supervisor has none; it is known by its path");
	if (in->supervisor != NULL && in->args != NULL)
		return wrong(path, "args", "a supervisor takes none");
	if (in->handler_timeout_ms > 0 &&
	    (in->supervisor != NULL || (in->exec != NULL && in->notify != STASH_NOTIFY_STASH)))
		return wrong(path, "handler_timeout_ms",
		    "is for callbacks: a supervisor, or a program without libstash, has none");
	return 0;
}

/* What OTP looks at, too. */
static int
check_otp(const struct convert *c, const char *path, const struct stash_child_spec *in)
{
	if (in->restart > STASH_TEMPORARY)
		return child_wrong(c, path, "restart", "invalid_restart_type",
		    "is none of STASH_PERMANENT, STASH_TRANSIENT, STASH_TEMPORARY");
	if (in->significant > 1)
		return child_wrong(c, path, "significant", "invalid_significant", "is neither 0 nor 1");
	if (in->type > SUP_SUPERVISOR)
		return child_wrong(c, path, "type", "invalid_child_type", "is none of 0, 1 (worker), 2 (supervisor)");
	if (in->shutdown_ms < STASH_BRUTAL_KILL)
		return child_wrong(c, path, "shutdown_ms", "invalid_shutdown",
		    "is below 0 and neither STASH_INFINITY nor STASH_BRUTAL_KILL");
	return 0;
}

static int
check_enums(const char *path, const struct stash_child_spec *in)
{
	if (in->notify > STASH_NOTIFY_SD)
		return wrong(path, "notify", "is none of STASH_NOTIFY_STASH, _NONE, _SD");
	if (in->ack > STASH_ACK_DISK)
		return wrong(path, "ack", "is none of STASH_ACK_DEFAULT, _CRASH, _DISK");
	if (in->on_supervisor_loss > STASH_LOSS_KILL)
		return wrong(path, "on_supervisor_loss", "is none of STASH_LOSS_KEEP, STASH_LOSS_KILL");
	if (in->on_supervisor_loss != STASH_LOSS_KEEP && in->supervisor != NULL)
		return wrong(path, "on_supervisor_loss", "a supervisor is no process: set it for its workers");
	if (in->no_persist > 1)
		return wrong(path, "no_persist", "is neither 0 nor 1");
	if (in->on_poison > STASH_POISON_ESCALATE)
		return wrong(path, "on_poison", "is none of STASH_POISON_HOLD, _ROLLBACK, _RESET, _ESCALATE");
	if (in->start_timeout_ms < STASH_INFINITY)
		return wrong(path, "start_timeout_ms", "is below 0 and not STASH_INFINITY");
	if (in->handler_timeout_ms < STASH_INFINITY)
		return wrong(path, "handler_timeout_ms", "is below 0 and not STASH_INFINITY");
	return 0;
}

static int
check_child(const struct convert *c, const char *path, const struct stash_child_spec *in)
{
	int error;

	if (c->how->released && (error = check_reserved(path, in)) < 0)
		return error;
	if ((error = check_what(path, in)) < 0 || (error = check_enums(path, in)) < 0)
		return error;
	if (in->name != NULL && in->name[0] != '\0' && (error = stash__check_name(in->name)) < 0)
		return stash__fail(error == STASH_E_INVAL ? STASH_E_SPEC : error, "%s: name: %s", path, stash_errmsg());
	return c->how->as_otp ? 0 : check_otp(c, path, in);
}

static int
check_super_otp(const struct convert *c, const char *path, const struct stash_supervisor_spec *in)
{
	if (in->strategy > STASH_SIMPLE_ONE_FOR_ONE)
		return super_wrong(c, path, "strategy", "supervisor_data invalid_strategy",
		    "is none of STASH_ONE_FOR_ONE, STASH_ONE_FOR_ALL, STASH_REST_FOR_ONE, STASH_SIMPLE_ONE_FOR_ONE");
	if (in->auto_shutdown > STASH_AUTO_ALL_SIGNIFICANT)
		return super_wrong(c, path, "auto_shutdown", "supervisor_data invalid_auto_shutdown",
		    "is none of STASH_AUTO_NEVER, _ANY_SIGNIFICANT, _ALL_SIGNIFICANT");
	if (in->intensity < STASH_NO_RESTARTS)
		return super_wrong(
		    c, path, "intensity", "supervisor_data invalid_intensity", "is below 0 and not STASH_NO_RESTARTS");
	if (in->period_s > INT32_MAX)
		return super_wrong(c, path, "period_s", "supervisor_data invalid_period", "is more than 2147483647");
	if (in->strategy == STASH_SIMPLE_ONE_FOR_ONE && in->nchildren != 1)
		return super_wrong(c, path, "children", "bad_start_spec",
		    "with STASH_SIMPLE_ONE_FOR_ONE it has to be one, the template");
	return 0;
}

static int
check_super(const struct convert *c, const char *path, const struct stash_supervisor_spec *in)
{
	if (in->nchildren > 0 && in->children == NULL)
		return wrong(path, "children", "is NULL, and nchildren isn't 0");
	return c->how->as_otp ? 0 : check_super_otp(c, path, in);
}

/* ---- converting ---- */

static int
set_payload(const struct convert *c, struct sup_spec *spec, const struct stash_child_spec *in)
{
	struct stash_buf *buf;
	const void *data;
	size_t len;
	int error;

	if (c->how->pack == NULL)
		return 0;
	if ((buf = stash_buf_create()) == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for the specification of %s", spec->id);
	if ((error = c->how->pack(c->how->arg, in, buf)) == 0 && (error = stash_buf_data(buf, &data, &len)) == 0)
		error = sup_spec_set_payload(spec, data, len);
	stash_buf_destroy(buf);
	return error;
}

static int convert_children(
    struct convert *c, const char *path, const struct stash_supervisor_spec *in, struct sup_spec *spec);

static int
fill_super(struct convert *c, const char *path, const struct stash_supervisor_spec *from, struct sup_spec *spec)
{
	struct stash_supervisor_spec in;
	int error;

	if ((error = stash__take(&in, sizeof(in), from, "struct stash_supervisor_spec")) < 0)
		return stash__fail(error, "%s: %s", path, stash_errmsg());
	if ((error = check_super(c, path, &in)) < 0)
		return error;
	spec->strategy = (int32_t)in.strategy;
	spec->auto_shutdown = (int32_t)in.auto_shutdown;
	spec->intensity = in.intensity == 0 ? 1 : in.intensity == STASH_NO_RESTARTS ? 0 : in.intensity;
	spec->period_s = in.period_s == 0 ? 5 : (int32_t)in.period_s;
	return convert_children(c, path, &in, spec);
}

static int
fill_child(struct convert *c, const char *path, const struct stash_child_spec *in, struct sup_spec *spec)
{
	spec->type = in->type == 0 ? (int32_t)spec->kind : (int32_t)in->type;
	spec->restart = (int32_t)in->restart;
	spec->significant = (int32_t)in->significant;
	if (in->shutdown_ms != 0)
		spec->shutdown_ms = in->shutdown_ms;
	else
		spec->shutdown_ms = spec->type == SUP_SUPERVISOR ? STASH_INFINITY : 5000;
	if (in->start_timeout_ms != 0)
		spec->start_timeout_ms = in->start_timeout_ms;
	if (in->supervisor != NULL)
		return fill_super(c, path, in->supervisor, spec);
	return set_payload(c, spec, in);
}

/* The path of a child; what is wrong with its id is told with the path of the supervisor. */
static int
make_path(char path[STASH_PATH_MAX + 1], const char *above, const char *id)
{
	int error;

	if (id == NULL)
		return wrong(above, "children", "one has no id");
	if ((error = stash__check_name(id)) < 0)
		return stash__fail(
		    error == STASH_E_INVAL ? STASH_E_SPEC : error, "%s: id of a child: %s", above, stash_errmsg());
	if (snprintf(path, STASH_PATH_MAX + 1, "%s/%s", above, id) > STASH_PATH_MAX)
		return stash__fail(
		    STASH_E_TOOBIG, "%s/%s: the path is longer than %d bytes", above, id, STASH_PATH_MAX);
	return 0;
}

static int
convert_child(
    struct convert *c, const char *above, const struct stash_child_spec *from, bool template, struct sup_spec **out)
{
	char path[STASH_PATH_MAX + 1];
	struct stash_child_spec in;
	struct sup_spec *spec;
	int error;

	if ((error = stash__take(&in, sizeof(in), from, "struct stash_child_spec")) < 0)
		return stash__fail(error, "%s: children: %s", above, stash_errmsg());
	if ((error = make_path(path, above, in.id)) < 0)
		return error;
	if (c->top == 0)
		c->top = strlen(path);
	if ((error = check_child(c, path, &in)) < 0)
		return error;
	spec = sup_spec_create(in.supervisor != NULL ? SUP_SUPERVISOR : SUP_WORKER, in.id, in.name);
	if (spec == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for the specification of %s", path);
	/* a template's name is none yet: each instance has its own */
	if ((error = note_names(&c->names, path, template ? "" : spec->name)) == 0)
		error = fill_child(c, path, &in, spec);
	if (error < 0)
		sup_spec_unref(spec);
	else
		*out = spec;
	return error;
}

static int
check_significant(const struct convert *c, const char *path, const struct sup_spec *spec, const struct sup_spec *child)
{
	char below[2 * STASH_PATH_MAX];

	if (child->significant == 0 || c->how->as_otp)
		return 0;
	snprintf(below, sizeof(below), "%s/%s", path, child->id);
	if (spec->auto_shutdown == STASH_AUTO_NEVER)
		return child_wrong(c, below, "significant", "bad_combination",
		    "is 1, but auto_shutdown of its supervisor is STASH_AUTO_NEVER");
	if (child->restart == STASH_PERMANENT)
		return child_wrong(c, below, "significant", "bad_combination",
		    "is 1, but with STASH_PERMANENT it never ends for good");
	return 0;
}

static int
convert_children(struct convert *c, const char *path, const struct stash_supervisor_spec *in, struct sup_spec *spec)
{
	struct sup_spec *child;
	size_t i;
	int error;

	for (i = 0; i < in->nchildren; i++) {
		const void *from = stash__element(in->children, i);

		if (from == NULL)
			return wrong(path, "children", "the size of the first one is none");
		error = convert_child(c, path, from, in->strategy == STASH_SIMPLE_ONE_FOR_ONE, &child);
		if (error < 0)
			return error;
		if ((error = sup_spec_add_child(spec, child)) < 0 ||
		    (error = check_significant(c, path, spec, child)) < 0)
			return error;
	}
	return 0;
}

static int
convert_top(struct convert *c, const struct stash_supervisor_spec *from, struct sup_spec **out)
{
	struct stash_supervisor_spec in;
	struct sup_spec *spec;
	const char *id;
	int error;

	if ((error = stash__take(&in, sizeof(in), from, "struct stash_supervisor_spec")) < 0)
		return error;
	id = in.id == NULL ? "root" : in.id;
	c->top = strlen(id);
	if ((error = stash__check_name(id)) < 0)
		return stash__fail(error, "id of the top supervisor: %s", stash_errmsg());
	if ((spec = sup_spec_create(SUP_SUPERVISOR, id, NULL)) == NULL)
		return stash__fail(STASH_E_NOMEM, "no memory for the specification of %s", id);
	if ((error = fill_super(c, id, from, spec)) < 0)
		sup_spec_unref(spec);
	else
		*out = spec;
	return error;
}

static int
finish(struct convert *c, int error, struct sup_spec *spec, struct sup_spec **out)
{
	if (error == 0 && (error = check_twice(c)) < 0)
		sup_spec_unref(spec);
	free_names(&c->names);
	if (error == 0)
		*out = spec;
	return error;
}

int
sup_spec_make(const struct sup_convert *how, const struct stash_supervisor_spec *in, struct sup_spec **out)
{
	struct convert c = { .how = how };
	struct sup_spec *spec = NULL;
	int error = convert_top(&c, in, &spec);

	return finish(&c, error, spec, out);
}

int
sup_spec_make_child(
    const struct sup_convert *how, const char *above, const struct stash_child_spec *in, struct sup_spec **out)
{
	struct convert c = { .how = how };
	struct sup_spec *spec = NULL;
	int error = convert_child(&c, above, in, false, &spec);

	return finish(&c, error, spec, out);
}
