/* hpack_test.c — HPACK against nghttp2's: what one writes the other reads, over the life of a connection. */
#include <nghttp2/nghttp2.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/buf.h"
#include "http/hpack_table.h"

enum { BLOCK_BYTES = 64 * 1024 };

struct fixture {
    struct hpack_decoder decoder;
    struct hpack_encoder encoder;
    nghttp2_hd_inflater *inflater;
    nghttp2_hd_deflater *deflater;
    struct buf seen;
    char block[BLOCK_BYTES];
    size_t block_len;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    hpack_decoder_init(&f->decoder);
    hpack_encoder_init(&f->encoder);
    assert_int_equal(nghttp2_hd_inflate_new(&f->inflater), 0);
    assert_int_equal(nghttp2_hd_deflate_new(&f->deflater, HPACK_TABLE_BYTES), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    hpack_decoder_deinit(&f->decoder);
    hpack_encoder_deinit(&f->encoder);
    nghttp2_hd_inflate_del(f->inflater);
    nghttp2_hd_deflate_del(f->deflater);
    buf_deinit(&f->seen);
    free(f);
    return 0;
}

/* ---- reading ---- */

static bool note(void *arg, const struct hpack_field *field)
{
    struct fixture *f = arg;

    buf_append(&f->seen, field->name);
    buf_append(&f->seen, SLICE(": "));
    buf_append(&f->seen, field->value);
    buf_append_byte(&f->seen, '\n');
    if (field->id < FIELD_COUNT && field->id != FIELD_OTHER)
        assert_true(slice_equal(field_name((enum field_id)field->id), field->name));
    return true;
}

static enum status read_block(struct fixture *f, struct slice block)
{
    buf_clear(&f->seen);
    return hpack_decode(&f->decoder, block, note, f);
}

static void assert_read(struct fixture *f, struct slice block, const char *text)
{
    assert_int_equal(read_block(f, block), STATUS_OK);
    assert_string_equal(buf_text(&f->seen), text);
}

#define BYTES(text) slice_of(text, sizeof(text) - 1)

/* RFC 7541 Appendix C.4: three requests on one connection, Huffman-coded. */
static void examples_of_the_rfc_are_read(void **state)
{
    struct fixture *f = *state;

    assert_read(f, BYTES("\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"),
                ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\n");
    assert_read(f, BYTES("\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf"),
                ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\n"
                "cache-control: no-cache\n");
    assert_read(f,
                BYTES("\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49"
                      "\xe9\x5b\xb8\xe8\xb4\xbf"),
                ":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\n"
                "custom-key: custom-value\n");
    assert_int_equal(f->decoder.table.count, 3);
    assert_int_equal(f->decoder.table.size_bytes, 164);
}

static void wrong_blocks_are_refused(void **state)
{
    static const struct {
        const char *why;
        struct slice block;
    } rows[] = {
        { "index 0", { "\x80", 1 } },
        { "index behind the tables", { "\xbe", 1 } },
        { "name behind the tables", { "\x7e\x01x", 3 } },
        { "number that never ends", { "\xff\xff\xff\xff\xff\xff", 6 } },
        { "number cut off", { "\xff", 1 } },
        { "name cut off", { "\x40\x05x", 3 } },
        { "value cut off", { "\x40\x01x\x05y", 5 } },
        { "no value", { "\x40\x01x", 3 } },
        { "table larger than allowed", { "\x3f\xe2\x1f", 3 } },
        { "table size behind a field", { "\x82\x20", 2 } },
        { "padding of zeros", { "\x41\x81\x00", 3 } },
        { "padding of a byte", { "\x41\x82\x1f\xff", 4 } },
        { "EOS", { "\x41\x84\xff\xff\xff\xff", 6 } },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fixture f = { 0 };

        hpack_decoder_init(&f.decoder);
        if (read_block(&f, rows[i].block) != STATUS_MALFORMED)
            fail_msg("was read: %s", rows[i].why);
        hpack_decoder_deinit(&f.decoder);
        buf_deinit(&f.seen);
    }
    (void)state;
}

static bool count_valid(void *arg, const struct hpack_field *field)
{
    unsigned *counts = arg;

    counts[0] += field->is_name_valid;
    counts[1] += field->is_value_valid;
    counts[2]++;
    return true;
}

/* Smuggling by the table: what was wrong when it came is wrong each time that it is meant. */
static void verdicts_are_kept_in_the_table(void **state)
{
    struct fixture *f = *state;
    unsigned counts[3] = { 0 };

    assert_int_equal(hpack_decode(&f->decoder,
                                  BYTES("\x40\x01x\x03"
                                        "a\0b\x40\x01X\x01y\xbf\xbe\x0f\x30\x01z"),
                                  count_valid, counts),
                     STATUS_OK);
    assert_int_equal(counts[2], 5);
    assert_int_equal(counts[0], 3); /* not X, by name nor by index */
    assert_int_equal(counts[1], 3); /* not a\0b */
}

static void every_byte_survives_huffman(void **state)
{
    struct fixture *f = *state;

    for (unsigned byte = 0; byte < 256; byte++) {
        unsigned char text[96];
        memset(text, '0', sizeof(text)); /* short codes, so that coding pays */
        text[0] = text[41] = text[95] = (unsigned char)byte;
        nghttp2_nv nv = { (uint8_t *)"x-a", text, 3, sizeof(text), NGHTTP2_NV_FLAG_NO_INDEX };
        uint8_t block[256];
        ssize_t len = nghttp2_hd_deflate_hd(f->deflater, block, sizeof(block), &nv, 1);

        assert_true(len > 0 && len < 96);
        assert_int_equal(read_block(f, slice_of(block, (size_t)len)), STATUS_OK);
        assert_int_equal(f->seen.len, sizeof("x-a: \n") - 1 + sizeof(text));
        assert_memory_equal(buf_slice(&f->seen).ptr + 5, text, sizeof(text));
    }
}

static void an_entry_may_be_empty(void **state)
{
    struct fixture *f = *state;

    assert_read(f, BYTES("\x40\x00\x00\xbe"), ": \n: \n");
}

/* ---- writing ---- */

static void write_field(struct fixture *f, struct slice name, struct slice value,
                        enum hpack_policy policy)
{
    char *out = f->block + f->block_len;
    char *end = hpack_encode(&f->encoder, out, hpack_name_id(name), name, value, policy);

    assert_true((size_t)(end - out) <= hpack_room(name, value));
    f->block_len += (size_t)(end - out);
}

/* What nghttp2 makes of the block, into `seen`; it must be all of it. */
static void read_with_nghttp2(struct fixture *f)
{
    const uint8_t *at = (const uint8_t *)f->block;
    size_t left = f->block_len;

    buf_clear(&f->seen);
    for (;;) {
        nghttp2_nv nv;
        int flags = 0;
        ssize_t count = nghttp2_hd_inflate_hd2(f->inflater, &nv, &flags, at, left, 1);

        assert_true(count >= 0);
        at += count;
        left -= (size_t)count;
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0)
            buf_printf(&f->seen, "%.*s: %.*s\n", (int)nv.namelen, (const char *)nv.name,
                       (int)nv.valuelen, (const char *)nv.value);
        if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0)
            break;
    }
    nghttp2_hd_inflate_end_headers(f->inflater);
    assert_int_equal(left, 0);
}

