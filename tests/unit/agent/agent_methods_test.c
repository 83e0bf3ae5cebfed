/* The eight methods of process.Process, seen by a client. */
#include <dirent.h>
#include <sys/wait.h>

#include "agent_fixture.h"

static void start_tells_pid_output_and_end_in_this_order(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *t = rpc_new();

    rpc_call(f, t, "Start",
             "{\"process\":{\"cmd\":\"sh\",\"args\":[\"-c\",\"echo out; echo err >&2; exit 3\"]}}");
    WAIT_FOR(f, t->is_ended);
    assert_int_equal(t->status, 200);
    assert_text(t->content_type, "application/connect+json");
    assert_true(t->started_first);
    assert_true(t->pid > 0);
    assert_text(t->out, "out\n");
    assert_text(t->err, "err\n");
    assert_int_equal(t->end_count, 1);
    assert_int_equal(t->exit_code, 3);
    assert_true(t->exited);
    assert_text(t->end_status, "exit status 3");
    assert_text(t->end_stream, "{}");
    rpc_free(&t);
}

static void a_bare_command_array_starts_too(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *t = rpc_new();

    rpc_call(f, t, "Start", "{\"command\":[\"echo\",\"a b\"]}");
    WAIT_FOR(f, t->is_ended);
    assert_text(t->out, "a b\n");
    rpc_free(&t);
}

static void environment_is_clean_and_takes_what_was_asked(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *t = rpc_new();

    setenv("AGENT_SECRET", "x", 1);
    rpc_call(f, t, "Start",
             "{\"process\":{\"cmd\":\"sh\",\"args\":[\"-c\",\"pwd; echo $A $AGENT_SECRET $PATH\"],"
             "\"envs\":{\"A\":\"1\",\"PATH\":\"/usr/bin:/bin\"},\"cwd\":\"/usr\"}}");
    WAIT_FOR(f, t->is_ended);
    assert_text(t->out, "/usr\n1 /usr/bin:/bin\n");
    rpc_free(&t);
}

static void expect_failure(struct fixture *f, const char *json, const char *code, const char *words)
{
    struct rpc_test *t = rpc_new();

    rpc_call(f, t, "Start", json);
    WAIT_FOR(f, t->is_ended);
    assert_int_equal(t->status, 200);
    assert_int_equal(t->event_count, 0);
    assert_has(t->end_stream, code);
    assert_has(t->end_stream, words);
    rpc_free(&t);
}

static void a_failed_start_says_why(void **state)
{
    struct fixture *f = *state;

    expect_failure(f, "{\"process\":{\"cmd\":\"no-such-command\"}}", "\"not_found\"",
                   "no such command");
    expect_failure(f, "{\"process\":{\"cmd\":\"/no/such\"}}", "\"not_found\"", "no such command");
    expect_failure(f, "{\"process\":{\"cmd\":\"/etc\"}}", "\"permission_denied\"", "/etc");
    expect_failure(f, "{\"process\":{\"cmd\":\"/etc/passwd\"}}", "\"permission_denied\"", "passwd");
    expect_failure(f, "{\"process\":{\"cmd\":\"ls\",\"cwd\":\"/no/such\"}}", "\"invalid_argument\"",
                   "cwd");
    expect_failure(f, "{\"process\":{\"cmd\":\"ls\",\"cwd\":\"/etc/passwd\"}}",
                   "\"invalid_argument\"", "not a directory");
    expect_failure(f, "{\"process\":{\"cmd\":\"\"}}", "\"invalid_argument\"", "cmd");
    expect_failure(f, "{\"process\":{\"cmd\":\"ls\",\"args\":[\"a\\u0000b\"]}}",
                   "\"invalid_argument\"", "NUL");
    expect_failure(f, "{\"process\":{\"cmd\":\"ls\",\"envs\":{\"A=B\":\"c\"}}}",
                   "\"invalid_argument\"", "envs");
    expect_failure(f, "{\"process\":", "\"invalid_argument\"", "");
}

