/* route/redis_endpoint.c — where Redis is, from a URL. */
#include "base/mem.h"
#include "route/route_store_redis.h"

enum { DEFAULT_PORT = 6379, SENTINEL_PORT = 26379, DATABASE_MAX = 65535 };

static char *decode(struct slice text)
{
    char *decoded = mem_alloc(text.len + 1);
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++) {
        bool is_escape = text.ptr[i] == '%' && text.len - i > 2;
        int high = is_escape ? hex_digit(text.ptr[i + 1]) : -1;
        int low = is_escape ? hex_digit(text.ptr[i + 2]) : -1;
        bool is_hex = high >= 0 && low >= 0;
        int value = is_hex ? high * 16 + low : 0;

        if (text.ptr[i] == '%' && (!is_hex || value == 0)) {
            mem_wipe(decoded, len);
            mem_free(decoded);
            return NULL;
        }
        decoded[len++] = is_hex ? (char)value : text.ptr[i];
        i += is_hex ? 2 : 0;
    }
    decoded[len] = '\0';
    return decoded;
}

static enum status fail(struct buf *out_error, const char *words)
{
    if (out_error != NULL)
        buf_printf(out_error, "%s", words);
    return STATUS_CONFIG_INVALID;
}

/* "user:password", ":password"; "user" when the password comes from elsewhere, or there is none. */
static enum status parse_credentials(struct slice text, struct buf *out_error,
                                     struct redis_endpoint *endpoint)
{
    struct slice password = text;
    struct slice user = slice_cut(&password, ':');
    bool has_password = user.len < text.len;

    if (user.len > 0)
        endpoint->user = decode(user);
    if (has_password)
        endpoint->password = decode(password);
    if ((user.len > 0 && endpoint->user == NULL) || (has_password && endpoint->password == NULL))
        return fail(out_error, "user or password has a bad %-escape");
    if (has_password ? password.len == 0 : user.len == 0)
        return fail(out_error, "expected user:password, :password or user before the @");
    return STATUS_OK;
}

static enum status parse_database(struct slice text, struct buf *out_error,
                                  struct redis_endpoint *endpoint)
{
    uint64_t number = 0;

    if (text.len > 0 && (!slice_to_u64(text, &number) || number > DATABASE_MAX))
        return fail(out_error, "expected the number of a database");
    endpoint->database = (unsigned)number;
    return STATUS_OK;
}

/* "host", "host:port", "[v6]:port"; endpoint->port is the default. */
static enum status parse_authority(struct slice authority, struct buf *out_error,
                                   struct redis_endpoint *endpoint)
{
    size_t bracket = slice_find(authority, ']');
    struct slice host, port;
    uint64_t number = endpoint->port;

    if (slice_starts_with(authority, SLICE("[")) && bracket < authority.len) {
        host = slice_of(authority.ptr + 1, bracket - 1);
        port = slice_skip(authority, bracket + 1);
        if (port.len > 0 && port.ptr[0] != ':')
            return fail(out_error, "expected :port after the ]");
        port = port.len > 0 ? slice_skip(port, 1) : port;
    } else {
        port = authority;
        host = slice_cut(&port, ':');
    }
    if (port.len > 0 && (!slice_to_u64(port, &number) || number < 1 || number > 65535))
        return fail(out_error, "expected a port from 1 to 65535");
    endpoint->port = (uint16_t)number;
    endpoint->host = decode(host);
    if (endpoint->host == NULL || endpoint->host[0] == '\0')
        return fail(out_error, "expected a host");
    return STATUS_OK;
}

/* An authority, then "/db". */
static enum status parse_tcp(struct slice rest, struct buf *out_error,
                             struct redis_endpoint *endpoint)
{
    struct slice database = rest;
    enum status status = parse_authority(slice_cut(&database, '/'), out_error, endpoint);

    return status == STATUS_OK ? parse_database(database, out_error, endpoint) : status;
}

/* "/run/redis.sock", then "?db=N". */
static enum status parse_unix(struct slice rest, struct buf *out_error,
                              struct redis_endpoint *endpoint)
{
    struct slice query = rest;
    struct slice path = slice_cut(&query, '?');

    if (!slice_starts_with(path, SLICE("/")))
        return fail(out_error, "expected an absolute path");
    if (query.len > 0 && !slice_starts_with(query, SLICE("db=")))
        return fail(out_error, "expected nothing but ?db=N after the path");
    endpoint->unix_path = decode(path);
    if (endpoint->unix_path == NULL)
        return fail(out_error, "path has a bad %-escape");
    return parse_database(query.len > 0 ? slice_skip(query, 3) : query, out_error, endpoint);
}

