/* tests/load/kind_websocket.c — WebSockets through a published port to an app that echoes (exec-load-app): `sessions` are held open,
 * an arrival is a message on one of them. Over HTTP/1.1 by Upgrade, over HTTP/2 by extended CONNECT (RFC 8441).
 * Latency: from when the message was due until it is back. */
#include "base/mem.h"
#include "rpc.h"

enum {
    SETTLE_MS = 500,
    FRAME_HEAD_MAX = 14,
    OPCODE_TEXT = 1,
    OPCODE_BINARY = 2,
    OPCODE_CLOSE = 8,
    OPCODE_PING = 9
};

struct frames { /* what the server sends: heads without masks */
    unsigned char head[FRAME_HEAD_MAX];
    unsigned head_len;
    uint64_t left; /* of the payload */
};

struct session {
    struct request request;
    struct echo_ring echoes;
    struct frames frames;
    bool is_held;
};

static unsigned head_size(const struct frames *f)
{
    unsigned len7 = f->head[1] & 0x7f;

    return len7 < 126 ? 2 : len7 == 126 ? 4 : 10;
}

static uint64_t payload_size(const struct frames *f)
{
    unsigned len7 = f->head[1] & 0x7f, size = head_size(f);
    uint64_t value = 0;

    if (len7 < 126)
        return len7;
    for (unsigned i = 2; i < size; i++)
        value = value << 8 | f->head[i];
    return value;
}

/* The last byte of a frame came: a message is back when it is a final data frame. */
static void frame_ended(struct session *session)
{
    unsigned opcode = session->frames.head[0] & 0x0f;
    bool is_final = (session->frames.head[0] & 0x80) != 0;

    if (is_final && opcode <= OPCODE_BINARY)
        echo_came(&session->echoes, session->request.run);
    session->frames.head_len = 0;
}

static void on_bytes(struct request *request, struct slice bytes)
{
    struct session *session = CONTAINER_OF(request, struct session, request);
    struct frames *f = &session->frames;

    while (bytes.len > 0) {
        if (f->head_len < 2 || f->head_len < head_size(f)) {
            f->head[f->head_len++] = (unsigned char)bytes.ptr[0];
            bytes = slice_skip(bytes, 1);
            if (f->head_len < 2 || f->head_len < head_size(f))
                continue;
            f->left = payload_size(f);
        } else {
            size_t part = f->left < bytes.len ? (size_t)f->left : bytes.len;
            f->left -= part;
            bytes = slice_skip(bytes, part);
        }
        if (f->left == 0)
            frame_ended(session);
    }
}

static void on_head(struct request *request)
{
    struct session *session = CONTAINER_OF(request, struct session, request);

    session->is_held = true;
    request->run->held_count++;
    request_held(request);
}

static void on_end(struct request *request, enum outcome outcome)
{
    struct session *session = CONTAINER_OF(request, struct session, request);
    struct run *run = request->run;

    if (outcome == OUTCOME_OK)
        outcome = OUTCOME_ENDED_EARLY;
    if (session->is_held)
        run->held_count--;
    if (!run->is_finishing || !session->is_held)
        run_count_session(run, request->due_us, outcome);
    echo_lost(&session->echoes, run, run->is_finishing ? OUTCOME_UNFINISHED : outcome);
    session->is_held = false;
}

static const struct request_events events = { .on_head = on_head,
                                              .on_bytes = on_bytes,
                                              .on_end = on_end };

static void open_session(struct run *run, uint64_t number, uint64_t due_us)
{
    struct session *session =
        &((struct session *)run->state)[number / run->lane->settings->lane_count];
    struct request *request = &session->request;
    const struct identities *access = &run->lane->settings->access;

    request_init(request, run, &events, due_us);
    request->shape = SHAPE_PLAIN;
    request->method = run->load->protocol == PROTOCOL_H1 ? SLICE("GET") : SLICE("CONNECT");
    request->protocol = SLICE("websocket");
    request->path = slice_from_string(run->load->path);
    request->authority = slice_from_string(run->load->authority);
    request->auth = run->load->auth;
    request->identities = access;
    request->keep_open = true;
    if (run->load->identities == IDENTITY_PER_CALL)
        request->identity = run_identity(run, access, number);
    request_start(request);
}

/* A masked frame (RFC 6455 §5.3); the mask is zero, so that the payload goes as it is. */
static void send_frame(struct request *request, unsigned opcode, struct slice payload)
{
    unsigned char head[8] = { (unsigned char)(0x80 | opcode), 0x80 };
    size_t size = 2;

    if (payload.len < 126) {
        head[1] |= (unsigned char)payload.len;
    } else {
        head[1] |= 126;
        head[size++] = (unsigned char)(payload.len >> 8);
        head[size++] = (unsigned char)payload.len;
    }
    request_write(request, slice_of(head, size));
    request_write(request, SLICE("\0\0\0\0"));
    request_write(request, payload);
}

static void arrive(struct run *run, uint64_t number, uint64_t due_us)
{
    static const char letters[4096 + 1] = { 'w' };
    uint64_t index =
        number / run->lane->settings->lane_count % (run->state_count > 0 ? run->state_count : 1);
    struct session *session = &((struct session *)run->state)[index];

    if (!session->is_held || !echo_sent(&session->echoes, due_us))
        run_count(run, due_us, OUTCOME_OVERRUN);
    else
        send_frame(&session->request, OPCODE_BINARY,
                   slice_of(letters, (size_t)run->load->event_bytes));
}

static void start(struct run *run)
{
    const struct load *load = run->load;
    unsigned lanes = run->lane->settings->lane_count;

    run->openings.limit = load->sessions;
    run->openings.rate =
        (double)load->sessions * 1000 / (double)(load->open_ms > 0 ? load->open_ms : 1);
    run->arrivals.start_us += (load->open_ms + SETTLE_MS) * 1000;
    run->arrivals.end_us -= SETTLE_MS * 1000; /* the last ones come back before the end */
    run->state_count = load->sessions / lanes + (run->lane->index < load->sessions % lanes);
    run->state = mem_zeroed(((size_t)run->state_count + 1) * sizeof(struct session));
    if (run->state_count == 0)
        run->arrivals.rate = 0;
}

static void finish(struct run *run)
{
    struct session *sessions = run->state;

    for (uint64_t i = 0; i < run->state_count; i++) {
        if (!sessions[i].is_held)
            continue;
        send_frame(&sessions[i].request, OPCODE_CLOSE, SLICE("\x03\xe8")); /* 1000 */
        request_finish(&sessions[i].request);
    }
}

static void destroy(struct run *run)
{
    mem_free(run->state);
}

const struct kind kind_websocket = { start, open_session, arrive, finish, destroy };
