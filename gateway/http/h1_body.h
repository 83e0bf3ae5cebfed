/* http/h1_body.h — the body of a message as it arrives (RFC 9112 §6, §7): by length, in chunks,
 * until the connection ends, or raw after an upgrade. Hands out slices of the input, keeps nothing
 * but an incomplete trailer section. */
#pragma once

#include "base/buf.h"
#include "http/h1_parser.h"

enum h1_body_kind { H1_BODY_NONE, H1_BODY_LENGTH, H1_BODY_CHUNKED, H1_BODY_UNTIL_CLOSE };

enum h1_body_step {
    H1_STEP_MORE, /* the input is used up */
    H1_STEP_DATA,
    H1_STEP_END, /* what is left of the input is not this message's */
    H1_STEP_BAD,
};

struct h1_body {
    enum h1_body_kind kind;
    uint64_t left; /* of the body, or of this chunk */
    unsigned char state;
    unsigned char digit_count;
    unsigned extension_bytes;       /* of this extension */
    unsigned extension_total_bytes; /* of this body */
    struct buf trailers; /* incomplete, or complete at H1_STEP_END; empty when there are none */
    struct h1_scan scan;
};

/* On a zeroed body, or one that was deinitialised. */
void h1_body_init(struct h1_body *body, enum h1_body_kind kind, uint64_t length);
void h1_body_deinit(struct h1_body *body);

/* Takes what it can from the front of *in. At H1_STEP_DATA *out_data is a part of it, not empty. */
enum h1_body_step h1_body_next(struct h1_body *body, const struct http_limits *limits,
                               struct slice *in, struct slice *out_data);

/* Is an end of the connection here the end of the message? */
static inline bool h1_body_may_end(const struct h1_body *body)
{
    return body->kind == H1_BODY_UNTIL_CLOSE;
}
