/* tests/unit/net/loop_test.c — turns: tasks, messages, timers, and when they wait. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/mem.h"
#include "net/timer.h"
#include "net/watch.h"

enum { POSTS = 20000, THREADS = 2 };

static struct loop *loop;

static int set_up(void **state)
{
    (void)state;
    return loop_create(&loop) == STATUS_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    loop_destroy(&loop);
    loop_destroy(&loop);
    return 0;
}

struct counting {
    struct task task;
    struct timer timer;
    unsigned count;
    struct task *defer;
};

static void run_counting(struct task *task)
{
    struct counting *c = CONTAINER_OF(task, struct counting, task);

    c->count++;
    if (c->defer != NULL)
        task_defer(loop, c->defer);
}

static void on_due(struct timer *timer)
{
    CONTAINER_OF(timer, struct counting, timer)->count++;
}

static void task_runs_once_at_the_end_of_the_turn(void **state)
{
    struct counting a = { 0 };

    (void)state;
    task_init(&a.task, run_counting);
    task_defer(loop, &a.task);
    task_defer(loop, &a.task);
    assert_int_equal(a.count, 0);
    loop_turn(loop, 1000);
    assert_int_equal(a.count, 1);
    loop_turn(loop, 0);
    assert_int_equal(a.count, 1);
    task_defer(loop, &a.task);
    task_cancel(&a.task);
    task_cancel(&a.task);
    loop_turn(loop, 0);
    assert_int_equal(a.count, 1);
}

static void task_of_a_task_runs_in_the_same_turn(void **state)
{
    struct counting a = { 0 }, b = { 0 };

    (void)state;
    task_init(&a.task, run_counting);
    task_init(&b.task, run_counting);
    a.defer = &b.task;
    task_defer(loop, &a.task);
    loop_turn(loop, 0);
    assert_int_equal(b.count, 1);
}

static void deferring_for_ever_does_not_hang_the_turn(void **state)
{
    struct counting a = { 0 };

    (void)state;
    task_init(&a.task, run_counting);
    a.defer = &a.task;
    task_defer(loop, &a.task);
    loop_turn(loop, 1000);
    assert_in_range(a.count, 2, 100000);
    task_cancel(&a.task);
}

static void next_turn_does_not_wait_for_a_task(void **state)
{
    struct counting a = { 0 };
    uint64_t start_ms = loop_clock(loop)->now_ms;

    (void)state;
    task_init(&a.task, run_counting);
    task_defer_next(loop, &a.task);
    loop_turn(loop, 5000);
    assert_int_equal(a.count, 1);
    assert_true(loop_clock(loop)->now_ms - start_ms < 1000);
}

static void timer_is_never_early_and_hardly_late(void **state)
{
    struct counting a = { 0 };

    (void)state;
    timer_init(&a.timer, loop, on_due);
    for (unsigned i = 0; i < 5; i++) {
        struct clock start, end;

        a.count = 0;
        clock_refresh(&start);
        loop_turn(loop, 0);
        timer_arm(&a.timer, 500);
        timer_arm(&a.timer, 10);
        assert_true(timer_is_armed(&a.timer));
        while (a.count == 0)
            loop_turn(loop, 5000);
        clock_refresh(&end);
        assert_true(end.now_us - start.now_us >= 10000);
        assert_true(end.now_us - start.now_us < 400000);
        assert_false(timer_is_armed(&a.timer));
    }
    timer_arm(&a.timer, UINT64_MAX);
    loop_turn(loop, 0);
    timer_cancel(&a.timer);
    timer_cancel(&a.timer);
}

static unsigned next_expected[THREADS];

struct numbered {
    unsigned thread, number;
};

static void check_order(void *arg)
{
    struct numbered *n = arg;

    assert_int_equal(next_expected[n->thread]++, n->number);
    mem_free(n);
}

static void *post_many(void *arg)
{
    for (unsigned i = 0; i < POSTS; i++) {
        struct numbered *n = mem_alloc(sizeof(*n));

        *n = (struct numbered){ *(unsigned *)arg, i };
        loop_post(loop, check_order, n);
    }
    return NULL;
}

static void messages_of_other_threads_arrive_in_order(void **state)
{
    pthread_t threads[THREADS];
    unsigned numbers[THREADS];

    (void)state;
    for (unsigned i = 0; i < THREADS; i++) {
        numbers[i] = i;
        next_expected[i] = 0;
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, &numbers[i]), 0);
    }
    while (next_expected[0] < POSTS || next_expected[1] < POSTS)
        loop_turn(loop, 5000);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void stop_loop(void *arg)
{
    loop_stop(arg);
}

static void *stop_soon(void *arg)
{
    usleep(20000);
    loop_stop(arg);
    return NULL;
}

static void stop_ends_run_even_before_it_started(void **state)
{
    pthread_t thread;

    (void)state;
    loop_stop(loop);
    loop_run(loop);
    loop_post(loop, stop_loop, loop);
    loop_run(loop);
    assert_int_equal(pthread_create(&thread, NULL, stop_soon, loop), 0);
    loop_run(loop);
    pthread_join(thread, NULL);
}

static void unrun_messages_are_dropped_with_the_loop(void **state)
{
    (void)state;
    loop_post(loop, stop_loop, loop); /* ASan would tell of a leak */
}

