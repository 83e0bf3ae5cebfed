/* http/h1_codec.c — the server side of HTTP/1.1 and 1.0 on one conn: one exchange at a time, both
 * directions at once.
 *
 *   conn readable ─▶ scratch ─▶ head, then body ─▶ owner            a pipelined request waits in
 * `pending` owner ─▶ exchange ops ─▶ work (end of turn) ─▶ one gathered write
 *
 * Decisions:
 *  - An operation changes state and schedules `work`; events, closing and the next request come
 * from there or from input.
 *  - Expect: 100-continue stays a field of the request, so an owner that forwards it gets the
 * upstream's 100 through send_interim. The codec says 100 itself when the owner asks for the body
 * (exchange_consumed with 0), and after one second without any head, since a client may wait for
 * ever and an upstream may not know the field. nginx and Envoy answer at once, which takes the
 * upstream's 401 or 417 its worth.
 *  - A final head that goes out while the request body is still coming says `Connection: close`;
 * when both are done, or the owner wants no more, the conn lingers, so that the client reads the
 * answer before it sees a reset.
 *  - A client that closes its side (FIN) before the response is complete is gone: h1 has no other
 * way to cancel. In a tunnel it is a half-close.
 *  - Trailers of the response: see h1_writer.h. */
#include "http/codec.h"

#include "base/mem.h"
#include "http/h1_body.h"
#include "http/h1_parser.h"
#include "http/h1_writer.h"
#include "net/timer.h"

enum {
    READ_SCRATCH_BYTES = 64 * 1024,
    READS_PER_WAKE = 4,
    AHEAD_BYTES = 4096,    /* read past a request, to notice a client that goes away */
    LINE_SLACK_BYTES = 64, /* method, blanks and version beside the target */
    CONTINUE_AFTER_MS = 1000,
    STREAM_ARENA_BYTES = 3072,
};

struct h1_codec;

/* Lives until the codec has detached it and the owner has released it. */
struct h1_stream {
    struct exchange base;
    struct h1_codec *codec; /* memory is valid as long as the stream */
    struct h1_framing framing;
    size_t unconsumed_bytes;
    bool is_attached;
    bool is_released;
    bool is_delivered; /* an owner has it */
    bool is_tunnel;
    bool said_continue;
    char inline_memory[STREAM_ARENA_BYTES];
};

struct h1_codec {
    struct server_codec base;
    struct h1_stream *stream; /* the present one, or NULL */
    struct h1_body body;
    struct h1_writer writer;
    struct h1_scan scan;
    struct buf pending; /* read, not understood yet */
    struct task work;
    struct timer deadline; /* head, keep-alive, 100-continue */
    struct timer stall;
    size_t request_count;
    size_t stream_count; /* not freed yet */
    unsigned entered;    /* depth of our own functions that call events */
    unsigned blank_lines;
    bool head_started;
    bool keep_alive;  /* after the present response */
    bool input_ended; /* the conn gives no more */
    bool is_reading;
    bool is_broken;    /* the owner broke HTTP: reset it, then close */
    bool is_doomed;    /* close at once, the owner knows */
    bool is_finishing; /* close politely once the output is out */
    bool end_due;      /* on_end is to be said */
    bool is_shut;
    bool is_closed;
    bool is_destroyed;
};

static _Thread_local char read_scratch[READ_SCRATCH_BYTES];

static const struct http_limits *limits_of(const struct h1_codec *c)
{
    return http_server_options(c->base.server)->limits;
}

static struct http_server_counters *counters_of(const struct h1_codec *c)
{
    return http_server_counters_mutable(c->base.server);
}

static struct h1_stream *stream_of(struct exchange *exchange)
{
    return CONTAINER_OF(exchange, struct h1_stream, base);
}

static void schedule(struct h1_codec *c)
{
    if (!c->is_closed)
        task_defer(http_server_loop(c->base.server), &c->work);
}

