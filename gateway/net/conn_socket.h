/* net/conn_socket.h — what the two kinds of conn over a socket share: connecting, the deadline
 * until on_open, and what their owner asked for. conn.c drives it; conn_tcp.c and conn_tls.c are
 * the kinds. */
#pragma once

#include "net/conn.h"
#include "net/timer.h"
#include "net/watch.h"

struct conn_socket;

struct conn_socket_kind {
    struct conn_ops ops;
    void (*on_connected)(
        struct conn_socket *socket);             /* ends in conn_socket_opened(), now or later */
    void (*on_open)(struct conn_socket *socket); /* just before the owner hears OK */
    void (*on_readable)(struct conn_socket *socket);
    void (*on_writable)(struct conn_socket *socket);
};

enum conn_socket_state { CONN_CONNECTING, CONN_ANNOUNCING, CONN_OPENING, CONN_OPEN, CONN_FAILED };

struct proxy_header; /* in conn.c: what has been read of it, and what comes after it */

struct conn_socket {
    struct conn conn; /* first */
    const struct conn_socket_kind *kind;
    struct watch *watch; /* NULL when there is no socket at all */
    int fd;              /* the watch's */
    enum conn_socket_state state;
    struct timer deadline;             /* until on_open */
    struct task report;                /* calls on_open */
    enum status open_status;           /* what it says */
    struct proxy_header *proxy_header; /* NULL but while CONN_ANNOUNCING */
    bool read_wanted;
    bool write_wanted;
    bool ended; /* reading has seen the end or an error: it would be ready for ever */
};

extern const struct conn_socket_kind conn_tcp_kind;

/* Returns owned by its conn. Takes `fd` (-1 when no socket could be made) and a reference of
 * `context`; its side is the context's. `server_name` as in struct conn_connect_options. */
struct conn_socket *conn_tls_create(struct loop *loop, int fd, struct tls_context *context,
                                    struct slice server_name);

/* Takes `fd`; -1 when no socket could be made. */
void conn_socket_init(struct conn_socket *socket, const struct conn_socket_kind *kind,
                      struct loop *loop, int fd);
void conn_socket_deinit(struct conn_socket *socket);

/* Takes the watch and the bytes, which its socket has not taken yet: sends them and closes, within limits. */
void conn_leftover_start(struct loop *loop, struct watch *watch, struct buf *bytes);

/* Once: the transport is ready, or will never be. on_open follows in this turn's tasks. */
void conn_socket_opened(struct conn_socket *socket, enum status status);

/* No further events of reading: the end was seen. Returns `status`. */
enum status conn_socket_end(struct conn_socket *socket, enum status status);

static inline struct conn_socket *conn_socket_of(struct conn *conn)
{
    return CONTAINER_OF(conn, struct conn_socket, conn);
}
