/* proxy/port_request.c — see port_request.h. */
#include "proxy/port_request.h"

#include "proxy/cors.h"

static const struct slice cookie_name = { PORT_COOKIE, sizeof(PORT_COOKIE) - 1 };
static const struct slice subprotocol_prefix = { "access-token.", 13 };

enum { ACCESS_TOKENS_MAX = 2 };

static void add_token(struct port_request *request, enum token_place place, struct slice text,
                      size_t at_most)
{
    size_t count = 0;

    for (size_t i = 0; i < request->token_count; i++)
        count += request->tokens[i].place == place;
    if (text.len == 0 || count >= at_most)
        return;
    request->tokens[request->token_count++] = (struct port_token){ .text = text, .place = place };
}

/* ---- cookies ---- */

/* Cuts one "name=value" off; blanks around it are not of it. */
static struct slice next_cookie(struct slice *rest, struct slice *out_name)
{
    struct slice value = slice_trim(slice_cut(rest, ';'));

    *out_name = slice_trim(slice_cut(&value, '='));
    return slice_trim(value);
}

static void read_cookies(struct port_request *request, struct slice cookies)
{
    while (cookies.len > 0) {
        struct slice name, value = next_cookie(&cookies, &name);

        if (slice_equal(name, cookie_name))
            add_token(request, PLACE_COOKIE, value, PORT_COOKIES_TRIED);
    }
}

static bool has_our_cookie(struct slice cookies)
{
    while (cookies.len > 0) {
        struct slice name;

        (void)next_cookie(&cookies, &name);
        if (slice_equal(name, cookie_name))
            return true;
    }
    return false;
}

struct slice port_cookies_without_ours(struct slice cookies, struct arena *arena)
{
    if (!has_our_cookie(cookies))
        return cookies;
    char *text = arena_bytes(arena, cookies.len);
    size_t len = 0;

    while (cookies.len > 0) {
        struct slice crumb = slice_cut(&cookies, ';'), peek = crumb, name;

        (void)next_cookie(&peek, &name);
        if (slice_equal(name, cookie_name))
            continue;
        if (len > 0)
            text[len++] = ';';
        memcpy(text + len, crumb.ptr, crumb.len);
        len += crumb.len;
    }
    return slice_trim(slice_of(text, len));
}

bool port_sets_our_cookie(struct slice set_cookie)
{
    struct slice name;

    (void)next_cookie(&set_cookie, &name);
    return slice_equal(name, cookie_name);
}

/* ---- the query ---- */

static bool is_token_parameter(struct slice name)
{
    return slice_equal(name, SLICE("access_token")) || slice_equal(name, SLICE("token"));
}

static enum status read_query(struct port_request *request)
{
    struct slice rest = request->query;
    unsigned access_tokens = 0;

    while (rest.len > 0) {
        struct slice value = slice_cut(&rest, '&');
        struct slice name = slice_cut(&value, '=');

        if (!is_token_parameter(name))
            continue;
        access_tokens += slice_equal(name, SLICE("access_token"));
        add_token(request, PLACE_QUERY, value, PORT_QUERY_TRIED);
    }
    return access_tokens <= ACCESS_TOKENS_MAX ? STATUS_OK : STATUS_TOKEN_DUPLICATE;
}

static bool carries_ours(const struct port_request *request, struct slice parameter, bool all)
{
    struct slice value = parameter;
    struct slice name = slice_cut(&value, '=');

    if (!is_token_parameter(name))
        return false;
    if (all && slice_equal(name, SLICE("access_token")))
        return true;
    for (size_t i = 0; i < request->token_count; i++)
        if (request->tokens[i].is_ours && slice_equal(request->tokens[i].text, value))
            return true;
    return false;
}

static bool has_ours(const struct port_request *request, bool all)
{
    struct slice rest = request->query;

    while (rest.len > 0)
        if (carries_ours(request, slice_cut(&rest, '&'), all))
            return true;
    return false;
}

struct slice port_request_target(const struct port_request *request, struct slice target, bool all,
                                 struct arena *arena)
{
    struct slice rest = request->query;

