/* http/server.c — see server.h. A new conn is first a newcomer, until its protocol is known: by
 * ALPN, or in clear by its first bytes, which are compared one by one with the preface of HTTP/2.
 * Then it is a codec in the list of codecs. A codec that ended rests in `departed` until the end of
 * the turn. Draining moves codecs to `told`, one by one at an even pace. */
#include "http/server.h"

#include "base/log.h"
#include "base/mem.h"
#include "http/codec.h"
#include "http/cut_log.h"
#include "net/address_count.h"
#include "net/timer.h"

#define H2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

enum {
    H2_PREFACE_BYTES = sizeof(H2_PREFACE) - 1,
    TELL_EVERY_MS = 50,
    TOLD_AT_LEAST_PER_S = 20,
    LOG_AGAIN_MS = 10000,
};

struct http_server {
    struct loop *loop;
    struct http_server_options options;
    struct http_server_counters counters;
    struct list newcomers;
    struct list codecs;
    struct list told; /* the codecs that know of the drain */
    struct timer tell;
    uint64_t tell_micro; /* how many codecs a step of `tell` tells, in millionths */
    uint64_t tell_credit_micro;
    uint64_t refused_logged_ms;
    struct list departed;
    struct task reap;
    size_t conn_count;
    uint64_t last_serial;
    bool is_draining;
};

struct newcomer {
    struct http_server *server;
    struct conn *conn; /* owned */
    struct list member;
    struct timer deadline;
    void (*on_closed)(void *arg);
    void *on_closed_arg;
    bool is_counted;
    size_t len;
    char bytes[H2_PREFACE_BYTES];
};

/* ---- codecs ---- */

void server_codec_init(struct server_codec *codec, const struct server_codec_ops *ops,
                       struct http_server *server, struct conn *conn)
{
    codec->ops = ops;
    codec->server = server;
    codec->conn = conn;
    codec->link.peer = conn->peer;
    codec->link.tls = conn->tls;
    codec->link.serial = ++server->last_serial;
    codec->opened_ms = loop_clock(server->loop)->now_ms;
    list_init(&codec->member);
}

void server_codec_closed(struct server_codec *codec)
{
    struct http_server *server = codec->server;

    list_unlink(&codec->member);
    list_append(&server->departed, &codec->member);
    task_defer(server->loop, &server->reap);
}

static void conn_gone(struct http_server *server, void (*on_closed)(void *arg), void *arg)
{
    server->conn_count--;
    counter_subtract(&server->counters.conns_open, 1);
    if (on_closed != NULL)
        on_closed(arg);
}

/* Unlinks the first codec of `list` and ends it. */
static void end_first(struct http_server *server, struct list *list)
{
    struct server_codec *codec = LIST_FIRST(list, struct server_codec, member);
    struct address peer = codec->link.peer;
    bool is_counted = codec->is_counted;
    void (*on_closed)(void *arg) = codec->on_closed;
    void *arg = codec->on_closed_arg;

    list_unlink(&codec->member);
    codec->ops->destroy(codec);
    if (is_counted)
        address_count_leave(server->options.addresses, &peer);
    conn_gone(server, on_closed, arg);
}

static void on_reap(struct task *task)
{
    struct http_server *server = CONTAINER_OF(task, struct http_server, reap);

    while (!list_is_empty(&server->departed))
        end_first(server, &server->departed);
}

/* ---- newcomers ---- */

static void newcomer_end(struct newcomer *newcomer)
{
    struct http_server *server = newcomer->server;
    void (*on_closed)(void *arg) = newcomer->on_closed;
    void *arg = newcomer->on_closed_arg;

    timer_cancel(&newcomer->deadline);
    list_unlink(&newcomer->member);
    if (newcomer->is_counted)
        address_count_leave(server->options.addresses, &newcomer->conn->peer);
    conn_destroy(&newcomer->conn);
    mem_free(newcomer);
    conn_gone(server, on_closed, arg);
}

/* The codec takes the conn; the newcomer is gone. */
static void promote(struct newcomer *newcomer, bool is_h2)
{
    struct http_server *server = newcomer->server;
    struct conn *conn = newcomer->conn;
    char early[H2_PREFACE_BYTES];
    size_t len = newcomer->len;
    struct server_codec *codec =
        is_h2 ? h2_codec_create(server, conn) : h1_codec_create(server, conn);

    memcpy(early, newcomer->bytes, len);
    codec->on_closed = newcomer->on_closed;
    codec->on_closed_arg = newcomer->on_closed_arg;
    codec->is_counted = newcomer->is_counted;
    list_append(server->is_draining ? &server->told : &server->codecs, &codec->member);
    timer_cancel(&newcomer->deadline);
    list_unlink(&newcomer->member);
    mem_free(newcomer);

    codec->ops->start(codec, slice_of(early, len));
    if (server->is_draining)
        codec->ops->drain(codec);
}

