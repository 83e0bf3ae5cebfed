/* conn_memory.c — see conn_memory.h. Each end owns what it has yet to read. */
#include "conn_memory.h"

#include "base/mem.h"

enum { PIPE_BYTES = 64 * 1024 };

struct memory_end {
    struct conn conn;        /* first */
    struct memory_end *peer; /* NULL when destroyed */
    struct conn_memory_options options;
    struct buf in;
    struct task wake;
    size_t readable_bytes; /* left of this wake-up when options.read_bytes is set */
    size_t write_count;
    bool is_open;
    bool in_ended;  /* the peer writes no more */
    bool is_broken; /* reset */
    bool is_shut;
    bool read_wanted;
    bool write_wanted;
    bool end_seen;
    bool *alive; /* of the wake-up that is running */
};

static struct memory_end *end_of(const struct conn *conn)
{
    return CONTAINER_OF((struct conn *)(uintptr_t)conn, struct memory_end, conn);
}

static bool is_readable(const struct memory_end *end)
{
    return end->read_wanted && !end->end_seen &&
           (end->in.len > 0 || end->in_ended || end->is_broken);
}

static bool is_writable(const struct memory_end *end)
{
    return end->write_wanted &&
           (end->is_broken || end->peer == NULL || end->peer->in.len < end->options.pipe_bytes);
}

static void schedule(struct memory_end *end)
{
    if (!end->is_open || is_readable(end) || is_writable(end))
        task_defer_next(end->conn.loop, &end->wake);
}

static void wake(struct task *task)
{
    struct memory_end *end = CONTAINER_OF(task, struct memory_end, wake);
    const struct conn_events *events = end->conn.events;
    bool alive = true;

    if (events == NULL) { /* nobody yet; is open for whoever comes */
        end->is_open = true;
        return;
    }
    end->alive = &alive;
    if (!end->is_open) {
        end->is_open = true;
        events->on_open(end->conn.owner, STATUS_OK);
    } else {
        end->readable_bytes = end->options.read_bytes;
        if (is_readable(end))
            end->conn.events->on_readable(end->conn.owner);
        if (alive && is_writable(end)) {
            end->write_wanted = false;
            end->conn.events->on_writable(end->conn.owner);
        }
    }
    if (!alive)
        return;
    end->alive = NULL;
    schedule(end);
}

static enum status read_memory(struct conn *conn, char *into, size_t size_bytes, size_t *out_count)
{
    struct memory_end *end = end_of(conn);
    size_t count = end->in.len < size_bytes ? end->in.len : size_bytes;

    ENSURE(size_bytes > 0);
    if (!end->is_open)
        return STATUS_AGAIN;
    if (count > 0 && end->options.read_bytes > 0) {
        if (end->readable_bytes == 0)
            return STATUS_AGAIN;
        count = count < end->readable_bytes ? count : end->readable_bytes;
        end->readable_bytes -= count;
    }
    if (count > 0) {
        memcpy(into, buf_slice(&end->in).ptr, count);
        buf_consume(&end->in, count);
        *out_count = count;
        if (end->peer != NULL)
            schedule(end->peer);
        return STATUS_OK;
    }
    if (!end->is_broken && !end->in_ended)
        return STATUS_AGAIN;
    end->end_seen = true;
    return end->is_broken ? STATUS_SYSTEM : STATUS_CLOSED;
}

static enum status write_memory(struct conn *conn, const struct slice *parts, size_t part_count,
                                size_t *out_count)
{
    struct memory_end *end = end_of(conn);
    size_t limit = end->options.write_bytes > 0 ? end->options.write_bytes : SIZE_MAX;
    size_t total = 0;

    ENSURE(part_count <= 64);
    *out_count = 0;
    if (end->is_broken || end->peer == NULL || end->is_shut)
        return STATUS_SYSTEM;
    if (!end->is_open)
        return STATUS_AGAIN;
    size_t asked = 0;
    for (size_t i = 0; i < part_count; i++) {
        struct buf *in = &end->peer->in;
        size_t room = in->len < end->options.pipe_bytes ? end->options.pipe_bytes - in->len : 0;
        size_t left = limit - total;
        struct slice taken = slice_first(parts[i], room < left ? room : left);

        asked += parts[i].len;
        buf_append(in, taken);
        total += taken.len;
    }
    *out_count = total;
    if (total > 0) {
        end->write_count++;
        schedule(end->peer);
    }
    return total > 0 || asked == 0 ? STATUS_OK : STATUS_AGAIN;
}

static void want_read_memory(struct conn *conn, bool enabled)
{
    struct memory_end *end = end_of(conn);

    end->read_wanted = enabled;
    schedule(end);
}

static void want_write_memory(struct conn *conn)
{
    struct memory_end *end = end_of(conn);

    end->write_wanted = true;
    schedule(end);
}

static void shutdown_memory(struct conn *conn)
{
    struct memory_end *end = end_of(conn);

    end->is_shut = true;
    if (end->peer != NULL) {
        end->peer->in_ended = true;
        schedule(end->peer);
    }
}

static void destroy_memory(struct conn *conn)
{
    struct memory_end *end = end_of(conn);

    if (end->alive != NULL)
        *end->alive = false;
    if (end->peer != NULL) {
        end->peer->peer = NULL;
        if (end->in.len > 0)
            end->peer->is_broken = true;
        end->peer->in_ended = true;
        schedule(end->peer);
    }
    task_cancel(&end->wake);
    buf_deinit(&end->in);
    mem_free(end);
}

static const struct conn_ops memory_ops = {
    .read = read_memory,
    .write = write_memory,
    .want_read = want_read_memory,
    .want_write = want_write_memory,
    .shutdown = shutdown_memory,
    .destroy = destroy_memory,
};

static struct memory_end *end_create(struct loop *loop, const struct conn_memory_options *options)
{
    struct memory_end *end = mem_zeroed(sizeof(*end));

    end->conn.ops = &memory_ops;
    end->conn.loop = loop;
    end->options = *options;
    if (end->options.pipe_bytes == 0)
        end->options.pipe_bytes = PIPE_BYTES;
    ENSURE(address_parse(SLICE("127.0.0.1:4321"), &end->conn.peer) == STATUS_OK);
    task_init(&end->wake, wake);
    return end;
}

void conn_memory_pair(struct loop *loop, const struct conn_memory_options *options,
                      struct conn **out_a, struct conn **out_b)
{
    struct memory_end *a = end_create(loop, options);
    struct memory_end *b = end_create(loop, options);

    a->peer = b;
    b->peer = a;
    schedule(a);
    schedule(b);
    *out_a = &a->conn;
    *out_b = &b->conn;
}

void conn_memory_limit(struct conn *conn, size_t read_bytes, size_t write_bytes)
{
    struct memory_end *end = end_of(conn);

    end->options.read_bytes = read_bytes;
    end->options.write_bytes = write_bytes;
}

void conn_memory_break(struct conn *conn)
{
    struct memory_end *end = end_of(conn);

    end->is_broken = true;
    schedule(end);
    if (end->peer != NULL) {
        end->peer->is_broken = true;
        schedule(end->peer);
    }
}

size_t conn_memory_write_count(const struct conn *conn)
{
    return end_of(conn)->write_count;
}

size_t conn_memory_unread(const struct conn *conn)
{
    const struct memory_end *end = end_of(conn);

    return end->peer != NULL ? end->peer->in.len : 0;
}
