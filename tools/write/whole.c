/* whole.c - what SIGINT, SIGTERM and SIGHUP would leave. A handler may
 * unlink(2); the signal then does what it does. */
#include "tools/write/whole.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const int ends[] = { SIGINT, SIGTERM, SIGHUP };
enum { N_ENDS = sizeof ends / sizeof *ends };
static char *unfinished;

static void remove_unfinished(int sig)
{
    unlink(unfinished);
    raise(sig);                   /* SA_RESETHAND: the default action now      */
}

/* The set of the signals, blocked; *before is what was blocked. */
static void hold_signals(sigset_t *before)
{
    sigset_t set;
    sigemptyset(&set);
    for (unsigned i = 0; i < N_ENDS; i++)
        sigaddset(&set, ends[i]);
    pthread_sigmask(SIG_BLOCK, &set, before);
}

/* Signals that something else ignores or handles stay as they are. */
static void exchange(void (*from)(int), void (*to)(int), int flags)
{
    for (unsigned i = 0; i < N_ENDS; i++) {
        struct sigaction now, next = { .sa_handler = to, .sa_flags = flags };
        sigemptyset(&next.sa_mask);
        if (!sigaction(ends[i], NULL, &now) && now.sa_handler == from)
            sigaction(ends[i], &next, NULL);
    }
}

int whole_open(struct file_out *o, const char *path, struct err *e)
{
    sigset_t before;
    hold_signals(&before);
    int rc = file_out_open(o, path, e);
    if (!rc && o->temp) {
        unfinished = strdup(o->temp);
        if (unfinished)
            exchange(SIG_DFL, remove_unfinished, (int)SA_RESETHAND);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

void whole_abort(struct file_out *o)
{
    sigset_t before;
    file_out_abort(o);
    hold_signals(&before);
    exchange(remove_unfinished, SIG_DFL, 0);
    free(unfinished);
    unfinished = NULL;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}
