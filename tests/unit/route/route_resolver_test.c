/* The resolver over a store that the test plays itself: it decides when a read is answered, and
 * how. */
#include "cmocka_all.h"

#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "route/route_resolver.h"

enum { READS_MAX = 2000 };

struct route_read {
    enum record_kind kind;
    char id[64];
    route_read_fn *on_read;
    void *arg;
    bool is_open;
};

struct fixture {
    struct loop *loop;
    struct route_store store;
    struct route_read reads[READS_MAX];
    size_t read_count;
    struct route_resolver *resolver;
};

/* What on_found was told. */
struct outcome {
    unsigned count;
    enum status status;
    struct record *record;
    struct route_lookup *lookup;
};

static struct route_read *fake_read(struct route_store *store, enum record_kind kind,
                                    struct slice id, route_read_fn *on_read, void *arg)
{
    struct fixture *f = CONTAINER_OF(store, struct fixture, store);
    struct route_read *read = &f->reads[f->read_count++];

    assert_in_range(f->read_count, 1, READS_MAX);
    *read = (struct route_read){ .kind = kind, .on_read = on_read, .arg = arg, .is_open = true };
    slice_to_string(id, read->id, sizeof(read->id));
    return read;
}

static void fake_cancel(struct route_store *store, struct route_read *read)
{
    (void)store;
    assert_true(read->is_open);
    read->is_open = false;
}

static void fake_destroy(struct route_store *store)
{
    struct fixture *f = CONTAINER_OF(store, struct fixture, store);

    for (size_t i = 0; i < f->read_count; i++)
        assert_false(f->reads[i].is_open);
}

static const struct route_store_ops fake_ops = { fake_read, fake_cancel, fake_destroy };

static const struct route_resolver_options usual = {
    .max_entries = 100,
    .found_ms = 60000,
    .missing_ms = 60000,
    .max_stale_ms = 60000,
    .lookup_ms = 60000,
};

static struct fixture *begin(const struct route_resolver_options *options)
{
    struct fixture *f = mem_zeroed(sizeof(*f));

    assert_int_equal(loop_create(&f->loop), STATUS_OK);
    loop_turn(f->loop, 0);
    f->store.ops = &fake_ops;
    f->resolver = route_resolver_create(f->loop, &f->store, options);
    f->store.events->on_link(f->store.owner, true);
    return f;
}

static void end(struct fixture *f)
{
    route_resolver_destroy(&f->resolver);
    assert_null(f->resolver);
    loop_destroy(&f->loop);
    mem_free(f);
}

static void turn(struct fixture *f)
{
    loop_turn(f->loop, 0);
    loop_turn(f->loop, 0);
}

static void pass(struct fixture *f, unsigned ms)
{
    usleep(ms * 1000);
    turn(f);
}

static struct record *computer(const char *agent)
{
    struct record_field fields[] = { { SLICE("state"), SLICE("running") },
                                     { SLICE("agent"), slice_from_string(agent) } };
    struct record *record;

    assert_int_equal(record_from_fields(RECORD_COMPUTER, SLICE("x"), fields, 2, NULL, &record),
                     STATUS_OK);
    return record;
}

/* Answers the read number `index`, counted from 0 in the order of reading. */
static void reply(struct fixture *f, size_t index, enum status status, const char *agent)
{
    struct route_read *read = &f->reads[index];

    assert_in_range(index, 0, f->read_count - 1);
    assert_true(read->is_open);
    read->is_open = false;
    read->on_read(read->arg, status, status == STATUS_OK ? computer(agent) : NULL);
    turn(f);
}

static void on_found(void *arg, enum status status, struct record *record)
{
    struct outcome *outcome = arg;

    outcome->count++;
    outcome->status = status;
    outcome->lookup = NULL;
    record_unref(&outcome->record);
    outcome->record = record;
}

static void look_up(struct fixture *f, const char *id, struct outcome *outcome)
{
    *outcome = (struct outcome){ 0 };
    outcome->lookup =
        route_lookup_start(f->resolver, RECORD_COMPUTER, slice_from_string(id), on_found, outcome);
    assert_int_equal(outcome->count, 0);
}

static void assert_agent(const struct record *record, const char *agent)
{
    assert_non_null(record);
    assert_true(slice_equal(record->computer.agent, slice_from_string(agent)));
}

