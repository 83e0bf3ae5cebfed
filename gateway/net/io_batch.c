/* net/io_batch.c — an io_uring that never holds a call longer than io_uring_enter() lasts: all calls
 * carry MSG_DONTWAIT, which the kernel answers with EAGAIN where it would otherwise wait for them. */
#include "net/io_batch.h"

#include <errno.h>
#include <sys/socket.h>

#include <liburing.h>

#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"

struct io_batch {
    struct io_uring ring;
    bool is_broken; /* there is no ring */
};

enum { UNDONE = -(1 << 30) }; /* no errno */

struct io_batch *io_batch_create(void)
{
    struct io_batch *batch = mem_zeroed(sizeof(*batch));
    int result = io_uring_queue_init(IO_BATCH_MAX, &batch->ring, 0);

    if (result != 0) {
        log_info("loop: no io_uring, every read and write is a system call errno=%d", -result);
        mem_free(batch);
        return NULL;
    }
    (void)io_uring_ring_dontfork(&batch->ring);
    (void)io_uring_register_ring_fd(&batch->ring); /* spares the kernel a look-up; since 5.18 */
    return batch;
}

void io_batch_destroy(struct io_batch **batch)
{
    if (*batch == NULL)
        return;
    if (!(*batch)->is_broken)
        io_uring_queue_exit(&(*batch)->ring);
    mem_free(*batch);
    *batch = NULL;
}

static void call_now(struct io_call *call)
{
    do
        call->result = call->is_send ? send(call->fd, call->bytes, call->len, MSG_NOSIGNAL)
                                     : recv(call->fd, call->bytes, call->len, 0);
    while (call->result == -1 && errno == EINTR);
    if (call->result == -1)
        call->result = -errno;
}

static void prepare(struct io_batch *batch, struct io_call *call, size_t index)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&batch->ring);

    ENSURE(sqe != NULL); /* the queue is empty between runs and holds IO_BATCH_MAX */
    if (call->is_send)
        io_uring_prep_send(sqe, call->fd, call->bytes, call->len, MSG_DONTWAIT | MSG_NOSIGNAL);
    else
        io_uring_prep_recv(sqe, call->fd, call->bytes, call->len, MSG_DONTWAIT);
    io_uring_sqe_set_data64(sqe, index);
    call->result = UNDONE;
}

/* Returns how many there were. */
static unsigned take_results(struct io_batch *batch, struct io_call *calls)
{
    struct io_uring_cqe *cqe;
    unsigned head, count = 0;

    io_uring_for_each_cqe(&batch->ring, head, cqe)
    {
        calls[io_uring_cqe_get_data64(cqe)].result = cqe->res;
        count++;
    }
    io_uring_cq_advance(&batch->ring, count);
    return count;
}

/* Waits for what the kernel took. False: it did not take all, so the ring is of no more use. */
static bool run_ring(struct io_batch *batch, struct io_call *calls, unsigned count)
{
    int taken = io_uring_submit_and_wait(&batch->ring, count);
    unsigned due = taken > 0 ? (unsigned)taken : 0;
    unsigned done = take_results(batch, calls);
    struct io_uring_cqe *cqe;

    while (done < due) { /* a signal came in between */
        (void)io_uring_wait_cqe(&batch->ring, &cqe);
        done += take_results(batch, calls);
    }
    return taken == (int)count;
}

void io_batch_run(struct io_batch *batch, struct io_call *calls, size_t count)
{
    ENSURE(count <= IO_BATCH_MAX);
    if (count == 1 || batch->is_broken) {
        for (size_t i = 0; i < count; i++)
            call_now(&calls[i]);
        return;
    }
    for (size_t i = 0; i < count; i++)
        prepare(batch, &calls[i], i);
    if (!run_ring(batch, calls, (unsigned)count)) {
        log_warn("loop: io_uring failed, every read and write is a system call from now on");
        io_uring_queue_exit(&batch->ring);
        batch->is_broken = true;
    }
    for (size_t i = 0; i < count; i++) {
        if (calls[i].result == UNDONE || calls[i].result == -EINTR)
            call_now(&calls[i]);
    }
}
