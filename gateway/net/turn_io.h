/* net/turn_io.h — what the conns of one turn read and send, gathered into few system calls: the sockets that are
 * readable are read together before their owners hear of it, and small writes leave together when the turn's tasks
 * have run. Large ones gain nothing by it and go alone. Part of net/; one per loop that asked for it. */
#pragma once

#include "base/slice.h"
#include "net/loop.h"

struct conn_socket;
struct turn_io;

enum { TURN_IO_SEND_BYTES = 2048 }; /* longest write that waits for the others */

/* Returns owned. */
struct turn_io *turn_io_create(void);

/* Everything was sent and every conn is gone. Sets *io to NULL; may already be NULL. */
void turn_io_destroy(struct turn_io **io);

/* The socket is readable: its kind hears of it in turn_io_read(), unless it goes before. */
void turn_io_readable(struct turn_io *io, struct conn_socket *socket);
void turn_io_read(struct turn_io *io);

/* Takes copies of `parts`, `len` bytes (1 to TURN_IO_SEND_BYTES) in all, behind what waits of this socket. */
void turn_io_send(struct turn_io *io, struct conn_socket *socket, const struct slice *parts,
                  size_t part_count, size_t len);

/* Sends what waits. What a socket does not take is handed to conn_output_settle(). */
void turn_io_flush(struct turn_io *io);
