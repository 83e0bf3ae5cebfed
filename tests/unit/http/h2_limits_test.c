/* h2_limits_test.c — what the HTTP/2 server refuses, and what it does to floods (SECURITY.md). */
#include "h2_server_fixture.h"

#include <stdio.h>

#include "base/mem.h"

static struct fixture *started(void **state)
{
    struct fixture *f = *state;

    fixture_start(f);
    h2_peer_greet(&f->peer, 0);
    turns(f, 4);
    return f;
}

static const struct http_server_counters *counters(struct fixture *f)
{
    return http_server_counters(f->server);
}

/* ---- requests that are answered, not served ---- */

static void assert_refused(struct fixture *f, int32_t id, const char *fields, enum status status)
{
    char line[32];

    f->refusal_seen = false;
    h2_peer_headers(&f->peer, id, END, fields);
    turns(f, 3);
    assert_int_equal(f->request_count, 0);
    assert_true(f->refusal_seen);
    assert_int_equal(f->refusal, status);
    snprintf(line, sizeof(line), ":status: %u\n", status_http(status));
    assert_string_equal(response(f, id), line);
    assert_true(h2_peer_ended(&f->peer, id));
}

static void requests_that_the_library_lets_through_are_refused(void **state)
{
    struct fixture *f = started(state);

    assert_refused(f, 1, GET("/") "host: other.test\n", STATUS_MALFORMED);
    assert_refused(f, 3, ":method: GET\n:scheme: http\n:authority: a@b.test\n:path: /\n",
                   STATUS_MALFORMED);
    assert_refused(f, 5, ":method: GET\n:scheme: http\n:path: /\nhost: a@b.test\n",
                   STATUS_MALFORMED);
    assert_refused(f, 7, ":method: GET\n:scheme: ftp\n:authority: a.test\n:path: /\n",
                   STATUS_MALFORMED);
    assert_refused(f, 9, ":method: GET\n:scheme: foo\n:authority: a.test\n:path: evil.test/x\n",
                   STATUS_MALFORMED);
    assert_refused(f, 11, GET("/") "x_user_id: root\n", STATUS_MALFORMED);
    assert_refused(f, 13, ":method: CONNECT\n:authority: 127.0.0.1:22\n",
                   STATUS_METHOD_NOT_ALLOWED);
    assert_refused(f, 15, ":method: get\n:scheme: http\n:authority: a.test\n:path: /\n",
                   STATUS_UNSUPPORTED);
    assert_false(f->is_closed);
    assert_int_equal(counter_read(&counters(f)->refused_requests), 8);
    assert_int_equal(counter_read(&counters(f)->h2_requests), 0);
}

static void host_may_repeat_the_authority_in_other_words(void **state)
{
    struct fixture *f = started(state);

    h2_peer_headers(&f->peer, 1, END, GET("/") "host: EXEC.computer.test.:80\n");
    h2_peer_headers(&f->peer, 3, END, ":method: GET\n:scheme: http\n:path: /\nhost: h.test\n");
    turns(f, 3);
    assert_int_equal(f->request_count, 2);
    assert_int_equal(f->requests[0].exchange->request.fields.count, 0);
    assert_true(
        slice_equal(f->requests[0].exchange->request.authority, SLICE("exec.computer.test")));
    assert_true(slice_equal(f->requests[1].exchange->request.authority, SLICE("h.test")));
}

static void asterisk_goes_only_with_options(void **state)
{
    struct fixture *f = started(state);

    h2_peer_headers(&f->peer, 1, END,
                    ":method: OPTIONS\n:scheme: https\n:authority: a.test\n:path: *\n");
    h2_peer_headers(&f->peer, 3, END,
                    ":method: GET\n:scheme: https\n:authority: a.test\n:path: *\n");
    turns(f, 3);
    assert_int_equal(f->request_count, 1);
    assert_int_equal(h2_peer_error(&f->peer, 3), NGHTTP2_PROTOCOL_ERROR);
}

