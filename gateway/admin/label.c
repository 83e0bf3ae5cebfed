/* admin/label.c — see label.h. */
#include "admin/label.h"

static const char *const reserved_handles[] = {
    "admin", "api",  "app",     "auth",    "billing", "blog",    "cdn",     "computer", "demo",
    "docs",  "exec", "gateway", "help",    "login",   "mail",    "metrics", "ns1",      "ns2",
    "smtp",  "ssh",  "static",  "staging", "status",  "support", "test",    "www",
};

static bool is_lower_alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* Two hyphens in a row would move the split; `xn--` names are refused by the same rule. */
static const char *dns_label_wrong(struct slice label)
{
    if (label.len == 0 || label.len > LABEL_BYTES_MAX)
        return "expected 1 to 63 characters";
    for (size_t i = 0; i < label.len; i++) {
        if (!is_lower_alphanumeric(label.ptr[i]) && label.ptr[i] != '-')
            return "expected lower-case letters, digits and hyphens only";
        if (i > 0 && label.ptr[i] == '-' && label.ptr[i - 1] == '-')
            return "two hyphens in a row are not allowed";
    }
    if (label.ptr[0] == '-' || label.ptr[label.len - 1] == '-')
        return "a hyphen may not stand first or last";
    return NULL;
}

const char *port_label_wrong(struct slice label, uint16_t port)
{
    const char *wrong = dns_label_wrong(label);
    uint64_t number;

    if (wrong != NULL)
        return wrong;
    if (slice_to_u64(label, &number) && number != port)
        return "a number must be the port itself";
    return NULL;
}

const char *handle_wrong(struct slice handle)
{
    const char *wrong = dns_label_wrong(handle);

    for (size_t i = 0; wrong == NULL && i < sizeof(reserved_handles) / sizeof(reserved_handles[0]);
         i++) {
        if (slice_equal(handle, slice_from_string(reserved_handles[i])))
            wrong = "this name is reserved";
    }
    return wrong;
}

bool port_hostname(struct slice label, struct slice handle, struct slice domain, struct buf *into)
{
    if (label.len + 2 + handle.len > LABEL_BYTES_MAX)
        return false;
    buf_append(into, label);
    buf_append(into, SLICE("--"));
    buf_append(into, handle);
    buf_append_byte(into, '.');
    buf_append(into, domain);
    return true;
}
