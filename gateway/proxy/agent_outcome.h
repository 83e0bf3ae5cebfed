/* proxy/agent_outcome.h — what the agent's own answer says of how a call went: the code that the
 * metrics and the access log tell. Bytes pass untouched; looked at are the HTTP status, the
 * grpc-status of head or trailers, and the first bytes of the message that tells an error (the
 * Connect error of a unary answer, the last envelope of a Connect or gRPC-Web stream). */
#pragma once

#include "proxy/call.h"

/* The agent's head is here, before its body: notes what it says, and that the body is to be looked
 * at. */
void agent_outcome_head(struct call *call, const struct head *head);
/* The agent's answer is whole. */
void agent_outcome_end(struct call *call, const struct fields *trailers);

/* Of a call that has ended: why we ended it, or else what the agent said. */
enum connect_code agent_outcome_code(const struct call *call);
