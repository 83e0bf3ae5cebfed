/* auth/token_cache.h — verdicts "good" by the digest of the token's text; private to auth/.
 * Bounded, every operation O(1); the least recently used entry leaves first. */
#pragma once

#include "auth/principal.h"
#include "base/list.h"
#include "base/map.h"

/* A token that was checked once. Only the time can change the verdict, so the times are kept beside
 * it. */
struct token_verdict {
    struct principal *principal;
    int64_t not_before_wall_ms; /* the later of nbf and iat; INT64_MIN: neither */
};

enum { TOKEN_CACHE_KEY_BYTES = 33 }; /* SHA-256 of the text, then the use */

struct token_cache {
    struct map entries;
    struct list by_use; /* the head's next is the least recently used */
    size_t entry_count_limit;
};

void token_cache_init(struct token_cache *cache, size_t entry_count_limit);
void token_cache_deinit(struct token_cache *cache);
void token_cache_clear(struct token_cache *cache);

/* Borrowed until the next call; NULL when absent. */
const struct token_verdict *token_cache_find(struct token_cache *cache, struct slice key);
/* `key` has TOKEN_CACHE_KEY_BYTES and is absent. Takes a reference of the principal for itself. */
void token_cache_put(struct token_cache *cache, struct slice key,
                     const struct token_verdict *verdict);
void token_cache_remove(struct token_cache *cache, struct slice key); /* absent is allowed */
