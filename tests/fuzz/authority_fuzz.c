/* Authorities: the first byte says http or https. A normalised one is clean, and normal for ever; so
 * are lists and targets that everybody splits. */
#include "fuzz.h"

#include "http/message.h"

static void check_normal(struct slice authority, struct slice scheme, struct arena *arena)
{
    struct slice again = SLICE_EMPTY;
    struct slice host = authority_host(authority);

    ENSURE(authority.len > 0 && authority.len <= 255 + 6 && host.len > 0);
    for (size_t i = 0; i < authority.len; i++) {
        unsigned char c = (unsigned char)authority.ptr[i];

        ENSURE(c > ' ' && c < 0x7f && (c < 'A' || c > 'Z'));
        ENSURE(c != '@' && c != '/' && c != '\\' && c != '?' && c != '#' && c != '_' && c != '%');
    }
    ENSURE(host.ptr[host.len - 1] != '.');
    ENSURE(authority_normalize(authority, scheme, arena, &again) == STATUS_OK);
    ENSURE(slice_equal(authority, again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct slice normal = SLICE_EMPTY;

    if (size == 0)
        return 0;

    struct slice scheme = (data[0] & 1) != 0 ? SLICE("https") : SLICE("http");
    struct slice text = slice_of(data + 1, size - 1);

    arena_init(&arena, NULL, 0);
    if (authority_normalize(text, scheme, &arena, &normal) == STATUS_OK)
        check_normal(normal, scheme, &arena);
    (void)field_list_contains(text, SLICE("websocket"));
    arena_deinit(&arena);
    return 0;
}
