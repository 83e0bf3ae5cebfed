/* agent/gzip.h: whole messages in, bounded messages out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <zlib.h>

#include "agent/gzip.h"

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

static void a_message_comes_back_whole(void **state)
{
    struct buf packed = { 0 }, out = { 0 };
    (void)state;

    deflate_into(SLICE("{\"process\":{\"cmd\":\"ls\"}}"), &packed);
    assert_int_equal(gzip_inflate(buf_slice(&packed), 1000, &out), STATUS_OK);
    assert_true(slice_equal(buf_slice(&out), SLICE("{\"process\":{\"cmd\":\"ls\"}}")));
    buf_deinit(&packed);
    buf_deinit(&out);
}

static void a_bomb_stops_at_the_limit(void **state)
{
    struct buf zeros = { 0 }, packed = { 0 }, out = { 0 };
    (void)state;

    memset(buf_reserve(&zeros, 1 << 20), 0, 1 << 20);
    buf_commit(&zeros, 1 << 20);
    deflate_into(buf_slice(&zeros), &packed);
    assert_int_equal(gzip_inflate(buf_slice(&packed), 100000, &out), STATUS_BODY_TOO_LARGE);
    assert_true(out.len < 120000);
    buf_deinit(&zeros);
    buf_deinit(&packed);
    buf_deinit(&out);
}

static void what_is_cut_or_goes_on_or_is_no_gzip_is_malformed(void **state)
{
    struct buf packed = { 0 }, out = { 0 };
    (void)state;

    deflate_into(SLICE("hello hello hello"), &packed);
    assert_int_equal(gzip_inflate(slice_first(buf_slice(&packed), packed.len - 1), 1000, &out),
                     STATUS_MALFORMED);
    buf_append_byte(&packed, 'x');
    assert_int_equal(gzip_inflate(buf_slice(&packed), 1000, &out), STATUS_MALFORMED);
    assert_int_equal(gzip_inflate(SLICE("{}"), 1000, &out), STATUS_MALFORMED);
    assert_int_equal(gzip_inflate(SLICE_EMPTY, 1000, &out), STATUS_MALFORMED);
    buf_deinit(&packed);
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_comes_back_whole),
        cmocka_unit_test(a_bomb_stops_at_the_limit),
        cmocka_unit_test(what_is_cut_or_goes_on_or_is_no_gzip_is_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