    if (!has_ours(request, all))
        return target;
    char *text = arena_bytes(arena, target.len);
    size_t len = request->path.len;
    char separator = '?';

    memcpy(text, request->path.ptr, len);
    while (rest.len > 0) {
        struct slice parameter = slice_cut(&rest, '&');

        if (carries_ours(request, parameter, all))
            continue;
        text[len++] = separator;
        separator = '&';
        memcpy(text + len, parameter.ptr, parameter.len);
        len += parameter.len;
    }
    return slice_of(text, len);
}

/* ---- subprotocols ---- */

static void read_subprotocols(struct port_request *request, struct slice list, bool *out_foreign)
{
    while (list.len > 0) {
        struct slice item = slice_trim(slice_cut(&list, ','));

        if (!slice_starts_with(item, subprotocol_prefix)) {
            *out_foreign |= item.len > 0;
            continue;
        }
        if (request->only_subprotocol.len == 0)
            request->only_subprotocol = item;
        add_token(request, PLACE_SUBPROTOCOL, slice_skip(item, subprotocol_prefix.len),
                  PORT_SUBPROTOCOLS_TRIED);
    }
}

struct slice port_subprotocols_without_ours(struct slice list, struct arena *arena)
{
    if (memmem(list.ptr, list.len, subprotocol_prefix.ptr, subprotocol_prefix.len) == NULL)
        return list;
    char *text = arena_bytes(arena, list.len * 2);
    size_t len = 0;

    while (list.len > 0) {
        struct slice item = slice_trim(slice_cut(&list, ','));

        if (item.len == 0 || slice_starts_with(item, subprotocol_prefix))
            continue;
        if (len > 0) {
            memcpy(text + len, ", ", 2);
            len += 2;
        }
        memcpy(text + len, item.ptr, item.len);
        len += item.len;
    }
    return slice_of(text, len);
}

bool port_field_without_ours(struct field *field, struct arena *arena)
{
    if (field->id == FIELD_COOKIE)
        field->value = port_cookies_without_ours(field->value, arena);
    else if (field->id == FIELD_SEC_WEBSOCKET_PROTOCOL)
        field->value = port_subprotocols_without_ours(field->value, arena);
    else
        return true;
    return field->value.len > 0;
}

/* ---- all together ---- */

static bool media_is_family(struct slice type, struct slice family)
{
    return slice_starts_with_nocase(type, family) &&
           (type.len == family.len || type.ptr[family.len] == '+');
}

static enum caller caller_of(const struct port_request *request)
{
    struct slice rest = request->content_type;
    struct slice type = slice_trim(slice_cut(&rest, ';'));

    if (request->is_websocket)
        return CALLER_HTTP;
    if (media_is_family(type, SLICE("application/grpc-web-text")))
        return CALLER_GRPC_WEB_TEXT;
    if (media_is_family(type, SLICE("application/grpc-web")))
        return CALLER_GRPC_WEB;
    if (media_is_family(type, SLICE("application/grpc")))
        return CALLER_GRPC;
    if (slice_starts_with_nocase(type, SLICE("application/connect+")))
        return CALLER_CONNECT_STREAM;
    return request->is_navigation ? CALLER_PAGE : CALLER_HTTP;
}

static bool changes_things(struct slice method)
{
    return !slice_equal(method, SLICE("GET")) && !slice_equal(method, SLICE("HEAD")) &&
           !slice_equal(method, SLICE("OPTIONS")) && !slice_equal(method, SLICE("TRACE"));
}

static struct slice bearer_of(struct slice authorization)
{
    static const struct slice scheme = { "bearer ", 7 };

    return slice_starts_with_nocase(authorization, scheme)
               ? slice_trim(slice_skip(authorization, scheme.len))
               : SLICE_EMPTY;
}

/* In the order of the places, not in that of the fields. */
static enum status read_tokens(const struct fields *fields, struct port_request *out)
{
    bool has_foreign = false;

