/* http/cut_log.c — see cut_log.h. */
#include "http/cut_log.h"

#include "base/log.h"

enum { LINES_PER_SECOND = 10 };

static _Thread_local struct {
    uint64_t second_ms;
    unsigned lines;
    unsigned long long suppressed;
} rate;

void cut_log(const char *side, const char *reason, const struct address *peer, uint64_t now_ms)
{
    char host[ADDRESS_TEXT_BYTES] = "";

    if (now_ms - rate.second_ms >= 1000) {
        rate.second_ms = now_ms;
        rate.lines = 0;
    }
    if (rate.lines++ >= LINES_PER_SECOND) {
        rate.suppressed++;
        return;
    }
    if (peer->len > 0)
        address_host_text(peer, host);
    log_warn("http: connection cut side=%s reason=%s peer=%s suppressed=%llu", side, reason, host,
             rate.suppressed);
    rate.suppressed = 0;
}
