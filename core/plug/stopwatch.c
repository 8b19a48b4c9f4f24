/* stopwatch.c - rounds, halves, and what is believed of them. */
#include "core/plug/stopwatch.h"

#include <math.h>
#include <stdlib.h>

#include "core/base/clock.h"

#define MIN_CALLS 4u              /* of a row count, if the budget allows      */
#define LEAST     3u              /* whatever the budget says, or 2 long ones  */
#define TURN_US   1e3             /* of a lane in a round, or one call         */
#define TURN_MAX  16u
#define DISTURBED 4.0             /* budgets that a lane may take in real time */
#define EXTRA     2.0             /* and budgets of what all share             */
#define ALIKE     1.10            /* halves this close say the same            */
#define WAITED    0.10            /* of a call, a worker without a processor   */
#define ONE_BUSY  0.90            /* processors: less is a device of its own   */
#define A_ROW     4.0             /* times as much for a row as with fewer     */
#define FAR       4.0             /* times the best lane: equal stalls look so */
#define FAR_CALLS 8u              /* are believed then                         */

/* How much of the budget is spent when the counts up to each are done. One row
 * is short and needs the most repetitions, many rows are long and need few. */
static const double share[STOPWATCH_N] = { 0.2, 0.35, 0.55, 1.0 };

struct call {
    double us, cpu_us;
    bool waited;                  /* a worker did, for a processor             */
    bool odd;                     /* of an odd round                           */
    bool shared;                  /* all workers had a part in it              */
};

struct crowd {                    /* calls of all lanes, of this row count     */
    uint32_t n_shared;            /* for all workers                           */
    uint32_t n_waited;            /* of them, those in which one waited        */
};

struct track {                    /* a lane while it runs                      */
    struct stopwatch_lane *lane;
    struct crowd *crowd;          /* of all lanes                              */
    bool open;                    /* more calls of this row count              */
    uint32_t n, n_extra;          /* calls of this row count; beyond the budget */
    double best_us;               /* of them                                   */
    double least_us;              /* of all lanes' calls of this row count     */
    double spent_us;              /* on the counts before                      */
    double real_us;               /* on all counts, as the clock has it        */
    double extra_us;              /* of that, of what all share                */
    double use;                   /* processors kept busy, counts before       */
    struct call call[STOPWATCH_CALLS];
};

/* ----------------------------------------------------------------- the figures */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int by_time(const void *a, const void *b)
{
    return by_value(&((const struct call *)a)->us, &((const struct call *)b)->us);
}

/* Whatever else ran can only add, and one of many may have been lucky with a
 * cache: the lowest eighth, with fewer than eight the best. */
static double lowest(double *v, uint32_t n)
{
    qsort(v, n, sizeof *v, by_value);
    return v[n / 8] > 0 ? v[n / 8] : 1e-3;            /* under the clock's resolution */
}

static double use_of(const struct stopwatch *w, const struct call *c)
{
    const double use = c->us > 0 ? c->cpu_us / c->us : 0;
    return use < w->n_worker ? use : w->n_worker;
}

/* What a call would have taken, had nobody waited. */
static double value_of(const struct call *c, double use)
{
    const bool counts = c->waited && use > ONE_BUSY && c->cpu_us > 0 && c->cpu_us < use * c->us;
    return counts ? c->cpu_us / use : c->us;
}

/* Processors that the best calls kept busy, of this row count or of fewer. Sorts
 * the calls by time. */
static double best_use(const struct stopwatch *w, struct track *t)
{
    qsort(t->call, t->n, sizeof t->call[0], by_time);
    const double use = w->workers ? use_of(w, &t->call[t->n / 8]) : 0;
    return use > t->use ? use : t->use;
}

/* What undisturbed calls keep busy. Where most calls of most lanes waited, one
 * lane's best may have had all workers and another's not: all are held against
 * all workers then. */
static double full_use(const struct stopwatch *w, struct track *t)
{
    const double use = best_use(w, t);
    const bool crowded = 2 * t->crowd->n_waited > t->crowd->n_shared;
    return crowded && t->call[0].shared ? w->n_worker : use;
}

