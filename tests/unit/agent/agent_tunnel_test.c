/* CONNECT to a port inside the computer: our own client against a plain program on a loopback
 * socket. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "agent_fixture.h"

#include "base/mem.h"

struct program { /* a blocking-free TCP server of one connection */
    int listener;
    int conn;
    uint16_t port;
};

static void program_start(struct program *p, uint16_t port, bool is_v6)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    struct sockaddr *address = is_v6 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4;
    socklen_t len = is_v6 ? sizeof(v6) : sizeof(v4);
    int on = 1;

    v4.sin_port = v6.sin6_port = htons(port);
    p->listener = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(p->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (is_v6)
        setsockopt(p->listener, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    assert_int_equal(bind(p->listener, address, len), 0);
    assert_int_equal(listen(p->listener, 8), 0);
    assert_int_equal(getsockname(p->listener, address, &len), 0);
    p->port = ntohs(is_v6 ? v6.sin6_port : v4.sin_port);
    p->conn = -1;
}

static bool program_accepts(struct program *p)
{
    if (p->conn == -1)
        p->conn = accept4(p->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return p->conn != -1;
}

static void program_stop(struct program *p)
{
    close(p->listener);
    if (p->conn != -1)
        close(p->conn);
}

/* Has the program been sent exactly this since the last call? 0 bytes and the end: "" */
static bool program_hears(struct program *p, const char *text, bool *out_ended)
{
    char bytes[256];
    ssize_t count = recv(p->conn, bytes, sizeof(bytes), 0);

    if (count == 0)
        *out_ended = true;
    return count > 0 && (size_t)count == strlen(text) && memcmp(bytes, text, (size_t)count) == 0;
}

static void tunnel_open(struct fixture *f, struct rpc_test *t, const char *host, unsigned port);

static const struct exchange_events *test_events_of(struct fixture *f, struct rpc_test *t)
{
    const struct exchange_events *events;

    rpc_open(f, t, "List", "application/json", NULL); /* borrows the fixture's events */
    events = t->exchange->events;
    rpc_close(t);
    return events;
}

static void tunnel_open(struct fixture *f, struct rpc_test *t, const char *host, unsigned port)
{
    const struct exchange_events *events = test_events_of(f, t);
    struct head head = { .method = SLICE("CONNECT"),
                         .scheme = SLICE_EMPTY,
                         .target = SLICE_EMPTY,
                         .protocol = SLICE_EMPTY,
                         .content_length = CONTENT_LENGTH_UNKNOWN };

    head.authority = arena_printf(&f->arena, "%s:%u", host, port);
    t->f = f;
    envelope_reader_init(&t->reader, 1024);
    t->exchange = http_client_open(f->client, &head, false, events, t);
}

static void bytes_pass_both_ways_and_each_end_alone(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *t = rpc_new();
    struct program p;
    bool ended = false;

    program_start(&p, 0, false);
    tunnel_open(f, t, "127.0.0.1", p.port);
    exchange_write(t->exchange, SLICE("early")); /* before the 200 */
    WAIT_FOR(f, t->status != 0 && program_accepts(&p));
    assert_int_equal(t->status, 200);
    WAIT_FOR(f, program_hears(&p, "early", &ended));
    assert_int_equal(send(p.conn, "hello", 5, 0), 5);
    WAIT_FOR(f, t->body.len == 5);
    exchange_end(t->exchange, NULL);
    WAIT_FOR(f, (program_hears(&p, "", &ended), ended));
    assert_int_equal(send(p.conn, " again", 6, 0), 6); /* our end does not end its direction */
    WAIT_FOR(f, t->body.len == 11);
    assert_false(t->is_ended);
    shutdown(p.conn, SHUT_WR);
    WAIT_FOR(f, t->is_ended);
    assert_text(t->body, "hello again");
    WAIT_FOR(f, tunnels_count(guest_agent_tunnels(f->agent)) == 0);
    program_stop(&p);
    rpc_free(&t);
}

static void the_programs_end_leaves_our_direction_open(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *t = rpc_new();
    struct program p;
    bool ended = false;

    program_start(&p, 0, false);
    tunnel_open(f, t, "localhost", p.port);
    WAIT_FOR(f, t->status == 200 && program_accepts(&p));
    shutdown(p.conn, SHUT_WR);
    WAIT_FOR(f, t->is_ended);
    exchange_write(t->exchange, SLICE("still"));
    WAIT_FOR(f, program_hears(&p, "still", &ended));
    exchange_end(t->exchange, NULL);
    WAIT_FOR(f, (program_hears(&p, "", &ended), ended));
    WAIT_FOR(f, tunnels_count(guest_agent_tunnels(f->agent)) == 0);
    program_stop(&p);
    rpc_free(&t);
}

static void a_port_that_opens_within_a_second_is_reached(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *t = rpc_new();
    struct program p;
    uint16_t port;

    program_start(&p, 0, false);
    port = p.port;
    program_stop(&p);
    tunnel_open(f, t, "127.0.0.1", port);
    run_for(f, 300);
    assert_int_equal(t->status, 0);
    program_start(&p, port, false);
    WAIT_FOR(f, t->status != 0);
    assert_int_equal(t->status, 200);
    program_stop(&p);
    rpc_free(&t);
}

static void a_program_on_ipv6_alone_is_reached(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *t = rpc_new();
    struct program p;

    program_start(&p, 0, true);
    tunnel_open(f, t, "127.0.0.1", p.port);
    WAIT_FOR(f, t->status != 0);
    assert_int_equal(t->status, 200);
    program_stop(&p);
    rpc_free(&t);
}

static void a_closed_port_is_502_after_a_second(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *t = rpc_new();
    struct program p;
    uint64_t began_ms = fixture_now_ms();

    program_start(&p, 0, false);
    program_stop(&p);
    tunnel_open(f, t, "127.0.0.1", p.port);
    WAIT_FOR(f, t->is_ended);
    assert_int_equal(t->status, 502);
    assert_has(t->body, "\"unavailable\"");
    assert_true(fixture_now_ms() - began_ms < 3000);
    rpc_free(&t);
}

static void expect_status(struct fixture *f, const char *host, unsigned port, unsigned status)
{
    struct rpc_test *t = rpc_new();

    tunnel_open(f, t, host, port);
    WAIT_FOR(f, t->is_ended);
    assert_int_equal(t->status, status);
    rpc_free(&t);
}

static void other_hosts_and_the_agents_own_port_are_refused(void **state)
{
    struct fixture *f = *state;

    expect_status(f, "10.0.0.1", 80, 403);
    expect_status(f, "169.254.169.254", 80, 403);
    expect_status(f, "example.com", 80, 403);
    expect_status(f, "127.0.0.1", address_port(guest_agent_address(f->agent)), 403);
}

static void much_passes_intact_past_a_slow_reader(void **state)
{
    enum { TOTAL = 5000000 };
    struct fixture *f = *state;
    struct rpc_test *t = rpc_new();
    struct program p;
    static char bytes[65536];
    size_t sent = 0;

    program_start(&p, 0, false);
    tunnel_open(f, t, "127.0.0.1", p.port);
    WAIT_FOR(f, t->status == 200 && program_accepts(&p));
    t->is_paused = true;
    for (int idle = 0; sent < TOTAL;) {
        size_t want = TOTAL - sent < sizeof(bytes) ? TOTAL - sent : sizeof(bytes);

        for (size_t i = 0; i < want; i++)
            bytes[i] = (char)((sent + i) % 251);
        ssize_t count = send(p.conn, bytes, want, 0);

        sent += count > 0 ? (size_t)count : 0;
        idle = count > 0 ? 0 : idle + 1;
        if (idle == 50 && t->is_paused) { /* all is full: the client has had its window */
            assert_true(t->body.len <= 65536);
            rpc_resume(t);
        }
        loop_turn(f->loop, 1);
    }
    shutdown(p.conn, SHUT_WR);
    WAIT_FOR(f, t->is_ended);
    assert_int_equal(t->body.len, TOTAL);
    for (size_t i = 0; i < TOTAL; i++)
        if (buf_slice(&t->body).ptr[i] != (char)(i % 251))
            fail_msg("byte %zu is wrong", i);
    program_stop(&p);
    rpc_free(&t);
}

static void a_lost_client_closes_the_programs_connection(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *t = rpc_new();
    struct program p;
    bool ended = false;

    program_start(&p, 0, false);
    tunnel_open(f, t, "127.0.0.1", p.port);
    WAIT_FOR(f, t->status == 200 && program_accepts(&p));
    rpc_close(t);
    WAIT_FOR(f, (program_hears(&p, "", &ended), ended) || errno == ECONNRESET);
    assert_int_equal(tunnels_count(guest_agent_tunnels(f->agent)), 0);
    program_stop(&p);
    rpc_free(&t);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(bytes_pass_both_ways_and_each_end_alone),
        TEST(the_programs_end_leaves_our_direction_open),
        TEST(a_port_that_opens_within_a_second_is_reached),
        TEST(a_program_on_ipv6_alone_is_reached),
        TEST(a_closed_port_is_502_after_a_second),
        TEST(other_hosts_and_the_agents_own_port_are_refused),
        TEST(much_passes_intact_past_a_slow_reader),
        TEST(a_lost_client_closes_the_programs_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
