/* proxy/relay.c — see relay.h. */
#include "proxy/relay.h"

#include "proxy/forward_headers.h"

void relay_init(struct relay *relay, struct exchange *client)
{
    *relay = (struct relay){ .client = client, .holds = true };
}

void relay_deinit(struct relay *relay)
{
    buf_deinit(&relay->held);
}

void relay_request_body(struct relay *relay, struct slice bytes)
{
    relay->request_bytes += bytes.len;
    /* Unconnected, everything is held: the client's window bounds it. */
    if (relay->holds &&
        (relay->upstream == NULL || relay->held.len + bytes.len <= RELAY_REPLAY_BYTES)) {
        buf_append(&relay->held, bytes);
    } else if (relay->holds) {
        relay->holds = false;
        buf_deinit(&relay->held);
    }
    if (relay->upstream != NULL)
        exchange_write(relay->upstream, bytes);
}

static void end_request(struct relay *relay, const struct fields *trailers)
{
    struct fields passed = { 0 };

    forward_trailers(trailers, &relay->client->arena, &passed);
    exchange_end(relay->upstream, &passed);
}

void relay_request_end(struct relay *relay, const struct fields *trailers)
{
    if (relay->upstream != NULL)
        end_request(relay, trailers);
}

void relay_client_drained(struct relay *relay, size_t size_bytes)
{
    if (relay->upstream != NULL)
        exchange_consumed(relay->upstream, size_bytes);
}

bool relay_can_replay(const struct relay *relay)
{
    return relay->holds;
}

bool relay_request_is_empty(const struct relay *relay)
{
    return relay->client->in_ended && relay->request_bytes == 0 &&
           relay->client->trailers.count == 0;
}

void relay_attach(struct relay *relay, struct exchange *upstream, bool ended)
{
    ENSURE(relay->holds);
    relay->upstream = upstream;
    relay->request_drained = 0;
    if (ended)
        return;
    exchange_write(upstream, buf_slice(&relay->held));
    if (relay->client->in_ended)
        end_request(relay, &relay->client->trailers);
}

void relay_detach(struct relay *relay)
{
    relay->upstream = NULL;
}

/* What was sent again after a retry was consumed the first time already. */
void relay_upstream_drained(struct relay *relay, size_t size_bytes)
{
    relay->request_drained += size_bytes;
    if (relay->request_drained <= relay->request_consumed)
        return;
    exchange_consumed(relay->client, relay->request_drained - relay->request_consumed);
    relay->request_consumed = relay->request_drained;
}

void relay_response_head(struct relay *relay)
{
    relay->holds = false;
    buf_deinit(&relay->held);
}

void relay_response_body(struct relay *relay, struct slice bytes)
{
    relay->response_bytes += bytes.len;
    if (relay->tracks_edge)
        stream_edge_pass(&relay->edge, bytes);
    else if (relay->keeps_start)
        stream_edge_keep(&relay->edge, bytes);
    exchange_write(relay->client, bytes);
}

bool relay_response_body_to_edge(struct relay *relay, struct slice bytes)
{
    size_t count = stream_edge_pass_to_edge(&relay->edge, bytes);

    relay->response_bytes += count;
    exchange_write(relay->client, slice_first(bytes, count));
    return stream_edge_is_at(&relay->edge);
}
