/* h2_server_test.c — the HTTP/2 server codec: requests, responses, flow control, ends. */
#include <stdio.h>

#include "h2_server_fixture.h"

#include "base/mem.h"

static struct fixture *started(void **state)
{
    struct fixture *f = *state;

    fixture_start(f);
    h2_peer_greet(&f->peer, 0);
    turns(f, 4);
    return f;
}

static void assert_text(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", part, text);
}

#define assert_buf(buf, text) assert_string_equal(buf_text(&(buf)), text)

static void a_request_arrives_as_sent_and_its_answer_goes_back(void **state)
{
    struct fixture *f = started(state);

    h2_peer_headers(&f->peer, 1, 0,
                    POST("/process.Process/Start?x=%2f") "content-type: application/json\n"
                                                         "content-length: 5\nx-odd: a b\n");
    h2_peer_data(&f->peer, 1, END, SLICE("hello"));
    turns(f, 4);
    assert_int_equal(f->request_count, 1);

    struct recorder *r = &f->requests[0];
    const struct head *head = &r->exchange->request;
    assert_true(slice_equal(head->method, SLICE("POST")));
    assert_true(slice_equal(head->scheme, SLICE("http")));
    assert_true(slice_equal(head->authority, SLICE("exec.computer.test")));
    assert_true(slice_equal(head->target, SLICE("/process.Process/Start?x=%2f")));
    assert_int_equal(head->content_length, 5);
    assert_int_equal(head->fields.count, 3);
    assert_int_equal(head->fields.items[0].id, FIELD_CONTENT_TYPE);
    assert_true(slice_equal(head->fields.items[2].name, SLICE("x-odd")));
    assert_true(slice_equal(head->fields.items[2].value, SLICE("a b")));
    assert_int_equal(r->exchange->link->version, HTTP_2);
    assert_buf(r->body, "hello");
    assert_true(r->ended);

    recorder_answer(r, "world");
    turns(f, 3);
    assert_string_equal(response(f, 1), ":status: 200\n");
    assert_int_equal(h2_peer_data_bytes(&f->peer, 1), 5);
    assert_true(h2_peer_ended(&f->peer, 1));
    assert_int_equal(r->drained_bytes, 5);
    assert_false(r->reset);
}

static void a_head_without_body_says_so(void **state)
{
    struct fixture *f = started(state);

    h2_peer_headers(&f->peer, 1, END, GET("/"));
    turns(f, 3);
    assert_true(f->requests[0].exchange->in_ended);
    recorder_answer(&f->requests[0], NULL);
    turns(f, 3);
    assert_true(h2_peer_ended(&f->peer, 1));
    assert_int_equal(h2_peer_count(&f->peer, NGHTTP2_DATA, 1), 0);
}

static void trailers_and_interim_responses_pass(void **state)
{
    struct fixture *f = started(state);
    struct head interim = { .status = 103, .content_length = CONTENT_LENGTH_UNKNOWN };
    struct arena arena;
    struct fields trailers = { 0 };

    h2_peer_headers(&f->peer, 1, 0, POST("/"));
    h2_peer_headers(&f->peer, 1, END, "x-checksum: 9\n");
    turns(f, 3);
    assert_buf(f->requests[0].trailers, "x-checksum: 9\n");

    arena_init(&arena, NULL, 0);
    fields_add_named(&trailers, &arena, SLICE("grpc-status"), SLICE("0"));
    fields_add_named(&trailers, &arena, SLICE("x-more"), arena_copy(&arena, SLICE("yes")));
    exchange_send_interim(f->requests[0].exchange, &interim);
    recorder_send_head(&f->requests[0], 200, false);
    exchange_write(f->requests[0].exchange, SLICE("abc"));
    exchange_end(f->requests[0].exchange, &trailers);
    arena_deinit(&arena); /* before they are framed */
    turns(f, 3);
    assert_int_equal(h2_peer_count(&f->peer, NGHTTP2_HEADERS, 1), 3);
    assert_string_equal(response(f, 1), "grpc-status: 0\nx-more: yes\n");
    assert_true(h2_peer_ended(&f->peer, 1));
}

