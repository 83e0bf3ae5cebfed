/* faults.c — a library for LD_PRELOAD that lets system calls and allocations fail now and then.
 *
 * FAULTS_FILE names a file with words like "recv=50 send-short=500 accept=100": of a thousand calls
 * so many fail, in a way that the kernel could choose. It is read again when it changes; while it
 * is absent nothing fails. When the words change, what was done under the words before is written
 * to FAULTS_FILE.done as "recv=1234 …". FAULTS_SEED makes the dice roll the same way.
 *
 *     recv, send           errors of a broken connection        on sockets alone
 *     recv-short, -again   one byte; EINTR and EAGAIN: a caller must not mind at all (so send-…)
 *     those of recv and send strike calls that go through an io_uring, too
 *     accept, connect, socket, open, option (setsockopt), lookup (getaddrinfo), wait (epoll_wait)
 *     openssl              malloc, calloc and realloc called from that library: NULL
 *
 * And "clock=-3600": somebody has set the wall clock back by an hour; CLOCK_MONOTONIC stays.
 *
 * poll: epoll_ctl takes no more descriptors. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <liburing.h>

#define FAULT_TABLE(X)                                                                             \
    X(RECV, "recv")                                                                                \
    X(RECV_SHORT, "recv-short")                                                                    \
    X(RECV_AGAIN, "recv-again")                                                                    \
    X(SEND, "send")                                                                                \
    X(SEND_SHORT, "send-short")                                                                    \
    X(SEND_AGAIN, "send-again")                                                                    \
    X(ACCEPT, "accept")                                                                            \
    X(CONNECT, "connect")                                                                          \
    X(SOCKET, "socket")                                                                            \
    X(OPEN, "open")                                                                                \
    X(OPTION, "option")                                                                            \
    X(LOOKUP, "lookup")                                                                            \
    X(POLL, "poll")                                                                                \
    X(WAIT, "wait")                                                                                \
    X(OPENSSL, "openssl")

#define AS_ENUM(name, text) FAULT_##name,
#define AS_TEXT(name, text) text,
enum fault { FAULT_TABLE(AS_ENUM) FAULT_COUNT };
static const char *const fault_names[FAULT_COUNT] = { FAULT_TABLE(AS_TEXT) };

static _Atomic unsigned rates[FAULT_COUNT]; /* of a thousand */
static _Atomic unsigned long done[FAULT_COUNT];
static _Atomic long clock_ahead_s;
static const char *control_file;
static uint64_t seed = 1;

/* ---- the dice ---- */

static uint64_t roll(void)
{
    static _Thread_local uint64_t state;
    static _Atomic uint64_t threads;

    if (state == 0)
        state = (seed + ++threads) * 0x9e3779b97f4a7c15u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state * 0x2545f4914f6cdd1du >> 11;
}

static bool strikes(enum fault fault)
{
    unsigned rate = rates[fault];

    if (rate == 0 || roll() % 1000 >= rate)
        return false;
    done[fault]++;
    return true;
}

#define ONE_OF(...)                                                                                \
    one_of((const int[]){ __VA_ARGS__ }, sizeof((const int[]){ __VA_ARGS__ }) / sizeof(int))

static int one_of(const int *errors, size_t count)
{
    errno = errors[roll() % count];
    return -1;
}

static bool is_socket(int fd)
{
    struct stat facts;
    int saved = errno;
    bool yes = fstat(fd, &facts) == 0 && S_ISSOCK(facts.st_mode);

    errno = saved;
    return yes;
}

/* The function that this library stands before. */
#define NEXT(name)                                                                                 \
    static __typeof__(name) *next;                                                                 \
    if (next == NULL)                                                                              \
    next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

/* ---- control ---- */

