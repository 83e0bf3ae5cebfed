/* proxy_fixture.c — see proxy_fixture.h. */
#include "proxy_fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "connect/envelope.h"

/* ---- the agent ---- */

static void append_fields(struct buf *into, const struct fields *fields)
{
    for (size_t i = 0; i < fields->count; i++)
        buf_printf(into, "%.*s: %.*s\n", SLICE_ARGS(fields->items[i].name),
                   SLICE_ARGS(fields->items[i].value));
}

static void ignore_head(struct exchange *exchange, const struct head *head)
{
    (void)exchange;
    (void)head;
}

static void ignore_drained(struct exchange *exchange, size_t size_bytes)
{
    (void)exchange;
    (void)size_bytes;
}

static void agent_on_body(struct exchange *exchange, struct slice bytes)
{
    struct agent_call *call = exchange->owner;

    buf_append(&call->body, bytes);
    if (call->holds_back)
        call->held_bytes += bytes.len;
    else
        exchange_consumed(exchange, bytes.len);
}

static void agent_on_end(struct exchange *exchange, const struct fields *trailers)
{
    struct agent_call *call = exchange->owner;

    append_fields(&call->head, trailers);
    call->ended = true;
}

static void agent_on_reset(struct exchange *exchange, enum exchange_reset reason)
{
    struct agent_call *call = exchange->owner;

    call->was_reset = true;
    call->reason = reason;
    exchange_release(&call->exchange);
}

static const struct exchange_events agent_events = {
    .on_interim = ignore_head,
    .on_head = ignore_head,
    .on_body = agent_on_body,
    .on_end = agent_on_end,
    .on_drained = ignore_drained,
    .on_reset = agent_on_reset,
};

static void agent_on_request(void *owner, struct exchange *exchange)
{
    struct fixture *f = owner;

    ENSURE(f->call_count < AGENT_CALLS);
    struct agent_call *call = &f->calls[f->call_count++];
    call->exchange = exchange;
    call->ended = exchange->in_ended;
    exchange_set_owner(exchange, &agent_events, call);
    buf_printf(&call->head, "%.*s %.*s\n", SLICE_ARGS(exchange->request.method),
               SLICE_ARGS(exchange->request.target));
    append_fields(&call->head, &exchange->request.fields);
    if (f->agent_refuses)
        agent_reset(call, RESET_REFUSED);
}

static size_t parse_fields(const char *text, struct field *fields, size_t capacity,
                           struct arena *arena)
{
    struct slice rest = slice_from_string(text);
    size_t count = 0;

    while (rest.len > 0) {
        struct slice value = arena_copy(arena, slice_cut(&rest, '\n'));
        struct slice name = slice_cut(&value, ':');
        ENSURE(count < capacity);
        fields[count++] =
            (struct field){ .name = name, .value = slice_trim(value), .id = field_id_of(name) };
    }
    return count;
}

void agent_answer(struct agent_call *call, unsigned status, const char *fields, bool end)
{
    struct field items[16];
    struct head head = { .status = status, .content_length = CONTENT_LENGTH_UNKNOWN };

    head.fields = (struct fields){ .items = items, .capacity = 16 };
    head.fields.count = parse_fields(fields, items, 16, &call->exchange->arena);
    exchange_send_head(call->exchange, &head, end);
}

void agent_write(struct agent_call *call, struct slice bytes)
{
    exchange_write(call->exchange, bytes);
}

void agent_envelope(struct agent_call *call, uint8_t flags, const char *message)
{
    struct buf bytes = { 0 };

    envelope_append(&bytes, flags, slice_from_string(message));
    agent_write(call, buf_slice(&bytes));
    buf_deinit(&bytes);
}

void agent_end(struct agent_call *call, const char *trailers)
{
    struct field items[8];
    struct fields fields = { .items = items, .capacity = 8 };

    fields.count = parse_fields(trailers, items, 8, &call->exchange->arena);
    exchange_end(call->exchange, &fields);
}

void agent_reset(struct agent_call *call, enum exchange_reset reason)
{
    exchange_reset(call->exchange, reason);
    exchange_release(&call->exchange);
}

static void agent_server_create(struct fixture *f)
{
    struct http_server_options options = { .limits = &f->limits,
                                           .on_request = agent_on_request,
                                           .owner = f };

    f->agent = http_server_create(f->loop, &options);
}

void agent_lose_conns(struct fixture *f)
{
    http_server_destroy(&f->agent);
    agent_server_create(f);
}

