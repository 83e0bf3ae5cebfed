/* The PROXY header: what a prefix decides, more bytes do not change; an accepted source is an IP
 * address. */
#include "fuzz.h"

#include "net/proxy_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = slice_of(data, size);
    struct address peer = { 0 };
    size_t used = 0;
    enum status status = proxy_protocol_parse(bytes, &used, &peer);

    ENSURE(status == STATUS_OK || status == STATUS_AGAIN || status == STATUS_MALFORMED);
    ENSURE(status != STATUS_AGAIN || size < PROXY_HEADER_MAX_BYTES);
    if (status == STATUS_OK) {
        char text[ADDRESS_TEXT_BYTES];

        ENSURE(used > 0 && used <= size && used <= PROXY_HEADER_MAX_BYTES);
        ENSURE(peer.len == 0 || peer.storage.ss_family == AF_INET ||
               peer.storage.ss_family == AF_INET6);
        if (peer.len > 0)
            ENSURE(address_text(&peer, text)[0] != '\0');
    }
    for (size_t len = 0; len < size && len < PROXY_HEADER_MAX_BYTES; len++) {
        struct address early = { 0 };
        size_t early_used = 0;
        enum status before = proxy_protocol_parse(slice_first(bytes, len), &early_used, &early);

        ENSURE(before == STATUS_AGAIN || (before == status && early_used == used));
    }
    return 0;
}
