/* route_measure.c - what a candidate takes, from the file or from the stopwatch.
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
#include "core/plug/route_parts.h"

#define MAX_WEIGHT   (UINT64_C(8) << 20)      /* canonical bytes measured      */
#define MAX_KV       256u                     /* tokens of a measured sequence */
#define BUDGET_US    50e3                     /* per candidate and description */
#define COLD_ALIGN   (UINT64_C(2) << 20)
#define COLD_DEFAULT (UINT64_C(64) << 20)     /* where no L3 is known          */
#define COLD_MAX     (UINT64_C(256) << 20)
#define CPUINFO_MAX  ((size_t)16 << 20)

/* The reference wins only when it is clearly faster than all others, beyond
 * what a stopwatch on a busy machine gets wrong. */
#define REF_MARGIN 0.8

/* Of a waited call, at least this much is work. */
#define LEAST_WORK 0.1

static const uint32_t class_rows[PROBE_N_CLASS] = { 1, 8, 64, 512 };
static const double class_share[PROBE_N_CLASS] = { 1, 1, 2, 2 };

/* ------------------------------------------------------------ what is measured */

static uint32_t max_tok(enum route_family f, const union route_desc *d)
{
    return f == ROUTE_LINEAR ? d->linear.max_tok : f == ROUTE_ATTN ? d->attn.max_tok
                                                                  : d->point.max_tok;
}

