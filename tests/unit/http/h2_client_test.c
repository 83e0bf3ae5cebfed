/* h2_client_test.c — the HTTP/2 client against a peer that is right, wrong, slow or gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "base/mem.h"
#include "conn_memory.h"
#include "h2_peer.h"
#include "h2_recorder.h"
#include "http/client.h"

enum { CALLS_MAX = 256 };
#define END NGHTTP2_FLAG_END_STREAM

struct fixture {
    struct loop *loop;
    struct http_limits limits;
    struct conn_memory_options wire;
    struct http_client *client;
    struct conn *conn;
    struct h2_peer peer;
    struct recorder calls[CALLS_MAX];
    size_t call_count;
    unsigned ready_count, capacity_count, closing_count, closed_count;
    enum status closing_reason;
    bool destroys; /* inside on_closed */
    bool destroys_on_capacity;
    struct arena arena; /* of request heads */
};

static void on_ready(void *owner)
{
    ((struct fixture *)owner)->ready_count++;
}

static void on_capacity(void *owner)
{
    struct fixture *f = owner;

    assert_true(http_client_capacity(f->client) > 0);
    f->capacity_count++;
    if (f->destroys_on_capacity)
        http_client_destroy(&f->client);
}

static void on_closing(void *owner, enum status reason)
{
    struct fixture *f = owner;

    f->closing_count++;
    f->closing_reason = reason;
    assert_int_equal(http_client_capacity(f->client), 0);
}

static void on_closed(void *owner)
{
    struct fixture *f = owner;

    f->closed_count++;
    if (f->destroys)
        http_client_destroy(&f->client);
}

static const struct http_client_events client_events = {
    .on_ready = on_ready,
    .on_capacity = on_capacity,
    .on_closing = on_closing,
    .on_closed = on_closed,
};

static void turns(struct fixture *f, unsigned count)
{
    while (count-- > 0)
        loop_turn(f->loop, 0);
}

static void wait_ms(struct fixture *f, unsigned ms)
{
    struct timespec step = { .tv_nsec = 1000000 };

    while (ms-- > 0) {
        nanosleep(&step, NULL);
        loop_turn(f->loop, 0);
    }
    turns(f, 4);
}

static int setup(void **state)
{
    struct fixture *f = mem_zeroed(sizeof(*f));

    ENSURE(loop_create(&f->loop) == STATUS_OK);
    http_limits_init(&f->limits);
    arena_init(&f->arena, NULL, 0);
    f->destroys = true;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    http_client_destroy(&f->client);
    for (size_t i = 0; i < f->call_count; i++) {
        assert_int_equal(f->calls[i].events_after_end, 0);
        recorder_deinit(&f->calls[i]);
    }
    h2_peer_deinit(&f->peer);
    arena_deinit(&f->arena);
    turns(f, 1);
    loop_destroy(&f->loop);
    mem_free(f);
    return 0;
}

static struct fixture *connect_only(void **state)
{
    struct fixture *f = *state;
    struct conn *far;

    conn_memory_pair(f->loop, &f->wire, &f->conn, &far);
    h2_peer_init(&f->peer, far, true);
    turns(f, 2);
    f->client = h2_client_create(f->conn, &f->limits, &client_events, f);
    turns(f, 2);
    return f;
}

static struct fixture *started(void **state)
{
    struct fixture *f = connect_only(state);

    h2_peer_greet(&f->peer, 100);
    turns(f, 3);
    return f;
}

static struct recorder *call(struct fixture *f, const char *method, bool end)
{
    struct recorder *recorder = &f->calls[f->call_count++];
    struct head head = { .method = slice_from_string(method),
                         .scheme = SLICE("http"),
                         .authority = SLICE("agent.test"),
                         .target = SLICE("/process.Process/Start"),
                         .content_length = CONTENT_LENGTH_UNKNOWN };

