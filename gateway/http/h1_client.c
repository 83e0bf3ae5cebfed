/* http/h1_client.c — the client side of HTTP/1.1 on one conn: one exchange at a time, both
 * directions at once, kept alive while the peer keeps to the letter. Guests are hostile: a response
 * that is not framed beyond doubt ends the conn, a body that is cut is never a clean end, and a
 * byte that nobody asked for makes the conn unfit for a next request.
 *
 *   open ─▶ work (end of turn) ─▶ one gathered write     conn readable ─▶ scratch ─▶ interim heads,
 * head, body ─▶ owner
 *
 * The conn is used again when the request was sent whole, the response read whole, and nothing
 * followed it. */
#include "http/client.h"

#include "base/mem.h"
#include "http/h1_body.h"
#include "http/h1_parser.h"
#include "http/h1_writer.h"
#include "net/timer.h"

enum {
    READ_SCRATCH_BYTES = 64 * 1024,
    READS_PER_WAKE = 4,
    INTERIM_HEADS = 8,
    LINE_SLACK_BYTES = 64,
    STREAM_ARENA_BYTES = 3072,
};

struct h1_client;

/* Lives until the client has detached it and the owner has released it. */
struct h1_call {
    struct exchange base;
    struct h1_client *client; /* memory is valid as long as the call */
    size_t unconsumed_bytes;
    unsigned interim_count;
    bool is_attached;
    bool is_released;
    bool has_head; /* the final one */
    bool is_tunnel;
    bool wants_tunnel;
    bool is_head_request;
    bool is_refused_by_us; /* our own check of the request failed; nothing was sent */
    bool heard;            /* a byte of the response came */
    bool keep_alive;
    char inline_memory[STREAM_ARENA_BYTES];
};

struct h1_client {
    struct http_client base;
    struct h1_call *call;
    struct h1_body body;
    struct h1_writer writer;
    struct h1_scan scan;
    struct buf pending; /* read, not understood yet */
    struct task work;
    struct timer stall;
    size_t call_count; /* not freed yet */
    unsigned entered;
    bool input_ended;
    bool is_reading;
    bool is_doomed; /* close at once; the owner of the call knows or is told by work */
    enum exchange_reset doom;
    bool capacity_due;
    bool is_closing;  /* no new exchanges */
    bool closing_due; /* on_closing is to be said */
    enum status closing_reason;
    bool is_closed; /* the conn is gone */
    bool closed_said;
    bool is_destroyed;
    bool is_shut;
};

static _Thread_local char read_scratch[READ_SCRATCH_BYTES];

static struct h1_call *call_of(struct exchange *exchange)
{
    return CONTAINER_OF(exchange, struct h1_call, base);
}

static void schedule(struct h1_client *c)
{
    if (!c->is_destroyed)
        task_defer(c->base.loop, &c->work);
}

/* ---- lifetimes ---- */

static void free_if_done(struct h1_client *c)
{
    if (c->entered > 0 || !c->is_closed)
        return;
    buf_deinit(&c->pending);
    h1_body_deinit(&c->body);
    h1_writer_deinit(&c->writer);
    if (!c->is_destroyed || c->call_count > 0)
        return;
    exchange_link_deinit(&c->base.link);
    mem_free(c);
}

static void leave(struct h1_client *c)
{
    c->entered--;
    free_if_done(c);
}

static void call_free_if_done(struct h1_call *call)
{
    struct h1_client *c = call->client;

    if (call->is_attached || !call->is_released)
        return;
    buf_deinit(&call->base.out);
    arena_deinit(&call->base.arena);
    mem_free(call);
    c->call_count--;
    free_if_done(c);
}

static bool has_owner(const struct h1_call *call)
{
    return !call->is_released && !call->base.is_dead;
}

static void start_closing(struct h1_client *c, enum status reason)
{
    if (c->is_closing)
        return;
    c->is_closing = true;
    c->closing_due = true;
    c->closing_reason = reason;
    schedule(c);
}

static void detach(struct h1_client *c)
{
    struct h1_call *call = c->call;

    c->call = NULL;
    c->base.open_count = 0;
    call->is_attached = false;
    call_free_if_done(call);
}

static void call_lost(struct h1_client *c, enum exchange_reset reason)
{
    struct h1_call *call = c->call;

    if (call == NULL)
        return;
    bool tell = has_owner(call);
    call->base.is_dead = true;
    buf_deinit(&call->base.out);
    c->call = NULL;
    c->base.open_count = 0;
    call->is_attached = false;
    if (tell)
        call->base.events->on_reset(&call->base, reason); /* its release frees the call */
    else
        call_free_if_done(call);
}

