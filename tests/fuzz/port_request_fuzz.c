/* What a request to a published port says: cookies, query, subprotocols, where it comes from. The
 * first line is method and target, the others are fields. Whatever is taken for a token is gone from
 * what the app gets, and everything else of it is still there. */
#include "fuzz.h"

#include "proxy/port_request.h"

static void read_head(struct slice text, struct arena *arena, struct head *out)
{
    struct slice line = slice_cut(&text, '\n');

    out->method = slice_cut(&line, ' ');
    out->target = line;
    out->scheme = SLICE("https");
    out->content_length = CONTENT_LENGTH_UNKNOWN;
    while (text.len > 0 && out->fields.count < 64) {
        struct slice value = slice_cut(&text, '\n');
        struct slice name = slice_cut(&value, ':');

        fields_add_named(&out->fields, arena, name, slice_trim(value));
        if (slice_equal(name, SLICE("upgrade")))
            out->protocol = slice_trim(value);
    }
}

static size_t count_in(const struct port_request *request, enum token_place place)
{
    size_t count = 0;

    for (size_t i = 0; i < request->token_count; i++)
        count += request->tokens[i].place == place;
    return count;
}

/* The request again, with one field or the target as it goes to the app. */
static size_t tokens_left(struct slice target, enum field_id id, struct slice value,
                          enum token_place place)
{
    struct field field = { .name = field_name(id), .value = value, .id = id };
    struct head head = {
        .method = SLICE("GET"),
        .target = target,
        .fields = { .items = &field, .count = id != FIELD_OTHER },
    };
    struct port_request request;

    ENSURE(port_request_parse(&head, &request) == STATUS_OK);
    return count_in(&request, place);
}

static bool is_part_of(struct slice part, struct slice whole)
{
    return part.len == 0 || memmem(whole.ptr, whole.len, part.ptr, part.len) != NULL;
}

static void check_cookies(struct slice value, struct arena *arena)
{
    struct slice left = port_cookies_without_ours(value, arena);
    struct slice rest = left;

    ENSURE(left.len <= value.len);
    ENSURE(tokens_left(SLICE("/"), FIELD_COOKIE, left, PLACE_COOKIE) == 0);
    ENSURE(slice_equal(port_cookies_without_ours(left, arena), left));
    while (rest.len > 0)
        ENSURE(is_part_of(slice_trim(slice_cut(&rest, ';')), value));
}

static void check_subprotocols(struct slice value, struct arena *arena)
{
    struct slice left = port_subprotocols_without_ours(value, arena);

    ENSURE(tokens_left(SLICE("/"), FIELD_SEC_WEBSOCKET_PROTOCOL, left, PLACE_SUBPROTOCOL) == 0);
}

static void check_target(struct port_request *request, struct slice target, struct arena *arena)
{
    struct slice kept = port_request_target(request, target, false, arena);

    ENSURE(slice_equal(kept, target)); /* nothing was found to be ours */
    for (size_t i = 0; i < request->token_count; i++)
        request->tokens[i].is_ours = true;
    kept = port_request_target(request, target, true, arena);
    ENSURE(kept.len <= target.len && slice_starts_with(kept, request->path));
    if (count_in(request, PLACE_QUERY) < PORT_QUERY_TRIED)
        ENSURE(tokens_left(kept, FIELD_OTHER, SLICE_EMPTY, PLACE_QUERY) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct head head = { 0 };
    struct port_request request;
    struct slice rest;

    arena_init(&arena, NULL, 0);
    read_head(slice_of(data, size), &arena, &head);
    enum status status = port_request_parse(&head, &request);

    ENSURE(status == STATUS_OK || status == STATUS_TOKEN_DUPLICATE);
    ENSURE(request.token_count <= PORT_TOKENS_MAX);
    for (size_t i = 0; i < request.token_count; i++)
        ENSURE(request.tokens[i].text.len > 0);
    check_target(&request, head.target, &arena);
    for (size_t i = 0; i < head.fields.count; i++) {
        const struct field *field = &head.fields.items[i];

        check_cookies(field->value, &arena);
        check_subprotocols(field->value, &arena);
        (void)port_sets_our_cookie(field->value);
        (void)port_url_is_of(field->value, SLICE("app.computer.test"), &arena, &rest);
    }
    (void)port_origin_is_own(&head, SLICE("app.computer.test"), true, &arena);
    arena_deinit(&arena);
    return 0;
}
