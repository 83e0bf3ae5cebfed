/* proxy/port_host.h — which kind of host a name is (DESIGN §7):
 *
 *     an exec host, named in the configuration    ─▶ exec
 *     a reserved handle under a domain of ports   ─▶ nobody's
 *     everything else                             ─▶ looked up whole among the published hosts; when it
 *                                                    is none: exec where "*" is one and the name is not
 *                                                    under a domain of ports, else unknown
 *
 * Names are normalised (lower case, no port, no dot at the end). Pure functions. */
#pragma once

#include "base/slice.h"

struct host_names {
    const char *const *exec_hosts; /* "*": see above */
    size_t exec_host_count;
    const char *const *port_domains; /* "computer.example.com" */
    size_t port_domain_count;
    const char *const *reserved_handles; /* of services: "exec", "api" */
    size_t reserved_handle_count;
};

enum host_choice { HOST_IS_EXEC, HOST_IS_NOBODYS, HOST_IS_LOOKED_UP };

enum host_choice host_choose(const struct host_names *names, struct slice host);

/* A looked-up name that is not published: may the exec host take it? */
bool host_falls_to_exec(const struct host_names *names, struct slice host);

/* "api" of api--my-machine.computer.example.com; empty where the name has none. */
struct slice host_label(const struct host_names *names, struct slice host);
