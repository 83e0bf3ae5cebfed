/* http/h2_session.c — the life of a session: settings, endings, and the watchdog that judges
 * silence. Order matters in two places: reading and framing are never entered again nor freed under
 * themselves (is_busy, leave()), and a finished session tells its owners before anything is freed. */
#include "http/h2_session.h"

#include "base/mem.h"
#include "http/cut_log.h"

enum {
    CLIENT_STREAMS_AT_FIRST = 100, /* until the peer's SETTINGS arrive */
    FAREWELL_MS = 1000,            /* for the last GOAWAY to leave */
    LEAVING_IDLE_MS = 1000, /* a client that said GOAWAY and has nothing open closes within it */
};

static const char drain_ping[H2_PING_BYTES] = "drain";
static const char live_ping[H2_PING_BYTES] = "";

static void send_first_settings(struct h2_session *session)
{
    const struct http_limits *limits = session->limits;
    struct h2_setting settings[6] = {
        { H2_SETTING_INITIAL_WINDOW_SIZE, (uint32_t)limits->window_bytes },
        { H2_SETTING_MAX_HEADER_LIST_SIZE, (uint32_t)limits->field_bytes_soft },
    };
    size_t count = 2;

    if (session->role->is_server) {
        settings[count++] =
            (struct h2_setting){ H2_SETTING_MAX_CONCURRENT_STREAMS, session->stream_limit };
        settings[count++] = (struct h2_setting){ H2_SETTING_NO_RFC7540_PRIORITIES, 1 };
        if (session->takes_protocol)
            settings[count++] = (struct h2_setting){ H2_SETTING_ENABLE_CONNECT_PROTOCOL, 1 };
    } else {
        settings[count++] = (struct h2_setting){ H2_SETTING_ENABLE_PUSH, 0 };
        buf_append(&session->output, SLICE(H2_PREFACE));
    }
    h2_send_settings(session, settings, count);
    h2_send_window_update(session, 0, H2_CONNECTION_WINDOW_BYTES - H2_WINDOW_INITIAL);
}

void h2_session_announce_streams(struct h2_session *session, uint32_t limit)
{
    struct h2_setting setting = { H2_SETTING_MAX_CONCURRENT_STREAMS, limit };

    session->stream_limit = limit;
    h2_send_settings(session, &setting, 1);
}

static void on_watchdog(struct timer *timer);
static void on_stop_uploads(struct timer *timer);

/* A client that has said GOAWAY closes by itself, or has more streams in a queue of its own. */
static uint64_t idle_limit_ms(const struct h2_session *session)
{
    uint64_t limit_ms = session->limits->idle_ms;

    return session->goaway_received && LEAVING_IDLE_MS < limit_ms ? LEAVING_IDLE_MS : limit_ms;
}

/* The watchdog looks at least this often. */
static uint64_t watch_period_ms(const struct h2_session *session)
{
    const struct http_limits *limits = session->limits;
    uint64_t period_ms = limits->ping_ms;

    if (limits->write_stall_ms < period_ms)
        period_ms = limits->write_stall_ms;
    if (session->role->is_server && idle_limit_ms(session) < period_ms)
        period_ms = idle_limit_ms(session);
    return period_ms;
}

void h2_session_init(struct h2_session *session, const struct h2_role *role, struct conn *conn,
                     const struct http_limits *limits, struct exchange_link *link,
                     bool enable_connect_protocol)
{
    session->role = role;
    session->conn = conn;
    session->limits = limits;
    session->loop = conn->loop;
    session->link = link;
    session->stream_limit =
        limits->streams_untrusted < limits->streams ? limits->streams_untrusted : limits->streams;
    session->finish_reason = STATUS_CLOSED;
    session->peer = (struct h2_peer_settings){ .streams_max = CLIENT_STREAMS_AT_FIRST,
                                               .window_bytes = H2_WINDOW_INITIAL };
    session->takes_protocol = role->is_server && enable_connect_protocol;
    session->next_id = 1;
    session->goaway_last_id = INT32_MAX;
    session->send_window = H2_WINDOW_INITIAL;
    session->receive_window = H2_CONNECTION_WINDOW_BYTES;
    session->stream_window = H2_WINDOW_INITIAL;
    list_init(&session->streams);
    list_init(&session->orphans);
    list_init(&session->ready);
    hpack_decoder_init(&session->decoder);
    hpack_encoder_init(&session->encoder);
    h2_output_init(session);
    timer_init(&session->watchdog, session->loop, on_watchdog);
    timer_init(&session->stop_uploads, session->loop, on_stop_uploads);
    session->last_heard_ms = h2_now_ms(session);
    session->idle_since_ms = session->last_heard_ms;
    h2_flood_init(&session->flood, limits, session->last_heard_ms);
    send_first_settings(session);
    timer_arm(&session->watchdog, watch_period_ms(session));
    h2_session_schedule(session);
}

/* ---- ends ---- */

