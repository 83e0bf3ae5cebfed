/* sockets.c — see sockets.h. */
#include "sockets.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

enum { GROUPS_MAX = 256, FDS_MAX = 256, SYSTEMD_FIRST_FD = 3 };

const char sockets_variable[] = "EXEC_GATEWAY_SOCKETS";

struct group {
    struct address as; /* as configured, or as bound when systemd did it */
    int *fds;          /* -1: taken */
    size_t count;
    bool is_claimed;
    bool is_shared; /* one queue for all workers: each gets a copy */
};

struct sockets {
    struct group groups[GROUPS_MAX];
    size_t count;
};

bool socket_can_be_shared_by_port(int fd)
{
    int on = 0;
    socklen_t len = sizeof(on);

    return getsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, &len) == 0 && on != 0;
}

static bool is_listening(int fd)
{
    int on = 0;
    socklen_t len = sizeof(on);

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) == 0 && on != 0;
}

static bool bound_address(int fd, struct address *out)
{
    out->len = sizeof(out->storage);
    return getsockname(fd, (struct sockaddr *)&out->storage, &out->len) == 0;
}

static void add_fd(struct group *group, int fd)
{
    int flags = fcntl(fd, F_GETFD);

    if (flags == -1 || !is_listening(fd)) {
        log_warn("sockets: what was passed is no listening socket fd=%d", fd);
        return;
    }
    (void)fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
    group->fds = mem_grow(group->fds, (group->count + 1) * sizeof(*group->fds));
    group->fds[group->count++] = fd;
    group->is_shared = group->as.storage.ss_family == AF_UNIX || !socket_can_be_shared_by_port(fd);
}

/* ---- from systemd ---- */

static struct group *group_of(struct sockets *sockets, const struct address *as)
{
    for (size_t i = 0; i < sockets->count; i++)
        if (address_equal(&sockets->groups[i].as, as))
            return &sockets->groups[i];
    if (sockets->count == GROUPS_MAX)
        return NULL;
    sockets->groups[sockets->count].as = *as;
    return &sockets->groups[sockets->count++];
}

static bool number_of(const char *text, uint64_t max, uint64_t *out)
{
    return text != NULL && slice_to_u64(slice_from_string(text), out) && *out <= max;
}

static void take_from_systemd(struct sockets *sockets)
{
    uint64_t pid, count;

    if (number_of(getenv("LISTEN_PID"), INT32_MAX, &pid) && pid == (uint64_t)getpid() &&
        number_of(getenv("LISTEN_FDS"), FDS_MAX, &count)) {
        for (uint64_t i = 0; i < count; i++) {
            int fd = SYSTEMD_FIRST_FD + (int)i;
            struct address as;
            struct group *group = bound_address(fd, &as) ? group_of(sockets, &as) : NULL;

            if (group != NULL)
                add_fd(group, fd);
        }
    }
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_FDNAMES");
}

/* ---- from the previous generation ---- */

static void take_line(struct sockets *sockets, struct slice line)
{
    struct slice list = slice_cut(&line, '=');
    struct group *group = &sockets->groups[sockets->count];
    uint64_t fd;

    if (sockets->count == GROUPS_MAX || address_parse(line, &group->as) != STATUS_OK)
        return;
    sockets->count++;
    while (list.len > 0)
        if (slice_to_u64(slice_cut(&list, ','), &fd) && fd <= INT32_MAX)
            add_fd(group, (int)fd);
}

static void take_from_previous(struct sockets *sockets)
{
    struct slice lines = slice_from_string(getenv(sockets_variable));

    while (lines.len > 0)
        take_line(sockets, slice_cut(&lines, '\n'));
    (void)unsetenv(sockets_variable);
}

struct sockets *sockets_from_environment(void)
{
    struct sockets *sockets = mem_zeroed(sizeof(*sockets));

    if (getenv(sockets_variable) != NULL)
        take_from_previous(sockets);
    else
        take_from_systemd(sockets);
    return sockets;
}

void sockets_destroy(struct sockets **sockets)
{
    struct sockets *s = *sockets;
    char text[ADDRESS_TEXT_BYTES];

    *sockets = NULL;
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->count; i++) {
        struct group *group = &s->groups[i];

        if (!group->is_claimed && group->count > 0)
            log_warn("sockets: no listener has the address of a socket that was passed, closed "
                     "address=%s",
                     address_text(&group->as, text));
        for (size_t k = 0; k < group->count; k++)
            if (group->fds[k] >= 0)
                close(group->fds[k]);
        mem_free(group->fds);
    }
    mem_free(s);
}

/* ---- to the listeners ---- */

int sockets_claim(struct sockets *sockets, const struct address *as)
{
    for (size_t i = 0; i < sockets->count; i++) {
        struct group *group = &sockets->groups[i];

        if (group->is_claimed || group->count == 0 || !address_equal(&group->as, as))
            continue;
        group->is_claimed = true;
        return (int)i;
    }
    return -1;
}

size_t sockets_share(const struct sockets *sockets, int group_number, size_t worker,
                     size_t worker_count)
{
    const struct group *group = group_number >= 0 ? &sockets->groups[group_number] : NULL;

    if (group == NULL || worker >= group->count)
        return group != NULL && group->is_shared ? 1 : 0;
    return group->is_shared ? 1 : (group->count - worker - 1) / worker_count + 1;
}

int sockets_take(struct sockets *sockets, int group_number, size_t worker, size_t worker_count,
                 size_t nth)
{
    if (group_number < 0)
        return -1;
    struct group *group = &sockets->groups[group_number];
    size_t index = worker + nth * worker_count;

    if (group->is_shared)
        return nth == 0 ? fcntl(group->fds[0], F_DUPFD_CLOEXEC, 3) : -1;
    if (index >= group->count)
        return -1;

    int fd = group->fds[index];

    group->fds[index] = -1;
    return fd;
}

void sockets_print_address(const struct address *as, struct buf *into)
{
    char text[ADDRESS_TEXT_BYTES];

    buf_printf(into, "=%s\n", address_text(as, text));
}
