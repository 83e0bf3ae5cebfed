/* net/conn_tcp.c — a conn in the clear. Small parts are joined before they are sent: sendmsg() has
 * its message and its vectors copied and checked by the kernel, which costs more than two kilobytes
 * do. */
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
    count = conn_input_recv(s, into, size_bytes);
    if (count > 0) {
        *out_count = (size_t)count;
        if (conn_input_has_ahead(s) && s->read_wanted)
            task_defer_next(conn->loop, &s->again);
        return STATUS_OK;
    }
    if (count < 0 && errno == EAGAIN)
        return STATUS_AGAIN;
    s->send_failed |= count < 0; /* a reset ends both directions */
    return conn_socket_end(s, s->send_failed ? STATUS_SYSTEM : STATUS_CLOSED);
}

static ssize_t send_joined(int fd, const struct slice *parts, size_t part_count)
{
    char bytes[JOINED_BYTES];
    size_t len = slices_join(bytes, parts, part_count);

    return send(fd, bytes, len, MSG_NOSIGNAL);
}

static ssize_t send_parts(int fd, const struct slice *parts, size_t part_count)
{
    struct iovec vectors[PARTS_MAX];
    struct msghdr message = { .msg_iov = vectors };

    for (size_t i = 0; i < part_count; i++) {
        if (parts[i].len > 0)
            vectors[message.msg_iovlen++] =
                (struct iovec){ .iov_base = (char *)(uintptr_t)parts[i].ptr,
                                .iov_len = parts[i].len };
    }
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

static enum status send_now(int fd, const struct slice *parts, size_t part_count, size_t len,
                            size_t *out_count)
{
    ssize_t count;

    do
        count = len <= JOINED_BYTES ? send_joined(fd, parts, part_count)
                : part_count == 1   ? send(fd, parts[0].ptr, len, MSG_NOSIGNAL)
                                    : send_parts(fd, parts, part_count);
    while (count == -1 && errno == EINTR);
    if (count == -1)
        return errno == EAGAIN ? STATUS_AGAIN : STATUS_SYSTEM;
    *out_count = (size_t)count;
    return STATUS_OK;
}

static enum status write_tcp(struct conn *conn, const struct slice *parts, size_t part_count,
                             size_t *out_count)
{
    struct conn_socket *s = conn_socket_of(conn);
    size_t len = 0;

    ENSURE(part_count <= PARTS_MAX);
    if (s->state != CONN_OPEN)
        return s->state == CONN_FAILED ? STATUS_SYSTEM : STATUS_AGAIN;
    if (s->send_failed || s->is_shut)
        return STATUS_SYSTEM;
    for (size_t i = 0; i < part_count; i++)
        len += parts[i].len;
    *out_count = 0;
    if (len == 0)
        return STATUS_OK;
    if (conn_output_gather(s, parts, part_count, len)) {
        *out_count = len;
        return STATUS_OK;
    }

    enum status status = conn_output_clear(s);

    return status == STATUS_OK ? send_now(s->fd, parts, part_count, len, out_count) : status;
}

static void want_read_tcp(struct conn *conn, bool enabled)
{
    struct conn_socket *s = conn_socket_of(conn);

    s->read_wanted = enabled;
    if (s->state != CONN_OPEN)
        return;
    watch_read(s->watch, enabled && !s->ended);
    if (!enabled)
        task_cancel(&s->again);
    else if (conn_input_has_ahead(s) && !s->ended)
        task_defer_next(conn->loop, &s->again);
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

    if (s->state != CONN_OPEN || s->is_shut)
        return;
    s->is_shut = true;
    (void)conn_output_flush(s);
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
    if (s->out.len > 0 && conn_output_flush(s) == STATUS_AGAIN)
        return; /* and on_writable comes again */
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
