/* tests/unit/net/conn_tcp_test.c — conns in the clear, their end, and the polite close. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <signal.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/mem.h"
#include "net_fixture.h"

static struct loop *loop;
static struct probe accepted;
static bool gathers; /* all tests run both ways */

static int set_up(void **state)
{
    (void)state;
    accepted = (struct probe){ 0 };
    if (loop_create(&loop) != STATUS_OK)
        return -1;
    if (gathers)
        loop_gather_io(loop);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    probe_deinit(&accepted);
    loop_destroy(&loop);
    return 0;
}

/* A listening socket of the test's own. */
static int listen_on_loopback(struct address *out_address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(address_parse(SLICE("127.0.0.1:0"), out_address), STATUS_OK);
    assert_int_equal(bind(fd, (struct sockaddr *)&out_address->storage, out_address->len), 0);
    assert_int_equal(listen(fd, 4), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&out_address->storage, &out_address->len),
                     0);
    return fd;
}

static void dial(const struct address *to, struct probe *probe, uint64_t timeout_ms)
{
    struct conn_connect_options options = { .timeout_ms = timeout_ms };

    probe_take(probe, conn_connect_start(loop, to, &options, &probe_events, probe));
    assert_int_equal(probe->open_count, 0);
}

static void connected_conn_opens_on_a_later_turn_and_carries_bytes(void **state)
{
    struct address address;
    int listening = listen_on_loopback(&address);
    char text[16] = "";

    (void)state;
    accepted.out = SLICE("hello");
    accepted.shuts_down = true;
    dial(&address, &accepted, 2000);
    assert_true(run_until(loop, probe_is_open, &accepted));
    assert_int_equal(accepted.open_status, STATUS_OK);
    assert_null(accepted.conn->tls.version);
    assert_true(address_equal(&accepted.conn->peer, &address));

    int fd = accept(listening, NULL, NULL);

    assert_int_equal(recv(fd, text, 5, MSG_WAITALL), 5);
    assert_string_equal(text, "hello");
    assert_int_equal(recv(fd, text, 1, 0), 0);
    assert_int_equal(write(fd, "reply", 5), 5);
    close(fd);
    assert_true(run_until(loop, probe_has_ended, &accepted));
    assert_int_equal(accepted.end, STATUS_CLOSED);
    assert_true(slice_equal(buf_slice(&accepted.in), SLICE("reply")));
    assert_true(busy_turns(loop, 50) <= 2);
    close(listening);
}

static void refused_connection_is_unreachable(void **state)
{
    struct address address;

    (void)state;
    close(listen_on_loopback(&address));
    dial(&address, &accepted, 2000);
    assert_true(run_until(loop, probe_is_open, &accepted));
    assert_int_equal(accepted.open_status, STATUS_AGENT_UNREACHABLE);
    assert_int_equal(accepted.open_count, 1);
}

static void missing_unix_socket_is_unreachable(void **state)
{
    struct address address;

    (void)state;
    assert_int_equal(address_parse(SLICE("unix:/nonexistent/socket"), &address), STATUS_OK);
    dial(&address, &accepted, 2000);
    assert_true(run_until(loop, probe_is_open, &accepted));
    assert_int_equal(accepted.open_status, STATUS_AGENT_UNREACHABLE);
    assert_int_equal(conn_read(accepted.conn, (char[1]){ 0 }, 1, &(size_t){ 0 }), STATUS_SYSTEM);
}

static void destroyed_before_it_opened_it_never_opens(void **state)
{
    struct address address;
    int listening = listen_on_loopback(&address);

    (void)state;
    dial(&address, &accepted, 2000);
    conn_destroy(&accepted.conn);
    conn_destroy(&accepted.conn);
    run_ms(loop, 20);
    assert_int_equal(accepted.open_count, 0);
    close(listening);
}