static void malformed_requests_are_reset(void **state)
{
    static const char *const bad[] = {
        GET("/") "x-bad: a\x01z\n",
        GET("/") "x-bad: a\rz\n",
        GET("/") "Upper: x\n",
        GET("/") "connection: close\n",
        GET("/") "transfer-encoding: chunked\n",
        GET("/") "te: gzip\n",
        GET("/") "content-length: 3\n",
        GET("/") ":path: /again\n",
        GET("/") "bad name: x\n",
        ":method: GET\n:scheme: http\n:path: /\n",
    };
    struct fixture *f = started(state);
    int32_t id = 1;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++, id += 2) {
        h2_peer_headers(&f->peer, id, END, bad[i]);
        turns(f, 3);
        assert_int_equal(h2_peer_error(&f->peer, id), NGHTTP2_PROTOCOL_ERROR);
    }
    assert_int_equal(f->request_count, 0);
    assert_false(f->is_closed);
}

static void tunnels_are_for_servers_that_ask_for_them(void **state)
{
    struct fixture *f = *state;

    f->options.allow_connect = true;
    started(state);
    h2_peer_headers(&f->peer, 1, 0, ":method: CONNECT\n:authority: 127.0.0.1:8080\n");
    turns(f, 3);
    assert_int_equal(f->request_count, 1);
    assert_true(f->requests[0].exchange->can_tunnel);
    assert_true(slice_equal(f->requests[0].exchange->request.authority, SLICE("127.0.0.1:8080")));
    recorder_send_head(&f->requests[0], 200, false);
    exchange_write(f->requests[0].exchange, SLICE("SSH-2.0"));
    h2_peer_data(&f->peer, 1, 0, SLICE("raw"));
    turns(f, 3);
    assert_int_equal(h2_peer_data_bytes(&f->peer, 1), 7);
    assert_int_equal(f->requests[0].body.len, 3);
}

static void extended_connect_is_for_websocket_alone(void **state)
{
    struct fixture *f = *state;

    f->options.enable_connect_protocol = true;
    started(state);
    assert_refused(f, 1,
                   ":method: CONNECT\n:scheme: https\n:authority: a.test\n:path: /\n"
                   ":protocol: connect-udp\n",
                   STATUS_UNSUPPORTED);
    h2_peer_headers(&f->peer, 3, 0,
                    ":method: CONNECT\n:scheme: https\n:authority: a.test\n:path: /chat\n"
                    ":protocol: websocket\n");
    turns(f, 3);
    assert_int_equal(f->request_count, 1);
    assert_true(slice_equal(f->requests[0].exchange->request.protocol, SLICE("websocket")));
    assert_true(slice_equal(f->requests[0].exchange->request.target, SLICE("/chat")));
    recorder_send_head(&f->requests[0], 101, false); /* as an HTTP/1.1 app would say */
    turns(f, 3);
    assert_string_equal(response(f, 3), ":status: 200\n");
}

static void extended_connect_is_off_unless_enabled(void **state)
{
    struct fixture *f = started(state);

    h2_peer_headers(&f->peer, 1, 0,
                    ":method: CONNECT\n:scheme: https\n:authority: a.test\n:path: /chat\n"
                    ":protocol: websocket\n");
    turns(f, 3);
    assert_int_equal(f->request_count, 0);
    assert_int_equal(h2_peer_error(&f->peer, 1), NGHTTP2_PROTOCOL_ERROR);
}

/* ---- sizes ---- */

static void send_block(struct fixture *f, int32_t id, struct buf *block)
{
    struct slice rest = buf_slice(block);
    uint8_t type = NGHTTP2_HEADERS;

    do {
        struct slice part = slice_first(rest, 16384);
        uint8_t flags = type == NGHTTP2_HEADERS ? END : 0;
        rest = slice_skip(rest, part.len);
        if (rest.len == 0)
            flags |= NGHTTP2_FLAG_END_HEADERS;
        h2_peer_frame(&f->peer, type, flags, id, part);
        type = NGHTTP2_CONTINUATION;
    } while (rest.len > 0);
    buf_deinit(block);
    turns(f, 10);
}

static struct buf block_with(size_t count, const char *name, size_t value_bytes)
{
    static char value[100000];
    struct buf block = { 0 };

    memset(value, 'v', sizeof(value));
    h2_peer_encode(&block, SLICE(":method"), SLICE("GET"));
    h2_peer_encode(&block, SLICE(":scheme"), SLICE("http"));
    h2_peer_encode(&block, SLICE(":authority"), SLICE("a.test"));
    h2_peer_encode(&block, SLICE(":path"), SLICE("/"));
    while (count-- > 0)
        h2_peer_encode(&block, slice_from_string(name), slice_of(value, value_bytes));
    return block;
}

