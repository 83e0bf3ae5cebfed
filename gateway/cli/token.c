/* cli/token.c — `token mint` makes a token with a key of the control plane, `token inspect` shows
 * what one says and, with a configuration, whether the gateway would take it. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "auth/token_mint.h"
#include "base/base64.h"
#include "cli/cli.h"
#include "config/config.h"

static const char help[] =
    "exec-gateway token mint (-c FILE | --issuer I --alg ALG --kid KID --key FILE) --computer ID "
    "--session ID\n"
    "                        [--user ID] [--kind exec|browser|vnc] [--port PORT] [--ttl SECONDS]\n"
    "exec-gateway token inspect [-c FILE] TOKEN      (TOKEN - reads standard input)\n\n"
    "With -c, issuer and the first key come from the configuration; its file must hold the secret "
    "or the private key.";

enum token_option {
    OPTION_ISSUER = 256,
    OPTION_ALG,
    OPTION_KID,
    OPTION_KEY,
    OPTION_COMPUTER,
    OPTION_SESSION,
    OPTION_USER,
    OPTION_KIND,
    OPTION_PORT,
    OPTION_TTL
};

static const struct option options[] = {
    { "config", required_argument, NULL, 'c' },
    { "issuer", required_argument, NULL, OPTION_ISSUER },
    { "alg", required_argument, NULL, OPTION_ALG },
    { "kid", required_argument, NULL, OPTION_KID },
    { "key", required_argument, NULL, OPTION_KEY },
    { "computer", required_argument, NULL, OPTION_COMPUTER },
    { "session", required_argument, NULL, OPTION_SESSION },
    { "user", required_argument, NULL, OPTION_USER },
    { "kind", required_argument, NULL, OPTION_KIND },
    { "port", required_argument, NULL, OPTION_PORT },
    { "ttl", required_argument, NULL, OPTION_TTL },
    { "help", no_argument, NULL, 'h' },
    { 0 },
};

struct token_arguments {
    const char *config_file, *text;
    struct key_options key;
    struct token_claims claims;
    const char *algorithm;
    uint64_t ttl_s;
    bool wants_help;
};

static int take_option(int option, struct token_arguments *out)
{
    switch (option) {
    case 'c':
        out->config_file = optarg;
        break;
    case 'h':
        out->wants_help = true;
        break;
    case OPTION_ISSUER:
        out->claims.issuer = optarg;
        break;
    case OPTION_ALG:
        out->algorithm = optarg;
        break;
    case OPTION_KID:
        out->key.kid = optarg;
        break;
    case OPTION_KEY:
        out->key.file = optarg;
        break;
    case OPTION_COMPUTER:
        out->claims.computer_id = optarg;
        break;
    case OPTION_SESSION:
        out->claims.session_id = optarg;
        break;
    case OPTION_USER:
        out->claims.user_id = optarg;
        break;
    case OPTION_KIND:
        out->claims.kind = optarg;
        break;
    case OPTION_PORT:
        out->claims.port = optarg;
        break;
    case OPTION_TTL:
        if (!slice_to_u64(slice_from_string(optarg), &out->ttl_s) || out->ttl_s == 0 ||
            out->ttl_s > 3650u * 86400u)
            return cli_usage("token: --ttl: expected seconds, got \"%s\"", optarg);
        break;
    default:
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}

static int parse(int argc, char **argv, struct token_arguments *out)
{
    int option;

    optind = 1;
    opterr = 0;
    *out = (struct token_arguments){ .ttl_s = 3600, .claims.kind = "exec" };
    while ((option = getopt_long(argc, argv, ":c:h", options, NULL)) != -1) {
        if (option == ':' || option == '?')
            return cli_usage(option == ':' ? "token: %s needs a value" : "token: unknown option %s",
                             argv[optind - 1]);
        if (take_option(option, out) != EXIT_DONE)
            return EXIT_USAGE;
    }
    if (optind < argc)
        out->text = argv[optind++];
    if (optind < argc)
        return cli_usage("token: unexpected argument \"%s\"", argv[optind]);
    return EXIT_DONE;
}

static int load(const char *file, struct config **out_config)
{
    struct buf words = { 0 };
    enum status status = config_load(file, &words, out_config);

    if (status != STATUS_OK)
        fprintf(stderr, "exec-gateway: %s\n", buf_text(&words));
    buf_deinit(&words);
    return status == STATUS_OK ? EXIT_DONE : EXIT_FAILED;
}

static const char *missing(const struct token_arguments *arguments)
{
    if (arguments->claims.issuer == NULL)
        return "--issuer (or -c)";
    if (arguments->key.kid == NULL || arguments->key.file == NULL)
        return "--kid and --key (or -c)";
    if (arguments->claims.computer_id == NULL)
        return "--computer";
    return arguments->claims.session_id == NULL ? "--session" : NULL;
}

static int mint(struct token_arguments *arguments, struct config *config)
{
    static const char *const capabilities[] = { "process", NULL };
    struct token_claims *claims = &arguments->claims;
    bool is_exec = strcmp(claims->kind, "exec") == 0;
    struct buf token = { 0 }, words = { 0 };

    if (config != NULL) {
        claims->issuer = config->token.issuer;
        arguments->key = (struct key_options){ config->keys[0].kid,
                                               (enum token_algorithm)config->keys[0].algorithm,
                                               config->keys[0].file };
    } else if (arguments->algorithm == NULL ||
               !token_algorithm_from_text(slice_from_string(arguments->algorithm),
                                          &arguments->key.algorithm)) {
        return cli_usage(
            "token mint: --alg: expected one of HS256 … HS512, RS256 … RS512, ES256 … ES512");
    }
    if (missing(arguments) != NULL)
        return cli_usage("token mint: needs %s", missing(arguments));
    claims->audience = is_exec ? (config != NULL ? config->token.exec_audience : "exec")
                               : (config != NULL ? config->token.access_audience : "access");
    claims->capabilities = is_exec ? capabilities : NULL;
    claims->issued_wall_s = time(NULL);
    claims->expires_wall_s = claims->issued_wall_s + (int64_t)arguments->ttl_s;
    enum status status = token_mint(claims, &arguments->key, &words, &token);

    if (status == STATUS_OK)
        puts(buf_text(&token));
    else
        fprintf(stderr, "exec-gateway: token mint: %s\n", buf_text(&words));
    buf_deinit(&token);
    buf_deinit(&words);
    return status == STATUS_OK ? EXIT_DONE : EXIT_FAILED;
}

static void print_part(const char *name, struct slice part)
{
    struct buf text = { 0 };

    if (base64url_decode(part, &text))
        printf("%s %s\n", name, buf_text(&text));
    else
        printf("%s is not base64url\n", name);
    buf_deinit(&text);
}

/* Both uses are tried: the audience tells which one it is. */
static int print_verdict(struct config *config, struct slice token)
{
    struct clock clock;
    struct principal *principal = NULL;

    clock_refresh(&clock);
    struct token_verifier *verifier =
        token_verifier_create(&config->token, config->key_store, &clock);
    enum status status = token_verify(verifier, token, TOKEN_USE_EXEC, &principal);

    if (status == STATUS_TOKEN_AUDIENCE)
        status = token_verify(verifier, token, TOKEN_USE_ACCESS, &principal);
    printf("verdict %s: %s\n", status_name(status), status_words(status));
    principal_unref(&principal);
    token_verifier_destroy(&verifier);
    return status == STATUS_OK ? EXIT_DONE : EXIT_FAILED;
}

