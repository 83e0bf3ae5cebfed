/* http/h1_codec.c — the server side of HTTP/1.1 and 1.0 on one conn: one exchange at a time, both
 * directions at once. Input is in h1_input.c.
 *
 *     conn readable ─▶ scratch ─▶ head, then body ─▶ owner    a pipelined request waits in pending
 *     owner ─▶ exchange ops ─▶ work (behind the callback) ─▶ one gathered write
 *
 * - An operation changes state and schedules `work`; events, closing and the next request come from
 *   there or from input.
 * - Expect: 100-continue stays a field of the request, so an owner that forwards it gets the
 *   upstream's 100 through send_interim. The codec says 100 itself when the owner asks for the body
 *   (exchange_consumed with 0), and after one second without any head, since a client may wait for
 *   ever and an upstream may not know the field. nginx and Envoy answer at once, which takes the
 *   upstream's 401 or 417 its worth.
 * - A final head that goes out while the request body is still coming says `Connection: close`;
 *   when both are done, or the owner wants no more, the conn lingers, so that the client reads the
 *   answer before it sees a reset.
 * - A client that closes its side (FIN) before the response is complete is gone: HTTP/1 has no
 *   other way to cancel. In a tunnel it is a half-close.
 * - Trailers of the response: see h1_writer.h. */
#include "http/h1_codec.h"

#include "base/mem.h"
#include "http/cut_log.h"

static struct h1_stream *stream_of(struct exchange *exchange)
{
    return CONTAINER_OF(exchange, struct h1_stream, base);
}

void h1_codec_schedule(struct h1_codec *c)
{
    if (!c->is_closed)
        task_defer_soon(http_server_loop(c->base.server), &c->work);
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

struct h1_stream *h1_stream_create(struct h1_codec *c)
{
    struct h1_stream *stream = mem_take(sizeof(*stream));

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
    mem_give(stream, sizeof(*stream));
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

void h1_codec_lose_stream(struct h1_codec *c, enum exchange_reset reason)
{
    struct h1_stream *stream = c->stream;

    if (stream == NULL)
        return;
    c->stream = NULL;
    stream->is_attached = false;
    buf_deinit(&stream->base.out);
    bool tell = h1_stream_has_owner(stream);
    stream->base.is_dead = true;
    if (tell)
        stream->base.events->on_reset(&stream->base, reason); /* its release frees the stream */
    else
        stream_free_if_done(stream);
}

void h1_codec_close(struct h1_codec *c, bool politely)
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

void h1_codec_lost(struct h1_codec *c, enum exchange_reset reason)
{
    h1_codec_close(c, false);
    h1_codec_lose_stream(c, reason);
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
            timer_arm(&c->stall, h1_codec_limits(c)->write_stall_ms);
    } else {
        timer_cancel(&c->stall);
    }
    if (stream != NULL && drained > 0 && h1_stream_has_owner(stream))
        stream->base.events->on_drained(&stream->base, drained);
    if (status == STATUS_SYSTEM || status == STATUS_CLOSED)
        h1_codec_lost(c, RESET_LOST);
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
    return stream->base.in_ended || !h1_stream_has_owner(stream);
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
        c->head_started = false;
        h1_codec_arm_deadline(c);
        h1_codec_take_pending(c);
    }
}

static void say_end(struct h1_codec *c)
{
    struct h1_stream *stream = c->stream;

    c->end_due = false;
    if (stream != NULL && h1_stream_has_owner(stream))
        stream->base.events->on_end(&stream->base, &stream->base.trailers);
}

static void do_work(struct h1_codec *c)
{
    if (c->is_broken) {
        h1_codec_lost(c, RESET_INTERNAL);
        return;
    }
    if (c->is_doomed) {
        h1_codec_close(c, false);
        h1_codec_lose_stream(c, RESET_CANCEL);
        return;
    }
    if (c->end_due)
        say_end(c);
    if (!c->is_closed && h1_codec_takes_body(c))
        h1_codec_take_pending(c);
    if (!c->is_closed)
        flush(c);
    if (!c->is_closed)
        advance(c);
    if (!c->is_closed && c->is_finishing && c->stream == NULL && h1_writer_is_empty(&c->writer))
        h1_codec_close(c, true);
    h1_codec_update_reading(c);
}

static void on_work(struct task *task)
{
    struct h1_codec *c = CONTAINER_OF(task, struct h1_codec, work);

    c->entered++;
    do_work(c);
    if (!c->is_closed && (c->is_broken || c->is_doomed))
        h1_codec_schedule(c);
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
    h1_codec_schedule(c);
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
                      c->request_count < h1_codec_limits(c)->keepalive_requests &&
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
    h1_codec_schedule(c);
}