static void take_words(char *words)
{
    unsigned wanted[FAULT_COUNT] = { 0 };
    long ahead_s = 0;
    char *rest = NULL;

    for (char *word = strtok_r(words, " \n", &rest); word != NULL;
         word = strtok_r(NULL, " \n", &rest)) {
        char *value = strchr(word, '=');

        if (value == NULL)
            continue;
        *value++ = '\0';
        if (strcmp(word, "clock") == 0)
            ahead_s = strtol(value, NULL, 10);
        for (int i = 0; i < FAULT_COUNT; i++)
            if (strcmp(word, fault_names[i]) == 0)
                wanted[i] = (unsigned)strtoul(value, NULL, 10);
    }
    for (int i = 0; i < FAULT_COUNT; i++)
        rates[i] = wanted[i];
    clock_ahead_s = ahead_s;
}

static void tell_done(void)
{
    char path[4096], text[1024];
    size_t len = 0;
    FILE *file;

    for (int i = 0; i < FAULT_COUNT; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s=%lu ", fault_names[i],
                                atomic_exchange(&done[i], 0));
    snprintf(path, sizeof(path), "%s.done", control_file);
    file = fopen(path, "w");
    if (file == NULL)
        return;
    fwrite(text, 1, len, file);
    fclose(file);
}

static void *control(void *arg)
{
    char before[512] = "", words[512];

    for (;;) {
        FILE *file = fopen(control_file, "r"); /* does not come by open() of below */
        size_t len = file != NULL ? fread(words, 1, sizeof(words) - 1, file) : 0;

        words[len] = '\0';
        if (file != NULL)
            fclose(file);
        if (strcmp(words, before) != 0) {
            memcpy(before, words, sizeof(before));
            take_words(words);
            tell_done();
        }
        usleep(20 * 1000);
    }
    return arg;
}

/* ---- whose allocation it is ---- */

enum { RANGES_MAX = 8 };
static struct range {
    uintptr_t start, end;
} ranges[RANGES_MAX];
static size_t range_count;

static int note_library(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    (void)arg;
    if (strstr(info->dlpi_name, "libssl") == NULL && strstr(info->dlpi_name, "libcrypto") == NULL)
        return 0;
    for (int i = 0; i < info->dlpi_phnum && range_count < RANGES_MAX; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];

        if (part->p_type == PT_LOAD && (part->p_flags & PF_X) != 0) {
            ranges[range_count].start = info->dlpi_addr + part->p_vaddr;
            ranges[range_count].end = ranges[range_count].start + part->p_memsz;
            range_count++;
        }
    }
    return 0;
}