struct watched {
    struct watch *watch;
    struct watch *other;
    unsigned readable, writable;
    bool destroys;
};

static void on_readable(void *owner)
{
    struct watched *w = owner;

    w->readable++;
    if (w->destroys) {
        watch_destroy(&w->watch);
        watch_destroy(&w->other);
    }
}

static void on_writable(void *owner)
{
    ((struct watched *)owner)->writable++;
}

static const struct watch_events events = { on_readable, on_writable };

static void watch_polls_only_what_is_wanted(void **state)
{
    struct watched w = { 0 };
    int fds[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    w.watch = watch_create(loop, fds[0], &events, &w);
    assert_int_equal(fcntl(fds[0], F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    assert_int_equal(write(fds[1], "x", 1), 1);
    loop_turn(loop, 5);
    assert_int_equal(w.readable, 0);
    watch_read(w.watch, true);
    loop_turn(loop, 1000);
    loop_turn(loop, 1000);
    assert_int_equal(w.readable, 2); /* level-triggered */
    watch_read(w.watch, false);
    watch_write(w.watch);
    watch_write(w.watch);
    loop_turn(loop, 1000);
    loop_turn(loop, 5);
    assert_int_equal(w.writable, 1);
    assert_int_equal(w.readable, 2);
    watch_read(w.watch, true);
    watch_write(w.watch);
    assert_int_equal(watch_release(&w.watch), fds[0]);
    assert_null(w.watch);
    loop_turn(loop, 5);
    assert_int_equal(w.readable, 2);
    close(fds[0]);
    close(fds[1]);
}

static void hung_up_descriptor_that_nobody_wants_does_not_spin(void **state)
{
    struct watched w = { 0 };
    struct clock start, end;
    int fds[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    w.watch = watch_create(loop, fds[0], &events, &w);
    watch_read(w.watch, true);
    loop_turn(loop, 1);
    watch_read(w.watch, false);
    close(fds[1]);
    clock_refresh(&start);
    loop_turn(loop, 50);
    clock_refresh(&end);
    assert_true(end.now_ms - start.now_ms >= 49);
    watch_destroy(&w.watch);
}

static void watches_may_be_destroyed_inside_a_callback(void **state)
{
    struct watched a = { .destroys = true }, b = { .destroys = true };
    int one[2], two[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, one), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, two), 0);
    a.watch = watch_create(loop, one[0], &events, &a);
    b.watch = watch_create(loop, two[0], &events, &b);
    a.other = b.watch;
    watch_read(a.watch, true);
    watch_write(a.watch);
    watch_write(b.watch);
    assert_int_equal(write(one[1], "x", 1), 1);
    loop_turn(loop, 1000);
    assert_int_equal(a.readable, 1);
    assert_int_equal(a.writable, 0);
    loop_turn(loop, 5);
    close(one[1]);
    close(two[1]);
}

/* Stands before libc's for libh2o: the next `refusals` descriptors are not taken. */
static unsigned refusals;

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): libc's are reserved */
int epoll_ctl(int fd, int what, int other, struct epoll_event *event)
{
    if (what == EPOLL_CTL_ADD && refusals > 0) {
        refusals--;
        errno = ENOSPC;
        return -1;
    }
    return (int)syscall(SYS_epoll_ctl, fd, what, other, event);
}

/* Both are asked for once more, and more than once, until epoll takes them. */
static void what_epoll_refuses_is_asked_for_again(void **state)
{
    struct watched r = { 0 }, w = { 0 };
    int reads[2], writes[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, reads), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, writes), 0);
    loop_turn(loop, 0); /* the loop's own descriptor is in */
    r.watch = watch_create(loop, reads[0], &events, &r);
    w.watch = watch_create(loop, writes[0], &events, &w);
    assert_int_equal(write(reads[1], "x", 1), 1);
    watch_read(r.watch, true);
    watch_write(w.watch);
    refusals = 5;
    for (unsigned i = 0; i < 20 && (r.readable == 0 || w.writable == 0); i++)
        loop_turn(loop, 200);
    assert_int_equal(refusals, 0);
    assert_int_equal(w.writable, 1);
    assert_true(r.readable > 0);
    watch_destroy(&r.watch);
    watch_destroy(&w.watch);
    loop_turn(loop, 0);
    close(reads[1]);
    close(writes[1]);
}

