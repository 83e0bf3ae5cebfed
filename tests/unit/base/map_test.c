/* tests/unit/base/map_test.c */
#include <stdio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/ensure.h"
#include "base/map.h"

enum { ITEMS = 5000 };

struct item {
    struct map_entry entry;
    char name[16];
    bool seen;
};

static struct item items[ITEMS];

static void name_items(void)
{
    memset(items, 0, sizeof(items));
    for (unsigned i = 0; i < ITEMS; i++) {
        snprintf(items[i].name, sizeof(items[i].name), "key-%u", i);
        items[i].entry.key = slice_from_string(items[i].name);
    }
}

static void what_is_inserted_is_found_until_removed(void **state)
{
    struct map map = { 0 };

    (void)state;
    name_items();
    assert_null(map_find(&map, SLICE("key-0")));
    for (unsigned i = 0; i < ITEMS; i++) {
        map_insert(&map, &items[i].entry);
        assert_ptr_equal(map_find(&map, items[i / 2].entry.key), &items[i / 2].entry);
    }
    assert_int_equal(map.count, ITEMS);
    for (unsigned i = 0; i < ITEMS; i += 2)
        map_remove(&map, &items[i].entry);
    for (unsigned i = 0; i < ITEMS; i++)
        assert_true((map_find(&map, items[i].entry.key) != NULL) == (i % 2 == 1));
    assert_int_equal(map.count, ITEMS / 2);
    map_deinit(&map);
    assert_null(map_find(&map, SLICE("key-1")));
}

static void remove_while_growing(void **state)
{
    struct map map = { 0 };

    (void)state;
    name_items();
    for (unsigned i = 0; i < 65; i++)
        map_insert(&map, &items[i].entry);
    assert_non_null(map.old_buckets);
    for (unsigned i = 0; i < 65; i++)
        map_remove(&map, &items[i].entry);
    assert_int_equal(map.count, 0);
    map_deinit(&map);
}

static void remove_visited(struct map_entry *entry, void *arg)
{
    struct item *item = CONTAINER_OF(entry, struct item, entry);

    assert_false(item->seen);
    item->seen = true;
    map_remove(arg, entry);
}

static void each_visits_all_once_and_may_remove(void **state)
{
    struct map map = { 0 };

    (void)state;
    name_items();
    for (unsigned i = 0; i < 100; i++)
        map_insert(&map, &items[i].entry);
    map_each(&map, remove_visited, &map);
    for (unsigned i = 0; i < 100; i++)
        assert_true(items[i].seen);
    assert_int_equal(map.count, 0);
    map_deinit(&map);
}

static void hash_depends_on_every_byte(void **state)
{
    char bytes[40] = { 0 };
    uint64_t before;

    (void)state;
    before = map_hash(slice_of(bytes, sizeof(bytes)));
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] ^= 1;
        assert_true(map_hash(slice_of(bytes, sizeof(bytes))) != before);
        bytes[i] ^= 1;
    }
    assert_true(map_hash(slice_of(bytes, sizeof(bytes))) == before);
    assert_true(map_hash(slice_of(bytes, 8)) != map_hash(slice_of(bytes, 9)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_inserted_is_found_until_removed),
        cmocka_unit_test(remove_while_growing),
        cmocka_unit_test(each_visits_all_once_and_may_remove),
        cmocka_unit_test(hash_depends_on_every_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