__attribute__((constructor)) static void begin(void)
{
    sigset_t all, before;
    pthread_t thread;
    const char *text = getenv("FAULTS_SEED");

    control_file = getenv("FAULTS_FILE");
    if (control_file == NULL)
        return;
    if (text != NULL)
        seed = strtoull(text, NULL, 10);
    dl_iterate_phdr(note_library, NULL);
    sigfillset(&all); /* signals are the program's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&thread, NULL, control, NULL) == 0)
        pthread_detach(thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static bool allocation_fails(const void *caller)
{
    uintptr_t at = (uintptr_t)caller;

    if (rates[FAULT_OPENSSL] == 0)
        return false;
    for (size_t i = 0; i < range_count; i++)
        if (at >= ranges[i].start && at < ranges[i].end)
            return strikes(FAULT_OPENSSL);
    return false;
}

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);

static void *no_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

void *malloc(size_t size)
{
    return allocation_fails(__builtin_return_address(0)) ? no_memory() : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return allocation_fails(__builtin_return_address(0)) ? no_memory() : __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    return allocation_fails(__builtin_return_address(0)) ? no_memory()
                                                         : __libc_realloc(memory, size);
}

/* ---- bytes ---- */

struct direction {
    enum fault broken, again, cut;
    size_t cut_bytes; /* at most so many are left of one that is cut */
    int errors[4];    /* of a broken one */
};

static const struct direction receiving = { FAULT_RECV,
                                            FAULT_RECV_AGAIN,
                                            FAULT_RECV_SHORT,
                                            8,
                                            { ECONNRESET, ETIMEDOUT, EHOSTUNREACH, ENOMEM } };
static const struct direction sending = {
    FAULT_SEND, FAULT_SEND_AGAIN, FAULT_SEND_SHORT, 64, { ECONNRESET, EPIPE, ETIMEDOUT, ENOBUFS }
};

static bool bytes_fail(const struct direction *way, int fd, size_t *size)
{
    if (!is_socket(fd))
        return false;
    if (strikes(way->broken)) {
        (void)one_of(way->errors, sizeof(way->errors) / sizeof(way->errors[0]));
        return true;
    }
    if (strikes(way->again)) {
        (void)ONE_OF(EAGAIN, EINTR);
        return true;
    }
    if (*size > 1 && strikes(way->cut))
        *size = 1 + roll() % (*size < way->cut_bytes ? *size : way->cut_bytes);
    return false;
}

ssize_t recv(int fd, void *into, size_t size, int flags)
{
    NEXT(recv);
    return bytes_fail(&receiving, fd, &size) ? -1 : next(fd, into, size, flags);
}

ssize_t read(int fd, void *into, size_t size)
{
    NEXT(read);
    return bytes_fail(&receiving, fd, &size) ? -1 : next(fd, into, size);
}

ssize_t send(int fd, const void *bytes, size_t size, int flags)
{
    NEXT(send);
    return bytes_fail(&sending, fd, &size) ? -1 : next(fd, bytes, size, flags);
}

ssize_t write(int fd, const void *bytes, size_t size)
{
    NEXT(write);
    return bytes_fail(&sending, fd, &size) ? -1 : next(fd, bytes, size);
}

/* ---- the same through a ring (gateway/net/io_batch.c): calls are shortened before they are made,
 * those that fail are not made ---- */

enum { RING_CALLS_MAX = 64 };

static void spoil(struct io_uring_sqe *call, int *error)
{
    size_t size = call->len;
    const struct direction *way = call->opcode == IORING_OP_SEND ? &sending : &receiving;

    if (bytes_fail(way, call->fd, &size)) {
        *error = errno;
        call->opcode = IORING_OP_NOP;
    }
    call->len = (unsigned)size;
}

int io_uring_submit_and_wait(struct io_uring *ring, unsigned wanted)
{
    int errors[RING_CALLS_MAX] = { 0 };
    unsigned mask = *ring->sq.kring_mask, head, count = 0;
    struct io_uring_cqe *result;
    NEXT(io_uring_submit_and_wait);

    for (unsigned i = ring->sq.sqe_head; i != ring->sq.sqe_tail && count < RING_CALLS_MAX; i++)
        spoil(&ring->sq.sqes[i & mask], &errors[count++]);

    int taken = next(ring, wanted);

    io_uring_for_each_cqe(ring, head, result)
    {
        if (result->user_data < RING_CALLS_MAX && errors[result->user_data] != 0)
            result->res = -errors[result->user_data];
    }
    return taken;
}

static size_t bytes_of(const struct iovec *parts, size_t count)
{
    size_t all = 0;

    for (size_t i = 0; i < count; i++)
        all += parts[i].iov_len;
    return all;
}

/* The first `size` bytes of the parts, into `out`; returns how many parts that is. */
static size_t first_bytes(const struct iovec *parts, size_t count, size_t size, struct iovec *out)
{
    size_t used = 0;

    while (used < count && size > 0) {
        out[used] = parts[used];
        if (out[used].iov_len > size)
            out[used].iov_len = size;
        size -= out[used++].iov_len;
    }
    return used;
}

enum { PARTS_MAX = 1024 };

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    size_t all = bytes_of(message->msg_iov, message->msg_iovlen), size = all;
    struct iovec parts[PARTS_MAX];
    struct msghdr less = *message;
    NEXT(sendmsg);

    if (bytes_fail(&sending, fd, &size))
        return -1;
    if (size < all && message->msg_iovlen <= PARTS_MAX) {
        less.msg_iovlen = first_bytes(message->msg_iov, message->msg_iovlen, size, parts);
        less.msg_iov = parts;
    }
    return next(fd, &less, flags);
}

