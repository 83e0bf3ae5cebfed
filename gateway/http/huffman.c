/* http/huffman.c — see huffman.h. The code is canonical: symbols of one length have successive codes, in
 * the order of their values, so the lengths alone make all tables. A look-up by eleven bits gives one or
 * two symbols, which is all that names, paths and tokens are made of; longer codes are found by length. */
#include "http/huffman.h"

#include "base/ensure.h"

enum {
    LOOKUP_BITS = 11,
    SHORTEST_BITS = 5,
    LONGEST_BITS = 30,
    SYMBOL_COUNT = 257,
    EOS = 256,
    PADDING_BITS_MAX = 7,
};

static const unsigned char code_bits[SYMBOL_COUNT] = {
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6,  10, 10, 12, 13, 6,  8,  11, 10, 10, 8,  11, 8,  6,  6,  6,
    5,  5,  5,  6,  6,  6,  6,  6,  6,  6,  7,  8,  15, 6,  12, 10, 13, 6,  7,  7,  7,  7,  7,  7,
    7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  8,  7,  8,  13, 19, 13, 14, 6,
    15, 5,  6,  5,  6,  5,  6,  6,  6,  5,  7,  7,  6,  6,  6,  5,  6,  7,  6,  5,  5,  6,  7,  7,
    7,  7,  7,  15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
};

/* All symbols of one length. */
struct code_length {
    uint32_t first;  /* code, to the right */
    uint64_t limit;  /* behind the last code, to the left of 32 bits */
    unsigned offset; /* of the first in `symbols` */
};

struct lookup {
    unsigned char text[2];
    unsigned char bits;  /* of all its symbols; 0: the code is longer */
    unsigned char count; /* of symbols */
};

static struct code_length lengths[LONGEST_BITS + 1];
static uint16_t symbols[SYMBOL_COUNT]; /* by code */
static struct lookup lookups[1 << LOOKUP_BITS];

/* The first symbol of 32 bits. */
static unsigned symbol_of(uint32_t bits, unsigned *out_length)
{
    unsigned length = SHORTEST_BITS;

    while (bits >= lengths[length].limit)
        length++;
    *out_length = length;
    return symbols[lengths[length].offset + ((bits >> (32 - length)) - lengths[length].first)];
}

static void fill_lengths(void)
{
    uint32_t code = 0;
    unsigned filled = 0;

    for (unsigned bits = SHORTEST_BITS; bits <= LONGEST_BITS; bits++) {
        code <<= 1;
        lengths[bits].first = code;
        lengths[bits].offset = filled;
        for (unsigned symbol = 0; symbol < SYMBOL_COUNT; symbol++) {
            if (code_bits[symbol] != bits)
                continue;
            symbols[filled++] = (uint16_t)symbol;
            code++;
        }
        lengths[bits].limit = (uint64_t)code << (32 - bits);
    }
    ENSURE(lengths[LONGEST_BITS].limit == UINT64_C(1) << 32); /* the code is complete */
}

static void fill_lookup(uint32_t index)
{
    struct lookup *lookup = &lookups[index];
    uint32_t bits = index << (32 - LOOKUP_BITS);
    unsigned length;

    while (lookup->count < sizeof(lookup->text)) {
        unsigned symbol = symbol_of(bits, &length);

        if (lookup->bits + length > LOOKUP_BITS)
            return;
        lookup->text[lookup->count++] = (unsigned char)symbol;
        lookup->bits = (unsigned char)(lookup->bits + length);
        bits <<= length;
    }
}

__attribute__((constructor)) static void fill_tables(void)
{
    fill_lengths();
    for (uint32_t index = 0; index < 1 << LOOKUP_BITS; index++)
        fill_lookup(index);
}

/* Bits to the left of `held`, taken from the input as there is room. */
struct bit_reader {
    const unsigned char *next;
    const unsigned char *end;
    uint64_t held;
    unsigned count;
};

static inline void refill(struct bit_reader *in)
{
    while (in->count <= 56 && in->next < in->end) {
        in->held |= (uint64_t)*in->next++ << (56 - in->count);
        in->count += 8;
    }
}

static inline void refill_word(struct bit_reader *in)
{
    uint64_t word;
    unsigned taken = (63 - in->count) / 8;

    memcpy(&word, in->next, sizeof(word));
    in->held |= __builtin_bswap64(word) >> in->count;
    in->next += taken;
    in->count += taken * 8;
    in->held &= ~UINT64_C(0) << (64 - in->count); /* what will be read again */
}

static inline void drop(struct bit_reader *in, unsigned bits)
{
    in->held <<= bits;
    in->count -= bits;
}

/* While a whole word is ahead no symbol can be cut off. */
static char *decode_words(struct bit_reader *in, char *out)
{
    while (in->end - in->next >= 8) {
        refill_word(in);
        while (in->count >= LONGEST_BITS) {
            struct lookup lookup = lookups[in->held >> (64 - LOOKUP_BITS)];
            unsigned length;

            if (lookup.bits > 0) {
                memcpy(out, lookup.text, 2);
                out += lookup.count;
                drop(in, lookup.bits);
                continue;
            }
            unsigned symbol = symbol_of((uint32_t)(in->held >> 32), &length);
            if (symbol == EOS)
                return NULL;
            *out++ = (char)symbol;
            drop(in, length);
        }
    }
    return out;
}

static bool is_padding(const struct bit_reader *in)
{
    if (in->count == 0)
        return true;
    return in->count <= PADDING_BITS_MAX && in->held == ~UINT64_C(0) << (64 - in->count);
}

bool huffman_decode(struct slice coded, char *out, size_t *out_len)
{
    struct bit_reader in = { .next = (const unsigned char *)coded.ptr };
    char *at;

    in.end = in.next + coded.len;
    at = decode_words(&in, out);
    if (at == NULL)
        return false;
    for (;;) {
        unsigned length;

        refill(&in);
        if (in.count < SHORTEST_BITS || is_padding(&in))
            break;
        /* Zeros are no code of EOS, so what is missing at the end cannot complete it. */
        unsigned symbol = symbol_of((uint32_t)(in.held >> 32), &length);
        if (symbol == EOS || length > in.count)
            return false;
        *at++ = (char)symbol;
        drop(&in, length);
    }
    *out_len = (size_t)(at - out);
    return is_padding(&in);
}
