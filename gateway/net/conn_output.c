/* net/conn_output.c — bytes of a conn on their way to its socket: at once, or with those of others
 * at the end of the turn (turn_io.h). The owner was told of them as written, so what the socket
 * does not take rests in `out`, before anything else; it is at most what TLS sealed in one batch,
 * or what one turn gathered. */
#include <errno.h>

#include "base/mem.h"
#include "net/conn_socket.h"
#include "net/loop_internal.h"

static void fail(struct conn_socket *s, size_t lost_bytes)
{
    s->send_failed = true;
    s->conn.unsent_bytes = lost_bytes;
    buf_deinit(&s->out);
    if (s->state == CONN_OPEN && !s->ended)
        task_defer_next(s->conn.loop, &s->again); /* reading says how it ended */
}

/* `bytes` before what rests in `out`. */
static void put_back(struct conn_socket *s, struct slice bytes)
{
    struct buf all = { 0 };

    buf_append(&all, bytes);
    buf_append(&all, buf_slice(&s->out));
    buf_deinit(&s->out);
    s->out = all;
    watch_write(s->watch);
}

void conn_output_settle(struct conn_socket *socket, ssize_t result)
{
    struct slice left = socket->unsent;

    socket->unsent = SLICE_EMPTY;
    if (result < 0 && result != -EAGAIN)
        fail(socket, left.len + socket->out.len);
    else if (result < (ssize_t)left.len)
        put_back(socket, slice_skip(left, result > 0 ? (size_t)result : 0));
}

void conn_output_append(struct conn_socket *socket, const struct slice *parts, size_t part_count)
{
    for (size_t i = 0; i < part_count && !socket->send_failed; i++)
        buf_append(&socket->out, parts[i]);
}

/* Sends what the socket takes of `bytes` and cuts it off. OK: all went. */
static enum status send_some(struct conn_socket *s, struct slice *bytes)
{
    while (bytes->len > 0 && !s->send_failed) {
        ssize_t count = send(s->fd, bytes->ptr, bytes->len, MSG_NOSIGNAL);

        if (count >= 0)
            *bytes = slice_skip(*bytes, (size_t)count);
        else if (errno == EAGAIN)
            return STATUS_AGAIN;
        else if (errno != EINTR)
            s->send_failed = true;
    }
    return s->send_failed ? STATUS_SYSTEM : STATUS_OK;
}

enum status conn_output_flush(struct conn_socket *socket)
{
    if (socket->unsent.len > 0)
        turn_io_flush(loop_turn_io(socket->conn.loop));

    struct slice left = buf_slice(&socket->out);
    enum status status = send_some(socket, &left);

    if (socket->out.len > left.len)
        buf_consume(&socket->out, socket->out.len - left.len);
    if (status == STATUS_AGAIN)
        watch_write(socket->watch);
    else if (status == STATUS_OK && socket->is_shut)
        (void)shutdown(socket->fd, SHUT_WR);
    return status;
}

bool conn_output_gather(struct conn_socket *socket, const struct slice *parts, size_t part_count,
                        size_t len)
{
    struct turn_io *io = loop_turn_io(socket->conn.loop);

    if (io == NULL || socket->out.len > 0 || len > TURN_IO_SEND_BYTES)
        return false;
    turn_io_send(io, socket, parts, part_count, len);
    return true;
}

enum status conn_output_clear(struct conn_socket *socket)
{
    return socket->unsent.len > 0 || socket->out.len > 0 ? conn_output_flush(socket) : STATUS_OK;
}

enum status conn_output_send(struct conn_socket *socket, struct slice bytes)
{
    if (conn_output_gather(socket, &bytes, 1, bytes.len))
        return STATUS_OK;

    enum status status = conn_output_clear(socket);

    if (status == STATUS_OK)
        status = send_some(socket, &bytes);
    if (status == STATUS_AGAIN) {
        buf_append(&socket->out, bytes);
        watch_write(socket->watch);
    }
    return status;
}
