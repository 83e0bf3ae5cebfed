/* gateway.c — see gateway.h. The main thread has a loop of its own: signals come through a
 * signalfd, workers post to it when they have drained. */
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
#include "net/timer.h"
#include "net/watch.h"
#include "worker.h"

struct gateway {
    struct config *config;
    struct loop *loop; /* the main thread's */
    struct watch *signals;
    struct timer drain_end;
    struct worker **workers;
    struct control *control;
    pthread_t *threads;
    size_t worker_count;
    size_t thread_count; /* started */
    struct address *addresses;
    int access_log_fd; /* -1: none */
    size_t drained_count;
    pid_t child;
    bool is_draining;
    int exit_code;
};

static void fill_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    sigaddset(set, SIGUSR1);
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

static enum status gateway_build(struct gateway *g)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    enum status status = STATUS_OK;

    g->worker_count = g->config->workers > 0 ? g->config->workers : cpus > 0 ? (size_t)cpus : 1;
    g->workers = mem_zeroed(g->worker_count * sizeof(*g->workers));
    g->threads = mem_zeroed(g->worker_count * sizeof(*g->threads));
    g->access_log_fd = open_access_log(g->config->access_log);
    if (g->access_log_fd == -1 && strcmp(g->config->access_log, "off") != 0)
        return STATUS_SYSTEM;

    struct worker_options options = {
        .config = g->config,
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
    return status;
}

static void on_signals(void *owner);
static void start_drain(struct gateway *g);
static void on_drain_end(struct timer *timer);

/* The main thread's loop and what wakes it. */
static enum status build_main(struct gateway *g)
{
    static const struct watch_events events = { .on_readable = on_signals };
    enum status status = loop_create(&g->loop);
    sigset_t set;
    int fd;

    if (status != STATUS_OK)
        return status;
    timer_init(&g->drain_end, g->loop, on_drain_end);
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
    for (size_t i = 0; i < g->thread_count; i++)
        pthread_join(g->threads[i], NULL);
    control_destroy(&g->control);
    for (size_t i = 0; g->workers != NULL && i < g->worker_count; i++)
        worker_destroy(&g->workers[i]);
    if (g->access_log_fd > STDERR_FILENO)
        close(g->access_log_fd);
    watch_destroy(&g->signals);
    if (g->loop != NULL)
        timer_cancel(&g->drain_end);
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

static void start_drain(struct gateway *g)
{
    if (g->is_draining)
        return;
    g->is_draining = true;
    control_draining(g->control);
    timer_arm(&g->drain_end, g->config->drain_ms);
    log_info("gateway: draining timeout_ms=%llu", (unsigned long long)g->config->drain_ms);
    for (size_t i = 0; i < g->thread_count; i++)
        worker_post_drain(g->workers[i]);
}

/* What a running process cannot change is refused as a whole, so that the file and the process
 * never disagree unseen. */
static const char *cannot_reload(const struct config *old, const struct config *new)
{
    if (old->listener_count != new->listener_count)
        return "listeners: their number changes only with a restart";
    for (size_t i = 0; i < old->listener_count; i++) {
        if (!address_equal(&old->listeners[i].address, &new->listeners[i].address) ||
            old->listeners[i].tls != new->listeners[i].tls)
            return "listeners: address and tls change only with a restart";
    }
    if (!address_equal(&old->admin_address, &new->admin_address))
        return "admin.address: changes only with a restart";
    if (old->routes != new->routes)
        return "routes.source: changes only with a restart";
    return NULL;
}

static void reload(struct gateway *g)
{
    struct buf words = { 0 };
    struct config *config = NULL;
    const char *reason = NULL;

    if (g->config->routes == CONFIG_ROUTES_TABLE) {
        log_info("gateway: nothing to reload, there is no config file");
        return;
    }
    if (config_load(g->config->file, &words, &config) != STATUS_OK)
        reason = buf_text(&words);
    else
        reason = cannot_reload(g->config, config);
    if (reason != NULL) {
        log_error("gateway: reload refused, the old configuration stays error=\"%s\"", reason);
        config_unref(&config);
        control_reload_failed(g->control);
    } else {
        for (size_t i = 0; i < g->thread_count; i++)
            worker_post_reload(g->workers[i], config);
        log_set_level((enum log_level)config->log_level);
        control_reloaded(g->control, config);
        config_unref(&g->config);
        g->config = config;
        log_info("gateway: reloaded file=\"%s\"", config->file);
    }
    buf_deinit(&words);
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

static void on_drain_end(struct timer *timer)
{
    struct gateway *g = CONTAINER_OF(timer, struct gateway, drain_end);

    log_warn("gateway: drain timeout, ending what is left");
    loop_stop(g->loop);
}

static void child_changed(struct gateway *g)
{
    int child_status;

    if (g->child <= 0 || waitpid(g->child, &child_status, WNOHANG) != g->child)
        return;
    log_error("gateway: the guest agent has ended pid=%d", (int)g->child);
    g->child = 0;
    g->exit_code = 1;
    loop_stop(g->loop);
}

static void terminate(struct gateway *g)
{
    if (!g->is_draining) {
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
    case SIGCHLD:
        child_changed(g);
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
