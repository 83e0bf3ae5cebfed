/* agent/tunnel.c — see tunnel.h.
 *
 *     CONNECTING ──▶ OPEN ──▶ gone
 *        └─ refused for retry_ms ──▶ 502
 *
 * Towards the program: on_body → `pending` → conn; the client's window opens as bytes leave. From
 * the program: conn → exchange; reading stops while the exchange's output is full. */
#include "agent/tunnel.h"

#include "agent/plain_reply.h"
#include "base/mem.h"
#include "net/timer.h"

enum { CHUNK_BYTES = 64 * 1024, READS_PER_WAKE = 4, RETRY_PAUSE_MS = 50 };

struct tunnels {
    struct loop *loop;
    struct tunnel_options options;
    struct list open;
    size_t count;
};

struct tunnel {
    struct tunnels *owner;
    struct list link;
    struct exchange *exchange;
    struct conn *conn; /* NULL between attempts */
    struct address targets[2];
    size_t target_count;
    size_t attempt;
    uint64_t give_up_ms;
    struct timer retry;
    bool is_open;
    struct buf pending; /* from the client, not yet written */
    bool client_ended;  /* shut down the conn after `pending` */
    bool program_ended;
};

/* Bytes rest here within one call only. */
static _Thread_local char chunk[CHUNK_BYTES];

void tunnel_options_init(struct tunnel_options *options)
{
    *options = (struct tunnel_options){
        .retry_ms = 1000,
        .connect_timeout_ms = 1000,
        .high_bytes = 64 * 1024,
    };
}

static void tunnel_free(struct tunnel *t)
{
    timer_cancel(&t->retry);
    conn_destroy(&t->conn);
    exchange_release(&t->exchange);
    buf_deinit(&t->pending);
    list_unlink(&t->link);
    t->owner->count--;
    mem_free(t);
}

static void tunnel_break(struct tunnel *t)
{
    exchange_reset(t->exchange, RESET_INTERNAL);
    tunnel_free(t);
}

/* Last line of its callers: the tunnel may be gone. */
static void free_if_done(struct tunnel *t)
{
    if (t->program_ended && t->client_ended && t->pending.len == 0 && t->exchange->out.len == 0)
        tunnel_free(t);
}

/* ---- client to program ---- */

/* False: the tunnel is gone. */
static bool flush_pending(struct tunnel *t)
{
    while (t->pending.len > 0) {
        struct slice bytes = buf_slice(&t->pending);
        size_t count = 0;
        enum status status = conn_write(t->conn, &bytes, 1, &count);

        if (status == STATUS_AGAIN) {
            conn_want_write(t->conn);
            return true;
        }
        if (status != STATUS_OK) {
            tunnel_break(t);
            return false;
        }
        buf_consume(&t->pending, count);
        exchange_consumed(t->exchange, count);
    }
    if (t->client_ended)
        conn_shutdown(t->conn);
    return true;
}

static void on_body(struct exchange *exchange, struct slice bytes)
{
    struct tunnel *t = exchange->owner;
    bool was_empty = t->pending.len == 0;

    buf_append(&t->pending, bytes);
    if (t->is_open && was_empty)
        (void)flush_pending(t);
}

static void on_end(struct exchange *exchange, const struct fields *trailers)
{
    struct tunnel *t = exchange->owner;
    (void)trailers;

    t->client_ended = true;
    if (t->is_open && t->pending.len == 0 && flush_pending(t))
        free_if_done(t);
}

/* ---- program to client ---- */

static void on_readable(void *owner)
{
    struct tunnel *t = owner;
    enum status status = STATUS_OK;

    for (int i = 0; i < READS_PER_WAKE && status == STATUS_OK; i++) {
        size_t count = 0;

        if (t->exchange->out.len >= t->owner->options.high_bytes) {
            conn_want_read(t->conn, false); /* on_drained turns it on again */
            return;
        }
        status = conn_read(t->conn, chunk, CHUNK_BYTES, &count);
        if (status == STATUS_OK) {
            exchange_write(t->exchange, slice_of(chunk, count));
            if (count < CHUNK_BYTES)
                return;
        }
    }
    if (status == STATUS_CLOSED) {
        t->program_ended = true;
        exchange_end(t->exchange, NULL);
        free_if_done(t);
    } else if (status != STATUS_OK && status != STATUS_AGAIN) {
        tunnel_break(t);
    }
}

static void on_drained(struct exchange *exchange, size_t size_bytes)
{
    struct tunnel *t = exchange->owner;
    (void)size_bytes;

    if (t->is_open && !t->program_ended && exchange->out.len < t->owner->options.high_bytes / 2)
        conn_want_read(t->conn, true);
    free_if_done(t);
}

static void on_writable(void *owner)
{
    struct tunnel *t = owner;

    if (flush_pending(t))
        free_if_done(t);
}

/* ---- opening ---- */

static void attempt(struct tunnel *t);

