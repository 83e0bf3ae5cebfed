/* config/config_admin.c — checks of the sections `admin` and `ports`: where the listener may be, who
 * may ask it, what it signs with, under which domain ports are published. */
#include <time.h>

#include "auth/token_mint.h"
#include "base/mem.h"
#include "config/config_schema.h"

enum { SECRET_MIN_CHARACTERS = 16, DOMAIN_BYTES_MAX = 190 };

static bool is_loopback(const struct address *address)
{
    static const char *const blocks[] = { "127.0.0.0/8", "::1" };

    for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
        struct network network;

        if (network_parse(slice_from_string(blocks[i]), &network) == STATUS_OK &&
            network_contains(&network, address))
            return true;
    }
    return false;
}

static enum status check_address(const struct config_reading *reading)
{
    const struct config *config = reading->config;
    bool is_unix = config->admin_address.storage.ss_family == AF_UNIX;
    struct config_mark mark = config_mark_of(reading, "admin.address");

    if (config->admin_address.len == 0 || is_unix)
        return STATUS_OK;
    if (!is_loopback(&config->admin_address))
        return config_wrong(reading, mark,
                            "admin.address: expected unix:/path or a loopback address");
    if (config->admin_secret_file == NULL)
        return config_wrong(reading, mark, "admin.address: over TCP it needs admin.secret_file");
    return STATUS_OK;
}

static enum status read_admin_secret(const struct config_reading *reading)
{
    struct config *config = reading->config;

    if (config->admin_secret_file == NULL)
        return STATUS_OK;
    config->admin_secret = config_read_secret(config->admin_secret_file);
    if (config->admin_secret == NULL || strlen(config->admin_secret) < SECRET_MIN_CHARACTERS)
        return config_wrong(reading, config_mark_of(reading, "admin.secret_file"),
                            "admin.secret_file: expected a file with a secret of %d characters or "
                            "more, %s",
                            SECRET_MIN_CHARACTERS, config->admin_secret_file);
    return STATUS_OK;
}

/* A token is made and thrown away: a public key cannot sign. */
static enum status try_to_sign(const struct config_reading *reading, const struct config_key *key)
{
    struct key_options options = { key->kid, (enum token_algorithm)key->algorithm, key->file };
    struct token_claims claims = { .issuer = reading->config->token.issuer,
                                   .audience = reading->config->token.exec_audience,
                                   .session_id = "probe",
                                   .computer_id = "probe",
                                   .kind = "exec",
                                   .issued_wall_s = 0,
                                   .expires_wall_s = 1 };
    struct buf words = { 0 }, token = { 0 };
    enum status status = token_mint(&claims, &options, &words, &token);

    if (status != STATUS_OK)
        status = config_wrong(reading, config_mark_of(reading, "admin.signing_key"),
                              "admin.signing_key: %s", buf_text(&words));
    buf_deinit(&words);
    buf_deinit(&token);
    return status;
}

static enum status check_signing_key(const struct config_reading *reading)
{
    struct config *config = reading->config;

    if (config->admin_signing_kid == NULL)
        return STATUS_OK;
    for (size_t i = 0; i < config->key_count; i++) {
        if (strcmp(config->keys[i].kid, config->admin_signing_kid) == 0) {
            config->admin_signing_key = &config->keys[i];
            return try_to_sign(reading, &config->keys[i]);
        }
    }
    return config_wrong(reading, config_mark_of(reading, "admin.signing_key"),
                        "admin.signing_key: expected the kid of a key in auth.keys");
}

static bool is_domain(struct slice text)
{
    bool is_good = text.len > 0 && text.len <= DOMAIN_BYTES_MAX;

    while (is_good && text.len > 0) {
        struct slice label = slice_cut(&text, '.');

        is_good = label.len > 0 && label.len <= 63 && label.ptr[0] != '-' &&
                  label.ptr[label.len - 1] != '-';
        for (size_t i = 0; is_good && i < label.len; i++)
            is_good = (label.ptr[i] >= 'a' && label.ptr[i] <= 'z') ||
                      (label.ptr[i] >= '0' && label.ptr[i] <= '9') || label.ptr[i] == '-';
    }
    return is_good;
}

/* It becomes a Location. */
static bool is_login_url(struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < 0x21 || text.ptr[i] > 0x7e)
            return false;
    return slice_starts_with(text, SLICE("https://")) || slice_starts_with(text, SLICE("http://"));
}

enum status config_check_admin(const struct config_reading *reading)
{
    const struct config *config = reading->config;
    enum status status = check_address(reading);

    if (status == STATUS_OK)
        status = read_admin_secret(reading);
    if (status == STATUS_OK)
        status = check_signing_key(reading);
    for (size_t i = 0; status == STATUS_OK && i < config->ports_domains.count; i++)
        if (!is_domain(slice_from_string(config->ports_domains.items[i])))
            status = config_wrong(reading, config_mark_of(reading, "ports.domain"),
                                  "ports.domain: expected a domain name in lower case");
    if (status == STATUS_OK && config->ports_login_url != NULL &&
        !is_login_url(slice_from_string(config->ports_login_url)))
        status =
            config_wrong(reading, config_mark_of(reading, "ports.login_url"),
                         "ports.login_url: expected http:// or https:// and visible characters");
    return status;
}
