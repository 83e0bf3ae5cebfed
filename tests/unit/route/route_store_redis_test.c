/* Routes from a real Redis: coherent within milliseconds, and what outages of every kind do to
 * them. hiredis' blocking client plays the control plane. */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "base/mem.h"
#include "net/timer.h"
#include "redis_control.h"
#include "route/route_resolver.h"
#include "route/route_store_redis.h"

struct fixture {
    struct redis_server server;
    redisContext *control; /* the control plane's connection */
    struct loop *loop;
    struct route_store *store;
    struct route_resolver *resolver;
};

static const struct route_resolver_options usual = {
    .max_entries = 1000,
    .found_ms = 30000,
    .missing_ms = 30000,
    .max_stale_ms = 60000,
    .lookup_ms = 2000,
};

static uint64_t now_ms(void)
{
    struct clock clock;

    clock_refresh(&clock);
    return clock.now_ms;
}

static void control(struct fixture *f, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    redisReply *reply = redisvCommand(f->control, format, arguments);
    va_end(arguments);
    assert_non_null(reply);
    if (reply->type == REDIS_REPLY_ERROR)
        fail_msg("control: %s", reply->str);
    freeReplyObject(reply);
}

static int begin(void **state)
{
    struct fixture *f = mem_zeroed(sizeof(*f));

    redis_server_create(&f->server, NULL, false);
    redis_control_connect(&f->control, &f->server);
    assert_int_equal(loop_create(&f->loop), STATUS_OK);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;

    route_resolver_destroy(&f->resolver);
    route_store_destroy(&f->store);
    loop_destroy(&f->loop);
    redisFree(f->control);
    redis_server_destroy(&f->server);
    mem_free(f);
    return 0;
}

static void open_store(struct fixture *f, const char *url, const char *prefix,
                       struct tls_context *tls)
{
    struct redis_endpoint endpoint;
    struct buf error = { 0 };

    if (redis_endpoint_parse(slice_from_string(url), &error, &endpoint) != STATUS_OK)
        fail_msg("%s", buf_text(&error));

    struct route_store_redis_options options = {
        .endpoint = &endpoint,
        .tls = tls,
        .prefix = prefix,
        .connect_timeout_ms = 1500,
        .reply_timeout_ms = 1000,
        .retry_min_ms = 100,
        .retry_max_ms = 1500,
        .reply_bytes = 1024 * 1024,
        .reply_elements = 64 * 1024,
    };

    loop_turn(f->loop, 0);
    f->store = route_store_redis_create(f->loop, &options);
    redis_endpoint_deinit(&endpoint); /* it was copied */
}

static bool wait_link(struct fixture *f, bool is_up, uint64_t within_ms)
{
    uint64_t due_ms = now_ms() + within_ms;

    while (route_resolver_link_is_up(f->resolver) != is_up && now_ms() < due_ms)
        loop_turn(f->loop, 20);
    return route_resolver_link_is_up(f->resolver) == is_up;
}

/* The resolver over f->store, on the Unix socket of the server unless a store is open already. */
static void open_routes(struct fixture *f, const struct route_resolver_options *options)
{
    char url[160];

    snprintf(url, sizeof(url), "unix://%s", f->server.socket_path);
    if (f->store == NULL)
        open_store(f, url, "", NULL);
    f->resolver = route_resolver_create(f->loop, f->store, options);
    f->store = NULL; /* the resolver's */
    assert_true(wait_link(f, true, 3000));
}

struct found {
    bool done;
    enum status status;
    char agent[64];
};

static void keep(struct found *found, enum status status, const struct record *record)
{
    found->done = true;
    found->status = status;
    found->agent[0] = '\0';
    if (status == STATUS_OK && record->kind == RECORD_COMPUTER)
        slice_to_string(record->computer.agent, found->agent, sizeof(found->agent));
}

static void on_found(void *arg, enum status status, struct record *record)
{
    keep(arg, status, record);
    record_unref(&record);
}

/* As a call does: memory first, then a lookup. */
static struct found get(struct fixture *f, enum record_kind kind, const char *id)
{
    struct found found = { 0 };
    struct record *record = NULL;
    enum status status = route_resolver_find(f->resolver, kind, slice_from_string(id), &record);

