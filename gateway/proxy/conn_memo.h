/* proxy/conn_memo.h — what the proxy remembers of one client connection (in exchange_link.memo):
 * the last token that was verified on it, so that the same text is not hashed again, and who its
 * peer is. */
#pragma once

#include "auth/token.h"
#include "http/exchange.h"
#include "net/address.h"

struct conn_memo {
    char *token; /* owned; NULL: none yet */
    size_t token_len;
    struct principal *principal; /* a reference */
    enum token_use use;
    uint64_t verified_ms;
    char peer_ip[64];
    size_t peer_ip_len;
    bool peer_is_trusted;
};

/* The connection's memo, made at the first call. `trusted` decides once about the peer. */
struct conn_memo *conn_memo_of(struct exchange_link *link, const struct network *trusted,
                               size_t trusted_count);

/* As token_verify(), but a token that this connection brought in the last seconds costs a
 * comparison; its time is checked again all the same. */
MUST_CHECK enum status conn_memo_verify(struct conn_memo *memo, struct token_verifier *tokens,
                                        const struct clock *clock, struct slice token,
                                        enum token_use use, struct principal **out_principal);
