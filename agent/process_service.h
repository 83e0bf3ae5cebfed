/* agent/process_service.h — the eight methods of process.Process on exchanges.
 *
 *   Start        runs a command; its stream is the first subscriber. Connect-Timeout-Ms
 * (grpc-timeout) is the life of the process: at its end the whole group gets SIGKILL and the stream
 * ends with deadline_exceeded. A client that goes away never ends a process. Connect subscribes to
 * a process: its start event, then what happens from now on. For 30 s after the end it still
 * answers start and end. Its timeout ends this stream alone. SendInput    is answered when all
 * bytes are in the pipe or PTY; StreamInput writes message by message as they come, and answers at
 * the end of the request. Neither holds more than a window of the request while the process does
 * not read. List, Update, SendSignal (SIGTERM, SIGKILL; to the process group), CloseStdin (not on a
 * PTY: send Ctrl-D).
 */
#pragma once

#include "agent/process_table.h"
#include "http/exchange.h"

struct process_service;

struct process_service_options {
    size_t message_bytes;    /* longest request message, also when inflated */
    size_t subscriber_bytes; /* see fanout_shared */
    size_t high_bytes, low_bytes;
    uint64_t linger_ms;  /* for a request that goes on after its answer */
    uint64_t dropped_ms; /* a dropped subscriber may stand still so long, then it is reset */
    struct process_table_options table;
    struct spawn_options spawn; /* its texts must outlive the service */
};
/* Defaults; `default_cwd` is "/". */
void process_service_options_init(struct process_service_options *options);

/* Copies `options`. */
struct process_service *process_service_create(struct loop *loop,
                                               const struct process_service_options *options);
/* Every exchange must be gone (http_server_destroy() first). Kills what still runs. */
void process_service_destroy(struct process_service **service);

/* Takes the exchange. */
void process_service_call(struct process_service *service, enum process_method method,
                          struct exchange *exchange);

/* To every process group. */
void process_service_signal_all(struct process_service *service, int signal_number);
size_t process_service_running(const struct process_service *service);
