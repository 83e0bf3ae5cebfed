/* net/io_batch.h — many recv() and send() calls in one system call, where the kernel has io_uring. Nothing is left to
 * run behind the caller's back: every call has happened when io_batch_run() returns, as if made one by one.
 *
 * One per loop, used by one thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { IO_BATCH_MAX = 32 };

struct io_batch;

/* One call on a socket that does not block. */
struct io_call {
    int fd;
    bool is_send;
    char *bytes; /* into which, or which */
    size_t len;
    ssize_t result; /* as recv()'s or send()'s, but -errno */
};

/* Returns owned; NULL when the kernel has no io_uring or does not let us (seccomp, sysctl). */
struct io_batch *io_batch_create(void);

/* Sets *batch to NULL; may already be NULL. */
void io_batch_destroy(struct io_batch **batch);

/* Makes `count` (≤ IO_BATCH_MAX) calls, whose order is not promised: they must be of different sockets. When the ring
 * fails, the rest is made one by one, then and ever after. */
void io_batch_run(struct io_batch *batch, struct io_call *calls, size_t count);
