/* The pool against HTTP/1.1 agents: one exchange at a time on each conn, kept alive, the last used
 * first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "pool_fixture.h"

static int h1_setup(void **state)
{
    int result = fixture_setup(state);
    struct fixture *f = *state;

    f->target.protocol = UPSTREAM_H1;
    return result;
}

static void answer(int fd)
{
    raw_send(fd, SLICE("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
}

/* A waiter with an open request; returns the agent's side of the conn. */
static int connect_request(struct fixture *f, struct waiter *w)
{
    waiter_start(w, f, true);

    int fd = raw_accept(&f->agent, f->loop);

    TURN_UNTIL(f, w->was_told);
    assert_int_equal(w->status, STATUS_OK);
    return fd;
}

static void finish(struct fixture *f, int fd, struct request *request)
{
    answer(fd);
    TURN_UNTIL(f, request->has_ended);
    assert_int_equal(request->status, 200);
    request_close(request);
    turn_for(f, 5);
}

static void a_conn_is_used_again_after_its_exchange(void **state)
{
    struct fixture *f = *state;
    struct waiter w;
    struct request r;
    int fd = connect_request(f, &w);

    assert_null(upstream_pool_take(f->pool, &f->target)); /* it is busy */
    finish(f, fd, &w.request);
    request_open(&r, upstream_pool_take(f->pool, &f->target));
    assert_null(upstream_pool_take(f->pool, &f->target));
    finish(f, fd, &r);
    assert_int_equal(COUNT_OF(f, connects), 1);
    assert_int_equal(COUNT_OF(f, reuses), 1);
    assert_int_equal(COUNT_OF(f, streams_open), 0);
    close(fd);
}

static void each_wait_has_its_conn_up_to_the_limit_then_waits_for_one(void **state)
{
    struct fixture *f = *state;
    struct waiter w[3];
    int first = connect_request(f, &w[0]);
    int second = connect_request(f, &w[1]);

    waiter_start(&w[2], f, true);
    turn_for(f, 30);
    assert_false(w[2].was_told);
    assert_false(raw_has_arrived(&f->agent));
    answer(first);
    TURN_UNTIL(f, w[2].was_told);
    assert_int_equal(w[2].status, STATUS_OK);
    finish(f, second, &w[1].request);
    finish(f, first, &w[2].request);
    request_close(&w[0].request);
    assert_int_equal(COUNT_OF(f, connects), 2);
    close(first);
    close(second);
}

static void waiting_for_a_busy_conn_ends_as_busy(void **state)
{
    struct fixture *f = *state;
    struct waiter w[3];
    int first = connect_request(f, &w[0]);
    int second = connect_request(f, &w[1]);

    waiter_start(&w[2], f, false);
    TURN_UNTIL(f, w[2].was_told);
    assert_int_equal(w[2].status, STATUS_AGENT_BUSY);
    request_close(&w[0].request);
    request_close(&w[1].request);
    close(first);
    close(second);
}

static void the_conn_that_was_used_last_is_used_first(void **state)
{
    struct fixture *f = *state;
    struct waiter w[2];
    struct request r;
    int first = connect_request(f, &w[0]);
    int second = connect_request(f, &w[1]);

    finish(f, second, &w[1].request);
    finish(f, first, &w[0].request);
    for (unsigned i = 0; i < 3; i++) {
        request_open(&r, upstream_pool_take(f->pool, &f->target));
        finish(f, first, &r);
    }
    close(first);
    close(second);
}

static void an_idle_conn_leaves_after_its_time_and_used_ones_stay(void **state)
{
    struct fixture *f = *state;
    struct waiter w[2];
    struct request r;
    int first = connect_request(f, &w[0]);
    int second = connect_request(f, &w[1]);

    finish(f, second, &w[1].request);
    finish(f, first, &w[0].request);
    for (unsigned i = 0; i < 4; i++) {
        turn_for(f, FIXTURE_IDLE_MS / 3);
        request_open(&r, upstream_pool_take(f->pool, &f->target));
        finish(f, first, &r);
    }
    assert_true(raw_was_closed(second));
    assert_false(raw_was_closed(first));
    TURN_UNTIL(f, raw_was_closed(first));
    TURN_UNTIL(f, COUNT_OF(f, conns_open) == 0);
    close(first);
    close(second);
}

