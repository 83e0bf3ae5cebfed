/* served_agent.h — an agent, or an app in a computer, made of our own http/server over real TCP on
 * 127.0.0.1. GET gets 200 and "hello"; other methods get their body back as it comes; CONNECT is a
 * real tunnel, except to the ports below. */
#pragma once

#include "http/server.h"
#include "net/listener.h"

struct tunnels;
struct tls_context;

enum {
    SERVED_PORT_ECHO = 1,   /* sends back what it gets */
    SERVED_PORT_SILENT = 2, /* never answers the CONNECT */
    SERVED_PORT_RESETS = 3, /* resets it */
    SERVED_PORT_SINK = 4,   /* takes 64 KiB and no more */
    SERVED_PORT_SOURCE = 5, /* sends without end, as fast as it may */
};

struct served_agent {
    struct loop *loop;
    struct http_limits limits;
    struct http_server *server;
    struct listener *listener;
    struct tunnels *tunnels;
    struct list open; /* exchanges that we answer ourselves */
    size_t request_count;
    size_t source_bytes; /* that left the source */
    char text[32];       /* "127.0.0.1:port" */
};

void served_agent_init(struct served_agent *agent, struct loop *loop, struct tls_context *tls);
void served_agent_deinit(struct served_agent *agent);
uint16_t served_agent_port(const struct served_agent *agent);
