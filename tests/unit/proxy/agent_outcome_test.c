/* agent_outcome_test.c — what is told of a call whose agent ended it with an error, in each protocol; and that its bytes pass
 * untouched all the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy_fixture.h"

#define AUTH "authorization: Bearer $T\n"
#define BYTES(text)                                                                                \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

static const struct outcome_case {
    const char *path, *asks, *head; /* content types of request and response; more of the head */
    unsigned status;
    struct slice body;
    const char *trailers;
    const char *told; /* the code; NULL: ok */
} cases[] = {
    { "Start", "application/connect+json", "", 200, BYTES("\2\0\0\0\2{}"), "", NULL },
    { "Start", "application/connect+json", "", 200,
      BYTES("\0\0\0\0\2{}\2\0\0\0\x1e{\"error\":{\"code\":\"not_found\"}}"), "", "not_found" },
    { "Start", "application/connect+proto", "", 200,
      BYTES("\2\0\0\0\x25{ \"error\" : {\"code\" : \"unavailable\"}}"), "", "unavailable" },
    { "Start", "application/connect+json", "", 200,
      BYTES("\2\0\0\0\x1c{\"error\":{\"message\":\"odd\"}} "), "", "unknown" },
    /* metadata is no error, whatever it says */
    { "Start", "application/connect+json", "", 200,
      BYTES("\2\0\0\0\x19{\"metadata\":{\"a\":[\"b\"]}} "), "", NULL },
    /* an event that talks of errors is not the end of the stream */
    { "Start", "application/connect+json", "", 200,
      BYTES("\0\0\0\0\x1e{\"error\":{\"code\":\"not_found\"}}\2\0\0\0\2{}"), "", NULL },
    /* compressed: cannot be told without inflating it */
    { "Start", "application/connect+json", "", 200,
      BYTES("\3\0\0\0\x1e{\"error\":{\"code\":\"not_found\"}}"), "", NULL },
    { "List", "application/grpc", "", 200, BYTES("\0\0\0\0\0"), "grpc-status: 0\n", NULL },
    { "List", "application/grpc", "", 200, BYTES("\0\0\0\0\0"), "grpc-status: 9\n",
      "failed_precondition" },
    { "List", "application/grpc", "grpc-status: 5\n", 200, BYTES(""), "", "not_found" },
    { "List", "application/grpc", "", 200, BYTES(""), "grpc-status: 99\n", "unknown" },
    { "Start", "application/grpc-web+proto", "", 200, BYTES("\x80\0\0\0\x10grpc-status: 0\r\n"), "",
      NULL },
    { "Start", "application/grpc-web+proto", "", 200,
      BYTES("\0\0\0\0\0\x80\0\0\0\x10grpc-status:16\r\n"), "", "unauthenticated" },
    { "List", "application/json", "", 404, BYTES("{\"code\":\"not_found\"}"), "", "not_found" },
    { "List", "application/json", "", 400, BYTES("{\"code\":\"out_of_range\",\"message\":\"x\"}"),
      "", "out_of_range" },
    { "List", "application/json", "", 503, BYTES("<html>"), "", "unavailable" },
    { "List", "application/json", "", 200, BYTES("{\"code\":\"not_found\"}"), "", NULL },
};

static void run_case(struct fixture *f, struct client *client, const struct outcome_case *c)
{
    struct request request = { 0 };
    struct buf log = { 0 };
    char line[96], fields[600], told[64];
    size_t call = f->call_count;

    snprintf(line, sizeof(line), "POST /process.Process/%s", c->path);
    snprintf(fields, sizeof(fields), "content-type: %s\n%s", c->asks, AUTH);
    request_send(&request, client, line, fields, "");
    TURN_UNTIL(f, f->call_count == call + 1 && f->calls[call].ended);
    snprintf(fields, sizeof(fields), "content-type: %s\n%s", c->asks, c->head);
    agent_answer(&f->calls[call], c->status, fields, c->head[0] != '\0');
    if (c->head[0] == '\0') {
        for (size_t i = 0; i < c->body.len; i++) /* however it is cut */
            agent_write(&f->calls[call], slice_of(c->body.ptr + i, 1));
        agent_end(&f->calls[call], c->trailers);
    }
    TURN_UNTIL(f, request.ended);
    assert_false(request.was_reset);
    assert_int_equal(request.body.len, c->body.len);
    request_close(&request);
    TURN_UNTIL(f, proxy_call_count(f->proxy) == 0);
    fixture_read_log(f, &log);
    snprintf(told, sizeof(told), "\"reason\":\"ok\",\"code\":\"%s\"",
             c->told != NULL ? c->told : "");
    if (buf_has(&log, "\"code\"") != (c->told != NULL) || (c->told != NULL && !buf_has(&log, told)))
        fail_msg("case %zu: %s", (size_t)(c - cases), buf_text(&log));
    buf_deinit(&log);
}

static void the_code_is_what_the_agent_said(void **state)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct client client;

        fixture_setup(state);
        client_open(&client, *state, false);
        run_case(*state, &client, &cases[i]);
        client_close(&client);
        fixture_teardown(state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(the_code_is_what_the_agent_said) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
