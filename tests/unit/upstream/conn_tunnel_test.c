/* A conn over a CONNECT exchange: it must be as good as a socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "pool_fixture.h"
#include "served_agent.h"
#include "upstream/conn_tunnel.h"

struct tunnel_fixture {
    struct fixture *base;
    struct served_agent agent;
    struct http_client *carrier;
    struct conn *conn;
    bool was_opened;
    enum status open_status;
    bool destroys_on_open;
    unsigned readable_count, writable_count;
};

static int setup(void **state)
{
    struct tunnel_fixture *t = mem_zeroed(sizeof(*t));
    void *base;

    fixture_setup(&base);
    t->base = base;
    served_agent_init(&t->agent, t->base->loop, NULL);
    t->base->target.agent = slice_from_string(t->agent.text);

    struct waiter w;

    waiter_start(&w, t->base, false);
    TURN_UNTIL(t->base, w.was_told);
    t->carrier = upstream_pool_take(t->base->pool, &t->base->target);
    assert_non_null(t->carrier);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct tunnel_fixture *t = *state;
    void *base = t->base;

    conn_destroy(&t->conn);
    upstream_pool_destroy(&t->base->pool);
    served_agent_deinit(&t->agent);
    fixture_teardown(&base);
    mem_free(t);
    return 0;
}

static void on_open(void *owner, enum status status)
{
    struct tunnel_fixture *t = owner;

    assert_false(t->was_opened);
    t->was_opened = true;
    t->open_status = status;
    if (t->destroys_on_open)
        conn_destroy(&t->conn);
}

static void on_readable(void *owner)
{
    ((struct tunnel_fixture *)owner)->readable_count++;
}

static void on_writable(void *owner)
{
    ((struct tunnel_fixture *)owner)->writable_count++;
}

static const struct conn_events events = {
    .on_open = on_open,
    .on_readable = on_readable,
    .on_writable = on_writable,
};

static void start(struct tunnel_fixture *t, uint16_t port)
{
    t->conn = conn_tunnel_start(t->carrier, port, 300, &events, t);
    assert_false(t->was_opened);
}

static enum status open_status(struct tunnel_fixture *t, uint16_t port)
{
    start(t, port);
    TURN_UNTIL(t->base, t->was_opened);
    return t->open_status;
}

static size_t write_some(struct tunnel_fixture *t, struct slice bytes)
{
    struct slice parts[2] = { slice_first(bytes, bytes.len / 2), slice_skip(bytes, bytes.len / 2) };
    size_t count = 0;
    enum status status = conn_write(t->conn, parts, 2, &count);

    assert_true(status == STATUS_OK || (status == STATUS_AGAIN && count == 0));
    return count;
}

static void bytes_come_back_whole_and_in_order(void **state)
{
    enum { TOTAL_BYTES = 1024 * 1024 };
    struct tunnel_fixture *t = *state;
    char *sent = mem_alloc(TOTAL_BYTES);
    char *received = mem_alloc(TOTAL_BYTES);
    size_t sent_bytes = 0, received_bytes = 0, count;
    enum status status = STATUS_AGAIN;

    for (size_t i = 0; i < TOTAL_BYTES; i++)
        sent[i] = (char)(i * 31 + i / 977);
    assert_int_equal(open_status(t, SERVED_PORT_ECHO), STATUS_OK);
    conn_want_read(t->conn, true);
    while (received_bytes < TOTAL_BYTES) {
        sent_bytes += write_some(t, slice_of(sent + sent_bytes, TOTAL_BYTES - sent_bytes));
        if (sent_bytes < TOTAL_BYTES)
            conn_want_write(t->conn);
        status = conn_read(
            t->conn, received + received_bytes,
            TOTAL_BYTES - received_bytes < 5000 ? TOTAL_BYTES - received_bytes : 5000, &count);
        if (status == STATUS_OK) {
            received_bytes += count;
            continue;
        }
        assert_int_equal(status, STATUS_AGAIN);

        unsigned events_before = t->readable_count + t->writable_count;

        TURN_UNTIL(t->base, t->readable_count + t->writable_count > events_before);
    }
    assert_memory_equal(sent, received, TOTAL_BYTES);
    conn_shutdown(t->conn);
    TURN_UNTIL(t->base, conn_read(t->conn, received, 1, &count) == STATUS_CLOSED);
    mem_free(sent);
    mem_free(received);
}

static void a_reader_that_stops_stops_the_source_within_its_windows(void **state)
{
    struct tunnel_fixture *t = *state;
    char bytes[16384];
    size_t count;

    assert_int_equal(open_status(t, SERVED_PORT_SOURCE), STATUS_OK);
    turn_for(t->base, 50);

    size_t stopped_at = t->agent.source_bytes;

    assert_in_range(stopped_at, 1, 64 * 1024); /* one window */
    turn_for(t->base, 30);
    assert_int_equal(t->agent.source_bytes, stopped_at);
    assert_int_equal(t->readable_count, 0); /* reading was not wanted */
    conn_want_read(t->conn, true);
    TURN_UNTIL(t->base, t->readable_count > 0);
    for (size_t total = 0; total < 256 * 1024;) {
        if (conn_read(t->conn, bytes, sizeof(bytes), &count) == STATUS_OK)
            total += count;
        else
            loop_turn(t->base->loop, 5);
    }
    assert_true(t->agent.source_bytes >= 256 * 1024);
}

