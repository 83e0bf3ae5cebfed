/* upgrade.c — see upgrade.h. Between the generations lies a socket pair: the new one writes a byte
 * when it serves, and sees the end of file when the old one has ended. */
#include "upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/timer.h"
#include "net/watch.h"
#include "sockets.h"

#define LINK_VARIABLE "EXEC_GATEWAY_PREVIOUS"

enum { ARGUMENTS_BYTES = 256 * 1024, PATH_BYTES = 4096 };

struct upgrade {
    struct loop *loop;
    const struct upgrade_events *events;
    void *owner;
    char *program;   /* our path when we began: the file there is another one now */
    char *arguments; /* of our own command line, each with its NUL */
    size_t arguments_len;
    struct watch *previous; /* NULL: there is none, any more */
    pid_t successor;        /* 0: none */
    struct watch *next;
    bool is_served;
    struct timer deadline;
};

/* ---- the new one's side ---- */

static void on_previous(void *owner)
{
    struct upgrade *u = owner;
    char byte;
    ssize_t count = read(watch_fd(u->previous), &byte, 1);

    if (count == 1 || (count == -1 && (errno == EAGAIN || errno == EINTR)))
        return;
    watch_destroy(&u->previous);
    log_info("upgrade: the previous generation has ended");
    u->events->on_alone(u->owner);
}

static const struct watch_events previous_events = { .on_readable = on_previous };

static void join_previous(struct upgrade *u)
{
    const char *text = getenv(LINK_VARIABLE);
    uint64_t fd;

    if (text != NULL && slice_to_u64(slice_from_string(text), &fd) && fd <= INT32_MAX &&
        fcntl((int)fd, F_SETFD, FD_CLOEXEC) == 0) {
        u->previous = watch_create(u->loop, (int)fd, &previous_events, u);
        watch_read(u->previous, true);
    }
    (void)unsetenv(LINK_VARIABLE);
}

bool upgrade_has_previous(const struct upgrade *upgrade)
{
    return upgrade->previous != NULL;
}

void upgrade_tell_ready(struct upgrade *upgrade)
{
    if (upgrade->previous != NULL && send(watch_fd(upgrade->previous), "1", 1, MSG_NOSIGNAL) != 1)
        log_warn("upgrade: the previous generation cannot be told errno=%d", errno);
}

/* ---- life ---- */

static void read_command_line(struct upgrade *u)
{
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t count = 0;

    u->arguments = mem_zeroed(ARGUMENTS_BYTES + 1);
    if (fd != -1)
        count = read(fd, u->arguments, ARGUMENTS_BYTES);
    if (fd != -1)
        close(fd);
    u->arguments_len = count > 0 ? (size_t)count : 0;
}

static void on_deadline(struct timer *timer);

struct upgrade *upgrade_create(struct loop *loop, const struct upgrade_events *events, void *owner)
{
    struct upgrade *u = mem_zeroed(sizeof(*u));
    char path[PATH_BYTES];
    ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);

    u->loop = loop;
    u->events = events;
    u->owner = owner;
    path[len > 0 ? len : 0] = '\0';
    u->program = mem_copy_string(path);
    timer_init(&u->deadline, loop, on_deadline);
    read_command_line(u);
    join_previous(u);
    return u;
}

void upgrade_destroy(struct upgrade **upgrade)
{
    struct upgrade *u = *upgrade;

    *upgrade = NULL;
    if (u == NULL)
        return;
    timer_cancel(&u->deadline);
    watch_destroy(&u->previous);
    watch_destroy(&u->next);
    mem_free(u->program);
    mem_free(u->arguments);
    mem_free(u);
}

/* ---- the old one's side ---- */

bool upgrade_is_starting(const struct upgrade *upgrade)
{
    return upgrade->successor != 0 && !upgrade->is_served;
}

/* Why is logged already. The successor, if it lives, is reaped when it has ended. */
static void give_up(struct upgrade *u)
{
    timer_cancel(&u->deadline);
    /* Before its end of the pipe can tell it that it is alone. */
    if (u->successor != 0)
        (void)kill(u->successor, SIGKILL);
    watch_destroy(&u->next);
    u->events->on_failed(u->owner);
}

static void on_deadline(struct timer *timer)
{
    struct upgrade *u = CONTAINER_OF(timer, struct upgrade, deadline);

    log_error("upgrade: failed, the new program did not serve in time; this one goes on pid=%d",
              (int)u->successor);
    give_up(u);
}

static void on_next(void *owner)
{
    struct upgrade *u = owner;
    char byte;
    ssize_t count = read(watch_fd(u->next), &byte, 1);

    if (count == -1 && (errno == EAGAIN || errno == EINTR))
        return;
    watch_read(u->next, false);
    if (count != 1) { /* it has ended: upgrade_reap() tells why */
        return;
    }
    timer_cancel(&u->deadline);
    u->is_served = true;
    log_info("upgrade: the new program serves pid=%d", (int)u->successor);
    u->events->on_served(u->owner, u->successor);
}

