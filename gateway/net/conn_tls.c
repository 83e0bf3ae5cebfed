/* net/conn_tls.c — TLS over a socket, both sides. OpenSSL reads the socket through a BIO of ours,
 * and writes into memory: one conn_write() seals its parts into full records in the loop's scratch
 * buffer and sends them with one system call. A record that is sealed cannot be taken back, so what
 * the socket does not take (at most one batch) rests in the socket's `out`; as long as it does,
 * conn_write() says AGAIN.
 *
 * OpenSSL may hold plaintext, or the end, when the socket is quiet: the socket's `again` then calls
 * on_readable.
 */
#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/conn_socket.h"
#include "net/loop_internal.h"
#include "net/tls_context_internal.h"

enum {
    PARTS_MAX = 64,
    RECORD_BYTES = 16 * 1024,   /* plaintext of the largest record */
    BATCH_BYTES = 32 * 1024,    /* plaintext that is sealed before it is sent */
    OUT_MAX_BYTES = 128 * 1024, /* batch, alerts, KeyUpdates to a peer that does not read */
    LOG_AGAIN_MS = 10000
};

struct conn_tls {
    struct conn_socket socket; /* first */
    struct tls_context *context;
    SSL *ssl;
    struct buf *sink;  /* where the BIO puts ciphertext: `out`, or the loop's scratch in write */
    char *server_name; /* lower-cased SNI, NULL when none */
    enum status end;   /* how reading ended, OK before */
    bool has_more;     /* OpenSSL holds bytes or the end; the socket need not say so */
    bool is_unread;    /* since it opened: what came along is read in the same turn */
    bool is_drained;   /* in this call the socket had less than asked for: spares a recv() */
    bool saw_fin;
    bool is_broken;         /* no more input or output */
    unsigned message_count; /* in the second that began at message_window_ms */
    uint64_t message_window_ms;
};

static struct conn_tls *tls_of(struct conn_socket *socket)
{
    return CONTAINER_OF(socket, struct conn_tls, socket);
}

/* ---- the BIO under OpenSSL ---- */

static int bio_read(BIO *bio, char *into, int size)
{
    struct conn_tls *t = BIO_get_data(bio);
    ssize_t count;

    BIO_clear_retry_flags(bio);
    if (t->is_broken)
        return -1;
    if (t->is_drained) {
        BIO_set_retry_read(bio);
        return -1;
    }
    count = conn_input_recv(&t->socket, into, (size_t)size);
    if (count == 0)
        t->saw_fin = true;
    else if (count > 0)
        t->is_drained = count < size;
    else if (errno == EAGAIN)
        BIO_set_retry_read(bio);
    else
        t->is_broken = true;
    return (int)count;
}

static int bio_write(BIO *bio, const char *bytes, int size)
{
    struct conn_tls *t = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if (t->sink->len + (size_t)size > OUT_MAX_BYTES) {
        t->is_broken = true;
        return -1;
    }
    buf_append(t->sink, slice_of(bytes, (size_t)size));
    return size;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    const struct conn_tls *t = BIO_get_data(bio);

    (void)number;
    (void)pointer;
    if (command == BIO_CTRL_EOF)
        return t->saw_fin;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bio_method;
static pthread_once_t bio_method_once = PTHREAD_ONCE_INIT;

static void make_bio_method(void)
{
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "gateway socket");
    ENSURE(bio_method != NULL && BIO_meth_set_read(bio_method, bio_read) == 1 &&
           BIO_meth_set_write(bio_method, bio_write) == 1 &&
           BIO_meth_set_ctrl(bio_method, bio_ctrl) == 1);
}

static bool attach_bio(struct conn_tls *t)
{
    pthread_once(&bio_method_once, make_bio_method);

    BIO *bio = BIO_new(bio_method);

    if (bio == NULL)
        return false;
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->ssl, bio, bio);
    return true;
}

/* ---- handshake ---- */

/* Once in a while for each loop: floods come in numbers. */
static void cut_flood(struct conn_tls *t, uint64_t now_ms)
{
    static _Thread_local uint64_t logged_ms;
    bool is_server = tls_context_is_server(t->context);
    char host[ADDRESS_TEXT_BYTES] = "";

    t->is_broken = true;
    if (is_server)
        counter_add(&loop_counters_mutable(t->socket.conn.loop)->tls_floods, 1);
    if (logged_ms != 0 && now_ms - logged_ms < LOG_AGAIN_MS)
        return;
    logged_ms = now_ms;
    if (t->socket.conn.peer.len > 0)
        address_host_text(&t->socket.conn.peer, host);
    log_warn("tls: connection cut side=%s reason=tls_messages peer=%s",
             is_server ? "client" : "agent", host);
}

