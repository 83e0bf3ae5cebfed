/* net/timer.c — deadlines on the loop's clock; the wheel itself is timer_wheel.c.
 *
 * Most deadlines never come: a call arms its timer at each step and cancels it at the end. Both are
 * a few pointer writes. */
#include "net/timer.h"

#include "net/loop_internal.h"

void timer_init(struct timer *timer, struct loop *loop, timer_fn *on_due)
{
    *timer = (struct timer){ .loop = loop, .on_due = on_due };
    list_init(&timer->link);
}

void timer_arm(struct timer *timer, uint64_t after_ms)
{
    struct timer_wheel *wheel = loop_timers(timer->loop);
    const struct clock *clock = loop_clock(timer->loop);
    uint64_t started_ms = clock->now_us % 1000 == 0 ? clock->now_ms : clock->now_ms + 1;

    timer_wheel_remove(wheel, timer);
    timer->due_ms = after_ms > UINT64_MAX - started_ms ? UINT64_MAX : started_ms + after_ms;
    timer_wheel_insert(wheel, timer);
}

void timer_cancel(struct timer *timer)
{
    if (list_is_linked(&timer->link))
        timer_wheel_remove(loop_timers(timer->loop), timer);
}

bool timer_is_armed(const struct timer *timer)
{
    return list_is_linked(&timer->link);
}
