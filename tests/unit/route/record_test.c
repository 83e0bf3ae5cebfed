/* Records out of the fields of a hash. */
#include "cmocka_all.h"

#include "route/record.h"

#define FIELD(n, v) ((struct record_field){ .name = SLICE(n), .value = SLICE(v) })

static struct record *build(enum record_kind kind, const struct record_field *fields, size_t count)
{
    struct record *record = NULL;
    struct slice wrong = SLICE_EMPTY;

    if (record_from_fields(kind, SLICE("id_1"), fields, count, &wrong, &record) != STATUS_OK)
        fail_msg("field %.*s is wrong", SLICE_ARGS(wrong));
    return record;
}

#define BUILD(kind, ...)                                                                           \
    build(kind, (struct record_field[]){ __VA_ARGS__ },                                            \
          sizeof((struct record_field[]){ __VA_ARGS__ }) / sizeof(struct record_field))

static void refuse(const char *wrong_field, enum record_kind kind,
                   const struct record_field *fields, size_t count)
{
    struct record *record = NULL;
    struct slice wrong = SLICE_EMPTY;

    assert_int_equal(record_from_fields(kind, SLICE("id_1"), fields, count, &wrong, &record),
                     STATUS_MALFORMED);
    assert_null(record);
    assert_true(slice_equal(wrong, slice_from_string(wrong_field)));
}

#define REFUSE(wrong, kind, ...)                                                                   \
    refuse(wrong, kind, (struct record_field[]){ __VA_ARGS__ },                                    \
           sizeof((struct record_field[]){ __VA_ARGS__ }) / sizeof(struct record_field))

static void assert_slice(struct slice slice, const char *text)
{
    assert_int_equal(slice.len, strlen(text));
    assert_memory_equal(slice.ptr, text, slice.len);
}

static void a_computer_has_every_field_that_was_written(void **state)
{
    (void)state;
    struct record *r =
        BUILD(RECORD_COMPUTER, FIELD("state", "running"), FIELD("agent", "10.0.0.7:49983"),
              FIELD("protocol", "http1"), FIELD("tls", "mutual"), FIELD("agent_token", "s3cret"),
              FIELD("boot", "b7"), FIELD("handle", "box"), FIELD("owner", "usr_1"),
              FIELD("field_of_a_newer_control_plane", "x"));

    assert_int_equal(r->kind, RECORD_COMPUTER);
    assert_slice(r->id, "id_1");
    assert_int_equal(r->computer.state, COMPUTER_RUNNING);
    assert_slice(r->computer.agent, "10.0.0.7:49983");
    assert_int_equal(r->computer.protocol, AGENT_HTTP1);
    assert_int_equal(r->computer.tls, AGENT_TLS_MUTUAL);
    assert_slice(r->computer.agent_token, "s3cret");
    assert_slice(r->computer.boot, "b7");
    assert_slice(r->computer.handle, "box");
    assert_slice(r->computer.owner, "usr_1");
    record_unref(&r);
    assert_null(r);
    record_unref(&r);
}

static void a_stopped_computer_needs_no_agent_but_a_running_one_does(void **state)
{
    (void)state;
    struct record *r = BUILD(RECORD_COMPUTER, FIELD("state", "stopped"), FIELD("agent", ""));

    assert_int_equal(r->computer.state, COMPUTER_STOPPED);
    assert_int_equal(r->computer.agent.len, 0);
    record_unref(&r);
    REFUSE("agent", RECORD_COMPUTER, FIELD("state", "running"));
    REFUSE("agent", RECORD_COMPUTER, FIELD("state", "running"), FIELD("agent", ""));
}

static void a_computer_with_a_value_that_is_not_understood_is_refused(void **state)
{
    (void)state;
    REFUSE("state", RECORD_COMPUTER, FIELD("agent", "h:1"));
    REFUSE("state", RECORD_COMPUTER, FIELD("state", "Running"));
    REFUSE("agent", RECORD_COMPUTER, FIELD("state", "running"), FIELD("agent", "no-port"));
    REFUSE("agent", RECORD_COMPUTER, FIELD("state", "running"), FIELD("agent", "h:0"));
    REFUSE("agent", RECORD_COMPUTER, FIELD("state", "running"), FIELD("agent", ":80"));
    REFUSE("agent", RECORD_COMPUTER, FIELD("state", "running"), FIELD("agent", "a b:80"));
    REFUSE("protocol", RECORD_COMPUTER, FIELD("state", "stopped"), FIELD("protocol", "h3"));
    REFUSE("tls", RECORD_COMPUTER, FIELD("state", "stopped"), FIELD("tls", "yes"));
    REFUSE("state", RECORD_COMPUTER, FIELD("state", "stopped"), FIELD("state", "stopped"));
}

static void text_that_could_split_a_header_is_refused(void **state)
{
    (void)state;
    REFUSE("agent_token", RECORD_COMPUTER, FIELD("state", "stopped"),
           FIELD("agent_token", "x\r\nX-User-Id: root"));
    REFUSE("owner", RECORD_COMPUTER, FIELD("state", "stopped"), FIELD("owner", "x\ny"));
    REFUSE("host_header", RECORD_HOST, FIELD("computer", "c"), FIELD("port", "80"),
           FIELD("host_header", "a b"));
}

