/* net/conn.c — how a conn over a socket comes to be: connect or accept, then what its kind adds
 * (TLS: the handshake), then on_open, exactly once; one deadline covers each wait. Afterwards
 * events go to the kind.
 *
 *     CONNECTING or ANNOUNCING ──▶ OPENING ──▶ OPEN
 *                  └──────────────────┴──────▶ FAILED   (on_open tells why; the owner destroys it)
 *
 * ANNOUNCING: accepted from a balancer whose PROXY header is still to come. */
#include "net/conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/conn_socket.h"
#include "net/loop_internal.h"
#include "net/proxy_protocol.h"

struct proxy_header {
    char bytes[PROXY_HEADER_MAX_BYTES];
    size_t len;
    uint64_t handshake_timeout_ms; /* 0: no handshake follows */
};

void conn_destroy(struct conn **conn)
{
    struct conn *c = *conn;

    if (c == NULL)
        return;
    *conn = NULL;
    c->ops->destroy(c);
}

static void report(struct task *task)
{
    struct conn_socket *s = CONTAINER_OF(task, struct conn_socket, report);
    enum status status = s->open_status;

    s->state = status == STATUS_OK ? CONN_OPEN : CONN_FAILED;
    if (status == STATUS_OK) {
        watch_read(s->watch, s->read_wanted && !s->ended);
        if (s->write_wanted)
            watch_write(s->watch);
        if (s->kind->on_open != NULL)
            s->kind->on_open(s);
    }
    if (s->conn.events != NULL)
        s->conn.events->on_open(s->conn.owner, status);
}

void conn_socket_opened(struct conn_socket *socket, enum status status)
{
    timer_cancel(&socket->deadline);
    socket->open_status = status;
    if (socket->watch != NULL)
        watch_read(socket->watch, false);
    task_defer(socket->conn.loop, &socket->report);
}

enum status conn_socket_end(struct conn_socket *socket, enum status status)
{
    socket->ended = true;
    if (socket->watch != NULL)
        watch_read(socket->watch, false);
    return status;
}

static void on_deadline(struct timer *timer)
{
    conn_socket_opened(CONTAINER_OF(timer, struct conn_socket, deadline), STATUS_AGENT_TIMED_OUT);
}

static void open_accepted(struct conn_socket *s, uint64_t handshake_timeout_ms)
{
    s->state = CONN_OPENING;
    if (handshake_timeout_ms > 0)
        timer_arm(&s->deadline, handshake_timeout_ms);
    s->kind->on_connected(s);
}

/* Takes `count` bytes that were peeked at off the socket. */
static bool take_peeked(struct conn_socket *s, size_t count)
{
    struct proxy_header *header = s->proxy_header;

    header->len += count;
    return count == 0 ||
           recv(s->fd, header->bytes + header->len - count, count, 0) == (ssize_t)count;
}

static void announced(struct conn_socket *s, const struct address *peer)
{
    uint64_t handshake_timeout_ms = s->proxy_header->handshake_timeout_ms;

    mem_free(s->proxy_header);
    s->proxy_header = NULL;
    timer_cancel(&s->deadline);
    if (peer->len > 0)
        s->conn.peer = *peer;
    open_accepted(s, handshake_timeout_ms);
}

/* Peeks, so that no byte behind the header is taken; takes what is surely the header's, so that a
 * peer that pauses within it does not keep the socket readable. */
static void read_proxy_header(struct conn_socket *s)
{
    struct proxy_header *header = s->proxy_header;
    size_t used = 0;
    struct address peer;
    ssize_t count;

    do
        count =
            recv(s->fd, header->bytes + header->len, sizeof(header->bytes) - header->len, MSG_PEEK);
    while (count == -1 && errno == EINTR);
    if (count == -1 && errno == EAGAIN)
        return;
    if (count <= 0) {
        conn_socket_opened(s, STATUS_AGENT_UNREACHABLE);
        return;
    }

    size_t have = header->len + (size_t)count;
    enum status status = proxy_protocol_parse(slice_of(header->bytes, have), &used, &peer);

    if (status == STATUS_MALFORMED ||
        !take_peeked(s, (status == STATUS_OK ? used : have) - header->len))
        conn_socket_opened(s, STATUS_MALFORMED);
    else if (status == STATUS_OK)
        announced(s, &peer);
}

static bool is_worth_gathering(const struct conn_socket *s)
{
    return loop_turn_io(s->conn.loop) != NULL && s->state == CONN_OPEN && s->read_wanted &&
           !s->reads_much && !conn_input_has_ahead(s);
}

static void on_readable(void *owner)
{
    struct conn_socket *s = owner;

    if (s->state == CONN_FAILED || list_is_linked(&s->report.link))
        return;
    if (s->state == CONN_ANNOUNCING)
        read_proxy_header(s);
    else if (is_worth_gathering(s))
        turn_io_readable(loop_turn_io(s->conn.loop), s);
    else
        s->kind->on_readable(s);
}

static void run_again(struct task *task)
{
    struct conn_socket *s = CONTAINER_OF(task, struct conn_socket, again);

    if (s->state == CONN_OPEN && !s->ended)
        s->kind->on_readable(s);
}

