/* h1_parser_test.c — heads, trailers and chunks, without a connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "http/h1_body.h"
#include "http/h1_parser.h"

#define HOST "Host: a.example\r\n"

static struct http_limits limits;

static int setup(void **state)
{
    (void)state;
    http_limits_init(&limits);
    return 0;
}

struct parsed {
    enum status status;
    struct head head;
    struct h1_framing framing;
    struct arena arena;
};

static void parse(struct parsed *p, struct slice text, bool allow_connect)
{
    struct h1_rules rules = { .limits = &limits,
                              .scheme = SLICE("http"),
                              .allow_connect = allow_connect };
    char *copy = slice_dup(text); /* the parser must keep nothing of it */

    *p = (struct parsed){ 0 };
    arena_init(&p->arena, NULL, 0);
    p->status =
        h1_parse_request(slice_of(copy, text.len), &rules, &p->arena, &p->head, &p->framing);
    mem_free(copy);
}

static void a_request_is_taken_apart(void **state)
{
    struct parsed p;
    (void)state;

    parse(&p,
          SLICE("POST /a%2F?b=%20c HTTP/1.1\r\nHOST: A.example:80\r\nX-Thing:\t a  b \t\r\n"
                "Content-Length: 12\r\nX-Empty:\r\nCookie: a=1\r\nTE: trailers\r\n"
                "Connection: x-hop, close\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\r\n"),
          false);
    assert_int_equal(p.status, STATUS_OK);
    assert_true(slice_equal(p.head.method, SLICE("POST")));
    assert_true(slice_equal(p.head.target, SLICE("/a%2F?b=%20c")));
    assert_true(slice_equal(p.head.authority, SLICE("A.example:80")));
    assert_true(slice_equal(p.head.scheme, SLICE("http")));
    assert_int_equal(p.head.content_length, 12);
    assert_int_equal(p.head.fields.count, 5);
    assert_true(slice_equal(p.head.fields.items[0].name, SLICE("x-thing")));
    assert_true(slice_equal(p.head.fields.items[0].value, SLICE("a  b")));
    assert_true(slice_equal(fields_value(&p.head.fields, FIELD_CONTENT_LENGTH), SLICE("12")));
    assert_int_equal(p.head.fields.items[2].value.len, 0);
    assert_true(slice_equal(fields_value(&p.head.fields, FIELD_TE), SLICE("trailers")));
    assert_false(p.framing.keep_alive);
    assert_int_equal(p.framing.version, HTTP_1_1);
    arena_deinit(&p.arena);
}

struct request_case {
    const char *name;
    struct slice text;
    enum status status;
};

#define GET(fields) SLICE("GET / HTTP/1.1\r\n" HOST fields "\r\n")
#define POST(fields) SLICE("POST / HTTP/1.1\r\n" HOST fields "\r\n")