static void stop(struct h2_session *session)
{
    session->is_finished = true;
    session->want_finish = false;
    task_cancel(&session->flush);
    timer_cancel(&session->watchdog);
    timer_cancel(&session->stop_uploads);
    buf_deinit(&session->output);
    while (!list_is_empty(&session->streams))
        h2_stream_orphan(LIST_FIRST(&session->streams, struct h2_stream, link));
    mem_free(session->slots);
    session->slots = NULL;
    session->slot_count = 0;
}

void h2_session_finish(struct h2_session *session, enum status reason)
{
    if (session->is_finished)
        return;
    if (!session->want_finish) /* the first reason counts */
        session->finish_reason = reason;
    session->want_finish = true;
    if (session->is_busy)
        return; /* leave() goes on */
    h2_session_enter(session);
    conn_want_read(session->conn, false);
    if (session->verdict_reason == NULL && session->finish_reason == STATUS_MALFORMED) {
        session->verdict = H2_PROTOCOL;
        session->verdict_reason = "protocol_error";
    }
    if (session->verdict_reason != NULL)
        cut_log(session->role->is_server ? "client" : "agent", session->verdict_reason,
                &session->link->peer, h2_now_ms(session));
    stop(session);
    session->role->on_finished(session, session->finish_reason);
    h2_session_leave(session);
}

void h2_session_dispose(struct h2_session *session)
{
    session->entry_depth++;
    if (!session->is_finished)
        stop(session);
    session->is_disposed = true;
    session->conn = NULL;
    session->link->tls.server_name = SLICE_EMPTY; /* the conn's own */
    session->link->tls.alpn = SLICE_EMPTY;
    h2_session_leave(session);
}

void h2_session_enter(struct h2_session *session)
{
    session->entry_depth++;
}

/* Is there nothing left to say or hear, so that the conn should close now? */
static bool is_over(const struct h2_session *session)
{
    if (session->is_finished || session->output.len > 0)
        return false;
    if (session->is_ending)
        return true;
    return session->open_count == 0 &&
           (session->is_drained || (session->goaway_received && !session->role->is_server));
}

/* Nothing of the wire is needed any more. */
static void free_wire(struct h2_session *session)
{
    h2_reader_deinit(&session->reader);
    hpack_decoder_deinit(&session->decoder);
    hpack_encoder_deinit(&session->encoder);
}

void h2_session_leave(struct h2_session *session)
{
    if (session->entry_depth == 1 && !session->is_busy) {
        if (session->want_finish || is_over(session))
            h2_session_finish(session, session->finish_reason);
        if (session->is_finished)
            free_wire(session);
    }
    session->entry_depth--;
    h2_session_free_if_done(session); /* last line: the session may be gone */
}

void h2_session_free_if_done(struct h2_session *session)
{
    if (session->is_disposed && session->entry_depth == 0 && !session->is_busy &&
        session->stream_count == 0)
        session->role->free(session);
}

/* The last GOAWAY; what it does not take within FAREWELL_MS is not waited for. */
static void say_farewell(struct h2_session *session, enum h2_error code)
{
    session->terminated_ms = h2_now_ms(session);
    h2_send_goaway(session, session->peer_last_id, code);
    session->is_ending = true;
    timer_arm(&session->watchdog, FAREWELL_MS);
    h2_session_schedule(session);
}

void h2_session_error(struct h2_session *session, enum h2_error code)
{
    if (session->is_finished || session->terminated_ms != 0)
        return;
    session->finish_reason = STATUS_MALFORMED;
    say_farewell(session, code);
}

void h2_session_terminate(struct h2_session *session, enum h2_error code, enum h2_verdict verdict,
                          const char *reason)
{
    if (session->is_finished || session->terminated_ms != 0)
        return;
    session->verdict = verdict;
    session->verdict_reason = reason;
    if (code != H2_NO_ERROR)
        session->finish_reason = STATUS_LIMIT_REACHED;
    say_farewell(session, code);
}

static void send_own_ping(struct h2_session *session, const char *opaque)
{
    h2_send_ping(session, opaque, false);
    session->ping_sent_ms = h2_now_ms(session);
    session->ping_offset = session->written_total + session->output.len;
}

/* ---- graceful end: GOAWAY 2^31-1, one PING round trip, then the id of the last stream that was
 * taken ---- */

void h2_session_drain(struct h2_session *session)
{
    if (session->is_finished || session->is_draining || session->terminated_ms != 0)
        return;
    session->is_draining = true;
    session->draining_since_ms = h2_now_ms(session);
    h2_send_goaway(session, INT32_MAX, H2_NO_ERROR);
    send_own_ping(session, drain_ping); /* its answer says that the notice was read */
    timer_arm(&session->watchdog, session->limits->ping_timeout_ms);
    h2_session_schedule(session);
}

static void drain_finally(struct h2_session *session)
{
    if (!session->is_draining || session->is_drained)
        return;
    session->is_drained = true;
    h2_send_goaway(session, session->peer_last_id, H2_NO_ERROR);
    h2_session_schedule(session);
}

