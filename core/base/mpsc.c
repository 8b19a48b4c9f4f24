/* mpsc.c - a list under a lock. Pushes are rare next to the work they start
 * (one per request, not per token), so the lock is never the bottleneck. */
#include "core/base/mpsc.h"

#include <errno.h>
#include <time.h>

#include "core/base/clock.h"
#include "core/base/err.h"

int mpsc_open(struct mpsc *q)
{
    *q = (struct mpsc){ .head = NULL };
    q->tail = &q->head;
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr))
        return ERR_NOMEM;
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    int bad = pthread_cond_init(&q->wake, &attr);
    pthread_condattr_destroy(&attr);
    if (bad)
        return ERR_NOMEM;
    if (pthread_mutex_init(&q->lock, NULL)) {
        pthread_cond_destroy(&q->wake);
        return ERR_NOMEM;
    }
    return 0;
}

void mpsc_close(struct mpsc *q)
{
    pthread_cond_destroy(&q->wake);
    pthread_mutex_destroy(&q->lock);
}

void mpsc_push(struct mpsc *q, struct mpsc_node *n)
{
    n->next = NULL;
    pthread_mutex_lock(&q->lock);
    *q->tail = n;
    q->tail = &n->next;
    pthread_cond_signal(&q->wake);
    pthread_mutex_unlock(&q->lock);
}

void mpsc_poke(struct mpsc *q)
{
    pthread_mutex_lock(&q->lock);
    q->poked = true;
    pthread_cond_signal(&q->wake);
    pthread_mutex_unlock(&q->lock);
}

struct mpsc_node *mpsc_take(struct mpsc *q, int wait_ms)
{
    struct timespec until = { 0 };
    if (wait_ms > 0)
        until = clock_after(wait_ms);
    pthread_mutex_lock(&q->lock);
    int rc = 0;
    while (!q->head && !q->poked && wait_ms && rc != ETIMEDOUT)
        rc = wait_ms < 0 ? pthread_cond_wait(&q->wake, &q->lock)
                         : pthread_cond_timedwait(&q->wake, &q->lock, &until);
    struct mpsc_node *list = q->head;
    q->head = NULL;
    q->tail = &q->head;
    q->poked = false;
    pthread_mutex_unlock(&q->lock);
    return list;
}
