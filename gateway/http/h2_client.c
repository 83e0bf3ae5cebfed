/* http/h2_client.c — HTTP/2 toward an agent: opens requests, checks responses as strictly as
 * requests, and says which requests the peer certainly did not process (RESET_REFUSED), so that
 * only those are tried again. */
#include "base/mem.h"
#include "http/client.h"
#include "http/h2_session.h"

enum { CLIENT_STREAM_ARENA_BYTES = 624 }; /* an ordinary response fits */

struct h2_client {
    struct http_client base;
    struct h2_session session;
    bool is_ready;    /* the peer's SETTINGS arrived */
    bool is_closing;  /* on_closing ran */
    bool wants_close; /* close_gracefully: no new exchanges, told on the next turn */
    bool has_answered;
};

static struct h2_client *client_of(struct h2_session *session)
{
    return CONTAINER_OF(session, struct h2_client, session);
}

static struct h2_client *h2_client_of(struct http_client *base)
{
    return CONTAINER_OF(base, struct h2_client, base);
}

/* ---- responses ---- */

static void malformed(struct h2_session *session, struct h2_stream *stream)
{
    h2_session_glitch(session);
    h2_stream_reset(stream, H2_PROTOCOL_ERROR, RESET_PROTOCOL);
}

static void on_interim(struct h2_stream *stream)
{
    struct exchange *exchange = &stream->base;

    if (stream->has_owner)
        exchange->events->on_interim(exchange, &exchange->response);
}

static void on_head(struct h2_session *session, struct h2_stream *stream)
{
    struct exchange *exchange = &stream->base;
    unsigned status = exchange->response.status;

    if (stream->refusal != STATUS_OK || status == 0) {
        malformed(session, stream);
        return;
    }
    if (status < 200) { /* its fields are never read again: the next head starts anew */
        on_interim(stream);
        if (!session->is_finished)
            exchange->response = (struct head){ .content_length = CONTENT_LENGTH_UNKNOWN };
        return;
    }
    stream->head_received = true;
    client_of(session)->has_answered = true;
    if (stream->has_owner)
        exchange->events->on_head(exchange, &exchange->response);
}

/* ---- capacity and closing ---- */

static size_t capacity(const struct http_client *base)
{
    const struct h2_client *client = CONTAINER_OF(base, struct h2_client, base);
    const struct h2_session *session = &client->session;

    if (client->is_closing || client->wants_close || session->is_finished ||
        session->terminated_ms != 0 || session->goaway_received || session->is_drained ||
        session->next_id < 0)
        return 0;
    uint32_t limit = session->peer.streams_max;
    return limit > base->open_count ? limit - base->open_count : 0;
}

static void tell_closing(struct h2_client *client, enum status reason)
{
    if (client->is_closing)
        return;
    client->is_closing = true;
    client->base.events->on_closing(client->base.owner, reason);
}

/* A peer that has answered here before and now calls for calm is weary of this connection, whatever
 * it thinks of another: Node's server, for one, counts what it had buffered for streams that were
 * reset for ever, and refuses all new ones then. One that never answered is overloaded: it is not
 * dialed again and again. */
static bool is_weary(const struct h2_client *client, const struct h2_stream *stream,
                     enum exchange_reset reason)
{
    return reason == RESET_CALM && client->has_answered && !stream->head_received;
}

static void on_stream_closed(struct h2_session *session, const struct h2_stream *stream,
                             enum exchange_reset reason)
{
    struct h2_client *client = client_of(session);

    client->base.open_count--;
    if (is_weary(client, stream, reason))
        client->wants_close = true;
}

static void on_room(struct h2_session *session)
{
    struct h2_client *client = client_of(session);

    if (client->is_ready && capacity(&client->base) > 0)
        client->base.events->on_capacity(client->base.owner);
}

static void on_settings(struct h2_session *session)
{
    struct h2_client *client = client_of(session);

    if (client->is_ready) {
        on_room(session);
        return;
    }
    client->is_ready = true;
    if (client->base.events->on_ready != NULL)
        client->base.events->on_ready(client->base.owner);
    if (!session->is_finished)
        on_room(session);
}

/* Streams above its last id are refused right after this; the others may finish. */
static void on_goaway(struct h2_session *session, uint32_t error_code)
{
    tell_closing(client_of(session),
                 error_code == H2_NO_ERROR ? STATUS_CLOSED : STATUS_AGENT_PROTOCOL);
}

static void on_stream_stalled(struct h2_session *session)
{
    (void)session; /* its owner hears of the reset */
}

