/* h1_fixture.h — a server on one loop, a raw client at the other end of a conn_memory, and an owner
 * that records every exchange and answers as the test says. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conn_memory.h"
#include "http/server.h"

enum { APP_REQUESTS = 64, NO_RESET = -1 };

struct app_request {
    struct app *app;
    struct exchange *exchange; /* NULL once released */
    struct buf body;
    struct buf trailers; /* "name=value;" */
    bool in_ended_with_head;
    bool ended;
    int reset; /* enum exchange_reset, or NO_RESET */
    size_t drained_bytes;
    size_t body_events;
};

struct app {
    struct loop *loop;
    struct http_limits limits;
    struct http_server_options options;
    struct http_server *server;
    struct conn *client;     /* the raw end; NULL when the test closed it */
    struct conn *server_end; /* for conn_memory_write_count only */
    struct buf received;     /* by the client */
    bool client_ended;
    enum status client_end;
    size_t closed_count; /* on_closed of the server */
    struct app_request requests[APP_REQUESTS];
    size_t request_count;
    bool auto_reply; /* 200 "ok" to every request when it has ended */
    bool auto_consume;
    int refused_status; /* the last status given to refuse(), 0: none */
};

int app_setup(void **state);
int app_teardown(void **state);

/* Makes the server anew with the present options and limits. */
void app_restart(struct app *app);

/* A new client, connected; what the last one received is forgotten. */
void app_connect(struct app *app, const struct conn_memory_options *options);
void app_send(struct app *app,
              struct slice bytes); /* turns the loop until all is taken or refused */
void app_turn(struct app *app, unsigned turns);
bool app_wait(struct app *app, uint64_t limit_ms,
              bool (*done)(const struct app *app)); /* of real time */
const struct conn_events *app_client_events(void);  /* of app->client, with the app as owner */
bool app_client_is_closed(const struct app *app);

/* What the client received since the last time it was cleared. */
bool app_received(const struct app *app, const char *text); /* exactly */
bool app_contains(const struct app *app, const char *text);
bool app_starts(const struct app *app, const char *text);
void app_clear(struct app *app);

struct app_request *app_request(struct app *app, size_t index);
void app_reply(struct app_request *request, unsigned status, const char *body);
void app_release(struct app_request *request);