static void expect(struct outcome *outcome, enum status status, const char *agent)
{
    assert_int_equal(outcome->count, 1);
    assert_string_equal(status_name(outcome->status), status_name(status));
    if (agent != NULL)
        assert_agent(outcome->record, agent);
    else
        assert_null(outcome->record);
    record_unref(&outcome->record);
}

/* What route_resolver_find() says; the agent must be that one when it is OK. */
static enum status find(struct fixture *f, const char *id, const char *agent)
{
    struct record *record = NULL;
    enum status status =
        route_resolver_find(f->resolver, RECORD_COMPUTER, slice_from_string(id), &record);

    if (status == STATUS_OK)
        assert_agent(record, agent);
    record_unref(&record);
    return status;
}

static void learn(struct fixture *f, const char *id, const char *agent)
{
    struct outcome outcome;

    look_up(f, id, &outcome);
    turn(f);
    reply(f, f->read_count - 1, STATUS_OK, agent);
    expect(&outcome, STATUS_OK, agent);
}

static void change(struct fixture *f, const char *id)
{
    f->store.events->on_changed(f->store.owner, RECORD_COMPUTER, slice_from_string(id));
}

static void flush(struct fixture *f)
{
    f->store.events->on_flushed(f->store.owner);
}

static void link_up(struct fixture *f, bool is_up)
{
    f->store.events->on_link(f->store.owner, is_up);
}

static uint64_t count_of(const struct counter *counter)
{
    return counter_read(counter);
}

/* ---- */

static void a_hit_costs_no_read(void **state)
{
    struct fixture *f = begin(&usual);

    (void)state;
    assert_int_equal(find(f, "c", NULL), STATUS_AGAIN);
    learn(f, "c", "h:1");
    for (int i = 0; i < 100; i++)
        assert_int_equal(find(f, "c", "h:1"), STATUS_OK);
    turn(f);
    assert_int_equal(f->read_count, 1);
    assert_int_equal(count_of(&route_resolver_counters(f->resolver)->hits), 100);
    assert_int_equal(count_of(&route_resolver_counters(f->resolver)->entries), 1);
    end(f);
}

static void equal_lookups_in_flight_share_one_read(void **state)
{
    struct fixture *f = begin(&usual);
    struct outcome outcomes[50];

    (void)state;
    for (int i = 0; i < 50; i++)
        look_up(f, "c", &outcomes[i]);
    turn(f);
    assert_int_equal(f->read_count, 1);
    assert_int_equal(count_of(&route_resolver_counters(f->resolver)->joined), 49);
    reply(f, 0, STATUS_OK, "h:1");
    for (int i = 0; i < 50; i++)
        expect(&outcomes[i], STATUS_OK, "h:1");
    end(f);
}

static void cancelling_one_lookup_leaves_the_others(void **state)
{
    struct fixture *f = begin(&usual);
    struct outcome a, b;

    (void)state;
    look_up(f, "c", &a);
    look_up(f, "c", &b);
    route_lookup_cancel(&a.lookup);
    assert_null(a.lookup);
    route_lookup_cancel(&a.lookup);
    reply(f, 0, STATUS_OK, "h:1");
    assert_int_equal(a.count, 0);
    expect(&b, STATUS_OK, "h:1");
    end(f);
}

static void the_read_that_nobody_waits_for_is_cancelled(void **state)
{
    struct fixture *f = begin(&usual);
    struct outcome a;

    (void)state;
    look_up(f, "c", &a);
    route_lookup_cancel(&a.lookup);
    assert_int_equal(f->read_count, 1);
    assert_false(f->reads[0].is_open);
    assert_int_equal(count_of(&route_resolver_counters(f->resolver)->entries), 0);
    end(f);
}

static void an_unknown_key_is_remembered_briefly(void **state)
{
    struct route_resolver_options options = usual;
    struct outcome a;

    (void)state;
    options.missing_ms = 30;
    struct fixture *f = begin(&options);
    look_up(f, "c", &a);
    reply(f, 0, STATUS_COMPUTER_UNKNOWN, NULL);
    expect(&a, STATUS_COMPUTER_UNKNOWN, NULL);
    assert_int_equal(find(f, "c", NULL), STATUS_COMPUTER_UNKNOWN);
    pass(f, 40);
    assert_int_equal(find(f, "c", NULL), STATUS_AGAIN);
    end(f);
}

