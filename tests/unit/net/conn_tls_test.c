/* tests/unit/net/conn_tls_test.c — TLS conns against each other over TCP, and against plain OpenSSL
 * that misbehaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/mem.h"
#include "net_fixture.h"

enum { BULK_BYTES = 10 * 1024 * 1024 };

struct fixture {
    char folder[64];
    struct loop *loop;
    struct test_certificate main_files, other_files;
    struct tls_context *server;
    struct tls_context *client; /* trusts main_files, offers h2 */
    SSL_CTX *raw_ctx;           /* trusts nobody and asks nobody */
    struct listener *listener;
    struct probe accepted;
};

/* The other end of a socket pair: plain OpenSSL, driven by hand. */
struct raw {
    SSL *ssl;
    int fd;
};

static void on_conn(void *owner, struct conn *conn)
{
    struct fixture *f = owner;

    probe_take(&f->accepted, conn);
}

static bool gathers; /* all tests run both ways */

static int set_up(void **state)
{
    static const char *const main_names[] = { "a.example", "*.wild.example", "127.0.0.1", NULL };
    static const char *const other_names[] = { "b.example", NULL };
    struct fixture *f = mem_zeroed(sizeof(*f));

    folder_make(f->folder, sizeof(f->folder));
    assert_int_equal(loop_create(&f->loop), STATUS_OK);
    if (gathers)
        loop_gather_io(f->loop);
    certificate_make(&f->main_files, f->folder, "main", main_names);
    certificate_make(&f->other_files, f->folder, "other", other_names);

    struct tls_certificate certificates[] = {
        { f->main_files.certificate_file, f->main_files.key_file },
        { f->other_files.certificate_file, f->other_files.key_file },
    };
    struct tls_server_options server = { .certificates = certificates,
                                         .certificate_count = 2,
                                         .offer_h2 = true };
    struct tls_client_options client = { .ca_file = f->main_files.certificate_file,
                                         .alpn = SLICE("h2") };

    assert_int_equal(tls_context_create_server(&server, NULL, &f->server), STATUS_OK);
    assert_int_equal(tls_context_create_client(&client, NULL, &f->client), STATUS_OK);
    f->raw_ctx = SSL_CTX_new(TLS_client_method());

    struct listener_options options = {
        .tls = f->server, .handshake_timeout_ms = 2000, .max_conns = 100, .inherited_fd = -1
    };

    assert_int_equal(address_parse(SLICE("127.0.0.1:0"), &options.address), STATUS_OK);
    assert_int_equal(listener_create(f->loop, &options, on_conn, f, &f->listener), STATUS_OK);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    probe_deinit(&f->accepted);
    listener_destroy(&f->listener);
    tls_context_unref(&f->server);
    tls_context_unref(&f->client);
    SSL_CTX_free(f->raw_ctx);
    loop_destroy(&f->loop);
    folder_remove(f->folder);
    mem_free(f);
    return 0;
}

static void dial(struct fixture *f, struct probe *probe, struct tls_context *tls,
                 struct slice server_name)
{
    struct conn_connect_options options = { .tls = tls,
                                            .server_name = server_name,
                                            .timeout_ms = 2000 };

    probe_take(probe, conn_connect_start(f->loop, listener_address(f->listener), &options,
                                         &probe_events, probe));
    assert_int_equal(probe->open_count, 0);
}

static void dial_raw(struct fixture *f, struct raw *raw)
{
    probe_take(&f->accepted, pair_accepted(f->loop, f->server, &raw->fd));
    raw->ssl = SSL_new(f->raw_ctx);
    SSL_set_fd(raw->ssl, raw->fd);
    SSL_set_connect_state(raw->ssl);
}

static bool shake_raw(struct fixture *f, struct raw *raw)
{
    for (unsigned i = 0; i < 500; i++) {
        ERR_clear_error();
        int result = SSL_do_handshake(raw->ssl);

        if (result == 1) {
            return f->accepted.open_count > 0 || run_until(f->loop, probe_is_open, &f->accepted);
        }
        if (SSL_get_error(raw->ssl, result) != SSL_ERROR_WANT_READ)
            return false;
        loop_turn(f->loop, 5);
    }
    return false;
}

