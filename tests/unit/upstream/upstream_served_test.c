/* The pool against our own HTTP server: in clear and over TLS, and ports of a computer, by tunnel
 * and directly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/tunnel.h"
#include "base/mem.h"
#include "pool_fixture.h"
#include "served_agent.h"

struct served_fixture {
    struct fixture *base;
    struct served_agent agent;
    struct served_agent app; /* what listens on a port of the computer */
};

static int setup(void **state)
{
    struct served_fixture *s = mem_zeroed(sizeof(*s));
    void *base;

    fixture_setup(&base);
    s->base = base;
    served_agent_init(&s->agent, s->base->loop, NULL);
    served_agent_init(&s->app, s->base->loop, NULL);
    s->base->target.agent = slice_from_string(s->agent.text);
    s->base->options.idle_ms = 60000;
    fixture_recreate_pool(s->base);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct served_fixture *s = *state;
    void *base = s->base;

    upstream_pool_destroy(&s->base->pool);
    served_agent_deinit(&s->agent);
    served_agent_deinit(&s->app);
    fixture_teardown(&base);
    mem_free(s);
    return 0;
}

/* Asks the target once, by a conn that is there or a new one; returns the response's status, or 0
 * and why. */
static unsigned ask(struct fixture *f, enum status *out_status)
{
    struct http_client *client = upstream_pool_take(f->pool, &f->target);
    struct waiter w = { .status = STATUS_OK };
    struct request *r = &w.request;

    if (client != NULL) {
        request_open(r, client);
    } else {
        waiter_start(&w, f, true);
        TURN_UNTIL(f, w.was_told);
    }
    *out_status = w.status;
    if (w.status != STATUS_OK)
        return 0;
    TURN_UNTIL(f, r->has_ended || r->was_reset);
    request_close(r);
    turn_for(f, 5);
    return r->status;
}

static void expect_ok(struct fixture *f, unsigned times)
{
    enum status status;

    for (unsigned i = 0; i < times; i++) {
        assert_int_equal(ask(f, &status), 200);
        assert_int_equal(status, STATUS_OK);
    }
}

static enum status expect_failure(struct fixture *f)
{
    enum status status;

    assert_int_equal(ask(f, &status), 0);
    return status;
}

static void h2c_requests_share_one_conn(void **state)
{
    struct served_fixture *s = *state;
    struct request r[50];

    expect_ok(s->base, 3);
    for (unsigned i = 0; i < 50; i++)
        request_open(&r[i], upstream_pool_take(s->base->pool, &s->base->target));
    for (unsigned i = 0; i < 50; i++) {
        TURN_UNTIL(s->base, r[i].has_ended);
        request_close(&r[i]);
    }
    assert_int_equal(COUNT_OF(s->base, connects), 1);
    assert_int_equal(http_server_conn_count(s->agent.server), 1);
    assert_int_equal(s->agent.request_count, 53);
}

static void http1_requests_follow_each_other_on_one_conn(void **state)
{
    struct served_fixture *s = *state;

    s->base->target.protocol = UPSTREAM_H1;
    expect_ok(s->base, 20);
    assert_int_equal(COUNT_OF(s->base, connects), 1);
    assert_int_equal(COUNT_OF(s->base, reuses), 19);
}

static void a_drained_agent_is_dialed_anew(void **state)
{
    struct served_fixture *s = *state;

    expect_ok(s->base, 1);
    http_server_drain(s->agent.server, 0);
    TURN_UNTIL(s->base, COUNT_OF(s->base, conns_open) == 0);
    assert_int_equal(COUNT_OF(s->base, lost), 0);
    assert_int_equal(COUNT_OF(s->base, goaways), 1);
}

/* --- TLS
 * ----------------------------------------------------------------------------------------------------
 */

struct tls_files {
    char folder[32], certificate[64], key[64];
};

static void make_files(struct tls_files *files, const char *name)
{
    strcpy(files->folder, "/tmp/upstream-test-XXXXXX");
    assert_non_null(mkdtemp(files->folder));
    snprintf(files->certificate, sizeof(files->certificate), "%s/cert.pem", files->folder);
    snprintf(files->key, sizeof(files->key), "%s/key.pem", files->folder);
    assert_int_equal(tls_write_self_signed(files->certificate, files->key, &name, 1), STATUS_OK);
}

static void remove_files(const struct tls_files *files)
{
    unlink(files->certificate);
    unlink(files->key);
    rmdir(files->folder);
}

static struct tls_context *server_context(const struct tls_files *files, bool offer_h2)
{
    const struct tls_certificate certificate = { files->certificate, files->key };
    const struct tls_server_options options = { .certificates = &certificate,
                                                .certificate_count = 1,
                                                .offer_h2 = offer_h2 };
    struct tls_context *context = NULL;

    assert_int_equal(tls_context_create_server(&options, NULL, &context), STATUS_OK);
    return context;
}

static struct tls_context *client_context(const struct tls_files *files, struct slice alpn)
{
    const struct tls_client_options options = { .ca_file = files->certificate, .alpn = alpn };
    struct tls_context *context = NULL;

