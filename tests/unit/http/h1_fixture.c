/* h1_fixture.c — see h1_fixture.h. */
#include "h1_fixture.h"

#include "base/mem.h"

/* ---- the owner ---- */

static void on_never(struct exchange *exchange, const struct head *head)
{
    (void)exchange;
    (void)head;
    fail_msg("a server's exchange was given a response");
}

static void reply_if_wanted(struct app_request *request)
{
    if (!request->app->auto_reply || request->exchange == NULL || request->exchange->head_sent)
        return;
    app_reply(request, 200, "ok");
    app_release(request);
}

static void on_body(struct exchange *exchange, struct slice bytes)
{
    struct app_request *request = exchange->owner;

    assert_true(bytes.len > 0);
    assert_false(request->ended);
    buf_append(&request->body, bytes);
    request->body_events++;
    if (request->app->auto_consume)
        exchange_consumed(exchange, bytes.len);
}

static void on_end(struct exchange *exchange, const struct fields *trailers)
{
    struct app_request *request = exchange->owner;

    assert_false(request->ended || request->in_ended_with_head);
    assert_true(exchange->in_ended);
    request->ended = true;
    for (size_t i = 0; i < trailers->count; i++)
        buf_printf(&request->trailers, "%.*s=%.*s;", SLICE_ARGS(trailers->items[i].name),
                   SLICE_ARGS(trailers->items[i].value));
    reply_if_wanted(request);
}

static void on_drained(struct exchange *exchange, size_t size_bytes)
{
    struct app_request *request = exchange->owner;

    request->drained_bytes += size_bytes;
}

static void on_reset(struct exchange *exchange, enum exchange_reset reason)
{
    struct app_request *request = exchange->owner;

    assert_int_equal(request->reset, NO_RESET);
    assert_true(exchange->is_dead);
    request->reset = (int)reason;
    app_release(request);
}

static const struct exchange_events owner_events = {
    .on_interim = on_never,
    .on_head = on_never,
    .on_body = on_body,
    .on_end = on_end,
    .on_drained = on_drained,
    .on_reset = on_reset,
};

static void on_request(void *owner, struct exchange *exchange)
{
    struct app *app = owner;
    struct app_request *request = &app->requests[app->request_count++ % APP_REQUESTS];

    if (request->exchange != NULL)
        exchange_release(&request->exchange);
    buf_deinit(&request->body);
    buf_deinit(&request->trailers);
    *request = (struct app_request){
        .app = app,
        .exchange = exchange,
        .in_ended_with_head = exchange->in_ended,
        .reset = NO_RESET,
    };
    exchange_set_owner(exchange, &owner_events, request);
    if (exchange->in_ended)
        reply_if_wanted(request);
}

static void refuse(void *owner, struct exchange *exchange, enum status status)
{
    struct app *app = owner;
    static const char body[] = "no\n";

    app->refused_status = (int)status_http(status);
    exchange_send_head(exchange,
                       &(struct head){ .status = status_http(status), .content_length = 3 }, false);
    exchange_write(exchange, slice_from_string(body));
    exchange_end(exchange, NULL);
}

/* ---- the raw client ---- */

static void client_opened(void *owner, enum status status)
{
    struct app *app = owner;

    assert_int_equal(status, STATUS_OK);
    conn_want_read(app->client, true);
}

static void client_readable(void *owner)
{
    struct app *app = owner;
    size_t count = 0;
    enum status status = conn_read(app->client, buf_reserve(&app->received, 65536), 65536, &count);

    if (status == STATUS_OK) {
        buf_commit(&app->received, count);
    } else if (status != STATUS_AGAIN) {
        app->client_ended = true;
        app->client_end = status;
    }
}

static void client_writable(void *owner)
{
    (void)owner;
}

static const struct conn_events client_events = {
    .on_open = client_opened,
    .on_readable = client_readable,
    .on_writable = client_writable,
};

const struct conn_events *app_client_events(void)
{
    return &client_events;
}

static void on_closed(void *arg)
{
    ((struct app *)arg)->closed_count++;
}

