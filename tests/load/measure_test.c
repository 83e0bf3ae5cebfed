/* tests/load/measure_test.c — the load tester's own measure: buckets and schedules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "hdr.h"
#include "pacer.h"

static void a_quantile_is_off_by_less_than_two_percent(void **state)
{
    static const double ratios[] = { 0.01, 0.1, 0.5, 0.9, 0.99, 0.999 };
    struct hdr *hdr = calloc(1, sizeof(*hdr));

    (void)state;
    for (uint64_t us = 1; us <= 1000000; us++)
        hdr_record(hdr, us);
    for (size_t i = 0; i < sizeof(ratios) / sizeof(ratios[0]); i++) {
        double exact = ratios[i] * 1e6;
        assert_true(fabs((double)hdr_quantile_us(hdr, ratios[i]) - exact) <= exact * 0.016 + 1);
    }
    assert_int_equal(hdr_quantile_us(hdr, 1), 1000000);
    assert_int_equal(hdr->sum_us, 500000500000);
    free(hdr);
}

static void small_values_are_exact_and_huge_ones_stay_in_the_last_bucket(void **state)
{
    struct hdr *hdr = calloc(1, sizeof(*hdr));

    (void)state;
    assert_int_equal(hdr_quantile_us(hdr, 0.5), 0);
    for (uint64_t us = 0; us < 64; us++)
        hdr_record(hdr, us);
    assert_int_equal(hdr_quantile_us(hdr, 0.5), 31);
    hdr_record(hdr, UINT64_MAX);
    assert_int_equal(hdr_quantile_us(hdr, 1), UINT32_MAX);
    free(hdr);
}

static void merged_histograms_say_the_same_as_one(void **state)
{
    struct hdr *one = calloc(1, sizeof(*one)), *a = calloc(1, sizeof(*a)),
               *b = calloc(1, sizeof(*b));

    (void)state;
    for (uint64_t us = 1; us < 100000; us += 7) {
        hdr_record(one, us);
        hdr_record(us % 2 == 0 ? a : b, us);
    }
    hdr_merge(a, b);
    assert_int_equal(a->count, one->count);
    assert_int_equal(a->max_us, one->max_us);
    assert_int_equal(hdr_quantile_us(a, 0.99), hdr_quantile_us(one, 0.99));
    free(one);
    free(a);
    free(b);
}

static uint64_t count_until(struct pacer pacer, uint64_t end_us)
{
    uint64_t count = 0;

    while (pacer_due_us(&pacer) < end_us) {
        pacer_step(&pacer);
        count++;
    }
    return count;
}

static void arrivals_come_at_the_rate_from_the_first_moment_to_the_end(void **state)
{
    struct pacer pacer = { .rate = 1000, .start_us = 5000000, .end_us = 15000000, .step = 1 };

    (void)state;
    assert_int_equal(pacer_due_us(&pacer), 5000000);
    assert_int_equal(count_until(pacer, UINT64_MAX), 10000);
    pacer.limit = 7;
    assert_int_equal(count_until(pacer, UINT64_MAX), 7);
    pacer.rate = 0;
    assert_true(pacer_due_us(&pacer) == UINT64_MAX);
}

static void a_ramp_brings_half_as_many(void **state)
{
    struct pacer pacer = { .rate = 1000, .ramp_s = 4, .end_us = 10000000, .step = 1 };

    (void)state;
    assert_in_range(count_until(pacer, 2000000), 498,
                    502); /* a quarter of the ramp's arrivals in its first half */
    assert_in_range(count_until(pacer, 4000000), 1998, 2002);
    assert_in_range(count_until(pacer, 5000000), 2998, 3002);
}

static void lanes_share_the_arrivals_and_lose_none(void **state)
{
    uint64_t all = 0;

    (void)state;
    for (uint64_t lane = 0; lane < 3; lane++)
        all += count_until(
            (struct pacer){ .rate = 999, .ramp_s = 1, .end_us = 4000000, .next = lane, .step = 3 },
            UINT64_MAX);
    assert_int_equal(
        all, count_until((struct pacer){ .rate = 999, .ramp_s = 1, .end_us = 4000000, .step = 1 },
                         UINT64_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quantile_is_off_by_less_than_two_percent),
        cmocka_unit_test(small_values_are_exact_and_huge_ones_stay_in_the_last_bucket),
        cmocka_unit_test(merged_histograms_say_the_same_as_one),
        cmocka_unit_test(arrivals_come_at_the_rate_from_the_first_moment_to_the_end),
        cmocka_unit_test(a_ramp_brings_half_as_many),
        cmocka_unit_test(lanes_share_the_arrivals_and_lose_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
