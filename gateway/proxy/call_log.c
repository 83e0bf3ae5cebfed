/* proxy/call_log.c — see call_log.h. */
#include "proxy/call_log.h"

#include <time.h>

#include "base/mem.h"
#include "proxy/access_log.h"
#include "proxy/agent_outcome.h"
#include "proxy/forward_headers.h"
#include "proxy/port_call.h"

enum { LOGGED_TEXT_BYTES = 200 };

/* The names come with their punctuation, as a literal: ADD_TEXT(line, "user", text). A line is some
 * forty pieces for every request, so none of them goes through printf. */
#define ADD_TEXT(line, name, text)                                                                 \
    (buf_append(line, SLICE(",\"" name "\":\"")), add_text(line, text))
#define ADD_WORD(line, name, word)                                                                 \
    (buf_append(line, SLICE(",\"" name "\":\"")), add_word(line, word))
#define ADD_U64(line, name, number)                                                                \
    (buf_append(line, SLICE(",\"" name "\":")), buf_append_u64(line, number))
#define ADD_MS(line, name, us) (buf_append(line, SLICE(",\"" name "\":")), add_ms(line, us))

static void add_text(struct buf *line, struct slice text)
{
    buf_append_json_text(line, slice_first(text, LOGGED_TEXT_BYTES));
    buf_append_byte(line, '"');
}

/* A word of our own: nothing in it needs an escape. */
static void add_word(struct buf *line, const char *word)
{
    buf_append(line, slice_from_string(word));
    buf_append_byte(line, '"');
}

static void put_three_digits(char *into, unsigned number)
{
    into[0] = (char)('0' + number / 100 % 10);
    into[1] = (char)('0' + number / 10 % 10);
    into[2] = (char)('0' + number % 10);
}

/* The calendar is worked out once a second. */
static void add_time(struct buf *line, int64_t wall_ms)
{
    enum { MILLIS_AT = sizeof("{\"time\":\"YYYY-MM-DDTHH:MM:SS.") - 1 };
    static _Thread_local char text[] = "{\"time\":\"YYYY-MM-DDTHH:MM:SS.mmmZ\"";
    static _Thread_local time_t text_seconds = -1;
    time_t seconds = (time_t)(wall_ms / 1000);

    if (seconds != text_seconds) {
        struct tm parts;

        gmtime_r(&seconds, &parts);
        strftime(text, sizeof(text), "{\"time\":\"%Y-%m-%dT%H:%M:%S.mmmZ\"", &parts);
        text_seconds = seconds;
    }
    put_three_digits(text + MILLIS_AT, (unsigned)(wall_ms % 1000));
    buf_append(line, slice_of(text, sizeof(text) - 1));
}

static void add_ms(struct buf *line, uint64_t us)
{
    char fraction[4] = ".";

    buf_append_u64(line, us / 1000);
    put_three_digits(fraction + 1, (unsigned)(us % 1000));
    buf_append(line, slice_of(fraction, sizeof(fraction)));
}

static const char *version_text(enum http_version version)
{
    return version == HTTP_2 ? "2" : version == HTTP_1_1 ? "1.1" : "1.0";
}

/* What is known of every request, with or without a call. */
static void add_request(struct buf *line, const struct exchange *client)
{
    const struct head *request = &client->request;

    ADD_TEXT(line, "method", request->method);
    ADD_TEXT(line, "host", request->authority);
    buf_append(line, SLICE(",\"path\":\""));
    exec_request_log_target(request->target, line);
    buf_append_byte(line, '"');
    ADD_WORD(line, "http", version_text(client->link->version));
    if (client->link->tls.version != NULL)
        ADD_WORD(line, "tls", client->link->tls.version);
    ADD_TEXT(line, "user_agent", fields_value(&request->fields, FIELD_USER_AGENT));
}

static void add_who(struct buf *line, const struct call *call)
{
    const struct proxy_options *options = &call->config->options;
    struct slice peer = slice_of(call->memo->peer_ip, call->memo->peer_ip_len);

    ADD_TEXT(line, "request_id", call->request_id);
    ADD_TEXT(line, "trace_id", slice_of(call->traceparent.ptr + 3, TRACE_ID_BYTES));
    if (call->principal != NULL) {
        ADD_TEXT(line, "sid", call->principal->session_id);
        ADD_TEXT(line, "user", call->principal->user_id);
    }
    if (call->port != NULL && call->port->record != NULL) {
        ADD_TEXT(line, "computer", call->port->record->host.computer_id);
        ADD_U64(line, "port", call->port->record->host.port);
    } else if (call->principal != NULL) {
        ADD_TEXT(line, "computer", call->principal->computer_id);
    }
    ADD_TEXT(line, "remote",
             forward_client_ip(&call_client(call)->request.fields, peer,
                               call->memo->peer_is_trusted, options->trusted_proxies,
                               options->trusted_proxy_count));
}

