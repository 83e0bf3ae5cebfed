/* admin/process_facts.h — what the main thread knows of the process, for /status and /metrics. */
#pragma once

#include "admin/worker_view.h"
#include "auth/key_store.h"
#include "net/address.h"

struct key_fact {
    const char *kid;
    const char *algorithm;
    const char *file;
    int64_t modified_wall_s; /* 0: unknown */
    int64_t expires_wall_s;  /* of a certificate; 0: it has no end */
};

struct certificate_fact {
    const char *file;
    int64_t expires_wall_s; /* 0: unknown */
};

struct process_facts {
    const struct worker_view *workers;
    size_t worker_count;
    const struct address *listeners;
    size_t listener_count;
    const char *config_file;
    struct key_fact *keys; /* owned arrays; their texts are the configuration's */
    size_t key_count;
    struct certificate_fact *certificates;
    size_t certificate_count;
    int64_t started_wall_s;
    int64_t reloaded_wall_s; /* when the configuration in force was taken */
    uint64_t reloads, reload_failures;
    bool last_reload_failed;
    bool is_draining;
    unsigned memory_pressure;     /* 0–3 */
    uint64_t admin_reserve_used;  /* counted by the admin server */
    uint64_t memory_pressures[4]; /* how often each level was reached, since the start */
};

/* From the files as they are now: call it when a configuration is taken. */
void process_facts_read_key(const struct key_options *key, struct key_fact *out);
void process_facts_read_certificate(const char *file, struct certificate_fact *out);

/* How the process stands with the system. */
struct process_usage {
    uint64_t resident_bytes;
    uint64_t open_fds;
    uint64_t max_fds;
    double cpu_s;
};
void process_usage_read(struct process_usage *out);

/* NULL: ready; else why not. */
const char *process_not_ready(const struct process_facts *facts);

/* Sums over the workers. */
uint64_t process_links_up(const struct process_facts *facts); /* to Redis */
