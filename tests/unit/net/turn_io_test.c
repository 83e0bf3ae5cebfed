/* tests/unit/net/turn_io_test.c — conns of one turn that read and send together: by io_uring, which
 * is told to fail here and there, and without it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>
#include <liburing.h>

#include "base/mem.h"
#include "net/loop_internal.h"
#include "net_fixture.h"

enum { PAIR = 2, MUCH_BYTES = 300000 };

/* Two conns, so that there is something to gather, and their peers. */
struct fixture {
    struct loop *loop;
    struct probe probes[PAIR];
    int others[PAIR];
};

/* ---- what stands before the libraries' own ---- */

static unsigned recv_count, send_count; /* system calls of one socket alone */
static int ring_error;                  /* what making a ring gives */
static int send_error;                  /* of the next send() */
static unsigned submit_failures;        /* so many submissions take nothing */

ssize_t recv(int fd, void *into, size_t size, int flags)
{
    recv_count++;
    return syscall(SYS_recvfrom, fd, into, size, flags, NULL, NULL);
}

ssize_t send(int fd, const void *bytes, size_t size, int flags)
{
    send_count++;
    if (send_error != 0) {
        errno = send_error;
        send_error = 0;
        return -1;
    }
    return syscall(SYS_sendto, fd, bytes, size, flags, NULL, 0);
}

int io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags)
{
    int (*own)(unsigned, struct io_uring *, unsigned);

    *(void **)&own = dlsym(RTLD_NEXT, "io_uring_queue_init");
    return ring_error != 0 ? ring_error : own(entries, ring, flags);
}

int io_uring_submit_and_wait(struct io_uring *ring, unsigned wait_nr)
{
    int (*own)(struct io_uring *, unsigned);

    *(void **)&own = dlsym(RTLD_NEXT, "io_uring_submit_and_wait");
    if (submit_failures == 0)
        return own(ring, wait_nr);
    submit_failures--;
    return -EBUSY;
}

/* ---- the pair ---- */

static void open_pair(struct fixture *f, bool is_tcp)
{
    struct address here;
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(address_parse(SLICE("127.0.0.1:0"), &here), STATUS_OK);
    assert_int_equal(bind(listening, (struct sockaddr *)&here.storage, here.len), 0);
    assert_int_equal(listen(listening, 4), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&here.storage, &here.len), 0);
    for (int i = 0; i < PAIR; i++) {
        if (is_tcp) {
            f->others[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            assert_int_equal(connect(f->others[i], (struct sockaddr *)&here.storage, here.len), 0);
            probe_take(&f->probes[i],
                       conn_accepted(f->loop, accept4(listening, NULL, NULL, SOCK_NONBLOCK), &here,
                                     NULL, 2000));
        } else {
            probe_take(&f->probes[i], pair_accepted(f->loop, NULL, &f->others[i]));
        }
    }
    for (int i = 0; i < PAIR; i++)
        assert_true(run_until(f->loop, probe_is_open, &f->probes[i]));
    close(listening);
    recv_count = send_count = 0;
}

static int set_up(void **state)
{
    struct fixture *f = mem_zeroed(sizeof(*f));

    assert_int_equal(loop_create(&f->loop), STATUS_OK);
    loop_gather_io(f->loop);
    ring_error = 0;
    submit_failures = 0;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < PAIR; i++) {
        probe_deinit(&f->probes[i]);
        close(f->others[i]);
    }
    loop_destroy(&f->loop);
    mem_free(f);
    return 0;
}

static void both_write(struct fixture *f, const char *bytes, size_t len)
{
    for (int i = 0; i < PAIR; i++)
        assert_int_equal(write(f->others[i], bytes, len), len);
}

static bool both_have(struct fixture *f, const char *bytes, size_t len)
{
    for (int i = 0; i < PAIR; i++)
        if (!slice_equal(buf_slice(&f->probes[i].in), slice_of(bytes, len)))
            return false;
    return true;
}

/* Bytes that tell where they stand. */
static char *pattern(size_t len)
{
    char *bytes = mem_alloc(len);

    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)(i * 31 + i / 251);
    return bytes;
}

