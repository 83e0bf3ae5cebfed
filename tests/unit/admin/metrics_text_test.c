/* The metrics of a gateway with one worker, made of the real parts. */
#include "proxy_fixture.h"

#include "admin/metrics_text.h"
#include "proxy/call_list.h"

#define AUTH "authorization: Bearer $T\n"
#define UNARY "content-type: application/json\n" AUTH

struct scrape {
    struct worker_view view;
    struct listener_counters listeners[1];
    struct listener_group group;
    struct address address;
    struct process_facts facts;
    struct buf text;
};

static void scrape_init(struct scrape *s, struct fixture *f)
{
    *s = (struct scrape){
        .view = { .loop = f->loop,
                  .proxy = f->proxy,
                  .server = f->gateway,
                  .upstreams = f->upstreams,
                  .routes = f->routes,
                  .tokens = f->tokens },
    };
    assert_int_equal(address_parse(SLICE("unix:/tmp/a\"b\\c.sock"), &s->address), STATUS_OK);
    s->view.listeners = s->listeners;
    s->view.accepts = &s->group;
    s->facts = (struct process_facts){ .workers = &s->view,
                                       .worker_count = 1,
                                       .listeners = &s->address,
                                       .listener_count = 1,
                                       .config_file = "x" };
}

static const char *scrape(struct scrape *s)
{
    buf_clear(&s->text);
    metrics_text_print(&s->facts, &s->text);
    return buf_text(&s->text);
}

#define HAS(scraped, line) assert_non_null(strstr(scrape(scraped), line "\n"))
#define HAS_NOT(scraped, text) assert_null(strstr(scrape(scraped), text))

static void call_once(struct fixture *f, const char *fields, unsigned http)
{
    struct client client;
    struct request request = { 0 };
    size_t count = f->call_count;

    client_open(&client, f, false);
    request_send(&request, &client, "POST /process.Process/List", fields, "{}");
    if (http == 200) {
        TURN_UNTIL(f, f->call_count == count + 1 && f->calls[count].ended);
        agent_answer(&f->calls[count], 200, "content-type: application/json\n", false);
        agent_write(&f->calls[count], SLICE("{}"));
        agent_end(&f->calls[count], "");
    }
    TURN_UNTIL(f, request.ended);
    assert_int_equal(request.status, http);
    request_close(&request);
    client_close(&client);
    TURN_UNTIL(f, proxy_call_count(f->proxy) == 0);
}

static void calls_are_counted_by_kind_protocol_method_and_code(void **state)
{
    struct fixture *f = *state;
    struct scrape s;

    scrape_init(&s, f);
    call_once(f, UNARY, 200);
    call_once(f, UNARY, 200);
    call_once(f, "content-type: application/json\n", 401);
    HAS(&s, "exec_gateway_requests_total{kind=\"exec\",protocol=\"connect_unary\",method=\"List\","
            "code=\"ok\"} 2");
    HAS(&s, "exec_gateway_requests_total{kind=\"exec\",protocol=\"connect_unary\",method=\"List\","
            "code=\"unauthenticated\"} 1");
    HAS(&s, "exec_gateway_requests_ended_total{reason=\"token_missing\",ended_by=\"gateway\"} 1");
    HAS(&s, "exec_gateway_request_duration_seconds_count{kind=\"exec\",method=\"List\"} 3");
    HAS(&s, "exec_gateway_request_first_byte_seconds_count{kind=\"exec\",method=\"List\"} 2");
    HAS(&s, "exec_gateway_token_verdicts_total{verdict=\"ok\"} 1");
    HAS(&s, "exec_gateway_open_requests{kind=\"exec\"} 0");
    HAS_NOT(&s, "cmp_1");
    HAS_NOT(&s, "ses_1");
    HAS_NOT(&s, text_of(&f->token));
    buf_deinit(&s.text);
}

static void an_open_stream_is_counted_listed_and_ended_by_its_id(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct request request = { 0 };
    struct buf list = { 0 };
    struct scrape s;

    scrape_init(&s, f);
    client_open(&client, f, false);
    request_send(&request, &client, "POST /process.Process/Start?access_token=hush",
                 "content-type: application/connect+json\n" AUTH, NULL);
    TURN_UNTIL(f, f->call_count == 1);
    agent_answer(&f->calls[0], 200, "content-type: application/connect+json\n", false);
    TURN_UNTIL(f, request.status == 200);
    HAS(&s, "exec_gateway_open_requests{kind=\"exec\"} 1");
    HAS(&s, "exec_gateway_upstream_streams_open 1");

    assert_int_equal(proxy_list_calls(f->proxy, 0, &list), 0);
    assert_int_equal(proxy_list_calls(f->proxy, 10, &list), 1);
    assert_true(buf_has(&list, "\"state\":\"relaying\""));
    assert_false(buf_has(&list, "hush"));
    assert_false(proxy_end_call(f->proxy, SLICE("another")));
    const char *id = strstr(buf_text(&list), "\"id\":\"") + 6;

    assert_true(proxy_end_call(f->proxy, slice_of(id, (size_t)(strchr(id, '"') - id))));
    TURN_UNTIL(f, request.ended);
    assert_true(buf_has(&request.body, "canceled"));
    HAS(&s, "exec_gateway_requests_ended_total{reason=\"canceled\",ended_by=\"gateway\"} 1");
    buf_deinit(&list);
    request_close(&request);
    client_close(&client);
    buf_deinit(&s.text);
}

