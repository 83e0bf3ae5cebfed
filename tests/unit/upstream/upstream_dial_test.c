/* Reaching an agent, or not: refusals, silence, rubbish, names, forbidden addresses, back-off and
 * recovery. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "pool_fixture.h"

/* The agent's port, bound but not listening: connections are refused. */
static void refuse(struct fixture *f)
{
    raw_agent_close(&f->agent);
    raw_agent_bind(&f->agent);
    f->target.agent = slice_from_string(f->agent.text);
}

static enum status wait_status(struct fixture *f)
{
    struct waiter w;

    waiter_start(&w, f, false);
    TURN_UNTIL(f, w.was_told);
    return w.status;
}

static uint64_t now_ms(struct fixture *f)
{
    return loop_clock(f->loop)->now_ms;
}

static void a_refused_connection_is_tried_twice_then_unreachable(void **state)
{
    struct fixture *f = *state;
    uint64_t start_ms = now_ms(f);

    refuse(f);
    assert_int_equal(wait_status(f), STATUS_AGENT_UNREACHABLE);
    assert_in_range(now_ms(f) - start_ms, 24, FIXTURE_CONNECT_MS);
    assert_int_equal(COUNT_OF(f, connect_failures), 1);
}

static void the_second_attempt_may_succeed(void **state)
{
    struct fixture *f = *state;
    struct waiter w;

    refuse(f);
    waiter_start(&w, f, false);
    for (unsigned i = 0; i < 5; i++)
        loop_turn(f->loop, 1); /* refused by now; the second attempt comes after 25 ms at least */
    raw_agent_listen(&f->agent, 4);

    int fd = raw_accept(&f->agent, f->loop);

    raw_settings(fd, RAW_UNLIMITED);
    TURN_UNTIL(f, w.was_told);
    assert_int_equal(w.status, STATUS_OK);
    assert_int_equal(COUNT_OF(f, connect_failures), 0);
    close(fd);
}

static void an_agent_that_accepts_and_stays_silent_times_out(void **state)
{
    struct fixture *f = *state;
    uint64_t start_ms = now_ms(f);

    assert_int_equal(wait_status(f), STATUS_AGENT_TIMED_OUT);
    assert_in_range(now_ms(f) - start_ms, FIXTURE_CONNECT_MS - 1, FIXTURE_CONNECT_MS + 1000);
}

static void an_agent_behind_a_black_hole_times_out(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t len = sizeof(address);
    int fillers[4];

    raw_agent_close(&f->agent);
    raw_agent_bind(&f->agent);
    raw_agent_listen(&f->agent, 0); /* never accepts: further SYNs are dropped */
    f->target.agent = slice_from_string(f->agent.text);
    assert_int_equal(getsockname(f->agent.fd, (struct sockaddr *)&address, &len), 0);
    for (unsigned i = 0; i < 4; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(fillers[i], (struct sockaddr *)&address, len);
    }
    assert_int_equal(wait_status(f), STATUS_AGENT_TIMED_OUT);
    for (unsigned i = 0; i < 4; i++)
        close(fillers[i]);
}

static void rubbish_instead_of_settings_is_a_protocol_error(void **state)
{
    struct fixture *f = *state;
    struct waiter w;

    waiter_start(&w, f, false);

    int fd = raw_accept(&f->agent, f->loop);

    raw_send(fd, SLICE("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3 and more of it\r\n"));
    TURN_UNTIL(f, w.was_told);
    assert_int_equal(w.status, STATUS_AGENT_PROTOCOL);
    close(fd);
}

static void a_conn_that_resets_before_settings_is_tried_once_more(void **state)
{
    struct fixture *f = *state;
    struct waiter w;

    waiter_start(&w, f, false);
    raw_reset(raw_accept(&f->agent, f->loop));
    raw_reset(raw_accept(&f->agent, f->loop));
    TURN_UNTIL(f, w.was_told);
    assert_int_equal(w.status, STATUS_AGENT_UNREACHABLE);
}

static void a_name_is_looked_up_and_its_address_checked(void **state)
{
    struct fixture *f = *state;
    char text[64];
    struct waiter w;

    snprintf(text, sizeof(text), "localhost%s", f->agent.text + strlen("127.0.0.1"));
    f->target.agent = slice_from_string(text);
    waiter_start(&w, f, false);

    int fd = raw_accept(&f->agent, f->loop);

    raw_settings(fd, RAW_UNLIMITED);
    TURN_UNTIL(f, w.was_told);
    assert_int_equal(w.status, STATUS_OK);
    close(fd);

    f->options.allow_count = 0;
    fixture_recreate_pool(f);
    assert_int_equal(wait_status(f), STATUS_ROUTE_REFUSED);
}

static void a_cancelled_lookup_is_never_heard_of_again(void **state)
{
    struct fixture *f = *state;
    struct waiter w;

    f->target.agent = SLICE("localhost:1");
    waiter_start(&w, f, false);
    turn_for(f, 1);
    upstream_wait_cancel(&w.wait);
    upstream_pool_destroy(&f->pool);
    turn_for(f, 50);
}