/* Counts what a peer makes us work for without giving us a byte: KeyUpdates, attempts to
 * renegotiate. */
static void on_message(int is_sent, int version, int content_type, const void *bytes, size_t len,
                       SSL *ssl, void *arg)
{
    struct conn_tls *t = arg;
    uint64_t now_ms = loop_clock(t->socket.conn.loop)->now_ms;

    (void)version;
    (void)bytes;
    (void)len;
    (void)ssl;
    if (is_sent || content_type != SSL3_RT_HANDSHAKE || t->socket.state != CONN_OPEN)
        return;
    if (now_ms - t->message_window_ms >= 1000) {
        t->message_window_ms = now_ms;
        t->message_count = 0;
    }
    if (++t->message_count > tls_context_messages_per_s(t->context) && !t->is_broken)
        cut_flood(t, now_ms);
}

/* Unread input would turn the close that follows into a reset, which overtakes the alert. */
static void part_politely(struct conn_tls *t)
{
    char scrap[4096];

    (void)conn_output_flush(&t->socket);
    (void)shutdown(t->socket.fd, SHUT_WR);
    for (unsigned i = 0; i < 16; i++) {
        if (recv(t->socket.fd, scrap, sizeof(scrap), MSG_DONTWAIT) <= 0)
            break;
    }
}

static void fail_handshake(struct conn_tls *t)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    bool is_lost = t->saw_fin || t->is_broken || t->socket.send_failed;

    log_debug("tls: handshake failed side=%s reason=\"%s\"",
              tls_context_is_server(t->context) ? "server" : "client",
              reason != NULL ? reason : "connection lost");
    ERR_clear_error();
    if (SSL_get_verify_result(t->ssl) != X509_V_OK)
        t->socket.conn.tls.refusal = X509_verify_cert_error_string(SSL_get_verify_result(t->ssl));
    part_politely(t);
    t->is_broken = true;
    conn_socket_opened(&t->socket, is_lost ? STATUS_AGENT_UNREACHABLE : STATUS_MALFORMED);
}

static void handshake(struct conn_tls *t)
{
    t->is_drained = false;
    ERR_clear_error();

    int result = SSL_do_handshake(t->ssl);

    if (result == 1 && conn_output_flush(&t->socket) != STATUS_SYSTEM)
        conn_socket_opened(&t->socket, STATUS_OK);
    else if (result == 1 || SSL_get_error(t->ssl, result) != SSL_ERROR_WANT_READ ||
             conn_output_flush(&t->socket) == STATUS_SYSTEM)
        fail_handshake(t);
}

static void on_connected(struct conn_socket *s)
{
    struct conn_tls *t = tls_of(s);

    if (t->ssl == NULL) { /* no memory, or a name that no certificate can carry */
        conn_socket_opened(s, STATUS_MALFORMED);
        return;
    }
    watch_read(s->watch, true);
    handshake(t);
}

static void remember_server_name(struct conn_tls *t)
{
    const char *sent = SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name);

    if (sent == NULL)
        return;
    t->server_name = mem_copy_string(sent);
    for (char *c = t->server_name; *c != '\0'; c++)
        *c = (char)tolower((unsigned char)*c);
}

static void on_open(struct conn_socket *s)
{
    struct conn_tls *t = tls_of(s);
    const unsigned char *alpn = NULL;
    unsigned alpn_len = 0;

    remember_server_name(t);
    SSL_get0_alpn_selected(t->ssl, &alpn, &alpn_len);
    s->conn.tls = (struct conn_tls_info){
        .version = SSL_get_version(t->ssl),
        .cipher = SSL_get_cipher_name(t->ssl),
        .server_name = slice_from_string(t->server_name),
        .alpn = alpn_len > 0 ? slice_of(alpn, alpn_len) : SLICE_EMPTY,
        .resumed = SSL_session_reused(t->ssl) == 1,
    };
    t->has_more = SSL_has_pending(t->ssl) == 1; /* came along with the last of the handshake */
    t->is_unread = true;
    if (t->has_more && s->read_wanted)
        task_defer(s->conn.loop, &s->again); /* behind the owner's on_open */
}

