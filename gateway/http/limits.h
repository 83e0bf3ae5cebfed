/* http/limits.h — what a peer may make us do; see SECURITY.md for the reasons. Config fills it;
 * codecs borrow it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct http_limits {
    /* heads */
    size_t fields_soft;        /* 128: 431 */
    size_t fields_hard;        /* 1000: close */
    size_t cookie_crumbs;      /* 128, apart from fields_soft */
    size_t field_bytes_soft;   /* 32 KiB decoded, 32 per field counted: 431 */
    size_t field_bytes_hard;   /* 64 KiB: close */
    size_t header_block_bytes; /* 64 KiB compressed: close */
    size_t target_bytes;       /* 8 KiB: 414 */
    /* flow */
    size_t window_bytes;  /* 64 KiB per stream and direction */
    size_t backlog_bytes; /* 256 KiB unsent per connection: then no more is framed */
    /* HTTP/1 */
    uint64_t head_timeout_ms;  /* 10 s for a whole request head */
    uint64_t keepalive_ms;     /* 60 s idle */
    size_t keepalive_requests; /* 1000 */
    /* HTTP/2 server */
    uint32_t streams;           /* 1024 at once */
    uint32_t streams_untrusted; /* 100 until a token was verified */
    uint64_t streams_total;     /* 10 000, then graceful GOAWAY */
    uint64_t idle_ms;           /* 120 s without a stream: GOAWAY */
    uint32_t reset_burst;       /* 200 */
    uint32_t reset_rate;        /* 20/s */
    uint32_t reset_sample; /* 500: when half of that many streams ended in a reset within 1 s */
    /* HTTP/2, both roles: floods end the connection with ENHANCE_YOUR_CALM */
    size_t outbound_frames;           /* 1000 queued beside the streams' own frames */
    uint32_t glitches;                /* 100 in 60 s, graceful GOAWAY at three quarters */
    uint32_t pings;                   /* 50 in 10 s */
    uint32_t settings_frames;         /* 10 in 60 s */
    uint32_t priorities_per_stream;   /* 100 × (1 + streams so far) */
    uint32_t window_updates_per_data; /* 1 + 2 × (streams so far + 10 × DATA frames that we sent) */
    uint32_t empty_data_frames;       /* 5 in a row */
    uint32_t continuation_frames;     /* 64 in one header block */
    uint64_t overhead_bytes;          /* 1 MiB: all bytes ÷ 8 may not exceed payload + this */
    /* both */
    uint64_t write_stall_ms;  /* 60 s without a byte accepted */
    uint64_t ping_ms;         /* PING after 10 s of silence while streams are open */
    uint64_t ping_timeout_ms; /* 5 s to answer */
};

/* The defaults of SECURITY.md. */
void http_limits_init(struct http_limits *limits);