static void addresses_that_are_not_allowed_are_refused_and_not_dialed(void **state)
{
    static const char *const agents[] = { "10.0.0.1:80",
                                          "169.254.169.254:80",
                                          "[::2]:80",
                                          "0.0.0.0:80",
                                          "127.0.0.1:0",
                                          ":80",
                                          "*:80",
                                          "unix:/run/x.sock",
                                          "no-port",
                                          "127.0.0.1:99999",
                                          "" };
    struct fixture *f = *state;
    size_t count = sizeof(agents) / sizeof(agents[0]);

    for (size_t i = 0; i < count; i++) {
        f->target.agent = slice_from_string(agents[i]);
        assert_int_equal(wait_status(f), STATUS_ROUTE_REFUSED);
    }
    assert_int_equal(COUNT_OF(f, refused_addresses), count);
    assert_int_equal(COUNT_OF(f, connects), 0);
}

static void refused_addresses_do_not_open_the_back_off(void **state)
{
    struct fixture *f = *state;

    f->target.agent = SLICE("10.0.0.1:80");
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(wait_status(f), STATUS_ROUTE_REFUSED);
    assert_int_equal(COUNT_OF(f, backoffs), 0);
}

static void failures_in_a_row_fail_fast_until_a_probe_gets_through(void **state)
{
    struct fixture *f = *state;

    refuse(f);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(wait_status(f), STATUS_AGENT_UNREACHABLE);

    uint64_t start_ms = now_ms(f);

    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(wait_status(f), STATUS_AGENT_UNREACHABLE);
    assert_in_range(now_ms(f) - start_ms, 0, FIXTURE_BACKOFF_MS / 2);
    assert_int_equal(COUNT_OF(f, connect_failures), 3); /* nobody was dialed */
    assert_int_equal(COUNT_OF(f, backoffs), 5);

    raw_agent_listen(&f->agent, 4); /* the agent is back */
    turn_for(f, FIXTURE_BACKOFF_MS + 20);

    struct waiter w[3];

    for (unsigned i = 0; i < 3; i++)
        waiter_start(&w[i], f, true);

    int fd = raw_accept(&f->agent, f->loop);

    raw_settings(fd, RAW_UNLIMITED);
    TURN_UNTIL(f, w[2].was_told);
    turn_for(f, 10);
    assert_false(raw_has_arrived(&f->agent)); /* one probe */
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(w[i].status, STATUS_OK);
        raw_answer(fd, 1 + 2 * i);
        TURN_UNTIL(f, w[i].request.has_ended);
        request_close(&w[i].request);
    }
    close(fd);
}

static void conns_that_never_complete_a_stream_open_the_back_off(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 3; i++) {
        struct waiter w;

        waiter_start(&w, f, true);

        int fd = raw_accept(&f->agent, f->loop);

        raw_settings(fd, RAW_UNLIMITED);
        TURN_UNTIL(f, w.was_told);
        turn_for(f, 10);
        raw_reset(fd);
        TURN_UNTIL(f, w.request.was_reset);
        request_close(&w.request);
        TURN_UNTIL(f, COUNT_OF(f, lost) == i + 1);
    }
    turn_for(f, 5);
    assert_int_equal(wait_status(f), STATUS_AGENT_UNREACHABLE);
    assert_int_equal(COUNT_OF(f, backoffs), 1);
    assert_int_equal(COUNT_OF(f, connect_failures), 0);
}

static void an_agent_with_nothing_left_to_remember_is_forgotten(void **state)
{
    struct fixture *f = *state;

    refuse(f);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(wait_status(f), STATUS_AGENT_UNREACHABLE);
    turn_for(f, 4 * FIXTURE_BACKOFF_MS); /* open for ≤ 1, remembered for 2 more */
    assert_int_equal(wait_status(f), STATUS_AGENT_UNREACHABLE);
    assert_int_equal(COUNT_OF(f, connect_failures), 4); /* dialed: not a probe, not fast */
    assert_int_equal(wait_status(f), STATUS_AGENT_UNREACHABLE);
    assert_int_equal(COUNT_OF(f, connect_failures), 5);
}

static void destroying_the_pool_while_dialing_is_safe(void **state)
{
    struct fixture *f = *state;
    struct waiter w[2];

    waiter_start(&w[0], f, false);
    int fd = raw_accept(&f->agent, f->loop); /* waits for SETTINGS */

    f->target.computer_id = SLICE("cmp_2");
    waiter_start(&w[1], f, false); /* not even started */
    upstream_pool_destroy(&f->pool);
    upstream_wait_cancel(&w[0].wait);
    upstream_wait_cancel(&w[1].wait);
    TURN_UNTIL(f, raw_was_closed(fd));
    close(fd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_refused_connection_is_tried_twice_then_unreachable),
        TEST(the_second_attempt_may_succeed),
        TEST(an_agent_that_accepts_and_stays_silent_times_out),
        TEST(an_agent_behind_a_black_hole_times_out),
        TEST(rubbish_instead_of_settings_is_a_protocol_error),
        TEST(a_conn_that_resets_before_settings_is_tried_once_more),
        TEST(a_name_is_looked_up_and_its_address_checked),
        TEST(a_cancelled_lookup_is_never_heard_of_again),
        TEST(addresses_that_are_not_allowed_are_refused_and_not_dialed),
        TEST(refused_addresses_do_not_open_the_back_off),
        TEST(failures_in_a_row_fail_fast_until_a_probe_gets_through),
        TEST(conns_that_never_complete_a_stream_open_the_back_off),
        TEST(an_agent_with_nothing_left_to_remember_is_forgotten),
        TEST(destroying_the_pool_while_dialing_is_safe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
