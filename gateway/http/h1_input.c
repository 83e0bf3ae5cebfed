/* http/h1_input.c — the input of an HTTP/1 server connection: how much may be read now, what the
 * bytes are, and what is refused. One scratch buffer per thread, so that a quiet connection holds
 * none. */
#include "http/h1_codec.h"

enum {
    READ_SCRATCH_BYTES = 64 * 1024,
    READS_PER_WAKE = 4,
    AHEAD_BYTES = 4096,    /* read past a request, to notice a client that goes away */
    LINE_SLACK_BYTES = 64, /* method, blanks and version beside the target */
    CONTINUE_AFTER_MS = 1000,
};

static _Thread_local char read_scratch[READ_SCRATCH_BYTES];

/* ---- what may be read ---- */

bool h1_codec_takes_body(const struct h1_codec *c)
{
    const struct h1_stream *stream = c->stream;

    if (stream == NULL || stream->base.in_ended || !h1_stream_has_owner(stream))
        return false;
    return !stream->base.can_tunnel || stream->is_tunnel;
}

static size_t window_left(const struct h1_codec *c)
{
    size_t window = h1_codec_limits(c)->window_bytes, used = c->stream->unconsumed_bytes;

    return window > used ? window - used : 0;
}

static size_t read_budget(const struct h1_codec *c)
{
    if (c->input_ended || c->is_doomed || c->is_broken || c->is_closed)
        return 0;
    if (c->stream == NULL)
        return c->is_finishing ? 0 : READ_SCRATCH_BYTES;
    if (c->pending.len > 0)
        return 0; /* its turn comes first */
    if (!h1_codec_takes_body(c))
        return AHEAD_BYTES;
    size_t left = window_left(c);
    return left < READ_SCRATCH_BYTES ? left : READ_SCRATCH_BYTES;
}

void h1_codec_update_reading(struct h1_codec *c)
{
    if (c->is_closed)
        return;
    bool wanted = read_budget(c) > 0;
    if (wanted != c->is_reading) {
        c->is_reading = wanted;
        conn_want_read(c->base.conn, wanted);
    }
}

void h1_codec_arm_deadline(struct h1_codec *c)
{
    const struct http_limits *limits = h1_codec_limits(c);

    if (c->head_started || c->request_count == 0)
        timer_arm(&c->deadline, limits->head_timeout_ms);
    else if (http_server_is_draining(c->base.server) && H1_LAST_CALL_MS < limits->keepalive_ms)
        timer_arm(&c->deadline, H1_LAST_CALL_MS);
    else
        timer_arm(&c->deadline, limits->keepalive_ms);
}

/* ---- refusals ---- */

/* Answers in place of an owner, then closes. `stream` is the present one and has no owner. */
static void refuse(struct h1_codec *c, struct h1_stream *stream, enum status status)
{
    const struct http_server_options *options = http_server_options(c->base.server);
    struct exchange *exchange = &stream->base;

    counter_add(&h1_codec_counters(c)->refused_requests, 1);
    timer_cancel(&c->deadline);
    exchange->in_ended = true;
    exchange->can_tunnel = false;
    stream->framing.keep_alive = false;
    stream->is_released = true;
    buf_deinit(&c->pending);
    if (options->refuse != NULL)
        options->refuse(options->owner, exchange, status);
    if (!exchange->head_sent)
        exchange_send_head(exchange,
                           &(struct head){ .status = status_http(status),
                                           .content_length = CONTENT_LENGTH_UNKNOWN },
                           true);
    exchange_end(exchange, NULL);
    h1_codec_schedule(c);
}

/* ---- input ---- */

static void deliver_request(struct h1_codec *c, struct h1_stream *stream)
{
    const struct http_server_options *options = http_server_options(c->base.server);
    struct head *request = &stream->base.request;
    struct h1_framing *framing = &stream->framing;

    stream->base.can_tunnel = framing->is_upgrade || framing->is_connect;
    if (framing->is_chunked)
        h1_body_init(&c->body, H1_BODY_CHUNKED, 0);
    else if (request->content_length > 0)
        h1_body_init(&c->body, H1_BODY_LENGTH, (uint64_t)request->content_length);
    else
        h1_body_init(&c->body, H1_BODY_NONE, 0);
    stream->base.in_ended = c->body.kind == H1_BODY_NONE && !stream->base.can_tunnel;
    stream->is_delivered = true;
    c->base.link.version = framing->version;
    counter_add(&h1_codec_counters(c)->h1_requests, 1);
    if (framing->expects_continue)
        timer_arm(&c->deadline, CONTINUE_AFTER_MS);
    else
        timer_cancel(&c->deadline);
    options->on_request(options->owner, &stream->base);
}

