/* gateway.c — see gateway.h. The main thread has a loop of its own: signals come through a
 * signalfd, workers post to it when they are warm and when they have drained.
 *
 *     serving ─▶ unready ──(drain_delay)─▶ draining ──(drain_timeout)─▶ ending ──(2 s)─▶ exit
 *        └────────(the next generation serves)──▲      every conn gone: exit at once
 */
#include "gateway.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "control.h"
#include "net/address_count.h"
#include "net/timer.h"
#include "net/watch.h"
#include "notify.h"
#include "pressure.h"
#include "sockets.h"
#include "upgrade.h"
#include "watchdog.h"
#include "worker.h"

enum { FAREWELL_MS = 2000, LISTENER_FDS_MAX = 1024 };

enum phase { SERVING, UNREADY, DRAINING, ENDING };

struct gateway {
    struct config *config;
    struct loop *loop; /* the main thread's */
    struct watch *signals;
    struct timer drain_step, systemd_watchdog;
    struct upgrade *upgrade;
    struct sockets *sockets; /* only while building */
    struct address_count *client_addresses;
    struct pressure *pressure;
    struct watchdog *watchdog;
    struct worker **workers;
    struct control *control;
    pthread_t *threads;
    size_t worker_count;
    size_t thread_count; /* started */
    struct address *addresses;
    int access_log_fd; /* -1: none */
    size_t warm_count, drained_count;
    pid_t child;
    enum phase phase;
    bool is_succeeded;   /* by the next generation, which has our sockets */
    bool upgrade_wanted; /* when the previous generation has ended */
    int exit_code;
};

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

/* Half of the descriptors for clients: each may need one toward an agent. */
static size_t conns_per_worker(const struct config *config, size_t worker_count)
{
    struct rlimit limit;
    size_t total = config->max_conns;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (total == 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0)
        total = limit.rlim_cur > 128 ? (limit.rlim_cur - 64) / 2 : 32;
    total /= worker_count;
    return total > 0 ? total : 1;
}

static int open_access_log(const char *where)
{
    int fd;

    if (strcmp(where, "off") == 0)
        return -1;
    if (strcmp(where, "stdout") == 0)
        return STDOUT_FILENO;
    if (strcmp(where, "stderr") == 0)
        return STDERR_FILENO;
    fd = open(where, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (fd == -1)
        log_error("gateway: access log cannot be opened file=\"%s\" error=\"%s\"", where,
                  strerror(errno));
    return fd;
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
    g->access_log_fd = open_access_log(g->config->access_log);
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
        .max_conns = conns_per_worker(g->config, g->worker_count),
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
static void start_drain(struct gateway *g);
static void on_drain_step(struct timer *timer);
static void on_systemd_watchdog(struct timer *timer);
static void on_served(void *owner, pid_t successor);
static void on_upgrade_failed(void *owner);
static void on_alone(void *owner);

static const struct upgrade_events upgrade_events = { .on_served = on_served,
                                                      .on_failed = on_upgrade_failed,
                                                      .on_alone = on_alone };

/* The main thread's loop and what wakes it. */
static enum status build_main(struct gateway *g)
{
    static const struct watch_events events = { .on_readable = on_signals };
    enum status status = loop_create(&g->loop);
    sigset_t set;
    int fd;

    if (status != STATUS_OK)
        return status;
    timer_init(&g->drain_step, g->loop, on_drain_step);
    timer_init(&g->systemd_watchdog, g->loop, on_systemd_watchdog);
    g->upgrade = upgrade_create(g->loop, &upgrade_events, g);
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
    start_drain(arg);
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

static void on_drain_step(struct timer *timer)
{
    struct gateway *g = CONTAINER_OF(timer, struct gateway, drain_step);

    if (g->phase == UNREADY)
        close_doors(g);
    else if (g->phase == DRAINING)
        end_calls(g);
    else
        loop_stop(g->loop);
}

static void start_drain(struct gateway *g)
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

static void upgrade(struct gateway *g)
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
    start_drain(g);
}

static void on_upgrade_failed(void *owner)
{
    (void)owner; /* nothing of ours has changed */
}

static void on_alone(void *owner)
{
    struct gateway *g = owner;

    if (g->upgrade_wanted)
        upgrade(g);
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

/* ---- reload ---- */

/* The words of a refusal live in `words`; NULL: loaded. */
static const char *load(const struct gateway *g, struct buf *words, struct config **out_config)
{
    const char *fixed;

    if (config_load(g->config->file, words, out_config) != STATUS_OK)
        return buf_text(words);
    fixed = config_fixed_change(g->config, *out_config);
    if (fixed == NULL)
        return NULL;
    buf_printf(words, "%s: changes only with a restart, or with SIGUSR2", fixed);
    return buf_text(words);
}

static void take_config(struct gateway *g, struct config *config)
{
    for (size_t i = 0; i < g->thread_count; i++)
        worker_post_reload(g->workers[i], config, conns_per_worker(config, g->worker_count));
    log_set_level((enum log_level)config->log_level);
    address_count_set_limit(g->client_addresses, config->conns_per_address);
    pressure_set_limit(g->pressure, config->memory_bytes);
    watchdog_set_limit(g->watchdog, config->watchdog_ms);
    control_reloaded(g->control, config);
    config_unref(&g->config);
    g->config = config;
    log_info("gateway: reloaded file=\"%s\"", config->file);
}

static void reload(struct gateway *g)
{
    struct buf words = { 0 };
    struct config *config = NULL;

    if (g->config->routes == CONFIG_ROUTES_TABLE) {
        log_info("gateway: nothing to reload, there is no config file");
        return;
    }
    if (g->phase == SERVING)
        notify_reloading();
    const char *reason = load(g, &words, &config);

    if (reason != NULL) {
        log_error("gateway: reload refused, the old configuration stays error=\"%s\"", reason);
        config_unref(&config);
        control_reload_failed(g->control);
    } else {
        take_config(g, config);
    }
    buf_deinit(&words);
    if (g->phase == SERVING)
        notify_ready();
}

static void reopen_log(struct gateway *g)
{
    int fd = open_access_log(g->config->access_log);

    if (fd <= STDERR_FILENO)
        return;
    /* The descriptor's number stays, so that no worker writes to a closed one. */
    if (g->access_log_fd > STDERR_FILENO)
        (void)dup3(fd, g->access_log_fd, O_CLOEXEC);
    close(fd);
    log_info("gateway: access log reopened");
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
        start_drain(g);
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
        reload(g);
        break;
    case SIGUSR1:
        reopen_log(g);
        break;
    case SIGUSR2:
        upgrade(g);
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
