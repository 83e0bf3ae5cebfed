/* net/listener.h — one bound port of one worker: bind with SO_REUSEPORT, accept in small batches, pause at the limit. */
#pragma once

#include "base/counter.h"
#include "net/conn.h"

struct listener;

/* Listeners that share one limit of conns: at `max_conns` all of them stop accepting, at 95 % they go on. The owner's
 * memory, which must outlive them. */
struct listener_group {
    size_t max_conns;
    size_t conn_count;
    struct list members;
    struct counter full;      /* times when the limit stopped them */
    struct counter exhausted; /* times when one of them paused for want of descriptors or memory */
    struct counter strangers; /* conns closed: a PROXY header was due, and the peer is not listed */
    uint64_t logged_ms;
    bool is_full;
};
void listener_group_init(struct listener_group *group, size_t max_conns);
void listener_group_set_limit(struct listener_group *group, size_t max_conns); /* reload */

struct listener_options {
    struct address address;
    struct tls_context *tls; /* NULL: clear; the listener takes a reference of its own */
    uint64_t handshake_timeout_ms;
    struct listener_group *group; /* borrowed; NULL: one of its own, with `max_conns` */
    size_t max_conns;
    bool is_held;       /* listener_hold() from the start */
    int inherited_fd;   /* ≥ 0: a listening socket from outside (takes it); -1: bind one */
    bool reuse_port;    /* not for Unix sockets: workers share one through dup() and inherited_fd */
    unsigned unix_mode; /* of the path of a Unix socket, 0600 for instance; 0: as the umask says */

    /* Expect the PROXY header of peers in these networks (copied) and of all on a Unix socket, whose mode says who may
     * connect; close the conns of others unheard. conn->peer is the announced address by on_open. */
    bool proxy_protocol;
    const struct network *proxy_protocol_from;
    size_t proxy_protocol_from_count;
    uint64_t proxy_protocol_timeout_ms; /* 0: 5 s */
};

/* `on_conn` takes the conn (its on_open is still to come) and must call listener_conn_closed() when it is gone; it may
 * stop the listener, not destroy it.
 * Errors: SYSTEM (already logged with the address and errno). */
typedef void listener_conn_fn(void *owner, struct conn *conn);
MUST_CHECK enum status listener_create(struct loop *loop, const struct listener_options *options,
                                       listener_conn_fn *on_conn, void *owner,
                                       struct listener **out_listener);
void listener_destroy(struct listener **listener);

void listener_stop(struct listener *listener); /* closes the socket; open conns live on */

/* The same for a socket that nobody else holds: what waits in its queue is accepted first, so that it is not reset. */
void listener_finish(struct listener *listener);

/* While held, it accepts nothing; newcomers wait in the queue. */
void listener_hold(struct listener *listener, bool held);

/* For conns accepted from now on (reload). */
void listener_set_timeouts(struct listener *listener, uint64_t handshake_timeout_ms,
                           uint64_t proxy_protocol_timeout_ms);

/* For conns accepted from now on (reload); takes a reference of its own. */
void listener_set_tls(struct listener *listener, struct tls_context *tls);
void listener_conn_closed(struct listener *listener);

/* The bound address, with the real port when 0 was asked for. */
const struct address *listener_address(const struct listener *listener);
int listener_fd(const struct listener *listener);
size_t listener_conn_count(const struct listener *listener);
