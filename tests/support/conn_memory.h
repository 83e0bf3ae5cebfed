/* conn_memory.h — two conns joined in memory, on one loop: what one end writes, the other reads.
 * For tests of everything that stands on a conn. Events come from tasks of the following turns,
 * level-triggered as from a socket.
 *
 *     conn_memory_pair(loop, &(struct conn_memory_options){ .read_bytes = 1 }, &a, &b);
 *     conn_set_owner(a, …); conn_set_owner(b, …); loop_turn(loop, 0);      both have had
 * on_open(OK)
 *
 * Ends as TCP does: conn_shutdown() is a FIN; conn_destroy() is a FIN, or a reset when it leaves
 * input unread. */
#pragma once

#include "net/conn.h"

struct conn_memory_options {
    size_t pipe_bytes;  /* that wait in each direction at most; 0: 64 KiB */
    size_t read_bytes;  /* that one on_readable can read at most; 0: no limit; 1: byte by byte */
    size_t write_bytes; /* that one conn_write takes at most; 0: no limit */
};

/* Both are owned by the caller; either may be destroyed first. `loop` must have turned once before
 * they are open. */
void conn_memory_pair(struct loop *loop, const struct conn_memory_options *options,
                      struct conn **out_a, struct conn **out_b);

/* Changes read_bytes and write_bytes of this end alone. */
void conn_memory_limit(struct conn *conn, size_t read_bytes, size_t write_bytes);

/* The peer of `conn` sees a reset (STATUS_SYSTEM) after what is already on its way; `conn` too. */
void conn_memory_break(struct conn *conn);

/* How often conn_write() was called with bytes that went out. */
size_t conn_memory_write_count(const struct conn *conn);

/* Bytes written by `conn` that its peer has not read. */
size_t conn_memory_unread(const struct conn *conn);
