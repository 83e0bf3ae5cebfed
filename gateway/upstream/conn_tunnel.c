/* upstream/conn_tunnel.c — see the header.
 *
 *     exchange: on_body ─▶ in ─▶ conn_read()  (consumed: the window opens by what was read, so `in`
 * holds one window) conn_write() ─▶ exchange->out, up to one window ─▶ on_drained ─▶ on_writable
 *
 * Events of the conn come from tasks, never from inside an operation. An event is due again only
 * when something new came, was left over by a read, or reading was switched on: nobody keeps the
 * loop awake by not reading. */
#include "upstream/conn_tunnel.h"

#include <stdio.h>

#include "base/mem.h"
#include "net/timer.h"

enum tunnel_state { TUNNEL_OPENING, TUNNEL_OPEN, TUNNEL_FAILED };

struct tunnel {
    struct conn conn; /* first */
    struct exchange *exchange;
    enum tunnel_state state;
    enum status status; /* for on_open */
    size_t window_bytes;
    struct buf in;
    bool has_ended;    /* the guest's side has */
    bool end_was_read; /* and the owner knows */
    bool read_wanted;
    bool write_wanted;
    struct task opened;
    struct task readable;
    struct task writable;
    struct timer deadline;
    char authority[sizeof("127.0.0.1:65535")];
};

static struct tunnel *tunnel_of(struct conn *conn)
{
    return CONTAINER_OF(conn, struct tunnel, conn);
}

static bool is_readable(const struct tunnel *t)
{
    return t->in.len > 0 || ((t->has_ended || t->state == TUNNEL_FAILED) && !t->end_was_read);
}

static size_t room_bytes(const struct tunnel *t)
{
    size_t held_bytes = t->exchange->out.len;

    return held_bytes < t->window_bytes ? t->window_bytes - held_bytes : 0;
}

static void tell_readable(struct tunnel *t)
{
    if (t->state != TUNNEL_OPENING && t->read_wanted && is_readable(t))
        task_defer(t->conn.loop, &t->readable);
}

static void tell_writable(struct tunnel *t)
{
    if (t->state != TUNNEL_OPENING && t->write_wanted &&
        (t->state == TUNNEL_FAILED || room_bytes(t) > 0))
        task_defer(t->conn.loop, &t->writable);
}

/* --- what the exchange tells
 * ------------------------------------------------------------------------------- */

static void finish_opening(struct tunnel *t, enum status status)
{
    timer_cancel(&t->deadline);
    t->status = status;
    t->state = status == STATUS_OK ? TUNNEL_OPEN : TUNNEL_FAILED;
    task_defer(t->conn.loop, &t->opened);
}

static enum status status_of_answer(unsigned answer)
{
    if (answer / 100 == 2)
        return STATUS_OK;
    return answer == 403 ? STATUS_ROUTE_REFUSED : STATUS_PORT_CLOSED;
}

static void on_interim(struct exchange *exchange, const struct head *head)
{
    (void)exchange;
    (void)head;
}

static void on_head(struct exchange *exchange, const struct head *head)
{
    struct tunnel *t = exchange->owner;

    t->has_ended = exchange->in_ended;
    if (t->state == TUNNEL_OPENING)
        finish_opening(t, status_of_answer(head->status));
}

static void on_body(struct exchange *exchange, struct slice bytes)
{
    struct tunnel *t = exchange->owner;

    if (t->state == TUNNEL_FAILED) { /* the text of a refusal */
        exchange_consumed(exchange, bytes.len);
        return;
    }
    buf_append(&t->in, bytes);
    tell_readable(t);
}

static void on_end(struct exchange *exchange, const struct fields *trailers)
{
    struct tunnel *t = exchange->owner;

    (void)trailers;
    t->has_ended = true;
    tell_readable(t);
}

static void on_drained(struct exchange *exchange, size_t size_bytes)
{
    (void)size_bytes;
    tell_writable(exchange->owner);
}

static enum status status_of_reset(enum exchange_reset reason)
{
    switch (reason) {
    case RESET_REFUSED:
        return STATUS_AGENT_UNREACHABLE;
    case RESET_LOST:
        return STATUS_AGENT_LOST;
    case RESET_PROTOCOL:
        return STATUS_AGENT_PROTOCOL;
    default: /* RFC 9113 §8.5: CONNECT_ERROR when the TCP connection failed */
        return STATUS_AGENT_RESET;
    }
}

static void on_reset(struct exchange *exchange, enum exchange_reset reason)
{
    struct tunnel *t = exchange->owner;

    if (t->state == TUNNEL_OPENING) {
        finish_opening(t, status_of_reset(reason));
        return;
    }
    t->state = TUNNEL_FAILED;
    tell_readable(t);
    tell_writable(t);
}

static const struct exchange_events exchange_events = {
    .on_interim = on_interim,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_drained = on_drained,
    .on_reset = on_reset,
};

/* --- what the conn tells; each ends the moment it hands over
 * ----------------------------------------------------- */

static void run_opened(struct task *task)
{
    struct tunnel *t = CONTAINER_OF(task, struct tunnel, opened);

    tell_readable(t);
    tell_writable(t);
    t->conn.events->on_open(t->conn.owner, t->status);
}

