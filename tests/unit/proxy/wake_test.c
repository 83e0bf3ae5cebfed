/* The wake queue against a real Redis: one entry however many wait, bounds, who leaves while a
 * command is under way, what happens when Redis refuses or is away. How long a call waits, and that
 * it goes on, is the call's part: integration/deploys/wake_asks_once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#include "base/mem.h"
#include "proxy/proxy_internal.h"
#include "redis_control.h"
#include "route/route_store_redis.h"

enum { PATIENCE_MS = 3000, ID_BYTES = 16 };

struct fixture {
    struct redis_server server;
    redisContext *control;
    struct loop *loop;
    struct proxy proxy; /* of which the queue knows the loop, the routes and the counters */
    struct wake_options options;
};

static const struct route_resolver_options resolving = { .max_entries = 10,
                                                         .found_ms = 30000,
                                                         .missing_ms = 30000,
                                                         .max_stale_ms = 60000,
                                                         .lookup_ms = 2000 };

static long long ask_redis(struct fixture *f, const char *command)
{
    redisReply *reply = redisCommand(f->control, command);

    assert_non_null(reply);
    long long number = reply->type == REDIS_REPLY_INTEGER ? reply->integer : -1;
    freeReplyObject(reply);
    return number;
}

static void turn_for(struct fixture *f, uint64_t ms)
{
    uint64_t due_ms = loop_clock(f->loop)->now_ms + ms;

    while (loop_clock(f->loop)->now_ms < due_ms)
        loop_turn(f->loop, 5);
}

/* Turns until `counter` is `count`; false: it took too long. */
static bool counts_to(struct fixture *f, const struct counter *counter, uint64_t count)
{
    uint64_t due_ms = loop_clock(f->loop)->now_ms + PATIENCE_MS;

    while (counter_read(counter) != count && loop_clock(f->loop)->now_ms < due_ms)
        loop_turn(f->loop, 5);
    return counter_read(counter) == count;
}

static bool redis_says(struct fixture *f, const char *command, long long number)
{
    uint64_t due_ms = loop_clock(f->loop)->now_ms + PATIENCE_MS;

    while (ask_redis(f, command) != number && loop_clock(f->loop)->now_ms < due_ms)
        loop_turn(f->loop, 5);
    return ask_redis(f, command) == number;
}

static int setup(void **state)
{
    struct fixture *f = mem_zeroed(sizeof(*f));
    struct redis_endpoint endpoint;
    struct buf error = { 0 };
    char url[160];

    redis_server_create(&f->server, NULL, false);
    redis_control_connect(&f->control, &f->server);
    assert_int_equal(loop_create(&f->loop), STATUS_OK);
    snprintf(url, sizeof(url), "unix://%s", f->server.socket_path);
    assert_int_equal(redis_endpoint_parse(slice_from_string(url), &error, &endpoint), STATUS_OK);

    struct route_store_redis_options options = {
        .endpoint = &endpoint,
        .prefix = "box:",
        .connect_timeout_ms = 300,
        .reply_timeout_ms = 1000,
        .retry_min_ms = 50,
        .retry_max_ms = 100,
        .reply_bytes = 1024 * 1024,
        .reply_elements = 1024,
    };

    f->proxy.loop = f->loop;
    f->proxy.routes =
        route_resolver_create(f->loop, route_store_redis_create(f->loop, &options), &resolving);
    redis_endpoint_deinit(&endpoint);
    f->options = (struct wake_options){ .is_enabled = true,
                                        .repeat_ms = 30000,
                                        .pending = 100,
                                        .pending_total = 150,
                                        .stream_length = 10 };
    wake_init(&f->proxy.wake, &f->proxy);
    for (int i = 0; i < 200 && !route_resolver_link_is_up(f->proxy.routes); i++)
        loop_turn(f->loop, 10);
    assert_true(route_resolver_link_is_up(f->proxy.routes));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    wake_deinit(&f->proxy.wake);
    route_resolver_destroy(&f->proxy.routes);
    loop_destroy(&f->loop);
    redisFree(f->control);
    redis_server_destroy(&f->server);
    mem_free(f);
    return 0;
}

static struct wake_entry *enter(struct fixture *f, const char *id)
{
    return wake_enter(&f->proxy.wake, slice_from_string(id), &f->options);
}

static void leave(struct fixture *f, struct wake_entry *entry)
{
    wake_leave(&f->proxy.wake, &entry);
    assert_null(entry);
}

