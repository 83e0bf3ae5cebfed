/* What strangers may send instead of a message: each is refused with words, none costs much. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "connect/process_message.h"
#include "hex.h"

static enum status decode(enum process_method method, enum message_codec codec,
                          struct slice message, struct buf *error)
{
    struct arena arena;
    struct process_request request;

    arena_init(&arena, NULL, 0);
    enum status status = process_request_decode(method, codec, message, &arena, &request, error);
    arena_deinit(&arena);
    return status;
}

static void malformed_json_is_refused_with_a_reason(void **state)
{
    static const struct {
        enum process_method method;
        const char *json, *reason;
    } rows[] = {
        { METHOD_LIST, "", "empty" },
        { METHOD_LIST, "   ", "empty" },
        { METHOD_LIST, "[]", "object" },
        { METHOD_LIST, "null", "invalid JSON" },
        { METHOD_LIST, "{} {}", "invalid JSON" },
        { METHOD_LIST, "{", "invalid JSON" },
        { METHOD_LIST, "{\"a\":1,\"a\":2}", "invalid JSON" },
        { METHOD_LIST, "{\"a\":\"\xff\"}", "invalid JSON" },
        { METHOD_LIST, "{'a':1}", "invalid JSON" },
        { METHOD_START, "{}", "cmd is required" },
        { METHOD_START, "{\"process\":{}}", "cmd is required" },
        { METHOD_START, "{\"process\":{\"cmd\":\"\"}}", "cmd is required" },
        { METHOD_START, "{\"process\":[]}", "process must be an object" },
        { METHOD_START, "{\"process\":{\"cmd\":7}}", "cmd must be a text" },
        { METHOD_START, "{\"process\":{\"cmd\":\"l\\u0000s\"}}", "invalid JSON" },
        { METHOD_START, "{\"process\":{\"cmd\":\"ls\",\"args\":\"-l\"}}",
          "args must be an array of texts" },
        { METHOD_START, "{\"process\":{\"cmd\":\"ls\",\"args\":[1]}}",
          "args must be an array of texts" },
        { METHOD_START, "{\"process\":{\"cmd\":\"ls\",\"args\":[null]}}",
          "args must be an array of texts" },
        { METHOD_START, "{\"process\":{\"cmd\":\"ls\",\"envs\":[]}}", "envs must be an object" },
        { METHOD_START, "{\"process\":{\"cmd\":\"ls\",\"envs\":{\"A\":1}}}",
          "envs must be an object of texts" },
        { METHOD_START, "{\"process\":{\"cmd\":\"ls\",\"cwd\":{}}}", "cwd must be a text" },
        { METHOD_START, "{\"process\":{\"cmd\":\"ls\"},\"stdin\":\"true\"}",
          "stdin must be true or false" },
        { METHOD_START, "{\"process\":{\"cmd\":\"ls\"},\"pty\":true}", "pty must be an object" },
        { METHOD_START, "{\"process\":{\"cmd\":\"ls\"},\"pty\":{\"size\":[80,24]}}",
          "size must be an object" },
        { METHOD_START, "{\"process\":{\"cmd\":\"ls\"},\"pty\":{\"size\":{\"cols\":-1}}}",
          "cols must be a number" },
        { METHOD_START, "{\"command\":\"ls -la\"}", "command must be an array of texts" },
        { METHOD_START, "{\"command\":[]}", "command must name a program" },
        { METHOD_START, "{\"command\":[\"\"]}", "cmd is required" },
        { METHOD_START, "{\"command\":[\"ls\",1]}", "command must be an array of texts" },
        { METHOD_START, "{\"command\":[\"ls\"],\"process\":{\"cmd\":\"ls\"}}",
          "either command or process" },
        { METHOD_CONNECT, "{}", "exactly one of pid and tag" },
        { METHOD_CONNECT, "{\"process\":{}}", "exactly one of pid and tag" },
        { METHOD_CONNECT, "{\"process\":{\"pid\":1,\"tag\":\"x\"}}", "exactly one of pid and tag" },
        { METHOD_CONNECT, "{\"process\":{\"pid\":4294967296}}", "pid must be a number" },
        { METHOD_CONNECT, "{\"process\":{\"pid\":1.5}}", "pid must be a number" },
        { METHOD_CONNECT, "{\"process\":{\"pid\":\"\"}}", "pid must be a number" },
        { METHOD_CONNECT, "{\"process\":{\"pid\":\"0x1\"}}", "pid must be a number" },
        { METHOD_CONNECT, "{\"process\":{\"pid\":\"-1\"}}", "pid must be a number" },
        { METHOD_CONNECT, "{\"process\":{\"pid\":true}}", "pid must be a number" },
        { METHOD_SEND_INPUT, "{\"process\":{\"pid\":1},\"input\":{\"stdin\":\"a\"}}", "base64" },
        { METHOD_SEND_INPUT, "{\"process\":{\"pid\":1},\"input\":{\"stdin\":\"eR==\"}}", "base64" },
        { METHOD_SEND_INPUT, "{\"process\":{\"pid\":1},\"input\":{\"stdin\":\"e Q=\"}}", "base64" },
        { METHOD_SEND_INPUT, "{\"process\":{\"pid\":1},\"input\":{\"stdin\":[104,105]}}",
          "base64" },
        { METHOD_SEND_INPUT, "{\"process\":{\"pid\":1},\"input\":{\"stdin\":\"\",\"pty\":\"\"}}",
          "one of stdin and pty" },
        { METHOD_SEND_INPUT, "{\"process\":{\"pid\":1},\"input\":\"aGk=\"}",
          "input must be an object" },
        { METHOD_SEND_SIGNAL, "{\"process\":{\"pid\":1},\"signal\":\"SIGKILL\"}",
          "SIGNAL_SIGKILL" },
        { METHOD_SEND_SIGNAL, "{\"process\":{\"pid\":1},\"signal\":9.5}", "SIGNAL_SIGKILL" },
        { METHOD_SEND_SIGNAL, "{\"process\":{\"pid\":1},\"signal\":4294967305}", "SIGNAL_SIGKILL" },
        { METHOD_STREAM_INPUT, "{\"start\":{}}", "exactly one of pid and tag" },
        { METHOD_STREAM_INPUT, "{\"start\":{\"process\":{\"pid\":1}},\"keepalive\":{}}",
          "one of start, data" },
        { METHOD_STREAM_INPUT, "{\"data\":7}", "data must be an object" },
        { METHOD_UPDATE, "{\"pty\":{\"size\":{\"cols\":1}}}", "exactly one of pid and tag" },
        { METHOD_CLOSE_STDIN, "{\"process\":7}", "process must be an object" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct buf error = { 0 };
        struct slice json = slice_from_string(rows[i].json);
        enum status status = decode(rows[i].method, MESSAGE_JSON, json, &error);
        if (status != STATUS_MALFORMED || strstr(buf_text(&error), rows[i].reason) == NULL)
            fail_msg("%s: %s, \"%s\"", rows[i].json, status_name(status), buf_text(&error));
        buf_deinit(&error);
        assert_int_equal(decode(rows[i].method, MESSAGE_JSON, json, NULL), STATUS_MALFORMED);
    }
}

static void malformed_proto_is_refused(void **state)
{
    static const struct {
        enum process_method method;
        const char *proto;
    } rows[] = {
        { METHOD_LIST, "08" },                     /* no value */
        { METHOD_LIST, "80" },                     /* tag cut off */
        { METHOD_LIST, "0001" },                   /* field number 0 */
        { METHOD_LIST, "0e" },                     /* wire type 6 */
        { METHOD_LIST, "0f00" },                   /* wire type 7 */
        { METHOD_LIST, "0a05616263" },             /* longer than the message */
        { METHOD_LIST, "0affffffffffffffffff01" }, /* length of 2^64 - 1 */
        { METHOD_LIST, "08ffffffffffffffffff02" }, /* more than 64 bits */
        { METHOD_LIST, "0880808080808080808080808001" },
        { METHOD_LIST, "ffffffffff01" }, /* field number over 2^29 - 1 */
        { METHOD_LIST, "09010203" },     /* fixed64 cut off */
        { METHOD_LIST, "0d0102" },       /* fixed32 cut off */
        { METHOD_LIST, "0b" },           /* group without end */
        { METHOD_LIST, "0c" },           /* end without group */
        { METHOD_LIST, "0b14" },         /* end of another group */
        { METHOD_LIST,
          "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c" }, /* 17 deep */
        { METHOD_START, "" },                                                       /* no cmd */
        { METHOD_START, "0a020a00" },
        { METHOD_START, "0a030a02"
                        "6c" },           /* inner length over the outer message */
        { METHOD_START, "0a040a026c00" }, /* NUL in cmd */
        { METHOD_START, "0a080a026c73"
                        "12026100" }, /* NUL in an argument */
        { METHOD_START, "0a0c0a026c73"
                        "1a060a024100"
                        "1200" },
        { METHOD_START, "0a030a01ff" }, /* cmd is not UTF-8 */
        { METHOD_START, "0a040a026c73"
                        "1201ff" }, /* pty is no message */
        { METHOD_START, "0a040a026c73"
                        "1a01ff" }, /* tag is not UTF-8 */
        { METHOD_CONNECT, "" },
        { METHOD_CONNECT, "0a00" },
        { METHOD_CONNECT, "0a0108" },
        { METHOD_SEND_INPUT, "0a020805"
                             "12030a05"
                             "61" },
        { METHOD_STREAM_INPUT, "0a00" },
        { METHOD_STREAM_INPUT, "120212ff" },
        { METHOD_UPDATE, "1200" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct buf proto = { 0 };
        append_hex(&proto, rows[i].proto);
        enum status status = decode(rows[i].method, MESSAGE_PROTO, buf_slice(&proto), NULL);
        if (status != STATUS_MALFORMED)
            fail_msg("%s: %s", rows[i].proto, status_name(status));
        buf_deinit(&proto);
    }
}

