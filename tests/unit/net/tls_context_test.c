/* tests/unit/net/tls_context_test.c — certificates by name, ticket keys, files that are wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include <openssl/ssl.h>

#include "base/mem.h"
#include "net/tls_context_internal.h"
#include "net_fixture.h"

struct fixture {
    char folder[64];
    struct test_certificate one, two;
};

static int set_up(void **state)
{
    static const char *const one[] = { "Exec.Example", "*.ports.example", "::1", NULL };
    static const char *const two[] = { "api.ports.example", "*.other.example", NULL };
    struct fixture *f = mem_zeroed(sizeof(*f));

    folder_make(f->folder, sizeof(f->folder));
    certificate_make(&f->one, f->folder, "one", one);
    certificate_make(&f->two, f->folder, "two", two);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    folder_remove(f->folder);
    mem_free(f);
    return 0;
}

static void write_file(const char *path, const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_int_equal(write(fd, bytes, len), len);
    close(fd);
}

static enum status create(struct fixture *f, const char *ticket_key_file, struct buf *error,
                          struct tls_context **out_context)
{
    struct tls_certificate certificates[] = { { f->one.certificate_file, f->one.key_file },
                                              { f->two.certificate_file, f->two.key_file } };
    struct tls_server_options options = { .certificates = certificates,
                                          .certificate_count = 2,
                                          .ticket_key_file = ticket_key_file };

    return tls_context_create_server(&options, error, out_context);
}

static void covers_exact_names_and_one_label_of_a_wildcard(void **state)
{
    static const struct {
        const char *server_name, *host;
        bool covered;
    } rows[] = {
        { "exec.example", "exec.example", true },
        { "exec.example", "a.ports.example", true },
        { "exec.example", "a.b.ports.example", false },
        { "exec.example", "ports.example", false },
        { "exec.example", ".ports.example", false },
        { "exec.example", "exec.example.evil", false },
        { "exec.example", "a.other.example", false },
        { "exec.example", "::1", true },
        { "exec.example", "", false },
        { "", "exec.example", true },
        { "nobody.example", "exec.example", true }, /* the first is the default */
        { "x.other.example", "y.other.example", true },
        { "x.other.example", "exec.example", false },
        { "api.ports.example", "api.ports.example", true }, /* exact before wildcard */
        { "api.ports.example", "x.ports.example", false },
        { "x.ports.example", "api.ports.example", true },
    };
    struct fixture *f = *state;
    struct tls_context *context = NULL;

    assert_int_equal(create(f, NULL, NULL, &context), STATUS_OK);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(tls_context_covers(context, slice_from_string(rows[i].server_name),
                                            slice_from_string(rows[i].host)),
                         rows[i].covered);
    tls_context_unref(&context);
    assert_null(context);
    tls_context_unref(&context);
}

static void long_hosts_are_covered_by_nothing(void **state)
{
    struct fixture *f = *state;
    struct tls_context *context = NULL;
    char host[1000];

    memset(host, 'a', sizeof(host));
    memcpy(host + sizeof(host) - 14, ".ports.example", 14);
    assert_int_equal(create(f, NULL, NULL, &context), STATUS_OK);
    assert_false(
        tls_context_covers(context, slice_of(host, sizeof(host)), slice_of(host, sizeof(host))));
    tls_context_unref(&context);
}

static void the_last_reference_frees(void **state)
{
    struct fixture *f = *state;
    struct tls_context *context = NULL, *again;

    assert_int_equal(create(f, NULL, NULL, &context), STATUS_OK);
    again = tls_context_ref(context);
    tls_context_unref(&context);
    assert_true(tls_context_covers(again, SLICE_EMPTY, SLICE("exec.example")));
    tls_context_unref(&again);
}

