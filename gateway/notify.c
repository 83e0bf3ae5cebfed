/* notify.c — see notify.h. The protocol is one datagram of NAME=VALUE lines (sd_notify(3)). */
#include "notify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/slice.h"

enum { MESSAGE_BYTES = 128 };

static void send_message(const char *message)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    size_t len = path != NULL ? strlen(path) : 0;
    int fd;

    if (len < 2 || len >= sizeof(to.sun_path) || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(to.sun_path, path, len);
    if (path[0] == '@') /* the abstract namespace */
        to.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd == -1)
        return;
    if (sendto(fd, message, strlen(message), MSG_NOSIGNAL, (const struct sockaddr *)&to,
               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) == -1)
        log_warn("notify: systemd cannot be told message=\"%s\"", message);
    close(fd);
}

void notify_ready(void)
{
    send_message("READY=1");
}

void notify_reloading(void)
{
    char message[MESSAGE_BYTES];
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(message, sizeof(message), "RELOADING=1\nMONOTONIC_USEC=%llu",
             (unsigned long long)now.tv_sec * 1000000 + (unsigned long long)now.tv_nsec / 1000);
    send_message(message);
}

void notify_stopping(void)
{
    send_message("STOPPING=1");
}

void notify_successor(pid_t pid)
{
    char message[MESSAGE_BYTES];

    snprintf(message, sizeof(message), "READY=1\nMAINPID=%ld", (long)pid);
    send_message(message);
}

void notify_alive(void)
{
    send_message("WATCHDOG=1");
}

/* A third of what systemd allows: one lost datagram is no death. WATCHDOG_PID of a process that an
 * upgrade has started is its predecessor's, so it is not looked at. */
uint64_t notify_watchdog_ms(void)
{
    uint64_t us = 0;

    if (!slice_to_u64(slice_from_string(getenv("WATCHDOG_USEC")), &us) || us == 0)
        return 0;
    return us / 3000 > 0 ? us / 3000 : 1;
}
