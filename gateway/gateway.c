/* gateway.c — see gateway.h. The main thread has a loop of its own: signals come through a
 * signalfd, workers post to it when they are warm and when they have drained.
 *
 *     serving ─▶ unready ──(drain_delay)─▶ draining ──(drain_timeout)─▶ ending ──(2 s)─▶ exit
 *        └────────(the next generation serves)──▲      every conn gone: exit at once
 */
#include "gateway_internal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "notify.h"
#include "sockets.h"

static void fill_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    sigaddset(set, SIGUSR1);
    sigaddset(set, SIGUSR2);
    sigaddset(set, SIGCHLD);
}

void gateway_block_signals(void)
{
    sigset_t set;

    fill_signals(&set);
    ENSURE(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    signal(SIGPIPE, SIG_IGN);
}

static void worker_drained(void *arg)
{
    struct gateway *g = arg;

    if (++g->drained_count == g->worker_count)
        loop_stop(g->loop);
}

/* On a worker's thread. */
static void on_worker_drained(void *arg)
{
    struct gateway *g = arg;

    loop_post(g->loop, worker_drained, g);
}

static void worker_warm(void *arg)
{
    struct gateway *g = arg;
    bool is_next = upgrade_has_previous(g->upgrade);

    if (++g->warm_count < g->worker_count)
        return;
    for (size_t i = 0; i < g->worker_count; i++)
        worker_post_open(g->workers[i]);
    log_info("gateway: serving");
    if (is_next)
        upgrade_tell_ready(g->upgrade); /* who tells systemd, being still its main process */
    else
        notify_ready();
}

/* On a worker's thread. */
static void on_worker_warm(void *arg)
{
    struct gateway *g = arg;

    loop_post(g->loop, worker_warm, g);
}

static void take_addresses(struct gateway *g)
{
    size_t count = g->config->listener_count;

    g->addresses = mem_zeroed(count * sizeof(*g->addresses));
    for (size_t i = 0; i < count; i++)
        g->addresses[i] = *worker_listener_address(g->workers[0], i);
}

/* By listener: its sockets among those that were there before us. */
static int *claim_sockets(struct gateway *g)
{
    int *groups = mem_zeroed((g->config->listener_count + 1) * sizeof(*groups));

    for (size_t i = 0; i < g->config->listener_count; i++)
        groups[i] = sockets_claim(g->sockets, &g->config->listeners[i].address);
    return groups;
}

static enum status gateway_build(struct gateway *g)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    enum status status = STATUS_OK;

    g->worker_count = g->config->workers > 0 ? g->config->workers : cpus > 0 ? (size_t)cpus : 1;
    g->workers = mem_zeroed(g->worker_count * sizeof(*g->workers));
    g->threads = mem_zeroed(g->worker_count * sizeof(*g->threads));
    g->client_addresses = address_count_create(g->config->conns_per_address);
    g->access_log_fd = gateway_open_access_log(g->config->access_log);
    if (g->access_log_fd == -1 && strcmp(g->config->access_log, "off") != 0)
        return STATUS_SYSTEM;

    int *groups = claim_sockets(g);
    struct worker_options options = {
        .config = g->config,
        .worker_count = g->worker_count,
        .sockets = g->sockets,
        .socket_groups = groups,
        .addresses = g->client_addresses,
        .is_held = upgrade_has_previous(g->upgrade),
        .on_warm = on_worker_warm,
        .max_conns = gateway_conns_per_worker(g->config, g->worker_count),
        .access_log_fd = g->access_log_fd,
        .on_drained = on_worker_drained,
        .arg = g,
    };

    for (size_t i = 0; status == STATUS_OK && i < g->worker_count; i++) {
        options.index = i;
        options.first = g->workers[0];
        status = worker_create(&options, &g->workers[i]);
        if (status == STATUS_OK && i == 0)
            take_addresses(g);
    }
    mem_free(groups);
    return status;
}

static void on_signals(void *owner);
static void on_systemd_watchdog(struct timer *timer);

/* The main thread's loop and what wakes it. */
static enum status build_main(struct gateway *g)
{
    static const struct watch_events events = { .on_readable = on_signals };
    enum status status = loop_create(&g->loop);
    sigset_t set;
    int fd;

    if (status != STATUS_OK)
        return status;
    timer_init(&g->drain_step, g->loop, gateway_on_drain_step);
    timer_init(&g->systemd_watchdog, g->loop, on_systemd_watchdog);
    g->upgrade = upgrade_create(g->loop, &gateway_upgrade_events, g);
    g->sockets = sockets_from_environment();
    fill_signals(&set);
    fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd == -1) {
        log_error("gateway: signalfd failed errno=%d", errno);
        return STATUS_SYSTEM;
    }
    g->signals = watch_create(g->loop, fd, &events, g);
    watch_read(g->signals, true);
    return STATUS_OK;
}

static void on_drain_wanted(void *arg)
{
    gateway_start_drain(arg);
}

static enum status build_control(struct gateway *g)
{
    const struct control_options options = {
        .config = g->config,
        .workers = g->workers,
        .worker_count = g->worker_count,
        .listeners = g->addresses,
        .inherited_fd =
            sockets_take(g->sockets, sockets_claim(g->sockets, &g->config->admin_address), 0, 1, 0),
        .drain = on_drain_wanted,
        .arg = g,
    };

    return control_create(g->loop, &options, &g->control);
}

enum status gateway_create(struct config *config, struct gateway **out_gateway)
{
    struct gateway *g = mem_zeroed(sizeof(*g));

