/* tests/load/results.h — what all threads measured, second by second: filled by the lanes, read by the main thread for the progress
 * line, the thresholds and the report. A mutex, taken once a second and thread. */
#pragma once

#include <pthread.h>

#include "scenario.h"
#include "tally.h"

struct second { /* of one load; complete when every lane has told its part */
    unsigned lanes;
    uint64_t started, done, errors, bytes_in, bytes_out, open, conns;
    uint64_t latencies, events;
    uint32_t p50_us, p90_us, p99_us, max_us;
    uint32_t event_p50_us, event_p99_us, event_max_us;
    struct tally *parts; /* until complete */
};

struct facts_second { /* of the gateway's process, and of ourselves */
    double cores, client_cores;
    double rss_mib;
    bool known;
};

struct results {
    pthread_mutex_t lock;
    const struct scenario *scenario;
    unsigned lane_count;
    size_t second_count;   /* capacity of the series */
    size_t complete_count; /* seconds that every lane has told */
    struct second *seconds[LOADS_MAX];
    struct tally totals[LOADS_MAX];
    struct facts_second *facts;
    /* From the end of the warm-up until all is over: the span of the calls that count. */
    double measured_s;
    double gateway_cpu_s; /* negative: not known */
    double client_cpu_s;
    bool gateway_is_known; /* memory, over the whole run */
    double gateway_rss_start_mib;
    double gateway_rss_peak_mib;
    struct hdr lateness; /* how late the client itself started what was due */
    double ran_s;
};

void results_init(struct results *results, const struct scenario *scenario, unsigned lane_count);
void results_deinit(struct results *results);

/* From a lane: its part of `second` of one load, and what of it counts. */
void results_add(struct results *results, size_t load, size_t second, const struct tally *part,
                 const struct tally *kept);
void results_add_lateness(struct results *results, const struct hdr *part);
/* After the last lane: what the last second lacks is nothing. */
void results_close(struct results *results);