/* ---- lifetimes ---- */

static void free_if_done(struct h1_codec *c)
{
    if (c->entered > 0 || !c->is_closed)
        return;
    buf_deinit(&c->pending);
    h1_body_deinit(&c->body);
    h1_writer_deinit(&c->writer);
    if (!c->is_destroyed || c->stream_count > 0)
        return;
    server_codec_deinit(&c->base);
    mem_free(c);
}

static void leave(struct h1_codec *c)
{
    c->entered--;
    free_if_done(c);
}

static const struct exchange_ops stream_ops;

static struct h1_stream *stream_create(struct h1_codec *c)
{
    struct h1_stream *stream = mem_alloc(sizeof(*stream));

    memset(stream, 0, offsetof(struct h1_stream, inline_memory));
    stream->base.ops = &stream_ops;
    stream->base.link = &c->base.link;
    stream->base.request.content_length = CONTENT_LENGTH_UNKNOWN;
    stream->base.response.content_length = CONTENT_LENGTH_UNKNOWN;
    arena_init(&stream->base.arena, stream->inline_memory, sizeof(stream->inline_memory));
    stream->codec = c;
    stream->is_attached = true;
    c->stream = stream;
    c->stream_count++;
    return stream;
}

static void stream_free_if_done(struct h1_stream *stream)
{
    struct h1_codec *c = stream->codec;

    if (stream->is_attached || !stream->is_released)
        return;
    buf_deinit(&stream->base.out);
    arena_deinit(&stream->base.arena);
    mem_free(stream);
    c->stream_count--;
    free_if_done(c);
}

static void detach(struct h1_codec *c)
{
    struct h1_stream *stream = c->stream;

    if (stream == NULL)
        return;
    c->stream = NULL;
    stream->is_attached = false;
    stream_free_if_done(stream);
}

static bool has_owner(const struct h1_stream *stream)
{
    return stream->is_delivered && !stream->is_released && !stream->base.is_dead;
}

/* The stream is over before its time; the owner is told last. Callers are entered. */
static void stream_lost(struct h1_codec *c, enum exchange_reset reason)
{
    struct h1_stream *stream = c->stream;

    if (stream == NULL)
        return;
    c->stream = NULL;
    stream->is_attached = false;
    buf_deinit(&stream->base.out);
    bool tell = has_owner(stream);
    stream->base.is_dead = true;
    if (tell)
        stream->base.events->on_reset(&stream->base, reason); /* its release frees the stream */
    else
        stream_free_if_done(stream);
}

static void close_conn(struct h1_codec *c, bool politely)
{
    if (c->is_closed)
        return;
    c->is_closed = true;
    task_cancel(&c->work);
    timer_cancel(&c->deadline);
    timer_cancel(&c->stall);
    if (politely && !c->input_ended)
        conn_linger(&c->base.conn);
    else
        conn_destroy(&c->base.conn);
    if (!c->is_destroyed)
        server_codec_closed(&c->base);
}

static void lost(struct h1_codec *c, enum exchange_reset reason)
{
    close_conn(c, false);
    stream_lost(c, reason);
}

/* ---- what may be read ---- */

static bool takes_body(const struct h1_codec *c)
{
    const struct h1_stream *stream = c->stream;

    if (stream == NULL || stream->base.in_ended || !has_owner(stream))
        return false;
    return !stream->base.can_tunnel || stream->is_tunnel;
}

static size_t window_left(const struct h1_codec *c)
{
    size_t window = limits_of(c)->window_bytes, used = c->stream->unconsumed_bytes;

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
    if (!takes_body(c))
        return AHEAD_BYTES;
    size_t left = window_left(c);
    return left < READ_SCRATCH_BYTES ? left : READ_SCRATCH_BYTES;
}

static void update_reading(struct h1_codec *c)
{
    if (c->is_closed)
        return;
    bool wanted = read_budget(c) > 0;
    if (wanted != c->is_reading) {
        c->is_reading = wanted;
        conn_want_read(c->base.conn, wanted);
    }
}

