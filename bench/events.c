/* bench/events.c — the upstream of the cases with open streams: an h2c server that answers every request as a `Start` stream, without
 * a process behind it, so that 50,000 of them fit on one machine and all proxies get the same upstream.
 *
 * usage: events PORT COUNT PERIOD_US BYTES
 * COUNT events of BYTES bytes each (envelope included) on a fixed schedule, the first anywhere in the first period, then the end of the
 * stream. COUNT 0: one event at once, and then the stream stays open and quiet until the peer goes. Standard output (a file) holds one
 * line, rewritten: how many streams began, how many are open, how many events had to wait for the peer's window.
 *
 * For the benchmark alone: it does not decode header fields (every request is a Start), and it ends when the peer breaks a rule that it
 * relies on. It does without a library so that it stays the same while the gateway's codec changes. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FRAME_HEAD = 9, TURN_EVENTS = 256, PREFACE_BYTES = 24, WINDOW = 65535, READ_BYTES = 65536 };
enum {
    DATA = 0,
    HEADERS = 1,
    RST_STREAM = 3,
    SETTINGS = 4,
    PING = 6,
    GOAWAY = 7,
    WINDOW_UPDATE = 8
};
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4 };

struct bytes {
    unsigned char *at;
    size_t len, room;
};

struct conn;

struct stream {
    struct conn *conn; /* NULL: the stream is gone, the schedule still names it */
    uint64_t due_ns;
    uint32_t id;
    unsigned sent;
};

struct conn {
    int fd;
    struct bytes in, out;
    size_t preface_left;
    int64_t window;          /* what the peer lets us send on the connection */
    size_t taken;            /* body bytes that we have not given back yet */
    struct stream **streams; /* by id / 2; NULL: not open */
    size_t stream_room;
    int is_full; /* the kernel took no more: wait for EPOLLOUT */
};

static int epoll_fd;
static unsigned event_count;
static uint64_t period_ns;
static size_t event_bytes;
static unsigned char event_text[4096];
static struct stream **heap; /* the earliest due first */
static size_t heap_len, heap_room;
static unsigned long begun, open_now, waited;

