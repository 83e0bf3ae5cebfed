/* http/h2_message.c — see h2_message.h. */
#include "http/h2_message.h"

#include <ctype.h>

enum { SEEN_HOST = 1u << 16, SEEN_LENGTH = 1u << 17 };

static unsigned seen_bit(unsigned pseudo_id)
{
    return 1u << (pseudo_id - FIELD_COUNT);
}

/* False: it was there before. */
static bool see(struct h2_stream *stream, unsigned bit)
{
    bool is_first = (stream->pseudo_seen & bit) == 0;

    stream->pseudo_seen |= bit;
    return is_first;
}

static bool has_seen(const struct h2_stream *stream, unsigned pseudo_id)
{
    return (stream->pseudo_seen & seen_bit(pseudo_id)) != 0;
}

/* ---- values ---- */

/* RFC 3986 §3.2; what it means is judged later. */
static bool is_authority_text(struct slice value)
{
    for (size_t i = 0; i < value.len; i++)
        if (!isalnum((unsigned char)value.ptr[i]) &&
            (value.ptr[i] == 0 || strchr("-._~%!$&'()*+,;=:[]@", value.ptr[i]) == NULL))
            return false;
    return value.len > 0;
}

static bool is_scheme_text(struct slice value)
{
    if (value.len == 0 || !isalpha((unsigned char)value.ptr[0]))
        return false;
    for (size_t i = 1; i < value.len; i++)
        if (!isalnum((unsigned char)value.ptr[i]) && value.ptr[i] != '+' && value.ptr[i] != '-' &&
            value.ptr[i] != '.')
            return false;
    return true;
}

static bool is_path_text(struct slice value)
{
    for (size_t i = 0; i < value.len; i++)
        if ((unsigned char)value.ptr[i] <= ' ' || value.ptr[i] == 0x7f)
            return false;
    return value.len > 0;
}

static bool is_status_text(struct slice value)
{
    return value.len == 3 && isdigit((unsigned char)value.ptr[0]) &&
           isdigit((unsigned char)value.ptr[1]) && isdigit((unsigned char)value.ptr[2]);
}

static bool is_pseudo_value(const struct h2_stream *stream, const struct hpack_field *field)
{
    bool is_server = stream->session->role->is_server;

    switch (field->id) {
    case HPACK_AUTHORITY:
        return is_server && is_authority_text(field->value);
    case HPACK_METHOD:
        return is_server && is_token(field->value);
    case HPACK_PATH:
        return is_server && is_path_text(field->value);
    case HPACK_SCHEME:
        return is_server && is_scheme_text(field->value);
    case HPACK_PROTOCOL:
        return is_server && stream->session->takes_protocol && field->value.len > 0 &&
               field->is_value_valid;
    case HPACK_STATUS:
        return !is_server && is_status_text(field->value);
    default:
        return false;
    }
}

/* ---- fields ---- */

static enum h2_field_rule pseudo_rule(struct h2_stream *stream, const struct hpack_field *field)
{
    if (stream->collecting == NULL || stream->regular_seen || !is_pseudo_value(stream, field) ||
        !see(stream, seen_bit(field->id)))
        return H2_FIELD_MALFORMED;
    return H2_FIELD_KEEP;
}

static enum h2_field_rule length_rule(struct h2_stream *stream, struct slice value)
{
    unsigned status = stream->session->role->is_server || stream->collecting == NULL
                          ? 0
                          : stream->collecting->status;
    bool is_first = see(stream, SEEN_LENGTH);
    uint64_t length;

    if (status == 204)
        return is_first && slice_equal(value, SLICE("0")) ? H2_FIELD_DROP : H2_FIELD_MALFORMED;
    if (status / 100 == 1)
        return H2_FIELD_MALFORMED;
    if (status / 100 == 2 && stream->asked_connect)
        return H2_FIELD_DROP;
    return is_first && slice_to_u64(value, &length) && length <= INT64_MAX ? H2_FIELD_KEEP
                                                                           : H2_FIELD_MALFORMED;
}

/* Most fields have no rule of their own. */
static enum h2_field_rule regular_rule(struct h2_stream *stream, const struct hpack_field *field)
{
    stream->regular_seen = true;
    if (!field->is_name_valid || !field->is_value_valid)
        return H2_FIELD_MALFORMED;
    switch (field->id) {
    case FIELD_CONNECTION: /* §8.2.2 */
    case FIELD_KEEP_ALIVE:
    case FIELD_PROXY_CONNECTION:
    case FIELD_TRANSFER_ENCODING:
    case FIELD_UPGRADE:
        return H2_FIELD_MALFORMED;
    case FIELD_TE:
        return slice_equal_nocase(field->value, SLICE("trailers")) ? H2_FIELD_KEEP
                                                                   : H2_FIELD_MALFORMED;
    case FIELD_HOST:
        if (!stream->session->role->is_server)
            return H2_FIELD_KEEP;
        return see(stream, SEEN_HOST) && is_authority_text(field->value) ? H2_FIELD_KEEP
                                                                         : H2_FIELD_MALFORMED;
    case FIELD_CONTENT_LENGTH:
        return length_rule(stream, field->value);
    default:
        return H2_FIELD_KEEP;
    }
}

enum h2_field_rule h2_field_rule(struct h2_stream *stream, const struct hpack_field *field)
{
    return field->id >= FIELD_COUNT ? pseudo_rule(stream, field) : regular_rule(stream, field);
}

/* ---- whole messages ---- */

static bool request_complete(struct h2_stream *stream)
{
    const struct head *head = &stream->base.request;
    bool is_connect = slice_equal(head->method, SLICE("CONNECT"));
    bool has_authority = has_seen(stream, HPACK_AUTHORITY);

    stream->promised_bytes = is_connect ? CONTENT_LENGTH_UNKNOWN : head->content_length;
    if (is_connect && !has_seen(stream, HPACK_PROTOCOL)) /* §8.5 */
        return has_authority && !has_seen(stream, HPACK_SCHEME) && !has_seen(stream, HPACK_PATH);
    if (!has_seen(stream, HPACK_METHOD) || !has_seen(stream, HPACK_SCHEME) ||
        !has_seen(stream, HPACK_PATH))
        return false;
    if (head->target.len > 0 && head->target.ptr[0] != '/' && /* too long: not kept */
        !(slice_equal(head->target, SLICE("*")) && slice_equal(head->method, SLICE("OPTIONS"))))
        return false;
    if (has_seen(stream, HPACK_PROTOCOL)) /* RFC 8441 §4 */
        return is_connect && has_authority;
    return has_authority || (stream->pseudo_seen & SEEN_HOST) != 0;
}

static bool response_complete(struct h2_stream *stream, bool end_stream)
{
    const struct head *head = &stream->base.response;

    if (!has_seen(stream, HPACK_STATUS) || head->status == 101)
        return false;
    if (head->status / 100 == 1)
        return !end_stream;
    if (stream->asked_head || head->status == 204 || head->status == 304)
        stream->promised_bytes = 0;
    else if (!(stream->asked_connect && head->status / 100 == 2))
        stream->promised_bytes = head->content_length;
    return true;
}

bool h2_message_complete(struct h2_stream *stream, bool end_stream)
{
    bool is_right = end_stream; /* trailers are the end */

    if (stream->collecting != NULL)
        is_right = stream->session->role->is_server ? request_complete(stream)
                                                    : response_complete(stream, end_stream);
    return is_right && !(end_stream && stream->promised_bytes >= 0 &&
                         stream->body_bytes != (uint64_t)stream->promised_bytes);
}
