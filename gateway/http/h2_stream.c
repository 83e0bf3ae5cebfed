/* http/h2_stream.c — one stream as an exchange: the operations of its owner, and its end from
 * either side. */
#include "http/h2_session.h"

#include "base/mem.h"

enum { PREMATURE_RESET_MS = 1000, UPLOAD_GRACE_MS = 250 };

struct h2_stream *h2_stream_create(struct h2_session *session, int32_t id)
{
    size_t arena_bytes = session->role->arena_bytes;
    struct h2_stream *stream = mem_take(sizeof(*stream) + arena_bytes);

    memset(stream, 0, sizeof(*stream));
    stream->base.ops = &h2_stream_ops;
    stream->base.link = session->link;
    stream->base.request.content_length = CONTENT_LENGTH_UNKNOWN;
    stream->base.response.content_length = CONTENT_LENGTH_UNKNOWN;
    arena_init(&stream->base.arena, stream->inline_memory, arena_bytes);
    stream->session = session;
    stream->id = id;
    stream->opened_ms = h2_now_ms(session);
    list_append(&session->streams, &stream->link);
    session->stream_count++;
    session->flood.streams++;
    return stream;
}

static void free_if_done(struct h2_stream *stream)
{
    struct h2_session *session = stream->session;

    if (!stream->is_closed || !stream->is_released)
        return;
    list_unlink(&stream->link);
    if (session->block_stream == stream)
        session->block_stream = NULL;
    buf_deinit(&stream->base.out);
    arena_deinit(&stream->base.arena);
    mem_give(stream, sizeof(*stream) + session->role->arena_bytes);
    session->stream_count--;
    session->idle_since_ms = h2_now_ms(session);
    h2_session_free_if_done(session);
}

static bool is_attached(const struct h2_stream *stream)
{
    return !stream->is_closed && !stream->session->is_finished;
}

/* ---- ends ---- */

void h2_stream_lost(struct h2_stream *stream, enum exchange_reset reason)
{
    struct exchange *exchange = &stream->base;

    if (exchange->is_dead)
        return;
    exchange->is_dead = true;
    buf_deinit(&exchange->out);
    if (!stream->has_owner)
        return;
    stream->has_owner = false;
    exchange->events->on_reset(exchange, reason);
}

/* Once both directions have ended, the owner hears no more. */
static bool is_complete(const struct h2_stream *stream)
{
    return stream->base.in_ended && stream->base.out_ended && stream->base.out.len == 0;
}

static enum exchange_reset reason_of(const struct h2_stream *stream, uint32_t error_code)
{
    bool is_server = stream->session->role->is_server;

    if (!is_server && stream->base.in_ended)
        return RESET_NO_ERROR; /* the response is whole; the rest of the request is not wanted */
    switch (error_code) {
    case NGHTTP2_CANCEL:
        return RESET_CANCEL;
    case NGHTTP2_REFUSED_STREAM:
        return RESET_REFUSED;
    case NGHTTP2_PROTOCOL_ERROR:
    case NGHTTP2_FLOW_CONTROL_ERROR:
    case NGHTTP2_FRAME_SIZE_ERROR:
    case NGHTTP2_STREAM_CLOSED:
        return RESET_PROTOCOL;
    case NGHTTP2_ENHANCE_YOUR_CALM:
        return RESET_CALM;
    case NGHTTP2_NO_ERROR: /* from a client: it lost interest; from a server: the response is cut */
        return is_server ? RESET_CANCEL : RESET_INTERNAL;
    default:
        return RESET_INTERNAL;
    }
}

/* Marks it closed and tells whoever must know; the stream may be gone afterwards. */
static void end(struct h2_stream *stream, enum exchange_reset reason)
{
    stream->is_closed = true;
    stream->stuck_since_ms = 0;
    stream->session->role->on_stream_closed(stream->session, stream, reason);
    if (!stream->was_owned)
        stream->is_released = true;
    if (stream->has_owner && !is_complete(stream))
        h2_stream_lost(stream, reason); /* it has released the stream then, or will */
    else
        free_if_done(stream);
}

