/* route_measure.c - what candidates take, from the file or from the stopwatch.
 *
 * A weight is measured in its own shape; one that is larger than any layer (a
 * head) on its first rows, and counted up: its rows cost alike. Its copies lie
 * in one piece of memory that is mapped once for all candidates, because new
 * pages cost more than the measuring. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/plug/cgroup.h"
#include "core/plug/probe.h"
#include "core/plug/route_parts.h"

#define MAX_WEIGHT   (UINT64_C(8) << 20)      /* canonical bytes measured      */
#define MAX_KV       256u                     /* tokens of a measured sequence */
#define BUDGET_US    50e3                     /* per candidate and description */
#define COLD_ALIGN   (UINT64_C(2) << 20)
#define COLD_DEFAULT (UINT64_C(64) << 20)     /* where no L3 is known          */
#define COLD_MAX     (UINT64_C(256) << 20)
#define COULD_WIN    2.0                      /* times the least cost          */
#define CPUINFO_MAX  ((size_t)16 << 20)

/* The reference wins only when it is clearly faster than all others, beyond
 * what a stopwatch on a busy machine gets wrong. */
#define REF_MARGIN 0.8

/* Of a waited call, at least this much is work. */
#define LEAST_WORK 0.1

static const uint32_t class_rows[ROUTE_N_CLASS] = { 1, 8, 64, 512 };
static const double class_share[ROUTE_N_CLASS] = { 1, 1, 2, 2 };

/* ------------------------------------------------------------ what is measured */

static uint32_t max_tok(enum route_family f, const union route_desc *d)
{
    return f == ROUTE_LINEAR ? d->linear.max_tok : f == ROUTE_ATTN ? d->attn.max_tok
                                                                  : d->point.max_tok;
}

uint32_t route_classes(enum route_family f, const union route_desc *d,
                       uint32_t n_tok[ROUTE_N_CLASS])
{
    uint32_t n = 0;
    while (n < ROUTE_N_CLASS && class_rows[n] <= max_tok(f, d)) {
        n_tok[n] = class_rows[n];
        n++;
    }
    return n;
}

static uint64_t last_caches(const struct route *r)
{
    return r->plug->topo.abi.l3_size * (r->plug->topo.abi.n_numa ? r->plug->topo.abi.n_numa : 1);
}

void route_release_cold(struct route *r)
{
    plug_mem_free(r->plug, r->cold.base);
    r->cold = (bnp_span){ 0 };
}

/* Four times the last caches: three for copies, one that is only read, and so
 * written once, for memory that nobody wrote is one page many times. Without
 * memory the calls of a candidate share one weight. */
static void get_cold(struct route *r)
{
    const uint64_t caches = last_caches(r), room = cgroup_memory("") / 8;
    if (r->cold.base)
        return;
    uint64_t size = caches ? caches > COLD_MAX ? COLD_MAX : 4 * caches : COLD_DEFAULT;
    size = size > COLD_MAX ? COLD_MAX : size;
    size = (size < room ? size : room) / COLD_ALIGN * COLD_ALIGN;
    void *base = size ? plug_mem_alloc(r->plug, size, COLD_ALIGN) : NULL;
    if (!base)
        return;
    r->cold = (bnp_span){ .base = base, .size = size };
    memset((char *)base + size / 4 * 3, 1, size / 4);
}

static struct probe_cold share_cold(const struct route *r, unsigned n)
{
    const uint64_t caches = last_caches(r), size = r->cold.size;
    const uint64_t part = size / 4 * 3 / n / COLD_ALIGN * COLD_ALIGN;
    return (struct probe_cold){ .mem = r->cold, .part = part, .end = size / 4,
                                .enough = caches && caches < size / 4 ? 2 * caches : size / 2 };
}

static uint64_t canonical_row(const bnp_weight_desc *d)
{
    return d->format == BNP_FMT_T2 ? ((uint64_t)d->cols + 3) / 4
         : d->format == BNP_FMT_F32 ? 4 * (uint64_t)d->cols
         : d->format == BNP_FMT_I8 ? d->cols : 2 * (uint64_t)d->cols;
}

/* A weight's first rows, where it is large: how many times more there are. */
static double cut(bnp_weight_desc *d)
{
    const uint64_t rows = MAX_WEIGHT / canonical_row(d), most = rows > 64 ? rows : 64;
    const double factor = d->rows > most ? (double)d->rows / (double)most : 1;
    d->name = "stopwatch";
    d->rows = d->rows > most ? (uint32_t)most : d->rows;
    return factor;
}