/* ---- the gateway ---- */

static void agent_conn_closed(void *arg)
{
    listener_conn_closed(*(struct listener **)arg);
}

static void on_agent_conn(void *owner, struct conn *conn)
{
    struct fixture *f = owner;

    http_server_accept(f->agent, conn, agent_conn_closed, &f->agent_listener);
}

static void on_gateway_conn(void *owner, struct conn *conn)
{
    struct fixture *f = owner;

    http_server_accept(f->gateway, conn, agent_conn_closed, &f->gateway_listener);
}

static void listen_on(struct fixture *f, listener_conn_fn *on_conn, struct listener **out)
{
    struct listener_options options = {
        .max_conns = 100, .inherited_fd = -1, .reuse_port = true, .handshake_timeout_ms = 1000
    };

    assert_int_equal(address_parse(SLICE("127.0.0.1:0"), &options.address), STATUS_OK);
    assert_int_equal(listener_create(f->loop, &options, on_conn, f, out), STATUS_OK);
}

void fixture_token(struct fixture *f, const char *claims, struct buf *into)
{
    struct buf text = { 0 };

    buf_printf(&text, "{\"iss\":\"test\",\"aud\":\"exec\",%s}", claims);
    token_sign_by_hand(TOKEN_HS256, key_fixtures_path(&f->keys, "k1"),
                       SLICE("{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"k1\"}"),
                       buf_slice(&text), into);
    buf_deinit(&text);
}

static void tokens_create(struct fixture *f)
{
    struct key_options key = { .kid = "k1", .algorithm = TOKEN_HS256 };
    struct token_options options = { .issuer = "test",
                                     .exec_audience = "exec",
                                     .access_audience = "access",
                                     .leeway_ms = 30000,
                                     .token_bytes = 8192,
                                     .cache_entries = 100 };
    char claims[256];

    key_fixtures_init(&f->keys);
    key_fixtures_file(&f->keys, "k1", SLICE("0123456789abcdef0123456789abcdef"));
    key.file = key_fixtures_path(&f->keys, "k1");
    assert_int_equal(key_store_create(&key, 1, NULL, &f->key_store), STATUS_OK);
    f->tokens = token_verifier_create(&options, f->key_store, loop_clock(f->loop));
    snprintf(claims, sizeof(claims),
             "\"exp\":%lld,\"sid\":\"ses_1\",\"cid\":\"cmp_1\",\"sub\":\"usr_1\",\"kind\":\"exec\","
             "\"cap\":[\"process\"]",
             (long long)loop_clock(f->loop)->wall_ms / 1000 + 3600);
    fixture_token(f, claims, &f->token);
}

static void upstreams_create(struct fixture *f)
{
    static struct network allow;
    struct upstream_options options = {
        .limits = &f->limits,
        .allow = &allow,
        .allow_count = 1,
        .h2_conns = 2,
        .h1_conns = 4,
        .pending = 64,
        .pending_ms = 1000,
        .connect_ms = 1000,
        .idle_ms = 10000,
        .backoff_min_ms = 1000,
        .backoff_max_ms = 2000,
        .backoff_failures = 5,
    };

    assert_int_equal(network_parse(SLICE("127.0.0.0/8"), &allow), STATUS_OK);
    f->upstreams = upstream_pool_create(f->loop, &options);
}

static void options_init(struct fixture *f)
{
    static const char *const hosts[] = { "exec.test" };
    static const char *const origins[] = { "*" };

    f->options = (struct proxy_options){
        .exec_hosts = hosts,
        .exec_host_count = 1,
        .sessions_required = true,
        .plain_json_bytes = 64 * 1024,
        .plain_wait_ms = 1000,
        .plain_wait_max_ms = 2000,
        .cors_origins = origins,
        .cors_origin_count = 1,
        .requests_per_session = 50,
        .requests_per_computer = 50,
    };
}

void fixture_apply_options(struct fixture *f)
{
    proxy_set_options(f->proxy, &f->options);
}

void fixture_set_computer(struct fixture *f, const char *fields)
{
    fake_store_set(f->store, RECORD_COMPUTER, "cmp_1", fields);
}

