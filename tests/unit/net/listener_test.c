/* tests/unit/net/listener_test.c — accepting, its pauses, Unix sockets and PROXY headers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/log.h"
#include "base/mem.h"
#include "net_fixture.h"

enum { PROBES = 64 };

struct fixture {
    char folder[64];
    struct loop *loop;
    struct listener *listener;
    struct listener_options options;
    struct probe probes[PROBES];
    unsigned count;
    bool stop_on_conn;
};

static void on_conn(void *owner, struct conn *conn)
{
    struct fixture *f = owner;

    assert_true(f->count < PROBES);
    probe_take(&f->probes[f->count++], conn);
    if (f->stop_on_conn)
        listener_stop(f->listener);
}

static int set_up(void **state)
{
    struct fixture *f = mem_zeroed(sizeof(*f));

    folder_make(f->folder, sizeof(f->folder));
    f->options = (struct listener_options){ .max_conns = 40, .inherited_fd = -1 };
    assert_int_equal(loop_create(&f->loop), STATUS_OK);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < f->count; i++)
        probe_deinit(&f->probes[i]);
    listener_destroy(&f->listener);
    listener_destroy(&f->listener);
    loop_destroy(&f->loop);
    folder_remove(f->folder);
    mem_free(f);
    return 0;
}

static enum status listen_on(struct fixture *f, const char *address)
{
    assert_int_equal(address_parse(slice_from_string(address), &f->options.address), STATUS_OK);
    return listener_create(f->loop, &f->options, on_conn, f, &f->listener);
}

static int dial(struct fixture *f)
{
    const struct address *to = listener_address(f->listener);
    int fd = socket(to->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (const struct sockaddr *)&to->storage, to->len), 0);
    return fd;
}

static bool first_is_open(void *arg)
{
    struct fixture *f = arg;

    return f->count > 0 && f->probes[0].open_count > 0;
}

static void accepts_on_ipv4_ipv6_and_unix_sockets(void **state)
{
    struct fixture *f = *state;
    char unix_text[100];
    const char *const texts[] = { "127.0.0.1:0", "[::1]:0", unix_text };
    const char *const hosts[] = { "127.0.0.1", "::1", "unix" };
    char text[ADDRESS_TEXT_BYTES];

    snprintf(unix_text, sizeof(unix_text), "unix:%s/s", f->folder);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(listen_on(f, texts[i]), STATUS_OK);

        int fd = dial(f);

        assert_true(run_until(f->loop, first_is_open, f));
        assert_int_equal(f->probes[0].open_status, STATUS_OK);
        assert_string_equal(address_host_text(&f->probes[0].conn->peer, text), hosts[i]);
        assert_int_equal(listener_conn_count(f->listener), 1);
        probe_deinit(&f->probes[0]);
        listener_conn_closed(f->listener);
        f->probes[0] = (struct probe){ 0 };
        f->count = 0;
        listener_destroy(&f->listener);
        close(fd);
    }
}

static void dual_stack_socket_shows_plain_ipv4_peers(void **state)
{
    struct fixture *f = *state;
    struct address to;
    char text[ADDRESS_TEXT_BYTES];
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(listen_on(f, "*:0"), STATUS_OK);
    assert_int_equal(address_parse(SLICE("127.0.0.1:0"), &to), STATUS_OK);
    address_set_port(&to, address_port(listener_address(f->listener)));
    assert_int_equal(connect(fd, (struct sockaddr *)&to.storage, to.len), 0);
    assert_true(run_until(f->loop, first_is_open, f));
    assert_int_equal(f->probes[0].conn->peer.storage.ss_family, AF_INET);
    assert_string_equal(address_host_text(&f->probes[0].conn->peer, text), "127.0.0.1");
    close(fd);
}

static void taken_port_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct listener *second = NULL;

    assert_int_equal(listen_on(f, "127.0.0.1:0"), STATUS_OK);
    f->options.address = *listener_address(f->listener);
    log_set_level(LOG_ERROR + 1);
    assert_int_equal(listener_create(f->loop, &f->options, on_conn, f, &second), STATUS_SYSTEM);
    log_set_level(LOG_INFO);
}

static void reuse_port_lets_workers_share_a_port(void **state)
{
    struct fixture *f = *state;
    struct listener *second = NULL;

    f->options.reuse_port = true;
    assert_int_equal(listen_on(f, "127.0.0.1:0"), STATUS_OK);
    f->options.address = *listener_address(f->listener);
    assert_int_equal(listener_create(f->loop, &f->options, on_conn, f, &second), STATUS_OK);
    listener_destroy(&second);
}

static void unix_path_is_taken_over_when_stale_and_only_then(void **state)
{
    struct fixture *f = *state;
    struct listener *second = NULL;
    char text[120], path[100];
    struct stat info;

    snprintf(path, sizeof(path), "%s/s", f->folder);
    snprintf(text, sizeof(text), "unix:%s", path);
    f->options.unix_mode = 0600;
    assert_int_equal(listen_on(f, text), STATUS_OK);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);

    log_set_level(LOG_ERROR + 1);
    assert_int_equal(listener_create(f->loop, &f->options, on_conn, f, &second), STATUS_SYSTEM);
    listener_destroy(&f->listener); /* leaves the path, as a crash does */
    f->options.unix_mode = 0666;
    assert_int_equal(listen_on(f, text), STATUS_OK);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0666);
    listener_destroy(&f->listener);
    unlink(path);
    close(open(path, O_CREAT | O_WRONLY, 0600)); /* a file that is no socket stays */
    assert_int_equal(listen_on(f, text), STATUS_SYSTEM);
    log_set_level(LOG_INFO);
    assert_int_equal(stat(path, &info), 0);
}