void h2_stream_closed(struct h2_stream *stream, uint32_t error_code)
{
    struct h2_session *session = stream->session;
    bool premature =
        stream->peer_reset && h2_now_ms(session) - stream->opened_ms < PREMATURE_RESET_MS;

    if (session->role->is_server &&
        h2_flood_stream_ended(&session->flood, session->limits, premature))
        h2_session_terminate(session, NGHTTP2_ENHANCE_YOUR_CALM, H2_RESETS, "reset_share");
    end(stream, reason_of(stream, error_code));
    if (!session->is_finished)
        session->role->on_room(session);
}

/* HEADERS that never left our buffers were certainly not processed. */
static enum exchange_reset reason_of_loss(const struct h2_stream *stream)
{
    const struct h2_session *session = stream->session;
    bool unsent = !stream->head_framed || session->written_total <= stream->head_offset;

    return !session->role->is_server && unsent ? RESET_REFUSED : RESET_LOST;
}

void h2_stream_orphan(struct h2_stream *stream)
{
    struct h2_session *session = stream->session;

    list_unlink(&stream->link);
    list_append(&session->orphans, &stream->link);
    if (stream->is_closed) /* its owner was told then */
        return;
    end(stream, reason_of_loss(stream));
}

void h2_stream_reset(struct h2_stream *stream, uint32_t error_code, enum exchange_reset reason)
{
    struct h2_session *session = stream->session;

    if (is_attached(stream)) {
        stream->we_reset = true;
        h2_session_check(session, nghttp2_submit_rst_stream(session->ng, NGHTTP2_FLAG_NONE,
                                                            stream->id, error_code));
        h2_session_schedule(session);
    }
    h2_stream_lost(stream, reason); /* last line: its owner may do anything */
}

void h2_stream_answered(struct h2_stream *stream)
{
    struct h2_session *session = stream->session;

    stream->stop_due_ms = h2_now_ms(session) + UPLOAD_GRACE_MS;
    if (!timer_is_armed(&session->stop_uploads))
        timer_arm(&session->stop_uploads, UPLOAD_GRACE_MS);
}

void h2_stream_stop_uploads(struct h2_session *session)
{
    uint64_t now_ms = h2_now_ms(session);
    uint64_t next_ms = UINT64_MAX;

    LIST_EACH(&session->streams, link)
    {
        struct h2_stream *stream = LIST_ITEM(link, struct h2_stream, link);

        if (stream->stop_due_ms == 0 || stream->is_closed || stream->base.is_dead)
            continue;
        if (stream->stop_due_ms <= now_ms)
            h2_stream_reset(stream, NGHTTP2_NO_ERROR,
                            RESET_NO_ERROR); /* no owner: it is told to nobody */
        else if (stream->stop_due_ms < next_ms)
            next_ms = stream->stop_due_ms;
    }
    if (next_ms != UINT64_MAX)
        timer_arm(&session->stop_uploads, next_ms - now_ms);
}

/* ---- operations of the owner ---- */

static uint32_t code_of(enum exchange_reset reason)
{
    static const uint32_t codes[] = {
        [RESET_CANCEL] = NGHTTP2_CANCEL,           [RESET_REFUSED] = NGHTTP2_REFUSED_STREAM,
        [RESET_PROTOCOL] = NGHTTP2_PROTOCOL_ERROR, [RESET_INTERNAL] = NGHTTP2_INTERNAL_ERROR,
        [RESET_NO_ERROR] = NGHTTP2_NO_ERROR,       [RESET_CALM] = NGHTTP2_ENHANCE_YOUR_CALM,
        [RESET_LOST] = NGHTTP2_INTERNAL_ERROR,
    };
    return codes[reason];
}

static void op_reset(struct exchange *exchange, enum exchange_reset reason)
{
    struct h2_stream *stream = CONTAINER_OF(exchange, struct h2_stream, base);

    stream->has_owner = false; /* it hears no more */
    stream->stuck_since_ms = 0;
    h2_stream_reset(stream, code_of(reason), reason);
}

