/* Every message in both codecs: the same words in, the same struct out; golden bytes (each checked
 * once with protoc, which knows nothing of our code) in the other direction. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "connect/process_message.h"
#include "hex.h"

static void describe_pty(struct buf *into, bool has_pty, bool has_size, struct pty_size size)
{
    if (has_pty && has_size)
        buf_printf(into, " pty=%ux%u", size.cols, size.rows);
    else if (has_pty)
        buf_printf(into, " pty");
}

static void describe_start(struct buf *into, const struct start_request *start)
{
    const struct process_config *config = &start->process;

    buf_printf(into, " cmd=%.*s", SLICE_ARGS(config->cmd));
    for (size_t i = 0; i < config->arg_count; i++)
        buf_printf(into, " arg=%.*s", SLICE_ARGS(config->args[i]));
    for (size_t i = 0; i < config->env_count; i++)
        buf_printf(into, " %.*s=%.*s", SLICE_ARGS(config->envs[i].name),
                   SLICE_ARGS(config->envs[i].value));
    if (config->cwd.len > 0)
        buf_printf(into, " cwd=%.*s", SLICE_ARGS(config->cwd));
    describe_pty(into, start->has_pty, start->has_pty_size, start->pty);
    if (start->tag.len > 0)
        buf_printf(into, " tag=%.*s", SLICE_ARGS(start->tag));
    buf_printf(into, " stdin=%s%s", start->has_stdin ? "" : "default-",
               start->stdin_enabled ? "on" : "off");
}

static void describe_selecting(struct buf *into, const struct process_request *request)
{
    static const char *const inputs[] = { "", " stdin=", " pty=" };
    static const char *const streams[] = { "", " start", " data", " keepalive" };

    buf_append(into, slice_from_string(streams[request->stream_input]));
    if (request->selector.has_pid)
        buf_printf(into, " pid=%u", request->selector.pid);
    if (request->selector.has_tag)
        buf_printf(into, " tag=%.*s", SLICE_ARGS(request->selector.tag));
    describe_pty(into, request->has_pty, request->has_pty_size, request->pty);
    buf_append(into, slice_from_string(inputs[request->input.kind]));
    buf_append_json_text(into, request->input.bytes);
    if (request->signal != 0)
        buf_printf(into, " signal=%d", request->signal);
}

static struct buf describe_request(enum process_method method,
                                   const struct process_request *request)
{
    struct buf text = { 0 };

    if (method == METHOD_START)
        describe_start(&text, &request->start);
    else
        describe_selecting(&text, request);
    return text;
}

static void expect_request(enum process_method method, enum message_codec codec,
                           struct slice message, const char *expected)
{
    struct arena arena;
    struct process_request request;
    struct buf error = { 0 };

    arena_init(&arena, NULL, 0);
    if (process_request_decode(method, codec, message, &arena, &request, &error) != STATUS_OK)
        fail_msg("%.*s: %s", SLICE_ARGS(message), buf_text(&error));
    struct buf text = describe_request(method, &request);
    assert_string_equal(buf_text(&text), expected);
    buf_deinit(&text);
    buf_deinit(&error);
    arena_deinit(&arena);
}

static void requests_say_the_same_in_both_codecs(void **state)
{
    static const struct {
        enum process_method method;
        const char *json, *proto, *expected;
    } rows[] = {
        { METHOD_START,
          "{\"process\":{\"cmd\":\"/bin/"
          "ls\",\"args\":[\"-l\",\"\"],\"envs\":{\"A\":\"b\"},\"cwd\":\"/tmp\"},"
          "\"pty\":{\"size\":{\"cols\":80,\"rows\":300}},\"tag\":\"t\",\"stdin\":false}",
          "0a1d0a072f62696e2f6c7312022d6c12001a060a014112016222042f746d7012070a05085010ac021a017420"
          "00",
          " cmd=/bin/ls arg=-l arg= A=b cwd=/tmp pty=80x300 tag=t stdin=off" },
        { METHOD_START, "{\"process\":{\"cmd\":\"ls\"}}", "0a040a026c73",
          " cmd=ls stdin=default-on" },
        { METHOD_START, "{\"process\":{\"cmd\":\"ls\"},\"stdin\":true,\"pty\":{}}",
          "0a040a026c7312002001", " cmd=ls pty stdin=on" },
        { METHOD_CONNECT, "{\"process\":{\"pid\":4294967295}}", "0a0608ffffffff0f",
          " pid=4294967295" },
        { METHOD_CONNECT, "{\"process\":{\"tag\":\"web\"}}", "0a051203776562", " tag=web" },
        { METHOD_LIST, "{}", "", "" },
        { METHOD_UPDATE, "{\"process\":{\"pid\":7},\"pty\":{\"size\":{\"cols\":1,\"rows\":2}}}",
          "0a02080712060a0408011002", " pid=7 pty=1x2" },
        { METHOD_UPDATE, "{\"process\":{\"pid\":7}}", "0a020807", " pid=7" },
        { METHOD_SEND_INPUT, "{\"process\":{\"pid\":7},\"input\":{\"stdin\":\"aGkA\"}}",
          "0a02080712050a03686900", " pid=7 stdin=hi\\u0000" },
        { METHOD_SEND_INPUT, "{\"process\":{\"pid\":7},\"input\":{\"pty\":\"\"}}",
          "0a02080712021200", " pid=7 pty=" },
        { METHOD_SEND_INPUT, "{\"process\":{\"pid\":7}}", "0a020807", " pid=7" },
        { METHOD_STREAM_INPUT, "{\"start\":{\"process\":{\"tag\":\"x\"}}}", "0a050a03120178",
          " start tag=x" },
        { METHOD_STREAM_INPUT, "{\"data\":{\"input\":{\"stdin\":\"eQ==\"}}}", "120512030a0179",
          " data stdin=y" },
        { METHOD_STREAM_INPUT, "{\"keepalive\":{}}", "1a00", " keepalive" },
        { METHOD_STREAM_INPUT, "{}", "", "" },
        { METHOD_SEND_SIGNAL, "{\"process\":{\"pid\":7},\"signal\":\"SIGNAL_SIGKILL\"}",
          "0a0208071009", " pid=7 signal=9" },
        { METHOD_SEND_SIGNAL, "{\"process\":{\"pid\":7},\"signal\":-3}",
          "0a02080710fdffffffffffffffff01", " pid=7 signal=-3" },
        { METHOD_SEND_SIGNAL, "{\"process\":{\"pid\":7}}", "0a020807", " pid=7" },
        { METHOD_CLOSE_STDIN, "{\"process\":{\"pid\":0}}", "0a020800", " pid=0" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct buf proto = { 0 };
        append_hex(&proto, rows[i].proto);
        expect_request(rows[i].method, MESSAGE_JSON, slice_from_string(rows[i].json),
                       rows[i].expected);
        expect_request(rows[i].method, MESSAGE_PROTO, buf_slice(&proto), rows[i].expected);
        buf_deinit(&proto);
    }
}

static void json_is_read_as_tolerantly_as_proto3_asks(void **state)
{
    static const struct {
        enum process_method method;
        const char *json, *expected;
    } rows[] = {
        { METHOD_START,
          " {\n\"process\" : {\"cmd\":\"ls\", \"args\":null, \"envs\":null, \"cwd\":null}, "
          "\"pty\":null,"
          "\"tag\":null, \"stdin\":null, \"command\":null} \n",
          " cmd=ls stdin=default-on" },
        { METHOD_START,
          "{\"later\":[{\"x\":[1.5,true]}],\"process\":{\"cmd\":\"ls\",\"later\":1},\"pty\":{"
          "\"later\":0,\"size\":null}}",
          " cmd=ls pty stdin=default-on" },
        { METHOD_START,
          "{\"process\":{\"cmd\":\"ls\"},\"pty\":{\"size\":{\"cols\":\"80\",\"rows\":2.4e1}}}",
          " cmd=ls pty=80x24 stdin=default-on" },
        { METHOD_START, "{\"process\":{\"cmd\":\"\xc3\xa9\",\"args\":[\"\\ud83d\\ude00\"]}}",
          " cmd=\xc3\xa9 arg=\xf0\x9f\x98\x80 stdin=default-on" },
        { METHOD_CONNECT, "{\"process\":{\"pid\":\"12\"}}", " pid=12" },
        { METHOD_CONNECT, "{\"process\":{\"pid\":null,\"tag\":\"x\"}}", " tag=x" },
        { METHOD_SEND_SIGNAL, "{\"process\":{\"pid\":1},\"signal\":15}", " pid=1 signal=15" },
        { METHOD_SEND_SIGNAL, "{\"process\":{\"pid\":1},\"signal\":\"SIGNAL_SIGTERM\"}",
          " pid=1 signal=15" },
        { METHOD_SEND_INPUT, "{\"process\":{\"pid\":1},\"input\":{\"stdin\":\"eQ\"}}",
          " pid=1 stdin=y" },
        { METHOD_SEND_INPUT,
          "{\"process\":{\"pid\":1},\"input\":{\"stdin\":\"-_8=\",\"pty\":null}}",
          " pid=1 stdin=\xef\xbf\xbd\xef\xbf\xbd" },
        { METHOD_LIST, "{\"all\":true}", "" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        expect_request(rows[i].method, MESSAGE_JSON, slice_from_string(rows[i].json),
                       rows[i].expected);
}

static void start_takes_a_plain_command(void **state)
{
    (void)state;
    expect_request(METHOD_START, MESSAGE_JSON, SLICE("{\"command\":[\"ls\",\"-la\"]}"),
                   " cmd=ls arg=-la stdin=default-on");
    expect_request(METHOD_START, MESSAGE_JSON, SLICE("{\"command\": [\"pwd\"], \"process\": null}"),
                   " cmd=pwd stdin=default-on");
    expect_request(METHOD_START, MESSAGE_JSON,
                   SLICE("{\"command\":[\"sh\",\"-c\",\"env\"],\"cwd\":\"/"
                         "tmp\",\"envs\":{\"A\":\"1\"},\"tag\":\"t\","
                         "\"stdin\":false,\"pty\":{\"size\":{\"cols\":80,\"rows\":24}}}"),
                   " cmd=sh arg=-c arg=env A=1 cwd=/tmp pty=80x24 tag=t stdin=off");
}

static void proto_is_read_as_every_reader_reads_it(void **state)
{
    static const struct {
        enum process_method method;
        const char *proto, *expected;
    } rows[] = {
        /* unknown fields of each wire type, a nested group among them */
        { METHOD_CONNECT,
          "f80101"
          "f9010102030405060708"
          "fa0103616263"
          "fd0101020304"
          "fb0108011b1cfc01"
          "0a020805",
          " pid=5" },
        /* known number, other wire type: unknown */
        { METHOD_CONNECT,
          "0801"
          "0a020805",
          " pid=5" },
        { METHOD_SEND_SIGNAL,
          "0a020805"
          "120109",
          " pid=5" },
        /* a message in two pieces is merged; the last member of a oneof wins */
        { METHOD_CONNECT,
          "0a020805"
          "0a03120178",
          " tag=x" },
        { METHOD_CONNECT, "0a051201780805", " pid=5" },
        { METHOD_START,
          "0a040a026c73"
          "0a0412022d6c"
          "0a0412022d61",
          " cmd=ls arg=-l arg=-a stdin=default-on" },
        { METHOD_START,
          "0a040a026c73"
          "0a040a02707320012000",
          " cmd=ps stdin=off" },
        /* the last entry of a map's key wins; absent key or value is the empty text */
        { METHOD_START,
          "0a1c"
          "0a026c73"
          "1a060a014112016f"
          "1a060a014212016f"
          "1a060a014112016e",
          " cmd=ls B=o A=n stdin=default-on" },
        { METHOD_START,
          "0a0b"
          "0a026c73"
          "1a030a0141"
          "1a00",
          " cmd=ls A= = stdin=default-on" },
        /* varints longer than need be; 64 bits where 32 are declared */
        { METHOD_CONNECT, "0a0408858000", " pid=5" },
        { METHOD_CONNECT, "0a06088580808010", " pid=5" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct buf proto = { 0 };
        append_hex(&proto, rows[i].proto);
        expect_request(rows[i].method, MESSAGE_PROTO, buf_slice(&proto), rows[i].expected);
        buf_deinit(&proto);
    }
}