    fields_add(&head.fields, &f->arena, FIELD_AUTHORIZATION, SLICE("Bearer secret"));
    fields_add(&head.fields, &f->arena, FIELD_TE, SLICE("trailers"));
    fields_add(&head.fields, &f->arena, FIELD_CONNECTION, SLICE("keep-alive"));
    fields_add(&head.fields, &f->arena, FIELD_CONTENT_TYPE, SLICE("application/json"));
    recorder->exchange = http_client_open(f->client, &head, end, &recorder_events, recorder);
    return recorder;
}

static const char *request(struct fixture *f, int32_t stream)
{
    const struct peer_frame *frame = h2_peer_find(&f->peer, NGHTTP2_HEADERS, stream);

    return frame != NULL ? buf_text((struct buf *)(uintptr_t)&frame->text) : "";
}

static void goaway(struct fixture *f, uint32_t last_id, uint32_t code)
{
    char payload[8] = { 0, 0, (char)(last_id >> 8), (char)last_id, 0, 0, 0, (char)code };

    h2_peer_frame(&f->peer, NGHTTP2_GOAWAY, 0, 0, slice_of(payload, 8));
}

#define assert_buf(buf, text) assert_string_equal(buf_text(&(buf)), text)

/* ---- exchanges ---- */

static void a_request_goes_out_and_its_answer_comes_back(void **state)
{
    struct fixture *f = started(state);
    struct recorder *r = call(f, "POST", false);

    exchange_write(r->exchange, SLICE("hello"));
    exchange_end(r->exchange, NULL);
    turns(f, 3);
    assert_string_equal(request(f, 1),
                        ":method: POST\n:scheme: http\n:path: /process.Process/Start\n"
                        ":authority: agent.test\nauthorization: Bearer secret\nte: trailers\n"
                        "content-type: application/json\n");
    assert_int_equal(h2_peer_data_bytes(&f->peer, 1), 5);
    assert_true(h2_peer_ended(&f->peer, 1));
    assert_int_equal(r->drained_bytes, 5);

    h2_peer_headers(&f->peer, 1, 0, ":status: 103\nlink: x\n");
    h2_peer_headers(&f->peer, 1, 0, ":status: 200\nserver: a\n");
    h2_peer_data(&f->peer, 1, 0, SLICE("one"));
    h2_peer_data(&f->peer, 1, 0, SLICE("two"));
    h2_peer_headers(&f->peer, 1, END, "grpc-status: 0\n");
    turns(f, 3);
    assert_buf(r->interim, "103\n");
    assert_int_equal(r->status, 200);
    assert_int_equal(r->exchange->response.fields.count, 1);
    assert_buf(r->body, "onetwo");
    assert_buf(r->trailers, "grpc-status: 0\n");
    assert_true(r->ended);
    assert_false(r->reset);
    assert_int_equal(http_client_capacity(f->client), 100);
}

static void a_response_of_trailers_only_ends_with_its_head(void **state)
{
    struct fixture *f = started(state);
    struct recorder *r = call(f, "POST", true);

    turns(f, 2);
    h2_peer_headers(&f->peer, 1, END, ":status: 200\ngrpc-status: 5\n");
    turns(f, 3);
    assert_true(r->head_seen);
    assert_true(r->ended);
    assert_true(slice_equal(fields_value(&r->exchange->response.fields, FIELD_OTHER), SLICE("5")));
}

static void tunnels_carry_bytes_both_ways(void **state)
{
    struct fixture *f = started(state);
    struct recorder *r = &f->calls[f->call_count++];
    struct head head = { .method = SLICE("CONNECT"), .authority = SLICE("127.0.0.1:8080") };

    r->exchange = http_client_open(f->client, &head, false, &recorder_events, r);
    turns(f, 2);
    assert_string_equal(request(f, 1), ":method: CONNECT\n:authority: 127.0.0.1:8080\n");
    h2_peer_headers(&f->peer, 1, 0, ":status: 200\n");
    h2_peer_data(&f->peer, 1, 0, SLICE("banner"));
    turns(f, 3);
    exchange_write(r->exchange, SLICE("raw"));
    turns(f, 3);
    assert_buf(r->body, "banner");
    assert_int_equal(h2_peer_data_bytes(&f->peer, 1), 3);
}

