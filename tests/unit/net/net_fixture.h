/* tests/unit/net/net_fixture.h — an owner of a conn that writes down all it hears, certificates in
 * a folder of their own, and turns of a loop until something is true (or five seconds have passed).
 */
#pragma once

#include "base/buf.h"
#include "net/conn.h"
#include "net/listener.h"
#include "net/tls_context.h"

struct probe {
    struct conn *conn;
    unsigned open_count;
    enum status open_status;
    size_t chunk_bytes; /* one conn_read() of this size for each on_readable */
    size_t pause_bytes; /* stops reading when it holds so many; 0: never */
    unsigned readable_count;
    unsigned writable_count;
    struct buf in;
    enum status end;  /* OK until reading ended */
    struct slice out; /* is written as the transport takes it */
    enum status write_status;
    bool shuts_down;      /* when all is written */
    bool destroy_on_open; /* in that callback */
    bool destroy_on_read;
};

extern const struct conn_events probe_events;

void probe_take(struct probe *probe, struct conn *conn); /* becomes the owner, reads at once */
void probe_write(struct probe *probe);                   /* goes on with `out` */
void probe_deinit(struct probe *probe);

/* Runs turns until *condition of `arg` holds; false when it never does. */
bool run_until(struct loop *loop, bool (*holds)(void *arg), void *arg);
void run_ms(struct loop *loop, unsigned ms);
bool probe_is_open(void *probe);
bool probe_has_ended(void *probe);

/* Turns that ended before their wait was over, within `ms`: a loop that spins has thousands. */
unsigned busy_turns(struct loop *loop, unsigned ms);

/* A connection accepted over a socket pair; the other end is the caller's. */
struct conn *pair_accepted(struct loop *loop, struct tls_context *tls, int *out_other);

/* "<folder>/<name>.pem" and "<folder>/<name>.key", self-signed for `names` (NULL-terminated). */
struct test_certificate {
    char certificate_file[128];
    char key_file[128];
};
void certificate_make(struct test_certificate *certificate, const char *folder, const char *name,
                      const char *const *names);
char *folder_make(char *text, size_t size);
void folder_remove(const char *folder);
