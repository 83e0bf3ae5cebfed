/* h2_recorder.c — see h2_recorder.h. */
#include "h2_recorder.h"

static struct recorder *of(struct exchange *exchange)
{
    return exchange->owner;
}

static void act(struct recorder *recorder, enum recorder_act what)
{
    if (what == ACT_RELEASE)
        exchange_release(&recorder->exchange);
    else if (what == ACT_RESET)
        exchange_reset(recorder->exchange, RESET_CANCEL);
}

static void check(struct recorder *recorder)
{
    recorder->events_after_end += recorder->reset;
}

static void on_interim(struct exchange *exchange, const struct head *head)
{
    check(of(exchange));
    buf_printf(&of(exchange)->interim, "%u\n", head->status);
}

static void on_head(struct exchange *exchange, const struct head *head)
{
    struct recorder *recorder = of(exchange);

    check(recorder);
    recorder->head_seen = true;
    recorder->status = head->status;
    recorder->ended = exchange->in_ended;
    act(recorder, recorder->on_head_act);
}

static void on_body(struct exchange *exchange, struct slice bytes)
{
    struct recorder *recorder = of(exchange);

    check(recorder);
    recorder->events_after_end += recorder->ended;
    ENSURE(bytes.len > 0);
    buf_append(&recorder->body, bytes);
    if (!recorder->holds)
        exchange_consumed(exchange, bytes.len);
    act(recorder, recorder->on_body_act);
}

static void on_end(struct exchange *exchange, const struct fields *trailers)
{
    struct recorder *recorder = of(exchange);

    check(recorder);
    recorder->events_after_end += recorder->ended;
    recorder->ended = true;
    for (size_t i = 0; i < trailers->count; i++)
        buf_printf(&recorder->trailers, "%.*s: %.*s\n", SLICE_ARGS(trailers->items[i].name),
                   SLICE_ARGS(trailers->items[i].value));
    act(recorder, recorder->on_end_act);
}

static void on_drained(struct exchange *exchange, size_t size_bytes)
{
    struct recorder *recorder = of(exchange);

    check(recorder);
    recorder->drained_bytes += size_bytes;
    act(recorder, recorder->on_drained_act);
}

static void on_reset(struct exchange *exchange, enum exchange_reset reason)
{
    struct recorder *recorder = of(exchange);

    check(recorder);
    recorder->reset = true;
    recorder->reason = reason;
    act(recorder, recorder->on_reset_act);
}

const struct exchange_events recorder_events = {
    .on_interim = on_interim,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_drained = on_drained,
    .on_reset = on_reset,
};

void recorder_take(struct recorder *recorder, struct exchange *exchange)
{
    recorder->exchange = exchange;
    exchange_set_owner(exchange, &recorder_events, recorder);
}

void recorder_deinit(struct recorder *recorder)
{
    exchange_release(&recorder->exchange);
    buf_deinit(&recorder->body);
    buf_deinit(&recorder->trailers);
    buf_deinit(&recorder->interim);
}

void recorder_send_head(struct recorder *recorder, unsigned status, bool end)
{
    struct head head = { .status = status, .content_length = CONTENT_LENGTH_UNKNOWN };

    exchange_send_head(recorder->exchange, &head, end);
}

void recorder_answer(struct recorder *recorder, const char *body)
{
    recorder_send_head(recorder, 200, body == NULL);
    if (body == NULL)
        return;
    exchange_write(recorder->exchange, slice_from_string(body));
    exchange_end(recorder->exchange, NULL);
}
