/* Where Redis is, from a URL. */
#include "cmocka_all.h"

#include "route/route_store_redis.h"

static struct redis_endpoint parse(const char *url)
{
    struct redis_endpoint endpoint = { 0 };
    struct buf error = { 0 };

    if (redis_endpoint_parse(slice_from_string(url), &error, &endpoint) != STATUS_OK)
        fail_msg("%s: %s", url, buf_text(&error));
    buf_deinit(&error);
    return endpoint;
}

static void every_part_of_a_url_is_understood(void **state)
{
    struct redis_endpoint e = parse("redis://app:p%40ss%3a%2F@cache.example.com:7000/3");

    (void)state;
    assert_false(e.tls);
    assert_string_equal(e.host, "cache.example.com");
    assert_int_equal(e.port, 7000);
    assert_string_equal(e.user, "app");
    assert_string_equal(e.password, "p@ss:/");
    assert_int_equal(e.database, 3);
    redis_endpoint_deinit(&e);

    e = parse("rediss://:secret@[::1]");
    assert_true(e.tls);
    assert_string_equal(e.host, "::1");
    assert_int_equal(e.port, 6379);
    assert_null(e.user);
    assert_string_equal(e.password, "secret");
    redis_endpoint_deinit(&e);

    e = parse("unix://:pw@/run/redis%20x.sock?db=7");
    assert_null(e.host);
    assert_string_equal(e.unix_path, "/run/redis x.sock");
    assert_string_equal(e.password, "pw");
    assert_int_equal(e.database, 7);
    redis_endpoint_deinit(&e);

    e = parse("rediss://gateway@redis.internal/0"); /* its password comes from a file */
    assert_string_equal(e.user, "gateway");
    assert_null(e.password);
    redis_endpoint_deinit(&e);

    e = parse("redis://[::1]:1234/");
    assert_int_equal(e.port, 1234);
    assert_int_equal(e.database, 0);
    redis_endpoint_deinit(&e);
}

static void a_wrong_url_is_refused_without_telling_the_password(void **state)
{
    static const char *const wrong[] = {
        "http://h",
        "redis://",
        "redis:/h",
        "redis://h:0",
        "redis://h:65536",
        "redis://h:x",
        "redis://h/x",
        "redis://@h",
        "redis://:@h",
        "redis://:hunter2%@h",
        "redis://:hunter2%0@h",
        "redis://:hunter2%00@h",
        "unix://run/x",
        "unix:///x?foo=1",
        "redis://[::1]x",
        "redis://:hunter2@/1",
        "redis://h/70000",
        "",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct redis_endpoint endpoint = { 0 };
        struct buf error = { 0 };

        assert_int_equal(redis_endpoint_parse(slice_from_string(wrong[i]), &error, &endpoint),
                         STATUS_CONFIG_INVALID);
        assert_null(strstr(buf_text(&error), "hunter2"));
        assert_true(error.len > 0);
        buf_deinit(&error);
    }
}

static void add(struct redis_endpoint *endpoint, const char *address, const char *password)
{
    struct buf error = { 0 };

    if (redis_endpoint_add_sentinel(endpoint, slice_from_string(address), password, &error) !=
        STATUS_OK)
        fail_msg("%s: %s", address, buf_text(&error));
    buf_deinit(&error);
}

static void sentinels_have_addresses_of_their_own_and_go_along_with_a_copy(void **state)
{
    static const char *const wrong[] = { "", ":1", "h:0", "h:x", "[::1]x", "h/1" };
    struct redis_endpoint e = parse("rediss://app:pw@main/3"), copy, master;
    struct buf error = { 0 };

    (void)state;
    add(&e, "a.example.com", NULL);
    add(&e, "[::1]:7000", "secret");
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(
            redis_endpoint_add_sentinel(&e, slice_from_string(wrong[i]), "secret", &error),
            STATUS_CONFIG_INVALID);
    redis_endpoint_copy(&e, &copy);
    redis_endpoint_deinit(&e);
    assert_int_equal(copy.sentinel_count, 2);
    assert_string_equal(copy.sentinels[0].host, "a.example.com");
    assert_int_equal(copy.sentinels[0].port, 26379);
    assert_null(copy.sentinels[0].password); /* never Redis's own */
    assert_true(copy.sentinels[0].tls);
    assert_string_equal(copy.sentinels[1].host, "::1");
    assert_int_equal(copy.sentinels[1].port, 7000);
    assert_string_equal(copy.sentinels[1].password, "secret");

    redis_endpoint_copy_at(&copy, "10.0.0.3", 6380, &master);
    redis_endpoint_deinit(&copy);
    assert_int_equal(master.sentinel_count, 0);
    assert_string_equal(master.host, "10.0.0.3");
    assert_int_equal(master.port, 6380);
    assert_string_equal(master.password, "pw");
    assert_int_equal(master.database, 3);
    redis_endpoint_deinit(&master);
    buf_deinit(&error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_part_of_a_url_is_understood),
        cmocka_unit_test(a_wrong_url_is_refused_without_telling_the_password),
        cmocka_unit_test(sentinels_have_addresses_of_their_own_and_go_along_with_a_copy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
