/* http/h1_client.h — the state of one HTTP/1 client connection, shared by its two files:
 * h1_client.c (life, output, operations) and h1_response.c (bytes to events). Private to them. */
#pragma once

#include "http/client.h"
#include "http/h1_body.h"
#include "http/h1_parser.h"
#include "http/h1_writer.h"
#include "net/timer.h"

enum { H1_CALL_ARENA_BYTES = 3072 };

struct h1_client;

/* Lives until the client has detached it and the owner has released it. */
struct h1_call {
    struct exchange base;
    struct h1_client *client; /* memory is valid as long as the call */
    size_t unconsumed_bytes;
    unsigned interim_count;
    bool is_attached;
    bool is_released;
    bool has_head; /* the final one */
    bool is_tunnel;
    bool wants_tunnel;
    bool asks_connect; /* a tunnel by CONNECT */
    bool is_head_request;
    bool is_refused_by_us; /* our own check of the request failed; nothing was sent */
    bool heard;            /* a byte of the response came */
    bool keep_alive;
    char inline_memory[H1_CALL_ARENA_BYTES];
};

struct h1_client {
    struct http_client base;
    struct h1_call *call;
    struct h1_body body;
    struct h1_writer writer;
    struct h1_scan scan;
    struct buf pending; /* read, not understood yet */
    struct task work;
    struct timer stall;
    size_t call_count; /* not freed yet */
    unsigned entered;
    bool input_ended;
    bool is_reading;
    bool is_doomed; /* close at once; the owner of the call knows or is told by work */
    enum exchange_reset doom;
    bool ready_due; /* on_ready is to be said; so for the next one and on_capacity */
    bool capacity_due;
    bool is_closing;  /* no new exchanges */
    bool closing_due; /* on_closing is to be said */
    enum status closing_reason;
    bool is_closed; /* the conn is gone */
    bool closed_said;
    bool is_destroyed;
    bool is_shut;
};

static inline bool h1_call_has_owner(const struct h1_call *call)
{
    return !call->is_released && !call->base.is_dead;
}

/* ---- h1_client.c ---- */

void h1_client_schedule(struct h1_client *c); /* work at the end of this turn */
void h1_client_start_closing(struct h1_client *c, enum status reason);
void h1_client_close(
    struct h1_client *c); /* the conn, at once; the open exchange is told by h1_client_lost */
void h1_client_lost(struct h1_client *c, enum exchange_reset reason);

/* The conn broke or ended where it should not: was the request provably not processed? */
enum exchange_reset h1_client_loss(const struct h1_client *c);

/* ---- h1_response.c; callers are entered ---- */

void h1_client_read(struct h1_client *c);
void h1_client_take_pending(struct h1_client *c);
void h1_client_settle_end(
    struct h1_client *c); /* after a clean end of the conn, when `pending` moved */
void h1_client_update_reading(struct h1_client *c);
