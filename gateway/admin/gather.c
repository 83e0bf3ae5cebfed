/* admin/gather.c — see gather.h. A gather lives until every worker has answered, whether or not the
 * client still waits: the workers write into it. */
#include "admin/gather.h"

#include "base/mem.h"
#include "net/timer.h"

enum { GATHER_MS = 2000 };

struct gather_part {
    struct gather *gather;
    const struct worker_view *worker;
    struct buf rows; /* the worker's until it has posted back */
    size_t count;
    bool is_done;
};

struct gather {
    struct list link;
    struct admin_api *api;
    const struct gather_question *question;
    struct admin_request *request; /* NULL: answered, or its client has gone */
    struct timer deadline;
    char *id;
    size_t limit;
    size_t waiting; /* workers that have not answered */
    size_t part_count;
    struct gather_part parts[];
};

static void gather_free(struct gather *gather)
{
    if (gather->request != NULL)
        gather->request->on_gone = NULL;
    timer_cancel(&gather->deadline);
    list_unlink(&gather->link);
    for (size_t i = 0; i < gather->part_count; i++)
        buf_deinit(&gather->parts[i].rows);
    mem_free(gather->id);
    mem_free(gather);
}

static void append_part(struct buf *body, const struct gather_part *part, size_t index)
{
    buf_printf(body, "%s{\"worker\":%zu,\"count\":%zu,\"rows\":[", index > 0 ? "," : "", index,
               part->count);
    buf_append(body, buf_slice(&part->rows));
    buf_append(body, SLICE("]}"));
}

static void answer(struct gather *gather)
{
    struct admin_request *request = gather->request;
    struct buf body = { 0 };
    size_t count = 0;

    gather->request = NULL;
    if (request == NULL)
        return;
    buf_printf(&body, "{\"list\":\"%s\",\"workers\":[", gather->question->name);
    for (size_t i = 0, written = 0; i < gather->part_count; i++) {
        if (!gather->parts[i].is_done)
            continue;
        count += gather->parts[i].count;
        append_part(&body, &gather->parts[i], written++);
    }
    buf_printf(&body, "],\"count\":%zu,\"silent_workers\":%zu}\n", count, gather->waiting);
    if (count == 0 && gather->question->none != NULL && gather->waiting == 0)
        admin_answer_error(request, 404, "not_found", gather->question->none);
    else
        admin_answer(request, 200, "application/json", buf_slice(&body));
    buf_deinit(&body);
}

static void on_deadline(struct timer *timer)
{
    answer(CONTAINER_OF(timer, struct gather, deadline));
}

static void on_gone(void *arg)
{
    struct gather *gather = arg;

    gather->request = NULL;
}

/* On the main thread. */
static void part_done(void *arg)
{
    struct gather_part *part = arg;
    struct gather *gather = part->gather;

    part->is_done = true;
    if (--gather->waiting > 0)
        return;
    answer(gather);
    gather_free(gather);
}

/* On the worker's thread. */
static void part_run(void *arg)
{
    struct gather_part *part = arg;
    struct gather *gather = part->gather;

    part->count = gather->question->ask(part->worker, gather->limit, slice_from_string(gather->id),
                                        &part->rows);
    loop_post(gather->api->loop, part_done, part);
}

void gather_start(struct admin_api *api, const struct gather_question *question, size_t limit,
                  struct slice id, struct admin_request *request)
{
    size_t count = api->facts->worker_count;
    struct gather *gather = mem_zeroed(sizeof(*gather) + count * sizeof(gather->parts[0]));

    gather->api = api;
    gather->question = question;
    gather->request = request;
    gather->id = slice_dup(id);
    gather->limit = limit;
    gather->waiting = gather->part_count = count;
    timer_init(&gather->deadline, api->loop, on_deadline);
    timer_arm(&gather->deadline, GATHER_MS);
    list_append(&api->gathers, &gather->link);
    request->on_gone = on_gone;
    request->arg = gather;
    for (size_t i = 0; i < count; i++) {
        gather->parts[i].gather = gather;
        gather->parts[i].worker = &api->facts->workers[i];
        loop_post(gather->parts[i].worker->loop, part_run, &gather->parts[i]);
    }
}

void gather_give_up(struct admin_api *api)
{
    LIST_EACH(&api->gathers, link)
    {
        struct gather *gather = LIST_ITEM(link, struct gather, link);

        timer_cancel(&gather->deadline);
        answer(gather);
    }
}

void gather_free_all(struct admin_api *api)
{
    while (!list_is_empty(&api->gathers))
        gather_free(LIST_FIRST(&api->gathers, struct gather, link));
}