static void close_conn(struct h1_client *c)
{
    if (c->is_closed)
        return;
    c->is_closed = true;
    timer_cancel(&c->stall);
    conn_destroy(&c->base.conn);
    start_closing(c, STATUS_AGENT_LOST);
    schedule(c);
}

static void lost(struct h1_client *c, enum exchange_reset reason)
{
    close_conn(c);
    call_lost(c, reason);
}

/* The conn broke or ended where it should not: was the request provably not processed? */
static enum exchange_reset loss_of(const struct h1_client *c)
{
    const struct h1_call *call = c->call;

    return call != NULL && c->writer.written_bytes == 0 && !call->heard ? RESET_REFUSED
                                                                        : RESET_LOST;
}

/* ---- input ---- */

static size_t window_left(const struct h1_client *c)
{
    size_t window = c->base.limits->window_bytes, used = c->call->unconsumed_bytes;

    return window > used ? window - used : 0;
}

static size_t read_budget(const struct h1_client *c)
{
    const struct h1_call *call = c->call;

    if (c->is_closed || c->input_ended || c->is_doomed)
        return 0;
    if (call == NULL || !call->has_head)
        return READ_SCRATCH_BYTES;
    if (c->pending.len > 0)
        return 0;
    if (call->base
            .in_ended) /* the request is still going out: notice the end, or a byte too many */
        return 1;
    size_t left = window_left(c);
    return left < READ_SCRATCH_BYTES ? left : READ_SCRATCH_BYTES;
}

static void update_reading(struct h1_client *c)
{
    if (c->is_closed)
        return;
    bool wanted = read_budget(c) > 0;
    if (wanted != c->is_reading) {
        c->is_reading = wanted;
        conn_want_read(c->base.conn, wanted);
    }
}

static bool opens_tunnel(const struct h1_call *call, const struct head *head,
                         const struct h1_framing *framing)
{
    if (!call->wants_tunnel)
        return false;
    if (call->base.request.protocol.len == 0) /* CONNECT */
        return head->status >= 200 && head->status <= 299;
    return head->status == 101 && framing->is_upgrade && head->protocol.len > 0;
}

/* RFC 9112 §6.3, without its lenient parts. */
static void frame_body(struct h1_client *c, struct h1_call *call, const struct head *head,
                       const struct h1_framing *framing)
{
    if (call->is_tunnel)
        h1_body_init(&c->body, H1_BODY_UNTIL_CLOSE, 0);
    else if (call->is_head_request || head->status == 204 || head->status == 304)
        h1_body_init(&c->body, H1_BODY_NONE, 0);
    else if (framing->is_chunked)
        h1_body_init(&c->body, H1_BODY_CHUNKED, 0);
    else if (head->content_length >= 0)
        h1_body_init(&c->body, head->content_length > 0 ? H1_BODY_LENGTH : H1_BODY_NONE,
                     (uint64_t)head->content_length);
    else
        h1_body_init(&c->body, H1_BODY_UNTIL_CLOSE, 0);
    call->base.in_ended = c->body.kind == H1_BODY_NONE;
    call->keep_alive = framing->keep_alive && !h1_body_may_end(&c->body);
}

static void take_final_head(struct h1_client *c, struct h1_call *call,
                            const struct h1_framing *framing)
{
    struct head *head = &call->base.response;

    call->has_head = true;
    call->is_tunnel = opens_tunnel(call, head, framing);
    if (head->status == 101 && !call->is_tunnel) {
        lost(c, RESET_PROTOCOL);
        return;
    }
    frame_body(c, call, head, framing);
    if (call->wants_tunnel) {
        call->keep_alive = false;
        c->writer.is_open = true;
        if (!call->is_tunnel)
            c->writer.kind = H1_OUT_NOTHING;
    }
    schedule(c);
    if (has_owner(call))
        call->base.events->on_head(&call->base, head);
}

static void take_interim(struct h1_client *c, struct h1_call *call)
{
    struct head head = call->base.response;

    call->base.response = (struct head){ .content_length = CONTENT_LENGTH_UNKNOWN };
    if (++call->interim_count > INTERIM_HEADS)
        lost(c, RESET_PROTOCOL);
    else if (has_owner(call))
        call->base.events->on_interim(&call->base, &head);
}

static bool is_head_too_long(const struct h1_client *c, struct slice bytes)
{
    return bytes.len > c->base.limits->field_bytes_soft + LINE_SLACK_BYTES;
}

