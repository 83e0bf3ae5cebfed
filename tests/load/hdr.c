/* tests/load/hdr.c — see the header. Values below 64 have buckets of their own; above, the top seven bits choose. */
#include "hdr.h"

#include <math.h>
#include <stddef.h>

static unsigned bucket_of(uint32_t us)
{
    unsigned shift;

    if (us < (1u << HDR_SUB_BITS))
        return us;
    shift = 31u - (unsigned)__builtin_clz(us) - HDR_SUB_BITS;
    return ((shift + 1) << HDR_SUB_BITS) + ((us >> shift) - (1u << HDR_SUB_BITS));
}

/* The largest value that falls into it. */
static uint32_t bucket_top(unsigned bucket)
{
    unsigned shift = bucket >> HDR_SUB_BITS;
    uint64_t sub = bucket & ((1u << HDR_SUB_BITS) - 1);

    if (shift == 0)
        return (uint32_t)sub;
    shift--;
    return (uint32_t)(((sub + (1u << HDR_SUB_BITS) + 1) << shift) - 1);
}

void hdr_record(struct hdr *hdr, uint64_t us)
{
    uint32_t value = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;

    hdr->counts[bucket_of(value)]++;
    hdr->count++;
    hdr->sum_us += value;
    if (value > hdr->max_us)
        hdr->max_us = value;
}

void hdr_merge(struct hdr *into, const struct hdr *from)
{
    if (from->count == 0)
        return;
    for (size_t i = 0; i < HDR_BUCKETS; i++)
        into->counts[i] += from->counts[i];
    into->count += from->count;
    into->sum_us += from->sum_us;
    if (from->max_us > into->max_us)
        into->max_us = from->max_us;
}

uint32_t hdr_quantile_us(const struct hdr *hdr, double ratio)
{
    uint64_t rank = (uint64_t)ceil(ratio * (double)hdr->count);
    uint64_t seen = 0;

    for (unsigned i = 0; i < HDR_BUCKETS && hdr->count > 0; i++) {
        seen += hdr->counts[i];
        if (seen >= rank && seen > 0) {
            uint32_t top = bucket_top(i);
            return top < hdr->max_us ? top : hdr->max_us;
        }
    }
    return hdr->max_us;
}
