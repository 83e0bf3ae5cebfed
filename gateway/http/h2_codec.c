/* http/h2_codec.c — HTTP/2, server side: checks each request, refuses what the house does not take,
 * hands the rest to the server's handler. */
#include "base/mem.h"
#include "http/codec.h"
#include "http/cut_log.h"
#include "http/h2_session.h"

enum { SERVER_STREAM_ARENA_BYTES = 1072 }; /* an ordinary request with a token fits */

struct h2_codec {
    struct server_codec base;
    struct h2_session session;
    bool refusal_told; /* one line for a connection that opens too many streams */
};

static struct h2_codec *codec_of(struct h2_session *session)
{
    return CONTAINER_OF(session, struct h2_codec, session);
}

/* ---- requests ---- */

static void answer_empty(struct exchange *exchange, enum status status)
{
    struct head head = { .status = status_http(status), .content_length = 0 };

    fields_add(&head.fields, &exchange->arena, FIELD_CONTENT_LENGTH, SLICE("0"));
    exchange_send_head(exchange, &head, true);
}

static void refuse(struct h2_codec *codec, struct exchange *exchange, enum status status)
{
    const struct http_server_options *options = http_server_options(codec->base.server);

    counter_add(&http_server_counters_mutable(codec->base.server)->refused_requests, 1);
    if (options->refuse != NULL)
        options->refuse(options->owner, exchange, status);
    if (!exchange->head_sent)
        answer_empty(exchange, status);
    exchange_end(exchange, NULL);
    exchange_release(&exchange);
}

static void on_head(struct h2_session *session, struct h2_stream *stream)
{
    struct h2_codec *codec = codec_of(session);
    const struct http_server_options *options = http_server_options(codec->base.server);
    struct exchange *exchange = &stream->base;
    enum status status =
        h2_request_check(stream, options->allow_connect, options->enable_connect_protocol);

    stream->was_owned = true; /* from here on, release is a call of its own */
    stream->head_received = true;
    if (status != STATUS_OK) {
        refuse(codec, exchange, status);
        return;
    }
    exchange->can_tunnel = slice_equal(exchange->request.method, SLICE("CONNECT"));
    if (exchange->can_tunnel)
        exchange->request.content_length = CONTENT_LENGTH_UNKNOWN;
    stream->has_owner = true;
    counter_add(&http_server_counters_mutable(codec->base.server)->h2_requests, 1);
    options->on_request(options->owner, exchange);
}

/* ---- the session's other news ---- */

static void on_nothing(struct h2_session *session)
{
    (void)session;
}

static void on_stream_closed(struct h2_session *session, const struct h2_stream *stream,
                             enum exchange_reset reason)
{
    (void)session;
    (void)stream;
    (void)reason;
}

static void on_goaway(struct h2_session *session, uint32_t error_code)
{
    (void)session; /* its streams end as usual */
    (void)error_code;
}

static void count_refused(struct h2_codec *codec)
{
    struct h2_session *session = &codec->session;

    counter_add(&http_server_counters_mutable(codec->base.server)->refused_streams,
                session->refused_streams);
    if (!codec->refusal_told)
        cut_log_stream("client", "streams", &session->link->peer, h2_now_ms(session));
    codec->refusal_told = true;
}

static void count_streams(struct h2_session *session)
{
    struct http_server_counters *counters =
        http_server_counters_mutable(codec_of(session)->base.server);

    if (session->refused_streams > 0)
        count_refused(codec_of(session));
    if (session->is_retiring)
        counter_add(&counters->conns_retired, 1);
    session->refused_streams = 0;
    session->is_retiring = false;
}

static void on_stream_stalled(struct h2_session *session)
{
    counter_add(&http_server_counters_mutable(codec_of(session)->base.server)->stalled_streams, 1);
}

static void on_turn(struct h2_session *session)
{
    if (session->refused_streams > 0 || session->is_retiring)
        count_streams(session);
    if (session->link->is_trusted && session->stream_limit < session->limits->streams)
        h2_session_announce_streams(session, session->limits->streams);
}

