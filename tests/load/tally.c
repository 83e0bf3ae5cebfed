/* tests/load/tally.c — see the header. */
#include "tally.h"

const char *outcome_text(unsigned outcome)
{
    static const char *const own[] = {
#define X(id, text) [OUTCOME_##id] = text,
        OUTCOME_TABLE(X)
#undef X
    };

    return outcome < CONNECT_CODE_COUNT ? connect_code_text((enum connect_code)outcome)
                                        : own[outcome];
}

uint64_t tally_errors(const struct tally *tally)
{
    uint64_t count = 0;

    for (unsigned i = 1; i < OUTCOME_COUNT; i++)
        count += tally->ends[i];
    return count;
}

void tally_merge(struct tally *into, const struct tally *from)
{
    into->started += from->started;
    into->done += from->done;
    into->done_measured += from->done_measured;
    for (unsigned i = 0; i < OUTCOME_COUNT; i++)
        into->ends[i] += from->ends[i];
    into->bytes_in += from->bytes_in;
    into->bytes_out += from->bytes_out;
    into->open += from->open;
    into->conns += from->conns;
    hdr_merge(&into->latency, &from->latency);
    hdr_merge(&into->events, &from->events);
}
