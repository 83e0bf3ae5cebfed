/* tests/load/identity.h — the tokens of a run: given (a file, one a line) or minted with the control plane's key. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"

struct identity {
    struct slice token;
    struct slice bearer; /* "Bearer <token>" */
    struct slice cookie; /* "agentcomputer_access_session=<token>" */
};

struct identities {
    struct arena arena;
    struct identity *items;
    size_t count;
    bool is_minted; /* laid out by computer and session */
};

struct
    identity_mint { /* computers cmp_load_0 …, sessions ses_load_<computer>_<n>; see tests/load/run */
    const char *key_file, *kid, *algorithm, *issuer;
    bool is_access; /* access-session tokens for published ports, else connect tokens */
    uint64_t computers, sessions;
    uint64_t life_s;
};

/* Errors: CONFIG_INVALID with the reason in `out_error`. */
MUST_CHECK enum status identities_mint(struct identities *out, const struct identity_mint *mint,
                                       struct buf *out_error);
MUST_CHECK enum status identities_read(struct identities *out, const char *file,
                                       struct buf *out_error);
void identities_deinit(struct identities *identities);
