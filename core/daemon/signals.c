/* signals.c - a thread that waits for signals, and the handler of SIGBUS. */
#include "core/daemon/signals.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static struct {
    _Atomic int phase;            /* enum signals_phase                        */
    int stop;                     /* eventfd, readable after the first signal  */
    int reload;                   /* eventfd, readable after SIGHUP            */
} signals = { .stop = -1, .reload = -1 };

static void *take_signals(void *arg)
{
    const sigset_t *set = arg;
    int sig;
    while (!sigwait(set, &sig)) {
        if (sig == SIGHUP) {
            eventfd_write(signals.reload, 1);
            continue;
        }
        int phase = SIGNALS_SERVING;
        if (atomic_compare_exchange_strong(&signals.phase, &phase, SIGNALS_STOPPING))
            eventfd_write(signals.stop, 1);
        else
            _exit(phase == SIGNALS_LOADING ? 0 : 1);   /* nothing to drain; or impatience */
    }
    return NULL;
}

int signals_start(struct err *e)
{
    static sigset_t set;          /* read by the thread for ever */
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_t thread;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);     /* a file at its limit is an error of write(2) */
    signals.stop = eventfd(0, EFD_CLOEXEC);
    signals.reload = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int no = signals.stop < 0 || signals.reload < 0 ? errno : 0;
    if (!no)
        no = pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (!no)
        no = pthread_create(&thread, NULL, take_signals, &set);
    if (no)
        return err_set(e, ERR_IO, "signals: cannot start their thread: %s", strerror(no));
    pthread_detach(thread);
    return 0;
}

void signals_phase(enum signals_phase phase)
{
    atomic_store(&signals.phase, (int)phase);
}

int signals_reload_fd(void)
{
    return signals.reload;
}

int signals_fd(void)
{
    return signals.stop;
}

/* ---- a model file that shrinks, or whose disk fails, while it is mapped ---- */

/* The page that was touched has no bytes behind it: nothing can be computed any
 * more. The line was made before, since little may be called here. */
static struct {
    char line[4400];
    size_t n;
} bus;

static void on_bus(int sig, siginfo_t *info, void *context)
{
    (void)context;
    if (info->si_code != BUS_ADRERR) {      /* not of a file: as if there were no handler */
        signal(sig, SIG_DFL);
        raise(sig);
        return;
    }
    ssize_t written = write(STDERR_FILENO, bus.line, bus.n);
    (void)written;
    _exit(1);
}

void signals_watch_file(const char *path)
{
    const int n = snprintf(bus.line, sizeof bus.line, "bitnetd: %s: part of it is gone, or "
                           "of a file of plugins.weight_cache: cut, or its disk failed, while in "
                           "use; restore it and start again\n",
                           path);
    bus.n = n < (int)sizeof bus.line ? (size_t)n : sizeof bus.line - 1;
    struct sigaction a = { .sa_sigaction = on_bus, .sa_flags = SA_SIGINFO };
    sigemptyset(&a.sa_mask);
    sigaction(SIGBUS, &a, NULL);
}
