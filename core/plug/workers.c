/* workers.c - one job at a time, handed to every worker by a counter.
 *
 * The caller writes the job and raises `turn`; each worker notices, does its
 * part and lowers `left`; the caller waits for 0. Whoever waits spins a little,
 * then sleeps on a condition. Sleeping and waking follow one pattern on both
 * sides: the sleeper announces itself and then looks again; the waker changes
 * the value and then looks for sleepers. Both are sequentially consistent, so
 * at least one sees the other and no wake-up is lost. */
#include "core/plug/workers.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* About 50 us at 100 cycles for each pause: longer than the gap between two
 * products of a step, shorter than anybody pays for. */
#define SPINS 1500

struct gate {                     /* somebody waits here for a value to change */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    _Atomic uint32_t asleep;
};

struct worker {
    struct workers *pool;
    uint32_t index;
    pthread_t thread;             /* [0]: who called for a lap last            */
    _Atomic int tid;              /* 0: not running yet                        */
    int stat;                     /* its schedstat, open; -1: none             */
    uint64_t cpu_ns, wait_ns;     /* at the last lap                           */
};

struct workers {
    uint32_t n, n_started;        /* workers; threads running, without worker 0 */
    unsigned spins;
    const int *cpu;               /* the topology's, [n]                       */
    struct worker *worker;        /* [n]; [0] has no thread                    */
    bnp_task_fn *fn;              /* the job; constant while left > 0          */
    void *arg;
    uint32_t n_tasks;
    bool fixed, quit;
    bool lapped;                  /* somebody asked for laps                   */
    uint32_t lap_turn;            /* turn then                                 */
    struct gate go, done;
    _Alignas(64) _Atomic uint32_t turn;   /* jobs ever posted                  */
    _Alignas(64) _Atomic uint32_t left;   /* workers still on this job         */
    _Alignas(64) _Atomic uint32_t next;   /* dynamic jobs: first task not taken */
};

static void relax(void)
{
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

bool workers_float_env(void)
{
#if defined(__x86_64__)
    const unsigned want = 0x1f80;         /* every exception masked, nothing else */
    const unsigned had = _mm_getcsr() & ~0x3fu;   /* without the sticky flags  */
    _mm_setcsr(want);
    return had != want;
#elif defined(__aarch64__)
    uint64_t had;
    __asm__ volatile("mrs %0, fpcr" : "=r"(had));
    __asm__ volatile("msr fpcr, %0" : : "r"(UINT64_C(0)));
    return had != 0;
#else
    return false;
#endif
}

/* Sleeps until *v is not `is` any more. */
static void gate_wait(struct gate *g, _Atomic uint32_t *v, uint32_t is)
{
    pthread_mutex_lock(&g->lock);
    atomic_fetch_add(&g->asleep, 1);
    while (atomic_load(v) == is)
        pthread_cond_wait(&g->wake, &g->lock);
    atomic_fetch_sub(&g->asleep, 1);
    pthread_mutex_unlock(&g->lock);
}

/* After a change of the value; the sleeper holds the lock from its look at the
 * value until it sleeps, so taking the lock means that it hears this. */
static void gate_wake(struct gate *g)
{
    if (!atomic_load(&g->asleep))
        return;
    pthread_mutex_lock(&g->lock);
    pthread_cond_broadcast(&g->wake);
    pthread_mutex_unlock(&g->lock);
}

static int gate_open(struct gate *g)
{
    if (pthread_mutex_init(&g->lock, NULL))
        return ERR_NOMEM;
    if (pthread_cond_init(&g->wake, NULL)) {
        pthread_mutex_destroy(&g->lock);
        return ERR_NOMEM;
    }
    return 0;
}

static void gate_close(struct gate *g)
{
    pthread_cond_destroy(&g->wake);
    pthread_mutex_destroy(&g->lock);
}

/* The smallest t with t * n_workers / n_tasks >= w. */
static uint32_t first_task(uint32_t w, uint32_t n_workers, uint32_t n_tasks)
{
    return (uint32_t)(((uint64_t)w * n_tasks + n_workers - 1) / n_workers);
}

static void do_part(struct workers *p, uint32_t w)
{
    if (p->fixed) {
        const uint32_t end = first_task(w + 1, p->n, p->n_tasks);
        for (uint32_t t = first_task(w, p->n, p->n_tasks); t < end; t++)
            p->fn(p->arg, t, w);
        return;
    }
    /* At most n more additions than tasks, so with n_tasks near 2^32 the
     * counter could wrap; workers_run keeps such jobs off this path. */
    uint32_t t;
    while ((t = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed)) < p->n_tasks)
        p->fn(p->arg, t, w);
}

