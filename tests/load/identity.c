/* tests/load/identity.c — see the header. */
#include "identity.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "auth/token_mint.h"

enum { TOKEN_LINE_BYTES = 16384 };

static void add(struct identities *all, struct slice token)
{
    struct identity *identity = &all->items[all->count++];

    identity->bearer = arena_printf(&all->arena, "Bearer %.*s", SLICE_ARGS(token));
    identity->token = slice_skip(identity->bearer, 7);
    identity->cookie =
        arena_printf(&all->arena, "agentcomputer_access_session=%.*s", SLICE_ARGS(token));
}

static enum status mint_one(struct identities *out, const struct identity_mint *mint,
                            const struct key_options *key, uint64_t computer, uint64_t session,
                            struct buf *out_error)
{
    static const char *const capabilities[] = { "process", NULL };
    char computer_id[48], session_id[64];
    struct buf token = { 0 };
    int64_t now_s = time(NULL);
    enum status status;

    snprintf(computer_id, sizeof(computer_id), "cmp_load_%llu", (unsigned long long)computer);
    snprintf(session_id, sizeof(session_id), "%s_load_%llu_%llu", mint->is_access ? "acc" : "ses",
             (unsigned long long)computer, (unsigned long long)session);
    const struct token_claims claims = {
        .issuer = mint->issuer,
        .audience = mint->is_access ? "access" : "exec",
        .session_id = session_id,
        .computer_id = computer_id,
        .user_id = "usr_load",
        .kind = mint->is_access ? "browser" : "exec",
        .capabilities = mint->is_access ? NULL : capabilities,
        .issued_wall_s = now_s,
        .expires_wall_s = now_s + (int64_t)mint->life_s,
    };
    status = token_mint(&claims, key, out_error, &token);
    if (status == STATUS_OK)
        add(out, buf_slice(&token));
    buf_deinit(&token);
    return status;
}

enum status identities_mint(struct identities *out, const struct identity_mint *mint,
                            struct buf *out_error)
{
    struct key_options key = { .kid = mint->kid, .file = mint->key_file };
    enum status status = STATUS_OK;

    arena_init(&out->arena, NULL, 0);
    out->count = 0;
    out->is_minted = true;
    out->items =
        arena_alloc(&out->arena, (size_t)(mint->computers * mint->sessions) * sizeof(*out->items));
    if (!token_algorithm_from_text(slice_from_string(mint->algorithm), &key.algorithm)) {
        buf_printf(out_error, "--alg: \"%s\" is none of HS256 … ES512", mint->algorithm);
        return STATUS_CONFIG_INVALID;
    }
    /* neighbours are of different computers: connections spread over all of them */
    for (uint64_t s = 0; s < mint->sessions; s++) {
        for (uint64_t c = 0; status == STATUS_OK && c < mint->computers; c++)
            status = mint_one(out, mint, &key, c, s, out_error);
    }
    return status;
}

enum status identities_read(struct identities *out, const char *file, struct buf *out_error)
{
    char line[TOKEN_LINE_BYTES];
    FILE *input = fopen(file, "re");
    size_t capacity = 0;

    arena_init(&out->arena, NULL, 0);
    out->count = 0;
    out->items = NULL;
    if (input == NULL) {
        buf_printf(out_error, "%s: %s", file, strerror(errno));
        return STATUS_CONFIG_INVALID;
    }
    while (fgets(line, sizeof(line), input) != NULL)
        capacity++;
    rewind(input);
    out->items = arena_alloc(&out->arena, (capacity + 1) * sizeof(*out->items));
    while (out->count < capacity && fgets(line, sizeof(line), input) != NULL) {
        line[strcspn(line, " \t\r\n")] = '\0';
        if (line[0] != '\0' && line[0] != '#')
            add(out, slice_from_string(line));
    }
    (void)fclose(input);
    if (out->count > 0)
        return STATUS_OK;
    buf_printf(out_error, "%s: no token in it", file);
    return STATUS_CONFIG_INVALID;
}

void identities_deinit(struct identities *identities)
{
    arena_deinit(&identities->arena);
}
