/* When an agent is left alone: failures in a row, the doubling pause, the probe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "upstream/agent_health.h"

static const struct agent_health_options options = { .min_ms = 1000,
                                                     .max_ms = 30000,
                                                     .failures = 5 };

static void fail_times(struct agent_health *health, unsigned count, uint64_t now_ms)
{
    for (unsigned i = 0; i < count; i++) {
        assert_true(agent_health_may_dial(health, now_ms));
        agent_health_dial_started(health, now_ms);
        (void)agent_health_failed(health, &options, now_ms, UINT32_MAX);
    }
}

static void five_failures_in_a_row_stop_dialing_for_about_a_second(void **state)
{
    struct agent_health health = { 0 };

    (void)state;
    fail_times(&health, 4, 1);
    assert_false(agent_health_is_open(&health, 1));
    fail_times(&health, 1, 1);
    assert_true(agent_health_is_open(&health, 1));
    assert_false(agent_health_may_dial(&health, 500));
    assert_in_range(health.open_until_ms, 501, 1001);
    assert_true(agent_health_may_dial(&health, 1001));
}

static void a_completed_stream_starts_the_count_anew(void **state)
{
    struct agent_health health = { 0 };

    (void)state;
    fail_times(&health, 4, 1);
    agent_health_proved(&health);
    fail_times(&health, 4, 1);
    assert_false(agent_health_is_open(&health, 1));
}

static void only_one_probe_runs_after_the_pause(void **state)
{
    struct agent_health health = { 0 };

    (void)state;
    fail_times(&health, 5, 0);
    agent_health_dial_started(&health, 2000);
    assert_false(agent_health_may_dial(&health, 2000));
    assert_false(agent_health_is_open(&health, 2000)); /* requests may wait for the probe */
    agent_health_undecided(&health);
    assert_true(agent_health_may_dial(&health, 2000));
}

static void the_pause_doubles_up_to_its_bound(void **state)
{
    struct agent_health health = { 0 };
    static const uint64_t delays_ms[] = { 1000, 2000, 4000, 8000, 16000, 30000, 30000 };
    uint64_t now_ms = 7;

    (void)state;
    fail_times(&health, 4, now_ms);
    for (unsigned i = 0; i < sizeof(delays_ms) / sizeof(delays_ms[0]); i++) {
        fail_times(&health, 1, now_ms);
        assert_int_equal(health.delay_ms, delays_ms[i]);
        assert_in_range(health.open_until_ms, now_ms + delays_ms[i] / 2, now_ms + delays_ms[i]);
        now_ms = health.open_until_ms;
    }
}

static void a_probe_that_connects_but_loses_its_streams_opens_it_again(void **state)
{
    struct agent_health health = { 0 };

    (void)state;
    fail_times(&health, 5, 0);
    agent_health_dial_started(&health, 1000);
    agent_health_connected(&health);
    assert_true(agent_health_may_dial(&health, 1000));
    assert_true(agent_health_failed(&health, &options, 1000, 0));
    assert_int_equal(health.delay_ms, 2000);
}

static void failures_of_dials_that_were_under_way_do_not_lengthen_the_pause(void **state)
{
    struct agent_health health = { 0 };

    (void)state;
    fail_times(&health, 5, 0);
    for (unsigned i = 0; i < 50; i++)
        assert_false(agent_health_failed(&health, &options, 0, 0));
    assert_int_equal(health.delay_ms, 1000);
}

static void old_failures_are_forgotten(void **state)
{
    struct agent_health health = { 0 };

    (void)state;
    assert_true(agent_health_is_quiet(&health, 0));
    fail_times(&health, 4, 0);
    assert_false(agent_health_is_quiet(&health, 29999));
    assert_true(agent_health_is_quiet(&health, 30000));
    fail_times(&health, 4, 30000);
    assert_false(agent_health_is_open(&health, 30000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(five_failures_in_a_row_stop_dialing_for_about_a_second),
        cmocka_unit_test(a_completed_stream_starts_the_count_anew),
        cmocka_unit_test(only_one_probe_runs_after_the_pause),
        cmocka_unit_test(the_pause_doubles_up_to_its_bound),
        cmocka_unit_test(a_probe_that_connects_but_loses_its_streams_opens_it_again),
        cmocka_unit_test(failures_of_dials_that_were_under_way_do_not_lengthen_the_pause),
        cmocka_unit_test(old_failures_are_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
