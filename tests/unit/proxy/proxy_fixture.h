/* proxy_fixture.h — a whole gateway in one test: a listener with the real codecs, the proxy, the
 * resolver over a store of records that the test writes, the real pool; an agent made of the real
 * server whose answers the test gives by hand; and clients over loopback TCP, HTTP/2 or HTTP/1.1.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "fake_store.h"
#include "http/client.h"
#include "http/server.h"
#include "key_fixtures.h"
#include "net/listener.h"
#include "proxy/access_log.h"
#include "proxy/proxy.h"

enum { FIXTURE_LIMIT_MS = 5000, AGENT_CALLS = 64 };

/* One request that reached the agent. */
struct agent_call {
    struct exchange *exchange; /* NULL once it is released */
    struct buf head;           /* "POST /path\nname: value\n…" */
    struct buf body;
    bool ended, was_reset, holds_back; /* holds_back: consumes nothing */
    enum exchange_reset reason;
    size_t held_bytes;
};

struct fixture {
    struct loop *loop;
    struct http_limits limits;
    struct key_fixtures keys;
    struct key_store *key_store;
    struct token_verifier *tokens;
    struct fake_store *store;
    struct route_resolver *routes;
    struct upstream_pool *upstreams;
    struct proxy_options options; /* change, then fixture_apply_options() */
    FILE *log_file;
    struct access_log *log;
    struct proxy *proxy;
    struct http_server *gateway, *agent;
    struct listener *gateway_listener, *agent_listener;
    struct agent_call calls[AGENT_CALLS];
    size_t call_count;
    bool agent_refuses; /* resets each request with REFUSED_STREAM */
    char computer[256]; /* the record of cmp_1 as it was first written */
    struct buf token;   /* good, for an hour */
};

/* One client connection. */
struct client {
    struct fixture *fixture;
    struct conn *conn;
    struct http_client *http;
    bool is_h1, is_open, is_closed;
};

/* One request of a client and what it got. */
struct request {
    struct exchange *exchange;
    struct buf head; /* "200\nname: value\n…" */
    struct buf body;
    struct buf trailers; /* "name: value\n…" */
    struct arena arena;  /* of the request's head */
    struct head sent;
    struct field fields[24];
    unsigned status;
    bool ended, was_reset, holds_back;
    enum exchange_reset reason;
    size_t held_bytes;
};

int fixture_setup(void **state);
int fixture_teardown(void **state);
void fixture_apply_options(struct fixture *f);
void fixture_token(struct fixture *f, const char *claims,
                   struct buf *into); /* the claims after iss, aud */
void fixture_set_computer(struct fixture *f, const char *fields);

#define TURN_UNTIL(fixture, condition)                                                             \
    do {                                                                                           \
        uint64_t until_ms = loop_clock((fixture)->loop)->now_ms + FIXTURE_LIMIT_MS;                \
        while (!(condition) && loop_clock((fixture)->loop)->now_ms < until_ms)                     \
            loop_turn((fixture)->loop, 5);                                                         \
        assert_true(condition);                                                                    \
    } while (0)

void turn_for(struct fixture *f, uint64_t time_ms);

void client_open(struct client *client, struct fixture *f, bool is_h1);
void client_close(struct client *client);

/* `fields`: "name: value\n…"; "$T" in it stands for the good token. `body` NULL: the request stays
 * open. */
void request_send(struct request *request, struct client *client, const char *method_and_target,
                  const char *fields, const char *body);
void request_send_bytes(struct request *request, struct client *client,
                        const char *method_and_target, const char *fields, struct slice body,
                        bool end);
void request_close(struct request *request);

void fixture_read_log(struct fixture *f, struct buf *into);
const char *text_of(struct buf *buf);
bool buf_has(struct buf *buf, const char *text);

/* The agent's answers. */
void agent_answer(struct agent_call *call, unsigned status, const char *fields, bool end);
void agent_write(struct agent_call *call, struct slice bytes);
void agent_envelope(struct agent_call *call, uint8_t flags, const char *message);
void agent_end(struct agent_call *call, const char *trailers);
void agent_reset(struct agent_call *call, enum exchange_reset reason);
void agent_lose_conns(struct fixture *f); /* every connection to the agent breaks */
