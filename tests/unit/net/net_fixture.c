/* tests/unit/net/net_fixture.c — see net_fixture.h. */
#include "net_fixture.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/mem.h"

static void on_open(void *owner, enum status status)
{
    struct probe *p = owner;

    p->open_count++;
    p->open_status = status;
    if (p->destroy_on_open)
        conn_destroy(&p->conn);
    else if (status == STATUS_OK && p->out.len > 0)
        probe_write(p);
}

static void on_readable(void *owner)
{
    struct probe *p = owner;
    size_t count = 0;

    p->readable_count++;
    if (p->destroy_on_read) {
        conn_destroy(&p->conn);
        return;
    }

    enum status status =
        conn_read(p->conn, buf_reserve(&p->in, p->chunk_bytes), p->chunk_bytes, &count);

    if (status == STATUS_OK) {
        assert_in_range(count, 1, p->chunk_bytes);
        buf_commit(&p->in, count);
    } else if (status != STATUS_AGAIN) {
        p->end = status;
    }
    if (p->pause_bytes > 0 && p->in.len >= p->pause_bytes)
        conn_want_read(p->conn, false);
}

static void on_writable(void *owner)
{
    struct probe *p = owner;

    p->writable_count++;
    probe_write(p);
}

const struct conn_events probe_events = { on_open, on_readable, on_writable };

void probe_take(struct probe *probe, struct conn *conn)
{
    probe->conn = conn;
    if (probe->chunk_bytes == 0)
        probe->chunk_bytes = 4096;
    conn_set_owner(conn, &probe_events, probe);
    conn_want_read(conn, true);
}

/* In pieces of odd sizes, so that gathering has something to do. */
void probe_write(struct probe *p)
{
    static const size_t sizes[] = { 1, 17, 5000, 0, 40000, 3 };

    while (p->out.len > 0) {
        struct slice parts[6], left = p->out;
        size_t count = 0;

        for (size_t i = 0; i < 6; i++) {
            parts[i] = slice_first(left, sizes[i]);
            left = slice_skip(left, parts[i].len);
        }
        p->write_status = conn_write(p->conn, parts, 6, &count);
        if (p->write_status == STATUS_AGAIN)
            conn_want_write(p->conn);
        if (p->write_status != STATUS_OK)
            return;
        p->out = slice_skip(p->out, count);
    }
    if (p->shuts_down)
        conn_shutdown(p->conn);
}

void probe_deinit(struct probe *probe)
{
    conn_destroy(&probe->conn);
    buf_deinit(&probe->in);
}

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

bool run_until(struct loop *loop, bool (*holds)(void *arg), void *arg)
{
    uint64_t end_ms = now_ms() + 5000;

    while (!holds(arg) && now_ms() < end_ms)
        loop_turn(loop, 20);
    return holds(arg);
}

void run_ms(struct loop *loop, unsigned ms)
{
    uint64_t end_ms = now_ms() + ms;

    while (now_ms() < end_ms)
        loop_turn(loop, 5);
}

unsigned busy_turns(struct loop *loop, unsigned ms)
{
    uint64_t end_ms = now_ms() + ms;
    unsigned turns = 0;

    while (now_ms() < end_ms) {
        loop_turn(loop, (int)ms);
        turns++;
    }
    return turns - 1;
}

bool probe_is_open(void *probe)
{
    return ((struct probe *)probe)->open_count > 0;
}

bool probe_has_ended(void *probe)
{
    return ((struct probe *)probe)->end != STATUS_OK;
}

struct conn *pair_accepted(struct loop *loop, struct tls_context *tls, int *out_other)
{
    struct address peer = { .storage.ss_family = AF_UNIX, .len = sizeof(sa_family_t) };
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    *out_other = fds[1];
    return conn_accepted(loop, fds[0], &peer, tls, 2000);
}

char *folder_make(char *text, size_t size)
{
    snprintf(text, size, "/tmp/gateway-net-XXXXXX");
    assert_non_null(mkdtemp(text));
    return text;
}

void folder_remove(const char *folder)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL)
        (void)unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    assert_int_equal(rmdir(folder), 0);
}

void certificate_make(struct test_certificate *certificate, const char *folder, const char *name,
                      const char *const *names)
{
    size_t count = 0;

    while (names[count] != NULL)
        count++;
    snprintf(certificate->certificate_file, sizeof(certificate->certificate_file), "%s/%s.pem",
             folder, name);
    snprintf(certificate->key_file, sizeof(certificate->key_file), "%s/%s.key", folder, name);
    assert_int_equal(
        tls_write_self_signed(certificate->certificate_file, certificate->key_file, names, count),
        STATUS_OK);
}
