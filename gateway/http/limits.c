/* http/limits.c — the defaults; each is a row of SECURITY.md. */
#include "http/limits.h"

void http_limits_init(struct http_limits *limits)
{
    *limits = (struct http_limits){
        .fields_soft = 128,
        .fields_hard = 1000,
        .cookie_crumbs = 128,
        .field_bytes_soft = 32 * 1024,
        .field_bytes_hard = 64 * 1024,
        .header_block_bytes = 64 * 1024,
        .target_bytes = 8 * 1024,
        .window_bytes = 64 * 1024,
        .backlog_bytes = 256 * 1024,
        .head_timeout_ms = 10000,
        .keepalive_ms = 60000,
        .keepalive_requests = 1000,
        .streams = 1024,
        .streams_untrusted = 100,
        .streams_total = 10000,
        .idle_ms = 120000,
        .reset_burst = 200,
        .reset_rate = 20,
        .reset_sample = 500,
        .outbound_frames = 1000,
        .glitches = 100,
        .pings = 50,
        .settings_frames = 10,
        .priorities_per_stream = 100,
        .window_updates_per_data = 10,
        .empty_data_frames = 5,
        .continuation_frames = 64,
        .overhead_bytes = 1024 * 1024,
        .write_stall_ms = 60000,
        .ping_ms = 10000,
        .ping_timeout_ms = 5000,
    };
}