static void assert_same_event(const struct process_event *a, const struct process_event *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->pid, b->pid);
    assert_true(slice_equal(a->bytes, b->bytes));
    assert_int_equal(a->exit_code, b->exit_code);
    assert_int_equal(a->exited, b->exited);
    assert_true(slice_equal(a->status, b->status));
    assert_true(slice_equal(a->error, b->error));
}

static void expect_event(enum message_codec codec, const struct process_event *event,
                         struct slice expected)
{
    struct arena arena;
    struct process_event read_back;
    struct buf encoded = { 0 };

    arena_init(&arena, NULL, 0);
    process_event_encode(codec, event, &encoded);
    assert_int_equal(encoded.len, expected.len);
    assert_memory_equal(buf_slice(&encoded).ptr, expected.ptr, expected.len);
    assert_int_equal(process_event_decode(codec, buf_slice(&encoded), &arena, &read_back),
                     STATUS_OK);
    buf_deinit(&encoded); /* what was read lives in the arena */
    assert_same_event(event, &read_back);
    arena_deinit(&arena);
}

static void events_have_these_bytes_and_read_back(void **state)
{
    static const struct {
        struct process_event event;
        const char *json, *proto;
    } rows[] = {
        { { .kind = EVENT_START, .pid = 300 },
          "{\"event\":{\"start\":{\"pid\":300}}}",
          "0a050a0308ac02" },
        { { .kind = EVENT_STDOUT, .bytes = { "hi", 2 } },
          "{\"event\":{\"data\":{\"stdout\":\"aGk=\"}}}",
          "0a0612040a026869" },
        { { .kind = EVENT_STDERR, .bytes = { "", 0 } },
          "{\"event\":{\"data\":{\"stderr\":\"\"}}}",
          "0a0412021200" },
        { { .kind = EVENT_PTY, .bytes = { "\xff", 1 } },
          "{\"event\":{\"data\":{\"pty\":\"/w==\"}}}",
          "0a0512031a01ff" },
        { { .kind = EVENT_KEEPALIVE }, "{\"event\":{\"keepalive\":{}}}", "0a022200" },
        { { .kind = EVENT_END,
            .exit_code = -1,
            .exited = true,
            .status = { "exit status 1", 13 },
            .error = { "e", 1 } },
          "{\"event\":{\"end\":{\"exitCode\":-1,\"exited\":true,\"status\":\"exit status "
          "1\",\"error\":\"e\"}}}",
          "0a181a16080110011a0d65786974207374617475732031220165" },
        { { .kind = EVENT_END, .exit_code = INT32_MIN },
          "{\"event\":{\"end\":{\"exitCode\":-2147483648}}}",
          "0a081a0608ffffffff0f" },
        { { .kind = EVENT_END, .exit_code = INT32_MAX },
          "{\"event\":{\"end\":{\"exitCode\":2147483647}}}",
          "0a081a0608feffffff0f" },
        { { .kind = EVENT_END }, "{\"event\":{\"end\":{}}}", "0a021a00" },
        { { .kind = EVENT_NONE }, "{\"event\":{}}", "0a00" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct buf proto = { 0 };
        append_hex(&proto, rows[i].proto);
        expect_event(MESSAGE_JSON, &rows[i].event, slice_from_string(rows[i].json));
        expect_event(MESSAGE_PROTO, &rows[i].event, buf_slice(&proto));
        buf_deinit(&proto);
    }
}

static void large_output_survives_both_codecs(void **state)
{
    static char bytes[300000];
    static const size_t sizes[] = { 1, 117, 118, 120, 126, 127, 128, 16379, 16384, 32768, 300000 };

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)(i * 7 + i / 251);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        const struct process_event event = { .kind = EVENT_STDERR,
                                             .bytes = slice_of(bytes, sizes[i]) };
        for (int codec = MESSAGE_JSON; codec <= MESSAGE_PROTO; codec++) {
            struct arena arena;
            struct buf encoded = { 0 };
            struct process_event read_back;
            arena_init(&arena, NULL, 0);
            process_event_encode((enum message_codec)codec, &event, &encoded);
            assert_int_equal(process_event_decode((enum message_codec)codec, buf_slice(&encoded),
                                                  &arena, &read_back),
                             STATUS_OK);
            assert_same_event(&event, &read_back);
            buf_deinit(&encoded);
            arena_deinit(&arena);
        }
    }
}