/* ---- reading ---- */

/* Reads until `into` is full, the socket is dry, or the end (kept in t->end). */
static size_t read_records(struct conn_tls *t, char *into, size_t size_bytes)
{
    size_t total = 0, count;

    t->is_drained = false;
    while (total < size_bytes && t->end == STATUS_OK) {
        ERR_clear_error();
        if (SSL_read_ex(t->ssl, into + total, size_bytes - total, &count) == 1) {
            total += count;
            continue;
        }

        int error = SSL_get_error(t->ssl, 0);

        if (error == SSL_ERROR_WANT_READ)
            break;
        t->end = error == SSL_ERROR_ZERO_RETURN ? STATUS_CLOSED : STATUS_SYSTEM;
        ERR_clear_error();
    }
    return total;
}

static enum status read_tls(struct conn *conn, char *into, size_t size_bytes, size_t *out_count)
{
    struct conn_socket *s = conn_socket_of(conn);
    struct conn_tls *t = tls_of(s);

    ENSURE(size_bytes > 0);
    if (s->state != CONN_OPEN)
        return s->state == CONN_FAILED ? STATUS_SYSTEM : STATUS_AGAIN;

    size_t count = read_records(t, into, size_bytes);

    task_cancel(&s->again);
    t->is_unread = false;
    t->has_more =
        count > 0 &&
        (t->end != STATUS_OK ||
         (count == size_bytes && (SSL_has_pending(t->ssl) == 1 || conn_input_has_ahead(s))));
    if (s->out.len > 0)
        (void)conn_output_flush(s); /* an alert or a KeyUpdate; an error shows in the next call */
    if (count == 0)
        return t->end == STATUS_OK ? STATUS_AGAIN : conn_socket_end(s, t->end);
    if (t->end != STATUS_OK)
        watch_read(s->watch, false); /* what follows the end is nobody's */
    if (t->has_more && s->read_wanted)
        task_defer_next(conn->loop, &s->again);
    *out_count = count;
    return STATUS_OK;
}

static void want_read_tls(struct conn *conn, bool enabled)
{
    struct conn_socket *s = conn_socket_of(conn);
    struct conn_tls *t = tls_of(s);

    s->read_wanted = enabled;
    if (s->state != CONN_OPEN)
        return;
    watch_read(s->watch, enabled && t->end == STATUS_OK);
    if (!enabled)
        task_cancel(&s->again);
    else if (t->has_more && t->is_unread)
        task_defer(conn->loop, &s->again);
    else if (t->has_more || (conn_input_has_ahead(s) && !s->ended))
        task_defer_next(conn->loop, &s->again);
}

static void on_readable(struct conn_socket *s)
{
    struct conn_tls *t = tls_of(s);

    if (s->state == CONN_OPENING && !list_is_linked(&s->report.link))
        handshake(t);
    else if (s->state == CONN_OPEN && s->read_wanted && s->conn.events != NULL)
        s->conn.events->on_readable(s->conn.owner);
}

/* ---- writing ---- */

/* What is left to write. */
struct gather {
    const struct slice *parts;
    size_t part_count;
    size_t skipped; /* bytes of the first part that are written */
};

static struct slice gather_first(struct gather *in)
{
    while (in->part_count > 0 && in->skipped == in->parts[0].len) {
        in->parts++;
        in->part_count--;
        in->skipped = 0;
    }
    return in->part_count > 0 ? slice_skip(in->parts[0], in->skipped) : SLICE_EMPTY;
}

/* The plaintext of one record: where it stands when it comes from one part, else gathered in
 * `memory`. */
static struct slice gather_record(struct gather *in, char *memory)
{
    struct slice first = slice_first(gather_first(in), RECORD_BYTES);
    size_t have = 0;

    if (first.len == RECORD_BYTES || in->part_count <= 1) {
        in->skipped += first.len;
        return first;
    }
    while (have < RECORD_BYTES && first.len > 0) {
        memcpy(memory + have, first.ptr, first.len);
        have += first.len;
        in->skipped += first.len;
        first = slice_first(gather_first(in), RECORD_BYTES - have);
    }
    return slice_of(memory, have);
}

