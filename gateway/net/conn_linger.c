/* net/conn_linger.c — the polite close. A plain close() with unread input resets the connection,
 * and the reset overtakes the error reply that was just written; so the input is read and thrown
 * away until the peer has closed, too — within limits, since the peer may never do so. */
#include "base/mem.h"
#include "net/conn.h"
#include "net/loop_internal.h"
#include "net/timer.h"

enum { QUIET_MS = 5000, TOTAL_MS = 30000, TOTAL_BYTES = 1024 * 1024, READ_BYTES = 16 * 1024 };

struct lingering {
    struct resident resident;
    struct conn *conn;
    struct timer timer;
    uint64_t ends_ms;
    size_t bytes;
};

static void linger_end(struct lingering *l)
{
    timer_cancel(&l->timer);
    loop_remove_resident(&l->resident);
    conn_destroy(&l->conn);
    mem_free(l);
}

static void on_loop_end(struct resident *resident)
{
    linger_end(CONTAINER_OF(resident, struct lingering, resident));
}

static void on_timer(struct timer *timer)
{
    linger_end(CONTAINER_OF(timer, struct lingering, timer));
}

static void wait_for_more(struct lingering *l)
{
    uint64_t now_ms = loop_clock(l->conn->loop)->now_ms;
    uint64_t left_ms = l->ends_ms > now_ms ? l->ends_ms - now_ms : 0;

    timer_arm(&l->timer, left_ms < QUIET_MS ? left_ms : QUIET_MS);
}

/* One read a call: a peer that floods shares the loop with the others. */
static void on_readable(void *owner)
{
    struct lingering *l = owner;
    char scrap[READ_BYTES];
    size_t count = 0;
    enum status status = conn_read(l->conn, scrap, sizeof(scrap), &count);

    if (status == STATUS_AGAIN)
        return;
    l->bytes += count;
    if (status != STATUS_OK || l->bytes > TOTAL_BYTES)
        linger_end(l);
    else
        wait_for_more(l);
}

static void on_open(void *owner, enum status status)
{
    (void)status; /* it was still opening: nothing was written that could be lost */
    linger_end(owner);
}

static void on_writable(void *owner)
{
    (void)owner;
}

static const struct conn_events linger_events = {
    .on_open = on_open,
    .on_readable = on_readable,
    .on_writable = on_writable,
};

void conn_linger(struct conn **conn)
{
    struct conn *c = *conn;
    struct lingering *l;

    if (c == NULL)
        return;
    *conn = NULL;
    l = mem_zeroed(sizeof(*l));
    l->resident.end = on_loop_end;
    l->conn = c;
    l->ends_ms = loop_clock(c->loop)->now_ms + TOTAL_MS;
    timer_init(&l->timer, c->loop, on_timer);
    loop_add_resident(c->loop, &l->resident);
    conn_set_owner(c, &linger_events, l);
    conn_shutdown(c);
    conn_want_read(c, true);
    wait_for_more(l);
}
