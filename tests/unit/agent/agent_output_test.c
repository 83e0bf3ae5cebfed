/* Output under pressure, and input too: who is held back, who is dropped, what stays bounded. */
#include <fcntl.h>

#include "agent_fixture.h"

#include "base/mem.h"

/* Bytes that the process has written so far, from the kernel's books. */
static unsigned long long written_by(uint32_t pid)
{
    char path[64], text[512] = "";
    unsigned long long count = 0;

    snprintf(path, sizeof(path), "/proc/%u/io", pid);
    FILE *file = fopen(path, "re");

    if (file == NULL)
        return 0;
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[len] = '\0';
    const char *at = strstr(text, "wchar: ");

    if (at != NULL)
        count = strtoull(at + 7, NULL, 10);
    return count;
}

static void twenty_megabytes_arrive_intact(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *t = rpc_new();
    struct buf expected = { 0 };

    rpc_call(f, t, "Start", "{\"process\":{\"cmd\":\"seq\",\"args\":[\"2700000\"]}}");
    WAIT_FOR(f, t->is_ended);
    for (int i = 1; i <= 2700000; i++) {
        char line[16];
        int len = snprintf(line, sizeof(line), "%d\n", i);

        buf_append(&expected, slice_of(line, (size_t)len));
    }
    assert_true(expected.len > 20000000);
    assert_int_equal(t->out.len, expected.len);
    assert_memory_equal(buf_slice(&t->out).ptr, buf_slice(&expected).ptr, expected.len);
    assert_int_equal(t->exit_code, 0);
    buf_deinit(&expected);
    rpc_free(&t);
}

static void the_last_bytes_before_an_exit_are_never_lost(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 20; i++) {
        struct rpc_test *t = rpc_new();

        rpc_call(f, t, "Start",
                 "{\"process\":{\"cmd\":\"head\",\"args\":[\"-c\",\"60000\",\"/dev/zero\"]}}");
        WAIT_FOR(f, t->is_ended);
        assert_int_equal(t->out.len, 60000);
        rpc_free(&t);
    }
}

static void a_lone_slow_reader_holds_back_its_process(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *slow = rpc_new(), *other = rpc_new();
    unsigned long long before;

    slow->is_paused = true;
    slow->discard_output = true;
    rpc_call(f, slow, "Start",
             "{\"process\":{\"cmd\":\"dd\",\"args\":[\"if=/dev/"
             "zero\",\"bs=64k\",\"count=320\",\"status=none\"]}}");
    WAIT_FOR(f, slow->pid > 0);
    run_for(f, 300);
    before = written_by(slow->pid);
    assert_true(before > 0);
    assert_true(before < 1 << 20); /* pipe + queue + window, not 20 MB */
    rpc_call(f, other, "Start", "{\"process\":{\"cmd\":\"echo\",\"args\":[\"free\"]}}");
    WAIT_FOR(f, other->is_ended); /* on the same connection */
    assert_text(other->out, "free\n");
    run_for(f, 200);
    assert_true(written_by(slow->pid) == before);
    rpc_resume(slow);
    WAIT_FOR(f, slow->is_ended);
    assert_int_equal(slow->output_bytes, 320 * 65536);
    assert_int_equal(slow->end_count, 1);
    rpc_free(&slow);
    rpc_free(&other);
}

static void tune_subscribers(struct guest_agent_options *options)
{
    options->service.subscriber_bytes = 1 << 20;
    options->service.dropped_ms = 1500;
}