static void cookie_crumbs_become_one_field(void **state)
{
    struct fixture *f = started(state);

    h2_peer_headers(&f->peer, 1, END, GET("/") "cookie: a=1\nx-a: b\ncookie: b=2\ncookie: c=3\n");
    turns(f, 3);
    const struct fields *fields = &f->requests[0].exchange->request.fields;
    assert_int_equal(fields->count, 2);
    assert_true(slice_equal(fields_value(fields, FIELD_COOKIE), SLICE("a=1; b=2; c=3")));
    h2_peer_headers(&f->peer, 3, END,
                    GET("/") "cookie: \ncookie: a=1\ncookie: \ncookie: b=2\ncookie: \n");
    h2_peer_headers(&f->peer, 5, END, GET("/") "cookie: \ncookie: \n");
    turns(f, 3);
    fields = &f->requests[1].exchange->request.fields;
    assert_true(slice_equal(fields_value(fields, FIELD_COOKIE), SLICE("a=1; b=2")));
    fields = &f->requests[2].exchange->request.fields;
    assert_int_equal(fields->count, 1);
    assert_int_equal(fields_value(fields, FIELD_COOKIE).len, 0);
}

/* The list of fields doubles five times for a hundred crumbs: none of that stays. */
static void head_of_many_crumbs_takes_its_own_size(void **state)
{
    struct fixture *f = started(state);
    char text[2048];
    size_t len = (size_t)snprintf(text, sizeof(text), GET("/a?b") "x-other: kept\nuser-agent: u\n");

    for (int i = 0; i < 100; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "cookie: a=%d\n", i);
    h2_peer_headers(&f->peer, 1, END, text);
    turns(f, 3);

    const struct exchange *exchange = f->requests[0].exchange;
    const struct field *other = fields_find_named(&exchange->request.fields, SLICE("x-other"));

    assert_int_equal(exchange->request.fields.count, 3);
    assert_non_null(other);
    assert_true(slice_equal(other->value, SLICE("kept")));
    assert_true(slice_equal(exchange->request.target, SLICE("/a?b")));
    assert_true(slice_equal(fields_value(&exchange->request.fields, FIELD_USER_AGENT), SLICE("u")));
    struct slice cookies = fields_value(&exchange->request.fields, FIELD_COOKIE);
    assert_true(slice_starts_with(cookies, SLICE("a=0; a=1; a=2; ")));
    assert_true(slice_ends_with(cookies, SLICE("; a=99")));
    assert_true(exchange->arena.used_bytes < 1024);
}

static void bodies_stream_both_ways_at_once(void **state)
{
    struct fixture *f = started(state);

    h2_peer_headers(&f->peer, 1, 0, POST("/"));
    turns(f, 3);
    recorder_send_head(&f->requests[0], 200, false);
    for (int i = 0; i < 5; i++) {
        h2_peer_data(&f->peer, 1, 0, SLICE("ping"));
        turns(f, 3);
        exchange_write(f->requests[0].exchange, SLICE("pong"));
        turns(f, 3);
        assert_int_equal(f->requests[0].body.len, 4 * (size_t)(i + 1));
        assert_int_equal(h2_peer_data_bytes(&f->peer, 1), 4 * (size_t)(i + 1));
    }
    exchange_end(f->requests[0].exchange, NULL); /* half-close: the request goes on */
    turns(f, 3);
    assert_true(h2_peer_ended(&f->peer, 1));
    h2_peer_data(&f->peer, 1, END, SLICE("late"));
    turns(f, 3);
    assert_int_equal(f->requests[0].body.len, 24);
    assert_true(f->requests[0].ended);
    assert_false(f->requests[0].reset);
}

static void no_more_than_the_window_arrives_until_it_is_consumed(void **state)
{
    struct fixture *f = *state;
    static char bytes[65536];

    f->holds = true;
    started(state);
    h2_peer_headers(&f->peer, 1, 0, POST("/"));
    h2_peer_data(&f->peer, 1, 0, slice_of(bytes, sizeof(bytes)));
    turns(f, 20);
    assert_int_equal(f->requests[0].body.len, 65536);
    assert_int_equal(h2_peer_count(&f->peer, NGHTTP2_WINDOW_UPDATE, 1), 0);

    exchange_consumed(f->requests[0].exchange, 65536);
    turns(f, 4);
    assert_int_equal(h2_peer_u32(h2_peer_find(&f->peer, NGHTTP2_WINDOW_UPDATE, 1), 0), 65536);
}

