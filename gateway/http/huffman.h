/* http/huffman.h — the Huffman code of HPACK (RFC 7541 §5.2, Appendix B), reading only: what we write
 * is sent as it is, which costs a quarter more bytes in the few fields that no table holds and saves
 * their coding. */
#pragma once

#include "base/slice.h"

/* The shortest code has five bits, and the reader may write one byte more than it says. */
static inline size_t huffman_room(size_t coded_bytes)
{
    return coded_bytes * 8 / 5 + 2;
}

/* Writes the text to `out`, which has huffman_room() bytes. False: the padding is not the beginning of
 * EOS, is longer than seven bits, or EOS is among the symbols (§5.2: a decoding error). */
bool huffman_decode(struct slice coded, char *out, size_t *out_len);
