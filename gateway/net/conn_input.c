/* net/conn_input.c — the bytes of a socket on their way to its kind: what turn_io.c has read ahead
 * first. */
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "net/conn_socket.h"

enum { NO_END = 1 };

void conn_input_init(struct conn_socket *socket)
{
    socket->ahead_end = NO_END;
}

bool conn_input_has_ahead(const struct conn_socket *socket)
{
    return socket->ahead.len > 0 || socket->ahead_end != NO_END;
}

void conn_input_ahead(struct conn_socket *socket, const char *bytes, ssize_t result)
{
    if (result > 0) {
        socket->ahead = slice_of(bytes, (size_t)result);
        socket->ahead_is_cut = result == READ_AHEAD_BYTES;
    } else if (result != -EAGAIN) {
        socket->ahead_end = result;
    }
}

void conn_input_keep(struct conn_socket *socket)
{
    if (socket->ended) {
        socket->ahead = SLICE_EMPTY;
        return;
    }
    if (!conn_input_has_ahead(socket))
        return;
    if (socket->ahead.len > 0) {
        ENSURE(socket->held.len == 0);
        buf_append(&socket->held, socket->ahead);
        socket->ahead = buf_slice(&socket->held);
    }
    if (socket->read_wanted)
        task_defer_next(socket->conn.loop, &socket->again);
}

static ssize_t recv_now(int fd, char *into, size_t size_bytes)
{
    ssize_t count;

    do
        count = recv(fd, into, size_bytes, 0);
    while (count == -1 && errno == EINTR);
    return count;
}

static size_t take_ahead(struct conn_socket *socket, char *into, size_t size_bytes)
{
    struct slice bytes = slice_first(socket->ahead, size_bytes);

    if (bytes.len == 0)
        return 0;
    memcpy(into, bytes.ptr, bytes.len);
    socket->ahead = slice_skip(socket->ahead, bytes.len);
    if (socket->ahead.len == 0) {
        socket->ahead = SLICE_EMPTY;
        buf_deinit(&socket->held);
    }
    return bytes.len;
}

/* The end, which the socket may tell only once. */
static ssize_t end_of(struct conn_socket *socket)
{
    if (socket->ahead_end == 0)
        return 0;
    errno = (int)-socket->ahead_end;
    return -1;
}

ssize_t conn_input_recv(struct conn_socket *socket, char *into, size_t size_bytes)
{
    size_t count = take_ahead(socket, into, size_bytes);

    if (count > 0 && (count == size_bytes || !socket->ahead_is_cut)) {
        socket->reads_much = false;
        return (ssize_t)count;
    }
    if (count == 0 && socket->ahead_end != NO_END)
        return end_of(socket);

    ssize_t more = recv_now(socket->fd, into + count, size_bytes - count);

    if (more < 0 && errno == EAGAIN && socket->send_failed)
        errno = EPIPE; /* there may be no other sign of it: the owner was told that it wrote */
    if (count > 0 && more <= 0) {
        if (more == 0 || errno != EAGAIN)
            socket->ahead_end = more == 0 ? 0 : -errno;
        more = 0;
    }
    socket->ahead_is_cut = false;
    if (more >= 0)
        socket->reads_much = count + (size_t)more >= READ_AHEAD_BYTES;
    return count > 0 ? (ssize_t)count + more : more;
}
