/* http/h2_headers.c — a header block becomes a head in the arena of its exchange. Names that the
 * house knows are not copied. Every field counts, cookie crumbs too: over the soft limits nothing
 * more is stored and the request is answered 431; over the hard ones the connection ends. What is
 * well-formed and still not for us gets an answer, 400 in most cases (SECURITY.md, HTTP/2). */
#include "http/h2_message.h"

enum {
    FIELD_OVERHEAD_BYTES = 32, /* RFC 9113 §6.5.2 */
    AUTHORITY_BYTES_MAX = 255,
    STATUS_MIN = 100,
    STATUS_MAX = 599,
    REQUEST_FIRST = 10, /* fields */
    RESPONSE_FIRST = 8,
    TRAILERS_FIRST = 4,
    LARGE_HEAD_BYTES = 4096,     /* of a hundred crumbs most is what the list of fields outgrew */
    LARGE_HEAD_ROOM_BYTES = 512, /* for what its owner adds */
};

/* ---- whose block is it ---- */

/* The peer's streams of work: one counts until its owner has released it, reset or not. */
static struct h2_stream *open_stream(struct h2_session *session, int32_t id)
{
    uint32_t limit = session->link->is_trusted ? session->limits->streams : session->stream_limit;

    session->peer_last_id = id;
    if (session->is_drained)
        return NULL; /* the last GOAWAY has told it: not processed */
    if (session->stream_count >= limit) {
        h2_send_reset(session, id, H2_REFUSED_STREAM);
        session->refused_streams++;
        if (h2_flood_refused(&session->flood, session->limits, h2_now_ms(session)))
            h2_session_terminate(session, H2_ENHANCE_YOUR_CALM, H2_RESETS, "refused_streams");
        return NULL;
    }
    struct h2_stream *stream = h2_stream_create(session, id);
    if (session->flood.streams >= session->limits->streams_total && !session->is_draining) {
        session->is_retiring = true;
        h2_session_drain(session);
    }
    return stream;
}

/* NULL: it is read for the sake of HPACK's tables only, or the connection ends. */
static struct h2_stream *stream_of_block(struct h2_session *session, int32_t id)
{
    struct h2_stream *stream = h2_stream_find(session, id);
    bool is_server = session->role->is_server;

    if (stream != NULL && stream->end_received && !stream->is_resetting)
        h2_stream_error(stream, H2_STREAM_CLOSED); /* §5.1, half-closed (remote) */
    else if (stream != NULL)
        return stream->is_resetting || stream->base.is_dead ? NULL : stream;
    else if ((id & 1) == 0 || (!is_server && session->next_id > 0 && id >= session->next_id))
        h2_session_error(session, H2_PROTOCOL_ERROR);
    else if (is_server && id > session->peer_last_id)
        return open_stream(session, id);
    return NULL;
}

static void block_begins(struct h2_stream *stream)
{
    if (stream->base.arena.blocks == NULL)
        arena_reserve(&stream->base.arena, stream->session->role->arena_bytes);
    stream->pseudo_seen = 0;
    stream->regular_seen = false;
    stream->is_malformed = false;
    if (stream->session->role->is_server && !stream->head_received)
        stream->collecting = &stream->base.request;
    else if (!stream->head_received)
        stream->collecting = &stream->base.response; /* counters go on: 1xx heads are not free */
    else
        stream->collecting = NULL;
    if (stream->collecting == NULL)
        stream->field_bytes = stream->field_count = stream->crumb_count = 0;
}

/* ---- fields ---- */

static struct slice known_method(struct slice value)
{
    static const struct slice methods[] = {
        { "POST", 4 }, { "GET", 3 },    { "OPTIONS", 7 }, { "CONNECT", 7 },
        { "PUT", 3 },  { "DELETE", 6 }, { "PATCH", 5 },   { "HEAD", 4 },
    };

    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
        if (slice_equal(methods[i], value))
            return methods[i];
    return SLICE_EMPTY;
}

static enum status keep_method(struct head *head, struct arena *arena, struct slice value)
{
    head->method = known_method(value);
    if (head->method.len == 0)
        head->method = arena_copy(arena, value);
    return STATUS_OK;
}

static enum status keep_scheme(struct head *head, struct slice value)
{
    if (slice_equal_nocase(value, SLICE("https")))
        head->scheme = SLICE("https");
    else if (slice_equal_nocase(value, SLICE("http")))
        head->scheme = SLICE("http");
    else
        return STATUS_MALFORMED;
    return STATUS_OK;
}

static enum status keep_authority(struct head *head, struct arena *arena, struct slice value)
{
    if (value.len == 0 || value.len > AUTHORITY_BYTES_MAX ||
        memchr(value.ptr, '@', value.len) != NULL)
        return STATUS_MALFORMED;
    head->authority = arena_copy(arena, value);
    return STATUS_OK;
}

