/* net/loop.h — one event loop: readiness of file descriptors, timers, end-of-turn tasks, messages from other threads.
 * One per worker; everything but loop_post() and loop_stop() belongs to the thread that runs it.
 *
 * A turn: wait (epoll, no longer than the next timer) → callbacks of ready descriptors → messages → timers → tasks,
 * until no task is left → what conns have put off to its end. Conns that many share gather what they write in tasks, so that one turn ends in one write per
 * conn. A conn that serves one exchange at a time gathers nothing by waiting for the others: its tasks run behind the
 * callback that called for them, while the bytes are in the cache. */
#pragma once

#include "base/clock.h"
#include "base/histogram.h"
#include "base/list.h"
#include "base/status.h"

struct loop;

/* Returns owned. Errors: SYSTEM. */
MUST_CHECK enum status loop_create(struct loop **out_loop);

/* The watches and timers on it must be gone. Sets *loop to NULL; *loop may already be NULL. */
void loop_destroy(struct loop **loop);

/* From the next turn on, small reads and writes of conns are gathered into few system calls, where the kernel has
 * io_uring. */
void loop_gather_io(struct loop *loop);

/* Runs turns until loop_stop(). */
void loop_run(struct loop *loop);

/* Runs one turn, waiting at most `wait_ms` for something to happen. */
void loop_turn(struct loop *loop, int wait_ms);

/* From any thread: loop_run() returns after the current turn. */
void loop_stop(struct loop *loop);

/* From any thread: `run(arg)` happens on the loop's thread, in the order of posting. */
void loop_post(struct loop *loop, void (*run)(void *arg), void *arg);

/* Borrowed; fresh since the start of this turn. */
const struct clock *loop_clock(const struct loop *loop);

/* How long turns keep everything else on the loop waiting: from the end of the wait to the next one. Any thread may
 * read. */
struct loop_counters {
    struct histogram turn;
    struct counter tls_floods;     /* clients cut for too many TLS messages after the handshake */
    struct counter epoll_refusals; /* epoll did not take a descriptor; it was asked again */
};
const struct loop_counters *loop_counters(const struct loop *loop);

/* Work put off to the end of this turn. Embedded in its owner; init before use, cancel before the owner goes. */
struct task;
typedef void task_fn(struct task *task);
struct task {
    struct list link;
    task_fn *run;
};
void task_init(struct task *task, task_fn *run);
void task_defer(struct loop *loop, struct task *task); /* harmless when it waits already */
/* Behind the callback of the descriptor that runs now, or as task_defer() when none does. */
void task_defer_soon(struct loop *loop, struct task *task);
void task_defer_next(struct loop *loop,
                     struct task *task); /* at the end of the next turn, which then does not wait */
void task_cancel(struct task *task);     /* harmless when it does not wait */