static void an_unread_stream_never_blocks_the_others(void **state)
{
    struct fixture *f = *state;
    static char bytes[65536];
    size_t connection_window = 0;

    f->holds = true;
    started(state);
    for (int32_t id = 1; id < 64; id += 2) {
        h2_peer_headers(&f->peer, id, 0, POST("/"));
        h2_peer_data(&f->peer, id, 0, slice_of(bytes, sizeof(bytes)));
        turns(f, 8);
    }
    assert_int_equal(f->request_count, 32);
    for (size_t i = 0; i < 32; i++)
        assert_int_equal(f->requests[i].body.len, 65536);
    for (size_t i = 0; i < f->peer.count; i++)
        if (f->peer.frames[i].type == NGHTTP2_WINDOW_UPDATE && f->peer.frames[i].stream == 0)
            connection_window += h2_peer_u32(&f->peer.frames[i], 0);
    assert_in_range(connection_window + 65535, 32 * 65536 + 65536, 64 * 65536);
    assert_false(f->is_closed);
}

static void output_waits_for_the_peers_window(void **state)
{
    struct fixture *f = started(state);
    static char bytes[100000];

    h2_peer_headers(&f->peer, 1, END, GET("/"));
    turns(f, 3);
    recorder_send_head(&f->requests[0], 200, false);
    exchange_write(f->requests[0].exchange, slice_of(bytes, sizeof(bytes)));
    exchange_end(f->requests[0].exchange, NULL);
    turns(f, 20);
    assert_int_equal(h2_peer_data_bytes(&f->peer, 1), 65535);
    assert_int_equal(f->requests[0].drained_bytes, 65535);
    h2_peer_window(&f->peer, 0, 100000);
    h2_peer_window(&f->peer, 1, 10);
    turns(f, 8);
    assert_int_equal(h2_peer_data_bytes(&f->peer, 1), 65545);
    h2_peer_window(&f->peer, 1, 100000);
    turns(f, 8);
    assert_int_equal(h2_peer_data_bytes(&f->peer, 1), 100000);
    assert_true(h2_peer_ended(&f->peer, 1));
}

static void a_deaf_transport_holds_back_what_the_owner_may_write(void **state)
{
    struct fixture *f = started(state);
    static char bytes[1 << 20];

    h2_peer_headers(&f->peer, 1, END, GET("/"));
    h2_peer_window(&f->peer, 0, 1 << 22);
    h2_peer_window(&f->peer, 1, 1 << 22);
    turns(f, 3);
    h2_peer_listen(&f->peer, false);
    recorder_send_head(&f->requests[0], 200, false);
    exchange_write(f->requests[0].exchange, slice_of(bytes, sizeof(bytes)));
    turns(f, 20);
    /* The pipe's 64 KiB and one gathered write; the rest is still the owner's. */
    assert_in_range(f->requests[0].drained_bytes, 65536, 65536 + 256 * 1024);
    size_t drained = f->requests[0].drained_bytes;
    turns(f, 20);
    assert_int_equal(f->requests[0].drained_bytes, drained);
    h2_peer_listen(&f->peer, true);
    turns(f, 200);
    assert_int_equal(f->requests[0].drained_bytes, sizeof(bytes));
    assert_int_equal(h2_peer_data_bytes(&f->peer, 1), sizeof(bytes));
}

static void streams_share_the_connection(void **state)
{
    struct fixture *f = started(state);
    static char bytes[60000];

    h2_peer_headers(&f->peer, 1, END, GET("/bulk"));
    h2_peer_headers(&f->peer, 3, END, GET("/small"));
    h2_peer_window(&f->peer, 0, 1 << 20);
    turns(f, 3);
    recorder_send_head(&f->requests[0], 200, false);
    exchange_write(f->requests[0].exchange, slice_of(bytes, sizeof(bytes)));
    recorder_answer(&f->requests[1], "small");
    turns(f, 20);
    size_t bulk_before = 0;
    for (size_t i = 0; i < f->peer.count; i++) {
        if (f->peer.frames[i].type == NGHTTP2_DATA && f->peer.frames[i].stream == 3)
            break;
        if (f->peer.frames[i].type == NGHTTP2_DATA)
            bulk_before += f->peer.frames[i].payload.len;
    }
    assert_in_range(bulk_before, 0, 2 * 16384);
}