/* A few calls that were all held up for a time slice look alike. Only work for
 * one worker, as of the reference, may be far behind with so few. */
static bool is_plausible(const struct stopwatch *w, const struct track *t, uint32_t i)
{
    const struct stopwatch_time *time = t->lane->time;
    const bool serial = w->workers && !t->call[0].shared;
    if (!serial && t->n < FAR_CALLS && t->best_us > FAR * t->least_us)
        return false;
    return !i || time[i - 1].unsure ||
           time[i].us <= A_ROW * time[i - 1].us * w->n_tok[i] / w->n_tok[i - 1];
}

/* What is known of row count i; whether the halves say the same. */
static bool settle(const struct stopwatch *w, struct track *t, uint32_t i)
{
    struct stopwatch_time *out = &t->lane->time[i];
    const double use = full_use(w, t);
    double all[STOPWATCH_CALLS], half[2][STOPWATCH_CALLS];
    uint32_t n[2] = { 0 }, n_good[2] = { 0 };
    for (uint32_t k = 0; k < t->n; k++) {
        const bool odd = t->call[k].odd;
        all[k] = half[odd][n[odd]++] = value_of(&t->call[k], use);
    }
    *out = (struct stopwatch_time){ .us = lowest(all, t->n), .unsure = true };
    if (!n[0] || !n[1])
        return false;
    const double a = lowest(half[0], n[0]), b = lowest(half[1], n[1]);
    for (uint32_t k = 0; k < t->n; k++)
        n_good[t->call[k].odd] += !t->call[k].waited && t->call[k].us <= ALIKE * out->us;
    out->gap_us = a > b ? a - b : b - a;
    const bool alike = a <= ALIKE * b && b <= ALIKE * a && is_plausible(w, t, i);
    out->unsure = !alike || !n_good[0] || !n_good[1];
    return alike;
}

/* ------------------------------------------------------------------ the rounds */

static double now_us(void)
{
    return (double)clock_ns() * 1e-3;
}

static struct workers_lap lap(const struct stopwatch *w)
{
    return w->workers ? workers_lap(w->workers) : (struct workers_lap){ 0 };
}

static void fail(struct track *t, int rc)
{
    t->lane->rc = rc;
    t->open = false;
}

static int one_call(const struct stopwatch *w, struct track *t, bool odd)
{
    const struct stopwatch_lane *l = t->lane;
    int rc = l->ready ? l->ready(l->ctx) : 0;
    if (rc)
        return rc;
    (void)lap(w);
    const double start = now_us();
    rc = l->once(l->ctx);
    const double us = now_us() - start;
    const struct workers_lap work = lap(w);
    struct call *c = &t->call[t->n];
    *c = (struct call){ .us = us, .odd = odd, .cpu_us = (double)work.cpu_ns * 1e-3,
                        .waited = (double)work.wait_ns * 1e-3 > WAITED * us,
                        .shared = work.n_job > 0 };
    t->crowd->n_shared += c->shared;
    t->crowd->n_waited += c->shared && c->waited;
    t->best_us = t->n && t->best_us < us ? t->best_us : us;
    t->n++;
    return rc;
}

static void turn(const struct stopwatch *w, struct track *t, bool odd)
{
    const double start = now_us();
    const uint32_t most = t->lane->n_turn, limit = most && most < TURN_MAX ? most : TURN_MAX;
    uint32_t n = 0;
    int rc;
    do {
        rc = one_call(w, t, odd);
        n++;
    } while (!rc && n < limit && t->n < STOPWATCH_CALLS && now_us() - start < TURN_US);
    t->real_us += now_us() - start;
    if (rc)
        fail(t, rc);
}

/* Spent is calls times the best, so that a busy moment does not eat the budget,
 * unless it is a long one. */
static bool is_spent(const struct stopwatch *w, const struct track *t, uint32_t i)
{
    const double spent = t->spent_us + t->best_us * (t->n - t->n_extra);
    if ((t->n >= MIN_CALLS && spent >= share[i] * w->budget_us) ||
        t->real_us >= DISTURBED * share[i] * w->budget_us)
        return true;
    return spent + t->best_us > w->budget_us &&
           t->n >= (LEAST * t->best_us > w->budget_us ? LEAST - 1 : LEAST);
}