ssize_t writev(int fd, const struct iovec *all_parts, int count)
{
    size_t all = bytes_of(all_parts, (size_t)count), size = all;
    struct iovec parts[PARTS_MAX];
    NEXT(writev);

    if (bytes_fail(&sending, fd, &size))
        return -1;
    if (size == all)
        return next(fd, all_parts, count);
    return next(fd, parts, (int)first_bytes(all_parts, (size_t)count, size, parts));
}

/* ---- descriptors ---- */

int accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    NEXT(accept4);
    return strikes(FAULT_ACCEPT)
               ? ONE_OF(EMFILE, ENFILE, ENOBUFS, ENOMEM, ECONNABORTED, EINTR, EAGAIN)
               : next(fd, address, size, flags);
}

int connect(int fd, const struct sockaddr *address, socklen_t size)
{
    NEXT(connect);
    return strikes(FAULT_CONNECT)
               ? ONE_OF(ECONNREFUSED, ENETUNREACH, EADDRNOTAVAIL, ETIMEDOUT, EAGAIN)
               : next(fd, address, size);
}

int socket(int domain, int type, int protocol)
{
    NEXT(socket);
    return strikes(FAULT_SOCKET) ? ONE_OF(EMFILE, ENFILE, ENOBUFS, ENOMEM)
                                 : next(domain, type, protocol);
}

int socketpair(int domain, int type, int protocol, int pair[2])
{
    NEXT(socketpair);
    return strikes(FAULT_SOCKET) ? ONE_OF(EMFILE, ENFILE) : next(domain, type, protocol, pair);
}

static mode_t mode_of(int flags, va_list more)
{
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
    va_list more;
    mode_t mode;
    NEXT(open);

    va_start(more, flags);
    mode = mode_of(flags, more);
    va_end(more);
    return strikes(FAULT_OPEN) ? ONE_OF(EMFILE, ENFILE) : next(path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...)
{
    va_list more;
    mode_t mode;
    NEXT(openat);

    va_start(more, flags);
    mode = mode_of(flags, more);
    va_end(more);
    return strikes(FAULT_OPEN) ? ONE_OF(EMFILE, ENFILE) : next(folder, path, flags, mode);
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
    NEXT(setsockopt);
    return strikes(FAULT_OPTION) ? ONE_OF(ENOBUFS, ENOMEM, EINVAL)
                                 : next(fd, level, name, value, size);
}

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **out)
{
    static const int answers[] = { EAI_AGAIN, EAI_FAIL, EAI_MEMORY, EAI_NONAME };
    NEXT(getaddrinfo);

    return strikes(FAULT_LOOKUP) ? answers[roll() % 4] : next(host, service, hints, out);
}

int epoll_ctl(int fd, int what, int other, struct epoll_event *event)
{
    NEXT(epoll_ctl);
    return what == EPOLL_CTL_ADD && strikes(FAULT_POLL) ? ONE_OF(ENOMEM, ENOSPC)
                                                        : next(fd, what, other, event);
}

int epoll_wait(int fd, struct epoll_event *events, int count, int wait_ms)
{
    NEXT(epoll_wait);
    return strikes(FAULT_WAIT) ? ONE_OF(EINTR) : next(fd, events, count, wait_ms);
}

/* ---- the wall clock ---- */

int clock_gettime(clockid_t clock, struct timespec *out)
{
    NEXT(clock_gettime);
    int result = next(clock, out);

    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        out->tv_sec += clock_ahead_s;
    return result;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    NEXT(gettimeofday);
    int result = next(out, zone);

    out->tv_sec += clock_ahead_s;
    return result;
}

time_t time(time_t *out)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL)
        *out = now.tv_sec;
    return now.tv_sec;
}
