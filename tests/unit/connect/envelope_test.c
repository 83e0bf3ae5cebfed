/* The framing: however the bytes are cut, the same messages come out; what breaks the rules stops
 * at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "connect/envelope.h"

struct heard {
    struct buf text; /* "<flags>:<message>;" for each */
    const char *last_ptr;
    enum status answer;
};

static enum status hear(void *arg, uint8_t flags, struct slice message)
{
    struct heard *heard = arg;

    buf_printf(&heard->text, "%u:%.*s;", flags, SLICE_ARGS(message));
    heard->last_ptr = message.ptr;
    return heard->answer;
}

static struct buf three_messages(void)
{
    struct buf bytes = { 0 };

    envelope_append(&bytes, 0, SLICE("first"));
    envelope_append(&bytes, ENVELOPE_COMPRESSED, SLICE(""));
    envelope_append_end(&bytes, "ok", SLICE_EMPTY, SLICE_EMPTY);
    return bytes;
}

static void the_head_is_flags_and_big_endian_length(void **state)
{
    struct buf bytes = { 0 };

    (void)state;
    envelope_append(&bytes, 1, SLICE("abc"));
    assert_int_equal(bytes.len, 8);
    assert_memory_equal(buf_slice(&bytes).ptr,
                        "\x01\x00\x00\x00\x03"
                        "abc",
                        8);
    buf_deinit(&bytes);

    char *room = buf_reserve(&bytes, 70000);
    memset(room, 'x', 70000);
    buf_commit(&bytes, 70000);
    struct buf framed = { 0 };
    envelope_append(&framed, 0, buf_slice(&bytes));
    assert_memory_equal(buf_slice(&framed).ptr, "\x00\x00\x01\x11\x70", 5);
    buf_deinit(&bytes);
    buf_deinit(&framed);
}

static void every_way_of_cutting_gives_the_same_messages(void **state)
{
    struct buf bytes = three_messages();

    (void)state;
    for (size_t first = 0; first <= bytes.len; first++) {
        for (size_t second = first; second <= bytes.len; second++) {
            struct envelope_reader reader;
            struct heard heard = { .answer = STATUS_OK };
            struct slice all = buf_slice(&bytes);
            const struct slice pieces[] = { slice_first(all, first),
                                            slice_skip(slice_first(all, second), first),
                                            slice_skip(all, second) };
            envelope_reader_init(&reader, 100);
            for (size_t i = 0; i < 3; i++)
                assert_int_equal(envelope_reader_feed(&reader, pieces[i], hear, &heard), STATUS_OK);
            assert_string_equal(buf_text(&heard.text), "0:first;1:;2:{};");
            assert_true(envelope_reader_is_at_edge(&reader));
            assert_true(reader.ended);
            buf_deinit(&heard.text);
            envelope_reader_deinit(&reader);
        }
    }
    buf_deinit(&bytes);
}

static void bytes_may_come_one_by_one(void **state)
{
    struct buf bytes = three_messages();
    struct envelope_reader reader;
    struct heard heard = { .answer = STATUS_OK };

    (void)state;
    envelope_reader_init(&reader, 5);
    assert_true(envelope_reader_is_at_edge(&reader));
    for (size_t i = 0; i < bytes.len; i++) {
        assert_int_equal(
            envelope_reader_feed(&reader, slice_of(buf_slice(&bytes).ptr + i, 1), hear, &heard),
            STATUS_OK);
        bool is_edge = i + 1 == 10 || i + 1 == 15 || i + 1 == bytes.len;
        assert_int_equal(envelope_reader_is_at_edge(&reader), is_edge);
    }
    assert_string_equal(buf_text(&heard.text), "0:first;1:;2:{};");
    buf_deinit(&heard.text);
    buf_deinit(&bytes);
    envelope_reader_deinit(&reader);
}

static void a_whole_message_is_passed_where_it_lies(void **state)
{
    struct buf bytes = { 0 };
    struct envelope_reader reader;
    struct heard heard = { .answer = STATUS_OK };

    (void)state;
    envelope_append(&bytes, 0, SLICE("0123456789"));
    envelope_reader_init(&reader, 100);
    assert_int_equal(envelope_reader_feed(&reader, buf_slice(&bytes), hear, &heard), STATUS_OK);
    assert_ptr_equal(heard.last_ptr, buf_slice(&bytes).ptr + 5);
    assert_null(reader.held.memory);
    buf_deinit(&heard.text);
    buf_deinit(&bytes);
    envelope_reader_deinit(&reader);
}

