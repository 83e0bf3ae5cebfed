/* connect/process_message.h — the messages of the service process.Process (process.proto as E2B's envd publishes it), in the
 * JSON mapping of proto3 and in binary. The agent decodes requests and encodes responses; the gateway decodes events for the
 * plain-JSON form. Decoders ignore unknown fields, take both lowerCamelCase and the proto's names, and own what they return
 * in an arena. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"

enum message_codec { MESSAGE_JSON, MESSAGE_PROTO };

enum process_method {
    METHOD_START,
    METHOD_CONNECT,
    METHOD_LIST,
    METHOD_UPDATE,
    METHOD_SEND_INPUT,
    METHOD_STREAM_INPUT,
    METHOD_SEND_SIGNAL,
    METHOD_CLOSE_STDIN,
    PROCESS_METHOD_COUNT
};
const char *process_method_text(enum process_method method); /* "SendInput" */
/* "/process.Process/Start" exactly; false: no such method. */
bool process_method_from_path(struct slice path, enum process_method *out_method);
/* Start, Connect: a stream of events comes back. StreamInput: a stream goes in. */
bool process_method_is_server_stream(enum process_method method);
bool process_method_is_client_stream(enum process_method method);

struct pty_size {
    uint32_t cols, rows;
};

struct process_variable {
    struct slice name, value;
};

struct process_config {
    struct slice cmd;
    struct slice *args;
    size_t arg_count;
    struct process_variable *envs;
    size_t env_count;
    struct slice cwd; /* empty: absent */
};

struct process_selector { /* exactly one is set in a valid request */
    bool has_pid, has_tag;
    uint32_t pid;
    struct slice tag;
};

struct start_request {
    struct process_config process;
    bool has_pty, has_pty_size;
    struct pty_size pty;
    struct slice tag;              /* empty: none */
    bool has_stdin, stdin_enabled; /* absent counts as true */
};

enum input_kind { INPUT_NONE, INPUT_STDIN, INPUT_PTY };

struct process_input {
    enum input_kind kind;
    struct slice bytes; /* decoded */
};

enum process_signal { SIGNAL_UNSPECIFIED = 0, SIGNAL_SIGTERM = 15, SIGNAL_SIGKILL = 9 };

enum stream_input_kind {
    STREAM_INPUT_NONE,
    STREAM_INPUT_START,
    STREAM_INPUT_DATA,
    STREAM_INPUT_KEEPALIVE
};

/* One request of any method; only the parts of its method are set. */
struct process_request {
    struct start_request start;
    struct process_selector
        selector; /* Connect, Update, SendInput, SendSignal, CloseStdin; StreamInput's start */
    bool has_pty, has_pty_size; /* Update */
    struct pty_size pty;
    struct process_input input; /* SendInput; StreamInput's data */
    int32_t signal;             /* SendSignal: the enum's number, known or not */
    enum stream_input_kind stream_input;
};

/* START also takes {"command": ["ls", "-la"]} (JSON only; then `process` must be absent), optionally with "cwd", "envs",
 * "tag", "stdin", "pty" beside it. `out_error` (optional) gets the reason in words. Errors: MALFORMED. */
MUST_CHECK enum status process_request_decode(enum process_method method, enum message_codec codec,
                                              struct slice message, struct arena *arena,
                                              struct process_request *out_request,
                                              struct buf *out_error);

enum process_event_kind {
    EVENT_NONE,
    EVENT_START,
    EVENT_STDOUT,
    EVENT_STDERR,
    EVENT_PTY,
    EVENT_KEEPALIVE,
    EVENT_END
};

struct process_event {
    enum process_event_kind kind;
    uint32_t pid;       /* START */
    struct slice bytes; /* STDOUT, STDERR, PTY */
    int32_t exit_code;  /* END and below */
    bool exited;
    struct slice status; /* "exit status 1", "signal: killed" */
    struct slice error;  /* empty: absent */
};

/* A Start/Connect response message: {"event":{…}}. Appends; JSON is compact; proto3 defaults are left out. */
void process_event_encode(enum message_codec codec, const struct process_event *event,
                          struct buf *into);
MUST_CHECK enum status process_event_decode(enum message_codec codec, struct slice message,
                                            struct arena *arena, struct process_event *out_event);

struct process_info { /* one row of List's answer */
    struct process_config config;
    uint32_t pid;
    struct slice tag; /* empty: absent */
};
void process_list_encode(enum message_codec codec, const struct process_info *infos, size_t count,
                         struct buf *into);
/* The answer of Update, SendInput, StreamInput, SendSignal, CloseStdin: {} or nothing. */
void process_empty_encode(enum message_codec codec, struct buf *into);

/* Encodes a Start request from its parts (the gateway, for the plain-JSON form). */
void start_request_encode(enum message_codec codec, const struct start_request *request,
                          struct buf *into);
