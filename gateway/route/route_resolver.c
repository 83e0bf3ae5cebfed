/* route/route_resolver.c — cache first, then the store.
 *
 * An answer in the cache is usable as long as the store pushes changes and the answer is of the
 * present epoch, which ends whenever something may have changed unseen. A doubtful answer is kept:
 * it must be read again before it is used, unless the link is down, when it serves up to
 * max_stale_ms. A record that is *known* to have changed is never served again.
 *
 * While something goes on with an entry (a read, lookups that wait for it, watches), a `route_work`
 * hangs on it and pins it. One read at a time per record: whoever asks meanwhile joins it, and when
 * the record changes before the answer is here, the answer is thrown away and asked for again. What
 * nobody waits for (refreshing, watches) goes through a queue, so that a flush does not fill the
 * store's own. */
#include "route/route_resolver.h"

#include "base/mem.h"
#include "net/timer.h"
#include "route/route_cache.h"

enum { BACKGROUND_READS_MAX = 256, RETRY_MS = 100, ID_BYTES_MAX = 1024 };

struct route_resolver {
    struct loop *loop;
    struct route_store *store;
    struct route_resolver_options options;
    struct route_cache cache;
    struct list works;
    struct list queue; /* works whose entry must be read when there is room */
    size_t background_count;
    struct task pump;
    struct timer retry; /* armed: the store refused, the pump rests */
    unsigned long epoch;
    bool link_is_up;
    uint64_t link_down_ms; /* since when, while it is down */
    struct route_resolver_counters counters;
};

struct route_work {
    struct list link; /* in works */
    struct list queued;
    struct route_resolver *resolver;
    struct route_entry *entry;
    struct route_read *read;
    unsigned long read_epoch;
    bool is_outdated;   /* the record changed since the read was sent */
    bool in_background; /* the read is worth finishing though nobody waits */
    unsigned busy;      /* callbacks on the stack that come back to us */
    struct list lookups;
    struct list watches;
    enum status told; /* what the watches know; AGAIN: they must be told whatever comes */
    struct record *told_record;
};

struct route_lookup {
    struct list link;
    struct route_work *work; /* NULL when the outcome is settled */
    struct timer deadline;
    struct task report;
    enum status status;
    struct record *record;
    route_found_fn *on_found;
    void *arg;
};

enum judgement { UNUSABLE, FRESH, AGING, STALE };

