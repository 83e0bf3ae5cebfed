/* Many calls at once, every kind of end at every moment, in an order that a fixed seed decides: nothing leaks, nothing is
 * used after it went (the sanitizers judge), and every call ends. */
#include "proxy_fixture.h"

#include "connect/envelope.h"

enum { ROUNDS = 30, CALLS = 24, STEPS = 60 };

#define AUTH "authorization: Bearer $T\n"

static uint32_t seed = 12345;

static uint32_t pick(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

static void open_some(struct client *client, struct request *request)
{
    static const struct {
        const char *target, *fields, *body;
    } rows[] = {
        { "POST /process.Process/Start", "content-type: application/connect+json\n" AUTH, "\1" },
        { "POST /process.Process/StreamInput", "content-type: application/connect+json\n" AUTH,
          NULL },
        { "POST /process.Process/List", "content-type: application/json\n" AUTH, "{}" },
        { "POST /process.Process/List", "content-type: application/grpc\n" AUTH, "\1" },
        { "POST /process.Process/List", "content-type: application/grpc-web\n" AUTH, "\1" },
        { "POST /process.Process/Start", "content-type: application/json\n" AUTH,
          "{\"command\":[\"x\"]}" },
        { "POST /process.Process/Start",
          "content-type: application/json\naccept: application/x-ndjson\n" AUTH,
          "{\"command\":[\"x\"]}" },
        { "POST /process.Process/List", "content-type: application/json\n", "{}" },
        { "GET /health", AUTH, "" },
    };
    uint32_t row = pick(sizeof(rows) / sizeof(rows[0]));

    if (http_client_capacity(client->http) > 0)
        request_send(request, client, rows[row].target, rows[row].fields, rows[row].body);
}

static void agent_does_something(struct agent_call *call)
{
    static const char *const types[] = { "content-type: application/connect+json\n",
                                         "content-type: application/grpc\n",
                                         "content-type: application/json\n" };

    if (call->exchange == NULL || call->exchange->out_ended)
        return;
    if (!call->exchange->head_sent) {
        if (pick(4) == 0)
            agent_reset(call, pick(2) == 0 ? RESET_REFUSED : RESET_INTERNAL);
        else
            agent_answer(call, pick(5) == 0 ? 500 : 200, types[pick(3)], pick(6) == 0);
        return;
    }
    switch (pick(6)) {
    case 0:
        agent_envelope(call, 0, "{\"event\":{\"start\":{\"pid\":1}}}");
        break;
    case 1:
        agent_envelope(call, 0, "{\"event\":{\"data\":{\"stdout\":\"aGk=\"}}}");
        break;
    case 2:
        agent_write(call, SLICE("\0\0\0"));
        break;
    case 3:
        agent_envelope(call, ENVELOPE_END_STREAM, "{}");
        break;
    case 4:
        agent_end(call, pick(2) == 0 ? "" : "grpc-status: 0\n");
        break;
    default:
        agent_reset(call, RESET_CANCEL);
    }
}

static void world_changes(struct fixture *f)
{
    char other[300];

    switch (pick(40)) {
    case 0:
        agent_lose_conns(f);
        break;
    case 1:
        fake_store_set(f->store, RECORD_SESSION, "ses_1", NULL);
        turn_for(f, 2);
        fake_store_set(f->store, RECORD_SESSION, "ses_1", "kind=exec;computer=cmp_1");
        break;
    case 2:
        fixture_set_computer(f, "state=stopped;agent=127.0.0.1:1");
        turn_for(f, 1);
        fixture_set_computer(f, f->computer);
        break;
    case 3:
        snprintf(other, sizeof(other), "%s2", f->computer);
        fixture_set_computer(f, other);
        break;
    case 4:
        fixture_apply_options(f);
        break;
    default:
        break;
    }
}

static void one_round(struct fixture *f, bool is_h1)
{
    static struct request requests[CALLS];
    struct client clients[3];
    size_t opened = 0;

    memset(requests, 0, sizeof(requests));
    f->call_count = 0;
    for (int i = 0; i < 3; i++)
        client_open(&clients[i], f, is_h1);
    for (int step = 0; step < STEPS; step++) {
        struct client *client = &clients[pick(3)];
        if (opened < CALLS && client->http != NULL && pick(2) == 0)
            open_some(client, &requests[opened++]);
        if (f->call_count > 0)
            agent_does_something(&f->calls[pick((uint32_t)f->call_count)]);
        if (opened > 0 && pick(12) == 0) {
            struct request *request = &requests[pick((uint32_t)opened)];
            if (request->exchange != NULL)
                exchange_reset(request->exchange, RESET_CANCEL);
        }
        world_changes(f);
        loop_turn(f->loop, 0);
    }
    for (size_t i = 0; i < opened; i++)
        request_close(&requests[i]);
    for (int i = 0; i < 3; i++)
        client_close(&clients[i]);
    TURN_UNTIL(f, proxy_call_count(f->proxy) == 0);
    agent_lose_conns(f);
    turn_for(f, 2);
    for (size_t i = 0; i < f->call_count; i++) {
        exchange_release(&f->calls[i].exchange);
        buf_deinit(&f->calls[i].head);
        buf_deinit(&f->calls[i].body);
        f->calls[i] = (struct agent_call){ 0 };
    }
    f->call_count = 0;
}

/* The storm is one: it met all of these. */
static void assert_stormy(struct fixture *f)
{
    static const enum status met[] = {
        STATUS_OK,          STATUS_CANCELED,      STATUS_AGENT_LOST,
        STATUS_AGENT_RESET, STATUS_TOKEN_MISSING, STATUS_TOKEN_REVOKED
    };

    for (size_t i = 0; i < sizeof(met) / sizeof(met[0]); i++)
        if (counter_read(&proxy_counters(f->proxy)->ended[met[i]]) == 0)
            fail_msg("no call ended with %s", status_name(met[i]));
    assert_true(counter_read(&proxy_counters(f->proxy)->retries) > 0);
}

static void every_call_ends_whatever_happens_over_h2(void **state)
{
    for (int round = 0; round < ROUNDS; round++)
        one_round(*state, false);
    assert_stormy(*state);
}

static void every_call_ends_whatever_happens_over_h1(void **state)
{
    for (int round = 0; round < ROUNDS; round++)
        one_round(*state, true);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_call_ends_whatever_happens_over_h2),
        TEST(every_call_ends_whatever_happens_over_h1),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
