/* http/h2_flood.h — counts what a peer may not do often on one HTTP/2 connection (SECURITY.md,
 * Limits). Arithmetic only: each function counts one event and says whether that was one too many.
 * Private to this folder. */
#pragma once

#include <stdbool.h>

#include "http/limits.h"

enum { H2_RESET_SAMPLE_MAX = 512 };

/* Events within a span of time that starts with the first of them. */
struct h2_span {
    uint64_t start_ms;
    uint32_t count;
};

struct h2_flood {
    struct h2_span pings, settings, glitches, refused;
    uint64_t streams; /* opened so far, by either side */
    uint64_t priorities;
    uint64_t window_updates;
    uint64_t data_sent; /* frames */
    uint64_t total_bytes;
    uint64_t payload_bytes;
    uint32_t empty_data; /* in a row */
    uint32_t reset_tokens;
    uint64_t refilled_ms;
    uint8_t premature[H2_RESET_SAMPLE_MAX / 8]; /* the last streams: was it reset at once? */
    uint32_t sampled, premature_count, sample_at;
};

void h2_flood_init(struct h2_flood *flood, const struct http_limits *limits, uint64_t now_ms);

bool h2_flood_ping(struct h2_flood *flood, const struct http_limits *limits, uint64_t now_ms);
bool h2_flood_settings(struct h2_flood *flood, const struct http_limits *limits, uint64_t now_ms);
bool h2_flood_priority(struct h2_flood *flood, const struct http_limits *limits);
bool h2_flood_window_update(struct h2_flood *flood, const struct http_limits *limits);
bool h2_flood_data(struct h2_flood *flood, const struct http_limits *limits, bool is_empty);

/* All bytes received so far against payload in both directions: catches frames that nothing else
 * counts. */
bool h2_flood_overhead(const struct h2_flood *flood, const struct http_limits *limits);

/* A stream above the limit was refused. */
bool h2_flood_refused(struct h2_flood *flood, const struct http_limits *limits, uint64_t now_ms);

/* RST_STREAM of the peer: a bucket. */
bool h2_flood_reset(struct h2_flood *flood, const struct http_limits *limits, uint64_t now_ms);

/* A stream of the peer ended; `premature`: reset by the peer within a second of opening. */
bool h2_flood_stream_ended(struct h2_flood *flood, const struct http_limits *limits,
                           bool premature);

/* Counts a protocol glitch; the caller compares the count in this minute with limits->glitches. */
uint32_t h2_flood_glitch(struct h2_flood *flood, uint64_t now_ms);