static int inspect(const struct token_arguments *arguments, struct config *config)
{
    char line[16384];
    struct slice token = slice_from_string(arguments->text);

    if (token.len == 0)
        return cli_usage("token inspect: needs a token, or - for standard input");
    if (slice_equal(token, SLICE("-"))) {
        if (fgets(line, sizeof(line), stdin) == NULL)
            return cli_usage("token inspect: standard input is empty");
        token = slice_of(line, strcspn(line, "\r\n"));
    }
    struct slice rest = token;

    print_part("header ", slice_cut(&rest, '.'));
    print_part("claims ", slice_cut(&rest, '.'));
    return config != NULL ? print_verdict(config, token) : EXIT_DONE;
}

int cli_token(int argc, char **argv)
{
    struct token_arguments arguments;
    struct config *config = NULL;
    const char *verb = argc > 1 ? argv[1] : "";
    int code;

    if (strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0) {
        puts(help);
        return EXIT_DONE;
    }
    if (strcmp(verb, "mint") != 0 && strcmp(verb, "inspect") != 0)
        return cli_usage("token: expected `mint` or `inspect`");
    code = parse(argc - 1, argv + 1, &arguments);
    if (code == EXIT_DONE && arguments.wants_help) {
        puts(help);
        return EXIT_DONE;
    }
    if (code == EXIT_DONE && arguments.config_file != NULL)
        code = load(arguments.config_file, &config);
    if (code == EXIT_DONE)
        code = strcmp(verb, "mint") == 0 ? mint(&arguments, config) : inspect(&arguments, config);
    config_unref(&config);
    return code;
}
