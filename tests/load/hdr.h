/* tests/load/hdr.h — how long things took, in log-linear buckets (64 to an octave, so a value is off by less than 1.6 %), from
 * 1 µs to 71 minutes. Recording is a shift and an increment. */
#pragma once

#include <stdint.h>

enum { HDR_SUB_BITS = 6, HDR_BUCKETS = (32 - HDR_SUB_BITS + 1) << HDR_SUB_BITS };

struct hdr {
    uint64_t count;
    uint64_t sum_us;
    uint32_t max_us;
    uint32_t counts[HDR_BUCKETS];
};

void hdr_record(struct hdr *hdr, uint64_t us);
void hdr_merge(struct hdr *into, const struct hdr *from);

/* The value that `ratio` (0 … 1) of all recorded ones do not exceed; 0 when there is none. */
uint32_t hdr_quantile_us(const struct hdr *hdr, double ratio);