/* `host` beside :authority must mean the same; alone it takes its place. Exactly one goes on. */
static enum status keep_host(struct head *head, struct arena *arena, struct slice value)
{
    struct slice scheme = head->scheme.len > 0 ? head->scheme : SLICE("https");
    struct slice host, authority;

    if (head->authority.len == 0)
        return keep_authority(head, arena, value);
    if (slice_equal(head->authority, value))
        return STATUS_OK;
    if (authority_normalize(value, scheme, arena, &host) != STATUS_OK ||
        authority_normalize(head->authority, scheme, arena, &authority) != STATUS_OK)
        return STATUS_MALFORMED;
    return slice_equal(host, authority) ? STATUS_OK : STATUS_MALFORMED;
}

static enum status keep_target(struct h2_session *session, struct head *head, struct arena *arena,
                               struct slice value)
{
    if (value.len > session->limits->target_bytes)
        return STATUS_TARGET_TOO_LONG;
    head->target = arena_copy(arena, value);
    return STATUS_OK;
}

static enum status keep_status(struct head *head, struct slice value)
{
    uint64_t number;

    if (!slice_to_u64(value, &number) || number < STATUS_MIN || number > STATUS_MAX)
        return STATUS_MALFORMED;
    head->status = (unsigned)number;
    return STATUS_OK;
}

static enum status keep_pseudo(struct h2_stream *stream, const struct hpack_field *field)
{
    struct head *head = stream->collecting;
    struct arena *arena = &stream->base.arena;

    switch (field->id) {
    case HPACK_METHOD:
        return keep_method(head, arena, field->value);
    case HPACK_SCHEME:
        return keep_scheme(head, field->value);
    case HPACK_AUTHORITY:
        return keep_authority(head, arena, field->value);
    case HPACK_PATH:
        return keep_target(stream->session, head, arena, field->value);
    case HPACK_PROTOCOL:
        head->protocol = slice_equal_nocase(field->value, SLICE("websocket"))
                             ? SLICE("websocket")
                             : arena_copy(arena, field->value);
        return STATUS_OK;
    default:
        return keep_status(head, field->value);
    }
}

/* Most heads fit at once, and with the values into the stream's own memory. */
static void make_room(struct fields *fields, struct arena *arena, size_t capacity)
{
    fields->items = arena_alloc(arena, capacity * sizeof(*fields->items));
    fields->capacity = capacity;
}

static enum status keep_regular(struct h2_stream *stream, unsigned id, struct slice name,
                                struct slice value)
{
    struct head *head = stream->collecting;
    struct arena *arena = &stream->base.arena;
    bool is_request = stream->session->role->is_server;
    uint64_t length;

    if (id == FIELD_HOST && is_request)
        return head != NULL ? keep_host(head, arena, value) : STATUS_MALFORMED;
    /* An underscore passes for a hyphen in many a back end (CGI): no client may spell our headers
     * that way. */
    if (id == FIELD_OTHER && is_request && memchr(name.ptr, '_', name.len) != NULL)
        return STATUS_MALFORMED;
    if (id == FIELD_CONTENT_LENGTH) {
        if (head == NULL || !slice_to_u64(value, &length) || length > INT64_MAX)
            return STATUS_MALFORMED;
        head->content_length = (int64_t)length;
    }
    struct fields *fields = head != NULL ? &head->fields : &stream->base.trailers;
    if (fields->capacity == 0)
        make_room(fields, arena,
                  head == NULL ? TRAILERS_FIRST
                  : is_request ? REQUEST_FIRST
                               : RESPONSE_FIRST);
    struct slice kept = arena_copy(arena, value);
    if (id != FIELD_OTHER)
        fields_add(fields, arena, (enum field_id)id, kept);
    else
        fields_add_named(fields, arena, arena_copy(arena, name), kept);
    return STATUS_OK;
}

static bool is_over_hard(const struct h2_stream *stream, const struct http_limits *limits)
{
    return stream->field_bytes > limits->field_bytes_hard ||
           stream->field_count + stream->crumb_count > limits->fields_hard;
}

static bool is_over_soft(const struct h2_stream *stream, const struct http_limits *limits)
{
    return stream->field_bytes > limits->field_bytes_soft ||
           stream->field_count > limits->fields_soft || stream->crumb_count > limits->cookie_crumbs;
}

/* The block that is being read; NULL: it is read for HPACK's tables only. */
struct block {
    struct h2_session *session;
    struct h2_stream *stream;
};

static void keep_field(struct h2_stream *stream, const struct hpack_field *field)
{
    bool is_pseudo = field->id >= FIELD_COUNT;

    switch (h2_field_rule(stream, field)) {
    case H2_FIELD_MALFORMED:
        stream->is_malformed = true;
        return;
    case H2_FIELD_DROP:
        return;
    case H2_FIELD_KEEP:
        break;
    }
    if (stream->refusal != STATUS_OK)
        return;
    if (is_over_soft(stream, stream->session->limits))
        stream->refusal = STATUS_HEADERS_TOO_LARGE;
    else if (is_pseudo)
        stream->refusal = keep_pseudo(stream, field);
    else
        stream->refusal = keep_regular(stream, field->id, field->name, field->value);
}