static void an_unknown_key_is_forgotten_when_it_is_created(void **state)
{
    struct fixture *f = begin(&usual);
    struct outcome a;

    (void)state;
    look_up(f, "c", &a);
    reply(f, 0, STATUS_COMPUTER_UNKNOWN, NULL);
    expect(&a, STATUS_COMPUTER_UNKNOWN, NULL);
    change(f, "c");
    assert_int_equal(find(f, "c", NULL), STATUS_AGAIN);
    end(f);
}

static void a_changed_record_is_never_served_again(void **state)
{
    struct fixture *f = begin(&usual);

    (void)state;
    learn(f, "c", "h:1");
    change(f, "c");
    assert_int_equal(find(f, "c", NULL), STATUS_AGAIN);
    link_up(f, false);
    assert_int_equal(find(f, "c", NULL), STATUS_AGAIN); /* not even now */
    end(f);
}

static void a_record_in_use_is_read_again_as_soon_as_it_changes(void **state)
{
    struct fixture *f = begin(&usual);

    (void)state;
    learn(f, "c", "h:1");
    change(f, "c");
    turn(f);
    assert_int_equal(f->read_count, 2);
    reply(f, 1, STATUS_OK, "h:2");
    assert_int_equal(find(f, "c", "h:2"), STATUS_OK);
    end(f);
}

static void a_change_while_it_is_read_throws_the_answer_away(void **state)
{
    struct fixture *f = begin(&usual);
    struct outcome a;

    (void)state;
    look_up(f, "c", &a);
    turn(f);
    change(f, "c");
    reply(f, 0, STATUS_OK, "h:9");
    assert_int_equal(a.count, 0);
    assert_int_equal(find(f, "c", NULL), STATUS_AGAIN);
    assert_int_equal(f->read_count, 2);
    reply(f, 1, STATUS_OK, "h:2");
    expect(&a, STATUS_OK, "h:2");
    assert_int_equal(find(f, "c", "h:2"), STATUS_OK);
    end(f);
}

static void a_flush_while_it_is_read_throws_the_answer_away(void **state)
{
    struct fixture *f = begin(&usual);
    struct outcome a;

    (void)state;
    look_up(f, "c", &a);
    turn(f);
    flush(f);
    reply(f, 0, STATUS_COMPUTER_UNKNOWN, NULL);
    assert_int_equal(a.count, 0);
    reply(f, 1, STATUS_OK, "h:2");
    expect(&a, STATUS_OK, "h:2");
    end(f);
}

static void after_a_flush_every_record_is_read_before_it_is_used(void **state)
{
    struct fixture *f = begin(&usual);
    struct outcome a;

    (void)state;
    learn(f, "c", "h:1");
    flush(f);
    assert_int_equal(find(f, "c", NULL), STATUS_AGAIN);
    look_up(f, "c", &a);
    reply(f, 1, STATUS_OK, "h:2");
    expect(&a, STATUS_OK, "h:2");
    end(f);
}

static void
while_the_link_is_down_known_records_serve_and_unknown_ones_are_unavailable(void **state)
{
    struct route_resolver_options options = usual;
    struct outcome a, b;

    (void)state;
    options.lookup_ms = 30;
    struct fixture *f = begin(&options);
    learn(f, "c", "h:1");
    look_up(f, "gone", &a);
    reply(f, 1, STATUS_COMPUTER_UNKNOWN, NULL);
    expect(&a, STATUS_COMPUTER_UNKNOWN, NULL);
    link_up(f, false);
    assert_false(route_resolver_link_is_up(f->resolver));
    assert_int_equal(find(f, "c", "h:1"), STATUS_OK);
    assert_int_equal(count_of(&route_resolver_counters(f->resolver)->stale_served), 1);
    assert_int_equal(find(f, "gone", NULL), STATUS_AGAIN); /* "unknown" is not known any more */
    look_up(f, "gone", &a);
    pass(f, 40);
    expect(&a, STATUS_ROUTE_UNAVAILABLE, NULL);
    look_up(f, "gone", &b); /* the link is down for long: no waiting */
    turn(f);
    expect(&b, STATUS_ROUTE_UNAVAILABLE, NULL);
    assert_int_equal(f->read_count, 3);
    end(f);
}

static void stale_records_serve_for_so_long_and_no_longer(void **state)
{
    struct route_resolver_options options = usual;

    (void)state;
    options.max_stale_ms = 40;
    struct fixture *f = begin(&options);
    learn(f, "c", "h:1");
    pass(f, 60); /* its age counts from when it was last known to be right */
    link_up(f, false);
    turn(f);
    assert_int_equal(find(f, "c", "h:1"), STATUS_OK);
    pass(f, 60);
    assert_int_equal(find(f, "c", NULL), STATUS_AGAIN);
    end(f);
}

