#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/access_log.h"

static struct loop *make_loop(void)
{
    struct loop *loop;

    assert_int_equal(loop_create(&loop), STATUS_OK);
    return loop;
}

/* Until lines that wait for others have gone. */
static void wait_for_lines(struct loop *loop)
{
    for (int i = 0; i < 3; i++)
        loop_turn(loop, 20);
}

static void lines_leave_together_after_a_moment(void **state)
{
    struct loop *loop = make_loop();
    char path[] = "/tmp/access_log_test.XXXXXX", text[64];
    int fd = mkstemp(path);
    struct access_log *log = access_log_create(loop, fd);
    (void)state;

    access_log_line(log, SLICE("{\"a\":1}"));
    access_log_line(log, SLICE("{\"b\":2}"));
    assert_int_equal(pread(fd, text, sizeof(text), 0), 0);
    loop_turn(loop, 0);
    assert_int_equal(pread(fd, text, sizeof(text), 0), 0);
    wait_for_lines(loop);
    assert_int_equal(pread(fd, text, sizeof(text), 0), 16);
    assert_memory_equal(text, "{\"a\":1}\n{\"b\":2}\n", 16);
    assert_int_equal(access_log_dropped(log), 0);
    access_log_line(log, SLICE("last"));
    access_log_destroy(&log); /* writes what is left */
    assert_int_equal(pread(fd, text, sizeof(text), 16), 5);
    close(fd);
    unlink(path);
    loop_destroy(&loop);
}

static void many_lines_do_not_wait(void **state)
{
    struct loop *loop = make_loop();
    char path[] = "/tmp/access_log_test.XXXXXX", line[1023];
    int fd = mkstemp(path);
    struct access_log *log = access_log_create(loop, fd);
    (void)state;

    memset(line, 'x', sizeof(line));
    for (int i = 0; i < 63; i++)
        access_log_line(log, slice_of(line, sizeof(line)));
    assert_int_equal(lseek(fd, 0, SEEK_END), 0);
    access_log_line(log, slice_of(line, sizeof(line)));
    assert_int_equal(lseek(fd, 0, SEEK_END), 64 * 1024);
    access_log_destroy(&log);
    close(fd);
    unlink(path);
    loop_destroy(&loop);
}

static void a_full_pipe_loses_lines_and_counts_them_but_never_blocks(void **state)
{
    struct loop *loop = make_loop();
    char line[1000], text[PIPE_BUF];
    int ends[2];
    (void)state;

    assert_int_equal(pipe(ends), 0); /* a blocking one */
    struct access_log *log = access_log_create(loop, ends[1]);
    memset(line, 'x', sizeof(line));
    for (int i = 0; i < 200; i++)
        access_log_line(log, slice_of(line, sizeof(line)));
    wait_for_lines(loop);
    uint64_t dropped = access_log_dropped(log);
    assert_in_range(dropped, 100, 199);
    size_t got = 0;
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    for (ssize_t count; (count = read(ends[0], text, sizeof(text))) > 0;)
        got += (size_t)count;
    assert_int_equal(got, (200 - dropped) * (sizeof(line) + 1)); /* whole lines alone */
    access_log_line(log, SLICE("again"));
    wait_for_lines(loop);
    assert_int_equal(read(ends[0], text, sizeof(text)), 6);
    access_log_destroy(&log);
    close(ends[0]);
    close(ends[1]);
    loop_destroy(&loop);
}

static void another_file_takes_over_between_lines(void **state)
{
    struct loop *loop = make_loop();
    char first[] = "/tmp/access_log_test.XXXXXX", second[] = "/tmp/access_log_test.XXXXXX", text[8];
    int a = mkstemp(first), b = mkstemp(second);
    struct access_log *log = access_log_create(loop, a);
    (void)state;

    access_log_line(log, SLICE("one"));
    access_log_set_fd(log, b);
    access_log_line(log, SLICE("two"));
    wait_for_lines(loop);
    assert_int_equal(pread(a, text, sizeof(text), 0), 4);
    assert_memory_equal(text, "one\n", 4);
    assert_int_equal(pread(b, text, sizeof(text), 0), 4);
    assert_memory_equal(text, "two\n", 4);
    access_log_destroy(&log);
    close(a);
    close(b);
    unlink(first);
    unlink(second);
    loop_destroy(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_leave_together_after_a_moment),
        cmocka_unit_test(many_lines_do_not_wait),
        cmocka_unit_test(a_full_pipe_loses_lines_and_counts_them_but_never_blocks),
        cmocka_unit_test(another_file_takes_over_between_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
