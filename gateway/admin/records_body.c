/* admin/records_body.c — what a request's JSON body says. Strict: a member that is not known, or is
 * of another type, is an error that names it. */
#include <inttypes.h>

#include <jansson.h>

#include "admin/records_job.h"

bool records_body_parse(struct records_job *job, struct slice text)
{
    json_error_t error;

    if (slice_trim(text).len == 0) {
        job->body = json_object();
        return true;
    }
    job->body = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, &error);
    if (job->body != NULL && json_is_object(job->body))
        return true;
    records_fail(job, 400, "invalid_argument", "the body must be a JSON object%s%s",
                 job->body == NULL ? ": " : "", job->body == NULL ? error.text : "");
    return false;
}

void records_body_free(struct records_job *job)
{
    json_decref(job->body);
}

bool records_body_only(struct records_job *job, const char *const *names)
{
    const char *name;
    json_t *value;

    json_object_foreach(job->body, name, value)
    {
        bool is_known = false;

        for (size_t i = 0; names[i] != NULL; i++)
            is_known |= strcmp(names[i], name) == 0;
        if (!is_known) {
            records_fail(job, 400, "invalid_argument", "unknown member \"%.64s\"", name);
            return false;
        }
    }
    return true;
}

/* Numbers and booleans are taken as they are written: a port may come as 3000 or "3000". */
bool records_body_text(struct records_job *job, const char *name, struct slice *out)
{
    const json_t *value = json_object_get(job->body, name);

    if (value == NULL || json_is_null(value))
        return true;
    if (json_is_integer(value)) {
        *out = arena_printf(&job->arena, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return true;
    }
    if (!json_is_string(value) || json_string_length(value) > 4096) {
        records_fail(job, 400, "invalid_argument", "%s: expected text", name);
        return false;
    }
    *out = slice_of(json_string_value(value), json_string_length(value));
    return true;
}

bool records_body_number(struct records_job *job, const char *name, uint64_t min, uint64_t max,
                         uint64_t *out)
{
    struct slice text = SLICE_EMPTY;
    uint64_t number;

    if (!records_body_text(job, name, &text))
        return false;
    if (text.len == 0)
        return true;
    if (!slice_to_u64(text, &number) || number < min || number > max) {
        records_fail(job, 400, "invalid_argument",
                     "%s: expected a number from %" PRIu64 " to %" PRIu64, name, min, max);
        return false;
    }
    *out = number;
    return true;
}

bool records_body_domain(struct records_job *job, struct slice *out)
{
    const struct records_options *options = &job->records->options;
    struct slice named = SLICE_EMPTY;

    *out = SLICE_EMPTY;
    if (!records_body_text(job, "domain", &named))
        return false;
    for (size_t i = 0; i < options->ports_domain_count && out->len == 0; i++) {
        struct slice domain = slice_from_string(options->ports_domains[i]);

        if (named.len == 0 || slice_equal(named, domain))
            *out = domain;
    }
    if (named.len > 0 && out->len == 0)
        records_fail(job, 400, "invalid_argument", "domain: expected one of ports.domain");
    return named.len == 0 || out->len > 0;
}