static void bind_self(int cpu)
{
    if (cpu < 0)
        return;
    cpu_set_t *set = CPU_ALLOC((size_t)cpu + 1);
    const size_t size = CPU_ALLOC_SIZE((size_t)cpu + 1);
    if (!set)
        return;
    CPU_ZERO_S(size, set);
    CPU_SET_S((size_t)cpu, size, set);
    /* Refused where the allowed set changed meanwhile: then we run unbound. */
    (void)pthread_setaffinity_np(pthread_self(), size, set);
    CPU_FREE(set);
}

/* What the system keeps of how long each waited for a processor. */
static void open_stats(struct workers *p)
{
    char path[64];
    atomic_store(&p->worker[0].tid, (int)gettid());
    for (uint32_t w = 0; w <= p->n_started; w++) {
        struct worker *k = &p->worker[w];
        snprintf(path, sizeof path, "/proc/self/task/%d/schedstat", atomic_load(&k->tid));
        k->stat = open(path, O_RDONLY | O_CLOEXEC);
    }
}

void workers_end_laps(struct workers *p)
{
    for (uint32_t w = 0; w <= p->n_started && p->lapped; w++)
        if (p->worker[w].stat >= 0)
            (void)close(p->worker[w].stat);
    p->lapped = false;
}

static void *worker_main(void *arg)
{
    struct worker *me = arg;
    struct workers *p = me->pool;
    char name[16];
    snprintf(name, sizeof name, "bitnet-w%u", me->index % 10000);
    (void)pthread_setname_np(pthread_self(), name);
    atomic_store(&me->tid, (int)gettid());
    bind_self(p->cpu[me->index]);
    (void)workers_float_env();
    for (uint32_t seen = 0;; seen++) {
        for (unsigned i = 0; i < p->spins && atomic_load(&p->turn) == seen; i++)
            relax();
        if (atomic_load(&p->turn) == seen)
            gate_wait(&p->go, &p->turn, seen);
        if (p->quit)
            return NULL;
        do_part(p, me->index);
        if (atomic_fetch_sub(&p->left, 1) == 1)
            gate_wake(&p->done);
    }
}

static void post(struct workers *p)
{
    atomic_store(&p->left, p->n_started);
    atomic_fetch_add(&p->turn, 1);
    gate_wake(&p->go);
}

void workers_run(struct workers *p, uint32_t n_tasks, uint32_t flags, bnp_task_fn *fn, void *arg)
{
    (void)workers_float_env();
    if (p->n == 1 || n_tasks <= 1) {              /* worker 0 has it all       */
        for (uint32_t t = 0; t < n_tasks; t++)
            fn(arg, t, 0);
        return;
    }
    p->fn = fn;
    p->arg = arg;
    p->n_tasks = n_tasks;
    p->fixed = (flags & BNP_PAR_STATIC) != 0 || n_tasks > UINT32_MAX - TOPO_MAX_WORKERS;
    atomic_store_explicit(&p->next, 0, memory_order_relaxed);
    post(p);
    do_part(p, 0);
    uint32_t left;
    for (unsigned i = 0; i < p->spins && atomic_load(&p->left); i++)
        relax();
    while ((left = atomic_load(&p->left)) != 0)
        gate_wait(&p->done, &p->left, left);
}

/* The clocks of threads, not the process's: that one lags behind for threads
 * that run on other processors just now. */
