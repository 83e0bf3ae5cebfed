/* proxy/forward_headers.c — see forward_headers.h. */
#include "proxy/forward_headers.h"

#include <stdio.h>

enum fate {
    PASSES,
    OURS,       /* set by us or by nobody */
    IS_FRAMING, /* belongs to one hop */
};

static const unsigned char fates[FIELD_COUNT] = {
    [FIELD_CONNECTION] = IS_FRAMING,
    [FIELD_KEEP_ALIVE] = IS_FRAMING,
    [FIELD_PROXY_CONNECTION] = IS_FRAMING,
    [FIELD_TRANSFER_ENCODING] = IS_FRAMING,
    [FIELD_TE] = IS_FRAMING,
    [FIELD_UPGRADE] = IS_FRAMING,
    [FIELD_HTTP2_SETTINGS] = IS_FRAMING,
    [FIELD_HOST] = IS_FRAMING,
    [FIELD_EXPECT] = IS_FRAMING, /* answered by us */
    [FIELD_FORWARDED] = OURS,
    [FIELD_KEEPALIVE_PING_INTERVAL] = OURS,
    [FIELD_TRACEPARENT] = OURS,
    [FIELD_X_ACCESS_TOKEN] = OURS,
    [FIELD_X_COMPUTER_ID] = OURS,
    [FIELD_X_FORWARDED_FOR] = OURS,
    [FIELD_X_FORWARDED_HOST] = OURS,
    [FIELD_X_FORWARDED_PORT] = OURS,
    [FIELD_X_FORWARDED_PROTO] = OURS,
    [FIELD_X_GATEWAY_DELIVERED] = OURS,
    [FIELD_X_GATEWAY_ERROR] = OURS,
    [FIELD_X_REAL_IP] = OURS,
    [FIELD_X_REQUEST_ID] = OURS,
    [FIELD_X_SESSION_ID] = OURS,
    [FIELD_X_USER_ID] = OURS,
};

static bool has_gateway_prefix(struct slice name)
{
    return slice_starts_with(name, SLICE("x-gateway-"));
}

/* What an agent's CGI-like reading would take for one of our names: '_' stands for '-'. */
static bool is_ours_with_underscores(struct slice name)
{
    char text[64];

    if (name.len > sizeof(text) || memchr(name.ptr, '_', name.len) == NULL)
        return false;
    for (size_t i = 0; i < name.len; i++)
        text[i] = (char)(name.ptr[i] == '_' ? '-' : name.ptr[i]);
    struct slice hyphened = slice_of(text, name.len);
    enum field_id id = field_id_of(hyphened);
    return fates[id] != PASSES || id == FIELD_AUTHORIZATION || id == FIELD_TRACESTATE ||
           has_gateway_prefix(hyphened);
}

bool forward_is_ours(const struct field *field)
{
    if (field->id != FIELD_OTHER)
        return fates[field->id] == OURS;
    return has_gateway_prefix(field->name) || is_ours_with_underscores(field->name);
}

/* Named by `Connection`, so of one hop (RFC 9110 §7.6.1); the length of a body cannot be named
 * away. */
static bool is_nominated(const struct fields *fields, const struct field *field)
{
    for (size_t i = 0; i < fields->count; i++)
        if (fields->items[i].id == FIELD_CONNECTION &&
            field_list_contains(fields->items[i].value, field->name))
            return field->id != FIELD_CONTENT_LENGTH && field->id != FIELD_CONTENT_TYPE;
    return false;
}

static void make_room(struct fields *into, struct arena *arena, size_t count)
{
    if (into->capacity >= count)
        return;
    into->items = arena_alloc(arena, count * sizeof(*into->items));
    into->capacity = count;
}

/* A tracestate belongs to its traceparent (W3C Trace Context §3.3): when a new trace starts, it goes. */
static bool continues_trace(const struct fields *from, struct slice traceparent)
{
    struct slice given = fields_value(from, FIELD_TRACEPARENT);

    return given.len >= TRACEPARENT_BYTES && traceparent.len == TRACEPARENT_BYTES &&
           memcmp(given.ptr + 3, traceparent.ptr + 3, TRACE_ID_BYTES) == 0;
}

static bool request_field_passes(const struct fields *from, const struct field *field,
                                 const struct forward_identity *identity, bool has_connection)
{
    bool is_apps = field->id == FIELD_EXPECT || field->id == FIELD_KEEPALIVE_PING_INTERVAL ||
                   field->id == FIELD_REFERER;

    if (identity->is_port && is_apps)
        return !has_connection || !is_nominated(from, field);
    if (fates[field->id] != PASSES)
        return false;
    if (field->id == FIELD_AUTHORIZATION)
        return !identity->drop_authorization && identity->agent_token.len == 0;
    if (field->id == FIELD_TRACESTATE && !continues_trace(from, identity->traceparent))
        return false;
    if (field->id == FIELD_REFERER) /* a page of ours that was opened by an access_url */
        return memmem(field->value.ptr, field->value.len, "access_token=", 13) == NULL;
    if (field->id == FIELD_OTHER && forward_is_ours(field))
        return false;
    return !has_connection || !is_nominated(from, field);
}

