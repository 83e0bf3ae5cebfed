/* tests/load/facts.c — see the header. */
#include "facts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/buf.h"

enum { WAIT_US = 500000, ANSWER_MAX = 4 << 20 };

static bool read_proc(pid_t pid, struct facts *out)
{
    char path[64], text[1024];
    unsigned long user, system, pages;
    FILE *file;
    const char *after;
    size_t len;

    snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    file = fopen(path, "re");
    if (file == NULL)
        return false;
    len = fread(text, 1, sizeof(text) - 1, file);
    (void)fclose(file);
    text[len] = '\0';
    after = strrchr(text, ')');
    if (after == NULL || sscanf(after + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                                &user, &system) != 2)
        return false;
    snprintf(path, sizeof(path), "/proc/%ld/statm", (long)pid);
    file = fopen(path, "re");
    if (file == NULL)
        return false;
    len = fread(text, 1, sizeof(text) - 1, file);
    (void)fclose(file);
    text[len] = '\0';
    if (sscanf(text, "%*u %lu", &pages) != 1)
        return false;
    out->cpu_s = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
    out->rss_mib = (double)pages * (double)sysconf(_SC_PAGESIZE) / (1024 * 1024);
    return true;
}

static bool fetch(const struct facts_source *source, struct buf *into)
{
    struct timeval wait = { .tv_usec = WAIT_US };
    struct buf request = { 0 };
    int fd = socket(source->metrics.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_sent;
    ssize_t got;

    if (fd == -1)
        return false;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    buf_append(&request, SLICE("GET /metrics HTTP/1.0\r\nHost: localhost\r\n"));
    if (source->secret[0] != '\0')
        buf_printf(&request, "Authorization: Bearer %s\r\n", source->secret);
    buf_append(&request, SLICE("\r\n"));
    is_sent =
        connect(fd, (const struct sockaddr *)&source->metrics.storage, source->metrics.len) == 0 &&
        send(fd, buf_slice(&request).ptr, request.len, MSG_NOSIGNAL) == (ssize_t)request.len;
    do {
        got = is_sent ? read(fd, buf_reserve(into, 65536), 65536) : 0;
        if (got > 0)
            buf_commit(into, (size_t)got);
    } while (got > 0 && into->len < ANSWER_MAX);
    close(fd);
    buf_deinit(&request);
    return into->len > 0;
}

/* The first sample without labels whose name ends with `name`. */
static bool sample(const char *text, const char *name, double *out)
{
    size_t len = strlen(name);

    for (const char *line = strchr(text, '\n'); line != NULL; line = strchr(line, '\n')) {
        const char *space;

        line++;
        space = strpbrk(line, " \n");
        if (*line != '#' && space != NULL && *space == ' ' && (size_t)(space - line) >= len &&
            memcmp(space - len, name, len) == 0) {
            *out = strtod(space, NULL);
            return true;
        }
    }
    return false;
}

static bool read_metrics(const struct facts_source *source, struct facts *out)
{
    struct buf text = { 0 };
    double rss_bytes = 0;
    bool is_known = fetch(source, &text) &&
                    sample(buf_text(&text), "process_cpu_seconds_total", &out->cpu_s) &&
                    sample(buf_text(&text), "process_resident_memory_bytes", &rss_bytes);

    out->rss_mib = rss_bytes / (1024 * 1024);
    buf_deinit(&text);
    return is_known;
}

static bool read_secret(const char *path, struct facts_source *out)
{
    FILE *file = fopen(path, "re");

    if (file == NULL || fgets(out->secret, sizeof(out->secret), file) == NULL)
        out->secret[0] = '\0';
    if (file != NULL)
        (void)fclose(file);
    out->secret[strcspn(out->secret, "\r\n")] = '\0';
    return out->secret[0] != '\0';
}

int facts_source_make(struct facts_source *out, const struct options *options)
{
    const char *address = options->metrics, *secret = options->metrics_secret;
    struct facts now;

    *out = (struct facts_source){ .pid = (pid_t)options->pid };
    if (address == NULL)
        return EXIT_PASSED;
    if (address_parse(slice_from_string(address), &out->metrics) != STATUS_OK)
        return complain("--metrics: expected IP:PORT or unix:/path, got \"%s\"", address);
    out->has_metrics = true;
    if (secret != NULL && !read_secret(secret, out))
        return complain("%s: no secret in it", secret);
    return facts_read(out, &now) ? EXIT_PASSED
                                 : complain("--metrics %s: no CPU and memory there%s", address,
                                            secret == NULL ? " (without --metrics-secret)" : "");
}

bool facts_read(const struct facts_source *source, struct facts *out)
{
    if (source->pid > 0)
        return read_proc(source->pid, out);
    return source->has_metrics && read_metrics(source, out);
}

double facts_client_cpu_s(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}
