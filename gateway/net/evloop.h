/* net/evloop.h — libh2o's loop under a loop, for the one layer beside net/ that uses libh2o itself:
 * admin/. */
#pragma once

struct loop;
struct st_h2o_evloop_t;
struct st_h2o_socket_t;

struct st_h2o_evloop_t *loop_evloop(struct loop *loop);

/* First thing in every callback of a descriptor: the wait is over, so the clock is refreshed, once
 * in a turn. */
void loop_woke(struct loop *loop);

/* A socket of libh2o's that epoll did not take, for want of memory or watches: it is asked for again
 * with the next turn. Harmless for any other. */
void evloop_socket_ask_again(struct st_h2o_socket_t *socket);
