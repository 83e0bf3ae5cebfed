/* Replies out of bytes, and which ones are refused. */
#include "cmocka_all.h"

#include "route/redis_reader.h"

static const struct redis_reader_limits limits = { .bytes = 4096, .elements = 8, .depth = 1 };

static enum status read_one(const struct redis_reader_limits *with, struct slice bytes,
                            struct redis_reply **out_reply)
{
    struct redis_reader *reader = redis_reader_create(with);
    enum status status = STATUS_AGAIN;

    for (size_t at = 0; at < bytes.len && status == STATUS_AGAIN; at++) { /* byte by byte */
        redis_reader_feed(reader, slice_of(bytes.ptr + at, 1));
        status = redis_reader_next(reader, out_reply);
    }
    redis_reader_destroy(&reader);
    return status;
}

static void refuse(struct slice bytes, enum status expected)
{
    struct redis_reply *reply = NULL;

    assert_int_equal(read_one(&limits, bytes, &reply), expected);
    assert_null(reply);
}

static void a_reply_is_a_tree_of_its_parts(void **state)
{
    struct redis_reply *r = NULL;

    (void)state;
    assert_int_equal(
        read_one(&limits, SLICE("*5\r\n$3\r\na\0b\r\n:-7\r\n$-1\r\n+OK\r\n$0\r\n\r\n"), &r),
        STATUS_OK);
    assert_int_equal(r->kind, REDIS_ARRAY);
    assert_int_equal(r->item_count, 5);
    assert_true(slice_equal(r->items[0].text, SLICE("a\0b")));
    assert_int_equal(r->items[1].integer, -7);
    assert_int_equal(r->items[2].kind, REDIS_NIL);
    assert_int_equal(r->items[3].kind, REDIS_WORD);
    assert_int_equal(r->items[4].text.len, 0);
    redis_reply_destroy(&r);
    assert_int_equal(read_one(&limits, SLICE("-WRONGTYPE x\r\n"), &r), STATUS_OK);
    assert_int_equal(r->kind, REDIS_ERROR);
    redis_reply_destroy(&r);
    assert_int_equal(read_one(&limits, SLICE("*0\r\n"), &r), STATUS_OK);
    assert_int_equal(r->item_count, 0);
    redis_reply_destroy(&r);
    redis_reply_destroy(&r);
}

static void too_many_elements_are_refused_before_they_arrive(void **state)
{
    (void)state;
    refuse(SLICE("*9\r\n"), STATUS_LIMIT_REACHED);
    refuse(SLICE("*2147483647\r\n"), STATUS_LIMIT_REACHED);
    refuse(SLICE("*99999999999\r\n"), STATUS_MALFORMED);
}

static void nested_arrays_are_refused_where_none_belong(void **state)
{
    const struct redis_reader_limits deeper = { .bytes = 4096, .elements = 8, .depth = 2 };
    struct redis_reply *r = NULL;

    (void)state;
    refuse(SLICE("*1\r\n*1\r\n$1\r\nx\r\n"), STATUS_LIMIT_REACHED);
    refuse(SLICE("*2\r\n$3\r\nabc\r\n*1\r\n"), STATUS_LIMIT_REACHED);
    assert_int_equal(read_one(&deeper, SLICE("*2\r\n$1\r\nx\r\n*1\r\n$1\r\ny\r\n"), &r), STATUS_OK);
    assert_true(slice_equal(r->items[1].items[0].text, SLICE("y")));
    redis_reply_destroy(&r);
    assert_int_equal(read_one(&deeper, SLICE("*1\r\n*1\r\n*1\r\n"), &r), STATUS_LIMIT_REACHED);
}

static void a_reply_that_never_ends_is_refused_at_the_limit(void **state)
{
    struct redis_reader *reader = redis_reader_create(&limits);
    struct redis_reply *reply = NULL;
    char bytes[256] = { 0 };
    enum status status = STATUS_AGAIN;
    size_t fed = 0;

    (void)state;
    redis_reader_feed(reader, SLICE("$1000000000\r\n"));
    for (; fed < 1000000 && status == STATUS_AGAIN; fed += sizeof(bytes)) {
        redis_reader_feed(reader, slice_of(bytes, sizeof(bytes)));
        status = redis_reader_next(reader, &reply);
    }
    assert_int_equal(status, STATUS_LIMIT_REACHED);
    assert_in_range(fed, 4096, 4096 + 2 * sizeof(bytes));
    redis_reader_destroy(&reader);
}

static void nonsense_is_malformed(void **state)
{
    (void)state;
    refuse(SLICE("%1\r\n"), STATUS_MALFORMED); /* RESP3 */
    refuse(SLICE("HTTP/1.1 400 Bad Request\r\n"), STATUS_MALFORMED);
    refuse(SLICE(":abc\r\n"), STATUS_MALFORMED);
}

static void a_command_is_an_array_of_bulk_strings(void **state)
{
    const struct slice words[] = { SLICE("HGETALL"), SLICE("a\0{b}"), SLICE("") };
    struct buf out = { 0 };

    (void)state;
    redis_command_append(&out, words, 3);
    assert_true(
        slice_equal(buf_slice(&out), SLICE("*3\r\n$7\r\nHGETALL\r\n$5\r\na\0{b}\r\n$0\r\n\r\n")));
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reply_is_a_tree_of_its_parts),
        cmocka_unit_test(too_many_elements_are_refused_before_they_arrive),
        cmocka_unit_test(nested_arrays_are_refused_where_none_belong),
        cmocka_unit_test(a_reply_that_never_ends_is_refused_at_the_limit),
        cmocka_unit_test(nonsense_is_malformed),
        cmocka_unit_test(a_command_is_an_array_of_bulk_strings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