static void close_raw(struct raw *raw)
{
    SSL_free(raw->ssl);
    ERR_clear_error();
    if (raw->fd >= 0)
        close(raw->fd);
    raw->fd = -1;
}

static bool both_open(void *arg)
{
    struct probe **probes = arg;

    return probes[0]->open_count > 0 && probes[1]->open_count > 0;
}

static void open_both(struct fixture *f, struct probe *client)
{
    struct probe *probes[] = { client, &f->accepted };

    dial(f, client, f->client, SLICE("a.example"));
    assert_true(run_until(f->loop, both_open, probes));
    assert_int_equal(client->open_status, STATUS_OK);
    assert_int_equal(f->accepted.open_status, STATUS_OK);
}

static bool has_bytes(void *arg)
{
    return ((struct probe *)arg)->in.len > 0;
}

static void both_sides_know_what_was_agreed(void **state)
{
    struct fixture *f = *state;
    struct probe client = { .out = SLICE("ping") };

    open_both(f, &client);
    assert_string_equal(client.conn->tls.version, "TLSv1.3");
    assert_true(slice_equal(client.conn->tls.alpn, SLICE("h2")));
    assert_true(slice_equal(f->accepted.conn->tls.alpn, SLICE("h2")));
    assert_true(slice_equal(f->accepted.conn->tls.server_name, SLICE("a.example")));
    assert_non_null(f->accepted.conn->tls.cipher);
    assert_true(run_until(f->loop, has_bytes, &f->accepted));
    assert_true(slice_equal(buf_slice(&f->accepted.in), SLICE("ping")));
    assert_int_equal(client.open_count, 1);
    probe_deinit(&client);
}

struct bulk {
    struct probe *a, *b;
};

static bool bulk_is_through(void *arg)
{
    struct bulk *bulk = arg;

    /* the slow reader takes a break at every megabyte */
    if (bulk->b->pause_bytes > 0 && bulk->b->in.len >= bulk->b->pause_bytes) {
        bulk->b->pause_bytes += 1024 * 1024;
        conn_want_read(bulk->b->conn, true);
    }
    return bulk->a->end != STATUS_OK && bulk->b->end != STATUS_OK;
}

static char *random_bytes(size_t len)
{
    char *bytes = mem_alloc(len);
    uint32_t x = 12345;

    for (size_t i = 0; i < len; i++) {
        x = x * 1664525u + 1013904223u;
        bytes[i] = (char)(x >> 24);
    }
    return bytes;
}

static void ten_megabytes_both_ways_with_a_slow_reader(void **state)
{
    struct fixture *f = *state;
    char *bytes = random_bytes(BULK_BYTES);
    struct slice all = slice_of(bytes, BULK_BYTES);
    struct probe client = { .out = all, .shuts_down = true, .chunk_bytes = 65536 };
    struct bulk bulk = { &client, &f->accepted };

    f->accepted = (struct probe){
        .out = all, .shuts_down = true, .chunk_bytes = 10000, .pause_bytes = 1024 * 1024
    };
    open_both(f, &client);
    assert_true(run_until(f->loop, bulk_is_through, &bulk));
    assert_int_equal(client.end, STATUS_CLOSED);
    assert_int_equal(f->accepted.end, STATUS_CLOSED);
    assert_true(slice_equal(buf_slice(&client.in), all));
    assert_true(slice_equal(buf_slice(&f->accepted.in), all));
    assert_true(client.writable_count > 0);
    probe_deinit(&client);
    mem_free(bytes);
}

static void paused_reader_stops_the_writer_and_nothing_spins(void **state)
{
    struct fixture *f = *state;
    char *bytes = random_bytes(BULK_BYTES);
    struct probe client = { .out = slice_of(bytes, BULK_BYTES) };

    f->accepted.pause_bytes = 1;
    open_both(f, &client);
    run_ms(f->loop, 300);
    assert_true(client.out.len > 0);
    assert_int_equal(client.write_status, STATUS_AGAIN);
    assert_true(f->accepted.in.len <= 4096);
    assert_true(busy_turns(f->loop, 100) <= 3);
    probe_deinit(&client);
    mem_free(bytes);
}

static bool has_64_kib(void *arg)
{
    return ((struct probe *)arg)->in.len == 65536;
}

