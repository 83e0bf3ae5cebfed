/* auth/token_mint.h — makes tokens, with libjwt: for the commands `dev`, `token`, `session` and for the admin API. */
#pragma once

#include "auth/token.h"

struct token_claims {
    const char *issuer;
    const char *audience;
    const char *session_id;
    const char *computer_id;
    const char *user_id;             /* NULL: no sub */
    const char *kind;                /* "exec", "browser", "vnc" */
    const char *const *capabilities; /* NULL-terminated; NULL: no cap */
    const char *port;                /* NULL: no port */
    int64_t issued_wall_s;
    int64_t expires_wall_s;
};

/* `key_file`: the HS* secret or a PEM private key. Appends the token to `out_token`. Errors: CONFIG_INVALID, with the
 * reason in `out_error` (optional). */
MUST_CHECK enum status token_mint(const struct token_claims *claims, const struct key_options *key,
                                  struct buf *out_error, struct buf *out_token);
