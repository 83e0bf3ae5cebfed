/* proxy/call_log.h — the access log's lines: one JSON object per call, or per refusal that the
 * codec gave. Targets without their query, no field that could hold a token. */
#pragma once

#include "proxy/call.h"

void call_log_line(const struct call *call);

/* Of the request of an HTTP/2 client, keeps what the line of an exec call, and the list of what is
 * open, say of it; the rest, and its memory, is gone. Only when nobody will read the request again. */
void call_log_keep(struct call *call);

void call_log_refusal(struct proxy *proxy, const struct exchange *exchange, enum status status,
                      struct slice request_id);