static void add_if_set(struct fields *into, struct arena *arena, enum field_id id,
                       struct slice value)
{
    if (value.len > 0)
        fields_add(into, arena, id, value);
}

static void add_forwarding(const struct fields *from, const struct forward_identity *identity,
                           struct arena *arena, struct fields *into)
{
    struct slice chain = SLICE_EMPTY, proto = SLICE_EMPTY, host = SLICE_EMPTY,
                 port = identity->port;

    if (identity->peer_is_trusted) {
        chain = fields_value(from, FIELD_X_FORWARDED_FOR);
        proto = fields_value(from, FIELD_X_FORWARDED_PROTO);
        host = fields_value(from, FIELD_X_FORWARDED_HOST);
        if (fields_find(from, FIELD_X_FORWARDED_PORT) != NULL)
            port = fields_value(from, FIELD_X_FORWARDED_PORT);
    }
    add_if_set(into, arena, FIELD_X_FORWARDED_FOR,
               chain.len > 0 ? arena_printf(arena, "%.*s, %.*s", SLICE_ARGS(chain),
                                            SLICE_ARGS(identity->peer_ip))
                             : identity->peer_ip);
    add_if_set(into, arena, FIELD_X_FORWARDED_PROTO, proto.len > 0 ? proto : identity->scheme);
    add_if_set(into, arena, FIELD_X_FORWARDED_HOST, host.len > 0 ? host : identity->authority);
    add_if_set(into, arena, FIELD_X_FORWARDED_PORT, port);
}

static struct slice bearer_of(struct slice agent_token, struct arena *arena)
{
    static const char scheme[] = "Bearer ";
    char *text = arena_bytes(arena, sizeof(scheme) - 1 + agent_token.len);

    memcpy(text, scheme, sizeof(scheme) - 1);
    memcpy(text + sizeof(scheme) - 1, agent_token.ptr, agent_token.len);
    return slice_of(text, sizeof(scheme) - 1 + agent_token.len);
}

void forward_request_fields(const struct fields *from, const struct forward_identity *identity,
                            struct arena *arena, struct fields *into)
{
    enum { OURS_AT_MOST = 12 };
    bool has_connection = fields_find(from, FIELD_CONNECTION) != NULL;
    bool wants_trailers = false;

    make_room(into, arena, from->count + OURS_AT_MOST);
    for (size_t i = 0; i < from->count; i++) {
        const struct field *field = &from->items[i];
        if (field->id == FIELD_TE)
            wants_trailers |= field_list_contains(field->value, SLICE("trailers"));
        if (request_field_passes(from, field, identity, has_connection))
            into->items[into->count++] = *field;
    }
    if (wants_trailers) /* gRPC servers insist on it; it says the same of this hop */
        fields_add(into, arena, FIELD_TE, SLICE("trailers"));
    if (identity->agent_token.len > 0)
        fields_add(into, arena, FIELD_AUTHORIZATION, bearer_of(identity->agent_token, arena));
    add_if_set(into, arena, FIELD_X_COMPUTER_ID, identity->computer_id);
    add_if_set(into, arena, FIELD_X_SESSION_ID, identity->session_id);
    add_if_set(into, arena, FIELD_X_USER_ID, identity->user_id);
    add_if_set(into, arena, FIELD_X_REQUEST_ID, identity->request_id);
    add_if_set(into, arena, FIELD_TRACEPARENT, identity->traceparent);
    add_forwarding(from, identity, arena, into);
    if (identity->keepalive_s > 0)
        fields_add(into, arena, FIELD_KEEPALIVE_PING_INTERVAL,
                   arena_printf(arena, "%u", identity->keepalive_s));
}

static void add_copy(const struct field *field, struct arena *arena, struct fields *into)
{
    struct field copy = { .name = field->name,
                          .value = arena_copy(arena, field->value),
                          .id = field->id };

    if (field->id == FIELD_OTHER)
        copy.name = arena_copy(arena, field->name);
    if (into->count < into->capacity)
        into->items[into->count++] = copy;
    else
        fields_add_named(into, arena, copy.name, copy.value);
}

void forward_response_fields(const struct fields *from, struct arena *arena, struct fields *into)
{
    bool has_connection = fields_find(from, FIELD_CONNECTION) != NULL;

    make_room(into, arena, from->count + 6);
    for (size_t i = 0; i < from->count; i++) {
        const struct field *field = &from->items[i];
        bool is_ours = field->id == FIELD_X_REQUEST_ID || has_gateway_prefix(field->name);
        if (fates[field->id] != IS_FRAMING && !is_ours &&
            !(has_connection && is_nominated(from, field)))
            add_copy(field, arena, into);
    }
}