static void one_turn_ends_in_one_write(void **state)
{
    struct fixture *f = *state;

    f->answers = true;
    started(state);
    size_t before = conn_memory_write_count(f->conn);
    for (int32_t id = 1; id < 40; id += 2)
        h2_peer_headers(&f->peer, id, END, GET("/"));
    turns(f, 3);
    assert_int_equal(f->request_count, 20);
    assert_int_equal(conn_memory_write_count(f->conn) - before, 1);
    assert_true(h2_peer_ended(&f->peer, 39));
}

static void resets_pass_both_ways(void **state)
{
    struct fixture *f = started(state);

    h2_peer_headers(&f->peer, 1, 0, POST("/"));
    h2_peer_headers(&f->peer, 3, 0, POST("/"));
    h2_peer_headers(&f->peer, 5, END, GET("/"));
    turns(f, 3);
    h2_peer_reset(&f->peer, 1, NGHTTP2_CANCEL);
    h2_peer_reset(&f->peer, 5, NGHTTP2_NO_ERROR);
    exchange_reset(f->requests[1].exchange, RESET_CALM);
    turns(f, 3);
    assert_true(f->requests[0].reset);
    assert_int_equal(f->requests[0].reason, RESET_CANCEL);
    assert_int_equal(f->requests[2].reason, RESET_CANCEL);
    assert_false(f->requests[1].reset); /* its own doing */
    assert_int_equal(h2_peer_error(&f->peer, 3), NGHTTP2_ENHANCE_YOUR_CALM);
    exchange_write(f->requests[0].exchange, SLICE("into the void"));
    exchange_end(f->requests[0].exchange, NULL);
    turns(f, 3);
    assert_false(f->is_closed);
}

static void a_complete_answer_stops_an_unwanted_upload(void **state)
{
    struct fixture *f = started(state);

    h2_peer_headers(&f->peer, 1, 0, POST("/"));
    h2_peer_headers(&f->peer, 3, 0, POST("/"));
    turns(f, 3);
    recorder_answer(&f->requests[0], "no thanks");
    exchange_release(&f->requests[0].exchange); /* before it is framed */
    recorder_answer(&f->requests[1], "no thanks");
    turns(f, 3);
    exchange_release(&f->requests[1].exchange); /* after */
    turns(f, 3);
    for (int32_t id = 1; id <= 3; id += 2) {
        assert_int_equal(h2_peer_data_bytes(&f->peer, id), 9);
        assert_true(h2_peer_ended(&f->peer, id));
        assert_int_equal(h2_peer_error(&f->peer, id),
                         -1); /* a moment for clients that a reset would confuse */
    }
    for (unsigned i = 0; i < 3000 && h2_peer_error(&f->peer, 3) == -1; i++)
        loop_turn(f->loop, 1);
    for (int32_t id = 1; id <= 3; id += 2)
        assert_int_equal(h2_peer_error(&f->peer, id), NGHTTP2_NO_ERROR);
}

static void a_small_upload_that_ends_by_itself_is_not_reset(void **state)
{
    struct fixture *f = started(state);

    h2_peer_headers(&f->peer, 1, 0, POST("/"));
    turns(f, 3);
    recorder_answer(&f->requests[0], "no thanks");
    exchange_release(&f->requests[0].exchange);
    turns(f, 3);
    h2_peer_data(&f->peer, 1, END, SLICE("abc"));
    for (unsigned i = 0; i < 400; i++)
        loop_turn(f->loop, 1);
    assert_true(h2_peer_ended(&f->peer, 1));
    assert_int_equal(h2_peer_error(&f->peer, 1), -1);
}

static void releasing_an_unfinished_answer_is_never_a_clean_end(void **state)
{
    struct fixture *f = started(state);

    h2_peer_headers(&f->peer, 1, END, GET("/"));
    turns(f, 3);
    recorder_send_head(&f->requests[0], 200, false);
    exchange_write(f->requests[0].exchange, SLICE("half"));
    exchange_release(&f->requests[0].exchange);
    turns(f, 3);
    assert_int_equal(h2_peer_error(&f->peer, 1), NGHTTP2_INTERNAL_ERROR);
    assert_false(h2_peer_ended(&f->peer, 1));
}