static void inherited_socket_is_used(void **state)
{
    struct fixture *f = *state;
    struct listener *second = NULL;

    assert_int_equal(listen_on(f, "127.0.0.1:0"), STATUS_OK);
    f->options.inherited_fd = dup(listener_fd(f->listener));
    assert_int_equal(listener_create(f->loop, &f->options, on_conn, f, &second), STATUS_OK);
    assert_true(address_equal(listener_address(second), listener_address(f->listener)));
    listener_stop(f->listener);
    assert_int_equal(listener_fd(f->listener), -1);

    int fd = dial(f);

    assert_true(run_until(f->loop, first_is_open, f));
    listener_destroy(&second);
    close(fd);
}

static void limit_pauses_without_spinning_and_resumes_at_95_percent(void **state)
{
    struct fixture *f = *state;
    int fds[50];

    assert_int_equal(listen_on(f, "127.0.0.1:0"), STATUS_OK);
    for (size_t i = 0; i < 50; i++)
        fds[i] = dial(f);
    run_ms(f->loop, 50);
    assert_int_equal(f->count, 40);
    assert_true(busy_turns(f->loop, 50) <= 2);
    probe_deinit(&f->probes[0]);
    listener_conn_closed(f->listener);
    run_ms(f->loop, 20);
    assert_int_equal(f->count, 40);
    probe_deinit(&f->probes[1]);
    listener_conn_closed(f->listener);
    run_ms(f->loop, 20);
    assert_int_equal(f->count, 42);
    for (size_t i = 0; i < 50; i++)
        close(fds[i]);
}

static void listeners_of_a_group_share_one_limit(void **state)
{
    struct fixture *f = *state;
    struct listener_group group;
    struct listener *second = NULL;
    struct listener *first;
    int fds[8];

    listener_group_init(&group, 4);
    f->options.group = &group;
    assert_int_equal(listen_on(f, "127.0.0.1:0"), STATUS_OK);
    first = f->listener;
    assert_int_equal(listener_create(f->loop, &f->options, on_conn, f, &second), STATUS_OK);
    log_set_level(LOG_ERROR);
    for (size_t i = 0; i < 8; i++) {
        f->listener = i % 2 == 0 ? first : second;
        fds[i] = dial(f);
        run_ms(f->loop, 5);
    }
    f->listener = first;
    assert_int_equal(f->count, 4);
    assert_int_equal(listener_conn_count(first) + listener_conn_count(second), 4);
    assert_int_equal(counter_read(&group.full), 1);
    assert_true(busy_turns(f->loop, 30) <= 2);

    probe_deinit(&f->probes[0]);
    listener_conn_closed(first); /* and the other one accepts again, too */
    run_ms(f->loop, 20);
    assert_int_equal(f->count, 5);
    assert_int_equal(counter_read(&group.full), 2);
    listener_group_set_limit(&group, 100);
    run_ms(f->loop, 20);
    assert_int_equal(f->count, 8);
    log_set_level(LOG_INFO);
    for (size_t i = 0; i < 8; i++)
        close(fds[i]);
    listener_destroy(&second);
    listener_destroy(&f->listener);
    assert_int_equal(group.conn_count, 0);
}