static const struct watch_events next_events = { .on_readable = on_next };

/* ---- starting it ---- */

struct launch {
    char **arguments;
    char **environment;
    struct buf variables[2];
    posix_spawn_file_actions_t actions;
};

static void fill_arguments(const struct upgrade *u, struct launch *launch)
{
    size_t count = 0;

    launch->arguments = mem_zeroed((u->arguments_len + 2) * sizeof(char *));
    for (size_t at = 0; at < u->arguments_len; at += strlen(u->arguments + at) + 1)
        launch->arguments[count++] = u->arguments + at;
    if (count == 0)
        launch->arguments[0] = u->program;
}

/* Ours without what was meant for us alone. */
static void fill_environment(struct launch *launch, const char *sockets, int link_fd)
{
    static const char *const not_passed[] = { "LISTEN_PID=", "LISTEN_FDS=", "LISTEN_FDNAMES=",
                                              "WATCHDOG_PID=" };
    size_t count = 0, kept = 0;

    while (environ[count] != NULL)
        count++;
    launch->environment = mem_zeroed((count + 3) * sizeof(char *));
    for (size_t i = 0; i < count; i++) {
        bool passes = true;

        for (size_t k = 0; k < sizeof(not_passed) / sizeof(not_passed[0]); k++)
            passes = passes && strncmp(environ[i], not_passed[k], strlen(not_passed[k])) != 0;
        if (passes)
            launch->environment[kept++] = environ[i];
    }
    buf_printf(&launch->variables[0], "%s=%s", sockets_variable, sockets);
    buf_printf(&launch->variables[1], LINK_VARIABLE "=%d", link_fd);
    launch->environment[kept++] = (char *)(uintptr_t)buf_text(&launch->variables[0]);
    launch->environment[kept] = (char *)(uintptr_t)buf_text(&launch->variables[1]);
}

/* Every descriptor here is close-on-exec; a dup2() onto itself takes that off for the child alone. */
static int fill_actions(struct launch *launch, const int *fds, size_t fd_count, int link_fd)
{
    int error = posix_spawn_file_actions_init(&launch->actions);

    for (size_t i = 0; error == 0 && i < fd_count; i++)
        error = posix_spawn_file_actions_adddup2(&launch->actions, fds[i], fds[i]);
    if (error == 0)
        error = posix_spawn_file_actions_adddup2(&launch->actions, link_fd, link_fd);
    return error;
}

static void launch_deinit(struct launch *launch)
{
    mem_free(launch->arguments);
    mem_free(launch->environment);
    buf_deinit(&launch->variables[0]);
    buf_deinit(&launch->variables[1]);
    posix_spawn_file_actions_destroy(&launch->actions);
}

enum status upgrade_start(struct upgrade *upgrade, const char *sockets, const int *fds,
                          size_t fd_count, uint64_t timeout_ms)
{
    struct upgrade *u = upgrade;
    struct launch launch = { 0 };
    int pair[2];

    ENSURE(u->successor == 0);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1) {
        log_error("upgrade: failed, no socket pair errno=%d", errno);
        return STATUS_SYSTEM;
    }
    fill_arguments(u, &launch);
    fill_environment(&launch, sockets, pair[1]);
    int error = fill_actions(&launch, fds, fd_count, pair[1]);

    if (error == 0)
        error = posix_spawn(&u->successor, u->program, &launch.actions, NULL, launch.arguments,
                            launch.environment);
    launch_deinit(&launch);
    close(pair[1]);
    if (error != 0) {
        u->successor = 0;
        close(pair[0]);
        log_error("upgrade: failed, the program cannot be started file=\"%s\" error=\"%s\"",
                  u->program, strerror(error));
        return STATUS_SYSTEM;
    }
    watch_destroy(&u->next);
    u->next = watch_create(u->loop, pair[0], &next_events, u);
    watch_read(u->next, true);
    timer_arm(&u->deadline, timeout_ms);
    log_info("upgrade: started file=\"%s\" pid=%d", u->program, (int)u->successor);
    return STATUS_OK;
}

void upgrade_cancel(struct upgrade *upgrade)
{
    if (!upgrade_is_starting(upgrade))
        return;
    timer_cancel(&upgrade->deadline);
    (void)kill(upgrade->successor, SIGTERM);
}

bool upgrade_reap(struct upgrade *upgrade, pid_t pid, int wait_status)
{
    if (pid != upgrade->successor)
        return false;
    upgrade->successor = 0;
    if (upgrade->is_served) {
        log_error("upgrade: the new program has ended while this one drains pid=%d status=0x%x",
                  (int)pid, (unsigned)wait_status);
        return true;
    }
    if (upgrade->next != NULL) { /* else it was we who ended it */
        log_error("upgrade: failed, the new program ended before it served, see its lines above; "
                  "this one goes on pid=%d status=0x%x",
                  (int)pid, (unsigned)wait_status);
        give_up(upgrade);
    }
    return true;
}