static void foreign_agents_events_are_understood(void **state)
{
    struct arena arena;
    struct process_event event;

    (void)state;
    arena_init(&arena, NULL, 0);
    /* Go's protojson strews blanks; the proto's own names are taken; later kinds of events are
     * passed over. */
    assert_int_equal(process_event_decode(
                         MESSAGE_JSON,
                         SLICE("{\"event\": {\"end\":  {\"exit_code\":\"3\", \"exited\":true}}}"),
                         &arena, &event),
                     STATUS_OK);
    assert_int_equal(event.exit_code, 3);
    assert_int_equal(
        process_event_decode(MESSAGE_JSON, SLICE("{\"event\":{\"metrics\":{}}}"), &arena, &event),
        STATUS_OK);
    assert_int_equal(event.kind, EVENT_NONE);
    assert_int_equal(process_event_decode(MESSAGE_JSON, SLICE("{}"), &arena, &event), STATUS_OK);
    assert_int_equal(event.kind, EVENT_NONE);
    assert_int_equal(process_event_decode(MESSAGE_PROTO, SLICE("\x0a\x02\x2a\x00"), &arena, &event),
                     STATUS_OK);
    assert_int_equal(event.kind, EVENT_NONE);
    assert_int_equal(process_event_decode(MESSAGE_PROTO, SLICE(""), &arena, &event), STATUS_OK);
    assert_int_equal(event.kind, EVENT_NONE);
    arena_deinit(&arena);
}

