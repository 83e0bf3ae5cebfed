/* auth/token_claims.c — see token_claims.h. A claim of the wrong type is TOKEN_MALFORMED, never
 * read as absent: an absent `port` opens every port, so `"port": null` must not. */
#include "auth/token_claims.h"

#include <math.h>

#include <jansson.h>

/* HEADER_BYTES: a header is parsed before any signature, and ours hold two short words. */
enum { HEADER_BYTES = 1024, ID_BYTES = 128, USER_BYTES = 256, LABEL_BYTES = 63 };

/* 9999-12-31T23:59:59Z: later times are mistakes, and milliseconds since 1970 could overflow. */
static const int64_t latest_second = 253402300799;

static json_t *parse_object(struct slice json)
{
    json_error_t error;
    /* Without JSON_ALLOW_NUL, "\u0000" is refused, so that texts cannot be cut short. */
    json_t *parsed = json_loadb(json.ptr, json.len, JSON_REJECT_DUPLICATES, &error);

    if (parsed != NULL && !json_is_object(parsed)) {
        json_decref(parsed);
        return NULL;
    }
    return parsed;
}

/* Absent: true and the empty slice. Present and no string: false. */
static bool read_text(const json_t *object, const char *name, struct slice *out_text)
{
    const json_t *value = json_object_get(object, name);

    *out_text = SLICE_EMPTY;
    if (value == NULL)
        return true;
    if (!json_is_string(value))
        return false;
    *out_text = slice_of(json_string_value(value), json_string_length(value));
    return true;
}

static bool has_only(struct slice text, const char *others)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        bool is_letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        bool is_digit = c >= '0' && c <= '9';
        if (!is_letter && !is_digit && (c == '\0' || strchr(others, c) == NULL))
            return false;
    }
    return true;
}

bool token_id_is_valid(struct slice id)
{
    return id.len > 0 && id.len <= ID_BYTES && has_only(id, "._:-");
}

bool token_user_is_valid(struct slice user)
{
    if (user.len > USER_BYTES)
        return false;
    for (size_t i = 0; i < user.len; i++)
        if (user.ptr[i] < 0x20 || user.ptr[i] > 0x7e)
            return false;
    return slice_trim(user).len == user.len;
}

bool token_port_is_valid(struct slice port)
{
    uint64_t number = 0;

    if (slice_to_u64(port, &number))
        return number >= 1 && number <= 65535 && port.ptr[0] != '0';
    return port.len > 0 && port.len <= LABEL_BYTES && has_only(port, "-") && port.ptr[0] != '-' &&
           port.ptr[port.len - 1] != '-';
}

/* Members by which a token would bring its own key, or change what is signed. */
static bool header_is_plain(const json_t *header)
{
    static const char *const refused[] = {
        "jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc"
    };

    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
        if (json_object_get(header, refused[i]) != NULL)
            return false;
    return true;
}

enum status token_header_parse(struct slice json, struct arena *arena,
                               struct token_header *out_header)
{
    json_auto_t *header = json.len <= HEADER_BYTES ? parse_object(json) : NULL;
    struct slice algorithm;
    struct slice key_id;
    enum token_algorithm known;

    if (header == NULL || !header_is_plain(header) || !read_text(header, "alg", &algorithm) ||
        !read_text(header, "kid", &key_id))
        return STATUS_TOKEN_MALFORMED;
    if (!token_algorithm_from_text(algorithm, &known))
        return STATUS_TOKEN_ALGORITHM;
    if (key_id.len == 0)
        return STATUS_TOKEN_KEY_UNKNOWN;
    out_header->algorithm = slice_from_string(token_algorithm_text(known));
    out_header->key_id = arena_copy(arena, key_id);
    return STATUS_OK;
}

/* A NumericDate (RFC 7519 §2) in whole seconds. Absent: true, and *out_present is false. */
static bool read_time(const json_t *claims, const char *name, bool *out_present,
                      int64_t *out_wall_ms)
{
    const json_t *value = json_object_get(claims, name);
    double seconds;

    *out_present = value != NULL;
    if (value == NULL)
        return true;
    if (!json_is_number(value))
        return false;
    seconds = json_number_value(value);
    if (!(seconds >= 0 && seconds <= (double)latest_second) || trunc(seconds) != seconds)
        return false;
    *out_wall_ms = (int64_t)seconds * 1000; /* exact: far below 2^53 */
    return true;
}