static void bytes_inside_openssl_are_told_though_the_socket_is_quiet(void **state)
{
    struct fixture *f = *state;
    char *bytes = random_bytes(65536);
    struct probe client = { .out = slice_of(bytes, 65536) };

    f->accepted.chunk_bytes = 100; /* one read of 100 bytes for each event */
    open_both(f, &client);
    assert_true(run_until(f->loop, has_64_kib, &f->accepted));
    assert_true(slice_equal(buf_slice(&f->accepted.in), slice_of(bytes, 65536)));
    assert_true(busy_turns(f->loop, 50) <= 2);
    probe_deinit(&client);
    mem_free(bytes);
}

static void pausing_holds_back_bytes_inside_openssl(void **state)
{
    struct fixture *f = *state;
    char *bytes = random_bytes(65536);
    struct probe client = { .out = slice_of(bytes, 65536) };

    f->accepted.chunk_bytes = 100;
    f->accepted.pause_bytes = 300;
    open_both(f, &client);
    run_ms(f->loop, 50);
    assert_int_equal(f->accepted.in.len, 300);
    assert_int_equal(f->accepted.readable_count, 3);
    f->accepted.pause_bytes = 0;
    conn_want_read(f->accepted.conn, true);
    assert_true(run_until(f->loop, has_64_kib, &f->accepted));
    probe_deinit(&client);
    mem_free(bytes);
}

static void half_close_leaves_the_other_direction_open(void **state)
{
    struct fixture *f = *state;
    struct probe client = { .out = SLICE("request"), .shuts_down = true };

    open_both(f, &client);
    assert_true(run_until(f->loop, probe_has_ended, &f->accepted));
    assert_int_equal(f->accepted.end, STATUS_CLOSED);
    assert_true(slice_equal(buf_slice(&f->accepted.in), SLICE("request")));
    f->accepted.out = SLICE("reply");
    f->accepted.shuts_down = true;
    probe_write(&f->accepted);
    assert_true(run_until(f->loop, probe_has_ended, &client));
    assert_int_equal(client.end, STATUS_CLOSED);
    assert_true(slice_equal(buf_slice(&client.in), SLICE("reply")));
    assert_true(busy_turns(f->loop, 50) <= 2);
    probe_deinit(&client);
}

static void fin_without_close_notify_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct raw raw;

    dial_raw(f, &raw);
    assert_true(shake_raw(f, &raw));
    assert_int_equal(SSL_write(raw.ssl, "cut", 3), 3);
    close(raw.fd);
    raw.fd = -1;
    assert_true(run_until(f->loop, probe_has_ended, &f->accepted));
    assert_int_equal(f->accepted.end, STATUS_SYSTEM);
    assert_true(slice_equal(buf_slice(&f->accepted.in), SLICE("cut")));
    close_raw(&raw);
}

static void nothing_is_read_behind_close_notify(void **state)
{
    struct fixture *f = *state;
    struct raw raw;
    char junk[65536] = { 23, 3, 3, 0, 16 };
    size_t taken = 0;

    dial_raw(f, &raw);
    assert_true(shake_raw(f, &raw));
    assert_int_equal(SSL_write(raw.ssl, "last", 4), 4);
    assert_int_equal(SSL_shutdown(raw.ssl), 0);
    assert_true(run_until(f->loop, probe_has_ended, &f->accepted));
    assert_int_equal(f->accepted.end, STATUS_CLOSED);
    assert_true(slice_equal(buf_slice(&f->accepted.in), SLICE("last")));
    for (unsigned i = 0; i < 100; i++) {
        ssize_t count = write(raw.fd, junk, sizeof(junk));

        taken += count > 0 ? (size_t)count : 0;
        loop_turn(f->loop, 0);
    }
    assert_true(taken < 1024 * 1024); /* the kernel's buffers, never ours */
    assert_true(busy_turns(f->loop, 50) <= 2);
    close_raw(&raw);
}