/* After a lane's turn: whether it gets another one. */
static bool goes_on(const struct stopwatch *w, struct track *t, uint32_t i, uint32_t round)
{
    if (round < 1)
        return true;
    if (t->n == STOPWATCH_CALLS)
        return false;
    return !is_spent(w, t, i) || (t->extra_us < EXTRA * w->budget_us && *w->extra_us > 0 &&
                                  !settle(w, t, i));
}

static void run_count(const struct stopwatch *w, struct track *t, unsigned n, uint32_t i)
{
    bool any = true;
    double least = HUGE_VAL;
    for (uint32_t round = 0; any; round++) {
        any = false;
        for (unsigned k = 0; k < n; k++) {
            if (!t[k].open)
                continue;
            const bool extra = round > 1 && is_spent(w, &t[k], i);
            const double start = t[k].real_us;
            const uint32_t n_call = t[k].n;
            turn(w, &t[k], round % 2);
            t[k].extra_us += extra ? t[k].real_us - start : 0;
            t[k].n_extra += extra ? t[k].n - n_call : 0;
            least = t[k].best_us < least ? t[k].best_us : least;
            t[k].least_us = least;
            *w->extra_us -= extra ? t[k].real_us - start : 0;
            t[k].open = t[k].open && goes_on(w, &t[k], i, round);
            any = any || t[k].open;
        }
    }
}

/* ------------------------------------------------------------------- row counts */

/* A count is measured when what is left of the budget allows one call of it,
 * judged by the time per row of the count before; else it is given that. */
static bool guess(const struct stopwatch *w, const struct track *t, uint32_t i)
{
    struct stopwatch_time *time = t->lane->time;
    if (!i)
        return false;
    const double us = time[i - 1].us / w->n_tok[i - 1] * w->n_tok[i];
    if (us <= w->budget_us - t->spent_us)
        return false;
    time[i] = (struct stopwatch_time){ .us = us, .guessed = true, .unsure = time[i - 1].unsure };
    return true;
}

static void begin_count(const struct stopwatch *w, struct track *t, uint32_t i)
{
    t->n = t->n_extra = 0;
    t->open = !t->lane->rc && !guess(w, t, i);
    const int rc = t->open ? t->lane->set(t->lane->ctx, w->n_tok[i]) : 0;
    if (rc)
        fail(t, rc);
}

static void end_count(const struct stopwatch *w, struct track *t, uint32_t i)
{
    if (!t->n || t->lane->rc)
        return;
    (void)settle(w, t, i);
    t->use = best_use(w, t);
    t->spent_us += t->best_us * (t->n - t->n_extra);
}

/* Fewer rows never take longer: what says so was disturbed all the time. */
static void cap(const struct stopwatch *w, struct stopwatch_time *t)
{
    for (uint32_t i = w->n - 1; i-- > 0;) {
        if (t[i + 1].guessed || t[i].us <= ALIKE * t[i + 1].us)
            continue;
        t[i].us = t[i + 1].us;
        t[i].unsure = true;
    }
}

int stopwatch_run(const struct stopwatch *w, struct stopwatch_lane *lane, unsigned n_lane,
                  struct err *e)
{
    struct crowd crowd;
    struct track *t = calloc(n_lane, sizeof *t);
    if (!t)
        return err_set(e, ERR_NOMEM, "stopwatch: no memory for %u lanes", n_lane);
    for (unsigned k = 0; k < n_lane; k++) {
        t[k].lane = &lane[k];
        t[k].crowd = &crowd;
        lane[k].rc = 0;
    }
    for (uint32_t i = 0; i < w->n; i++) {
        crowd = (struct crowd){ 0 };
        for (unsigned k = 0; k < n_lane; k++)
            begin_count(w, &t[k], i);
        run_count(w, t, n_lane, i);
        for (unsigned k = 0; k < n_lane; k++)
            end_count(w, &t[k], i);
    }
    for (unsigned k = 0; k < n_lane; k++)
        if (!lane[k].rc)
            cap(w, lane[k].time);
    if (w->workers)
        workers_end_laps(w->workers);
    free(t);
    return 0;
}