static uint64_t now_ms(const struct route_resolver *resolver)
{
    return loop_clock(resolver->loop)->now_ms;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static enum judgement judge(const struct route_resolver *r, const struct route_entry *entry)
{
    bool is_doubtful = entry->epoch != r->epoch;
    uint64_t age_ms = now_ms(r) - entry->read_ms;

    if (entry->status == STATUS_AGAIN)
        return UNUSABLE;
    if (!r->link_is_up) {
        /* as long as changes were pushed, it was known to be right */
        uint64_t right_ms = is_doubtful ? entry->read_ms : later(entry->read_ms, r->link_down_ms);
        bool may_serve =
            entry->status == STATUS_OK && now_ms(r) - right_ms <= r->options.max_stale_ms;
        return may_serve ? STALE : UNUSABLE;
    }
    if (is_doubtful)
        return UNUSABLE;
    if (entry->status != STATUS_OK)
        return age_ms < r->options.missing_ms ? FRESH : UNUSABLE;
    return age_ms <= r->options.found_ms ? FRESH : AGING;
}

static void count_entries(struct route_resolver *r)
{
    atomic_store_explicit(&r->counters.entries.value, r->cache.count, memory_order_relaxed);
}

/* ---- works ---- */

static struct route_work *work_of(struct route_resolver *r, struct route_entry *entry)
{
    struct route_work *work = entry->work;

    if (work != NULL)
        return work;
    work = mem_zeroed(sizeof(*work));
    work->resolver = r;
    work->entry = entry;
    work->told = STATUS_AGAIN;
    list_init(&work->queued);
    list_init(&work->lookups);
    list_init(&work->watches);
    list_append(&r->works, &work->link);
    route_entry_pin(entry);
    entry->work = work;
    return work;
}

static struct route_work *work_for(struct route_resolver *r, enum record_kind kind, struct slice id)
{
    struct route_entry *entry = route_cache_pin(&r->cache, kind, id);
    struct route_work *work = work_of(r, entry);

    route_entry_unpin(entry);
    count_entries(r);
    return work;
}

static void end_background(struct route_work *work)
{
    if (work->in_background)
        work->resolver->background_count--;
    work->in_background = false;
}

static void work_destroy(struct route_work *work)
{
    struct route_entry *entry = work->entry;

    end_background(work);
    route_store_cancel(work->resolver->store, &work->read);
    list_unlink(&work->queued);
    list_unlink(&work->link);
    record_unref(&work->told_record);
    entry->work = NULL;
    mem_free(work);
    route_entry_unpin(entry);
}

/* Gives up what nobody wants any more. The work may be gone afterwards. */
static void work_settle(struct route_work *work)
{
    struct route_resolver *r = work->resolver;

    if (work->busy > 0 || !list_is_empty(&work->lookups) || !list_is_empty(&work->watches) ||
        list_is_linked(&work->queued) || (work->read != NULL && work->in_background))
        return;
    work_destroy(work);
    count_entries(r);
}

static void on_read(void *arg, enum status status, struct record *record);

static void start_read(struct route_work *work)
{
    ENSURE(work->read == NULL);
    list_unlink(&work->queued);
    work->is_outdated = false;
    work->read_epoch = work->resolver->epoch;
    work->read =
        route_store_read(work->resolver->store, work->entry->kind, work->entry->id, on_read, work);
}

static void queue_read(struct route_work *work)
{
    struct route_resolver *r = work->resolver;

    if (work->read != NULL || list_is_linked(&work->queued))
        return;
    list_append(&r->queue, &work->queued);
    task_defer(r->loop, &r->pump);
}

static void pump(struct task *task)
{
    struct route_resolver *r = CONTAINER_OF(task, struct route_resolver, pump);

    while (r->link_is_up && !timer_is_armed(&r->retry) && !list_is_empty(&r->queue) &&
           r->background_count < BACKGROUND_READS_MAX) {
        struct route_work *work = LIST_FIRST(&r->queue, struct route_work, queued);

        work->in_background = true;
        r->background_count++;
        start_read(work);
    }
}

static void on_retry(struct timer *timer)
{
    struct route_resolver *r = CONTAINER_OF(timer, struct route_resolver, retry);

    task_defer(r->loop, &r->pump);
}

/* ---- outcomes ---- */

/* The lookup is gone afterwards. Borrows `record`. */
static void lookup_end(struct route_lookup *lookup, enum status status, struct record *record)
{
    route_found_fn *on_found = lookup->on_found;
    void *arg = lookup->arg;

    list_unlink(&lookup->link);
    timer_cancel(&lookup->deadline);
    task_cancel(&lookup->report);
    mem_free(lookup);
    on_found(arg, status, status == STATUS_OK ? record_ref(record) : NULL);
}

/* Answers all who wait now. Who starts to wait meanwhile, waits for the next read. */
static void answer(struct route_work *work, enum status status, struct record *record)
{
    struct list waiting;
    struct record *held = record != NULL ? record_ref(record) : NULL;

    list_init(&waiting);
    list_move_all(&waiting, &work->lookups);
    work->busy++;
    while (!list_is_empty(&waiting)) {
        if (status == STATUS_ROUTE_UNAVAILABLE)
            counter_add(&work->resolver->counters.unavailable, 1);
        lookup_end(LIST_FIRST(&waiting, struct route_lookup, link), status, held);
    }
    work->busy--;
    record_unref(&held);
}

static bool is_news(const struct route_work *work, enum status status, const struct record *record)
{
    if (work->told != status)
        return true;
    return status == STATUS_OK && !record_equal(work->told_record, record);
}

static void remember_told(struct route_work *work, enum status status, struct record *record)
{
    record_unref(&work->told_record);
    work->told = status;
    work->told_record = status == STATUS_OK ? record_ref(record) : NULL;
}

static void tell_watches(struct route_work *work, enum status status, struct record *record)
{
    struct list left;

    if (list_is_empty(&work->watches) || status == STATUS_ROUTE_UNAVAILABLE ||
        !is_news(work, status, record))
        return;
    remember_told(work, status, record);
    struct record *held = status == STATUS_OK ? record_ref(record) : NULL;
    list_init(&left);
    list_move_all(&left, &work->watches);
    work->busy++;
    while (!list_is_empty(&left)) {
        struct record_watch *watch = LIST_FIRST(&left, struct record_watch, link);

        list_unlink(&watch->link);
        list_append(&work->watches, &watch->link);
        watch->on_change(watch, status, held);
    }
    work->busy--;
    record_unref(&held);
}

static void keep_answer(struct route_work *work, enum status status, struct record *record)
{
    struct route_entry *entry = work->entry;

    route_entry_set(entry, status, record);
    entry->read_ms = now_ms(work->resolver);
    entry->epoch = work->read_epoch;
    work->busy++;
    tell_watches(work, status, record);
    answer(work, status, record);
    work->busy--;
}

/* The store cannot tell. What the cache still has may do, if that is because the link is down. */
static void answer_without_store(struct route_work *work)
{
    struct route_resolver *r = work->resolver;

    work->busy++;
    if (!list_is_empty(&work->watches)) {
        if (r->link_is_up)
            timer_arm(&r->retry, RETRY_MS);
        queue_read(work);
    }
    if (judge(r, work->entry) == STALE) {
        counter_add(&r->counters.stale_served, 1);
        answer(work, STATUS_OK, work->entry->record);
    } else {
        answer(work, STATUS_ROUTE_UNAVAILABLE, NULL);
    }
    work->busy--;
}

static void on_read(void *arg, enum status status, struct record *record)
{
    struct route_work *work = arg;
    struct route_resolver *r = work->resolver;

    work->read = NULL;
    if (status != STATUS_ROUTE_UNAVAILABLE && (work->is_outdated || work->read_epoch != r->epoch)) {
        record_unref(&record);
        start_read(work);
        return;
    }
    end_background(work);
    if (!list_is_empty(&r->queue))
        task_defer(r->loop, &r->pump);
    if (status == STATUS_ROUTE_UNAVAILABLE)
        answer_without_store(work);
    else if (status == STATUS_MALFORMED)
        keep_answer(work, STATUS_ROUTE_UNAVAILABLE, NULL);
    else
        keep_answer(work, status, record);
    if (!list_is_empty(&work->lookups) && work->read == NULL)
        start_read(work); /* who joined in the callbacks */
    work_settle(work);
}

/* ---- what the store tells ---- */

static void on_changed(void *owner, enum record_kind kind, struct slice id)
{
    struct route_resolver *r = owner;
    struct route_entry *entry = route_cache_find(&r->cache, kind, id);

    counter_add(&r->counters.invalidations, 1);
    if (entry == NULL)
        return;

    bool is_used = entry->status == STATUS_OK && now_ms(r) - entry->used_ms <= r->options.found_ms;
    struct route_work *work = entry->work;

    if (work == NULL && !is_used) {
        route_entry_forget(entry);
        count_entries(r);
        return;
    }
    work = work_of(r, entry);
    route_entry_set(entry, STATUS_AGAIN, NULL);
    if (work->read != NULL)
        work->is_outdated = true;
    else
        queue_read(work); /* soon somebody asks; and watches must be told */
}

static void on_flushed(void *owner)
{
    struct route_resolver *r = owner;

    counter_add(&r->counters.flushes, 1);
    r->epoch++;
    LIST_EACH(&r->works, link)
    {
        struct route_work *work = LIST_ITEM(link, struct route_work, link);

        if (!list_is_empty(&work->watches))
            queue_read(work);
    }
}

/* Lookups for which there is a stale answer do not wait for the link to come back. */
static void serve_stale(struct route_resolver *r)
{
    struct list left;

    list_init(&left);
    list_move_all(&left, &r->works);
    while (!list_is_empty(&left)) {
        struct route_work *work = LIST_FIRST(&left, struct route_work, link);

        list_unlink(&work->link);
        list_append(&r->works, &work->link);
        if (list_is_empty(&work->lookups) || judge(r, work->entry) != STALE)
            continue;
        counter_add(&r->counters.stale_served, 1);
        work->busy++;
        answer(work, STATUS_OK, work->entry->record);
        work->busy--;
        work_settle(work);
    }
}

static void on_link(void *owner, bool is_up)
{
    struct route_resolver *r = owner;

    if (r->link_is_up == is_up)
        return;
    r->link_is_up = is_up;
    if (is_up) {
        task_defer(r->loop, &r->pump);
    } else {
        r->link_down_ms = now_ms(r);
        serve_stale(r);
    }
}

static const struct route_store_events store_events = {
    .on_changed = on_changed,
    .on_flushed = on_flushed,
    .on_link = on_link,
};

/* ---- the public face ---- */

struct route_resolver *route_resolver_create(struct loop *loop, struct route_store *store,
                                             const struct route_resolver_options *options)
{
    struct route_resolver *r = mem_zeroed(sizeof(*r));

    r->loop = loop;
    r->store = store;
    r->options = *options;
    r->link_down_ms = loop_clock(loop)->now_ms;
    route_cache_init(&r->cache, options->max_entries);
    list_init(&r->works);
    list_init(&r->queue);
    task_init(&r->pump, pump);
    timer_init(&r->retry, loop, on_retry);
    store->events = &store_events;
    store->owner = r;
    return r;
}

void route_resolver_destroy(struct route_resolver **resolver)
{
    struct route_resolver *r = *resolver;

    if (r == NULL)
        return;
    *resolver = NULL;
    while (!list_is_empty(&r->works)) {
        struct route_work *work = LIST_FIRST(&r->works, struct route_work, link);

        ENSURE(list_is_empty(&work->lookups)); /* whoever started one, cancels it first */
        while (!list_is_empty(&work->watches))
            list_unlink(work->watches.next);
        work_destroy(work);
    }
    task_cancel(&r->pump);
    timer_cancel(&r->retry);
    route_cache_deinit(&r->cache);
    route_store_destroy(&r->store);
    mem_free(r);
}

static bool may_exist(struct slice id)
{
    return id.len > 0 && id.len <= ID_BYTES_MAX;
}

/* Takes an answer out of the cache. */
static enum status serve(struct route_resolver *r, struct route_entry *entry,
                         enum judgement judgement, struct record **out_record)
{
    route_entry_touch(entry, now_ms(r));
    if (judgement == AGING)
        queue_read(work_of(r, entry));
    if (entry->status == STATUS_OK) {
        counter_add(judgement == STALE ? &r->counters.stale_served : &r->counters.hits, 1);
        *out_record = record_ref(entry->record);
    } else {
        counter_add(&r->counters.negative_hits, 1);
    }
    return entry->status;
}

enum status route_resolver_find(struct route_resolver *resolver, enum record_kind kind,
                                struct slice id, struct record **out_record)
{
    struct route_entry *entry = route_cache_find(&resolver->cache, kind, id);
    enum judgement judgement = entry != NULL ? judge(resolver, entry) : UNUSABLE;

    if (!may_exist(id))
        return record_missing_status(kind);
    if (judgement != UNUSABLE)
        return serve(resolver, entry, judgement, out_record);
    counter_add(&resolver->counters.misses, 1);
    return STATUS_AGAIN;
}

static void on_report(struct task *task)
{
    struct route_lookup *lookup = CONTAINER_OF(task, struct route_lookup, report);
    struct record *record = lookup->record;

    lookup_end(lookup, lookup->status, record);
    record_unref(&record);
}

static void on_deadline(struct timer *timer)
{
    struct route_lookup *lookup = CONTAINER_OF(timer, struct route_lookup, deadline);
    struct route_work *work = lookup->work;

    counter_add(&work->resolver->counters.unavailable, 1);
    work->busy++;
    lookup_end(lookup, STATUS_ROUTE_UNAVAILABLE, NULL);
    work->busy--;
    work_settle(work);
}

static struct route_lookup *report_later(struct route_resolver *r, struct route_lookup *lookup,
                                         enum status status)
{
    lookup->status = status;
    task_defer_next(r->loop, &lookup->report);
    return lookup;
}

static void join(struct route_work *work, struct route_lookup *lookup)
{
    struct route_resolver *r = work->resolver;

    lookup->work = work;
    work->entry->used_ms = now_ms(r);
    list_append(&work->lookups, &lookup->link);
    timer_arm(&lookup->deadline, r->options.lookup_ms);
    if (work->read != NULL)
        counter_add(&r->counters.joined, 1);
    else if (work->busy == 0)
        start_read(work); /* else whoever is busy does */
}

struct route_lookup *route_lookup_start(struct route_resolver *resolver, enum record_kind kind,
                                        struct slice id, route_found_fn *on_found, void *arg)
{
    struct route_resolver *r = resolver;
    struct route_lookup *lookup = mem_zeroed(sizeof(*lookup));

    list_init(&lookup->link);
    timer_init(&lookup->deadline, r->loop, on_deadline);
    task_init(&lookup->report, on_report);
    lookup->on_found = on_found;
    lookup->arg = arg;
    if (!may_exist(id))
        return report_later(r, lookup, record_missing_status(kind));

    struct route_entry *entry = route_cache_find(&r->cache, kind, id);
    enum judgement judgement = entry != NULL ? judge(r, entry) : UNUSABLE;

    if (judgement != UNUSABLE)
        return report_later(r, lookup, serve(r, entry, judgement, &lookup->record));
    if (!r->link_is_up && now_ms(r) - r->link_down_ms >= r->options.lookup_ms) {
        counter_add(&r->counters.unavailable, 1);
        return report_later(r, lookup, STATUS_ROUTE_UNAVAILABLE);
    }
    join(work_for(r, kind, id), lookup);
    return lookup;
}

void route_lookup_cancel(struct route_lookup **lookup)
{
    struct route_lookup *l = *lookup;

    if (l == NULL)
        return;
    *lookup = NULL;

    struct route_work *work = l->work;

    list_unlink(&l->link);
    timer_cancel(&l->deadline);
    task_cancel(&l->report);
    record_unref(&l->record);
    mem_free(l);
    if (work != NULL)
        work_settle(work);
}

void record_watch_init(struct record_watch *watch, record_change_fn *on_change)
{
    *watch = (struct record_watch){ .on_change = on_change };
    list_init(&watch->link);
}

void record_watch_start(struct route_resolver *resolver, struct record_watch *watch,
                        enum record_kind kind, struct slice id)
{
    struct route_work *work = work_for(resolver, kind, id);
    struct route_entry *entry = work->entry;
    bool is_first = list_is_empty(&work->watches) && work->busy == 0;

    ENSURE(!list_is_linked(&watch->link));
    watch->entry = work;
    list_append(&work->watches, &watch->link);
    if (is_first && judge(resolver, entry) != UNUSABLE)
        remember_told(work, entry->status, entry->record);
    else if (is_first)
        remember_told(work, STATUS_AGAIN, NULL);
    if (judge(resolver, entry) == UNUSABLE)
        queue_read(work); /* it may have changed since the owner saw it */
}

void record_watch_stop(struct record_watch *watch)
{
    struct route_work *work = watch->entry;

    if (!list_is_linked(&watch->link))
        return;
    list_unlink(&watch->link);
    watch->entry = NULL;
    work_settle(work);
}

const struct route_resolver_counters *route_resolver_counters(const struct route_resolver *resolver)
{
    return &resolver->counters;
}

struct route_store *route_resolver_store(const struct route_resolver *resolver)
{
    return resolver->store;
}

bool route_resolver_link_is_up(const struct route_resolver *resolver)
{
    return resolver->link_is_up;
}

size_t route_resolver_list(const struct route_resolver *resolver, size_t limit, struct buf *into)
{
    return route_cache_list(&resolver->cache, now_ms(resolver), resolver->epoch, limit, into);
}
