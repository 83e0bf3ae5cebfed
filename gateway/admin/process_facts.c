/* admin/process_facts.c — see process_facts.h. */
#include "admin/process_facts.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/certificate_info.h"

void process_facts_read_key(const struct key_options *key, struct key_fact *out)
{
    struct stat info;

    *out = (struct key_fact){ .kid = key->kid,
                              .algorithm = token_algorithm_text(key->algorithm),
                              .file = key->file };
    if (stat(key->file, &info) == 0)
        out->modified_wall_s = info.st_mtime;
    if (certificate_expiry(key->file, &out->expires_wall_s) != STATUS_OK)
        out->expires_wall_s = 0;
}

void process_facts_read_certificate(const char *file, struct certificate_fact *out)
{
    *out = (struct certificate_fact){ .file = file };
    if (certificate_expiry(file, &out->expires_wall_s) != STATUS_OK)
        out->expires_wall_s = 0;
}

static uint64_t count_fds(void)
{
    DIR *folder = opendir("/proc/self/fd");
    uint64_t count = 0;

    if (folder == NULL)
        return 0;
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count > 3 ? count - 3 : 0; /* ".", ".." and the folder itself */
}

void process_usage_read(struct process_usage *out)
{
    FILE *stream = fopen("/proc/self/statm", "re");
    unsigned long long total = 0, resident = 0;
    struct rusage usage;
    struct rlimit limit;

    *out = (struct process_usage){ 0 };
    if (stream != NULL) {
        if (fscanf(stream, "%llu %llu", &total, &resident) == 2)
            out->resident_bytes = resident * (uint64_t)sysconf(_SC_PAGESIZE);
        fclose(stream);
    }
    out->open_fds = count_fds();
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        out->max_fds = limit.rlim_cur;
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        out->cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                     (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

uint64_t process_links_up(const struct process_facts *facts)
{
    uint64_t count = 0;

    for (size_t i = 0; i < facts->worker_count; i++) {
        if (facts->workers[i].redis != NULL)
            count += counter_read(&facts->workers[i].redis->link_up);
    }
    return count;
}

/* A gateway that has known Redis keeps serving what it knows; one that never has knows nothing. */
const char *process_not_ready(const struct process_facts *facts)
{
    if (facts->is_draining)
        return "draining";
    for (size_t i = 0; i < facts->worker_count; i++) {
        const struct route_store_redis_counters *redis = facts->workers[i].redis;

        if (redis != NULL && counter_read(&redis->link_up) == 0 &&
            counter_read(&redis->disconnects) == 0)
            return "redis was not reached yet";
    }
    return NULL;
}
