/* http/h2_session.c — see h2_session.h. Order matters in three places: nothing calls nghttp2 recursively (is_in_callback),
 * a finished session tells its owners before anything is freed, and output is framed only while the transport takes it. */
#include "http/h2_session.h"

#include "base/mem.h"

enum {
    READ_SCRATCH_BYTES = 64 * 1024,
    WRITE_SCRATCH_BYTES = 128 * 1024, /* room for one gathered write and the largest chunk that nghttp2 may add */
    GATHER_BYTES = 64 * 1024,
    READS_PER_WAKE = 4,
    WRITES_PER_TURN = 8,
    CONNECTION_WINDOW_BYTES = 1 << 20,
    GLITCH_WINDOW_MS = 60000,
};

/* One of each per worker thread: bytes rest here within one call only. */
static _Thread_local char read_scratch[READ_SCRATCH_BYTES];
static _Thread_local char write_scratch[WRITE_SCRATCH_BYTES];

static uint64_t now_ms(const struct h2_session *session)
{
    return loop_clock(session->loop)->now_ms;
}

/* ---- streams ---- */

struct h2_stream *h2_stream_create(struct h2_session *session, int32_t id)
{
    struct h2_stream *stream = mem_alloc(sizeof(*stream));

    memset(stream, 0, offsetof(struct h2_stream, inline_memory));
    stream->base.ops = &h2_stream_ops;
    stream->base.link = session->link;
    stream->base.request.content_length = CONTENT_LENGTH_UNKNOWN;
    stream->base.response.content_length = CONTENT_LENGTH_UNKNOWN;
    arena_init(&stream->base.arena, stream->inline_memory, sizeof(stream->inline_memory));
    stream->session = session;
    stream->id = id;
    stream->opened_ms = now_ms(session);
    list_append(&session->streams, &stream->link);
    session->live_count++;
    return stream;
}

static void stream_free_if_done(struct h2_stream *stream)
{
    if (!stream->is_closed || !stream->is_released)
        return;
    if (stream->session != NULL) {
        list_unlink(&stream->link);
        stream->session->live_count--;
        stream->session->idle_since_ms = now_ms(stream->session);
    }
    buf_deinit(&stream->base.out);
    arena_deinit(&stream->base.arena);
    mem_free(stream);
}

static enum exchange_reset reset_of_code(uint32_t error_code)
{
    switch (error_code) {
    case NGHTTP2_NO_ERROR:
        return RESET_NO_ERROR;
    case NGHTTP2_CANCEL:
        return RESET_CANCEL;
    case NGHTTP2_REFUSED_STREAM:
        return RESET_REFUSED;
    case NGHTTP2_PROTOCOL_ERROR:
        return RESET_PROTOCOL;
    case NGHTTP2_ENHANCE_YOUR_CALM:
        return RESET_CALM;
    default:
        return RESET_INTERNAL;
    }
}

static uint32_t code_of_reset(enum exchange_reset reason)
{
    static const uint32_t codes[] = {
        [RESET_CANCEL] = NGHTTP2_CANCEL,           [RESET_REFUSED] = NGHTTP2_REFUSED_STREAM,
        [RESET_PROTOCOL] = NGHTTP2_PROTOCOL_ERROR, [RESET_INTERNAL] = NGHTTP2_INTERNAL_ERROR,
        [RESET_NO_ERROR] = NGHTTP2_NO_ERROR,       [RESET_CALM] = NGHTTP2_ENHANCE_YOUR_CALM,
        [RESET_LOST] = NGHTTP2_CANCEL,
    };
    return codes[reason];
}

/* Tells the owner, if there is one and it does not know yet. */
static void stream_lost(struct h2_stream *stream, enum exchange_reset reason)
{
    struct exchange *exchange = &stream->base;

    if (exchange->is_dead)
        return;
    exchange->is_dead = true;
    buf_deinit(&exchange->out);
    if (stream->delivered && !stream->is_released)
        exchange->events->on_reset(exchange, reason);
}

static void stream_resume(struct h2_stream *stream)
{
    if (stream->session == NULL || stream->is_closed)
        return;
    if (stream->is_deferred) {
        stream->is_deferred = false;
        nghttp2_session_resume_data(stream->session->ng, stream->id);
    }
    h2_session_schedule(stream->session);
}

static void op_output_grew(struct exchange *exchange)
{
    stream_resume(CONTAINER_OF(exchange, struct h2_stream, base));
}