static void begin_block(struct fixture *f)
{
    f->block_len = (size_t)(hpack_begin(&f->encoder, f->block) - f->block);
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* A thousand blocks of names and values that repeat, evict each other and change in size, while the peer moves the
 * table's limit: nghttp2 and our own reader must keep up. */
static void both_readers_follow_the_writer(void **state)
{
    static const char *const names[] = { ":path", ":authority", "content-type",
                                         "x-a",   "x-b",        "cookie",
                                         "etag",  "date",       "x-request-id" };
    struct fixture *f = *state;
    struct buf sent = { 0 };
    uint32_t seed = 7;

    for (unsigned i = 0; i < 1000; i++) {
        if (i % 97 == 96) {
            uint32_t limit = next_random(&seed) % 5000;

            hpack_encoder_limit(&f->encoder, limit);
            if (i % 2 == 0)
                hpack_encoder_limit(&f->encoder, limit / 2 + 1000);
        }
        begin_block(f);
        buf_clear(&sent);
        for (unsigned n = 0; n < 12; n++) {
            char text[700];
            struct slice name =
                slice_from_string(names[next_random(&seed) % (sizeof(names) / sizeof(names[0]))]);
            size_t size = next_random(&seed) % 5 == 0 ? next_random(&seed) % sizeof(text) : 8;

            memset(text, (int)('a' + next_random(&seed) % 6), size);
            write_field(f, name, slice_of(text, size),
                        next_random(&seed) % 8 == 0 ? HPACK_LITERAL : HPACK_INDEX);
            buf_printf(&sent, "%.*s: %.*s\n", SLICE_ARGS(name), (int)size, text);
        }
        read_with_nghttp2(f);
        assert_string_equal(buf_text(&f->seen), buf_text(&sent));
        assert_int_equal(read_block(f, slice_of(f->block, f->block_len)), STATUS_OK);
        assert_string_equal(buf_text(&f->seen), buf_text(&sent));
    }
    buf_deinit(&sent);
}

static void what_repeats_takes_one_byte(void **state)
{
    struct fixture *f = *state;

    begin_block(f);
    write_field(f, SLICE("content-type"), SLICE("application/connect+json"), HPACK_INDEX);
    write_field(f, SLICE("x-made-up"), SLICE("yes"), HPACK_INDEX);
    read_with_nghttp2(f);
    begin_block(f);
    write_field(f, SLICE("content-type"), SLICE("application/connect+json"), HPACK_INDEX);
    write_field(f, SLICE("x-made-up"), SLICE("yes"), HPACK_INDEX);
    write_field(f, SLICE(":status"), SLICE("200"), HPACK_INDEX);
    assert_int_equal(f->block_len, 3);
}

static void secrets_are_in_no_table(void **state)
{
    struct fixture *f = *state;

    begin_block(f);
    write_field(f, SLICE("authorization"), SLICE("Bearer secret"), HPACK_NEVER_INDEXED);
    assert_int_equal((unsigned char)f->block[0] & 0xf0, 0x10); /* RFC 7541 §6.2.3 */
    assert_int_equal(f->encoder.table.count, 0);
    begin_block(f);
    write_field(f, SLICE("x-request-id"), SLICE("1234"), HPACK_LITERAL);
    assert_int_equal((unsigned char)f->block[0] & 0xf0, 0x00);
    assert_int_equal(f->encoder.table.count, 0);
}

/* What nghttp2 writes we read: its Huffman code, its choice of indexing, its table sizes. */
static void nghttp2s_blocks_are_read(void **state)
{
    struct fixture *f = *state;
    struct buf sent = { 0 };
    uint32_t seed = 11;

    for (unsigned i = 0; i < 500; i++) {
        nghttp2_nv fields[8];
        char texts[8][64];

        buf_clear(&sent);
        for (unsigned n = 0; n < 8; n++) {
            size_t size = next_random(&seed) % sizeof(texts[n]);

            for (size_t at = 0; at < size; at++)
                texts[n][at] = (char)(' ' + next_random(&seed) % (i % 3 == 0 ? 90 : 3));
            fields[n] = (nghttp2_nv){ (uint8_t *)"x-abc", (uint8_t *)texts[n], 5, size, 0 };
            buf_printf(&sent, "x-abc: %.*s\n", (int)size, texts[n]);
        }
        if (i == 200)
            nghttp2_hd_deflate_change_table_size(f->deflater, 100);
        if (i == 300)
            nghttp2_hd_deflate_change_table_size(f->deflater, 3000);
        ssize_t len =
            nghttp2_hd_deflate_hd(f->deflater, (uint8_t *)f->block, sizeof(f->block), fields, 8);
        assert_true(len > 0);
        assert_int_equal(read_block(f, slice_of(f->block, (size_t)len)), STATUS_OK);
        assert_string_equal(buf_text(&f->seen), buf_text(&sent));
    }
    buf_deinit(&sent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(examples_of_the_rfc_are_read, setup, teardown),
        cmocka_unit_test(wrong_blocks_are_refused),
        cmocka_unit_test_setup_teardown(verdicts_are_kept_in_the_table, setup, teardown),
        cmocka_unit_test_setup_teardown(an_entry_may_be_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(every_byte_survives_huffman, setup, teardown),
        cmocka_unit_test_setup_teardown(both_readers_follow_the_writer, setup, teardown),
        cmocka_unit_test_setup_teardown(what_repeats_takes_one_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(secrets_are_in_no_table, setup, teardown),
        cmocka_unit_test_setup_teardown(nghttp2s_blocks_are_read, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