static void die(const char *why)
{
    fprintf(stderr, "events: %s\n", why);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void *grown(void *old, size_t size)
{
    void *bytes = realloc(old, size);

    if (bytes == NULL)
        die("no memory");
    return bytes;
}

static void append(struct bytes *to, const void *bytes, size_t len)
{
    if (to->len + len > to->room) {
        to->room = 2 * (to->len + len);
        to->at = grown(to->at, to->room);
    }
    memcpy(to->at + to->len, bytes, len);
    to->len += len;
}

static void drop(struct bytes *from, size_t len)
{
    from->len -= len;
    memmove(from->at, from->at + len, from->len);
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

static void frame(struct conn *conn, int type, int flags, uint32_t stream, const void *body,
                  size_t len)
{
    unsigned char head[FRAME_HEAD] = { (unsigned char)(len >> 16), (unsigned char)(len >> 8),
                                       (unsigned char)len, (unsigned char)type,
                                       (unsigned char)flags };

    put_u32(head + 5, stream);
    append(&conn->out, head, sizeof(head));
    if (len > 0)
        append(&conn->out, body, len);
}

/* ---- the schedule: a binary heap ---- */

static void heap_put(struct stream *stream)
{
    size_t at = heap_len++;

    if (heap_len > heap_room) {
        heap_room = 2 * heap_len;
        heap = grown(heap, heap_room * sizeof(*heap));
    }
    for (; at > 0 && heap[(at - 1) / 2]->due_ns > stream->due_ns; at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = stream;
}

static struct stream *heap_take(void)
{
    struct stream *first = heap[0], *last = heap[--heap_len];
    size_t at = 0;

    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= heap_len)
            break;
        if (child + 1 < heap_len && heap[child + 1]->due_ns < heap[child]->due_ns)
            child++;
        if (heap[child]->due_ns >= last->due_ns)
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
    return first;
}

/* ---- streams ---- */

static void send_event(struct stream *stream)
{
    frame(stream->conn, DATA, 0, stream->id, event_text, event_bytes);
    stream->conn->window -= (int64_t)event_bytes;
    stream->sent++;
}

static void stream_begin(struct conn *conn, uint32_t id)
{
    static const unsigned char fields[] =
        "\x88\x0f\x10\x18"
        "application/connect+json"; /* :status 200; content-type, never indexed */
    struct stream *stream = grown(NULL, sizeof(*stream));
    size_t slot = id / 2;

    if (slot >= conn->stream_room) {
        size_t room = 2 * slot + 64;
        conn->streams = grown(conn->streams, room * sizeof(*conn->streams));
        memset(conn->streams + conn->stream_room, 0,
               (room - conn->stream_room) * sizeof(*conn->streams));
        conn->stream_room = room;
    }
    conn->streams[slot] = stream;
    *stream = (struct stream){ .conn = conn, .id = id };
    begun++;
    open_now++;
    frame(conn, HEADERS, END_HEADERS, id, fields, sizeof(fields) - 1);
    if (event_count == 0) {
        send_event(stream);
        return;
    }
    stream->due_ns = now_ns() + (uint64_t)begun * 2654435761u % period_ns;
    heap_put(stream);
}

/* Its memory goes now, or when the schedule comes to it. */
static void stream_end(struct stream *stream)
{
    stream->conn->streams[stream->id / 2] = NULL;
    stream->conn = NULL;
    open_now--;
    if (event_count == 0)
        free(stream);
}

static void stream_turn(struct stream *stream, uint64_t now)
{
    if (stream->conn == NULL) {
        free(stream);
        return;
    }
    if (stream->conn->window < (int64_t)event_bytes + 7) {
        waited++;
        stream->due_ns = now + 1000000;
        heap_put(stream);
        return;
    }
    send_event(stream);
    if (stream->sent < event_count) {
        stream->due_ns += period_ns;
        heap_put(stream);
        return;
    }
    frame(stream->conn, DATA, END_STREAM, stream->id, "\2\0\0\0\2{}", 7);
    stream->conn->window -= 7;
    stream_end(stream);
    free(stream);
}

/* ---- connections ---- */

static void conn_end(struct conn *conn)
{
    for (size_t i = 0; i < conn->stream_room; i++)
        if (conn->streams[i] != NULL)
            stream_end(conn->streams[i]);
    close(conn->fd);
    free(conn->streams);
    free(conn->in.at);
    free(conn->out.at);
    free(conn);
}

static int conn_flush(struct conn *conn)
{
    while (conn->out.len > 0) {
        ssize_t count = send(conn->fd, conn->out.at, conn->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (count < 0 && errno != EAGAIN)
            return 0;
        if (count < 0)
            break;
        drop(&conn->out, (size_t)count);
    }
    if (conn->is_full != (conn->out.len > 0)) {
        struct epoll_event event = { .data.ptr = conn };
        conn->is_full = conn->out.len > 0;
        event.events = conn->is_full ? EPOLLIN | EPOLLOUT : EPOLLIN;
        epoll_ctl(epoll_fd, EPOLL_CTL_MOD, conn->fd, &event);
    }
    return 1;
}

static void conn_settings(struct conn *conn, int flags, const unsigned char *body, size_t len)
{
    if (flags & ACK)
        return;
    for (size_t i = 0; i + 6 <= len; i += 6)
        if (body[i + 1] == 4 && u32(body + i + 2) < event_count * event_bytes + 7)
            die("the peer's stream window is smaller than a whole stream");
    frame(conn, SETTINGS, ACK, 0, NULL, 0);
}

static void conn_body(struct conn *conn, size_t len)
{
    unsigned char back[4];

    conn->taken += len;
    if (conn->taken < WINDOW / 2)
        return;
    put_u32(back, (uint32_t)conn->taken);
    frame(conn, WINDOW_UPDATE, 0, 0, back, sizeof(back));
    conn->taken = 0;
}

static void conn_frame(struct conn *conn, const unsigned char *head, size_t len)
{
    uint32_t id = u32(head + 5) & 0x7fffffff;
    const unsigned char *body = head + FRAME_HEAD;
    int type = head[3], flags = head[4];

    if (type == DATA)
        conn_body(conn, len);
    if ((type == DATA || type == HEADERS) && (flags & END_STREAM))
        stream_begin(conn, id);
    else if (type == RST_STREAM && id / 2 < conn->stream_room && conn->streams[id / 2] != NULL)
        stream_end(conn->streams[id / 2]);
    else if (type == SETTINGS)
        conn_settings(conn, flags, body, len);
    else if (type == PING && !(flags & ACK))
        frame(conn, PING, ACK, 0, body, 8);
    else if (type == WINDOW_UPDATE && id == 0)
        conn->window += u32(body) & 0x7fffffff;
}

static int conn_read(struct conn *conn)
{
    static unsigned char bytes[READ_BYTES];
    ssize_t count = recv(conn->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    size_t at = 0;

    if (count <= 0)
        return count < 0 && errno == EAGAIN;
    append(&conn->in, bytes, (size_t)count);
    if (conn->preface_left > 0) {
        if (conn->in.len < conn->preface_left)
            return 1;
        at = conn->preface_left;
        conn->preface_left = 0;
    }
    while (conn->in.len - at >= FRAME_HEAD) {
        const unsigned char *head = conn->in.at + at;
        size_t len = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
        if (conn->in.len - at < FRAME_HEAD + len)
            break;
        conn_frame(conn, head, len);
        at += FRAME_HEAD + len;
    }
    drop(&conn->in, at);
    return 1;
}

static void conn_begin(int listener)
{
    /* as many streams as the proxy likes: SETTINGS_MAX_CONCURRENT_STREAMS */
    static const unsigned char streams[6] = { 0, 3, 0, 1, 0, 0 };
    struct conn *conn = grown(NULL, sizeof(*conn));
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = conn };
    int on = 1;

    *conn = (struct conn){ .fd = accept(listener, NULL, NULL),
                           .preface_left = PREFACE_BYTES,
                           .window = WINDOW };
    if (conn->fd < 0)
        die("cannot accept");
    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, conn->fd, &event);
    frame(conn, SETTINGS, 0, 0, streams, sizeof(streams));
    if (!conn_flush(conn))
        conn_end(conn);
}

/* ---- the loop ---- */

static void report(void)
{
    static unsigned long last_begun, last_open;
    char line[64];

    if (begun == last_begun && open_now == last_open)
        return;
    last_begun = begun;
    last_open = open_now;
    snprintf(line, sizeof(line), "%20lu %20lu %20lu", begun, open_now, waited);
    line[sizeof(line) - 1] = '\n';
    if (pwrite(STDOUT_FILENO, line, sizeof(line), 0) < 0)
        die("cannot write to standard output");
}

static void run_due(uint64_t now)
{
    while (heap_len > 0 && heap[0]->due_ns <= now) {
        struct stream *stream = heap_take();
        struct conn *conn = stream->conn;
        stream_turn(stream, now);
        /* one write per event, as an agent makes it; a failed one shows at the next read */
        if (conn != NULL && !conn->is_full)
            (void)conn_flush(conn);
    }
}

static void run(int listener)
{
    struct epoll_event events[TURN_EVENTS];
    uint64_t next_report = 0;

    for (;;) {
        uint64_t now = now_ns(), wake = now + 50000000;
        if (heap_len > 0 && heap[0]->due_ns < wake)
            wake = heap[0]->due_ns > now ? heap[0]->due_ns : now;
        struct timespec wait = { .tv_nsec = (long)(wake - now) };
        int count = epoll_pwait2(epoll_fd, events, TURN_EVENTS, &wait, NULL);
        for (int i = 0; i < count; i++) {
            struct conn *conn = events[i].data.ptr;
            if (conn == NULL)
                conn_begin(listener);
            else if (!conn_read(conn) || !conn_flush(conn))
                conn_end(conn);
        }
        now = now_ns();
        run_due(now);
        if (now >= next_report) {
            report();
            next_report = now + 50000000;
        }
    }
}

static void event_init(void)
{
    static const char before[] = "{\"event\":{\"data\":{\"stdout\":\"", after[] = "\"}}}";
    size_t fixed = 5 + sizeof(before) - 1 + sizeof(after) - 1;

    if (event_bytes < fixed || event_bytes > sizeof(event_text) ||
        event_count * event_bytes + 7 > WINDOW)
        die("BYTES must hold an event, and COUNT × BYTES fit a window");
    memset(event_text, 'a', event_bytes);
    event_text[0] = 0;
    put_u32(event_text + 1, (uint32_t)(event_bytes - 5));
    memcpy(event_text + 5, before, sizeof(before) - 1);
    memcpy(event_text + event_bytes - (sizeof(after) - 1), after, sizeof(after) - 1);
}

int main(int argc, char **argv)
{
    struct sockaddr_in here = { .sin_family = AF_INET };
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;

    if (argc != 5)
        return 2;
    here.sin_port = htons((unsigned short)atoi(argv[1]));
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    event_count = (unsigned)atoi(argv[2]);
    period_ns = (uint64_t)atol(argv[3]) * 1000;
    event_bytes = (size_t)atol(argv[4]);
    event_init();
    epoll_fd = epoll_create1(0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (period_ns == 0 || bind(listener, (struct sockaddr *)&here, sizeof(here)) != 0 ||
        listen(listener, 4096) != 0)
        die("cannot listen");
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
    run(listener);
}
