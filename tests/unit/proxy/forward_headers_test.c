#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "proxy/forward_headers.h"

static struct arena arena;

static struct fields fields_of(const char *text)
{
    struct slice rest = slice_from_string(text);
    struct fields fields = { 0 };

    while (rest.len > 0) {
        struct slice value = slice_cut(&rest, '\n');
        struct slice name = slice_cut(&value, ':');
        fields_add_named(&fields, &arena, name, slice_trim(value));
    }
    return fields;
}

static const char *text_of(const struct fields *fields)
{
    static struct buf text;

    buf_clear(&text);
    for (size_t i = 0; i < fields->count; i++)
        buf_printf(&text, "%.*s: %.*s\n", SLICE_ARGS(fields->items[i].name),
                   SLICE_ARGS(fields->items[i].value));
    return buf_text(&text);
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

static const char *forwarded(const char *from, const struct forward_identity *identity)
{
    struct fields request = fields_of(from), passed = { 0 };

    forward_request_fields(&request, identity, &arena, &passed);
    return text_of(&passed);
}

static void end_to_end_fields_pass_in_order_and_untouched(void **state)
{
    const struct forward_identity nobody = { 0 };
    static const char text[] = "content-type: application/json\nx-a:  \xff b \nx-a: 2\n"
                               "content-length: 3\ncookie: a=b\ntrailer: x\n";
    (void)state;

    assert_string_equal(forwarded(text, &nobody),
                        "content-type: application/json\nx-a: \xff b\nx-a: 2\n"
                        "content-length: 3\ncookie: a=b\ntrailer: x\n");
}

static void what_is_ours_or_of_one_hop_never_passes(void **state)
{
    static const char *const rows[] = {
        "connection: close",
        "keep-alive: x",
        "proxy-connection: x",
        "transfer-encoding: chunked",
        "te: gzip",
        "upgrade: h2c",
        "http2-settings: x",
        "host: x",
        "expect: 100-continue",
        "x-access-token: t",
        "x-computer-id: c",
        "x-session-id: s",
        "x-user-id: u",
        "x-request-id: r",
        "x-gateway-error: e",
        "x-gateway-delivered: d",
        "x-gateway-anything: a",
        "x-real-ip: 1",
        "forwarded: f",
        "x-forwarded-for: 1",
        "x-forwarded-proto: p",
        "x-forwarded-host: h",
        "x-forwarded-port: 1",
        "traceparent: t",
        "keepalive-ping-interval: 0",
        "x_computer_id: c",
        "x_access_token: t",
        "x-user_id: u",
        "x_gateway_x: 1",
        "x_forwarded_for: 1",
        "transfer_encoding: chunked",
        "referer: https://h/?access_token=t",
    };
    const struct forward_identity nobody = { 0 };
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (forwarded(rows[i], &nobody)[0] != '\0')
            fail_msg("%s passed", rows[i]);
    }
}

static void connection_names_fields_away_but_not_ours_nor_the_framing(void **state)
{
    const struct forward_identity identity = { .computer_id = SLICE("c") };
    (void)state;

    assert_string_equal(forwarded("connection: x-hop, x-computer-id, content-length\nx-hop: 1\n"
                                  "x-stay: 1\ncontent-length: 3\n",
                                  &identity),
                        "x-stay: 1\ncontent-length: 3\nx-computer-id: c\n");
}

static void authorization_is_the_agents_or_the_clients_own(void **state)
{
    const struct forward_identity ours = { .drop_authorization = true };
    const struct forward_identity agents = { .agent_token = SLICE("g") };
    const struct forward_identity own = { 0 };
    (void)state;

    assert_string_equal(forwarded("authorization: Bearer t\n", &ours), "");
    assert_string_equal(forwarded("authorization: Basic u\n", &agents),
                        "authorization: Bearer g\n");
    assert_string_equal(forwarded("authorization: Basic u\n", &own), "authorization: Basic u\n");
}

static void te_trailers_is_said_again(void **state)
{
    const struct forward_identity nobody = { 0 };
    (void)state;

    assert_string_equal(forwarded("te: gzip, trailers\n", &nobody), "te: trailers\n");
}

static void forwarding_is_continued_for_trusted_peers_alone(void **state)
{
    struct forward_identity identity = { .peer_ip = SLICE("10.0.0.9"),
                                         .scheme = SLICE("http"),
                                         .authority = SLICE("h") };
    static const char sent[] =
        "x-forwarded-for: 1.2.3.4\nx-forwarded-proto: https\nx-forwarded-host: o\n"
        "x-forwarded-port: 443\n";
    (void)state;

    assert_string_equal(forwarded(sent, &identity),
                        "x-forwarded-for: 10.0.0.9\n"
                        "x-forwarded-proto: http\nx-forwarded-host: h\n");
    identity.peer_is_trusted = true;
    assert_string_equal(forwarded(sent, &identity),
                        "x-forwarded-for: 1.2.3.4, 10.0.0.9\nx-forwarded-proto: https\n"
                        "x-forwarded-host: o\nx-forwarded-port: 443\n");
}

