/* agent/plain_reply.c — see plain_reply.h. The exchange is its own state: it is released when its
 * answer has left and its request has ended, or when the client goes on sending after the answer.
 */
#include "agent/plain_reply.h"

static void release_if_done(struct exchange *exchange)
{
    if (exchange_is_finished(exchange))
        exchange_release(&exchange);
}

static void on_unexpected_head(struct exchange *exchange, const struct head *head)
{
    (void)exchange;
    (void)head; /* client side only */
}

static void on_body(struct exchange *exchange, struct slice bytes)
{
    exchange_consumed(exchange, bytes.len);
    if (exchange->out.len == 0)
        exchange_release(&exchange);
}

static void on_end(struct exchange *exchange, const struct fields *trailers)
{
    (void)trailers;
    release_if_done(exchange);
}

static void on_drained(struct exchange *exchange, size_t size_bytes)
{
    (void)size_bytes;
    release_if_done(exchange);
}

static void on_reset(struct exchange *exchange, enum exchange_reset reason)
{
    (void)reason;
    exchange_release(&exchange);
}

static const struct exchange_events reply_events = {
    .on_interim = on_unexpected_head,
    .on_head = on_unexpected_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_drained = on_drained,
    .on_reset = on_reset,
};

void plain_reply_rest(struct exchange *exchange)
{
    exchange_set_owner(exchange, &reply_events, NULL);
    release_if_done(exchange);
}

void plain_reply(struct exchange *exchange, unsigned status, struct slice type, struct slice body)
{
    struct head head = { .status = status, .content_length = (int64_t)body.len };

    if (type.len > 0)
        fields_add(&head.fields, &exchange->arena, FIELD_CONTENT_TYPE, type);
    if (status == 204)
        head.content_length = CONTENT_LENGTH_UNKNOWN;
    else
        fields_add(&head.fields, &exchange->arena, FIELD_CONTENT_LENGTH,
                   arena_printf(&exchange->arena, "%zu", body.len));
    exchange_send_head(exchange, &head, body.len == 0);
    if (body.len > 0) {
        exchange_write(exchange, body);
        exchange_end(exchange, NULL);
    }
    plain_reply_rest(exchange);
}

void plain_reply_error(struct exchange *exchange, unsigned status, const char *code_text,
                       struct slice words)
{
    struct buf body = { 0 };

    buf_printf(&body, "{\"code\":\"%s\",\"message\":\"", code_text);
    buf_append_json_text(&body, words);
    buf_append(&body, SLICE("\"}\n"));
    plain_reply(exchange, status, SLICE("application/json"), buf_slice(&body));
    buf_deinit(&body);
}
