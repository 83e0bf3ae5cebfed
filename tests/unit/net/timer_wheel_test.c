/* tests/unit/net/timer_wheel_test.c — the wheel against a plain list of due times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdlib.h>
#include <cmocka.h>

#include "net/timer_wheel.h"

enum { TIMERS = 300 };

static struct timer_wheel wheel;
static struct timer timers[TIMERS];
static bool has_run[TIMERS];
static uint64_t last_due_ms;

static void on_due(struct timer *timer)
{
    assert_true(timer->due_ms <= wheel.now_ms);
    assert_true(timer->due_ms >= last_due_ms);
    last_due_ms = timer->due_ms;
    has_run[timer - timers] = true;
}

static void arm(unsigned i, uint64_t due_ms)
{
    timers[i] = (struct timer){ .due_ms = due_ms, .on_due = on_due };
    list_init(&timers[i].link);
    has_run[i] = false;
    timer_wheel_insert(&wheel, &timers[i]);
}

static uint64_t random_u64(unsigned bits)
{
    uint64_t number = (uint64_t)rand() << 42 ^ (uint64_t)rand() << 21 ^ (uint64_t)rand();

    return number & ((UINT64_C(1) << bits) - 1);
}

static void every_timer_runs_in_order_when_due_and_not_before(void **state)
{
    (void)state;
    srand(1);
    for (unsigned round = 0; round < 200; round++) {
        uint64_t now_ms = random_u64(round % 60 + 1);

        timer_wheel_init(&wheel, now_ms);
        for (unsigned i = 0; i < TIMERS; i++)
            arm(i, now_ms + random_u64((unsigned)rand() % 40));
        for (unsigned i = 0; i < TIMERS; i += 7)
            timer_wheel_remove(&wheel, &timers[i]);
        while (!timer_wheel_is_empty(&wheel)) {
            uint64_t next_ms = timer_wheel_next_ms(&wheel);

            now_ms = rand() % 2 == 0 ? next_ms : next_ms + random_u64(12);
            last_due_ms = 0;
            timer_wheel_advance(&wheel, now_ms);
            for (unsigned i = 0; i < TIMERS; i++) {
                assert_int_equal(has_run[i], i % 7 != 0 && timers[i].due_ms <= now_ms);
                if (i % 7 != 0 && !has_run[i])
                    assert_true(timer_wheel_next_ms(&wheel) <= timers[i].due_ms);
            }
        }
        assert_true(timer_wheel_next_ms(&wheel) == UINT64_MAX);
    }
}

static void far_future_needs_no_overflow(void **state)
{
    (void)state;
    timer_wheel_init(&wheel, 5);
    arm(0, UINT64_MAX);
    arm(1, UINT64_MAX - 1);
    last_due_ms = 0;
    timer_wheel_advance(&wheel, UINT64_MAX - 2);
    assert_false(has_run[0] || has_run[1]);
    timer_wheel_advance(&wheel, UINT64_MAX);
    assert_true(has_run[0] && has_run[1]);
    assert_true(timer_wheel_is_empty(&wheel));
}

static void step_back_in_time_is_ignored(void **state)
{
    (void)state;
    timer_wheel_init(&wheel, 1000);
    arm(0, 1001);
    last_due_ms = 0;
    timer_wheel_advance(&wheel, 10);
    assert_false(has_run[0]);
    timer_wheel_advance(&wheel, 1001);
    assert_true(has_run[0]);
}

static void on_due_again(struct timer *timer)
{
    has_run[timer - timers] = true;
    timer_wheel_insert(&wheel, timer);
    timer_wheel_remove(&wheel, &timers[1]);
}

static void timer_may_arm_itself_and_cancel_another_that_is_due(void **state)
{
    (void)state;
    timer_wheel_init(&wheel, 0);
    arm(0, 10);
    arm(1, 10);
    timers[0].on_due = on_due_again;
    timer_wheel_advance(&wheel, 10);
    assert_true(has_run[0]);
    assert_false(has_run[1]);
    has_run[0] = false;
    timer_wheel_advance(&wheel, 10);
    assert_true(has_run[0]);
    timer_wheel_remove(&wheel, &timers[0]);
    assert_true(timer_wheel_is_empty(&wheel));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_timer_runs_in_order_when_due_and_not_before),
        cmocka_unit_test(far_future_needs_no_overflow),
        cmocka_unit_test(step_back_in_time_is_ignored),
        cmocka_unit_test(timer_may_arm_itself_and_cancel_another_that_is_due),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