int fixture_setup(void **state)
{
    struct fixture *f = mem_zeroed(sizeof(*f));
    struct route_resolver_options routes = { .max_entries = 100,
                                             .found_ms = 30000,
                                             .missing_ms = 2000,
                                             .max_stale_ms = 60000,
                                             .lookup_ms = 2000 };
    char agent[ADDRESS_TEXT_BYTES];

    assert_int_equal(loop_create(&f->loop), STATUS_OK);
    loop_turn(f->loop, 0);
    http_limits_init(&f->limits);
    tokens_create(f);
    agent_server_create(f);
    listen_on(f, on_agent_conn, &f->agent_listener);
    f->store = fake_store_create(f->loop);
    f->routes = route_resolver_create(f->loop, fake_store_base(f->store), &routes);
    fake_store_link_up(f->store);
    snprintf(f->computer, sizeof(f->computer),
             "state=running;agent=%s;protocol=h2c;boot=b1;agent_token=guest-secret",
             address_text(listener_address(f->agent_listener), agent));
    fixture_set_computer(f, f->computer);
    fake_store_set(f->store, RECORD_SESSION, "ses_1", "kind=exec;computer=cmp_1;user=usr_1");
    upstreams_create(f);
    options_init(f);
    f->log_file = tmpfile();
    f->log = access_log_create(f->loop, fileno(f->log_file));
    f->proxy = proxy_create(f->loop, &f->options, f->tokens, f->routes, f->upstreams, f->log);
    struct http_server_options gateway = { .limits = &f->limits,
                                           .on_request = proxy_on_request,
                                           .refuse = proxy_refuse,
                                           .owner = f->proxy };
    f->gateway = http_server_create(f->loop, &gateway);
    listen_on(f, on_gateway_conn, &f->gateway_listener);
    *state = f;
    return 0;
}

int fixture_teardown(void **state)
{
    struct fixture *f = *state;

    http_server_destroy(&f->gateway);
    assert_int_equal(proxy_call_count(f->proxy), 0);
    proxy_destroy(&f->proxy);
    access_log_destroy(&f->log);
    fclose(f->log_file);
    upstream_pool_destroy(&f->upstreams);
    http_server_destroy(&f->agent);
    for (size_t i = 0; i < f->call_count; i++) {
        exchange_release(&f->calls[i].exchange);
        buf_deinit(&f->calls[i].head);
        buf_deinit(&f->calls[i].body);
    }
    turn_for(f, 2);
    route_resolver_destroy(&f->routes);
    listener_destroy(&f->gateway_listener);
    listener_destroy(&f->agent_listener);
    token_verifier_destroy(&f->tokens);
    key_store_unref(&f->key_store);
    key_fixtures_deinit(&f->keys);
    buf_deinit(&f->token);
    loop_destroy(&f->loop);
    mem_free(f);
    return 0;
}

void turn_for(struct fixture *f, uint64_t time_ms)
{
    uint64_t until_ms = loop_clock(f->loop)->now_ms + time_ms;

    do
        loop_turn(f->loop, 1);
    while (loop_clock(f->loop)->now_ms < until_ms);
}

/* ---- clients ---- */

static void http_on_capacity(void *owner)
{
    (void)owner;
}

static void http_on_closing(void *owner, enum status reason)
{
    (void)owner;
    (void)reason;
}

static void http_on_closed(void *owner)
{
    struct client *client = owner;

    client->is_closed = true;
    http_client_destroy(&client->http);
}

static const struct http_client_events http_events = {
    .on_capacity = http_on_capacity,
    .on_closing = http_on_closing,
    .on_closed = http_on_closed,
};

static void conn_on_open(void *owner, enum status status)
{
    struct client *client = owner;
    struct conn *conn = client->conn;

    ENSURE(status == STATUS_OK);
    client->conn = NULL;
    client->http = client->is_h1
                       ? h1_client_create(conn, &client->fixture->limits, &http_events, client)
                       : h2_client_create(conn, &client->fixture->limits, &http_events, client);
    client->is_open = true;
}

static void conn_ignored(void *owner)
{
    (void)owner;
}

static const struct conn_events conn_opening_events = { .on_open = conn_on_open,
                                                        .on_readable = conn_ignored,
                                                        .on_writable = conn_ignored };

void client_open(struct client *client, struct fixture *f, bool is_h1)
{
    struct conn_connect_options options = { .timeout_ms = 2000 };

    *client = (struct client){ .fixture = f, .is_h1 = is_h1 };
    client->conn = conn_connect_start(f->loop, listener_address(f->gateway_listener), &options,
                                      &conn_opening_events, client);
    TURN_UNTIL(f, client->is_open);
    TURN_UNTIL(f, http_client_capacity(client->http) > 0);
}

