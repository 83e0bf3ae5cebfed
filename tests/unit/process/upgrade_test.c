/* Two generations of this test program itself: started by upgrade_start() it finds the link of the
 * one before in its environment, and plays the successor that UPGRADE_ROLE names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/log.h"
#include "upgrade.h"

#define ROLE_VARIABLE "UPGRADE_ROLE"

struct fixture {
    struct loop *loop;
    struct upgrade *upgrade;
    pid_t served;
    bool has_failed, is_alone;
    pid_t pid;
    int wait_status;
};

static void on_served(void *owner, pid_t successor)
{
    ((struct fixture *)owner)->served = successor;
}

static void on_failed(void *owner)
{
    ((struct fixture *)owner)->has_failed = true;
}

static void on_alone(void *owner)
{
    ((struct fixture *)owner)->is_alone = true;
}

static const struct upgrade_events events = { on_served, on_failed, on_alone };

static void turn_until(struct fixture *f, const bool *done, uint64_t ms)
{
    uint64_t end_ms = loop_clock(f->loop)->now_ms + ms;

    while (!*done && loop_clock(f->loop)->now_ms < end_ms)
        loop_turn(f->loop, 10);
}

/* ---- the successor ---- */

/* Its exit code: 0 when all was as it must be. */
static int succeed(const char *role)
{
    struct fixture f = { 0 };

    if (strcmp(role, "ends") == 0)
        return 7;
    log_set_level(LOG_ERROR);
    ENSURE(loop_create(&f.loop) == STATUS_OK);
    f.upgrade = upgrade_create(f.loop, &events, &f);
    bool knows = upgrade_has_previous(f.upgrade) && getenv("EXEC_GATEWAY_PREVIOUS") == NULL &&
                 strcmp(getenv("EXEC_GATEWAY_SOCKETS"), "lines") == 0 &&
                 getenv("LISTEN_FDS") == NULL;

    if (strcmp(role, "serves") == 0)
        upgrade_tell_ready(f.upgrade);
    turn_until(&f, &f.is_alone, 5000);
    knows = knows && f.is_alone && !upgrade_has_previous(f.upgrade);
    upgrade_destroy(&f.upgrade);
    loop_destroy(&f.loop);
    return knows ? 0 : 8;
}

/* ---- the one before ---- */

static int set_up(void **state)
{
    static struct fixture f;

    f = (struct fixture){ 0 };
    assert_int_equal(loop_create(&f.loop), STATUS_OK);
    f.upgrade = upgrade_create(f.loop, &events, &f);
    log_set_level(LOG_ERROR + 1);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    upgrade_destroy(&f->upgrade);
    upgrade_destroy(&f->upgrade);
    loop_destroy(&f->loop);
    log_set_level(LOG_INFO);
    return 0;
}

static void start(struct fixture *f, const char *role, uint64_t timeout_ms)
{
    setenv(ROLE_VARIABLE, role, 1);
    setenv("LISTEN_FDS", "3", 1); /* not the successor's business */
    assert_false(upgrade_has_previous(f->upgrade));
    assert_int_equal(upgrade_start(f->upgrade, "lines", NULL, 0, timeout_ms), STATUS_OK);
    assert_true(upgrade_is_starting(f->upgrade));
}

/* Turns until the successor has ended, and reaps it as the gateway does upon SIGCHLD. */
static void reap(struct fixture *f)
{
    uint64_t end_ms = loop_clock(f->loop)->now_ms + 5000;

    while ((f->pid = waitpid(-1, &f->wait_status, WNOHANG)) == 0 &&
           loop_clock(f->loop)->now_ms < end_ms)
        loop_turn(f->loop, 10);
    assert_true(f->pid > 0);
    if (f->upgrade != NULL)
        assert_true(upgrade_reap(f->upgrade, f->pid, f->wait_status));
}

static void a_successor_that_serves_is_told_when_it_is_alone(void **state)
{
    struct fixture *f = *state;
    bool never = false;

    start(f, "serves", 5000);
    for (unsigned i = 0; i < 500 && f->served == 0; i++)
        turn_until(f, &never, 10);
    assert_true(f->served > 0);
    assert_false(upgrade_is_starting(f->upgrade));
    assert_false(f->has_failed);
    upgrade_destroy(&f->upgrade); /* as when this one has drained */
    reap(f);
    assert_int_equal(f->pid, f->served);
    assert_true(WIFEXITED(f->wait_status));
    assert_int_equal(WEXITSTATUS(f->wait_status), 0);
}

static void a_successor_that_does_not_serve_in_time_is_ended(void **state)
{
    struct fixture *f = *state;

    start(f, "sleeps", 100);
    turn_until(f, &f->has_failed, 3000);
    assert_true(f->has_failed);
    assert_int_equal(f->served, 0);
    f->has_failed = false;
    reap(f);
    assert_true(WIFSIGNALED(f->wait_status));
    assert_false(f->has_failed); /* was told once */
    assert_false(upgrade_is_starting(f->upgrade));
}

static void a_successor_that_ends_before_it_serves_is_a_failure_and_the_next_may_come(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 2; i++) {
        f->has_failed = false;
        start(f, "ends", 5000);
        reap(f);
        assert_true(f->has_failed);
        assert_int_equal(WEXITSTATUS(f->wait_status), 7);
        assert_false(upgrade_is_starting(f->upgrade));
    }
    assert_int_equal(f->served, 0);
}

static void a_successor_is_not_needed_when_we_end_ourselves(void **state)
{
    struct fixture *f = *state;

    start(f, "sleeps", 5000);
    upgrade_cancel(f->upgrade);
    reap(f);
    assert_true(WIFSIGNALED(f->wait_status));
    upgrade_cancel(f->upgrade);                        /* nothing is starting */
    assert_false(upgrade_reap(f->upgrade, f->pid, 0)); /* no longer ours */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_successor_that_serves_is_told_when_it_is_alone),
        TEST(a_successor_that_does_not_serve_in_time_is_ended),
        TEST(a_successor_that_ends_before_it_serves_is_a_failure_and_the_next_may_come),
        TEST(a_successor_is_not_needed_when_we_end_ourselves),
    };

    if (getenv("EXEC_GATEWAY_PREVIOUS") != NULL)
        return succeed(getenv(ROLE_VARIABLE));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