    if (status != STATUS_AGAIN) {
        keep(&found, status, record);
        record_unref(&record);
        return found;
    }
    struct route_lookup *lookup =
        route_lookup_start(f->resolver, kind, slice_from_string(id), on_found, &found);
    uint64_t due_ms = now_ms() + 4000;

    while (!found.done && now_ms() < due_ms)
        loop_turn(f->loop, 50);
    if (!found.done)
        route_lookup_cancel(&lookup);
    assert_true(found.done);
    return found;
}

static void expect_agent(struct fixture *f, const char *id, const char *agent)
{
    struct found found = get(f, RECORD_COMPUTER, id);

    assert_string_equal(status_name(found.status), "ok");
    assert_string_equal(found.agent, agent);
}

static void expect_status(struct fixture *f, enum record_kind kind, const char *id,
                          enum status status)
{
    assert_string_equal(status_name(get(f, kind, id).status), status_name(status));
}

/* How long until the computer's agent is that one. */
static uint64_t ms_until_agent(struct fixture *f, const char *id, const char *agent)
{
    uint64_t start_ms = now_ms();

    while (now_ms() - start_ms < 3000) {
        struct found found = get(f, RECORD_COMPUTER, id);

        if (found.status == STATUS_OK && strcmp(found.agent, agent) == 0)
            break;
        loop_turn(f->loop, 1);
    }
    return now_ms() - start_ms;
}

static void put(struct fixture *f, const char *id, const char *agent)
{
    control(f, "HSET computer:{%s} state running agent %s", id, agent);
}

static void run_for(struct fixture *f, uint64_t ms)
{
    uint64_t due_ms = now_ms() + ms;

    while (now_ms() < due_ms)
        loop_turn(f->loop, (int)(due_ms - now_ms()));
}

/* ---- */

static void records_are_found_and_absent_ones_are_not(void **state)
{
    struct fixture *f = *state;

    put(f, "c", "10.0.0.1:49983");
    control(f, "HSET host:{3000--box.example.com} computer c port 3000 visibility public");
    control(f, "HSET session:{s} kind exec computer c");
    open_routes(f, &usual);
    expect_agent(f, "c", "10.0.0.1:49983");
    expect_status(f, RECORD_HOST, "3000--box.example.com", STATUS_OK);
    expect_status(f, RECORD_SESSION, "s", STATUS_OK);
    expect_status(f, RECORD_COMPUTER, "d", STATUS_COMPUTER_UNKNOWN);
    expect_status(f, RECORD_HOST, "d", STATUS_HOST_UNKNOWN);
    expect_status(f, RECORD_SESSION, "d", STATUS_TOKEN_REVOKED);
}

static void a_change_is_in_force_within_100_ms(void **state)
{
    struct fixture *f = *state;

    put(f, "c", "h:1");
    open_routes(f, &usual);
    expect_agent(f, "c", "h:1");
    for (int i = 2; i < 50; i++) {
        char agent[16];

        snprintf(agent, sizeof(agent), "h:%d", i);
        put(f, "c", agent);
        assert_in_range(ms_until_agent(f, "c", agent), 0, 100);
    }
    control(f, "DEL computer:{c}");
    loop_turn(f->loop, 50);
    expect_status(f, RECORD_COMPUTER, "c", STATUS_COMPUTER_UNKNOWN);
}

static void an_absent_record_that_is_created_is_found_at_once(void **state)
{
    struct fixture *f = *state;

    open_routes(f, &usual);
    expect_status(f, RECORD_COMPUTER, "c", STATUS_COMPUTER_UNKNOWN);
    expect_status(f, RECORD_COMPUTER, "c", STATUS_COMPUTER_UNKNOWN);
    put(f, "c", "h:1");
    assert_in_range(ms_until_agent(f, "c", "h:1"), 0, 100);
}

static void a_hit_sends_nothing_to_redis(void **state)
{
    struct fixture *f = *state;
    const struct route_store_redis_counters *counters;

    put(f, "c", "h:1");
    open_store(f, (char[]){ "unix:///dev/null" }, "", NULL);
    route_store_destroy(&f->store); /* half-built is fine */
    char url[160];
    snprintf(url, sizeof(url), "unix://%s", f->server.socket_path);
    open_store(f, url, "", NULL);
    counters = route_store_redis_counters(f->store);
    open_routes(f, &usual);
    expect_agent(f, "c", "h:1");
    uint64_t before = counter_read(&counters->commands);
    for (int i = 0; i < 1000; i++)
        expect_agent(f, "c", "h:1");
    assert_int_equal(counter_read(&counters->commands), before);
    assert_int_equal(counter_read(&counters->link_up), 1);
}