static void no_descriptors_left_pauses_without_spinning(void **state)
{
    struct fixture *f = *state;
    struct rlimit before, small;
    struct listener_group group;
    int fd, probe;

    listener_group_init(&group, 40);
    f->options.group = &group;
    assert_int_equal(listen_on(f, "127.0.0.1:0"), STATUS_OK);
    run_ms(f->loop, 5);
    fd = dial(f);
    probe = dup(fd); /* the lowest free descriptor */
    close(probe);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    small = before;
    small.rlim_cur = (rlim_t)probe;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &small), 0);
    log_set_level(LOG_ERROR + 1);

    unsigned turns = busy_turns(f->loop, 350);
    unsigned count = f->count;

    log_set_level(LOG_INFO);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(count, 0);
    assert_true(turns <= 20);
    assert_true(counter_read(&group.exhausted) >= 3);
    assert_true(run_until(f->loop, first_is_open, f)); /* and goes on by itself */
    close(fd);
    listener_destroy(&f->listener);
}

static void listener_may_be_stopped_inside_on_conn(void **state)
{
    struct fixture *f = *state;
    int one, two;

    assert_int_equal(listen_on(f, "127.0.0.1:0"), STATUS_OK);
    f->stop_on_conn = true;
    one = dial(f);
    two = dial(f);
    run_ms(f->loop, 30);
    assert_int_equal(f->count, 1);
    assert_int_equal(f->probes[0].open_status, STATUS_OK);
    close(one);
    close(two);
}

/* ---- PROXY protocol ---- */

static struct network loopback(void)
{
    struct network network;

    assert_int_equal(network_parse(SLICE("127.0.0.0/8"), &network), STATUS_OK);
    return network;
}

static bool first_has_bytes(void *arg)
{
    return ((struct fixture *)arg)->probes[0].in.len > 0;
}

static void announced_address_is_the_peer_and_no_byte_is_lost(void **state)
{
    struct fixture *f = *state;
    struct network trusted = loopback();
    const char *header = "PROXY TCP4 192.0.2.7 127.0.0.1 4711 443\r\nGET";
    char text[ADDRESS_TEXT_BYTES];

    f->options.proxy_protocol = true;
    f->options.proxy_protocol_from = &trusted;
    f->options.proxy_protocol_from_count = 1;
    assert_int_equal(listen_on(f, "127.0.0.1:0"), STATUS_OK);

    int fd = dial(f);

    for (const char *c = header; *c != '\0'; c++) { /* a byte at a time, without spinning */
        assert_int_equal(write(fd, c, 1), 1);
        loop_turn(f->loop, 10);
    }
    assert_true(run_until(f->loop, first_has_bytes, f));
    run_ms(f->loop, 10);
    assert_string_equal(address_text(&f->probes[0].conn->peer, text), "192.0.2.7:4711");
    assert_true(slice_equal(buf_slice(&f->probes[0].in), SLICE("GET")));
    assert_int_equal(f->probes[0].open_count, 1);
    close(fd);
}

static void half_a_header_does_not_spin(void **state)
{
    struct fixture *f = *state;
    struct network trusted = loopback();

    f->options.proxy_protocol = true;
    f->options.proxy_protocol_from = &trusted;
    f->options.proxy_protocol_from_count = 1;
    assert_int_equal(listen_on(f, "127.0.0.1:0"), STATUS_OK);

    int fd = dial(f);

    assert_int_equal(write(fd, "PROXY TCP4 ", 11), 11);
    run_ms(f->loop, 20);
    assert_true(busy_turns(f->loop, 50) <= 2);
    assert_int_equal(f->probes[0].open_count, 0);
    assert_int_equal(write(fd, "nonsense\r\n", 10), 10);
    assert_true(run_until(f->loop, first_is_open, f));
    assert_int_equal(f->probes[0].open_status, STATUS_MALFORMED);
    close(fd);
}