static void run_readable(struct task *task)
{
    struct tunnel *t = CONTAINER_OF(task, struct tunnel, readable);

    if (t->read_wanted && is_readable(t))
        t->conn.events->on_readable(t->conn.owner);
}

static void run_writable(struct task *task)
{
    struct tunnel *t = CONTAINER_OF(task, struct tunnel, writable);

    t->write_wanted = false;
    t->conn.events->on_writable(t->conn.owner);
}

static void on_deadline(struct timer *timer)
{
    struct tunnel *t = CONTAINER_OF(timer, struct tunnel, deadline);

    exchange_reset(t->exchange, RESET_CANCEL);
    finish_opening(t, STATUS_AGENT_TIMED_OUT);
}

/* --- the operations
 * ---------------------------------------------------------------------------------------- */

static enum status tunnel_read(struct conn *conn, char *into, size_t size_bytes, size_t *out_count)
{
    struct tunnel *t = tunnel_of(conn);
    struct slice bytes = slice_first(buf_slice(&t->in), size_bytes);

    ENSURE(size_bytes > 0);
    if (t->state == TUNNEL_OPENING)
        return STATUS_AGAIN;
    if (bytes.len > 0) {
        memcpy(into, bytes.ptr, bytes.len);
        buf_consume(&t->in, bytes.len);
        exchange_consumed(t->exchange, bytes.len);
        *out_count = bytes.len;
        if (t->read_wanted && is_readable(t))
            task_defer_next(conn->loop, &t->readable);
        return STATUS_OK;
    }
    if (!t->has_ended && t->state != TUNNEL_FAILED)
        return STATUS_AGAIN;
    t->end_was_read = true;
    return t->has_ended ? STATUS_CLOSED : STATUS_SYSTEM;
}

static enum status tunnel_write(struct conn *conn, const struct slice *parts, size_t part_count,
                                size_t *out_count)
{
    struct tunnel *t = tunnel_of(conn);

    *out_count = 0;
    if (t->state == TUNNEL_FAILED || t->exchange->out_ended)
        return STATUS_SYSTEM;

    size_t room = t->state == TUNNEL_OPEN ? room_bytes(t) : 0;
    size_t asked_bytes = 0;

    for (size_t i = 0; i < part_count; i++) {
        struct slice part = slice_first(parts[i], room - *out_count);

        asked_bytes += parts[i].len;
        if (part.len > 0)
            exchange_write(t->exchange, part);
        *out_count += part.len;
    }
    return *out_count > 0 || asked_bytes == 0 ? STATUS_OK : STATUS_AGAIN;
}

static void tunnel_want_read(struct conn *conn, bool enabled)
{
    struct tunnel *t = tunnel_of(conn);

    t->read_wanted = enabled;
    if (enabled && t->state != TUNNEL_OPENING && is_readable(t))
        task_defer_next(conn->loop, &t->readable);
}

static void tunnel_want_write(struct conn *conn)
{
    struct tunnel *t = tunnel_of(conn);

    t->write_wanted = true;
    if (t->state == TUNNEL_FAILED || (t->state == TUNNEL_OPEN && room_bytes(t) > 0))
        task_defer_next(conn->loop, &t->writable);
}

static void tunnel_shutdown(struct conn *conn)
{
    struct tunnel *t = tunnel_of(conn);

    if (t->state == TUNNEL_OPEN && !t->exchange->out_ended)
        exchange_end(t->exchange, NULL);
}

static void tunnel_destroy(struct conn *conn)
{
    struct tunnel *t = tunnel_of(conn);

    timer_cancel(&t->deadline);
    task_cancel(&t->opened);
    task_cancel(&t->readable);
    task_cancel(&t->writable);
    exchange_release(&t->exchange);
    buf_deinit(&t->in);
    mem_free(t);
}

static const struct conn_ops tunnel_ops = {
    .read = tunnel_read,
    .write = tunnel_write,
    .want_read = tunnel_want_read,
    .want_write = tunnel_want_write,
    .shutdown = tunnel_shutdown,
    .destroy = tunnel_destroy,
};

struct conn *conn_tunnel_start(struct http_client *client, uint16_t port, uint64_t timeout_ms,
                               const struct conn_events *events, void *owner)
{
    struct tunnel *t = mem_zeroed(sizeof(*t));
    struct head head = { .method = SLICE("CONNECT"), .content_length = CONTENT_LENGTH_UNKNOWN };

    ENSURE(port != 0);
    snprintf(t->authority, sizeof(t->authority), "127.0.0.1:%u", port);
    head.authority = slice_from_string(t->authority);
    t->conn.ops = &tunnel_ops;
    t->conn.loop = client->loop;
    t->conn.peer = client->link.peer;
    conn_set_owner(&t->conn, events, owner);
    t->window_bytes = client->limits->window_bytes;
    task_init(&t->opened, run_opened);
    task_init(&t->readable, run_readable);
    task_init(&t->writable, run_writable);
    timer_init(&t->deadline, client->loop, on_deadline);
    timer_arm(&t->deadline, timeout_ms);
    t->exchange = http_client_open(client, &head, false, &exchange_events, t);
    return &t->conn;
}
