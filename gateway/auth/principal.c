/* auth/principal.c — see principal.h. One allocation holds the struct and, behind it, its texts. */
#include "auth/principal.h"

#include "base/ensure.h"
#include "base/mem.h"

struct principal *principal_ref(struct principal *principal)
{
    ENSURE(principal->ref_count > 0);
    principal->ref_count++;
    return principal;
}

static struct slice place(char **at, struct slice text)
{
    struct slice placed = slice_of(*at, text.len);

    if (text.len > 0)
        memcpy(*at, text.ptr, text.len);
    *at += text.len;
    return placed;
}

struct principal *principal_create(const struct principal *from)
{
    size_t text_bytes =
        from->session_id.len + from->computer_id.len + from->user_id.len + from->port.len;
    struct principal *principal = mem_alloc(sizeof(*principal) + text_bytes);
    char *at = (char *)(principal + 1);

    *principal = *from;
    principal->session_id = place(&at, from->session_id);
    principal->computer_id = place(&at, from->computer_id);
    principal->user_id = place(&at, from->user_id);
    principal->port = place(&at, from->port);
    principal->ref_count = 1;
    return principal;
}

void principal_unref(struct principal **principal)
{
    struct principal *gone = *principal;

    *principal = NULL;
    if (gone == NULL)
        return;
    ENSURE(gone->ref_count > 0);
    if (--gone->ref_count == 0)
        mem_free(gone);
}
