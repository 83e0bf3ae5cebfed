/* What the cache keeps, and what leaves first. */
#include "cmocka_all.h"

#include <stdio.h>

#include "route/route_cache.h"

static void put(struct route_cache *cache, enum record_kind kind, const char *id,
                enum status status)
{
    struct route_entry *entry = route_cache_pin(cache, kind, slice_from_string(id));
    struct record_field field = { SLICE("state"), SLICE("stopped") };
    struct record *record = NULL;

    if (status == STATUS_OK)
        assert_int_equal(record_from_fields(RECORD_COMPUTER, SLICE("x"), &field, 1, NULL, &record),
                         STATUS_OK);
    route_entry_set(entry, status, record);
    route_entry_unpin(entry);
}

static bool has(struct route_cache *cache, enum record_kind kind, const char *id)
{
    return route_cache_find(cache, kind, slice_from_string(id)) != NULL;
}

static void the_least_recently_used_entry_leaves_first(void **state)
{
    struct route_cache cache;

    (void)state;
    route_cache_init(&cache, 3);
    put(&cache, RECORD_COMPUTER, "a", STATUS_OK);
    put(&cache, RECORD_COMPUTER, "b", STATUS_OK);
    put(&cache, RECORD_COMPUTER, "c", STATUS_OK);
    route_entry_touch(route_cache_find(&cache, RECORD_COMPUTER, SLICE("a")), 1);
    put(&cache, RECORD_COMPUTER, "d", STATUS_OK);
    assert_int_equal(cache.count, 3);
    assert_true(has(&cache, RECORD_COMPUTER, "a"));
    assert_false(has(&cache, RECORD_COMPUTER, "b"));
    route_cache_deinit(&cache);
}

static void pinned_entries_never_leave(void **state)
{
    struct route_cache cache;

    (void)state;
    route_cache_init(&cache, 2);
    put(&cache, RECORD_COMPUTER, "a", STATUS_OK);
    struct route_entry *pinned = route_cache_pin(&cache, RECORD_COMPUTER, SLICE("a"));
    put(&cache, RECORD_COMPUTER, "b", STATUS_OK);
    put(&cache, RECORD_COMPUTER, "c", STATUS_OK);
    put(&cache, RECORD_COMPUTER, "d", STATUS_OK);
    assert_true(has(&cache, RECORD_COMPUTER, "a"));
    assert_int_equal(cache.count, 2);
    route_entry_unpin(pinned);
    route_cache_deinit(&cache);
}

static void a_scan_of_made_up_names_does_not_drive_out_what_is_known(void **state)
{
    struct route_cache cache;
    char name[32];

    (void)state;
    route_cache_init(&cache, 80);
    for (int i = 0; i < 70; i++) {
        snprintf(name, sizeof(name), "cmp_%d", i);
        put(&cache, RECORD_COMPUTER, name, STATUS_OK);
    }
    for (int i = 0; i < 10000; i++) {
        snprintf(name, sizeof(name), "made-up-%d", i);
        put(&cache, RECORD_HOST, name, STATUS_HOST_UNKNOWN);
    }
    for (int i = 0; i < 70; i++) {
        snprintf(name, sizeof(name), "cmp_%d", i);
        assert_true(has(&cache, RECORD_COMPUTER, name));
    }
    assert_int_equal(cache.count, 80);
    route_cache_deinit(&cache);
}

static void kinds_with_the_same_id_are_apart(void **state)
{
    struct route_cache cache;

    (void)state;
    route_cache_init(&cache, 10);
    put(&cache, RECORD_COMPUTER, "x", STATUS_OK);
    assert_false(has(&cache, RECORD_HOST, "x"));
    route_entry_forget(route_cache_find(&cache, RECORD_COMPUTER, SLICE("x")));
    assert_false(has(&cache, RECORD_COMPUTER, "x"));
    assert_int_equal(cache.count, 0);
    route_cache_deinit(&cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_recently_used_entry_leaves_first),
        cmocka_unit_test(pinned_entries_never_leave),
        cmocka_unit_test(a_scan_of_made_up_names_does_not_drive_out_what_is_known),
        cmocka_unit_test(kinds_with_the_same_id_are_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
