/* gateway_reload.c — what SIGHUP and SIGUSR1 change while everything goes on, and what building shares with that. */
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "gateway_internal.h"
#include "notify.h"

size_t gateway_conns_per_worker(const struct config *config, size_t worker_count)
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

int gateway_open_access_log(const char *where)
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
        worker_post_reload(g->workers[i], config,
                           gateway_conns_per_worker(config, g->worker_count));
    log_set_level((enum log_level)config->log_level);
    address_count_set_limit(g->client_addresses, config->conns_per_address);
    pressure_set_limit(g->pressure, config->memory_bytes);
    watchdog_set_limit(g->watchdog, config->watchdog_ms);
    control_reloaded(g->control, config);
    config_unref(&g->config);
    g->config = config;
    log_info("gateway: reloaded file=\"%s\"", config->file);
}

void gateway_reload(struct gateway *g)
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

void gateway_reopen_log(struct gateway *g)
{
    int fd = gateway_open_access_log(g->config->access_log);

    if (fd <= STDERR_FILENO)
        return;
    /* The descriptor's number stays, so that no worker writes to a closed one. */
    if (g->access_log_fd > STDERR_FILENO)
        (void)dup3(fd, g->access_log_fd, O_CLOEXEC);
    close(fd);
    log_info("gateway: access log reopened");
}
