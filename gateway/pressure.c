/* pressure.c — see pressure.h. A level is left two percent below where it was entered, so that it
 * does not flutter. */
#include "pressure.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/slice.h"
#include "net/timer.h"

enum { SAMPLE_MS = 250, TEXT_BYTES = 8192, PATH_BYTES = 4096, SLACK_PERCENT = 2 };

static const unsigned thresholds[] = { 0, 80, 90, 95 };

struct pressure {
    struct timer sample;
    uint64_t limit_bytes;         /* as configured; 0: the cgroup's */
    char folder[PATH_BYTES + 16]; /* of the cgroup with the tightest limit; empty: none */
    uint64_t folder_limit_bytes;
    enum pressure_level level;
    pressure_fn *on_change;
    void *arg;
};

/* The whole file, or "". */
static const char *read_text(const char *folder, const char *name, char *text)
{
    char path[PATH_BYTES + 64];
    ssize_t count = -1;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd != -1)
        count = read(fd, text, TEXT_BYTES - 1);
    if (fd != -1)
        close(fd);
    text[count > 0 ? count : 0] = '\0';
    return text;
}

static bool read_number(const char *folder, const char *name, uint64_t *out)
{
    char text[TEXT_BYTES];
    struct slice rest = slice_from_string(read_text(folder, name, text));

    return slice_to_u64(slice_trim(slice_cut(&rest, '\n')), out);
}

/* cgroup v2: the line "0::/path" names ours; every ancestor may limit as well. */
static void find_cgroup(struct pressure *p)
{
    char text[TEXT_BYTES], folder[sizeof(p->folder)];
    const char *line = strstr(read_text("/proc/self", "cgroup", text), "0::/");
    uint64_t limit;

    p->folder[0] = '\0';
    p->folder_limit_bytes = UINT64_MAX;
    if (line == NULL)
        return;
    snprintf(folder, sizeof(folder), "/sys/fs/cgroup%.*s",
             (int)strcspn(line + 3, "\n") < PATH_BYTES ? (int)strcspn(line + 3, "\n") : PATH_BYTES,
             line + 3);
    while (strlen(folder) >= strlen("/sys/fs/cgroup")) {
        if (read_number(folder, "memory.max", &limit) && limit < p->folder_limit_bytes) {
            p->folder_limit_bytes = limit;
            memcpy(p->folder, folder, sizeof(folder));
        }
        *strrchr(folder, '/') = '\0';
    }
}

static uint64_t resident_bytes(void)
{
    char text[TEXT_BYTES];
    struct slice rest = slice_from_string(read_text("/proc/self", "statm", text));
    uint64_t pages = 0;

    (void)slice_cut(&rest, ' ');
    return slice_to_u64(slice_cut(&rest, ' '), &pages) ? pages * (uint64_t)sysconf(_SC_PAGESIZE)
                                                       : 0;
}

/* What the cgroup uses, without file pages that nobody has touched of late; 0: cannot be read. */
static uint64_t cgroup_bytes(const struct pressure *p)
{
    char text[TEXT_BYTES];
    uint64_t current = 0, inactive = 0;
    const char *line;

    if (!read_number(p->folder, "memory.current", &current))
        return 0;
    line = strstr(read_text(p->folder, "memory.stat", text), "\ninactive_file ");
    if (line != NULL)
        inactive = strtoull(line + strlen("\ninactive_file "), NULL, 10);
    return inactive < current ? current - inactive : 1;
}

static enum pressure_level level_of(enum pressure_level now, uint64_t used, uint64_t limit)
{
    uint64_t percent = used >= UINT64_MAX / 100 ? 100 : used * 100 / limit;
    enum pressure_level level = PRESSURE_NONE;

    for (unsigned i = PRESSURE_HIGH; i <= PRESSURE_FULL; i++) {
        unsigned slack = i <= (unsigned)now ? SLACK_PERCENT : 0;

        if (percent >= thresholds[i] - slack)
            level = (enum pressure_level)i;
    }
    return level;
}

static void on_sample(struct timer *timer)
{
    struct pressure *p = CONTAINER_OF(timer, struct pressure, sample);
    uint64_t limit = p->limit_bytes, used = 0;

    if (limit > 0) {
        used = resident_bytes();
    } else if (p->folder[0] != '\0') {
        limit = p->folder_limit_bytes;
        used = cgroup_bytes(p);
    }
    enum pressure_level level = limit > 0 ? level_of(p->level, used, limit) : PRESSURE_NONE;

    timer_arm(&p->sample, SAMPLE_MS);
    if (limit > 0 && used == 0) /* no descriptor to read it with: no news */
        return;
    if (level == p->level)
        return;
    p->level = level;
    if (level == PRESSURE_NONE)
        log_info("memory: enough again used_bytes=%llu limit_bytes=%llu", (unsigned long long)used,
                 (unsigned long long)limit);
    else
        log_warn("memory: at or above %u%% of the limit used_bytes=%llu limit_bytes=%llu",
                 thresholds[level], (unsigned long long)used, (unsigned long long)limit);
    p->on_change(p->arg, level);
}

struct pressure *pressure_create(struct loop *loop, uint64_t limit_bytes, pressure_fn *on_change,
                                 void *arg)
{
    struct pressure *p = mem_zeroed(sizeof(*p));

    p->on_change = on_change;
    p->arg = arg;
    timer_init(&p->sample, loop, on_sample);
    pressure_set_limit(p, limit_bytes);
    timer_arm(&p->sample, SAMPLE_MS);
    return p;
}

void pressure_set_limit(struct pressure *pressure, uint64_t limit_bytes)
{
    pressure->limit_bytes = limit_bytes;
    find_cgroup(pressure);
}

enum pressure_level pressure_level(const struct pressure *pressure)
{
    return pressure->level;
}

void pressure_destroy(struct pressure **pressure)
{
    struct pressure *p = *pressure;

    *pressure = NULL;
    if (p == NULL)
        return;
    timer_cancel(&p->sample);
    mem_free(p);
}
