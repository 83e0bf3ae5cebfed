/* agent/process_table.c — see process_table.h. */
#include "agent/process_table.h"

#include "base/map.h"
#include "base/mem.h"

struct entry {
    struct map_entry by_pid; /* linked while `is_known` */
    struct list age;         /* in `running`, `ended` or `forgotten` */
    struct process_table *table;
    struct process *process; /* a reference */
    struct timer retention;
    uint32_t pid; /* the map's key */
    bool is_known;
};

struct process_table {
    struct process_table_options options;
    struct process_options process_options;
    struct map by_pid;
    struct list running;
    struct list ended;
    struct list forgotten; /* descendants still hold their pipes */
    size_t running_count;
    size_t ended_count;
};

static struct slice key_of(const uint32_t *pid)
{
    return slice_of(pid, sizeof(*pid));
}

static struct entry *find_pid(struct process_table *table, uint32_t pid)
{
    struct map_entry *found = map_find(&table->by_pid, key_of(&pid));

    return found != NULL ? CONTAINER_OF(found, struct entry, by_pid) : NULL;
}

static void unknow(struct entry *entry)
{
    if (entry->is_known)
        map_remove(&entry->table->by_pid, &entry->by_pid);
    entry->is_known = false;
}

static void entry_free(struct entry *entry)
{
    unknow(entry);
    list_unlink(&entry->age);
    timer_cancel(&entry->retention);
    process_unref(&entry->process);
    mem_free(entry);
}

/* Ended and known until now: not to be found any more. It stays as long as somebody holds its
 * pipes. */
static void forget(struct entry *entry)
{
    struct process_table *table = entry->table;

    table->ended_count--;
    unknow(entry);
    list_unlink(&entry->age);
    if (process_is_silent(entry->process)) {
        entry_free(entry);
    } else {
        list_append(&table->forgotten, &entry->age);
        timer_arm(&entry->retention, table->options.retain_ms);
    }
}

static void on_retention(struct timer *timer)
{
    struct entry *entry = CONTAINER_OF(timer, struct entry, retention);

    if (entry->is_known)
        forget(entry);
    else if (process_is_silent(entry->process))
        entry_free(entry);
    else
        timer_arm(timer, entry->table->options.retain_ms);
}

static void on_ended(void *owner, struct process *process)
{
    struct process_table *table = owner;
    struct entry *entry = find_pid(table, process_pid(process));

    ENSURE(entry != NULL && entry->process == process);
    list_unlink(&entry->age);
    list_append(&table->ended, &entry->age);
    table->running_count--;
    table->ended_count++;
    timer_arm(&entry->retention, table->options.retain_ms);
    if (table->ended_count > table->options.max_ended)
        forget(LIST_FIRST(&table->ended, struct entry, age));
}

struct process_table *process_table_create(const struct process_table_options *options,
                                           const struct process_options *process_options)
{
    struct process_table *table = mem_zeroed(sizeof(*table));

    ENSURE(options->max_ended > 0);
    table->options = *options;
    table->process_options = *process_options;
    table->process_options.on_ended = on_ended;
    table->process_options.owner = table;
    list_init(&table->running);
    list_init(&table->ended);
    list_init(&table->forgotten);
    return table;
}

static void free_all(struct list *entries)
{
    while (!list_is_empty(entries))
        entry_free(LIST_FIRST(entries, struct entry, age));
}

void process_table_destroy(struct process_table **table)
{
    struct process_table *t = *table;

    if (t == NULL)
        return;
    free_all(&t->running);
    free_all(&t->ended);
    free_all(&t->forgotten);
    map_deinit(&t->by_pid);
    mem_free(t);
    *table = NULL;
}

enum connect_code process_table_start(struct process_table *table,
                                      const struct start_request *request, uint64_t timeout_ms,
                                      struct buf *out_error, struct process **out_process)
{
    if (table->running_count >= table->options.max_running) {
        buf_printf(out_error, "too many processes: %zu are running", table->running_count);
        return CONNECT_RESOURCE_EXHAUSTED;
    }

    struct process *process;
    enum connect_code code =
        process_start(&table->process_options, request, timeout_ms, out_error, &process);

    if (code != CONNECT_OK)
        return code;

    struct entry *entry = mem_zeroed(sizeof(*entry));
    struct entry *older = find_pid(table, process_pid(process));

    if (older != NULL) /* its number is used again */
        forget(older);
    entry->table = table;
    entry->process = process;
    entry->pid = process_pid(process);
    entry->by_pid.key = key_of(&entry->pid);
    map_insert(&table->by_pid, &entry->by_pid);
    entry->is_known = true;
    list_append(&table->running, &entry->age);
    table->running_count++;
    timer_init(&entry->retention, table->process_options.loop, on_retention);
    *out_process = process;
    return CONNECT_OK;
}

static struct process *youngest_with(const struct list *entries, struct slice tag)
{
    for (const struct list *link = entries->prev; link != entries; link = link->prev) {
        const struct entry *entry = LIST_ITEM(link, const struct entry, age);

        if (slice_equal(process_tag(entry->process), tag))
            return entry->process;
    }
    return NULL;
}

struct process *process_table_find(struct process_table *table,
                                   const struct process_selector *selector)
{
    struct process *found = NULL;

    if (selector->has_pid) {
        struct entry *entry = find_pid(table, selector->pid);

        return entry != NULL ? entry->process : NULL;
    }
    if (selector->tag.len == 0)
        return NULL;
    found = youngest_with(&table->running, selector->tag);
    return found != NULL ? found : youngest_with(&table->ended, selector->tag);
}

size_t process_table_running(const struct process_table *table)
{
    return table->running_count;
}

void process_table_each(struct process_table *table,
                        void (*visit)(struct process *process, void *arg), void *arg)
{
    LIST_EACH(&table->running, link)
    {
        visit(LIST_ITEM(link, struct entry, age)->process, arg);
    }
}