static enum status feed(struct slice bytes, size_t limit, size_t piece_bytes, const char *expected)
{
    struct envelope_reader reader;
    struct heard heard = { .answer = STATUS_OK };
    enum status status = STATUS_OK;

    envelope_reader_init(&reader, limit);
    while (status == STATUS_OK && bytes.len > 0) {
        struct slice piece = slice_first(bytes, piece_bytes);
        bytes = slice_skip(bytes, piece.len);
        status = envelope_reader_feed(&reader, piece, hear, &heard);
    }
    assert_string_equal(buf_text(&heard.text), expected);
    buf_deinit(&heard.text);
    envelope_reader_deinit(&reader);
    return status;
}

static void what_breaks_the_rules_stops_at_once(void **state)
{
    (void)state;
    for (size_t piece = 1; piece <= 20; piece++) {
        /* The head alone decides: 4 GiB are never waited for. */
        assert_int_equal(feed(SLICE("\0\xff\xff\xff\xff"), 1000, piece, ""), STATUS_BODY_TOO_LARGE);
        assert_int_equal(feed(SLICE("\0\0\0\0\6"), 5, piece, ""), STATUS_BODY_TOO_LARGE);
        assert_int_equal(feed(SLICE("\0\0\0\0\5hello"), 5, piece, "0:hello;"), STATUS_OK);
        assert_int_equal(feed(SLICE("\4\0\0\0\0"), 5, piece, ""), STATUS_MALFORMED);
        assert_int_equal(feed(SLICE("\x80\0\0\0\0"), 5, piece, ""), STATUS_MALFORMED);
        assert_int_equal(feed(SLICE("\2\0\0\0\0x"), 5, piece, "2:;"), STATUS_MALFORMED);
        assert_int_equal(feed(SLICE("\2\0\0\0\0\2\0\0\0\0"), 5, piece, "2:;"), STATUS_MALFORMED);
        assert_int_equal(feed(SLICE("\3\0\0\0\1x"), 5, piece, "3:x;"), STATUS_OK);
    }
}

static void a_listener_s_refusal_ends_the_feeding(void **state)
{
    struct buf bytes = three_messages();
    struct envelope_reader reader;
    struct heard heard = { .answer = STATUS_LIMIT_REACHED };

    (void)state;
    envelope_reader_init(&reader, 100);
    assert_int_equal(envelope_reader_feed(&reader, buf_slice(&bytes), hear, &heard),
                     STATUS_LIMIT_REACHED);
    assert_string_equal(buf_text(&heard.text), "0:first;");
    buf_deinit(&heard.text);
    envelope_reader_deinit(&reader);

    heard.text = (struct buf){ 0 };
    envelope_reader_init(&reader, 100);
    assert_int_equal(envelope_reader_feed(&reader, slice_first(buf_slice(&bytes), 7), hear, &heard),
                     STATUS_OK);
    assert_int_equal(envelope_reader_feed(&reader, slice_skip(buf_slice(&bytes), 7), hear, &heard),
                     STATUS_LIMIT_REACHED);
    assert_string_equal(buf_text(&heard.text), "0:first;");
    buf_deinit(&heard.text);
    buf_deinit(&bytes);
    envelope_reader_deinit(&reader);
}

static void the_end_says_what_went_wrong(void **state)
{
    struct buf bytes = { 0 };

    (void)state;
    buf_append(&bytes, SLICE("before"));
    buf_consume(&bytes, 3);
    envelope_append_end(&bytes, "not_found", SLICE("no \"x\"\n"), SLICE("[{\"type\":\"t\"}]"));
    struct slice end = slice_skip(buf_slice(&bytes), 3);
    static const char expected[] = "{\"error\":{\"code\":\"not_found\",\"message\":\"no "
                                   "\\\"x\\\"\\n\",\"details\":[{\"type\":\"t\"}]}}";
    assert_int_equal(end.len, 5 + sizeof(expected) - 1);
    assert_memory_equal(end.ptr, "\2\0\0\0", 4);
    assert_int_equal((unsigned char)end.ptr[4], sizeof(expected) - 1);
    assert_memory_equal(end.ptr + 5, expected, sizeof(expected) - 1);
    buf_deinit(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_head_is_flags_and_big_endian_length),
        cmocka_unit_test(every_way_of_cutting_gives_the_same_messages),
        cmocka_unit_test(bytes_may_come_one_by_one),
        cmocka_unit_test(a_whole_message_is_passed_where_it_lies),
        cmocka_unit_test(what_breaks_the_rules_stops_at_once),
        cmocka_unit_test(a_listener_s_refusal_ends_the_feeding),
        cmocka_unit_test(the_end_says_what_went_wrong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