static void a_doubtful_record_serves_when_the_link_goes_down_while_it_is_read(void **state)
{
    struct fixture *f = begin(&usual);
    struct outcome a;

    (void)state;
    learn(f, "c", "h:1");
    flush(f);
    look_up(f, "c", &a);
    turn(f);
    link_up(f, false);
    turn(f);
    expect(&a, STATUS_OK, "h:1");
    assert_int_equal(find(f, "c", "h:1"), STATUS_OK);
    end(f);
}

static void a_lookup_waits_for_the_link_only_so_long(void **state)
{
    struct route_resolver_options options = usual;
    struct outcome a, b;

    (void)state;
    options.lookup_ms = 50;
    struct fixture *f = begin(&options);
    link_up(f, false);
    look_up(f, "c", &a);
    turn(f);
    assert_int_equal(a.count, 0);
    flush(f);
    link_up(f, true);
    reply(f, 0, STATUS_OK, "h:1"); /* of the time before the flush: asked for again */
    reply(f, 1, STATUS_OK, "h:1");
    expect(&a, STATUS_OK, "h:1");
    look_up(f, "d", &b);
    pass(f, 60);
    expect(&b, STATUS_ROUTE_UNAVAILABLE, NULL);
    assert_false(f->reads[2].is_open);
    end(f);
}

static void an_old_record_is_served_and_refreshed_behind(void **state)
{
    struct route_resolver_options options = usual;

    (void)state;
    options.found_ms = 30;
    struct fixture *f = begin(&options);
    learn(f, "c", "h:1");
    pass(f, 40);
    assert_int_equal(find(f, "c", "h:1"), STATUS_OK);
    assert_int_equal(find(f, "c", "h:1"), STATUS_OK);
    turn(f);
    assert_int_equal(f->read_count, 2);
    reply(f, 1, STATUS_OK, "h:2");
    assert_int_equal(find(f, "c", "h:2"), STATUS_OK);
    end(f);
}

static void a_malformed_record_routes_nowhere(void **state)
{
    struct fixture *f = begin(&usual);
    struct outcome a;

    (void)state;
    learn(f, "c", "h:1");
    flush(f);
    look_up(f, "c", &a);
    reply(f, 1, STATUS_MALFORMED, NULL);
    expect(&a, STATUS_ROUTE_UNAVAILABLE, NULL);
    assert_int_equal(find(f, "c", NULL), STATUS_ROUTE_UNAVAILABLE); /* remembered briefly */
    link_up(f, false);
    assert_int_equal(find(f, "c", NULL), STATUS_AGAIN); /* the old one does not come back */
    end(f);
}

static void a_store_that_is_full_makes_lookups_unavailable(void **state)
{
    struct fixture *f = begin(&usual);
    struct outcome a;

    (void)state;
    look_up(f, "c", &a);
    reply(f, 0, STATUS_ROUTE_UNAVAILABLE, NULL);
    expect(&a, STATUS_ROUTE_UNAVAILABLE, NULL);
    assert_int_equal(find(f, "c", NULL), STATUS_AGAIN);
    end(f);
}

static void impossible_ids_never_reach_the_store(void **state)
{
    struct fixture *f = begin(&usual);
    struct outcome a;
    char id[2000];

    (void)state;
    memset(id, 'x', sizeof(id));
    id[sizeof(id) - 1] = '\0';
    assert_int_equal(find(f, "", NULL), STATUS_COMPUTER_UNKNOWN);
    assert_int_equal(find(f, id, NULL), STATUS_COMPUTER_UNKNOWN);
    look_up(f, id, &a);
    turn(f);
    expect(&a, STATUS_COMPUTER_UNKNOWN, NULL);
    assert_int_equal(f->read_count, 0);
    end(f);
}

static void a_lookup_of_a_known_record_is_answered_on_a_later_turn(void **state)
{
    struct fixture *f = begin(&usual);
    struct outcome a, b;

    (void)state;
    learn(f, "c", "h:1");
    look_up(f, "c", &a);
    look_up(f, "c", &b);
    route_lookup_cancel(&b.lookup);
    turn(f);
    expect(&a, STATUS_OK, "h:1");
    assert_int_equal(b.count, 0);
    assert_int_equal(f->read_count, 1);
    end(f);
}