static enum status read_times(const json_t *claims, struct principal *principal,
                              int64_t *out_not_before_wall_ms)
{
    static const char *const starts[] = { "nbf", "iat" };
    bool present;
    int64_t at_ms = 0;

    *out_not_before_wall_ms = INT64_MIN;
    if (!read_time(claims, "exp", &present, &principal->expires_wall_ms) || !present)
        return STATUS_TOKEN_MALFORMED;
    for (size_t i = 0; i < 2; i++) {
        if (!read_time(claims, starts[i], &present, &at_ms))
            return STATUS_TOKEN_MALFORMED;
        if (present && at_ms > *out_not_before_wall_ms)
            *out_not_before_wall_ms = at_ms;
    }
    return STATUS_OK;
}

static enum status check_audience(const json_t *claims, struct slice expected)
{
    const json_t *audience = json_object_get(claims, "aud");
    bool found = false;

    if (json_is_string(audience))
        found = slice_equal(slice_of(json_string_value(audience), json_string_length(audience)),
                            expected);
    else if (audience != NULL && !json_is_array(audience))
        return STATUS_TOKEN_MALFORMED;
    for (size_t i = 0; i < json_array_size(audience); i++) {
        const json_t *item = json_array_get(audience, i);
        if (!json_is_string(item))
            return STATUS_TOKEN_MALFORMED;
        found |= slice_equal(slice_of(json_string_value(item), json_string_length(item)), expected);
    }
    return found ? STATUS_OK : STATUS_TOKEN_AUDIENCE;
}

static enum status read_identity(const json_t *claims, struct principal *principal)
{
    bool readable =
        read_text(claims, "sid", &principal->session_id) &&
        read_text(claims, "cid", &principal->computer_id) &&
        read_text(claims, "sub", &principal->user_id) && token_id_is_valid(principal->session_id) &&
        token_id_is_valid(principal->computer_id) && token_user_is_valid(principal->user_id);

    return readable ? STATUS_OK : STATUS_TOKEN_MALFORMED;
}

static enum status read_kind(const json_t *claims, enum token_use use, struct principal *principal)
{
    struct slice kind;

    if (!read_text(claims, "kind", &kind))
        return STATUS_TOKEN_MALFORMED;
    if (use == TOKEN_USE_EXEC && slice_equal(kind, SLICE("exec")))
        principal->kind = PRINCIPAL_EXEC;
    else if (use == TOKEN_USE_ACCESS && slice_equal(kind, SLICE("browser")))
        principal->kind = PRINCIPAL_BROWSER;
    else if (use == TOKEN_USE_ACCESS && slice_equal(kind, SLICE("vnc")))
        principal->kind = PRINCIPAL_VNC;
    else
        return STATUS_TOKEN_KIND;
    return STATUS_OK;
}

static enum status read_capabilities(const json_t *claims, struct principal *principal)
{
    const json_t *list = json_object_get(claims, "cap");

    if (list != NULL && !json_is_array(list))
        return STATUS_TOKEN_MALFORMED;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        if (!json_is_string(item))
            return STATUS_TOKEN_MALFORMED;
        if (strcmp(json_string_value(item), "process") == 0)
            principal->capabilities |= CAPABILITY_PROCESS;
    }
    return STATUS_OK;
}

/* A number or a text; `number_text` holds the digits of a number. */
static enum status read_port(const json_t *claims, char number_text[32],
                             struct principal *principal)
{
    const json_t *port = json_object_get(claims, "port");

    principal->port = SLICE_EMPTY;
    if (port == NULL)
        return STATUS_OK;
    if (json_is_string(port)) {
        principal->port = slice_of(json_string_value(port), json_string_length(port));
    } else if (json_is_integer(port)) {
        int len = snprintf(number_text, 32, "%lld", (long long)json_integer_value(port));
        principal->port = slice_of(number_text, (size_t)len);
    }
    return token_port_is_valid(principal->port) ? STATUS_OK : STATUS_TOKEN_MALFORMED;
}

enum status token_claims_parse(struct slice json, const struct token_expectation *expected,
                               struct token_verdict *out_verdict)
{
    json_auto_t *claims = parse_object(json);
    struct principal principal = { .ref_count = 1 };
    struct slice issuer;
    char port_number[32];

    if (claims == NULL || !read_text(claims, "iss", &issuer))
        return STATUS_TOKEN_MALFORMED;
    if (!slice_equal(issuer, expected->issuer))
        return STATUS_TOKEN_ISSUER;

    enum status status = check_audience(claims, expected->audience);
    if (status == STATUS_OK)
        status = read_times(claims, &principal, &out_verdict->not_before_wall_ms);
    if (status == STATUS_OK)
        status = read_identity(claims, &principal);
    if (status == STATUS_OK)
        status = read_kind(claims, expected->use, &principal);
    if (status == STATUS_OK)
        status = read_capabilities(claims, &principal);
    if (status == STATUS_OK)
        status = read_port(claims, port_number, &principal);
    if (status == STATUS_OK)
        out_verdict->principal = principal_create(&principal);
    return status;
}
