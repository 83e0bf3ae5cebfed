/* bench/latency.c — how long a small unary call takes under a load that does not wait for answers: requests over h2c at moments fixed
 * before the run (exponential gaps, the same for all that are measured), in turn over the connections. The time counts from the
 * moment at which the request was due to the end of its response, so a stall is paid by all requests that it delays.
 *
 * usage: latency PORT RATE SECONDS CONNECTIONS BYTES [TOKEN]     prints: requests, p50, p99, p99.9 and longest in µs
 * Every response must be 200 with BYTES bytes. The first tenth is not counted. Field values are checked no further: bytes of responses
 * are counted by frame, and the status is the first field (the peer is told to use no dynamic table). */
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FRAME_HEAD = 9, CONNS_MAX = 256, OPEN_MAX = 100, FIELDS_MAX = 2048, IN_BYTES = 262144 };
enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, PING = 6, GOAWAY = 7 };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4 };

struct request {
    uint64_t due_ns, took_ns;
    unsigned bytes, ok;
};

struct conn {
    int fd;
    size_t due, sent, done; /* requests of this connection */
    size_t in_len;
    unsigned char in[IN_BYTES];
};

static struct conn *conns;
static unsigned conn_count;
static struct request
    *requests; /* number i is stream 2 × (i / connections) + 1 of connection i mod connections */
static size_t request_count, done_count;
static unsigned want_bytes;
static unsigned char call[FRAME_HEAD + FIELDS_MAX + FRAME_HEAD + 2]; /* HEADERS, DATA */
static size_t call_len, data_at;

static void die(const char *why)
{
    fprintf(stderr, "latency: %s\n", why);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint32_t u32(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void put_u32(unsigned char *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (unsigned char)(value >> (24 - 8 * i));
}

static void put_head(unsigned char *at, size_t len, int type, int flags)
{
    memset(at, 0, FRAME_HEAD);
    at[1] = (unsigned char)(len >> 8);
    at[2] = (unsigned char)len;
    at[3] = (unsigned char)type;
    at[4] = (unsigned char)flags;
}

/* `name`: index bytes of HPACK's static table, literal without indexing. */
static size_t put_field(unsigned char *at, const char *name, const char *value)
{
    size_t name_len = strlen(name), len = strlen(value), used = name_len;

    memcpy(at, name, name_len);
    if (len < 127) {
        at[used++] = (unsigned char)len;
    } else {
        size_t rest = len - 127;
        at[used++] = 127;
        for (; rest >= 128; rest >>= 7)
            at[used++] = (unsigned char)(rest | 128);
        at[used++] = (unsigned char)rest;
    }
    memcpy(at + used, value, len);
    return used + len;
}

static void call_init(const char *token)
{
    unsigned char *fields = call + FRAME_HEAD;
    size_t len = 2;
    char bearer[FIELDS_MAX - 256];

    memcpy(fields, "\x83\x86", 2); /* POST, http */
    len += put_field(fields + len, "\x04", "/process.Process/List");
    len += put_field(fields + len, "\x01", "127.0.0.1");
    len += put_field(fields + len, "\x0f\x10", "application/json");
    if (token != NULL) {
        if ((size_t)snprintf(bearer, sizeof(bearer), "Bearer %s", token) >= sizeof(bearer))
            die("the token is too long");
        len += put_field(fields + len, "\x0f\x08", bearer);
    }
    put_head(call, len, HEADERS, END_HEADERS);
    data_at = FRAME_HEAD + len;
    put_head(call + data_at, 2, DATA, END_STREAM);
    memcpy(call + data_at + FRAME_HEAD, "{}", 2);
    call_len = data_at + FRAME_HEAD + 2;
}

static void send_all(int fd, const void *bytes, size_t len)
{
    if (send(fd, bytes, len, MSG_NOSIGNAL) != (ssize_t)len)
        die("cannot send");
}

static void conn_open(struct conn *conn, const char *port)
{
    /* no dynamic table, no push; then a connection window for all responses of the run */
    static const unsigned char hello[] =
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\14\4\0\0\0\0\0\0\1\0\0\0\0\0\2\0\0\0\0"
        "\0\0\4\10\0\0\0\0\0\77\0\0\0";
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons((unsigned short)atoi(port)) };
    int on = 1;

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    conn->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (conn->fd < 0 || connect(conn->fd, (struct sockaddr *)&to, sizeof(to)) != 0)
        die("cannot connect");
    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    send_all(conn->fd, hello, sizeof(hello) - 1);
}

/* What is due leaves, as far as any server lets a connection have streams; the rest waits, and its time runs. */
static void conn_send(struct conn *conn)
{
    for (; conn->sent < conn->due && conn->sent - conn->done < OPEN_MAX; conn->sent++) {
        uint32_t id = (uint32_t)(2 * conn->sent + 1);
        put_u32(call + 5, id);
        put_u32(call + data_at + 5, id);
        send_all(conn->fd, call, call_len);
    }
}

static void on_response(struct conn *conn, const unsigned char *head, size_t len)
{
    size_t number = (u32(head + 5) / 2) * conn_count + (size_t)(conn - conns);
    const unsigned char *body = head + FRAME_HEAD;
    struct request *request = &requests[number];

    if (number >= request_count || request->took_ns != 0)
        die("a response that nobody asked for");
    if (head[3] == DATA)
        request->bytes += (unsigned)len;
    if (head[3] == HEADERS && !request->ok) {
        while (len > 0 && (*body & 0xe0) == 0x20) /* a change of the table's size comes first */
            body++, len--;
        request->ok = len > 0 && *body == 0x88;
    }
    if (head[4] & END_STREAM) {
        if (!request->ok || request->bytes != want_bytes)
            die("a response is not the one expected");
        request->took_ns = now_ns() - request->due_ns;
        conn->done++;
        done_count++;
    }
}

static void on_frame(struct conn *conn, unsigned char *head, size_t len)
{
    int type = head[3];

    if (type == DATA || type == HEADERS)
        on_response(conn, head, len);
    else if (type == RST_STREAM || type == GOAWAY)
        die("the peer reset a stream or said goodbye");
    else if (type == SETTINGS && !(head[4] & ACK)) {
        put_head(head, 0, SETTINGS, ACK);
        send_all(conn->fd, head, FRAME_HEAD);
    } else if (type == PING && !(head[4] & ACK)) {
        head[4] = ACK;
        send_all(conn->fd, head, FRAME_HEAD + 8);
    }
}

static void conn_read(struct conn *conn)
{
    ssize_t count = recv(conn->fd, conn->in + conn->in_len, IN_BYTES - conn->in_len, MSG_DONTWAIT);
    size_t at = 0;

    if (count < 0 && errno == EAGAIN)
        return;
    if (count <= 0)
        die("the peer closed");
    conn->in_len += (size_t)count;
    while (conn->in_len - at >= FRAME_HEAD) {
        unsigned char *head = conn->in + at;
        size_t len = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
        if (conn->in_len - at < FRAME_HEAD + len)
            break;
        on_frame(conn, head, len);
        at += FRAME_HEAD + len;
    }
    conn->in_len -= at;
    memmove(conn->in, conn->in + at, conn->in_len);
    conn_send(conn);
}

static void run(double rate, int epoll_fd)
{
    uint64_t seed = 88172645463325252u, at = now_ns() + 50000000;
    struct epoll_event events[CONNS_MAX];
    size_t due = 0;

    for (size_t i = 0; i < request_count; i++) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        at += (uint64_t)(-log(((double)(seed >> 11) + 1) / 9007199254740993.0) * 1e9 / rate);
        requests[i].due_ns = at;
    }
    while (done_count < request_count) {
        uint64_t now = now_ns(), next = now + 5000000000u;
        for (; due < request_count && requests[due].due_ns <= now; due++) {
            conns[due % conn_count].due++;
            conn_send(&conns[due % conn_count]);
        }
        if (due < request_count)
            next = requests[due].due_ns;
        struct timespec wait = { .tv_sec = (time_t)((next - now) / 1000000000u),
                                 .tv_nsec = (long)((next - now) % 1000000000u) };
        int count = epoll_pwait2(epoll_fd, events, CONNS_MAX, &wait, NULL);
        if (count == 0 && due == request_count)
            die("responses are missing");
        for (int i = 0; i < count; i++)
            conn_read(events[i].data.ptr);
    }
}