/* The head is not complete: is it still worth waiting for? */
static enum status check_partial_head(struct h1_codec *c, struct slice bytes, size_t lines_before)
{
    const struct http_limits *limits = h1_codec_limits(c);
    struct h1_rules rules = { .limits = limits,
                              .allow_connect = http_server_options(c->base.server)->allow_connect };

    if (c->scan.line_count == 0 && bytes.len > limits->target_bytes + LINE_SLACK_BYTES)
        return STATUS_TARGET_TOO_LONG;
    if (bytes.len > limits->field_bytes_soft + limits->target_bytes + LINE_SLACK_BYTES)
        return STATUS_HEADERS_TOO_LARGE;
    if (lines_before == 0 && c->scan.line_count > 0)
        return h1_check_request_line(slice_first(bytes, slice_find(bytes, '\n') + 1), &rules);
    return STATUS_OK;
}

static void begin_request(struct h1_codec *c, struct slice head)
{
    const struct http_server_options *options = http_server_options(c->base.server);
    struct h1_stream *stream = h1_stream_create(c);
    struct h1_rules rules = {
        .limits = options->limits,
        .scheme = c->base.link.tls.version != NULL ? SLICE("https") : SLICE("http"),
        .allow_connect = options->allow_connect,
    };

    c->request_count++;
    c->scan = (struct h1_scan){ 0 };
    c->blank_lines = 0;
    c->head_started = false;
    h1_writer_restart(&c->writer);
    enum status status = h1_parse_request(head, &rules, &stream->base.arena, &stream->base.request,
                                          &stream->framing);
    if (status == STATUS_OK)
        deliver_request(c, stream);
    else
        refuse(c, stream, status);
}

static void refuse_head(struct h1_codec *c, struct slice *rest, enum status status)
{
    *rest = slice_skip(*rest, rest->len);
    h1_writer_restart(&c->writer);
    c->request_count++;
    refuse(c, h1_stream_create(c), status);
}

/* False: needs more bytes. */
static bool take_head(struct h1_codec *c, struct slice *rest)
{
    size_t lines_before = c->scan.line_count, len = 0;

    if (rest->len == 0)
        return false;

    enum status status = h1_scan_head(&c->scan, *rest, &len);

    if (status == STATUS_AGAIN) {
        status = check_partial_head(c, *rest, lines_before);
        if (status != STATUS_OK) {
            refuse_head(c, rest, status);
        } else if (!c->head_started) {
            c->head_started = true;
            if (c->request_count > 0)
                h1_codec_arm_deadline(c);
        }
        return false;
    }
    if (status == STATUS_OK && len == 2) { /* some clients end a body with a line too many */
        c->scan = (struct h1_scan){ 0 };
        *rest = slice_skip(*rest, len);
        if (c->blank_lines++ == 0) {
            c->head_started = false;
            h1_codec_arm_deadline(c);
            return true;
        }
        status = STATUS_MALFORMED;
    }
    if (status != STATUS_OK) {
        refuse_head(c, rest, status);
        return false;
    }
    struct slice head = slice_first(*rest, len);
    *rest = slice_skip(*rest, len);
    begin_request(c, head);
    return true;
}

/* The body is malformed: the owner hears it; the client too, if nothing was answered yet. */
static void body_is_bad(struct h1_codec *c, struct slice *rest, enum status status)
{
    struct h1_stream *stream = c->stream;
    bool may_answer = !stream->base.head_sent && c->writer.head.len == 0;
    bool is_head = slice_equal(stream->base.request.method, SLICE("HEAD"));

    *rest = slice_skip(*rest, rest->len);
    h1_codec_lose_stream(c, RESET_PROTOCOL);
    if (c->is_closed)
        return;
    if (!may_answer) {
        c->is_doomed = true;
        h1_codec_schedule(c);
        return;
    }
    h1_writer_restart(&c->writer);
    struct h1_stream *refusal = h1_stream_create(c);
    refusal->base.request.method = is_head ? SLICE("HEAD") : SLICE_EMPTY;
    refuse(c, refusal, status);
}

