/* proxy/call_log.c — see call_log.h. */
#include "proxy/call_log.h"

#include <stdio.h>
#include <time.h>

#include "proxy/access_log.h"
#include "proxy/forward_headers.h"
#include "proxy/port_call.h"

enum { LOGGED_TEXT_BYTES = 200 };

static void add_text(struct buf *line, const char *name, struct slice text)
{
    buf_printf(line, ",\"%s\":\"", name);
    buf_append_json_text(line, slice_first(text, LOGGED_TEXT_BYTES));
    buf_append_byte(line, '"');
}

static void add_time(struct buf *line, int64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm parts;
    char text[32];

    gmtime_r(&seconds, &parts);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
    buf_printf(line, "{\"time\":\"%s.%03dZ\"", text, (int)(wall_ms % 1000));
}

static void add_ms(struct buf *line, const char *name, uint64_t us)
{
    buf_printf(line, ",\"%s\":%u.%03u", name, (unsigned)(us / 1000), (unsigned)(us % 1000));
}

static const char *version_text(enum http_version version)
{
    return version == HTTP_2 ? "2" : version == HTTP_1_1 ? "1.1" : "1.0";
}

/* What is known of every request, with or without a call. */
static void add_request(struct buf *line, const struct exchange *client)
{
    const struct head *request = &client->request;

    add_text(line, "method", request->method);
    add_text(line, "host", request->authority);
    buf_append(line, SLICE(",\"path\":\""));
    exec_request_log_target(request->target, line);
    buf_append_byte(line, '"');
    buf_printf(line, ",\"http\":\"%s\"", version_text(client->link->version));
    if (client->link->tls.version != NULL)
        add_text(line, "tls", slice_from_string(client->link->tls.version));
    add_text(line, "user_agent", fields_value(&request->fields, FIELD_USER_AGENT));
}

static void add_who(struct buf *line, const struct call *call)
{
    const struct proxy_options *options = &call->config->options;
    struct slice peer = slice_of(call->memo->peer_ip, call->memo->peer_ip_len);

    add_text(line, "request_id", call->request_id);
    add_text(line, "trace_id", slice_of(call->traceparent.ptr + 3, TRACE_ID_BYTES));
    if (call->principal != NULL) {
        add_text(line, "sid", call->principal->session_id);
        add_text(line, "user", call->principal->user_id);
    }
    if (call->port != NULL && call->port->record != NULL) {
        add_text(line, "computer", call->port->record->host.computer_id);
        buf_printf(line, ",\"port\":%u", call->port->record->host.port);
    } else if (call->principal != NULL) {
        add_text(line, "computer", call->principal->computer_id);
    }
    add_text(line, "remote",
             forward_client_ip(&call_client(call)->request.fields, peer,
                               call->memo->peer_is_trusted, options->trusted_proxies,
                               options->trusted_proxy_count));
}

static void add_outcome(struct buf *line, const struct call *call)
{
    static const char *const enders[] = {
        [ENDED_BY_GATEWAY] = "gateway", [ENDED_BY_AGENT] = "agent", [ENDED_BY_CLIENT] = "client"
    };

    buf_printf(line, ",\"kind\":\"%s\",\"protocol\":\"%s\",\"status\":%u,\"reason\":\"%s\"",
               call->kind->name, caller_text(call->exec.caller), call->client_status,
               status_name(call->outcome));
    if (call->outcome != STATUS_OK) {
        struct reply reply = call_reply(call, call->outcome);
        buf_printf(line, ",\"code\":\"%s\"", connect_code_text(reply_code(&reply)));
        if (call->words != NULL)
            add_text(line, "words", slice_from_string(call->words));
    }
    buf_printf(line, ",\"ended_by\":\"%s\",\"delivered\":\"%s\",\"retries\":%u",
               enders[call->ended_by], call->maybe_delivered ? "maybe" : "never", call->retries);
    if (call->computer != NULL)
        add_text(line, "upstream", call->computer->computer.agent);
    buf_printf(line, ",\"bytes_in\":%llu,\"bytes_out\":%llu",
               (unsigned long long)call->relay.request_bytes,
               (unsigned long long)call->client_bytes);
}

static void add_durations(struct buf *line, const struct call *call)
{
    const struct call_times *times = &call->times;
    uint64_t total = loop_clock(call->proxy->loop)->now_us - times->began_us;

    if (times->resolved_us > 0)
        add_ms(line, "queue_ms", times->resolved_us - 1);
    if (times->connected_us > 0)
        add_ms(line, "connect_ms", times->connected_us - times->resolved_us);
    if (times->head_us > 0)
        add_ms(line, "first_byte_ms", times->head_us - 1);
    add_ms(line, "total_ms", total);
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

void call_log_refusal(struct proxy *proxy, const struct exchange *exchange, enum status status,
                      struct slice request_id)
{
    struct buf *line = &proxy->scratch;
    char text[ADDRESS_TEXT_BYTES] = "";

    if (proxy->log == NULL)
        return;
    buf_clear(line);
    add_time(line, loop_clock(proxy->loop)->wall_ms);
    add_text(line, "request_id", request_id);
    if (exchange->link->peer.len > 0)
        add_text(line, "remote", slice_from_string(address_host_text(&exchange->link->peer, text)));
    add_request(line, exchange);
    buf_printf(line,
               ",\"kind\":\"refused\",\"status\":%u,\"reason\":\"%s\",\"ended_by\":\"gateway\","
               "\"delivered\":\"never\"}",
               status_http(status), status_name(status));
    access_log_line(proxy->log, buf_slice(line));
    buf_clear(line);
}