static void beside_a_fast_reader_the_slow_one_is_dropped(void **state)
{
    struct fixture f = { 0 };
    struct rpc_test *fast = rpc_new(), *slow = rpc_new(), *stuck = rpc_new();
    (void)state;

    fixture_start(&f, tune_subscribers);
    fast->discard_output = slow->discard_output = stuck->discard_output = true;
    rpc_call(&f, fast, "Start",
             "{\"process\":{\"cmd\":\"sh\",\"args\":[\"-c\",\"read x; head -c 10000000 "
             "/dev/zero\"]},\"tag\":\"wide\"}");
    WAIT_FOR(&f, fast->pid > 0);
    slow->is_paused = stuck->is_paused = true;
    rpc_call(&f, slow, "Connect", "{\"process\":{\"tag\":\"wide\"}}");
    rpc_call(&f, stuck, "Connect", "{\"process\":{\"tag\":\"wide\"}}");
    WAIT_FOR(&f, slow->pid > 0 && stuck->pid > 0);
    rpc_do(&f, "SendInput", "{\"process\":{\"tag\":\"wide\"},\"input\":{\"stdin\":\"Cg==\"}}");
    WAIT_FOR(&f, fast->output_bytes > 2500000);
    rpc_resume(slow); /* late: it still gets what was queued, and the reason */
    WAIT_FOR(&f, fast->is_ended && slow->is_ended);
    assert_int_equal(fast->output_bytes, 10000000);
    assert_int_equal(fast->end_count, 1);
    assert_has(slow->end_stream, "\"resource_exhausted\"");
    assert_int_equal(slow->end_count, 0);
    assert_true(slow->output_bytes < 10000000);
    WAIT_FOR(&f, stuck->was_reset); /* never read: its queue is given up */
    rpc_free(&fast);
    rpc_free(&slow);
    rpc_free(&stuck);
    fixture_stop(&f);
}

static void a_blocked_process_flows_again_when_its_reader_leaves(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *slow = rpc_new(), *late = rpc_new();

    slow->is_paused = true;
    slow->discard_output = true;
    rpc_call(f, slow, "Start",
             "{\"process\":{\"cmd\":\"head\",\"args\":[\"-c\",\"5000000\",\"/dev/"
             "zero\"]},\"tag\":\"held\"}");
    WAIT_FOR(f, slow->output_bytes > 0);
    run_for(f, 100);
    rpc_close(slow); /* a reset: nobody reads now, so output is dropped and the process ends */
    rpc_call(f, late, "Connect", "{\"process\":{\"tag\":\"held\"}}");
    WAIT_FOR(f, late->is_ended);
    assert_int_equal(late->end_count, 1);
    assert_int_equal(late->exit_code, 0);
    rpc_free(&slow);
    rpc_free(&late);
}

static void a_process_in_the_background_does_not_hold_back_the_end(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *t = rpc_new();
    uint64_t began_ms = fixture_now_ms();
    char path[] = "/tmp/agent-background-XXXXXX";
    char json[400];
    char text[16] = "";

    assert_true(mkstemp(path) >= 0);
    snprintf(
        json, sizeof(json),
        "{\"process\":{\"cmd\":\"sh\",\"args\":[\"-c\",\"(sleep 1; echo late; echo alive > %s) & "
        "echo now\"]}}",
        path);
    rpc_call(f, t, "Start", json);
    WAIT_FOR(f, t->is_ended);
    assert_true(fixture_now_ms() - began_ms < 900);
    assert_text(t->out, "now\n");
    assert_int_equal(t->end_count, 1);
    run_for(f, 1500);

    int fd = open(path, O_RDONLY | O_CLOEXEC);

    assert_true(read(fd, text, sizeof(text) - 1) > 0); /* its echo did not kill it */
    assert_string_equal(text, "alive\n");
    close(fd);
    unlink(path);
    rpc_free(&t);
}