static void every_family_has_its_help_and_type_once_and_first(void **state)
{
    struct scrape s;

    scrape_init(&s, *state);
    const char *line = scrape(&s);
    char family[128] = "";

    while (*line != '\0') {
        size_t len = strcspn(line, "\n");

        if (strncmp(line, "# HELP ", 7) == 0) {
            char needle[160];

            snprintf(family, sizeof(family), "%.*s", (int)strcspn(line + 7, " "), line + 7);
            snprintf(needle, sizeof(needle), "# HELP %s ", family);
            assert_ptr_equal(strstr(buf_text(&s.text), needle), line);
            assert_null(strstr(line + 1, needle));
        } else if (line[0] != '#') {
            assert_memory_equal(line, family, strlen(family));
            assert_true(strncmp(line, "exec_gateway_", 13) == 0);
        }
        line += len + 1;
    }
    buf_deinit(&s.text);
}

static void label_values_are_escaped(void **state)
{
    struct scrape s;

    scrape_init(&s, *state);
    counter_add(&s.listeners[0].total, 7);
    HAS(&s, "exec_gateway_connections_total{listener=\"unix:/tmp/a\\\"b\\\\c.sock\"} 7");
    buf_deinit(&s.text);
}

static void pauses_of_accepting_and_memory_pressure_are_counted(void **state)
{
    struct scrape s;

    scrape_init(&s, *state);
    counter_add(&s.group.full, 2);
    counter_add(&s.group.exhausted, 5);
    s.facts.memory_pressure = 2;
    s.facts.memory_pressures[1] = 4;
    s.facts.memory_pressures[2] = 3;
    HAS(&s, "exec_gateway_accept_pauses_total{reason=\"connections\"} 2");
    HAS(&s, "exec_gateway_accept_pauses_total{reason=\"descriptors\"} 5");
    HAS(&s, "exec_gateway_memory_pressure_level 2");
    HAS(&s, "exec_gateway_memory_pressure_total{percent=\"80\"} 4");
    HAS(&s, "exec_gateway_memory_pressure_total{percent=\"90\"} 3");
    HAS(&s, "exec_gateway_memory_pressure_total{percent=\"95\"} 0");
    HAS(&s, "exec_gateway_connections_closed_total{reason=\"memory\"} 0");
    HAS(&s, "exec_gateway_connections_closed_total{reason=\"tls_messages\"} 0");
    buf_deinit(&s.text);
}

static void draining_and_a_refused_reload_show(void **state)
{
    struct scrape s;

    scrape_init(&s, *state);
    HAS(&s, "exec_gateway_draining 0");
    HAS(&s, "exec_gateway_config_last_reload_successful 1");
    assert_null(process_not_ready(&s.facts));
    s.facts.is_draining = true;
    s.facts.last_reload_failed = true;
    s.facts.reload_failures = 3;
    HAS(&s, "exec_gateway_draining 1");
    HAS(&s, "exec_gateway_config_last_reload_successful 0");
    HAS(&s, "exec_gateway_config_reloads_total{result=\"failure\"} 3");
    assert_string_equal(process_not_ready(&s.facts), "draining");
    buf_deinit(&s.text);
}

static void a_gateway_that_never_reached_redis_is_not_ready(void **state)
{
    struct route_store_redis_counters redis = { 0 };
    struct scrape s;

    scrape_init(&s, *state);
    s.view.redis = &redis;
    assert_non_null(process_not_ready(&s.facts));
    HAS(&s, "exec_gateway_redis_links_up 0");
    counter_add(&redis.link_up, 1);
    assert_null(process_not_ready(&s.facts));
    HAS(&s, "exec_gateway_redis_links_up 1");
    counter_subtract(&redis.link_up, 1); /* lost: what is known keeps serving */
    counter_add(&redis.disconnects, 1);
    assert_null(process_not_ready(&s.facts));
    buf_deinit(&s.text);
}

static void a_histogram_counts_up_to_its_bounds(void **state)
{
    struct histogram histogram = { 0 };

    (void)state;
    histogram_observe(&histogram, 0);
    histogram_observe(&histogram, histogram_bounds_us[0]);
    histogram_observe(&histogram, histogram_bounds_us[0] + 1);
    histogram_observe(&histogram, UINT32_MAX * 10ull);
    assert_int_equal(counter_read(&histogram.buckets[0]), 2);
    assert_int_equal(counter_read(&histogram.buckets[1]), 1);
    assert_int_equal(counter_read(&histogram.buckets[HISTOGRAM_BOUND_COUNT]), 1);
    assert_int_equal(counter_read(&histogram.sum_us),
                     2 * histogram_bounds_us[0] + 1 + UINT32_MAX * 10ull);
}

#define ON_FIXTURE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_FIXTURE(calls_are_counted_by_kind_protocol_method_and_code),
        ON_FIXTURE(an_open_stream_is_counted_listed_and_ended_by_its_id),
        ON_FIXTURE(every_family_has_its_help_and_type_once_and_first),
        ON_FIXTURE(label_values_are_escaped),
        ON_FIXTURE(pauses_of_accepting_and_memory_pressure_are_counted),
        ON_FIXTURE(draining_and_a_refused_reload_show),
        ON_FIXTURE(a_gateway_that_never_reached_redis_is_not_ready),
        cmocka_unit_test(a_histogram_counts_up_to_its_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