/* Every callback puts one off; a soon one must have run before the next callback, another not. */
struct in_order {
    struct watch *watch;
    struct task task;
    struct in_order *other;
    bool is_soon;
    unsigned ran;
    unsigned other_ran; /* when this one's callback came */
};

static void run_in_order(struct task *task)
{
    CONTAINER_OF(task, struct in_order, task)->ran++;
}

static void on_readable_in_order(void *owner)
{
    struct in_order *o = owner;

    o->other_ran = o->other->ran;
    watch_read(o->watch, false);
    if (o->is_soon)
        task_defer_soon(loop, &o->task);
    else
        task_defer(loop, &o->task);
    assert_int_equal(o->ran, 0);
}

static const struct watch_events in_order_events = { .on_readable = on_readable_in_order };

/* Returns how many of the two callbacks found the other's task done; both tasks run once. */
static unsigned done_between_callbacks(bool is_soon)
{
    struct in_order two[2] = { { .is_soon = is_soon }, { .is_soon = is_soon } };
    int fds[2][2];

    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds[i]), 0);
        two[i].watch = watch_create(loop, fds[i][0], &in_order_events, &two[i]);
        two[i].other = &two[1 - i];
        task_init(&two[i].task, run_in_order);
        watch_read(two[i].watch, true);
        assert_int_equal(write(fds[i][1], "x", 1), 1);
    }
    loop_turn(loop, 1000);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(two[i].ran, 1);
        watch_destroy(&two[i].watch);
        close(fds[i][1]);
    }
    loop_turn(loop, 0);
    return two[0].other_ran + two[1].other_ran;
}

static void soon_is_behind_the_callback_and_before_the_next(void **state)
{
    struct counting a = { 0 };

    (void)state;
    assert_int_equal(done_between_callbacks(true), 1);
    assert_int_equal(done_between_callbacks(false), 0);
    task_init(&a.task, run_counting); /* no callback around: the next turn does not wait for it */
    task_defer_soon(loop, &a.task);
    task_defer_soon(loop, &a.task);
    loop_turn(loop, 60000);
    assert_int_equal(a.count, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(task_runs_once_at_the_end_of_the_turn),
        TEST(task_of_a_task_runs_in_the_same_turn),
        TEST(deferring_for_ever_does_not_hang_the_turn),
        TEST(next_turn_does_not_wait_for_a_task),
        TEST(timer_is_never_early_and_hardly_late),
        TEST(messages_of_other_threads_arrive_in_order),
        TEST(stop_ends_run_even_before_it_started),
        TEST(unrun_messages_are_dropped_with_the_loop),
        TEST(watch_polls_only_what_is_wanted),
        TEST(hung_up_descriptor_that_nobody_wants_does_not_spin),
        TEST(watches_may_be_destroyed_inside_a_callback),
        TEST(what_epoll_refuses_is_asked_for_again),
        TEST(soon_is_behind_the_callback_and_before_the_next),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