uint32_t route_classes(enum route_family f, const union route_desc *d,
                       uint32_t n_tok[PROBE_N_CLASS])
{
    uint32_t n = 0;
    while (n < PROBE_N_CLASS && class_rows[n] <= max_tok(f, d)) {
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

/* Four times the last caches: twice for the copies that take turns, so that
 * little of one is left when its turn comes again, and as much for those that
 * are written after them and push them out (probe.h). Without memory the calls
 * share one weight. */
static void get_cold(struct route *r)
{
    const uint64_t caches = last_caches(r), room = cgroup_memory("") / 8;
    if (r->cold.base)
        return;
    uint64_t size = caches ? caches > COLD_MAX ? COLD_MAX : 4 * caches : COLD_DEFAULT;
    size = size > COLD_MAX ? COLD_MAX : size;
    size = (size < room ? size : room) / COLD_ALIGN * COLD_ALIGN;
    void *base = size ? plug_mem_alloc(r->plug, size, COLD_ALIGN) : NULL;
    if (base)
        r->cold = (bnp_span){ .base = base, .size = size };
}

static uint64_t canonical_row(const bnp_weight_desc *d)
{
    return d->format == BNP_FMT_T2 ? ((uint64_t)d->cols + 3) / 4
         : d->format == BNP_FMT_F32 ? 4 * (uint64_t)d->cols
         : d->format == BNP_FMT_I8 ? d->cols : 2 * (uint64_t)d->cols;
}

static int time_linear(struct route *r, const struct route_question *q, struct route_candidate *c,
                       struct probe_clock *clock, double *factor, struct err *e)
{
    bnp_weight_desc d = q->d.linear;
    const uint64_t rows = MAX_WEIGHT / canonical_row(&d), cut = rows > 64 ? rows : 64;
    struct probe p = { .seed = 1, .fill = PROBE_RANDOM, .n_tok = clock->n_tok[clock->n - 1],
                       .clock = clock };
    d.name = "stopwatch";
    if (d.rows > cut) {
        *factor = (double)d.rows / (double)cut;
        d.rows = (uint32_t)cut;
    }
    get_cold(r);
    clock->cold = r->cold;
    const int rc = probe_linear(c->dev, &d, NULL, &p, NULL, e);
    if (r->plug->topo.abi.n_numa > 1)         /* the next candidate touches its own */
        route_release_cold(r);
    return rc;
}

/* The other families have no weights to share between row counts. */
static int time_rows(const struct route_question *q, struct route_candidate *c,
                     struct probe_clock *clock, struct err *e)
{
    struct buf out = { 0 };
    int rc = 0;
    for (uint32_t i = 0; i < clock->n && !rc; i++) {
        struct probe p = { .seed = 1, .fill = PROBE_RANDOM, .n_tok = clock->n_tok[i],
                           .clock = clock };
        const uint32_t kv = q->d.attn.max_kv < MAX_KV ? q->d.attn.max_kv : MAX_KV;
        if (probe_clock_guess(clock, i))
            continue;
        buf_clear(&out);
        rc = q->family == ROUTE_ATTN ? probe_attn(c->dev, &q->d.attn, kv, &p, &out, e)
                                     : probe_point(c->dev, &q->d.point, &p, &out, e);
    }
    buf_free(&out);
    return rc;
}

static int run_stopwatch(struct route *r, const struct route_question *q,
                         struct route_candidate *c, struct timings_value *v, struct err *e)
{
    struct probe_clock clock = { .n = q->n_class, .budget_us = BUDGET_US };
    double factor = 1;
    for (uint32_t i = 0; i < clock.n; i++)
        clock.n_tok[i] = class_rows[i];
    const int rc = q->family == ROUTE_LINEAR ? time_linear(r, q, c, &clock, &factor, e)
                                             : time_rows(q, c, &clock, e);
    *v = (struct timings_value){ 0 };
    for (uint32_t i = 0; i < clock.n; i++) {
        v->us[i] = (float)(clock.us[i] * factor);
        v->guessed |= (uint32_t)clock.guessed[i] << i;
    }
    v->weight_size = (uint64_t)((double)clock.weight_size * factor);
    v->cold = clock.n_copy > 1 && clock.weight_size * clock.n_copy > last_caches(r);
    return rc;
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

bool route_key(const struct route *r, const struct dev *d, uint32_t what, const void *desc, size_t n,
               uint8_t key[TIMINGS_KEY])
{
    const struct topo *t = &r->plug->topo;
    const struct note *note = &d->plugin->note;
    struct buf b = { 0 };
    buf_addf(&b, "times of 1\n%s %s %s\n#%u %.64s\n%s\n%u %u %ju %ju\n", note->build, note->raw.id,
             note->raw.version, d->index, d->info.name, t->cpu_name, t->abi.n_workers,
             t->abi.n_numa, (uintmax_t)t->abi.isa, (uintmax_t)last_caches(r));
    if (t->abi.n_workers)
        buf_add(&b, t->worker_cpu, t->abi.n_workers * sizeof t->worker_cpu[0]);
    add_cpuinfo(&b);
    buf_addf(&b, "\n%u ", (unsigned)what);
    buf_add(&b, desc, n);
    if (!b.failed)
        crypto_generichash(key, TIMINGS_KEY, (const unsigned char *)b.p, b.n, NULL, 0);
    const bool ok = !b.failed;
    buf_free(&b);
    return ok;
}

/* The file knows nothing of row counts: it could have come from anywhere. */
static bool is_whole(const struct route_question *q, const struct timings_value *v)
{
    uint32_t i = 0;
    while (i < q->n_class && v->us[i] > 0)
        i++;
    return i == q->n_class;
}

static int time_one(struct route *r, const struct route_question *q, struct route_candidate *c,
                    struct timings_value *v, struct err *e)
{
    uint8_t key[TIMINGS_KEY];
    const bool keeps = r->timings && route_key(r, c->dev, q->family, &q->d, sizeof q->d, key);
    c->kept = keeps && !r->opts.measure_anew && timings_find(r->timings, key, v) &&
              is_whole(q, v);
    if (c->kept)
        return 0;
    const int rc = run_stopwatch(r, q, c, v, e);
    if (!rc && keeps)
        timings_put(r->timings, key, v);
    return rc;
}

/* -------------------------------------------------------------------- the cost */

double route_cost(uint32_t n_class, const double us[PROBE_N_CLASS])
{
    double cost = 0;
    for (uint32_t i = 0; i < n_class; i++)
        cost += class_share[i] * us[i] / class_rows[i];
    return cost;
}

/* A device with memory of its own was waited for in every call, as a step waits
 * only where something crosses, and that is in the crossing's price. */
static double cost(struct route *r, const struct route_question *q,
                   const struct route_candidate *c)
{
    const struct crossing *x = route_place(c->dev) ? route_cross(r, c->dev) : NULL;
    double us[PROBE_N_CLASS];
    for (uint32_t i = 0; i < q->n_class; i++) {
        const double least = c->time[i].us * LEAST_WORK, busy = x ? c->time[i].us - x->wait_us : 0;
        us[i] = !x ? c->time[i].us : busy > least ? busy : least;
    }
    const double sum = route_cost(q->n_class, us);
    return route_is_ref(c->dev) ? sum / REF_MARGIN : sum;
}

void route_measure(struct route *r, struct route_question *q, struct route_candidate *c)
{
    for (unsigned i = 0; i < q->n; i++) {
        struct timings_value v;
        struct err e = { 0 };
        char why[256];
        if (!c[i].fit)
            continue;
        if (time_one(r, q, &c[i], &v, &e)) {
            c[i].fit = false;
            snprintf(why, sizeof why, "could not be measured: %.190s", e.text);
            c[i].why = route_keep(r, why);
            continue;
        }
        for (uint32_t k = 0; k < q->n_class; k++)
            c[i].time[k] = (struct route_time){ .n_tok = class_rows[k], .us = (double)v.us[k],
                                                .guessed = v.guessed >> k & 1 };
        c[i].weight_size = v.weight_size;
        c[i].cold = v.cold != 0;
        c[i].cost = cost(r, q, &c[i]);
    }
}