    for (size_t i = 0; i < fields->count; i++)
        if (fields->items[i].id == FIELD_COOKIE)
            read_cookies(out, fields->items[i].value);
    add_token(out, PLACE_FIELD, slice_trim(fields_value(fields, FIELD_X_ACCESS_TOKEN)), 1);
    enum status status = read_query(out);
    for (size_t i = 0; i < fields->count; i++)
        if (fields->items[i].id == FIELD_SEC_WEBSOCKET_PROTOCOL)
            read_subprotocols(out, fields->items[i].value, &has_foreign);
    if (has_foreign)
        out->only_subprotocol = SLICE_EMPTY;
    add_token(out, PLACE_AUTHORIZATION, bearer_of(fields_value(fields, FIELD_AUTHORIZATION)), 1);
    if (fields_count_of(fields, FIELD_AUTHORIZATION) > 1 ||
        fields_count_of(fields, FIELD_X_ACCESS_TOKEN) > 1)
        return STATUS_TOKEN_DUPLICATE;
    return status;
}

enum status port_request_parse(const struct head *head, struct port_request *out)
{
    const struct fields *fields = &head->fields;

    *out = (struct port_request){
        .query = head->target,
        .content_type = fields_value(fields, FIELD_CONTENT_TYPE),
        .is_websocket = head->protocol.len > 0,
        .is_navigation = request_is_navigation(head) && head->protocol.len == 0,
        .is_preflight = cors_is_preflight(head),
        .changes_things = changes_things(head->method) && head->protocol.len == 0,
        .expects_continue =
            slice_equal_nocase(fields_value(fields, FIELD_EXPECT), SLICE("100-continue")),
        .only_subprotocol = SLICE_EMPTY,
    };
    out->path = slice_cut(&out->query, '?');
    out->caller = caller_of(out);
    return read_tokens(fields, out);
}

/* ---- origins ---- */

static bool split_url(struct slice url, struct slice *out_scheme, struct slice *out_authority,
                      struct slice *out_rest)
{
    static const char marks[] = "://";
    const char *at = memmem(url.ptr, url.len, marks, 3);

    if (at == NULL)
        return false;
    *out_scheme = slice_of(url.ptr, (size_t)(at - url.ptr));
    struct slice rest = slice_skip(url, out_scheme->len + 3);
    size_t end = 0;
    while (end < rest.len && rest.ptr[end] != '/' && rest.ptr[end] != '?' && rest.ptr[end] != '#')
        end++;
    *out_authority = slice_first(rest, end);
    *out_rest = slice_skip(rest, end);
    return slice_equal_nocase(*out_scheme, SLICE("http")) ||
           slice_equal_nocase(*out_scheme, SLICE("https"));
}

/* Compared as the URL's scheme reads them, so that a port that is its default may be said or not. */
static bool same_authority(struct slice a, struct slice b, struct slice scheme, struct arena *arena)
{
    struct slice own, given,
        known = slice_equal_nocase(scheme, SLICE("https")) ? SLICE("https") : SLICE("http");

    return authority_normalize(a, known, arena, &own) == STATUS_OK &&
           authority_normalize(b, known, arena, &given) == STATUS_OK && slice_equal(own, given);
}

bool port_url_is_of(struct slice url, struct slice authority, struct arena *arena,
                    struct slice *out_rest)
{
    struct slice scheme, given;

    return split_url(url, &scheme, &given, out_rest) &&
           same_authority(given, authority, scheme, arena);
}

static bool is_from_a_browser(const struct fields *fields)
{
    for (size_t i = 0; i < fields->count; i++)
        if (fields->items[i].id == FIELD_REFERER ||
            slice_starts_with(fields->items[i].name, SLICE("sec-fetch-")))
            return true;
    return false;
}

bool port_origin_is_own(const struct head *request, struct slice authority, bool is_tls,
                        struct arena *arena)
{
    const struct fields *fields = &request->fields;
    const struct field *origin = fields_find(fields, FIELD_ORIGIN);
    struct slice rest;

    if (origin == NULL)
        return request->protocol.len == 0 && !is_from_a_browser(fields);
    if (fields_count_of(fields, FIELD_ORIGIN) > 1 ||
        (is_tls && !slice_starts_with_nocase(origin->value, SLICE("https:"))))
        return false;
    return port_url_is_of(origin->value, authority, arena, &rest) && rest.len == 0;
}