static void on_turn(struct h2_session *session)
{
    struct h2_client *client = client_of(session);

    if (client->is_closing || session->terminated_ms != 0)
        return;
    bool ids_are_used_up = session->next_id < 0;

    if (!client->wants_close && !ids_are_used_up)
        return;
    session->is_drained = true;
    h2_send_goaway(session, 0, H2_NO_ERROR);
    tell_closing(client, STATUS_CLOSED); /* last line: the client may be destroyed */
}

static enum status reason_for_owner(enum status reason)
{
    switch (reason) {
    case STATUS_MALFORMED:
    case STATUS_LIMIT_REACHED:
        return STATUS_AGENT_PROTOCOL;
    default:
        return STATUS_AGENT_LOST;
    }
}

static void on_finished(struct h2_session *session, enum status reason)
{
    struct h2_client *client = client_of(session);

    tell_closing(client, reason_for_owner(reason));
    if (!session->is_disposed)
        client->base.events->on_closed(client->base.owner); /* last line: it may be destroyed */
}

static void free_client(struct h2_session *session)
{
    struct h2_client *client = client_of(session);

    exchange_link_deinit(&client->base.link);
    mem_free(client);
}

static const struct h2_role client_role = {
    .is_server = false,
    .arena_bytes = CLIENT_STREAM_ARENA_BYTES,
    .on_head = on_head,
    .on_stream_closed = on_stream_closed,
    .on_room = on_room,
    .on_settings = on_settings,
    .on_goaway = on_goaway,
    .on_stream_stalled = on_stream_stalled,
    .on_turn = on_turn,
    .on_finished = on_finished,
    .free = free_client,
};

/* ---- operations ---- */

static struct exchange *open_exchange(struct http_client *base, const struct head *head, bool end,
                                      const struct exchange_events *events, void *owner)
{
    struct h2_client *client = h2_client_of(base);
    struct h2_session *session = &client->session;

    ENSURE(capacity(base) > 0);
    struct h2_stream *stream = h2_stream_create(session, session->next_id);
    struct exchange *exchange = &stream->base;

    session->next_id = session->next_id > INT32_MAX - 2 ? -1 : session->next_id + 2;
    exchange_set_owner(exchange, events, owner);
    exchange->head_sent = true;
    exchange->out_ended = end;
    stream->was_owned = true;
    stream->has_owner = true;
    stream->has_source = !end;
    stream->asked_head = slice_equal(head->method, SLICE("HEAD"));
    stream->asked_connect = slice_equal(head->method, SLICE("CONNECT"));
    base->open_count++;
    h2_stream_keep_request(stream, head);
    h2_session_schedule(session);
    return exchange;
}

static void close_gracefully(struct http_client *base)
{
    struct h2_client *client = h2_client_of(base);

    client->wants_close = true;
    h2_session_schedule(&client->session);
}

static void destroy(struct http_client *base)
{
    struct h2_client *client = h2_client_of(base);

    struct conn *conn = base->conn;

    client->is_closing = true;            /* its owner knows */
    h2_session_dispose(&client->session); /* last use of the client: it may be gone */
    conn_destroy(&conn);
}

static const struct http_client_ops client_ops = {
    .open = open_exchange,
    .capacity = capacity,
    .close_gracefully = close_gracefully,
    .destroy = destroy,
};

/* ---- conn ---- */

static void on_open(void *owner, enum status status)
{
    (void)owner; /* it was open before we got it */
    (void)status;
}

static void on_readable(void *owner)
{
    struct h2_client *client = owner;

    h2_session_readable(&client->session);
}

static void on_writable(void *owner)
{
    struct h2_client *client = owner;

    h2_session_writable(&client->session);
}

static const struct conn_events conn_events = {
    .on_open = on_open,
    .on_readable = on_readable,
    .on_writable = on_writable,
};

struct http_client *h2_client_create(struct conn *conn, const struct http_limits *limits,
                                     const struct http_client_events *events, void *owner)
{
    struct h2_client *client = mem_zeroed(sizeof(*client));

    client->base = (struct http_client){
        .ops = &client_ops,
        .events = events,
        .owner = owner,
        .loop = conn->loop,
        .conn = conn,
        .limits = limits,
        .link = { .peer = conn->peer, .tls = conn->tls, .version = HTTP_2 },
    };
    h2_session_init(&client->session, &client_role, conn, limits, &client->base.link, false);
    conn_set_owner(conn, &conn_events, client);
    conn_want_read(conn, true);
    return &client->base;
}