static void flushall_forgets_everything(void **state)
{
    struct fixture *f = *state;

    put(f, "c", "h:1");
    open_routes(f, &usual);
    expect_agent(f, "c", "h:1");
    control(f, "FLUSHALL");
    loop_turn(f->loop, 100);
    expect_status(f, RECORD_COMPUTER, "c", STATUS_COMPUTER_UNKNOWN);
    put(f, "c", "h:2");
    assert_in_range(ms_until_agent(f, "c", "h:2"), 0, 100);
}

static void an_expiring_key_is_noticed(void **state)
{
    struct fixture *f = *state;

    control(f, "HSET session:{s} kind exec");
    open_routes(f, &usual);
    expect_status(f, RECORD_SESSION, "s", STATUS_OK);
    control(f, "PEXPIRE session:{s} 50");
    run_for(f, 400); /* Redis looks for expired keys ten times a second */
    expect_status(f, RECORD_SESSION, "s", STATUS_TOKEN_REVOKED);
}

static void when_redis_dies_known_records_serve_and_unknown_ones_are_unavailable(void **state)
{
    struct fixture *f = *state;
    struct route_resolver_options options = usual;

    options.lookup_ms = 300;
    put(f, "c", "h:1");
    open_routes(f, &options);
    expect_agent(f, "c", "h:1");
    expect_status(f, RECORD_COMPUTER, "d", STATUS_COMPUTER_UNKNOWN);
    redis_server_kill(&f->server);
    assert_true(wait_link(f, false, 1000));
    expect_agent(f, "c", "h:1");
    expect_status(f, RECORD_COMPUTER, "d", STATUS_ROUTE_UNAVAILABLE);
    run_for(f, 300);
    uint64_t start_ms = now_ms();
    expect_status(f, RECORD_COMPUTER, "e", STATUS_ROUTE_UNAVAILABLE);
    assert_in_range(now_ms() - start_ms, 0, 50); /* fails fast once the outage is known */

    redis_server_start(&f->server);
    redis_control_connect(&f->control, &f->server);
    put(f, "c", "h:2");
    put(f, "e", "h:5");
    start_ms = now_ms();
    assert_true(wait_link(f, true, 2000));
    expect_agent(f, "c", "h:2"); /* not the stale one: it is read before it is used */
    expect_agent(f, "e", "h:5");
    put(f, "c", "h:3"); /* and the tracking stands again */
    assert_in_range(ms_until_agent(f, "c", "h:3"), 0, 100);
}

static void no_request_to_a_known_record_fails_while_redis_is_killed_and_restarted(void **state)
{
    struct fixture *f = *state;

    put(f, "c", "h:1");
    open_routes(f, &usual);
    for (int round = 0; round < 3; round++) {
        expect_agent(f, "c", "h:1");
        redis_server_kill(&f->server);
        for (int i = 0; i < 100; i++) {
            expect_agent(f, "c", "h:1");
            loop_turn(f->loop, 1);
        }
        redis_server_start(&f->server);
        redis_control_connect(&f->control, &f->server);
        put(f, "c", "h:1"); /* before the link is up again: the retry waits longer than that */
        uint64_t due_ms = now_ms() + 2000;
        while (!route_resolver_link_is_up(f->resolver) && now_ms() < due_ms) {
            expect_agent(f, "c", "h:1");
            loop_turn(f->loop, 10);
        }
        assert_true(route_resolver_link_is_up(f->resolver));
    }
}

static void a_lookup_rides_over_a_short_outage(void **state)
{
    struct fixture *f = *state;
    struct found found = { 0 };

    open_routes(f, &usual);
    redis_server_kill(&f->server);
    assert_true(wait_link(f, false, 1000));
    struct route_lookup *lookup =
        route_lookup_start(f->resolver, RECORD_COMPUTER, SLICE("c"), on_found, &found);
    assert_non_null(lookup);
    run_for(f, 100);
    redis_server_start(&f->server);
    redis_control_connect(&f->control, &f->server);
    put(f, "c", "h:1");
    for (uint64_t due_ms = now_ms() + 2500; !found.done && now_ms() < due_ms;)
        loop_turn(f->loop, 20);
    assert_true(found.done);
    assert_string_equal(status_name(found.status), "ok");
}

