/* agent/plain_reply.h — a whole answer to an exchange that nobody needs any more. */
#pragma once

#include "http/exchange.h"

/* Takes the exchange: answers, drops what the request still sends, releases it in the end. `type`
 * may be empty when `body` is; it must live as long as the exchange. */
void plain_reply(struct exchange *exchange, unsigned status, struct slice type, struct slice body);

/* {"code":…,"message":…} */
void plain_reply_error(struct exchange *exchange, unsigned status, const char *code_text,
                       struct slice words);

/* The same for an exchange whose whole answer is given already. */
void plain_reply_rest(struct exchange *exchange);
