/* route/route_list.c — what a cache remembers, as operators see it. The agent's token is a secret and
 * stays out; so do session ids of users who are merely looked up: an id is no secret. */
#include "route/route_cache.h"

struct listing {
    uint64_t now_ms;
    unsigned long epoch;
    size_t limit;
    size_t count;
    struct buf *into;
};

static void add_text(struct buf *into, const char *name, struct slice text)
{
    if (text.len == 0)
        return;
    buf_printf(into, ",\"%s\":\"", name);
    buf_append_json_text(into, text);
    buf_append_byte(into, '"');
}

static void add_record(struct buf *into, const struct record *record)
{
    switch (record->kind) {
    case RECORD_COMPUTER:
        add_text(into, "state", slice_from_string(computer_state_text(record->computer.state)));
        add_text(into, "agent", record->computer.agent);
        add_text(into, "boot", record->computer.boot);
        add_text(into, "handle", record->computer.handle);
        break;
    case RECORD_HOST:
        add_text(into, "computer", record->host.computer_id);
        buf_printf(into, ",\"port\":%u,\"visibility\":\"%s\"", record->host.port,
                   record->host.visibility == PORT_PUBLIC ? "public" : "session");
        break;
    default:
        add_text(into, "session_kind", record->session.kind);
        add_text(into, "computer", record->session.computer_id);
        add_text(into, "user", record->session.user_id);
        buf_printf(into, ",\"revoked\":%s", record->session.revoked ? "true" : "false");
    }
}

static void add_entry(const struct listing *listing, const struct route_entry *entry)
{
    struct buf *into = listing->into;

    buf_printf(into, "{\"kind\":\"%s\"", record_kind_text(entry->kind));
    add_text(into, "id", entry->id);
    if (entry->status == STATUS_AGAIN)
        buf_append(into, SLICE(",\"status\":\"being_read\""));
    else
        buf_printf(into, ",\"status\":\"%s\",\"age_ms\":%llu,\"is_doubtful\":%s",
                   status_name(entry->status),
                   (unsigned long long)(listing->now_ms - entry->read_ms),
                   entry->epoch != listing->epoch ? "true" : "false");
    if (entry->status == STATUS_OK && entry->record != NULL)
        add_record(into, entry->record);
    buf_append_byte(into, '}');
}

static bool visit(const struct map_entry *map_entry, void *arg)
{
    struct listing *listing = arg;

    if (listing->count == listing->limit)
        return false;
    if (listing->count++ > 0)
        buf_append_byte(listing->into, ',');
    add_entry(listing, CONTAINER_OF(map_entry, const struct route_entry, by_id));
    return true;
}

size_t route_cache_list(const struct route_cache *cache, uint64_t now_ms, unsigned long epoch,
                        size_t limit, struct buf *into)
{
    struct listing listing = { now_ms, epoch, limit, 0, into };

    for (unsigned kind = 0; kind < RECORD_KIND_COUNT; kind++)
        map_look(&cache->entries[kind], visit, &listing);
    return listing.count;
}
