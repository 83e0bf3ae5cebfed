/* http/codec.h — what a server codec (h1_codec, h2_codec) shares with http/server.c; private to this folder. */
#pragma once

#include "http/server.h"

struct server_codec;

struct server_codec_ops {
    /* Input is ready or ended; the codec reads from its conn itself. `early` bytes come first (sniffed). */
    void (*start)(struct server_codec *codec, struct slice early);
    void (*drain)(struct server_codec *codec);
    bool (*is_idle)(const struct server_codec *codec);  /* no exchange open, none on its way */
    void (*limits_changed)(struct server_codec *codec); /* waits that began before end in time */
    void (*destroy)(
        struct server_codec *codec); /* at once; on_reset(RESET_LOST) to open exchanges */
};

/* Embedded first. The codec calls server_codec_closed() when it ends by itself; that frees nothing but tells the server,
 * which then calls ops->destroy() at the end of the turn. */
struct server_codec {
    const struct server_codec_ops *ops;
    struct http_server *server;
    struct conn *conn; /* owned */
    struct exchange_link link;
    struct list member; /* in the server's list of conns */
    uint64_t opened_ms;
    bool is_counted; /* among the conns of its client's address */
    void (*on_closed)(void *arg);
    void *on_closed_arg;
};

/* For h1_codec_create and h2_codec_create, on a zeroed codec: sets ops, server, conn, and the facts of the link (peer,
 * TLS, serial; the version is the codec's own to set). */
void server_codec_init(struct server_codec *codec, const struct server_codec_ops *ops,
                       struct http_server *server, struct conn *conn);

/* When the codec's memory goes, which may be after ops->destroy(): the link must live until the last exchange is
 * released. Does not touch the server, nor the conn. */
static inline void server_codec_deinit(struct server_codec *codec)
{
    exchange_link_deinit(&codec->link);
}

struct server_codec *h1_codec_create(struct http_server *server, struct conn *conn);
struct server_codec *h2_codec_create(struct http_server *server, struct conn *conn);
void server_codec_closed(struct server_codec *codec);

/* The server's parts that codecs use. */
struct loop *http_server_loop(const struct http_server *server);
const struct http_server_options *http_server_options(const struct http_server *server);
struct http_server_counters *http_server_counters_mutable(struct http_server *server);
bool http_server_is_draining(const struct http_server *server);
