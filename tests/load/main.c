/* tests/load/main.c — the program exec-load: options, plan, target, run, report, verdict.
 * Exit code: 0 all thresholds hold · 1 one does not, or the run could not be made · 2 wrong command line or scenario. */
#include <time.h>

#include "phases.h"
#include "plan.h"
#include "report.h"
#include "target.h"

struct program {
    struct options options;
    struct scenario scenario;
    struct settings settings;
    struct results results;
    struct facts_source source;
};

static int report(struct program *p, int64_t started_wall_s)
{
    const struct options *o = &p->options;
    const struct report_facts facts = { .target = o->url != NULL ? o->url : o->tls_url,
                                        .note = o->note,
                                        .started_wall_s = started_wall_s,
                                        .was_stopped = atomic_load(&p->settings.stop) };
    bool is_written = true;

    report_summary(&p->results);
    if (o->json != NULL)
        is_written = report_write_json(o->json, &p->results, &facts);
    if (o->html != NULL)
        is_written = report_write_html(o->html, &p->results, &facts) && is_written;
    if (o->smoke && !plan_smoke_passed(&p->results))
        return EXIT_FAILED;
    return is_written && report_passed(&p->results) ? EXIT_PASSED : EXIT_FAILED;
}

static int drive(struct program *p)
{
    int64_t started_wall_s = time(NULL);
    int code = target_prepare(&p->options, &p->scenario, &p->settings);

    if (code == EXIT_PASSED)
        code = facts_source_make(&p->source, &p->options);
    if (code == EXIT_PASSED)
        code = phases_run(&p->settings, &p->results, &p->source);
    return code == EXIT_PASSED ? report(p, started_wall_s) : code;
}

int main(int argc, char **argv)
{
    static struct program program;
    struct program *p = &program;
    int code = options_parse(&p->options, argc, argv);

    if (code != EXIT_PASSED || (code = plan_read(&p->options, &p->scenario)) != EXIT_PASSED)
        return code;
    results_init(&p->results, &p->scenario, (unsigned)p->options.threads);
    code = plan_check_thresholds(&p->options, &p->results);
    if (code == EXIT_PASSED && !p->options.check)
        code = drive(p);
    target_deinit(&p->settings);
    results_deinit(&p->results);
    scenario_deinit(&p->scenario);
    return code;
}