static void arm_deadline(struct h1_codec *c)
{
    const struct http_limits *limits = limits_of(c);

    if (c->head_started || c->request_count == 0)
        timer_arm(&c->deadline, limits->head_timeout_ms);
    else
        timer_arm(&c->deadline, limits->keepalive_ms);
}

/* ---- refusals ---- */

/* Answers in place of an owner, then closes. `stream` is the present one and has no owner. */
static void refuse(struct h1_codec *c, struct h1_stream *stream, enum status status)
{
    const struct http_server_options *options = http_server_options(c->base.server);
    struct exchange *exchange = &stream->base;

    counter_add(&counters_of(c)->refused_requests, 1);
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
    schedule(c);
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
    counter_add(&counters_of(c)->h1_requests, 1);
    if (framing->expects_continue)
        timer_arm(&c->deadline, CONTINUE_AFTER_MS);
    else
        timer_cancel(&c->deadline);
    options->on_request(options->owner, &stream->base);
}

/* The head is not complete: is it still worth waiting for? */
static enum status check_partial_head(struct h1_codec *c, struct slice bytes, size_t lines_before)
{
    const struct http_limits *limits = limits_of(c);
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
    struct h1_stream *stream = stream_create(c);
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
    refuse(c, stream_create(c), status);
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
                arm_deadline(c);
        }
        return false;
    }
    if (status == STATUS_OK && len == 2) { /* some clients end a body with a line too many */
        c->scan = (struct h1_scan){ 0 };
        *rest = slice_skip(*rest, len);
        if (c->blank_lines++ == 0)
            return true;
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
    stream_lost(c, RESET_PROTOCOL);
    if (c->is_closed)
        return;
    if (!may_answer) {
        c->is_doomed = true;
        schedule(c);
        return;
    }
    h1_writer_restart(&c->writer);
    struct h1_stream *refusal = stream_create(c);
    refusal->base.request.method = is_head ? SLICE("HEAD") : SLICE_EMPTY;
    refuse(c, refusal, status);
}

static void end_body(struct h1_codec *c, struct slice *rest)
{
    struct h1_stream *stream = c->stream;

    if (c->body.trailers.len > 0) {
        enum status status = h1_parse_trailers(buf_slice(&c->body.trailers), limits_of(c),
                                               &stream->base.arena, &stream->base.trailers);
        h1_body_deinit(&c->body);
        if (status != STATUS_OK) {
            body_is_bad(c, rest, status);
            return;
        }
    }
    stream->base.in_ended = true;
    schedule(c);
    stream->base.events->on_end(&stream->base, &stream->base.trailers);
}

/* False: needs more bytes or more window. */
static bool take_body(struct h1_codec *c, struct slice *rest)
{
    struct h1_stream *stream = c->stream;
    struct slice part = slice_first(*rest, window_left(c)), data;
    size_t before = part.len;
    enum h1_body_step step = h1_body_next(&c->body, limits_of(c), &part, &data);

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
    return false;
}

static void take_input(struct h1_codec *c, struct slice *rest)
{
    bool more = true;

    while (more && !c->is_closed && !c->is_doomed && !c->is_broken && !c->is_finishing) {
        if (c->stream == NULL)
            more = take_head(c, rest);
        else
            more = takes_body(c) && take_body(c, rest);
    }
}

static void take_pending(struct h1_codec *c)
{
    struct slice rest = buf_slice(&c->pending);
    size_t before = rest.len;

    if (before == 0)
        return;
    take_input(c, &rest);
    if (c->pending.len > 0) /* a refusal drops it all */
        buf_consume(&c->pending, before - rest.len);
}

