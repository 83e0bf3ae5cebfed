/* route/redis_reader.c — hiredis' reader with functions of our own, which build the tree of a reply
 * in place (each item lies in its array) and refuse what is too large before it is allocated.
 * Bytes are counted per reply: hiredis would gather a bulk string of any announced length. */
#include "route/redis_reader.h"

#include <hiredis/hiredis.h>

#include "base/mem.h"

struct redis_reader {
    redisReader *reader;
    struct redis_reader_limits limits;
    size_t pending_bytes; /* since the last whole reply */
    size_t elements;
    const char *refused; /* why one of our functions said no */
};

static unsigned depth_of(const redisReadTask *task)
{
    unsigned depth = 0;

    for (; task->parent != NULL; task = task->parent)
        depth++;
    return depth;
}

static struct redis_reply *place(const redisReadTask *task)
{
    struct redis_reply *parent = task->parent != NULL ? task->parent->obj : NULL;

    return parent != NULL ? &parent->items[task->idx] : mem_zeroed(sizeof(struct redis_reply));
}

static void *create_string(const redisReadTask *task, char *text, size_t len)
{
    struct redis_reply *reply = place(task);
    char *copy = mem_alloc(len);

    memcpy(copy, text, len);
    reply->kind = task->type == REDIS_REPLY_ERROR    ? REDIS_ERROR
                  : task->type == REDIS_REPLY_STATUS ? REDIS_WORD
                                                     : REDIS_TEXT;
    reply->text = slice_of(copy, len);
    return reply;
}

static void *create_array(const redisReadTask *task, int count)
{
    struct redis_reader *reader = task->privdata;

    if (depth_of(task) >= reader->limits.depth)
        reader->refused = "reply nests too deep";
    else if (count < 0 || (size_t)count > reader->limits.elements - reader->elements)
        reader->refused = "reply has too many elements";
    if (reader->refused != NULL)
        return NULL; /* ends the reader */
    reader->elements += (size_t)count;

    struct redis_reply *reply = place(task);

    reply->kind = REDIS_ARRAY;
    reply->item_count = (size_t)count;
    reply->items = mem_zeroed((size_t)count * sizeof(*reply->items));
    for (size_t i = 0; i < reply->item_count; i++)
        reply->items[i].kind = REDIS_NIL; /* until it is read */
    return reply;
}

static void *create_integer(const redisReadTask *task, long long number)
{
    struct redis_reply *reply = place(task);

    reply->kind = REDIS_INTEGER;
    reply->integer = number;
    return reply;
}

static void *create_nil(const redisReadTask *task)
{
    struct redis_reply *reply = place(task);

    reply->kind = REDIS_NIL;
    return reply;
}

static void reply_deinit(struct redis_reply *reply)
{
    if (reply->text.ptr != NULL)
        mem_free((char *)(uintptr_t)reply->text.ptr);
    for (size_t i = 0; i < reply->item_count; i++)
        reply_deinit(&reply->items[i]); /* as deep as limits.depth, at most 9 */
    mem_free(reply->items);
}

static void free_object(void *object)
{
    reply_deinit(object);
    mem_free(object);
}

static redisReplyObjectFunctions object_functions = {
    .createString = create_string,
    .createArray = create_array,
    .createInteger = create_integer,
    .createNil = create_nil,
    .freeObject = free_object,
};

struct redis_reader *redis_reader_create(const struct redis_reader_limits *limits)
{
    struct redis_reader *reader = mem_zeroed(sizeof(*reader));

    reader->limits = *limits;
    reader->reader = redisReaderCreateWithFunctions(&object_functions);
    ENSURE(reader->reader != NULL);
    reader->reader->privdata = reader;
    return reader;
}

void redis_reader_destroy(struct redis_reader **reader)
{
    struct redis_reader *r = *reader;

    if (r == NULL)
        return;
    *reader = NULL;
    redisReaderFree(r->reader);
    mem_free(r);
}

void redis_reader_feed(struct redis_reader *reader, struct slice bytes)
{
    reader->pending_bytes += bytes.len;
    if (redisReaderFeed(reader->reader, bytes.ptr, bytes.len) != REDIS_OK &&
        reader->refused == NULL)
        reader->refused = "reader is broken";
}

enum status redis_reader_next(struct redis_reader *reader, struct redis_reply **out_reply)
{
    void *reply = NULL;

    if (reader->refused == NULL && redisReaderGetReply(reader->reader, &reply) != REDIS_OK)
        return reader->refused != NULL ? STATUS_LIMIT_REACHED : STATUS_MALFORMED;
    if (reader->refused != NULL)
        return STATUS_LIMIT_REACHED;
    if (reply == NULL) {
        if (reader->pending_bytes <= reader->limits.bytes)
            return STATUS_AGAIN;
        reader->refused = "reply has too many bytes";
        return STATUS_LIMIT_REACHED;
    }
    reader->pending_bytes = 0; /* less what follows in the same feed, which is small */
    reader->elements = 0;
    *out_reply = reply;
    return STATUS_OK;
}

const char *redis_reader_error(const struct redis_reader *reader)
{
    return reader->refused != NULL ? reader->refused : reader->reader->errstr;
}

void redis_reply_destroy(struct redis_reply **reply)
{
    if (*reply != NULL)
        free_object(*reply);
    *reply = NULL;
}

void redis_command_append(struct buf *out, const struct slice *words, size_t word_count)
{
    const char **texts = mem_alloc(word_count * sizeof(*texts));
    size_t *lens = mem_alloc(word_count * sizeof(*lens));
    char *command = NULL;

    for (size_t i = 0; i < word_count; i++) {
        texts[i] = words[i].ptr;
        lens[i] = words[i].len;
    }
    int len = redisFormatCommandArgv(&command, (int)word_count, texts, lens);

    ENSURE(len >= 0);
    buf_append(out, slice_of(command, (size_t)len));
    mem_wipe(command, (size_t)len); /* AUTH */
    redisFreeCommand(command);
    mem_free(lens);
    mem_free(texts);
}
