/* upstream/agent.h — what the pool knows of the agent in one computer, or of one published port of
 * it: who it is now (boot, address, protocol), its conns by state, who waits for one, and whether
 * dialing makes sense. Made when a computer is first asked for, freed when there is no conn, no
 * wait and no failure to remember. */
#pragma once

#include "upstream/agent_conn.h"

struct agent {
    struct map_entry entry; /* the key is `identity`'s computer_id; ports are not in the map */
    struct list ports;      /* agents of this computer's published ports */
    struct list sibling;    /* a port's link in computer->ports */
    struct agent *computer; /* a port's: the agent whose list that is; NULL otherwise */
    struct upstream_pool *pool;
    struct upstream_target identity; /* owns its slices and a reference of TLS */
    struct list by_state[AGENT_CONN_STATE_COUNT];
    size_t count[AGENT_CONN_STATE_COUNT];
    struct list waits;
    size_t wait_count;
    unsigned round; /* of serving; see serve() */
    struct agent_health health;
    struct task serve;
    struct timer rest; /* when failures are forgotten, or the next dial may start */
};

/* NULL when the pool knows nothing of this computer, or port of it. */
struct agent *agent_find(struct upstream_pool *pool, struct slice computer_id);
struct agent *agent_find_target(struct upstream_pool *pool, const struct upstream_target *target);

/* The agent of `target`, made or brought up to date: conns to another boot, address or protocol
 * depart, and who waited for that one hears AGENT_UNREACHABLE. With only the TLS context renewed
 * (reload), old conns retire in peace. */
struct agent *agent_for(struct upstream_pool *pool, const struct upstream_target *target);
bool agent_is(const struct agent *agent, const struct upstream_target *target);
void agent_become(struct agent *agent, const struct upstream_target *target);

/* A conn with room, or NULL. h2: the least loaded; h1: the last used. */
struct agent_conn *agent_pick(struct agent *agent);

/* Takes the wait: queued until a conn has room, or failed. */
void agent_add_wait(struct agent *agent, struct upstream_wait *wait);

/* After any change: at the end of the next turn, serves who waits, dials if that helps, and frees
 * the agent if nothing is left. */
void agent_review(struct agent *agent);

/* A dial ended. `conn` is READY with STATUS_OK, else departed. */
void agent_dial_ended(struct agent *agent, enum status status);

void agent_conn_was_lost(struct agent *agent, const struct agent_conn *conn);
void agent_proved(struct agent *agent); /* a stream completed */

/* For a published port: the agent whose connection carries it. Borrows the slices of `target`. */
struct upstream_target agent_carrier(const struct upstream_target *target);

/* What a wait hears that has waited too long. */
enum status agent_late_status(const struct agent *agent);

/* All conns depart (those of its ports, too), all waits fail, the past is forgotten; the agent goes
 * with the next turn. */
void agent_forget(struct agent *agent);
void agent_destroy(struct agent *agent); /* the same, and is gone */
