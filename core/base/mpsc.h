/* mpsc.h - an inbox: many threads push, one thread drains and may sleep on it.
 *
 * Intrusive: a struct mpsc_node sits inside what is queued. Order is kept
 * per pusher, and between pushers as their pushes took effect. */
#ifndef BITNET_BASE_MPSC_H
#define BITNET_BASE_MPSC_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct mpsc_node {
    struct mpsc_node *next;
};

struct mpsc {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct mpsc_node *head, **tail;
    bool poked;
};

int mpsc_open(struct mpsc *);
void mpsc_close(struct mpsc *);
void mpsc_push(struct mpsc *, struct mpsc_node *);   /* [any] */
void mpsc_poke(struct mpsc *);                       /* [any] wakes the reader with nothing */

/* [reader] Takes everything, oldest first, as a list; NULL when empty.
 * wait_ms: 0 returns at once, -1 sleeps until a push or a poke. */
struct mpsc_node *mpsc_take(struct mpsc *, int wait_ms);

#endif
