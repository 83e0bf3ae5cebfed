/* base/base64.c — see base64.h. */
#include "base/base64.h"

static const char standard_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

enum { NO_DIGIT = 64 };

static unsigned digit_of(char c, bool url_only)
{
    if (c >= 'A' && c <= 'Z')
        return (unsigned)(c - 'A');
    if (c >= 'a' && c <= 'z')
        return (unsigned)(c - 'a') + 26;
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0') + 52;
    if (c == '-' || (!url_only && c == '+'))
        return 62;
    if (c == '_' || (!url_only && c == '/'))
        return 63;
    return NO_DIGIT;
}

static bool decode(struct slice text, bool url_only, struct buf *into)
{
    size_t tail = text.len % 4;
    size_t decoded_len = text.len / 4 * 3 + (tail > 0 ? tail - 1 : 0);
    unsigned bits = 0;
    unsigned bit_count = 0;

    if (tail == 1)
        return false;
    char *out = buf_reserve(into, decoded_len);
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = digit_of(text.ptr[i], url_only);
        if (digit == NO_DIGIT)
            return false;
        bits = bits << 6 | digit;
        bit_count += 6;
        if (bit_count >= 8) {
            bit_count -= 8;
            *out++ = (char)(bits >> bit_count & 0xff);
        }
    }
    if ((bits & ((1u << bit_count) - 1)) != 0)
        return false; /* two texts for the same bytes: refuse all but one */
    buf_commit(into, decoded_len);
    return true;
}

static void encode(struct slice bytes, const char *alphabet, bool padded, struct buf *into)
{
    const unsigned char *in = (const unsigned char *)bytes.ptr;
    size_t left = bytes.len;
    char *start = buf_reserve(into, bytes.len / 3 * 4 + 4);
    char *out = start;

    for (; left >= 3; left -= 3, in += 3) {
        unsigned bits = (unsigned)in[0] << 16 | (unsigned)in[1] << 8 | in[2];
        *out++ = alphabet[bits >> 18];
        *out++ = alphabet[bits >> 12 & 63];
        *out++ = alphabet[bits >> 6 & 63];
        *out++ = alphabet[bits & 63];
    }
    if (left > 0) {
        unsigned bits = (unsigned)in[0] << 16 | (left > 1 ? (unsigned)in[1] << 8 : 0);
        *out++ = alphabet[bits >> 18];
        *out++ = alphabet[bits >> 12 & 63];
        if (left > 1)
            *out++ = alphabet[bits >> 6 & 63];
        for (size_t i = left; padded && i < 3; i++)
            *out++ = '=';
    }
    buf_commit(into, (size_t)(out - start));
}

bool base64url_decode(struct slice text, struct buf *into)
{
    return decode(text, true, into);
}

void base64url_encode(struct slice bytes, struct buf *into)
{
    encode(bytes, url_alphabet, false, into);
}

bool base64_decode(struct slice text, struct buf *into)
{
    if (text.len > 0 && text.len % 4 == 0 && text.ptr[text.len - 1] == '=')
        text.len -= text.ptr[text.len - 2] == '=' ? 2 : 1;
    return decode(text, false, into);
}

void base64_encode(struct slice bytes, struct buf *into)
{
    encode(bytes, standard_alphabet, true, into);
}