static void a_redis_that_hangs_is_noticed_and_known_records_serve(void **state)
{
    struct fixture *f = *state;

    put(f, "c", "h:1");
    open_routes(f, &usual);
    expect_agent(f, "c", "h:1");
    redis_server_pause(&f->server);
    uint64_t start_ms = now_ms();
    expect_status(f, RECORD_COMPUTER, "d", STATUS_ROUTE_UNAVAILABLE);
    assert_in_range(now_ms() - start_ms, 900, 2500);
    expect_agent(f, "c", "h:1");
    assert_false(route_resolver_link_is_up(f->resolver));
    redis_server_resume(&f->server);
    assert_true(wait_link(f, true, 2000));
    put(f, "c", "h:2");
    assert_in_range(ms_until_agent(f, "c", "h:2"), 0, 100);
}

static void an_idle_link_to_a_redis_that_hangs_is_dead_within_three_seconds(void **state)
{
    struct fixture *f = *state;

    open_routes(f, &usual);
    redis_server_pause(&f->server);
    assert_true(wait_link(f, false, 3100));
    redis_server_resume(&f->server);
    assert_true(wait_link(f, true, 2000));
}

static void losing_the_invalidation_connection_alone_makes_every_record_doubtful(void **state)
{
    struct fixture *f = *state;

    put(f, "c", "h:1");
    open_routes(f, &usual);
    expect_agent(f, "c", "h:1");
    uint64_t flushes = counter_read(&route_resolver_counters(f->resolver)->flushes);
    control(f, "CLIENT KILL TYPE pubsub");
    put(f, "c", "h:2"); /* nobody is told */
    assert_true(wait_link(f, false, 1000));
    assert_true(wait_link(f, true, 2000));
    assert_int_equal(counter_read(&route_resolver_counters(f->resolver)->flushes), flushes + 1);
    expect_agent(f, "c", "h:2");
    put(f, "c", "h:3");
    assert_in_range(ms_until_agent(f, "c", "h:3"), 0, 100);
}

static void losing_the_command_connection_alone_recovers_too(void **state)
{
    struct fixture *f = *state;

    put(f, "c", "h:1");
    open_routes(f, &usual);
    expect_agent(f, "c", "h:1");
    control(f, "CLIENT KILL TYPE normal SKIPME yes");
    assert_true(wait_link(f, false, 1000));
    assert_true(wait_link(f, true, 2000));
    put(f, "c", "h:2");
    assert_in_range(ms_until_agent(f, "c", "h:2"), 0, 100);
}

/* The reader looks and the writer writes at the same time, thousands of times over; when the writer
 * stops, the last value must be the one that is served. */
static void a_change_during_a_read_never_leaves_the_old_value_behind(void **state)
{
    struct fixture *f = *state;
    struct found found[64];

    open_routes(f, &usual);
    for (int round = 0; round < 200; round++) {
        char last[32];

        for (int i = 0; i < 8; i++) { /* many writes are under way while we read */
            snprintf(last, sizeof(last), "h:%d", round * 8 + i + 1);
            redisAppendCommand(f->control, "HSET computer:{c} state running agent %s", last);
            int done = 0;
            while (!done)
                assert_int_equal(redisBufferWrite(f->control, &done), REDIS_OK);
            struct record *record = NULL;
            found[i] = (struct found){ 0 };
            if (route_resolver_find(f->resolver, RECORD_COMPUTER, SLICE("c"), &record) ==
                STATUS_AGAIN) {
                struct route_lookup *lookup = route_lookup_start(f->resolver, RECORD_COMPUTER,
                                                                 SLICE("c"), on_found, &found[i]);
                assert_non_null(lookup);
            } else {
                found[i].done = true;
            }
            record_unref(&record);
            loop_turn(f->loop, 0);
        }
        for (int i = 0; i < 8; i++) {
            redisReply *reply;

            assert_int_equal(redisGetReply(f->control, (void **)&reply), REDIS_OK);
            freeReplyObject(reply);
            for (int turn = 0; turn < 1000 && !found[i].done; turn++)
                loop_turn(f->loop, 10);
            assert_true(found[i].done);
        }
        run_for(f, 3);
        assert_in_range(ms_until_agent(f, "c", last), 0, 100);
        if (round % 3 == 0)
            control(f, "DEL computer:{c}");
        if (round % 3 == 0)
            put(f, "c", last);
    }
}