void h2_session_peer_leaves(struct h2_session *session)
{
    timer_arm(&session->watchdog, LEAVING_IDLE_MS);
}

void h2_session_drain_step(struct h2_session *session, const char *ping_opaque)
{
    if (memcmp(ping_opaque, drain_ping, sizeof(drain_ping)) == 0)
        drain_finally(session);
}

void h2_session_glitch(struct h2_session *session)
{
    uint32_t count = h2_flood_glitch(&session->flood, h2_now_ms(session));
    uint32_t limit = session->limits->glitches;

    if (count >= limit)
        h2_session_terminate(session, H2_ENHANCE_YOUR_CALM, H2_GLITCHES, "glitches");
    else if (session->role->is_server && count >= limit - limit / 4)
        h2_session_drain(session);
}

/* ---- watchdog: one timer for a stalled writer, stuck streams, a silent peer, an idle connection
 * ---- */

static void reset_stuck_streams(struct h2_session *session, uint64_t now)
{
    struct list *link = session->streams.next;

    if (session->is_blocked)
        return; /* the transport is stuck, not they */
    while (link != &session->streams && !session->is_finished) {
        struct h2_stream *stream = LIST_ITEM(link, struct h2_stream, link);

        link = link->next;
        if (stream->stuck_since_ms == 0 ||
            now - stream->stuck_since_ms < session->limits->write_stall_ms)
            continue;
        stream->stuck_since_ms = 0;
        session->role->on_stream_stalled(session);
        cut_log_stream(session->role->is_server ? "client" : "agent", "write_stall",
                       &session->link->peer, now);
        h2_stream_reset(stream, H2_CANCEL, RESET_CANCEL);
        link = session->streams.next; /* its owner may have done anything */
    }
}

/* Returns when to look again; 0 when the peer is given up. */
static uint64_t check_liveness(struct h2_session *session, uint64_t now)
{
    const struct http_limits *limits = session->limits;
    uint64_t silent_ms = now - session->last_heard_ms;

    if (session->ping_sent_ms != 0 && session->written_total < session->ping_offset)
        session->ping_sent_ms = now; /* it waits behind what the transport does not take */
    if (session->ping_sent_ms != 0) {
        uint64_t waited_ms = now - session->ping_sent_ms;
        return waited_ms < limits->ping_timeout_ms ? limits->ping_timeout_ms - waited_ms : 0;
    }
    if (session->stream_count == 0)
        return limits->ping_ms;
    if (silent_ms < limits->ping_ms)
        return limits->ping_ms - silent_ms;
    send_own_ping(session, live_ping);
    h2_session_schedule(session);
    return limits->ping_timeout_ms;
}

static void watch(struct h2_session *session)
{
    const struct http_limits *limits = session->limits;
    uint64_t now = h2_now_ms(session);

    if (session->terminated_ms != 0) {
        h2_session_finish(session, session->finish_reason);
        return;
    }
    if (session->is_blocked && now - session->last_written_ms >= limits->write_stall_ms) {
        session->verdict = H2_STALLED;
        session->verdict_reason = "write_stall";
        h2_session_finish(session, STATUS_SYSTEM);
        return;
    }
    if (session->is_draining && now - session->draining_since_ms >= limits->ping_timeout_ms)
        drain_finally(session); /* it talks, but does not answer that PING */
    reset_stuck_streams(session, now);
    if (session->is_finished)
        return;
    uint64_t next_ms = check_liveness(session, now);
    if (next_ms == 0) {
        if (session->verdict == H2_NO_VERDICT) {
            session->verdict = H2_STALLED;
            session->verdict_reason = "ping_timeout";
        }
        h2_session_finish(session, STATUS_SYSTEM);
        return;
    }
    if (session->role->is_server && session->stream_count == 0) {
        uint64_t idle_ms = now - session->idle_since_ms, limit_ms = idle_limit_ms(session);
        if (idle_ms < limit_ms) {
            if (limit_ms - idle_ms < next_ms)
                next_ms = limit_ms - idle_ms;
        } else if (session->goaway_received) {
            h2_session_terminate(session, H2_NO_ERROR, H2_NO_VERDICT, NULL);
            return;
        } else {
            session->verdict = H2_IDLE;
            h2_session_drain(session);
        }
    }
    if (watch_period_ms(session) < next_ms)
        next_ms = watch_period_ms(session);
    timer_arm(&session->watchdog, next_ms);
}

static void on_stop_uploads(struct timer *timer)
{
    struct h2_session *session = CONTAINER_OF(timer, struct h2_session, stop_uploads);

    h2_session_enter(session);
    h2_stream_stop_uploads(session);
    h2_session_leave(session);
}

static void on_watchdog(struct timer *timer)
{
    struct h2_session *session = CONTAINER_OF(timer, struct h2_session, watchdog);

    h2_session_enter(session);
    watch(session);
    h2_session_leave(session);
}

void h2_session_limits_changed(struct h2_session *session)
{
    if (!session->is_finished && session->terminated_ms == 0)
        timer_arm(&session->watchdog, 1);
}
