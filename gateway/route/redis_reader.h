/* route/redis_reader.h — replies out of bytes, within limits; commands into bytes. Wraps hiredis,
 * which is seen only in the .c. Part of route/. */
#pragma once

#include "base/buf.h"
#include "base/status.h"
#include "route/route_store_redis.h"

struct redis_reader;

struct redis_reader_limits {
    size_t bytes;    /* of one reply */
    size_t elements; /* of one reply, in all */
    unsigned depth;  /* arrays in arrays: 1 allows flat ones */
};

struct redis_reader *redis_reader_create(const struct redis_reader_limits *limits);
void redis_reader_destroy(struct redis_reader **reader);

/* Copies `bytes`, which should be a small part of the limit. */
void redis_reader_feed(struct redis_reader *reader, struct slice bytes);

/* OK: one reply, owned. AGAIN: not whole yet. LIMIT_REACHED, MALFORMED: there will be no more;
 * `redis_reader_error` says why. */
MUST_CHECK enum status redis_reader_next(struct redis_reader *reader,
                                         struct redis_reply **out_reply);
const char *redis_reader_error(const struct redis_reader *reader);

void redis_reply_destroy(struct redis_reply **reply);

/* Appends the command as an array of bulk strings. */
void redis_command_append(struct buf *out, const struct slice *words, size_t word_count);