static void owners_may_release_inside_any_event(void **state)
{
    struct fixture *f = started(state);

    for (int32_t id = 1; id <= 9; id += 2)
        h2_peer_headers(&f->peer, id, 0, POST("/"));
    turns(f, 3);
    f->requests[0].on_body_act = ACT_RELEASE;
    f->requests[1].on_end_act = ACT_RELEASE;
    f->requests[2].on_reset_act = ACT_RELEASE;
    f->requests[3].on_drained_act = ACT_RELEASE;
    f->requests[4].on_body_act = ACT_RESET;
    recorder_send_head(&f->requests[3], 200, false);
    exchange_write(f->requests[3].exchange, SLICE("x"));
    h2_peer_data(&f->peer, 1, 0, SLICE("a"));
    h2_peer_data(&f->peer, 3, END, SLICE("a"));
    h2_peer_reset(&f->peer, 5, NGHTTP2_CANCEL);
    h2_peer_data(&f->peer, 9, 0, SLICE("a"));
    turns(f, 5);
    for (int i = 0; i < 4; i++)
        assert_null(f->requests[i].exchange);
    assert_int_equal(h2_peer_error(&f->peer, 9), NGHTTP2_CANCEL);
    assert_false(f->is_closed);
}

static void exchanges_outlive_their_connection(void **state)
{
    struct fixture *f = started(state);

    h2_peer_headers(&f->peer, 1, 0, POST("/"));
    h2_peer_headers(&f->peer, 3, END, GET("/"));
    turns(f, 3);
    f->requests[1].on_reset_act = ACT_RELEASE;
    conn_memory_break(f->peer.conn);
    turns(f, 5);
    assert_true(f->is_closed);
    assert_int_equal(f->requests[0].reason, RESET_LOST);
    assert_int_equal(f->requests[1].reason, RESET_LOST);
    assert_int_equal(f->requests[0].exchange->link->version, HTTP_2); /* still there */
    exchange_write(f->requests[0].exchange, SLICE("late"));
    exchange_consumed(f->requests[0].exchange, 0);
    exchange_release(&f->requests[0].exchange);
}

static void byte_by_byte_is_the_same_as_all_at_once(void **state)
{
    struct fixture *f = *state;

    f->wire.read_bytes = 1;
    fixture_start(f);
    h2_peer_greet(&f->peer, 0);
    h2_peer_headers(&f->peer, 1, 0,
                    POST("/bytes") "cookie: a=1\ncookie: b=2\nx-long: "
                                   "0123456789012345678901234567890123456789\n");
    h2_peer_data(&f->peer, 1, 0, SLICE("one"));
    h2_peer_data(&f->peer, 1, 0, SLICE("two"));
    h2_peer_headers(&f->peer, 1, END, "x-t: z\n");
    turns(f, 600);
    assert_int_equal(f->request_count, 1);
    assert_true(slice_equal(f->requests[0].exchange->request.target, SLICE("/bytes")));
    assert_int_equal(f->requests[0].exchange->request.fields.count, 2);
    assert_buf(f->requests[0].body, "onetwo");
    assert_buf(f->requests[0].trailers, "x-t: z\n");
    recorder_answer(&f->requests[0], "fine");
    turns(f, 200);
    assert_int_equal(h2_peer_data_bytes(&f->peer, 1), 4);
    assert_true(h2_peer_ended(&f->peer, 1));
}

static void a_block_of_many_small_continuations_is_read(void **state)
{
    struct fixture *f = *state;
    struct buf block = { 0 };

    f->wire.read_bytes = 1; /* nghttp2 1.52 alone dies at 8 passes */
    fixture_start(f);
    h2_peer_greet(&f->peer, 0);
    h2_peer_encode(&block, SLICE(":method"), SLICE("GET"));
    h2_peer_encode(&block, SLICE(":scheme"), SLICE("http"));
    h2_peer_encode(&block, SLICE(":authority"), SLICE("a.test"));
    h2_peer_encode(&block, SLICE(":path"), SLICE("/"));
    struct slice rest = buf_slice(&block);
    h2_peer_frame(&f->peer, NGHTTP2_HEADERS, END, 1, slice_first(rest, 10));
    for (rest = slice_skip(rest, 10); rest.len > 0;) {
        struct slice part = slice_first(rest, 5);
        rest = slice_skip(rest, part.len);
        h2_peer_frame(&f->peer, NGHTTP2_CONTINUATION, rest.len == 0 ? NGHTTP2_FLAG_END_HEADERS : 0,
                      1, part);
    }
    buf_deinit(&block);
    turns(f, 500);
    assert_int_equal(f->request_count, 1);
}

