/* The pool against HTTP/2 agents that behave, and that do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "pool_fixture.h"

static int accept_ready(struct fixture *f, int64_t max_streams)
{
    int fd = raw_accept(&f->agent, f->loop);

    raw_settings(fd, max_streams);
    raw_settings_ack(fd);
    return fd;
}

/* One conn to the agent, with no exchange open. */
static int connect_pool(struct fixture *f, int64_t max_streams)
{
    struct waiter w;

    waiter_start(&w, f, false);

    int fd = accept_ready(f, max_streams);

    TURN_UNTIL(f, w.was_told);
    assert_int_equal(w.status, STATUS_OK);
    return fd;
}

static void a_wait_gets_a_client_once_the_agent_has_sent_settings(void **state)
{
    struct fixture *f = *state;
    struct waiter w;

    assert_null(upstream_pool_take(f->pool, &f->target));
    waiter_start(&w, f, true);

    int fd = raw_accept(&f->agent, f->loop);

    turn_for(f, 50);
    assert_false(w.was_told);
    raw_settings(fd, RAW_UNLIMITED);
    TURN_UNTIL(f, w.was_told);
    assert_int_equal(w.status, STATUS_OK);
    turn_for(f, 10);
    assert_int_equal(COUNT_OF(f, streams_open), 1);
    raw_answer(fd, 1);
    TURN_UNTIL(f, w.request.status == 200);
    assert_true(w.request.has_ended);
    request_close(&w.request);
    TURN_UNTIL(f, COUNT_OF(f, streams_open) == 0);
    assert_int_equal(COUNT_OF(f, connects), 1);
    assert_int_equal(COUNT_OF(f, conns_open), 1);
    close(fd);
}

static void one_conn_carries_many_exchanges(void **state)
{
    struct fixture *f = *state;
    int fd = connect_pool(f, RAW_UNLIMITED);
    struct request requests[20];

    for (unsigned i = 0; i < 20; i++)
        request_open(&requests[i], upstream_pool_take(f->pool, &f->target));
    turn_for(f, 10);
    assert_int_equal(COUNT_OF(f, streams_open), 20);
    for (unsigned i = 0; i < 20; i++)
        raw_answer(fd, 1 + 2 * i);
    for (unsigned i = 0; i < 20; i++) {
        TURN_UNTIL(f, requests[i].has_ended);
        request_close(&requests[i]);
    }
    assert_int_equal(COUNT_OF(f, connects), 1);
    assert_int_equal(COUNT_OF(f, reuses), 20);
    assert_false(raw_has_arrived(&f->agent));
    close(fd);
}

static void a_second_conn_opens_at_the_peers_limit_and_no_third(void **state)
{
    struct fixture *f = *state;
    int first = connect_pool(f, 1);
    struct waiter w[3];
    struct request r;

    request_open(&r, upstream_pool_take(f->pool, &f->target));
    assert_null(upstream_pool_take(f->pool, &f->target));
    for (unsigned i = 0; i < 3; i++)
        waiter_start(&w[i], f, true);

    int second = accept_ready(f, 1);

    TURN_UNTIL(f, w[0].was_told);
    turn_for(f, 30);
    assert_false(w[1].was_told);
    assert_false(raw_has_arrived(&f->agent));

    raw_answer(first, 1); /* room again: the next in line has it */
    TURN_UNTIL(f, w[1].was_told);
    assert_int_equal(w[1].status, STATUS_OK);
    assert_false(w[2].was_told);
    raw_answer(second, 1);
    TURN_UNTIL(f, w[2].was_told);
    assert_int_equal(w[2].status, STATUS_OK);
    assert_int_equal(COUNT_OF(f, connects), 2);
    request_close(&r);
    for (unsigned i = 0; i < 3; i++)
        request_close(&w[i].request);
    close(first);
    close(second);
}

static void waits_are_served_first_come_first_served_and_takers_do_not_overtake(void **state)
{
    struct fixture *f = *state;
    struct waiter w[3];

    for (unsigned i = 0; i < 3; i++)
        waiter_start(&w[i], f, true);

    int fd = accept_ready(f, RAW_UNLIMITED);

    TURN_UNTIL(f, w[2].was_told);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(w[i].order, i + 1);
        assert_int_equal(w[i].status, STATUS_OK);
        request_close(&w[i].request);
    }
    assert_int_equal(COUNT_OF(f, connects), 1);
    close(fd);
}

static void more_than_pending_waits_are_busy_at_once(void **state)
{
    struct fixture *f = *state;
    struct waiter w[FIXTURE_PENDING + 1];

    for (unsigned i = 0; i <= FIXTURE_PENDING; i++)
        waiter_start(&w[i], f, false);
    turn_for(f, 20);
    assert_true(w[FIXTURE_PENDING].was_told);
    assert_int_equal(w[FIXTURE_PENDING].status, STATUS_AGENT_BUSY);
    assert_int_equal(COUNT_OF(f, busy), 1);
    for (unsigned i = 0; i < FIXTURE_PENDING; i++) {
        assert_false(w[i].was_told);
        upstream_wait_cancel(&w[i].wait);
    }
}