void client_close(struct client *client)
{
    http_client_destroy(&client->http);
}

static void request_on_head(struct exchange *exchange, const struct head *head)
{
    struct request *request = exchange->owner;

    request->status = head->status;
    buf_printf(&request->head, "%u\n", head->status);
    append_fields(&request->head, &head->fields);
    request->ended = exchange->in_ended;
}

static void request_on_interim(struct exchange *exchange, const struct head *head)
{
    struct request *request = exchange->owner;

    buf_printf(&request->head, "interim %u\n", head->status);
}

static void request_on_body(struct exchange *exchange, struct slice bytes)
{
    struct request *request = exchange->owner;

    buf_append(&request->body, bytes);
    if (request->holds_back)
        request->held_bytes += bytes.len;
    else
        exchange_consumed(exchange, bytes.len);
}

static void request_on_end(struct exchange *exchange, const struct fields *trailers)
{
    struct request *request = exchange->owner;

    append_fields(&request->trailers, trailers);
    request->ended = true;
}

static void request_on_reset(struct exchange *exchange, enum exchange_reset reason)
{
    struct request *request = exchange->owner;

    request->was_reset = true;
    request->reason = reason;
}

static const struct exchange_events request_events = {
    .on_interim = request_on_interim,
    .on_head = request_on_head,
    .on_body = request_on_body,
    .on_end = request_on_end,
    .on_drained = ignore_drained,
    .on_reset = request_on_reset,
};

static void expand_token(struct fixture *f, const char *text, struct buf *into)
{
    for (; *text != '\0'; text++) {
        if (text[0] == '$' && text[1] == 'T') {
            buf_append(into, buf_slice(&f->token));
            text++;
        } else {
            buf_append_byte(into, *text);
        }
    }
}

void request_send_bytes(struct request *request, struct client *client,
                        const char *method_and_target, const char *fields, struct slice body,
                        bool end)
{
    struct fixture *f = client->fixture;
    struct buf line = { 0 }, text = { 0 };

    *request = (struct request){ .holds_back = request->holds_back };
    expand_token(f, method_and_target, &line);
    expand_token(f, fields, &text);
    struct slice target = arena_copy(&request->arena, buf_slice(&line));
    request->sent.method = slice_cut(&target, ' ');
    request->sent.target = target;
    request->sent.scheme = SLICE("http");
    request->sent.authority = SLICE("exec.test");
    request->sent.content_length = CONTENT_LENGTH_UNKNOWN;
    request->sent.fields = (struct fields){ .items = request->fields, .capacity = 24 };
    request->sent.fields.count =
        parse_fields(buf_text(&text), request->fields, 24, &request->arena);
    if (request->sent.fields.count > 0 &&
        slice_equal(request->fields[0].name, SLICE("authority"))) {
        request->sent.authority = request->fields[0].value;
        request->sent.fields.items++;
        request->sent.fields.count--;
    }
    bool head_only = end && body.len == 0;
    request->exchange =
        http_client_open(client->http, &request->sent, head_only, &request_events, request);
    exchange_write(request->exchange, body);
    if (end && !head_only)
        exchange_end(request->exchange, NULL);
    buf_deinit(&line);
    buf_deinit(&text);
}

void request_send(struct request *request, struct client *client, const char *method_and_target,
                  const char *fields, const char *body)
{
    request_send_bytes(request, client, method_and_target, fields, slice_from_string(body),
                       body != NULL);
}

void request_close(struct request *request)
{
    if (request->exchange != NULL && !exchange_is_finished(request->exchange))
        exchange_reset(request->exchange, RESET_CANCEL);
    exchange_release(&request->exchange);
    buf_deinit(&request->head);
    buf_deinit(&request->body);
    buf_deinit(&request->trailers);
    arena_deinit(&request->arena);
}

void fixture_read_log(struct fixture *f, struct buf *into)
{
    char bytes[4096];
    size_t count;

    turn_for(f, 30); /* a line may wait for 10 ms */
    rewind(f->log_file);
    while ((count = fread(bytes, 1, sizeof(bytes), f->log_file)) > 0)
        buf_append(into, slice_of(bytes, count));
}

const char *text_of(struct buf *buf)
{
    return buf_text(buf);
}

bool buf_has(struct buf *buf, const char *text)
{
    return buf->len > 0 && memmem(buf_slice(buf).ptr, buf->len, text, strlen(text)) != NULL;
}
