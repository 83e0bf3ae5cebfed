/* proxy/wake.h — computers that are asked for while they do not run. Whoever wants one enters; the
 * first of all gateways in `repeat_ms` writes one entry to the stream `wake`, however many wait:
 *
 *     SET wake:{cmp_1} 1 NX PX <repeat_ms>     OK: XADD wake MAXLEN ~ <n> * computer cmp_1 reason request
 *
 * The key goes as soon as the computer runs. Who waits hears of that from the computer's record. */
#pragma once

#include "base/map.h"
#include "proxy/proxy.h"

struct wake_entry;

struct wake_queue {
    struct proxy *proxy;
    struct map by_computer;
    size_t waiting;
};

void wake_init(struct wake_queue *queue, struct proxy *proxy);
void wake_deinit(struct wake_queue *queue); /* everybody must have left */

/* One more waits for this computer, which is asked for if need be. NULL, and not counted: too many
 * wait. */
struct wake_entry *wake_enter(struct wake_queue *queue, struct slice computer_id,
                              const struct wake_options *options);

/* Sets *entry to NULL; may already be NULL. */
void wake_leave(struct wake_queue *queue, struct wake_entry **entry);

/* It runs: the next time that it is wanted, it is asked for at once. */
void wake_done(struct wake_queue *queue, struct wake_entry *entry);
