/* The routes file: what it may hold, what is told when it is wrong, and how changes of it are seen.
 */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "route/route_resolver.h"
#include "route/route_store_file.h"

struct fixture {
    char directory[64];
    char file[128];
    struct loop *loop;
    struct route_store *store;
    struct route_resolver *resolver;
};

static const struct route_resolver_options usual = { 100, 60000, 60000, 60000, 2000 };

static int begin(void **state)
{
    struct fixture *f = mem_zeroed(sizeof(*f));

    snprintf(f->directory, sizeof(f->directory), "/tmp/routes-test-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    snprintf(f->file, sizeof(f->file), "%s/routes.yaml", f->directory);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;
    char command[128];

    route_resolver_destroy(&f->resolver);
    loop_destroy(&f->loop);
    snprintf(command, sizeof(command), "rm -r '%s'", f->directory);
    assert_int_equal(system(command), 0);
    mem_free(f);
    return 0;
}

static void write_to(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void open_store(struct fixture *f, const char *text)
{
    struct buf error = { 0 };

    write_to(f->file, text);
    assert_int_equal(loop_create(&f->loop), STATUS_OK);
    loop_turn(f->loop, 0);
    if (route_store_file_create(f->loop, f->file, &error, &f->store) != STATUS_OK)
        fail_msg("%s", buf_text(&error));
    f->resolver = route_resolver_create(f->loop, f->store, &usual);
    loop_turn(f->loop, 0);
    assert_true(route_resolver_link_is_up(f->resolver));
}

struct found {
    bool done;
    enum status status;
    char agent[64];
};

static void on_found(void *arg, enum status status, struct record *record)
{
    struct found *found = arg;

    found->done = true;
    found->status = status;
    if (status == STATUS_OK && record->kind == RECORD_COMPUTER)
        slice_to_string(record->computer.agent, found->agent, sizeof(found->agent));
    record_unref(&record);
}

static struct found look_up(struct fixture *f, enum record_kind kind, const char *id)
{
    struct found found = { 0 };
    struct route_lookup *lookup =
        route_lookup_start(f->resolver, kind, slice_from_string(id), on_found, &found);

    assert_non_null(lookup);
    for (int i = 0; i < 20 && !found.done; i++)
        loop_turn(f->loop, 100);
    assert_true(found.done);
    return found;
}

/* Waits until the computer's agent is that one, for less time than it takes until the file is
 * looked at anyway. */
static void expect_agent(struct fixture *f, const char *id, const char *agent)
{
    struct found found = { 0 };
    struct clock clock;

    clock_refresh(&clock);
    for (uint64_t due_ms = clock.now_ms + 1000; clock.now_ms < due_ms; clock_refresh(&clock)) {
        found = look_up(f, RECORD_COMPUTER, id);
        if (found.status == STATUS_OK && strcmp(found.agent, agent) == 0)
            return;
        loop_turn(f->loop, 10);
    }
    fail_msg("agent is %s, not %s", found.agent, agent);
}

static void the_file_answers_for_all_three_kinds(void **state)
{
    struct fixture *f = *state;

    open_store(f, "computers:\n"
                  "  cmp_1: { state: running, agent: \"127.0.0.1:49983\" }\n"
                  "hosts:\n"
                  "  \"3000--box.computer.example.com\":\n"
                  "    computer: cmp_1\n"
                  "    port: 3000\n"
                  "    visibility: public\n"
                  "    kinds: [browser, vnc]\n"
                  "sessions:\n"
                  "  ses_1: { kind: exec, computer: cmp_1, revoked: false, user: ~ }\n"
                  "  ses_2: {}\n");
    assert_string_equal(look_up(f, RECORD_COMPUTER, "cmp_1").agent, "127.0.0.1:49983");
    assert_int_equal(look_up(f, RECORD_HOST, "3000--box.computer.example.com").status, STATUS_OK);
    assert_int_equal(look_up(f, RECORD_SESSION, "ses_1").status, STATUS_OK);
    assert_int_equal(look_up(f, RECORD_SESSION, "ses_2").status, STATUS_OK);
    assert_int_equal(look_up(f, RECORD_COMPUTER, "cmp_2").status, STATUS_COMPUTER_UNKNOWN);
    assert_int_equal(look_up(f, RECORD_HOST, "x").status, STATUS_HOST_UNKNOWN);
    assert_int_equal(look_up(f, RECORD_SESSION, "x").status, STATUS_TOKEN_REVOKED);
}

static void an_empty_file_has_no_routes(void **state)
{
    struct fixture *f = *state;

    open_store(f, "");
    assert_int_equal(look_up(f, RECORD_COMPUTER, "cmp_1").status, STATUS_COMPUTER_UNKNOWN);
    write_to(f->file, "# nothing yet\ncomputers:\n");
    loop_turn(f->loop, 50);
    assert_int_equal(look_up(f, RECORD_COMPUTER, "cmp_1").status, STATUS_COMPUTER_UNKNOWN);
}

static void a_wrong_file_is_refused_with_the_place_of_the_error(void **state)
{
    static const struct {
        const char *text;
        const char *error; /* behind the name of the file */
    } cases[] = {
        { "computers: {}\nhost: {}\n", ":2:1: expected computers, hosts or sessions: \"host\"" },
        { "computers:\n  c:\n    state: running\n    agnet: x:1\n",
          ":4:5: unknown field: \"agnet\"" },
        { "computers:\n  c: { state: runing, agent: \"h:1\" }\n",
          ":2:15: value of state is not understood" },
        { "computers:\n  c: { state: running }\n", ":2:3: record lacks the field agent: \"c\"" },
        { "computers:\n  c: { state: stopped, agent_token: \"hunter 2\" }\n",
          ":2:37: value of agent_token is not understood" },
        { "computers:\n  c: { state: stopped, state: stopped }\n",
          ":2:24: field is repeated: \"state\"" },
        { "computers:\n  c: { state: stopped }\n  c: { state: stopped }\n",
          ":3:3: record is repeated: \"c\"" },
        { "computers: {}\ncomputers: {}\n", ":2:1: section is repeated: \"computers\"" },
        { "hosts:\n  Box.example.com: { computer: c, port: 1 }\n",
          ":2:3: host names are lower case: \"Box.example.com\"" },
        { "- a\n", ":1:1: expected computers, hosts and sessions" },
        { "computers: [a]\n", ":1:12: expected a mapping of ids to records" },
        { "computers: { c: x }\n", ":1:17: expected the fields of a record" },
        { "computers: { c: { state: { a: b } } }\n",
          ":1:26: expected a value or a list of values" },
        { "computers: {}\n---\nhosts: {}\n", ":3:1: expected one document" },
        { "computers: {\n", NULL },
        { "a: b: c\n", NULL },
        { "\tx\n", NULL },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct route_table *table = NULL;
        struct buf error = { 0 };

        write_to(f->file, cases[i].text);
        assert_int_equal(route_table_load(f->file, &error, &table), STATUS_CONFIG_INVALID);
        assert_null(table);
        assert_true(slice_starts_with(buf_slice(&error), slice_from_string(f->file)));
        assert_null(strstr(buf_text(&error), "hunter"));
        if (cases[i].error != NULL)
            assert_string_equal(buf_text(&error) + strlen(f->file), cases[i].error);
        else
            assert_int_equal(buf_text(&error)[strlen(f->file)], ':');
        assert_int_equal(route_table_load(f->file, NULL, &table), STATUS_CONFIG_INVALID);
        buf_deinit(&error);
    }
}

static void a_missing_file_is_refused(void **state)
{
    struct fixture *f = *state;
    struct buf error = { 0 };

    assert_int_equal(loop_create(&f->loop), STATUS_OK);
    assert_int_equal(route_store_file_create(f->loop, f->file, &error, &f->store),
                     STATUS_CONFIG_INVALID);
    assert_non_null(strstr(buf_text(&error), "No such file"));
    buf_deinit(&error);
}

static void a_file_written_in_place_is_loaded_again(void **state)
{
    struct fixture *f = *state;

    open_store(f, "computers: { c: { state: running, agent: \"h:1\" } }\n");
    expect_agent(f, "c", "h:1");
    write_to(f->file, "computers: { c: { state: running, agent: \"h:2\" } }\n");
    expect_agent(f, "c", "h:2");
    write_to(f->file, "computers: { c: { state: running, agent: \"h:3\" } }\n");
    expect_agent(f, "c", "h:3");
}

static void a_file_replaced_by_rename_is_loaded_again(void **state)
{
    struct fixture *f = *state;
    char other[160];

    open_store(f, "computers: { c: { state: running, agent: \"h:1\" } }\n");
    snprintf(other, sizeof(other), "%s/elsewhere", f->directory);
    assert_int_equal(mkdir(other, 0700), 0);
    snprintf(other, sizeof(other), "%s/elsewhere/routes.yaml", f->directory);
    for (int i = 2; i < 5; i++) {
        char text[128], agent[16];

        snprintf(agent, sizeof(agent), "h:%d", i);
        snprintf(text, sizeof(text), "computers: { c: { state: running, agent: \"%s\" } }\n",
                 agent);
        write_to(other, text);
        assert_int_equal(rename(other, f->file), 0);
        expect_agent(f, "c", agent);
    }
}

static void a_bad_file_keeps_the_old_routes_until_it_is_corrected(void **state)
{
    struct fixture *f = *state;

    open_store(f, "computers: { c: { state: running, agent: \"h:1\" } }\n");
    write_to(f->file, "computers: { c: { state: running, agent: h } }\n");
    for (int i = 0; i < 5; i++)
        loop_turn(f->loop, 30);
    expect_agent(f, "c", "h:1");
    assert_int_equal(unlink(f->file), 0);
    for (int i = 0; i < 5; i++)
        loop_turn(f->loop, 30);
    expect_agent(f, "c", "h:1");
    write_to(f->file, "computers: { c: { state: running, agent: \"h:2\" } }\n");
    expect_agent(f, "c", "h:2");
}

static void only_what_changed_is_read_again(void **state)
{
    struct fixture *f = *state;
    const struct route_resolver_counters *counters;

    open_store(f, "computers:\n  a: { state: running, agent: \"h:1\" }\n"
                  "  b: { state: running, agent: \"h:1\" }\n"
                  "  c: { state: running, agent: \"h:1\" }\n");
    expect_agent(f, "a", "h:1");
    expect_agent(f, "b", "h:1");
    assert_int_equal(look_up(f, RECORD_COMPUTER, "d").status, STATUS_COMPUTER_UNKNOWN);
    counters = route_resolver_counters(f->resolver);
    write_to(f->file, "computers:\n  a: { agent: \"h:1\", state: running }\n"
                      "  b: { state: running, agent: \"h:2\" }\n"
                      "  d: { state: running, agent: \"h:4\" }\n");
    expect_agent(f, "d", "h:4");
    expect_agent(f, "b", "h:2");
    assert_int_equal(counter_read(&counters->invalidations), 3); /* b, c, d */
    assert_int_equal(counter_read(&counters->flushes), 0);
    assert_int_equal(look_up(f, RECORD_COMPUTER, "c").status, STATUS_COMPUTER_UNKNOWN);
}

static void a_store_can_be_made_of_records_in_memory(void **state)
{
    struct fixture *f = *state;
    struct route_table *table = route_table_create();
    struct record_field fields[] = { { SLICE("state"), SLICE("running") },
                                     { SLICE("agent"), SLICE("h:1") } };

    for (int i = 0; i < 2; i++) { /* the second replaces the first */
        struct record *record;

        assert_int_equal(record_from_fields(RECORD_COMPUTER, SLICE("c"), fields, 2, NULL, &record),
                         STATUS_OK);
        route_table_put(table, record);
        fields[1].value = SLICE("h:2");
    }
    assert_int_equal(loop_create(&f->loop), STATUS_OK);
    f->resolver = route_resolver_create(f->loop, route_store_table_create(f->loop, table), &usual);
    route_table_unref(&table);
    assert_null(table);
    loop_turn(f->loop, 0);
    assert_string_equal(look_up(f, RECORD_COMPUTER, "c").agent, "h:2");
    assert_int_equal(look_up(f, RECORD_COMPUTER, "d").status, STATUS_COMPUTER_UNKNOWN);
}

static void a_lookup_that_is_cancelled_is_never_answered(void **state)
{
    struct fixture *f = *state;
    struct found found = { 0 };

    open_store(f, "");
    struct route_lookup *lookup =
        route_lookup_start(f->resolver, RECORD_COMPUTER, SLICE("c"), on_found, &found);
    route_lookup_cancel(&lookup);
    for (int i = 0; i < 3; i++)
        loop_turn(f->loop, 1);
    assert_false(found.done);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_file_answers_for_all_three_kinds),
        TEST(an_empty_file_has_no_routes),
        TEST(a_wrong_file_is_refused_with_the_place_of_the_error),
        TEST(a_missing_file_is_refused),
        TEST(a_file_written_in_place_is_loaded_again),
        TEST(a_file_replaced_by_rename_is_loaded_again),
        TEST(a_bad_file_keeps_the_old_routes_until_it_is_corrected),
        TEST(only_what_changed_is_read_again),
        TEST(a_store_can_be_made_of_records_in_memory),
        TEST(a_lookup_that_is_cancelled_is_never_answered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
