/* auth/token.c — see token.h. The way of a token: its digest in the cache? else three parts →
 * header → signature → claims, and always the times. Nothing that a signature does not cover is
 * believed, except which key to try. */
#include "auth/token.h"

#include <openssl/evp.h>

#include "auth/token_cache.h"
#include "auth/token_claims.h"
#include "base/base64.h"
#include "base/mem.h"

struct token_verifier {
    char *issuer, *exec_audience, *access_audience;
    int64_t leeway_ms;
    size_t token_bytes;
    struct key_store *keys;
    const struct clock *clock;
    EVP_MD *sha256; /* fetched once: a fetch costs more than the digest */
    EVP_MD_CTX *digest;
    struct token_cache cache;
    struct token_counters counters;
};

struct token_verifier *token_verifier_create(const struct token_options *options,
                                             struct key_store *keys, const struct clock *clock)
{
    struct token_verifier *verifier = mem_zeroed(sizeof(*verifier));

    ENSURE(options->issuer != NULL && options->issuer[0] != '\0');
    verifier->issuer = mem_copy_string(options->issuer);
    verifier->exec_audience = mem_copy_string(options->exec_audience);
    verifier->access_audience = mem_copy_string(options->access_audience);
    verifier->leeway_ms = (int64_t)options->leeway_ms;
    verifier->token_bytes = options->token_bytes;
    verifier->keys = key_store_ref(keys);
    verifier->clock = clock;
    verifier->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    verifier->digest = EVP_MD_CTX_new();
    ENSURE(verifier->sha256 != NULL && verifier->digest != NULL);
    token_cache_init(&verifier->cache, options->cache_entries);
    return verifier;
}

void token_verifier_destroy(struct token_verifier **verifier)
{
    struct token_verifier *gone = *verifier;

    *verifier = NULL;
    if (gone == NULL)
        return;
    token_cache_deinit(&gone->cache);
    EVP_MD_CTX_free(gone->digest);
    EVP_MD_free(gone->sha256);
    key_store_unref(&gone->keys);
    mem_free(gone->access_audience);
    mem_free(gone->exec_audience);
    mem_free(gone->issuer);
    mem_free(gone);
}

void token_verifier_set_keys(struct token_verifier *verifier, struct key_store *keys)
{
    struct key_store *before = verifier->keys;

    verifier->keys = key_store_ref(keys);
    key_store_unref(&before);
    token_cache_clear(&verifier->cache);
}

const struct token_counters *token_verifier_counters(const struct token_verifier *verifier)
{
    return &verifier->counters;
}

static bool digest_token(struct token_verifier *verifier, struct slice token, enum token_use use,
                         char key[TOKEN_CACHE_KEY_BYTES])
{
    bool is_done = EVP_DigestInit_ex2(verifier->digest, verifier->sha256, NULL) == 1 &&
                   EVP_DigestUpdate(verifier->digest, token.ptr, token.len) == 1 &&
                   EVP_DigestFinal_ex(verifier->digest, (unsigned char *)key, NULL) == 1;

    key[TOKEN_CACHE_KEY_BYTES - 1] = (char)use;
    return is_done;
}

static enum status check_times(const struct token_verifier *verifier,
                               const struct token_verdict *verdict)
{
    int64_t now = verifier->clock->wall_ms;

    if (now - verifier->leeway_ms >= verdict->principal->expires_wall_ms)
        return STATUS_TOKEN_EXPIRED;
    return now + verifier->leeway_ms < verdict->not_before_wall_ms ? STATUS_TOKEN_NOT_YET_VALID
                                                                   : STATUS_OK;
}

struct token_parts {
    struct slice
        signed_bytes; /* borrowed: the first two parts as they came, with the dot between */
    struct buf header, claims, signature; /* decoded */
};

static void token_parts_deinit(struct token_parts *parts)
{
    buf_deinit(&parts->header);
    buf_deinit(&parts->claims);
    buf_deinit(&parts->signature);
}

static enum status split(struct slice token, struct token_parts *parts)
{
    struct slice rest = token;
    struct slice header = slice_cut(&rest, '.');
    struct slice claims = slice_cut(&rest, '.');

    if (header.len + claims.len + 2 > token.len || slice_find(rest, '.') < rest.len)
        return STATUS_TOKEN_MALFORMED;
    parts->signed_bytes = slice_first(token, header.len + 1 + claims.len);
    bool decoded = base64url_decode(header, &parts->header) &&
                   base64url_decode(claims, &parts->claims) &&
                   base64url_decode(rest, &parts->signature);
    return decoded ? STATUS_OK : STATUS_TOKEN_MALFORMED;
}

static enum status check_parts(const struct token_verifier *verifier, enum token_use use,
                               const struct token_parts *parts, struct token_verdict *out_verdict)
{
    char memory[128];
    struct arena arena;
    struct token_header header;
    struct token_expectation expected = {
        .issuer = slice_from_string(verifier->issuer),
        .audience = slice_from_string(use == TOKEN_USE_EXEC ? verifier->exec_audience
                                                            : verifier->access_audience),
        .use = use,
    };

    arena_init(&arena, memory, sizeof(memory));
    enum status status = token_header_parse(buf_slice(&parts->header), &arena, &header);
    if (status == STATUS_OK)
        status = key_store_verify(verifier->keys, header.key_id, header.algorithm,
                                  parts->signed_bytes, buf_slice(&parts->signature));
    arena_deinit(&arena);
    return status == STATUS_OK
               ? token_claims_parse(buf_slice(&parts->claims), &expected, out_verdict)
               : status;
}

static enum status verify_anew(struct token_verifier *verifier, struct slice token,
                               enum token_use use, struct slice key,
                               struct principal **out_principal)
{
    struct token_parts parts = { 0 };
    struct token_verdict verdict = { 0 };
    enum status status = split(token, &parts);

    if (status == STATUS_OK)
        status = check_parts(verifier, use, &parts, &verdict);
    token_parts_deinit(&parts);
    if (status == STATUS_OK)
        status = check_times(verifier, &verdict);
    if (status != STATUS_OK) {
        principal_unref(&verdict.principal);
        return status;
    }
    token_cache_put(&verifier->cache, key, &verdict);
    counter_add(&verifier->counters.verified, 1);
    *out_principal = verdict.principal;
    return STATUS_OK;
}

static enum status verify_cached(struct token_verifier *verifier, struct slice key,
                                 const struct token_verdict *verdict,
                                 struct principal **out_principal)
{
    enum status status = check_times(verifier, verdict);

    if (status == STATUS_OK) {
        counter_add(&verifier->counters.cache_hits, 1);
        *out_principal = principal_ref(verdict->principal);
    } else if (status == STATUS_TOKEN_EXPIRED) {
        token_cache_remove(&verifier->cache, key);
    }
    return status;
}

enum status token_verify(struct token_verifier *verifier, struct slice token, enum token_use use,
                         struct principal **out_principal)
{
    char digest[TOKEN_CACHE_KEY_BYTES];
    enum status status;

    if (token.len > verifier->token_bytes) {
        status = STATUS_TOKEN_TOO_LONG;
    } else if (!digest_token(verifier, token, use, digest)) {
        status = STATUS_OVERLOADED; /* OpenSSL has no memory */
    } else {
        struct slice key = slice_of(digest, sizeof(digest));
        const struct token_verdict *known = token_cache_find(&verifier->cache, key);
        status = known != NULL ? verify_cached(verifier, key, known, out_principal)
                               : verify_anew(verifier, token, use, key, out_principal);
    }
    if (status != STATUS_OK)
        counter_add(&verifier->counters.refused[status], 1);
    return status;
}
