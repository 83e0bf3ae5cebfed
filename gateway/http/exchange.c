/* http/exchange.c — what every codec shares of the exchange's operations: state first, then the
 * codec's table. */
#include "http/exchange.h"

void exchange_send_interim(struct exchange *exchange, const struct head *head)
{
    if (exchange->is_dead || exchange->head_sent)
        return;
    exchange->ops->send_interim(exchange, head);
}

void exchange_send_head(struct exchange *exchange, const struct head *head, bool end)
{
    if (exchange->is_dead)
        return;
    ENSURE(!exchange->head_sent);
    exchange->head_sent = true;
    exchange->out_ended = end;
    exchange->ops->send_head(exchange, head, end);
}

void exchange_write(struct exchange *exchange, struct slice bytes)
{
    if (exchange->is_dead || bytes.len == 0)
        return;
    ENSURE(!exchange->out_ended);
    buf_append(&exchange->out, bytes);
    exchange->ops->output_grew(exchange);
}

void exchange_end(struct exchange *exchange, const struct fields *trailers)
{
    if (exchange->is_dead || exchange->out_ended)
        return;
    if (trailers != NULL && trailers->count > 0) {
        struct field *items = arena_alloc(&exchange->arena, trailers->count * sizeof(*items));

        memcpy(items, trailers->items, trailers->count * sizeof(*items));
        exchange->out_trailers = (struct fields){ .items = items,
                                                  .count = trailers->count,
                                                  .capacity = trailers->count };
    }
    exchange->out_ended = true;
    exchange->ops->output_grew(exchange);
}

void exchange_consumed(struct exchange *exchange, size_t size_bytes)
{
    if (!exchange->is_dead)
        exchange->ops->consumed(exchange, size_bytes);
}

void exchange_reset(struct exchange *exchange, enum exchange_reset reason)
{
    if (exchange->is_dead)
        return;
    exchange->ops->reset(exchange, reason);
    exchange->is_dead = true;
}

void exchange_release(struct exchange **exchange)
{
    struct exchange *e = *exchange;

    if (e == NULL)
        return;
    *exchange = NULL;
    e->ops->release(e);
}

void exchange_link_deinit(struct exchange_link *link)
{
    if (link->memo_free != NULL && link->memo != NULL)
        link->memo_free(link->memo);
    link->memo = NULL;
    link->memo_free = NULL;
}