static void a_sink_that_stops_stops_the_writer_within_two_windows(void **state)
{
    struct tunnel_fixture *t = *state;
    static const char bytes[32 * 1024];
    size_t total = 0, before;

    assert_int_equal(open_status(t, SERVED_PORT_SINK), STATUS_OK);
    do {
        before = total;
        for (size_t count; (count = write_some(t, slice_of(bytes, sizeof(bytes)))) > 0;)
            total += count;
        turn_for(t->base, 20);
    } while (total > before);
    assert_in_range(total, 64 * 1024, 2 * 64 * 1024 + 16 * 1024);
    conn_want_write(t->conn);
    turn_for(t->base, 20);
    assert_int_equal(t->writable_count, 0);
}

static void writable_comes_once_for_each_wish(void **state)
{
    struct tunnel_fixture *t = *state;

    assert_int_equal(open_status(t, SERVED_PORT_ECHO), STATUS_OK);
    conn_want_write(t->conn);
    assert_int_equal(t->writable_count, 0);
    turn_for(t->base, 10);
    assert_int_equal(t->writable_count, 1);
    conn_want_write(t->conn);
    turn_for(t->base, 10);
    assert_int_equal(t->writable_count, 2);
}

static void wishes_before_opening_are_remembered(void **state)
{
    struct tunnel_fixture *t = *state;
    char byte;
    size_t count = 0;

    start(t, SERVED_PORT_SOURCE);
    assert_int_equal(conn_read(t->conn, &byte, 1, &count), STATUS_AGAIN);
    assert_int_equal(write_some(t, SLICE("early")), 0);
    conn_want_read(t->conn, true);
    conn_want_write(t->conn);
    TURN_UNTIL(t->base, t->readable_count > 0 && t->writable_count > 0);
    assert_true(t->was_opened);
}

static void what_is_left_unread_is_told_again(void **state)
{
    struct tunnel_fixture *t = *state;
    char byte;
    size_t count;

    assert_int_equal(open_status(t, SERVED_PORT_ECHO), STATUS_OK);
    conn_want_read(t->conn, true);
    assert_int_equal(write_some(t, SLICE("abc")), 3);
    for (unsigned i = 1; i <= 3; i++) {
        TURN_UNTIL(t->base, t->readable_count >= i);
        assert_int_equal(conn_read(t->conn, &byte, 1, &count), STATUS_OK);
        assert_int_equal(byte, "abc"[i - 1]);
    }
    turn_for(t->base, 10);
    assert_int_equal(t->readable_count, 3);
}

static void a_port_that_nothing_listens_on_is_closed(void **state)
{
    struct tunnel_fixture *t = *state;
    struct raw_agent deaf;

    raw_agent_bind(&deaf);

    uint64_t port = 0;

    assert_true(
        slice_to_u64(slice_skip(slice_from_string(deaf.text), strlen("127.0.0.1:")), &port));
    assert_int_equal(open_status(t, (uint16_t)port), STATUS_PORT_CLOSED);
    raw_agent_close(&deaf);
}

static void a_reset_while_opening_is_told(void **state)
{
    assert_int_equal(open_status(*state, SERVED_PORT_RESETS), STATUS_AGENT_RESET);
}

static void silence_times_out(void **state)
{
    struct tunnel_fixture *t = *state;
    size_t count;
    char byte;

    assert_int_equal(open_status(t, SERVED_PORT_SILENT), STATUS_AGENT_TIMED_OUT);
    assert_int_equal(conn_read(t->conn, &byte, 1, &count), STATUS_SYSTEM);
    TURN_UNTIL(t->base, list_is_empty(&t->agent.open)); /* the agent was told */
}

static void losing_the_agent_is_a_broken_conn(void **state)
{
    struct tunnel_fixture *t = *state;
    struct slice part = SLICE("x");
    size_t count;
    char byte;

    assert_int_equal(open_status(t, SERVED_PORT_ECHO), STATUS_OK);
    conn_want_read(t->conn, true);
    http_server_destroy(&t->agent.server);
    TURN_UNTIL(t->base, t->readable_count > 0);
    assert_int_equal(conn_read(t->conn, &byte, 1, &count), STATUS_SYSTEM);
    assert_int_equal(conn_write(t->conn, &part, 1, &count), STATUS_SYSTEM);
    turn_for(t->base, 10);
    assert_int_equal(t->readable_count, 1); /* told once */
}

static void destroying_it_at_any_time_resets_the_exchange(void **state)
{
    struct tunnel_fixture *t = *state;

    start(t, SERVED_PORT_ECHO);
    conn_destroy(&t->conn);
    conn_destroy(&t->conn);
    turn_for(t->base, 10);
    assert_false(t->was_opened);

    t->destroys_on_open = true;
    (void)open_status(t, SERVED_PORT_SOURCE);
    assert_null(t->conn);
    TURN_UNTIL(t->base, list_is_empty(&t->agent.open));
}

static void it_outlives_its_carrier(void **state)
{
    struct tunnel_fixture *t = *state;
    size_t count;
    char byte;

    assert_int_equal(open_status(t, SERVED_PORT_ECHO), STATUS_OK);
    upstream_pool_destroy(&t->base->pool);
    assert_int_equal(conn_read(t->conn, &byte, 1, &count), STATUS_SYSTEM);
    conn_shutdown(t->conn);
    turn_for(t->base, 10);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(bytes_come_back_whole_and_in_order),
        TEST(a_reader_that_stops_stops_the_source_within_its_windows),
        TEST(a_sink_that_stops_stops_the_writer_within_two_windows),
        TEST(writable_comes_once_for_each_wish),
        TEST(wishes_before_opening_are_remembered),
        TEST(what_is_left_unread_is_told_again),
        TEST(a_port_that_nothing_listens_on_is_closed),
        TEST(a_reset_while_opening_is_told),
        TEST(silence_times_out),
        TEST(losing_the_agent_is_a_broken_conn),
        TEST(destroying_it_at_any_time_resets_the_exchange),
        TEST(it_outlives_its_carrier),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
