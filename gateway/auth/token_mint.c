/* auth/token_mint.c — see token_mint.h. libjwt 1.10 signs with whatever it is given, so the key is
 * checked first, and so are the claims that token.c would refuse later. */
#include "auth/token_mint.h"

#include <stdlib.h>

#include <jansson.h>
#include <jwt.h>

#include "auth/key_material.h"
#include "auth/token_claims.h"
#include "base/mem.h"

static const jwt_alg_t libjwt_algorithms[TOKEN_ALGORITHM_COUNT] = {
    [TOKEN_HS256] = JWT_ALG_HS256, [TOKEN_HS384] = JWT_ALG_HS384, [TOKEN_HS512] = JWT_ALG_HS512,
    [TOKEN_RS256] = JWT_ALG_RS256, [TOKEN_RS384] = JWT_ALG_RS384, [TOKEN_RS512] = JWT_ALG_RS512,
    [TOKEN_ES256] = JWT_ALG_ES256, [TOKEN_ES384] = JWT_ALG_ES384, [TOKEN_ES512] = JWT_ALG_ES512,
};

static void jwt_end(jwt_t **jwt)
{
    jwt_free(*jwt);
}
#define SCOPED_JWT __attribute__((cleanup(jwt_end))) jwt_t *

static bool is_given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

/* NULL: nothing. */
static const char *what_is_wrong(const struct token_claims *claims)
{
    if (!is_given(claims->issuer) || !is_given(claims->audience) || !is_given(claims->kind))
        return "issuer, audience and kind are required";
    if (!token_id_is_valid(slice_from_string(claims->session_id)))
        return "session id must be 1 to 128 of A-Z a-z 0-9 . _ : -";
    if (!token_id_is_valid(slice_from_string(claims->computer_id)))
        return "computer id must be 1 to 128 of A-Z a-z 0-9 . _ : -";
    if (!token_user_is_valid(slice_from_string(claims->user_id)))
        return "user id must be at most 256 printable ASCII characters";
    if (claims->port != NULL && !token_port_is_valid(slice_from_string(claims->port)))
        return "port must be 1 to 65535 or a DNS label";
    if (claims->expires_wall_s <= claims->issued_wall_s || claims->issued_wall_s < 0)
        return "a token must expire after it was issued";
    return NULL;
}

static enum status refuse(struct buf *out_error, const char *reason)
{
    if (out_error != NULL)
        buf_append(out_error, slice_from_string(reason));
    return STATUS_CONFIG_INVALID;
}

static bool add_text(jwt_t *jwt, const char *name, const char *value)
{
    return value == NULL || jwt_add_grant(jwt, name, value) == 0;
}

static bool add_capabilities(jwt_t *jwt, const char *const *capabilities)
{
    json_auto_t *grants = json_object();
    json_t *list = json_array(); /* owned by `grants` from the next line on, also when that fails */
    bool made = json_object_set_new(grants, "cap", list) == 0;

    for (; made && *capabilities != NULL; capabilities++)
        made = json_array_append_new(list, json_string(*capabilities)) == 0;
    char *text = made ? json_dumps(grants, JSON_COMPACT) : NULL;
    bool added = text != NULL && jwt_add_grants_json(jwt, text) == 0;
    free(text);
    return added;
}

static bool fill(jwt_t *jwt, const struct token_claims *claims, const char *kid)
{
    return jwt_add_header(jwt, "kid", kid) == 0 && add_text(jwt, "iss", claims->issuer) &&
           add_text(jwt, "aud", claims->audience) && add_text(jwt, "sid", claims->session_id) &&
           add_text(jwt, "cid", claims->computer_id) && add_text(jwt, "sub", claims->user_id) &&
           add_text(jwt, "kind", claims->kind) && add_text(jwt, "port", claims->port) &&
           jwt_add_grant_int(jwt, "iat", claims->issued_wall_s) == 0 &&
           jwt_add_grant_int(jwt, "exp", claims->expires_wall_s) == 0 &&
           (claims->capabilities == NULL || add_capabilities(jwt, claims->capabilities));
}

static enum status sign(const struct token_claims *claims, const struct key_options *key,
                        struct slice material, struct buf *out_error, struct buf *out_token)
{
    SCOPED_JWT jwt = NULL;

    if (jwt_new(&jwt) != 0 || !fill(jwt, claims, key->kid))
        return refuse(out_error, "claims cannot be written as JSON (not UTF-8?)");
    if (jwt_set_alg(jwt, libjwt_algorithms[key->algorithm], (const unsigned char *)material.ptr,
                    (int)material.len) != 0)
        return key_refuse(key, out_error, "libjwt refuses the key");
    char *text = jwt_encode_str(jwt);
    if (text == NULL)
        return key_refuse(key, out_error, "signing failed");
    buf_append(out_token, slice_from_string(text));
    free(text); /* libjwt allocates with malloc */
    return STATUS_OK;
}

enum status token_mint(const struct token_claims *claims, const struct key_options *key,
                       struct buf *out_error, struct buf *out_token)
{
    const char *wrong = what_is_wrong(claims);
    struct buf material = { 0 };

    if (wrong != NULL)
        return refuse(out_error, wrong);
    if (!key_id_is_valid(slice_from_string(key->kid)))
        return key_refuse(key, out_error, "kid must be 1 to 64 of A-Z a-z 0-9 _ -");

    bool is_secret = key_algorithm_of(key->algorithm)->family == KEY_HMAC;
    enum status status = is_secret ? key_secret_load(key, out_error, &material)
                                   : key_private_load(key, out_error, &material);
    if (status == STATUS_OK)
        status = sign(claims, key, buf_slice(&material), out_error, out_token);
    key_bytes_wipe(&material);
    return status;
}