static enum status parse(struct slice url, struct buf *out_error, struct redis_endpoint *endpoint)
{
    bool is_unix = slice_starts_with(url, SLICE("unix://"));
    struct slice rest;

    endpoint->tls = slice_starts_with(url, SLICE("rediss://"));
    if (!is_unix && !endpoint->tls && !slice_starts_with(url, SLICE("redis://")))
        return fail(out_error, "expected redis://, rediss:// or unix://");
    if (memchr(url.ptr, '\0', url.len) != NULL)
        return fail(out_error, "holds a NUL");
    rest = slice_skip(url, slice_find(url, ':') + 3);

    size_t at = rest.len; /* of the last @: passwords often hold one that nobody escaped */
    while (at > 0 && rest.ptr[at - 1] != '@')
        at--;
    if (at > 0) {
        enum status status = parse_credentials(slice_first(rest, at - 1), out_error, endpoint);

        if (status != STATUS_OK)
            return status;
        rest = slice_skip(rest, at);
    }
    return is_unix ? parse_unix(rest, out_error, endpoint) : parse_tcp(rest, out_error, endpoint);
}

enum status redis_endpoint_parse(struct slice url, struct buf *out_error,
                                 struct redis_endpoint *out_endpoint)
{
    struct redis_endpoint endpoint = { .port = DEFAULT_PORT };
    enum status status = parse(url, out_error, &endpoint);

    if (status == STATUS_OK)
        *out_endpoint = endpoint;
    else
        redis_endpoint_deinit(&endpoint);
    return status;
}

enum status redis_endpoint_add_sentinel(struct redis_endpoint *endpoint, struct slice address,
                                        const char *password, struct buf *out_error)
{
    struct redis_endpoint sentinel = { .port = SENTINEL_PORT, .tls = endpoint->tls };
    bool is_more = slice_find(address, '/') < address.len || slice_find(address, '@') < address.len;
    enum status status = is_more ? fail(out_error, "expected host or host:port")
                                 : parse_authority(address, out_error, &sentinel);

    if (status != STATUS_OK) {
        redis_endpoint_deinit(&sentinel);
        return status;
    }
    if (password != NULL)
        sentinel.password = mem_copy_string(password);
    endpoint->sentinels = mem_grow(endpoint->sentinels,
                                   (endpoint->sentinel_count + 1) * sizeof(*endpoint->sentinels));
    endpoint->sentinels[endpoint->sentinel_count++] = sentinel;
    return STATUS_OK;
}

static void free_text(const char *text)
{
    mem_free((char *)(uintptr_t)text);
}

void redis_endpoint_deinit(struct redis_endpoint *endpoint)
{
    if (endpoint->password != NULL)
        mem_wipe((char *)(uintptr_t)endpoint->password, strlen(endpoint->password));
    free_text(endpoint->password);
    free_text(endpoint->user);
    free_text(endpoint->host);
    free_text(endpoint->unix_path);
    for (size_t i = 0; i < endpoint->sentinel_count; i++)
        redis_endpoint_deinit(&endpoint->sentinels[i]);
    mem_free(endpoint->sentinels);
    *endpoint = (struct redis_endpoint){ 0 };
}

static const char *copy_text(const char *text)
{
    return text != NULL ? mem_copy_string(text) : NULL;
}

void redis_endpoint_copy(const struct redis_endpoint *endpoint, struct redis_endpoint *out_copy)
{
    redis_endpoint_copy_at(endpoint, endpoint->host, endpoint->port, out_copy);
    if (endpoint->sentinel_count == 0)
        return;
    out_copy->sentinels = mem_zeroed(endpoint->sentinel_count * sizeof(*out_copy->sentinels));
    for (; out_copy->sentinel_count < endpoint->sentinel_count; out_copy->sentinel_count++)
        redis_endpoint_copy(&endpoint->sentinels[out_copy->sentinel_count],
                            &out_copy->sentinels[out_copy->sentinel_count]);
}

void redis_endpoint_copy_at(const struct redis_endpoint *endpoint, const char *host, uint16_t port,
                            struct redis_endpoint *out_copy)
{
    *out_copy = *endpoint;
    out_copy->sentinels = NULL;
    out_copy->sentinel_count = 0;
    out_copy->host = copy_text(host);
    out_copy->port = port;
    out_copy->unix_path = copy_text(endpoint->unix_path);
    out_copy->user = copy_text(endpoint->user);
    out_copy->password = copy_text(endpoint->password);
}
