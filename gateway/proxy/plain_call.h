/* proxy/plain_call.h — a call in the plain-JSON form: between the exchanges stands plain_json.h
 * instead of the relay. Each function is the plain counterpart of an exchange event; call.c calls
 * them inside call_enter()/call_leave(). */
#pragma once

#include "proxy/call.h"

/* In the arena of the call; the rest of `plain` is private. */
struct plain_call *plain_call_create(struct call *call);
void plain_call_deinit(struct call *call);

/* STATUS_OK; BODY_TOO_LARGE, UNSUPPORTED_MEDIA: the head says that this cannot become a plain call.
 */
MUST_CHECK enum status plain_call_check(const struct call *call);

void plain_call_body(struct call *call, struct slice bytes); /* from the client */
bool plain_call_is_collected(const struct call *call);
MUST_CHECK enum status plain_call_frame(struct call *call); /* all is there: fills relay.held */
void plain_call_drained(struct call *call);                 /* bytes left toward the client */

void plain_call_response_head(struct call *call, const struct head *head);
void plain_call_response_body(struct call *call, struct slice bytes);
void plain_call_response_end(struct call *call);

void plain_call_waited(struct call *call); /* wait_ms have passed */

/* An answer has begun, or a failure has something to be told beside it; false: reply as to anybody.
 */
bool plain_call_fail(struct call *call, const struct reply *reply);