static void op_consumed(struct exchange *exchange, size_t size_bytes)
{
    struct h2_stream *stream = CONTAINER_OF(exchange, struct h2_stream, base);

    ENSURE(size_bytes <= stream->unconsumed_bytes);
    stream->unconsumed_bytes -= size_bytes;
    if (stream->session == NULL || stream->is_closed || exchange->in_ended)
        return;
    nghttp2_session_consume_stream(stream->session->ng, stream->id, size_bytes);
    if (nghttp2_session_want_write(stream->session->ng))
        h2_session_schedule(stream->session);
}

static void op_reset(struct exchange *exchange, enum exchange_reset reason)
{
    struct h2_stream *stream = CONTAINER_OF(exchange, struct h2_stream, base);

    exchange->is_dead = true;
    buf_deinit(&exchange->out);
    if (stream->session == NULL || stream->is_closed)
        return;
    stream->we_reset = true;
    nghttp2_submit_rst_stream(stream->session->ng, NGHTTP2_FLAG_NONE, stream->id,
                              code_of_reset(reason));
    h2_session_schedule(stream->session);
}

static void op_release(struct exchange *exchange)
{
    struct h2_stream *stream = CONTAINER_OF(exchange, struct h2_stream, base);

    stream->is_released = true;
    if (!stream->is_closed && !exchange->is_dead && !exchange->out_ended)
        op_reset(exchange, exchange->head_sent ? RESET_INTERNAL : RESET_CANCEL);
    stream_free_if_done(stream);
}

static void op_send_head(struct exchange *exchange, const struct head *head, bool end)
{
    struct h2_stream *stream = CONTAINER_OF(exchange, struct h2_stream, base);
    nghttp2_nv nva[H2_MAX_NV];
    char status_text[4];

    if (stream->session == NULL || stream->is_closed)
        return;
    size_t count = h2_response_nv(head, exchange->can_tunnel, status_text, nva);
    nghttp2_data_provider source = h2_stream_source(stream);
    stream->has_source = !end;
    if (nghttp2_submit_response(stream->session->ng, stream->id, nva, count,
                                end ? NULL : &source) != 0)
        op_reset(exchange, RESET_INTERNAL);
    h2_session_schedule(stream->session);
}

static void op_send_interim(struct exchange *exchange, const struct head *head)
{
    struct h2_stream *stream = CONTAINER_OF(exchange, struct h2_stream, base);
    nghttp2_nv nva[H2_MAX_NV];
    char status_text[4];

    if (stream->session == NULL || stream->is_closed)
        return;
    size_t count = h2_response_nv(head, false, status_text, nva);
    nghttp2_submit_headers(stream->session->ng, NGHTTP2_FLAG_NONE, stream->id, NULL, nva, count,
                           NULL);
    h2_session_schedule(stream->session);
}

const struct exchange_ops h2_stream_ops = {
    .send_interim = op_send_interim,
    .send_head = op_send_head,
    .output_grew = op_output_grew,
    .consumed = op_consumed,
    .reset = op_reset,
    .release = op_release,
};

/* ---- output ---- */

static ssize_t source_read(nghttp2_session *ng, int32_t id, uint8_t *bytes, size_t length,
                           uint32_t *data_flags, nghttp2_data_source *source, void *user)
{
    struct h2_stream *stream = source->ptr;
    struct exchange *exchange = &stream->base;
    size_t count = exchange->out.len < length ? exchange->out.len : length;
    (void)bytes;
    (void)user;

    if (count == 0 && !exchange->out_ended) {
        stream->is_deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (count > H2_FRAME_DATA_BYTES)
        count = H2_FRAME_DATA_BYTES;
    *data_flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (exchange->out_ended && count == exchange->out.len) {
        *data_flags |= NGHTTP2_DATA_FLAG_EOF;
        if (exchange->out_trailers.count > 0) {
            nghttp2_nv nva[H2_MAX_NV];
            size_t nv_count = h2_fields_nv(&exchange->out_trailers, nva);
            *data_flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            nghttp2_submit_trailer(ng, id, nva, nv_count);
        }
    }
    return (ssize_t)count;
}

nghttp2_data_provider h2_stream_source(struct h2_stream *stream)
{
    return (nghttp2_data_provider){ .source.ptr = stream, .read_callback = source_read };
}

static int on_send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *frame_header,
                        size_t length, nghttp2_data_source *source, void *user)
{
    struct h2_session *session = user;
    struct h2_stream *stream = source->ptr;
    (void)ng;
    (void)frame; /* we ask for no padding */

    if (session->framing_bytes + 9 + length > GATHER_BYTES && session->framing_bytes > 0)
        return NGHTTP2_ERR_WOULDBLOCK;
    if (stream->base.is_dead) /* reset after the read callback: let the RST_STREAM that waits go out instead */
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    memcpy(write_scratch + session->framing_bytes, frame_header, 9);
    memcpy(write_scratch + session->framing_bytes + 9, buf_slice(&stream->base.out).ptr, length);
    session->framing_bytes += 9 + length;
    if (length > 0) {
        buf_consume(&stream->base.out, length);
        if (!stream->is_released)
            stream->base.events->on_drained(&stream->base, length);
    }
    return 0;
}

