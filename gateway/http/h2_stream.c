/* http/h2_stream.c — one stream as an exchange: the operations of its owner, and its end from
 * either side. */
#include "http/h2_session.h"

#include "base/mem.h"

enum { PREMATURE_RESET_MS = 1000, UPLOAD_GRACE_MS = 250, SLOTS_FIRST = 16 };

/* ---- open streams by id: a table of chains, as long as there are streams ---- */

static struct h2_stream **slot_of(const struct h2_session *session, int32_t id)
{
    return &session->slots[((uint32_t)id >> 1) & (session->slot_count - 1)];
}

static void add_to_slot(struct h2_session *session, struct h2_stream *stream)
{
    struct h2_stream **slot = slot_of(session, stream->id);

    stream->next_of_slot = *slot;
    *slot = stream;
}

static void grow_slots(struct h2_session *session)
{
    size_t count = session->slot_count > 0 ? session->slot_count * 2 : SLOTS_FIRST;

    mem_free(session->slots);
    session->slots = mem_zeroed(count * sizeof(struct h2_stream *));
    session->slot_count = count;
    LIST_EACH(&session->streams, link)
    {
        struct h2_stream *stream = LIST_ITEM(link, struct h2_stream, link);

        if (!stream->is_closed)
            add_to_slot(session, stream);
    }
}

struct h2_stream *h2_stream_find(const struct h2_session *session, int32_t id)
{
    struct h2_stream *stream = session->slot_count > 0 ? *slot_of(session, id) : NULL;

    while (stream != NULL && stream->id != id)
        stream = stream->next_of_slot;
    return stream;
}

static void remove_from_slot(struct h2_session *session, struct h2_stream *stream)
{
    struct h2_stream **at = slot_of(session, stream->id);

    while (*at != stream)
        at = &(*at)->next_of_slot;
    *at = stream->next_of_slot;
}

/* ---- beginning and end of the memory ---- */

struct h2_stream *h2_stream_create(struct h2_session *session, int32_t id)
{
    struct h2_stream *stream = mem_take(sizeof(*stream));

    memset(stream, 0, sizeof(*stream));
    stream->base.ops = &h2_stream_ops;
    stream->base.link = session->link;
    stream->base.request.content_length = CONTENT_LENGTH_UNKNOWN; /* or the response's */
    stream->session = session;
    stream->id = id;
    stream->send_window = (int32_t)session->peer.window_bytes;
    stream->receive_window = (int32_t)session->stream_window;
    stream->promised_bytes = CONTENT_LENGTH_UNKNOWN;
    stream->opened_ms = h2_now_ms(session);
    list_init(&stream->ready);
    if (session->open_count == session->slot_count)
        grow_slots(session);
    list_append(&session->streams, &stream->link);
    add_to_slot(session, stream);
    session->open_count++;
    session->stream_count++;
    session->flood.streams++;
    return stream;
}

void h2_stream_ready(struct h2_stream *stream)
{
    if (!list_is_linked(&stream->ready))
        list_append(&stream->session->ready, &stream->ready);
}

static size_t pending_bytes(size_t field_count)
{
    return sizeof(struct head) + field_count * sizeof(struct field);
}

void h2_stream_keep_request(struct h2_stream *stream, const struct head *head)
{
    size_t count = head->fields.count;
    struct head *pending = mem_take(pending_bytes(count));

    *pending = *head;
    pending->fields.items = (struct field *)(pending + 1);
    if (count > 0)
        memcpy(pending->fields.items, head->fields.items, count * sizeof(struct field));
    stream->pending = pending;
    h2_stream_ready(stream);
}

void h2_stream_forget_request(struct h2_stream *stream)
{
    if (stream->pending != NULL)
        mem_give(stream->pending, pending_bytes(stream->pending->fields.count));
    stream->pending = NULL;
}

static void free_if_done(struct h2_stream *stream)
{
    struct h2_session *session = stream->session;

    if (!stream->is_closed || !stream->is_released)
        return;
    list_unlink(&stream->link);
    h2_stream_forget_request(stream);
    buf_deinit(&stream->base.out);
    arena_deinit(&stream->base.arena);
    mem_give(stream, sizeof(*stream));
    session->stream_count--;
    session->idle_since_ms = h2_now_ms(session);
    h2_session_free_if_done(session);
}

static bool is_attached(const struct h2_stream *stream)
{
    return !stream->is_closed && !stream->session->is_finished;
}

/* ---- ends ---- */

static void lose(struct h2_stream *stream, enum exchange_reset reason)
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

static enum exchange_reset reason_of(const struct h2_stream *stream, enum h2_error code)
{
    bool is_server = stream->session->role->is_server;

