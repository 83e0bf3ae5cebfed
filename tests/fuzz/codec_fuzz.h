/* codec_fuzz.h — codecs under a fuzzer: a raw peer that says what the input says, in pieces, at the
 * other end of a conn_memory, and an owner with the least of manners. What the owner saw is written
 * down, so that a run in pieces can be compared with one at once. */
#pragma once

#include "fuzz.h"

#include "http/client.h"
#include "http/server.h"

/* The first two bytes of every input. */
struct codec_input {
    size_t piece_bytes;  /* 0: everything at once */
    unsigned mode;       /* what the owner does; see below */
    struct slice script; /* what the peer says */
};

enum codec_mode {
    MODE_EARLY = 1 << 0,   /* answers when the head is there, whatever follows */
    MODE_ECHO = 1 << 1,    /* sends back what comes */
    MODE_HOLD = 1 << 2,    /* consumes nothing until the end */
    MODE_CONNECT = 1 << 3, /* plain CONNECT is allowed; clients: CONNECT is what they ask */
    MODE_TIGHT = 1 << 4,   /* small limits: everything is a flood */
    MODE_FIN = 1 << 5,     /* the peer closes when it has said everything */
    MODE_HEAD = 1 << 6,    /* clients: HEAD */
    MODE_UPGRADE = 1 << 7, /* clients: WebSocket */
};

struct codec_input codec_input_of(const uint8_t *data, size_t size);

/* What the owner saw, told in `*seen` (the caller's, to be ended with buf_deinit). Returns false when
 * a limit that depends on time or on the size of the pieces was hit, so that runs may differ. */
bool codec_serve(const struct codec_input *input, struct slice greeting, struct buf *seen);
bool codec_ask(const struct codec_input *input, struct slice greeting, bool is_h2,
               struct buf *seen);

/* Runs `input` as it says and, without MODE_TIGHT, once more at once: both must have seen the same. */
typedef bool codec_run_fn(const struct codec_input *input, struct buf *seen);
void codec_compare(const uint8_t *data, size_t size, codec_run_fn *run);