static void stream_input_is_echoed_before_the_request_ends(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *cat = rpc_new(), *in = rpc_new();
    char json[200];

    rpc_call(f, cat, "Start", "{\"process\":{\"cmd\":\"cat\"},\"tag\":\"live\"}");
    WAIT_FOR(f, cat->pid > 0);
    rpc_open(f, in, "StreamInput", "application/connect+json", NULL);
    snprintf(json, sizeof(json), "{\"start\":{\"process\":{\"pid\":%u}}}", cat->pid);
    rpc_send(in, json);
    rpc_send(in, "{\"data\":{\"input\":{\"stdin\":\"b25lCg==\"}}}");
    WAIT_FOR(f, cat->out.len == 4);
    rpc_send(in, "{\"keepalive\":{}}");
    rpc_send(in, "{\"data\":{\"input\":{\"stdin\":\"dHdvCg==\"}}}");
    WAIT_FOR(f, cat->out.len == 8);
    assert_text(cat->out, "one\ntwo\n");
    assert_false(in->is_ended);
    rpc_send_end(in);
    WAIT_FOR(f, in->is_ended);
    assert_text(in->message, "{}");
    assert_text(in->end_stream, "{}");
    rpc_do(f, "CloseStdin", "{\"process\":{\"tag\":\"live\"}}");
    WAIT_FOR(f, cat->is_ended);
    assert_int_equal(cat->exit_code, 0);
    rpc_free(&cat);
    rpc_free(&in);
}

static void stream_input_wants_its_start_first(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *t = rpc_new();

    rpc_open(f, t, "StreamInput", "application/connect+json", NULL);
    rpc_send(t, "{\"data\":{\"input\":{\"stdin\":\"YQ==\"}}}");
    WAIT_FOR(f, t->is_ended);
    assert_has(t->end_stream, "\"invalid_argument\"");
    rpc_free(&t);
}

static void send_input_reaches_stdin_and_close_stdin_ends_it(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *t = rpc_new();

    rpc_call(f, t, "Start", "{\"process\":{\"cmd\":\"wc\",\"args\":[\"-c\"]}}");
    WAIT_FOR(f, t->pid > 0);
    rpc_do(f, "SendInput", "{\"process\":{\"pid\":%u},\"input\":{\"stdin\":\"YWJjZA==\"}}", t->pid);
    rpc_do(f, "CloseStdin", "{\"process\":{\"pid\":%u}}", t->pid);
    WAIT_FOR(f, t->is_ended);
    assert_text(t->out, "4\n");
    rpc_free(&t);
}

static void without_stdin_a_reader_sees_its_end(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *t = rpc_new();

    rpc_call(f, t, "Start", "{\"process\":{\"cmd\":\"cat\"},\"stdin\":false}");
    WAIT_FOR(f, t->is_ended);
    assert_int_equal(t->exit_code, 0);
    rpc_free(&t);
}

static void expect_unary(struct fixture *f, const char *method, const char *json, unsigned status,
                         const char *code)
{
    struct rpc_test *t = rpc_new();

    rpc_call(f, t, method, json);
    WAIT_FOR(f, t->is_ended);
    assert_int_equal(t->status, status);
    assert_text(t->content_type, "application/json");
    assert_has(t->body, code);
    rpc_free(&t);
}

static void input_of_the_wrong_kind_is_a_failed_precondition(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *t = rpc_new();

    rpc_call(f, t, "Start", "{\"process\":{\"cmd\":\"cat\"},\"tag\":\"kind\"}");
    WAIT_FOR(f, t->pid > 0);
    expect_unary(f, "SendInput", "{\"process\":{\"tag\":\"kind\"},\"input\":{\"pty\":\"YQ==\"}}",
                 400, "\"failed_precondition\"");
    expect_unary(f, "SendInput", "{\"process\":{\"tag\":\"kind\"}}", 400, "\"invalid_argument\"");
    expect_unary(f, "Update",
                 "{\"process\":{\"tag\":\"kind\"},\"pty\":{\"size\":{\"cols\":1,\"rows\":1}}}", 400,
                 "\"failed_precondition\"");
    rpc_do(f, "CloseStdin", "{\"process\":{\"tag\":\"kind\"}}");
    WAIT_FOR(f, t->is_ended);
    rpc_free(&t);
}

