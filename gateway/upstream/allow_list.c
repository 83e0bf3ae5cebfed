/* upstream/allow_list.c — see the header. Both networks contain the address, so one lies inside the
 * other, and the longer prefix is the inner one: comparing prefixes is enough. */
#include "upstream/allow_list.h"

#include "base/mem.h"

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
    *list = (struct allow_list){ 0 };
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

    if (address_port(address) == 0)
        return false;
    for (size_t i = 0; i < list->count; i++) {
        const struct network *network = &list->networks[i];

        if (network->prefix_bits >= prefix_bits && network_contains(network, address))
            return true;
    }
    return false;
}