/* ----------------------------------------------------------------- what is kept */

/* The lines of the first processor that say what it is and what microcode it
 * runs; later ones repeat them. */
static void add_cpuinfo(struct buf *b)
{
    static const char *const wanted[] = { "microcode", "model name", "stepping", "CPU implementer",
                                          "CPU part", "CPU variant", "CPU revision" };
    char *text = NULL, *end;
    size_t n;
    if (file_read("/proc/cpuinfo", CPUINFO_MAX, &text, &n, NULL))
        return;
    for (char *line = text; *line && *line != '\n'; line = end + (*end == '\n')) {
        end = line + strcspn(line, "\n");
        for (unsigned i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
            if (!strncmp(line, wanted[i], strlen(wanted[i])))
                buf_add(b, line, (size_t)(end - line) + 1);
    }
    free(text);
}

bool route_key(struct route *r, const struct dev *d, uint32_t what, const void *desc, size_t n,
               uint8_t key[TIMINGS_KEY])
{
    const struct topo *t = &r->plug->topo;
    const struct note *note = &d->plugin->note;
    struct buf b = { 0 };
    if (!r->cpuinfo.n)
        add_cpuinfo(&r->cpuinfo);
    buf_addf(&b, "times of 2\n%s %s %s\n#%u %.64s\n%s\n%u %u %ju %ju\n", note->build, note->raw.id,
             note->raw.version, d->index, d->info.name, t->cpu_name, t->abi.n_workers,
             t->abi.n_numa, (uintmax_t)t->abi.isa, (uintmax_t)last_caches(r));
    if (t->abi.n_workers)
        buf_add(&b, t->worker_cpu, t->abi.n_workers * sizeof t->worker_cpu[0]);
    buf_add(&b, r->cpuinfo.p, r->cpuinfo.n);
    buf_addf(&b, "\n%u ", (unsigned)what);
    buf_add(&b, desc, n);
    const bool ok = !b.failed && !r->cpuinfo.failed;
    if (ok)
        crypto_generichash(key, TIMINGS_KEY, (const unsigned char *)b.p, b.n, NULL, 0);
    buf_free(&b);
    return ok;
}

static bool key_of(struct route *r, const struct route_question *q, const struct dev *d,
                   uint8_t key[TIMINGS_KEY])
{
    return r->timings && route_key(r, d, q->family, &q->d, sizeof q->d, key);
}

/* The file knows nothing of row counts: it could have come from anywhere. */
static bool is_whole(const struct route_question *q, const struct timings_value *v)
{
    uint32_t i = 0;
    while (i < q->n_class && v->us[i] > 0)
        i++;
    return i == q->n_class;
}

static bool find_old(struct route *r, const struct route_question *q, const struct dev *d,
                     struct timings_value *v)
{
    uint8_t key[TIMINGS_KEY];
    return key_of(r, q, d, key) && timings_find(r->timings, key, v) && is_whole(q, v);
}

void route_note_choice(struct route *r, const struct route_question *q)
{
    uint8_t key[TIMINGS_KEY];
    struct timings_value v;
    for (unsigned i = 0; i < q->n && !q->pin; i++) {
        const struct route_candidate *c = &q->candidate[i];
        if (!(c->cost > 0) || !key_of(r, q, c->dev, key) || !timings_find(r->timings, key, &v) ||
            v.chosen == (c == q->chosen))
            continue;
        v.chosen = c == q->chosen;
        timings_put(r->timings, key, &v);
    }
}

/* -------------------------------------------------------------------- the cost */

double route_cost(uint32_t n_class, const double us[ROUTE_N_CLASS])
{
    double cost = 0;
    for (uint32_t i = 0; i < n_class; i++)
        cost += class_share[i] * us[i] / class_rows[i];
    return cost;
}

double route_equal(const struct route_candidate *a, const struct route_candidate *b)
{
    const double doubt = 1 + (a->doubt > b->doubt ? a->doubt : b->doubt);
    return doubt < ROUTE_EQUAL ? ROUTE_EQUAL : doubt > ROUTE_EQUAL_MAX ? ROUTE_EQUAL_MAX : doubt;
}

/* A device with memory of its own was waited for in every call, as a step waits
 * only where something crosses, and that is in the crossing's price. */
static double cost(struct route *r, const struct route_question *q,
                   const struct route_candidate *c)
{
    const struct crossing *x = route_place(c->dev) ? route_cross(r, c->dev) : NULL;
    double us[ROUTE_N_CLASS];
    for (uint32_t i = 0; i < q->n_class; i++) {
        const double least = c->time[i].us * LEAST_WORK, busy = x ? c->time[i].us - x->wait_us : 0;
        us[i] = !x ? c->time[i].us : busy > least ? busy : least;
    }
    const double sum = route_cost(q->n_class, us);
    return route_is_ref(c->dev) ? sum / REF_MARGIN : sum;
}

static void take(struct route *r, const struct route_question *q, struct route_candidate *c,
                 const struct timings_value *v)
{
    for (uint32_t k = 0; k < q->n_class; k++)
        c->time[k] = (struct route_time){ .n_tok = class_rows[k], .us = (double)v->us[k],
                                          .guessed = v->guessed >> k & 1,
                                          .unsure = v->unsure >> k & 1 };
    c->weight_size = v->weight_size;
    c->cold = v->cold != 0;
    c->doubt = (double)v->doubt;
    c->cost = cost(r, q, c);
}

/* ------------------------------------------------------------------ side by side */

struct entrant {                  /* a candidate that has to be measured       */
    struct route_candidate *c;
    struct probe_bench bench;
    struct timings_value old, v;  /* of an earlier start; what is believed now */
    bool has_old, failed;
};

static int open_bench(const struct route_question *q, struct entrant *m, struct probe_cold *cold)
{
    if (q->family == ROUTE_POINT)
        return probe_bench_point(&m->bench, m->c->dev, &q->d.point);
    if (q->family == ROUTE_ATTN)
        return probe_bench_attn(&m->bench, m->c->dev, &q->d.attn,
                                q->d.attn.max_kv < MAX_KV ? q->d.attn.max_kv : MAX_KV);
    bnp_weight_desc d = q->d.linear;
    (void)cut(&d);
    return probe_bench_linear(&m->bench, m->c->dev, &d, class_rows[q->n_class - 1], cold);
}

static void cannot_measure(struct route *r, struct entrant *m)
{
    char why[256];
    snprintf(why, sizeof why, "could not be measured: %.190s", m->bench.e.text);
    m->c->fit = false;
    m->c->why = route_keep(r, why);
}

static int race(struct route *r, const struct route_question *q, struct entrant *m,
                struct stopwatch_lane *lane, unsigned n, struct err *e)
{
    struct stopwatch w = { .n = q->n_class, .budget_us = BUDGET_US, .extra_us = &r->extra_us,
                           .workers = r->plug->workers,
                           .n_worker = r->plug->topo.abi.n_workers };
    memcpy(w.n_tok, class_rows, sizeof class_rows);
    for (unsigned i = 0; i < n; i++) {
        const struct probe_bench *b = &m[i].bench;
        lane[i] = (struct stopwatch_lane){ .set = b->set, .ready = b->ready, .once = b->once,
                                           .ctx = b->ctx,
                                           .n_turn = b->n_copy > 1 ? b->n_copy : 0 };
    }
    return stopwatch_run(&w, lane, n, e);
}

static struct timings_value value_of(const struct route_question *q, const struct entrant *m,
                                     const struct stopwatch_time *t)
{
    bnp_weight_desc d = q->d.linear;
    const double factor = q->family == ROUTE_LINEAR ? cut(&d) : 1;
    struct timings_value v = { .cold = m->bench.cold,
                               .weight_size = (uint64_t)((double)m->bench.weight_size * factor) };
    double us[ROUTE_N_CLASS], gap[ROUTE_N_CLASS];
    for (uint32_t i = 0; i < q->n_class; i++) {
        us[i] = t[i].us;
        gap[i] = t[i].gap_us;
        v.us[i] = (float)(us[i] * factor);
        v.guessed |= (uint8_t)(t[i].guessed << i);
        v.unsure |= (uint8_t)(t[i].unsure << i);
    }
    const double doubt = route_cost(q->n_class, gap) / route_cost(q->n_class, us);
    v.doubt = doubt < 1 ? (float)doubt : 1;
    return v;
}

/* What an earlier start was not sure of: of two such times the lesser is nearer. */
static struct timings_value both(const struct timings_value *old, struct timings_value v,
                                 uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const unsigned bit = 1u << i;
        if ((v.unsure & bit) && !((old->guessed ^ v.guessed) & bit) && old->us[i] < v.us[i])
            v.us[i] = old->us[i];
    }
    return v;
}

