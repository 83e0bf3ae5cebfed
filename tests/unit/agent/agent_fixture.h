/* tests/unit/agent/agent_fixture.h — a whole agent and a client of it on one loop, over a real
 * loopback connection. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/guest_agent.h"
#include "connect/envelope.h"
#include "http/client.h"

enum { WAIT_MS = 15000 };

struct fixture {
    struct loop *loop;
    struct guest_agent *agent;
    struct http_limits limits; /* of the client */
    bool is_h1;
    struct http_client *client;
    bool has_conn;
    struct arena arena;
};

/* One request and what came of it. */
struct rpc_test {
    struct fixture *f;
    struct exchange *exchange;
    enum message_codec codec;
    bool is_paused; /* do not take what comes: the window closes */
    size_t held_bytes;
    /* heard */
    unsigned status;
    struct buf content_type, allow, accept_post, grpc_status, grpc_message;
    struct buf body; /* raw; not filled when `is_stream` */
    bool is_stream, is_web, is_ended, was_reset;
    struct buf web; /* frames of gRPC-Web, not whole yet */
    struct envelope_reader reader;
    struct buf end_stream; /* the last message of a Connect stream */
    struct buf message;    /* a message that is no event (gRPC unary) */
    /* events */
    uint32_t pid;
    struct buf out, err, pty;
    bool discard_output; /* count only */
    size_t output_bytes;
    unsigned start_count, keepalive_count, end_count, event_count;
    bool started_first;
    int exit_code;
    bool exited;
    struct buf end_status;
};

#define WAIT_FOR(f, condition)                                                                     \
    do {                                                                                           \
        uint64_t until_ms = fixture_now_ms() + WAIT_MS;                                            \
        while (!(condition)) {                                                                     \
            if (fixture_now_ms() > until_ms)                                                       \
                fail_msg("waited too long for: %s", #condition);                                   \
            loop_turn((f)->loop, 5);                                                               \
        }                                                                                          \
    } while (0)

uint64_t fixture_now_ms(void);
void run_for(struct fixture *f, uint64_t ms);

/* `tune` (may be NULL) changes the agent's options. */
void fixture_start(struct fixture *f, void (*tune)(struct guest_agent_options *options));
void fixture_stop(struct fixture *f);
/* A (further) connection for what is opened from now on; the old client must have no open exchange.
 */
void fixture_connect(struct fixture *f, bool is_h1);
void fixture_disconnect(struct fixture *f);

int fixture_setup(void **state); /* h2 */
int fixture_teardown(void **state);

/* `fields`: name, value, name, value …, NULL; lower-case names. */
void rpc_open(struct fixture *f, struct rpc_test *t, const char *method, const char *type,
              const char *const *fields);
void rpc_send(struct rpc_test *t,
              const char *json); /* one message, enveloped when the call streams */
void rpc_send_bytes(struct rpc_test *t, struct slice bytes);
void rpc_send_end(struct rpc_test *t);
void rpc_resume(struct rpc_test *t);
void rpc_close(struct rpc_test *t);

/* Opens, sends the one message, ends the request. */
void rpc_call(struct fixture *f, struct rpc_test *t, const char *method, const char *json);
/* A unary call that must succeed. */
void rpc_do(struct fixture *f, const char *method, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

struct rpc_test *rpc_new(void);
void rpc_free(struct rpc_test **t);

#define assert_text(buf, text) assert_string_equal(buf_text(&(buf)), text)
#define assert_has(buf, text) assert_non_null(strstr(buf_text(&(buf)), text))