static void a_pty_echoes_and_takes_a_new_size(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *t = rpc_new();

    rpc_call(
        f, t, "Start",
        "{\"process\":{\"cmd\":\"bash\",\"args\":[\"--norc\",\"-i\"],\"envs\":{\"PS1\":\"> \"}},"
        "\"pty\":{\"size\":{\"cols\":80,\"rows\":24}}}");
    WAIT_FOR(f, t->pty.len > 0 && strstr(buf_text(&t->pty), "> ") != NULL);
    rpc_do(f, "SendInput", "{\"process\":{\"pid\":%u},\"input\":{\"pty\":\"c3R0eSBzaXplCg==\"}}",
           t->pid);
    WAIT_FOR(f, strstr(buf_text(&t->pty), "24 80") != NULL);
    assert_has(t->pty, "stty size"); /* the echo */
    rpc_do(f, "Update", "{\"process\":{\"pid\":%u},\"pty\":{\"size\":{\"cols\":132,\"rows\":50}}}",
           t->pid);
    rpc_do(f, "SendInput", "{\"process\":{\"pid\":%u},\"input\":{\"pty\":\"c3R0eSBzaXplCg==\"}}",
           t->pid);
    WAIT_FOR(f, strstr(buf_text(&t->pty), "50 132") != NULL);
    WAIT_FOR(f, strstr(strstr(buf_text(&t->pty), "50 132"), "> ") != NULL);
    run_for(f, 50); /* the prompt is there; readline switches the terminal just after it */
    rpc_do(f, "SendInput", "{\"process\":{\"pid\":%u},\"input\":{\"pty\":\"BA==\"}}", t->pid);
    WAIT_FOR(f, t->is_ended);
    assert_int_equal(t->end_count, 1);
    rpc_free(&t);
}

/* A killed grandchild stays a zombie until init has seen it: that is gone as well. */
static bool group_is_gone(uint32_t group)
{
    DIR *directory = opendir("/proc");
    bool gone = true;

    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        char path[300], state = 'Z';
        int in_group = 0;

        snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
        FILE *file = fopen(path, "re");

        if (file == NULL)
            continue;
        if (fscanf(file, "%*d (%*[^)]) %c %*d %d", &state, &in_group) == 2 &&
            in_group == (int)group && state != 'Z')
            gone = false;
        fclose(file);
    }
    closedir(directory);
    return gone;
}

static void signals_reach_the_whole_group(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *t = rpc_new();

    rpc_call(f, t, "Start",
             "{\"process\":{\"cmd\":\"sh\",\"args\":[\"-c\",\"sleep 100; echo x\"]}}");
    WAIT_FOR(f, t->pid > 0);
    run_for(f, 50); /* the shell forks */
    rpc_do(f, "SendSignal", "{\"process\":{\"pid\":%u},\"signal\":\"SIGNAL_SIGTERM\"}", t->pid);
    WAIT_FOR(f, t->is_ended);
    assert_text(t->end_status, "signal: terminated");
    assert_int_equal(t->exit_code, -1);
    assert_false(t->exited);
    assert_text(t->out, "");
    WAIT_FOR(f, group_is_gone(t->pid)); /* the child as well */
    expect_unary(f, "SendSignal", "{\"process\":{\"pid\":1},\"signal\":\"SIGNAL_UNSPECIFIED\"}",
                 501, "\"unimplemented\"");
    expect_unary(f, "SendSignal", "{\"process\":{\"pid\":1},\"signal\":\"SIGNAL_SIGKILL\"}", 404,
                 "\"not_found\"");
    rpc_free(&t);
}

static void list_shows_what_runs(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *t = rpc_new(), *list = rpc_new();

    rpc_call(f, t, "Start",
             "{\"process\":{\"cmd\":\"sleep\",\"args\":[\"100\"]},\"tag\":\"listed\"}");
    WAIT_FOR(f, t->pid > 0);
    rpc_call(f, list, "List", "{}");
    WAIT_FOR(f, list->is_ended);
    assert_has(list->body, "\"sleep\"");
    assert_has(list->body, "\"listed\"");
    rpc_do(f, "SendSignal", "{\"process\":{\"tag\":\"listed\"},\"signal\":9}");
    WAIT_FOR(f, t->is_ended);
    assert_text(t->end_status, "signal: killed");
    rpc_close(list);
    rpc_call(f, list, "List", "{}");
    WAIT_FOR(f, list->is_ended);
    assert_null(strstr(buf_text(&list->body), "listed"));
    rpc_free(&t);
    rpc_free(&list);
}

