/* net/timer_wheel.h — the hierarchical timer wheel of one loop; a part of net/, others use timer.h.
 *
 * Time is written in base 64; level L of the wheel stands for digit L. A timer rests on the level
 * of the highest digit in which its due time differs from the wheel's present, in the slot of its
 * own digit there:
 *
 *     present 00:00:05   due 00:00:17 → level 0, slot 17     due 00:03:40 → level 1, slot 3     due
 * 02:… → level 2, slot 2
 *
 * So all slots of one level come before all slots of the next, the first occupied slot of the
 * lowest occupied level is the next thing to do, and a jump of the present over hours visits the
 * occupied slots alone. When the present reaches a slot above level 0, its timers move down. Eleven
 * levels cover every 64-bit time, so nothing wraps. */
#pragma once

#include "net/timer.h"

enum {
    TIMER_WHEEL_BITS = 6,
    TIMER_WHEEL_SLOTS = 1 << TIMER_WHEEL_BITS,
    TIMER_WHEEL_LEVELS = (64 + TIMER_WHEEL_BITS - 1) / TIMER_WHEEL_BITS
};

struct timer_wheel {
    uint64_t now_ms;                       /* everything due until now has left the slots */
    uint64_t occupied[TIMER_WHEEL_LEVELS]; /* bit N: slot N holds timers */
    struct list due; /* left the slots, waits for its turn; armed for the past, too */
    struct list slots[TIMER_WHEEL_LEVELS][TIMER_WHEEL_SLOTS];
};

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms);

/* Links a timer that is not linked, by its due_ms. */
void timer_wheel_insert(struct timer_wheel *wheel, struct timer *timer);

/* Unlinks a timer; harmless when it is not linked. */
void timer_wheel_remove(struct timer_wheel *wheel, struct timer *timer);

/* When to advance next: never later than the first due time, at most one early call for each level.
 * UINT64_MAX when the wheel is empty. */
uint64_t timer_wheel_next_ms(const struct timer_wheel *wheel);

/* Moves the present to `now_ms` and runs what is due by then, in order of due time. What on_due
 * arms anew runs in the next advance at the earliest, even when it is armed for now. A step back in
 * time is ignored. */
void timer_wheel_advance(struct timer_wheel *wheel, uint64_t now_ms);

bool timer_wheel_is_empty(const struct timer_wheel *wheel);
