/* http/h1_parser.h — strict heads of HTTP/1.1 (RFC 9112): what a stranger sends becomes a struct
 * head and its framing, or a status that refuses it. Clients and guests are read with equal
 * distrust: CRLF only, no folding, no blank before a colon, one framing, one Host. Pure functions;
 * private to this folder. */
#pragma once

#include "http/limits.h"
#include "http/message.h"

/* Finds the end of a head that arrives in pieces; every byte is looked at once. Zeroed at the start
 * of each head. */
struct h1_scan {
    size_t line_start; /* of the line that is not complete yet */
    size_t scanned;
    size_t line_count;
};

/* OK: the head, with its empty line, is the first *out_len bytes (2: a lone empty line). AGAIN: not
 * complete. MALFORMED: a LF without CR. `bytes` are those of the last call and more. */
MUST_CHECK enum status h1_scan_head(struct h1_scan *scan, struct slice bytes, size_t *out_len);

struct h1_framing {
    enum http_version version;
    bool is_chunked;
    bool keep_alive;       /* as far as the sender is concerned */
    bool expects_continue; /* requests */
    bool is_upgrade; /* `Upgrade: websocket` and `Connection: upgrade`; requests: GET without a body
                      */
    bool is_connect; /* requests */
};

struct h1_rules {
    const struct http_limits *limits;
    struct slice scheme; /* of the connection */
    bool allow_connect;
};

/* `bytes`: a whole head. Everything is copied into `arena`. On an error *out_head holds what was
 * understood until then, fit for shaping the refusal: MALFORMED, UNSUPPORTED, VERSION_UNSUPPORTED,
 * METHOD_NOT_ALLOWED, TARGET_TOO_LONG, HEADERS_TOO_LARGE, EXPECTATION_FAILED. Hop-by-hop fields are
 * left out, but TE; so is what Connection names. */
MUST_CHECK enum status h1_parse_request(struct slice bytes, const struct h1_rules *rules,
                                        struct arena *arena, struct head *out_head,
                                        struct h1_framing *out_framing);

/* Looks at a request line whose head is not complete, so that nonsense is refused at once. `line`
 * has its CRLF. */
MUST_CHECK enum status h1_check_request_line(struct slice line, const struct h1_rules *rules);

/* MALFORMED or HEADERS_TOO_LARGE. */
MUST_CHECK enum status h1_parse_response(struct slice bytes, const struct http_limits *limits,
                                         struct arena *arena, struct head *out_head,
                                         struct h1_framing *out_framing);

/* `bytes`: the lines of a trailer section with the empty line. Fields that would frame or route are
 * MALFORMED. */
MUST_CHECK enum status h1_parse_trailers(struct slice bytes, const struct http_limits *limits,
                                         struct arena *arena, struct fields *out_fields);