static uint64_t cpu_ns(pthread_t thread)
{
    clockid_t id;
    struct timespec t;
    if (pthread_getcpuclockid(thread, &id) || clock_gettime(id, &t))
        return 0;
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

/* "97222287 172056201 38": nanoseconds on a processor and waiting for one, and
 * how often it got one. */
static uint64_t wait_ns(int fd)
{
    char text[96], *second;
    const ssize_t n = fd < 0 ? 0 : pread(fd, text, sizeof text - 1, 0);
    if (n <= 0)
        return 0;
    text[n] = 0;
    (void)strtoull(text, &second, 10);
    return strtoull(second, NULL, 10);
}

struct workers_lap workers_lap(struct workers *p)
{
    struct workers_lap lap = { 0 };
    const uint32_t turn = atomic_load(&p->turn);
    struct worker *me = &p->worker[0];
    if (!p->lapped || !pthread_equal(me->thread, pthread_self())) {
        workers_end_laps(p);
        me->thread = pthread_self();
        open_stats(p);
        p->lapped = true;
    }
    for (uint32_t w = 0; w <= p->n_started; w++) {
        struct worker *k = &p->worker[w];
        const uint64_t cpu = cpu_ns(k->thread), wait = wait_ns(k->stat);
        const uint64_t waited = wait > k->wait_ns ? wait - k->wait_ns : 0;
        lap.cpu_ns += cpu > k->cpu_ns ? cpu - k->cpu_ns : 0;
        lap.wait_ns = waited > lap.wait_ns ? waited : lap.wait_ns;
        k->cpu_ns = cpu;
        k->wait_ns = wait;
    }
    lap.n_job = turn - p->lap_turn;
    p->lap_turn = turn;
    return lap;
}

void workers_bind_caller(const struct workers *p)
{
    bind_self(p->cpu[0]);
}

static int start_threads(struct workers *p, struct err *e)
{
    sigset_t all, old;
    sigfillset(&all);
    sigdelset(&all, SIGBUS);                    /* a mapped file that shrank: main's to tell */
    pthread_sigmask(SIG_SETMASK, &all, &old);     /* signals are the main thread's */
    int rc = 0;
    for (uint32_t w = 1; w < p->n && !rc; w++) {
        p->worker[w] = (struct worker){ .pool = p, .index = w };
        rc = pthread_create(&p->worker[w].thread, NULL, worker_main, &p->worker[w]);
        if (!rc)
            p->n_started++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!rc)
        return 0;
    return err_set(e, ERR_NOMEM, "worker thread %u of %u: cannot start: %s", p->n_started + 1,
                   p->n - 1, strerror(rc));
}

int workers_open(struct workers **out, const struct topo *topo, struct err *e)
{
    *out = NULL;
    struct workers *p = aligned_alloc(_Alignof(struct workers), sizeof *p);
    struct worker *worker = calloc(topo->abi.n_workers, sizeof *worker);
    if (!p || !worker) {
        free(p);
        free(worker);
        return err_set(e, ERR_NOMEM, "workers: no memory for %u", topo->abi.n_workers);
    }
    memset(p, 0, sizeof *p);
    p->worker = worker;
    p->n = topo->abi.n_workers;
    p->cpu = topo->worker_cpu;
    p->spins = p->n <= topo->n_cores ? SPINS : 0;
    if (gate_open(&p->go)) {
        free(worker);
        free(p);
        return err_set(e, ERR_NOMEM, "workers: no memory for a lock");
    }
    if (gate_open(&p->done)) {
        gate_close(&p->go);
        free(worker);
        free(p);
        return err_set(e, ERR_NOMEM, "workers: no memory for a lock");
    }
    const int rc = start_threads(p, e);
    if (rc) {
        workers_close(p);
        return rc;
    }
    *out = p;
    return 0;
}

void workers_close(struct workers *p)
{
    if (!p)
        return;
    p->quit = true;
    post(p);
    for (uint32_t w = 1; w <= p->n_started; w++)
        pthread_join(p->worker[w].thread, NULL);
    workers_end_laps(p);
    gate_close(&p->done);
    gate_close(&p->go);
    free(p->worker);
    free(p);
}