static void a_record_that_is_not_understood_is_no_route(void **state)
{
    struct fixture *f = *state;

    control(f, "HSET computer:{bad} state running agent nonsense");
    control(f, "SET computer:{str} hello");
    open_routes(f, &usual);
    expect_status(f, RECORD_COMPUTER, "bad", STATUS_ROUTE_UNAVAILABLE);
    expect_status(f, RECORD_COMPUTER, "str", STATUS_ROUTE_UNAVAILABLE);
    assert_true(route_resolver_link_is_up(f->resolver));
    put(f, "bad", "h:1");
    assert_in_range(ms_until_agent(f, "bad", "h:1"), 0, 100);
}

static void a_reply_that_is_too_large_costs_the_connection_once(void **state)
{
    struct fixture *f = *state;
    const struct route_store_redis_counters *counters;
    char *big = mem_alloc(1300000);
    char url[160];

    memset(big, 'x', 1299999);
    big[1299999] = '\0';
    put(f, "good", "h:1");
    put(f, "big", "h:1");
    control(f, "HSET computer:{big} x %s", big);
    mem_free(big);
    snprintf(url, sizeof(url), "unix://%s", f->server.socket_path);
    open_store(f, url, "", NULL);
    counters = route_store_redis_counters(f->store);
    open_routes(f, &usual);
    expect_agent(f, "good", "h:1");
    expect_status(f, RECORD_COMPUTER, "big", STATUS_ROUTE_UNAVAILABLE);
    assert_true(wait_link(f, true, 2000));
    expect_agent(f, "good", "h:1");
    for (int i = 0; i < 20; i++) { /* one bad record does not keep the link down */
        expect_status(f, RECORD_COMPUTER, "big", STATUS_ROUTE_UNAVAILABLE);
        run_for(f, 5);
        assert_true(route_resolver_link_is_up(f->resolver));
    }
    assert_int_equal(counter_read(&counters->refused_replies), 1);
    control(f, "HDEL computer:{big} x");
    assert_in_range(ms_until_agent(f, "big", "h:1"), 0, 100);
}

static void a_reply_of_too_many_elements_is_refused(void **state)
{
    struct fixture *f = *state;

    put(f, "wide", "h:1");
    for (int i = 0; i < 40000; i++)
        redisAppendCommand(f->control, "HSET computer:{wide} f%d v", i);
    for (int i = 0; i < 40000; i++) {
        redisReply *reply;

        assert_int_equal(redisGetReply(f->control, (void **)&reply), REDIS_OK);
        freeReplyObject(reply);
    }
    open_routes(f, &usual);
    expect_status(f, RECORD_COMPUTER, "wide", STATUS_ROUTE_UNAVAILABLE);
    assert_true(wait_link(f, true, 2000));
}

static void more_reads_than_the_limit_are_unavailable_at_once(void **state)
{
    struct fixture *f = *state;
    static struct found found[1500];
    unsigned refused = 0, missing = 0;

    open_routes(f, &usual);
    for (int i = 0; i < 1500; i++) {
        char id[32];
        struct route_lookup *lookup;

        snprintf(id, sizeof(id), "c%d", i);
        found[i] = (struct found){ 0 };
        lookup = route_lookup_start(f->resolver, RECORD_COMPUTER, slice_from_string(id), on_found,
                                    &found[i]);
        assert_non_null(lookup);
    }
    for (int i = 0; i < 1500; i++) {
        for (int turn = 0; turn < 100 && !found[i].done; turn++)
            loop_turn(f->loop, 20);
        refused += found[i].status == STATUS_ROUTE_UNAVAILABLE;
        missing += found[i].status == STATUS_COMPUTER_UNKNOWN;
    }
    assert_int_equal(missing, 1024);
    assert_int_equal(refused, 476);
    assert_true(route_resolver_link_is_up(f->resolver));
}

