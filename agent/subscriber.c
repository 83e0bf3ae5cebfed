/* agent/subscriber.c — see subscriber.h. */
#include "agent/subscriber.h"

#include "connect/envelope.h"

void fanout_shared_deinit(struct fanout_shared *shared)
{
    buf_deinit(&shared->frames[MESSAGE_JSON]);
    buf_deinit(&shared->frames[MESSAGE_PROTO]);
}

/* The event in its envelope, borrowed until the next frame of this codec. Connect and gRPC frame
 * alike. */
static struct slice make_frame(struct fanout_shared *shared, enum message_codec codec,
                               const struct process_event *event)
{
    struct buf *frame = &shared->frames[codec];

    buf_clear(frame);
    buf_append(frame, SLICE("\0\0\0\0\0"));
    process_event_encode(codec, event, frame);

    size_t len = frame->len - ENVELOPE_HEAD_BYTES;
    unsigned char *head = (unsigned char *)frame->memory + frame->start;

    for (int i = ENVELOPE_HEAD_BYTES - 1; i > 0; i--, len >>= 8)
        head[i] = (unsigned char)len;
    return buf_slice(frame);
}

static void update_pressure(struct fanout *fanout)
{
    bool blocked = fanout->count > 0 && fanout->full_count == fanout->count;

    if (blocked == fanout->is_blocked || fanout->is_sending)
        return;
    fanout->is_blocked = blocked;
    fanout->on_pressure(fanout);
}

static void set_full(struct subscriber *s, bool full)
{
    if (s->is_full == full)
        return;
    s->is_full = full;
    if (s->fanout == NULL)
        return;
    s->fanout->full_count += full ? 1u : 0u;
    s->fanout->full_count -= full ? 0u : 1u;
}

static void put_frame(struct subscriber *s, struct slice frame)
{
    exchange_write(s->exchange, frame);
    s->sent_ms = loop_clock(s->keepalive.loop)->now_ms;
    if (s->exchange->out.len >= s->shared->high_bytes)
        set_full(s, true);
}

/* ---- fanout ---- */

void fanout_init(struct fanout *fanout, struct fanout_shared *shared,
                 void (*on_pressure)(struct fanout *fanout))
{
    *fanout = (struct fanout){ .shared = shared, .on_pressure = on_pressure };
    list_init(&fanout->subscribers);
}

void fanout_send(struct fanout *fanout, const struct process_event *event)
{
    struct slice frames[2] = { SLICE_EMPTY, SLICE_EMPTY };

    fanout->is_sending = true;
    LIST_EACH(&fanout->subscribers, link)
    {
        struct subscriber *s = LIST_ITEM(link, struct subscriber, link);

        if (frames[s->codec].len == 0)
            frames[s->codec] = make_frame(fanout->shared, s->codec, event);
        if (s->exchange->out.len + frames[s->codec].len > fanout->shared->limit_bytes &&
            fanout->count > 1) {
            subscriber_leave(s);
            s->on_finished(s, CONNECT_RESOURCE_EXHAUSTED,
                           "output was read too slowly; other readers of the process go on");
        } else {
            put_frame(s, frames[s->codec]);
        }
    }
    fanout->is_sending = false;
    update_pressure(fanout);
}

void fanout_finish(struct fanout *fanout, const struct process_event *end)
{
    fanout_send(fanout, end);
    fanout->is_sending = true;
    LIST_EACH(&fanout->subscribers, link)
    {
        struct subscriber *s = LIST_ITEM(link, struct subscriber, link);

        subscriber_leave(s);
        s->on_finished(s, CONNECT_OK, "");
    }
    fanout->is_sending = false;
    update_pressure(fanout);
}

/* ---- subscriber ---- */

/* Armed once per interval, not once per event: it looks how long the silence really was. */
static void on_keepalive(struct timer *timer)
{
    struct subscriber *s = CONTAINER_OF(timer, struct subscriber, keepalive);
    static const struct process_event keepalive = { .kind = EVENT_KEEPALIVE };
    uint64_t silent_ms = loop_clock(timer->loop)->now_ms - s->sent_ms;

    if (silent_ms < s->interval_ms) {
        timer_arm(timer, s->interval_ms - silent_ms);
        return;
    }
    timer_arm(timer, s->interval_ms);
    if (s->exchange->out.len == 0) /* else it does not read what it has */
        put_frame(s, make_frame(s->shared, s->codec, &keepalive));
}

void subscriber_init(struct subscriber *subscriber, struct loop *loop, struct fanout_shared *shared,
                     uint64_t interval_ms, subscriber_finished_fn *on_finished)
{
    *subscriber = (struct subscriber){ .shared = shared,
                                       .interval_ms = interval_ms,
                                       .on_finished = on_finished };
    list_init(&subscriber->link);
    timer_init(&subscriber->keepalive, loop, on_keepalive);
}

void subscriber_send(struct subscriber *subscriber, const struct process_event *event)
{
    put_frame(subscriber, make_frame(subscriber->shared, subscriber->codec, event));
}

void subscriber_join(struct subscriber *subscriber, struct fanout *fanout)
{
    subscriber->fanout = fanout;
    list_append(&fanout->subscribers, &subscriber->link);
    fanout->count++;
    if (subscriber->is_full)
        fanout->full_count++;
    timer_arm(&subscriber->keepalive, subscriber->interval_ms);
    update_pressure(fanout);
}

void subscriber_leave(struct subscriber *subscriber)
{
    struct fanout *fanout = subscriber->fanout;

    timer_cancel(&subscriber->keepalive);
    if (fanout == NULL)
        return;
    list_unlink(&subscriber->link);
    fanout->count--;
    if (subscriber->is_full)
        fanout->full_count--;
    subscriber->fanout = NULL;
    update_pressure(fanout);
}

void subscriber_drained(struct subscriber *subscriber)
{
    if (!subscriber->is_full || subscriber->exchange->out.len > subscriber->shared->low_bytes)
        return;
    set_full(subscriber, false);
    if (subscriber->fanout != NULL)
        update_pressure(subscriber->fanout);
}