static void draining_takes_two_steps_and_finishes_what_is_open(void **state)
{
    struct fixture *f = *state;

    fixture_start(f);
    f->peer.acks_pings = false;
    h2_peer_greet(&f->peer, 0);
    h2_peer_headers(&f->peer, 1, END, GET("/"));
    turns(f, 3);
    http_server_drain(f->server, 0);
    http_server_drain(f->server, 0);
    turns(f, 3);
    assert_int_equal(h2_peer_goaway_id(&f->peer), INT32_MAX);
    h2_peer_headers(&f->peer, 3, END, GET("/")); /* was on its way */
    turns(f, 3);
    assert_int_equal(f->request_count, 2);
    h2_peer_frame(&f->peer, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0,
                  buf_slice(&h2_peer_find(&f->peer, NGHTTP2_PING, 0)->payload));
    turns(f, 3);
    assert_int_equal(h2_peer_goaway_id(&f->peer), 3);
    assert_int_equal(h2_peer_error(&f->peer, 0), NGHTTP2_NO_ERROR);
    h2_peer_headers(&f->peer, 5, END, GET("/"));
    turns(f, 3);
    assert_int_equal(f->request_count, 2);
    assert_false(f->is_closed);
    recorder_answer(&f->requests[0], "a");
    recorder_answer(&f->requests[1], "b");
    turns(f, 5);
    assert_true(h2_peer_ended(&f->peer, 3));
    assert_true(f->is_closed);
}

/* Its neighbours and what it has asked before do not suffer, whether or not its answer has left. */
static void frames_behind_the_end_of_a_stream_cost_that_stream_alone(void **state)
{
    struct fixture *f = started(state);

    h2_peer_headers(&f->peer, 1, END, GET("/"));
    h2_peer_headers(&f->peer, 3, END, GET("/"));
    h2_peer_headers(&f->peer, 5, END, GET("/"));
    turns(f, 3);
    h2_peer_data(&f->peer, 1, END, SLICE("late"));
    h2_peer_headers(&f->peer, 3, END, "x-late: 1\n");
    turns(f, 3);
    assert_int_equal(h2_peer_error(&f->peer, 1), NGHTTP2_STREAM_CLOSED);
    assert_int_equal(h2_peer_error(&f->peer, 3), NGHTTP2_STREAM_CLOSED);
    assert_true(f->requests[0].reset && f->requests[1].reset);
    recorder_answer(&f->requests[2], "a");
    turns(f, 3);
    assert_true(h2_peer_ended(&f->peer, 5));
    assert_int_equal(h2_peer_count(&f->peer, NGHTTP2_GOAWAY, 0), 0);
}

static void a_client_that_leaves_is_served_what_it_still_asks_and_then_closed(void **state)
{
    static const char payload[8] = "";
    struct fixture *f = started(state);

    f->answers = true;
    h2_peer_frame(&f->peer, NGHTTP2_GOAWAY, 0, 0, slice_of(payload, sizeof(payload)));
    turns(f, 4);
    assert_false(f->is_closed);
    h2_peer_headers(&f->peer, 1, END, GET("/"));
    turns(f, 4);
    assert_true(h2_peer_ended(&f->peer, 1));
    exchange_release(&f->requests[0].exchange);
    WAIT_FOR(f, f->is_closed);
    assert_int_equal(h2_peer_error(&f->peer, 0), NGHTTP2_NO_ERROR);
    assert_int_equal(counter_read(&http_server_counters(f->server)->closed_idle), 0);
}

static void an_idle_connection_is_told_to_go(void **state)
{
    struct fixture *f = *state;

    f->limits.idle_ms = 20;
    started(state);
    WAIT_FOR(f, f->is_closed);
    assert_int_equal(h2_peer_error(&f->peer, 0), NGHTTP2_NO_ERROR);
    assert_int_equal(counter_read(&http_server_counters(f->server)->closed_idle), 1);
}

static void a_connection_ends_gracefully_after_its_share_of_streams(void **state)
{
    struct fixture *f = *state;

    f->limits.streams_total = 5;
    f->answers = true;
    started(state);
    for (int32_t id = 1; id <= 9; id += 2)
        h2_peer_headers(&f->peer, id, END, GET("/"));
    turns(f, 8);
    assert_int_equal(f->request_count, 5);
    assert_true(h2_peer_ended(&f->peer, 9));
    assert_int_equal(h2_peer_goaway_id(&f->peer), 9);
    assert_int_equal(counter_read(&http_server_counters(f->server)->conns_retired), 1);
    assert_int_equal(h2_peer_error(&f->peer, 0), NGHTTP2_NO_ERROR);
}

