#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/stream_edge.h"

/* Two messages, one empty, then the last: 5+3, 5+0, 5+2 bytes. */
static const char stream[] = "\0\0\0\0\3abc\0\0\0\0\0\2\0\0\0\2{}";
enum { STREAM_BYTES = sizeof(stream) - 1 };

static bool is_edge(size_t at)
{
    return at == 0 || at == 8 || at == 13 || at == STREAM_BYTES;
}

static void edges_are_found_however_the_bytes_are_cut(void **state)
{
    (void)state;
    for (size_t piece = 1; piece <= STREAM_BYTES; piece++) {
        struct stream_edge edge;
        size_t at = 0;
        stream_edge_init(&edge, 0x02);
        while (at < STREAM_BYTES) {
            size_t count = STREAM_BYTES - at < piece ? STREAM_BYTES - at : piece;
            stream_edge_pass(&edge, slice_of(stream + at, count));
            at += count;
            assert_int_equal(stream_edge_is_at(&edge), is_edge(at));
            assert_int_equal(edge.saw_end, at == STREAM_BYTES);
        }
    }
}

static void passing_to_an_edge_stops_there(void **state)
{
    struct stream_edge edge;
    (void)state;

    stream_edge_init(&edge, 0x02);
    stream_edge_pass(&edge, slice_of(stream, 2));
    assert_int_equal(stream_edge_pass_to_edge(&edge, slice_of(stream + 2, 4)), 4);
    assert_false(stream_edge_is_at(&edge));
    assert_int_equal(stream_edge_pass_to_edge(&edge, slice_of(stream + 6, STREAM_BYTES - 6)), 2);
    assert_true(stream_edge_is_at(&edge));
}

static void an_empty_last_message_is_the_end_too(void **state)
{
    struct stream_edge edge;
    (void)state;

    stream_edge_init(&edge, 0x80);
    stream_edge_pass(&edge, slice_of("\x80\0\0\0\0", 5));
    assert_true(edge.saw_end);
}

static void the_largest_length_does_not_overflow(void **state)
{
    struct stream_edge edge;
    (void)state;

    stream_edge_init(&edge, 0x02);
    stream_edge_pass(&edge, slice_of("\0\xff\xff\xff\xff", 5));
    assert_int_equal(edge.left_bytes, UINT32_MAX);
    assert_false(stream_edge_is_at(&edge));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edges_are_found_however_the_bytes_are_cut),
        cmocka_unit_test(passing_to_an_edge_stops_there),
        cmocka_unit_test(an_empty_last_message_is_the_end_too),
        cmocka_unit_test(the_largest_length_does_not_overflow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
