/* raw_agent.c — see the header. */
#include "raw_agent.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { ACCEPT_LIMIT_MS = 5000 };

void raw_agent_bind(struct raw_agent *agent)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(address);

    agent->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(agent->fd >= 0);
    assert_int_equal(bind(agent->fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(agent->fd, (struct sockaddr *)&address, &len), 0);
    snprintf(agent->text, sizeof(agent->text), "127.0.0.1:%u", ntohs(address.sin_port));
}

void raw_agent_listen(struct raw_agent *agent, int backlog)
{
    assert_int_equal(listen(agent->fd, backlog), 0);
}

void raw_agent_close(struct raw_agent *agent)
{
    if (agent->fd >= 0)
        close(agent->fd);
    agent->fd = -1;
}

bool raw_has_arrived(struct raw_agent *agent)
{
    struct pollfd poll_fd = { .fd = agent->fd, .events = POLLIN };

    return poll(&poll_fd, 1, 0) == 1;
}

int raw_accept(struct raw_agent *agent, struct loop *loop)
{
    uint64_t until_ms = loop_clock(loop)->now_ms + ACCEPT_LIMIT_MS;
    int fd = -1;

    while (fd == -1 && loop_clock(loop)->now_ms < until_ms) {
        fd = accept4(agent->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd == -1)
            loop_turn(loop, 5);
    }
    assert_true(fd >= 0);
    return fd;
}

void raw_send(int fd, struct slice bytes)
{
    assert_int_equal(send(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL), bytes.len);
}

void raw_reset(int fd)
{
    struct linger linger = { .l_onoff = 1 };

    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
    close(fd);
}

size_t raw_read(int fd, char *into, size_t size_bytes)
{
    ssize_t count = recv(fd, into, size_bytes, 0);

    return count > 0 ? (size_t)count : 0;
}

bool raw_was_closed(int fd)
{
    char bytes[4096];
    ssize_t count;

    do
        count = recv(fd, bytes, sizeof(bytes), 0);
    while (count > 0);
    return count == 0 || errno != EAGAIN;
}

static void send_frame(int fd, uint8_t type, uint8_t flags, uint32_t stream_id,
                       struct slice payload)
{
    char frame[64] = { 0 };

    assert_true(payload.len <= sizeof(frame) - 9);
    frame[2] = (char)payload.len;
    frame[3] = (char)type;
    frame[4] = (char)flags;
    stream_id = htonl(stream_id);
    memcpy(frame + 5, &stream_id, 4);
    memcpy(frame + 9, payload.ptr, payload.len);
    raw_send(fd, slice_of(frame, 9 + payload.len));
}

void raw_settings(int fd, int64_t max_streams)
{
    char entry[6] = { 0, 3 };
    uint32_t value = htonl((uint32_t)max_streams);

    memcpy(entry + 2, &value, 4);
    send_frame(fd, 4, 0, 0, max_streams == RAW_UNLIMITED ? SLICE_EMPTY : slice_of(entry, 6));
}

void raw_settings_ack(int fd)
{
    send_frame(fd, 4, 1, 0, SLICE_EMPTY);
}

void raw_answer(int fd, uint32_t stream_id)
{
    send_frame(fd, 1, 5, stream_id, SLICE("\x88"));
}

void raw_goaway(int fd, uint32_t last_stream_id, uint32_t code)
{
    uint32_t payload[2] = { htonl(last_stream_id), htonl(code) };

    send_frame(fd, 7, 0, 0, slice_of(payload, 8));
}

void raw_rst_stream(int fd, uint32_t stream_id, uint32_t code)
{
    code = htonl(code);
    send_frame(fd, 3, 0, stream_id, slice_of(&code, 4));
}
