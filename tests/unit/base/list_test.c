/* tests/unit/base/list_test.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/list.h"

static void links_keep_their_order_when_lists_are_joined(void **state)
{
    struct list a, b, links[4];
    unsigned next = 0;

    (void)state;
    list_init(&a);
    list_init(&b);
    for (unsigned i = 0; i < 4; i++)
        list_append(i < 2 ? &a : &b, &links[i]);
    list_move_all(&a, &b);
    assert_true(list_is_empty(&b));
    list_move_all(&a, &b);
    LIST_EACH(&a, link)
    {
        assert_ptr_equal(link, &links[next++]);
        list_unlink(link);
    }
    assert_int_equal(next, 4);
    assert_true(list_is_empty(&a));
    assert_false(list_is_linked(&links[0]));
    list_unlink(&links[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(links_keep_their_order_when_lists_are_joined),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