/* Frames into the scratch until it is full or nothing is left; false: nghttp2 failed. */
static bool gather(struct h2_session *session)
{
    const uint8_t *bytes;

    session->framing_bytes = 0;
    while (session->framing_bytes < GATHER_BYTES) {
        ssize_t count = nghttp2_session_mem_send(session->ng, &bytes);
        if (count < 0)
            return false;
        if (count == 0)
            break;
        memcpy(write_scratch + session->framing_bytes, bytes, (size_t)count);
        session->framing_bytes += (size_t)count;
        ENSURE(session->framing_bytes <= WRITE_SCRATCH_BYTES);
    }
    return true;
}

/* Writes what was gathered; the rest that the transport refuses goes to the backlog. */
static enum status write_gathered(struct h2_session *session)
{
    struct slice rest = slice_of(write_scratch, session->framing_bytes);
    enum status status = STATUS_OK;

    while (rest.len > 0 && status == STATUS_OK) {
        size_t count = 0;
        status = conn_write(session->conn, &rest, 1, &count);
        if (status == STATUS_OK)
            rest = slice_skip(rest, count);
    }
    if (status == STATUS_AGAIN) {
        buf_append(&session->backlog, rest);
        session->last_written_ms = now_ms(session);
        conn_want_write(session->conn);
    }
    return status;
}

static void finish_if_wanted(struct h2_session *session)
{
    if (session->want_finish) {
        session->want_finish = false;
        h2_session_finish(session, session->finish_reason);
    } else if (!session->is_finished && session->backlog.len == 0 &&
               !nghttp2_session_want_read(session->ng) &&
               !nghttp2_session_want_write(session->ng)) {
        h2_session_finish(session, STATUS_CLOSED);
    }
}

static void flush_now(struct h2_session *session)
{
    enum status status = STATUS_OK;

    session->is_in_callback = true;
    for (unsigned writes = 0; status == STATUS_OK && session->backlog.len == 0; writes++) {
        if (writes == WRITES_PER_TURN) { /* the others of this worker first */
            task_defer_next(session->loop, &session->flush);
            break;
        }
        if (!gather(session)) {
            status = STATUS_SYSTEM;
            break;
        }
        if (session->framing_bytes == 0)
            break;
        status = write_gathered(session);
    }
    session->is_in_callback = false;
    if (status == STATUS_SYSTEM || status == STATUS_CLOSED)
        h2_session_finish(session, STATUS_CLIENT_LOST);
    else
        finish_if_wanted(session);
}

static void on_flush(struct task *task)
{
    struct h2_session *session = CONTAINER_OF(task, struct h2_session, flush);

    if (!session->is_finished && session->backlog.len == 0)
        flush_now(session);
}

void h2_session_schedule(struct h2_session *session)
{
    if (!session->is_finished && session->backlog.len == 0)
        task_defer(session->loop, &session->flush);
}

void h2_session_writable(struct h2_session *session)
{
    size_t count = 0;

    while (session->backlog.len > 0) {
        struct slice rest = buf_slice(&session->backlog);
        enum status status = conn_write(session->conn, &rest, 1, &count);
        if (status == STATUS_AGAIN) {
            conn_want_write(session->conn);
            return;
        }
        if (status != STATUS_OK) {
            h2_session_finish(session, STATUS_CLIENT_LOST);
            return;
        }
        session->last_written_ms = now_ms(session);
        buf_consume(&session->backlog, count);
    }
    h2_session_schedule(session);
}

/* ---- input ---- */