static void a_limit_of_no_streams_ends_waits_as_busy_without_a_busy_loop(void **state)
{
    struct fixture *f = *state;
    struct waiter w;
    unsigned turns = 0;

    f->options.idle_ms = 60000;
    fixture_recreate_pool(f);
    waiter_start(&w, f, false);

    int first = accept_ready(f, 0);
    int second = accept_ready(f, 0);
    uint64_t until_ms = loop_clock(f->loop)->now_ms + FIXTURE_LIMIT_MS;

    while (!w.was_told && loop_clock(f->loop)->now_ms < until_ms) {
        loop_turn(f->loop, 1000);
        turns++;
    }
    assert_true(w.was_told);
    assert_int_equal(w.status, STATUS_AGENT_BUSY);
    assert_in_range(turns, 1, 60);
    assert_false(raw_has_arrived(&f->agent));
    close(first);
    close(second);
}

static void a_raised_limit_serves_who_waits(void **state)
{
    struct fixture *f = *state;
    struct waiter w;

    waiter_start(&w, f, true);

    int first = accept_ready(f, 0);
    int second = accept_ready(f, 0);

    turn_for(f, 30);
    assert_false(w.was_told);
    raw_settings(first, 10);
    TURN_UNTIL(f, w.was_told);
    assert_int_equal(w.status, STATUS_OK);
    request_close(&w.request);
    close(first);
    close(second);
}

static void the_least_loaded_conn_is_taken(void **state)
{
    struct fixture *f = *state;
    int first = connect_pool(f, 2);
    struct request r[3];
    struct waiter w;

    request_open(&r[0], upstream_pool_take(f->pool, &f->target));
    request_open(&r[1], upstream_pool_take(f->pool, &f->target));
    waiter_start(&w, f, false);

    int second = accept_ready(f, 2);

    TURN_UNTIL(f, w.was_told);
    raw_answer(first, 1);
    TURN_UNTIL(f, r[0].has_ended);
    turn_for(f, 10);
    request_open(&r[2], upstream_pool_take(f->pool, &f->target)); /* 1 open there, 0 here */
    turn_for(f, 20);
    raw_answer(second, 1);
    TURN_UNTIL(f, r[2].has_ended);
    for (unsigned i = 0; i < 3; i++)
        request_close(&r[i]);
    close(first);
    close(second);
}

static void after_goaway_old_streams_finish_and_new_ones_use_a_new_conn(void **state)
{
    struct fixture *f = *state;
    int old = connect_pool(f, RAW_UNLIMITED);
    struct request r;
    struct waiter w;

    request_open(&r, upstream_pool_take(f->pool, &f->target));
    turn_for(f, 20);
    raw_goaway(old, 1, 0);
    TURN_UNTIL(f, COUNT_OF(f, goaways) == 1);
    assert_null(upstream_pool_take(f->pool, &f->target));
    waiter_start(&w, f, true);

    int new = accept_ready(f, RAW_UNLIMITED);

    TURN_UNTIL(f, w.was_told);
    assert_int_equal(w.status, STATUS_OK);
    assert_int_equal(COUNT_OF(f, conns_open), 2);
    assert_false(r.was_reset);
    raw_answer(old, 1);
    TURN_UNTIL(f, r.has_ended);
    request_close(&r);
    TURN_UNTIL(f, COUNT_OF(f, conns_open) == 1);
    assert_int_equal(COUNT_OF(f, lost), 0);
    request_close(&w.request);
    close(old);
    close(new);
}

static void conns_under_goaway_are_bounded(void **state)
{
    struct fixture *f = *state;
    int fds[16];
    struct waiter w[16];
    unsigned count = 0;

    for (; count < 16; count++) {
        waiter_start(&w[count], f, true);
        TURN_UNTIL(f, raw_has_arrived(&f->agent) || w[count].was_told);
        if (w[count].was_told)
            break;
        fds[count] = accept_ready(f, RAW_UNLIMITED);
        TURN_UNTIL(f, w[count].was_told);
        turn_for(f, 10);
        raw_goaway(fds[count], 1, 0);
        TURN_UNTIL(f, COUNT_OF(f, goaways) == count + 1);
    }
    assert_int_equal(count, 8);
    assert_int_equal(w[count].status, STATUS_AGENT_BUSY);
    for (unsigned i = 0; i < count; i++) {
        request_close(&w[i].request);
        close(fds[i]);
    }
}

