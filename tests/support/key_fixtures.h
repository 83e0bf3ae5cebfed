/* support/key_fixtures.h — keys made at run time in a directory of their own, and tokens signed by
 * hand, so that tests can say what no minting library would. Failures end the test program. */
#pragma once

#include "auth/key_store.h"
#include "base/buf.h"

struct key_fixtures {
    char directory[64]; /* below /tmp; removed by key_fixtures_deinit */
};

void key_fixtures_init(struct key_fixtures *fixtures);
void key_fixtures_deinit(struct key_fixtures *fixtures);

/* The path of `name` in the directory, in one of eight static buffers used in turn. */
const char *key_fixtures_path(const struct key_fixtures *fixtures, const char *name);

/* Writes <name>.pem (private), <name>.pub.pem and <name>.crt.pem (self-signed). */
void key_fixtures_rsa(const struct key_fixtures *fixtures, const char *name, unsigned bits);
void key_fixtures_ec(const struct key_fixtures *fixtures, const char *name, const char *curve);
void key_fixtures_file(const struct key_fixtures *fixtures, const char *name, struct slice bytes);

/* Appends <header>.<claims>.<signature> with both JSON texts as they are. `algorithm` decides how
 * it is signed, whatever the header says; `key_file` is the secret or the private PEM. */
void token_sign_by_hand(enum token_algorithm algorithm, const char *key_file, struct slice header,
                        struct slice claims, struct buf *into);
void read_whole_file(const char *path, struct buf *into);