static void a_host_is_private_unless_it_says_otherwise(void **state)
{
    (void)state;
    struct record *r = BUILD(RECORD_HOST, FIELD("computer", "cmp_1"), FIELD("port", "3000"));

    assert_slice(r->host.computer_id, "cmp_1");
    assert_int_equal(r->host.port, 3000);
    assert_int_equal(r->host.protocol, PORT_AUTO);
    assert_int_equal(r->host.via, PORT_VIA_AGENT);
    assert_int_equal(r->host.visibility, PORT_SESSION);
    assert_int_equal(r->host.kinds, PORT_KIND_BROWSER | PORT_KIND_VNC);
    assert_slice(r->host.host_header, "preserve");
    record_unref(&r);
    r = BUILD(RECORD_HOST, FIELD("computer", "cmp_1"), FIELD("port", "1"),
              FIELD("visibility", "public"), FIELD("kinds", "vnc"),
              FIELD("host_header", "localhost"), FIELD("via", "direct"), FIELD("protocol", "h2c"));
    assert_int_equal(r->host.visibility, PORT_PUBLIC);
    assert_int_equal(r->host.kinds, PORT_KIND_VNC);
    assert_int_equal(r->host.via, PORT_VIA_DIRECT);
    assert_int_equal(r->host.protocol, PORT_H2C);
    assert_slice(r->host.host_header, "localhost");
    record_unref(&r);
    REFUSE("port", RECORD_HOST, FIELD("computer", "c"), FIELD("port", "65536"));
    REFUSE("port", RECORD_HOST, FIELD("computer", "c"));
    REFUSE("computer", RECORD_HOST, FIELD("port", "80"));
    REFUSE("kinds", RECORD_HOST, FIELD("computer", "c"), FIELD("port", "1"), FIELD("kinds", "x"));
    REFUSE("visibility", RECORD_HOST, FIELD("computer", "c"), FIELD("port", "1"),
           FIELD("visibility", "pubic"));
}

static void a_session_is_revoked_unless_it_plainly_is_not(void **state)
{
    static const struct {
        const char *text;
        bool revoked;
    } cases[] = { { "0", false }, { "false", false }, { "False", false }, { "no", false },
                  { "", false },  { "1", true },      { "true", true },   { "2026-01-01", true } };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct record_field field = { SLICE("revoked"), slice_from_string(cases[i].text) };
        struct record *r = build(RECORD_SESSION, &field, 1);

        assert_int_equal(r->session.revoked, cases[i].revoked);
        record_unref(&r);
    }
}

static void an_expiry_is_unix_seconds_or_rfc_3339(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = { { "1767225600", 1767225600000 },
                  { "2026-01-01T00:00:00Z", 1767225600000 },
                  { "2026-01-01T00:00:00.123456Z", 1767225600000 },
                  { "2026-01-01T02:00:00+02:00", 1767225600000 },
                  { "2025-12-31T19:30:00-04:30", 1767225600000 } };
    static const char *const wrong[] = { "soon",
                                         "1767225600000",
                                         "-5",
                                         "2026-01-01",
                                         "2026-01-01T00:00:00",
                                         "2026-01-01T00:00:00Zx",
                                         "2026-01-01T00:00:00+0200" };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct record_field field = { SLICE("expires_at"), slice_from_string(cases[i].text) };
        struct record *r = build(RECORD_SESSION, &field, 1);

        assert_int_equal(r->session.expires_wall_ms, cases[i].ms);
        record_unref(&r);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct record_field field = { SLICE("expires_at"), slice_from_string(wrong[i]) };

        refuse("expires_at", RECORD_SESSION, &field, 1);
    }
}

static void a_copy_is_equal_and_shares_nothing(void **state)
{
    (void)state;
    struct record *r = BUILD(RECORD_HOST, FIELD("computer", "cmp_1"), FIELD("port", "3000"),
                             FIELD("host_header", "app.local"));
    struct record *copy = record_copy(r);

    assert_true(record_equal(r, copy));
    assert_ptr_not_equal(r->host.host_header.ptr, copy->host.host_header.ptr);
    record_unref(&r); /* the sanitizer watches over the rest */
    assert_slice(copy->id, "id_1");
    assert_slice(copy->host.computer_id, "cmp_1");
    assert_slice(copy->host.host_header, "app.local");
    record_unref(&copy);
}

static void records_differ_when_any_field_does(void **state)
{
    (void)state;
    struct record *a = BUILD(RECORD_COMPUTER, FIELD("state", "running"), FIELD("agent", "h:1"));
    struct record *b = BUILD(RECORD_COMPUTER, FIELD("state", "running"), FIELD("agent", "h:2"));
    struct record *c = BUILD(RECORD_COMPUTER, FIELD("state", "stopping"), FIELD("agent", "h:1"));
    struct record *d = BUILD(RECORD_COMPUTER, FIELD("agent", "h:1"), FIELD("state", "running"));

    assert_false(record_equal(a, b));
    assert_false(record_equal(a, c));
    assert_true(record_equal(a, d));
    record_unref(&a);
    record_unref(&b);
    record_unref(&c);
    record_unref(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_computer_has_every_field_that_was_written),
        cmocka_unit_test(a_stopped_computer_needs_no_agent_but_a_running_one_does),
        cmocka_unit_test(a_computer_with_a_value_that_is_not_understood_is_refused),
        cmocka_unit_test(text_that_could_split_a_header_is_refused),
        cmocka_unit_test(a_host_is_private_unless_it_says_otherwise),
        cmocka_unit_test(a_session_is_revoked_unless_it_plainly_is_not),
        cmocka_unit_test(an_expiry_is_unix_seconds_or_rfc_3339),
        cmocka_unit_test(a_copy_is_equal_and_shares_nothing),
        cmocka_unit_test(records_differ_when_any_field_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
