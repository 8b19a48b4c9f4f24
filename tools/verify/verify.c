/* verify.c - see verify.h.
 *
 * Every case goes on after a difference, because the next op's may be another
 * one; each op's first is a line, the others are counted. */
#include "tools/verify/verify.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/plug/isa.h"
#include "tools/verify/cases.h"
#include "tools/verify/compare.h"

#define MAX_OP 40
#define REPEAT 5                /* runs of a case that is timed; the best counts */

static const char *const family_name[3] = { "linear", "attn", "point" };

/* What the ops of the cases are called, for --filter. */
static const struct { const char *op; unsigned family; } op_family[] = {
    { "mul", 0 }, { "gather", 0 }, { "topk", 0 }, { "attend", 1 }, { "rmsnorm", 2 }, { "rope", 2 },
    { "glu", 2 }, { "pick", 2 }, { "add", 2 },
};

struct op_count {
    char op[64];
    unsigned long n;            /* cases in which it was wrong               */
};

struct run {
    const struct verify_opts *o;
    struct verify_shared *s;
    struct sut ref, cand;
    char head[256];             /* of every finding: file, device, mask      */
    const char *only_op;        /* of the filter, or NULL                    */
    int only_family;            /* -1: all                                   */
    const char *part;           /* of a case's line, or NULL                 */
    struct op_count op[MAX_OP];
    unsigned n_op;
};

static void read_filter(struct run *r)
{
    const char *f = r->o->filter;
    r->only_family = -1;
    for (int i = 0; f && i < 3; i++)
        if (!strcmp(f, family_name[i])) {
            r->only_family = i;
            return;
        }
    for (size_t i = 0; f && i < sizeof op_family / sizeof op_family[0]; i++)
        if (!strncmp(f, op_family[i].op, strlen(op_family[i].op))) {
            r->only_family = (int)op_family[i].family;
            r->only_op = f;
            return;
        }
    r->part = f;
}

/* The first finding of an op is a line, the others are counted. */
static void find(struct run *r, const char *op, const char *what, const char *line)
{
    unsigned i = 0;
    r->s->n_finding++;
    while (i < r->n_op && strcmp(r->op[i].op, op))
        i++;
    if (i == r->n_op && r->n_op < MAX_OP)
        snprintf(r->op[r->n_op++].op, sizeof r->op[0].op, "%s", op);
    if (i < MAX_OP && r->op[i].n++)
        return;
    printf("%s: %s: %s\n", r->head, line, what);
    fflush(stdout);
}

static void compare(struct run *r, const char *what, const struct result *want,
                    const struct result *got)
{
    for (unsigned i = 0; i < want->n; i++) {
        struct difference d;
        char line[256];
        if (r->only_op && strncmp(want->plane[i].op, r->only_op, strlen(r->only_op)))
            continue;
        r->s->n_value += (unsigned long)want->plane[i].rows * want->plane[i].cols;
        if (!compare_plane(want, got, i, &d))
            continue;
        compare_print(&d, line, sizeof line);
        find(r, d.op, what, line);
    }
}

/* "mul 12.3 us, reference 151 us (12.3x)" for every op of a case. */
static void print_times(const struct result *want, const struct result *got)
{
    for (unsigned i = 0; i < got->n; i++) {
        const double us = got->plane[i].us, ref = i < want->n ? want->plane[i].us : 0;
        if (us > 0)
            printf("; %s %.1f us, reference %.1f us (%.1fx)", got->plane[i].op, us, ref, ref / us);
    }
}

struct pair {                   /* one case, as a call on either plugin      */
    int (*call)(struct sut *, const void *, struct result *, const char **failed);
    const void *c;
};

static int call_linear(struct sut *s, const void *c, struct result *out, const char **failed)
{
    return run_linear(s, c, out, failed);
}

static int call_attn(struct sut *s, const void *c, struct result *out, const char **failed)
{
    return run_attn(s, c, out, failed);
}

static int call_point(struct sut *s, const void *c, struct result *out, const char **failed)
{
    return run_point(s, c, out, failed);
}

/* Leaves in out the best time that each op had in some more runs. */
static void best_times(struct sut *s, const struct pair *p, struct result *out)
{
    for (unsigned k = 1; k < REPEAT; k++) {
        struct result again = { 0 };
        const char *failed = "";
        if (!p->call(s, p->c, &again, &failed))
            for (unsigned i = 0; i < out->n && i < again.n; i++)
                if (again.plane[i].us < out->plane[i].us)
                    out->plane[i].us = again.plane[i].us;
        result_free(&again);
    }
}

static void judge_failure(struct run *r, const char *what, const char *failed, int rc)
{
    char line[400];
    snprintf(line, sizeof line, "%s: status %d: %.255s", failed, rc,
             r->cand.why[0] ? r->cand.why : "no reason was reported");
    find(r, failed, what, line);
}

static void try_case(struct run *r, const struct pair *p, const char *what)
{
    struct result want = { 0 }, got = { 0 };
    const char *failed[2] = { "", "" };
    const unsigned long scribbled = sut_scribbled(), found = r->s->n_finding;
    snprintf(r->s->doing, sizeof r->s->doing, "%s", what);
    alarm(r->o->limit_s);
    r->s->n_case++;
    r->cand.why[0] = 0;
    const int ref = p->call(&r->ref, p->c, &want, &failed[0]);
    const int rc = ref ? 0 : p->call(&r->cand, p->c, &got, &failed[1]);
    if (ref)
        find(r, failed[0], what, "the reference itself failed");
    else if (rc == BNP_E_UNSUPPORTED)
        r->s->n_skipped++;
    else if (rc)
        judge_failure(r, what, failed[1], rc);
    else
        compare(r, what, &want, &got);
    if (sut_scribbled() != scribbled)
        find(r, "scribble", what, "bytes behind the end of a span were written");
    if (r->o->bench && !ref && !rc) {
        best_times(&r->ref, p, &want);
        best_times(&r->cand, p, &got);
    }
    if (r->o->verbose || r->o->bench) {
        printf("%s: %s: %s", r->head, what,
               rc == BNP_E_UNSUPPORTED ? "not offered" : r->s->n_finding == found ? "equal" : "WRONG");
        if (r->o->bench && !ref && !rc)
            print_times(&want, &got);
        printf("\n");
    }
    result_free(&want);
    result_free(&got);
}

