/* bench/tokens.c — many different ES256 tokens fast, as lines of "/process.Process/List?access_token=…" for h2load -i.
 * Usage: tokens KEY.pem COUNT FIRST. */
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static size_t base64url(const unsigned char *bytes, size_t len, char *out)
{
    size_t count = (size_t)EVP_EncodeBlock((unsigned char *)out, bytes, (int)len);

    while (count > 0 && out[count - 1] == '=')
        count--;
    for (size_t i = 0; i < count; i++)
        out[i] = out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i];
    return count;
}

static void sign(EVP_PKEY *key, const char *text, size_t len, unsigned char raw[64])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    unsigned char der[128];
    const unsigned char *at = der;
    size_t der_len = sizeof(der);

    EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key);
    EVP_DigestSign(context, der, &der_len, (const unsigned char *)text, len);
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &at, (long)der_len);
    BN_bn2binpad(ECDSA_SIG_get0_r(pair), raw, 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(pair), raw + 32, 32);
    ECDSA_SIG_free(pair);
    EVP_MD_CTX_free(context);
}

int main(int argc, char **argv)
{
    FILE *file = argc == 4 ? fopen(argv[1], "r") : NULL;
    EVP_PKEY *key = file != NULL ? PEM_read_PrivateKey(file, NULL, NULL, NULL) : NULL;
    static const char head[] = "{\"alg\":\"ES256\",\"kid\":\"k\",\"typ\":\"JWT\"}";
    long now = (long)time(NULL);

    if (key == NULL)
        return 2;
    for (long i = 0; i < atol(argv[2]); i++) {
        char claims[512], token[1024];
        unsigned char raw[64];
        int len = snprintf(claims, sizeof(claims),
                           "{\"iss\":\"bench\",\"aud\":\"exec\",\"iat\":%ld,\"nbf\":%ld,\"exp\":%"
                           "ld,\"sub\":\"u%ld\",\"sid\":\"ses_1\","
                           "\"cid\":\"cmp_1\",\"kind\":\"exec\",\"cap\":[\"process\"]}",
                           now, now, now + 3600, atol(argv[3]) + i);
        size_t at = base64url((const unsigned char *)head, sizeof(head) - 1, token);

        token[at++] = '.';
        at += base64url((const unsigned char *)claims, (size_t)len, token + at);
        sign(key, token, at, raw);
        token[at++] = '.';
        at += base64url(raw, sizeof(raw), token + at);
        printf("/process.Process/List?access_token=%.*s\n", (int)at, token);
    }
    EVP_PKEY_free(key);
    fclose(file);
    return 0;
}