void forward_trailers(const struct fields *from, struct arena *arena, struct fields *into)
{
    for (size_t i = 0; i < from->count; i++) {
        const struct field *field = &from->items[i];
        if (fates[field->id] != PASSES || field->id == FIELD_AUTHORIZATION ||
            field->id == FIELD_CONTENT_LENGTH || field->id == FIELD_TRAILER ||
            field->id == FIELD_COOKIE || field->id == FIELD_SET_COOKIE ||
            (field->id == FIELD_OTHER && forward_is_ours(field)))
            continue;
        add_copy(field, arena, into);
    }
}

/* ---- tracing ---- */

static bool is_lower_hex(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
    }
    return true;
}

static bool is_all_zero(struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] != '0')
            return false;
    return true;
}

/* version "-" trace-id "-" parent-id "-" flags; a later version may be longer, after another '-'.
 */
static bool is_traceparent(struct slice text)
{
    if (text.len < TRACEPARENT_BYTES || text.ptr[2] != '-' || text.ptr[35] != '-' ||
        text.ptr[52] != '-')
        return false;
    struct slice version = slice_first(text, 2), trace = slice_of(text.ptr + 3, TRACE_ID_BYTES);
    struct slice parent = slice_of(text.ptr + 36, 16), flags = slice_of(text.ptr + 53, 2);
    bool is_first_version = slice_equal(version, SLICE("00"));
    bool length_fits =
        text.len == TRACEPARENT_BYTES || (!is_first_version && text.ptr[TRACEPARENT_BYTES] == '-');

    return length_fits && is_lower_hex(version) && !slice_equal(version, SLICE("ff")) &&
           is_lower_hex(trace) && is_lower_hex(parent) && is_lower_hex(flags) &&
           !is_all_zero(trace) && !is_all_zero(parent);
}

static void put_hex(char *text, uint64_t number)
{
    static const char digits[] = "0123456789abcdef";

    for (int i = 15; i >= 0; i--, number >>= 4)
        text[i] = digits[number & 15];
}

struct slice forward_traceparent(const struct fields *request, const uint64_t random[3],
                                 struct arena *arena)
{
    char *text = arena_bytes(arena, TRACEPARENT_BYTES);
    struct slice given = fields_value(request, FIELD_TRACEPARENT);

    memcpy(text, "00-", 3);
    if (fields_count_of(request, FIELD_TRACEPARENT) == 1 && is_traceparent(given)) {
        memcpy(text + 3, given.ptr + 3, TRACE_ID_BYTES);
        memcpy(text + 53, given.ptr + 53, 2);
    } else {
        put_hex(text + 3, random[0]);
        put_hex(text + 19, random[1] | 1);
        memcpy(text + 53, "00", 2);
    }
    text[35] = '-';
    put_hex(text + 36, random[2] | 1);
    text[52] = '-';
    return slice_of(text, TRACEPARENT_BYTES);
}

static bool is_request_id(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (!((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '-' ||
              c == '_' || c == '.'))
            return false;
    }
    return text.len > 0 && text.len <= 128;
}

struct slice forward_request_id(const struct fields *request, bool peer_is_trusted,
                                const uint64_t random[2], struct arena *arena)
{
    struct slice given = fields_value(request, FIELD_X_REQUEST_ID);

    if (peer_is_trusted && is_request_id(given))
        return given;
    char *text = arena_bytes(arena, REQUEST_ID_BYTES);
    put_hex(text, random[0]);
    put_hex(text + 16, random[1]);
    return slice_of(text, REQUEST_ID_BYTES);
}

/* ---- the first address ---- */

static bool ip_is_trusted(struct slice ip, const struct network *trusted, size_t trusted_count)
{
    char text[ADDRESS_TEXT_BYTES];
    struct address address;
    bool is_v6 = memchr(ip.ptr, ':', ip.len) != NULL;

    if (ip.len > 64)
        return false;
    int len = snprintf(text, sizeof(text), is_v6 ? "[%.*s]:0" : "%.*s:0", SLICE_ARGS(ip));
    if (address_parse(slice_of(text, (size_t)len), &address) != STATUS_OK)
        return false;
    for (size_t i = 0; i < trusted_count; i++)
        if (network_contains(&trusted[i], &address))
            return true;
    return false;
}

struct slice forward_client_ip(const struct fields *request, struct slice peer_ip,
                               bool peer_is_trusted, const struct network *trusted,
                               size_t trusted_count)
{
    struct slice chain = fields_value(request, FIELD_X_FORWARDED_FOR);
    struct slice last = peer_ip;

    while (peer_is_trusted && chain.len > 0) {
        size_t end = chain.len;
        while (end > 0 && chain.ptr[end - 1] != ',')
            end--;
        last = slice_trim(slice_skip(chain, end));
        if (!ip_is_trusted(last, trusted, trusted_count))
            break;
        chain = slice_first(chain, end > 0 ? end - 1 : 0);
    }
    return last;
}