static void a_process_that_does_not_read_holds_back_its_input(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *t = rpc_new(), *in = rpc_new();
    struct buf frame = { 0 }, base64 = { 0 };
    size_t sent;

    rpc_call(
        f, t, "Start",
        "{\"process\":{\"cmd\":\"sh\",\"args\":[\"-c\",\"read x; exec wc -c\"]},\"tag\":\"sink\"}");
    WAIT_FOR(f, t->pid > 0);
    rpc_open(f, in, "StreamInput", "application/connect+proto", NULL);
    in->codec = MESSAGE_PROTO;
    /* start { process { tag: "sink" } }, then 2 MB of data { input { stdin } } in messages of 1000
     * bytes */
    envelope_append(&frame, 0, SLICE("\x0a\x08\x0a\x06\x12\x04sink"));
    for (int i = 0; i < 2000; i++) {
        char message[1009] = "\x12\xee\x07\x12\xeb\x07\x0a\xe8\x07";

        memset(message + 9, 'x', 1000);
        envelope_append(&frame, 0, slice_of(message, sizeof(message)));
    }
    rpc_send_bytes(in, buf_slice(&frame));
    run_for(f, 300);
    sent = frame.len - in->exchange->out.len;
    assert_true(sent > 0);
    assert_true(sent < 400000); /* window + pipe + what the client has framed */
    rpc_send_end(in);
    run_for(f, 100);
    assert_false(in->is_ended);
    rpc_do(f, "Update", "{\"process\":{\"tag\":\"sink\"}}");
    rpc_free(&in); /* the client gives up: the process sees what was taken, and goes on */
    run_for(f, 100);
    rpc_do(f, "SendSignal", "{\"process\":{\"tag\":\"sink\"},\"signal\":9}");
    WAIT_FOR(f, t->is_ended);
    buf_deinit(&frame);
    buf_deinit(&base64);
    rpc_free(&t);
}

static void much_input_arrives_whole(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *t = rpc_new(), *in = rpc_new();
    struct buf frame = { 0 };

    rpc_call(f, t, "Start", "{\"process\":{\"cmd\":\"wc\",\"args\":[\"-c\"]},\"tag\":\"sink\"}");
    WAIT_FOR(f, t->pid > 0);
    rpc_open(f, in, "StreamInput", "application/connect+proto", NULL);
    envelope_append(&frame, 0, SLICE("\x0a\x08\x0a\x06\x12\x04sink"));
    for (int i = 0; i < 2000; i++) {
        char message[1009] = "\x12\xee\x07\x12\xeb\x07\x0a\xe8\x07";

        memset(message + 9, 'x', 1000);
        envelope_append(&frame, 0, slice_of(message, sizeof(message)));
    }
    rpc_send_bytes(in, buf_slice(&frame));
    rpc_send_end(in);
    WAIT_FOR(f, in->is_ended);
    assert_text(in->end_stream, "{}");
    rpc_do(f, "CloseStdin", "{\"process\":{\"tag\":\"sink\"}}");
    WAIT_FOR(f, t->is_ended);
    assert_text(t->out, "2000000\n");
    buf_deinit(&frame);
    rpc_free(&in);
    rpc_free(&t);
}

static void silence_is_filled_with_keepalives(void **state)
{
    struct fixture *f = *state;
    struct rpc_test *t = rpc_new(), *odd = rpc_new();
    const char *fields[] = { "keepalive-ping-interval", "1", NULL };
    const char *odd_fields[] = { "keepalive-ping-interval", "-1", NULL };

    rpc_open(f, t, "Start", "application/connect+json", fields);
    rpc_send(t, "{\"process\":{\"cmd\":\"cat\"},\"tag\":\"quiet\"}");
    rpc_send_end(t);
    rpc_open(f, odd, "Connect", "application/connect+json", odd_fields);
    rpc_send(odd, "{\"process\":{\"tag\":\"quiet\"}}");
    rpc_send_end(odd);
    run_for(f, 1400);
    assert_int_equal(t->keepalive_count, 1);
    assert_int_equal(odd->keepalive_count, 0);
    rpc_do(f, "CloseStdin", "{\"process\":{\"tag\":\"quiet\"}}");
    WAIT_FOR(f, t->is_ended && odd->is_ended);
    rpc_free(&t);
    rpc_free(&odd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(twenty_megabytes_arrive_intact),
        TEST(the_last_bytes_before_an_exit_are_never_lost),
        TEST(a_lone_slow_reader_holds_back_its_process),
        cmocka_unit_test(beside_a_fast_reader_the_slow_one_is_dropped),
        TEST(a_blocked_process_flows_again_when_its_reader_leaves),
        TEST(a_process_in_the_background_does_not_hold_back_the_end),
        TEST(a_process_that_does_not_read_holds_back_its_input),
        TEST(much_input_arrives_whole),
        TEST(silence_is_filled_with_keepalives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
