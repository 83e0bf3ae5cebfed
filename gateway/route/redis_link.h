/* route/redis_link.h — one connection to Redis: looks the name up, connects, sends AUTH and SELECT,
 * then pairs commands with replies in order. Pings every second; a reply that is late, too large or
 * not understood ends it. It does not reconnect: its owner makes a new one. Part of route/. */
#pragma once

#include "route/redis_reader.h"

struct redis_link;

struct redis_link_options {
    const struct redis_endpoint *endpoint; /* borrowed for the life of the link */
    struct tls_context *tls;               /* borrowed; NULL: clear */
    uint64_t connect_timeout_ms;           /* until it is ready */
    uint64_t reply_timeout_ms;
    struct redis_reader_limits limits;
    bool selects; /* the database: the subscribing link need not */
};

/* All may destroy the link. */
struct redis_link_events {
    void (*on_ready)(void *owner, struct redis_link *link);
    void (*on_message)(void *owner, const struct redis_reply *message); /* of a subscription */
    /* Once; nothing else follows. `reply_was_refused`: the oldest command has a reply that cannot
     * be taken. */
    void (*on_lost)(void *owner, const char *why, bool reply_was_refused);
};

/* Returns owned; events follow on later turns. Copies `options`; borrows the rest. */
struct redis_link *redis_link_create(struct loop *loop, const struct redis_link_options *options,
                                     const struct redis_link_events *events, void *owner,
                                     struct route_store_redis_counters *counters);

/* Replies that are due are never told. Sets *link to NULL; may already be NULL. */
void redis_link_destroy(struct redis_link **link);

/* `reply` is borrowed until it returns. May destroy the link. */
typedef void redis_link_reply_fn(void *arg, const struct redis_reply *reply);

/* Sends one whole command (redis_command_append) at the end of the turn. Copies. `on_reply` may be
 * NULL. */
void redis_link_send(struct redis_link *link, struct slice command, redis_link_reply_fn *on_reply,
                     void *arg);
void redis_link_send_words(struct redis_link *link, const struct slice *words, size_t word_count,
                           redis_link_reply_fn *on_reply, void *arg);

/* Ends the link as if it had broken: on_lost(why) follows at once. */
void redis_link_lose(struct redis_link *link, const char *why);
