/* route/route_store_file.c — the routes file as a store: read once, then again whenever it changes.
 *
 * inotify watches the directory, since editors and configuration managers replace the file by
 * rename; any event there leads to a look (stat) at the file, a moment later, when the writer is
 * likely done. Symbolic links that change elsewhere, file systems without inotify and exhausted
 * inotify instances are covered by looking every other second anyway. */
#include "route/route_store_file.h"

#include <errno.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/timer.h"
#include "net/watch.h"
#include "route/route_table.h"

enum { SETTLE_MS = 20, POLL_MS = 2000 };

struct route_store_file {
    struct route_store_table base; /* first */
    char *file;
    struct watch *directory; /* NULL: polling has to do */
    struct timer look;
    struct stat seen; /* what was read last, good or bad */
    bool is_missing;
};

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static void reload(struct route_store_file *store)
{
    struct route_table *table;
    struct buf error = { 0 };

    if (route_table_load(store->file, &error, &table) == STATUS_OK) {
        log_info("routes: file=%s loaded again", store->file);
        route_store_table_replace(&store->base, table);
    } else {
        log_error("routes: kept the old ones: %s", buf_text(&error));
    }
    buf_deinit(&error);
}

static void on_look(struct timer *timer)
{
    struct route_store_file *store = CONTAINER_OF(timer, struct route_store_file, look);
    struct stat now;

    timer_arm(&store->look, POLL_MS);
    if (stat(store->file, &now) == -1) {
        if (!store->is_missing)
            log_error("routes: file=%s kept the old ones: %s", store->file, strerror(errno));
        store->is_missing = true;
        return;
    }
    store->is_missing = false;
    if (is_same(&now, &store->seen))
        return;
    store->seen = now; /* before reading: a change meanwhile is seen by the next look */
    reload(store);
}

static void on_directory(void *owner)
{
    struct route_store_file *store = owner;
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));

    while (read(watch_fd(store->directory), events, sizeof(events)) > 0)
        continue; /* which file it was does not matter: the look tells */
    if (!timer_is_armed(&store->look) ||
        store->look.due_ms > loop_clock(store->base.loop)->now_ms + SETTLE_MS)
        timer_arm(&store->look, SETTLE_MS); /* never later: a busy directory must not put it off */
}

static const struct watch_events directory_events = { .on_readable = on_directory };

static void watch_directory(struct route_store_file *store)
{
    const char *slash = strrchr(store->file, '/');
    char *directory = slash == NULL ? mem_copy_string(".")
                      : slash == store->file
                          ? mem_copy_string("/")
                          : slice_dup(slice_of(store->file, (size_t)(slash - store->file)));
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    /* Not IN_MODIFY: an access log beside the file would wake us for every line. */
    uint32_t mask = IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_ATTRIB;

    if (fd != -1 && inotify_add_watch(fd, directory, mask) != -1) {
        store->directory = watch_create(store->base.loop, fd, &directory_events, store);
        watch_read(store->directory, true);
    } else {
        log_warn("routes: directory=%s is polled: %s", directory, strerror(errno));
        if (fd != -1)
            close(fd);
    }
    mem_free(directory);
}

static void destroy_file_store(struct route_store *store)
{
    struct route_store_file *s =
        (struct route_store_file *)(void *)CONTAINER_OF(store, struct route_store_table, store);

    timer_cancel(&s->look);
    watch_destroy(&s->directory);
    route_store_table_deinit(&s->base);
    mem_free(s->file);
    mem_free(s);
}

static const struct route_store_ops file_ops = {
    .read = route_store_table_read,
    .cancel = route_store_table_cancel,
    .destroy = destroy_file_store,
};

enum status route_store_file_create(struct loop *loop, const char *file, struct buf *out_error,
                                    struct route_store **out_store)
{
    struct route_store_file *store = mem_zeroed(sizeof(*store));
    struct route_table *table;

    (void)stat(file, &store->seen); /* before reading, as ever */
    enum status status = route_table_load(file, out_error, &table);

    if (status != STATUS_OK) {
        mem_free(store);
        return status;
    }
    route_store_table_init(&store->base, &file_ops, loop, table);
    route_table_unref(&table); /* the store has its own */
    store->file = mem_copy_string(file);
    timer_init(&store->look, loop, on_look);
    timer_arm(&store->look, POLL_MS);
    watch_directory(store);
    *out_store = &store->base.store;
    return STATUS_OK;
}