void h2_session_feed(struct h2_session *session, struct slice bytes)
{
    session->last_heard_ms = now_ms(session);
    session->ping_sent_ms = 0;
    session->is_in_callback = true;
    ssize_t taken =
        nghttp2_session_mem_recv(session->ng, (const uint8_t *)bytes.ptr, bytes.len);
    session->is_in_callback = false;
    if (taken < 0 && !session->want_finish) {
        session->want_finish = true;
        session->finish_reason = STATUS_MALFORMED;
    }
    if (nghttp2_session_get_outbound_queue_size(session->ng) > session->limits->outbound_frames &&
        !session->want_finish) {
        session->want_finish = true;
        session->finish_reason = STATUS_LIMIT_REACHED;
    }
    if (session->want_finish)
        finish_if_wanted(session);
    else
        h2_session_schedule(session);
}

void h2_session_readable(struct h2_session *session)
{
    for (unsigned reads = 0; reads < READS_PER_WAKE && !session->is_finished; reads++) {
        size_t count = 0;
        enum status status =
            conn_read(session->conn, read_scratch, READ_SCRATCH_BYTES, &count);
        if (status == STATUS_AGAIN)
            return;
        if (status != STATUS_OK) {
            h2_session_finish(session, STATUS_CLIENT_LOST);
            return;
        }
        h2_session_feed(session, slice_of(read_scratch, count));
        if (count < READ_SCRATCH_BYTES)
            return;
    }
}

/* ---- callbacks of nghttp2 ---- */

static int on_begin_frame(nghttp2_session *ng, const nghttp2_frame_hd *hd, void *user)
{
    struct h2_session *session = user;
    (void)ng;

    if (hd->type != NGHTTP2_HEADERS && hd->type != NGHTTP2_CONTINUATION)
        return 0;
    if (hd->type == NGHTTP2_HEADERS)
        session->block_bytes = 0;
    session->block_bytes += hd->length;
    if (session->block_bytes > session->limits->header_block_bytes)
        h2_session_terminate(session, NGHTTP2_ENHANCE_YOUR_CALM);
    return 0;
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    (void)ng;
    return h2_headers_begin(user, frame);
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
    (void)ng;
    (void)flags;
    return h2_headers_field(user, frame, slice_of(name, name_len), slice_of(value, value_len));
}

static int on_invalid_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                             size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                             void *user)
{
    (void)ng;
    (void)name;
    (void)name_len;
    (void)value;
    (void)value_len;
    (void)flags;
    return h2_headers_invalid_field(user, frame);
}

static void headers_complete(struct h2_session *session, const nghttp2_frame *frame)
{
    struct h2_stream *stream = nghttp2_session_get_stream_user_data(session->ng, frame->hd.stream_id);
    bool ended = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;

    if (stream == NULL || stream->base.is_dead)
        return;
    if (stream->collecting != NULL) {
        session->role->on_head(session, stream, ended);
        return;
    }
    stream->base.in_ended = true; /* trailers: nghttp2 has checked that END_STREAM is set */
    if (stream->delivered && !stream->is_released)
        stream->base.events->on_end(&stream->base, &stream->base.trailers);
}

static void data_ended(struct h2_session *session, int32_t stream_id)
{
    static const struct fields none;
    struct h2_stream *stream = nghttp2_session_get_stream_user_data(session->ng, stream_id);

    if (stream == NULL || stream->base.is_dead)
        return;
    stream->base.in_ended = true;
    if (stream->delivered && !stream->is_released)
        stream->base.events->on_end(&stream->base, &none);
}

static int on_frame_recv(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct h2_session *session = user;
    (void)ng;

    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        headers_complete(session, frame);
        break;
    case NGHTTP2_DATA:
        if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
            data_ended(session, frame->hd.stream_id);
        break;
    case NGHTTP2_GOAWAY:
        session->role->on_goaway(session);
        break;
    case NGHTTP2_SETTINGS:
        session->role->on_settings(session);
        break;
    default:
        break;
    }
    return 0;
}

static int on_data_chunk(nghttp2_session *ng, uint8_t flags, int32_t stream_id,
                         const uint8_t *bytes, size_t count, void *user)
{
    struct h2_session *session = user;
    struct h2_stream *stream = nghttp2_session_get_stream_user_data(ng, stream_id);
    (void)flags;

    /* The connection's window reopens at once: a stream that is not read must not hold back the others. */
    nghttp2_session_consume_connection(ng, count);
    if (stream == NULL || stream->base.is_dead || !stream->delivered || stream->is_released) {
        nghttp2_session_consume_stream(ng, stream_id, count);
        return 0;
    }
    stream->unconsumed_bytes += count;
    session->block_bytes = 0;
    stream->base.events->on_body(&stream->base, slice_of(bytes, count));
    return 0;
}

