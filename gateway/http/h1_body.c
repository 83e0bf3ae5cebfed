/* http/h1_body.c — see h1_body.h. Chunk lines are a small machine over bytes; chunk data passes in
 * slices. */
#include "http/h1_body.h"

enum {
    SIZE_DIGITS = 16,
    EXTENSION_BYTES = 64,
    EXTENSION_TOTAL_BYTES = 1024,
};

enum chunk_state {
    CHUNK_SIZE,
    CHUNK_EXTENSION,
    CHUNK_QUOTED,
    CHUNK_QUOTED_PAIR,
    CHUNK_LINE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_TRAILERS,
    CHUNK_BAD,
};

void h1_body_init(struct h1_body *body, enum h1_body_kind kind, uint64_t length)
{
    *body = (struct h1_body){ .kind = kind, .left = length };
}

void h1_body_deinit(struct h1_body *body)
{
    buf_deinit(&body->trailers);
}

static enum chunk_state take_size(struct h1_body *body, unsigned char c)
{
    int digit = hex_digit((char)c);

    if (digit >= 0) {
        if (body->digit_count++ == SIZE_DIGITS || body->left > (uint64_t)INT64_MAX >> 4)
            return CHUNK_BAD;
        body->left = body->left << 4 | (unsigned)digit;
        return CHUNK_SIZE;
    }
    if (body->digit_count == 0)
        return CHUNK_BAD;
    body->extension_bytes = 0;
    return c == ';' ? CHUNK_EXTENSION : c == '\r' ? CHUNK_LINE_LF : CHUNK_BAD;
}

/* Extensions are looked through and dropped; a line end inside quotes is an attack. */
static enum chunk_state take_extension(struct h1_body *body, unsigned char c)
{
    bool is_quoted = body->state != CHUNK_EXTENSION;

    if (c == '\r' && !is_quoted)
        return CHUNK_LINE_LF;
    if ((c < 0x20 && c != '\t') || c == 0x7f)
        return CHUNK_BAD;
    if (c == ';' && !is_quoted)
        body->extension_bytes = 0;
    else if (++body->extension_bytes > EXTENSION_BYTES)
        return CHUNK_BAD;
    if (++body->extension_total_bytes > EXTENSION_TOTAL_BYTES)
        return CHUNK_BAD;
    if (body->state == CHUNK_QUOTED_PAIR)
        return CHUNK_QUOTED;
    if (c == '"')
        return is_quoted ? CHUNK_EXTENSION : CHUNK_QUOTED;
    return is_quoted && c == '\\' ? CHUNK_QUOTED_PAIR : (enum chunk_state)body->state;
}

static enum chunk_state take_line_end(struct h1_body *body, unsigned char c)
{
    body->digit_count = 0;
    if (c != '\n')
        return CHUNK_BAD;
    return body->left > 0 ? CHUNK_DATA : CHUNK_TRAILERS;
}

static enum chunk_state take_byte(struct h1_body *body, unsigned char c)
{
    switch ((enum chunk_state)body->state) {
    case CHUNK_SIZE:
        return take_size(body, c);
    case CHUNK_EXTENSION:
    case CHUNK_QUOTED:
    case CHUNK_QUOTED_PAIR:
        return take_extension(body, c);
    case CHUNK_LINE_LF:
        return take_line_end(body, c);
    case CHUNK_DATA_CR:
        return c == '\r' ? CHUNK_DATA_LF : CHUNK_BAD;
    case CHUNK_DATA_LF:
        return c == '\n' ? CHUNK_SIZE : CHUNK_BAD;
    default:
        return CHUNK_BAD;
    }
}

static enum h1_body_step take_trailers(struct h1_body *body, const struct http_limits *limits,
                                       struct slice *in)
{
    size_t len;

    buf_append(&body->trailers, *in);
    enum status status = h1_scan_head(&body->scan, buf_slice(&body->trailers), &len);
    if (status == STATUS_MALFORMED)
        return H1_STEP_BAD;
    if (status == STATUS_AGAIN) {
        *in = slice_skip(*in, in->len);
        return body->trailers.len > limits->field_bytes_soft ? H1_STEP_BAD : H1_STEP_MORE;
    }

    size_t extra = body->trailers.len - len;
    *in = slice_skip(*in, in->len - extra);
    body->trailers.len = len;
    body->kind = H1_BODY_NONE;
    if (len == 2) /* the empty line alone */
        buf_deinit(&body->trailers);
    return H1_STEP_END;
}

static struct slice take_data(struct h1_body *body, struct slice *in)
{
    size_t count = body->left < in->len ? (size_t)body->left : in->len;
    struct slice data = slice_first(*in, count);

    body->left -= count;
    *in = slice_skip(*in, count);
    return data;
}

static enum h1_body_step next_of_chunks(struct h1_body *body, const struct http_limits *limits,
                                        struct slice *in, struct slice *out_data)
{
    while (in->len > 0) {
        if (body->state == CHUNK_TRAILERS)
            return take_trailers(body, limits, in);
        if (body->state == CHUNK_DATA) {
            *out_data = take_data(body, in);
            if (body->left == 0)
                body->state = CHUNK_DATA_CR;
            return H1_STEP_DATA;
        }
        body->state = (unsigned char)take_byte(body, (unsigned char)in->ptr[0]);
        if (body->state == CHUNK_BAD)
            return H1_STEP_BAD;
        *in = slice_skip(*in, 1);
    }
    return H1_STEP_MORE;
}

enum h1_body_step h1_body_next(struct h1_body *body, const struct http_limits *limits,
                               struct slice *in, struct slice *out_data)
{
    switch (body->kind) {
    case H1_BODY_CHUNKED:
        return next_of_chunks(body, limits, in, out_data);
    case H1_BODY_LENGTH:
        if (body->left == 0) {
            body->kind = H1_BODY_NONE;
            return H1_STEP_END;
        }
        if (in->len == 0)
            return H1_STEP_MORE;
        *out_data = take_data(body, in);
        return H1_STEP_DATA;
    case H1_BODY_UNTIL_CLOSE:
        if (in->len == 0)
            return H1_STEP_MORE;
        *out_data = *in;
        *in = slice_skip(*in, in->len);
        return H1_STEP_DATA;
    case H1_BODY_NONE:
        break;
    }
    return H1_STEP_END;
}