struct watched {
    struct record_watch watch;
    unsigned count;
    enum status status;
    bool revoked;
};

static void on_change(struct record_watch *watch, enum status status, const struct record *record)
{
    struct watched *w = CONTAINER_OF(watch, struct watched, watch);

    w->count++;
    w->status = status;
    w->revoked = status == STATUS_OK && record->session.revoked;
}

static void a_watched_session_tells_of_its_revocation_also_after_an_outage(void **state)
{
    struct fixture *f = *state;
    struct watched w = { .count = 0 };

    control(f, "HSET session:{s} kind exec computer c");
    open_routes(f, &usual);
    expect_status(f, RECORD_SESSION, "s", STATUS_OK);
    record_watch_init(&w.watch, on_change);
    record_watch_start(f->resolver, &w.watch, RECORD_SESSION, SLICE("s"));
    control(f, "HSET session:{s} note unrelated");
    run_for(f, 30);
    assert_int_equal(w.count, 0);
    control(f, "HSET session:{s} revoked 1");
    run_for(f, 50);
    assert_int_equal(w.count, 1);
    assert_true(w.revoked);
    control(f, "CLIENT KILL TYPE pubsub");
    control(f, "DEL session:{s}"); /* unseen */
    assert_true(wait_link(f, false, 1000));
    assert_true(wait_link(f, true, 2000));
    run_for(f, 50);
    assert_int_equal(w.count, 2);
    assert_int_equal(w.status, STATUS_TOKEN_REVOKED);
    record_watch_stop(&w.watch);
}

static void a_prefix_keeps_two_deployments_apart(void **state)
{
    struct fixture *f = *state;
    char url[160];

    control(f, "HSET blue/computer:{c} state running agent h:1");
    control(f, "HSET computer:{c} state running agent h:9");
    snprintf(url, sizeof(url), "unix://%s", f->server.socket_path);
    open_store(f, url, "blue/", NULL);
    open_routes(f, &usual);
    expect_agent(f, "c", "h:1");
    control(f, "HSET blue/computer:{c} agent h:2");
    assert_in_range(ms_until_agent(f, "c", "h:2"), 0, 100);
}

static void ids_with_odd_bytes_are_kept_apart(void **state)
{
    struct fixture *f = *state;

    put(f, "a}b", "h:1");
    put(f, "a", "h:2");
    open_routes(f, &usual);
    expect_agent(f, "a}b", "h:1");
    expect_agent(f, "a", "h:2");
    put(f, "a}b", "h:3");
    assert_in_range(ms_until_agent(f, "a}b", "h:3"), 0, 100);
}

/* ---- commands ---- */

struct told {
    unsigned count;
    enum status status;
    enum redis_kind kind;
    int64_t integer;
};

static void on_reply(void *arg, enum status status, const struct redis_reply *reply)
{
    struct told *told = arg;

    told->count++;
    told->status = status;
    if (status == STATUS_OK) {
        told->kind = reply->kind;
        told->integer = reply->integer;
    }
}

static void await_reply(struct fixture *f, struct told *told, uint64_t within_ms)
{
    uint64_t due_ms = now_ms() + within_ms;

    while (told->count == 0 && now_ms() < due_ms)
        loop_turn(f->loop, 20);
    assert_int_equal(told->count, 1);
}