static int by_time(const void *a, const void *b)
{
    const struct request *x = a, *y = b;

    return x->took_ns < y->took_ns ? -1 : x->took_ns > y->took_ns;
}

static void report(void)
{
    size_t first = request_count / 10, n = request_count - first;
    struct request *r = requests + first;

    qsort(r, n, sizeof(*r), by_time);
    printf("%zu %.1f %.1f %.1f %.1f\n", request_count, (double)r[n / 2].took_ns / 1e3,
           (double)r[n * 99 / 100].took_ns / 1e3, (double)r[n * 999 / 1000].took_ns / 1e3,
           (double)r[n - 1].took_ns / 1e3);
}

int main(int argc, char **argv)
{
    int epoll_fd = epoll_create1(0);

    if (argc != 6 && argc != 7)
        return 2;
    double rate = atof(argv[2]);
    conn_count = (unsigned)atoi(argv[4]);
    want_bytes = (unsigned)atoi(argv[5]);
    request_count = (size_t)(rate * atof(argv[3]));
    if (conn_count == 0 || conn_count > CONNS_MAX || request_count < 10)
        return 2;
    conns = calloc(conn_count, sizeof(*conns));
    requests = calloc(request_count, sizeof(*requests));
    if (conns == NULL || requests == NULL)
        die("no memory");
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0); /* wake when a request is due, not 50 µs later */
    call_init(argc == 7 ? argv[6] : NULL);
    for (unsigned i = 0; i < conn_count; i++) {
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = &conns[i] };
        conn_open(&conns[i], argv[1]);
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, conns[i].fd, &event);
    }
    run(rate, epoll_fd);
    report();
    return 0;
}
