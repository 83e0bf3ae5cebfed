#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "proxy/exec_request.h"

struct parsed {
    struct arena arena;
    struct head head;
    struct exec_request request;
    enum status status;
    const char *words;
};

/* `fields`: "name: value\n…". */
static void parse(struct parsed *p, const char *method, const char *target, const char *fields)
{
    struct slice rest = slice_from_string(fields);

    *p = (struct parsed){ 0 };
    p->head.method = slice_from_string(method);
    p->head.target = slice_from_string(target);
    while (rest.len > 0) {
        struct slice value = slice_cut(&rest, '\n');
        struct slice name = slice_cut(&value, ':');
        fields_add_named(&p->head.fields, &p->arena, name, slice_trim(value));
    }
    p->status = exec_request_parse(&p->head, &p->request, &p->words);
}

static void the_content_type_tells_the_protocol(void **state)
{
    static const struct {
        const char *method, *type;
        enum caller caller;
        enum status status;
    } rows[] = {
        { "List", "application/json", CALLER_CONNECT_UNARY, STATUS_OK },
        { "List", "Application/JSON; charset=utf-8", CALLER_CONNECT_UNARY, STATUS_OK },
        { "List", "application/proto", CALLER_CONNECT_UNARY, STATUS_OK },
        { "List", "application/connect+json", CALLER_HTTP, STATUS_UNSUPPORTED_MEDIA },
        { "Start", "application/json", CALLER_PLAIN_JSON, STATUS_OK },
        { "Connect", "application/json;charset=utf-8", CALLER_PLAIN_JSON, STATUS_OK },
        { "Start", "application/proto", CALLER_HTTP, STATUS_UNSUPPORTED_MEDIA },
        { "StreamInput", "application/json", CALLER_HTTP, STATUS_UNSUPPORTED_MEDIA },
        { "Start", "application/connect+json", CALLER_CONNECT_STREAM, STATUS_OK },
        { "StreamInput", "application/connect+proto", CALLER_CONNECT_STREAM, STATUS_OK },
        { "Start", "application/grpc", CALLER_GRPC, STATUS_OK },
        { "List", "application/grpc+json", CALLER_GRPC, STATUS_OK },
        { "List", "application/grpc-web", CALLER_GRPC_WEB, STATUS_OK },
        { "List", "application/grpc-web+proto", CALLER_GRPC_WEB, STATUS_OK },
        { "List", "application/grpc-web-text+proto", CALLER_GRPC_WEB_TEXT, STATUS_OK },
        { "List", "application/grpcx", CALLER_HTTP, STATUS_UNSUPPORTED_MEDIA },
        { "List", "text/plain", CALLER_HTTP, STATUS_UNSUPPORTED_MEDIA },
        { "List", "", CALLER_HTTP, STATUS_UNSUPPORTED_MEDIA },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct parsed p;
        char target[64], fields[128];
        snprintf(target, sizeof(target), "/process.Process/%s", rows[i].method);
        snprintf(fields, sizeof(fields), "content-type: %s\n", rows[i].type);
        parse(&p, "POST", target, fields);
        assert_int_equal(p.status, rows[i].status);
        assert_int_equal(p.request.caller, rows[i].caller);
        arena_deinit(&p.arena);
    }
}

#define JSON "content-type: application/json\n"
#define LIST "/process.Process/List"
#define START "/process.Process/Start"

static void the_first_place_that_holds_a_token_decides(void **state)
{
    static const struct {
        const char *target, *fields, *token;
    } rows[] = {
        { LIST, JSON, "" },
        { LIST "?access_token=q", JSON, "q" },
        { LIST "?access_token=q", JSON "x-access-token: x\n", "x" },
        { LIST "?access_token=q", JSON "authorization: Bearer a\nx-access-token: x\n", "a" },
        { LIST, JSON "authorization: bearer  a \n", "a" },
        { LIST, JSON "authorization: Basic dTo=\nx-access-token: x\n", "x" },
        { LIST, JSON "authorization: Basic dTo=\n", "" },
        { LIST "?xaccess_token=q&access_tokenx=q", JSON, "" },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct parsed p;
        parse(&p, "POST", rows[i].target, rows[i].fields);
        assert_int_equal(p.status, STATUS_OK);
        assert_true(slice_equal(p.request.token, slice_from_string(rows[i].token)));
        arena_deinit(&p.arena);
    }
}

