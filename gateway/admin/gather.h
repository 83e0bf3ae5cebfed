/* admin/gather.h — one question to every worker: each answers on its own thread, between two turns
 * of its work, with at most so many rows; the answer leaves when all have spoken, or after two
 * seconds with what is there. */
#pragma once

#include "admin/admin_api.h"

struct gather_question {
    const char *name; /* of the list in the answer */
    /* On the worker's thread: appends JSON rows, separated by commas. */
    size_t (*ask)(const struct worker_view *worker, size_t limit, struct slice id,
                  struct buf *into);
    /* What a count of zero over all workers means: 404 with these words; NULL: nothing. */
    const char *none;
};

/* Answers later. `id` is copied; may be empty. */
void gather_start(struct admin_api *api, const struct gather_question *question, size_t limit,
                  struct slice id, struct admin_request *request);

/* Answers what waits. */
void gather_give_up(struct admin_api *api);
void gather_free_all(struct admin_api *api); /* no worker runs any more */
