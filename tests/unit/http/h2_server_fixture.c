/* h2_server_fixture.c — see h2_server_fixture.h. */
#include "h2_server_fixture.h"

#include <time.h>

#include "base/mem.h"

static void on_request(void *owner, struct exchange *exchange)
{
    struct fixture *f = owner;

    ENSURE(f->request_count < REQUESTS_MAX);
    struct recorder *recorder = &f->requests[f->request_count++];
    recorder_take(recorder, exchange);
    recorder->ended = exchange->in_ended;
    recorder->holds = f->holds;
    if (f->trusts)
        exchange->link->is_trusted = true;
    if (f->answers)
        recorder_answer(recorder, "ok");
}

static void refuse(void *owner, struct exchange *exchange, enum status status)
{
    struct fixture *f = owner;
    struct head head = { .status = status_http(status), .content_length = CONTENT_LENGTH_UNKNOWN };

    f->refusal_seen = true;
    f->refusal = status;
    exchange_send_head(exchange, &head, false);
    exchange_write(exchange, slice_from_string(status_name(status)));
    exchange_end(exchange, NULL);
}

int fixture_setup(void **state)
{
    struct fixture *f = mem_zeroed(sizeof(*f));

    ENSURE(loop_create(&f->loop) == STATUS_OK);
    http_limits_init(&f->limits);
    f->options = (struct http_server_options){
        .limits = &f->limits, .refuse = refuse, .on_request = on_request, .owner = f
    };
    *state = f;
    return 0;
}

int fixture_teardown(void **state)
{
    struct fixture *f = *state;

    http_server_destroy(&f->server);
    for (size_t i = 0; i < f->request_count; i++)
        recorder_deinit(&f->requests[i]);
    h2_peer_deinit(&f->peer);
    loop_turn(f->loop, 0);
    loop_destroy(&f->loop);
    mem_free(f);
    return 0;
}

static void on_closed(void *arg)
{
    struct fixture *f = arg;

    f->is_closed = true;
    f->conn = NULL;
}

void fixture_start(struct fixture *f)
{
    struct conn *far;

    f->server = http_server_create(f->loop, &f->options);
    conn_memory_pair(f->loop, &f->wire, &f->conn, &far);
    h2_peer_init(&f->peer, far, false);
    http_server_accept(f->server, f->conn, on_closed, f);
    turns(f, 2);
}

void turns(struct fixture *f, unsigned count)
{
    while (count-- > 0)
        loop_turn(f->loop, 0);
}

void wait_ms(struct fixture *f, unsigned ms)
{
    struct timespec step = { .tv_nsec = 1000000 };

    while (ms-- > 0) {
        nanosleep(&step, NULL);
        loop_turn(f->loop, 0);
    }
    turns(f, 4);
}

const char *response(struct fixture *f, int32_t stream)
{
    const struct peer_frame *frame = h2_peer_find(&f->peer, NGHTTP2_HEADERS, stream);

    return frame != NULL ? buf_text((struct buf *)(uintptr_t)&frame->text) : "";
}