static void our_parameters_leave_the_target_and_nothing_else_does(void **state)
{
    static const struct {
        const char *path, *target, *passed;
    } rows[] = {
        { LIST, LIST, LIST },
        { LIST, LIST "?a=%41&&b", LIST "?a=%41&&b" },
        { LIST, LIST "?access_token=t", LIST },
        { LIST, LIST "?a=1&access_token=t&b=2", LIST "?a=1&b=2" },
        { LIST, LIST "?access_token", LIST },
        { LIST, LIST "?token=t&access%5Ftoken=t&%74oken=t&a", LIST "?a" },
        { LIST, LIST "?tokens=1&access_toke=2&%zz=3&toke%",
          LIST "?tokens=1&access_toke=2&%zz=3&toke%" },
        { LIST, LIST "?wait_ms=5", LIST "?wait_ms=5" },
        { START, START "?wait_ms=5&a=1", START "?a=1" },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct parsed p;
        parse(&p, "POST", rows[i].target, JSON);
        assert_int_equal(p.status, STATUS_OK);
        struct slice passed = exec_request_target(&p.request, p.head.target, &p.arena);
        assert_true(slice_equal(passed, slice_from_string(rows[i].passed)));
        arena_deinit(&p.arena);
    }
}

static void timeouts_are_read_or_refused(void **state)
{
    static const struct {
        const char *type, *field;
        enum status status;
        uint64_t ms;
    } rows[] = {
        { "application/json", "connect-timeout-ms: 0", STATUS_OK, 0 },
        { "application/json", "connect-timeout-ms: 9999999999", STATUS_OK, 9999999999 },
        { "application/json", "connect-timeout-ms: 00000000001", STATUS_MALFORMED, 0 },
        { "application/json", "connect-timeout-ms: -1", STATUS_MALFORMED, 0 },
        { "application/json", "connect-timeout-ms: 1.5", STATUS_MALFORMED, 0 },
        { "application/grpc", "grpc-timeout: 2S", STATUS_OK, 2000 },
        { "application/grpc", "grpc-timeout: 1H", STATUS_OK, 3600000 },
        { "application/grpc", "grpc-timeout: 99999999n", STATUS_OK, 100 },
        { "application/grpc", "grpc-timeout: 1u", STATUS_OK, 1 },
        { "application/grpc", "grpc-timeout: 123456789S", STATUS_MALFORMED, 0 },
        { "application/grpc", "grpc-timeout: 5", STATUS_MALFORMED, 0 },
        { "application/grpc", "grpc-timeout: 5x", STATUS_MALFORMED, 0 },
        { "application/grpc", "connect-timeout-ms: x", STATUS_OK, 0 },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct parsed p;
        char fields[128];
        snprintf(fields, sizeof(fields), "content-type: %s\n%s\n", rows[i].type, rows[i].field);
        parse(&p, "POST", LIST, fields);
        assert_int_equal(p.status, rows[i].status);
        if (p.status == STATUS_OK)
            assert_int_equal(p.request.timeout_ms, rows[i].ms);
        else
            assert_non_null(p.words);
        arena_deinit(&p.arena);
    }
}

static void the_keepalive_interval_is_sane_or_gone(void **state)
{
    static const struct {
        const char *value;
        uint32_t seconds;
    } rows[] = { { "50", 50 }, { "0", 1 },  { "3601", 3600 }, { "99999999999999999999", 0 },
                 { "-5", 0 },  { "5s", 0 }, { "", 0 },        { "1", 1 } };
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct parsed p;
        char fields[128];
        snprintf(fields, sizeof(fields), JSON "keepalive-ping-interval: %s\n", rows[i].value);
        parse(&p, "POST", LIST, fields);
        assert_int_equal(p.request.keepalive_s, rows[i].seconds);
        arena_deinit(&p.arena);
    }
}

static void navigations_are_told_from_programs(void **state)
{
    static const struct {
        const char *method, *fields;
        enum caller caller;
    } rows[] = {
        { "GET", "sec-fetch-mode: navigate\n", CALLER_PAGE },
        { "GET", "accept: text/html,application/xhtml+xml\n", CALLER_PAGE },
        { "GET", "accept: text/html\nsec-fetch-mode: cors\n", CALLER_HTTP },
        { "GET", "accept: text/html\nx-requested-with: XMLHttpRequest\n", CALLER_HTTP },
        { "GET", "accept: */*\n", CALLER_HTTP },
        { "POST", "accept: text/html\n", CALLER_HTTP },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct parsed p;
        parse(&p, rows[i].method, "/", rows[i].fields);
        assert_int_equal(p.request.caller, rows[i].caller);
        arena_deinit(&p.arena);
    }
}

static void logs_never_show_a_query(void **state)
{
    struct buf text = { 0 };
    (void)state;

    exec_request_log_target(SLICE("/a\"b?access_token=secret"), &text);
    assert_string_equal(buf_text(&text), "/a\\\"b?...");
    buf_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_content_type_tells_the_protocol),
        cmocka_unit_test(the_first_place_that_holds_a_token_decides),
        cmocka_unit_test(our_parameters_leave_the_target_and_nothing_else_does),
        cmocka_unit_test(timeouts_are_read_or_refused),
        cmocka_unit_test(the_keepalive_interval_is_sane_or_gone),
        cmocka_unit_test(navigations_are_told_from_programs),
        cmocka_unit_test(logs_never_show_a_query),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