    assert_int_equal(tls_context_create_client(&options, NULL, &context), STATUS_OK);
    return context;
}

/* What comes of a request with h2 over TLS to a server with this certificate. */
static void with_tls(struct served_fixture *s, const char *name, bool offer_h2,
                     enum status expected)
{
    struct tls_files files;
    struct served_agent agent;

    make_files(&files, name);

    struct tls_context *server = server_context(&files, offer_h2);
    struct tls_context *client = client_context(&files, offer_h2 ? SLICE("h2") : SLICE_EMPTY);

    served_agent_init(&agent, s->base->loop, server);
    s->base->target.agent = slice_from_string(agent.text);
    s->base->target.tls = client;
    if (expected == STATUS_OK)
        expect_ok(s->base, 3);
    else
        assert_int_equal(expect_failure(s->base), expected);
    upstream_pool_forget(s->base->pool, s->base->target.computer_id);
    turn_for(s->base, 20);
    served_agent_deinit(&agent);
    tls_context_unref(&client);
    tls_context_unref(&server);
    remove_files(&files);
}

static void h2_over_tls_needs_alpn_and_the_right_name(void **state)
{
    struct served_fixture *s = *state;

    with_tls(s, "127.0.0.1", true, STATUS_OK);
    assert_int_equal(COUNT_OF(s->base, connects), 1);
    with_tls(s, "127.0.0.1", false, STATUS_AGENT_PROTOCOL);
    with_tls(s, "other.example", true, STATUS_AGENT_PROTOCOL);
}

static void a_renewed_tls_context_retires_conns_in_peace(void **state)
{
    struct served_fixture *s = *state;
    struct fixture *f = s->base;
    struct tls_files files;
    struct served_agent agent;
    struct request r;

    make_files(&files, "127.0.0.1");

    struct tls_context *server = server_context(&files, true);
    struct tls_context *old = client_context(&files, SLICE("h2"));
    struct tls_context *new = client_context(&files, SLICE("h2"));

    served_agent_init(&agent, f->loop, server);
    f->target.agent = slice_from_string(agent.text);
    f->target.tls = old;
    expect_ok(f, 1);
    request_open_unended(&r, upstream_pool_take(f->pool, &f->target));
    f->target.tls = new;
    assert_null(upstream_pool_take(f->pool, &f->target));
    expect_ok(f, 2);
    assert_int_equal(COUNT_OF(f, connects), 2);
    assert_false(r.was_reset);
    exchange_end(r.exchange, NULL);
    TURN_UNTIL(f, r.has_ended);
    request_close(&r);
    TURN_UNTIL(f, COUNT_OF(f, conns_open) == 1);
    upstream_pool_forget(f->pool, f->target.computer_id);
    turn_for(f, 20);
    served_agent_deinit(&agent);
    tls_context_unref(&old);
    tls_context_unref(&new);
    tls_context_unref(&server);
    remove_files(&files);
}

/* --- published ports
 * ---------------------------------------------------------------------------------------- */

static void aim_at_app(struct served_fixture *s, enum upstream_protocol protocol,
                       enum upstream_via via)
{
    s->base->target.port = served_agent_port(&s->app);
    s->base->target.protocol = protocol;
    s->base->target.via = via;
}

static void a_port_is_reached_through_the_agent(void **state)
{
    struct served_fixture *s = *state;

    expect_ok(s->base, 1); /* the agent itself: its conn carries the tunnels */
    aim_at_app(s, UPSTREAM_H1, UPSTREAM_VIA_AGENT);
    expect_ok(s->base, 5);
    assert_int_equal(s->app.request_count, 5);
    assert_int_equal(s->agent.request_count, 2); /* one of them a CONNECT */
    assert_int_equal(tunnels_count(s->agent.tunnels), 1);
    assert_int_equal(http_server_conn_count(s->agent.server), 1);
    assert_int_equal(http_server_conn_count(s->app.server), 1);
}

static void a_port_may_speak_h2_and_needs_no_conn_to_the_agent_before(void **state)
{
    struct served_fixture *s = *state;

    aim_at_app(s, UPSTREAM_H2, UPSTREAM_VIA_AGENT);
    expect_ok(s->base, 5);
    assert_int_equal(s->app.request_count, 5);
    assert_int_equal(tunnels_count(s->agent.tunnels), 1);
}

static void a_port_may_be_reached_directly(void **state)
{
    struct served_fixture *s = *state;

    s->base->target.agent = SLICE("127.0.0.1:1"); /* the host counts */
    aim_at_app(s, UPSTREAM_H1, UPSTREAM_VIA_DIRECT);
    expect_ok(s->base, 5);
    assert_int_equal(s->app.request_count, 5);
    assert_int_equal(s->agent.request_count, 0);
    s->base->target.agent = SLICE("10.0.0.1:1");
    assert_int_equal(expect_failure(s->base), STATUS_ROUTE_REFUSED);
}

