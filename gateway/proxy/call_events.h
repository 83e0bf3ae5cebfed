/* proxy/call_events.h — what the loop tells a call: the two exchanges, lookups and watches, the
 * timer. Private to the call. */
#pragma once

#include "proxy/call.h"

extern const struct exchange_events call_client_events;
extern const struct exchange_events call_upstream_events;

void call_on_timer(struct timer *timer);
record_change_fn call_on_session_change, call_on_computer_change;

/* From memory, or a lookup is in flight afterwards; a refusal fails the call. */
void call_find_session(struct call *call);
void call_find_computer(struct call *call);

/* call.c, for call_events.c */
void call_run(struct call *call);
void call_refused(struct call *call,
                  enum status status);  /* unseen by the agent: try again, or fail */
bool call_try_again(struct call *call); /* false: once is enough, or too much is known of it */
/* WAKING: the computer runs now. */
void call_woken(struct call *call);
void call_reconnect(struct call *call); /* the computer's record is another now */
void call_retry_now(struct call *call);
