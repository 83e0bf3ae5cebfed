/* upstream/agent_health.h — does it make sense to dial this agent now? Counts failures of our own
 * origin in a row (connect failed; the connection was lost before any stream completed), never what
 * an agent answers. After `failures` of them dials stop for a while that doubles each time; then
 * one dial probes.
 *
 *     CLOSED ── failures in a row ──▶ OPEN ── time ──▶ PROBING ── connected ──▶ CLOSED (one failure
 * short of OPEN) ▲──────── failed ─┘
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct agent_health_options {
    uint64_t min_ms, max_ms;
    unsigned failures;
};

struct agent_health { /* zeroed: healthy, nothing known */
    unsigned failures;
    bool is_tripped; /* OPEN or PROBING */
    bool is_probing;
    uint64_t delay_ms; /* of the last time it opened */
    uint64_t open_until_ms;
    uint64_t forget_at_ms; /* then old failures count no more */
};

/* No dial now, and no point in waiting for one. */
bool agent_health_is_open(const struct agent_health *health, uint64_t now_ms);

/* May a dial start? Then say so with agent_health_dial_started(). */
bool agent_health_may_dial(const struct agent_health *health, uint64_t now_ms);
void agent_health_dial_started(struct agent_health *health, uint64_t now_ms);

/* True when this failure opened it. `random` spreads the delay over its upper half. */
bool agent_health_failed(struct agent_health *health, const struct agent_health_options *options,
                         uint64_t now_ms, uint32_t random);
void agent_health_connected(
    struct agent_health *health); /* the probe is over, nothing is proven yet */
void agent_health_proved(struct agent_health *health);    /* a stream completed */
void agent_health_undecided(struct agent_health *health); /* a dial was given up */

/* Nothing worth remembering. */
bool agent_health_is_quiet(const struct agent_health *health, uint64_t now_ms);
