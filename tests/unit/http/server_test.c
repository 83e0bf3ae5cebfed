/* server_test.c — how the server picks a codec, counts, drains and ends; and one round over real
 * TCP. */
#include "h1_fixture.h"

#include "net/listener.h"

#define HOST "Host: a.example\r\n"
#define GET_ROOT "GET / HTTP/1.1\r\n" HOST "\r\n"
#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

static const struct conn_memory_options bytewise = { .read_bytes = 1 };

/* The server's SETTINGS come first on every HTTP/2 connection. */
static bool speaks_h2(const struct app *app)
{
    return app->received.len >= 9 && buf_slice(&app->received).ptr[3] == 4;
}

static void the_first_bytes_choose_the_protocol(void **state)
{
    struct app *app = *state;

    app->auto_reply = true;
    for (unsigned pass = 0; pass < 2; pass++) {
        const struct conn_memory_options *options = pass == 0 ? NULL : &bytewise;

        app_connect(app, options);
        app_send(app, SLICE(PREFACE "\0\0\0\4\0\0\0\0\0"));
        assert_true(speaks_h2(app));
        app_connect(app, options);
        app_send(app, SLICE(GET_ROOT));
        assert_true(app_starts(app, "HTTP/1.1 200 "));
        app_connect(app, options);
        app_send(app, SLICE("PROPFIND / HTTP/1.1\r\n" HOST "\r\n")); /* begins like the preface */
        assert_true(app_starts(app, "HTTP/1.1 200 "));
        app_connect(app, options);
        app_send(app, SLICE("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"));
        assert_true(app_starts(app, "HTTP/1.1 505 "));
        assert_true(app_client_is_closed(app));
    }
}

static void connect_tls(struct app *app, struct slice alpn)
{
    static const struct conn_memory_options none = { 0 };

    app_connect(app, &none);
    conn_destroy(&app->client);
    app_turn(app, 4);
    app_clear(app);
    app->client_ended = false;

    struct conn *end;
    conn_memory_pair(app->loop, &none, &app->client, &end);
    conn_set_owner(app->client, app_client_events(), app);
    end->tls = (struct conn_tls_info){ .version = "TLSv1.3", .alpn = alpn };
    http_server_accept(app->server, end, NULL, NULL);
    app_turn(app, 3);
}

static void over_tls_alpn_chooses_the_protocol(void **state)
{
    struct app *app = *state;

    connect_tls(app, SLICE("h2"));
    app_turn(app, 3);
    assert_true(speaks_h2(app)); /* before a byte came */

    connect_tls(app, SLICE("http/1.1"));
    app_send(app, SLICE(GET_ROOT));
    assert_int_equal(app->request_count, 1);
    assert_true(slice_equal(app_request(app, 0)->exchange->request.scheme, SLICE("https")));
    assert_string_equal(app_request(app, 0)->exchange->link->tls.version, "TLSv1.3");

    connect_tls(app, SLICE("")); /* a client without ALPN speaks HTTP/1.1 */
    app_send(app, SLICE(PREFACE));
    assert_true(app_starts(app, "HTTP/1.1 505 "));
}

static void the_link_tells_who_is_there(void **state)
{
    struct app *app = *state;
    char text[ADDRESS_TEXT_BYTES];

    app_connect(app, NULL);
    app_send(app, SLICE(GET_ROOT));
    uint64_t first = app_request(app, 0)->exchange->link->serial;
    assert_string_equal(address_text(&app_request(app, 0)->exchange->link->peer, text),
                        "127.0.0.1:4321");
    assert_null(app_request(app, 0)->exchange->link->tls.version);
    app_connect(app, NULL);
    app_send(app, SLICE(GET_ROOT));
    assert_true(app_request(app, 1)->exchange->link->serial > first);
}

static unsigned freed_count;

static void free_memo(void *memo)
{
    assert_string_equal(memo, "memo");
    freed_count++;
}

