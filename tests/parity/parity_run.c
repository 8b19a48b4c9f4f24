/* parity_run.c - parity_run [options] REF.so CAND.so
 *
 * Runs every case on both plugins and compares bits. The first difference is
 * printed with everything needed to see it again, and the exit status is 1;
 * 2 means that a plugin could not be opened or a call failed, 77 that this
 * machine or the mask leaves CAND no such device.
 *
 *   --isa MASK       BNP_ISA bits that CAND may see, of those the machine has
 *   --device N       that device of CAND, instead of its first
 *   --fault NAME     host->option("fault") for CAND
 *   --expect OP      succeed only when there is a difference, the first in an op
 *                    whose name begins so
 *   --every N        one case of N only, for slow machines; a prime N meets all
 *                    widths, fills and formats
 *   --full           also the shapes of published models
 *   --family F       only linear, attn or point
 *   --progress       a line per family on stderr
 *
 * What a plugin offers below EXACT is held against its own error bound by the
 * host, not here; what it does not offer is counted and skipped. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/verify/cases.h"
#include "tools/verify/compare.h"

struct run {
    struct sut ref, cand;
    const char *fault, *expect, *family, *path[2];
    uint64_t isa;
    uint32_t device, every;
    bool full, progress;
    unsigned long n_seen, n_case, n_skipped, n_value;
    bool broken;                    /* a call failed */
    char differs[64];               /* the op of the first difference */
};

static bool compare(struct run *r, const char *what, const struct result *a, const struct result *b)
{
    for (unsigned i = 0; i < a->n; i++) {
        struct difference d;
        char line[256];
        r->n_value += (size_t)a->plane[i].rows * a->plane[i].cols;
        if (!compare_plane(a, b, i, &d))
            continue;
        compare_print(&d, line, sizeof line);
        printf("%s\n  %s: %s\n", what, r->cand.path, line);
        snprintf(r->differs, sizeof r->differs, "%s", d.op);
        r->broken = d.missing;
        return false;
    }
    return true;
}

/* rc of the reference and of the candidate, after both have run. */
static bool judge(struct run *r, const char *what, const int rc[2], const char *const failed[2],
                  struct result out[2])
{
    bool ok = true;
    r->n_case++;
    if (rc[0] || (rc[1] && rc[1] != BNP_E_UNSUPPORTED)) {
        const struct sut *s = rc[0] ? &r->ref : &r->cand;
        printf("%s\n  %s: %s: status %d: %s\n", what, s->path, failed[rc[0] ? 0 : 1],
               rc[0] ? rc[0] : rc[1], s->why);
        r->broken = true;
        ok = false;
    } else if (rc[1]) {
        r->n_skipped++;
    } else {
        ok = compare(r, what, &out[0], &out[1]);
    }
    result_free(&out[0]);
    result_free(&out[1]);
    return ok;
}

#define BOTH(family)                                                              \
    static bool on_##family(void *arg, const struct family##_case *c)             \
    {                                                                             \
        struct run *r = arg;                                                      \
        if (r->n_seen++ % r->every)                                               \
            return true;                                                          \
        struct result out[2] = { 0 };                                             \
        const char *failed[2] = { "", "" };                                       \
        const int rc[2] = { run_##family(&r->ref, c, &out[0], &failed[0]),        \
                            run_##family(&r->cand, c, &out[1], &failed[1]) };     \
        char what[256];                                                           \
        family##_case_print(c, what, sizeof what);                                \
        return judge(r, what, rc, failed, out);                                   \
    }
BOTH(linear)
BOTH(attn)
BOTH(point)

static bool family_wanted(struct run *r, const char *name)
{
    const bool yes = !r->family || !strcmp(r->family, name);
    if (yes && r->progress)
        fprintf(stderr, "%s...\n", name);
    return yes;
}

static bool run_all(struct run *r)
{
    return (!family_wanted(r, "point") || cases_point(r->full, on_point, r)) &&
           (!family_wanted(r, "attn") || cases_attn(r->full, on_attn, r)) &&
           (!family_wanted(r, "linear") || cases_linear(r->full, on_linear, r));
}

static bool arguments(struct run *r, int argc, char **argv)
{
    const char *isa = NULL, *device = NULL, *every = NULL;
    unsigned n = 0;
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        const char **to = !strcmp(a, "--fault") ? &r->fault : !strcmp(a, "--expect") ? &r->expect
                        : !strcmp(a, "--family") ? &r->family : !strcmp(a, "--isa") ? &isa
                        : !strcmp(a, "--device") ? &device : !strcmp(a, "--every") ? &every
                        : NULL;
        if (to && value) {
            *to = value;
            i++;
        } else if (!strcmp(a, "--full")) {
            r->full = true;
        } else if (!strcmp(a, "--progress")) {
            r->progress = true;
        } else if (a[0] != '-' && n < 2) {
            r->path[n++] = a;
        } else {
            return false;
        }
    }
    r->isa = isa ? strtoull(isa, NULL, 0) : UINT64_MAX;
    r->device = device ? (uint32_t)strtoul(device, NULL, 0) : 0;
    r->every = every ? (uint32_t)strtoul(every, NULL, 0) : 1;
    return n == 2 && r->every;
}

int main(int argc, char **argv)
{
    static struct run r;
    if (!arguments(&r, argc, argv)) {
        fprintf(stderr, "usage: parity_run [--isa MASK] [--device N] [--fault NAME] [--expect OP] "
                        "[--every N] [--full] [--family F] [--progress] REF.so CAND.so\n");
        return 2;
    }
    if (!sut_open(&r.ref, r.path[0], NULL))
        return 2;
    if (!sut_open_device(&r.cand, r.path[1], r.fault, r.isa, r.device))
        return r.cand.absent ? 77 : 2;
    const bool equal = run_all(&r);
    const bool ref_closed = sut_close(&r.ref), closed = sut_close(&r.cand) && ref_closed;
    printf("%lu cases, %lu values compared, %lu cases not offered: %s\n", r.n_case, r.n_value,
           r.n_skipped, r.broken ? "a call failed" : equal ? "all bits equal" : "different");
    if (r.broken || !closed)
        return 2;
    if (r.expect)
        return strncmp(r.expect, r.differs, strlen(r.expect)) != 0;
    return !equal;
}
