/* http/exchange.c — what every codec shares of the exchange's operations: state first, then the
 * codec's table. */
#include "http/exchange.h"

#include <stddef.h>

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

static bool is_kept(enum field_id id, const enum field_id *kept, size_t kept_count)
{
    for (size_t i = 0; i < kept_count; i++)
        if (kept[i] == id)
            return true;
    return false;
}

/* Moves what is kept of `head` to the front of its own fields. */
static void strip_head(struct head *head, const enum field_id *kept, size_t kept_count)
{
    struct fields *fields = &head->fields;
    size_t count = 0;

    for (size_t i = 0; i < fields->count; i++)
        if (is_kept(fields->items[i].id, kept, kept_count))
            fields->items[count++] = fields->items[i];
    fields->count = count;
}

/* How much memory a copy takes. Names with an id are nobody's memory. */
static size_t bytes_of_head(const struct head *head)
{
    size_t size_bytes = head->method.len + head->scheme.len + head->authority.len +
                        head->target.len + head->protocol.len;

    for (size_t i = 0; i < head->fields.count; i++) {
        const struct field *field = &head->fields.items[i];

        size_bytes +=
            sizeof(*field) + field->value.len + (field->id == FIELD_OTHER ? field->name.len : 0);
    }
    return size_bytes;
}

static struct slice keep_text(struct arena *arena, struct slice text)
{
    return text.len > 0 ? arena_copy(arena, text) : SLICE_EMPTY; /* an empty arena stays empty */
}

static void copy_head(struct head *head, struct arena *arena)
{
    size_t count = head->fields.count;
    struct field *items = count > 0 ? arena_alloc(arena, count * sizeof(*items)) : NULL;

    for (size_t i = 0; i < count; i++) {
        items[i] = head->fields.items[i];
        if (items[i].id == FIELD_OTHER)
            items[i].name = keep_text(arena, items[i].name);
        items[i].value = keep_text(arena, items[i].value);
    }
    head->fields.items = items;
    head->fields.capacity = count;
    head->method = keep_text(arena, head->method);
    head->scheme = keep_text(arena, head->scheme);
    head->authority = keep_text(arena, head->authority);
    head->target = keep_text(arena, head->target);
    head->protocol = keep_text(arena, head->protocol);
}

void exchange_compact(struct exchange *exchange, size_t room_bytes)
{
    struct head *head = &exchange->request; /* or the response: they are one */
    size_t size_bytes = bytes_of_head(head) + room_bytes;
    struct arena arena = { 0 };

    if (size_bytes > 0)
        arena_reserve(&arena, size_bytes);
    copy_head(head, &arena);
    arena_deinit(&exchange->arena);
    exchange->arena = arena;
}

void exchange_shrink(struct exchange *exchange, const enum field_id *kept, size_t kept_count)
{
    if (exchange->is_dead || exchange->link->version != HTTP_2 || exchange->out_trailers.count > 0)
        return;
    strip_head(&exchange->request, kept, kept_count);
    exchange_compact(exchange, 0);
    exchange->trailers = (struct fields){ 0 };
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