static void hostile_responses_reset_their_stream_alone(void **state)
{
    static const char *const bad[] = {
        ":status: 99\n",
        ":status: 600\n",
        ":status: 101\n",
        ":status: abc\n",
        "server: x\n",
        ":status: 200\nconnection: close\n",
        ":status: 200\nx-bad: a\rb\n",
        ":status: 200\ncontent-length: 1\ncontent-length: 1\n",
        ":status: 200\ntransfer-encoding: chunked\n",
        ":status: 204\ncontent-length: 7\n",
    };
    struct fixture *f = started(state);
    int32_t id = 1;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++, id += 2) {
        struct recorder *r = call(f, "GET", true);
        turns(f, 2);
        h2_peer_headers(&f->peer, id, 0, bad[i]);
        turns(f, 3);
        assert_true(r->reset);
        assert_int_equal(r->reason, RESET_PROTOCOL);
        assert_false(r->head_seen);
        assert_int_equal(h2_peer_error(&f->peer, id), NGHTTP2_PROTOCOL_ERROR);
    }
    assert_int_equal(f->closing_count, 0);
}

static void a_body_other_than_its_length_is_an_error(void **state)
{
    struct fixture *f = started(state);
    struct recorder *longer = call(f, "GET", true), *shorter = call(f, "GET", true);

    turns(f, 2);
    h2_peer_headers(&f->peer, 1, 0, ":status: 200\ncontent-length: 2\n");
    h2_peer_data(&f->peer, 1, 0, SLICE("abc"));
    h2_peer_headers(&f->peer, 3, 0, ":status: 200\ncontent-length: 4\n");
    h2_peer_data(&f->peer, 3, END, SLICE("abc"));
    turns(f, 3);
    assert_int_equal(longer->reason, RESET_PROTOCOL);
    assert_true(longer->reset && shorter->reset);
    assert_int_equal(shorter->reason, RESET_PROTOCOL);
    assert_false(shorter->ended);
}

static void endless_interim_responses_are_cut(void **state)
{
    struct fixture *f = started(state);
    struct recorder *r = call(f, "GET", true);

    turns(f, 2);
    for (int i = 0; i < 200; i++)
        h2_peer_headers(&f->peer, 1, 0, ":status: 103\nx-a: 1\n");
    turns(f, 3);
    assert_true(r->reset);
    assert_int_equal(r->reason, RESET_PROTOCOL);
}

/* ---- flow ---- */

static void responses_wait_for_their_consumer(void **state)
{
    static char bytes[65536];
    struct fixture *f = started(state);
    struct recorder *r = call(f, "GET", true);

    r->holds = true;
    turns(f, 2);
    h2_peer_headers(&f->peer, 1, 0, ":status: 200\n");
    h2_peer_data(&f->peer, 1, 0, slice_of(bytes, sizeof(bytes)));
    turns(f, 6);
    assert_int_equal(r->body.len, 65536);
    assert_int_equal(h2_peer_count(&f->peer, NGHTTP2_WINDOW_UPDATE, 1), 0);
    exchange_consumed(r->exchange, 40000);
    turns(f, 3);
    assert_int_equal(h2_peer_u32(h2_peer_find(&f->peer, NGHTTP2_WINDOW_UPDATE, 1), 0), 40000);
}

static void requests_wait_for_the_peers_window(void **state)
{
    static char bytes[100000];
    struct fixture *f = started(state);
    struct recorder *r = call(f, "POST", false);

    exchange_write(r->exchange, slice_of(bytes, sizeof(bytes)));
    exchange_end(r->exchange, NULL);
    turns(f, 8);
    assert_int_equal(r->drained_bytes, 65535);
    h2_peer_window(&f->peer, 0, 100000);
    h2_peer_window(&f->peer, 1, 100000);
    turns(f, 8);
    assert_int_equal(r->drained_bytes, 100000);
    assert_true(h2_peer_ended(&f->peer, 1));
}

/* ---- resets ---- */

