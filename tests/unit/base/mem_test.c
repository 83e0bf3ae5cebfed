#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/mem.h"

/* Under a sanitizer this is malloc and free; elsewhere the lists of free pieces are at work. */
static void taken_pieces_have_their_size_and_never_overlap(void **state)
{
    enum { SIZES = 14, ROUNDS = 3 };
    static const size_t sizes[SIZES] = { 0,    1,    64,    65,    2048,   4096,   4097,
                                         8192, 8704, 16410, 65536, 131072, 131584, 300000 };
    unsigned char *pieces[SIZES][2];
    (void)state;

    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < SIZES; i++) {
            for (int twin = 0; twin < 2; twin++) {
                pieces[i][twin] = mem_take(sizes[i]);
                memset(pieces[i][twin], (int)(2 * i) + twin, sizes[i]);
            }
        }
        for (size_t i = 0; i < SIZES; i++) {
            for (int twin = 0; twin < 2; twin++) {
                for (size_t at = 0; at < sizes[i]; at++)
                    assert_int_equal(pieces[i][twin][at], 2 * i + (unsigned)twin);
                mem_give(pieces[i][twin], sizes[i]);
            }
        }
    }
}

static void more_than_the_lists_keep_goes_back(void **state)
{
    enum { COUNT = 500 };
    static void *pieces[COUNT];
    (void)state;

    for (int i = 0; i < COUNT; i++)
        pieces[i] = mem_take(4000);
    for (int i = 0; i < COUNT; i++)
        mem_give(pieces[i], 4000);
    mem_give(NULL, 4000);
    void *again = mem_take(4000);
    assert_non_null(again);
    mem_give(again, 4000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(taken_pieces_have_their_size_and_never_overlap),
        cmocka_unit_test(more_than_the_lists_keep_goes_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
