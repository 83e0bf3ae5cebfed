#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/slab.h"

enum { SHORT_BYTES = 1024, LONG_BYTES = 448, COUNT = 20000 };

/* Of 20 to 29 MB: first pages of spans, and the shadow that AddressSanitizer keeps of all of them. */
enum { SLACK_BYTES = 8 << 20 };

enum which { MAPPED, RESIDENT };

/* Of this process. */
static size_t pages(enum which which)
{
    FILE *file = fopen("/proc/self/statm", "re");
    unsigned long counts[2] = { 0 };

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &counts[MAPPED], &counts[RESIDENT]), 2);
    fclose(file);
    return counts[which];
}

static size_t resident_bytes(void)
{
    return pages(RESIDENT) * (size_t)sysconf(_SC_PAGESIZE);
}

static void cool(void)
{
    for (int i = 0; i < 60; i++)
        slab_cool();
}

static void pieces_of_every_size_are_aligned_and_never_overlap(void **state)
{
    static unsigned char *pieces[SLAB_COUNT][70];
    (void)state;

    for (size_t size = 1; size <= SLAB_COUNT; size++) {
        for (size_t i = 0; i < 70; i++) {
            unsigned char *piece = slab_take(size * SLAB_STEP_BYTES);

            assert_int_equal((uintptr_t)piece % SLAB_STEP_BYTES, 0);
            memset(piece, (int)(size * 31 + i), size * SLAB_STEP_BYTES);
            pieces[size - 1][i] = piece;
        }
    }
    for (size_t size = 1; size <= SLAB_COUNT; size++) {
        for (size_t i = 0; i < 70; i++) {
            for (size_t at = 0; at < size * SLAB_STEP_BYTES; at++)
                assert_int_equal(pieces[size - 1][i][at], (unsigned char)(size * 31 + i));
            slab_give(pieces[size - 1][i]);
        }
    }
}

/* What lives long was taken in turn with what lives shortly, as a stream and its head are. */
static void what_came_for_a_moment_leaves_no_holes(void **state)
{
    static void *longs[COUNT], *shorts[COUNT];
    (void)state;

    cool();
    size_t before = resident_bytes();
    for (size_t i = 0; i < COUNT; i++) {
        longs[i] = memset(slab_take(LONG_BYTES), 1, LONG_BYTES);
        shorts[i] = memset(slab_take(SHORT_BYTES), 1, SHORT_BYTES);
    }
    size_t full = resident_bytes();
    for (size_t i = 0; i < COUNT; i++)
        slab_give(shorts[i]);
    cool();
    size_t after = resident_bytes();

    assert_true(full - before > (size_t)COUNT * (SHORT_BYTES + LONG_BYTES) * 9 / 10);
    assert_true(after - before < (size_t)COUNT * LONG_BYTES + SLACK_BYTES);
    for (size_t i = 0; i < COUNT; i++)
        slab_give(longs[i]);
    cool();
    assert_true(resident_bytes() - before < SLACK_BYTES);
}

/* A load that goes up and down between two calls keeps its pages. */
static void what_is_needed_again_is_not_cooled(void **state)
{
    static void *pieces[COUNT];
    (void)state;

    cool();
    size_t before = resident_bytes();
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < COUNT; i++)
            pieces[i] = memset(slab_take(SHORT_BYTES), 1, SHORT_BYTES);
        for (size_t i = 0; i < COUNT; i++)
            slab_give(pieces[i]);
        slab_cool();
    }
    assert_true(resident_bytes() - before > (size_t)COUNT * SHORT_BYTES * 9 / 10);
    cool();
    assert_true(resident_bytes() - before < SLACK_BYTES);
}

/* Empty spans keep their addresses: nothing new is mapped. */
static void empty_spans_serve_the_next_size(void **state)
{
    static void *pieces[COUNT];
    (void)state;

    for (size_t i = 0; i < COUNT; i++)
        pieces[i] = slab_take(1984);
    for (size_t i = 0; i < COUNT; i++)
        slab_give(pieces[i]);

    size_t mapped = pages(MAPPED);

    for (size_t size = 64; size <= 1984; size += 320) {
        for (size_t i = 0; i < COUNT; i++)
            pieces[i] = slab_take(size);
        for (size_t i = 0; i < COUNT; i++)
            slab_give(pieces[i]);
    }
    assert_int_equal(pages(MAPPED), mapped);
}

static void *give_all(void *arg)
{
    void **pieces = arg;

    for (size_t i = 0; i < COUNT; i++)
        slab_give(pieces[i]);
    return NULL;
}

static void *take_one(void *arg)
{
    (void)arg;
    return memset(slab_take(LONG_BYTES), 2, LONG_BYTES);
}

static int compare(const void *a, const void *b)
{
    uintptr_t left = (uintptr_t) * (void *const *)a, right = (uintptr_t) * (void *const *)b;

    return (left > right) - (left < right);
}

static void what_another_thread_gives_back_is_used_again(void **state)
{
    static void *first[COUNT], *second[COUNT];
    pthread_t thread;
    (void)state;

    for (size_t i = 0; i < COUNT; i++)
        first[i] = memset(slab_take(LONG_BYTES), 1, LONG_BYTES);
    assert_int_equal(pthread_create(&thread, NULL, give_all, first), 0);
    for (size_t i = 0; i < COUNT; i++) /* at the same time */
        second[i] = memset(slab_take(LONG_BYTES), 3, LONG_BYTES);
    pthread_join(thread, NULL);
    for (size_t i = 0; i < COUNT; i++)
        slab_give(second[i]);
    for (size_t i = 0; i < COUNT; i++)
        second[i] = memset(slab_take(LONG_BYTES), 4, LONG_BYTES);
    qsort(second, COUNT, sizeof(second[0]), compare);
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(i == 0 || second[i] != second[i - 1]);
        slab_give(second[i]);
    }

    size_t before = resident_bytes();

    for (size_t round = 0; round < 20; round++) { /* nothing is lost by going through others */
        for (size_t i = 0; i < COUNT; i++)
            first[i] = memset(slab_take(LONG_BYTES), 1, LONG_BYTES);
        assert_int_equal(pthread_create(&thread, NULL, give_all, first), 0);
        pthread_join(thread, NULL);
    }
    assert_true(resident_bytes() < before + (size_t)3 * COUNT * LONG_BYTES);
}

static void a_piece_outlives_its_thread(void **state)
{
    pthread_t thread;
    void *piece;
    (void)state;

    assert_int_equal(pthread_create(&thread, NULL, take_one, NULL), 0);
    pthread_join(thread, &piece);
    assert_int_equal(((unsigned char *)piece)[LONG_BYTES - 1], 2);
    slab_give(piece);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_of_every_size_are_aligned_and_never_overlap),
        cmocka_unit_test(what_came_for_a_moment_leaves_no_holes),
        cmocka_unit_test(what_is_needed_again_is_not_cooled),
        cmocka_unit_test(empty_spans_serve_the_next_size),
        cmocka_unit_test(what_another_thread_gives_back_is_used_again),
        cmocka_unit_test(a_piece_outlives_its_thread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