static void an_early_answer_is_whole_though_the_upload_is_stopped(void **state)
{
    struct fixture *f = started(state);
    struct recorder *r = call(f, "POST", false);

    turns(f, 2);
    h2_peer_headers(&f->peer, 1, 0, ":status: 413\n");
    h2_peer_data(&f->peer, 1, END, SLICE("too big"));
    h2_peer_reset(&f->peer, 1, NGHTTP2_NO_ERROR);
    turns(f, 3);
    assert_buf(r->body, "too big");
    assert_true(r->ended);
    assert_true(r->reset); /* tells that the request is not wanted, and that the answer stands */
    assert_int_equal(r->reason, RESET_NO_ERROR);
}

static void an_answer_cut_off_is_never_whole(void **state)
{
    struct fixture *f = started(state);
    struct recorder *r = call(f, "POST", true);

    turns(f, 2);
    h2_peer_headers(&f->peer, 1, 0, ":status: 200\n");
    h2_peer_data(&f->peer, 1, 0, SLICE("half"));
    h2_peer_reset(&f->peer, 1, NGHTTP2_NO_ERROR);
    turns(f, 3);
    assert_false(r->ended);
    assert_int_equal(r->reason, RESET_INTERNAL);
}

static void resets_have_names(void **state)
{
    static const struct {
        uint32_t code;
        enum exchange_reset reason;
    } rows[] = {
        { NGHTTP2_CANCEL, RESET_CANCEL },           { NGHTTP2_REFUSED_STREAM, RESET_REFUSED },
        { NGHTTP2_PROTOCOL_ERROR, RESET_PROTOCOL }, { NGHTTP2_INTERNAL_ERROR, RESET_INTERNAL },
        { NGHTTP2_ENHANCE_YOUR_CALM, RESET_CALM },  { 0xdead, RESET_INTERNAL },
    };
    struct fixture *f = started(state);
    int32_t id = 1;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++, id += 2) {
        struct recorder *r = call(f, "GET", false);
        turns(f, 2);
        h2_peer_reset(&f->peer, id, rows[i].code);
        turns(f, 2);
        assert_int_equal(r->reason, rows[i].reason);
    }
    assert_int_equal(f->capacity_count, 1 + sizeof(rows) / sizeof(rows[0]));
}

static void cancelling_reaches_the_peer_or_never_starts(void **state)
{
    struct fixture *f = started(state);
    struct recorder *framed = call(f, "POST", false);

    turns(f, 2);
    exchange_reset(framed->exchange, RESET_CANCEL);
    struct recorder *unsent = call(f, "POST", false), *released = call(f, "POST", false);
    exchange_reset(unsent->exchange, RESET_CANCEL);
    exchange_release(&released->exchange);
    turns(f, 3);
    assert_int_equal(h2_peer_error(&f->peer, 1), NGHTTP2_CANCEL);
    assert_int_equal(h2_peer_count(&f->peer, NGHTTP2_HEADERS, 3), 0);
    assert_int_equal(h2_peer_count(&f->peer, NGHTTP2_HEADERS, 5), 0);
    assert_int_equal(http_client_capacity(f->client), 100);
    assert_false(unsent->reset);
}

/* ---- capacity ---- */

static void capacity_follows_the_peers_settings(void **state)
{
    struct fixture *f = connect_only(state);

    assert_int_equal(http_client_capacity(f->client), 100);
    assert_int_equal(f->ready_count, 0);
    h2_peer_greet(&f->peer, 2);
    turns(f, 3);
    assert_int_equal(f->ready_count, 1);
    assert_int_equal(http_client_capacity(f->client), 2);
    call(f, "GET", true);
    call(f, "GET", true);
    assert_int_equal(http_client_capacity(f->client), 0);
    turns(f, 2);
    unsigned before = f->capacity_count;
    h2_peer_headers(&f->peer, 1, END, ":status: 204\n");
    turns(f, 2);
    assert_int_equal(f->capacity_count, before + 1);
    assert_int_equal(http_client_capacity(f->client), 1);
    h2_peer_greet(&f->peer, 7);
    turns(f, 2);
    assert_int_equal(http_client_capacity(f->client), 6);
    assert_int_equal(f->ready_count, 1);
}