static void heads_over_a_soft_limit_get_431(void **state)
{
    struct fixture *f = started(state);
    struct buf blocks[] = { block_with(129, "x-a", 1), block_with(129, "cookie", 3),
                            block_with(4, "x-a", 8200), block_with(900, "x-a", 1) };

    for (int i = 0; i < 4; i++) {
        int32_t id = 1 + 2 * i;
        send_block(f, id, &blocks[i]);
        assert_string_equal(response(f, id), ":status: 431\n");
    }
    struct buf fits = block_with(128, "x-a", 1), crumbs = block_with(128, "cookie", 100);
    send_block(f, 9, &fits);
    send_block(f, 11, &crumbs);
    assert_int_equal(f->request_count, 2);
    assert_int_equal(fields_value(&f->requests[1].exchange->request.fields, FIELD_COOKIE).len,
                     128 * 102 - 2);
    assert_false(f->is_closed);
}

static void assert_calmed(struct fixture *f)
{
    turns(f, 10);
    assert_int_equal(h2_peer_error(&f->peer, 0), NGHTTP2_ENHANCE_YOUR_CALM);
    assert_true(f->is_closed);
}

static void too_many_fields_close(void **state)
{
    struct fixture *f = started(state);
    struct buf block = block_with(1001, "x", 1);

    send_block(f, 1, &block);
    assert_calmed(f);
    assert_int_equal(f->request_count, 0);
    assert_int_equal(counter_read(&counters(f)->closed_flood), 1);
}

static void a_cookie_bomb_closes(void **state)
{
    struct fixture *f = started(state);
    struct buf block = block_with(1001, "cookie", 1);

    send_block(f, 1, &block);
    assert_calmed(f);
}

static void a_compressed_bomb_closes(void **state)
{
    struct fixture *f = started(state);
    struct buf block = block_with(0, "", 0);

    /* One big field goes into the dynamic table; each byte after it is that field again. */
    buf_append(&block, SLICE("\x40\x01"
                             "b\x7f\xa1\x1e")); /* 4000 bytes of value */
    for (int i = 0; i < 4000; i++)
        buf_append_byte(&block, 'z');
    for (int i = 0; i < 10000; i++)
        buf_append_byte(&block, (char)0xbe);
    send_block(f, 1, &block);
    assert_calmed(f);
    assert_int_equal(f->request_count, 0);
}

static void a_block_over_64_kib_closes(void **state)
{
    struct fixture *f = *state;
    struct buf block = block_with(9, "x-a", 8000);

    f->limits.field_bytes_hard = 1 << 20;
    started(state);
    send_block(f, 1, &block);
    assert_calmed(f);
}

static void endless_empty_continuations_close(void **state)
{
    struct fixture *f = started(state);
    struct buf block = block_with(0, "", 0);

    h2_peer_frame(&f->peer, NGHTTP2_HEADERS, 0, 1, buf_slice(&block));
    for (int i = 0; i < 100; i++)
        h2_peer_frame(&f->peer, NGHTTP2_CONTINUATION, 0, 1, SLICE_EMPTY);
    buf_deinit(&block);
    assert_calmed(f);
}

static void long_targets_get_414(void **state)
{
    struct fixture *f = started(state);
    char *path = mem_zeroed(9001);
    struct buf text = { 0 };

    memset(path, 'a', 9000);
    buf_printf(&text, ":method: GET\n:scheme: http\n:authority: a.test\n:path: /%s\n", path);
    assert_refused(f, 1, buf_text(&text), STATUS_TARGET_TOO_LONG);
    buf_deinit(&text);
    mem_free(path);
}

/* ---- streams ---- */

static void streams_are_few_until_a_token_was_verified(void **state)
{
    struct fixture *f = *state;

    fixture_start(f);
    f->peer.acks_settings = false; /* so that the library does not judge first */
    f->limits.reset_burst = 1000;
    h2_peer_greet(&f->peer, 0);
    turns(f, 2);
    for (int32_t id = 1; id <= 201; id += 2)
        h2_peer_headers(&f->peer, id, END, GET("/"));
    turns(f, 5);
    assert_int_equal(f->request_count, 100);
    assert_int_equal(h2_peer_error(&f->peer, 201), NGHTTP2_REFUSED_STREAM);
    assert_false(f->is_closed);

    f->requests[0].exchange->link->is_trusted = true;
    h2_peer_frame(&f->peer, NGHTTP2_PING, 0, 0, SLICE("12345678"));
    turns(f, 4); /* the next turn announces it */
    for (int32_t id = 203; id < 203 + 2 * 924; id += 2)
        h2_peer_headers(&f->peer, id, END, GET("/"));
    h2_peer_headers(&f->peer, 3001, END, GET("/"));
    turns(f, 10);
    assert_int_equal(f->request_count, 1024);
    assert_int_equal(h2_peer_error(&f->peer, 3001), NGHTTP2_REFUSED_STREAM);
    assert_int_equal(counter_read(&counters(f)->refused_streams), 2);
}