static void malformed_events_are_refused(void **state)
{
    static const char *const json[] = {
        "",
        "[]",
        "{\"event\":7}",
        "{\"event\":{\"start\":7}}",
        "{\"event\":{\"start\":{\"pid\":-1}}}",
        "{\"event\":{\"data\":{\"stdout\":\"!\"}}}",
        "{\"event\":{\"data\":{\"stdout\":\"\",\"pty\":\"\"}}}",
        "{\"event\":{\"end\":{\"exitCode\":2147483648}}}",
        "{\"event\":{\"end\":{\"exitCode\":\"x\"}}}",
        "{\"event\":{\"end\":{\"exited\":1}}}",
        "{\"event\":{\"end\":{},\"start\":{}}}",
    };
    static const char *const proto[] = { "0a",         "0a0108",       "0a020a01",
                                         "0a0312020a", "0a0412020a05", "0a031a0108" };
    struct arena arena;
    struct process_event event;

    (void)state;
    arena_init(&arena, NULL, 0);
    for (size_t i = 0; i < sizeof(json) / sizeof(*json); i++)
        assert_int_equal(
            process_event_decode(MESSAGE_JSON, slice_from_string(json[i]), &arena, &event),
            STATUS_MALFORMED);
    for (size_t i = 0; i < sizeof(proto) / sizeof(*proto); i++) {
        struct buf bytes = { 0 };
        append_hex(&bytes, proto[i]);
        assert_int_equal(process_event_decode(MESSAGE_PROTO, buf_slice(&bytes), &arena, &event),
                         STATUS_MALFORMED);
        buf_deinit(&bytes);
    }
    arena_deinit(&arena);
}