    g->config = config;
    log_set_level((enum log_level)config->log_level);
    enum status status = build_main(g);

    if (status == STATUS_OK)
        status = gateway_build(g);
    if (status == STATUS_OK)
        status = build_control(g);
    sockets_destroy(&g->sockets);
    if (status == STATUS_OK)
        *out_gateway = g;
    else
        gateway_destroy(&g);
    return status;
}

void gateway_destroy(struct gateway **gateway)
{
    struct gateway *g = *gateway;

    if (g == NULL)
        return;
    for (size_t i = 0; i < g->thread_count; i++)
        worker_post_stop(g->workers[i]);
    watchdog_destroy(&g->watchdog);
    pressure_destroy(&g->pressure);
    for (size_t i = 0; i < g->thread_count; i++)
        worker_wait_stopped(g->workers[i]);
    control_destroy(&g->control);
    for (size_t i = 0; i < g->thread_count; i++)
        worker_let_end(g->workers[i]);
    for (size_t i = 0; i < g->thread_count; i++)
        pthread_join(g->threads[i], NULL);
    for (size_t i = 0; g->workers != NULL && i < g->worker_count; i++)
        worker_destroy(&g->workers[i]);
    address_count_destroy(&g->client_addresses);
    if (g->access_log_fd > STDERR_FILENO)
        close(g->access_log_fd);
    watch_destroy(&g->signals);
    upgrade_destroy(&g->upgrade);
    if (g->loop != NULL) {
        timer_cancel(&g->drain_step);
        timer_cancel(&g->systemd_watchdog);
    }
    loop_destroy(&g->loop);
    mem_free(g->workers);
    mem_free(g->threads);
    mem_free(g->addresses);
    config_unref(&g->config);
    mem_free(g);
    *gateway = NULL;
}

static void *run_thread(void *arg)
{
    worker_run(arg);
    return NULL;
}

static enum status start_threads(struct gateway *g)
{
    for (; g->thread_count < g->worker_count; g->thread_count++) {
        if (pthread_create(&g->threads[g->thread_count], NULL, run_thread,
                           g->workers[g->thread_count]) != 0) {
            log_error("gateway: thread cannot be started");
            return STATUS_SYSTEM;
        }
    }
    return STATUS_OK;
}

static void log_started(const struct gateway *g)
{
    char text[ADDRESS_TEXT_BYTES];

    for (size_t i = 0; i < g->config->listener_count; i++)
        log_info("gateway: listening address=%s tls=%s workers=%zu",
                 address_text(&g->addresses[i], text), g->config->listeners[i].tls ? "on" : "off",
                 g->worker_count);
}

/* ---- systemd's watchdog, memory ---- */

static void on_systemd_watchdog(struct timer *timer)
{
    struct gateway *g = CONTAINER_OF(timer, struct gateway, systemd_watchdog);

    if (g->is_succeeded)
        return;
    notify_alive();
    timer_arm(&g->systemd_watchdog, notify_watchdog_ms());
}

static void on_pressure(void *arg, enum pressure_level level)
{
    struct gateway *g = arg;

    control_pressure(g->control, level);
    for (size_t i = 0; i < g->thread_count; i++)
        worker_post_pressure(g->workers[i], level);
}

static void start_guards(struct gateway *g)
{
    g->pressure = pressure_create(g->loop, g->config->memory_bytes, on_pressure, g);
    g->watchdog =
        watchdog_create(g->loop, g->workers, g->threads, g->thread_count, g->config->watchdog_ms);
    if (notify_watchdog_ms() > 0)
        timer_arm(&g->systemd_watchdog, notify_watchdog_ms());
}

static void children_changed(struct gateway *g)
{
    int wait_status;
    pid_t pid;

    while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0) {
        if (upgrade_reap(g->upgrade, pid, wait_status) || pid != g->child)
            continue;
        log_error("gateway: the guest agent has ended pid=%d", (int)g->child);
        g->child = 0;
        g->exit_code = 1;
        loop_stop(g->loop);
    }
}

static void terminate(struct gateway *g)
{
    if (g->phase == SERVING) {
        gateway_start_drain(g);
        return;
    }
    log_info("gateway: second signal, ending at once");
    loop_stop(g->loop);
}

static void handle(struct gateway *g, uint32_t signal_number)
{
    switch (signal_number) {
    case SIGTERM:
    case SIGINT:
        terminate(g);
        break;
    case SIGHUP:
        gateway_reload(g);
        break;
    case SIGUSR1:
        gateway_reopen_log(g);
        break;
    case SIGUSR2:
        gateway_upgrade(g);
        break;
    case SIGCHLD:
        children_changed(g);
        break;
    default:
        break;
    }
}

static void on_signals(void *owner)
{
    struct gateway *g = owner;
    struct signalfd_siginfo info;

    while (read(watch_fd(g->signals), &info, sizeof(info)) == (ssize_t)sizeof(info))
        handle(g, info.ssi_signo);
}

int gateway_run(struct gateway *gateway)
{
    struct gateway *g = gateway;

    if (start_threads(g) != STATUS_OK)
        return 1;
    log_started(g);
    start_guards(g);
    loop_run(g->loop);
    log_info("gateway: ended");
    return g->exit_code;
}

const struct address *gateway_address(const struct gateway *gateway, size_t index)
{
    ENSURE(index < gateway->config->listener_count);
    return &gateway->addresses[index];
}

void gateway_watch_child(struct gateway *gateway, pid_t pid)
{
    gateway->child = pid;
}
