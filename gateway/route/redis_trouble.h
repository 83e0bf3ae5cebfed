/* route/redis_trouble.h — why Redis, or a sentinel, cannot be had: words for it, and when they are
 * worth a line in the log again. Part of route/. */
#pragma once

#include "route/redis_reader.h"

enum { REDIS_WHY_BYTES = 256 };

struct redis_trouble {
    uint64_t logged_ms;
    char why[REDIS_WHY_BYTES]; /* as logged last; empty: nothing is wrong */
};

/* Another reason than the last, or the same one half a minute later? Then it is noted as logged. */
bool redis_trouble_is_news(struct redis_trouble *trouble, const char *why, uint64_t now_ms);
void redis_trouble_is_over(struct redis_trouble *trouble);

/* Words for an error reply to `command`. */
void redis_refusal(const char *command, const struct redis_reply *reply,
                   char out_why[REDIS_WHY_BYTES]);
