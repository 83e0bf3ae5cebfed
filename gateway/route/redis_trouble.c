/* route/redis_trouble.c — see redis_trouble.h. */
#include "route/redis_trouble.h"

#include <stdio.h>
#include <string.h>

enum { LOG_EVERY_MS = 30 * 1000 };

bool redis_trouble_is_news(struct redis_trouble *trouble, const char *why, uint64_t now_ms)
{
    if (strncmp(trouble->why, why, sizeof(trouble->why) - 1) == 0 &&
        now_ms - trouble->logged_ms < LOG_EVERY_MS)
        return false;
    trouble->logged_ms = now_ms;
    snprintf(trouble->why, sizeof(trouble->why), "%s", why);
    return true;
}

void redis_trouble_is_over(struct redis_trouble *trouble)
{
    trouble->why[0] = '\0';
}

void redis_refusal(const char *command, const struct redis_reply *reply,
                   char out_why[REDIS_WHY_BYTES])
{
    snprintf(out_why, REDIS_WHY_BYTES, "%s was refused: %.*s", command,
             SLICE_ARGS(slice_first(reply->text, 200)));
}