static enum status decode_nested(size_t bracket_count)
{
    struct buf message = { 0 };

    buf_append(&message, SLICE("{\"a\":"));
    for (size_t i = 0; i < bracket_count; i++)
        buf_append_byte(&message, '[');
    for (size_t i = 0; i < bracket_count; i++)
        buf_append_byte(&message, ']');
    buf_append_byte(&message, '}');
    enum status status = decode(METHOD_LIST, MESSAGE_JSON, buf_slice(&message), NULL);
    buf_deinit(&message);
    return status;
}

static void nesting_and_number_of_values_are_bounded(void **state)
{
    struct buf message = { 0 };
    struct buf error = { 0 };

    (void)state;
    assert_int_equal(decode_nested(31), STATUS_OK); /* and the object around: 32 */
    assert_int_equal(decode_nested(32), STATUS_MALFORMED);

    buf_append(&message, SLICE("{\"a\":"));
    for (int i = 0; i < 100000; i++)
        buf_append_byte(&message, '[');
    assert_int_equal(decode(METHOD_LIST, MESSAGE_JSON, buf_slice(&message), &error),
                     STATUS_MALFORMED);
    assert_non_null(strstr(buf_text(&error), "too deeply"));
    buf_deinit(&message);
    buf_deinit(&error);

    buf_append(&message, SLICE("{\"a\":[[]"));
    for (int i = 0; i < 100000; i++)
        buf_append(&message, SLICE(",[]"));
    buf_append(&message, SLICE("]}"));
    assert_int_equal(decode(METHOD_LIST, MESSAGE_JSON, buf_slice(&message), NULL),
                     STATUS_MALFORMED);
    buf_deinit(&message);

    /* Brackets and commas inside of texts count for nothing. */
    buf_append(&message, SLICE("{\"a\":\"\\\\\\\""));
    for (int i = 0; i < 100000; i++)
        buf_append(&message, SLICE("[{,"));
    buf_append(&message, SLICE("\"}"));
    assert_int_equal(decode(METHOD_LIST, MESSAGE_JSON, buf_slice(&message), NULL), STATUS_OK);
    buf_deinit(&message);

    struct buf config = { 0 };
    append_hex(&config, "0a026c73");
    for (int i = 0; i < 70000; i++)
        append_hex(&config, "1200");
    append_hex(&message, "0ae4c508"); /* 4 + 2 × 70000 = 140004 */
    buf_append(&message, buf_slice(&config));
    assert_int_equal(config.len, 140004);
    assert_int_equal(decode(METHOD_START, MESSAGE_PROTO, buf_slice(&message), &error),
                     STATUS_MALFORMED);
    assert_string_equal(buf_text(&error), "too many args");
    buf_deinit(&config);
    buf_deinit(&message);
    buf_deinit(&error);
}

