/* What a request to a published port says: where its tokens are, what of it is ours, who looks at the
 * answer, which page asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "proxy/port_request.h"

#define OURS "agentcomputer_access_session"

struct parsed {
    struct arena arena;
    struct head head;
    struct port_request request;
    enum status status;
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
    if (slice_equal(fields_value(&p->head.fields, FIELD_UPGRADE), SLICE("websocket")))
        p->head.protocol = SLICE("websocket");
    p->status = port_request_parse(&p->head, &p->request);
}

static void assert_text(struct slice got, const char *expected)
{
    char text[512];

    assert_string_equal(slice_to_string(got, text, sizeof(text)), expected);
}

static void tokens_are_found_in_every_place_in_their_order(void **state)
{
    static const char *const expected[] = { "c1", "c2", "field", "q1", "q2", "sub", "bearer" };
    static const enum token_place places[] = { PLACE_COOKIE,       PLACE_COOKIE, PLACE_FIELD,
                                               PLACE_QUERY,        PLACE_QUERY,  PLACE_SUBPROTOCOL,
                                               PLACE_AUTHORIZATION };
    struct parsed p;
    (void)state;

    parse(&p, "GET", "/a?x=1&access_token=q1&token=q2",
          "authorization: bearer bearer\nsec-websocket-protocol: chat, access-token.sub\n"
          "x-access-token: field\ncookie: a=b; " OURS "=c1\ncookie: " OURS "=c2; z=" OURS "\n");
    assert_int_equal(p.status, STATUS_OK);
    assert_int_equal(p.request.token_count, 7);
    for (size_t i = 0; i < 7; i++) {
        assert_text(p.request.tokens[i].text, expected[i]);
        assert_int_equal(p.request.tokens[i].place, places[i]);
        assert_false(p.request.tokens[i].is_ours);
    }
    arena_deinit(&p.arena);
}

static void no_place_is_tried_for_ever(void **state)
{
    struct parsed p;
    (void)state;

    parse(&p, "GET", "/?token=1&token=2&token=3&token=4&token=5",
          "cookie: " OURS "=1; " OURS "=2; " OURS "=3; " OURS "=4; " OURS "=5\n"
          "sec-websocket-protocol: access-token.1, access-token.2, access-token.3\n");
    assert_int_equal(p.status, STATUS_OK);
    assert_int_equal(p.request.token_count,
                     PORT_COOKIES_TRIED + PORT_QUERY_TRIED + PORT_SUBPROTOCOLS_TRIED);
    arena_deinit(&p.arena);
}

static void fields_that_may_stand_once_are_not_guessed_about(void **state)
{
    static const char *const rows[] = {
        "authorization: Bearer a\nauthorization: Bearer b\n",
        "authorization: Basic x\nauthorization: Bearer b\n",
        "x-access-token: a\nx-access-token: a\n",
    };
    struct parsed p;
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        parse(&p, "GET", "/", rows[i]);
        assert_int_equal(p.status, STATUS_TOKEN_DUPLICATE);
        arena_deinit(&p.arena);
    }
    parse(&p, "GET", "/?access_token=1&access_token=2&access_token=3", "");
    assert_int_equal(p.status, STATUS_TOKEN_DUPLICATE);
    arena_deinit(&p.arena);
}

static void only_our_cookie_leaves_and_every_other_byte_stays(void **state)
{
    static const struct {
        const char *before, *after;
    } rows[] = {
        { "a=1; b=2", "a=1; b=2" },
        { "a=1;b=\"x y\" ;  c", "a=1;b=\"x y\" ;  c" },
        { OURS "=t", "" },
        { OURS "=t; a=1", "a=1" },
        { "a=1; " OURS "=t", "a=1" },
        { "a=1; " OURS "=t; b=2", "a=1; b=2" },
        { "a=1;" OURS "=t;b=2", "a=1;b=2" },
        { OURS "=t; " OURS "=u; a==; ;", "a==;" }, /* an empty end is no cookie */
        { "x" OURS "=t; " OURS "x=u", "x" OURS "=t; " OURS "x=u" },
        { "Agentcomputer_access_session=t", "Agentcomputer_access_session=t" },
        { " " OURS " = t ; a=1", "a=1" },
        { OURS, "" },
        { "", "" },
    };
    struct arena arena = { 0 };
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct slice left = port_cookies_without_ours(slice_from_string(rows[i].before), &arena);
        assert_text(left, rows[i].after);
    }
    arena_deinit(&arena);
}

