/* Levels of memory pressure, measured on this process itself: the limit moves, what is in use stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "admin/process_facts.h"
#include "base/log.h"
#include "pressure.h"

enum { SAMPLES_MS = 400 };

struct fixture {
    struct loop *loop;
    struct pressure *pressure;
    enum pressure_level told;
    unsigned changes;
};

static void on_change(void *arg, enum pressure_level level)
{
    struct fixture *f = arg;

    f->told = level;
    f->changes++;
}

static uint64_t in_use(void)
{
    struct process_usage usage;

    process_usage_read(&usage);
    return usage.resident_bytes;
}

/* A limit of which `percent` are in use, and time enough to look at it. */
static void use_percent(struct fixture *f, unsigned percent)
{
    uint64_t end_ms = loop_clock(f->loop)->now_ms + SAMPLES_MS;

    pressure_set_limit(f->pressure, in_use() * 100 / percent);
    while (loop_clock(f->loop)->now_ms < end_ms)
        loop_turn(f->loop, 20);
}

static int set_up(void **state)
{
    static struct fixture f;

    f = (struct fixture){ 0 };
    assert_int_equal(loop_create(&f.loop), STATUS_OK);
    f.pressure = pressure_create(f.loop, in_use() * 100, on_change, &f);
    log_set_level(LOG_ERROR);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    pressure_destroy(&f->pressure);
    pressure_destroy(&f->pressure);
    loop_destroy(&f->loop);
    log_set_level(LOG_INFO);
    return 0;
}

static void levels_follow_what_is_in_use(void **state)
{
    struct fixture *f = *state;

    use_percent(f, 50);
    assert_int_equal(f->changes, 0);
    use_percent(f, 85);
    assert_int_equal(f->told, PRESSURE_HIGH);
    use_percent(f, 100);
    assert_int_equal(f->told, PRESSURE_FULL);
    assert_int_equal(pressure_level(f->pressure), PRESSURE_FULL);
    use_percent(f, 50);
    assert_int_equal(f->told, PRESSURE_NONE);
    assert_int_equal(f->changes, 3);
}

static void a_level_is_left_two_percent_below_where_it_was_entered(void **state)
{
    struct fixture *f = *state;

    use_percent(f, 89);
    assert_int_equal(f->told, PRESSURE_HIGH); /* from below: 90 are needed */
    use_percent(f, 92);
    assert_int_equal(f->told, PRESSURE_CRITICAL);
    use_percent(f, 89);
    assert_int_equal(f->told, PRESSURE_CRITICAL);
    use_percent(f, 86);
    assert_int_equal(f->told, PRESSURE_HIGH);
}

static void what_cannot_be_read_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct rlimit before, none;
    uint64_t end_ms;

    use_percent(f, 85);
    assert_int_equal(f->told, PRESSURE_HIGH);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    end_ms = loop_clock(f->loop)->now_ms + SAMPLES_MS;
    while (loop_clock(f->loop)->now_ms < end_ms)
        loop_turn(f->loop, 20);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(pressure_level(f->pressure), PRESSURE_HIGH);
    assert_int_equal(f->changes, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(levels_follow_what_is_in_use),
        TEST(what_cannot_be_read_changes_nothing),
        TEST(a_level_is_left_two_percent_below_where_it_was_entered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
