/* upstream/dialer.c — see the header. Whatever goes wrong is noted where it is seen (end_attempt)
 * and acted on at the end of the turn (on_attempt_ended), because a client may not be destroyed
 * inside its own callback. */
#include "upstream/dialer.h"

#include <stdlib.h>

#include "base/mem.h"
#include "net/name_lookup.h"
#include "net/timer.h"
#include "upstream/conn_tunnel.h"

enum { RETRY_MIN_MS = 25, RETRY_MAX_MS = 250 };

struct dialer {
    struct dialer_options options;
    dialed_fn *on_dialed;
    void *arg;
    char *agent; /* owned; `host` points into it */
    struct slice host;
    struct tls_context *tls; /* a reference */
    bool is_h2;
    bool is_tunnelled;
    uint16_t port; /* 0: as `agent` says */
    struct upstream_pool *pool;
    struct upstream_target carrier;
    bool has_retried;
    bool has_ended; /* this attempt has; `status` says how */
    enum status status;
    struct address address;
    uint64_t deadline_ms;
    struct name_lookup *lookup;
    struct upstream_wait *wait; /* for a client to the carrier */
    struct conn *conn;          /* until the client takes it */
    struct http_client *client; /* until it is handed over */
    struct timer deadline;
    struct timer pause; /* before the second attempt */
    struct task ended;
};

static uint64_t left_ms(const struct dialer *d)
{
    uint64_t now_ms = loop_clock(d->options.loop)->now_ms;

    return now_ms < d->deadline_ms ? d->deadline_ms - now_ms : 0;
}

static void drop_attempt(struct dialer *d)
{
    name_lookup_cancel(&d->lookup);
    upstream_wait_cancel(&d->wait);
    conn_destroy(&d->conn);
    if (d->client != NULL) {
        struct http_client *client = d->client;

        d->client = NULL;
        http_client_destroy(&client);
    }
}

static void dialer_destroy(struct dialer *d)
{
    drop_attempt(d);
    timer_cancel(&d->pause);
    timer_cancel(&d->deadline);
    task_cancel(&d->ended);
    tls_context_unref(&d->tls);
    mem_free(d->agent);
    mem_free(d);
}

static void end_attempt(struct dialer *d, enum status status)
{
    if (d->has_ended && d->status != STATUS_OK)
        return; /* the first failure counts */
    d->has_ended = true;
    d->status = status;
    task_defer(d->options.loop, &d->ended);
}

/* --- the client, until its owner takes it
 * ----------------------------------------------------------------- */

static void on_client_ready(void *owner)
{
    end_attempt(owner, STATUS_OK);
}

static void on_client_capacity(void *owner)
{
    (void)owner;
}

static void on_client_closing(void *owner, enum status reason)
{
    bool is_rubbish = reason == STATUS_AGENT_PROTOCOL || reason == STATUS_MALFORMED;

    end_attempt(owner, is_rubbish ? STATUS_AGENT_PROTOCOL : STATUS_AGENT_UNREACHABLE);
}

static void on_client_closed(void *owner)
{
    end_attempt(owner, STATUS_AGENT_UNREACHABLE);
}

static const struct http_client_events client_events = {
    .on_ready = on_client_ready,
    .on_capacity = on_client_capacity,
    .on_closing = on_client_closing,
    .on_closed = on_client_closed,
};

/* --- the steps
 * -------------------------------------------------------------------------------------------- */

static void make_client(struct dialer *d)
{
    struct conn *conn = d->conn;

    d->conn = NULL;
    if (d->is_h2)
        d->client = h2_client_create(conn, d->options.limits, &client_events, d);
    else
        d->client = h1_client_create(conn, d->options.limits, &client_events, d);
}

static void on_conn_open(void *owner, enum status status)
{
    struct dialer *d = owner;

    if (status == STATUS_MALFORMED)
        end_attempt(d, STATUS_AGENT_PROTOCOL);
    else if (status == STATUS_AGENT_UNREACHABLE && d->port != 0 && d->conn->was_refused)
        end_attempt(d, STATUS_PORT_CLOSED);
    else if (status != STATUS_OK)
        end_attempt(d, status);
    else if (d->is_h2 && d->tls != NULL && !slice_equal(d->conn->tls.alpn, SLICE("h2")))
        end_attempt(d, STATUS_AGENT_PROTOCOL);
    else
        make_client(d);
}

static void on_conn_ready(void *owner)
{
    (void)owner; /* asked for by the client alone */
}

static const struct conn_events conn_events = {
    .on_open = on_conn_open,
    .on_readable = on_conn_ready,
    .on_writable = on_conn_ready,
};

static void connect_now(struct dialer *d)
{
    struct conn_connect_options options = {
        .tls = d->tls,
        .server_name = d->host,
        .timeout_ms = left_ms(d) + 1, /* our own deadline comes first */
    };

    if (allow_list_admits(d->options.allow, &d->address))
        d->conn = conn_connect_start(d->options.loop, &d->address, &options, &conn_events, d);
    else
        end_attempt(d, STATUS_ROUTE_REFUSED);
}