/* Seals up to a batch into the scratch buffer. Returns the plaintext's size. */
static size_t seal_batch(struct conn_tls *t, struct gather *in)
{
    char memory[RECORD_BYTES];
    size_t sealed = 0, count;

    t->sink = loop_scratch(t->socket.conn.loop);
    while (sealed < BATCH_BYTES && !t->is_broken) {
        struct slice record = gather_record(in, memory);

        if (record.len == 0)
            break;
        ERR_clear_error();
        if (SSL_write_ex(t->ssl, record.ptr, record.len, &count) != 1 || count != record.len) {
            t->is_broken = true;
            ERR_clear_error();
            break;
        }
        sealed += record.len;
    }
    t->sink = &t->socket.out;
    return sealed;
}

static enum status send_batch(struct conn_socket *s)
{
    struct buf *scratch = loop_scratch(s->conn.loop);
    enum status status = conn_output_send(s, buf_slice(scratch));

    buf_clear(scratch);
    return status;
}

static enum status write_tls(struct conn *conn, const struct slice *parts, size_t part_count,
                             size_t *out_count)
{
    struct conn_socket *s = conn_socket_of(conn);
    struct conn_tls *t = tls_of(s);
    struct gather in = { .parts = parts, .part_count = part_count };

    ENSURE(part_count <= PARTS_MAX);
    if (s->state != CONN_OPEN)
        return s->state == CONN_FAILED ? STATUS_SYSTEM : STATUS_AGAIN;
    if (t->is_broken || s->send_failed || s->is_shut)
        return STATUS_SYSTEM;
    *out_count = 0;

    enum status status = s->out.len > 0 ? conn_output_flush(s) : STATUS_OK;

    while (status == STATUS_OK && gather_first(&in).len > 0) {
        size_t sealed = seal_batch(t, &in);

        status = send_batch(s);
        if (status != STATUS_SYSTEM)
            *out_count += sealed;
    }
    return *out_count > 0 ? STATUS_OK : status;
}

static void want_write_tls(struct conn *conn)
{
    struct conn_socket *s = conn_socket_of(conn);

    s->write_wanted = true;
    if (s->state == CONN_OPEN)
        watch_write(s->watch);
}

static void on_writable(struct conn_socket *s)
{
    if (conn_output_flush(s) == STATUS_AGAIN)
        return; /* and on_writable comes again */
    if (s->state != CONN_OPEN || !s->write_wanted || s->conn.events == NULL)
        return;
    s->write_wanted = false;
    s->conn.events->on_writable(s->conn.owner);
}

/* ---- the end ---- */

static void shutdown_tls(struct conn *conn)
{
    struct conn_socket *s = conn_socket_of(conn);
    struct conn_tls *t = tls_of(s);

    if (s->state != CONN_OPEN || s->is_shut)
        return;
    s->is_shut = true;
    ERR_clear_error();
    (void)SSL_shutdown(t->ssl); /* close_notify, unless TLS broke */
    ERR_clear_error();
    (void)conn_output_flush(&t->socket);
}

static void destroy_tls(struct conn *conn)
{
    struct conn_socket *s = conn_socket_of(conn);
    struct conn_tls *t = tls_of(s);

    SSL_free(t->ssl);
    conn_socket_deinit(s);
    tls_context_unref(&t->context);
    mem_free(t->server_name);
    mem_free(t);
}

static const struct conn_socket_kind conn_tls_kind = {
    .ops = {
        .read = read_tls,
        .write = write_tls,
        .want_read = want_read_tls,
        .want_write = want_write_tls,
        .shutdown = shutdown_tls,
        .destroy = destroy_tls,
    },
    .on_connected = on_connected,
    .on_open = on_open,
    .on_readable = on_readable,
    .on_writable = on_writable,
};

struct conn_socket *conn_tls_create(struct loop *loop, int fd, struct tls_context *context,
                                    struct slice server_name)
{
    struct conn_tls *t = mem_zeroed(sizeof(*t));

    conn_socket_init(&t->socket, &conn_tls_kind, loop, fd);
    t->context = tls_context_ref(context);
    t->sink = &t->socket.out;
    t->ssl = tls_context_session(context, server_name);
    if (t->ssl != NULL && !attach_bio(t)) {
        SSL_free(t->ssl);
        t->ssl = NULL;
    }
    if (t->ssl != NULL) {
        SSL_set_msg_callback(t->ssl, on_message);
        SSL_set_msg_callback_arg(t->ssl, t);
    }
    return &t->socket;
}