static void count_verdict(struct http_server_counters *counters, enum h2_verdict verdict)
{
    switch (verdict) {
    case H2_NO_VERDICT:
        break;
    case H2_IDLE:
        counter_add(&counters->closed_idle, 1);
        break;
    case H2_GLITCHES:
        counter_add(&counters->closed_glitches, 1);
        break;
    case H2_RESETS:
        counter_add(&counters->closed_resets, 1);
        break;
    case H2_FLOOD:
        counter_add(&counters->closed_flood, 1);
        break;
    case H2_STALLED:
        counter_add(&counters->closed_stalled, 1);
        break;
    case H2_PROTOCOL:
        counter_add(&counters->closed_protocol, 1);
        break;
    }
}

static void on_finished(struct h2_session *session, enum status reason)
{
    struct h2_codec *codec = codec_of(session);
    (void)reason;

    count_verdict(http_server_counters_mutable(codec->base.server), session->verdict);
    server_codec_closed(&codec->base);
}

static void free_codec(struct h2_session *session)
{
    struct h2_codec *codec = codec_of(session);

    server_codec_deinit(&codec->base);
    mem_free(codec);
}

static const struct h2_role server_role = {
    .is_server = true,
    .arena_bytes = SERVER_STREAM_ARENA_BYTES,
    .on_head = on_head,
    .on_stream_closed = on_stream_closed,
    .on_room = on_nothing,
    .on_settings = on_nothing,
    .on_goaway = on_goaway,
    .on_stream_stalled = on_stream_stalled,
    .on_turn = on_turn,
    .on_finished = on_finished,
    .free = free_codec,
};

/* ---- conn and server ---- */

static void on_open(void *owner, enum status status)
{
    (void)owner; /* the server waited for it */
    (void)status;
}

static void on_readable(void *owner)
{
    struct h2_codec *codec = owner;

    h2_session_readable(&codec->session);
}

static void on_writable(void *owner)
{
    struct h2_codec *codec = owner;

    h2_session_writable(&codec->session);
}

static const struct conn_events conn_events = {
    .on_open = on_open,
    .on_readable = on_readable,
    .on_writable = on_writable,
};

static void start(struct server_codec *base, struct slice early)
{
    struct h2_codec *codec = CONTAINER_OF(base, struct h2_codec, base);

    conn_set_owner(base->conn, &conn_events, codec);
    conn_want_read(base->conn, true);
    h2_session_feed(&codec->session, early);
}

static void drain(struct server_codec *base)
{
    struct h2_codec *codec = CONTAINER_OF(base, struct h2_codec, base);

    h2_session_drain(&codec->session);
}

static bool is_idle(const struct server_codec *base)
{
    return ((const struct h2_codec *)(const void *)base)->session.stream_count == 0;
}

static void limits_changed(struct server_codec *base)
{
    h2_session_limits_changed(&CONTAINER_OF(base, struct h2_codec, base)->session);
}

static void destroy(struct server_codec *base)
{
    struct h2_codec *codec = CONTAINER_OF(base, struct h2_codec, base);
    struct conn *conn = base->conn;
    /* What we said last, GOAWAY included, must not be lost to a reset that unread input causes. */
    bool polite = codec->session.is_finished && codec->session.finish_reason != STATUS_SYSTEM;

    base->conn = NULL;
    h2_session_dispose(&codec->session); /* last use of the codec: it may be gone */
    if (polite)
        conn_linger(&conn);
    else
        conn_destroy(&conn);
}

static const struct server_codec_ops codec_ops = {
    .start = start,
    .drain = drain,
    .is_idle = is_idle,
    .limits_changed = limits_changed,
    .destroy = destroy,
};

struct server_codec *h2_codec_create(struct http_server *server, struct conn *conn)
{
    struct h2_codec *codec = mem_zeroed(sizeof(*codec));
    const struct http_server_options *options = http_server_options(server);

    server_codec_init(&codec->base, &codec_ops, server, conn);
    codec->base.link.version = HTTP_2;
    h2_session_init(&codec->session, &server_role, conn, options->limits, &codec->base.link,
                    options->enable_connect_protocol);
    return &codec->base;
}