static void expect_list(enum message_codec codec, const struct process_info *infos, size_t count,
                        struct slice expected)
{
    struct buf encoded = { 0 };

    process_list_encode(codec, infos, count, &encoded);
    assert_int_equal(encoded.len, expected.len);
    if (expected.len > 0)
        assert_memory_equal(buf_slice(&encoded).ptr, expected.ptr, expected.len);
    buf_deinit(&encoded);
}

static void lists_have_these_bytes(void **state)
{
    struct slice args[] = { SLICE("-c") };
    struct process_variable envs[] = { { SLICE("K"), SLICE("") } };
    const struct process_info infos[] = {
        { .config = { .cmd = SLICE("sh"),
                      .args = args,
                      .arg_count = 1,
                      .envs = envs,
                      .env_count = 1,
                      .cwd = SLICE("/") },
          .pid = 9,
          .tag = SLICE("t") },
        { .pid = 0 },
    };
    struct buf proto = { 0 };

    (void)state;
    append_hex(&proto, "0a190a120a02736812022d631a050a014b120022012f10091a01740a020a00");
    expect_list(MESSAGE_PROTO, infos, 2, buf_slice(&proto));
    expect_list(MESSAGE_JSON, infos, 2,
                SLICE("{\"processes\":[{\"config\":{\"cmd\":\"sh\",\"args\":[\"-c\"],\"envs\":{"
                      "\"K\":\"\"},\"cwd\":\"/\"},"
                      "\"pid\":9,\"tag\":\"t\"},{\"config\":{}}]}"));
    expect_list(MESSAGE_PROTO, infos, 0, SLICE_EMPTY);
    expect_list(MESSAGE_JSON, infos, 0, SLICE("{}"));
    buf_deinit(&proto);
}

