/* proxy/access_log.c — see access_log.h. Lines gather in one buf until there are BATCH_BYTES of them
 * or the first has waited DELAY_MS: an append costs two microseconds and more, whatever its size.
 * Into a file that is one write; into a pipe or socket it is pieces of whole lines that it takes
 * without blocking (POLLOUT promises PIPE_BUF). */
#include "proxy/access_log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/timer.h"

enum {
    BATCH_BYTES = 64 * 1024,
    DELAY_MS = 10,
};

struct access_log {
    int fd;
    bool is_file;
    struct timer delay;
    struct buf lines;
    struct counter dropped;
};

static void count_dropped(struct access_log *log, struct slice lines)
{
    uint64_t count = 0;

    for (size_t i = 0; i < lines.len; i++)
        count += lines.ptr[i] == '\n';
    counter_add(&log->dropped, count);
}

/* As many whole lines as one piece may hold; a line that is longer than that goes alone. */
static struct slice next_piece(const struct access_log *log, struct slice lines)
{
    if (log->is_file || lines.len <= PIPE_BUF)
        return lines;
    size_t end = PIPE_BUF;
    while (end > 0 && lines.ptr[end - 1] != '\n')
        end--;
    if (end == 0)
        end = slice_find(lines, '\n') + 1;
    return slice_first(lines, end);
}

static bool takes_now(const struct access_log *log)
{
    struct pollfd poll_fd = { .fd = log->fd, .events = POLLOUT };

    return log->is_file || (poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & POLLOUT) != 0);
}

static void flush(struct access_log *log)
{
    struct slice left = buf_slice(&log->lines);

    while (left.len > 0) {
        struct slice piece = next_piece(log, left);
        if (!takes_now(log))
            break;
        ssize_t count = write(log->fd, piece.ptr, piece.len);
        if (count < 0 && errno == EINTR)
            continue;
        if (count != (ssize_t)piece.len) /* a full disk may leave half a line: it counts as lost */
            count_dropped(log, piece);
        left = slice_skip(left, piece.len);
    }
    count_dropped(log, left);
    buf_clear(&log->lines);
    timer_cancel(&log->delay);
}

static void on_delay(struct timer *timer)
{
    flush(CONTAINER_OF(timer, struct access_log, delay));
}

struct access_log *access_log_create(struct loop *loop, int fd)
{
    struct access_log *log = mem_zeroed(sizeof(*log));

    timer_init(&log->delay, loop, on_delay);
    access_log_set_fd(log, fd);
    return log;
}

void access_log_destroy(struct access_log **log)
{
    if (*log == NULL)
        return;
    flush(*log);
    buf_deinit(&(*log)->lines);
    mem_free(*log);
    *log = NULL;
}

void access_log_set_fd(struct access_log *log, int fd)
{
    struct stat facts;

    if (log->lines.len > 0)
        flush(log);
    log->fd = fd;
    log->is_file = fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode);
}

void access_log_line(struct access_log *log, struct slice line)
{
    buf_append(&log->lines, line);
    buf_append_byte(&log->lines, '\n');
    if (log->lines.len >= BATCH_BYTES)
        flush(log);
    else if (!timer_is_armed(&log->delay))
        timer_arm(&log->delay, DELAY_MS);
}

uint64_t access_log_dropped(const struct access_log *log)
{
    return counter_read(&log->dropped);
}