static void on_found(void *arg, enum status status, const struct address *address)
{
    struct dialer *d = arg;

    d->lookup = NULL;
    if (status != STATUS_OK) {
        end_attempt(d, status);
        return;
    }
    d->address = *address;
    connect_now(d);
}

static void open_tunnel(struct dialer *d, struct http_client *carrier)
{
    d->conn = conn_tunnel_start(carrier, d->port, left_ms(d) + 1, &conn_events, d);
}

static void on_carrier_ready(void *arg, enum status status, struct http_client *client)
{
    struct dialer *d = arg;

    d->wait = NULL;
    if (status == STATUS_OK) {
        open_tunnel(d, client);
    } else {
        d->has_retried = true; /* that dial has */
        end_attempt(d, status);
    }
}

static void tunnel_now(struct dialer *d)
{
    struct http_client *client = upstream_pool_take(d->pool, &d->carrier);

    if (client != NULL)
        open_tunnel(d, client);
    else
        d->wait = upstream_wait_start(d->pool, &d->carrier, on_carrier_ready, d);
}

static void on_pause_over(struct timer *timer)
{
    struct dialer *d = CONTAINER_OF(timer, struct dialer, pause);

    if (d->is_tunnelled)
        tunnel_now(d);
    else
        connect_now(d);
}

static void on_deadline(struct timer *timer)
{
    struct dialer *d = CONTAINER_OF(timer, struct dialer, deadline);

    d->has_retried = true;
    end_attempt(d, STATUS_AGENT_TIMED_OUT);
}

/* Certainly before a request, and not for lack of an address: a failed lookup had its own retries.
 */
static bool is_worth_another(const struct dialer *d)
{
    if (d->is_tunnelled)
        return d->status == STATUS_AGENT_UNREACHABLE || d->status == STATUS_AGENT_LOST;
    return (d->status == STATUS_AGENT_UNREACHABLE || d->status == STATUS_PORT_CLOSED) &&
           d->address.len != 0;
}

/* True when a second attempt will be made. */
static bool retry(struct dialer *d)
{
    uint64_t pause_ms = RETRY_MIN_MS + arc4random_uniform(RETRY_MAX_MS - RETRY_MIN_MS + 1);

    if (d->has_retried || !is_worth_another(d) || pause_ms >= left_ms(d))
        return false;
    drop_attempt(d);
    d->has_retried = true;
    d->has_ended = false;
    timer_arm(&d->pause, pause_ms);
    return true;
}

static void on_attempt_ended(struct task *task)
{
    struct dialer *d = CONTAINER_OF(task, struct dialer, ended);
    enum status status = d->status;
    struct http_client *client = NULL;
    dialed_fn *on_dialed = d->on_dialed;
    void *arg = d->arg;

    if (retry(d))
        return;
    if (status == STATUS_OK) {
        client = d->client;
        d->client = NULL;
    }
    dialer_destroy(d);
    on_dialed(arg, status, client);
}

/* Only "host:port"; what else address_parse() takes means listening addresses and Unix sockets. */
static void look_up(struct dialer *d)
{
    struct slice agent = slice_from_string(d->agent);
    uint16_t port = 0;

    if (address_split(agent, &d->host, &port) != STATUS_OK || d->host.len == 0 || port == 0) {
        end_attempt(d, STATUS_ROUTE_REFUSED);
    } else if (address_parse(agent, &d->address) == STATUS_OK) {
        if (d->port != 0)
            address_set_port(&d->address, d->port);
        connect_now(d);
    } else {
        d->address.len = 0;
        d->lookup =
            name_lookup_start(d->options.loop, d->host, d->port != 0 ? d->port : port, on_found, d);
    }
}

struct dialer *dialer_start(const struct dialer_options *options,
                            const struct dialer_target *target, dialed_fn *on_dialed, void *arg)
{
    struct dialer *d = mem_zeroed(sizeof(*d));

    d->options = *options;
    d->on_dialed = on_dialed;
    d->arg = arg;
    d->agent = slice_dup(target->agent);
    d->is_h2 = target->is_h2;
    d->is_tunnelled = target->is_tunnelled;
    d->port = target->port;
    d->pool = target->pool;
    d->carrier = target->carrier;
    d->tls = target->tls != NULL ? tls_context_ref(target->tls) : NULL;
    d->deadline_ms = loop_clock(options->loop)->now_ms + options->connect_ms;
    timer_init(&d->deadline, options->loop, on_deadline);
    timer_init(&d->pause, options->loop, on_pause_over);
    task_init(&d->ended, on_attempt_ended);
    timer_arm(&d->deadline, options->connect_ms);
    if (d->is_tunnelled)
        tunnel_now(d);
    else
        look_up(d);
    return d;
}

void dialer_cancel(struct dialer **dialer)
{
    if (*dialer == NULL)
        return;
    dialer_destroy(*dialer);
    *dialer = NULL;
}