static void an_empty_answer_is_an_empty_object_or_nothing(void **state)
{
    struct buf answer = { 0 };

    (void)state;
    process_empty_encode(MESSAGE_PROTO, &answer);
    assert_int_equal(answer.len, 0);
    process_empty_encode(MESSAGE_JSON, &answer);
    assert_string_equal(buf_text(&answer), "{}");
    buf_deinit(&answer);
}

static void a_start_request_survives_both_codecs(void **state)
{
    static const char *const rows[] = {
        "{\"process\":{\"cmd\":\"/bin/sh\",\"args\":[\"-c\",\"echo "
        "\\\"$A\\\"\\n\",\"\"],\"envs\":{\"A\":\"1\",\"B\":\"\"},"
        "\"cwd\":\"/"
        "srv\"},\"pty\":{\"size\":{\"cols\":80,\"rows\":24}},\"tag\":\"t\",\"stdin\":false}",
        "{\"process\":{\"cmd\":\"ls\"}}",
        "{\"process\":{\"cmd\":\"ls\"},\"pty\":{},\"stdin\":true}",
        "{\"process\":{\"cmd\":\"ls\"},\"pty\":{\"size\":{}}}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct arena arena;
        struct process_request request;
        struct buf json = { 0 };
        struct buf proto = { 0 };
        arena_init(&arena, NULL, 0);
        assert_int_equal(process_request_decode(METHOD_START, MESSAGE_JSON,
                                                slice_from_string(rows[i]), &arena, &request, NULL),
                         STATUS_OK);
        start_request_encode(MESSAGE_PROTO, &request.start, &proto);
        assert_int_equal(process_request_decode(METHOD_START, MESSAGE_PROTO, buf_slice(&proto),
                                                &arena, &request, NULL),
                         STATUS_OK);
        start_request_encode(MESSAGE_JSON, &request.start, &json);
        assert_string_equal(buf_text(&json), rows[i]);
        buf_deinit(&json);
        buf_deinit(&proto);
        arena_deinit(&arena);
    }
}

