/* The same calls in every protocol and codec, and what a call that is none gets. */
#include <zlib.h>

#include "agent_fixture.h"

#include "base/mem.h"

#define ECHO_JSON "{\"process\":{\"cmd\":\"echo\",\"args\":[\"hi\"]}}"
/* start { process { cmd: "echo" args: "hi" } } */
#define ECHO_PROTO                                                                                 \
    SLICE("\x0a\x0a\x0a\x04"                                                                       \
          "echo\x12\x02hi")

static void run_echo(struct fixture *f, struct rpc_test *t, const char *type)
{
    struct buf frame = { 0 };

    rpc_open(f, t, "Start", type, NULL);
    if (t->codec == MESSAGE_JSON) {
        rpc_send(t, ECHO_JSON);
    } else {
        envelope_append(&frame, 0, ECHO_PROTO);
        rpc_send_bytes(t, buf_slice(&frame));
        buf_deinit(&frame);
    }
    rpc_send_end(t);
    WAIT_FOR(f, t->is_ended);
    assert_int_equal(t->status, 200);
    assert_text(t->content_type, type);
    assert_true(t->started_first);
    assert_text(t->out, "hi\n");
    assert_int_equal(t->end_count, 1);
    assert_int_equal(t->exit_code, 0);
}

static void run_all_types(struct fixture *f)
{
    static const char *const types[] = {
        "application/connect+json",  "application/connect+proto",  "application/grpc",
        "application/grpc+proto",    "application/grpc+json",      "application/grpc-web",
        "application/grpc-web+json", "application/grpc-web+proto",
    };

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct rpc_test *t = rpc_new();

        run_echo(f, t, types[i]);
        if (strstr(types[i], "connect") != NULL)
            assert_text(t->end_stream, "{}");
        else if (strstr(types[i], "web") != NULL)
            assert_non_null(memmem(buf_slice(&t->body).ptr, t->body.len, "grpc-status: 0\r\n", 16));
        else
            assert_text(t->grpc_status, "0");
        rpc_free(&t);
    }
}

static void start_speaks_every_protocol_over_h2(void **state)
{
    run_all_types(*state);
}

static void start_speaks_every_protocol_over_h1(void **state)
{
    struct fixture *f = *state;

    fixture_connect(f, true);
    run_all_types(f);
}

static void stream_input_is_live_over_h1(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *cat = rpc_new(), *in = rpc_new();
    struct http_client *h2 = f->client;

    rpc_call(f, cat, "Start", "{\"process\":{\"cmd\":\"cat\"},\"tag\":\"h1\"}");
    WAIT_FOR(f, cat->pid > 0);
    f->client = NULL;
    fixture_connect(f, true);
    rpc_open(f, in, "StreamInput", "application/connect+json", NULL);
    rpc_send(in, "{\"start\":{\"process\":{\"tag\":\"h1\"}}}");
    rpc_send(in, "{\"data\":{\"input\":{\"stdin\":\"b25lCg==\"}}}");
    WAIT_FOR(f, cat->out.len == 4);
    rpc_send_end(in);
    WAIT_FOR(f, in->is_ended);
    assert_text(in->end_stream, "{}");
    rpc_do(f, "CloseStdin", "{\"process\":{\"tag\":\"h1\"}}");
    WAIT_FOR(f, cat->is_ended);
    rpc_free(&in);
    rpc_free(&cat);
    http_client_destroy(&h2);
}

static void list_answers_in_the_codec_that_asked(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *t = rpc_new();

    rpc_open(f, t, "List", "application/proto", NULL);
    rpc_send_end(t);
    WAIT_FOR(f, t->is_ended);
    assert_int_equal(t->status, 200);
    assert_text(t->content_type, "application/proto");
    assert_int_equal(t->body.len, 0);
    rpc_close(t);
    rpc_open(f, t, "List", "application/grpc+json", NULL);
    rpc_send(t, "{}");
    rpc_send_end(t);
    WAIT_FOR(f, t->is_ended);
    assert_text(t->message, "{}");
    assert_text(t->grpc_status, "0");
    rpc_free(&t);
}

