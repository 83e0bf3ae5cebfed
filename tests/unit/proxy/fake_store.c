/* fake_store.c — see fake_store.h. */
#include "fake_store.h"

#include <stdio.h>

#include "base/mem.h"

enum { FAKE_RECORDS = 16, FAKE_FIELDS = 12 };

struct fake_record {
    bool exists;
    enum record_kind kind;
    char id[64];
    char fields[512];
};

struct fake_store {
    struct route_store base;
    struct loop *loop;
    struct fake_record records[FAKE_RECORDS];
    struct list reads;
    size_t read_count;
    bool fails;
};

struct route_read {
    struct list link;
    struct fake_store *store;
    struct task task;
    enum record_kind kind;
    char id[64];
    route_read_fn *on_read;
    void *arg;
};

static struct fake_record *find(struct fake_store *store, enum record_kind kind, const char *id)
{
    for (size_t i = 0; i < FAKE_RECORDS; i++)
        if (store->records[i].exists && store->records[i].kind == kind &&
            strcmp(store->records[i].id, id) == 0)
            return &store->records[i];
    return NULL;
}

static struct record *build(const struct fake_record *from)
{
    struct record_field fields[FAKE_FIELDS];
    struct slice rest = slice_from_string(from->fields);
    struct record *record = NULL;
    size_t count = 0;

    while (rest.len > 0 && count < FAKE_FIELDS) {
        struct slice value = slice_cut(&rest, ';');
        fields[count].name = slice_cut(&value, '=');
        fields[count++].value = value;
    }
    ENSURE(record_from_fields(from->kind, slice_from_string(from->id), fields, count, NULL,
                              &record) == STATUS_OK);
    return record;
}

static void on_answer(struct task *task)
{
    struct route_read *read = CONTAINER_OF(task, struct route_read, task);
    struct fake_store *store = read->store;
    struct fake_record *found = find(store, read->kind, read->id);
    static const enum status missing[] = { [RECORD_COMPUTER] = STATUS_COMPUTER_UNKNOWN,
                                           [RECORD_HOST] = STATUS_HOST_UNKNOWN,
                                           [RECORD_SESSION] = STATUS_TOKEN_REVOKED };
    enum status status = store->fails    ? STATUS_ROUTE_UNAVAILABLE
                         : found != NULL ? STATUS_OK
                                         : missing[read->kind];
    route_read_fn *on_read = read->on_read;
    void *arg = read->arg;

    list_unlink(&read->link);
    mem_free(read);
    on_read(arg, status, status == STATUS_OK ? build(found) : NULL);
}

static struct route_read *op_read(struct route_store *base, enum record_kind kind, struct slice id,
                                  route_read_fn *on_read, void *arg)
{
    struct fake_store *store = CONTAINER_OF(base, struct fake_store, base);
    struct route_read *read = mem_zeroed(sizeof(*read));

    read->store = store;
    read->kind = kind;
    slice_to_string(id, read->id, sizeof(read->id));
    read->on_read = on_read;
    read->arg = arg;
    task_init(&read->task, on_answer);
    list_append(&store->reads, &read->link);
    task_defer_next(store->loop, &read->task);
    store->read_count++;
    return read;
}

static void op_cancel(struct route_store *base, struct route_read *read)
{
    (void)base;
    task_cancel(&read->task);
    list_unlink(&read->link);
    mem_free(read);
}

static void op_destroy(struct route_store *base)
{
    struct fake_store *store = CONTAINER_OF(base, struct fake_store, base);

    while (!list_is_empty(&store->reads))
        op_cancel(base, LIST_FIRST(&store->reads, struct route_read, link));
    mem_free(store);
}

static const struct route_store_ops ops = { .read = op_read,
                                            .cancel = op_cancel,
                                            .destroy = op_destroy };

struct fake_store *fake_store_create(struct loop *loop)
{
    struct fake_store *store = mem_zeroed(sizeof(*store));

    store->base.ops = &ops;
    store->loop = loop;
    list_init(&store->reads);
    return store;
}

struct route_store *fake_store_base(struct fake_store *store)
{
    return &store->base;
}

void fake_store_set(struct fake_store *store, enum record_kind kind, const char *id,
                    const char *fields)
{
    struct fake_record *record = find(store, kind, id);

    for (size_t i = 0; record == NULL && i < FAKE_RECORDS; i++)
        if (!store->records[i].exists)
            record = &store->records[i];
    ENSURE(record != NULL);
    record->exists = fields != NULL;
    record->kind = kind;
    snprintf(record->id, sizeof(record->id), "%s", id);
    snprintf(record->fields, sizeof(record->fields), "%s", fields != NULL ? fields : "");
    if (store->base.events != NULL)
        store->base.events->on_changed(store->base.owner, kind, slice_from_string(id));
}

void fake_store_link_up(struct fake_store *store)
{
    store->base.events->on_link(store->base.owner, true);
}

void fake_store_fail(struct fake_store *store, bool fails)
{
    store->fails = fails;
}

size_t fake_store_read_count(const struct fake_store *store)
{
    return store->read_count;
}
