/* bench/relay.c — the physical floor: a TCP relay on one epoll loop that reads nothing of what it passes. Each client connection
 * gets one to the upstream. Usage: relay LISTEN_PORT UPSTREAM_PORT (127.0.0.1). For the benchmark alone: it buffers one read and
 * waits for the slow side by polling. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FDS_MAX = 65536, EVENTS = 256 };

static int peer_of[FDS_MAX];
static char bytes[256 * 1024];

static struct sockaddr_in loopback(const char *port)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((unsigned short)atoi(port)) };

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static void watch(int epoll_fd, int fd)
{
    struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };
    int on = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static void take(int epoll_fd, int listener, const struct sockaddr_in *upstream)
{
    int client = accept(listener, NULL, NULL);
    int agent = socket(AF_INET, SOCK_STREAM, 0);

    if (client < 0 || agent < 0 ||
        connect(agent, (const struct sockaddr *)upstream, sizeof(*upstream)) != 0) {
        perror("relay");
        exit(1);
    }
    peer_of[client] = agent;
    peer_of[agent] = client;
    watch(epoll_fd, client);
    watch(epoll_fd, agent);
}

static void pass(int fd)
{
    ssize_t count = recv(fd, bytes, sizeof(bytes), 0);
    int peer = peer_of[fd];

    if (count <= 0) {
        close(fd);
        close(peer);
        return;
    }
    for (ssize_t done = 0; done < count;) {
        ssize_t sent =
            send(peer, bytes + done, (size_t)(count - done), MSG_NOSIGNAL | MSG_DONTWAIT);
        struct pollfd room = { .fd = peer, .events = POLLOUT };

        if (sent > 0)
            done += sent;
        else if (sent < 0 && errno == EAGAIN)
            poll(&room, 1, -1);
        else
            return;
    }
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    struct sockaddr_in here = loopback(argv[1]), upstream = loopback(argv[2]);
    int listener = socket(AF_INET, SOCK_STREAM, 0), epoll_fd = epoll_create1(0), on = 1;
    struct epoll_event events[EVENTS];

    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(listener, (struct sockaddr *)&here, sizeof(here)) != 0 ||
        listen(listener, 4096) != 0) {
        perror("relay");
        return 1;
    }
    watch(epoll_fd, listener);
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS, -1);

        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener)
                take(epoll_fd, listener, &upstream);
            else
                pass(events[i].data.fd);
        }
    }
}