static void a_shrunken_limit_holds_back_new_exchanges(void **state)
{
    struct fixture *f = started(state);

    for (int i = 0; i < 3; i++)
        call(f, "GET", true);
    turns(f, 2);
    h2_peer_greet(&f->peer, 1);
    turns(f, 2);
    assert_int_equal(http_client_capacity(f->client), 0);
    h2_peer_headers(&f->peer, 1, END, ":status: 204\n");
    h2_peer_headers(&f->peer, 3, END, ":status: 204\n");
    turns(f, 2);
    assert_int_equal(http_client_capacity(f->client), 0);
}

/* ---- ends ---- */

static void goaway_refuses_what_is_above_and_lets_the_rest_finish(void **state)
{
    struct fixture *f = started(state);
    struct recorder *low = call(f, "GET", true), *high = call(f, "GET", true);

    turns(f, 2);
    goaway(f, 1, NGHTTP2_NO_ERROR);
    turns(f, 2);
    assert_int_equal(f->closing_count, 1);
    assert_int_equal(f->closing_reason, STATUS_CLOSED);
    assert_true(high->reset);
    assert_int_equal(high->reason, RESET_REFUSED);
    assert_false(low->reset);
    assert_int_equal(f->closed_count, 0);
    h2_peer_headers(&f->peer, 1, END, ":status: 200\n");
    turns(f, 3);
    assert_true(low->ended);
    assert_int_equal(f->closed_count, 1);
    assert_null(f->client);
    assert_true(f->peer.is_closed);
}

static void reset_by_peer(struct fixture *f, uint32_t id, uint32_t code)
{
    char payload[4] = { 0, 0, 0, (char)code };

    h2_peer_frame(&f->peer, NGHTTP2_RST_STREAM, 0, (int32_t)id, slice_of(payload, 4));
    turns(f, 2);
}

