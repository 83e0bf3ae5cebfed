/* Where a stream of WebSocket frames may be ended. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/websocket_edge.h"

static void pass(struct websocket_edge *edge, const char *bytes, size_t len)
{
    websocket_edge_pass(edge, slice_of(bytes, len));
}

static void edges_are_between_frames_however_they_are_cut(void **state)
{
    /* "hi", 126 bytes with a long length, an empty ping, a masked one */
    char frames[4 + 4 + 126 + 2 + 6 + 3] = "\x81\x02hi\x82\x7e\x00\x7e";
    size_t ends[] = { 4, 4 + 4 + 126, 4 + 4 + 126 + 2, sizeof(frames) };
    (void)state;

    memcpy(frames + 4 + 4 + 126, "\x89\x00\x81\x83\1\2\3\4abc", 2 + 6 + 3);
    for (size_t step = 1; step < 9; step++) {
        struct websocket_edge edge = { 0 };
        size_t next = 0;

        for (size_t at = 0; at < sizeof(frames);) {
            size_t count = sizeof(frames) - at < step ? sizeof(frames) - at : step;
            pass(&edge, frames + at, count);
            at += count;
            while (next < 4 && ends[next] < at)
                next++;
            assert_int_equal(websocket_edge_is_open(&edge), next < 4 && ends[next] == at);
        }
    }
}

static void nothing_follows_a_close_or_nonsense(void **state)
{
    struct websocket_edge edge = { 0 };
    (void)state;

    pass(&edge, "\x88\x02\x03\xe8", 4);
    assert_false(websocket_edge_is_open(&edge));
    edge = (struct websocket_edge){ 0 };
    pass(&edge, "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 10);
    assert_false(websocket_edge_is_open(&edge));
}

static void the_gateways_own_ends_have_a_code(void **state)
{
    static const struct {
        enum status status;
        unsigned code;
    } rows[] = {
        { STATUS_TOKEN_EXPIRED, 1008 },
        { STATUS_TOKEN_REVOKED, 1008 },
        { STATUS_HOST_UNKNOWN, 1008 },
        { STATUS_DRAINING, 1001 },
        { STATUS_COMPUTER_NOT_RUNNING, 1001 },
        { STATUS_AGENT_LOST, 0 },
        { STATUS_AGENT_RESET, 0 },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf frame = { 0 };
        assert_int_equal(websocket_append_close(&frame, rows[i].status, "why"), rows[i].code != 0);
        if (rows[i].code != 0) {
            const unsigned char *bytes = (const unsigned char *)buf_slice(&frame).ptr;
            assert_int_equal(frame.len, 7);
            assert_int_equal(bytes[0], 0x88);
            assert_int_equal(bytes[1], 5);
            assert_int_equal(bytes[2] << 8 | bytes[3], rows[i].code);
        }
        buf_deinit(&frame);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edges_are_between_frames_however_they_are_cut),
        cmocka_unit_test(nothing_follows_a_close_or_nonsense),
        cmocka_unit_test(the_gateways_own_ends_have_a_code),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