static void one_entry_is_written_however_many_wait(void **state)
{
    struct fixture *f = *state;
    struct proxy_counters *counters = &f->proxy.counters;
    struct wake_entry *waiting[100];

    for (int i = 0; i < 50; i++)
        waiting[i] = enter(f, "cmp_1");
    assert_true(counts_to(f, &counters->wakes_asked, 1));
    for (int i = 50; i < 100; i++) /* and those who come later */
        waiting[i] = enter(f, "cmp_1");
    turn_for(f, 100);
    assert_int_equal(ask_redis(f, "XLEN box:wake"), 1);
    assert_int_equal(ask_redis(f, "EXISTS box:wake:{cmp_1}"), 1);
    assert_int_equal(counter_read(&counters->wakes_waiting), 100);

    redisReply *reply = redisCommand(f->control, "XRANGE box:wake - +");
    redisReply *words = reply->element[0]->element[1];
    assert_int_equal(words->elements, 4);
    assert_string_equal(words->element[1]->str, "cmp_1");
    assert_string_equal(words->element[3]->str, "request");
    freeReplyObject(reply);
    for (int i = 0; i < 100; i++)
        leave(f, waiting[i]);
    assert_int_equal(counter_read(&counters->wakes_waiting), 0);
    assert_int_equal(counter_read(&counters->wakes_asked), 1);
}

static void another_gateway_has_asked_already(void **state)
{
    struct fixture *f = *state;

    (void)ask_redis(f, "SET box:wake:{cmp_1} 1 PX 30000");
    struct wake_entry *entry = enter(f, "cmp_1");

    turn_for(f, 100);
    assert_int_equal(ask_redis(f, "XLEN box:wake"), 0);
    wake_done(&f->proxy.wake, entry); /* the key is not ours to delete */
    leave(f, entry);
    turn_for(f, 50);
    assert_int_equal(ask_redis(f, "EXISTS box:wake:{cmp_1}"), 1);
    assert_int_equal(counter_read(&f->proxy.counters.wakes_failed), 0);
}

static void no_more_wait_for_one_computer_or_in_all_than_may(void **state)
{
    struct fixture *f = *state;
    struct wake_entry *waiting[150];
    size_t count = 0;

    while (count < 100)
        assert_non_null(waiting[count++] = enter(f, "cmp_1"));
    assert_null(enter(f, "cmp_1"));
    while (count < 150)
        assert_non_null(waiting[count++] = enter(f, "cmp_2"));
    assert_null(enter(f, "cmp_3"));
    assert_int_equal(counter_read(&f->proxy.counters.wakes_refused), 2);
    assert_int_equal(counter_read(&f->proxy.counters.wakes_waiting), 150);
    assert_true(counts_to(f, &f->proxy.counters.wakes_asked, 2));
    assert_int_equal(ask_redis(f, "XLEN box:wake"), 2); /* who was refused did not ask */
    leave(f, waiting[--count]);
    assert_non_null(waiting[count++] = enter(f, "cmp_3")); /* there is room again */
    while (count > 0)
        leave(f, waiting[--count]);
    assert_int_equal(counter_read(&f->proxy.counters.wakes_waiting), 0);
}

static void it_is_asked_for_again_after_a_while(void **state)
{
    struct fixture *f = *state;

    f->options.repeat_ms = 200;
    struct wake_entry *first = enter(f, "cmp_1");

    assert_true(counts_to(f, &f->proxy.counters.wakes_asked, 1));
    struct wake_entry *soon = enter(f, "cmp_1");

    turn_for(f, 250);
    assert_int_equal(ask_redis(f, "XLEN box:wake"), 1); /* by itself it asks no more */
    struct wake_entry *late = enter(f, "cmp_1");

    assert_true(counts_to(f, &f->proxy.counters.wakes_asked, 2));
    assert_int_equal(ask_redis(f, "XLEN box:wake"), 2);
    leave(f, first);
    leave(f, soon);
    leave(f, late);
}

static void once_it_runs_it_may_be_asked_for_again_at_once(void **state)
{
    struct fixture *f = *state;
    struct wake_entry *entry = enter(f, "cmp_1");

    assert_true(counts_to(f, &f->proxy.counters.wakes_asked, 1));
    wake_done(&f->proxy.wake, entry);
    leave(f, entry);
    assert_true(redis_says(f, "EXISTS box:wake:{cmp_1}", 0));
    entry = enter(f, "cmp_1");
    assert_true(counts_to(f, &f->proxy.counters.wakes_asked, 2));
    leave(f, entry);
}

static void who_comes_while_the_key_is_being_deleted_asks_once_it_is_gone(void **state)
{
    struct fixture *f = *state;
    struct wake_entry *first = enter(f, "cmp_1");

    assert_true(counts_to(f, &f->proxy.counters.wakes_asked, 1));
    wake_done(&f->proxy.wake, first);
    leave(f, first);
    struct wake_entry *second = enter(f, "cmp_1"); /* stopped again, DEL is under way */

    assert_true(counts_to(f, &f->proxy.counters.wakes_asked, 2));
    assert_int_equal(ask_redis(f, "XLEN box:wake"), 2);
    leave(f, second);
}

