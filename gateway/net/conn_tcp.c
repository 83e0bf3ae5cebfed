/* net/conn_tcp.c — a conn in the clear: recv() and send() on the socket, nothing in between. Small
 * parts are joined first: sendmsg() has its message and its vectors copied and checked by the
 * kernel, which costs more than a kilobyte does. */
#include <errno.h>
#include <sys/uio.h>

#include "base/mem.h"
#include "net/conn_socket.h"

enum { PARTS_MAX = 64, JOINED_BYTES = 2048 };

static enum status read_tcp(struct conn *conn, char *into, size_t size_bytes, size_t *out_count)
{
    struct conn_socket *s = conn_socket_of(conn);
    ssize_t count;

    ENSURE(size_bytes > 0);
    if (s->state != CONN_OPEN)
        return s->state == CONN_FAILED ? STATUS_SYSTEM : STATUS_AGAIN;
    do
        count = recv(s->fd, into, size_bytes, 0);
    while (count == -1 && errno == EINTR);
    if (count > 0) {
        *out_count = (size_t)count;
        return STATUS_OK;
    }
    if (count == 0)
        return conn_socket_end(s, STATUS_CLOSED);
    return errno == EAGAIN ? STATUS_AGAIN : conn_socket_end(s, STATUS_SYSTEM);
}

/* As send(). */
static ssize_t send_parts(int fd, const struct slice *parts, size_t part_count)
{
    struct iovec vectors[PARTS_MAX];
    struct msghdr message = { .msg_iov = vectors };

    for (size_t i = 0; i < part_count; i++) {
        if (parts[i].len > 0)
            vectors[message.msg_iovlen++] = (struct iovec){
                .iov_base = (char *)(uintptr_t)parts[i].ptr, .iov_len = parts[i].len
            };
    }
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

static ssize_t send_joined(int fd, const struct slice *parts, size_t part_count)
{
    char bytes[JOINED_BYTES];
    size_t len = 0;

    for (size_t i = 0; i < part_count; i++) {
        memcpy(bytes + len, parts[i].ptr, parts[i].len);
        len += parts[i].len;
    }
    return send(fd, bytes, len, MSG_NOSIGNAL);
}

static enum status write_tcp(struct conn *conn, const struct slice *parts, size_t part_count,
                             size_t *out_count)
{
    struct conn_socket *s = conn_socket_of(conn);
    size_t total = 0;
    ssize_t count;

    ENSURE(part_count <= PARTS_MAX);
    if (s->state != CONN_OPEN)
        return s->state == CONN_FAILED ? STATUS_SYSTEM : STATUS_AGAIN;
    for (size_t i = 0; i < part_count; i++)
        total += parts[i].len;
    *out_count = 0;
    if (total == 0)
        return STATUS_OK;
    do
        count = total <= JOINED_BYTES ? send_joined(s->fd, parts, part_count) :
                part_count == 1       ? send(s->fd, parts[0].ptr, parts[0].len, MSG_NOSIGNAL) :
                                        send_parts(s->fd, parts, part_count);
    while (count == -1 && errno == EINTR);
    if (count == -1)
        return errno == EAGAIN ? STATUS_AGAIN : STATUS_SYSTEM;
    *out_count = (size_t)count;
    return STATUS_OK;
}

static void want_read_tcp(struct conn *conn, bool enabled)
{
    struct conn_socket *s = conn_socket_of(conn);

    s->read_wanted = enabled;
    if (s->state == CONN_OPEN)
        watch_read(s->watch, enabled && !s->ended);
}

static void want_write_tcp(struct conn *conn)
{
    struct conn_socket *s = conn_socket_of(conn);

    s->write_wanted = true;
    if (s->state == CONN_OPEN)
        watch_write(s->watch);
}

static void shutdown_tcp(struct conn *conn)
{
    struct conn_socket *s = conn_socket_of(conn);

    if (s->state == CONN_OPEN)
        (void)shutdown(s->fd, SHUT_WR);
}

static void destroy_tcp(struct conn *conn)
{
    struct conn_socket *s = conn_socket_of(conn);

    conn_socket_deinit(s);
    mem_free(s);
}

static void on_connected(struct conn_socket *s)
{
    conn_socket_opened(s, STATUS_OK);
}

static void on_readable(struct conn_socket *s)
{
    if (s->read_wanted && s->conn.events != NULL)
        s->conn.events->on_readable(s->conn.owner);
}

static void on_writable(struct conn_socket *s)
{
    if (!s->write_wanted || s->conn.events == NULL)
        return;
    s->write_wanted = false;
    s->conn.events->on_writable(s->conn.owner);
}

const struct conn_socket_kind conn_tcp_kind = {
    .ops = {
        .read = read_tcp,
        .write = write_tcp,
        .want_read = want_read_tcp,
        .want_write = want_write_tcp,
        .shutdown = shutdown_tcp,
        .destroy = destroy_tcp,
    },
    .on_connected = on_connected,
    .on_readable = on_readable,
    .on_writable = on_writable,
};