static void a_peer_that_is_weary_of_the_connection_is_left_in_order(void **state)
{
    struct fixture *f = started(state);
    struct recorder *overloaded = call(f, "GET", true);

    turns(f, 2);
    reset_by_peer(f, 1, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_int_equal(overloaded->reason, RESET_CALM);
    assert_int_equal(f->closing_count,
                     0); /* it has answered nothing yet: a new one would be no better */

    struct recorder *answered = call(f, "GET", true), *open = call(f, "GET", true);

    turns(f, 2);
    h2_peer_headers(&f->peer, 3, END, ":status: 200\n");
    turns(f, 2);
    assert_true(answered->ended);
    reset_by_peer(f, 5, NGHTTP2_CANCEL);
    assert_int_equal(f->closing_count, 0);

    struct recorder *weary = call(f, "GET", true), *goes_on = call(f, "GET", true);

    (void)open;
    turns(f, 2);
    reset_by_peer(f, 7, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_int_equal(weary->reason, RESET_CALM);
    assert_int_equal(f->closing_count, 1);
    assert_int_equal(f->closing_reason, STATUS_CLOSED);
    h2_peer_headers(&f->peer, 9, END, ":status: 200\n");
    turns(f, 3);
    assert_true(goes_on->ended);
    assert_int_equal(f->closed_count, 1);
}

static void a_request_that_meets_goaway_unsent_is_refused(void **state)
{
    struct fixture *f = started(state);
    struct recorder *kept = call(f, "GET", true);

    turns(f, 2);
    goaway(f, 1, NGHTTP2_NO_ERROR);
    loop_turn(f->loop, 0); /* the peer's bytes arrive in the next turn, after this request */
    (void)kept;
    if (f->closing_count == 0) {
        struct recorder *late = call(f, "GET", true);
        turns(f, 3);
        assert_int_equal(late->reason, RESET_REFUSED);
    }
    turns(f, 2);
    assert_int_equal(http_client_capacity(f->client), 0);
}

static void a_lost_connection_tells_refused_from_lost(void **state)
{
    struct fixture *f = started(state);
    struct recorder *sent = call(f, "POST", false);

    turns(f, 2);
    struct recorder *unsent = call(f, "POST", false);
    conn_memory_break(f->peer.conn);
    turns(f, 4);
    assert_int_equal(sent->reason, RESET_LOST);
    assert_int_equal(unsent->reason, RESET_REFUSED);
    assert_int_equal(f->closing_reason, STATUS_AGENT_LOST);
    assert_int_equal(f->closing_count, 1);
    assert_int_equal(f->closed_count, 1);
    assert_null(f->client);
}

static void what_waits_behind_a_backlog_was_not_sent(void **state)
{
    static char bytes[300000];
    struct fixture *f = started(state);
    struct recorder *bulk = call(f, "POST", false);

    h2_peer_window(&f->peer, 0, 1 << 20);
    h2_peer_window(&f->peer, 1, 1 << 20);
    turns(f, 3);
    h2_peer_listen(&f->peer, false);
    exchange_write(bulk->exchange, slice_of(bytes, sizeof(bytes)));
    turns(f, 6);
    struct recorder *behind = call(f, "POST", false);
    turns(f, 6);
    conn_memory_break(f->peer.conn);
    turns(f, 4);
    assert_int_equal(bulk->reason, RESET_LOST);
    assert_int_equal(behind->reason, RESET_REFUSED);
}

static void closing_gracefully_finishes_what_is_open(void **state)
{
    struct fixture *f = started(state);
    struct recorder *r = call(f, "GET", true);

    http_client_close_gracefully(f->client);
    http_client_close_gracefully(f->client);
    assert_int_equal(http_client_capacity(f->client), 0);
    turns(f, 3);
    assert_int_equal(f->closing_count, 1);
    assert_int_equal(f->closed_count, 0);
    assert_int_equal(h2_peer_error(&f->peer, 0), NGHTTP2_NO_ERROR);
    h2_peer_headers(&f->peer, 1, 0, ":status: 200\n");
    h2_peer_data(&f->peer, 1, END, SLICE("bye"));
    turns(f, 3);
    assert_true(r->ended);
    assert_int_equal(f->closed_count, 1);
    assert_null(f->client);
}

static void destroying_tells_every_owner_once(void **state)
{
    struct fixture *f = started(state);

    for (int i = 0; i < 4; i++)
        call(f, "POST", false);
    turns(f, 2);
    f->calls[0].on_reset_act = ACT_RELEASE;
    http_client_destroy(&f->client);
    for (int i = 0; i < 4; i++) {
        assert_true(f->calls[i].reset);
        assert_int_equal(f->calls[i].reason, RESET_LOST);
    }
    assert_null(f->calls[0].exchange);
    assert_int_equal(f->calls[1].exchange->link->version, HTTP_2);
    exchange_write(f->calls[1].exchange, SLICE("late"));
    exchange_reset(f->calls[2].exchange, RESET_CANCEL);
}

static void destroying_inside_an_event_is_allowed(void **state)
{
    struct fixture *f = started(state);
    struct recorder *r = call(f, "POST", false), *other = call(f, "POST", false);

    turns(f, 2);
    f->destroys_on_capacity = true;
    h2_peer_headers(&f->peer, 1, END, ":status: 200\n");
    h2_peer_reset(&f->peer, 1, NGHTTP2_CANCEL);
    h2_peer_headers(&f->peer, 3, END, ":status: 200\n");
    turns(f, 3);
    assert_null(f->client);
    assert_int_equal(r->reason, RESET_NO_ERROR);
    assert_int_equal(other->reason, RESET_LOST);
}

static void owners_may_release_inside_any_event(void **state)
{
    struct fixture *f = started(state);

    for (int i = 0; i < 5; i++)
        call(f, "POST", false);
    f->calls[0].on_head_act = ACT_RELEASE;
    f->calls[1].on_body_act = ACT_RELEASE;
    f->calls[2].on_end_act = ACT_RELEASE;
    f->calls[3].on_drained_act = ACT_RELEASE;
    f->calls[4].on_reset_act = ACT_RELEASE;
    exchange_write(f->calls[3].exchange, SLICE("x"));
    turns(f, 2);
    for (int32_t id = 1; id <= 5; id += 2) {
        h2_peer_headers(&f->peer, id, 0, ":status: 200\n");
        h2_peer_data(&f->peer, id, END, SLICE("b"));
    }
    h2_peer_reset(&f->peer, 9, NGHTTP2_CANCEL);
    turns(f, 3);
    for (int i = 0; i < 5; i++)
        assert_null(f->calls[i].exchange);
    assert_int_equal(http_client_capacity(f->client), 100);
}

static void a_silent_peer_is_pinged_and_then_given_up(void **state)
{
    struct fixture *f = *state;

    f->limits.ping_ms = 15;
    f->limits.ping_timeout_ms = 400;
    started(state);
    struct recorder *r = call(f, "GET", true);
    for (int left = 10000; left > 0 && h2_peer_count(&f->peer, NGHTTP2_PING, 0) < 2; left--)
        wait_ms(f, 1);
    assert_false(r->reset);
    f->peer.acks_pings = false;
    for (int left = 10000; left > 0 && !r->reset; left--)
        wait_ms(f, 1);
    assert_int_equal(r->reason, RESET_LOST);
    assert_int_equal(f->closing_reason, STATUS_AGENT_LOST);
    assert_int_equal(f->closed_count, 1);
}

static void a_peer_that_breaks_the_protocol_is_left(void **state)
{
    struct fixture *f = started(state);
    struct recorder *r = call(f, "GET", true);

    turns(f, 2);
    h2_peer_frame(&f->peer, NGHTTP2_SETTINGS, 0, 0, SLICE("\0\5\0\0\0\0")); /* MAX_FRAME_SIZE 0 */
    turns(f, 5);
    assert_int_equal(r->reason, RESET_LOST);
    assert_int_equal(f->closing_reason, STATUS_AGENT_PROTOCOL);
    assert_int_equal(f->closed_count, 1);
}

static void a_hostile_agent_cannot_flood_us(void **state)
{
    struct fixture *f = started(state);

    for (int i = 0; i < 60; i++)
        h2_peer_frame(&f->peer, NGHTTP2_PING, 0, 0, SLICE("12345678"));
    turns(f, 5);
    assert_int_equal(f->closing_reason, STATUS_AGENT_PROTOCOL);
    assert_int_equal(h2_peer_error(&f->peer, 0), NGHTTP2_ENHANCE_YOUR_CALM);
    assert_int_equal(f->closed_count, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_request_goes_out_and_its_answer_comes_back),
        T(a_response_of_trailers_only_ends_with_its_head),
        T(tunnels_carry_bytes_both_ways),
        T(hostile_responses_reset_their_stream_alone),
        T(a_body_other_than_its_length_is_an_error),
        T(endless_interim_responses_are_cut),
        T(responses_wait_for_their_consumer),
        T(requests_wait_for_the_peers_window),
        T(an_early_answer_is_whole_though_the_upload_is_stopped),
        T(an_answer_cut_off_is_never_whole),
        T(resets_have_names),
        T(cancelling_reaches_the_peer_or_never_starts),
        T(capacity_follows_the_peers_settings),
        T(a_shrunken_limit_holds_back_new_exchanges),
        T(goaway_refuses_what_is_above_and_lets_the_rest_finish),
        T(a_peer_that_is_weary_of_the_connection_is_left_in_order),
        T(a_request_that_meets_goaway_unsent_is_refused),
        T(a_lost_connection_tells_refused_from_lost),
        T(what_waits_behind_a_backlog_was_not_sent),
        T(closing_gracefully_finishes_what_is_open),
        T(destroying_tells_every_owner_once),
        T(destroying_inside_an_event_is_allowed),
        T(owners_may_release_inside_any_event),
        T(a_silent_peer_is_pinged_and_then_given_up),
        T(a_peer_that_breaks_the_protocol_is_left),
        T(a_hostile_agent_cannot_flood_us),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
