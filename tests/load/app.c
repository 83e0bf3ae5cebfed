/* tests/load/app.c — the program exec-load-app: the app in the guest behind a published port. GET /bytes/N answers N bytes (up to
 * 16 MiB), GET anything else 1 KiB; a WebSocket's messages come back as they went. HTTP/1.1 and h2c on one port.
 * The first line on standard output is "listening HOST:PORT". */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/base64.h"
#include "base/mem.h"
#include "http/server.h"
#include "net/listener.h"
#include "net/loop.h"

enum {
    ANSWER_MAX = 16 << 20,
    PIECE_BYTES = 32768,
    FRAME_HEAD_MAX = 14,
    OPCODE_CLOSE = 8,
    OPCODE_PING = 9,
    OPCODE_PONG = 10
};

struct answer {
    struct exchange *exchange;
    uint64_t left_bytes; /* of the body */
    bool is_websocket;
    struct {
        unsigned char head[FRAME_HEAD_MAX];
        unsigned head_len;
        uint64_t left, at;
    } frame;
};

static struct loop *main_loop; /* for the signal handler */
static struct http_server *server;

static void answer_end(struct answer *answer)
{
    exchange_release(&answer->exchange);
    mem_free(answer);
}

/* A piece at a time, as they leave: a reader that stands still costs a piece. */
static void pump(struct answer *answer)
{
    static const char letters[PIECE_BYTES] = { 'a' };

    while (answer->left_bytes > 0 && answer->exchange->out.len < PIECE_BYTES) {
        size_t size = answer->left_bytes < PIECE_BYTES ? (size_t)answer->left_bytes : PIECE_BYTES;
        exchange_write(answer->exchange, slice_of(letters, size));
        answer->left_bytes -= size;
        if (answer->left_bytes == 0)
            exchange_end(answer->exchange, NULL);
    }
}

/* ---- WebSocket: unmask, send back ---- */

static unsigned head_size(const unsigned char *head)
{
    unsigned len7 = head[1] & 0x7f;

    return 6 + (len7 < 126 ? 0 : len7 == 126 ? 2 : 8);
}

static void frame_begin(struct answer *answer)
{
    unsigned char *head = answer->frame.head, back[10];
    unsigned len7 = head[1] & 0x7f, size = head_size(head) - 4;
    unsigned opcode = head[0] & 0x0f;
    uint64_t len = len7;

    if (len7 >= 126) {
        len = 0;
        for (unsigned i = 2; i < size; i++)
            len = len << 8 | head[i];
    }
    answer->frame.left = len;
    answer->frame.at = 0;
    memcpy(back, head, size);
    back[0] = (unsigned char)((head[0] & 0xf0) | (opcode == OPCODE_PING ? OPCODE_PONG : opcode));
    back[1] &= 0x7f;
    exchange_write(answer->exchange, slice_of(back, size));
}

static void frame_end(struct answer *answer)
{
    if ((answer->frame.head[0] & 0x0f) == OPCODE_CLOSE)
        exchange_end(answer->exchange, NULL);
    answer->frame.head_len = 0;
}

static void echo(struct answer *answer, struct slice bytes)
{
    while (bytes.len > 0 && !answer->exchange->out_ended) {
        unsigned char *head = answer->frame.head;
        if (answer->frame.head_len < 2 || answer->frame.head_len < head_size(head)) {
            head[answer->frame.head_len++] = (unsigned char)bytes.ptr[0];
            bytes = slice_skip(bytes, 1);
            if (answer->frame.head_len < 2 || answer->frame.head_len < head_size(head))
                continue;
            frame_begin(answer);
        } else {
            const unsigned char *mask = head + head_size(head) - 4;
            char plain[4096];
            size_t size = bytes.len < sizeof(plain) ? bytes.len : sizeof(plain);
            if (size > answer->frame.left)
                size = (size_t)answer->frame.left;
            for (size_t i = 0; i < size; i++)
                plain[i] = (char)((unsigned char)bytes.ptr[i] ^ mask[answer->frame.at++ & 3]);
            exchange_write(answer->exchange, slice_of(plain, size));
            answer->frame.left -= size;
            bytes = slice_skip(bytes, size);
        }
        if (answer->frame.left == 0)
            frame_end(answer);
    }
}

/* RFC 6455 §4.2.2 */
static struct slice accept_value(struct exchange *exchange)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    struct slice key = fields_value(&exchange->request.fields, FIELD_SEC_WEBSOCKET_KEY), value;
    struct slice text = arena_printf(&exchange->arena, "%.*s%s", SLICE_ARGS(key), guid);
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    struct buf encoded = { 0 };

    ENSURE(EVP_Digest(text.ptr, text.len, digest, &size, EVP_sha1(), NULL) == 1);
    base64_encode(slice_of(digest, size), &encoded);
    value = arena_copy(&exchange->arena, buf_slice(&encoded));
    buf_deinit(&encoded);
    return value;
}