static bool on_field(void *arg, const struct hpack_field *field)
{
    struct block *block = arg;
    struct h2_stream *stream = block->stream;

    if (stream == NULL || stream->is_malformed)
        return true;
    stream->field_bytes += field->name.len + field->value.len + FIELD_OVERHEAD_BYTES;
    if (field->id == FIELD_COOKIE)
        stream->crumb_count++;
    else if (field->id < FIELD_COUNT)
        stream->field_count++;
    if (is_over_hard(stream, block->session->limits)) {
        h2_session_terminate(block->session, H2_ENHANCE_YOUR_CALM, H2_FLOOD, "header_fields");
        return false;
    }
    keep_field(stream, field);
    return true;
}

/* ---- complete ---- */

/* Returns the new length; empty crumbs leave nothing, so that no blank stands at the end. */
static size_t add_crumb(char *text, size_t len, struct slice crumb)
{
    if (crumb.len == 0)
        return len;
    if (len > 0) {
        memcpy(text + len, "; ", 2);
        len += 2;
    }
    memcpy(text + len, crumb.ptr, crumb.len);
    return len + crumb.len;
}

/* RFC 9113 §8.2.3: crumbs become one field again. */
static void join_cookies(struct fields *fields, struct arena *arena, size_t crumb_count)
{
    struct field *first = NULL;
    size_t kept = 0, room = 0, len = 0;

    if (crumb_count < 2)
        return;
    for (size_t i = 0; i < fields->count; i++)
        if (fields->items[i].id == FIELD_COOKIE)
            room += fields->items[i].value.len + 2;
    if (room == 0)
        return;
    char *text = arena_bytes(arena, room);
    for (size_t i = 0; i < fields->count; i++) {
        struct field field = fields->items[i];

        if (field.id == FIELD_COOKIE) {
            len = add_crumb(text, len, field.value);
            if (first != NULL)
                continue;
            first = &fields->items[kept];
        }
        fields->items[kept++] = field;
    }
    ENSURE(first != NULL); /* room says that there is one */
    first->value = slice_of(text, len);
    fields->count = kept;
}

enum status h2_request_check(const struct h2_stream *stream, bool allow_connect,
                             bool allow_websocket)
{
    const struct head *head = &stream->base.request;
    bool is_connect = slice_equal(head->method, SLICE("CONNECT"));

    if (stream->refusal != STATUS_OK)
        return stream->refusal;
    if (head->authority.len == 0)
        return STATUS_MALFORMED;
    if (method_has_lower_case(head->method))
        return STATUS_UNSUPPORTED;
    if (is_connect && head->protocol.len == 0)
        return allow_connect ? STATUS_OK : STATUS_METHOD_NOT_ALLOWED;
    if (head->protocol.len > 0 &&
        !(is_connect && allow_websocket && slice_equal(head->protocol, SLICE("websocket"))))
        return STATUS_UNSUPPORTED;
    return STATUS_OK;
}

static void trailers_complete(struct h2_session *session, struct h2_stream *stream)
{
    if (stream->refusal != STATUS_OK) {
        h2_session_glitch(session);
        h2_stream_reset(stream, H2_PROTOCOL_ERROR, RESET_PROTOCOL);
        return;
    }
    stream->base.in_ended = true;
    if (stream->has_owner)
        stream->base.events->on_end(&stream->base, &stream->base.trailers);
}

static void complete(struct h2_session *session, struct h2_stream *stream, bool end_stream)
{
    if (stream->is_malformed || !h2_message_complete(stream, end_stream)) {
        h2_stream_error(stream, H2_PROTOCOL_ERROR);
        return;
    }
    stream->end_received = end_stream;
    if (end_stream && stream->end_framed)
        h2_stream_ready(stream);
    if (stream->collecting == NULL) {
        trailers_complete(session, stream);
        return;
    }
    if (stream->refusal == STATUS_OK)
        join_cookies(&stream->collecting->fields, &stream->base.arena, stream->crumb_count);
    if (stream->base.arena.used_bytes > LARGE_HEAD_BYTES)
        exchange_compact(&stream->base, LARGE_HEAD_ROOM_BYTES);
    stream->base.in_ended = end_stream;
    session->role->on_head(session, stream); /* last line: its owner may do anything */
}

void h2_headers_received(struct h2_session *session, int32_t stream_id, uint8_t flags,
                         struct slice block)
{
    struct block context = { session, stream_of_block(session, stream_id) };

    if (session->is_ending)
        return;
    if (context.stream != NULL)
        block_begins(context.stream);
    if (hpack_decode(&session->decoder, block, on_field, &context) != STATUS_OK) {
        h2_session_error(session, H2_COMPRESSION_ERROR);
        return;
    }
    if (context.stream != NULL && !session->is_ending)
        complete(session, context.stream, (flags & H2_FLAG_END_STREAM) != 0);
}