static void missing_header_is_malformed_and_a_leaving_proxy_is_unreachable(void **state)
{
    struct fixture *f = *state;
    struct network trusted = loopback();

    f->options.proxy_protocol = true;
    f->options.proxy_protocol_from = &trusted;
    f->options.proxy_protocol_from_count = 1;
    assert_int_equal(listen_on(f, "127.0.0.1:0"), STATUS_OK);

    int one = dial(f), two = dial(f);

    assert_int_equal(write(one, "GET / HTTP/1.1\r\n", 16), 16);
    close(two);
    run_ms(f->loop, 50);
    assert_int_equal(f->probes[0].open_status, STATUS_MALFORMED);
    assert_int_equal(f->probes[1].open_count, 1);
    assert_int_equal(f->probes[1].open_status, STATUS_AGENT_UNREACHABLE);
    close(one);
}

static void header_that_never_comes_is_timed_out(void **state)
{
    struct fixture *f = *state;
    struct network trusted = loopback();

    f->options.proxy_protocol = true;
    f->options.proxy_protocol_from = &trusted;
    f->options.proxy_protocol_from_count = 1;
    f->options.proxy_protocol_timeout_ms = 30;
    assert_int_equal(listen_on(f, "127.0.0.1:0"), STATUS_OK);

    int fd = dial(f);

    assert_true(run_until(f->loop, first_is_open, f));
    assert_int_equal(f->probes[0].open_status, STATUS_AGENT_TIMED_OUT);
    close(fd);
}

static void strangers_are_closed_unheard(void **state)
{
    struct fixture *f = *state;
    struct network trusted;
    struct listener_group group;
    char byte;

    listener_group_init(&group, PROBES);
    f->options.group = &group;
    assert_int_equal(network_parse(SLICE("10.0.0.0/8"), &trusted), STATUS_OK);
    f->options.proxy_protocol = true;
    f->options.proxy_protocol_from = &trusted;
    f->options.proxy_protocol_from_count = 1;
    assert_int_equal(listen_on(f, "127.0.0.1:0"), STATUS_OK);

    int fd = dial(f);

    log_set_level(LOG_ERROR);
    run_ms(f->loop, 30);
    log_set_level(LOG_INFO);
    assert_int_equal(f->count, 0);
    assert_int_equal(counter_read(&group.strangers), 1);
    assert_int_equal(listener_conn_count(f->listener), 0);
    assert_int_equal(read(fd, &byte, 1), 0);
    close(fd);
    listener_destroy(&f->listener);
}

static void announced_over_tls_comes_before_the_handshake(void **state)
{
    static const char *const names[] = { "a.example", NULL };
    struct fixture *f = *state;
    struct test_certificate files;
    struct tls_context *server = NULL;

    certificate_make(&files, f->folder, "a", names);

    struct tls_certificate certificate = { files.certificate_file, files.key_file };
    struct tls_server_options options = { .certificates = &certificate, .certificate_count = 1 };
    struct network trusted = loopback();

    assert_int_equal(tls_context_create_server(&options, NULL, &server), STATUS_OK);
    f->options.tls = server;
    f->options.handshake_timeout_ms = 50;
    f->options.proxy_protocol = true;
    f->options.proxy_protocol_from = &trusted;
    f->options.proxy_protocol_from_count = 1;
    assert_int_equal(listen_on(f, "127.0.0.1:0"), STATUS_OK);

    int fd = dial(f);

    assert_int_equal(write(fd, "PROXY UNKNOWN\r\n", 15), 15);
    assert_true(run_until(f->loop, first_is_open, f)); /* the handshake's own deadline */
    assert_int_equal(f->probes[0].open_status, STATUS_AGENT_TIMED_OUT);
    tls_context_unref(&server);
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(accepts_on_ipv4_ipv6_and_unix_sockets),
        TEST(dual_stack_socket_shows_plain_ipv4_peers),
        TEST(taken_port_is_an_error),
        TEST(reuse_port_lets_workers_share_a_port),
        TEST(unix_path_is_taken_over_when_stale_and_only_then),
        TEST(inherited_socket_is_used),
        TEST(limit_pauses_without_spinning_and_resumes_at_95_percent),
        TEST(listeners_of_a_group_share_one_limit),
        TEST(no_descriptors_left_pauses_without_spinning),
        TEST(listener_may_be_stopped_inside_on_conn),
        TEST(announced_address_is_the_peer_and_no_byte_is_lost),
        TEST(half_a_header_does_not_spin),
        TEST(missing_header_is_malformed_and_a_leaving_proxy_is_unreachable),
        TEST(header_that_never_comes_is_timed_out),
        TEST(strangers_are_closed_unheard),
        TEST(announced_over_tls_comes_before_the_handshake),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
