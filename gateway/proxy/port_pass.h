/* proxy/port_pass.h — what passes between a client and the app behind a published port: heads with
 * what is ours taken off, and the handshake of a WebSocket in either protocol. */
#pragma once

#include "proxy/port_call.h"
#include "proxy/port_rewrite.h"

/* The head toward the app, in call->heads. */
void port_pass_request(struct call *call, struct head *out);

/* "https" or "http": how the client reaches us, as a trusted proxy says or as we see it. */
struct slice port_pass_scheme(const struct call *call);