void app_connect(struct app *app, const struct conn_memory_options *options)
{
    struct conn_memory_options none = { 0 };

    conn_destroy(&app->client);
    app_clear(app);
    app->client_ended = false;
    app->refused_status = 0;
    conn_memory_pair(app->loop, options != NULL ? options : &none, &app->client, &app->server_end);
    conn_memory_limit(app->client, 0, 0);
    conn_set_owner(app->client, &client_events, app);
    http_server_accept(app->server, app->server_end, on_closed, app);
    app_turn(app, 2);
}

void app_turn(struct app *app, unsigned turns)
{
    while (turns-- > 0)
        loop_turn(app->loop, 0);
}

void app_send(struct app *app, struct slice bytes)
{
    for (unsigned i = 0; bytes.len > 0 && i < 1000000; i++) {
        size_t count = 0;
        enum status status = conn_write(app->client, &bytes, 1, &count);

        if (status == STATUS_SYSTEM)
            return;
        bytes = slice_skip(bytes, count);
        app_turn(app, 1);
    }
    size_t unread;
    unsigned quiet = 0;
    do { /* until the server has read all that it wants to read now */
        unread = conn_memory_unread(app->client);
        app_turn(app, 2);
        quiet = conn_memory_unread(app->client) == unread ? quiet + 1 : 0;
    } while (quiet < 3);
}

bool app_wait(struct app *app, uint64_t limit_ms, bool (*done)(const struct app *app))
{
    struct clock clock;

    clock_refresh(&clock);
    for (uint64_t end = clock.now_ms + limit_ms; !done(app) && clock.now_ms < end;) {
        loop_turn(app->loop, 5);
        clock_refresh(&clock);
    }
    return done(app);
}

bool app_client_is_closed(const struct app *app)
{
    return app->client_ended;
}

static struct slice received(const struct app *app)
{
    return buf_slice(&app->received);
}

bool app_received(const struct app *app, const char *text)
{
    bool same = slice_equal(received(app), slice_from_string(text));

    if (!same)
        print_message("received: %.*s\n", SLICE_ARGS(received(app)));
    return same;
}

bool app_contains(const struct app *app, const char *text)
{
    return app->received.len > 0 &&
           memmem(received(app).ptr, app->received.len, text, strlen(text)) != NULL;
}

bool app_starts(const struct app *app, const char *text)
{
    bool starts = slice_starts_with(received(app), slice_from_string(text));

    if (!starts)
        print_message("received: %.*s\n", SLICE_ARGS(received(app)));
    return starts;
}

void app_clear(struct app *app)
{
    buf_deinit(&app->received);
}

/* ---- the test's side of the owner ---- */

struct app_request *app_request(struct app *app, size_t index)
{
    assert_true(index < app->request_count);
    return &app->requests[index % APP_REQUESTS];
}

void app_reply(struct app_request *request, unsigned status, const char *body)
{
    struct slice bytes = slice_from_string(body);

    exchange_send_head(request->exchange,
                       &(struct head){ .status = status, .content_length = (int64_t)bytes.len },
                       bytes.len == 0);
    if (bytes.len > 0) {
        exchange_write(request->exchange, bytes);
        exchange_end(request->exchange, NULL);
    }
}

void app_release(struct app_request *request)
{
    exchange_release(&request->exchange);
}

/* ---- life ---- */

static void release_all(struct app *app)
{
    for (size_t i = 0; i < APP_REQUESTS; i++) {
        exchange_release(&app->requests[i].exchange);
        buf_deinit(&app->requests[i].body);
        buf_deinit(&app->requests[i].trailers);
    }
    app->request_count = 0;
}

void app_restart(struct app *app)
{
    http_server_destroy(&app->server);
    release_all(app);
    app->server = http_server_create(app->loop, &app->options);
}

int app_setup(void **state)
{
    struct app *app = mem_zeroed(sizeof(*app));

    assert_int_equal(loop_create(&app->loop), STATUS_OK);
    http_limits_init(&app->limits);
    app->options = (struct http_server_options){
        .limits = &app->limits,
        .on_request = on_request,
        .refuse = refuse,
        .owner = app,
    };
    app->auto_consume = true;
    app->server = http_server_create(app->loop, &app->options);
    *state = app;
    return 0;
}

int app_teardown(void **state)
{
    struct app *app = *state;

    http_server_destroy(&app->server);
    release_all(app);
    conn_destroy(&app->client);
    buf_deinit(&app->received);
    app_turn(app, 2);
    loop_destroy(&app->loop);
    mem_free(app);
    return 0;
}