/* An idle connection holds no record buffers: 48 KiB of OpenSSL's otherwise (SECURITY.md). */
static void sessions_of_both_roles_give_idle_buffers_back(void **state)
{
    struct fixture *f = *state;
    struct tls_context *contexts[2] = { NULL, NULL };
    struct tls_client_options client = { .ca_file = f->one.certificate_file };

    assert_int_equal(create(f, NULL, NULL, &contexts[0]), STATUS_OK);
    assert_int_equal(tls_context_create_client(&client, NULL, &contexts[1]), STATUS_OK);
    for (size_t i = 0; i < 2; i++) {
        SSL *session = tls_context_session(contexts[i], SLICE_EMPTY);

        assert_int_equal(SSL_get_mode(session) & SSL_MODE_RELEASE_BUFFERS,
                         SSL_MODE_RELEASE_BUFFERS);
        SSL_free(session);
        tls_context_unref(&contexts[i]);
    }
}

static void wrong_files_are_named(void **state)
{
    struct fixture *f = *state;
    struct tls_context *context = NULL;
    struct buf error = { 0 };
    struct tls_certificate mixed = { f->one.certificate_file, f->two.key_file };
    struct tls_server_options server = { .certificates = &mixed, .certificate_count = 1 };
    struct tls_client_options client = { .ca_file = "/nonexistent/ca.pem" };

    assert_int_equal(tls_context_create_server(&server, &error, &context), STATUS_CONFIG_INVALID);
    assert_non_null(strstr(buf_text(&error), "two.key: "));
    buf_clear(&error);
    mixed.certificate_file = "/nonexistent/x.pem";
    assert_int_equal(tls_context_create_server(&server, &error, &context), STATUS_CONFIG_INVALID);
    assert_non_null(strstr(buf_text(&error), "/nonexistent/x.pem: "));
    buf_clear(&error);
    mixed = (struct tls_certificate){ f->one.certificate_file, f->one.key_file };
    server.client_ca_file = f->one.key_file;
    assert_int_equal(tls_context_create_server(&server, &error, &context), STATUS_CONFIG_INVALID);
    assert_non_null(strstr(buf_text(&error), "one.key: "));
    buf_clear(&error);
    assert_int_equal(tls_context_create_client(&client, &error, &context), STATUS_CONFIG_INVALID);
    assert_non_null(strstr(buf_text(&error), "/nonexistent/ca.pem: "));
    assert_int_equal(tls_context_create_client(&client, NULL, &context), STATUS_CONFIG_INVALID);
    buf_deinit(&error);
}

static void ticket_keys_have_48_or_80_bytes(void **state)
{
    static const struct {
        size_t len;
        enum status status;
    } rows[] = { { 0, STATUS_CONFIG_INVALID },
                 { 47, STATUS_CONFIG_INVALID },
                 { 48, STATUS_OK },
                 { 80, STATUS_OK },
                 { 81, STATUS_CONFIG_INVALID },
                 { 96, STATUS_OK },
                 { 160, STATUS_OK },
                 { 240, STATUS_OK },
                 { 32 * 80, STATUS_OK },
                 { 33 * 80, STATUS_CONFIG_INVALID },
                 { 100000, STATUS_CONFIG_INVALID } };
    static const char bytes[100000];
    struct fixture *f = *state;
    char path[128];

    snprintf(path, sizeof(path), "%s/tickets", f->folder);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tls_context *context = NULL;
        struct buf error = { 0 };

        write_file(path, bytes, rows[i].len);
        assert_int_equal(create(f, path, &error, &context), rows[i].status);
        assert_true((error.len == 0) == (rows[i].status == STATUS_OK));
        tls_context_unref(&context);
        buf_deinit(&error);
    }
    assert_int_equal(create(f, "/nonexistent/keys", NULL, &(struct tls_context *){ NULL }),
                     STATUS_CONFIG_INVALID);
}

static unsigned ticket_count;

static int on_ticket(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    (void)session;
    ticket_count++;
    return 0;
}

