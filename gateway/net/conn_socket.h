/* net/conn_socket.h — what the two kinds of conn over a socket share: connecting, the deadline
 * until on_open, what their owner asked for, and the bytes between them and the socket. conn.c
 * drives it; conn_tcp.c and conn_tls.c are the kinds. */
#pragma once

#include <sys/socket.h>

#include "base/buf.h"
#include "net/conn.h"
#include "net/timer.h"
#include "net/turn_io.h"
#include "net/watch.h"

enum { READ_AHEAD_BYTES = 4096 }; /* a conn that reads more at a time is not read ahead of */

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
    bool ended;        /* reading has seen the end or an error: it would be ready for ever */
    struct task again; /* on_readable of the kind, though the socket may be quiet */

    /* what turn_io.c has read ahead of the kind */
    struct list readable; /* in its lists */
    struct slice ahead;   /* borrowed from it during on_readable, then from `held` */
    struct buf held;
    ssize_t ahead_end; /* the result of recv() that was no bytes, -errno; 1: none */
    bool ahead_is_cut; /* the socket may have more */
    bool reads_much;   /* so it is not worth reading ahead */

    /* what the owner was told as written */
    struct slice unsent; /* waits for the end of the turn, borrowed from turn_io.c */
    struct list sending; /* in its list */
    struct buf out;   /* the socket did not take it yet, and is watched for us; before `unsent` */
    bool send_failed; /* no more output; what the peer sent before may still be read */
    bool is_shut;     /* FIN goes behind all of it */
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

void conn_input_init(struct conn_socket *socket);

/* As recv(): first what was read ahead, then the socket. */
ssize_t conn_input_recv(struct conn_socket *socket, char *into, size_t size_bytes);
bool conn_input_has_ahead(const struct conn_socket *socket);

/* For turn_io.c: what recv() gave (-errno when it failed), borrowed for the callback that follows;
 * and behind that callback: what is left is kept by copy, and offered again. */
void conn_input_ahead(struct conn_socket *socket, const char *bytes, ssize_t result);
void conn_input_keep(struct conn_socket *socket);

/* True: it took copies of `parts`, `len` bytes in all, which count as written. False: they are too many to wait for the
 * end of the turn, or something waits before them. */
bool conn_output_gather(struct conn_socket *socket, const struct slice *parts, size_t part_count,
                        size_t len);

/* OK: nothing of ours waits any more, so the socket may be written to. Else as conn_output_flush(). */
enum status conn_output_clear(struct conn_socket *socket);

/* Takes all of `bytes`, by copy where need be. OK or AGAIN (some wait in `out`): they count as
 * written; SYSTEM: no byte will go any more. */
enum status conn_output_send(struct conn_socket *socket, struct slice bytes);

/* Empties what waits, and shuts if that was asked for. AGAIN: on_writable() goes on. */
enum status conn_output_flush(struct conn_socket *socket);

/* For turn_io.c: what became of `unsent`; and what comes behind bytes that wait in `out`. */
void conn_output_settle(struct conn_socket *socket, ssize_t result);
void conn_output_append(struct conn_socket *socket, const struct slice *parts, size_t part_count);

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