static void feed(struct h1_codec *c, struct slice bytes)
{
    if (c->pending.len > 0) {
        buf_append(&c->pending, bytes);
        take_pending(c);
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
            close_conn(c, false);
        else
            c->is_finishing = true;
    } else if (stream->is_tunnel && takes_body(c)) {
        stream->base.in_ended = true;
        schedule(c);
        stream->base.events->on_end(&stream->base, &stream->base.trailers);
    } else if (stream->base.out_ended && (stream->base.in_ended || !has_owner(stream))) {
        c->keep_alive = false; /* the rest of the answer may still be read */
    } else if (!stream->is_tunnel) {
        lost(c, RESET_CANCEL);
    }
}

static void read_some(struct h1_codec *c)
{
    for (unsigned i = 0; i < READS_PER_WAKE; i++) {
        size_t budget = read_budget(c), count = 0;

        if (budget == 0)
            return;
        enum status status = conn_read(c->base.conn, read_scratch, budget, &count);
        if (status == STATUS_OK) {
            feed(c, slice_of(read_scratch, count));
            if (count < budget)
                return;
        } else {
            if (status == STATUS_CLOSED)
                input_ended(c);
            else if (status != STATUS_AGAIN)
                lost(c, c->stream != NULL && c->stream->is_tunnel ? RESET_LOST : RESET_CANCEL);
            return;
        }
    }
}

/* ---- output ---- */

static void flush(struct h1_codec *c)
{
    struct h1_stream *stream = c->stream;
    size_t drained = 0;
    enum status status =
        h1_writer_flush(&c->writer, c->base.conn, stream != NULL ? &stream->base : NULL, &drained);

    if (status == STATUS_AGAIN) {
        conn_want_write(c->base.conn);
        if (!timer_is_armed(&c->stall))
            timer_arm(&c->stall, limits_of(c)->write_stall_ms);
    } else {
        timer_cancel(&c->stall);
    }
    if (drained > 0 && has_owner(stream))
        stream->base.events->on_drained(&stream->base, drained);
    if (status == STATUS_SYSTEM || status == STATUS_CLOSED)
        lost(c, RESET_LOST);
    else if (status == STATUS_MALFORMED)
        c->is_broken = true;
}

static bool output_is_out(const struct h1_codec *c)
{
    return c->writer.is_done && h1_writer_is_empty(&c->writer);
}

/* The owner has no interest in the rest of the request: after the answer nothing is left to do. */
static bool input_is_over(const struct h1_stream *stream)
{
    return stream->base.in_ended || !has_owner(stream);
}

/* Both directions are done: what now? */
static void advance(struct h1_codec *c)
{
    struct h1_stream *stream = c->stream;

    if (stream == NULL || c->is_closed || !c->writer.is_done)
        return;
    if (stream->is_tunnel && output_is_out(c) && !c->is_shut) {
        c->is_shut = true;
        conn_shutdown(c->base.conn);
    }
    if (!input_is_over(stream))
        return;
    bool reuse = c->keep_alive && stream->base.in_ended && !stream->is_tunnel && !c->input_ended;

    if (!reuse)
        c->is_finishing = true;
    detach(c);
    if (reuse) {
        if (http_server_is_draining(c->base.server) && c->pending.len == 0)
            c->is_finishing = true;
        c->head_started = false;
        arm_deadline(c);
        take_pending(c);
    }
}

static void say_end(struct h1_codec *c)
{
    struct h1_stream *stream = c->stream;

    c->end_due = false;
    if (stream != NULL && has_owner(stream))
        stream->base.events->on_end(&stream->base, &stream->base.trailers);
}

static void do_work(struct h1_codec *c)
{
    if (c->is_broken) {
        lost(c, RESET_INTERNAL);
        return;
    }
    if (c->is_doomed) {
        close_conn(c, false);
        stream_lost(c, RESET_CANCEL);
        return;
    }
    if (c->end_due)
        say_end(c);
    if (!c->is_closed && takes_body(c))
        take_pending(c);
    if (!c->is_closed)
        flush(c);
    if (!c->is_closed)
        advance(c);
    if (!c->is_closed && c->is_finishing && c->stream == NULL && h1_writer_is_empty(&c->writer))
        close_conn(c, true);
    update_reading(c);
}