static void a_memo_lives_as_long_as_the_connection(void **state)
{
    struct app *app = *state;
    static char memo[] = "memo";

    freed_count = 0;
    app_connect(app, NULL);
    app_send(app, SLICE(GET_ROOT));
    app_request(app, 0)->exchange->link->memo = memo;
    app_request(app, 0)->exchange->link->memo_free = free_memo;
    app_reply(app_request(app, 0), 200, "ok");
    app_release(app_request(app, 0));
    app_turn(app, 3);
    app_send(app, SLICE(GET_ROOT));
    assert_ptr_equal(app_request(app, 1)->exchange->link->memo, memo);
    assert_int_equal(freed_count, 0);
    app_release(app_request(app, 1));
    app_turn(app, 4);
    assert_int_equal(freed_count, 1);
}

static void silence_before_the_first_byte_is_closed_in_time(void **state)
{
    struct app *app = *state;
    static const struct slice starts[] = { SLICE(""), SLICE("PRI * HT") };

    app->limits.head_timeout_ms = 30;
    for (size_t i = 0; i < 2; i++) {
        app_connect(app, NULL);
        app_send(app, starts[i]);
        assert_false(app->client_ended);
        assert_true(app_wait(app, 2000, app_client_is_closed));
        assert_int_equal(counter_read(&http_server_counters(app->server)->closed_head_timeout),
                         i + 1);
    }
    assert_int_equal(app->closed_count, 2);
}

static void connections_are_counted(void **state)
{
    struct app *app = *state;

    app_connect(app, NULL);
    app_send(app, SLICE(GET_ROOT));
    assert_int_equal(http_server_conn_count(app->server), 1);
    assert_int_equal(counter_read(&http_server_counters(app->server)->conns_open), 1);
    conn_destroy(&app->client);
    app_turn(app, 4);
    assert_int_equal(http_server_conn_count(app->server), 0);
    assert_int_equal(counter_read(&http_server_counters(app->server)->conns_open), 0);
    assert_int_equal(counter_read(&http_server_counters(app->server)->conns_total), 1);
    assert_int_equal(app->closed_count, 1);
}

static void a_newcomer_that_leaves_is_forgotten(void **state)
{
    struct app *app = *state;

    app_connect(app, NULL);
    app_send(app, SLICE("PRI"));
    conn_destroy(&app->client);
    app_turn(app, 4);
    assert_int_equal(app->closed_count, 1);
    assert_int_equal(http_server_conn_count(app->server), 0);
}

static void draining_closes_idle_connections_and_finishes_the_others(void **state)
{
    struct app *app = *state;

    app_connect(app, NULL); /* idle */
    app_send(app, SLICE(GET_ROOT));
    app_reply(app_request(app, 0), 200, "ok");
    app_release(app_request(app, 0));
    app_turn(app, 3);
    http_server_drain(app->server, 0);
    http_server_drain(app->server, 0);
    app_turn(app, 4);
    assert_false(app_client_is_closed(app)); /* it was busy a moment ago */
    assert_true(app_wait(app, 5000, app_client_is_closed));
    assert_int_equal(app->closed_count, 1);

    app_restart(app);
    app_connect(app, NULL); /* idle, but the next request was on the way */
    app_send(app, SLICE(GET_ROOT));
    app_reply(app_request(app, 0), 200, "ok");
    app_release(app_request(app, 0));
    app_turn(app, 3);
    http_server_drain(app->server, 0);
    app_turn(app, 4);
    app_send(app, SLICE(GET_ROOT));
    app_reply(app_request(app, 1), 200, "last");
    app_turn(app, 4);
    assert_true(app_contains(app, "Connection: close\r\n\r\nlast"));
    assert_true(app_client_is_closed(app));

    app_restart(app);
    app_connect(app, NULL); /* busy */
    app_send(app, SLICE(GET_ROOT));
    http_server_drain(app->server, 0);
    app_turn(app, 4);
    assert_false(app_client_is_closed(app));
    app_reply(app_request(app, 0), 200, "ok");
    app_turn(app, 4);
    assert_true(app_contains(app, "Connection: close\r\n\r\nok"));
    assert_true(app_client_is_closed(app));

    app_connect(app, NULL); /* new while draining: one request is served */
    app_send(app, SLICE(GET_ROOT));
    app_reply(app_request(app, 1), 200, "ok");
    app_turn(app, 4);
    assert_true(app_contains(app, "Connection: close\r\n\r\nok"));
    assert_true(app_client_is_closed(app));
}

