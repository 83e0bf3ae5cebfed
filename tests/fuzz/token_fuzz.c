/* Tokens: 'T' and a whole token; 'H' and a header, 'C' and claims, which are signed here, so that
 * the search gets past the signature. Whatever is accepted must be fit for Redis keys and header
 * values, and libjwt, which knows nothing of us, must accept it under the same key and for the same
 * algorithm. */
#include "fuzz.h"

#include <jwt.h>
#include <stdlib.h>

#include "auth/token.h"
#include "key_fixtures.h"

static struct key_fixtures keys;
static struct token_verifier *verifier;
static struct buf secret, public_pem;
static const struct clock at_noon = { .wall_ms = 1800000000000 };

static void clean_up(void)
{
    token_verifier_destroy(&verifier);
    key_fixtures_deinit(&keys);
    buf_deinit(&secret);
    buf_deinit(&public_pem);
}

static void set_up(void)
{
    const struct token_options options = { .issuer = "i",
                                           .exec_audience = "exec",
                                           .access_audience = "access",
                                           .leeway_ms = 30000,
                                           .token_bytes = 8192,
                                           .cache_entries = 64 };
    struct key_store *store = NULL;

    key_fixtures_init(&keys);
    key_fixtures_file(&keys, "secret", SLICE("0123456789abcdef0123456789abcdef"));
    key_fixtures_ec(&keys, "p256", "P-256");
    const struct key_options listed[] = { { "hs", TOKEN_HS256, key_fixtures_path(&keys, "secret") },
                                          { "es", TOKEN_ES256,
                                            key_fixtures_path(&keys, "p256.pub.pem") } };
    ENSURE(key_store_create(listed, 2, NULL, &store) == STATUS_OK);
    verifier = token_verifier_create(&options, store, &at_noon);
    key_store_unref(&store);
    read_whole_file(key_fixtures_path(&keys, "secret"), &secret);
    read_whole_file(key_fixtures_path(&keys, "p256.pub.pem"), &public_pem);
    (void)buf_text(&public_pem); /* libjwt wants the NUL */
    atexit(clean_up);
}

static bool libjwt_accepts(const char *token, const struct buf *key, jwt_alg_t algorithm)
{
    jwt_t *jwt = NULL;
    int outcome = jwt_decode(&jwt, token, (const unsigned char *)buf_slice(key).ptr, (int)key->len);
    bool is_so = outcome == 0 && jwt_get_alg(jwt) == algorithm;

    if (outcome == 0)
        jwt_free(jwt);
    return is_so;
}

static void check_with_libjwt(struct slice token)
{
    struct buf text = { 0 };

    buf_append(&text, token);
    ENSURE(libjwt_accepts(buf_text(&text), &secret, JWT_ALG_HS256) ||
           libjwt_accepts(buf_text(&text), &public_pem, JWT_ALG_ES256));
    buf_deinit(&text);
}

static void check(struct slice token, enum token_use use)
{
    struct principal *who = NULL;
    enum status status = token_verify(verifier, token, use, &who);

    ENSURE((status == STATUS_OK) == (who != NULL));
    if (who == NULL)
        return;
    ENSURE(who->session_id.len > 0 && who->session_id.len <= 128 && who->computer_id.len > 0);
    for (size_t i = 0; i < who->session_id.len; i++)
        ENSURE(who->session_id.ptr[i] > ' ' && who->session_id.ptr[i] < '{');
    for (size_t i = 0; i < who->user_id.len; i++)
        ENSURE(who->user_id.ptr[i] >= ' ' && who->user_id.ptr[i] <= '~');
    ENSURE(who->expires_wall_ms > at_noon.wall_ms - 30000);
    principal_unref(&who);
    check_with_libjwt(token);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice header = SLICE("{\"alg\":\"HS256\",\"kid\":\"hs\"}");
    struct slice claims = SLICE("{}");
    struct slice input = size > 0 ? slice_of(data + 1, size - 1) : SLICE_EMPTY;
    struct buf token = { 0 };

    if (verifier == NULL)
        set_up();
    if (size > 0 && data[0] == 'H')
        header = input;
    else if (size > 0 && data[0] == 'C')
        claims = input;
    if (size > 0 && (data[0] == 'H' || data[0] == 'C'))
        token_sign_by_hand(TOKEN_HS256, key_fixtures_path(&keys, "secret"), header, claims, &token);
    else
        buf_append(&token, input);
    check(buf_slice(&token), TOKEN_USE_EXEC);
    check(buf_slice(&token), TOKEN_USE_ACCESS);
    buf_deinit(&token);
    return 0;
}
