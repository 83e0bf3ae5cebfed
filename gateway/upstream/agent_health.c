/* upstream/agent_health.c — see the header. */
#include "upstream/agent_health.h"

bool agent_health_is_open(const struct agent_health *health, uint64_t now_ms)
{
    return health->is_tripped && !health->is_probing && now_ms < health->open_until_ms;
}

bool agent_health_may_dial(const struct agent_health *health, uint64_t now_ms)
{
    return !health->is_tripped || (!health->is_probing && now_ms >= health->open_until_ms);
}

static void forget_old(struct agent_health *health, uint64_t now_ms)
{
    if (agent_health_is_quiet(health, now_ms))
        *health = (struct agent_health){ 0 };
}

void agent_health_dial_started(struct agent_health *health, uint64_t now_ms)
{
    forget_old(health, now_ms);
    health->is_probing = health->is_tripped;
}

static uint64_t next_delay_ms(uint64_t last_ms, const struct agent_health_options *options)
{
    if (last_ms == 0)
        return options->min_ms;
    return last_ms < options->max_ms / 2 ? last_ms * 2 : options->max_ms;
}

bool agent_health_failed(struct agent_health *health, const struct agent_health_options *options,
                         uint64_t now_ms, uint32_t random)
{
    if (health->is_tripped && !health->is_probing)
        return false; /* one of several dials that were under way when it opened */
    forget_old(health, now_ms);
    health->failures++;
    health->forget_at_ms = now_ms + options->max_ms;
    if (health->failures < options->failures)
        return false;
    health->is_tripped = true;
    health->is_probing = false;
    health->delay_ms = next_delay_ms(health->delay_ms, options);

    uint64_t half_ms = health->delay_ms / 2;

    health->open_until_ms = now_ms + health->delay_ms - half_ms + random % (half_ms + 1);
    health->forget_at_ms = health->open_until_ms + options->max_ms;
    return true;
}

void agent_health_connected(struct agent_health *health)
{
    health->is_tripped = false;
    health->is_probing = false;
}

void agent_health_proved(struct agent_health *health)
{
    *health = (struct agent_health){ 0 };
}

void agent_health_undecided(struct agent_health *health)
{
    health->is_probing = false;
}

bool agent_health_is_quiet(const struct agent_health *health, uint64_t now_ms)
{
    return now_ms >= health->forget_at_ms && !health->is_probing;
}
