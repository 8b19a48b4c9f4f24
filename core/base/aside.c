/* aside.c - see aside.h. */
#include "core/base/aside.h"

static void *run(void *arg)
{
    const struct aside *a = arg;
    a->fn(a->arg);
    return NULL;
}

void aside_start(struct aside *a, void (*fn)(void *arg), void *arg)
{
    a->fn = fn;
    a->arg = arg;
    a->started = !pthread_create(&a->thread, NULL, run, a);
    if (!a->started)
        fn(arg);
}

void aside_wait(struct aside *a)
{
    if (a->started)
        pthread_join(a->thread, NULL);
    a->started = false;
}
