/* The relay between two exchanges that only count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "proxy/relay.h"

struct fake {
    struct exchange base;
    size_t consumed_bytes;
};

static void op_head(struct exchange *exchange, const struct head *head)
{
    (void)exchange;
    (void)head;
}

static void op_send_head(struct exchange *exchange, const struct head *head, bool end)
{
    (void)exchange;
    (void)head;
    (void)end;
}

static void op_nothing(struct exchange *exchange)
{
    (void)exchange;
}

static void op_consumed(struct exchange *exchange, size_t size_bytes)
{
    CONTAINER_OF(exchange, struct fake, base)->consumed_bytes += size_bytes;
}

static void op_reset(struct exchange *exchange, enum exchange_reset reason)
{
    (void)exchange;
    (void)reason;
}

static const struct exchange_ops fake_ops = {
    .send_interim = op_head,
    .send_head = op_send_head,
    .output_grew = op_nothing,
    .consumed = op_consumed,
    .reset = op_reset,
    .release = op_nothing,
};

struct fixture {
    struct fake client, first, second;
    struct relay relay;
};

static int setup(void **state)
{
    struct fixture *f = mem_zeroed(sizeof(*f));

    f->client.base.ops = f->first.base.ops = f->second.base.ops = &fake_ops;
    relay_init(&f->relay, &f->client.base);
    *state = f;
    return 0;
}

static void fake_deinit(struct fake *fake)
{
    buf_deinit(&fake->base.out);
    arena_deinit(&fake->base.arena);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    relay_deinit(&f->relay);
    fake_deinit(&f->client);
    fake_deinit(&f->first);
    fake_deinit(&f->second);
    mem_free(f);
    return 0;
}

static void drain(struct fixture *f, struct fake *from, size_t size_bytes)
{
    buf_consume(&from->base.out, size_bytes);
    relay_upstream_drained(&f->relay, size_bytes);
}

static void what_comes_before_the_agent_waits_and_goes_first(void **state)
{
    struct fixture *f = *state;

    relay_request_body(&f->relay, SLICE("one"));
    assert_int_equal(f->client.consumed_bytes, 0);
    relay_attach(&f->relay, &f->first.base, false);
    relay_request_body(&f->relay, SLICE("two"));
    assert_true(slice_equal(buf_slice(&f->first.base.out), SLICE("onetwo")));
    drain(f, &f->first, 6);
    assert_int_equal(f->client.consumed_bytes, 6);
}

static void the_client_is_told_of_each_byte_once_however_often_it_is_sent(void **state)
{
    struct fixture *f = *state;

    relay_request_body(&f->relay, SLICE("0123456789"));
    relay_attach(&f->relay, &f->first.base, false);
    drain(f, &f->first, 7);
    relay_detach(&f->relay);
    assert_true(relay_can_replay(&f->relay));
    relay_attach(&f->relay, &f->second.base, false);
    assert_true(slice_equal(buf_slice(&f->second.base.out), SLICE("0123456789")));
    drain(f, &f->second, 4);
    assert_int_equal(f->client.consumed_bytes, 7);
    drain(f, &f->second, 5);
    assert_int_equal(f->client.consumed_bytes, 9);
    drain(f, &f->second, 1);
    assert_int_equal(f->client.consumed_bytes, 10);
}

static void what_is_kept_is_bounded_and_then_not_replayed(void **state)
{
    struct fixture *f = *state;
    char block[1024] = { 0 };

    relay_attach(&f->relay, &f->first.base, false);
    for (size_t i = 0; i < RELAY_REPLAY_BYTES / sizeof(block); i++)
        relay_request_body(&f->relay, slice_of(block, sizeof(block)));
    assert_true(relay_can_replay(&f->relay));
    relay_request_body(&f->relay, SLICE("x"));
    assert_false(relay_can_replay(&f->relay));
    assert_int_equal(f->relay.held.len, 0);
    assert_int_equal(f->first.base.out.len, RELAY_REPLAY_BYTES + 1);
}

static void nothing_is_kept_once_the_agent_has_answered(void **state)
{
    struct fixture *f = *state;

    relay_request_body(&f->relay, SLICE("one"));
    relay_attach(&f->relay, &f->first.base, false);
    relay_response_head(&f->relay);
    relay_request_body(&f->relay, SLICE("two"));
    assert_int_equal(f->relay.held.len, 0);
    assert_false(relay_can_replay(&f->relay));
}

static void the_end_and_its_trailers_pass_also_when_they_came_first(void **state)
{
    struct fixture *f = *state;

    fields_add_named(&f->client.base.trailers, &f->client.base.arena, SLICE("x-sum"), SLICE("1"));
    fields_add_named(&f->client.base.trailers, &f->client.base.arena, SLICE("authorization"),
                     SLICE("Bearer t"));
    f->client.base.in_ended = true;
    relay_request_end(&f->relay, &f->client.base.trailers);
    assert_false(relay_request_is_empty(&f->relay));
    relay_attach(&f->relay, &f->first.base, false);
    assert_true(f->first.base.out_ended);
    assert_int_equal(f->first.base.out_trailers.count, 1);
    assert_true(slice_equal(f->first.base.out_trailers.items[0].name, SLICE("x-sum")));
}

static void what_left_toward_the_client_lets_the_agent_send_more(void **state)
{
    struct fixture *f = *state;

    relay_attach(&f->relay, &f->first.base, false);
    relay_response_body(&f->relay, SLICE("answer"));
    assert_int_equal(f->first.consumed_bytes, 0);
    assert_true(slice_equal(buf_slice(&f->client.base.out), SLICE("answer")));
    relay_client_drained(&f->relay, 4);
    assert_int_equal(f->first.consumed_bytes, 4);
    relay_detach(&f->relay);
    relay_client_drained(&f->relay, 2); /* the agent has gone: harmless */
    assert_int_equal(f->first.consumed_bytes, 4);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_comes_before_the_agent_waits_and_goes_first),
        TEST(the_client_is_told_of_each_byte_once_however_often_it_is_sent),
        TEST(what_is_kept_is_bounded_and_then_not_replayed),
        TEST(nothing_is_kept_once_the_agent_has_answered),
        TEST(the_end_and_its_trailers_pass_also_when_they_came_first),
        TEST(what_left_toward_the_client_lets_the_agent_send_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