/* Trailers may wait behind `out` for long after the exchange that they came from is gone. */
static void keep_trailers(struct exchange *exchange)
{
    struct fields *trailers = &exchange->out_trailers;

    for (size_t i = 0; i < trailers->count; i++) {
        struct field *field = &trailers->items[i];

        if (field->id == FIELD_OTHER)
            field->name = arena_copy(&exchange->arena, field->name);
        field->value = arena_copy(&exchange->arena, field->value);
    }
}

static void op_output_grew(struct exchange *exchange)
{
    struct h2_stream *stream = CONTAINER_OF(exchange, struct h2_stream, base);
    struct h2_session *session = stream->session;

    if (exchange->out_ended)
        keep_trailers(exchange);
    if (!is_attached(stream) || !stream->has_source)
        return;
    if (stream->stuck_since_ms == 0 && exchange->out.len > 0)
        stream->stuck_since_ms = h2_now_ms(session);
    if (stream->is_deferred) {
        stream->is_deferred = false;
        h2_session_check(session, nghttp2_session_resume_data(session->ng, stream->id));
        h2_session_schedule(session);
    }
}

static void op_consumed(struct exchange *exchange, size_t size_bytes)
{
    struct h2_stream *stream = CONTAINER_OF(exchange, struct h2_stream, base);
    struct h2_session *session = stream->session;

    ENSURE(size_bytes <= stream->unconsumed_bytes);
    stream->unconsumed_bytes -= size_bytes;
    if (size_bytes == 0 || !is_attached(stream) || exchange->in_ended)
        return;
    h2_session_check(session, nghttp2_session_consume_stream(session->ng, stream->id, size_bytes));
    if (!session->is_in_nghttp2)
        h2_session_schedule(session);
}

static void op_send_head(struct exchange *exchange, const struct head *head, bool end)
{
    struct h2_stream *stream = CONTAINER_OF(exchange, struct h2_stream, base);
    struct h2_session *session = stream->session;
    struct h2_nv_list list;

    if (!is_attached(stream))
        return;
    nghttp2_data_provider source = h2_stream_source(stream);
    stream->has_source = !end;
    if (exchange->out.len > 0)
        stream->stuck_since_ms = h2_now_ms(session);
    h2_nv_response(&list, &exchange->arena, head, exchange->can_tunnel);
    h2_session_check(session, nghttp2_submit_response(session->ng, stream->id, list.items,
                                                      list.count, end ? NULL : &source));
    h2_session_schedule(session);
}

static void op_send_interim(struct exchange *exchange, const struct head *head)
{
    struct h2_stream *stream = CONTAINER_OF(exchange, struct h2_stream, base);
    struct h2_session *session = stream->session;
    struct h2_nv_list list;

    if (!is_attached(stream))
        return;
    h2_nv_response(&list, &exchange->arena, head, false);
    h2_session_check(session, nghttp2_submit_headers(session->ng, NGHTTP2_FLAG_NONE, stream->id,
                                                     NULL, list.items, list.count, NULL));
    h2_session_schedule(session);
}

/* A server's owner may leave as soon as its response is complete: what is in `out` still goes. */
static void op_release(struct exchange *exchange)
{
    struct h2_stream *stream = CONTAINER_OF(exchange, struct h2_stream, base);
    bool is_server = stream->session->role->is_server;
    bool is_done = exchange->out_ended && (is_server || exchange->in_ended);

    stream->has_owner = false;
    stream->is_released = true;
    if (is_attached(stream) && !exchange->is_dead) {
        if (!is_done)
            h2_stream_reset(stream, is_server ? NGHTTP2_INTERNAL_ERROR : NGHTTP2_CANCEL,
                            RESET_CANCEL);
        else if (stream->end_framed && !exchange->in_ended)
            h2_stream_answered(stream);
    }
    free_if_done(stream);
}

const struct exchange_ops h2_stream_ops = {
    .send_interim = op_send_interim,
    .send_head = op_send_head,
    .output_grew = op_output_grew,
    .consumed = op_consumed,
    .reset = op_reset,
    .release = op_release,
};