static void connect_by_tag_sees_what_follows_and_then_the_end(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *cat = rpc_new(), *other = rpc_new(), *late = rpc_new(), *decoy = rpc_new();

    rpc_call(f, cat, "Start", "{\"process\":{\"cmd\":\"cat\"},\"tag\":\"shared\"}");
    rpc_call(f, decoy, "Start",
             "{\"process\":{\"cmd\":\"sleep\",\"args\":[\"100\"]},\"tag\":\"decoy\"}");
    WAIT_FOR(f, cat->pid > 0 && decoy->pid > 0);
    rpc_do(f, "SendInput", "{\"process\":{\"tag\":\"shared\"},\"input\":{\"stdin\":\"YQ==\"}}");
    WAIT_FOR(f, cat->out.len == 1);
    rpc_call(f, other, "Connect", "{\"process\":{\"tag\":\"shared\"}}");
    WAIT_FOR(f, other->pid > 0);
    assert_int_equal(other->pid, cat->pid);
    rpc_do(f, "SendInput", "{\"process\":{\"tag\":\"shared\"},\"input\":{\"stdin\":\"Yg==\"}}");
    WAIT_FOR(f, cat->out.len == 2 && other->out.len == 1);
    rpc_do(f, "CloseStdin", "{\"process\":{\"tag\":\"shared\"}}");
    WAIT_FOR(f, cat->is_ended && other->is_ended);
    assert_text(other->out, "b");
    assert_int_equal(other->end_count, 1);
    rpc_call(f, late, "Connect", "{\"process\":{\"tag\":\"shared\"}}");
    WAIT_FOR(f, late->is_ended);
    assert_int_equal(late->pid, cat->pid);
    assert_int_equal(late->end_count, 1);
    assert_int_equal(late->event_count, 2);
    rpc_do(f, "SendSignal", "{\"process\":{\"tag\":\"decoy\"},\"signal\":9}");
    WAIT_FOR(f, decoy->is_ended);
    rpc_free(&cat);
    rpc_free(&other);
    rpc_free(&late);
    rpc_free(&decoy);
}

static void tune_retention(struct guest_agent_options *options)
{
    options->service.table.retain_ms = 100;
    options->service.table.max_running = 1;
}

static void an_ended_process_is_forgotten_in_time(void **state)
{
    struct fixture f = { 0 };
    struct rpc_test *t = rpc_new(), *late = rpc_new();
    (void)state;

    fixture_start(&f, tune_retention);
    rpc_call(&f, t, "Start", "{\"process\":{\"cmd\":\"true\"},\"tag\":\"gone\"}");
    WAIT_FOR(&f, t->is_ended);
    run_for(&f, 250);
    rpc_call(&f, late, "Connect", "{\"process\":{\"tag\":\"gone\"}}");
    WAIT_FOR(&f, late->is_ended);
    assert_has(late->end_stream, "\"not_found\"");
    rpc_free(&t);
    rpc_free(&late);
    fixture_stop(&f);
}

static void too_many_processes_are_refused(void **state)
{
    struct fixture f = { 0 };
    struct rpc_test *t = rpc_new();
    (void)state;

    fixture_start(&f, tune_retention);
    rpc_call(&f, t, "Start", "{\"process\":{\"cmd\":\"sleep\",\"args\":[\"100\"]}}");
    WAIT_FOR(&f, t->pid > 0);
    expect_failure(&f, "{\"process\":{\"cmd\":\"true\"}}", "\"resource_exhausted\"", "too many");
    rpc_free(&t);
    fixture_stop(&f); /* kills the sleeper */
}

static void the_deadline_of_start_kills_the_group(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *t = rpc_new(), *other = rpc_new();
    const char *fields[] = { "connect-timeout-ms", "300", NULL };
    char json[100];

    rpc_open(f, t, "Start", "application/connect+json", fields);
    rpc_send(t, "{\"process\":{\"cmd\":\"sh\",\"args\":[\"-c\",\"sleep 100 & wait\"]}}");
    rpc_send_end(t);
    WAIT_FOR(f, t->pid > 0);
    snprintf(json, sizeof(json), "{\"process\":{\"pid\":%u}}", t->pid);
    rpc_call(f, other, "Connect", json);
    WAIT_FOR(f, t->is_ended && other->is_ended);
    assert_has(t->end_stream, "\"deadline_exceeded\"");
    assert_text(other->end_status, "signal: killed");
    WAIT_FOR(f, group_is_gone(t->pid));
    rpc_free(&t);
    rpc_free(&other);
}

