/* tests/unit/base/slice_test.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "base/slice.h"

static void cut_leaves_what_stands_after_the_separator(void **state)
{
    struct slice rest = SLICE("a=b=c");

    (void)state;
    assert_true(slice_equal(slice_cut(&rest, '='), SLICE("a")));
    assert_true(slice_equal(rest, SLICE("b=c")));
    assert_true(slice_equal(slice_cut(&rest, ';'), SLICE("b=c")));
    assert_int_equal(rest.len, 0);
    assert_int_equal(slice_cut(&rest, '=').len, 0);
}

static void numbers_are_digits_alone_and_do_not_overflow(void **state)
{
    uint64_t number = 7;

    (void)state;
    assert_true(slice_to_u64(SLICE("18446744073709551615"), &number));
    assert_true(number == UINT64_MAX);
    assert_false(slice_to_u64(SLICE("18446744073709551616"), &number));
    assert_false(slice_to_u64(SLICE(""), &number));
    assert_false(slice_to_u64(SLICE("+1"), &number));
    assert_false(slice_to_u64(SLICE(" 1"), &number));
    assert_false(slice_to_u64(SLICE("1x"), &number));
}

static void trim_takes_spaces_and_tabs_only(void **state)
{
    (void)state;
    assert_true(slice_equal(slice_trim(SLICE(" \ta b\t ")), SLICE("a b")));
    assert_true(slice_equal(slice_trim(SLICE("\r\n")), SLICE("\r\n")));
    assert_int_equal(slice_trim(SLICE(" \t ")).len, 0);
}

static void comparisons_respect_length_and_case(void **state)
{
    (void)state;
    assert_true(slice_equal_nocase(SLICE("Host"), SLICE("hOST")));
    assert_false(slice_equal(SLICE("Host"), SLICE("host")));
    assert_true(slice_starts_with_nocase(SLICE("Bearer x"), SLICE("bearer ")));
    assert_false(slice_starts_with(SLICE("ab"), SLICE("abc")));
    assert_true(slice_ends_with(SLICE("a.b"), SLICE(".b")));
    assert_true(slice_equal_secret(SLICE("same"), SLICE("same")));
    assert_false(slice_equal_secret(SLICE("same"), SLICE("samf")));
    assert_false(slice_equal_secret(SLICE("same"), SLICE("sam")));
    for (size_t at = 0; at < 19; at++) {
        char text[] = "abcdefghijklmnopqrs";

        assert_true(slice_equal_secret(slice_of(text, 19), SLICE("abcdefghijklmnopqrs")));
        text[at] ^= 1;
        assert_false(slice_equal_secret(slice_of(text, 19), SLICE("abcdefghijklmnopqrs")));
    }
    assert_true(slice_equal(slice_of(NULL, 0), SLICE_EMPTY));
}

static char *guarded; /* pages: the second is out of reach until it is touched */
static volatile sig_atomic_t touched;

static void on_fault(int number)
{
    (void)number;
    touched = 1;
    (void)mprotect(guarded + 4096, 4096, PROT_READ | PROT_WRITE);
}

/* Whether comparing two texts that differ in byte `at` alone, or nowhere (-1), reads the second half of one of them. */
static bool reads_all(bool (*equal)(struct slice a, struct slice b), int at)
{
    char right[64], *left = guarded + 4096 - 32;

    for (int i = 0; i < 64; i++)
        left[i] = right[i] = (char)('a' + i % 26);
    if (at >= 0)
        right[at] ^= 1;
    touched = 0;
    assert_int_equal(mprotect(guarded + 4096, 4096, PROT_NONE), 0);
    assert_int_equal(equal(slice_of(left, 64), slice_of(right, 64)), at < 0);
    assert_int_equal(mprotect(guarded + 4096, 4096, PROT_READ | PROT_WRITE), 0);
    return touched;
}

static bool slice_equal_by_byte(struct slice a, struct slice b)
{
    for (size_t i = 0; i < a.len; i++)
        if (a.ptr[i] != b.ptr[i])
            return false;
    return true;
}

/* The time of a comparison must not say how much of a guess was right, so it reads to the end. Not a clock but the pages tell.
 * The other way of comparing shows that they would. */
static void secrets_are_read_to_their_end(void **state)
{
    struct sigaction before, watching = { .sa_handler = on_fault };

    (void)state;
    guarded = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(guarded != MAP_FAILED);
    assert_int_equal(sigaction(SIGSEGV, &watching, &before), 0);
    for (int at = -1; at < 64; at++) {
        assert_true(reads_all(slice_equal_secret, at));
    }
    assert_false(reads_all(slice_equal_by_byte, 0));
    assert_int_equal(sigaction(SIGSEGV, &before, NULL), 0);
    munmap(guarded, 8192);
}

static void copies_end_with_nul_and_fit(void **state)
{
    char text[4];
    char *copy = slice_dup(SLICE("abc"));

    (void)state;
    assert_string_equal(slice_to_string(SLICE("abcdef"), text, sizeof(text)), "abc");
    assert_string_equal(copy, "abc");
    mem_free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_leaves_what_stands_after_the_separator),
        cmocka_unit_test(numbers_are_digits_alone_and_do_not_overflow),
        cmocka_unit_test(trim_takes_spaces_and_tabs_only),
        cmocka_unit_test(comparisons_respect_length_and_case),
        cmocka_unit_test(secrets_are_read_to_their_end),
        cmocka_unit_test(copies_end_with_nul_and_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