/* ---- watches ---- */

struct watched {
    struct record_watch watch;
    unsigned count;
    enum status status;
    char agent[64];
    struct record_watch *stops; /* in on_change */
};

static void on_change(struct record_watch *watch, enum status status, const struct record *record)
{
    struct watched *w = CONTAINER_OF(watch, struct watched, watch);

    w->count++;
    w->status = status;
    if (status == STATUS_OK)
        slice_to_string(record->computer.agent, w->agent, sizeof(w->agent));
    if (w->stops != NULL)
        record_watch_stop(w->stops);
}

static void watch(struct fixture *f, struct watched *w, const char *id)
{
    *w = (struct watched){ 0 };
    record_watch_init(&w->watch, on_change);
    record_watch_start(f->resolver, &w->watch, RECORD_COMPUTER, slice_from_string(id));
}

static void a_watch_hears_of_every_change(void **state)
{
    struct fixture *f = begin(&usual);
    struct watched a, b;

    (void)state;
    learn(f, "c", "h:1");
    watch(f, &a, "c");
    watch(f, &b, "c");
    turn(f);
    assert_int_equal(f->read_count, 1);
    change(f, "c");
    turn(f);
    reply(f, 1, STATUS_OK, "h:2");
    assert_int_equal(a.count, 1);
    assert_string_equal(a.agent, "h:2");
    assert_int_equal(b.count, 1);
    change(f, "c");
    turn(f);
    reply(f, 2, STATUS_COMPUTER_UNKNOWN, NULL);
    assert_int_equal(a.count, 2);
    assert_int_equal(a.status, STATUS_COMPUTER_UNKNOWN);
    record_watch_stop(&a.watch);
    record_watch_stop(&a.watch);
    change(f, "c");
    turn(f);
    reply(f, 3, STATUS_OK, "h:3");
    assert_int_equal(a.count, 2);
    assert_int_equal(b.count, 3);
    record_watch_stop(&b.watch);
    end(f);
}

static void a_watch_does_not_hear_of_what_stayed_the_same(void **state)
{
    struct fixture *f = begin(&usual);
    struct watched w;

    (void)state;
    learn(f, "c", "h:1");
    watch(f, &w, "c");
    change(f, "c");
    turn(f);
    reply(f, 1, STATUS_OK, "h:1");
    assert_int_equal(w.count, 0);
    record_watch_stop(&w.watch);
    end(f);
}

static void a_watch_hears_nothing_of_an_outage_but_what_changed_meanwhile(void **state)
{
    struct fixture *f = begin(&usual);
    struct watched w;

    (void)state;
    learn(f, "c", "h:1");
    watch(f, &w, "c");
    link_up(f, false);
    pass(f, 10);
    assert_int_equal(w.count, 0);
    flush(f);
    link_up(f, true);
    turn(f);
    assert_int_equal(f->read_count, 2); /* at once, though nobody asks */
    reply(f, 1, STATUS_COMPUTER_UNKNOWN, NULL);
    assert_int_equal(w.count, 1);
    assert_int_equal(w.status, STATUS_COMPUTER_UNKNOWN);
    record_watch_stop(&w.watch);
    end(f);
}

static void a_watch_of_what_is_not_known_is_told_in_any_case(void **state)
{
    struct fixture *f = begin(&usual);
    struct watched w;

    (void)state;
    watch(f, &w, "c");
    turn(f);
    reply(f, 0, STATUS_OK, "h:1");
    assert_int_equal(w.count, 1);
    record_watch_stop(&w.watch);
    end(f);
}

static void a_watch_survives_a_store_that_is_full(void **state)
{
    struct fixture *f = begin(&usual);
    struct watched w;

    (void)state;
    learn(f, "c", "h:1");
    watch(f, &w, "c");
    change(f, "c");
    turn(f);
    reply(f, 1, STATUS_ROUTE_UNAVAILABLE, NULL);
    assert_int_equal(w.count, 0);
    pass(f, 120);
    assert_int_equal(f->read_count, 3);
    reply(f, 2, STATUS_OK, "h:2");
    assert_int_equal(w.count, 1);
    record_watch_stop(&w.watch);
    end(f);
}