static bool shake_bytewise(struct fixture *f, SSL *ssl, BIO *from_ssl, BIO *to_ssl, int fd)
{
    char byte;

    for (unsigned i = 0; i < 20000; i++) {
        bool done = SSL_do_handshake(ssl) == 1;

        ERR_clear_error();
        if (BIO_read(from_ssl, &byte, 1) == 1)
            assert_int_equal(write(fd, &byte, 1), 1);
        else if (done && f->accepted.open_count > 0)
            return true;
        loop_turn(f->loop, 0);
        if (read(fd, &byte, 1) == 1)
            assert_int_equal(BIO_write(to_ssl, &byte, 1), 1);
    }
    return false;
}

static void every_byte_may_come_alone(void **state)
{
    struct fixture *f = *state;
    int fd;
    SSL *ssl = SSL_new(f->raw_ctx);
    BIO *from_ssl = BIO_new(BIO_s_mem()), *to_ssl = BIO_new(BIO_s_mem());
    char byte;

    probe_take(&f->accepted, pair_accepted(f->loop, f->server, &fd));
    SSL_set_bio(ssl, to_ssl, from_ssl);
    SSL_set_connect_state(ssl);
    assert_true(shake_bytewise(f, ssl, from_ssl, to_ssl, fd));
    assert_int_equal(f->accepted.open_status, STATUS_OK);
    assert_int_equal(SSL_write(ssl, "hello", 5), 5);
    while (BIO_read(from_ssl, &byte, 1) == 1) {
        assert_int_equal(f->accepted.in.len, 0);
        assert_int_equal(write(fd, &byte, 1), 1);
        loop_turn(f->loop, 0);
    }
    loop_turn(f->loop, 0);
    assert_true(slice_equal(buf_slice(&f->accepted.in), SLICE("hello")));
    SSL_free(ssl);
    close(fd);
}

static void no_common_alpn_is_refused_with_the_alert(void **state)
{
    struct fixture *f = *state;
    struct raw raw;

    dial_raw(f, &raw);
    SSL_set_alpn_protos(raw.ssl, (const unsigned char *)"\x04smtp", 5);
    assert_false(shake_raw(f, &raw));
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()),
                     SSL_AD_NO_APPLICATION_PROTOCOL + SSL_AD_REASON_OFFSET);
    assert_int_equal(f->accepted.open_count, 1);
    assert_int_equal(f->accepted.open_status, STATUS_MALFORMED);
    close_raw(&raw);
}

static void plain_http_on_a_tls_port_is_malformed(void **state)
{
    struct fixture *f = *state;
    int fd;

    probe_take(&f->accepted, pair_accepted(f->loop, f->server, &fd));
    assert_int_equal(write(fd, "GET / HTTP/1.1\r\n\r\n", 18), 18);
    assert_true(run_until(f->loop, probe_is_open, &f->accepted));
    assert_int_equal(f->accepted.open_status, STATUS_MALFORMED);
    close(fd);
}

static void silent_client_is_timed_out(void **state)
{
    struct fixture *f = *state;
    struct address peer = { .storage.ss_family = AF_UNIX, .len = sizeof(sa_family_t) };
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    probe_take(&f->accepted, conn_accepted(f->loop, fds[0], &peer, f->server, 30));
    assert_true(run_until(f->loop, probe_is_open, &f->accepted));
    assert_int_equal(f->accepted.open_status, STATUS_AGENT_TIMED_OUT);
    assert_int_equal(conn_read(f->accepted.conn, (char[1]){ 0 }, 1, &(size_t){ 0 }), STATUS_SYSTEM);
    close(fds[1]);
}

static void client_that_leaves_in_the_handshake_is_reported_once(void **state)
{
    struct fixture *f = *state;
    int fd;

    probe_take(&f->accepted, pair_accepted(f->loop, f->server, &fd));
    close(fd);
    assert_true(run_until(f->loop, probe_is_open, &f->accepted));
    run_ms(f->loop, 20);
    assert_int_equal(f->accepted.open_count, 1);
    assert_int_equal(f->accepted.open_status, STATUS_AGENT_UNREACHABLE);
}

