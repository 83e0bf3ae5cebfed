/* http/h2_session.c — the life of a session: settings, endings, and the watchdog that judges
 * silence. Order matters in two places: nghttp2 is never re-entered nor freed under itself
 * (is_in_nghttp2, leave()), and a finished session tells its owners before anything is freed. */
#include "http/h2_session.h"

#include "base/mem.h"
#include "http/cut_log.h"

enum {
    CONNECTION_WINDOW_BYTES = 1 << 20,
    ACKS_QUEUED_MAX = 100,
    CLIENT_STREAMS_AT_FIRST = 100, /* until the peer's SETTINGS arrive */
    FAREWELL_MS = 1000,            /* for the last GOAWAY to leave */
};

static const uint8_t drain_ping[8] = "drain";

static nghttp2_session_callbacks *make_callbacks(void)
{
    nghttp2_session_callbacks *callbacks;

    ENSURE(nghttp2_session_callbacks_new(&callbacks) == 0);
    h2_input_callbacks(callbacks);
    h2_output_callbacks(callbacks);
    return callbacks;
}

static nghttp2_option *make_options(const struct http_limits *limits)
{
    nghttp2_option *option;

    ENSURE(nghttp2_option_new(&option) == 0);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_max_outbound_ack(option, ACKS_QUEUED_MAX);
    /* Ours is stricter, runs on our clock, and says ENHANCE_YOUR_CALM. */
    nghttp2_option_set_stream_reset_rate_limit(option, UINT32_MAX, UINT32_MAX);
    /* 1.52 counts parser passes, not frames: a block that comes byte by byte would die at 8.
     * h2_input.c bounds both. */
    nghttp2_option_set_max_continuations(option, limits->header_block_bytes * 2 + 1024);
    nghttp2_option_set_peer_max_concurrent_streams(option, CLIENT_STREAMS_AT_FIRST);
    return option;
}

static void submit_settings(struct h2_session *session, bool enable_connect_protocol)
{
    const struct http_limits *limits = session->limits;
    nghttp2_settings_entry entries[6] = {
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)limits->window_bytes },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)limits->field_bytes_soft },
    };
    size_t count = 2;

    if (session->role->is_server) {
        entries[count++] = (nghttp2_settings_entry){ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
                                                     session->stream_limit };
        entries[count++] = (nghttp2_settings_entry){ NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1 };
        if (enable_connect_protocol)
            entries[count++] =
                (nghttp2_settings_entry){ NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1 };
    } else {
        entries[count++] = (nghttp2_settings_entry){ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 };
    }
    h2_session_check(session,
                     nghttp2_submit_settings(session->ng, NGHTTP2_FLAG_NONE, entries, count));
    h2_session_check(session, nghttp2_session_set_local_window_size(session->ng, NGHTTP2_FLAG_NONE,
                                                                    0, CONNECTION_WINDOW_BYTES));
}

void h2_session_announce_streams(struct h2_session *session, uint32_t limit)
{
    nghttp2_settings_entry entry = { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limit };

    session->stream_limit = limit;
    h2_session_check(session, nghttp2_submit_settings(session->ng, NGHTTP2_FLAG_NONE, &entry, 1));
}

static void on_watchdog(struct timer *timer);
static void on_stop_uploads(struct timer *timer);

/* The watchdog looks at least this often. */
static uint64_t watch_period_ms(const struct h2_session *session)
{
    const struct http_limits *limits = session->limits;
    uint64_t period_ms = limits->ping_ms;

    if (limits->write_stall_ms < period_ms)
        period_ms = limits->write_stall_ms;
    if (session->role->is_server && limits->idle_ms < period_ms)
        period_ms = limits->idle_ms;
    return period_ms;
}

