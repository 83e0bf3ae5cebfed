/* proxy/port_host.c — see port_host.h. */
#include "proxy/port_host.h"

static bool contains(const char *const *texts, size_t count, struct slice wanted)
{
    for (size_t i = 0; i < count; i++)
        if (slice_equal(slice_from_string(texts[i]), wanted))
            return true;
    return false;
}

/* What stands before ".domain". */
static bool is_under(struct slice host, struct slice domain, struct slice *out_name)
{
    if (host.len < domain.len + 2 || !slice_ends_with(host, domain) ||
        host.ptr[host.len - domain.len - 1] != '.')
        return false;
    *out_name = slice_first(host, host.len - domain.len - 1);
    return true;
}

static bool is_under_any(const struct host_names *names, struct slice host, struct slice *out_name)
{
    for (size_t i = 0; i < names->port_domain_count; i++)
        if (is_under(host, slice_from_string(names->port_domains[i]), out_name))
            return true;
    return false;
}

/* Cuts at the first "--"; without one all of it is the handle. */
static struct slice cut_label(struct slice *handle)
{
    const char *at = memmem(handle->ptr, handle->len, "--", 2);

    if (at == NULL)
        return SLICE_EMPTY;
    struct slice label = slice_of(handle->ptr, (size_t)(at - handle->ptr));
    *handle = slice_skip(*handle, label.len + 2);
    return label;
}

static bool is_ip(struct slice host)
{
    bool is_digits = host.len > 0;

    for (size_t i = 0; i < host.len; i++)
        is_digits &= (host.ptr[i] >= '0' && host.ptr[i] <= '9') || host.ptr[i] == '.';
    return is_digits || (host.len > 0 && host.ptr[0] == '[');
}

enum host_choice host_choose(const struct host_names *names, struct slice host)
{
    struct slice handle;

    if (contains(names->exec_hosts, names->exec_host_count, host))
        return HOST_IS_EXEC;
    if (is_ip(host)) /* never published */
        return host_falls_to_exec(names, host) ? HOST_IS_EXEC : HOST_IS_NOBODYS;
    if (is_under_any(names, host, &handle)) {
        (void)cut_label(&handle);
        if (contains(names->reserved_handles, names->reserved_handle_count, handle))
            return HOST_IS_NOBODYS;
    }
    return HOST_IS_LOOKED_UP;
}

bool host_falls_to_exec(const struct host_names *names, struct slice host)
{
    struct slice name;

    return contains(names->exec_hosts, names->exec_host_count, SLICE("*")) &&
           !is_under_any(names, host, &name);
}

struct slice host_label(const struct host_names *names, struct slice host)
{
    struct slice name;

    if (!is_under_any(names, host, &name)) {
        if (names->port_domain_count > 0)
            return SLICE_EMPTY;
        name = slice_first(host, slice_find(host, '.'));
    }
    return slice_find(name, '.') < name.len ? SLICE_EMPTY : cut_label(&name);
}