static void sni_selects_the_certificate(void **state)
{
    static const struct {
        const char *sent, *common_name;
    } rows[] = { { "a.example", "a.example" },
                 { "B.Example", "b.example" },
                 { "x.wild.example", "a.example" },
                 { "unknown.example", "a.example" } };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct raw raw;
        char name[64];

        f->accepted = (struct probe){ 0 };
        dial_raw(f, &raw);
        SSL_set_tlsext_host_name(raw.ssl, rows[i].sent);
        assert_true(shake_raw(f, &raw));
        X509_NAME_get_text_by_NID(X509_get_subject_name(SSL_get0_peer_certificate(raw.ssl)),
                                  NID_commonName, name, sizeof(name));
        assert_string_equal(name, rows[i].common_name);
        assert_true(
            slice_equal_nocase(f->accepted.conn->tls.server_name, slice_from_string(rows[i].sent)));
        probe_deinit(&f->accepted);
        close_raw(&raw);
    }
}

static void client_checks_chain_and_name(void **state)
{
    static const struct {
        const char *expected;
        enum status status;
    } rows[] = { { "a.example", STATUS_OK },           { "x.wild.example", STATUS_OK },
                 { "127.0.0.1", STATUS_OK },           { "", STATUS_OK },
                 { "wild.example", STATUS_MALFORMED }, { "127.0.0.2", STATUS_MALFORMED },
                 { "b.example", STATUS_MALFORMED } /* another certificate, not trusted */ };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct probe client = { 0 };

        f->accepted = (struct probe){ 0 };
        dial(f, &client, f->client, slice_from_string(rows[i].expected));
        assert_true(run_until(f->loop, probe_is_open, &client));
        assert_int_equal(client.open_status, rows[i].status);
        probe_deinit(&client);
        run_ms(f->loop, 10);
        probe_deinit(&f->accepted);
    }
}

static void mutual_tls_admits_only_the_known_client(void **state)
{
    struct fixture *f = *state;
    struct tls_certificate certificate = { f->main_files.certificate_file, f->main_files.key_file };
    struct tls_server_options server = { .certificates = &certificate,
                                         .certificate_count = 1,
                                         .client_ca_file = f->other_files.certificate_file };
    struct tls_client_options client = { .ca_file = f->main_files.certificate_file,
                                         .certificate_file = f->other_files.certificate_file,
                                         .key_file = f->other_files.key_file };
    struct tls_context *asks = NULL, *known = NULL;

    assert_int_equal(tls_context_create_server(&server, NULL, &asks), STATUS_OK);
    assert_int_equal(tls_context_create_client(&client, NULL, &known), STATUS_OK);
    listener_set_tls(f->listener, asks);
    for (unsigned i = 0; i < 2; i++) {
        struct probe probe = { 0 };

        f->accepted = (struct probe){ 0 };
        dial(f, &probe, i == 0 ? known : f->client, SLICE("a.example"));
        assert_true(run_until(f->loop, probe_is_open, &f->accepted) || f->accepted.open_count > 0);
        assert_int_equal(f->accepted.open_status, i == 0 ? STATUS_OK : STATUS_MALFORMED);
        probe_deinit(&probe);
        probe_deinit(&f->accepted);
    }
    tls_context_unref(&asks);
    tls_context_unref(&known);
}