static void finish_connect(struct conn_socket *s)
{
    int error = 0;
    socklen_t len = sizeof(error);

    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len) == -1 || error != 0) {
        s->conn.was_refused = error == ECONNREFUSED;
        conn_socket_opened(s,
                           error == ETIMEDOUT ? STATUS_AGENT_TIMED_OUT : STATUS_AGENT_UNREACHABLE);
        return;
    }
    s->state = CONN_OPENING;
    s->kind->on_connected(s);
}

static void on_writable(void *owner)
{
    struct conn_socket *s = owner;

    if (s->state == CONN_FAILED || list_is_linked(&s->report.link))
        return; /* asked for before it failed */
    if (s->state == CONN_CONNECTING)
        finish_connect(s);
    else
        s->kind->on_writable(s);
}

static const struct watch_events socket_events = {
    .on_readable = on_readable,
    .on_writable = on_writable,
};

void conn_socket_init(struct conn_socket *socket, const struct conn_socket_kind *kind,
                      struct loop *loop, int fd)
{
    socket->conn.ops = &kind->ops;
    socket->conn.loop = loop;
    socket->kind = kind;
    socket->fd = fd;
    if (fd >= 0)
        socket->watch = watch_create(loop, fd, &socket_events, socket);
    timer_init(&socket->deadline, loop, on_deadline);
    task_init(&socket->report, report);
    task_init(&socket->again, run_again);
    list_init(&socket->readable);
    list_init(&socket->sending);
    conn_input_init(socket);
}

void conn_socket_deinit(struct conn_socket *socket)
{
    bool has_output = socket->unsent.len > 0 || socket->out.len > 0;

    if (has_output && socket->state == CONN_OPEN &&
        conn_output_flush(socket) == STATUS_AGAIN) { /* was told as written */
        conn_leftover_start(socket->conn.loop, socket->watch, &socket->out);
        socket->watch = NULL;
    }
    list_unlink(&socket->readable);
    timer_cancel(&socket->deadline);
    task_cancel(&socket->report);
    task_cancel(&socket->again);
    buf_deinit(&socket->held);
    buf_deinit(&socket->out);
    mem_free(socket->proxy_header);
    watch_destroy(&socket->watch);
}

static struct conn_socket *socket_create(struct loop *loop, struct tls_context *tls,
                                         struct slice server_name, int fd)
{
    if (tls != NULL)
        return conn_tls_create(loop, fd, tls, server_name);

    struct conn_socket *s = mem_zeroed(sizeof(*s));

    conn_socket_init(s, &conn_tcp_kind, loop, fd);
    return s;
}

/* Starts to connect. Returns 0 or an errno. */
static int connect_to(const struct address *to, int *out_fd)
{
    int family = to->storage.ss_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;

    *out_fd = fd;
    if (fd == -1)
        return errno;
    if (family != AF_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));

    int result;

    do
        result = connect(fd, (const struct sockaddr *)&to->storage, to->len);
    while (result == -1 && errno == EINTR);
    return result == 0 || errno == EINPROGRESS || errno == EALREADY ? 0 : errno;
}

struct conn *conn_connect_start(struct loop *loop, const struct address *to,
                                const struct conn_connect_options *options,
                                const struct conn_events *events, void *owner)
{
    int fd;
    int error = connect_to(to, &fd);
    struct conn_socket *s = socket_create(loop, options->tls, options->server_name, fd);

    s->conn.peer = *to;
    conn_set_owner(&s->conn, events, owner);
    if (error == 0) {
        watch_write(
            s->watch); /* also when it is connected already: on_open must wait for a later turn */
        timer_arm(&s->deadline, options->timeout_ms);
    } else {
        s->conn.was_refused = error == ECONNREFUSED;
        s->open_status = STATUS_AGENT_UNREACHABLE;
        task_defer_next(loop, &s->report);
    }
    return &s->conn;
}

struct conn *conn_accepted(struct loop *loop, int fd, const struct address *peer,
                           struct tls_context *tls, uint64_t handshake_timeout_ms)
{
    struct conn_socket *s = socket_create(loop, tls, SLICE_EMPTY, fd);

    s->conn.peer = *peer;
    open_accepted(s, tls != NULL ? handshake_timeout_ms : 0);
    return &s->conn;
}

struct conn *conn_accepted_proxied(struct loop *loop, int fd, const struct address *peer,
                                   struct tls_context *tls, uint64_t handshake_timeout_ms,
                                   uint64_t header_timeout_ms)
{
    struct conn_socket *s = socket_create(loop, tls, SLICE_EMPTY, fd);

    s->conn.peer = *peer;
    s->conn.peer_is_announced = true;
    s->state = CONN_ANNOUNCING;
    s->proxy_header = mem_zeroed(sizeof(*s->proxy_header));
    s->proxy_header->handshake_timeout_ms = tls != NULL ? handshake_timeout_ms : 0;
    timer_arm(&s->deadline, header_timeout_ms);
    watch_read(s->watch, true);
    return &s->conn;
}
