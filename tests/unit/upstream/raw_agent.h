/* raw_agent.h — an agent made of plain sockets and hand-written bytes, for peers that misbehave on
 * purpose. It runs in the test's own thread: everything is non-blocking, and raw_accept() turns the
 * loop while it waits. */
#pragma once

#include "base/slice.h"
#include "net/loop.h"

enum { RAW_AGENT_TEXT_BYTES = 32, RAW_UNLIMITED = -1 };

struct raw_agent {
    int fd;
    char text[RAW_AGENT_TEXT_BYTES]; /* "127.0.0.1:port" */
};

void raw_agent_bind(struct raw_agent *agent); /* refuses until raw_agent_listen() */
void raw_agent_listen(struct raw_agent *agent, int backlog);
void raw_agent_close(struct raw_agent *agent);

/* Turns `loop` until a connection arrives (fails the test after 5 s). Returns an owned non-blocking
 * descriptor. */
int raw_accept(struct raw_agent *agent, struct loop *loop);
bool raw_has_arrived(struct raw_agent *agent); /* a connection waits to be accepted */

void raw_send(int fd, struct slice bytes);
void raw_reset(int fd);      /* closes with RST */
bool raw_was_closed(int fd); /* discards what arrived; true when the other side closed */
size_t raw_read(int fd, char *into, size_t size_bytes); /* what is there, at most; 0: nothing */

/* HTTP/2 frames. */
void raw_settings(int fd, int64_t max_streams); /* RAW_UNLIMITED: says nothing of it */
void raw_settings_ack(int fd);
void raw_answer(int fd, uint32_t stream_id); /* :status 200, END_STREAM */
void raw_goaway(int fd, uint32_t last_stream_id, uint32_t code);
void raw_rst_stream(int fd, uint32_t stream_id, uint32_t code);