static void records_can_be_written_through_the_store(void **state)
{
    struct fixture *f = *state;
    struct route_store *store;
    struct told told = { 0 }, cancelled = { 0 };
    struct redis_command *command;
    struct buf key = { 0 };
    char url[160];

    snprintf(url, sizeof(url), "unix://%s", f->server.socket_path);
    open_store(f, url, "", NULL);
    store = f->store;
    f->resolver = route_resolver_create(f->loop, store, &usual);
    f->store = NULL;
    route_store_redis_append_key(store, RECORD_COMPUTER, SLICE("c"), &key);
    const struct slice hset[] = { SLICE("HSET"),    buf_slice(&key), SLICE("state"),
                                  SLICE("running"), SLICE("agent"),  SLICE("h:1") };
    const struct slice xadd[] = { SLICE("XADD"), SLICE("wake"), SLICE("*"), SLICE("computer"),
                                  SLICE("c") };
    const struct slice wrong[] = { SLICE("NONSENSE") };

    command = route_store_redis_command(store, hset, 6, on_reply, &told); /* before it is up */
    assert_non_null(command);
    await_reply(f, &told, 3000);
    assert_int_equal(told.status, STATUS_OK);
    assert_int_equal(told.integer, 2);
    told = (struct told){ 0 };
    command = route_store_redis_command(store, xadd, 5, on_reply, &told);
    await_reply(f, &told, 1000);
    assert_int_equal(told.kind, REDIS_TEXT);
    told = (struct told){ 0 };
    command = route_store_redis_command(store, wrong, 1, on_reply, &told);
    await_reply(f, &told, 1000);
    assert_int_equal(told.kind, REDIS_ERROR);
    command = route_store_redis_command(store, xadd, 5, on_reply, &cancelled);
    route_store_redis_cancel(&command);
    assert_null(command);
    assert_true(route_resolver_link_is_up(f->resolver));
    expect_agent(f, "c", "h:1");
    assert_int_equal(cancelled.count, 0);
    buf_deinit(&key);
}

static void a_command_fails_when_redis_stays_away(void **state)
{
    struct fixture *f = *state;
    struct told told = { 0 };
    const struct slice ping[] = { SLICE("PING") };
    struct redis_command *command;
    char url[160];

    snprintf(url, sizeof(url), "unix://%s", f->server.socket_path);
    redis_server_kill(&f->server);
    open_store(f, url, "", NULL);
    command = route_store_redis_command(f->store, ping, 1, on_reply, &told);
    assert_non_null(command);
    await_reply(f, &told, 3500);
    assert_int_equal(told.status, STATUS_ROUTE_UNAVAILABLE);
}

/* ---- endpoints ---- */

static int begin_with_password_and_tls(void **state)
{
    struct fixture *f = mem_zeroed(sizeof(*f));

    redis_server_create(&f->server, "p@ss word", true);
    redis_control_connect(&f->control, &f->server);
    assert_int_equal(loop_create(&f->loop), STATUS_OK);
    *state = f;
    return 0;
}

static void tcp_with_password_and_database(void **state)
{
    struct fixture *f = *state;
    char url[160];

    control(f, "SELECT 3");
    put(f, "c", "h:1");
    snprintf(url, sizeof(url), "redis://:p%%40ss%%20word@127.0.0.1:%u/3", f->server.port);
    open_store(f, url, "", NULL);
    open_routes(f, &usual);
    expect_agent(f, "c", "h:1");
    put(f, "c", "h:2");
    assert_in_range(ms_until_agent(f, "c", "h:2"), 0, 100);
}

static void a_named_user_needs_no_more_than_its_rights(void **state)
{
    struct fixture *f = *state;
    char url[160];

    control(f, "ACL SETUSER open on nopass ~computer:* ~host:* ~session:* "
               "&__redis__:invalidate +hgetall +subscribe +client|id +client|tracking +ping");
    control(f, "ACL SETUSER gw on >secret ~computer:* ~host:* ~session:* "
               "&__redis__:invalidate +hgetall +subscribe +client|id +client|tracking +ping");
    put(f, "c", "h:1");
    snprintf(url, sizeof(url), "redis://gw:secret@127.0.0.1:%u", f->server.port);
    open_store(f, url, "", NULL);
    open_routes(f, &usual);
    expect_agent(f, "c", "h:1");
    route_resolver_destroy(&f->resolver);
    snprintf(url, sizeof(url), "redis://open@127.0.0.1:%u", f->server.port);
    open_store(f, url, "", NULL);
    open_routes(f, &usual);
    expect_agent(f, "c", "h:1");
}

