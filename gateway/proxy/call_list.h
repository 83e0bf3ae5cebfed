/* proxy/call_list.h — the calls of one worker as operators see and end them. On the worker's
 * thread. */
#pragma once

#include "base/buf.h"
#include "proxy/proxy.h"

/* Appends one JSON object per open call, separated by commas, at most `limit`; returns how many.
 * No tokens, no queries. */
size_t proxy_list_calls(const struct proxy *proxy, size_t limit, struct buf *into);

/* Ends the call with this request id as `canceled`. False: there is none here. */
bool proxy_end_call(struct proxy *proxy, struct slice request_id);