static void on_change_may_stop_any_watch(void **state)
{
    struct fixture *f = begin(&usual);
    struct watched a, b;

    (void)state;
    learn(f, "c", "h:1");
    watch(f, &a, "c");
    watch(f, &b, "c");
    a.stops = &b.watch;
    change(f, "c");
    turn(f);
    reply(f, 1, STATUS_OK, "h:2");
    assert_int_equal(a.count, 1);
    assert_int_equal(b.count, 0);
    a.stops = &a.watch;
    change(f, "c");
    turn(f);
    reply(f, 2, STATUS_OK, "h:3");
    assert_int_equal(a.count, 2);
    assert_int_equal(find(f, "c", "h:3"), STATUS_OK);
    end(f);
}

static void watched_records_are_not_evicted(void **state)
{
    struct route_resolver_options options = usual;
    struct watched w;
    char id[32];

    (void)state;
    options.max_entries = 3;
    struct fixture *f = begin(&options);
    learn(f, "c", "h:1");
    watch(f, &w, "c");
    for (int i = 0; i < 10; i++) {
        snprintf(id, sizeof(id), "other_%d", i);
        learn(f, id, "h:9");
    }
    assert_int_equal(find(f, "c", "h:1"), STATUS_OK);
    assert_int_equal(count_of(&route_resolver_counters(f->resolver)->entries), 3);
    record_watch_stop(&w.watch);
    end(f);
}

static void many_watches_are_read_again_a_few_at_a_time(void **state)
{
    struct route_resolver_options options = usual;
    static struct watched watches[600];
    char id[32];

    (void)state;
    options.max_entries = 1000;
    struct fixture *f = begin(&options);
    for (int i = 0; i < 600; i++) {
        snprintf(id, sizeof(id), "c%d", i);
        learn(f, id, "h:1");
        watch(f, &watches[i], id);
    }
    flush(f);
    turn(f);
    assert_in_range(f->read_count, 600 + 1, 600 + 256);
    for (size_t i = 600; i < f->read_count; i++)
        reply(f, i, STATUS_OK, "h:2");
    assert_int_equal(f->read_count, 1200);
    for (int i = 0; i < 600; i++) {
        assert_int_equal(watches[i].count, 1);
        record_watch_stop(&watches[i].watch);
    }
    end(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hit_costs_no_read),
        cmocka_unit_test(equal_lookups_in_flight_share_one_read),
        cmocka_unit_test(cancelling_one_lookup_leaves_the_others),
        cmocka_unit_test(the_read_that_nobody_waits_for_is_cancelled),
        cmocka_unit_test(an_unknown_key_is_remembered_briefly),
        cmocka_unit_test(an_unknown_key_is_forgotten_when_it_is_created),
        cmocka_unit_test(a_changed_record_is_never_served_again),
        cmocka_unit_test(a_record_in_use_is_read_again_as_soon_as_it_changes),
        cmocka_unit_test(a_change_while_it_is_read_throws_the_answer_away),
        cmocka_unit_test(a_flush_while_it_is_read_throws_the_answer_away),
        cmocka_unit_test(after_a_flush_every_record_is_read_before_it_is_used),
        cmocka_unit_test(
            while_the_link_is_down_known_records_serve_and_unknown_ones_are_unavailable),
        cmocka_unit_test(stale_records_serve_for_so_long_and_no_longer),
        cmocka_unit_test(a_doubtful_record_serves_when_the_link_goes_down_while_it_is_read),
        cmocka_unit_test(a_lookup_waits_for_the_link_only_so_long),
        cmocka_unit_test(an_old_record_is_served_and_refreshed_behind),
        cmocka_unit_test(a_malformed_record_routes_nowhere),
        cmocka_unit_test(a_store_that_is_full_makes_lookups_unavailable),
        cmocka_unit_test(impossible_ids_never_reach_the_store),
        cmocka_unit_test(a_lookup_of_a_known_record_is_answered_on_a_later_turn),
        cmocka_unit_test(a_watch_hears_of_every_change),
        cmocka_unit_test(a_watch_does_not_hear_of_what_stayed_the_same),
        cmocka_unit_test(a_watch_hears_nothing_of_an_outage_but_what_changed_meanwhile),
        cmocka_unit_test(a_watch_of_what_is_not_known_is_told_in_any_case),
        cmocka_unit_test(a_watch_survives_a_store_that_is_full),
        cmocka_unit_test(on_change_may_stop_any_watch),
        cmocka_unit_test(watched_records_are_not_evicted),
        cmocka_unit_test(many_watches_are_read_again_a_few_at_a_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