static void a_closed_port_is_told_each_time_and_never_backs_off(void **state)
{
    struct served_fixture *s = *state;
    struct raw_agent deaf;
    uint64_t port = 0;

    raw_agent_bind(&deaf);
    assert_true(
        slice_to_u64(slice_skip(slice_from_string(deaf.text), strlen("127.0.0.1:")), &port));
    aim_at_app(s, UPSTREAM_H1, UPSTREAM_VIA_AGENT);
    s->base->target.port = (uint16_t)port;
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(expect_failure(s->base), STATUS_PORT_CLOSED);
    assert_int_equal(COUNT_OF(s->base, backoffs), 0);
    raw_agent_close(&deaf);
}

static void a_port_of_an_unreachable_agent_is_unreachable(void **state)
{
    struct served_fixture *s = *state;

    raw_agent_close(&s->base->agent); /* nothing listens there */
    s->base->target.agent = slice_from_string(s->base->agent.text);
    aim_at_app(s, UPSTREAM_H1, UPSTREAM_VIA_AGENT);
    assert_int_equal(expect_failure(s->base), STATUS_AGENT_UNREACHABLE);
}

static void another_boot_drops_the_ports_of_the_old_one(void **state)
{
    struct served_fixture *s = *state;
    struct fixture *f = s->base;
    struct upstream_target agent_target = f->target;

    aim_at_app(s, UPSTREAM_H1, UPSTREAM_VIA_DIRECT);
    expect_ok(f, 1);
    aim_at_app(s, UPSTREAM_H1, UPSTREAM_VIA_AGENT);
    expect_ok(f, 1);
    assert_int_equal(http_server_conn_count(s->app.server), 2);
    agent_target.boot = SLICE("boot_2");
    assert_null(upstream_pool_take(f->pool, &agent_target));
    TURN_UNTIL(f, http_server_conn_count(s->app.server) == 0);
    TURN_UNTIL(f, COUNT_OF(f, conns_open) == 0);
}

static void forgetting_a_computer_closes_its_ports(void **state)
{
    struct served_fixture *s = *state;
    struct fixture *f = s->base;

    aim_at_app(s, UPSTREAM_H2, UPSTREAM_VIA_AGENT);
    expect_ok(f, 1);
    upstream_pool_forget(f->pool, f->target.computer_id);
    TURN_UNTIL(f, http_server_conn_count(s->app.server) == 0);
    TURN_UNTIL(f, COUNT_OF(f, conns_open) == 0);
    expect_ok(f, 1);
}

static void losing_the_agent_loses_the_exchanges_in_its_tunnels(void **state)
{
    struct served_fixture *s = *state;
    struct fixture *f = s->base;
    struct request r;

    aim_at_app(s, UPSTREAM_H1, UPSTREAM_VIA_AGENT);
    expect_ok(f, 1);
    request_open_unended(&r, upstream_pool_take(f->pool, &f->target));
    turn_for(f, 20);
    http_server_destroy(&s->agent.server);
    TURN_UNTIL(f, r.was_reset);
    assert_int_equal(r.reason, RESET_LOST);
    request_close(&r);
    TURN_UNTIL(f, COUNT_OF(f, conns_open) == 0);
}

static void destroying_the_pool_ends_tunnels_and_those_being_opened(void **state)
{
    struct served_fixture *s = *state;
    struct fixture *f = s->base;
    struct request r;
    struct waiter opening, waiting;

    aim_at_app(s, UPSTREAM_H1, UPSTREAM_VIA_AGENT);
    expect_ok(f, 1);
    request_open_unended(&r, upstream_pool_take(f->pool, &f->target));
    f->target.port = SERVED_PORT_SILENT;
    waiter_start(&opening, f, false);
    turn_for(f, 20);
    f->target.computer_id = SLICE("cmp_2"); /* its agent is not even dialed */
    waiter_start(&waiting, f, false);
    loop_turn(f->loop, 0);
    upstream_pool_destroy(&f->pool);
    assert_true(r.was_reset);
    upstream_wait_cancel(&opening.wait);
    upstream_wait_cancel(&waiting.wait);
    request_close(&r);
    TURN_UNTIL(f, tunnels_count(s->agent.tunnels) == 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(h2c_requests_share_one_conn),
        TEST(http1_requests_follow_each_other_on_one_conn),
        TEST(a_drained_agent_is_dialed_anew),
        TEST(h2_over_tls_needs_alpn_and_the_right_name),
        TEST(a_renewed_tls_context_retires_conns_in_peace),
        TEST(a_port_is_reached_through_the_agent),
        TEST(a_port_may_speak_h2_and_needs_no_conn_to_the_agent_before),
        TEST(a_port_may_be_reached_directly),
        TEST(a_closed_port_is_told_each_time_and_never_backs_off),
        TEST(a_port_of_an_unreachable_agent_is_unreachable),
        TEST(another_boot_drops_the_ports_of_the_old_one),
        TEST(forgetting_a_computer_closes_its_ports),
        TEST(losing_the_agent_loses_the_exchanges_in_its_tunnels),
        TEST(destroying_the_pool_ends_tunnels_and_those_being_opened),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
