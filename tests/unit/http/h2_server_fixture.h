/* h2_server_fixture.h — an http_server with one memory conn whose other end is an h2_peer. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conn_memory.h"
#include "h2_peer.h"
#include "h2_recorder.h"
#include "http/server.h"

enum { REQUESTS_MAX = 4096 };

struct fixture {
    struct loop *loop;
    struct http_limits limits;
    struct http_server_options options;
    struct conn_memory_options wire;
    struct http_server *server;
    struct conn *conn; /* the server's end; gone when closed */
    struct h2_peer peer;
    struct recorder requests[REQUESTS_MAX];
    size_t request_count;
    bool answers; /* every request at once */
    bool trusts;  /* every connection */
    bool holds;   /* requests do not consume */
    bool is_closed;
    bool refusal_seen;
    enum status refusal;
};

int fixture_setup(void **state);
int fixture_teardown(void **state);

/* After limits, options and wire are set; greets when the test does not want to. */
void fixture_start(struct fixture *f);
void turns(struct fixture *f, unsigned count);
void wait_ms(struct fixture *f, unsigned ms);

/* At most 10 s, on a busy machine. */
#define WAIT_FOR(f, condition)                                                                     \
    do {                                                                                           \
        for (int left = 10000; left > 0 && !(condition); left--)                                   \
            wait_ms(f, 1);                                                                         \
        assert_true(condition);                                                                    \
    } while (0)

#define GET(path) ":method: GET\n:scheme: http\n:authority: exec.computer.test\n:path: " path "\n"
#define POST(path) ":method: POST\n:scheme: http\n:authority: exec.computer.test\n:path: " path "\n"

#define END NGHTTP2_FLAG_END_STREAM

/* Text of the response head on `stream`; "" when there is none. */
const char *response(struct fixture *f, int32_t stream);
