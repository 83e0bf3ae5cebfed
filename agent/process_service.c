/* agent/process_service.c — see process_service.h; the work is done in call.c and its siblings. */
#include "agent/process_service.h"

#include "agent/call.h"
#include "base/mem.h"

void process_service_call(struct process_service *service, enum process_method method,
                          struct exchange *exchange)
{
    call_start(service, method, exchange);
}

void process_service_options_init(struct process_service_options *options)
{
    *options = (struct process_service_options){
        .message_bytes = 16 << 20,
        .subscriber_bytes = 4 << 20,
        .high_bytes = 64 << 10,
        .low_bytes = 32 << 10,
        .linger_ms = 5000,
        .dropped_ms = 10000,
        .table = { .max_running = 8192, .retain_ms = 30000, .max_ended = 8192 },
        .spawn = { .default_cwd = "/" },
    };
}

struct process_service *process_service_create(struct loop *loop,
                                               const struct process_service_options *options)
{
    struct process_service *service = mem_zeroed(sizeof(*service));

    service->loop = loop;
    list_init(&service->calls);
    service->options = *options;
    service->fanout.limit_bytes = options->subscriber_bytes;
    service->fanout.high_bytes = options->high_bytes;
    service->fanout.low_bytes = options->low_bytes;

    const struct process_options process_options = {
        .loop = loop,
        .fanout = &service->fanout,
        .spawn = options->spawn,
    };

    service->table = process_table_create(&options->table, &process_options);
    return service;
}

void process_service_destroy(struct process_service **service)
{
    struct process_service *s = *service;

    if (s == NULL)
        return;
    while (!list_is_empty(&s->calls)) { /* reset, waiting for the end of the turn */
        struct call *call = LIST_FIRST(&s->calls, struct call, link);

        ENSURE(call->exchange == NULL || call->state == CALL_ANSWERED);
        call_free(call);
    }
    process_table_destroy(&s->table);
    fanout_shared_deinit(&s->fanout);
    mem_free(s);
    *service = NULL;
}

static void signal_one(struct process *process, void *arg)
{
    (void)process_signal(process, *(int *)arg);
}

void process_service_signal_all(struct process_service *service, int signal_number)
{
    process_table_each(service->table, signal_one, &signal_number);
}

size_t process_service_running(const struct process_service *service)
{
    return process_table_running(service->table);
}
