/* net/loop_internal.h — what the files of net/ know about a loop and nobody else does. */
#pragma once

#include "base/buf.h"
#include "net/evloop.h"
#include "net/loop.h"
#include "net/timer_wheel.h"

struct timer_wheel *loop_timers(struct loop *loop);
struct loop_counters *loop_counters_mutable(struct loop *loop);

/* A descriptor's callback has returned: what it put off until then runs. */
void loop_left_callback(struct loop *loop);

/* Every watch, so that loop_destroy() can tell that all are gone. */
struct list *loop_watches(struct loop *loop);

/* epoll refused descriptors: those of watches are noted before any callback can touch them again,
 * and asked for once more a little later. */
void watch_note_refused(struct list *watches);
void watch_ask_again(struct list *watches);

/* NULL unless loop_gather_io() was called and the kernel can. */
struct turn_io;
struct turn_io *loop_turn_io(const struct loop *loop);

/* Bytes that live inside one callback only: callers leave it empty (buf_clear). */
struct buf *loop_scratch(struct loop *loop);

/* Something that lives on the loop with no owner (a lingering conn, a name lookup): loop_destroy()
 * ends it. */
struct resident {
    struct list link;
    void (*end)(struct resident *resident);
};
void loop_add_resident(struct loop *loop, struct resident *resident);
void loop_remove_resident(struct resident *resident);

/* A message whose memory is the sender's own: `run` gets it on the loop's thread, or `drop` in
 * loop_destroy(). */
struct message {
    struct list link;
    void (*run)(struct message *message);
    void (*drop)(struct message *message);
};
void loop_post_message(struct loop *loop, struct message *message);

/* The lookups of name_lookup.c that wait for a thread, and how many have one. */
struct lookup_queue {
    struct list waiting;
    unsigned running_count;
};
struct lookup_queue *loop_lookups(struct loop *loop);