static uint32_t announced_streams(struct fixture *f)
{
    uint32_t limit = 0;

    for (size_t i = 0; i < f->peer.count; i++) {
        const struct peer_frame *frame = &f->peer.frames[i];
        if (frame->type != NGHTTP2_SETTINGS)
            continue;
        for (size_t at = 0; at + 6 <= frame->payload.len; at += 6)
            if (buf_slice(&frame->payload).ptr[at + 1] == NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
                limit = h2_peer_u32(frame, at + 2);
    }
    return limit;
}

static void trust_raises_the_announced_limit(void **state)
{
    struct fixture *f = *state;

    f->trusts = true;
    started(state);
    assert_int_equal(announced_streams(f), 100);
    h2_peer_headers(&f->peer, 1, END, GET("/"));
    turns(f, 4);
    recorder_answer(&f->requests[0], "ok");
    turns(f, 4);
    assert_int_equal(announced_streams(f), 1024);
}

static void a_reset_stream_counts_until_its_work_is_done(void **state)
{
    struct fixture *f = *state;

    f->limits.streams_untrusted = 4;
    started(state);
    for (int32_t id = 1; id <= 7; id += 2) {
        h2_peer_headers(&f->peer, id, 0, POST("/"));
        h2_peer_reset(&f->peer, id, NGHTTP2_CANCEL);
    }
    turns(f, 3);
    h2_peer_headers(&f->peer, 9, 0, POST("/"));
    turns(f, 3);
    assert_int_equal(f->request_count, 4);
    assert_int_equal(h2_peer_error(&f->peer, 9), NGHTTP2_REFUSED_STREAM);
    exchange_release(&f->requests[2].exchange);
    h2_peer_headers(&f->peer, 11, 0, POST("/"));
    turns(f, 3);
    assert_int_equal(f->request_count, 5);
}

/* ---- floods ---- */

static void rapid_resets_end_the_connection(void **state)
{
    struct fixture *f = *state;

    f->limits.streams_untrusted = 1000;
    f->limits.reset_rate = 0;
    started(state);
    for (int32_t i = 0; i < 201; i++) {
        h2_peer_headers(&f->peer, 1 + 2 * i, END, GET("/"));
        h2_peer_reset(&f->peer, 1 + 2 * i, NGHTTP2_CANCEL);
        turns(f, 1);
        if (i == 198) {
            turns(f, 5);
            assert_int_equal(h2_peer_error(&f->peer, 0), -1);
        }
    }
    assert_calmed(f);
    assert_in_range(f->request_count, 200, 201);
    assert_int_equal(counter_read(&counters(f)->closed_resets), 1);
}

static void half_of_the_last_streams_reset_at_once_end_the_connection(void **state)
{
    struct fixture *f = *state;

    f->limits.reset_burst = 100000;
    f->limits.reset_sample = 100;
    f->answers = true;
    started(state);
    for (int32_t i = 0; i < 100; i++) {
        f->answers = i % 2 == 0;
        h2_peer_headers(&f->peer, 1 + 2 * i, END, GET("/"));
        if (!f->answers)
            h2_peer_reset(&f->peer, 1 + 2 * i, NGHTTP2_CANCEL);
        turns(f, 3);
        if (f->request_count > 0)
            exchange_release(&f->requests[f->request_count - 1].exchange);
    }
    assert_calmed(f);
    assert_int_equal(counter_read(&counters(f)->closed_resets), 1);
}

/* Each opens a stream and makes us reset it. */
static void overflow_window(struct fixture *f, int32_t id)
{
    h2_peer_headers(&f->peer, id, 0, POST("/"));
    h2_peer_window(&f->peer, id, INT32_MAX);
}

static void exceed_content_length(struct fixture *f, int32_t id)
{
    h2_peer_headers(&f->peer, id, 0, POST("/") "content-length: 1\n");
    h2_peer_data(&f->peer, id, 0, SLICE("ab"));
}

static void send_trailers_without_end(struct fixture *f, int32_t id)
{
    h2_peer_headers(&f->peer, id, 0, POST("/"));
    h2_peer_headers(&f->peer, id, 0, "x-t: 1\n");
}

static void check_made_you_reset(struct fixture *f, void (*attack)(struct fixture *f, int32_t id))
{
    int32_t id = 1;

    for (int i = 0; i < 74; i++, id += 2) {
        attack(f, id);
        turns(f, 3);
        if (f->request_count > 0)
            exchange_release(&f->requests[f->request_count - 1].exchange);
    }
    assert_int_equal(h2_peer_error(&f->peer, 0), -1);
    attack(f, id);
    turns(f, 3);
    assert_int_equal(h2_peer_goaway_id(&f->peer), INT32_MAX); /* graceful at three quarters */
    for (id += 2; id < 300 && !f->is_closed; id += 2) {
        attack(f, id);
        turns(f, 3);
    }
    turns(f, 10);
    assert_true(f->is_closed);
    assert_in_range(f->request_count, 75, 100);
}

static void made_you_reset_by_window_overflow_is_limited(void **state)
{
    check_made_you_reset(started(state), overflow_window);
}

static void made_you_reset_by_too_much_data_is_limited(void **state)
{
    check_made_you_reset(started(state), exceed_content_length);
}

static void made_you_reset_by_endless_trailers_is_limited(void **state)
{
    check_made_you_reset(started(state), send_trailers_without_end);
}

static void glitches_that_ignore_the_goaway_are_cut_off(void **state)
{
    struct fixture *f = *state;

    f->limits.ping_timeout_ms = 60000;
    fixture_start(f);
    f->peer.acks_pings = false; /* stays between the two steps */
    h2_peer_greet(&f->peer, 0);
    turns(f, 3);
    for (int32_t i = 0; i < 100; i++) {
        exceed_content_length(f, 1 + 2 * i);
        turns(f, 3);
    }
    assert_calmed(f);
    assert_int_equal(counter_read(&counters(f)->closed_glitches), 1);
}

static void a_ping_flood_ends_the_connection(void **state)
{
    struct fixture *f = started(state);

    for (int i = 0; i < 51; i++) {
        assert_false(f->is_closed);
        h2_peer_frame(&f->peer, NGHTTP2_PING, 0, 0, SLICE("12345678"));
        turns(f, 2);
    }
    assert_calmed(f);
    assert_int_equal(h2_peer_count(&f->peer, NGHTTP2_PING, 0), 50);
}

static void a_settings_flood_ends_the_connection(void **state)
{
    struct fixture *f = started(state); /* one was the greeting */

    for (int i = 0; i < 10; i++) {
        turns(f, 2);
        assert_false(f->is_closed);
        h2_peer_frame(&f->peer, NGHTTP2_SETTINGS, 0, 0, SLICE_EMPTY);
    }
    assert_calmed(f);
}

static void a_priority_flood_ends_the_connection(void **state)
{
    struct fixture *f = started(state);

    for (int i = 0; i < 101; i++)
        h2_peer_frame(&f->peer, NGHTTP2_PRIORITY, 0, 1, SLICE("\0\0\0\0\x10"));
    assert_calmed(f);
}

static void a_window_update_flood_ends_the_connection(void **state)
{
    struct fixture *f = started(state);

    h2_peer_headers(&f->peer, 1, 0, POST("/"));
    for (int i = 0; i < 3; i++)
        h2_peer_window(&f->peer, 1, 1);
    turns(f, 3);
    assert_false(f->is_closed); /* 1 + 2 × (1 stream) */
    h2_peer_window(&f->peer, 1, 1);
    assert_calmed(f);
}

static void a_reader_that_updates_per_frame_is_no_flood(void **state)
{
    struct fixture *f = started(state);
    static char bytes[1 << 16];

    h2_peer_headers(&f->peer, 1, END, GET("/"));
    turns(f, 3);
    recorder_send_head(&f->requests[0], 200, false);
    for (int i = 0; i < 400; i++) {
        exchange_write(f->requests[0].exchange, slice_of(bytes, 1000));
        turns(f, 2);
        h2_peer_window(&f->peer, 1, 1000);
        h2_peer_window(&f->peer, 0, 1000);
    }
    turns(f, 5);
    assert_int_equal(h2_peer_data_bytes(&f->peer, 1), 400000);
    assert_false(f->is_closed);
}

static void an_empty_data_flood_ends_the_connection(void **state)
{
    struct fixture *f = started(state);

    h2_peer_headers(&f->peer, 1, 0, POST("/"));
    for (int i = 0; i < 5; i++)
        h2_peer_frame(&f->peer, NGHTTP2_DATA, 0, 1, SLICE_EMPTY);
    h2_peer_data(&f->peer, 1, 0, SLICE("x"));
    for (int i = 0; i < 5; i++)
        h2_peer_frame(&f->peer, NGHTTP2_DATA, 0, 1, SLICE_EMPTY);
    turns(f, 3);
    assert_false(f->is_closed);
    h2_peer_frame(&f->peer, NGHTTP2_DATA, 0, 1, SLICE_EMPTY);
    assert_calmed(f);
}

static void frames_of_unknown_type_end_the_connection_in_the_end(void **state)
{
    struct fixture *f = started(state);
    static char junk[16384];

    f->limits.overhead_bytes = 64 * 1024;
    for (int i = 0; i < 40 && !f->is_closed; i++) {
        h2_peer_frame(&f->peer, 0x77, 0, 0, slice_of(junk, sizeof(junk)));
        turns(f, 3);
    }
    assert_calmed(f);
    assert_int_equal(counter_read(&counters(f)->closed_flood), 1);
}

static void a_client_that_never_reads_cannot_grow_our_queue(void **state)
{
    struct fixture *f = *state;

    f->limits.outbound_frames = 20;
    f->limits.pings = 100000;
    f->wire.pipe_bytes = 65536;
    started(state);
    h2_peer_listen(&f->peer, false);
    for (int i = 0; i < 20000 && !f->is_closed; i++) {
        h2_peer_frame(&f->peer, NGHTTP2_PING, 0, 0, SLICE("12345678"));
        if (i % 16 == 0)
            turns(f, 1);
    }
    turns(f, 10);
    assert_true(f->is_closed);
    assert_int_equal(counter_read(&counters(f)->closed_flood), 1);
}

static void a_connection_error_closes_at_once(void **state)
{
    struct fixture *f = started(state);

    h2_peer_headers(&f->peer, 1, 0, POST("/"));
    turns(f, 3);
    h2_peer_frame(&f->peer, NGHTTP2_DATA, 0, 7, SLICE("idle stream"));
    turns(f, 6);
    assert_int_equal(h2_peer_error(&f->peer, 0), NGHTTP2_PROTOCOL_ERROR);
    assert_true(f->is_closed);
    assert_int_equal(f->requests[0].reason, RESET_LOST);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(requests_that_the_library_lets_through_are_refused),
        T(host_may_repeat_the_authority_in_other_words),
        T(asterisk_goes_only_with_options),
        T(malformed_requests_are_reset),
        T(tunnels_are_for_servers_that_ask_for_them),
        T(extended_connect_is_for_websocket_alone),
        T(extended_connect_is_off_unless_enabled),
        T(heads_over_a_soft_limit_get_431),
        T(too_many_fields_close),
        T(a_cookie_bomb_closes),
        T(a_compressed_bomb_closes),
        T(a_block_over_64_kib_closes),
        T(endless_empty_continuations_close),
        T(long_targets_get_414),
        T(streams_are_few_until_a_token_was_verified),
        T(trust_raises_the_announced_limit),
        T(a_reset_stream_counts_until_its_work_is_done),
        T(rapid_resets_end_the_connection),
        T(half_of_the_last_streams_reset_at_once_end_the_connection),
        T(made_you_reset_by_window_overflow_is_limited),
        T(made_you_reset_by_too_much_data_is_limited),
        T(made_you_reset_by_endless_trailers_is_limited),
        T(glitches_that_ignore_the_goaway_are_cut_off),
        T(a_ping_flood_ends_the_connection),
        T(a_settings_flood_ends_the_connection),
        T(a_priority_flood_ends_the_connection),
        T(a_window_update_flood_ends_the_connection),
        T(a_reader_that_updates_per_frame_is_no_flood),
        T(an_empty_data_flood_ends_the_connection),
        T(frames_of_unknown_type_end_the_connection_in_the_end),
        T(a_client_that_never_reads_cannot_grow_our_queue),
        T(a_connection_error_closes_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
