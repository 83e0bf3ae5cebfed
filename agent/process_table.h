/* agent/process_table.h — the processes that can be asked for: the running ones, and for 30 s those
 * that have ended, so that whoever comes late still learns how. */
#pragma once

#include "agent/process.h"

struct process_table;

struct process_table_options {
    size_t max_running;
    uint64_t retain_ms; /* an ended process stays known for so long */
    size_t max_ended;   /* the one that ended first leaves first */
};

/* Copies both; sets on_ended and owner of `process_options` itself. */
struct process_table *process_table_create(const struct process_table_options *options,
                                           const struct process_options *process_options);
/* Kills what runs. Nobody may subscribe any more. Sets *table to NULL; may already be NULL. */
void process_table_destroy(struct process_table **table);

/* See process_start(). Borrowed: it stays valid at least until the loop's turn ends; process_ref()
 * keeps it longer. A further error: resource_exhausted over max_running. */
enum connect_code process_table_start(struct process_table *table,
                                      const struct start_request *request, uint64_t timeout_ms,
                                      struct buf *out_error, struct process **out_process);

/* By pid, or by tag: of several with one tag, the youngest that has not ended, else the youngest.
 * NULL: unknown. */
struct process *process_table_find(struct process_table *table,
                                   const struct process_selector *selector);

size_t process_table_running(const struct process_table *table);

/* The running ones, oldest first. */
void process_table_each(struct process_table *table,
                        void (*visit)(struct process *process, void *arg), void *arg);
