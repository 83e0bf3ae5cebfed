/* proxy/port_rewrite.c — see port_rewrite.h. */
#include "proxy/port_rewrite.h"

#include "proxy/port_request.h"

static bool is_preserved(const struct port_names *names)
{
    return names->mode.len == 0 || slice_equal(names->mode, SLICE("preserve"));
}

static bool is_localhost(const struct port_names *names)
{
    return slice_equal(names->mode, SLICE("localhost"));
}

struct slice port_host_value(const struct port_names *names, struct arena *arena)
{
    if (is_preserved(names))
        return names->authority;
    return is_localhost(names) ? arena_printf(arena, "localhost:%u", names->port) : names->mode;
}

static struct slice join(struct arena *arena, struct slice scheme, struct slice authority,
                         struct slice rest)
{
    char *text = arena_bytes(arena, scheme.len + 3 + authority.len + rest.len);
    size_t len = 0;
    const struct slice parts[] = { scheme, SLICE("://"), authority, rest };

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (parts[i].len > 0)
            memcpy(text + len, parts[i].ptr, parts[i].len);
        len += parts[i].len;
    }
    return slice_of(text, len);
}

/* A dev server on localhost speaks plain HTTP; another name is taken to be served as the public one
 * is. */
static struct slice url_value(const struct port_names *names, struct slice url, struct arena *arena)
{
    struct slice rest;

    if (is_preserved(names) || !port_url_is_of(url, names->authority, arena, &rest))
        return url;
    struct slice scheme =
        is_localhost(names) ? SLICE("http") : slice_first(url, slice_find(url, ':'));
    return join(arena, scheme, port_host_value(names, arena), rest);
}

struct slice port_origin_value(const struct port_names *names, struct slice origin,
                               struct arena *arena)
{
    return url_value(names, origin, arena);
}

struct slice port_referer_value(const struct port_names *names, struct slice referer,
                                struct arena *arena)
{
    if (memmem(referer.ptr, referer.len, "token=", 6) != NULL)
        referer = slice_first(referer, slice_find(referer, '?'));
    return url_value(names, referer, arena);
}

struct slice port_location_value(const struct port_names *names, struct slice location,
                                 struct arena *arena)
{
    struct slice rest;

    if (is_preserved(names) ||
        !port_url_is_of(location, port_host_value(names, arena), arena, &rest))
        return location;
    return join(arena, names->scheme, names->authority, rest);
}

struct slice port_forwarded_port(const struct port_names *names)
{
    struct slice host = authority_host(names->authority);

    if (names->authority.len > host.len + 1)
        return slice_skip(names->authority, host.len + 1);
    return slice_equal(names->scheme, SLICE("https")) ? SLICE("443") : SLICE("80");
}

/* "/.//x" is the path "//x" of this host (URL Standard), while "//x" would be another host; browsers
 * read a backslash as a slash. */
struct slice port_local_location(struct slice target, struct arena *arena)
{
    if (target.len < 2 || (target.ptr[1] != '/' && target.ptr[1] != '\\'))
        return target;
    char *text = arena_bytes(arena, target.len + 2);

    memcpy(text, "/.", 2);
    memcpy(text + 2, target.ptr, target.len);
    return slice_of(text, target.len + 2);
}

static bool is_unreserved(unsigned char c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

struct slice port_query_encode(struct slice text, struct arena *arena)
{
    static const char digits[] = "0123456789ABCDEF";
    char *out = arena_bytes(arena, text.len * 3 + 1);
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];

        if (is_unreserved(c)) {
            out[len++] = (char)c;
            continue;
        }
        out[len++] = '%';
        out[len++] = digits[c >> 4];
        out[len++] = digits[c & 15];
    }
    return slice_of(out, len);
}