static void an_app_cannot_set_our_cookie(void **state)
{
    (void)state;
    assert_true(port_sets_our_cookie(SLICE(OURS "=x; Path=/")));
    assert_true(port_sets_our_cookie(SLICE(" " OURS " =")));
    assert_true(port_sets_our_cookie(SLICE(OURS)));
    assert_false(port_sets_our_cookie(SLICE("sid=" OURS "; Path=/")));
    assert_false(port_sets_our_cookie(SLICE("a=1; " OURS "=x")));
}

static void only_parameters_that_carry_our_token_leave_the_query(void **state)
{
    static const struct {
        const char *before, *after, *after_all;
    } rows[] = {
        { "/a%2Fb//c?x=%00&y", "/a%2Fb//c?x=%00&y", "/a%2Fb//c?x=%00&y" },
        { "/?access_token=T", "/", "/" },
        { "/p?access_token=T&b=2", "/p?b=2", "/p?b=2" },
        { "/p?a=1&access_token=T", "/p?a=1", "/p?a=1" },
        { "/p?a=1&&token=T&b=&=", "/p?a=1&&b=&=", "/p?a=1&&b=&=" },
        { "/p?token=theirs&access_token=theirs", "/p?token=theirs&access_token=theirs",
          "/p?token=theirs" },
        { "/p?token=theirs&token=T", "/p?token=theirs", "/p?token=theirs" },
        { "/p?my_access_token=T&Token=T", "/p?my_access_token=T&Token=T",
          "/p?my_access_token=T&Token=T" },
        { "//evil.example/?access_token=T", "//evil.example/", "//evil.example/" },
        { "*", "*", "*" },
    };
    struct parsed p;
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        parse(&p, "GET", rows[i].before, "");
        for (size_t t = 0; t < p.request.token_count; t++)
            p.request.tokens[t].is_ours = slice_equal(p.request.tokens[t].text, SLICE("T"));
        assert_text(port_request_target(&p.request, p.head.target, false, &p.arena), rows[i].after);
        assert_text(port_request_target(&p.request, p.head.target, true, &p.arena),
                    rows[i].after_all);
        arena_deinit(&p.arena);
    }
}

static void our_subprotocol_leaves_and_the_others_stay(void **state)
{
    static const struct {
        const char *before, *after, *only;
    } rows[] = {
        { "chat, v2.chat", "chat, v2.chat", "" },  { "access-token.x", "", "access-token.x" },
        { "access-token.x, chat", "chat", "" },    { "chat,access-token.x,v2", "chat, v2", "" },
        { "chat , , access-token.x", "chat", "" }, { "Access-Token.x", "Access-Token.x", "" },
    };
    struct parsed p;
    char fields[128];
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        snprintf(fields, sizeof(fields), "upgrade: websocket\nsec-websocket-protocol: %s\n",
                 rows[i].before);
        parse(&p, "GET", "/", fields);
        assert_true(p.request.is_websocket);
        assert_text(p.request.only_subprotocol, rows[i].only);
        assert_text(port_subprotocols_without_ours(slice_from_string(rows[i].before), &p.arena),
                    rows[i].after);
        arena_deinit(&p.arena);
    }
}

static void who_looks_at_the_answer_is_told_by_the_request(void **state)
{
    static const struct {
        const char *method, *fields;
        enum caller caller;
        bool is_navigation;
    } rows[] = {
        { "GET", "sec-fetch-mode: navigate\naccept: */*\n", CALLER_PAGE, true },
        { "GET", "accept: text/html,application/xhtml+xml\n", CALLER_PAGE, true },
        { "HEAD", "accept: text/html\n", CALLER_PAGE, true },
        { "GET", "sec-fetch-mode: cors\naccept: text/html\n", CALLER_HTTP, false },
        { "GET", "accept: */*\n", CALLER_HTTP, false },
        { "GET", "accept: text/html\nx-requested-with: XMLHttpRequest\n", CALLER_HTTP, false },
        { "POST", "sec-fetch-mode: navigate\naccept: text/html\n", CALLER_HTTP, false },
        { "GET", "accept: text/html\nupgrade: websocket\n", CALLER_HTTP, false },
        { "POST", "content-type: application/grpc\n", CALLER_GRPC, false },
        { "POST", "content-type: application/grpc+proto; x=y\n", CALLER_GRPC, false },
        { "POST", "content-type: application/grpc-web-text\n", CALLER_GRPC_WEB_TEXT, false },
        { "POST", "content-type: application/grpc-web+proto\n", CALLER_GRPC_WEB, false },
        { "POST", "content-type: application/grpcx\n", CALLER_HTTP, false },
        { "POST", "content-type: application/connect+json\n", CALLER_CONNECT_STREAM, false },
        { "POST", "content-type: application/json\n", CALLER_HTTP, false },
    };
    struct parsed p;
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        parse(&p, rows[i].method, "/", rows[i].fields);
        assert_int_equal(p.request.caller, rows[i].caller);
        assert_int_equal(p.request.is_navigation, rows[i].is_navigation);
        arena_deinit(&p.arena);
    }
}