static bool wanted(const struct run *r, const char *what)
{
    return !r->part || strstr(what, r->part);
}

static bool on_linear(void *arg, const struct linear_case *c)
{
    struct run *r = arg;
    struct linear_case mine = *c;
    const struct pair p = { call_linear, &mine };
    char what[256];
    mine.seed += r->o->seed;
    mine.w.seed += r->o->seed;
    linear_case_print(&mine, what, sizeof what);
    if (wanted(r, what))
        try_case(r, &p, what);
    return true;
}

static bool on_attn(void *arg, const struct attn_case *c)
{
    struct run *r = arg;
    struct attn_case mine = *c;
    const struct pair p = { call_attn, &mine };
    char what[256];
    mine.seed += r->o->seed;
    attn_case_print(&mine, what, sizeof what);
    if (wanted(r, what))
        try_case(r, &p, what);
    return true;
}

static bool on_point(void *arg, const struct point_case *c)
{
    struct run *r = arg;
    struct point_case mine = *c;
    const struct pair p = { call_point, &mine };
    char what[256];
    mine.seed += r->o->seed;
    point_case_print(&mine, what, sizeof what);
    if (wanted(r, what))
        try_case(r, &p, what);
    return true;
}

static void count_the_others(const struct run *r)
{
    for (unsigned i = 0; i < r->n_op; i++)
        if (r->op[i].n > 1)
            printf("%s: %s: the same in %lu more cases\n", r->head, r->op[i].op, r->op[i].n - 1);
}

static bool no_open(struct verify_shared *s, const struct sut *sut)
{
    snprintf(s->why, sizeof s->why, "%.255s", sut->why);
    return false;
}

static bool open_both(struct run *r)
{
    const struct verify_opts *o = r->o;
    const struct sut_conf ref = { .isa = UINT64_MAX };
    const struct sut_conf cand = { .option = o->option, .n_option = o->n_option, .isa = o->isa,
                                   .device = o->device };
    snprintf(r->s->doing, sizeof r->s->doing, "opening the reference");
    if (!sut_open_as(&r->ref, o->ref, &ref)) {
        snprintf(r->s->why, sizeof r->s->why, "the reference %.100s: %.200s", o->ref, r->ref.why);
        return false;
    }
    snprintf(r->s->doing, sizeof r->s->doing, "opening device %u", o->device);
    return sut_open_as(&r->cand, o->plugin, &cand) || no_open(r->s, &r->cand);
}

bool verify_device(const struct verify_opts *o, struct verify_shared *s)
{
    static struct run r;
    char isa[96];
    r = (struct run){ .o = o, .s = s };
    read_filter(&r);
    if (!open_both(&r))
        return false;
    const char *file = strrchr(o->plugin, '/');
    isa_format(r.cand.topo.isa, isa, sizeof isa);
    snprintf(r.head, sizeof r.head, "%s: device %u (%.64s), isa %s", file ? file + 1 : o->plugin,
             o->device, s->name[o->device % VERIFY_MAX_DEV], isa);
    if (r.only_family < 0 || r.only_family == 2)
        (void)cases_point(o->full, on_point, &r);
    if (r.only_family < 0 || r.only_family == 1)
        (void)cases_attn(o->full, on_attn, &r);
    if (r.only_family < 0 || r.only_family == 0)
        (void)cases_linear(o->full, on_linear, &r);
    snprintf(s->doing, sizeof s->doing, "closing");
    (void)sut_close(&r.ref);
    if (!sut_close(&r.cand) && r.cand.n_live)
        find(&r, "close", "after the last case", "memory of the host was not released");
    count_the_others(&r);
    alarm(0);
    return true;
}

bool verify_list(const struct verify_opts *o, struct verify_shared *s)
{
    static struct sut sut;
    const struct sut_conf conf = { .option = o->option, .n_option = o->n_option, .isa = o->isa,
                                   .device = SUT_NO_DEVICE };
    uint32_t n = 0;
    snprintf(s->doing, sizeof s->doing, "loading");
    alarm(o->limit_s);
    if (!sut_open_as(&sut, o->plugin, &conf))
        return no_open(s, &sut);
    snprintf(s->doing, sizeof s->doing, "device_count");
    int rc = sut.p->device_count(&sut.host, &n);
    for (uint32_t i = 0; !rc && i < n && i < VERIFY_MAX_DEV; i++) {
        bnp_device *d = NULL;
        bnp_device_info info = { .struct_size = sizeof info };
        snprintf(s->doing, sizeof s->doing, "opening device %u", i);
        rc = sut.p->device_open(&sut.host, i, &d);
        if (!rc)
            rc = sut.p->device_info(d, &info);
        if (d)
            sut.p->device_close(d);
        snprintf(s->name[i], sizeof s->name[i], "%.63s", info.name);
    }
    s->n_dev = n < VERIFY_MAX_DEV ? n : VERIFY_MAX_DEV;
    if (rc)
        snprintf(s->why, sizeof s->why, "%.64s: status %d: %.200s", s->doing, rc,
                 sut.why[0] ? sut.why : "no reason was reported");
    alarm(0);
    return !rc;
}