    if (!is_server && stream->base.in_ended)
        return RESET_NO_ERROR; /* the response is whole; the rest of the request is not wanted */
    switch (code) {
    case H2_CANCEL:
        return RESET_CANCEL;
    case H2_REFUSED_STREAM:
        return RESET_REFUSED;
    case H2_PROTOCOL_ERROR:
    case H2_FLOW_CONTROL_ERROR:
    case H2_FRAME_SIZE_ERROR:
    case H2_STREAM_CLOSED:
        return RESET_PROTOCOL;
    case H2_ENHANCE_YOUR_CALM:
        return RESET_CALM;
    case H2_NO_ERROR: /* from a client: it lost interest; from a server: the response is cut */
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
    list_unlink(&stream->ready);
    stream->session->role->on_stream_closed(stream->session, stream, reason);
    if (!stream->was_owned)
        stream->is_released = true;
    if (stream->has_owner && !is_complete(stream))
        lose(stream, reason); /* it has released the stream then, or will */
    else
        free_if_done(stream);
}

void h2_stream_closed(struct h2_stream *stream, enum h2_error code)
{
    struct h2_session *session = stream->session;

    remove_from_slot(session, stream);
    session->open_count--;
    bool premature =
        stream->peer_reset && h2_now_ms(session) - stream->opened_ms < PREMATURE_RESET_MS;

    if (session->role->is_server &&
        h2_flood_stream_ended(&session->flood, session->limits, premature))
        h2_session_terminate(session, H2_ENHANCE_YOUR_CALM, H2_RESETS, "reset_share");
    end(stream, reason_of(stream, code));
    if (!session->is_finished)
        session->role->on_room(session);
}

/* HEADERS that never left our buffers were certainly not processed. */
static enum exchange_reset reason_of_loss(const struct h2_stream *stream)
{
    const struct h2_session *session = stream->session;
    uint64_t lost = session->conn != NULL ? session->conn->unsent_bytes : 0;
    bool unsent = stream->pending != NULL || session->written_total - lost <= stream->head_offset;

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

static void reset_with_flush(struct h2_stream *stream, enum h2_error code)
{
    if (stream->is_resetting)
        return; /* the first reason counts */
    stream->is_resetting = true;
    stream->reset_code = code;
    h2_stream_ready(stream);
    h2_session_schedule(stream->session);
}

void h2_stream_reset(struct h2_stream *stream, enum h2_error code, enum exchange_reset reason)
{
    if (is_attached(stream)) {
        stream->we_reset = true;
        reset_with_flush(stream, code);
    }
    lose(stream, reason); /* last line: its owner may do anything */
}

/* Counted now: one read may hold hundreds of such requests. */
void h2_stream_error(struct h2_stream *stream, enum h2_error code)
{
    bool is_counted = stream->is_glitch || stream->base.is_dead;

    stream->is_glitch = true;
    reset_with_flush(stream, code);
    if (!is_counted)
        h2_session_glitch(stream->session);
}

void h2_stream_ended(struct h2_stream *stream)
{
    stream->end_framed = true;
    if (stream->end_received)
        h2_stream_ready(stream);
    else if (stream->session->role->is_server && stream->is_released)
        h2_stream_answered(stream);
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
            h2_stream_reset(stream, H2_NO_ERROR,
                            RESET_NO_ERROR); /* no owner: it is told to nobody */
        else if (stream->stop_due_ms < next_ms)
            next_ms = stream->stop_due_ms;
    }
    if (next_ms != UINT64_MAX)
        timer_arm(&session->stop_uploads, next_ms - now_ms);
}

/* ---- operations of the owner ---- */

static enum h2_error code_of(enum exchange_reset reason)
{
    static const enum h2_error codes[] = {
        [RESET_CANCEL] = H2_CANCEL,           [RESET_REFUSED] = H2_REFUSED_STREAM,
        [RESET_PROTOCOL] = H2_PROTOCOL_ERROR, [RESET_INTERNAL] = H2_INTERNAL_ERROR,
        [RESET_NO_ERROR] = H2_NO_ERROR,       [RESET_CALM] = H2_ENHANCE_YOUR_CALM,
        [RESET_LOST] = H2_INTERNAL_ERROR,
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
    if (!is_attached(stream) || !stream->has_source || stream->end_framed)
        return;
    if (stream->stuck_since_ms == 0 && exchange->out.len > 0)
        stream->stuck_since_ms = h2_now_ms(session);
    h2_stream_ready(stream);
    h2_session_schedule(session);
}

static void op_consumed(struct exchange *exchange, size_t size_bytes)
{
    struct h2_stream *stream = CONTAINER_OF(exchange, struct h2_stream, base);
    struct h2_session *session = stream->session;

    ENSURE(size_bytes <= stream->unconsumed_bytes);
    stream->unconsumed_bytes -= size_bytes;
    if (size_bytes == 0 || !is_attached(stream) || exchange->in_ended)
        return;
    h2_stream_reopen(stream, size_bytes);
    if (!session->is_busy)
        h2_session_schedule(session);
}

static void op_send_head(struct exchange *exchange, const struct head *head, bool end)
{
    struct h2_stream *stream = CONTAINER_OF(exchange, struct h2_stream, base);
    struct h2_session *session = stream->session;

    if (!is_attached(stream) || stream->is_resetting)
        return;
    h2_send_response(session, stream, head, end);
    stream->has_source = !end;
    if (end)
        h2_stream_ended(stream);
    else if (exchange->out.len > 0)
        h2_stream_ready(stream);
    if (exchange->out.len > 0)
        stream->stuck_since_ms = h2_now_ms(session);
    h2_session_schedule(session);
}

static void op_send_interim(struct exchange *exchange, const struct head *head)
{
    struct h2_stream *stream = CONTAINER_OF(exchange, struct h2_stream, base);

    if (!is_attached(stream) || stream->is_resetting)
        return;
    h2_send_interim(stream->session, stream, head);
    h2_session_schedule(stream->session);
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
            h2_stream_reset(stream, is_server ? H2_INTERNAL_ERROR : H2_CANCEL, RESET_CANCEL);
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