/* False: needs more bytes, or the client is lost. */
static bool take_head(struct h1_client *c, struct slice *rest)
{
    struct h1_call *call = c->call;
    struct h1_framing framing;
    size_t len = 0;

    if (rest->len == 0)
        return false;
    call->heard = true;

    enum status status = h1_scan_head(&c->scan, *rest, &len);

    if (status == STATUS_AGAIN && !is_head_too_long(c, *rest))
        return false;
    if (status == STATUS_OK)
        status = h1_parse_response(slice_first(*rest, len), c->base.limits, &call->base.arena,
                                   &call->base.response, &framing);
    if (status != STATUS_OK) {
        *rest = slice_skip(*rest, rest->len);
        lost(c, RESET_PROTOCOL);
        return false;
    }
    *rest = slice_skip(*rest, len);
    c->scan = (struct h1_scan){ 0 };
    if (call->base.response.status < 200 && call->base.response.status != 101)
        take_interim(c, call);
    else
        take_final_head(c, call, &framing);
    return true;
}

static void end_body(struct h1_client *c)
{
    struct h1_call *call = c->call;

    if (c->body.trailers.len > 0) {
        enum status status = h1_parse_trailers(buf_slice(&c->body.trailers), c->base.limits,
                                               &call->base.arena, &call->base.trailers);
        h1_body_deinit(&c->body);
        if (status != STATUS_OK) {
            lost(c, RESET_PROTOCOL);
            return;
        }
    }
    call->base.in_ended = true;
    schedule(c);
    if (has_owner(call))
        call->base.events->on_end(&call->base, &call->base.trailers);
}

static bool take_body(struct h1_client *c, struct slice *rest)
{
    struct h1_call *call = c->call;
    struct slice part = slice_first(*rest, window_left(c)), data;
    size_t before = part.len;
    enum h1_body_step step = h1_body_next(&c->body, c->base.limits, &part, &data);

    *rest = slice_skip(*rest, before - part.len);
    switch (step) {
    case H1_STEP_DATA:
        call->unconsumed_bytes += data.len;
        if (has_owner(call))
            call->base.events->on_body(&call->base, data);
        return true;
    case H1_STEP_END:
        end_body(c);
        return true;
    case H1_STEP_BAD:
        *rest = slice_skip(*rest, rest->len);
        lost(c, RESET_PROTOCOL);
        return false;
    case H1_STEP_MORE:
        break;
    }
    return false;
}

static void take_input(struct h1_client *c, struct slice *rest)
{
    bool more = true;

    while (more && !c->is_closed && !c->is_doomed) {
        struct h1_call *call = c->call;

        if (call == NULL || call->base.in_ended) {
            if (rest->len > 0) { /* nobody asked for it */
                if (call != NULL)
                    call->keep_alive = false;
                else
                    close_conn(c);
                *rest = slice_skip(*rest, rest->len);
            }
            return;
        }
        more = call->has_head ? take_body(c, rest) : take_head(c, rest);
    }
}

static void take_pending(struct h1_client *c)
{
    struct slice rest = buf_slice(&c->pending);
    size_t before = rest.len;

    if (before == 0)
        return;
    take_input(c, &rest);
    buf_consume(&c->pending, before - rest.len);
}

static void feed(struct h1_client *c, struct slice bytes)
{
    if (c->pending.len > 0) {
        buf_append(&c->pending, bytes);
        take_pending(c);
        return;
    }
    take_input(c, &bytes);
    if (bytes.len > 0 && !c->is_closed)
        buf_append(&c->pending, bytes);
}

/* A clean end of the conn; what is in `pending` still waits for its window. */
static void settle_end(struct h1_client *c)
{
    struct h1_call *call = c->call;

    if (call == NULL) {
        close_conn(c);
        return;
    }
    if (c->pending.len > 0 && call->has_head)
        return;
    if (call->has_head && !call->base.in_ended && h1_body_may_end(&c->body)) {
        c->body.kind = H1_BODY_NONE;
        end_body(c);
    } else if (!call->base.in_ended) {
        lost(c, loss_of(c));
    } else {
        call->keep_alive = false; /* the rest of the request may still matter to it */
    }
}

static void read_some(struct h1_client *c)
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
            if (status == STATUS_CLOSED) {
                c->input_ended = true;
                start_closing(c, STATUS_CLOSED);
                settle_end(c);
            } else if (status != STATUS_AGAIN) {
                lost(c, loss_of(c));
            }
            return;
        }
    }
}

/* ---- output and the end of an exchange ---- */

