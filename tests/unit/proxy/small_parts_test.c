/* cors, in_flight, call_state: the small parts of the proxy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/call_state.h"
#include "proxy/cors.h"
#include "proxy/in_flight.h"

static struct slice allowed(const char *const *origins, size_t count, struct slice origin)
{
    struct arena arena = { 0 };
    struct fields fields = { 0 };
    struct cors_policy policy = { .origins = origins, .origin_count = count };

    if (origin.len > 0)
        fields_add(&fields, &arena, FIELD_ORIGIN, origin);
    struct slice result = cors_allowed_origin(&policy, &fields);
    arena_deinit(&arena);
    return result;
}

static void an_origin_is_allowed_when_it_is_listed_exactly(void **state)
{
    static const char *const listed[] = { "https://a.test", "https://b.test" };
    static const char *const all[] = { "*" };
    (void)state;

    assert_true(slice_equal(allowed(all, 1, SLICE("https://x")), SLICE("*")));
    assert_true(slice_equal(allowed(listed, 2, SLICE("https://b.test")), SLICE("https://b.test")));
    assert_int_equal(allowed(listed, 2, SLICE("https://b.test.evil")).len, 0);
    assert_int_equal(allowed(listed, 2, SLICE("null")).len, 0);
    assert_int_equal(allowed(all, 1, SLICE_EMPTY).len, 0);
    assert_int_equal(allowed(NULL, 0, SLICE("https://x")).len, 0);
}

static void an_echoed_origin_makes_the_answer_vary(void **state)
{
    struct arena arena = { 0 };
    struct fields fields = { 0 };
    (void)state;

    cors_add_fields(SLICE("https://a"), &arena, &fields);
    assert_int_equal(fields.count, 3);
    assert_true(slice_equal(fields.items[1].name, SLICE("vary")));
    fields.count = 0;
    cors_add_fields(SLICE_EMPTY, &arena, &fields);
    assert_int_equal(fields.count, 0);
    arena_deinit(&arena);
}

static void a_count_stops_at_its_limit_and_is_given_back(void **state)
{
    struct in_flight table = { 0 };
    (void)state;

    struct in_flight_entry *a = in_flight_enter(&table, SLICE("s"), 2);
    struct in_flight_entry *b = in_flight_enter(&table, SLICE("s"), 2);
    assert_non_null(a);
    assert_non_null(b);
    assert_null(in_flight_enter(&table, SLICE("s"), 2));
    assert_int_equal(in_flight_count(&table, SLICE("s")), 2);
    struct in_flight_entry *other = in_flight_enter(&table, SLICE("t"), 2);
    assert_non_null(other);
    in_flight_leave(&table, &a);
    assert_null(a);
    in_flight_leave(&table, &a); /* harmless */
    a = in_flight_enter(&table, SLICE("s"), 2);
    assert_non_null(a);
    in_flight_leave(&table, &a);
    in_flight_leave(&table, &b);
    in_flight_leave(&table, &other);
    assert_int_equal(in_flight_count(&table, SLICE("s")), 0);
    assert_null(in_flight_enter(&table, SLICE("s"), 0));
    in_flight_deinit(&table);
}

static void every_state_but_the_last_leads_to_closed_and_waits_have_limits(void **state)
{
    (void)state;

    for (int i = 0; i < CALL_CLOSED; i++) {
        assert_true((call_states[i].next & (1u << CALL_CLOSED)) != 0);
        assert_non_null(call_states[i].name);
        if (i != CALL_RELAYING)
            assert_true(call_states[i].limit_ms > 0);
    }
    assert_int_equal(call_states[CALL_CLOSED].next, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_origin_is_allowed_when_it_is_listed_exactly),
        cmocka_unit_test(an_echoed_origin_makes_the_answer_vary),
        cmocka_unit_test(a_count_stops_at_its_limit_and_is_given_back),
        cmocka_unit_test(every_state_but_the_last_leads_to_closed_and_waits_have_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