static void refuse_address(struct http_server *server, const struct address *peer)
{
    uint64_t now_ms = loop_clock(server->loop)->now_ms;

    counter_add(&server->counters.refused_address, 1);
    if (server->refused_logged_ms == 0 || now_ms - server->refused_logged_ms >= LOG_AGAIN_MS) {
        char host[ADDRESS_TEXT_BYTES];

        server->refused_logged_ms = now_ms;
        log_warn("server: too many connections of one address, closed peer=%s refused=%llu",
                 address_host_text(peer, host),
                 (unsigned long long)counter_read(&server->counters.refused_address));
    }
}

/* Who leaves by itself is counted, and is no line: health checks of balancers do. */
static void count_failed_open(struct http_server *server, const struct conn *conn,
                              enum status status)
{
    struct http_server_counters *counters = &server->counters;
    uint64_t now_ms = loop_clock(server->loop)->now_ms;

    if (status == STATUS_MALFORMED) {
        counter_add(&counters->open_malformed, 1);
        cut_log("client", "handshake_malformed", &conn->peer, now_ms);
    } else if (status == STATUS_AGENT_TIMED_OUT) {
        counter_add(&counters->open_timed_out, 1);
        cut_log("client", "handshake_timeout", &conn->peer, now_ms);
    } else {
        counter_add(&counters->open_lost, 1);
    }
}

static void count_open(struct http_server *server, const struct conn *conn, enum status status)
{
    if (status != STATUS_OK) {
        count_failed_open(server, conn, status);
        return;
    }
    if (conn->tls.version != NULL)
        counter_add(&server->counters.tls_handshakes, 1);
    if (conn->tls.resumed)
        counter_add(&server->counters.tls_resumed, 1);
}

/* Has the client's address room for one more conn? */
static bool admit(struct newcomer *newcomer)
{
    struct http_server *server = newcomer->server;
    struct address_count *addresses = server->options.addresses;

    if (addresses == NULL || newcomer->is_counted)
        return true;
    newcomer->is_counted = address_count_enter(addresses, &newcomer->conn->peer);
    if (!newcomer->is_counted)
        refuse_address(server, &newcomer->conn->peer);
    return newcomer->is_counted;
}

static void on_open(void *owner, enum status status)
{
    struct newcomer *newcomer = owner;
    const struct conn_tls_info *tls = &newcomer->conn->tls;

    count_open(newcomer->server, newcomer->conn, status);
    if (status != STATUS_OK || !admit(newcomer)) {
        newcomer_end(newcomer);
    } else if (tls->version != NULL) {
        promote(newcomer, slice_equal(tls->alpn, SLICE("h2")));
    } else {
        timer_arm(&newcomer->deadline, newcomer->server->options.limits->head_timeout_ms);
        conn_want_read(newcomer->conn, true);
    }
}

static void on_readable(void *owner)
{
    struct newcomer *newcomer = owner;
    size_t count = 0;
    enum status status = conn_read(newcomer->conn, newcomer->bytes + newcomer->len,
                                   sizeof(newcomer->bytes) - newcomer->len, &count);

    if (status == STATUS_AGAIN)
        return;
    if (status != STATUS_OK) {
        newcomer_end(newcomer);
        return;
    }
    newcomer->len += count;
    if (memcmp(newcomer->bytes, H2_PREFACE, newcomer->len) != 0)
        promote(newcomer, false);
    else if (newcomer->len == H2_PREFACE_BYTES)
        promote(newcomer, true);
}

static void on_writable(void *owner)
{
    (void)owner; /* never asked for */
}

static const struct conn_events newcomer_events = {
    .on_open = on_open,
    .on_readable = on_readable,
    .on_writable = on_writable,
};

static void on_deadline(struct timer *timer)
{
    struct newcomer *newcomer = CONTAINER_OF(timer, struct newcomer, deadline);

    counter_add(&newcomer->server->counters.closed_head_timeout, 1);
    cut_log("client", "head_timeout", &newcomer->conn->peer,
            loop_clock(newcomer->server->loop)->now_ms);
    newcomer_end(newcomer);
}

void http_server_accept(struct http_server *server, struct conn *conn, void (*on_closed)(void *arg),
                        void *arg)
{
    struct newcomer *newcomer = mem_zeroed(sizeof(*newcomer));

    newcomer->server = server;
    newcomer->conn = conn;
    newcomer->on_closed = on_closed;
    newcomer->on_closed_arg = arg;
    timer_init(&newcomer->deadline, server->loop, on_deadline);
    list_append(&server->newcomers, &newcomer->member);
    server->conn_count++;
    counter_add(&server->counters.conns_open, 1);
    counter_add(&server->counters.conns_total, 1);
    conn_set_owner(conn, &newcomer_events, newcomer);
    if (!conn->peer_is_announced && !admit(newcomer))
        newcomer_end(newcomer);
}

/* ---- the server ---- */

/* Draining a codec changes nothing in the lists: its end comes in a later task. */
static void tell(struct http_server *server)
{
    if (server->tell_micro == UINT64_MAX)
        server->tell_credit_micro = UINT64_MAX;
    else
        server->tell_credit_micro += server->tell_micro;
    while (server->tell_credit_micro >= 1000000 && !list_is_empty(&server->codecs)) {
        struct server_codec *codec = LIST_FIRST(&server->codecs, struct server_codec, member);

        server->tell_credit_micro -= 1000000;
        list_unlink(&codec->member);
        list_append(&server->told, &codec->member);
        codec->ops->drain(codec);
    }
    if (!list_is_empty(&server->codecs))
        timer_arm(&server->tell, TELL_EVERY_MS);
}

