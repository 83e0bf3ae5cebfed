/* upstream/allow_list.h — the addresses that the gateway may connect to (SSRF). The registry names
 * agents; a registry that was tampered with, or a name that resolves elsewhere, must not reach what
 * is around the gateway. */
#pragma once

#include "net/address.h"

enum { ALLOW_LIST_SPECIAL_COUNT = 9 };

struct allow_list {
    struct network *networks; /* owned */
    size_t count;
    struct network special[ALLOW_LIST_SPECIAL_COUNT];
    struct address *own; /* owned: where we listen ourselves, wildcards spelled out */
    size_t own_count;
};

/* Copies `networks`. */
void allow_list_init(struct allow_list *list, const struct network *networks, size_t count);
void allow_list_deinit(struct allow_list *list);

/* Our own listeners: never admitted, whatever is listed, since a request would go round in circles with
 * our own address as its client's. `:80` stands for port 80 of every address of this machine. */
void allow_list_set_own(struct allow_list *list, const struct address *listeners, size_t count);

/* Does a network of the list contain `address` (an IP with a port other than 0)? Loopback,
 * unspecified, link-local, multicast, reserved and metadata addresses count only when the network
 * lies inside their own block: 127.0.0.1/32 opens loopback, 0.0.0.0/0 does not. */
bool allow_list_admits(const struct allow_list *list, const struct address *address);
