/* http/client.h — the client side of one conn: HTTP/2 (many exchanges) or HTTP/1.1 (one at a time, kept alive). */
#pragma once

#include "http/exchange.h"
#include "http/limits.h"

struct http_client;

struct http_client_events {
    /* The peer has shown that it speaks the protocol (h2: its SETTINGS arrived, so that capacity is known; h1: it
     * shows nothing before its first answer, so at the end of the turn of its making): the connect timeout ends here. Runs
     * once, before any on_capacity, never after on_closing. NULL is allowed. */
    void (*on_ready)(void *owner);
    /* Room for at least one more exchange appeared (peer's limit raised, a stream ended; h1: reusable again). */
    void (*on_capacity)(void *owner);
    /* No new exchange can be opened (GOAWAY, connection lost, h1 not reusable); the open ones live on or have had
     * on_reset. Runs once. */
    void (*on_closing)(void *owner, enum status reason);
    /* The last exchange is gone and the client is closing: destroy it (allowed inside). */
    void (*on_closed)(void *owner);
};

struct http_client_ops {
    struct exchange *(*open)(struct http_client *client, const struct head *head, bool end,
                             const struct exchange_events *events, void *owner);
    size_t (*capacity)(const struct http_client *client);
    void (*close_gracefully)(struct http_client *client);
    void (*destroy)(struct http_client *client);
};

struct http_client { /* embedded first in the codec's struct */
    const struct http_client_ops *ops;
    const struct http_client_events *events;
    void *owner;
    struct loop *loop;
    struct conn *conn; /* owned */
    const struct http_limits *limits;
    struct exchange_link link;
    size_t open_count;     /* exchanges that are not closed at the codec yet */
    uint64_t opened_count; /* exchanges in its life */
};

/* Takes an open conn. Borrows `limits`, `events`. */
struct http_client *h2_client_create(struct conn *conn, const struct http_limits *limits,
                                     const struct http_client_events *events, void *owner);
struct http_client *h1_client_create(struct conn *conn, const struct http_limits *limits,
                                     const struct http_client_events *events, void *owner);

/* Starts a request; capacity must be > 0. The slices of `head` and of its fields must live as long as the exchange, or at
 * least until on_head/on_reset; the head itself and the array of fields need not. `end`: no body. Never NULL. */
static inline struct exchange *http_client_open(struct http_client *client, const struct head *head,
                                                bool end, const struct exchange_events *events,
                                                void *owner)
{
    client->opened_count++;
    return client->ops->open(client, head, end, events, owner);
}

/* How many more exchanges may be opened now; 0 when it is closing. */
static inline size_t http_client_capacity(const struct http_client *client)
{
    return client->ops->capacity(client);
}

/* No new exchanges; open ones finish; then on_closed. */
static inline void http_client_close_gracefully(struct http_client *client)
{
    client->ops->close_gracefully(client);
}

/* Closes at once: open exchanges get on_reset(RESET_LOST). Sets *client to NULL; may already be NULL. */
void http_client_destroy(struct http_client **client);