static void rediss_checks_the_certificate(void **state)
{
    struct fixture *f = *state;
    struct tls_context *tls = NULL, *distrustful = NULL;
    struct tls_client_options options = { .ca_file = f->server.certificate_file };
    struct tls_client_options system_only = { .ca_file = NULL };
    char url[160];

    assert_int_equal(tls_context_create_client(&options, NULL, &tls), STATUS_OK);
    assert_int_equal(tls_context_create_client(&system_only, NULL, &distrustful), STATUS_OK);
    put(f, "c", "h:1");
    snprintf(url, sizeof(url), "rediss://:p%%40ss%%20word@localhost:%u", f->server.tls_port);
    open_store(f, url, "", distrustful);
    const struct route_store_redis_counters *counters = route_store_redis_counters(f->store);
    run_for(f, 200);
    assert_int_equal(counter_read(&counters->link_up), 0);
    assert_int_equal(counter_read(&counters->connects), 0);
    assert_true(counter_read(&counters->disconnects) > 0);
    route_store_destroy(&f->store);

    open_store(f, url, "", tls);
    open_routes(f, &usual);
    expect_agent(f, "c", "h:1");
    put(f, "c", "h:2");
    assert_in_range(ms_until_agent(f, "c", "h:2"), 0, 100);
    tls_context_unref(&tls);
    tls_context_unref(&distrustful);
}

static void a_wrong_password_is_retried_until_it_is_right(void **state)
{
    struct fixture *f = *state;
    char url[160];

    put(f, "c", "h:1");
    snprintf(url, sizeof(url), "redis://:wrong@127.0.0.1:%u", f->server.port);
    open_store(f, url, "", NULL);
    const struct route_store_redis_counters *counters = route_store_redis_counters(f->store);
    f->resolver = route_resolver_create(f->loop, f->store, &usual);
    f->store = NULL;
    assert_false(wait_link(f, true, 600));
    assert_in_range(counter_read(&counters->disconnects), 2, 20);
    control(f, "CONFIG SET requirepass wrong");
    assert_true(wait_link(f, true, 2000));
    expect_agent(f, "c", "h:1");
}

static void nobody_listening_is_retried_with_growing_pauses(void **state)
{
    struct fixture *f = *state;
    char url[160];

    snprintf(url, sizeof(url), "redis://localhost.invalid:%u", f->server.port);
    open_store(f, url, "", NULL);
    run_for(f, 100);
    route_store_destroy(&f->store);
    snprintf(url, sizeof(url), "redis://127.0.0.1:1");
    open_store(f, url, "", NULL);
    const struct route_store_redis_counters *counters = route_store_redis_counters(f->store);
    run_for(f, 1000);
    assert_in_range(counter_read(&counters->disconnects), 3, 6); /* 50–100, 100–200, 200–400 … */
    assert_int_equal(counter_read(&counters->connects), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
#define TEST_SECURED(name) cmocka_unit_test_setup_teardown(name, begin_with_password_and_tls, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(records_are_found_and_absent_ones_are_not),
        TEST(a_change_is_in_force_within_100_ms),
        TEST(an_absent_record_that_is_created_is_found_at_once),
        TEST(a_hit_sends_nothing_to_redis),
        TEST(flushall_forgets_everything),
        TEST(an_expiring_key_is_noticed),
        TEST(when_redis_dies_known_records_serve_and_unknown_ones_are_unavailable),
        TEST(no_request_to_a_known_record_fails_while_redis_is_killed_and_restarted),
        TEST(a_lookup_rides_over_a_short_outage),
        TEST(a_redis_that_hangs_is_noticed_and_known_records_serve),
        TEST(an_idle_link_to_a_redis_that_hangs_is_dead_within_three_seconds),
        TEST(losing_the_invalidation_connection_alone_makes_every_record_doubtful),
        TEST(losing_the_command_connection_alone_recovers_too),
        TEST(a_change_during_a_read_never_leaves_the_old_value_behind),
        TEST(a_record_that_is_not_understood_is_no_route),
        TEST(a_reply_that_is_too_large_costs_the_connection_once),
        TEST(a_reply_of_too_many_elements_is_refused),
        TEST(more_reads_than_the_limit_are_unavailable_at_once),
        TEST(a_watched_session_tells_of_its_revocation_also_after_an_outage),
        TEST(a_prefix_keeps_two_deployments_apart),
        TEST(ids_with_odd_bytes_are_kept_apart),
        TEST(records_can_be_written_through_the_store),
        TEST(a_command_fails_when_redis_stays_away),
        TEST_SECURED(tcp_with_password_and_database),
        TEST_SECURED(a_named_user_needs_no_more_than_its_rights),
        TEST_SECURED(rediss_checks_the_certificate),
        TEST_SECURED(a_wrong_password_is_retried_until_it_is_right),
        TEST_SECURED(nobody_listening_is_retried_with_growing_pauses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