static int on_stream_close(nghttp2_session *ng, int32_t stream_id, uint32_t error_code, void *user)
{
    struct h2_session *session = user;
    struct h2_stream *stream = nghttp2_session_get_stream_user_data(ng, stream_id);

    if (stream == NULL)
        return 0;
    stream->is_closed = true;
    if (!(stream->base.in_ended && stream->base.out_ended) || error_code != NGHTTP2_NO_ERROR)
        stream_lost(stream, reset_of_code(error_code));
    session->role->on_stream_closed(session, stream);
    if (!stream->delivered)
        stream->is_released = true;
    stream_free_if_done(stream);
    return 0;
}

static int on_invalid_frame(nghttp2_session *ng, const nghttp2_frame *frame, int error, void *user)
{
    (void)ng;
    (void)frame;
    (void)error;
    h2_session_glitch(user);
    return 0;
}

static bool is_blamed_on_peer(uint32_t error_code)
{
    return error_code == NGHTTP2_PROTOCOL_ERROR || error_code == NGHTTP2_FLOW_CONTROL_ERROR ||
           error_code == NGHTTP2_STREAM_CLOSED || error_code == NGHTTP2_FRAME_SIZE_ERROR;
}

static int on_frame_send(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct h2_session *session = user;
    struct h2_stream *stream = NULL;

    if (frame->hd.stream_id != 0)
        stream = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);
    if (frame->hd.type == NGHTTP2_RST_STREAM && is_blamed_on_peer(frame->rst_stream.error_code) &&
        (stream == NULL || !stream->we_reset))
        h2_session_glitch(session);
    if (stream == NULL)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS)
        stream->head_framed = true;
    /* The response is out and the owner has gone, yet the client still sends: tell it to stop (RFC 9113 §8.1). */
    if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 && session->role->is_server &&
        stream->is_released && !stream->base.in_ended && !stream->base.is_dead) {
        stream->we_reset = true;
        stream->base.is_dead = true;
        nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_NO_ERROR);
    }
    return 0;
}

static nghttp2_session_callbacks *make_callbacks(void)
{
    nghttp2_session_callbacks *callbacks;

    ENSURE(nghttp2_session_callbacks_new(&callbacks) == 0);
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
    return callbacks;
}

static nghttp2_option *make_options(const struct http_limits *limits)
{
    nghttp2_option *option;

    ENSURE(nghttp2_option_new(&option) == 0);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_max_outbound_ack(option, 100);
    nghttp2_option_set_stream_reset_rate_limit(option, limits->reset_burst, limits->reset_rate);
    /* 1.52 counts parser passes, not frames: a block that comes byte by byte would die at 8. block_bytes bounds it. */
    nghttp2_option_set_max_continuations(option, limits->header_block_bytes + 1024);
    nghttp2_option_set_peer_max_concurrent_streams(option, 100);
    return option;
}

/* ---- life ---- */

static void submit_settings(struct h2_session *session, bool enable_connect_protocol)
{
    const struct http_limits *limits = session->limits;
    nghttp2_settings_entry entries[6];
    size_t count = 0;

    entries[count++] = (nghttp2_settings_entry){ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,
                                                 (uint32_t)limits->window_bytes };
    entries[count++] = (nghttp2_settings_entry){ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
                                                 (uint32_t)limits->field_bytes_soft };
    if (session->role->is_server) {
        entries[count++] = (nghttp2_settings_entry){ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
                                                     limits->streams };
        entries[count++] = (nghttp2_settings_entry){ NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1 };
        if (enable_connect_protocol)
            entries[count++] =
                (nghttp2_settings_entry){ NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1 };
    } else {
        entries[count++] = (nghttp2_settings_entry){ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 };
    }
    nghttp2_submit_settings(session->ng, NGHTTP2_FLAG_NONE, entries, count);
    nghttp2_session_set_local_window_size(session->ng, NGHTTP2_FLAG_NONE, 0,
                                          CONNECTION_WINDOW_BYTES);
}

static void on_watchdog(struct timer *timer);

