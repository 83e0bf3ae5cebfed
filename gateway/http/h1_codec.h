/* http/h1_codec.h — the state of one HTTP/1 server connection, shared by its two files: h1_codec.c
 * (life, output, operations, time) and h1_input.c (bytes to events). Private to them. */
#pragma once

#include "http/codec.h"
#include "http/h1_body.h"
#include "http/h1_parser.h"
#include "http/h1_writer.h"
#include "net/timer.h"

enum { H1_STREAM_ARENA_BYTES = 3072 };

struct h1_codec;

/* Lives until the codec has detached it and the owner has released it. */
struct h1_stream {
    struct exchange base;
    struct h1_codec *codec; /* memory is valid as long as the stream */
    struct h1_framing framing;
    size_t unconsumed_bytes;
    bool is_attached;
    bool is_released;
    bool is_delivered; /* an owner has it */
    bool is_tunnel;
    bool said_continue;
    char inline_memory[H1_STREAM_ARENA_BYTES];
};

/* Draining: a client that was busy a moment ago may have its next request on the way, which is served
 * and told that the conn closes; so a conn closes only after so long without one. */
enum { H1_LAST_CALL_MS = 2000 };

struct h1_codec {
    struct server_codec base;
    struct h1_stream *stream; /* the present one, or NULL */
    struct h1_body body;
    struct h1_writer writer;
    struct h1_scan scan;
    struct buf pending; /* read, not understood yet */
    struct task work;
    struct timer deadline; /* head, keep-alive, 100-continue */
    struct timer stall;
    size_t request_count;
    size_t stream_count; /* not freed yet */
    unsigned entered;    /* depth of our own functions that call events */
    unsigned blank_lines;
    bool head_started;
    bool keep_alive;  /* after the present response */
    bool input_ended; /* the conn gives no more */
    bool is_reading;
    bool is_broken;    /* the owner broke HTTP: reset it, then close */
    bool is_doomed;    /* close at once, the owner knows */
    bool is_finishing; /* close politely once the output is out */
    bool end_due;      /* on_end is to be said */
    bool is_shut;
    bool is_closed;
    bool is_destroyed;
};

static inline const struct http_limits *h1_codec_limits(const struct h1_codec *c)
{
    return http_server_options(c->base.server)->limits;
}

static inline struct http_server_counters *h1_codec_counters(const struct h1_codec *c)
{
    return http_server_counters_mutable(c->base.server);
}

static inline bool h1_stream_has_owner(const struct h1_stream *stream)
{
    return stream->is_delivered && !stream->is_released && !stream->base.is_dead;
}

/* ---- h1_codec.c ---- */

void h1_codec_schedule(struct h1_codec *c); /* work at the end of this turn */
struct h1_stream *h1_stream_create(struct h1_codec *c);

/* Lingers when politely; tells the server. */
void h1_codec_close(struct h1_codec *c, bool politely);

/* The present stream is over before its time; the owner is told last. Callers are entered. */
void h1_codec_lose_stream(struct h1_codec *c, enum exchange_reset reason);
void h1_codec_lost(struct h1_codec *c, enum exchange_reset reason); /* both */

/* ---- h1_input.c; callers are entered ---- */

void h1_codec_read(struct h1_codec *c);
void h1_codec_feed(struct h1_codec *c, struct slice bytes);
void h1_codec_take_pending(struct h1_codec *c);
bool h1_codec_takes_body(const struct h1_codec *c);
void h1_codec_update_reading(struct h1_codec *c);
void h1_codec_arm_deadline(struct h1_codec *c);