static enum status write_one(struct probe *probe, struct slice bytes, size_t *out_count)
{
    return conn_write(probe->conn, &bytes, 1, out_count);
}

static void write_all(struct probe *probe, struct slice bytes)
{
    size_t count = 0;

    assert_int_equal(write_one(probe, bytes, &count), STATUS_OK);
    assert_int_equal(count, bytes.len);
}

/* ---- reading ---- */

static void what_is_readable_together_is_read_together(void **state)
{
    struct fixture *f = *state;

    open_pair(f, true);
    both_write(f, "hello", 5);
    loop_turn(f->loop, 1000);
    assert_true(both_have(f, "hello", 5));
    assert_int_equal(recv_count, loop_turn_io(f->loop) != NULL ? 0 : PAIR);
}

static void what_its_owner_leaves_is_offered_again(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < PAIR; i++)
        f->probes[i].chunk_bytes = 3;
    open_pair(f, false);
    both_write(f, "0123456789", 10);
    for (int i = 0; i < 4; i++)
        loop_turn(f->loop, 100);
    assert_true(both_have(f, "0123456789", 10));
    assert_true(busy_turns(f->loop, 50) <= 2);
}

static void what_is_left_waits_while_its_owner_does_not_read(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < PAIR; i++) {
        f->probes[i].chunk_bytes = 4;
        f->probes[i].pause_bytes = 4;
    }
    open_pair(f, false);
    both_write(f, "0123456789", 10);
    run_ms(f->loop, 20);
    assert_true(both_have(f, "0123", 4));
    assert_true(busy_turns(f->loop, 50) <= 2);
    for (int i = 0; i < PAIR; i++) {
        f->probes[i].pause_bytes = 0;
        conn_want_read(f->probes[i].conn, true);
        close(f->others[i]);
    }
    for (int i = 0; i < PAIR; i++)
        assert_true(run_until(f->loop, probe_has_ended, &f->probes[i]));
    assert_true(both_have(f, "0123456789", 10));
    assert_int_equal(f->probes[0].end, STATUS_CLOSED);
}

static void much_comes_in_order(void **state)
{
    struct fixture *f = *state;
    char *bytes = pattern(MUCH_BYTES);
    size_t sent[PAIR] = { 0 };

    f->probes[0].chunk_bytes = 5000; /* more than is read ahead */
    f->probes[1].chunk_bytes = 1000;
    open_pair(f, false);
    for (int i = 0; i < 20000 && !both_have(f, bytes, MUCH_BYTES); i++) {
        for (int k = 0; k < PAIR; k++) {
            size_t piece = (size_t)(i * 7919 % 9000); /* on both sides of what is read ahead */
            size_t left = MUCH_BYTES - sent[k];
            ssize_t count = write(f->others[k], bytes + sent[k], piece < left ? piece : left);

            sent[k] += count > 0 ? (size_t)count : 0;
        }
        loop_turn(f->loop, 0);
    }
    assert_true(both_have(f, bytes, MUCH_BYTES));
    mem_free(bytes);
}

