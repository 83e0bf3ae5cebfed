/* served_agent.c — see the header. */
#include "served_agent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "agent/tunnel.h"
#include "base/mem.h"

enum { SOURCE_HIGH_BYTES = 64 * 1024 };

struct answer {
    struct served_agent *agent;
    struct list link;
    struct exchange *exchange;
    uint64_t port;     /* of a CONNECT */
    size_t echo_bytes; /* in `out`, not yet consumed */
};

static void answer_free(struct answer *answer)
{
    list_unlink(&answer->link);
    exchange_release(&answer->exchange);
    mem_free(answer);
}

static void free_if_finished(struct answer *answer)
{
    if (exchange_is_finished(answer->exchange))
        answer_free(answer);
}

static void pump_source(struct answer *answer)
{
    static const char bytes[4096];

    while (answer->exchange->out.len < SOURCE_HIGH_BYTES)
        exchange_write(answer->exchange, slice_of(bytes, sizeof(bytes)));
}

static void on_body(struct exchange *exchange, struct slice bytes)
{
    struct answer *answer = exchange->owner;

    if (answer->port == SERVED_PORT_SINK)
        return;
    if (answer->port == SERVED_PORT_SOURCE) {
        exchange_consumed(exchange, bytes.len);
    } else {
        exchange_write(exchange, bytes); /* consumed when they have left */
        answer->echo_bytes += bytes.len;
    }
}

static void on_end(struct exchange *exchange, const struct fields *trailers)
{
    struct answer *answer = exchange->owner;

    (void)trailers;
    if (!exchange->out_ended)
        exchange_end(exchange, NULL);
    free_if_finished(answer);
}

static void on_drained(struct exchange *exchange, size_t size_bytes)
{
    struct answer *answer = exchange->owner;

    if (answer->port == SERVED_PORT_SOURCE) {
        answer->agent->source_bytes += size_bytes;
        pump_source(answer);
        return;
    }
    if (size_bytes > answer->echo_bytes)
        size_bytes = answer->echo_bytes; /* the rest was no echo */
    answer->echo_bytes -= size_bytes;
    if (size_bytes > 0)
        exchange_consumed(exchange, size_bytes);
    free_if_finished(answer);
}

static void on_reset(struct exchange *exchange, enum exchange_reset reason)
{
    (void)reason;
    answer_free(exchange->owner);
}

static void on_head(struct exchange *exchange, const struct head *head)
{
    (void)exchange;
    (void)head;
}

static const struct exchange_events answer_events = {
    .on_interim = on_head,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_drained = on_drained,
    .on_reset = on_reset,
};

static void start(struct answer *answer)
{
    struct exchange *exchange = answer->exchange;
    struct head head = { .status = 200, .content_length = CONTENT_LENGTH_UNKNOWN };

    if (answer->port == SERVED_PORT_SILENT)
        return;
    if (answer->port == SERVED_PORT_RESETS) {
        exchange_reset(exchange, RESET_INTERNAL);
        answer_free(answer);
        return;
    }
    exchange_send_head(exchange, &head, false);
    if (answer->port == SERVED_PORT_SOURCE)
        pump_source(answer);
    if (exchange->in_ended) {
        exchange_write(exchange, SLICE("hello"));
        exchange_end(exchange, NULL);
    }
}

static void on_request(void *owner, struct exchange *exchange)
{
    struct served_agent *agent = owner;
    bool is_connect = slice_equal(exchange->request.method, SLICE("CONNECT"));
    struct slice rest = exchange->request.authority;
    uint64_t port = 0;

    agent->request_count++;
    (void)slice_cut(&rest, ':');
    if (is_connect && (!slice_to_u64(rest, &port) || port > SERVED_PORT_SOURCE)) {
        tunnels_open(agent->tunnels, exchange);
        return;
    }

    struct answer *answer = mem_zeroed(sizeof(*answer));

    answer->agent = agent;
    answer->exchange = exchange;
    answer->port = is_connect ? port : 0;
    list_append(&agent->open, &answer->link);
    exchange_set_owner(exchange, &answer_events, answer);
    start(answer);
}

static void on_conn_closed(void *arg)
{
    listener_conn_closed(arg);
}

static void on_conn(void *owner, struct conn *conn)
{
    struct served_agent *agent = owner;

    http_server_accept(agent->server, conn, on_conn_closed, agent->listener);
}

void served_agent_init(struct served_agent *agent, struct loop *loop, struct tls_context *tls)
{
    struct http_server_options options = {
        .limits = &agent->limits, .allow_connect = true, .on_request = on_request, .owner = agent
    };
    struct listener_options listen = {
        .tls = tls, .handshake_timeout_ms = 2000, .max_conns = 100, .inherited_fd = -1
    };
    struct tunnel_options tunnel;

    *agent = (struct served_agent){ .loop = loop };
    list_init(&agent->open);
    http_limits_init(&agent->limits);
    tunnel_options_init(&tunnel);
    tunnel.retry_ms = 0;
    agent->tunnels = tunnels_create(loop, &tunnel);
    agent->server = http_server_create(loop, &options);
    assert_int_equal(address_parse(SLICE("127.0.0.1:0"), &listen.address), STATUS_OK);
    assert_int_equal(listener_create(loop, &listen, on_conn, agent, &agent->listener), STATUS_OK);
    snprintf(agent->text, sizeof(agent->text), "127.0.0.1:%u", served_agent_port(agent));
}

void served_agent_deinit(struct served_agent *agent)
{
    http_server_destroy(&agent->server);
    tunnels_destroy(&agent->tunnels);
    listener_destroy(&agent->listener);
    assert_true(list_is_empty(&agent->open));
}

uint16_t served_agent_port(const struct served_agent *agent)
{
    return address_port(listener_address(agent->listener));
}