/* Handshake in memory; returns the server's view of resumption. */
static bool shake(struct tls_context *context, SSL_CTX *client_ctx, SSL_SESSION **session)
{
    SSL *server = tls_context_session(context, SLICE_EMPTY), *client = SSL_new(client_ctx);
    BIO *left, *right;
    char byte;

    BIO_new_bio_pair(&left, 65536, &right, 65536);
    SSL_set_bio(server, left, left);
    SSL_set_bio(client, right, right);
    SSL_set_connect_state(client);
    if (*session != NULL)
        SSL_set_session(client, *session);
    for (unsigned i = 0; i < 10; i++) {
        (void)SSL_do_handshake(client);
        (void)SSL_do_handshake(server);
    }
    assert_true(SSL_is_init_finished(server) && SSL_is_init_finished(client));
    assert_int_equal(SSL_read(client, &byte, 1), -1); /* takes the ticket */

    bool resumed = SSL_session_reused(server) == 1;

    SSL_SESSION_free(*session);
    *session = SSL_get1_session(client);
    SSL_shutdown(client);
    SSL_free(client);
    SSL_free(server);
    return resumed;
}

/* A ticket costs a tenth of a handshake, and OpenSSL's default are two; a client of TLS 1.3 uses each once, so
 * a resumed session gets the next one. */
static void each_handshake_gives_one_ticket(void **state)
{
    struct fixture *f = *state;
    SSL_CTX *client = SSL_CTX_new(TLS_client_method());
    SSL_SESSION *session = NULL;
    struct tls_context *context;

    assert_int_equal(create(f, NULL, NULL, &context), STATUS_OK);
    SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT);
    SSL_CTX_sess_set_new_cb(client, on_ticket);
    ticket_count = 0;
    assert_false(shake(context, client, &session));
    assert_int_equal(ticket_count, 1);
    assert_true(shake(context, client, &session));
    assert_int_equal(ticket_count, 2);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    tls_context_unref(&context);
}

static void rotated_ticket_keys_still_decrypt(void **state)
{
    struct fixture *f = *state;
    SSL_CTX *client = SSL_CTX_new(TLS_client_method());
    SSL_SESSION *session = NULL;
    unsigned char keys[3 * 48];
    char path[128];
    struct tls_context *context = NULL;

    for (size_t i = 0; i < sizeof(keys); i++)
        keys[i] = (unsigned char)(i * 7 + i / 48);
    snprintf(path, sizeof(path), "%s/tickets", f->folder);

    write_file(path, keys + 48, 48); /* the old key alone */
    assert_int_equal(create(f, path, NULL, &context), STATUS_OK);
    assert_false(shake(context, client, &session));
    tls_context_unref(&context);

    write_file(path, keys, 96); /* a new one before it */
    assert_int_equal(create(f, path, NULL, &context), STATUS_OK);
    assert_true(shake(context, client, &session));
    assert_true(shake(context, client, &session));
    tls_context_unref(&context);

    write_file(path, keys + 48, 96); /* the new one is unknown here */
    assert_int_equal(create(f, path, NULL, &context), STATUS_OK);
    assert_false(shake(context, client, &session));
    tls_context_unref(&context);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
}

static void self_signed_key_is_for_the_owner_alone(void **state)
{
    static const char *const bad[][2] = { { "a,IP:1.2.3.4", NULL }, { "", NULL }, { "a b", NULL } };
    struct fixture *f = *state;
    struct stat info;

    assert_int_equal(stat(f->one.key_file, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(tls_write_self_signed(f->one.certificate_file, f->one.key_file, bad[i], 1),
                         STATUS_CONFIG_INVALID);
    assert_int_equal(tls_write_self_signed("/nonexistent/a", "/nonexistent/b",
                                           (const char *const[]){ "a.example" }, 1),
                     STATUS_SYSTEM);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(covers_exact_names_and_one_label_of_a_wildcard),
        TEST(long_hosts_are_covered_by_nothing),
        TEST(the_last_reference_frees),
        TEST(sessions_of_both_roles_give_idle_buffers_back),
        TEST(wrong_files_are_named),
        TEST(ticket_keys_have_48_or_80_bytes),
        TEST(each_handshake_gives_one_ticket),
        TEST(rotated_ticket_keys_still_decrypt),
        TEST(self_signed_key_is_for_the_owner_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