static void ends_and_resets_are_told_once(void **state)
{
    struct fixture *f = *state;
    struct linger reset = { 1, 0 };

    open_pair(f, true);
    (void)setsockopt(f->others[0], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(f->others[0]);
    close(f->others[1]);
    for (int i = 0; i < PAIR; i++)
        assert_true(run_until(f->loop, probe_has_ended, &f->probes[i]));
    assert_int_equal(f->probes[0].end, STATUS_SYSTEM);
    assert_int_equal(f->probes[1].end, STATUS_CLOSED);
    assert_true(busy_turns(f->loop, 50) <= 2);
    f->others[0] = f->others[1] = -1;
}

static struct probe *victim; /* of the other's callback */

static void on_readable_destroying(void *owner)
{
    (void)owner;
    if (victim->conn != NULL)
        conn_destroy(&victim->conn);
}

static void one_owner_may_end_the_other(void **state)
{
    static const struct conn_events events = { .on_readable = on_readable_destroying };
    struct fixture *f = *state;

    open_pair(f, false);
    for (int i = 0; i < PAIR; i++)
        conn_set_owner(f->probes[i].conn, &events, &f->probes[i]);
    victim = &f->probes[1];
    both_write(f, "x", 1);
    loop_turn(f->loop, 1000);
    assert_null(f->probes[1].conn);
    victim = &f->probes[0]; /* itself */
    assert_int_equal(write(f->others[0], "y", 1), 1);
    loop_turn(f->loop, 1000);
    assert_null(f->probes[0].conn);
}

/* ---- sending ---- */

static void expect(int fd, const char *bytes, size_t len)
{
    char *got = mem_alloc(len);
    size_t total = 0;

    while (total < len) {
        ssize_t count = read(fd, got + total, len - total);

        assert_true(count > 0);
        total += (size_t)count;
    }
    assert_memory_equal(got, bytes, len);
    mem_free(got);
}

static void small_writes_leave_together_at_the_end_of_the_turn(void **state)
{
    struct fixture *f = *state;

    open_pair(f, true);
    for (int i = 0; i < PAIR; i++) {
        write_all(&f->probes[i], SLICE("hel"));
        write_all(&f->probes[i], SLICE("lo"));
    }
    if (loop_turn_io(f->loop) != NULL)
        assert_int_equal(send_count, 0);
    loop_turn(f->loop, 0);
    for (int i = 0; i < PAIR; i++)
        expect(f->others[i], "hello", 5);
}

static void a_large_write_stays_behind_a_small_one(void **state)
{
    struct fixture *f = *state;
    char *bytes = pattern(MUCH_BYTES);
    size_t count = 0;

    open_pair(f, true);
    write_all(&f->probes[0], slice_of(bytes, 10));
    write_all(&f->probes[1], slice_of(bytes, 10));
    assert_int_equal(write_one(&f->probes[0], slice_of(bytes + 10, 20000), &count), STATUS_OK);
    if (count == 20000)
        write_all(&f->probes[0], slice_of(bytes + 20010, 10));
    conn_shutdown(f->probes[0].conn);
    expect(f->others[0], bytes, 10 + count + (count == 20000 ? 10 : 0));
    assert_int_equal(read(f->others[0], &(char){ 0 }, 1), 0);
    expect(f->others[1], bytes, 10);
    mem_free(bytes);
}

/* A peer that does not read for a while: nothing is lost, doubled or out of order. */
static void what_a_full_socket_does_not_take_goes_later(void **state)
{
    struct fixture *f = *state;
    char *bytes = pattern(MUCH_BYTES * 4);
    char *got = mem_alloc(MUCH_BYTES * 4);
    size_t told = 0, total = 0;

    open_pair(f, false);
    for (int round = 0; total < MUCH_BYTES * 4; round++) {
        for (int i = 0; i < 40 && told < MUCH_BYTES * 4; i++) {
            size_t count = 0, left = MUCH_BYTES * 4 - told;
            struct slice next = slice_of(bytes + told, left < 1999 ? left : 1999);
            enum status status = write_one(&f->probes[0], next, &count);

            if (status == STATUS_AGAIN)
                break;
            assert_int_equal(status, STATUS_OK);
            told += count;
            (void)write_one(&f->probes[1], SLICE("."), &count); /* in between */
        }
        loop_turn(f->loop, 0);
        if (round < 50)
            continue;
        ssize_t count = read(f->others[0], got + total, MUCH_BYTES * 4 - total);
        total += count > 0 ? (size_t)count : 0;
    }
    assert_memory_equal(got, bytes, MUCH_BYTES * 4);
    mem_free(got);
    mem_free(bytes);
}

static void a_failed_send_says_what_never_left(void **state)
{
    struct fixture *f = *state;
    struct linger reset = { 1, 0 };
    size_t count = 0;

    open_pair(f, true);
    for (int i = 0; i < PAIR; i++) {
        (void)setsockopt(f->others[i], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        close(f->others[i]);
        f->others[i] = -1;
        conn_want_read(f->probes[i].conn, false);
    }
    for (int i = 0; i < PAIR; i++) {
        if (loop_turn_io(f->loop) != NULL)
            write_all(&f->probes[i], SLICE("lost"));
        else
            assert_int_equal(write_one(&f->probes[i], SLICE("lost"), &count), STATUS_SYSTEM);
    }
    loop_turn(f->loop, 0);
    for (int i = 0; i < PAIR; i++) {
        assert_int_equal(f->probes[i].conn->unsent_bytes, loop_turn_io(f->loop) != NULL ? 4 : 0);
        if (loop_turn_io(f->loop) != NULL)
            assert_int_equal(write_one(&f->probes[i], SLICE("x"), &count), STATUS_SYSTEM);
        conn_want_read(f->probes[i].conn, true);
        assert_true(run_until(f->loop, probe_has_ended, &f->probes[i]));
    }
}

/* The kernel had no memory for it, and the connection lives on: reading is where its owner hears. */
static void a_failed_send_is_told_though_the_peer_is_quiet(void **state)
{
    struct fixture *f = *state;

    open_pair(f, true);
    send_error = ENOBUFS;
    if (loop_turn_io(f->loop) == NULL)
        return; /* conn_write() says it */
    write_all(&f->probes[0], SLICE("lost"));
    assert_true(run_until(f->loop, probe_has_ended, &f->probes[0]));
    assert_int_equal(f->probes[0].end, STATUS_SYSTEM);
    assert_int_equal(f->probes[0].conn->unsent_bytes, 4);
}

static void a_conn_that_goes_takes_nothing_with_it(void **state)
{
    struct fixture *f = *state;

    open_pair(f, true);
    for (int i = 0; i < PAIR; i++) {
        write_all(&f->probes[i], SLICE("last words"));
        conn_destroy(&f->probes[i].conn);
        expect(f->others[i], "last words", 10);
    }
}

/* ---- no ring ---- */

static void without_a_ring_everything_goes_one_by_one(void **state)
{
    struct fixture *f = *state;

    ring_error = -EPERM; /* as seccomp says */
    open_pair(f, true);
    assert_null(loop_turn_io(f->loop));
    both_write(f, "hello", 5);
    loop_turn(f->loop, 1000);
    assert_true(both_have(f, "hello", 5));
    for (int i = 0; i < PAIR; i++) {
        write_all(&f->probes[i], SLICE("answer"));
        expect(f->others[i], "answer", 6);
    }
}

static void a_ring_that_fails_loses_nothing(void **state)
{
    struct fixture *f = *state;

    open_pair(f, true);
    submit_failures = 1;
    both_write(f, "hello", 5);
    loop_turn(f->loop, 1000);
    assert_true(both_have(f, "hello", 5));
    assert_int_equal(submit_failures, loop_turn_io(f->loop) != NULL ? 0 : 1);
    for (int i = 0; i < PAIR; i++)
        write_all(&f->probes[i], SLICE("answer"));
    loop_turn(f->loop, 0);
    for (int i = 0; i < PAIR; i++)
        expect(f->others[i], "answer", 6);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_readable_together_is_read_together),
        TEST(what_its_owner_leaves_is_offered_again),
        TEST(what_is_left_waits_while_its_owner_does_not_read),
        TEST(much_comes_in_order),
        TEST(ends_and_resets_are_told_once),
        TEST(one_owner_may_end_the_other),
        TEST(small_writes_leave_together_at_the_end_of_the_turn),
        TEST(a_large_write_stays_behind_a_small_one),
        TEST(what_a_full_socket_does_not_take_goes_later),
        TEST(a_failed_send_says_what_never_left),
        TEST(a_failed_send_is_told_though_the_peer_is_quiet),
        TEST(a_conn_that_goes_takes_nothing_with_it),
        TEST(without_a_ring_everything_goes_one_by_one),
        TEST(a_ring_that_fails_loses_nothing),
    };

    signal(SIGPIPE, SIG_IGN); /* the test's own ends use write() */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
