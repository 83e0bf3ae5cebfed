/* gateway_drain.c — how the process ends, and how the next generation takes over before it does. */
#include <unistd.h>

#include "base/mem.h"
#include "gateway_internal.h"
#include "notify.h"
#include "sockets.h"

enum { FAREWELL_MS = 2000, LISTENER_FDS_MAX = 1024 };

/* ---- drain ---- */

static uint64_t spread_ms(const struct config *config)
{
    uint64_t half_ms = config->drain_ms / 2;

    return config->drain_spread_ms < half_ms ? config->drain_spread_ms : half_ms;
}

static void close_doors(struct gateway *g)
{
    g->phase = DRAINING;
    timer_arm(&g->drain_step, g->config->drain_ms);
    log_info("gateway: draining timeout_ms=%llu", (unsigned long long)g->config->drain_ms);
    for (size_t i = 0; i < g->thread_count; i++)
        worker_post_drain(g->workers[i], spread_ms(g->config), g->is_succeeded);
}

static void end_calls(struct gateway *g)
{
    g->phase = ENDING;
    timer_arm(&g->drain_step, FAREWELL_MS);
    log_warn("gateway: drain timeout, ending what is left");
    for (size_t i = 0; i < g->thread_count; i++)
        worker_post_end(g->workers[i]);
}

void gateway_on_drain_step(struct timer *timer)
{
    struct gateway *g = CONTAINER_OF(timer, struct gateway, drain_step);

    if (g->phase == UNREADY)
        close_doors(g);
    else if (g->phase == DRAINING)
        end_calls(g);
    else
        loop_stop(g->loop);
}

void gateway_start_drain(struct gateway *g)
{
    if (g->phase != SERVING)
        return;
    g->phase = UNREADY;
    control_draining(g->control);
    upgrade_cancel(g->upgrade);
    for (size_t i = 0; i < g->thread_count; i++)
        worker_post_unready(g->workers[i]);
    if (!g->is_succeeded)
        notify_stopping();
    if (g->is_succeeded || g->config->drain_delay_ms == 0) {
        close_doors(g);
        return;
    }
    timer_arm(&g->drain_step, g->config->drain_delay_ms);
    log_info("gateway: not ready any more, still serving delay_ms=%llu",
             (unsigned long long)g->config->drain_delay_ms);
}

/* ---- the next generation ---- */

/* A socket that workers share by copies is passed once. */
static size_t fds_of_listener(const struct gateway *g, size_t listener, int *out_fds, size_t limit)
{
    size_t count = 0;

    for (size_t i = 0; i < g->worker_count && count < limit; i++) {
        count += worker_listener_fds(g->workers[i], listener, out_fds + count, limit - count);
        if (count > 0 && !socket_can_be_shared_by_port(out_fds[0]))
            return 1;
    }
    return count;
}

static void pass_group(const int *fds, size_t count, const struct address *as, struct buf *into)
{
    for (size_t i = 0; i < count; i++)
        buf_printf(into, "%s%d", i > 0 ? "," : "", fds[i]);
    if (count > 0)
        sockets_print_address(as, into);
}

static void on_upgrade_failed(void *owner)
{
    (void)owner; /* nothing of ours has changed */
}

static void start_upgrade(struct gateway *g)
{
    int *fds = mem_alloc((LISTENER_FDS_MAX + 1) * sizeof(*fds));
    size_t count = 0;
    struct buf text = { 0 };

    for (size_t i = 0; i < g->config->listener_count; i++) {
        size_t added = fds_of_listener(g, i, fds + count, LISTENER_FDS_MAX - count);

        pass_group(fds + count, added, &g->config->listeners[i].address, &text);
        count += added;
    }
    fds[count] = control_fd(g->control);
    if (fds[count] >= 0) {
        pass_group(fds + count, 1, &g->config->admin_address, &text);
        count++;
    }
    if (upgrade_start(g->upgrade, buf_text(&text), fds, count, g->config->upgrade_ms) != STATUS_OK)
        on_upgrade_failed(g);
    buf_deinit(&text);
    mem_free(fds);
}

static const char *cannot_upgrade(const struct gateway *g)
{
    if (g->phase != SERVING)
        return "this process is draining";
    if (g->config->routes == CONFIG_ROUTES_TABLE)
        return "there is no config file";
    if (getpid() == 1)
        return "as PID 1 its end would end the container; start a new container instead";
    if (upgrade_is_starting(g->upgrade))
        return "one is under way";
    return NULL;
}

void gateway_upgrade(struct gateway *g)
{
    const char *reason = cannot_upgrade(g);

    g->upgrade_wanted = false;
    if (reason != NULL) {
        log_error("upgrade: refused error=\"%s\"", reason);
    } else if (upgrade_has_previous(g->upgrade)) {
        g->upgrade_wanted = true;
        log_info("upgrade: waits until the previous generation has ended");
    } else {
        start_upgrade(g);
    }
}

static void on_served(void *owner, pid_t successor)
{
    struct gateway *g = owner;

    g->is_succeeded = true;
    notify_successor(successor);
    control_passed_on(g->control);
    gateway_start_drain(g);
}

static void on_alone(void *owner)
{
    struct gateway *g = owner;

    if (g->upgrade_wanted)
        gateway_upgrade(g);
}

const struct upgrade_events gateway_upgrade_events = { .on_served = on_served,
                                                       .on_failed = on_upgrade_failed,
                                                       .on_alone = on_alone };
