/* proxy/json_scan.c — see json_scan.h. One cursor walks the text; nesting is counted, not recursed
 * into. */
#include "proxy/json_scan.h"

#include "base/utf8.h"

struct scan {
    const char *at, *end;
};

static void skip_blanks(struct scan *scan)
{
    while (scan->at < scan->end &&
           (*scan->at == ' ' || *scan->at == '\t' || *scan->at == '\n' || *scan->at == '\r'))
        scan->at++;
}

static bool take(struct scan *scan, char c)
{
    skip_blanks(scan);
    if (scan->at == scan->end || *scan->at != c)
        return false;
    scan->at++;
    return true;
}

/* From the opening to behind the closing quote. */
static bool take_string(struct scan *scan, struct slice *out_raw)
{
    skip_blanks(scan);
    const char *start = scan->at;

    if (!take(scan, '"'))
        return false;
    while (scan->at < scan->end && *scan->at != '"') {
        if ((unsigned char)*scan->at < 0x20)
            return false;
        scan->at += *scan->at == '\\' ? 2 : 1;
    }
    if (scan->at >= scan->end)
        return false;
    scan->at++;
    *out_raw = slice_of(start, (size_t)(scan->at - start));
    return true;
}

static bool is_scalar_byte(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == 'E' || c == '+' || c == '-' ||
           c == '.';
}

/* Brackets must balance; what stands between them is not judged further. */
static bool take_nested(struct scan *scan)
{
    struct slice ignored;
    size_t depth = 0;

    do {
        skip_blanks(scan);
        if (scan->at == scan->end)
            return false;
        char c = *scan->at;
        if (c == '"') {
            if (!take_string(scan, &ignored))
                return false;
            continue;
        }
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        scan->at++;
    } while (depth > 0);
    return true;
}

static bool take_value(struct scan *scan, struct slice *out_raw)
{
    skip_blanks(scan);
    const char *start = scan->at;
    bool is_ok = true;

    if (scan->at == scan->end)
        return false;
    if (*scan->at == '"')
        return take_string(scan, out_raw);
    if (*scan->at == '{' || *scan->at == '[') {
        is_ok = take_nested(scan);
    } else {
        while (scan->at < scan->end && is_scalar_byte(*scan->at))
            scan->at++;
    }
    *out_raw = slice_of(start, (size_t)(scan->at - start));
    return is_ok && out_raw->len > 0;
}

bool json_scan_member(struct slice object, struct slice key, struct slice *out_raw)
{
    struct scan scan = { .at = object.ptr, .end = object.ptr + object.len };
    struct slice name;

    if (!take(&scan, '{'))
        return false;
    do {
        if (!take_string(&scan, &name) || !take(&scan, ':') || !take_value(&scan, out_raw))
            return false;
        if (slice_equal(slice_of(name.ptr + 1, name.len - 2), key))
            return true;
    } while (take(&scan, ','));
    return false;
}

/* ---- strings ---- */

static bool take_hex4(const char **at, const char *end, unsigned *out)
{
    unsigned number = 0;

    if (end - *at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit((*at)[i]);

        if (digit < 0)
            return false;
        number = number << 4 | (unsigned)digit;
    }
    *at += 4;
    *out = number;
    return true;
}

static void append_code_point(struct buf *into, unsigned code)
{
    if (code < 0x80) {
        buf_append_byte(into, (char)code);
    } else if (code < 0x800) {
        buf_append_byte(into, (char)(0xc0 | code >> 6));
        buf_append_byte(into, (char)(0x80 | (code & 0x3f)));
    } else if (code < 0x10000) {
        buf_append_byte(into, (char)(0xe0 | code >> 12));
        buf_append_byte(into, (char)(0x80 | (code >> 6 & 0x3f)));
        buf_append_byte(into, (char)(0x80 | (code & 0x3f)));
    } else {
        buf_append_byte(into, (char)(0xf0 | code >> 18));
        buf_append_byte(into, (char)(0x80 | (code >> 12 & 0x3f)));
        buf_append_byte(into, (char)(0x80 | (code >> 6 & 0x3f)));
        buf_append_byte(into, (char)(0x80 | (code & 0x3f)));
    }
}

/* Behind "\u": one unit, or a pair of surrogates; a lone one becomes U+FFFD. */
static bool append_unicode(const char **at, const char *end, struct buf *into)
{
    unsigned code, low;

    if (!take_hex4(at, end, &code))
        return false;
    if (code >= 0xd800 && code < 0xdc00 && end - *at >= 6 && (*at)[0] == '\\' && (*at)[1] == 'u') {
        const char *after = *at + 2;
        if (!take_hex4(&after, end, &low))
            return false;
        if (low >= 0xdc00 && low < 0xe000) {
            *at = after;
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        }
    }
    append_code_point(into, code >= 0xd800 && code < 0xe000 ? 0xfffd : code);
    return true;
}

static bool append_escape(const char **at, const char *end, struct buf *into)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";

    if (*at == end)
        return false;
    char c = *(*at)++;
    if (c == 'u')
        return append_unicode(at, end, into);
    const char *found = c != '\0' ? strchr(names, c) : NULL;
    if (found == NULL)
        return false;
    buf_append_byte(into, values[found - names]);
    return true;
}

bool json_scan_text(struct slice raw, struct buf *into)
{
    struct buf text = { 0 };
    bool is_ok = raw.len >= 2 && raw.ptr[0] == '"' && raw.ptr[raw.len - 1] == '"';
    const char *at = raw.ptr + 1, *end = raw.ptr + (is_ok ? raw.len - 1 : 1);

    while (is_ok && at < end) {
        if (*at == '\\') {
            at++;
            is_ok = append_escape(&at, end, &text);
        } else {
            is_ok = *at != '"' && (unsigned char)*at >= 0x20;
            buf_append_byte(&text, *at++);
        }
    }
    is_ok = is_ok && utf8_is_valid(buf_slice(&text));
    if (is_ok)
        buf_append(into, buf_slice(&text));
    buf_deinit(&text);
    return is_ok;
}
