/* tests/unit/base/arena_test.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/arena.h"

static void pieces_are_aligned_and_apart(void **state)
{
    _Alignas(max_align_t) char memory[100];
    struct arena arena;
    char *pieces[200];

    (void)state;
    arena_init(&arena, memory + 1, sizeof(memory) - 1);
    for (size_t i = 0; i < 200; i++) {
        (void)arena_bytes(&arena, i % 3);
        pieces[i] = arena_alloc(&arena, i);
        assert_int_equal((uintptr_t)pieces[i] % _Alignof(max_align_t), 0);
        memset(pieces[i], (int)i, i);
    }
    for (size_t i = 1; i < 200; i++)
        for (size_t j = 0; j < i; j++)
            assert_int_equal((unsigned char)pieces[i][j], i);
    arena_deinit(&arena);
}

static void first_pieces_live_in_the_owners_memory(void **state)
{
    char memory[64];
    struct arena arena;
    struct slice copy;

    (void)state;
    arena_init(&arena, memory, sizeof(memory));
    copy = arena_copy(&arena, SLICE("hello"));
    assert_ptr_equal(copy.ptr, memory);
    assert_null(arena.blocks);
    assert_int_equal(arena.used_bytes, 5);
    (void)arena_bytes(&arena, 100000);
    assert_non_null(arena.blocks);
    arena_deinit(&arena);
}

static void printf_makes_a_slice(void **state)
{
    struct arena arena;

    (void)state;
    arena_init(&arena, NULL, 0);
    assert_true(slice_equal(arena_printf(&arena, "%s-%d", "x", 12), SLICE("x-12")));
    assert_int_equal(arena_copy(&arena, SLICE_EMPTY).len, 0);
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_aligned_and_apart),
        cmocka_unit_test(first_pieces_live_in_the_owners_memory),
        cmocka_unit_test(printf_makes_a_slice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