/* No cut of a good message may read past its end (ASan watches) or be taken for something that it
 * is not. */
static void every_cut_of_a_message_is_survived(void **state)
{
    static const char json[] =
        "{\"process\":{\"cmd\":\"ls\",\"args\":[\"-l\"],\"envs\":{\"A\":\"b\"}},\"tag\":\"t\"}";
    struct buf proto = { 0 };

    (void)state;
    append_hex(&proto, "0a1d0a072f62696e2f6c7312022d6c12001a060a014112016222042f746d7012070a0508501"
                       "0ac021a01742000");
    for (size_t len = 0; len < sizeof(json) - 1; len++) {
        char *exact = len > 0 ? memcpy(malloc(len), json, len) : NULL;
        assert_int_equal(decode(METHOD_START, MESSAGE_JSON, slice_of(exact, len), NULL),
                         STATUS_MALFORMED);
        free(exact);
    }
    for (size_t len = 1; len < proto.len; len++) {
        char *exact = memcpy(malloc(len), buf_slice(&proto).ptr, len);
        bool is_whole = len == 31 || len == 40 || len == 43; /* between two fields */
        assert_int_equal(decode(METHOD_START, MESSAGE_PROTO, slice_of(exact, len), NULL),
                         is_whole ? STATUS_OK : STATUS_MALFORMED);
        free(exact);
    }
    buf_deinit(&proto);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_json_is_refused_with_a_reason),
        cmocka_unit_test(malformed_proto_is_refused),
        cmocka_unit_test(malformed_events_are_refused),
        cmocka_unit_test(nesting_and_number_of_values_are_bounded),
        cmocka_unit_test(every_cut_of_a_message_is_survived),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