static void add_outcome(struct buf *line, const struct call *call)
{
    static const char *const enders[] = {
        [ENDED_BY_GATEWAY] = "gateway", [ENDED_BY_AGENT] = "agent", [ENDED_BY_CLIENT] = "client"
    };
    enum connect_code code = agent_outcome_code(call);

    ADD_WORD(line, "kind", call->kind->name);
    ADD_WORD(line, "protocol", caller_text(call->exec.caller));
    ADD_U64(line, "status", call->client_status);
    ADD_WORD(line, "reason", status_name(call->outcome));
    if (code != CONNECT_OK)
        ADD_WORD(line, "code", connect_code_text(code));
    if (call->outcome != STATUS_OK && call->words != NULL)
        ADD_TEXT(line, "words", slice_from_string(call->words));
    ADD_WORD(line, "ended_by", enders[call->ended_by]);
    ADD_WORD(line, "delivered", call->maybe_delivered ? "maybe" : "never");
    ADD_U64(line, "retries", call->retries);
    if (call->computer != NULL)
        ADD_TEXT(line, "upstream", call->computer->computer.agent);
    ADD_U64(line, "bytes_in", call->relay.request_bytes);
    ADD_U64(line, "bytes_out", call->client_bytes);
}

static void add_durations(struct buf *line, const struct call *call)
{
    const struct call_times *times = &call->times;
    uint64_t total = loop_clock(call->proxy->loop)->now_us - times->began_us;

    if (times->resolved_us > 0)
        ADD_MS(line, "queue_ms", times->resolved_us - 1);
    if (times->connected_us > 0)
        ADD_MS(line, "connect_ms", times->connected_us - times->resolved_us);
    if (times->head_us > 0)
        ADD_MS(line, "first_byte_ms", times->head_us - 1);
    ADD_MS(line, "total_ms", total);
}

void call_log_line(const struct call *call)
{
    struct proxy *proxy = call->proxy;
    struct buf *line = &proxy->scratch;

    if (proxy->log == NULL)
        return;
    buf_clear(line);
    add_time(line, loop_clock(proxy->loop)->wall_ms);
    add_who(line, call);
    add_request(line, call_client(call));
    add_outcome(line, call);
    add_durations(line, call);
    buf_append_byte(line, '}');
    access_log_line(proxy->log, buf_slice(line));
    buf_clear(line);
}

void call_log_keep(struct call *call)
{
    static const enum field_id kept[] = { FIELD_CONTENT_TYPE, FIELD_USER_AGENT,
                                          FIELD_X_FORWARDED_FOR, FIELD_X_REQUEST_ID };
    struct exchange *client = call_client(call);
    bool is_id_ours =
        call->request_id.ptr >= call->ids && call->request_id.ptr < call->ids + sizeof(call->ids);
    char *words =
        call->words != NULL ? mem_copy_string(call->words) : NULL; /* may be in the arena */

    exchange_shrink(client, kept, sizeof(kept) / sizeof(kept[0]));
    if (words != NULL)
        call->words = arena_printf(&client->arena, "%s", words).ptr;
    mem_free(words);
    if (!is_id_ours)
        call->request_id = fields_value(&client->request.fields, FIELD_X_REQUEST_ID);
    call->exec.path = call->exec.query = SLICE_EMPTY;
    call->exec.token = call->exec.named_computer = SLICE_EMPTY;
    call->exec.content_type = fields_value(&client->request.fields, FIELD_CONTENT_TYPE);
}

void call_log_refusal(struct proxy *proxy, const struct exchange *exchange, enum status status,
                      struct slice request_id)
{
    struct buf *line = &proxy->scratch;
    char text[ADDRESS_TEXT_BYTES] = "";

    if (proxy->log == NULL)
        return;
    buf_clear(line);
    add_time(line, loop_clock(proxy->loop)->wall_ms);
    ADD_TEXT(line, "request_id", request_id);
    if (exchange->link->peer.len > 0)
        ADD_TEXT(line, "remote", slice_from_string(address_host_text(&exchange->link->peer, text)));
    add_request(line, exchange);
    buf_printf(line,
               ",\"kind\":\"refused\",\"status\":%u,\"reason\":\"%s\",\"ended_by\":\"gateway\","
               "\"delivered\":\"never\"}",
               status_http(status), status_name(status));
    access_log_line(proxy->log, buf_slice(line));
    buf_clear(line);
}
