/* codec_fuzz.c — see codec_fuzz.h. One loop serves all runs: a run ends when nothing of it is left. */
#include "codec_fuzz.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "conn_memory.h"

enum { ASKED_MAX = 300, SCRIPT_BYTES = 64 * 1024, TURNS_MAX = 20000 };

struct world;

struct asked { /* one exchange and what was seen of it */
    struct world *world;
    struct exchange *exchange; /* NULL: released */
    struct buf text;
    uint64_t body_bytes;
    size_t held_bytes;
    int64_t promised_bytes;
    bool has_head, ended, answered;
};

struct world {
    unsigned mode;
    struct http_limits limits;
    struct http_server *server;
    struct http_client *client;
    struct conn *raw;
    struct asked asked[ASKED_MAX];
    size_t asked_count;
    bool client_closed, too_many;
};

static struct loop *loop;

static void end_loop(void)
{
    loop_destroy(&loop);
}

struct codec_input codec_input_of(const uint8_t *data, size_t size)
{
    struct codec_input input = { 0 };

    if (size > 0)
        input.piece_bytes = data[0];
    if (size > 1) {
        input.mode = data[1];
        input.script = slice_first(slice_of(data + 2, size - 2), SCRIPT_BYTES);
    }
    return input;
}

/* ---- what a head may hold ---- */

static void check_fields(const struct fields *fields)
{
    for (size_t i = 0; i < fields->count; i++) {
        struct slice name = fields->items[i].name;

        ENSURE(is_token(name) && is_field_value(fields->items[i].value));
        for (size_t at = 0; at < name.len; at++)
            ENSURE(name.ptr[at] < 'A' || name.ptr[at] > 'Z');
    }
}

static void write_head(struct asked *asked, const struct head *head)
{
    check_fields(&head->fields);
    buf_printf(&asked->text, "%u %.*s %.*s %.*s %.*s %lld", head->status, SLICE_ARGS(head->method),
               SLICE_ARGS(head->target), SLICE_ARGS(head->authority), SLICE_ARGS(head->protocol),
               (long long)head->content_length);
    for (size_t i = 0; i < head->fields.count; i++)
        buf_printf(&asked->text, "|%.*s:%.*s", SLICE_ARGS(head->fields.items[i].name),
                   SLICE_ARGS(head->fields.items[i].value));
    buf_append_byte(&asked->text, '\n');
}

static void check_request(const struct head *head)
{
    bool is_connect = slice_equal(head->method, SLICE("CONNECT")) && head->protocol.len == 0;

    ENSURE(is_token(head->method) && is_field_value(head->authority));
    ENSURE(is_connect == (head->target.len == 0));
    ENSURE(is_connect || head->target.ptr[0] == '/' || slice_equal(head->target, SLICE("*")));
    for (size_t i = 0; i < head->target.len; i++)
        ENSURE((unsigned char)head->target.ptr[i] > ' ' && head->target.ptr[i] != 0x7f);
    ENSURE(head->protocol.len == 0 || slice_equal(head->protocol, SLICE("websocket")));
}

/* ---- the owner of exchanges, both sides ---- */

static void release(struct asked *asked)
{
    exchange_release(&asked->exchange);
}

static void answer(struct asked *asked)
{
    struct exchange *exchange = asked->exchange;
    bool tunnel = exchange->can_tunnel;
    struct head head = { .status = tunnel && exchange->link->version != HTTP_2 &&
                                           exchange->request.protocol.len > 0
                                       ? 101
                                       : 200,
                         .content_length = CONTENT_LENGTH_UNKNOWN };

    if (asked->answered)
        return;
    asked->answered = true;
    exchange_send_head(exchange, &head, false);
    if ((asked->world->mode & MODE_ECHO) == 0 && !exchange->is_dead)
        exchange_write(exchange, SLICE("ok"));
}

static void finish(struct asked *asked)
{
    if (asked->exchange == NULL)
        return;
    if (asked->held_bytes > 0)
        exchange_consumed(asked->exchange, asked->held_bytes);
    asked->held_bytes = 0;
    if (asked->world->server != NULL) {
        answer(asked);
        if (!asked->exchange->is_dead)
            exchange_end(asked->exchange, NULL);
    }
}

static void on_interim(struct exchange *exchange, const struct head *head)
{
    struct asked *asked = exchange->owner;

    ENSURE(!asked->has_head && head->status >= 100 && head->status < 200);
    write_head(asked, head);
}

