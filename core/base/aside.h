/* aside.h - one function run beside the caller, in a thread that ends with it.
 *
 * For two pieces of a start that know nothing of each other. The caller waits
 * before it looks at what the function made. */
#ifndef BITNET_BASE_ASIDE_H
#define BITNET_BASE_ASIDE_H

#include <pthread.h>
#include <stdbool.h>

struct aside {
    pthread_t thread;
    bool started;
    void (*fn)(void *arg);
    void *arg;
};

/* fn(arg) in a thread of its own; where none can be had, here and now. */
void aside_start(struct aside *, void (*fn)(void *arg), void *arg);
/* Until fn has returned; what it wrote is visible. */
void aside_wait(struct aside *);

#endif