static void methods_have_exact_paths(void **state)
{
    static const char *const wrong[] = { "/process.Process/",
                                         "/process.Process/start",
                                         "/process.Process/Start/",
                                         "/process.Process/Start?x",
                                         "process.Process/Start",
                                         "/Process/Start",
                                         "/process.Process/Starts",
                                         "",
                                         "/" };
    enum process_method method;

    (void)state;
    for (unsigned i = 0; i < PROCESS_METHOD_COUNT; i++) {
        struct buf path = { 0 };
        buf_printf(&path, "/process.Process/%s", process_method_text((enum process_method)i));
        assert_true(process_method_from_path(buf_slice(&path), &method));
        assert_int_equal(method, i);
        assert_int_equal(process_method_is_server_stream(method),
                         method == METHOD_START || method == METHOD_CONNECT);
        assert_int_equal(process_method_is_client_stream(method), method == METHOD_STREAM_INPUT);
        buf_deinit(&path);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        assert_false(process_method_from_path(slice_from_string(wrong[i]), &method));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_say_the_same_in_both_codecs),
        cmocka_unit_test(json_is_read_as_tolerantly_as_proto3_asks),
        cmocka_unit_test(start_takes_a_plain_command),
        cmocka_unit_test(proto_is_read_as_every_reader_reads_it),
        cmocka_unit_test(events_have_these_bytes_and_read_back),
        cmocka_unit_test(large_output_survives_both_codecs),
        cmocka_unit_test(foreign_agents_events_are_understood),
        cmocka_unit_test(lists_have_these_bytes),
        cmocka_unit_test(an_empty_answer_is_an_empty_object_or_nothing),
        cmocka_unit_test(a_start_request_survives_both_codecs),
        cmocka_unit_test(methods_have_exact_paths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