static void end_body(struct h1_codec *c, struct slice *rest)
{
    struct h1_stream *stream = c->stream;

    if (c->body.trailers.len > 0) {
        enum status status = h1_parse_trailers(buf_slice(&c->body.trailers), h1_codec_limits(c),
                                               &stream->base.arena, &stream->base.trailers);
        h1_body_deinit(&c->body);
        if (status != STATUS_OK) {
            body_is_bad(c, rest, status);
            return;
        }
    }
    stream->base.in_ended = true;
    h1_codec_schedule(c);
    stream->base.events->on_end(&stream->base, &stream->base.trailers);
}

/* False: needs more bytes or more window. */
static bool take_body(struct h1_codec *c, struct slice *rest)
{
    struct h1_stream *stream = c->stream;
    struct slice part = slice_first(*rest, window_left(c)), data;
    size_t before = part.len;
    enum h1_body_step step = h1_body_next(&c->body, h1_codec_limits(c), &part, &data);

    *rest = slice_skip(*rest, before - part.len);
    switch (step) {
    case H1_STEP_DATA:
        stream->unconsumed_bytes += data.len;
        stream->base.events->on_body(&stream->base, data);
        return true;
    case H1_STEP_END:
        end_body(c, rest);
        return true;
    case H1_STEP_BAD:
        body_is_bad(c, rest, STATUS_MALFORMED);
        return false;
    case H1_STEP_MORE:
        break;
    }
    return before > 0 && rest->len > 0; /* the window cut it short inside a chunk line */
}

static void take_input(struct h1_codec *c, struct slice *rest)
{
    bool more = true;

    while (more && !c->is_closed && !c->is_doomed && !c->is_broken && !c->is_finishing) {
        if (c->stream == NULL)
            more = take_head(c, rest);
        else
            more = h1_codec_takes_body(c) && take_body(c, rest);
    }
}

void h1_codec_take_pending(struct h1_codec *c)
{
    struct slice rest = buf_slice(&c->pending);
    size_t before = rest.len;

    if (before == 0)
        return;
    take_input(c, &rest);
    if (c->pending.len > 0) /* a refusal drops it all */
        buf_consume(&c->pending, before - rest.len);
}

void h1_codec_feed(struct h1_codec *c, struct slice bytes)
{
    if (c->pending.len > 0) {
        buf_append(&c->pending, bytes);
        h1_codec_take_pending(c);
        return;
    }
    take_input(c, &bytes);
    if (bytes.len > 0 && !c->is_closed && !c->is_finishing)
        buf_append(&c->pending, bytes);
}

/* FIN, or close_notify. */
static void input_ended(struct h1_codec *c)
{
    struct h1_stream *stream = c->stream;

    c->input_ended = true;
    if (stream == NULL) {
        if (h1_writer_is_empty(&c->writer))
            h1_codec_close(c, false);
        else
            c->is_finishing = true;
    } else if (stream->is_tunnel && h1_codec_takes_body(c)) {
        stream->base.in_ended = true;
        h1_codec_schedule(c);
        stream->base.events->on_end(&stream->base, &stream->base.trailers);
    } else if (stream->base.out_ended && (stream->base.in_ended || !h1_stream_has_owner(stream))) {
        c->keep_alive = false; /* the rest of the answer may still be read */
    } else if (!stream->is_tunnel) {
        h1_codec_lost(c, RESET_CANCEL);
    }
}

void h1_codec_read(struct h1_codec *c)
{
    for (unsigned i = 0; i < READS_PER_WAKE; i++) {
        size_t budget = read_budget(c), count = 0;

        if (budget == 0)
            return;
        enum status status = conn_read(c->base.conn, read_scratch, budget, &count);
        if (status == STATUS_OK) {
            h1_codec_feed(c, slice_of(read_scratch, count));
            if (count < budget)
                return;
        } else {
            if (status == STATUS_CLOSED)
                input_ended(c);
            else if (status != STATUS_AGAIN)
                h1_codec_lost(c, c->stream != NULL && c->stream->is_tunnel ? RESET_LOST
                                                                           : RESET_CANCEL);
            return;
        }
    }
}
