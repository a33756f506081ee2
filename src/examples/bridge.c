/* SPDX-License-Identifier: ISC */
/*
 * bridge: lets TCP clients on this machine take numbers from the worker
 * "sequence". Its sockets are handled in the worker's own event loop; a line
 * becomes a request, whose answer comes as a message. A client has one request
 * under way at a time, the rest waits in its socket: answers come in order.
 * Connections die with the worker, the port doesn't: it is part of the state.
 *
 *	args		the port; 0 or none: any that is free
 *	call port	replies the port
 *	TCP: "next"	answers a line with the number, or "error" and why
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>

#include <stash/stash.h>

#define LINE_MAX_BYTES 1024
#define TIMEOUT_MS 30000

struct bridge {
	int64_t port;
};

static const struct stash_field fields[] = { STASH_FIELD(struct bridge, port), STASH_FIELD_END };

struct connection {
	struct connection *next, **back;
	struct stash_worker *worker;
	struct bufferevent *socket;
	int64_t request; /* under way; 0: none */
	bool ended;	 /* the client will say no more */
};

struct local {
	struct evconnlistener *listener;
	struct connection *connections;
};

static void
hang_up(struct connection *c)
{
	if (c->next != NULL)
		c->next->back = c->back;
	*c->back = c->next;
	bufferevent_free(c->socket);
	free(c);
}

static void on_end(struct bufferevent *socket, short what, void *arg);

static void
on_written(struct bufferevent *socket, void *arg)
{
	(void)socket;
	hang_up(arg);
}

/* Takes lines as long as no request is under way. */
static void
on_line(struct bufferevent *socket, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(socket), *out = bufferevent_get_output(socket);
	struct connection *c = arg;
	char *line;

	while (c->request == 0 && (line = evbuffer_readln(in, NULL, EVBUFFER_EOL_CRLF)) != NULL) {
		if (strcmp(line, "next") != 0)
			evbuffer_add_printf(out, "error: say next\n");
		else if (stash_request(c->worker, "sequence", "next_number", NULL, 0, TIMEOUT_MS, &c->request) < 0)
			evbuffer_add_printf(out, "error: %s\n", stash_errmsg());
		free(line);
	}
	if (c->request != 0)
		return;
	if (c->ended && evbuffer_get_length(out) > 0)
		bufferevent_setcb(socket, NULL, on_written, on_end, c);
	else if (c->ended || evbuffer_get_length(in) >= LINE_MAX_BYTES)
		hang_up(c);
}

/* A client that has asked before it closed its side still wants to hear. */
static void
on_end(struct bufferevent *socket, short what, void *arg)
{
	struct connection *c = arg;

	if ((what & BEV_EVENT_EOF) == 0 || c->ended) {
		hang_up(c);
		return;
	}
	c->ended = true;
	on_line(socket, c);
}

static void
on_connection(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from, int len, void *arg)
{
	struct stash_worker *worker = arg;
	struct local *local = stash_local(worker);
	struct connection *c = calloc(1, sizeof *c);
	struct bufferevent *socket = c == NULL ?
	    NULL :
	    bufferevent_socket_new(evconnlistener_get_base(listener), fd, BEV_OPT_CLOSE_ON_FREE);

	(void)from;
	(void)len;
	if (socket == NULL) {
		free(c);
		(void)evutil_closesocket(fd);
		return;
	}
	*c = (struct connection){ local->connections, &local->connections, worker, socket, 0, false };
	if (c->next != NULL)
		c->next->back = &c->next;
	local->connections = c;
	bufferevent_setcb(socket, on_line, NULL, on_end, c);
	bufferevent_setwatermark(socket, EV_READ, 0, LINE_MAX_BYTES);
	bufferevent_enable(socket, EV_READ);
}

/* The answer, a message like any other; then the client's next line. */
static int
handle_info(struct stash_worker *worker, void *state, const struct stash_msg *msg)
{
	const struct local *local = stash_local(worker);
	struct connection *c = local->connections;

	(void)state;
	while (c != NULL && (msg->kind != STASH_MSG_REPLY || c->request != msg->ref))
		c = c->next;
	if (c == NULL)
		return STASH_OK; /* whoever asked is gone */
	c->request = 0;
	evbuffer_add_printf(bufferevent_get_output(c->socket), "%s%s\n", msg->code < 0 ? "error: " : "",
	    msg->code < 0 ? stash_strerror(msg->code) : (const char *)msg->data);
	on_line(c->socket, c);
	return STASH_OK;
}

/* Where the last incarnation listened, if it may; else where it is told to. */
static int
init(struct stash_worker *worker, void *state, const struct stash_init *start)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof at;
	struct bridge *bridge = state;
	struct local *local = stash_local(worker);
	struct event_base *events = stash_worker_events(worker);
	int64_t port = 0;

	if (start->argc > 1 && stash_parse_int(start->argv[1], 0, UINT16_MAX, &port) != STASH_OK)
		return stash_fail(worker, "%s is no port", start->argv[1]);
	at.sin_port = htons((uint16_t)(port != 0 ? port : bridge->port));
	local->listener = events == NULL ? NULL :
					   evconnlistener_new_bind(events, on_connection, worker,
					       LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE, -1,
					       (struct sockaddr *)&at, sizeof at);
	if (local->listener == NULL)
		return stash_fail(worker, "can't listen on port %d: %m", ntohs(at.sin_port));
	if (getsockname(evconnlistener_get_fd(local->listener), (struct sockaddr *)&at, &len) < 0)
		return STASH_E_SYSTEM;
	bridge->port = ntohs(at.sin_port);
	stash_log(worker, LOG_INFO, "listening on 127.0.0.1, port %" PRId64, bridge->port);
	return STASH_OK;
}

static int
handle_call(struct stash_worker *worker, void *state, const struct stash_msg *msg)
{
	const struct bridge *bridge = state;

	if (stash_msg_is(msg, "port"))
		return stash_replyf(worker, "%" PRId64, bridge->port);
	return STASH_E_UNKNOWN;
}

static void
terminate(struct stash_worker *worker, void *state, enum stash_reason reason)
{
	struct local *local = stash_local(worker);

	(void)state;
	(void)reason;
	while (local->connections != NULL)
		hang_up(local->connections);
	if (local->listener != NULL)
		evconnlistener_free(local->listener);
}

static const struct stash_behaviour bridge = STASH_BEHAVIOUR(.name = "bridge", .state_size = sizeof(struct bridge),
    .local_size = sizeof(struct local), .layout_version = 1, .fields = fields, .init = init, .handle_call = handle_call,
    .handle_info = handle_info, .terminate = terminate);

STASH_MODULE(&bridge);