static void on_head(struct exchange *exchange, const struct head *head)
{
    struct asked *asked = exchange->owner;

    ENSURE(!asked->has_head && (head->status == 101 || head->status >= 200));
    ENSURE(head->status <= 999);
    asked->has_head = true;
    asked->ended = exchange->in_ended;
    asked->promised_bytes = head->content_length;
    write_head(asked, head);
    if (exchange->in_ended && asked->world->mode & MODE_EARLY)
        release(asked);
}

static void on_body(struct exchange *exchange, struct slice bytes)
{
    struct asked *asked = exchange->owner;

    ENSURE(bytes.len > 0 && !asked->ended && asked->has_head && !exchange->is_dead);
    asked->body_bytes += bytes.len;
    buf_append(&asked->text, bytes);
    if ((asked->world->mode & MODE_ECHO) != 0 && asked->answered && !exchange->out_ended)
        exchange_write(exchange, bytes);
    if ((asked->world->mode & MODE_HOLD) != 0) {
        asked->held_bytes += bytes.len;
        ENSURE(asked->held_bytes <= asked->world->limits.window_bytes);
    } else {
        exchange_consumed(exchange, bytes.len);
    }
}

static void on_end(struct exchange *exchange, const struct fields *trailers)
{
    struct asked *asked = exchange->owner;
    bool bodyless = asked->world->client != NULL; /* HEAD, 304: a length without a body */

    ENSURE(!asked->ended && exchange->in_ended);
    ENSURE(bodyless || asked->promised_bytes < 0 ||
           (uint64_t)asked->promised_bytes == asked->body_bytes);
    asked->ended = true;
    check_fields(trailers);
    buf_printf(&asked->text, "\nend %zu\n", trailers->count);
    finish(asked);
}

static void on_drained(struct exchange *exchange, size_t size_bytes)
{
    (void)exchange;
    ENSURE(size_bytes > 0);
}

static void on_reset(struct exchange *exchange, enum exchange_reset reason)
{
    struct asked *asked = exchange->owner;

    (void)reason;
    ENSURE(exchange->is_dead);
    release(asked);
}

static const struct exchange_events owner_events = {
    .on_interim = on_interim,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_drained = on_drained,
    .on_reset = on_reset,
};

static void on_request(void *owner, struct exchange *exchange)
{
    struct world *w = owner;

    if (w->asked_count == ASKED_MAX) {
        w->too_many = true;
        exchange_release(&exchange);
        return;
    }

    struct asked *asked = &w->asked[w->asked_count++];

    *asked = (struct asked){ .world = w, .exchange = exchange, .has_head = true };
    asked->ended = exchange->in_ended;
    asked->promised_bytes = exchange->request.content_length;
    exchange_set_owner(exchange, &owner_events, asked);
    check_request(&exchange->request);
    write_head(asked, &exchange->request);
    if ((w->mode & MODE_EARLY) != 0 || exchange->can_tunnel)
        answer(asked);
    if (exchange->in_ended || ((w->mode & MODE_EARLY) != 0 && !exchange->can_tunnel))
        finish(asked);
}

/* ---- the raw peer ---- */

static void raw_opened(void *owner, enum status status)
{
    struct world *w = owner;

    ENSURE(status == STATUS_OK);
    conn_want_read(w->raw, true);
}

static void raw_readable(void *owner)
{
    static char scrap[64 * 1024];
    struct world *w = owner;
    size_t count = 0;
    enum status status = conn_read(w->raw, scrap, sizeof(scrap), &count);

    if (status != STATUS_OK && status != STATUS_AGAIN)
        conn_want_read(w->raw, false);
}

static void raw_writable(void *owner)
{
    (void)owner;
}

static const struct conn_events raw_events = {
    .on_open = raw_opened,
    .on_readable = raw_readable,
    .on_writable = raw_writable,
};

static void turn(unsigned count)
{
    while (count-- > 0)
        loop_turn(loop, 0);
}

static void say(struct world *w, struct slice bytes, size_t piece_bytes)
{
    for (unsigned i = 0; bytes.len > 0 && i < TURNS_MAX; i++) {
        struct slice piece = piece_bytes > 0 ? slice_first(bytes, piece_bytes) : bytes;
        size_t count = 0;

        if (conn_write(w->raw, &piece, 1, &count) == STATUS_SYSTEM)
            return;
        bytes = slice_skip(bytes, count);
        turn(1);
    }
}

