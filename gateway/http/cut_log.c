/* http/cut_log.c — see cut_log.h. */
#include "http/cut_log.h"

#include "base/log.h"

enum { LINES_PER_SECOND = 10 };

struct rate {
    uint64_t second_ms;
    unsigned lines;
    unsigned long long suppressed;
};

static void line(struct rate *rate, const char *what, const char *side, const char *reason,
                 const struct address *peer, uint64_t now_ms)
{
    char host[ADDRESS_TEXT_BYTES] = "";

    if (now_ms - rate->second_ms >= 1000) {
        rate->second_ms = now_ms;
        rate->lines = 0;
    }
    if (rate->lines++ >= LINES_PER_SECOND) {
        rate->suppressed++;
        return;
    }
    if (peer->len > 0)
        address_host_text(peer, host);
    log_warn("http: %s cut side=%s reason=%s peer=%s suppressed=%llu", what, side, reason, host,
             rate->suppressed);
    rate->suppressed = 0;
}

void cut_log(const char *side, const char *reason, const struct address *peer, uint64_t now_ms)
{
    static _Thread_local struct rate rate;

    line(&rate, "connection", side, reason, peer, now_ms);
}

void cut_log_stream(const char *side, const char *reason, const struct address *peer,
                    uint64_t now_ms)
{
    static _Thread_local struct rate rate;

    line(&rate, "stream", side, reason, peer, now_ms);
}
