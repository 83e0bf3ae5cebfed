/* proxy/conn_memo.c — see conn_memo.h. */
#include "proxy/conn_memo.h"

#include "base/mem.h"

/* Keys can be withdrawn by a reload: a remembered verdict is asked for anew after this. */
enum { MEMO_MS = 2000 };

static void memo_forget(struct conn_memo *memo)
{
    if (memo->token != NULL)
        mem_wipe(memo->token, memo->token_len);
    mem_free(memo->token);
    memo->token = NULL;
    memo->token_len = 0;
    principal_unref(&memo->principal);
}

static void memo_free(void *arg)
{
    memo_forget(arg);
    mem_free(arg);
}

struct conn_memo *conn_memo_of(struct exchange_link *link, const struct network *trusted,
                               size_t trusted_count)
{
    char text[ADDRESS_TEXT_BYTES];

    if (link->memo != NULL)
        return link->memo;
    struct conn_memo *memo = mem_zeroed(sizeof(*memo));
    if (link->peer.len > 0) {
        struct slice ip = slice_from_string(address_host_text(&link->peer, text));
        memo->peer_ip_len = slice_first(ip, sizeof(memo->peer_ip)).len;
        memcpy(memo->peer_ip, ip.ptr, memo->peer_ip_len);
    }
    for (size_t i = 0; i < trusted_count && link->peer.len > 0; i++)
        memo->peer_is_trusted |= network_contains(&trusted[i], &link->peer);
    link->memo = memo;
    link->memo_free = memo_free;
    return memo;
}

static bool memo_holds(const struct conn_memo *memo, const struct clock *clock, struct slice token,
                       enum token_use use)
{
    return memo->principal != NULL && memo->use == use &&
           clock->now_ms - memo->verified_ms < MEMO_MS &&
           slice_equal_secret(slice_of(memo->token, memo->token_len), token) &&
           memo->principal->expires_wall_ms > clock->wall_ms;
}

enum status conn_memo_verify(struct conn_memo *memo, struct token_verifier *tokens,
                             const struct clock *clock, struct slice token, enum token_use use,
                             struct principal **out_principal)
{
    if (memo_holds(memo, clock, token, use)) {
        *out_principal = principal_ref(memo->principal);
        return STATUS_OK;
    }
    enum status status = token_verify(tokens, token, use, out_principal);
    if (status != STATUS_OK)
        return status;
    memo_forget(memo);
    memo->token = mem_alloc(token.len);
    memcpy(memo->token, token.ptr, token.len);
    memo->token_len = token.len;
    memo->principal = principal_ref(*out_principal);
    memo->use = use;
    memo->verified_ms = clock->now_ms;
    return STATUS_OK;
}
