/* tests/load/options.c — see the header. */
#include "options.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const char usage[] =
    "usage: exec-load --scenario FILE --url http[s]://HOST:PORT [--tls-url https://HOST:PORT]\n"
    "  --ca FILE            CA of the gateway's certificate (default: the system's)\n"
    "  --authority HOST     what calls to the exec host name (default: that of the URL)\n"
    "  --tokens FILE        connect tokens, one a line; --access-tokens FILE the same for "
    "published ports\n"
    "  --key FILE --kid KID --alg ALG --issuer ISS   mint them instead, for computers "
    "cmp_load_<n>\n"
    "  --gateway-pid PID    CPU and memory of the gateway from /proc, or\n"
    "  --metrics ADDRESS    from http://ADDRESS/metrics (HOST:PORT or unix:/path); "
    "--metrics-secret FILE its bearer secret\n"
    "  --emit FILE          exec-load-emit as the guest finds it (default: beside exec-load)\n"
    "  --duration TIME      in place of the scenario's, e.g. 30s      --scale X  rates and "
    "sessions times X\n"
    "  --threads N          (1)      --json FILE, --html FILE  reports      --note TEXT  for the "
    "report\n"
    "  --smoke              three seconds of very little of everything; passes when all of it "
    "works\n"
    "  --check              read the scenario, say what is wrong, end\n"
    "tests/load/run starts a gateway, an agent and this, with one command.\n";

int complain(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fputs("exec-load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs("\n", stderr);
    va_end(arguments);
    return EXIT_USAGE;
}

enum option_id {
    TEXT_OPTION = 1,
    OPTION_PID = 1000,
    OPTION_THREADS,
    OPTION_SCALE,
    OPTION_CHECK,
    OPTION_SMOKE
};

static const struct {
    const char *name;
    size_t offset;
} text_options[] = {
    { "scenario", offsetof(struct options, scenario) },
    { "url", offsetof(struct options, url) },
    { "tls-url", offsetof(struct options, tls_url) },
    { "ca", offsetof(struct options, ca) },
    { "authority", offsetof(struct options, authority) },
    { "tokens", offsetof(struct options, tokens) },
    { "access-tokens", offsetof(struct options, access_tokens) },
    { "key", offsetof(struct options, mint.key_file) },
    { "kid", offsetof(struct options, mint.kid) },
    { "alg", offsetof(struct options, mint.algorithm) },
    { "issuer", offsetof(struct options, mint.issuer) },
    { "metrics", offsetof(struct options, metrics) },
    { "metrics-secret", offsetof(struct options, metrics_secret) },
    { "json", offsetof(struct options, json) },
    { "html", offsetof(struct options, html) },
    { "note", offsetof(struct options, note) },
    { "duration", offsetof(struct options, duration) },
    { "emit", offsetof(struct options, emit_file) },
};
enum { TEXT_OPTION_COUNT = sizeof(text_options) / sizeof(text_options[0]), OTHER_OPTION_COUNT = 5 };

static int take_option(struct options *o, int option)
{
    char *end = NULL;

    switch (option) {
    case OPTION_PID:
        return slice_to_u64(slice_from_string(optarg), &o->pid)
                   ? EXIT_PASSED
                   : complain("--gateway-pid: not a number");
    case OPTION_THREADS:
        if (slice_to_u64(slice_from_string(optarg), &o->threads) && o->threads > 0 &&
            o->threads <= LANES_MAX)
            return EXIT_PASSED;
        return complain("--threads: expected 1 to %d", LANES_MAX);
    case OPTION_SCALE:
        o->scale = strtod(optarg, &end);
        return *end == '\0' && o->scale > 0 && o->scale <= 10000
                   ? EXIT_PASSED
                   : complain("--scale: expected a number above 0");
    case OPTION_CHECK:
        o->check = true;
        return EXIT_PASSED;
    case OPTION_SMOKE:
        o->smoke = true;
        return EXIT_PASSED;
    default:
        if (option < TEXT_OPTION || option >= TEXT_OPTION + TEXT_OPTION_COUNT)
            return EXIT_USAGE;
        *(const char **)(void *)((char *)o + text_options[option - TEXT_OPTION].offset) = optarg;
        return EXIT_PASSED;
    }
}

int options_parse(struct options *out, int argc, char **argv)
{
    struct option options[TEXT_OPTION_COUNT + OTHER_OPTION_COUNT + 1] = { 0 };
    size_t count = 0;
    int option;

    for (; count < TEXT_OPTION_COUNT; count++)
        options[count] = (struct option){ text_options[count].name, required_argument, NULL,
                                          TEXT_OPTION + (int)count };
    options[count++] = (struct option){ "gateway-pid", required_argument, NULL, OPTION_PID };
    options[count++] = (struct option){ "threads", required_argument, NULL, OPTION_THREADS };
    options[count++] = (struct option){ "scale", required_argument, NULL, OPTION_SCALE };
    options[count++] = (struct option){ "smoke", no_argument, NULL, OPTION_SMOKE };
    options[count] = (struct option){ "check", no_argument, NULL, OPTION_CHECK };
    *out = (struct options){ .scale = 1, .threads = 1, .note = "" };
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (take_option(out, option) != EXIT_PASSED) {
            fputs(usage, stderr);
            return EXIT_USAGE;
        }
    }
    if (optind == argc && out->scenario != NULL &&
        (out->check || out->url != NULL || out->tls_url != NULL))
        return EXIT_PASSED;
    fputs(usage, stderr);
    return EXIT_USAGE;
}
