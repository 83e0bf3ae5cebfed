/* net/turn_io.c — see turn_io.h. What is read ahead lies in a slot until its owner's callback is
 * over (conn_input.c says what becomes of the rest); what is to be sent lies behind one another in
 * one buffer, each socket's in one piece. */
#include "net/turn_io.h"

#include "base/mem.h"
#include "net/conn_socket.h"
#include "net/io_batch.h"
#include "net/loop_internal.h"

enum {
    UNSENT_BYTES = IO_BATCH_MAX * TURN_IO_SEND_BYTES,
    PIECE_BYTES = 4 * TURN_IO_SEND_BYTES /* most that waits of one socket */
};

struct turn_io {
    struct io_batch *batch;
    struct list readable;
    struct list reading; /* of this batch, their owners have not heard yet */
    struct list hearing; /* the one whose owner hears now, unless it is gone */
    struct list sending;
    size_t sending_count;
    size_t unsent_len;
    char unsent[UNSENT_BYTES];
    char slots[IO_BATCH_MAX][READ_AHEAD_BYTES];
};

struct turn_io *turn_io_create(void)
{
    struct io_batch *batch = io_batch_create();

    if (batch == NULL)
        return NULL;

    struct turn_io *io = mem_alloc(sizeof(*io));

    io->batch = batch;
    list_init(&io->readable);
    list_init(&io->reading);
    list_init(&io->hearing);
    list_init(&io->sending);
    io->sending_count = 0;
    io->unsent_len = 0;
    return io;
}

void turn_io_destroy(struct turn_io **io)
{
    if (*io == NULL)
        return;
    ENSURE(list_is_empty(&(*io)->sending) && list_is_empty(&(*io)->readable));
    io_batch_destroy(&(*io)->batch);
    mem_free(*io);
    *io = NULL;
}

/* ---- reading ---- */

void turn_io_readable(struct turn_io *io, struct conn_socket *socket)
{
    if (!list_is_linked(&socket->readable))
        list_append(&io->readable, &socket->readable);
}

/* Its owner may destroy it. */
static void tell(struct turn_io *io, struct conn_socket *socket)
{
    struct loop *loop = socket->conn.loop;

    list_append(&io->hearing, &socket->readable);
    if (!socket->ended) /* heard in a callback in between */
        socket->kind->on_readable(socket);
    if (!list_is_empty(&io->hearing)) {
        list_unlink(&socket->readable);
        conn_input_keep(socket);
    }
    loop_left_callback(loop);
}

/* Takes up to a batch of the readable ones and reads them. */
static void read_batch(struct turn_io *io)
{
    struct io_call calls[IO_BATCH_MAX];
    size_t count = 0;

    while (count < IO_BATCH_MAX && !list_is_empty(&io->readable)) {
        struct conn_socket *socket = LIST_FIRST(&io->readable, struct conn_socket, readable);

        list_unlink(&socket->readable);
        list_append(&io->reading, &socket->readable);
        calls[count] = (struct io_call){ .fd = socket->fd,
                                         .bytes = io->slots[count],
                                         .len = READ_AHEAD_BYTES };
        count++;
    }
    if (count == 1)
        return; /* its owner reads it */
    io_batch_run(io->batch, calls, count);
    count = 0;
    LIST_EACH(&io->reading, link)
    {
        conn_input_ahead(LIST_ITEM(link, struct conn_socket, readable), calls[count].bytes,
                         calls[count].result);
        count++;
    }
}

void turn_io_read(struct turn_io *io)
{
    while (!list_is_empty(&io->readable)) {
        read_batch(io);
        while (!list_is_empty(&io->reading)) {
            struct conn_socket *socket = LIST_FIRST(&io->reading, struct conn_socket, readable);

            list_unlink(&socket->readable);
            tell(io, socket);
        }
    }
}

/* ---- sending ---- */

static bool is_last(const struct turn_io *io, const struct conn_socket *socket)
{
    return socket->unsent.ptr + socket->unsent.len == io->unsent + io->unsent_len;
}

static bool has_room(const struct turn_io *io, const struct conn_socket *socket, size_t len)
{
    if (io->unsent_len + len > UNSENT_BYTES)
        return false;
    if (socket->unsent.len > 0)
        return is_last(io, socket) && socket->unsent.len + len <= PIECE_BYTES;
    return io->sending_count < IO_BATCH_MAX;
}

void turn_io_send(struct turn_io *io, struct conn_socket *socket, const struct slice *parts,
                  size_t part_count, size_t len)
{
    if (!has_room(io, socket, len)) {
        turn_io_flush(io);
        if (socket->send_failed || socket->out.len > 0) {
            conn_output_append(socket, parts, part_count);
            return;
        }
    }
    if (socket->unsent.len == 0) {
        socket->unsent.ptr = io->unsent + io->unsent_len;
        list_append(&io->sending, &socket->sending);
        io->sending_count++;
    }
    slices_join(io->unsent + io->unsent_len, parts, part_count);
    io->unsent_len += len;
    socket->unsent.len += len;
}

void turn_io_flush(struct turn_io *io)
{
    struct io_call calls[IO_BATCH_MAX];
    size_t count = 0;

    if (io->sending_count == 0)
        return;
    LIST_EACH(&io->sending, link)
    {
        const struct conn_socket *socket = LIST_ITEM(link, struct conn_socket, sending);

        calls[count++] = (struct io_call){ .fd = socket->fd,
                                           .is_send = true,
                                           .bytes = io->unsent + (socket->unsent.ptr - io->unsent),
                                           .len = socket->unsent.len };
    }
    io_batch_run(io->batch, calls, count);
    for (size_t i = 0; i < count; i++) {
        struct conn_socket *socket = LIST_FIRST(&io->sending, struct conn_socket, sending);

        list_unlink(&socket->sending);
        conn_output_settle(socket, calls[i].result);
    }
    mem_wipe(io->unsent, io->unsent_len); /* tokens, Redis' password */
    io->sending_count = 0;
    io->unsent_len = 0;
}