static double cost_of(const struct route_question *q, const struct timings_value *v)
{
    double us[ROUTE_N_CLASS];
    for (uint32_t i = 0; i < q->n_class; i++)
        us[i] = (double)v->us[i];
    return route_cost(q->n_class, us);
}

static bool could_win(const struct route_question *q, const struct entrant *m, double least)
{
    return !m->failed && cost_of(q, &m->v) <= COULD_WIN * least;
}

/* Those that could win are sure together: times of a quiet start and of a busy
 * one say nothing about each other. On a machine that is never quiet the lesser
 * times of two starts have to do. */
static void doubt_together(const struct route_question *q, struct entrant *m, unsigned n)
{
    double least = 0;
    uint8_t unsure = 0;
    bool twice = true;
    for (unsigned i = 0; i < n; i++) {
        const double us = cost_of(q, &m[i].v);
        least = !m[i].failed && (!(least > 0) || us < least) ? us : least;
    }
    for (unsigned i = 0; i < n; i++)
        if (could_win(q, &m[i], least)) {
            unsure |= m[i].v.unsure;
            twice = twice && m[i].has_old;
        }
    for (unsigned i = 0; i < n; i++) {
        if (could_win(q, &m[i], least))
            m[i].v.unsure = twice ? 0 : unsure;
        else if (m[i].has_old)
            m[i].v.unsure = 0;
    }
}