static void flush(struct h1_client *c)
{
    struct h1_call *call = c->call;
    size_t drained = 0;

    enum status status = h1_writer_flush(&c->writer, c->base.conn, &call->base, &drained);

    if (status == STATUS_AGAIN) {
        conn_want_write(c->base.conn);
        if (!timer_is_armed(&c->stall))
            timer_arm(&c->stall, c->base.limits->write_stall_ms);
    } else {
        timer_cancel(&c->stall);
    }
    if (drained > 0 && has_owner(call))
        call->base.events->on_drained(&call->base, drained);
    if (c->is_closed)
        return;
    if (status == STATUS_MALFORMED) {
        lost(c, RESET_INTERNAL);
    } else if (status != STATUS_OK && status != STATUS_AGAIN) {
        read_some(c); /* the peer may have answered and closed: hear it out first */
        if (!c->is_closed && c->call != NULL && !c->call->base.in_ended && !c->is_doomed)
            lost(c, loss_of(c));
        else if (!c->is_closed)
            c->is_doomed = true;
    }
}

static void finish_call(struct h1_client *c)
{
    struct h1_call *call = c->call;
    bool sent = c->writer.is_done && h1_writer_is_empty(&c->writer);

    if (call->is_tunnel && sent && !c->is_shut) {
        c->is_shut = true;
        conn_shutdown(c->base.conn);
    }
    if (!call->base.in_ended || !sent)
        return;
    bool reuse = call->keep_alive && !c->is_closing && c->pending.len == 0;

    detach(c);
    if (reuse) {
        c->capacity_due = true;
    } else {
        start_closing(c, STATUS_CLOSED);
        close_conn(c);
    }
}

/* A released call whose response is not read whole, or whose request is not sent whole, leaves the
 * conn unfit. */
static void do_call_work(struct h1_client *c)
{
    if (c->call->is_refused_by_us) {
        c->capacity_due = !c->is_closing;
        call_lost(c, RESET_PROTOCOL);
        return;
    }
    if (c->call->has_head && !c->call->base.in_ended)
        take_pending(c);
    if (!c->is_closed && c->input_ended && c->call != NULL)
        settle_end(c);
    if (!c->is_closed && c->call != NULL)
        flush(c);
    if (!c->is_closed && !c->is_doomed && c->call != NULL)
        finish_call(c);
}

static void say_news(struct h1_client *c)
{
    const struct http_client_events *events = c->base.events;

    if (c->closing_due && !c->is_destroyed) {
        c->closing_due = false;
        events->on_closing(c->base.owner, c->closing_reason);
    }
    if (c->capacity_due && !c->is_destroyed && !c->is_closing) {
        c->capacity_due = false;
        events->on_capacity(c->base.owner);
    }
    if (c->is_closing && c->call == NULL && !c->closed_said && !c->is_destroyed &&
        !c->closing_due) {
        c->closed_said = true;
        close_conn(c);
        events->on_closed(c->base.owner);
    }
}

static void on_work(struct task *task)
{
    struct h1_client *c = CONTAINER_OF(task, struct h1_client, work);

    c->entered++;
    if (c->is_doomed)
        lost(c, c->doom);
    if (!c->is_closed && c->call != NULL)
        do_call_work(c);
    if (c->is_doomed && !c->is_closed)
        lost(c, c->doom);
    say_news(c);
    update_reading(c);
    leave(c);
}

/* ---- operations of the exchange ---- */

static void op_no_head(struct exchange *exchange, const struct head *head)
{
    (void)exchange;
    ENSURE(head == NULL); /* only a server answers */
}

static void op_no_final_head(struct exchange *exchange, const struct head *head, bool end)
{
    (void)end;
    op_no_head(exchange, head);
}

static void op_output_grew(struct exchange *exchange)
{
    struct h1_call *call = call_of(exchange);

    if (call->is_attached)
        schedule(call->client);
}

static void op_consumed(struct exchange *exchange, size_t size_bytes)
{
    struct h1_call *call = call_of(exchange);

    ENSURE(size_bytes <= call->unconsumed_bytes);
    call->unconsumed_bytes -= size_bytes;
    if (call->is_attached && (!call->client->is_reading || call->client->pending.len > 0))
        schedule(call->client);
}

static void op_reset(struct exchange *exchange, enum exchange_reset reason)
{
    struct h1_call *call = call_of(exchange);
    struct h1_client *c = call->client;

    exchange->is_dead = true;
    buf_deinit(&exchange->out);
    if (!call->is_attached)
        return;
    c->is_doomed = true;
    c->doom = reason;
    start_closing(c, STATUS_CLOSED);
}

