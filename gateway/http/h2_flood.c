/* http/h2_flood.c — see h2_flood.h. */
#include "http/h2_flood.h"

enum {
    PING_SPAN_MS = 10000,
    MINUTE_MS = 60000,
    OVERHEAD_SHARE = 8,
};

static uint32_t count_in(struct h2_span *span, uint64_t now_ms, uint64_t length_ms)
{
    if (span->count == 0 || now_ms - span->start_ms >= length_ms)
        *span = (struct h2_span){ .start_ms = now_ms };
    return ++span->count;
}

void h2_flood_init(struct h2_flood *flood, const struct http_limits *limits, uint64_t now_ms)
{
    *flood = (struct h2_flood){ .reset_tokens = limits->reset_burst, .refilled_ms = now_ms };
}

bool h2_flood_ping(struct h2_flood *flood, const struct http_limits *limits, uint64_t now_ms)
{
    return count_in(&flood->pings, now_ms, PING_SPAN_MS) > limits->pings;
}

bool h2_flood_settings(struct h2_flood *flood, const struct http_limits *limits, uint64_t now_ms)
{
    return count_in(&flood->settings, now_ms, MINUTE_MS) > limits->settings_frames;
}

bool h2_flood_priority(struct h2_flood *flood, const struct http_limits *limits)
{
    return ++flood->priorities > limits->priorities_per_stream * (1 + flood->streams);
}

bool h2_flood_window_update(struct h2_flood *flood, const struct http_limits *limits)
{
    uint64_t earned = flood->streams + limits->window_updates_per_data * flood->data_sent;

    return ++flood->window_updates > 1 + 2 * earned;
}

bool h2_flood_data(struct h2_flood *flood, const struct http_limits *limits, bool is_empty)
{
    flood->empty_data = is_empty ? flood->empty_data + 1 : 0;
    return flood->empty_data > limits->empty_data_frames;
}

bool h2_flood_overhead(const struct h2_flood *flood, const struct http_limits *limits)
{
    return flood->total_bytes / OVERHEAD_SHARE > flood->payload_bytes + limits->overhead_bytes;
}

bool h2_flood_refused(struct h2_flood *flood, const struct http_limits *limits, uint64_t now_ms)
{
    return count_in(&flood->refused, now_ms, MINUTE_MS) > limits->streams;
}

bool h2_flood_reset(struct h2_flood *flood, const struct http_limits *limits, uint64_t now_ms)
{
    uint64_t earned = (now_ms - flood->refilled_ms) * limits->reset_rate / 1000;

    if (earned > 0) {
        uint64_t tokens = flood->reset_tokens + earned;

        flood->reset_tokens = tokens < limits->reset_burst ? (uint32_t)tokens : limits->reset_burst;
        flood->refilled_ms = now_ms;
    }
    if (flood->reset_tokens == 0)
        return true;
    flood->reset_tokens--;
    return false;
}

bool h2_flood_stream_ended(struct h2_flood *flood, const struct http_limits *limits, bool premature)
{
    uint32_t size =
        limits->reset_sample < H2_RESET_SAMPLE_MAX ? limits->reset_sample : H2_RESET_SAMPLE_MAX;
    uint8_t *byte = &flood->premature[flood->sample_at / 8];
    uint8_t bit = (uint8_t)(1u << flood->sample_at % 8);

    if (size == 0)
        return false;
    flood->premature_count -= (*byte & bit) != 0;
    *byte = (uint8_t)(premature ? *byte | bit : *byte & ~bit);
    flood->premature_count += premature;
    flood->sample_at = (flood->sample_at + 1) % size;
    if (flood->sampled < size)
        flood->sampled++;
    return flood->sampled == size && flood->premature_count * 2 >= size;
}

uint32_t h2_flood_glitch(struct h2_flood *flood, uint64_t now_ms)
{
    return count_in(&flood->glitches, now_ms, MINUTE_MS);
}
