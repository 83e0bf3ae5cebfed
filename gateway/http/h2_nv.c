/* http/h2_nv.c — heads and trailers as nghttp2 wants them. Requests are not copied (client.h: their
 * slices live until on_head or on_reset, and a cancelled request is never framed); responses are,
 * because their owner may release the exchange that they came from before the turn's flush. */
#include "http/h2_session.h"

enum { SWITCHING_PROTOCOLS = 101, PSEUDO_FIELDS = 5 };

static void list_init_for(struct h2_nv_list *list, struct arena *arena, size_t field_count)
{
    size_t count = field_count + PSEUDO_FIELDS;

    list->count = 0;
    list->items = list->inline_items;
    if (count > H2_NV_INLINE)
        list->items = arena_alloc(arena, count * sizeof(*list->items));
}

static void add(struct h2_nv_list *list, struct slice name, struct slice value, unsigned flags)
{
    list->items[list->count++] = (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name.ptr,
        .namelen = name.len,
        .value = (uint8_t *)(uintptr_t)value.ptr,
        .valuelen = value.len,
        .flags = (uint8_t)flags,
    };
}

enum {
    BORROWED = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE,
    NAME_BORROWED = NGHTTP2_NV_FLAG_NO_COPY_NAME,
};

/* In no table of any hop, so that no other stream's sizes can be used to guess it (RFC 7541
 * §7.1.3). */
static bool is_secret(enum field_id id)
{
    return id == FIELD_AUTHORIZATION || id == FIELD_COOKIE || id == FIELD_SET_COOKIE ||
           id == FIELD_X_ACCESS_TOKEN;
}

/* Different in every message: in the table of HPACK they would only push out what repeats, and
 * nghttp2 would compare each with all of its forerunners. */
static bool is_volatile(enum field_id id)
{
    return id == FIELD_X_REQUEST_ID || id == FIELD_TRACEPARENT || id == FIELD_TRACESTATE;
}

static bool is_dropped(const struct field *field)
{
    if (field->id == FIELD_TE) /* the one value that HTTP/2 knows, and gRPC asks for */
        return !slice_equal_nocase(field->value, SLICE("trailers"));
    return field->id == FIELD_HOST || field_is_hop_by_hop(field->id);
}

static void add_field(struct h2_nv_list *list, const struct field *field, unsigned flags)
{
    if (field->id != FIELD_OTHER)
        flags |= NAME_BORROWED; /* static text */
    if (is_secret(field->id) || is_volatile(field->id))
        flags |= NGHTTP2_NV_FLAG_NO_INDEX;
    add(list, field->name, field->value, flags);
}

void h2_nv_request(struct h2_nv_list *list, struct arena *arena, const struct head *head)
{
    bool is_connect = slice_equal(head->method, SLICE("CONNECT"));
    bool is_tunnel = is_connect && head->protocol.len == 0;

    list_init_for(list, arena, head->fields.count);
    add(list, SLICE(":method"), head->method, BORROWED);
    if (is_connect && !is_tunnel) /* RFC 8441: the load tester's WebSockets */
        add(list, SLICE(":protocol"), head->protocol, BORROWED);
    if (!is_tunnel) {
        add(list, SLICE(":scheme"), head->scheme, BORROWED);
        add(list, SLICE(":path"), head->target, BORROWED);
    }
    add(list, SLICE(":authority"), head->authority, BORROWED);
    for (size_t i = 0; i < head->fields.count; i++)
        if (!is_dropped(&head->fields.items[i]))
            add_field(list, &head->fields.items[i], BORROWED);
}

/* Extended CONNECT has no 101 and no handshake of its own (RFC 8441 §5): the upgrade's answer
 * becomes 200. */
static bool is_dropped_from_response(const struct field *field, bool is_tunnel)
{
    if (is_dropped(field))
        return true;
    return is_tunnel &&
           (field->id == FIELD_SEC_WEBSOCKET_ACCEPT || field->id == FIELD_CONTENT_LENGTH);
}

void h2_nv_response(struct h2_nv_list *list, struct arena *arena, const struct head *head,
                    bool can_tunnel)
{
    unsigned status = can_tunnel && head->status == SWITCHING_PROTOCOLS ? 200 : head->status;
    bool is_tunnel = can_tunnel && status / 100 == 2;

    ENSURE(status >= 100 && status <= 999);
    list_init_for(list, arena, head->fields.count);
    list->status_text[0] = (char)('0' + status / 100);
    list->status_text[1] = (char)('0' + status / 10 % 10);
    list->status_text[2] = (char)('0' + status % 10);
    add(list, SLICE(":status"), slice_of(list->status_text, 3), NAME_BORROWED);
    for (size_t i = 0; i < head->fields.count; i++)
        if (!is_dropped_from_response(&head->fields.items[i], is_tunnel))
            add_field(list, &head->fields.items[i], NGHTTP2_NV_FLAG_NONE);
}

void h2_nv_trailers(struct h2_nv_list *list, struct arena *arena, const struct fields *fields)
{
    list_init_for(list, arena, fields->count);
    for (size_t i = 0; i < fields->count; i++)
        if (!is_dropped(&fields->items[i]) && fields->items[i].id != FIELD_CONTENT_LENGTH)
            add_field(list, &fields->items[i], NGHTTP2_NV_FLAG_NONE);
}
