/* h2_recorder.h — an owner of exchanges in tests: keeps what it is told, and can act inside events.
 */
#pragma once

#include "base/buf.h"
#include "http/exchange.h"

enum recorder_act { ACT_NOTHING, ACT_RELEASE, ACT_RESET };

struct recorder {
    struct exchange *exchange; /* NULL once released */
    struct buf body;
    struct buf trailers; /* "name: value\n" each */
    struct buf interim;  /* statuses, one a line */
    unsigned status;     /* of the response head */
    bool head_seen, ended, reset;
    enum exchange_reset reason;
    size_t drained_bytes;
    bool holds;                /* does not consume what it gets */
    unsigned events_after_end; /* what came after the end: must stay 0 */
    enum recorder_act on_body_act, on_end_act, on_head_act, on_reset_act, on_drained_act;
};

extern const struct exchange_events recorder_events;
void recorder_take(struct recorder *recorder, struct exchange *exchange);
void recorder_deinit(struct recorder *recorder); /* releases */

/* Sends "200", optionally a body, and the end. */
void recorder_answer(struct recorder *recorder, const char *body);
void recorder_send_head(struct recorder *recorder, unsigned status, bool end);