static void a_conn_that_the_agent_closes_while_idle_is_not_used(void **state)
{
    struct fixture *f = *state;
    struct waiter w;
    int fd = connect_request(f, &w);

    finish(f, fd, &w.request);
    close(fd);
    TURN_UNTIL(f, COUNT_OF(f, conns_open) == 0);
    assert_null(upstream_pool_take(f->pool, &f->target));
    fd = connect_request(f, &w);
    finish(f, fd, &w.request);
    close(fd);
}

static void connection_close_ends_the_conn_and_counts_as_no_failure(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 5; i++) {
        struct waiter w;
        int fd = connect_request(f, &w);

        raw_send(fd, SLICE("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"));
        TURN_UNTIL(f, w.request.has_ended);
        request_close(&w.request);
        TURN_UNTIL(f, COUNT_OF(f, conns_open) == 0);
        close(fd);
    }
    assert_int_equal(COUNT_OF(f, lost), 0);
    assert_int_equal(COUNT_OF(f, backoffs), 0);
}

static void an_exchange_that_was_given_up_takes_its_conn_along(void **state)
{
    struct fixture *f = *state;
    struct waiter w;
    int fd = connect_request(f, &w);

    turn_for(f, 5);
    request_close(&w.request);
    TURN_UNTIL(f, COUNT_OF(f, conns_open) == 0);
    TURN_UNTIL(f, raw_was_closed(fd));
    close(fd);
}

static void an_agent_that_breaks_off_loses_the_exchange(void **state)
{
    struct fixture *f = *state;
    struct waiter w;
    int fd = connect_request(f, &w);

    turn_for(f, 10);
    raw_reset(fd);
    TURN_UNTIL(f, w.request.was_reset);
    request_close(&w.request);
    TURN_UNTIL(f, COUNT_OF(f, conns_open) == 0);
    assert_int_equal(COUNT_OF(f, lost), 1);
}

static void one_failed_dial_fails_one_wait_while_others_go_on(void **state)
{
    struct fixture *f = *state;
    struct waiter busy, next[2];
    int fd = connect_request(f, &busy);

    raw_agent_close(&f->agent); /* refuses from now on */
    waiter_start(&next[0], f, true);
    turn_for(f, 10);
    waiter_start(&next[1], f, true);
    TURN_UNTIL(f, next[0].was_told);
    assert_int_equal(next[0].status, STATUS_AGENT_UNREACHABLE);
    assert_false(next[1].was_told);
    finish(f, fd, &busy.request);
    TURN_UNTIL(f, next[1].was_told);
    assert_int_equal(next[1].status, STATUS_OK);
    finish(f, fd, &next[1].request);
    close(fd);
}

static void a_change_of_protocol_drops_the_conns(void **state)
{
    struct fixture *f = *state;
    struct waiter w;
    int fd = connect_request(f, &w);

    finish(f, fd, &w.request);
    f->target.protocol = UPSTREAM_H2;
    assert_null(upstream_pool_take(f->pool, &f->target));
    TURN_UNTIL(f, raw_was_closed(fd));
    close(fd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, h1_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_conn_is_used_again_after_its_exchange),
        TEST(each_wait_has_its_conn_up_to_the_limit_then_waits_for_one),
        TEST(waiting_for_a_busy_conn_ends_as_busy),
        TEST(the_conn_that_was_used_last_is_used_first),
        TEST(an_idle_conn_leaves_after_its_time_and_used_ones_stay),
        TEST(a_conn_that_the_agent_closes_while_idle_is_not_used),
        TEST(connection_close_ends_the_conn_and_counts_as_no_failure),
        TEST(an_exchange_that_was_given_up_takes_its_conn_along),
        TEST(an_agent_that_breaks_off_loses_the_exchange),
        TEST(one_failed_dial_fails_one_wait_while_others_go_on),
        TEST(a_change_of_protocol_drops_the_conns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
