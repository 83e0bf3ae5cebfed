/* net/conn_leftover.c — the last bytes of a conn that is gone. TLS has told its owner that they
 * went out, and its owner may close on that word; in the clear the kernel would keep them. They get
 * 5 s for each step forward, 30 s in all. */
#include <errno.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "net/conn_socket.h"
#include "net/loop_internal.h"

enum { STALL_MS = 5000, STEPS_MAX = 6 };

struct leftover {
    struct resident resident;
    struct watch *watch;
    struct timer timer;
    struct buf bytes;
    unsigned step_count;
};

static void leftover_end(struct leftover *l)
{
    timer_cancel(&l->timer);
    loop_remove_resident(&l->resident);
    watch_destroy(&l->watch);
    buf_deinit(&l->bytes);
    mem_free(l);
}

static void on_loop_end(struct resident *resident)
{
    leftover_end(CONTAINER_OF(resident, struct leftover, resident));
}

static void on_timer(struct timer *timer)
{
    leftover_end(CONTAINER_OF(timer, struct leftover, timer));
}

static void on_readable(void *owner)
{
    (void)owner; /* never asked for */
}

static void on_writable(void *owner)
{
    struct leftover *l = owner;
    struct slice left = buf_slice(&l->bytes);
    ssize_t count = send(watch_fd(l->watch), left.ptr, left.len, MSG_NOSIGNAL);
    bool has_failed = count == -1 && errno != EAGAIN && errno != EINTR;

    if (count > 0) {
        buf_consume(&l->bytes, (size_t)count);
        if (++l->step_count < STEPS_MAX)
            timer_arm(&l->timer, STALL_MS);
    }
    if (l->bytes.len == 0 || has_failed)
        leftover_end(l);
    else
        watch_write(l->watch);
}

static const struct watch_events leftover_events = {
    .on_readable = on_readable,
    .on_writable = on_writable,
};

void conn_leftover_start(struct loop *loop, struct watch *watch, struct buf *bytes)
{
    struct leftover *l = mem_zeroed(sizeof(*l));

    l->resident.end = on_loop_end;
    l->watch = watch;
    l->bytes = *bytes;
    *bytes = (struct buf){ 0 };
    timer_init(&l->timer, loop, on_timer);
    timer_arm(&l->timer, STALL_MS);
    loop_add_resident(loop, &l->resident);
    watch_set_owner(watch, &leftover_events, l);
    watch_read(watch, false);
    watch_write(watch);
}