static void op_release(struct exchange *exchange)
{
    struct h1_call *call = call_of(exchange);

    call->is_released = true;
    if (!call->is_attached) {
        call_free_if_done(call);
        return;
    }
    if (!exchange->is_dead && (!exchange->in_ended || !exchange->out_ended))
        op_reset(exchange, RESET_CANCEL);
    schedule(call->client);
}

static const struct exchange_ops call_ops = {
    .send_interim = op_no_head,
    .send_head = op_no_final_head,
    .output_grew = op_output_grew,
    .consumed = op_consumed,
    .reset = op_reset,
    .release = op_release,
};

/* ---- the conn and the clock ---- */

static void on_open(void *owner, enum status status)
{
    (void)owner;
    (void)status; /* we are made with an open conn */
}

static void on_readable(void *owner)
{
    struct h1_client *c = owner;

    c->entered++;
    read_some(c);
    update_reading(c);
    leave(c);
}

static void on_writable(void *owner)
{
    struct h1_client *c = owner;

    timer_cancel(&c->stall);
    schedule(c);
}

static const struct conn_events conn_events = {
    .on_open = on_open,
    .on_readable = on_readable,
    .on_writable = on_writable,
};

static void on_stall(struct timer *timer)
{
    struct h1_client *c = CONTAINER_OF(timer, struct h1_client, stall);

    c->entered++;
    lost(c, RESET_LOST);
    leave(c);
}

/* ---- operations of the client ---- */

static struct exchange *client_open(struct http_client *client, const struct head *head, bool end,
                                    const struct exchange_events *events, void *owner)
{
    struct h1_client *c = CONTAINER_OF(client, struct h1_client, base);
    struct h1_call *call = mem_alloc(sizeof(*call));

    ENSURE(c->call == NULL && !c->is_closing && !c->is_closed);
    memset(call, 0, offsetof(struct h1_call, inline_memory));
    call->base.ops = &call_ops;
    call->base.link = &client->link;
    call->base.request = *head;
    call->base.response.content_length = CONTENT_LENGTH_UNKNOWN;
    call->base.out_ended = end;
    arena_init(&call->base.arena, call->inline_memory, sizeof(call->inline_memory));
    exchange_set_owner(&call->base, events, owner);
    call->client = c;
    call->is_attached = true;
    call->is_head_request = slice_equal(head->method, SLICE("HEAD"));
    call->wants_tunnel = head->protocol.len > 0 || slice_equal(head->method, SLICE("CONNECT"));
    c->call = call;
    c->call_count++;
    client->open_count = 1;
    c->scan = (struct h1_scan){ 0 };
    c->capacity_due = false;
    h1_writer_restart(&c->writer);
    call->is_refused_by_us =
        h1_writer_request(&c->writer, &call->base.arena, head, end) != STATUS_OK;
    schedule(c);
    return &call->base;
}

static size_t client_capacity(const struct http_client *client)
{
    const struct h1_client *c = CONTAINER_OF(client, const struct h1_client, base);

    return c->call == NULL && !c->is_closing && !c->is_closed ? 1 : 0;
}

static void client_close_gracefully(struct http_client *client)
{
    start_closing(CONTAINER_OF(client, struct h1_client, base), STATUS_CLOSED);
}

static void client_destroy(struct http_client *client)
{
    struct h1_client *c = CONTAINER_OF(client, struct h1_client, base);

    c->entered++;
    c->is_destroyed = true;
    c->is_closing = true;
    task_cancel(&c->work);
    lost(c, RESET_LOST);
    leave(c);
}

static const struct http_client_ops client_ops = {
    .open = client_open,
    .capacity = client_capacity,
    .close_gracefully = client_close_gracefully,
    .destroy = client_destroy,
};

struct http_client *h1_client_create(struct conn *conn, const struct http_limits *limits,
                                     const struct http_client_events *events, void *owner)
{
    struct h1_client *c = mem_zeroed(sizeof(*c));

    c->base = (struct http_client){
        .ops = &client_ops,
        .events = events,
        .owner = owner,
        .loop = conn->loop,
        .conn = conn,
        .limits = limits,
        .link = { .peer = conn->peer, .tls = conn->tls, .version = HTTP_1_1 },
    };
    c->doom = RESET_LOST;
    task_init(&c->work, on_work);
    timer_init(&c->stall, conn->loop, on_stall);
    conn_set_owner(conn, &conn_events, c);
    update_reading(c);
    return &c->base;
}