static void it_runs_before_it_was_asked_for_and_is_not_asked_for(void **state)
{
    struct fixture *f = *state;
    struct wake_entry *entry = enter(f, "cmp_1");

    wake_done(&f->proxy.wake, entry); /* SET is under way */
    leave(f, entry);
    turn_for(f, 100);
    assert_int_equal(ask_redis(f, "EXISTS box:wake:{cmp_1}"), 0);
    assert_int_equal(ask_redis(f, "XLEN box:wake"), 0);
}

static void it_runs_while_it_is_being_asked_for_and_the_key_still_goes(void **state)
{
    struct fixture *f = *state;
    struct wake_entry *entry = enter(f, "cmp_1");

    while (ask_redis(f, "XLEN box:wake") == 0) /* XADD is there, its reply is not read */
        loop_turn(f->loop, 1);
    wake_done(&f->proxy.wake, entry);
    leave(f, entry);
    assert_true(redis_says(f, "EXISTS box:wake:{cmp_1}", 0));
    assert_true(counts_to(f, &f->proxy.counters.wakes_asked, 1));
}

static void who_leaves_while_a_command_is_under_way_leaves_nothing_behind(void **state)
{
    struct fixture *f = *state;

    leave(f, enter(f, "cmp_1")); /* the last one: SET is not even sent */
    assert_int_equal(f->proxy.wake.waiting, 0);
    assert_true(
        counts_to(f, &f->proxy.counters.wakes_asked, 1)); /* it was asked for, all the same */
    turn_for(f, 50);
    assert_null(map_find(&f->proxy.wake.by_computer, SLICE("cmp_1")));

    struct wake_entry *none = NULL;
    wake_leave(&f->proxy.wake, &none);
    wake_done(&f->proxy.wake, NULL);
}

static void what_redis_refuses_is_counted_and_tried_again_by_the_next(void **state)
{
    struct fixture *f = *state;

    (void)ask_redis(f, "SET box:wake no-stream");
    struct wake_entry *first = enter(f, "cmp_1");

    assert_true(counts_to(f, &f->proxy.counters.wakes_failed, 1));
    assert_true(redis_says(f, "EXISTS box:wake:{cmp_1}", 0)); /* nobody else is kept from asking */
    (void)ask_redis(f, "DEL box:wake");
    struct wake_entry *second = enter(f, "cmp_1");

    assert_true(counts_to(f, &f->proxy.counters.wakes_asked, 1));
    assert_int_equal(ask_redis(f, "XLEN box:wake"), 1);
    leave(f, first);
    leave(f, second);
}

static void redis_away_is_a_failure_and_once_it_is_back_the_next_one_asks(void **state)
{
    struct fixture *f = *state;

    redis_server_kill(&f->server);
    turn_for(f, 50);
    struct wake_entry *first = enter(f, "cmp_1");

    assert_true(counts_to(f, &f->proxy.counters.wakes_failed, 1));
    redis_server_start(&f->server);
    redis_control_connect(&f->control, &f->server);
    for (int i = 0; i < 300 && !route_resolver_link_is_up(f->proxy.routes); i++)
        loop_turn(f->loop, 10);
    struct wake_entry *second = enter(f, "cmp_1");

    assert_true(counts_to(f, &f->proxy.counters.wakes_asked, 1));
    leave(f, first);
    leave(f, second);
}

static void the_queue_ends_with_commands_under_way(void **state)
{
    struct fixture *f = *state;

    leave(f, enter(f, "cmp_1"));
    leave(f, enter(f, "cmp_2"));
    assert_int_equal(f->proxy.wake.waiting, 0);
    /* teardown: sanitizers and the loop's own checks judge */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_entry_is_written_however_many_wait),
        TEST(another_gateway_has_asked_already),
        TEST(no_more_wait_for_one_computer_or_in_all_than_may),
        TEST(it_is_asked_for_again_after_a_while),
        TEST(once_it_runs_it_may_be_asked_for_again_at_once),
        TEST(who_comes_while_the_key_is_being_deleted_asks_once_it_is_gone),
        TEST(it_runs_before_it_was_asked_for_and_is_not_asked_for),
        TEST(it_runs_while_it_is_being_asked_for_and_the_key_still_goes),
        TEST(who_leaves_while_a_command_is_under_way_leaves_nothing_behind),
        TEST(what_redis_refuses_is_counted_and_tried_again_by_the_next),
        TEST(redis_away_is_a_failure_and_once_it_is_back_the_next_one_asks),
        TEST(the_queue_ends_with_commands_under_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