static void errors_have_the_shape_of_the_protocol(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *t = rpc_new();

    rpc_call(f, t, "SendSignal", "{\"process\":{\"tag\":\"nobody\"},\"signal\":9}");
    WAIT_FOR(f, t->is_ended);
    assert_int_equal(t->status, 404);
    assert_text(t->content_type, "application/json");
    assert_has(t->body,
               "{\"code\":\"not_found\",\"message\":\"no process with tag \\\"nobody\\\"\"}");
    rpc_close(t);
    rpc_call(f, t, "Connect", "{\"process\":{\"tag\":\"nobody\"}}");
    WAIT_FOR(f, t->is_ended);
    assert_int_equal(t->status, 200);
    assert_has(t->end_stream, "\"code\":\"not_found\"");
    rpc_close(t);
    rpc_open(f, t, "Connect", "application/grpc+json", NULL);
    rpc_send(t, "{\"process\":{\"tag\":\"n\xc3\xb6\"}}");
    rpc_send_end(t);
    WAIT_FOR(f, t->is_ended);
    assert_int_equal(t->status, 200);
    assert_text(t->grpc_status, "5");
    assert_has(t->grpc_message, "n%C3%B6");
    rpc_close(t);
    rpc_open(f, t, "List", "application/grpc-web+json", NULL);
    rpc_send(t, "[");
    rpc_send_end(t);
    WAIT_FOR(f, t->is_ended);
    assert_text(t->grpc_status, "3");
    rpc_free(&t);
}

static void a_wrong_content_type_is_415_and_says_what_is_right(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *t = rpc_new();

    rpc_open(f, t, "Start", "application/json", NULL);
    rpc_send(t, "{\"command\":[\"ls\"]}");
    rpc_send_end(t);
    WAIT_FOR(f, t->is_ended);
    assert_int_equal(t->status, 415);
    assert_has(t->accept_post, "application/connect+json, application/connect+json; charset=utf-8, "
                               "application/connect+proto, application/grpc, ");
    assert_int_equal(t->body.len, 0);
    rpc_close(t);
    rpc_open(f, t, "List", "application/connect+json", NULL);
    rpc_send_end(t);
    WAIT_FOR(f, t->is_ended);
    assert_int_equal(t->status, 415);
    rpc_free(&t);
}

static void a_charset_does_not_matter(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *t = rpc_new();

    rpc_open(f, t, "Start", "application/connect+json; charset=utf-8", NULL);
    rpc_send(t, ECHO_JSON);
    rpc_send_end(t);
    WAIT_FOR(f, t->is_ended);
    assert_text(t->out, "hi\n");
    rpc_free(&t);
}

static void expect_end(struct fixture *f, const char *const *fields, struct slice bytes,
                       const char *code, const char *words)
{
    struct rpc_test *t = rpc_new();

    rpc_open(f, t, "Start", "application/connect+json", fields);
    rpc_send_bytes(t, bytes);
    rpc_send_end(t);
    WAIT_FOR(f, t->is_ended);
    assert_int_equal(t->status, 200);
    assert_has(t->end_stream, code);
    assert_has(t->end_stream, words);
    rpc_free(&t);
}

static void broken_requests_say_what_is_wrong(void **state)
{
    struct fixture *f = *state;
    const char *br[] = { "connect-content-encoding", "br", NULL };
    const char *version[] = { "connect-protocol-version", "2", NULL };
    const char *timeout[] = { "connect-timeout-ms", "soon", NULL };
    const char *long_timeout[] = { "connect-timeout-ms", "12345678901", NULL };

    expect_end(f, br, SLICE_EMPTY, "\"unimplemented\"", "gzip");
    expect_end(f, version, SLICE_EMPTY, "\"invalid_argument\"", "version");
    expect_end(f, timeout, SLICE_EMPTY, "\"invalid_argument\"", "timeout");
    expect_end(f, long_timeout, SLICE_EMPTY, "\"invalid_argument\"", "timeout");
    expect_end(f, NULL, SLICE_EMPTY, "\"invalid_argument\"", "no message");
    expect_end(f, NULL, SLICE("\0\0\0\0\x0a{}"), "\"invalid_argument\"",
               "promised 10 bytes in enveloped message, got 2 bytes");
    expect_end(f, NULL, SLICE("{\"command\":[\"ls\"]}"), "\"invalid_argument\"",
               "prefix of 5 bytes");
    expect_end(f, NULL, SLICE("\0\0\0\0\x02{}\0\0\0\0\x02{}"), "\"invalid_argument\"",
               "more than one");
    expect_end(f, NULL, SLICE("\0\x7f\0\0\0"), "\"resource_exhausted\"", "too large");
    expect_end(f, NULL, SLICE("\x01\0\0\0\x02{}"), "\"invalid_argument\"", "no encoding");
}