static void a_silent_peer_is_pinged_and_then_given_up(void **state)
{
    struct fixture *f = *state;

    f->limits.ping_ms = 15;
    f->limits.ping_timeout_ms = 400;
    started(state);
    h2_peer_headers(&f->peer, 1, END, GET("/"));
    WAIT_FOR(f, h2_peer_count(&f->peer, NGHTTP2_PING, 0) >= 2); /* answered: lives */
    assert_false(f->is_closed);
    f->peer.acks_pings = false;
    WAIT_FOR(f, f->is_closed);
    assert_int_equal(f->requests[0].reason, RESET_LOST);
}

static void a_stalled_transport_is_given_up(void **state)
{
    struct fixture *f = *state;
    static char bytes[1 << 20];

    f->limits.write_stall_ms = 150;
    started(state);
    h2_peer_headers(&f->peer, 1, END, GET("/"));
    h2_peer_window(&f->peer, 0, 1 << 22);
    h2_peer_window(&f->peer, 1, 1 << 22);
    turns(f, 3);
    h2_peer_listen(&f->peer, false);
    recorder_send_head(&f->requests[0], 200, false);
    exchange_write(f->requests[0].exchange, slice_of(bytes, sizeof(bytes)));
    turns(f, 3);
    assert_false(f->is_closed);
    WAIT_FOR(f, f->is_closed);
    assert_int_equal(counter_read(&http_server_counters(f->server)->closed_stalled), 1);
}

/* Stream 1 has more of an answer than its window takes; the connection's has room. */
static struct fixture *started_with_a_stuck_stream(void **state, uint64_t write_stall_ms)
{
    struct fixture *f = *state;
    static char bytes[70000];

    f->limits.write_stall_ms = write_stall_ms;
    started(state);
    h2_peer_headers(&f->peer, 1, END, GET("/"));
    h2_peer_window(&f->peer, 0, 1 << 20);
    turns(f, 3);
    recorder_send_head(&f->requests[0], 200, false);
    exchange_write(f->requests[0].exchange, slice_of(bytes, sizeof(bytes)));
    return f;
}

static void a_stream_whose_window_stays_shut_is_reset_alone(void **state)
{
    struct fixture *f = started_with_a_stuck_stream(state, 150);

    h2_peer_headers(&f->peer, 3, END, GET("/"));
    WAIT_FOR(f, h2_peer_error(&f->peer, 1) == NGHTTP2_CANCEL);
    assert_true(f->requests[0].reset);
    recorder_answer(&f->requests[1], "still here");
    turns(f, 3);
    assert_int_equal(h2_peer_data_bytes(&f->peer, 3), 10);
}

static void a_stream_that_is_taken_byte_by_byte_is_reset_as_if_its_window_stayed_shut(void **state)
{
    struct fixture *f = started_with_a_stuck_stream(state, 150);

    turns(f, 3);
    for (unsigned i = 0; i < 40 && h2_peer_error(&f->peer, 1) != NGHTTP2_CANCEL; i++) {
        h2_peer_window(&f->peer, 1, 1);
        wait_ms(f, 10);
    }
    assert_int_equal(h2_peer_error(&f->peer, 1), NGHTTP2_CANCEL);
    assert_int_equal(counter_read(&http_server_counters(f->server)->stalled_streams), 1);
}

static void a_slow_reader_that_takes_a_kilobyte_in_time_goes_on(void **state)
{
    struct fixture *f = started_with_a_stuck_stream(state, 400);

    for (unsigned i = 0; i < 4; i++) { /* longer than write_stall in all */
        wait_ms(f, 150);
        h2_peer_window(&f->peer, 1, 1100);
        turns(f, 3);
    }
    assert_false(f->requests[0].reset);
    assert_int_equal(h2_peer_data_bytes(&f->peer, 1), 65535 + 4 * 1100);
}

static void destroying_the_server_tells_every_owner(void **state)
{
    struct fixture *f = started(state);

    for (int32_t id = 1; id <= 5; id += 2)
        h2_peer_headers(&f->peer, id, 0, POST("/"));
    turns(f, 3);
    for (int i = 0; i < 3; i++)
        f->requests[i].on_reset_act = ACT_RELEASE;
    http_server_destroy(&f->server);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(f->requests[i].reason, RESET_LOST);
        assert_null(f->requests[i].exchange);
    }
}

