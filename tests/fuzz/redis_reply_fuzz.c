/* Replies of Redis: the first byte is the length of the pieces; whatever comes, what is handed out
 * is within the limits, and records are made of it or refused. */
#include "fuzz.h"

#include "base/mem.h"
#include "route/redis_reader.h"

enum { REPLY_BYTES = 4096, ELEMENTS = 64, DEPTH = 2 };

static size_t check(const struct redis_reply *reply, unsigned depth, size_t *elements)
{
    size_t bytes = reply->text.len;

    ENSURE(depth <= DEPTH);
    *elements += reply->item_count;
    for (size_t i = 0; i < reply->item_count; i++)
        bytes += check(&reply->items[i], depth + 1, elements);
    return bytes;
}

static void build_records(const struct redis_reply *reply)
{
    struct record_field fields[ELEMENTS];
    size_t count = reply->item_count / 2;

    for (size_t i = 0; i < count; i++)
        fields[i] = (struct record_field){ reply->items[2 * i].text, reply->items[2 * i + 1].text };
    for (unsigned kind = 0; kind < RECORD_KIND_COUNT; kind++) {
        struct record *record = NULL;

        if (record_from_fields((enum record_kind)kind, SLICE("id"), fields, count, NULL, &record) !=
            STATUS_OK)
            continue;
        struct record *copy = record_copy(record);

        ENSURE(record_equal(record, copy));
        record_unref(&record);
        record_unref(&copy);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct redis_reader_limits limits = { REPLY_BYTES, ELEMENTS, DEPTH };
    struct redis_reader *reader = redis_reader_create(&limits);
    struct slice left = slice_of(data, size);
    size_t piece_bytes = size > 0 ? (size_t)data[0] + 1 : 1;
    enum status status = STATUS_AGAIN;

    left = size > 0 ? slice_skip(left, 1) : left;
    while (left.len > 0 && status == STATUS_AGAIN) {
        struct redis_reply *reply = NULL;
        struct slice piece = slice_first(left, piece_bytes);

        left = slice_skip(left, piece.len);
        redis_reader_feed(reader, piece);
        while ((status = redis_reader_next(reader, &reply)) == STATUS_OK) {
            size_t elements = 0;

            ENSURE(check(reply, 0, &elements) <= REPLY_BYTES + 256);
            ENSURE(elements <= ELEMENTS);
            build_records(reply);
            redis_reply_destroy(&reply);
        }
    }
    ENSURE(redis_reader_error(reader) != NULL);
    redis_reader_destroy(&reader);
    return 0;
}