static void deflate_into(struct slice bytes, struct buf *into)
{
    z_stream stream = { 0 };

    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = (unsigned char *)(uintptr_t)bytes.ptr;
    stream.avail_in = (unsigned)bytes.len;
    stream.next_out = (unsigned char *)buf_reserve(into, bytes.len + 100);
    stream.avail_out = (unsigned)bytes.len + 100;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    buf_commit(into, stream.total_out);
    deflateEnd(&stream);
}

static void gzip_requests_are_taken(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *t = rpc_new();
    struct buf packed = { 0 }, frame = { 0 };
    const char *stream[] = { "connect-content-encoding", "gzip", NULL };
    const char *unary[] = { "content-encoding", "gzip", NULL };

    deflate_into(SLICE(ECHO_JSON), &packed);
    envelope_append(&frame, ENVELOPE_COMPRESSED, buf_slice(&packed));
    rpc_open(f, t, "Start", "application/connect+json", stream);
    rpc_send_bytes(t, buf_slice(&frame));
    rpc_send_end(t);
    WAIT_FOR(f, t->is_ended);
    assert_text(t->out, "hi\n");
    rpc_close(t);
    buf_clear(&packed);
    deflate_into(SLICE("{}"), &packed);
    rpc_open(f, t, "List", "application/json", unary);
    rpc_send_bytes(t, buf_slice(&packed));
    rpc_send_end(t);
    WAIT_FOR(f, t->is_ended);
    assert_int_equal(t->status, 200);
    buf_deinit(&packed);
    buf_deinit(&frame);
    rpc_free(&t);
}

static void grpc_timeout_is_the_life_of_the_process(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *t = rpc_new();
    const char *fields[] = { "grpc-timeout", "200m", NULL };

    rpc_open(f, t, "Start", "application/grpc+json", fields);
    rpc_send(t, "{\"process\":{\"cmd\":\"sleep\",\"args\":[\"100\"]}}");
    rpc_send_end(t);
    WAIT_FOR(f, t->is_ended);
    assert_int_equal(t->start_count, 1);
    assert_text(t->grpc_status, "4");
    rpc_free(&t);
}

static void tune_token(struct guest_agent_options *options)
{
    options->token = SLICE("s3cret");
}

static void with_a_token_only_its_bearer_is_served(void **state)
{
    struct fixture f = { 0 };
    struct rpc_test *t = rpc_new();
    const char *right[] = { "authorization", "Bearer s3cret", NULL };
    const char *wrong[] = { "authorization", "Bearer s3cre", NULL };
    (void)state;

    fixture_start(&f, tune_token);
    rpc_call(&f, t, "Start", ECHO_JSON);
    WAIT_FOR(&f, t->is_ended);
    assert_int_equal(t->status, 200);
    assert_has(t->end_stream, "\"unauthenticated\"");
    rpc_close(t);
    rpc_open(&f, t, "List", "application/json", wrong);
    rpc_send(t, "{}");
    rpc_send_end(t);
    WAIT_FOR(&f, t->is_ended);
    assert_int_equal(t->status, 401);
    rpc_close(t);
    rpc_open(&f, t, "List", "application/json", right);
    rpc_send(t, "{}");
    rpc_send_end(t);
    WAIT_FOR(&f, t->is_ended);
    assert_int_equal(t->status, 200);
    rpc_free(&t);
    fixture_stop(&f);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(start_speaks_every_protocol_over_h2),
        TEST(start_speaks_every_protocol_over_h1),
        TEST(stream_input_is_live_over_h1),
        TEST(list_answers_in_the_codec_that_asked),
        TEST(errors_have_the_shape_of_the_protocol),
        TEST(a_wrong_content_type_is_415_and_says_what_is_right),
        TEST(a_charset_does_not_matter),
        TEST(broken_requests_say_what_is_wrong),
        TEST(gzip_requests_are_taken),
        TEST(grpc_timeout_is_the_life_of_the_process),
        cmocka_unit_test(with_a_token_only_its_bearer_is_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