static void a_lost_conn_loses_its_exchanges_and_is_replaced(void **state)
{
    struct fixture *f = *state;
    int fd = connect_pool(f, RAW_UNLIMITED);
    struct request r;

    request_open(&r, upstream_pool_take(f->pool, &f->target));
    turn_for(f, 20);
    raw_reset(fd);
    TURN_UNTIL(f, r.was_reset);
    assert_int_equal(r.reason, RESET_LOST);
    request_close(&r);
    TURN_UNTIL(f, COUNT_OF(f, conns_open) == 0);
    assert_int_equal(COUNT_OF(f, lost), 1);
    assert_int_equal(COUNT_OF(f, streams_open), 0);
    close(connect_pool(f, RAW_UNLIMITED));
}

static void an_idle_conn_closes(void **state)
{
    struct fixture *f = *state;
    int fd = connect_pool(f, RAW_UNLIMITED);
    struct request r;

    request_open(&r, upstream_pool_take(f->pool, &f->target));
    turn_for(f, 2 * FIXTURE_IDLE_MS); /* it has a stream: not idle */
    assert_int_equal(COUNT_OF(f, conns_open), 1);
    raw_answer(fd, 1);
    TURN_UNTIL(f, r.has_ended);
    request_close(&r);
    TURN_UNTIL(f, COUNT_OF(f, conns_open) == 0);
    TURN_UNTIL(f, raw_was_closed(fd));
    assert_int_equal(COUNT_OF(f, goaways), 0);
    assert_int_equal(COUNT_OF(f, lost), 0);
    close(fd);
}

static void another_boot_drops_the_conns_of_the_old_one(void **state)
{
    struct fixture *f = *state;
    int old = connect_pool(f, RAW_UNLIMITED);
    struct request r;
    struct waiter w;

    request_open(&r, upstream_pool_take(f->pool, &f->target));
    f->target.boot = SLICE("boot_2");
    assert_null(upstream_pool_take(f->pool, &f->target));
    assert_false(r.was_reset); /* never inside the call */
    waiter_start(&w, f, true);
    TURN_UNTIL(f, r.was_reset);
    assert_int_equal(r.reason, RESET_LOST);
    request_close(&r);
    TURN_UNTIL(f, raw_was_closed(old));

    int new = accept_ready(f, RAW_UNLIMITED);

    TURN_UNTIL(f, w.was_told);
    assert_int_equal(w.status, STATUS_OK);
    assert_int_equal(COUNT_OF(f, conns_open), 1);
    request_close(&w.request);
    close(old);
    close(new);
}

static void who_waited_for_the_old_boot_is_told_so(void **state)
{
    struct fixture *f = *state;
    struct waiter old, new;

    waiter_start(&old, f, false);
    turn_for(f, 20);
    f->target.boot = SLICE("boot_2");
    waiter_start(&new, f, false);
    TURN_UNTIL(f, old.was_told);
    assert_int_equal(old.status, STATUS_AGENT_UNREACHABLE);
    assert_false(new.was_told);
    close(raw_accept(&f->agent, f->loop)); /* the old dial */

    int fd = accept_ready(f, RAW_UNLIMITED);

    TURN_UNTIL(f, new.was_told);
    assert_int_equal(new.status, STATUS_OK);
    close(fd);
}

static void forgetting_a_computer_closes_everything_of_it(void **state)
{
    struct fixture *f = *state;
    int fd = connect_pool(f, 1);
    struct request r;
    struct waiter w;

    request_open(&r, upstream_pool_take(f->pool, &f->target));
    waiter_start(&w, f, false);
    upstream_pool_forget(f->pool, SLICE("cmp_other"));
    upstream_pool_forget(f->pool, SLICE("cmp_1"));
    assert_false(r.was_reset);
    assert_false(w.was_told);
    TURN_UNTIL(f, r.was_reset && w.was_told);
    assert_int_equal(w.status, STATUS_AGENT_UNREACHABLE);
    request_close(&r);
    TURN_UNTIL(f, raw_was_closed(fd));
    assert_int_equal(COUNT_OF(f, conns_open), 0);
    close(fd);
}

static void forget_inside_on_ready_is_safe_cb(void *arg, enum status status,
                                              struct http_client *client)
{
    struct waiter *w = arg;

    assert_int_equal(status, STATUS_OK);
    request_open(&w->request, client);
    w->was_told = true;
    w->wait = NULL;
    upstream_pool_forget(w->fixture->pool, w->fixture->target.computer_id);
}

static void forgetting_inside_on_ready_is_safe(void **state)
{
    struct fixture *f = *state;
    struct waiter first = { .fixture = f }, second;

    first.wait =
        upstream_wait_start(f->pool, &f->target, forget_inside_on_ready_is_safe_cb, &first);
    waiter_start(&second, f, false);

    int fd = accept_ready(f, RAW_UNLIMITED);

    TURN_UNTIL(f, first.was_told && second.was_told);
    assert_int_equal(second.status, STATUS_AGENT_UNREACHABLE);
    TURN_UNTIL(f, first.request.was_reset);
    request_close(&first.request);
    close(fd);
}