static void the_answer_is_made_fit_for_http2(void **state)
{
    struct fixture *f = started(state);
    struct arena arena;
    struct head head = { .status = 200, .content_length = CONTENT_LENGTH_UNKNOWN };

    h2_peer_headers(&f->peer, 1, END, GET("/"));
    turns(f, 3);
    arena_init(&arena, NULL, 0);
    fields_add(&head.fields, &arena, FIELD_CONNECTION, SLICE("x-private"));
    fields_add(&head.fields, &arena, FIELD_KEEP_ALIVE, SLICE("5"));
    fields_add(&head.fields, &arena, FIELD_TRANSFER_ENCODING, SLICE("chunked"));
    fields_add(&head.fields, &arena, FIELD_SERVER, arena_copy(&arena, SLICE("app")));
    for (int i = 0; i < 100; i++)
        fields_add_named(&head.fields, &arena, arena_printf(&arena, "x-field-%d", i), SLICE("v"));
    exchange_send_head(f->requests[0].exchange, &head, true);
    arena_deinit(&arena); /* before it is framed */
    turns(f, 3);
    const char *text = response(f, 1);
    assert_text(text, "server: app\n");
    assert_text(text, "x-field-99: v\n");
    assert_null(strstr(text, "connection"));
    assert_null(strstr(text, "keep-alive"));
    assert_null(strstr(text, "chunked"));
}

static void secrets_are_never_indexed(void **state)
{
    struct fixture *f = started(state);
    struct arena arena;
    struct head head = { .status = 200, .content_length = CONTENT_LENGTH_UNKNOWN };

    h2_peer_headers(&f->peer, 1, END, GET("/"));
    turns(f, 3);
    arena_init(&arena, NULL, 0);
    fields_add(&head.fields, &arena, FIELD_SET_COOKIE, SLICE("s=secret"));
    exchange_send_head(f->requests[0].exchange, &head, true);
    turns(f, 3);
    arena_deinit(&arena);
    const struct peer_frame *frame = h2_peer_find(&f->peer, NGHTTP2_HEADERS, 1);
    /* 0x88: ":status: 200", then a literal never indexed (0001xxxx) with the static name 55 */
    assert_memory_equal(buf_slice(&frame->payload).ptr, "\x88\x1f\x28", 3);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(a_request_arrives_as_sent_and_its_answer_goes_back),
        T(a_head_without_body_says_so),
        T(trailers_and_interim_responses_pass),
        T(cookie_crumbs_become_one_field),
        T(head_of_many_crumbs_takes_its_own_size),
        T(bodies_stream_both_ways_at_once),
        T(no_more_than_the_window_arrives_until_it_is_consumed),
        T(an_unread_stream_never_blocks_the_others),
        T(output_waits_for_the_peers_window),
        T(a_deaf_transport_holds_back_what_the_owner_may_write),
        T(streams_share_the_connection),
        T(one_turn_ends_in_one_write),
        T(resets_pass_both_ways),
        T(a_complete_answer_stops_an_unwanted_upload),
        T(a_small_upload_that_ends_by_itself_is_not_reset),
        T(releasing_an_unfinished_answer_is_never_a_clean_end),
        T(owners_may_release_inside_any_event),
        T(exchanges_outlive_their_connection),
        T(byte_by_byte_is_the_same_as_all_at_once),
        T(a_block_of_many_small_continuations_is_read),
        T(draining_takes_two_steps_and_finishes_what_is_open),
        T(frames_behind_the_end_of_a_stream_cost_that_stream_alone),
        T(a_client_that_leaves_is_served_what_it_still_asks_and_then_closed),
        T(an_idle_connection_is_told_to_go),
        T(a_connection_ends_gracefully_after_its_share_of_streams),
        T(a_silent_peer_is_pinged_and_then_given_up),
        T(a_stalled_transport_is_given_up),
        T(a_stream_whose_window_stays_shut_is_reset_alone),
        T(a_stream_that_is_taken_byte_by_byte_is_reset_as_if_its_window_stayed_shut),
        T(a_slow_reader_that_takes_a_kilobyte_in_time_goes_on),
        T(destroying_the_server_tells_every_owner),
        T(the_answer_is_made_fit_for_http2),
        T(secrets_are_never_indexed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