static void reset_is_an_error_and_paused_conns_do_not_spin(void **state)
{
    int other;
    struct linger reset = { 1, 0 };
    struct address address;
    int listening = listen_on_loopback(&address);

    (void)state;
    accepted.pause_bytes = 1;
    dial(&address, &accepted, 2000);
    assert_true(run_until(loop, probe_is_open, &accepted));
    other = accept(listening, NULL, NULL);
    assert_int_equal(write(other, "x", 1), 1);
    run_ms(loop, 20);
    assert_int_equal(accepted.in.len, 1);
    (void)setsockopt(other, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(other);
    assert_true(busy_turns(loop, 50) <= 2);
    assert_int_equal(accepted.end, STATUS_OK);
    conn_want_read(accepted.conn, true);
    assert_true(run_until(loop, probe_has_ended, &accepted));
    assert_int_equal(accepted.end, STATUS_SYSTEM);
    accepted.out = SLICE("x");
    probe_write(&accepted);
    assert_int_equal(accepted.write_status, STATUS_SYSTEM);
    close(listening);
}

static bool is_written(void *arg)
{
    return ((struct probe *)arg)->out.len == 0;
}

static void full_transport_says_again_and_then_writable(void **state)
{
    enum { BYTES = 8 * 1024 * 1024 };
    char *bytes = mem_zeroed(BYTES);
    char *scrap = mem_alloc(1024 * 1024);
    int other;

    (void)state;
    probe_take(&accepted, pair_accepted(loop, NULL, &other));
    accepted.out = slice_of(bytes, BYTES);
    assert_true(run_until(loop, probe_is_open, &accepted));
    assert_int_equal(accepted.write_status, STATUS_AGAIN);
    assert_true(accepted.out.len > 0);
    assert_true(busy_turns(loop, 30) <= 2);
    for (unsigned i = 0; i < 10000 && !is_written(&accepted); i++) {
        (void)!read(other, scrap, 1024 * 1024);
        loop_turn(loop, 0);
    }
    assert_true(is_written(&accepted));
    assert_true(accepted.writable_count > 1);
    close(other);
    mem_free(scrap);
    mem_free(bytes);
}

static void half_close_leaves_reading_open(void **state)
{
    int other;
    char byte;

    (void)state;
    accepted.out = SLICE("x");
    accepted.shuts_down = true;
    probe_take(&accepted, pair_accepted(loop, NULL, &other));
    assert_true(run_until(loop, probe_is_open, &accepted));
    assert_int_equal(read(other, &byte, 1), 1);
    assert_int_equal(read(other, &byte, 1), 0);
    assert_int_equal(write(other, "late", 4), 4);
    close(other);
    assert_true(run_until(loop, probe_has_ended, &accepted));
    assert_true(slice_equal(buf_slice(&accepted.in), SLICE("late")));
}

static void destroying_inside_callbacks_is_allowed(void **state)
{
    int other;

    (void)state;
    accepted.destroy_on_open = true;
    probe_take(&accepted, pair_accepted(loop, NULL, &other));
    run_ms(loop, 10);
    assert_null(accepted.conn);
    close(other);
    accepted = (struct probe){ .destroy_on_read = true };
    probe_take(&accepted, pair_accepted(loop, NULL, &other));
    assert_int_equal(write(other, "x", 1), 1);
    run_ms(loop, 10);
    assert_null(accepted.conn);
    close(other);
}

static struct conn *open_pair(int *out_other)
{
    struct conn *conn = pair_accepted(loop, NULL, out_other);

    probe_take(&accepted, conn);
    assert_true(run_until(loop, probe_is_open, &accepted));
    conn_want_read(conn, false);
    accepted.conn = NULL;
    return conn;
}

static void lingering_conn_takes_input_until_the_peer_closes(void **state)
{
    int other;
    struct conn *conn = open_pair(&other);
    char byte, junk[1000] = { 0 };

    (void)state;
    conn_linger(&conn);
    assert_null(conn);
    conn_linger(&conn);
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(write(other, junk, sizeof(junk)), sizeof(junk));
        loop_turn(loop, 5);
    }
    assert_int_equal(read(other, &byte, 1), 0); /* its FIN */
    shutdown(other, SHUT_WR);
    run_ms(loop, 20);
    assert_int_equal(write(other, junk, 1), -1); /* gone */
    close(other);
}

static void lingering_conn_takes_a_megabyte_and_no_more(void **state)
{
    int other;
    struct conn *conn = open_pair(&other);
    char junk[16384] = { 0 };
    size_t total = 0;

    (void)state;
    conn_linger(&conn);
    for (unsigned i = 0; i < 5000; i++) {
        ssize_t count = write(other, junk, sizeof(junk));

        if (count == -1 && errno == EPIPE)
            break;
        total += count > 0 ? (size_t)count : 0;
        loop_turn(loop, 0);
    }
    assert_in_range(total, 1024 * 1024, 2 * 1024 * 1024);
    close(other);
}

static void lingering_conns_end_with_the_loop(void **state)
{
    int other;
    struct conn *conn = open_pair(&other);

    (void)state;
    conn_linger(&conn);
    loop_destroy(&loop);
    close(other);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(connected_conn_opens_on_a_later_turn_and_carries_bytes),
        TEST(refused_connection_is_unreachable),
        TEST(missing_unix_socket_is_unreachable),
        TEST(destroyed_before_it_opened_it_never_opens),
        TEST(reset_is_an_error_and_paused_conns_do_not_spin),
        TEST(full_transport_says_again_and_then_writable),
        TEST(half_close_leaves_reading_open),
        TEST(destroying_inside_callbacks_is_allowed),
        TEST(lingering_conn_takes_input_until_the_peer_closes),
        TEST(lingering_conn_takes_a_megabyte_and_no_more),
        TEST(lingering_conns_end_with_the_loop),
    };

    signal(SIGPIPE, SIG_IGN); /* the test's own ends use write() */
    int failed = cmocka_run_group_tests_name("one by one", tests, NULL, NULL);
    gathers = true;
    return failed + cmocka_run_group_tests_name("gathered", tests, NULL, NULL);
}