static void a_cancelled_wait_is_never_told_and_its_dial_serves_the_next(void **state)
{
    struct fixture *f = *state;
    struct waiter first, second;

    waiter_start(&first, f, false);
    turn_for(f, 20);
    upstream_wait_cancel(&first.wait);
    upstream_wait_cancel(&first.wait);
    waiter_start(&second, f, false);

    int fd = accept_ready(f, RAW_UNLIMITED);

    TURN_UNTIL(f, second.was_told);
    assert_false(first.was_told);
    assert_int_equal(COUNT_OF(f, connects), 1);
    close(fd);
}

static void destroying_the_pool_loses_exchanges_and_leaves_waits_to_their_owners(void **state)
{
    struct fixture *f = *state;
    int fd = connect_pool(f, 1);
    struct request r;
    struct waiter queued, failed;

    request_open(&r, upstream_pool_take(f->pool, &f->target));
    waiter_start(&queued, f, false);
    turn_for(f, 20); /* dials a second conn */
    waiter_start(&failed, f, false);
    f->target.boot = SLICE("boot_2");
    assert_null(upstream_pool_take(f->pool, &f->target)); /* both fail, the conns depart */
    upstream_pool_destroy(&f->pool);
    upstream_pool_destroy(&f->pool);
    assert_true(r.was_reset);
    assert_int_equal(r.reason, RESET_LOST);
    assert_false(queued.was_told);
    upstream_wait_cancel(&queued.wait);
    upstream_wait_cancel(&failed.wait);
    request_close(&r);
    TURN_UNTIL(f, raw_was_closed(fd));
    close(fd);
}

static void wait_again(void *arg, enum status status, struct http_client *client)
{
    struct waiter *w = arg;

    assert_int_equal(status, STATUS_OK);
    assert_non_null(client); /* and unused */
    w->order++;
    w->wait = upstream_wait_start(w->fixture->pool, &w->fixture->target, wait_again, w);
}

static void who_waits_again_without_using_the_client_cannot_keep_the_loop(void **state)
{
    struct fixture *f = *state;
    struct waiter w = { .fixture = f };
    int fd = connect_pool(f, RAW_UNLIMITED);

    w.wait = upstream_wait_start(f->pool, &f->target, wait_again, &w);
    for (unsigned i = 0; i < 20; i++)
        loop_turn(f->loop, 5);
    assert_in_range(w.order, 1, 20);
    upstream_wait_cancel(&w.wait);
    close(fd);
}

static void computers_do_not_share_conns(void **state)
{
    struct fixture *f = *state;
    int first = connect_pool(f, RAW_UNLIMITED);

    f->target.computer_id = SLICE("cmp_2");
    assert_null(upstream_pool_take(f->pool, &f->target));

    int second = connect_pool(f, RAW_UNLIMITED);

    assert_int_equal(COUNT_OF(f, conns_open), 2);
    upstream_pool_forget(f->pool, SLICE("cmp_1"));
    TURN_UNTIL(f, raw_was_closed(first));
    assert_int_equal(COUNT_OF(f, conns_open), 1);
    assert_false(raw_was_closed(second));
    close(first);
    close(second);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_wait_gets_a_client_once_the_agent_has_sent_settings),
        TEST(one_conn_carries_many_exchanges),
        TEST(a_second_conn_opens_at_the_peers_limit_and_no_third),
        TEST(waits_are_served_first_come_first_served_and_takers_do_not_overtake),
        TEST(more_than_pending_waits_are_busy_at_once),
        TEST(a_limit_of_no_streams_ends_waits_as_busy_without_a_busy_loop),
        TEST(a_raised_limit_serves_who_waits),
        TEST(the_least_loaded_conn_is_taken),
        TEST(after_goaway_old_streams_finish_and_new_ones_use_a_new_conn),
        TEST(conns_under_goaway_are_bounded),
        TEST(a_lost_conn_loses_its_exchanges_and_is_replaced),
        TEST(an_idle_conn_closes),
        TEST(another_boot_drops_the_conns_of_the_old_one),
        TEST(who_waited_for_the_old_boot_is_told_so),
        TEST(forgetting_a_computer_closes_everything_of_it),
        TEST(forgetting_inside_on_ready_is_safe),
        TEST(a_cancelled_wait_is_never_told_and_its_dial_serves_the_next),
        TEST(destroying_the_pool_loses_exchanges_and_leaves_waits_to_their_owners),
        TEST(who_waits_again_without_using_the_client_cannot_keep_the_loop),
        TEST(computers_do_not_share_conns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