/* Until the codec has read everything that it wants to read now. */
static void settle(struct world *w)
{
    unsigned quiet = 0;

    for (unsigned i = 0; quiet < 3 && i < TURNS_MAX; i++) {
        size_t unread = conn_memory_unread(w->raw);

        turn(1);
        quiet = conn_memory_unread(w->raw) == unread ? quiet + 1 : 0;
    }
}

static void set_limits(struct world *w)
{
    http_limits_init(&w->limits);
    if ((w->mode & MODE_TIGHT) != 0) {
        w->limits.fields_soft = 12;
        w->limits.fields_hard = 20;
        w->limits.cookie_crumbs = 4;
        w->limits.field_bytes_soft = 1024;
        w->limits.field_bytes_hard = 2048;
        w->limits.header_block_bytes = 1024;
        w->limits.target_bytes = 64;
        w->limits.streams = w->limits.streams_untrusted = 4;
        w->limits.streams_total = 8;
        w->limits.reset_burst = 4;
        w->limits.reset_sample = 8;
        w->limits.glitches = 4;
        w->limits.pings = w->limits.settings_frames = w->limits.priorities_per_stream = 3;
        w->limits.outbound_frames = 8;
        w->limits.overhead_bytes = 512;
        w->limits.continuation_frames = 3;
        w->limits.keepalive_requests = 3;
    } else { /* what depends on the size of the pieces is out of the way */
        w->limits.streams = w->limits.streams_untrusted = 1u << 20;
        w->limits.streams_total = w->limits.overhead_bytes = 1u << 30;
        w->limits.reset_burst = w->limits.glitches = 1u << 30;
        w->limits.reset_sample = 512;
        w->limits.outbound_frames = w->limits.window_updates_per_data = 1u << 30;
    }
}

static void start(struct world *w, const struct codec_input *input)
{
    if (loop == NULL) {
        ENSURE(loop_create(&loop) == STATUS_OK);
        atexit(end_loop);
    }
    w->mode = input->mode;
    set_limits(w);
}

static void speak(struct world *w, const struct codec_input *input, struct slice greeting)
{
    say(w, greeting, 0);
    settle(w);
    say(w, input->script, input->piece_bytes);
    settle(w);
    if ((w->mode & MODE_FIN) != 0) {
        conn_shutdown(w->raw);
        settle(w);
    }
    for (size_t i = 0; i < w->asked_count; i++)
        finish(&w->asked[i]);
    settle(w);
}

static void end(struct world *w, struct buf *seen)
{
    conn_destroy(&w->raw);
    turn(4);
    http_server_destroy(&w->server);
    http_client_destroy(&w->client);
    for (size_t i = 0; i < w->asked_count; i++) {
        struct asked *asked = &w->asked[i];

        release(asked);
        buf_printf(seen, "%d %zu\n", asked->ended, asked->text.len);
        buf_append(seen, buf_slice(&asked->text));
        buf_deinit(&asked->text);
    }
    turn(3);
}

/* ---- the two runs ---- */

static void refuse(void *owner, struct exchange *exchange, enum status status)
{
    struct head head = { .status = status_http(status), .content_length = 2 };

    (void)owner;
    ENSURE(head.status >= 400);
    exchange_send_head(exchange, &head, false);
    exchange_write(exchange, SLICE("no"));
    exchange_end(exchange, NULL);
}

bool codec_serve(const struct codec_input *input, struct slice greeting, struct buf *seen)
{
    struct world *w = mem_zeroed(sizeof(*w));
    struct conn *near;

    start(w, input);
    w->server = http_server_create(loop, &(struct http_server_options){
                                             .limits = &w->limits,
                                             .enable_connect_protocol = true,
                                             .allow_connect = (w->mode & MODE_CONNECT) != 0,
                                             .refuse = refuse,
                                             .on_request = on_request,
                                             .owner = w,
                                         });
    conn_memory_pair(loop, &(struct conn_memory_options){ .pipe_bytes = SCRIPT_BYTES }, &w->raw,
                     &near);
    conn_set_owner(w->raw, &raw_events, w);
    http_server_accept(w->server, near, NULL, NULL);
    turn(2);
    speak(w, input, greeting);

    /* WINDOW_UPDATEs are counted beside the DATA that has left, which depends on the size of the pieces. */
    bool is_flood = counter_read(&http_server_counters(w->server)->closed_flood) > 0;
    bool is_exact = !w->too_many && !is_flood && (w->mode & MODE_TIGHT) == 0;

    end(w, seen);
    mem_free(w);
    return is_exact;
}

static void on_nothing(void *owner)
{
    (void)owner;
}

static void on_closing(void *owner, enum status reason)
{
    (void)owner;
    (void)reason;
}