static void flood_of_key_updates_kills_the_conn(void **state)
{
    struct fixture *f = *state;
    struct raw raw;

    dial_raw(f, &raw);
    assert_true(shake_raw(f, &raw));
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(SSL_key_update(raw.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(raw.ssl), 1);
        loop_turn(f->loop, 0);
    }
    assert_int_equal(SSL_write(raw.ssl, "alive", 5), 5);
    assert_true(run_until(f->loop, has_bytes, &f->accepted));
    assert_int_equal(f->accepted.end, STATUS_OK);
    for (unsigned i = 0; i < 100 && f->accepted.end == STATUS_OK; i++) {
        (void)SSL_key_update(raw.ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
        (void)SSL_do_handshake(raw.ssl);
        loop_turn(f->loop, 0);
    }
    assert_true(run_until(f->loop, probe_has_ended, &f->accepted));
    assert_int_equal(f->accepted.end, STATUS_SYSTEM);
    f->accepted.out = SLICE("x");
    probe_write(&f->accepted);
    assert_int_equal(f->accepted.write_status, STATUS_SYSTEM);
    assert_int_equal(counter_read(&loop_counters(f->loop)->tls_floods), 1);
    close_raw(&raw);
}

static void tls12_works_and_renegotiation_does_not(void **state)
{
    struct fixture *f = *state;
    struct raw raw;

    dial_raw(f, &raw);
    SSL_set_max_proto_version(raw.ssl, TLS1_2_VERSION);
    assert_true(shake_raw(f, &raw));
    assert_string_equal(f->accepted.conn->tls.version, "TLSv1.2");
    (void)SSL_renegotiate(raw.ssl);
    for (unsigned i = 0; i < 20; i++) {
        (void)SSL_do_handshake(raw.ssl);
        loop_turn(f->loop, 1);
    }
    assert_int_equal(SSL_session_reused(raw.ssl), 0);
    assert_int_equal(SSL_num_renegotiations(raw.ssl) == 0 || SSL_renegotiate_pending(raw.ssl) ||
                         !SSL_is_init_finished(raw.ssl),
                     1);
    close_raw(&raw);
}

static void old_protocol_versions_are_refused(void **state)
{
    struct fixture *f = *state;
    struct raw raw;

    dial_raw(f, &raw);
    SSL_set_security_level(raw.ssl, 0);
    SSL_set_min_proto_version(raw.ssl, TLS1_VERSION);
    SSL_set_max_proto_version(raw.ssl, TLS1_1_VERSION);
    assert_false(shake_raw(f, &raw));
    assert_int_equal(f->accepted.open_status, STATUS_MALFORMED);
    close_raw(&raw);
}

static void session_tickets_outlive_a_reload(void **state)
{
    struct fixture *f = *state;
    SSL_SESSION *session = NULL;

    for (unsigned i = 0; i < 2; i++) {
        struct raw raw;
        char byte;

        f->accepted = (struct probe){ 0 };
        f->accepted.out = SLICE("x");
        dial_raw(f, &raw);
        if (session != NULL)
            SSL_set_session(raw.ssl, session);
        assert_true(shake_raw(f, &raw));
        assert_int_equal(SSL_session_reused(raw.ssl), i);
        assert_int_equal(f->accepted.conn->tls.resumed, i == 1);
        run_ms(f->loop, 5);
        assert_int_equal(SSL_read(raw.ssl, &byte, 1), 1); /* takes the tickets along */
        SSL_SESSION_free(session);
        session = SSL_get1_session(raw.ssl);
        (void)SSL_shutdown(raw.ssl); /* or OpenSSL takes the session for a bad one */
        probe_deinit(&f->accepted);
        close_raw(&raw);

        struct tls_certificate certificate = { f->main_files.certificate_file,
                                               f->main_files.key_file };
        struct tls_server_options server = { .certificates = &certificate,
                                             .certificate_count = 1,
                                             .offer_h2 = true };

        tls_context_unref(&f->server);
        assert_int_equal(tls_context_create_server(&server, NULL, &f->server), STATUS_OK);
    }
    SSL_SESSION_free(session);
}

static void destroying_inside_callbacks_is_allowed(void **state)
{
    struct fixture *f = *state;
    struct probe client = { .destroy_on_open = true };

    dial(f, &client, f->client, SLICE("a.example"));
    assert_true(run_until(f->loop, probe_is_open, &client));
    run_ms(f->loop, 20);
    assert_null(client.conn);
    probe_deinit(&f->accepted);

    struct probe again = { .out = SLICE("bytes") };

    f->accepted = (struct probe){ .destroy_on_read = true };
    open_both(f, &again);
    run_ms(f->loop, 20);
    assert_null(f->accepted.conn);
    probe_deinit(&again);
}

static void write_of_nothing_is_ok(void **state)
{
    struct fixture *f = *state;
    struct probe client = { 0 };
    struct slice empty[] = { SLICE_EMPTY, SLICE_EMPTY };
    size_t count = 1;

    open_both(f, &client);
    assert_int_equal(conn_write(client.conn, empty, 2, &count), STATUS_OK);
    assert_int_equal(count, 0);
    conn_shutdown(client.conn);
    conn_shutdown(client.conn);
    assert_int_equal(conn_write(client.conn, &SLICE("x"), 1, &count), STATUS_SYSTEM);
    probe_deinit(&client);
}

/* Writes until the transport is full. */
static size_t fill(struct conn *conn, struct slice all)
{
    size_t written = 0, count = 0;

    while (written < all.len) {
        struct slice left = slice_skip(all, written);

        if (conn_write(conn, &left, 1, &count) != STATUS_OK)
            break;
        written += count;
    }
    return written;
}

static void destroyed_conn_still_delivers_what_it_took(void **state)
{
    struct fixture *f = *state;
    char *bytes = random_bytes(BULK_BYTES);
    struct probe client = { .pause_bytes = 1 };
    struct slice all = slice_of(bytes, BULK_BYTES);
    size_t written;

    open_both(f, &client);
    client.out = SLICE("x");
    written = fill(f->accepted.conn, all);
    assert_in_range(written, 1, BULK_BYTES - 1);
    conn_shutdown(f->accepted.conn);
    conn_destroy(&f->accepted.conn);
    run_ms(f->loop, 20);
    client.pause_bytes = 0;
    client.chunk_bytes = 100000;
    conn_want_read(client.conn, true);
    assert_true(run_until(f->loop, probe_has_ended, &client));
    assert_int_equal(client.end, STATUS_CLOSED);
    assert_true(slice_equal(buf_slice(&client.in), slice_first(all, written)));
    probe_deinit(&client);
    mem_free(bytes);
}

static void loop_may_go_before_the_last_bytes(void **state)
{
    struct fixture *f = *state;
    char *bytes = random_bytes(BULK_BYTES);
    struct probe client = { .pause_bytes = 1 };

    open_both(f, &client);
    (void)fill(f->accepted.conn, slice_of(bytes, BULK_BYTES));
    conn_destroy(&f->accepted.conn);
    probe_deinit(&client);
    mem_free(bytes);
}

static void lingering_conn_delivers_what_was_written(void **state)
{
    struct fixture *f = *state;
    char *bytes = random_bytes(300000);
    struct probe client = { .pause_bytes = 1 };
    struct slice all = slice_of(bytes, 300000);
    size_t written;

    f->accepted.pause_bytes = 1;
    client.out = SLICE("unread request");
    open_both(f, &client);
    written = fill(f->accepted.conn, all);
    conn_linger(&f->accepted.conn);
    assert_null(f->accepted.conn);
    run_ms(f->loop, 20);
    client.pause_bytes = 0;
    conn_want_read(client.conn, true);
    assert_true(run_until(f->loop, probe_has_ended, &client));
    assert_int_equal(client.end, STATUS_CLOSED);
    assert_true(slice_equal(buf_slice(&client.in), slice_first(all, written)));
    probe_deinit(&client);
    run_ms(f->loop, 20);
    mem_free(bytes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(both_sides_know_what_was_agreed),
        TEST(ten_megabytes_both_ways_with_a_slow_reader),
        TEST(paused_reader_stops_the_writer_and_nothing_spins),
        TEST(bytes_inside_openssl_are_told_though_the_socket_is_quiet),
        TEST(pausing_holds_back_bytes_inside_openssl),
        TEST(half_close_leaves_the_other_direction_open),
        TEST(fin_without_close_notify_is_an_error),
        TEST(nothing_is_read_behind_close_notify),
        TEST(every_byte_may_come_alone),
        TEST(no_common_alpn_is_refused_with_the_alert),
        TEST(plain_http_on_a_tls_port_is_malformed),
        TEST(silent_client_is_timed_out),
        TEST(client_that_leaves_in_the_handshake_is_reported_once),
        TEST(sni_selects_the_certificate),
        TEST(client_checks_chain_and_name),
        TEST(mutual_tls_admits_only_the_known_client),
        TEST(flood_of_key_updates_kills_the_conn),
        TEST(tls12_works_and_renegotiation_does_not),
        TEST(old_protocol_versions_are_refused),
        TEST(session_tickets_outlive_a_reload),
        TEST(destroying_inside_callbacks_is_allowed),
        TEST(write_of_nothing_is_ok),
        TEST(destroyed_conn_still_delivers_what_it_took),
        TEST(loop_may_go_before_the_last_bytes),
        TEST(lingering_conn_delivers_what_was_written),
    };

    signal(SIGPIPE, SIG_IGN); /* the raw side uses write() */
    int failed = cmocka_run_group_tests_name("one by one", tests, NULL, NULL);
    gathers = true;
    return failed + cmocka_run_group_tests_name("gathered", tests, NULL, NULL);
}