void h2_session_init(struct h2_session *session, const struct h2_role *role, struct conn *conn,
                     const struct http_limits *limits, struct exchange_link *link,
                     bool enable_connect_protocol)
{
    nghttp2_session_callbacks *callbacks = make_callbacks();
    nghttp2_option *option = make_options(limits);

    session->role = role;
    session->conn = conn;
    session->limits = limits;
    session->loop = conn->loop;
    session->link = link;
    session->stream_limit =
        limits->streams_untrusted < limits->streams ? limits->streams_untrusted : limits->streams;
    session->finish_reason = STATUS_CLOSED;
    list_init(&session->streams);
    list_init(&session->orphans);
    h2_output_init(session);
    timer_init(&session->watchdog, session->loop, on_watchdog);
    timer_init(&session->stop_uploads, session->loop, on_stop_uploads);
    if (role->is_server)
        ENSURE(nghttp2_session_server_new3(&session->ng, callbacks, session, option, h2_memory()) ==
               0);
    else
        ENSURE(nghttp2_session_client_new3(&session->ng, callbacks, session, option, h2_memory()) ==
               0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    session->last_heard_ms = h2_now_ms(session);
    session->idle_since_ms = session->last_heard_ms;
    h2_flood_init(&session->flood, limits, session->last_heard_ms);
    submit_settings(session, enable_connect_protocol);
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
    buf_deinit(&session->backlog);
    while (!list_is_empty(&session->streams))
        h2_stream_orphan(LIST_FIRST(&session->streams, struct h2_stream, link));
}

/* leave() goes on. The first reason counts. */
static void finish_later(struct h2_session *session, enum status reason)
{
    if (!session->want_finish)
        session->finish_reason = reason;
    session->want_finish = true;
}

void h2_session_check(struct h2_session *session, int result)
{
    if (result >= 0 || !nghttp2_is_fatal(result))
        return; /* others say that the stream has gone: nothing is missing */
    finish_later(session, STATUS_SYSTEM);
    h2_session_schedule(session); /* whoever calls need not be between enter() and leave() */
}

enum status h2_session_failure(ssize_t result)
{
    return result == NGHTTP2_ERR_NOMEM ? STATUS_SYSTEM : STATUS_MALFORMED;
}

void h2_session_finish(struct h2_session *session, enum status reason)
{
    if (session->is_finished)
        return;
    finish_later(session, reason);
    if (session->is_in_nghttp2)
        return;
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
    return !session->is_finished && session->backlog.len == 0 &&
           !nghttp2_session_want_read(session->ng) && !nghttp2_session_want_write(session->ng);
}

void h2_session_leave(struct h2_session *session)
{
    if (session->entry_depth == 1 && !session->is_in_nghttp2) {
        if (session->want_finish)
            h2_session_finish(session, session->finish_reason);
        else if (is_over(session))
            h2_session_finish(session,
                              session->peer_violated ? STATUS_MALFORMED : session->finish_reason);
        if (session->is_finished) {
            nghttp2_session_del(session->ng);
            session->ng = NULL;
        }
    }
    session->entry_depth--;
    h2_session_free_if_done(session); /* last line: the session may be gone */
}

void h2_session_free_if_done(struct h2_session *session)
{
    if (session->is_disposed && session->entry_depth == 0 && !session->is_in_nghttp2 &&
        session->stream_count == 0)
        session->role->free(session);
}

void h2_session_terminate(struct h2_session *session, uint32_t error_code, enum h2_verdict verdict,
                          const char *reason)
{
    if (session->is_finished || session->terminated_ms != 0)
        return;
    session->terminated_ms = h2_now_ms(session);
    session->verdict = verdict;
    session->verdict_reason = reason;
    if (error_code != NGHTTP2_NO_ERROR)
        session->finish_reason = STATUS_LIMIT_REACHED;
    h2_session_check(session, nghttp2_session_terminate_session(session->ng, error_code));
    timer_arm(&session->watchdog, FAREWELL_MS);
    h2_session_schedule(session);
}

/* ---- graceful end: GOAWAY 2^31-1, one PING round trip, then the id of the last stream that was
 * taken ---- */

void h2_session_drain(struct h2_session *session)
{
    if (session->is_finished || session->is_draining || session->terminated_ms != 0)
        return;
    session->is_draining = true;
    session->draining_since_ms = h2_now_ms(session);
    /* h2_session_notice_sent() goes on */
    h2_session_check(session, nghttp2_submit_shutdown_notice(session->ng));
    timer_arm(&session->watchdog, session->limits->ping_timeout_ms);
    h2_session_schedule(session);
}

/* Only now, since nghttp2 lets a PING overtake: its answer shall say that the notice was read. */
void h2_session_notice_sent(struct h2_session *session)
{
    if (!session->is_draining || session->is_drained || session->terminated_ms != 0)
        return;
    h2_session_check(session, nghttp2_submit_ping(session->ng, NGHTTP2_FLAG_NONE, drain_ping));
    session->ping_sent_ms = h2_now_ms(session);
}

static void drain_finally(struct h2_session *session)
{
    if (!session->is_draining || session->is_drained)
        return;
    session->is_drained = true;
    h2_session_check(session,
                     nghttp2_submit_goaway(session->ng, NGHTTP2_FLAG_NONE,
                                           nghttp2_session_get_last_proc_stream_id(session->ng),
                                           NGHTTP2_NO_ERROR, NULL, 0));
    h2_session_schedule(session);
}

void h2_session_drain_step(struct h2_session *session, const uint8_t *ping_opaque)
{
    if (memcmp(ping_opaque, drain_ping, sizeof(drain_ping)) == 0)
        drain_finally(session);
}

void h2_session_glitch(struct h2_session *session)
{
    uint32_t count = h2_flood_glitch(&session->flood, h2_now_ms(session));
    uint32_t limit = session->limits->glitches;

    if (count >= limit)
        h2_session_terminate(session, NGHTTP2_ENHANCE_YOUR_CALM, H2_GLITCHES, "glitches");
    else if (session->role->is_server && count >= limit - limit / 4)
        h2_session_drain(session);
}

/* ---- watchdog: one timer for a stalled writer, stuck streams, a silent peer, an idle connection
 * ---- */

static void reset_stuck_streams(struct h2_session *session, uint64_t now)
{
    struct list *link = session->streams.next;

    if (session->backlog.len > 0)
        return; /* the transport is stuck, not they */
    while (link != &session->streams && !session->is_finished) {
        struct h2_stream *stream = LIST_ITEM(link, struct h2_stream, link);

        link = link->next;
        if (stream->stuck_since_ms == 0 ||
            now - stream->stuck_since_ms < session->limits->write_stall_ms)
            continue;
        stream->stuck_since_ms = 0;
        h2_stream_reset(stream, NGHTTP2_CANCEL, RESET_CANCEL);
        link = session->streams.next; /* its owner may have done anything */
    }
}

/* Returns when to look again; 0 when the peer is given up. */
static uint64_t check_liveness(struct h2_session *session, uint64_t now)
{
    const struct http_limits *limits = session->limits;
    uint64_t silent_ms = now - session->last_heard_ms;

    if (session->ping_sent_ms != 0) {
        uint64_t waited_ms = now - session->ping_sent_ms;
        return waited_ms < limits->ping_timeout_ms ? limits->ping_timeout_ms - waited_ms : 0;
    }
    if (session->stream_count == 0)
        return limits->ping_ms;
    if (silent_ms < limits->ping_ms)
        return limits->ping_ms - silent_ms;
    session->ping_sent_ms = now;
    h2_session_check(session, nghttp2_submit_ping(session->ng, NGHTTP2_FLAG_NONE, NULL));
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
    if (session->backlog.len > 0 && now - session->last_written_ms >= limits->write_stall_ms) {
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
        uint64_t idle_ms = now - session->idle_since_ms;
        if (idle_ms >= limits->idle_ms) {
            session->verdict = H2_IDLE;
            h2_session_drain(session);
        } else if (limits->idle_ms - idle_ms < next_ms) {
            next_ms = limits->idle_ms - idle_ms;
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
