/* One worker, many streams of bulk on one connection and a terminal on another: every stream moves, the terminal's echo
 * comes within a few turns of the loop, and no turn moves more bulk than the budgets of a connection allow. Turns
 * and bytes are counted, not time, so a busy machine changes nothing. */
#include "proxy_fixture.h"

enum {
    BULK_STREAMS = 45,
    PINGS = 50,
    CHUNK_BYTES = 128 * 1024,
    TURNS_PER_PING = 24,         /* ten were seen, thirteen on a busy machine */
    BYTES_PER_TURN = 320 * 1024, /* four reads of 64 KiB; without budgets it was 528 KiB */
};

#define STREAM "content-type: application/connect+json\nauthorization: Bearer $T\n"

struct bulk {
    struct client client;
    struct request requests[BULK_STREAMS];
    uint64_t received_bytes[BULK_STREAMS];
};

/* The agent always has more to say. */
static void refill(struct fixture *f)
{
    static char chunk[CHUNK_BYTES];

    for (size_t i = 0; i < BULK_STREAMS; i++)
        if (f->calls[i].exchange->out.len < CHUNK_BYTES)
            agent_write(&f->calls[i], slice_of(chunk, sizeof(chunk)));
}

/* Returns how many bytes of bulk came in this turn. */
static uint64_t one_turn(struct fixture *f, struct bulk *bulk)
{
    uint64_t bytes = 0;

    refill(f);
    loop_turn(f->loop, 5);
    for (size_t i = 0; i < BULK_STREAMS; i++) {
        bytes += bulk->requests[i].body.len;
        bulk->received_bytes[i] += bulk->requests[i].body.len;
        buf_clear(&bulk->requests[i].body);
    }
    return bytes;
}

static void open_streams(struct fixture *f, struct bulk *bulk)
{
    client_open(&bulk->client, f, false);
    for (size_t i = 0; i < BULK_STREAMS; i++) {
        request_send(&bulk->requests[i], &bulk->client, "POST /process.Process/Start", STREAM,
                     "\1");
        TURN_UNTIL(f, f->call_count == i + 1);
        agent_answer(&f->calls[i], 200, "content-type: application/connect+json\n", false);
    }
}

static void a_terminal_beside_bulk_keeps_its_turn(void **state)
{
    static struct bulk bulk;
    struct fixture *f = *state;
    struct client client;
    struct request terminal = { 0 };
    uint64_t most_bytes = 0;
    unsigned most_turns = 0;

    memset(&bulk, 0, sizeof(bulk));
    open_streams(f, &bulk);
    client_open(&client, f, false);
    request_send(&terminal, &client, "POST /process.Process/StreamInput", STREAM, NULL);
    TURN_UNTIL(f, f->call_count == BULK_STREAMS + 1);
    struct agent_call *shell = &f->calls[BULK_STREAMS];
    agent_answer(shell, 200, "content-type: application/connect+json\n", false);
    TURN_UNTIL(f, terminal.status == 200);

    for (unsigned i = 0; i < 30; i++) /* until the flow is steady */
        one_turn(f, &bulk);
    memset(bulk.received_bytes, 0, sizeof(bulk.received_bytes));
    for (unsigned ping = 0; ping < PINGS; ping++) {
        unsigned turns = 0;

        exchange_write(terminal.exchange, SLICE("\0\0\0\0\2{}"));
        while (terminal.body.len == 0 && turns <= TURNS_PER_PING) {
            uint64_t bytes = one_turn(f, &bulk);

            most_bytes = bytes > most_bytes ? bytes : most_bytes;
            turns++;
            if (shell->body.len > 0)
                agent_envelope(shell, 0, "{}");
            buf_clear(&shell->body);
        }
        most_turns = turns > most_turns ? turns : most_turns;
        buf_clear(&terminal.body);
    }
    print_message("most turns for an echo: %u; most bulk in a turn: %llu\n", most_turns,
                  (unsigned long long)most_bytes);
    assert_in_range(most_turns, 1, TURNS_PER_PING);
    assert_in_range(most_bytes, 1, BYTES_PER_TURN);
    for (size_t i = 0; i < BULK_STREAMS; i++)
        assert_true(bulk.received_bytes[i] > 0);

    request_close(&terminal);
    client_close(&client);
    for (size_t i = 0; i < BULK_STREAMS; i++)
        request_close(&bulk.requests[i]);
    client_close(&bulk.client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_terminal_beside_bulk_keeps_its_turn, fixture_setup,
                                        fixture_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