static void on_retry(struct timer *timer)
{
    attempt(CONTAINER_OF(timer, struct tunnel, retry));
}

static void refuse(struct tunnel *t)
{
    struct exchange *exchange = t->exchange;
    size_t unconsumed = t->pending.len;

    t->exchange = NULL;
    tunnel_free(t);
    exchange_consumed(exchange, unconsumed);
    plain_reply_error(exchange, 502, "unavailable", SLICE("nothing listens on this port"));
}

static void open_up(struct tunnel *t)
{
    struct head head = { .status = 200, .content_length = CONTENT_LENGTH_UNKNOWN };

    t->is_open = true;
    exchange_send_head(t->exchange, &head, false);
    conn_want_read(t->conn, true);
    (void)flush_pending(t);
}

static void on_open(void *owner, enum status status)
{
    struct tunnel *t = owner;

    if (status == STATUS_OK) {
        open_up(t);
        return;
    }
    conn_destroy(&t->conn);
    if (loop_clock(t->owner->loop)->now_ms >= t->give_up_ms)
        refuse(t);
    else if (t->attempt % t->target_count != 0)
        attempt(t); /* the other address at once */
    else
        timer_arm(&t->retry, RETRY_PAUSE_MS);
}

static const struct conn_events conn_events = {
    .on_open = on_open,
    .on_readable = on_readable,
    .on_writable = on_writable,
};

static void attempt(struct tunnel *t)
{
    const struct conn_connect_options options = {
        .server_name = SLICE_EMPTY,
        .timeout_ms = t->owner->options.connect_timeout_ms,
    };

    t->conn = conn_connect_start(t->owner->loop, &t->targets[t->attempt++ % t->target_count],
                                 &options, &conn_events, t);
}

static void on_unexpected_head(struct exchange *exchange, const struct head *head)
{
    (void)exchange;
    (void)head; /* client side only */
}

static void on_reset(struct exchange *exchange, enum exchange_reset reason)
{
    (void)reason;
    tunnel_free(exchange->owner);
}

static const struct exchange_events tunnel_events = {
    .on_interim = on_unexpected_head,
    .on_head = on_unexpected_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_drained = on_drained,
    .on_reset = on_reset,
};

static void add_target(struct tunnel *t, struct slice address, uint16_t port)
{
    ENSURE(address_parse(address, &t->targets[t->target_count]) == STATUS_OK);
    address_set_port(&t->targets[t->target_count++], port);
}

static bool set_targets(struct tunnel *t, struct slice host, uint16_t port)
{
    bool is_v6 = slice_equal(host, SLICE("::1"));

    if (!is_v6 && !slice_equal(host, SLICE("127.0.0.1")) &&
        !slice_equal_nocase(host, SLICE("localhost")))
        return false;
    if (is_v6)
        add_target(t, SLICE("[::1]:0"), port);
    add_target(t, SLICE("127.0.0.1:0"), port);
    if (!is_v6)
        add_target(t, SLICE("[::1]:0"), port);
    return true;
}

void tunnels_open(struct tunnels *tunnels, struct exchange *exchange)
{
    struct slice host;
    uint16_t port;

    if (address_split(exchange->request.authority, &host, &port) != STATUS_OK || port == 0) {
        plain_reply_error(exchange, 400, "invalid_argument",
                          SLICE("authority must be a loopback address and a port"));
        return;
    }

    struct tunnel *t = mem_zeroed(sizeof(*t));

    if (!set_targets(t, host, port) || port == tunnels->options.own_port) {
        mem_free(t);
        plain_reply_error(exchange, 403, "permission_denied",
                          SLICE("only ports of this computer, and not the agent's own"));
        return;
    }
    t->owner = tunnels;
    t->exchange = exchange;
    t->client_ended = exchange->in_ended;
    t->give_up_ms = loop_clock(tunnels->loop)->now_ms + tunnels->options.retry_ms;
    timer_init(&t->retry, tunnels->loop, on_retry);
    list_append(&tunnels->open, &t->link);
    tunnels->count++;
    exchange_set_owner(exchange, &tunnel_events, t);
    attempt(t);
}

/* ---- all of them ---- */

struct tunnels *tunnels_create(struct loop *loop, const struct tunnel_options *options)
{
    struct tunnels *tunnels = mem_zeroed(sizeof(*tunnels));

    tunnels->loop = loop;
    tunnels->options = *options;
    list_init(&tunnels->open);
    return tunnels;
}

void tunnels_destroy(struct tunnels **tunnels)
{
    struct tunnels *t = *tunnels;

    if (t == NULL)
        return;
    while (!list_is_empty(&t->open))
        tunnel_free(LIST_FIRST(&t->open, struct tunnel, link));
    mem_free(t);
    *tunnels = NULL;
}

void tunnels_set_own_port(struct tunnels *tunnels, uint16_t port)
{
    tunnels->options.own_port = port;
}

size_t tunnels_count(const struct tunnels *tunnels)
{
    return tunnels->count;
}
