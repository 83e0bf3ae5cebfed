/* http/h1_client.c — the client side of HTTP/1.1 on one conn: one exchange at a time, both
 * directions at once, kept alive while the peer keeps to the letter. Responses are read in
 * h1_response.c.
 *
 *     open ─▶ work (behind the callback) ─▶ one gathered write
 *     conn readable ─▶ scratch ─▶ interim heads, head, body ─▶ owner
 *
 * The conn is used again when the request was sent whole, the response read whole, and nothing
 * followed it; and not after a request's trailers, which some servers leave unread and take for the
 * next request. */
#include "http/h1_client.h"

#include "base/mem.h"
#include "http/cut_log.h"

static struct h1_call *call_of(struct exchange *exchange)
{
    return CONTAINER_OF(exchange, struct h1_call, base);
}

void h1_client_schedule(struct h1_client *c)
{
    if (!c->is_destroyed)
        task_defer_soon(c->base.loop, &c->work);
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
    mem_give(call, sizeof(*call));
    c->call_count--;
    free_if_done(c);
}

void h1_client_start_closing(struct h1_client *c, enum status reason)
{
    if (c->is_closing)
        return;
    c->is_closing = true;
    c->closing_due = true;
    c->closing_reason = reason;
    h1_client_schedule(c);
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
    bool tell = h1_call_has_owner(call);
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

void h1_client_close(struct h1_client *c)
{
    if (c->is_closed)
        return;
    c->is_closed = true;
    timer_cancel(&c->stall);
    conn_destroy(&c->base.conn);
    h1_client_start_closing(c, STATUS_AGENT_LOST);
    h1_client_schedule(c);
}

void h1_client_lost(struct h1_client *c, enum exchange_reset reason)
{
    h1_client_close(c);
    call_lost(c, reason);
}

enum exchange_reset h1_client_loss(const struct h1_client *c)
{
    const struct h1_call *call = c->call;

    bool unsent = c->writer.written_bytes <= c->base.conn->unsent_bytes;

    return call != NULL && unsent && !call->heard ? RESET_REFUSED : RESET_LOST;
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
    if (drained > 0 && h1_call_has_owner(call))
        call->base.events->on_drained(&call->base, drained);
    if (c->is_closed)
        return;
    if (status == STATUS_MALFORMED) {
        h1_client_lost(c, RESET_INTERNAL);
    } else if (status != STATUS_OK && status != STATUS_AGAIN) {
        h1_client_read(c); /* the peer may have answered and closed: hear it out first */
        if (!c->is_closed && c->call != NULL && !c->call->base.in_ended && !c->is_doomed)
            h1_client_lost(c, h1_client_loss(c));
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
    bool reuse = call->keep_alive && !c->is_closing && c->pending.len == 0 &&
                 call->base.out_trailers.count == 0;

    detach(c);
    if (reuse) {
        c->capacity_due = true;
    } else {
        h1_client_start_closing(c, STATUS_CLOSED);
        h1_client_close(c);
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
        h1_client_take_pending(c);
    if (!c->is_closed && c->input_ended && c->call != NULL)
        h1_client_settle_end(c);
    if (!c->is_closed && c->call != NULL)
        flush(c);
    if (!c->is_closed && !c->is_doomed && c->call != NULL)
        finish_call(c);
}

static void say_news(struct h1_client *c)
{
    const struct http_client_events *events = c->base.events;

    if (c->ready_due && !c->is_closing) {
        c->ready_due = false;
        if (events->on_ready != NULL)
            events->on_ready(c->base.owner);
    }
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
        h1_client_close(c);
        events->on_closed(c->base.owner);
    }
}

static void on_work(struct task *task)
{
    struct h1_client *c = CONTAINER_OF(task, struct h1_client, work);

    c->entered++;
    if (c->is_doomed)
        h1_client_lost(c, c->doom);
    if (!c->is_closed && c->call != NULL)
        do_call_work(c);
    if (c->is_doomed && !c->is_closed)
        h1_client_lost(c, c->doom);
    say_news(c);
    h1_client_update_reading(c);
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
        h1_client_schedule(call->client);
}

static void op_consumed(struct exchange *exchange, size_t size_bytes)
{
    struct h1_call *call = call_of(exchange);

    ENSURE(size_bytes <= call->unconsumed_bytes);
    call->unconsumed_bytes -= size_bytes;
    if (call->is_attached && (!call->client->is_reading || call->client->pending.len > 0))
        h1_client_schedule(call->client);
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
    h1_client_start_closing(c, STATUS_CLOSED);
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
    h1_client_schedule(call->client);
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
    h1_client_read(c);
    h1_client_update_reading(c);
    leave(c);
}

static void on_writable(void *owner)
{
    struct h1_client *c = owner;

    timer_cancel(&c->stall);
    h1_client_schedule(c);
}

static const struct conn_events conn_events = {
    .on_open = on_open,
    .on_readable = on_readable,
    .on_writable = on_writable,
};

static void on_stall(struct timer *timer)
{
    struct h1_client *c = CONTAINER_OF(timer, struct h1_client, stall);

    cut_log("agent", "write_stall", &c->base.link.peer, loop_clock(c->base.loop)->now_ms);
    c->entered++;
    h1_client_lost(c, RESET_LOST);
    leave(c);
}

/* ---- operations of the client ---- */

static struct exchange *client_open(struct http_client *client, const struct head *head, bool end,
                                    const struct exchange_events *events, void *owner)
{
    struct h1_client *c = CONTAINER_OF(client, struct h1_client, base);
    struct h1_call *call = mem_take(sizeof(*call));

    ENSURE(c->call == NULL && !c->is_closing && !c->is_closed);
    memset(call, 0, offsetof(struct h1_call, inline_memory));
    call->base.ops = &call_ops;
    call->base.link = &client->link;
    call->base.response.content_length = CONTENT_LENGTH_UNKNOWN;
    call->base.out_ended = end;
    arena_init(&call->base.arena, call->inline_memory, sizeof(call->inline_memory));
    exchange_set_owner(&call->base, events, owner);
    call->client = c;
    call->is_attached = true;
    call->is_head_request = slice_equal(head->method, SLICE("HEAD"));
    call->asks_connect = head->protocol.len == 0 && slice_equal(head->method, SLICE("CONNECT"));
    call->wants_tunnel = head->protocol.len > 0 || call->asks_connect;
    c->call = call;
    c->call_count++;
    client->open_count = 1;
    c->scan = (struct h1_scan){ 0 };
    c->capacity_due = false;
    h1_writer_restart(&c->writer);
    call->is_refused_by_us =
        h1_writer_request(&c->writer, &call->base.arena, head, end) != STATUS_OK;
    h1_client_schedule(c);
    return &call->base;
}

static size_t client_capacity(const struct http_client *client)
{
    const struct h1_client *c = CONTAINER_OF(client, const struct h1_client, base);

    return c->call == NULL && !c->is_closing && !c->is_closed ? 1 : 0;
}

static void client_close_gracefully(struct http_client *client)
{
    h1_client_start_closing(CONTAINER_OF(client, struct h1_client, base), STATUS_CLOSED);
}

static void client_destroy(struct http_client *client)
{
    struct h1_client *c = CONTAINER_OF(client, struct h1_client, base);

    c->entered++;
    c->is_destroyed = true;
    c->is_closing = true;
    task_cancel(&c->work);
    h1_client_lost(c, RESET_LOST);
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
    c->ready_due = true;
    task_init(&c->work, on_work);
    timer_init(&c->stall, conn->loop, on_stall);
    conn_set_owner(conn, &conn_events, c);
    h1_client_update_reading(c);
    h1_client_schedule(c);
    return &c->base;
}