static const struct request_case request_cases[] = {
    { "plain", SLICE("GET / HTTP/1.1\r\n" HOST "\r\n"), STATUS_OK },
    { "1.0", SLICE("GET / HTTP/1.0\r\n" HOST "\r\n"), STATUS_OK },
    { "odd method", SLICE("M-SEARCH / HTTP/1.1\r\n" HOST "\r\n"), STATUS_OK },
    { "obs-text", SLICE("GET / HTTP/1.1\r\n" HOST "x: \xc3\xa4\r\n\r\n"), STATUS_OK },
    { "options *", SLICE("OPTIONS * HTTP/1.1\r\n" HOST "\r\n"), STATUS_OK },
    { "absolute", SLICE("GET http://A.EXAMPLE:80/x HTTP/1.1\r\n" HOST "\r\n"), STATUS_OK },
    { "get *", SLICE("GET * HTTP/1.1\r\n" HOST "\r\n"), STATUS_MALFORMED },
    { "absolute, other host", SLICE("GET http://b.example/ HTTP/1.1\r\n" HOST "\r\n"),
      STATUS_MALFORMED },
    { "absolute, user", SLICE("GET http://u@a.example/ HTTP/1.1\r\n" HOST "\r\n"),
      STATUS_MALFORMED },
    { "absolute, empty", SLICE("GET http:///x HTTP/1.1\r\n" HOST "\r\n"), STATUS_MALFORMED },
    { "absolute, ftp", SLICE("GET ftp://a.example/ HTTP/1.1\r\n" HOST "\r\n"), STATUS_MALFORMED },
    { "authority form", SLICE("GET a.example:80 HTTP/1.1\r\n" HOST "\r\n"), STATUS_MALFORMED },
    { "connect", SLICE("CONNECT a.example:80 HTTP/1.1\r\n" HOST "\r\n"), STATUS_UNSUPPORTED },
    { "trace", SLICE("TRACE / HTTP/1.1\r\n" HOST "\r\n"), STATUS_METHOD_NOT_ALLOWED },
    { "lower-case method", SLICE("get / HTTP/1.1\r\n" HOST "\r\n"), STATUS_UNSUPPORTED },
    { "one lower-case letter", SLICE("xGET / HTTP/1.1\r\n" HOST "\r\n"), STATUS_UNSUPPORTED },
    { "fragment", SLICE("GET /a#b HTTP/1.1\r\n" HOST "\r\n"), STATUS_MALFORMED },
    { "absolute, fragment", SLICE("GET http://a.example?x#y HTTP/1.1\r\n" HOST "\r\n"),
      STATUS_MALFORMED },
    { "high byte in target", SLICE("GET /\xc3\xa4 HTTP/1.1\r\n" HOST "\r\n"), STATUS_MALFORMED },
    { "del in target", SLICE("GET /\x7f HTTP/1.1\r\n" HOST "\r\n"), STATUS_MALFORMED },
    { "tab after method", SLICE("GET\t/ HTTP/1.1\r\n" HOST "\r\n"), STATUS_MALFORMED },
    { "two blanks", SLICE("GET  / HTTP/1.1\r\n" HOST "\r\n"), STATUS_MALFORMED },
    { "blank at end", SLICE("GET / HTTP/1.1 \r\n" HOST "\r\n"), STATUS_MALFORMED },
    { "leading blank", SLICE(" GET / HTTP/1.1\r\n" HOST "\r\n"), STATUS_MALFORMED },
    { "http/0.9", SLICE("GET /\r\n\r\n"), STATUS_MALFORMED },
    { "no target", SLICE("GET HTTP/1.1\r\n" HOST "\r\n"), STATUS_MALFORMED },
    { "http/2.0", SLICE("GET / HTTP/2.0\r\n" HOST "\r\n"), STATUS_VERSION_UNSUPPORTED },
    { "http/1.2", SLICE("GET / HTTP/1.2\r\n" HOST "\r\n"), STATUS_VERSION_UNSUPPORTED },
    { "lower version", SLICE("GET / http/1.1\r\n" HOST "\r\n"), STATUS_MALFORMED },
    { "http/1.10", SLICE("GET / HTTP/1.10\r\n" HOST "\r\n"), STATUS_MALFORMED },
    { "http/11", SLICE("GET / HTTP/1_1\r\n" HOST "\r\n"), STATUS_MALFORMED },
    { "no host", SLICE("GET / HTTP/1.1\r\n\r\n"), STATUS_MALFORMED },
    { "no host, 1.0", SLICE("GET / HTTP/1.0\r\n\r\n"), STATUS_MALFORMED },
    { "two hosts", GET("host: a.example\r\n"), STATUS_MALFORMED },
    { "empty host", SLICE("GET / HTTP/1.1\r\nHost:\r\n\r\n"), STATUS_MALFORMED },
    { "host with user", SLICE("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"), STATUS_MALFORMED },
    { "host with path", SLICE("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), STATUS_MALFORMED },
    { "host with underscore", SLICE("GET / HTTP/1.1\r\nHost: a_b\r\n\r\n"), STATUS_MALFORMED },
    { "host list", SLICE("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"), STATUS_MALFORMED },
    { "no colon", GET("abc\r\n"), STATUS_MALFORMED },
    { "blank before colon", GET("a : b\r\n"), STATUS_MALFORMED },
    { "tab before colon", GET("a\t: b\r\n"), STATUS_MALFORMED },
    { "empty name", GET(": b\r\n"), STATUS_MALFORMED },
    { "underscore", GET("x_user: b\r\n"), STATUS_MALFORMED },
    { "folded", GET("a: b\r\n c\r\n"), STATUS_MALFORMED },
    { "folded with tab", GET("a: b\r\n\tc\r\n"), STATUS_MALFORMED },
    { "folded first", SLICE("GET / HTTP/1.1\r\n x: y\r\n" HOST "\r\n"), STATUS_MALFORMED },
    { "nul in value", GET("a: b\0c\r\n"), STATUS_MALFORMED },
    { "nul in name", GET("a\0: b\r\n"), STATUS_MALFORMED },
    { "bare cr in value", GET("a: b\rc\r\n"), STATUS_MALFORMED },
    { "cr cr lf", GET("a: b\r\r\n"), STATUS_MALFORMED },
    { "vertical tab", GET("a: b\vc\r\n"), STATUS_MALFORMED },
    { "high byte in name", GET("\xc3\xa4: b\r\n"), STATUS_MALFORMED },
    { "cl and te", POST("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), STATUS_MALFORMED },
    { "te and cl", POST("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"), STATUS_MALFORMED },
    { "two equal lengths", POST("Content-Length: 1\r\nContent-Length: 1\r\n"), STATUS_MALFORMED },
    { "length list", POST("Content-Length: 1, 1\r\n"), STATUS_MALFORMED },
    { "length plus", POST("Content-Length: +5\r\n"), STATUS_MALFORMED },
    { "length minus", POST("Content-Length: -5\r\n"), STATUS_MALFORMED },
    { "length hex", POST("Content-Length: 0x5\r\n"), STATUS_MALFORMED },
    { "length empty", POST("Content-Length:\r\n"), STATUS_MALFORMED },
    { "length blank inside", POST("Content-Length: 1 1\r\n"), STATUS_MALFORMED },
    { "length over 2^63", POST("Content-Length: 9223372036854775808\r\n"), STATUS_MALFORMED },
    { "length over 2^64", POST("Content-Length: 18446744073709551617\r\n"), STATUS_MALFORMED },
    { "te gzip, chunked", POST("Transfer-Encoding: gzip, chunked\r\n"), STATUS_UNSUPPORTED },
    { "te chunked, identity", POST("Transfer-Encoding: chunked, identity\r\n"),
      STATUS_UNSUPPORTED },
    { "te xchunked", POST("Transfer-Encoding: xchunked\r\n"), STATUS_UNSUPPORTED },
    { "te quoted", POST("Transfer-Encoding: \"chunked\"\r\n"), STATUS_UNSUPPORTED },
    { "te with vertical tab", POST("Transfer-Encoding: \vchunked\r\n"), STATUS_MALFORMED },
    { "te empty", POST("Transfer-Encoding:\r\n"), STATUS_UNSUPPORTED },
    { "te twice", POST("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
      STATUS_MALFORMED },
    { "te folded", POST("Transfer-Encoding:\r\n chunked\r\n"), STATUS_MALFORMED },
    { "te in 1.0", SLICE("POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"),
      STATUS_MALFORMED },
    { "h2c", GET("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n"),
      STATUS_MALFORMED },
    { "h2c alone", GET("Upgrade: H2C\r\n"), STATUS_UNSUPPORTED },
    { "h2c in a list", GET("Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n"),
      STATUS_UNSUPPORTED },
    { "http2-settings", GET("HTTP2-Settings: AAMAAABk\r\n"), STATUS_MALFORMED },
    { "two upgrades", GET("Upgrade: a\r\nUpgrade: websocket\r\n"), STATUS_MALFORMED },
    { "websocket by post", POST("Connection: Upgrade\r\nUpgrade: websocket\r\n"),
      STATUS_MALFORMED },
    { "websocket with length",
      GET("Content-Length: 3\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"), STATUS_MALFORMED },
    { "websocket with chunks",
      GET("Transfer-Encoding: chunked\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"),
      STATUS_MALFORMED },
    { "expectation", POST("Expect: 200-ok\r\n"), STATUS_EXPECTATION_FAILED },
    { "expectation obfuscated", POST("Expect: y 100-continue\r\n"), STATUS_EXPECTATION_FAILED },
    { "connection names length", POST("Content-Length: 1\r\nConnection: content-length\r\n"),
      STATUS_MALFORMED },
    { "connection names host", GET("Connection: close, Host\r\n"), STATUS_MALFORMED },
    { "connection names cookie", GET("Connection: cookie\r\n"), STATUS_MALFORMED },
    { "connection names identity", GET("Connection: X-User-Id\r\n"), STATUS_MALFORMED },
    { "connection is no token", GET("Connection: a b\r\n"), STATUS_MALFORMED },
};

static void requests_get_their_status(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(request_cases) / sizeof(request_cases[0]); i++) {
        struct parsed p;

        parse(&p, request_cases[i].text, false);
        if (p.status != request_cases[i].status)
            fail_msg("%s: %s", request_cases[i].name, status_name(p.status));
        arena_deinit(&p.arena);
    }
}

static void absolute_form_gives_authority_and_path(void **state)
{
    struct parsed p;
    (void)state;

    parse(&p, SLICE("GET http://a.example?q=/x HTTP/1.1\r\n" HOST "\r\n"), false);
    assert_int_equal(p.status, STATUS_OK);
    assert_true(slice_equal(p.head.authority, SLICE("a.example")));
    assert_true(slice_equal(p.head.target, SLICE("/?q=/x")));
    arena_deinit(&p.arena);
    parse(&p, SLICE("GET HTTPS://a.example HTTP/1.1\r\n" HOST "\r\n"), false);
    assert_true(slice_equal(p.head.target, SLICE("/")));
    arena_deinit(&p.arena);
}

static void connect_is_taken_where_it_is_allowed(void **state)
{
    struct parsed p;
    (void)state;

    parse(&p, SLICE("CONNECT 127.0.0.1:3000 HTTP/1.1\r\nHost: 127.0.0.1:3000\r\n\r\n"), true);
    assert_int_equal(p.status, STATUS_OK);
    assert_true(p.framing.is_connect);
    assert_int_equal(p.head.target.len, 0);
    assert_true(slice_equal(p.head.authority, SLICE("127.0.0.1:3000")));
    arena_deinit(&p.arena);
    parse(&p, SLICE("CONNECT 127.0.0.1:3000 HTTP/1.1\r\nHost: other:3000\r\n\r\n"), true);
    assert_int_equal(p.status, STATUS_MALFORMED);
    arena_deinit(&p.arena);
}

static void upgrade_needs_both_fields(void **state)
{
    struct parsed p;
    (void)state;

    parse(&p,
          GET("Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: k\r\n"),
          false);
    assert_true(p.framing.is_upgrade && slice_equal(p.head.protocol, SLICE("websocket")));
    assert_int_equal(p.head.fields.count, 1);
    arena_deinit(&p.arena);
    parse(&p, GET("Upgrade: websocket\r\n"), false);
    assert_true(p.status == STATUS_OK && !p.framing.is_upgrade && p.head.protocol.len == 0);
    arena_deinit(&p.arena);
    parse(&p, GET("Connection: Upgrade\r\nUpgrade: TLS/1.3\r\n"), false);
    assert_true(p.status == STATUS_OK && !p.framing.is_upgrade && p.head.fields.count == 0);
    arena_deinit(&p.arena);
}

static void too_much_is_refused_by_its_kind(void **state)
{
    struct buf text = { 0 };
    struct parsed p;
    (void)state;

    buf_printf(&text, "GET /");
    for (unsigned i = 0; i < 8192; i++)
        buf_append_byte(&text, 'a');
    buf_printf(&text, " HTTP/1.1\r\n" HOST "\r\n");
    parse(&p, buf_slice(&text), false);
    assert_int_equal(p.status, STATUS_TARGET_TOO_LONG);
    arena_deinit(&p.arena);

    for (unsigned count = 127; count < 130; count++) {
        buf_clear(&text);
        buf_printf(&text, "GET / HTTP/1.1\r\n" HOST);
        for (unsigned i = 1; i < count; i++)
            buf_printf(&text, "x: y\r\n");
        for (unsigned i = 0; i < 128; i++)
            buf_printf(&text, "Cookie: y\r\n");
        buf_printf(&text, "\r\n");
        parse(&p, buf_slice(&text), false);
        assert_int_equal(p.status, count <= 128 ? STATUS_OK : STATUS_HEADERS_TOO_LARGE);
        arena_deinit(&p.arena);
    }

    buf_clear(&text);
    buf_printf(&text, "GET / HTTP/1.1\r\n" HOST "x: ");
    for (unsigned i = 0; i < 32768; i++)
        buf_append_byte(&text, 'a');
    buf_printf(&text, "\r\n\r\n");
    parse(&p, buf_slice(&text), false);
    assert_int_equal(p.status, STATUS_HEADERS_TOO_LARGE);
    arena_deinit(&p.arena);
    buf_deinit(&text);
}

static void the_scanner_sees_the_same_in_any_pieces(void **state)
{
    static const struct slice text = { .ptr = "GET / HTTP/1.1\r\nHost: a\r\n\r\nrest", .len = 31 };
    size_t len;
    (void)state;

    for (size_t step = 1; step <= text.len; step++) {
        struct h1_scan scan = { 0 };
        enum status status = STATUS_AGAIN;

        for (size_t have = step; status == STATUS_AGAIN && have <= text.len + step; have += step)
            status = h1_scan_head(&scan, slice_first(text, have), &len);
        assert_int_equal(status, STATUS_OK);
        assert_int_equal(len, 27);
    }
    struct h1_scan scan = { 0 };
    assert_int_equal(h1_scan_head(&scan, SLICE("GET / HTTP/1.1\n"), &len), STATUS_MALFORMED);
    scan = (struct h1_scan){ 0 };
    assert_int_equal(h1_scan_head(&scan, SLICE("\n"), &len), STATUS_MALFORMED);
    scan = (struct h1_scan){ 0 };
    assert_int_equal(h1_scan_head(&scan, SLICE("a\r\n\n"), &len), STATUS_MALFORMED);
}

static void responses_get_their_status(void **state)
{
    static const struct {
        struct slice text;
        bool is_ok;
    } cases[] = {
        { SLICE("HTTP/1.1 200 OK\r\n\r\n"), true },
        { SLICE("HTTP/1.1 200 \r\n\r\n"), true },
        { SLICE("HTTP/1.1 200\r\n\r\n"), true },
        { SLICE("HTTP/1.0 404 Not Found\r\nx_app: 1\r\n\r\n"), true },
        { SLICE("HTTP/1.1 20 OK\r\n\r\n"), false },
        { SLICE("HTTP/1.1 2000 OK\r\n\r\n"), false },
        { SLICE("HTTP/1.1 099 OK\r\n\r\n"), false },
        { SLICE("HTTP/1.1 600 OK\r\n\r\n"), false },
        { SLICE("HTTP/1.1  200 OK\r\n\r\n"), false },
        { SLICE("HTTP/1.1 2x0 OK\r\n\r\n"), false },
        { SLICE("HTTP/2.0 200 OK\r\n\r\n"), false },
        { SLICE("ICY 200 OK\r\n\r\n"), false },
        { SLICE("HTTP/1.1 200 O\0K\r\n\r\n"), false },
        { SLICE("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"), false },
        { SLICE("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
          false },
        { SLICE("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"), false },
        { SLICE("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), false },
        { SLICE("HTTP/1.1 200 OK\r\na : b\r\n\r\n"), false },
        { SLICE("HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n"), false },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct head head;
        struct h1_framing framing;
        struct arena arena;

        arena_init(&arena, NULL, 0);
        enum status status = h1_parse_response(cases[i].text, &limits, &arena, &head, &framing);
        if ((status == STATUS_OK) != cases[i].is_ok)
            fail_msg("response %zu: %s", i, status_name(status));
        arena_deinit(&arena);
    }
}

/* ---- chunks ---- */

/* Runs `text` through in pieces of `step`; "…|" for the body, then the trailers, or "!" when bad,
 * "?" when not ended. */
static void run_chunks(struct slice text, size_t step, struct buf *out, size_t *out_left)
{
    struct h1_body body;
    enum h1_body_step result = H1_STEP_MORE;

    h1_body_init(&body, H1_BODY_CHUNKED, 0);
    for (size_t at = 0; at < text.len && result == H1_STEP_MORE; at += step) {
        struct slice in = slice_first(slice_skip(text, at), step), data;

        do {
            result = h1_body_next(&body, &limits, &in, &data);
            if (result == H1_STEP_DATA)
                buf_append(out, data);
        } while (result == H1_STEP_DATA);
        *out_left = in.len;
    }
    buf_append(out, result == H1_STEP_END   ? SLICE("|")
                    : result == H1_STEP_BAD ? SLICE("!")
                                            : SLICE("?"));
    if (result == H1_STEP_END)
        buf_append(out, buf_slice(&body.trailers));
    h1_body_deinit(&body);
}

static void chunked_bodies_come_out_whole_or_are_bad(void **state)
{
    static const struct {
        const char *name;
        struct slice in;
        const char *out;
    } cases[] = {
        { "empty", SLICE("0\r\n\r\n"), "|" },
        { "two", SLICE("3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"), "abc0123456789|" },
        { "zeros", SLICE("0000000000000003\r\nabc\r\n000\r\n\r\n"), "abc|" },
        { "trailers", SLICE("1\r\na\r\n0\r\nx: 1\r\ny: 2\r\n\r\n"), "a|x: 1\r\ny: 2\r\n\r\n" },
        { "extension", SLICE("1;a=b;c=\"d\\\"\"\r\na\r\n0;x\r\n\r\n"), "a|" },
        { "unfinished", SLICE("3\r\nab"), "ab?" },
        { "no last line", SLICE("1\r\na\r\n0\r\n"), "a?" },
        { "17 digits", SLICE("00000000000000001\r\na\r\n0\r\n\r\n"), "!" },
        { "overflow", SLICE("FFFFFFFFFFFFFFFF\r\na"), "!" },
        { "no size", SLICE("\r\n\r\n"), "!" },
        { "no size, extension", SLICE(";a\r\n\r\n"), "!" },
        { "blank before size", SLICE(" 1\r\na\r\n"), "!" },
        { "blank after size", SLICE("1 \r\na\r\n"), "!" },
        { "minus", SLICE("-1\r\na\r\n"), "!" },
        { "0x", SLICE("0x1\r\na\r\n"), "!" },
        { "bare lf", SLICE("1\na\r\n0\r\n\r\n"), "!" },
        { "bare cr", SLICE("1\ra\r\n0\r\n\r\n"), "!" },
        { "bare lf after data", SLICE("1\r\na\n0\r\n\r\n"), "a!" },
        { "data too long", SLICE("1\r\nab\r\n0\r\n\r\n"), "a!" },
        { "no crlf after data", SLICE("1\r\naXX0\r\n\r\n"), "a!" },
        { "no cr after data", SLICE("1\r\naX\n0\r\n\r\n"), "a!" },
        { "lf in extension", SLICE("1;a\nb\r\na\r\n"), "!" },
        { "crlf in quotes", SLICE("1;a=\"\r\n\"\r\na\r\n"), "!" },
        { "nul in extension", SLICE("1;a\0\r\na\r\n"), "!" },
        { "bare lf in trailers", SLICE("0\r\nx: 1\n\r\n"), "!" },
        { "last line is lf", SLICE("0\r\n\n"), "!" },
        { "64 byte extension",
          SLICE("1;0123456789012345678901234567890123456789012345678901234567890123\r\na\r\n0\r\n"
                "\r\n"),
          "a|" },
        { "65 byte extension",
          SLICE("1;01234567890123456789012345678901234567890123456789012345678901234\r\na\r\n"),
          "!" },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t step = 1; step <= cases[i].in.len; step++) {
            struct buf out = { 0 };
            size_t left;

            run_chunks(cases[i].in, step, &out, &left);
            if (!slice_equal(buf_slice(&out), slice_from_string(cases[i].out)))
                fail_msg("%s in steps of %zu: %.*s", cases[i].name, step,
                         SLICE_ARGS(buf_slice(&out)));
            buf_deinit(&out);
        }
    }
}

static void what_follows_a_body_is_left_alone(void **state)
{
    struct buf out = { 0 };
    size_t left = 0;
    (void)state;

    run_chunks(SLICE("1\r\na\r\n0\r\nt: 1\r\n\r\nGET /"), 100, &out, &left);
    assert_int_equal(left, 5);
    buf_deinit(&out);
    run_chunks(SLICE("0\r\n\r\nGET /"), 100, &out, &left);
    assert_int_equal(left, 5);
    buf_deinit(&out);
}

static void extensions_of_a_body_are_bounded(void **state)
{
    struct buf text = { 0 }, out = { 0 };
    size_t left;
    (void)state;

    for (unsigned i = 0; i < 40; i++)
        buf_printf(&text, "1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\na\r\n");
    run_chunks(buf_slice(&text), text.len, &out, &left);
    assert_true(slice_ends_with(buf_slice(&out), SLICE("!")));
    buf_deinit(&text);
    buf_deinit(&out);
}

static void trailers_may_not_frame_or_route(void **state)
{
    static const struct {
        struct slice text;
        enum status status;
    } cases[] = {
        { SLICE("grpc-status: 0\r\ngrpc-message: a b\r\n\r\n"), STATUS_OK },
        { SLICE("Content-Length: 0\r\n\r\n"), STATUS_MALFORMED },
        { SLICE("Transfer-Encoding: chunked\r\n\r\n"), STATUS_MALFORMED },
        { SLICE("Host: a\r\n\r\n"), STATUS_MALFORMED },
        { SLICE("Authorization: a\r\n\r\n"), STATUS_MALFORMED },
        { SLICE("a : b\r\n\r\n"), STATUS_MALFORMED },
        { SLICE("a: b\r\n c\r\n\r\n"), STATUS_MALFORMED },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fields fields;
        struct arena arena;

        arena_init(&arena, NULL, 0);
        assert_int_equal(h1_parse_trailers(cases[i].text, &limits, &arena, &fields),
                         cases[i].status);
        arena_deinit(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_taken_apart),
        cmocka_unit_test(requests_get_their_status),
        cmocka_unit_test(absolute_form_gives_authority_and_path),
        cmocka_unit_test(connect_is_taken_where_it_is_allowed),
        cmocka_unit_test(upgrade_needs_both_fields),
        cmocka_unit_test(too_much_is_refused_by_its_kind),
        cmocka_unit_test(the_scanner_sees_the_same_in_any_pieces),
        cmocka_unit_test(responses_get_their_status),
        cmocka_unit_test(chunked_bodies_come_out_whole_or_are_bad),
        cmocka_unit_test(what_follows_a_body_is_left_alone),
        cmocka_unit_test(extensions_of_a_body_are_bounded),
        cmocka_unit_test(trailers_may_not_frame_or_route),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