static void on_work(struct task *task)
{
    struct h1_codec *c = CONTAINER_OF(task, struct h1_codec, work);

    c->entered++;
    do_work(c);
    if (!c->is_closed && (c->is_broken || c->is_doomed))
        schedule(c);
    leave(c);
}

/* ---- operations ---- */

static void op_send_interim(struct exchange *exchange, const struct head *head)
{
    struct h1_stream *stream = stream_of(exchange);
    struct h1_codec *c = stream->codec;

    if (!stream->is_attached || stream->framing.version == HTTP_1_0)
        return;
    if (head->status == 100 && stream->said_continue)
        return;
    stream->said_continue |= head->status == 100;
    if (h1_writer_interim(&c->writer, &exchange->arena, head) != STATUS_OK)
        c->is_broken = true;
    schedule(c);
}

static void say_continue(struct h1_stream *stream)
{
    if (stream->framing.expects_continue && !stream->said_continue && !stream->base.head_sent)
        op_send_interim(&stream->base, &(struct head){ .status = 100 });
}

static void op_send_head(struct exchange *exchange, const struct head *head, bool end)
{
    struct h1_stream *stream = stream_of(exchange);
    struct h1_codec *c = stream->codec;

    if (!stream->is_attached)
        return;

    struct h1_response_facts facts = {
        .is_head_request = slice_equal(exchange->request.method, SLICE("HEAD")),
        .is_http_1_0 = stream->framing.version == HTTP_1_0,
        .can_upgrade = exchange->can_tunnel && stream->framing.is_upgrade,
        .is_connect = exchange->can_tunnel && stream->framing.is_connect,
        .keep_alive = stream->framing.keep_alive && exchange->in_ended && !c->input_ended &&
                      c->request_count < limits_of(c)->keepalive_requests &&
                      !http_server_is_draining(c->base.server),
    };

    if (stream->framing.expects_continue)
        timer_cancel(&c->deadline);
    if (h1_writer_response(&c->writer, &exchange->arena, head, end, &facts) != STATUS_OK)
        c->is_broken = true;
    c->keep_alive = facts.keep_alive;
    stream->is_tunnel = facts.is_tunnel;
    if (stream->is_tunnel) {
        h1_body_init(&c->body, H1_BODY_UNTIL_CLOSE, 0);
    } else if (exchange->can_tunnel && !exchange->in_ended) {
        exchange->in_ended = true; /* it stays HTTP, and such a request has no body */
        c->end_due = true;
    }
    schedule(c);
}

static void op_output_grew(struct exchange *exchange)
{
    struct h1_stream *stream = stream_of(exchange);

    if (!stream->is_attached)
        return;
    if (exchange->out_ended && !exchange->head_sent)
        stream->codec->is_broken = true;
    schedule(stream->codec);
}

static void op_consumed(struct exchange *exchange, size_t size_bytes)
{
    struct h1_stream *stream = stream_of(exchange);

    ENSURE(size_bytes <= stream->unconsumed_bytes);
    stream->unconsumed_bytes -= size_bytes;
    if (!stream->is_attached || exchange->in_ended)
        return;
    if (size_bytes == 0)
        say_continue(stream);
    else if (!stream->codec->is_reading)
        schedule(stream->codec);
}

static void op_reset(struct exchange *exchange, enum exchange_reset reason)
{
    struct h1_stream *stream = stream_of(exchange);
    struct h1_codec *c = stream->codec;

    if (!stream->is_attached)
        return;
    exchange->is_dead = true;
    if (reason != RESET_NO_ERROR || !exchange->head_sent || !exchange->out_ended) {
        buf_deinit(&exchange->out);
        c->is_doomed = true;
    } else {
        c->keep_alive = false;
    }
    schedule(c);
}

