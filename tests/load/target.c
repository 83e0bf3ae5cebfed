/* tests/load/target.c — see the header. */
#include "target.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { TRY_S = 2 };

static bool takes_connections(const struct addrinfo *at)
{
    struct timeval wait = { .tv_sec = TRY_S }; /* of connect(2), too */
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_taken;

    if (fd == -1)
        return false;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    is_taken = connect(fd, at->ai_addr, at->ai_addrlen) == 0;
    close(fd);
    return is_taken;
}

/* The first of its addresses at which somebody listens ("localhost" may be ::1, too); or else the first. */
static bool resolve(struct slice host, uint16_t port, struct address *out)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found = NULL, *at;
    char name[256], service[8];

    if (host.len >= sizeof(name))
        return false;
    slice_to_string(host, name, sizeof(name));
    snprintf(service, sizeof(service), "%u", port);
    if (getaddrinfo(name, service, &hints, &found) != 0)
        return false;
    for (at = found; at->ai_next != NULL && !takes_connections(at);)
        at = at->ai_next;
    if (at->ai_next == NULL && at != found && !takes_connections(at))
        at = found;
    *out = (struct address){ .len = at->ai_addrlen };
    memcpy(&out->storage, at->ai_addr, at->ai_addrlen);
    freeaddrinfo(found);
    return true;
}

static int make_tls(struct endpoint *e, const char *ca)
{
    static const struct slice alpn[] = {
        [PROTOCOL_H2] = { "h2", 2 }, [PROTOCOL_H1] = { "http/1.1", 8 }
    };
    struct buf words = { 0 };
    enum status status = STATUS_OK;

    for (int i = 0; i < 2 && status == STATUS_OK; i++) {
        struct tls_client_options options = { .ca_file = ca, .alpn = alpn[i] };
        status = tls_context_create_client(&options, &words, &e->tls[i]);
    }
    if (status != STATUS_OK)
        complain("%s", buf_text(&words));
    buf_deinit(&words);
    return status == STATUS_OK ? EXIT_PASSED : EXIT_USAGE;
}

static struct slice without_brackets(struct slice host)
{
    bool is_bracketed = host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';

    return is_bracketed ? slice_of(host.ptr + 1, host.len - 2) : host;
}

static int make_endpoint(const struct options *options, const char *url, struct settings *s)
{
    bool secure = strncmp(url, "https://", 8) == 0;
    struct endpoint *e = secure ? &s->secure : &s->clear;
    struct slice rest = slice_from_string(url);
    uint16_t port = secure ? 443 : 80;

    if (!secure && strncmp(url, "http://", 7) != 0)
        return complain("%s: expected http:// or https://", url);
    if (secure ? s->has_secure : s->has_clear)
        return complain("--url and --tls-url: expected one http:// and one https://");
    rest = slice_skip(rest, secure ? 8 : 7);
    rest = slice_first(rest, slice_find(rest, '/'));
    if (slice_find(rest, '@') < rest.len) /* the report names the URL */
        return complain("--url: tokens go into --tokens, not into the URL");
    e->scheme = secure ? SLICE("https") : SLICE("http");
    e->authority = options->authority != NULL ? slice_from_string(options->authority) : rest;
    if (address_split(rest, &e->host, &port) != STATUS_OK)
        e->host = without_brackets(rest);
    if (!resolve(e->host, port, &e->address))
        return complain("%s: no such host", url);
    if (options->authority != NULL)
        e->host = slice_first(e->authority, slice_find(e->authority, ':'));
    *(secure ? &s->has_secure : &s->has_clear) = true;
    return secure ? make_tls(e, options->ca) : EXIT_PASSED;
}

static int make_endpoints(const struct options *options, struct settings *s)
{
    int code = options->url != NULL ? make_endpoint(options, options->url, s) : EXIT_PASSED;

    return code == EXIT_PASSED && options->tls_url != NULL
               ? make_endpoint(options, options->tls_url, s)
               : code;
}

static int make_identities(const struct options *options, struct settings *s)
{
    const struct scenario *scenario = s->scenario;
    struct identity_mint mint = options->mint;
    struct buf words = { 0 };
    enum status status = STATUS_OK;

    mint.computers = scenario->computers;
    mint.sessions = scenario->sessions;
    mint.life_s = (scenario->duration_ms + scenario->grace_ms) / 1000 + 3600;
    if (mint.key_file != NULL &&
        (mint.kid == NULL || mint.algorithm == NULL || mint.issuer == NULL))
        return complain("--key needs --kid, --alg and --issuer");
    if (options->tokens != NULL)
        status = identities_read(&s->exec, options->tokens, &words);
    else if (mint.key_file != NULL)
        status = identities_mint(&s->exec, &mint, &words);
    mint.is_access = true;
    if (status == STATUS_OK && options->access_tokens != NULL)
        status = identities_read(&s->access, options->access_tokens, &words);
    else if (status == STATUS_OK && mint.key_file != NULL)
        status = identities_mint(&s->access, &mint, &words);
    if (status != STATUS_OK)
        complain("%s", buf_text(&words));
    buf_deinit(&words);
    return status == STATUS_OK ? EXIT_PASSED : EXIT_USAGE;
}

/* Loads that need a token have one. */
static int check_identities(const struct settings *s)
{
    for (size_t i = 0; i < s->scenario->load_count; i++) {
        const struct load *load = &s->scenario->loads[i];
        bool is_port = load->kind == LOAD_HTTP || load->kind == LOAD_WEBSOCKET;
        const struct identities *needed = is_port ? &s->access : &s->exec;

        if (load->kind != LOAD_STORM && load->auth != AUTH_NONE && needed->count == 0)
            return complain("%s needs %s or --key", load->name,
                            is_port ? "--access-tokens" : "--tokens");
    }
    return EXIT_PASSED;
}

/* Beside this program, unless the guest has it elsewhere. */
static const char *find_emit(const struct options *options)
{
    static char file[4096];
    ssize_t len;
    char *slash;

    if (options->emit_file != NULL)
        return options->emit_file;
    len = readlink("/proc/self/exe", file, sizeof(file) - 32);
    file[len > 0 ? len : 0] = '\0';
    slash = strrchr(file, '/');
    strcpy(slash != NULL ? slash + 1 : file, "exec-load-emit");
    return file;
}

/* As many descriptors as there may be. */
static void raise_limits(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* We are the client: what the gateway does to defend itself from strangers is not for us to do to it. */
static void set_limits(struct http_limits *limits)
{
    http_limits_init(limits);
    limits->glitches = 100000;
    limits->pings = 100000;
    limits->settings_frames = 100000;
    limits->window_updates_per_data = 1000;
    limits->overhead_bytes = SIZE_MAX / 2;
    limits->keepalive_requests = SIZE_MAX;
    limits->streams_total = UINT64_MAX;
}

int target_prepare(const struct options *options, const struct scenario *scenario,
                   struct settings *out)
{
    int code;

    out->scenario = scenario;
    out->lane_count = (unsigned)options->threads;
    out->emit_file = find_emit(options);
    set_limits(&out->limits);
    raise_limits();
    code = make_endpoints(options, out);
    if (code == EXIT_PASSED)
        code = make_identities(options, out);
    return code == EXIT_PASSED ? check_identities(out) : code;
}

void target_deinit(struct settings *settings)
{
    struct endpoint *ends[] = { &settings->clear, &settings->secure };

    for (size_t i = 0; i < 2; i++)
        for (size_t t = 0; t < 2; t++)
            tls_context_unref(&ends[i]->tls[t]);
    identities_deinit(&settings->exec);
    identities_deinit(&settings->access);
}
