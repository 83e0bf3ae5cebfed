/* agent/subscriber.h — who watches a process, and how its events reach all of them. A fanout
 * encodes an event once per codec and copies it into the output of each subscriber's exchange,
 * which is the subscriber's queue.
 *
 * One rule of pressure: the source is blocked while it has subscribers and all of them are full. So
 * one slow reader alone holds back its own process, through the process's full pipe; beside a
 * reader that keeps up, a slow one falls behind up to `limit_bytes` and is then ended with
 * resource_exhausted. With no subscriber, events are dropped. */
#pragma once

#include "connect/connect_code.h"
#include "connect/process_message.h"
#include "http/exchange.h"
#include "net/timer.h"

/* What all fanouts of a loop share; zero it and set the numbers. */
struct fanout_shared {
    struct buf frames[2]; /* by message_codec: the event in the making */
    size_t limit_bytes;   /* a subscriber may be so far behind another one */
    size_t high_bytes;    /* from here on it is full … */
    size_t low_bytes;     /* … until here */
};
void fanout_shared_deinit(struct fanout_shared *shared);

struct fanout {
    struct fanout_shared *shared;
    struct list subscribers;
    size_t count;
    size_t full_count;
    bool is_blocked;
    /* The pressure changed. Never called while fanout_send() or fanout_finish() of this fanout
     * runs. */
    void (*on_pressure)(struct fanout *fanout);
    bool is_sending;
};

struct subscriber;
/* It has left its fanout. CONNECT_OK: after the end event. The subscriber may be gone afterwards.
 */
typedef void subscriber_finished_fn(struct subscriber *subscriber, enum connect_code code,
                                    const char *words);

struct subscriber {
    struct list link;
    struct fanout *fanout; /* NULL: in none */
    struct fanout_shared *shared;
    struct exchange *exchange; /* borrowed; its head was sent */
    enum message_codec codec;
    bool is_full;
    uint64_t interval_ms; /* a keepalive follows so long a silence */
    uint64_t sent_ms;
    struct timer keepalive;
    subscriber_finished_fn *on_finished;
};

void fanout_init(struct fanout *fanout, struct fanout_shared *shared,
                 void (*on_pressure)(struct fanout *fanout));

void fanout_send(struct fanout *fanout, const struct process_event *event);

/* Sends the end event to all, and every one is finished with CONNECT_OK. */
void fanout_finish(struct fanout *fanout, const struct process_event *end);

void subscriber_init(struct subscriber *subscriber, struct loop *loop, struct fanout_shared *shared,
                     uint64_t interval_ms, subscriber_finished_fn *on_finished);
/* To the one alone, in a fanout or not. */
void subscriber_send(struct subscriber *subscriber, const struct process_event *event);
void subscriber_join(struct subscriber *subscriber, struct fanout *fanout);
void subscriber_leave(
    struct subscriber *subscriber); /* harmless when it is in none; on_finished does not run */
void subscriber_drained(struct subscriber *subscriber); /* the exchange's output has shrunk */