static void believe(struct route *r, const struct route_question *q, struct entrant *m, unsigned n)
{
    uint8_t key[TIMINGS_KEY];
    doubt_together(q, m, n);
    for (unsigned i = 0; i < n; i++) {
        if (m[i].failed)
            continue;
        m[i].v.chosen = m[i].c->before;
        if (key_of(r, q, m[i].c->dev, key))
            timings_put(r->timings, key, &m[i].v);
        take(r, q, m[i].c, &m[i].v);
    }
}

/* Those that cannot be made ready leave the list. */
static unsigned open_benches(struct route *r, const struct route_question *q, struct entrant *m,
                             unsigned n, struct probe_cold *cold)
{
    for (unsigned i = 0; i < n;) {
        if (!open_bench(q, &m[i], cold)) {
            i++;
            continue;
        }
        cannot_measure(r, &m[i]);
        probe_bench_close(&m[i].bench);
        m[i] = m[--n];
    }
    return n;
}

/* Side by side; those that fail are not fit any more. */
static int measure(struct route *r, const struct route_question *q, struct entrant *m, unsigned n,
                   struct err *e)
{
    struct probe_cold cold = { 0 };
    struct stopwatch_lane *lane = calloc(n, sizeof *lane);
    if (!lane)
        return err_set(e, ERR_NOMEM, "route: no memory for %u candidates", n);
    if (q->family == ROUTE_LINEAR) {
        get_cold(r);
        cold = share_cold(r, n);
    }
    n = open_benches(r, q, m, n, &cold);
    const int rc = n ? race(r, q, m, lane, n, e) : 0;
    for (unsigned i = 0; i < n; i++) {
        m[i].failed = lane[i].rc != 0;
        if (m[i].failed)
            cannot_measure(r, &m[i]);
        else
            m[i].v = value_of(q, &m[i], lane[i].time);
        if (m[i].has_old && !m[i].failed)
            m[i].v = both(&m[i].old, m[i].v, q->n_class);
        probe_bench_close(&m[i].bench);
    }
    if (!rc)
        believe(r, q, m, n);
    free(lane);
    if (r->plug->topo.abi.n_numa > 1)         /* others would find them on other nodes */
        route_release_cold(r);
    return rc;
}

int route_measure(struct route *r, struct route_question *q, struct route_candidate *c,
                  struct err *e)
{
    struct entrant *m = calloc(q->n + 1, sizeof *m);
    unsigned n = 0;
    if (!m)
        return err_set(e, ERR_NOMEM, "route: no memory for %u candidates", q->n);
    for (unsigned i = 0; i < q->n; i++) {
        struct timings_value old = { 0 };
        if (!c[i].fit)
            continue;
        const bool has_old = find_old(r, q, c[i].dev, &old);
        c[i].before = has_old && old.chosen;
        c[i].kept = has_old && !old.unsure && !r->opts.measure_anew;
        if (c[i].kept)
            take(r, q, &c[i], &old);
        else
            m[n++] = (struct entrant){ .c = &c[i], .old = old,
                                       .has_old = has_old && !r->opts.measure_anew };
    }
    const int rc = n ? measure(r, q, m, n, e) : 0;
    free(m);
    return rc;
}