void h2_session_init(struct h2_session *session, const struct h2_role *role, struct conn *conn,
                     const struct http_limits *limits, struct exchange_link *link,
                     bool enable_connect_protocol)
{
    nghttp2_session_callbacks *callbacks = make_callbacks();
    nghttp2_option *option = make_options(limits);

    session->role = role;
    session->conn = conn;
    session->limits = limits;
    session->loop = conn->loop;
    session->link = link;
    list_init(&session->streams);
    task_init(&session->flush, on_flush);
    timer_init(&session->watchdog, session->loop, on_watchdog);
    if (role->is_server)
        ENSURE(nghttp2_session_server_new2(&session->ng, callbacks, session, option) == 0);
    else
        ENSURE(nghttp2_session_client_new2(&session->ng, callbacks, session, option) == 0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    session->last_heard_ms = now_ms(session);
    session->idle_since_ms = session->last_heard_ms;
    submit_settings(session, enable_connect_protocol);
    timer_arm(&session->watchdog, limits->ping_ms);
    h2_session_schedule(session);
}

static void lose_streams(struct h2_session *session)
{
    while (!list_is_empty(&session->streams)) {
        struct h2_stream *stream = LIST_FIRST(&session->streams, struct h2_stream, link);
        list_unlink(&stream->link);
        session->live_count--;
        stream->session = NULL;
        stream->is_closed = true;
        if (!(stream->base.in_ended && stream->base.out_ended && stream->base.out.len == 0))
            stream_lost(stream, stream->head_framed || session->role->is_server ? RESET_LOST
                                                                                : RESET_REFUSED);
        if (!stream->delivered)
            stream->is_released = true;
        stream_free_if_done(stream);
    }
}

void h2_session_finish(struct h2_session *session, enum status reason)
{
    if (session->is_finished)
        return;
    if (session->is_in_callback) { /* nghttp2 is on the stack: end when it has returned */
        session->want_finish = true;
        session->finish_reason = reason;
        return;
    }
    session->is_finished = true;
    task_cancel(&session->flush);
    timer_cancel(&session->watchdog);
    conn_want_read(session->conn, false);
    lose_streams(session);
    session->role->on_finished(session, reason); /* last line: the session may be gone */
}

void h2_session_deinit(struct h2_session *session)
{
    session->is_finished = true;
    task_cancel(&session->flush);
    timer_cancel(&session->watchdog);
    lose_streams(session);
    nghttp2_session_del(session->ng);
    session->ng = NULL;
    buf_deinit(&session->backlog);
}

void h2_session_terminate(struct h2_session *session, uint32_t error_code)
{
    nghttp2_session_terminate_session(session->ng, error_code);
    h2_session_schedule(session);
}

void h2_session_glitch(struct h2_session *session)
{
    uint64_t now = now_ms(session);

    if (now - session->glitch_window_ms > GLITCH_WINDOW_MS) {
        session->glitch_window_ms = now;
        session->glitch_count = 0;
    }
    session->glitch_count++;
    if (session->glitch_count == session->limits->glitches / 4 * 3)
        nghttp2_submit_shutdown_notice(session->ng);
    else if (session->glitch_count == session->limits->glitches)
        h2_session_terminate(session, NGHTTP2_ENHANCE_YOUR_CALM);
}

/* One timer judges all: a stalled writer, a silent peer under open streams, an idle connection. */
static void on_watchdog(struct timer *timer)
{
    struct h2_session *session = CONTAINER_OF(timer, struct h2_session, watchdog);
    const struct http_limits *limits = session->limits;
    uint64_t now = now_ms(session);
    uint64_t next = limits->ping_ms;

    if (session->backlog.len > 0 && now - session->last_written_ms >= limits->write_stall_ms) {
        h2_session_finish(session, STATUS_CLIENT_LOST);
        return;
    }
    if (session->live_count > 0) {
        if (session->ping_sent_ms != 0 && now - session->ping_sent_ms >= limits->ping_timeout_ms) {
            h2_session_finish(session, STATUS_AGENT_LOST);
            return;
        }
        if (session->ping_sent_ms == 0 && now - session->last_heard_ms >= limits->ping_ms) {
            session->ping_sent_ms = now;
            nghttp2_submit_ping(session->ng, NGHTTP2_FLAG_NONE, NULL);
            h2_session_schedule(session);
        }
        if (session->ping_sent_ms != 0)
            next = limits->ping_timeout_ms;
    } else if (session->role->is_server && now - session->idle_since_ms >= limits->idle_ms) {
        h2_session_terminate(session, NGHTTP2_NO_ERROR);
    }
    timer_arm(&session->watchdog, next);
}