static void op_release(struct exchange *exchange)
{
    struct h1_stream *stream = stream_of(exchange);
    struct h1_codec *c = stream->codec;

    stream->is_released = true;
    if (!stream->is_attached) {
        stream_free_if_done(stream);
        return;
    }
    if (!exchange->is_dead && (!exchange->out_ended || !exchange->in_ended))
        op_reset(exchange, exchange->out_ended ? RESET_NO_ERROR : RESET_CANCEL);
    schedule(c);
}

static const struct exchange_ops stream_ops = {
    .send_interim = op_send_interim,
    .send_head = op_send_head,
    .output_grew = op_output_grew,
    .consumed = op_consumed,
    .reset = op_reset,
    .release = op_release,
};

/* ---- the conn and the clock ---- */

static void on_open(void *owner, enum status status)
{
    (void)owner;
    (void)status; /* the server has seen it before we were made */
}

static void on_readable(void *owner)
{
    struct h1_codec *c = owner;

    c->entered++;
    read_some(c);
    if (c->is_finishing || c->is_doomed || c->is_broken)
        schedule(c);
    update_reading(c);
    leave(c);
}

static void on_writable(void *owner)
{
    struct h1_codec *c = owner;

    timer_cancel(&c->stall);
    schedule(c);
}

static const struct conn_events conn_events = {
    .on_open = on_open,
    .on_readable = on_readable,
    .on_writable = on_writable,
};

static void on_deadline(struct timer *timer)
{
    struct h1_codec *c = CONTAINER_OF(timer, struct h1_codec, deadline);

    if (c->stream != NULL) {
        if (!c->stream->base.is_dead)
            say_continue(c->stream);
        return;
    }
    counter_add(c->head_started || c->request_count == 0 ? &counters_of(c)->closed_head_timeout
                                                         : &counters_of(c)->closed_idle,
                1);
    c->entered++;
    close_conn(c, false);
    leave(c);
}

static void on_stall(struct timer *timer)
{
    struct h1_codec *c = CONTAINER_OF(timer, struct h1_codec, stall);

    counter_add(&counters_of(c)->closed_stalled, 1);
    c->entered++;
    lost(c, RESET_LOST);
    leave(c);
}

/* ---- for the server ---- */

static void codec_start(struct server_codec *codec, struct slice early)
{
    struct h1_codec *c = CONTAINER_OF(codec, struct h1_codec, base);

    c->entered++;
    arm_deadline(c);
    if (early.len > 0)
        feed(c, early);
    update_reading(c);
    leave(c);
}

static void codec_drain(struct server_codec *codec)
{
    struct h1_codec *c = CONTAINER_OF(codec, struct h1_codec, base);

    /* A new conn may have its first request on the way: that one is served. */
    if (c->stream != NULL || c->head_started || c->pending.len > 0 || c->request_count == 0)
        return;
    c->is_finishing = true;
    schedule(c);
}

static void codec_destroy(struct server_codec *codec)
{
    struct h1_codec *c = CONTAINER_OF(codec, struct h1_codec, base);

    c->entered++;
    c->is_destroyed = true;
    lost(c, RESET_LOST);
    leave(c);
}

static const struct server_codec_ops codec_ops = {
    .start = codec_start,
    .drain = codec_drain,
    .destroy = codec_destroy,
};

struct server_codec *h1_codec_create(struct http_server *server, struct conn *conn)
{
    struct h1_codec *c = mem_zeroed(sizeof(*c));
    struct loop *loop = http_server_loop(server);

    server_codec_init(&c->base, &codec_ops, server, conn);
    c->base.link.version = HTTP_1_1;
    task_init(&c->work, on_work);
    timer_init(&c->deadline, loop, on_deadline);
    timer_init(&c->stall, loop, on_stall);
    conn_set_owner(conn, &conn_events, c);
    return &c->base;
}