static void a_preflight_is_no_other_options_request(void **state)
{
    struct parsed p;
    (void)state;

    parse(&p, "OPTIONS", "/", "origin: https://x\naccess-control-request-method: PUT\n");
    assert_true(p.request.is_preflight);
    arena_deinit(&p.arena);
    parse(&p, "OPTIONS", "/", "origin: https://x\n");
    assert_false(p.request.is_preflight);
    arena_deinit(&p.arena);
    parse(&p, "POST", "/", "origin: https://x\naccess-control-request-method: PUT\n");
    assert_false(p.request.is_preflight);
    arena_deinit(&p.arena);
}

static void a_cookie_acts_only_for_pages_of_its_own_host(void **state)
{
    static const struct {
        const char *fields;
        bool is_tls, is_own;
    } rows[] = {
        { "origin: https://3000--box.example.com\n", true, true },
        { "origin: https://3000--box.example.com:443\n", true, true },
        { "origin: HTTPS://3000--BOX.example.com\n", true, true },
        { "origin: http://3000--box.example.com\n", true, false },
        { "origin: https://3000--box.example.com\n", false, true },
        { "origin: http://3000--box.example.com:80\n", false, true },
        { "origin: https://3001--box.example.com\n", true, false },
        { "origin: https://3000--box.example.com:8443\n", true, false },
        { "origin: https://3000--box.example.com.evil.example\n", true, false },
        { "origin: https://3000--box.example.com/\n", true, false },
        { "origin: https://3000--box.example.com@evil.example\n", true, false },
        { "origin: null\n", true, false },
        { "origin: \n", true, false },
        { "origin: file://3000--box.example.com\n", false, false },
        { "origin: https://3000--box.example.com\norigin: https://evil.example\n", true, false },
        { "", true, true }, /* a program */
        { "sec-fetch-site: cross-site\n", true, false },
        { "referer: https://evil.example/\n", true, false },
        { "upgrade: websocket\n", true, false }, /* browsers always say where one comes from */
        { "upgrade: websocket\norigin: https://3000--box.example.com\n", true, true },
    };
    struct parsed p;
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        parse(&p, "POST", "/", rows[i].fields);
        assert_int_equal(
            port_origin_is_own(&p.head, SLICE("3000--box.example.com"), rows[i].is_tls, &p.arena),
            rows[i].is_own);
        arena_deinit(&p.arena);
    }
    parse(&p, "POST", "/", "origin: http://3000--box.localhost:8080\n");
    assert_true(port_origin_is_own(&p.head, SLICE("3000--box.localhost:8080"), false, &p.arena));
    assert_false(port_origin_is_own(&p.head, SLICE("3000--box.localhost:8081"), false, &p.arena));
    arena_deinit(&p.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_are_found_in_every_place_in_their_order),
        cmocka_unit_test(no_place_is_tried_for_ever),
        cmocka_unit_test(fields_that_may_stand_once_are_not_guessed_about),
        cmocka_unit_test(only_our_cookie_leaves_and_every_other_byte_stays),
        cmocka_unit_test(an_app_cannot_set_our_cookie),
        cmocka_unit_test(only_parameters_that_carry_our_token_leave_the_query),
        cmocka_unit_test(our_subprotocol_leaves_and_the_others_stay),
        cmocka_unit_test(who_looks_at_the_answer_is_told_by_the_request),
        cmocka_unit_test(a_preflight_is_no_other_options_request),
        cmocka_unit_test(a_cookie_acts_only_for_pages_of_its_own_host),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
