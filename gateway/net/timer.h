/* net/timer.h — one deadline on a loop's hierarchical timer wheel: monotonic, millisecond steps, arming and cancelling
 * in constant time. Embedded in its owner; cancel before the owner goes. */
#pragma once

#include "base/list.h"
#include "net/loop.h"

struct timer;
typedef void timer_fn(struct timer *timer);

struct timer {
    struct list link;
    struct loop *loop;
    uint64_t due_ms; /* on the loop's clock */
    timer_fn *on_due;
};

void timer_init(struct timer *timer, struct loop *loop, timer_fn *on_due);

/* (Re)arms: on_due runs once, in the first turn that starts `after_ms` or more from now. */
void timer_arm(struct timer *timer, uint64_t after_ms);
void timer_cancel(struct timer *timer); /* harmless when it is not armed */
bool timer_is_armed(const struct timer *timer);