static void the_deadline_of_connect_ends_its_stream_alone(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *t = rpc_new(), *other = rpc_new();
    const char *fields[] = { "connect-timeout-ms", "200", NULL };

    rpc_call(f, t, "Start", "{\"process\":{\"cmd\":\"cat\"},\"tag\":\"stays\"}");
    WAIT_FOR(f, t->pid > 0);
    rpc_open(f, other, "Connect", "application/connect+json", fields);
    rpc_send(other, "{\"process\":{\"tag\":\"stays\"}}");
    rpc_send_end(other);
    WAIT_FOR(f, other->is_ended);
    assert_has(other->end_stream, "\"deadline_exceeded\"");
    rpc_do(f, "CloseStdin", "{\"process\":{\"tag\":\"stays\"}}");
    WAIT_FOR(f, t->is_ended);
    assert_int_equal(t->exit_code, 0);
    rpc_free(&t);
    rpc_free(&other);
}

static void a_client_that_goes_away_does_not_end_the_process(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *t = rpc_new(), *again = rpc_new();

    rpc_call(f, t, "Start", "{\"process\":{\"cmd\":\"cat\"},\"tag\":\"survivor\"}");
    WAIT_FOR(f, t->pid > 0);
    rpc_close(t);
    fixture_connect(f, false);
    rpc_call(f, again, "Connect", "{\"process\":{\"tag\":\"survivor\"}}");
    WAIT_FOR(f, again->pid > 0);
    rpc_do(f, "SendSignal", "{\"process\":{\"tag\":\"survivor\"},\"signal\":\"SIGNAL_SIGTERM\"}");
    WAIT_FOR(f, again->is_ended);
    assert_text(again->end_status, "signal: terminated");
    rpc_free(&t);
    rpc_free(&again);
}

static size_t count_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    size_t count = 0;

    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

static void two_hundred_processes_leave_no_descriptor_and_no_zombie(void **state)
{
    struct fixture *f = *state;
    size_t before = count_descriptors();
    siginfo_t info = { 0 };

    for (int i = 0; i < 200; i++) {
        struct rpc_test *t = rpc_new();

        rpc_call(
            f, t, "Start",
            i % 4 == 0
                ? "{\"process\":{\"cmd\":\"true\"},\"pty\":{\"size\":{\"cols\":80,\"rows\":24}}}"
                : "{\"process\":{\"cmd\":\"sh\",\"args\":[\"-c\",\"ls /proc/self/fd | wc -l\"]}}");
        WAIT_FOR(f, t->is_ended);
        if (i % 4 != 0)
            assert_text(t->out, "4\n"); /* 0, 1, 2 and that of the directory */
        rpc_free(&t);
    }
    WAIT_FOR(f, count_descriptors() == before);
    assert_true(waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == -1 || info.si_pid == 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(start_tells_pid_output_and_end_in_this_order),
        TEST(a_bare_command_array_starts_too),
        TEST(environment_is_clean_and_takes_what_was_asked),
        TEST(a_failed_start_says_why),
        TEST(stream_input_is_echoed_before_the_request_ends),
        TEST(stream_input_wants_its_start_first),
        TEST(send_input_reaches_stdin_and_close_stdin_ends_it),
        TEST(without_stdin_a_reader_sees_its_end),
        TEST(input_of_the_wrong_kind_is_a_failed_precondition),
        TEST(a_pty_echoes_and_takes_a_new_size),
        TEST(signals_reach_the_whole_group),
        TEST(list_shows_what_runs),
        TEST(connect_by_tag_sees_what_follows_and_then_the_end),
        cmocka_unit_test(an_ended_process_is_forgotten_in_time),
        cmocka_unit_test(too_many_processes_are_refused),
        TEST(the_deadline_of_start_kills_the_group),
        TEST(the_deadline_of_connect_ends_its_stream_alone),
        TEST(a_client_that_goes_away_does_not_end_the_process),
        TEST(two_hundred_processes_leave_no_descriptor_and_no_zombie),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