static void on_closed(void *owner)
{
    ((struct world *)owner)->client_closed = true;
}

static const struct http_client_events client_events = {
    .on_ready = on_nothing,
    .on_capacity = on_nothing,
    .on_closing = on_closing,
    .on_closed = on_closed,
};

static void ask(struct world *w)
{
    struct asked *asked = &w->asked[w->asked_count];
    struct head head = { .method = SLICE("POST"),
                         .scheme = SLICE("http"),
                         .authority = SLICE("a.test"),
                         .target = SLICE("/x"),
                         .content_length = CONTENT_LENGTH_UNKNOWN };
    bool has_body = false;

    if (w->client_closed || http_client_capacity(w->client) == 0)
        return;
    w->asked_count++;
    if ((w->mode & MODE_CONNECT) != 0) {
        head.method = SLICE("CONNECT");
        head.target = head.scheme = SLICE_EMPTY;
        has_body = true;
    } else if ((w->mode & MODE_UPGRADE) != 0) {
        head.method = w->client->link.version == HTTP_2 ? SLICE("CONNECT") : SLICE("GET");
        head.protocol = SLICE("websocket");
        has_body = true;
    } else if ((w->mode & MODE_HEAD) != 0) {
        head.method = SLICE("HEAD");
    } else {
        has_body = (w->mode & MODE_ECHO) != 0;
    }
    *asked = (struct asked){ .world = w, .promised_bytes = CONTENT_LENGTH_UNKNOWN };
    asked->exchange = http_client_open(w->client, &head, !has_body, &owner_events, asked);
    if (has_body && asked->exchange != NULL) {
        exchange_write(asked->exchange, SLICE("hello"));
        if ((w->mode & MODE_EARLY) != 0)
            exchange_end(asked->exchange, NULL);
    }
}

bool codec_ask(const struct codec_input *input, struct slice greeting, bool is_h2, struct buf *seen)
{
    struct world *w = mem_zeroed(sizeof(*w));
    struct conn *near;

    start(w, input);
    conn_memory_pair(loop, &(struct conn_memory_options){ .pipe_bytes = SCRIPT_BYTES }, &w->raw,
                     &near);
    conn_set_owner(w->raw, &raw_events, w);
    turn(2);
    w->client = is_h2 ? h2_client_create(near, &w->limits, &client_events, w)
                      : h1_client_create(near, &w->limits, &client_events, w);
    turn(2);
    ask(w);
    if (is_h2)
        ask(w);
    turn(2);
    speak(w, input, greeting);

    bool is_exact = (w->mode & MODE_TIGHT) == 0;

    end(w, seen);
    mem_free(w);
    return is_exact;
}

/* Cuts one exchange off. */
static struct slice next_seen(struct slice *left, bool *out_ended)
{
    struct slice line = slice_cut(left, '\n');
    struct slice ended = slice_cut(&line, ' ');
    uint64_t len = 0;

    ENSURE(slice_to_u64(line, &len) && len <= left->len);

    struct slice text = slice_first(*left, (size_t)len);

    *out_ended = slice_equal(ended, SLICE("1"));
    *left = slice_skip(*left, text.len);
    return text;
}

/* The same exchanges came, and those that ended well said the same. Of a message that was cut or
 * malformed, any part of the beginning may have been seen. */
static bool is_same(struct slice a, struct slice b)
{
    while (a.len > 0 && b.len > 0) {
        bool a_ended, b_ended;
        struct slice a_text = next_seen(&a, &a_ended);
        struct slice b_text = next_seen(&b, &b_ended);

        if (a_ended != b_ended || (a_ended && a_text.len != b_text.len))
            return false;
        if (!slice_starts_with(a_text, b_text) && !slice_starts_with(b_text, a_text))
            return false;
    }
    return a.len == b.len;
}

void codec_compare(const uint8_t *data, size_t size, codec_run_fn *run)
{
    struct codec_input input = codec_input_of(data, size);
    struct buf seen = { 0 }, at_once = { 0 };
    bool is_exact = run(&input, &seen);

    if (is_exact && input.piece_bytes != 0) {
        input.piece_bytes = 0;
        if (run(&input, &at_once) && !is_same(buf_slice(&seen), buf_slice(&at_once))) {
            fprintf(stderr, "in pieces:\n%s\nat once:\n%s\n", buf_text(&seen), buf_text(&at_once));
            abort();
        }
    }
    buf_deinit(&seen);
    buf_deinit(&at_once);
}
