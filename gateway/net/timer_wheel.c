/* net/timer_wheel.c — see the header for the picture.
 *
 * Invariant: every timer in a slot is due after now_ms, and its level is that of the highest
 * base-64 digit in which due_ms and now_ms differ. Moving now_ms forward keeps it as long as now_ms
 * does not reach the start of an occupied slot; that is where timer_wheel_advance() stops on its
 * way. */
#include "net/timer_wheel.h"

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms)
{
    *wheel = (struct timer_wheel){ .now_ms = now_ms };
    list_init(&wheel->due);
    for (unsigned level = 0; level < TIMER_WHEEL_LEVELS; level++) {
        for (unsigned slot = 0; slot < TIMER_WHEEL_SLOTS; slot++)
            list_init(&wheel->slots[level][slot]);
    }
}

void timer_wheel_insert(struct timer_wheel *wheel, struct timer *timer)
{
    if (timer->due_ms <= wheel->now_ms) {
        list_append(&wheel->due, &timer->link);
        return;
    }

    unsigned highest_bit = 63 - (unsigned)__builtin_clzll(timer->due_ms ^ wheel->now_ms);
    unsigned level = highest_bit / TIMER_WHEEL_BITS;
    unsigned slot = timer->due_ms >> (level * TIMER_WHEEL_BITS) & (TIMER_WHEEL_SLOTS - 1);

    list_append(&wheel->slots[level][slot], &timer->link);
    wheel->occupied[level] |= UINT64_C(1) << slot;
}

void timer_wheel_remove(struct timer_wheel *wheel, struct timer *timer)
{
    struct list *neighbour = timer->link.prev;
    bool was_last = neighbour == timer->link.next;

    list_unlink(&timer->link);
    if (!was_last)
        return;

    /* The only neighbour of the last timer is the head: a slot, `due`, or a list on the stack of
     * advance(). */
    uintptr_t first = (uintptr_t)&wheel->slots[0][0];
    uintptr_t offset = (uintptr_t)neighbour - first;

    if ((uintptr_t)neighbour >= first && offset < sizeof(wheel->slots)) {
        size_t index = offset / sizeof(struct list);

        wheel->occupied[index / TIMER_WHEEL_SLOTS] &= ~(UINT64_C(1) << index % TIMER_WHEEL_SLOTS);
    }
}

/* The lowest level that holds timers, or TIMER_WHEEL_LEVELS. */
static unsigned lowest_level(const struct timer_wheel *wheel)
{
    unsigned level = 0;

    while (level < TIMER_WHEEL_LEVELS && wheel->occupied[level] == 0)
        level++;
    return level;
}

static uint64_t slot_start_ms(const struct timer_wheel *wheel, unsigned level, unsigned slot)
{
    unsigned shift = level * TIMER_WHEEL_BITS;
    unsigned above = shift + TIMER_WHEEL_BITS;
    uint64_t prefix = above < 64 ? wheel->now_ms >> above << above : 0;

    return prefix | (uint64_t)slot << shift;
}

uint64_t timer_wheel_next_ms(const struct timer_wheel *wheel)
{
    if (!list_is_empty(&wheel->due))
        return wheel->now_ms;

    unsigned level = lowest_level(wheel);

    if (level == TIMER_WHEEL_LEVELS)
        return UINT64_MAX;
    return slot_start_ms(wheel, level, (unsigned)__builtin_ctzll(wheel->occupied[level]));
}

/* Moves what is due by `now_ms` from the slots to the tail of `due`, and the present to `now_ms`.
 */
static void collect(struct timer_wheel *wheel, uint64_t now_ms)
{
    for (;;) {
        unsigned level = lowest_level(wheel);

        if (level == TIMER_WHEEL_LEVELS)
            break;

        unsigned slot = (unsigned)__builtin_ctzll(wheel->occupied[level]);
        uint64_t start_ms = slot_start_ms(wheel, level, slot);

        if (start_ms > now_ms)
            break;
        wheel->now_ms = start_ms;
        wheel->occupied[level] &= ~(UINT64_C(1) << slot);

        struct list moving;

        list_init(&moving);
        list_move_all(&moving, &wheel->slots[level][slot]);
        LIST_EACH(&moving, link)
        {
            list_unlink(link);
            timer_wheel_insert(wheel, LIST_ITEM(link, struct timer, link));
        }
    }
    wheel->now_ms = now_ms;
}

void timer_wheel_advance(struct timer_wheel *wheel, uint64_t now_ms)
{
    struct list running;

    if (now_ms > wheel->now_ms)
        collect(wheel, now_ms);
    if (list_is_empty(&wheel->due))
        return;

    list_init(&running);
    list_move_all(&running, &wheel->due);
    while (!list_is_empty(&running)) {
        struct timer *timer = LIST_FIRST(&running, struct timer, link);

        list_unlink(&timer->link);
        timer->on_due(timer);
    }
}

bool timer_wheel_is_empty(const struct timer_wheel *wheel)
{
    return list_is_empty(&wheel->due) && lowest_level(wheel) == TIMER_WHEEL_LEVELS;
}