static void op_output_grew(struct exchange *exchange)
{
    struct h1_stream *stream = stream_of(exchange);

    if (!stream->is_attached)
        return;
    if (exchange->out_ended && !exchange->head_sent)
        stream->codec->is_broken = true;
    h1_codec_schedule(stream->codec);
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
        h1_codec_schedule(stream->codec);
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
    h1_codec_schedule(c);
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
    h1_codec_schedule(c);
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
    h1_codec_read(c);
    if (c->is_finishing || c->is_doomed || c->is_broken)
        h1_codec_schedule(c);
    h1_codec_update_reading(c);
    leave(c);
}

static void on_writable(void *owner)
{
    struct h1_codec *c = owner;

    timer_cancel(&c->stall);
    h1_codec_schedule(c);
}

static const struct conn_events conn_events = {
    .on_open = on_open,
    .on_readable = on_readable,
    .on_writable = on_writable,
};

static void cut(const struct h1_codec *c, const char *reason)
{
    cut_log("client", reason, &c->base.link.peer, loop_clock(c->base.conn->loop)->now_ms);
}

static void on_deadline(struct timer *timer)
{
    struct h1_codec *c = CONTAINER_OF(timer, struct h1_codec, deadline);

    if (c->stream != NULL) {
        if (!c->stream->base.is_dead)
            say_continue(c->stream);
        return;
    }
    if (c->head_started || c->request_count == 0) {
        counter_add(&h1_codec_counters(c)->closed_head_timeout, 1);
        cut(c, "head_timeout");
    } else {
        counter_add(&h1_codec_counters(c)->closed_idle, 1);
    }
    c->entered++;
    h1_codec_close(c, false);
    leave(c);
}

static void on_stall(struct timer *timer)
{
    struct h1_codec *c = CONTAINER_OF(timer, struct h1_codec, stall);

    counter_add(&h1_codec_counters(c)->closed_stalled, 1);
    cut(c, "write_stall");
    c->entered++;
    h1_codec_lost(c, RESET_LOST);
    leave(c);
}

/* ---- for the server ---- */

static void codec_start(struct server_codec *codec, struct slice early)
{
    struct h1_codec *c = CONTAINER_OF(codec, struct h1_codec, base);

    c->entered++;
    h1_codec_arm_deadline(c);
    if (early.len > 0)
        h1_codec_feed(c, early);
    h1_codec_update_reading(c);
    leave(c);
}

/* A new conn may have its first request on the way. */
static bool codec_is_idle(const struct server_codec *codec)
{
    const struct h1_codec *c = (const struct h1_codec *)(const void *)codec; /* embedded first */

    return c->stream == NULL && !c->head_started && c->pending.len == 0 && c->request_count > 0;
}

static void codec_drain(struct server_codec *codec)
{
    struct h1_codec *c = CONTAINER_OF(codec, struct h1_codec, base);

    if (!codec_is_idle(codec)) /* what is on the way is served, then the conn closes */
        return;
    uint64_t keepalive_ms = h1_codec_limits(c)->keepalive_ms;
    uint64_t now_ms = loop_clock(http_server_loop(codec->server))->now_ms;
    uint64_t left_ms = c->deadline.due_ms > now_ms ? c->deadline.due_ms - now_ms : 0;
    uint64_t idle_ms = keepalive_ms > left_ms ? keepalive_ms - left_ms : 0;

    if (idle_ms < H1_LAST_CALL_MS) {
        timer_arm(&c->deadline, H1_LAST_CALL_MS - idle_ms);
        return;
    }
    c->is_finishing = true;
    h1_codec_schedule(c);
}

static void arm_no_later(struct timer *timer, uint64_t after_ms)
{
    uint64_t now_ms = loop_clock(timer->loop)->now_ms;

    if (timer_is_armed(timer) && timer->due_ms > now_ms + after_ms)
        timer_arm(timer, after_ms);
}

static void codec_limits_changed(struct server_codec *codec)
{
    struct h1_codec *c = CONTAINER_OF(codec, struct h1_codec, base);

    arm_no_later(&c->stall, h1_codec_limits(c)->write_stall_ms);
    if (codec_is_idle(codec))
        arm_no_later(&c->deadline, h1_codec_limits(c)->keepalive_ms);
}

static void codec_destroy(struct server_codec *codec)
{
    struct h1_codec *c = CONTAINER_OF(codec, struct h1_codec, base);

    c->entered++;
    c->is_destroyed = true;
    h1_codec_lost(c, RESET_LOST);
    leave(c);
}

static const struct server_codec_ops codec_ops = {
    .start = codec_start,
    .drain = codec_drain,
    .is_idle = codec_is_idle,
    .limits_changed = codec_limits_changed,
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