static void a_server_ends_with_connections_in_every_stage(void **state)
{
    struct app *app = *state;
    static const struct slice starts[] = {
        SLICE(""),
        SLICE("PRI *"),
        SLICE("GET / HT"),
        SLICE(GET_ROOT),
        SLICE(PREFACE),
        SLICE(GET_ROOT GET_ROOT),
        SLICE("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\nx: y\r\n"),
    };

    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        app->closed_count = 0;
        app_connect(app, NULL);
        app_send(app, starts[i]);
        app_restart(app);
        assert_int_equal(app->closed_count, 1);
    }
}

/* ---- real sockets ---- */

struct tcp_client {
    struct app *app;
    struct conn *conn;
    struct buf received;
    bool opened, ended;
};

static struct listener *listener;

static void on_tcp_conn(void *owner, struct conn *conn)
{
    struct app *app = owner;

    http_server_accept(app->server, conn, NULL, NULL);
    listener_conn_closed(listener);
}

static void tcp_opened(void *owner, enum status status)
{
    struct tcp_client *client = owner;

    assert_int_equal(status, STATUS_OK);
    client->opened = true;
    conn_want_read(client->conn, true);
}

static void tcp_readable(void *owner)
{
    struct tcp_client *client = owner;
    size_t count = 0;
    enum status status =
        conn_read(client->conn, buf_reserve(&client->received, 4096), 4096, &count);

    if (status == STATUS_OK)
        buf_commit(&client->received, count);
    else if (status != STATUS_AGAIN)
        client->ended = true;
}

static void tcp_writable(void *owner)
{
    (void)owner;
}

static const struct conn_events tcp_events = {
    .on_open = tcp_opened,
    .on_readable = tcp_readable,
    .on_writable = tcp_writable,
};

static void requests_are_served_over_tcp(void **state)
{
    struct app *app = *state;
    struct listener_options options = { .max_conns = 10, .inherited_fd = -1 };
    struct tcp_client client = { .app = app };
    size_t count;

    app->auto_reply = true;
    assert_int_equal(address_parse(SLICE("127.0.0.1:0"), &options.address), STATUS_OK);
    assert_int_equal(listener_create(app->loop, &options, on_tcp_conn, app, &listener), STATUS_OK);
    client.conn = conn_connect_start(app->loop, listener_address(listener),
                                     &(struct conn_connect_options){ .timeout_ms = 1000 },
                                     &tcp_events, &client);
    for (unsigned i = 0; i < 200 && !client.opened; i++)
        loop_turn(app->loop, 10);
    assert_int_equal(
        conn_write(client.conn,
                   &SLICE(GET_ROOT "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n"), 1,
                   &count),
        STATUS_OK);
    for (unsigned i = 0; i < 200 && !client.ended; i++)
        loop_turn(app->loop, 10);
    assert_true(slice_equal(buf_slice(&client.received),
                            SLICE("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                                  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
                                  "Connection: close\r\n\r\nok")));
    conn_destroy(&client.conn);
    buf_deinit(&client.received);
    app_turn(app, 3);
    listener_destroy(&listener);
}

#define T(name) cmocka_unit_test_setup_teardown(name, app_setup, app_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_first_bytes_choose_the_protocol),
        T(over_tls_alpn_chooses_the_protocol),
        T(the_link_tells_who_is_there),
        T(a_memo_lives_as_long_as_the_connection),
        T(silence_before_the_first_byte_is_closed_in_time),
        T(connections_are_counted),
        T(a_newcomer_that_leaves_is_forgotten),
        T(draining_closes_idle_connections_and_finishes_the_others),
        T(a_server_ends_with_connections_in_every_stage),
        T(requests_are_served_over_tcp),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