/* ---- the codec's events ---- */

static void on_interim(struct exchange *exchange, const struct head *head)
{
    (void)exchange;
    (void)head;
}

static void on_body(struct exchange *exchange, struct slice bytes)
{
    struct answer *answer = exchange->owner;

    exchange_consumed(exchange, bytes.len);
    if (answer->is_websocket)
        echo(answer, bytes);
}

static void end_when_finished(struct answer *answer)
{
    if (exchange_is_finished(answer->exchange))
        answer_end(answer);
}

static void on_end(struct exchange *exchange, const struct fields *trailers)
{
    struct answer *answer = exchange->owner;

    (void)trailers;
    if (answer->is_websocket && !exchange->out_ended)
        exchange_end(exchange, NULL);
    end_when_finished(answer);
}

static void on_drained(struct exchange *exchange, size_t size_bytes)
{
    struct answer *answer = exchange->owner;

    (void)size_bytes;
    pump(answer);
    end_when_finished(answer);
}

static void on_reset(struct exchange *exchange, enum exchange_reset reason)
{
    (void)reason;
    answer_end(exchange->owner);
}

static const struct exchange_events events = { on_interim, on_interim, on_body,
                                               on_end,     on_drained, on_reset };

static void on_request(void *owner, struct exchange *exchange)
{
    struct answer *answer = mem_zeroed(sizeof(*answer));
    struct head head = { .status = 200, .content_length = CONTENT_LENGTH_UNKNOWN };
    struct slice path = exchange->request.target;
    uint64_t bytes;

    (void)owner;
    answer->exchange = exchange;
    answer->is_websocket = slice_equal(exchange->request.protocol, SLICE("websocket"));
    exchange_set_owner(exchange, &events, answer);
    if (answer->is_websocket) {
        head.status = 101;
        head.protocol = SLICE("websocket");
        fields_add(&head.fields, &exchange->arena, FIELD_SEC_WEBSOCKET_ACCEPT,
                   accept_value(exchange));
        exchange_send_head(exchange, &head, false);
        return;
    }
    if (slice_starts_with(path, SLICE("/bytes/")) && slice_to_u64(slice_skip(path, 7), &bytes))
        bytes = bytes == 0 ? 1 : bytes > ANSWER_MAX ? ANSWER_MAX : bytes;
    else
        bytes = 1024;
    fields_add(&head.fields, &exchange->arena, FIELD_CONTENT_TYPE,
               SLICE("application/octet-stream"));
    head.content_length = (int64_t)bytes;
    answer->left_bytes = bytes;
    exchange_send_head(exchange, &head, false);
    pump(answer);
}

/* ---- life ---- */

static void on_conn_closed(void *arg)
{
    listener_conn_closed(*(struct listener **)arg);
}

static void on_conn(void *owner, struct conn *conn)
{
    http_server_accept(server, conn, on_conn_closed, owner);
}

static void on_signal(int number)
{
    (void)number;
    loop_stop(main_loop);
}

static enum status serve(const struct address *address, const struct http_limits *limits)
{
    static struct listener *listener;
    const struct http_server_options options = { .limits = limits,
                                                 .enable_connect_protocol = true,
                                                 .on_request = on_request };
    const struct listener_options listen = { .address = *address,
                                             .max_conns = 65536,
                                             .inherited_fd = -1 };
    char text[ADDRESS_TEXT_BYTES];
    enum status status = loop_create(&main_loop);

    if (status == STATUS_OK) {
        server = http_server_create(main_loop, &options);
        status = listener_create(main_loop, &listen, on_conn, &listener, &listener);
    }
    if (status == STATUS_OK) {
        printf("listening %s\n", address_text(listener_address(listener), text));
        fflush(stdout);
        signal(SIGTERM, on_signal);
        signal(SIGINT, on_signal);
        loop_run(main_loop);
        listener_stop(listener);
    }
    http_server_destroy(&server);
    listener_destroy(&listener);
    loop_destroy(&main_loop);
    return status;
}

int main(int argc, char **argv)
{
    struct http_limits limits;
    struct address address;

    if (argc != 2 || address_parse(slice_from_string(argv[1]), &address) != STATUS_OK) {
        fputs("usage: exec-load-app HOST:PORT\n", stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    http_limits_init(&limits);
    limits.streams = limits.streams_untrusted = 8192;
    limits.streams_total = UINT32_MAX;
    limits.keepalive_requests = SIZE_MAX;
    limits.reset_burst = limits.reset_rate = 20000;
    return serve(&address, &limits) == STATUS_OK ? 0 : 1;
}