static void responses_lose_hops_and_our_names(void **state)
{
    struct fields from =
        fields_of("content-type: x\nconnection: x-hop\nx-hop: 1\nx-gateway-error: fake\n"
                  "x-request-id: fake\nset-cookie: a\nset-cookie: b\n");
    struct fields passed = { 0 };
    (void)state;

    forward_response_fields(&from, &arena, &passed);
    assert_string_equal(text_of(&passed), "content-type: x\nset-cookie: a\nset-cookie: b\n");
}

static void trailers_carry_nothing_that_belongs_in_a_head(void **state)
{
    struct fields from =
        fields_of("grpc-status: 0\ncontent-length: 1\nauthorization: x\nx-user-id: u\n"
                  "set-cookie: a\nx-last: 1\ntransfer-encoding: chunked\n");
    struct fields passed = { 0 };
    (void)state;

    forward_trailers(&from, &arena, &passed);
    assert_string_equal(text_of(&passed), "grpc-status: 0\nx-last: 1\n");
}

static void a_valid_traceparent_is_continued(void **state)
{
    static const struct {
        const char *value;
        bool continued;
    } rows[] = {
        { "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true },
        { "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-new", true },
        { "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x", false },
        { "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false },
        { "00-00000000000000000000000000000000-b7ad6b7169203331-01", false },
        { "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false },
        { "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false },
        { "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", false },
        { "", false },
    };
    const uint64_t random[3] = { 1, 2, 0x1122334455667788 };
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fields fields = { 0 };
        fields_add(&fields, &arena, FIELD_TRACEPARENT, slice_from_string(rows[i].value));
        struct slice out = forward_traceparent(&fields, random, &arena);
        assert_true(slice_equal(
            out, rows[i].continued
                     ? SLICE("00-0af7651916cd43dd8448eb211c80319c-1122334455667789-01")
                     : SLICE("00-00000000000000010000000000000003-1122334455667789-00")));
    }
}

static void tracestate_passes_with_its_trace_alone(void **state)
{
    static const char given[] =
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n"
        "tracestate: a=b\n";
    struct forward_identity identity = {
        .traceparent = SLICE("00-0af7651916cd43dd8448eb211c80319c-1122334455667789-01"),
    };
    (void)state;

    assert_non_null(strstr(forwarded(given, &identity), "tracestate: a=b\n"));
    identity.traceparent = SLICE("00-11111111111111111111111111111111-1122334455667789-00");
    assert_null(strstr(forwarded(given, &identity), "tracestate: a=b\n"));
}

static void a_request_id_is_kept_from_trusted_peers_alone(void **state)
{
    const uint64_t random[2] = { 0xab, 0xcd };
    struct fields good = fields_of("x-request-id: abc-1\n"), bad = fields_of("x-request-id: a b\n");
    struct slice fresh = SLICE("00000000000000ab00000000000000cd");
    (void)state;

    assert_true(slice_equal(forward_request_id(&good, true, random, &arena), SLICE("abc-1")));
    assert_true(slice_equal(forward_request_id(&good, false, random, &arena), fresh));
    assert_true(slice_equal(forward_request_id(&bad, true, random, &arena), fresh));
}

static void the_first_untrusted_address_from_the_right_is_the_client(void **state)
{
    static const struct {
        const char *chain, *client;
    } rows[] = {
        { "x-forwarded-for: 6.6.6.6, 1.2.3.4, 10.0.0.1\n", "1.2.3.4" },
        { "x-forwarded-for: 10.0.0.1\n", "10.0.0.1" },
        { "x-forwarded-for: 2001:db8::1\n", "2001:db8::1" },
        { "x-forwarded-for: junk\n", "junk" },
        { "x: y\n", "10.0.0.9" },
    };
    struct network trusted;
    (void)state;

    assert_int_equal(network_parse(SLICE("10.0.0.0/8"), &trusted), STATUS_OK);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fields fields = fields_of(rows[i].chain);
        struct slice ip = forward_client_ip(&fields, SLICE("10.0.0.9"), true, &trusted, 1);
        assert_true(slice_equal(ip, slice_from_string(rows[i].client)));
    }
    struct fields spoofed = fields_of("x-forwarded-for: 1.1.1.1\n");
    assert_true(slice_equal(forward_client_ip(&spoofed, SLICE("9.9.9.9"), false, &trusted, 1),
                            SLICE("9.9.9.9")));
}

#define TEST(name) cmocka_unit_test_teardown(name, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(end_to_end_fields_pass_in_order_and_untouched),
        TEST(what_is_ours_or_of_one_hop_never_passes),
        TEST(connection_names_fields_away_but_not_ours_nor_the_framing),
        TEST(authorization_is_the_agents_or_the_clients_own),
        TEST(te_trailers_is_said_again),
        TEST(forwarding_is_continued_for_trusted_peers_alone),
        TEST(responses_lose_hops_and_our_names),
        TEST(trailers_carry_nothing_that_belongs_in_a_head),
        TEST(a_valid_traceparent_is_continued),
        TEST(tracestate_passes_with_its_trace_alone),
        TEST(a_request_id_is_kept_from_trusted_peers_alone),
        TEST(the_first_untrusted_address_from_the_right_is_the_client),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