static void on_tell(struct timer *timer)
{
    tell(CONTAINER_OF(timer, struct http_server, tell));
}

struct http_server *http_server_create(struct loop *loop, const struct http_server_options *options)
{
    struct http_server *server = mem_zeroed(sizeof(*server));

    ENSURE(options->limits != NULL && options->on_request != NULL);
    server->loop = loop;
    server->options = *options;
    list_init(&server->newcomers);
    list_init(&server->codecs);
    list_init(&server->told);
    timer_init(&server->tell, loop, on_tell);
    list_init(&server->departed);
    task_init(&server->reap, on_reap);
    return server;
}

void http_server_destroy(struct http_server **server)
{
    struct http_server *s = *server;

    if (s == NULL)
        return;
    *server = NULL;
    while (!list_is_empty(&s->newcomers))
        newcomer_end(LIST_FIRST(&s->newcomers, struct newcomer, member));
    timer_cancel(&s->tell);
    while (!list_is_empty(&s->codecs))
        end_first(s, &s->codecs);
    while (!list_is_empty(&s->told))
        end_first(s, &s->told);
    while (!list_is_empty(&s->departed))
        end_first(s, &s->departed);
    task_cancel(&s->reap);
    mem_free(s);
}

void http_server_drain(struct http_server *server, uint64_t spread_ms)
{
    const uint64_t least = (uint64_t)TOLD_AT_LEAST_PER_S * TELL_EVERY_MS * 1000;

    if (server->is_draining)
        return;
    server->is_draining = true;
    server->tell_micro =
        spread_ms > 0 ? server->conn_count * TELL_EVERY_MS * 1000000 / spread_ms : UINT64_MAX;
    if (server->tell_micro < least)
        server->tell_micro = least;
    tell(server);
}

static void tell_limits(const struct list *codecs)
{
    LIST_EACH(codecs, link)
    {
        struct server_codec *codec = LIST_ITEM(link, struct server_codec, member);

        codec->ops->limits_changed(codec);
    }
}

void http_server_limits_changed(struct http_server *server)
{
    tell_limits(&server->codecs);
    tell_limits(&server->told);
}

static size_t close_idle(struct list *codecs)
{
    size_t count = 0;

    LIST_EACH(codecs, link)
    {
        struct server_codec *codec = LIST_ITEM(link, struct server_codec, member);

        if (!codec->ops->is_idle(codec))
            continue;
        codec->ops->drain(codec);
        count++;
    }
    return count;
}

size_t http_server_close_idle(struct http_server *server)
{
    size_t count = close_idle(&server->codecs) + close_idle(&server->told);

    counter_add(&server->counters.closed_memory, count);
    return count;
}

static void add_conn(const struct http_server *server, const struct server_codec *codec,
                     struct buf *into)
{
    const struct exchange_link *link = &codec->link;
    char text[ADDRESS_TEXT_BYTES] = "";

    if (link->peer.len > 0)
        address_text(&link->peer, text);
    buf_printf(into, "{\"connection\":%llu,\"peer\":\"", (unsigned long long)link->serial);
    buf_append_json_text(into, slice_from_string(text));
    buf_printf(into, "\",\"http\":\"%s\",\"tls\":\"%s\",\"has_verified_token\":%s,\"age_ms\":%llu}",
               link->version == HTTP_2     ? "2"
               : link->version == HTTP_1_1 ? "1.1"
                                           : "1.0",
               link->tls.version != NULL ? link->tls.version : "off",
               link->is_trusted ? "true" : "false",
               (unsigned long long)(loop_clock(server->loop)->now_ms - codec->opened_ms));
}

static size_t list_conns(const struct http_server *server, const struct list *codecs, size_t count,
                         size_t limit, struct buf *into)
{
    LIST_EACH(codecs, link)
    {
        if (count == limit)
            break;
        if (count++ > 0)
            buf_append_byte(into, ',');
        add_conn(server, LIST_ITEM(link, struct server_codec, member), into);
    }
    return count;
}

size_t http_server_list_conns(const struct http_server *server, size_t limit, struct buf *into)
{
    size_t count = list_conns(server, &server->codecs, 0, limit, into);

    return list_conns(server, &server->told, count, limit, into);
}

size_t http_server_conn_count(const struct http_server *server)
{
    return server->conn_count;
}

const struct http_server_counters *http_server_counters(const struct http_server *server)
{
    return &server->counters;
}

struct loop *http_server_loop(const struct http_server *server)
{
    return server->loop;
}

const struct http_server_options *http_server_options(const struct http_server *server)
{
    return &server->options;
}

struct http_server_counters *http_server_counters_mutable(struct http_server *server)
{
    return &server->counters;
}

bool http_server_is_draining(const struct http_server *server)
{
    return server->is_draining;
}
