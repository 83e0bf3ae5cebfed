/* cli/admin_client.c — see admin_client.h. */
#include "cli/admin_client.h"

#include <errno.h>
#include <stdio.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/mem.h"

enum { TIMEOUT_S = 5, READ_BYTES = 65536, ANSWER_BYTES_MAX = 256 << 20 };

static int open_socket(const struct config *config)
{
    const struct address *to = &config->admin_address;
    const struct timeval timeout = { .tv_sec = TIMEOUT_S };
    int fd = socket(to->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char text[ADDRESS_TEXT_BYTES];

    if (fd >= 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    }
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&to->storage, to->len) == 0)
        return fd;
    fprintf(stderr, "exec-gateway: %s: %s: does the gateway run?\n", address_text(to, text),
            strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool send_request(int fd, const struct config *config, const char *method, const char *path)
{
    struct buf request = { 0 };
    bool is_sent = true;

    buf_printf(&request, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", method,
               path);
    if (strcmp(method, "POST") == 0)
        buf_append(&request, SLICE("Content-Length: 0\r\n"));
    if (config->admin_secret != NULL)
        buf_printf(&request, "Authorization: Bearer %s\r\n", config->admin_secret);
    buf_append(&request, SLICE("\r\n"));
    while (is_sent && request.len > 0) {
        ssize_t count = write(fd, buf_slice(&request).ptr, request.len);

        is_sent = count > 0;
        if (is_sent)
            buf_consume(&request, (size_t)count);
    }
    buf_deinit(&request);
    return is_sent;
}

static bool read_all(int fd, struct buf *into)
{
    ssize_t count;

    do {
        count = read(fd, buf_reserve(into, READ_BYTES), READ_BYTES);
        if (count > 0)
            buf_commit(into, (size_t)count);
    } while (count > 0 && into->len < ANSWER_BYTES_MAX);
    return count == 0;
}

/* "HTTP/1.1 200 OK …\r\n\r\nbody" */
static enum status take_apart(struct slice answer, unsigned *out_http, struct buf *out_body)
{
    const char *end = memmem(answer.ptr, answer.len, "\r\n\r\n", 4);
    uint64_t http;

    if (end == NULL || !slice_starts_with(answer, SLICE("HTTP/1.1 ")) || answer.len < 12 ||
        !slice_to_u64(slice_of(answer.ptr + 9, 3), &http))
        return STATUS_MALFORMED;
    *out_http = (unsigned)http;
    buf_append(out_body, slice_skip(answer, (size_t)(end + 4 - answer.ptr)));
    return STATUS_OK;
}

enum status admin_client_call(const struct config *config, const char *method, const char *path,
                              unsigned *out_http, struct buf *out_body)
{
    struct buf answer = { 0 };
    enum status status = STATUS_SYSTEM;
    int fd;

    if (config->admin_address.len == 0) {
        fprintf(stderr, "exec-gateway: %s has no admin.address\n", config->file);
        return STATUS_SYSTEM;
    }
    fd = open_socket(config);
    if (fd == -1)
        return STATUS_SYSTEM;
    if (send_request(fd, config, method, path) && read_all(fd, &answer))
        status = take_apart(buf_slice(&answer), out_http, out_body);
    if (status != STATUS_OK)
        fputs("exec-gateway: the admin listener gave no answer\n", stderr);
    close(fd);
    buf_deinit(&answer);
    return status;
}
