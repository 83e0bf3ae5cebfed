/* proxy/call_list.c — see call_list.h. */
#include "proxy/call_list.h"

#include "proxy/port_call.h"

enum { LISTED_TEXT_BYTES = 200 };

static void add_text(struct buf *into, const char *name, struct slice text)
{
    buf_printf(into, ",\"%s\":\"", name);
    buf_append_json_text(into, slice_first(text, LISTED_TEXT_BYTES));
    buf_append_byte(into, '"');
}

static void add_call(const struct call *call, struct buf *into)
{
    const struct exchange *client = call->relay.client;
    uint64_t age_us = loop_clock(call->proxy->loop)->now_us - call->times.began_us;

    buf_append(into, SLICE("{\"id\":\""));
    buf_append_json_text(into, call->request_id);
    buf_printf(into, "\",\"kind\":\"%s\",\"state\":\"%s\",\"protocol\":\"%s\",\"age_ms\":%llu",
               call->kind->name, call_states[call->state].name, caller_text(call->exec.caller),
               (unsigned long long)(age_us / 1000));
    add_text(into, "method", client->request.method);
    add_text(into, "host", client->request.authority);
    buf_append(into, SLICE(",\"path\":\""));
    exec_request_log_target(client->request.target, into);
    buf_append_byte(into, '"');
    if (call->principal != NULL) {
        add_text(into, "session", call->principal->session_id);
        add_text(into, "user", call->principal->user_id);
    }
    if (call->port != NULL && call->port->record != NULL) {
        add_text(into, "computer", call->port->record->host.computer_id);
        buf_printf(into, ",\"port\":%u", call->port->record->host.port);
    } else if (call->principal != NULL) {
        add_text(into, "computer", call->principal->computer_id);
    }
    if (call->computer != NULL)
        add_text(into, "upstream", call->computer->computer.agent);
    add_text(into, "remote", slice_of(call->memo->peer_ip, call->memo->peer_ip_len));
    buf_printf(into, ",\"connection\":%llu,\"bytes_in\":%llu,\"bytes_out\":%llu,\"retries\":%u}",
               (unsigned long long)client->link->serial,
               (unsigned long long)call->relay.request_bytes,
               (unsigned long long)call->client_bytes, call->retries);
}

size_t proxy_list_calls(const struct proxy *proxy, size_t limit, struct buf *into)
{
    size_t count = 0;

    LIST_EACH(&proxy->calls, link)
    {
        if (count == limit)
            break;
        if (count++ > 0)
            buf_append_byte(into, ',');
        add_call(LIST_ITEM(link, struct call, link), into);
    }
    return count;
}

bool proxy_end_call(struct proxy *proxy, struct slice request_id)
{
    LIST_EACH(&proxy->calls, link)
    {
        struct call *call = LIST_ITEM(link, struct call, link);

        if (!slice_equal(call->request_id, request_id))
            continue;
        call_enter(call);
        if (call->words == NULL)
            call->words = "ended by an operator";
        call_cut(call, STATUS_CANCELED);
        call_leave(call);
        return true;
    }
    return false;
}
