/* upstream/allow_list.c — see the header. Both networks contain the address, so one lies inside the
 * other, and the longer prefix is the inner one: comparing prefixes is enough. */
#include "upstream/allow_list.h"

#include <ifaddrs.h>
#include <netinet/in.h>

#include "base/mem.h"

enum { SPECIAL_LOOPBACK = 1 };

static const char *const special_blocks[ALLOW_LIST_SPECIAL_COUNT] = {
    "0.0.0.0/8",         /* this host */
    "127.0.0.0/8",       /* loopback */
    "169.254.0.0/16",    /* link-local; 169.254.169.254 is the metadata service of most clouds */
    "224.0.0.0/3",       /* multicast, reserved, broadcast */
    "::/96",             /* unspecified, and the old IPv4-compatible form of everything above */
    "::1/128",           /* loopback */
    "fe80::/10",         /* link-local */
    "ff00::/8",          /* multicast */
    "fd00:ec2::254/128", /* metadata service of EC2 */
};

void allow_list_init(struct allow_list *list, const struct network *networks, size_t count)
{
    list->networks = mem_alloc(count * sizeof(*networks) + 1);
    list->count = count;
    list->own = NULL;
    list->own_count = 0;
    if (count > 0)
        memcpy(list->networks, networks, count * sizeof(*networks));
    for (size_t i = 0; i < ALLOW_LIST_SPECIAL_COUNT; i++) {
        enum status status = network_parse(slice_from_string(special_blocks[i]), &list->special[i]);

        ENSURE(status == STATUS_OK);
    }
}

void allow_list_deinit(struct allow_list *list)
{
    mem_free(list->networks);
    mem_free(list->own);
    *list = (struct allow_list){ 0 };
}

static void add_own(struct allow_list *list, const struct address *address)
{
    list->own = mem_grow(list->own, (list->own_count + 1) * sizeof(*list->own));
    list->own[list->own_count++] = *address;
}

static bool is_wildcard(const struct address *address)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&address->storage;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&address->storage;

    return v4->sin_family == AF_INET     ? v4->sin_addr.s_addr == htonl(INADDR_ANY)
           : v6->sin6_family == AF_INET6 ? IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr)
                                         : false;
}

/* Every address of this machine that is up now, with `port`. */
static void add_interfaces(struct allow_list *list, uint16_t port)
{
    struct ifaddrs *all = NULL;

    if (getifaddrs(&all) == -1)
        return;
    for (const struct ifaddrs *each = all; each != NULL; each = each->ifa_next) {
        int family = each->ifa_addr != NULL ? each->ifa_addr->sa_family : AF_UNSPEC;
        struct address address = { .len = family == AF_INET ? sizeof(struct sockaddr_in)
                                                            : sizeof(struct sockaddr_in6) };

        if (family != AF_INET && family != AF_INET6)
            continue;
        memcpy(&address.storage, each->ifa_addr, address.len);
        address_set_port(&address, port);
        add_own(list, &address);
    }
    freeifaddrs(all);
}

void allow_list_set_own(struct allow_list *list, const struct address *listeners, size_t count)
{
    mem_free(list->own);
    list->own = NULL;
    list->own_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (listeners[i].storage.ss_family == AF_UNIX || listeners[i].len == 0)
            continue;
        add_own(list, &listeners[i]);
        if (is_wildcard(&listeners[i]))
            add_interfaces(list, address_port(&listeners[i]));
    }
}

static bool is_own(const struct allow_list *list, const struct address *address)
{
    struct network lone;
    char text[ADDRESS_TEXT_BYTES];

    for (size_t i = 0; i < list->own_count; i++) {
        if (address_port(&list->own[i]) != address_port(address))
            continue;
        if (is_wildcard(&list->own[i]) &&
            network_contains(&list->special[SPECIAL_LOOPBACK], address))
            return true; /* 127.0.0.2 is here, too, and no interface says so */
        /* A network of one address compares IPv4-mapped as IPv4. */
        if (network_parse(slice_from_string(address_host_text(&list->own[i], text)), &lone) ==
                STATUS_OK &&
            network_contains(&lone, address))
            return true;
    }
    return false;
}

/* The prefix that a network must have at least to open this address. */
static unsigned least_prefix(const struct allow_list *list, const struct address *address)
{
    unsigned prefix_bits = 0;

    for (size_t i = 0; i < ALLOW_LIST_SPECIAL_COUNT; i++) {
        const struct network *block = &list->special[i];

        if (block->prefix_bits > prefix_bits && network_contains(block, address))
            prefix_bits = block->prefix_bits;
    }
    return prefix_bits;
}

bool allow_list_admits(const struct allow_list *list, const struct address *address)
{
    unsigned prefix_bits = least_prefix(list, address);

    if (address_port(address) == 0 || is_own(list, address))
        return false;
    for (size_t i = 0; i < list->count; i++) {
        const struct network *network = &list->networks[i];

        if (network->prefix_bits >= prefix_bits && network_contains(network, address))
            return true;
    }
    return false;
}
