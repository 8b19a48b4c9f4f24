/* accuracy.c - accuracy REF.so: every op of scalar-ref against the formula
 * evaluated in double precision.
 *
 * With u = 2^-24 (half an ulp of 1), T = 2^-149 (the smallest float) and g(k)
 * = k u / (1 - k u) for a chain of k roundings, the bounds below follow from
 * the formulas alone. They are docs/numerics.md's. The largest error / bound
 * of each op is printed; above 1 the test fails, and so it does below 0.01,
 * where the bound would not test anything.
 *
 * Evaluated here: double, its own rounding 2^-29 of a float's. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/f16.h"
#include "tools/verify/cases.h"

#define U 0x1p-24
#define TINY 0x1p-149
#define MAX_WIDTH 16384

static double g(double k)
{
    return k * U / (1 - k * U);
}

struct tally {
    const char *op;
    double worst;                   /* error / bound */
    unsigned long n;
};

struct accuracy {
    struct sut s;
    struct tally tally[24];
    unsigned long n_wrong;
};

/* y against want +- bound. A want beyond the floats allows Inf. */
static void judge(struct accuracy *a, const char *op, const char *what, size_t i, uint32_t bits,
                  double want, double bound)
{
    struct tally *t = a->tally;
    while (t->op && strcmp(t->op, op))
        t++;
    t->op = op;
    t->n++;
    const double y = (double)f32_from_bits(bits);
    const double error = fabs(y - want);
    if (fabs(want) + bound > (double)FLT_MAX && (isinf(y) || error <= bound))
        return;
    if (bound > 0 && error / bound > t->worst)
        t->worst = error / bound;
    if (error <= bound)
        return;
    if (a->n_wrong++ < 10)
        printf("%s\n  %s: element %zu is %.9g, expected %.17g +- %.3g\n", what, op, i, y, want,
               bound);
}

static const struct plane *plane_of(const struct result *r, const char *op)
{
    for (unsigned i = 0; i < r->n; i++) {
        if (!strcmp(r->plane[i].op, op))
            return &r->plane[i];
    }
    return NULL;
}

/* ------------------------------------------------------------------ linear */

struct sum { double y, abs, acc; }; /* the sum, the sum of magnitudes, of those without scales */

/* sum of w * x, scales included, exact to a double. */
static struct sum dot(const struct linear_case *c, uint32_t row, const double *x)
{
    struct sum s = { 0, 0, 0 };
    for (uint32_t i = 0; i < c->w.desc.cols; i++) {
        double scale = 1;
        if (c->w.desc.scale_kind != BNP_SCALE_NONE)
            scale = (double)gen_scale(&c->w, gen_scale_index(&c->w, row, i));
        const double p = gen_element(&c->w, row, i) * scale * x[i];
        s.y += p;
        s.abs += fabs(p);
        s.acc += fabs(gen_element(&c->w, row, i) * x[i]);
    }
    return s;
}

/* Ternary: x becomes q / s; what is compared is the product with q / s as they
 * are in real numbers (127 / m has one rounding, which the bound contains).
 *   one scale     roundings of s, scale / s, acc and the product; T / 2 lost
 *                 in scale / s comes back times acc:
 *                 g(4) |y| + (|acc| + 1) T
 *   block scales  one of acc and one fma per block, 1 / s, the product, s; what
 *                 T loses in a block comes back times 1 / s:
 *                 g(blocks + 4) sum |acc d| / s + (blocks + 4) (1 + 1 / s) T
 * Dense: one rounding of w where it has a scale (there T / 2 comes back times
 * x), one fma per column:
 *   g(cols + 1) sum |w x| + (cols + 1 + sum |x|) T */
static double ternary_bound(const struct linear_case *c, const struct sum *s, double step)
{
    const bnp_weight_desc *d = &c->w.desc;
    if (d->scale_kind != BNP_SCALE_BLOCK)
        return g(4) * fabs(s->y) + (s->acc + 1) * TINY;
    const double blocks = (d->cols - 1) / d->block_cols + 1;
    return g(blocks + 4) * s->abs + (blocks + 4) * (1 + step) * TINY;
}

static double dense_bound(const struct linear_case *c, const struct sum *s, const double *x)
{
    double abs = 0;
    for (uint32_t i = 0; i < c->w.desc.cols; i++)
        abs += fabs(x[i]);
    return g(c->w.desc.cols + 1.0) * s->abs + (c->w.desc.cols + 1.0 + abs) * TINY;
}

/* m as the formula has it; it needs no rounding. */
static double absmax(const float *x, uint32_t n)
{
    double m = (double)1e-5f;
    for (uint32_t i = 0; i < n; i++)
        m = fmax(m, fabs((double)x[i]));
    return m;
}

/* x quantized in binary32 by libm's rint: integers, so that their sums are
 * exact here too, and the real number that one of them stands for. q step is x
 * but for half a step, and g(2) of 127 steps for two roundings. */
static bool quantized(const float *x, uint32_t n, double *q, double *step)
{
    const double m = absmax(x, n);
    const float s = 127.0f / (float)m;
    *step = m / 127;
    for (uint32_t i = 0; i < n; i++) {
        q[i] = (double)rintf(x[i] * s);
        if (fabs(q[i] * *step - (double)x[i]) > (0.5 + 127 * g(2)) * *step)
            return false;
    }
    return true;
}

static void judge_linear(struct accuracy *a, const struct linear_case *c, const char *what,
                         const struct result *r)
{
    static float x[MAX_WIDTH];
    static double xd[MAX_WIDTH];
    const bnp_weight_desc *d = &c->w.desc;
    const bool ternary = d->format == BNP_FMT_T2;
    const char *op = ternary ? d->scale_kind == BNP_SCALE_BLOCK ? "mul ternary, block scales"
                                                                : "mul ternary" : "mul dense";
    const struct plane *y = plane_of(r, "mul"), *added = plane_of(r, "mul with BNP_ADD");
    for (uint32_t t = 0; t < c->n_tok; t++) {
        linear_input(c, t, x);
        double step = 1;
        if (ternary && !quantized(x, d->cols, xd, &step)) {
            printf("%s\n  row %u quantizes to further than half a step\n", what, t);
            a->n_wrong++;
        }
        for (uint32_t i = 0; i < d->cols && !ternary; i++)
            xd[i] = (double)x[i];
        for (uint32_t j = 0; j < d->rows; j++) {
            const size_t at = (size_t)t * d->rows + j;
            struct sum s = dot(c, j, xd);
            s.y *= step;
            s.abs *= step;
            const double bound = ternary ? ternary_bound(c, &s, step) : dense_bound(c, &s, xd);
            const double old = (double)linear_old(c, t, j);
            judge(a, op, what, at, y->bits[at], s.y, bound);
            judge(a, "mul with BNP_ADD", what, at, added->bits[at], old + s.y,
                  bound * (1 + U) + U * fabs(old + s.y));
        }
    }
}

/* One rounding, where there is a scale. */
static void judge_gather(struct accuracy *a, const struct linear_case *c, const char *what,
                         const struct plane *y)
{
    for (uint32_t t = 0; t < c->n_tok; t++) {
        const uint32_t row = (uint32_t)sut_step_id(c->seed, t, c->w.desc.rows);
        for (uint32_t i = 0; i < y->cols; i++) {
            double want = gen_element(&c->w, row, i);
            if (c->w.desc.scale_kind != BNP_SCALE_NONE)
                want *= (double)gen_scale(&c->w, gen_scale_index(&c->w, row, i));
            const size_t at = (size_t)t * y->cols + i;
            judge(a, "gather", what, at, y->bits[at], want, U * fabs(want) + TINY / 2);
        }
    }
}

/* Not arithmetic: the k largest of mul's own results, ties to the smaller id. */
static void judge_topk(struct accuracy *a, const char *what, const struct result *r)
{
    const struct plane *id = plane_of(r, "topk ids"), *v = plane_of(r, "topk logits");
    const struct plane *y = plane_of(r, "mul");
    for (uint32_t t = 0; t < y->rows; t++) {
        const uint32_t *row = y->bits + (size_t)t * y->cols;
        for (uint32_t i = 0; i < id->cols; i++) {
            const uint32_t mine = id->bits[t * id->cols + i];
            uint32_t rank = 0;
            const float f = mine < y->cols ? f32_from_bits(row[mine]) : NAN;
            for (uint32_t j = 0; j < y->cols; j++) {
                const float other = f32_from_bits(row[j]);
                rank += other > f || (other == f && j < mine);
            }
            if (mine < y->cols && rank == i && row[mine] == v->bits[t * id->cols + i])
                continue;
            a->n_wrong++;
            printf("%s\n  topk row %u: number %u is id %u, which has rank %u\n", what, t, i, mine,
                   rank);
        }
    }
}

static bool on_linear(void *arg, const struct linear_case *c)
{
    struct accuracy *a = arg;
    struct result r = { 0 };
    const char *failed = "";
    char what[256];
    linear_case_print(c, what, sizeof what);
    if (run_linear(&a->s, c, &r, &failed)) {
        printf("%s\n  %s: %s\n", what, failed, a->s.why);
        a->n_wrong++;
        return false;
    }
    judge_linear(a, c, what, &r);
    if (c->w.desc.flags & BNP_W_GATHER)
        judge_gather(a, c, what, plane_of(&r, "gather"));
    if (c->w.desc.flags & BNP_W_TOPK)
        judge_topk(a, what, &r);
    result_free(&r);
    return true;
}

/* --------------------------------------------------------------- attention */

/* With S = the largest sum |q k scale| over the visible keys and d = head_dim:
 * a score is off by at most g(d + 1) S, with int8 by g(5) S: the sum is exact
 * there, and rounded are it, q's step, and three products. What is subtracted
 * from it is the same for every key, so only the roundings of the differences
 * count, 2 of at most u 88 (further down exp32 gives 0, off by less than
 * 2^-125), and 2 u of each exp32. So a weight e carries a factor within 1 +- E,
 *   E = exp(g(d + 1) S + 180 u) - 1
 * as does their sum L. Then o_c rounds once per key of a chunk, L at most 2 + 6
 * times, both once per chunk, and 1 / L and the product follow:
 *   bound = (2 E + g(min(keys, 128) + chunks + 2) + g(8 + chunks)) A
 *           + keys 2^-125 max |v|
 * A being the true mean of |v|. With int8 o_c rounds its sum, its step and their
 * product, g(4) with that of a weight, instead of once per key; and a weight of
 * chunk c is off by half of the step that makes 32767 of the largest, W_c, and
 * g(3) W_c. B being the mean of W_c |v| over the chunks:
 *   bound = (2 E + g(chunks + 6) + g(8 + chunks)) A
 *           + (1 + 2 E) (1 / 65534 + g(3)) B + keys 2^-125 max |v|
 * k and v are compared as the f16 or int8 values that they become, for int8 q as
 * well: it is the ternary row's rule with 32767 for 127. */
struct seen {                   /* by one head of one row                    */
    uint32_t n_keys;
    double s, mean, max, coarse;        /* S, A, max |v|, B                  */
};

static double attn_bound(const bnp_attn_desc *d, const struct seen *seen)
{
    const bool i8 = d->kv_format == BNP_KV_I8;
    const double e = exp(g(i8 ? 5 : d->head_dim + 1.0) * seen->s + 180 * U) - 1;
    const double chunks = seen->n_keys / BNP_ATTN_CHUNK + 2;
    const double keys = seen->n_keys < BNP_ATTN_CHUNK ? seen->n_keys : BNP_ATTN_CHUNK;
    return (2 * e + g((i8 ? 4 : keys) + chunks + 2) + g(8 + chunks)) * seen->mean +
           (1 + 2 * e) * (1 / 65534.0 + g(3)) * seen->coarse +
           seen->n_keys * 0x1p-125 * seen->max + TINY;
}

/* What n values of a head become as whole numbers of at most `most`, times their
 * step. */
static float whole(const float *x, uint32_t n, float most, double *out)
{
    float m = BNP_KV_I8_MIN;
    for (uint32_t i = 0; i < n; i++)
        m = fmaxf(m, fabsf(x[i]));
    for (uint32_t i = 0; i < n; i++)
        out[i] = (double)rintf(x[i] * (most / m));
    return m;
}

/* What a k or v row is once it is stored, and the steps of its heads. */
static void stored(const bnp_attn_desc *d, const float *x, double *out, double *step)
{
    const uint32_t dim = d->head_dim;
    for (uint32_t h = 0; h < d->n_head_kv; h++) {
        double *at = out + h * dim;
        step[h] = 1;
        if (d->kv_format == BNP_KV_I8)
            step[h] = (double)(whole(x + h * dim, dim, 127, at) / 127.0f);
        for (uint32_t i = 0; i < dim; i++)
            at[i] = d->kv_format == BNP_KV_I8 ? at[i] * step[h]
                                              : (double)f16_to_f32(f16_from_f32(x[h * dim + i]));
    }
}

/* q as it takes part; false: that is further than half a step off. */
static bool asked(const bnp_attn_desc *d, const float *x, double *out)
{
    if (d->kv_format != BNP_KV_I8) {
        for (uint32_t i = 0; i < d->head_dim; i++)
            out[i] = (double)x[i];
        return true;
    }
    const double step = (double)whole(x, d->head_dim, 32767, out) / 32767;
    bool near = true;
    for (uint32_t i = 0; i < d->head_dim; i++) {
        out[i] *= step;
        near = near && fabs(out[i] - (double)x[i]) <= (0.5 + 32767 * g(2)) * step;
    }
    return near;
}

struct history {                /* of a row, as stored                       */
    double k[512][1024], v[512][1024], vstep[512][128];
};

/* One head of a row: weights of its n keys, from position `from` on, against
 * out. */
static void judge_head(struct accuracy *a, const struct attn_case *c, const char *what,
                       const struct history *y, uint32_t h, const double *q, uint32_t from,
                       uint32_t n, const uint32_t *bits)
{
    const bnp_attn_desc *d = &c->desc;
    const bool i8 = d->kv_format == BNP_KV_I8;
    const uint32_t kv = h / (d->n_head / d->n_head_kv), at = kv * d->head_dim;
    struct seen seen = { .n_keys = n };
    double weight[512], most[512 / BNP_ATTN_CHUNK + 2] = { 0 }, max = -INFINITY, sum = 0;
    const uint32_t first = from / BNP_ATTN_CHUNK;
    for (uint32_t j = 0; j < n; j++) {
        double abs = 0;
        weight[j] = 0;
        for (uint32_t i = 0; i < d->head_dim; i++) {
            const double p = q[i] * y->k[j][at + i] * (double)d->scale;
            weight[j] += p;
            abs += fabs(p);
        }
        max = fmax(max, weight[j]);
        seen.s = fmax(seen.s, abs);
    }
    for (uint32_t j = 0; j < n; j++) {
        double *w = &most[(from + j) / BNP_ATTN_CHUNK - first];
        sum += weight[j] = exp(weight[j] - max);
        *w = fmax(*w, weight[j] * y->vstep[j][kv]);
    }
    for (uint32_t i = 0; i < d->head_dim; i++) {
        double o = 0, abs = 0, coarse = 0;
        seen.max = 0;
        for (uint32_t j = 0; j < n; j++) {
            const double v = fabs(y->v[j][at + i]);
            o += weight[j] * y->v[j][at + i];
            abs += weight[j] * v;
            seen.max = fmax(seen.max, v);
            coarse += most[(from + j) / BNP_ATTN_CHUNK - first] * v / y->vstep[j][kv];
        }
        seen.mean = abs / sum;
        seen.coarse = i8 ? coarse / sum : 0;
        judge(a, i8 ? "attend, int8" : "attend", what, h * d->head_dim + i, bits[i], o / sum,
              attn_bound(d, &seen));
    }
}

static void judge_row(struct accuracy *a, const struct attn_case *c, const char *what, uint32_t seq,
                      uint32_t pos, const uint32_t *bits)
{
    static float q[MAX_WIDTH], row[MAX_WIDTH];
    static struct history y;
    const bnp_attn_desc *d = &c->desc;
    const uint32_t from = d->window && pos >= d->window ? pos - d->window + 1 : 0;
    const uint32_t n = pos - from + 1;
    for (uint32_t j = 0; j < n; j++) {
        attn_input(c, ATTN_K, seq, from + j, row);
        stored(d, row, y.k[j], y.vstep[j]);
        attn_input(c, ATTN_V, seq, from + j, row);
        stored(d, row, y.v[j], y.vstep[j]);
    }
    attn_input(c, ATTN_Q, seq, pos, q);
    for (uint32_t h = 0; h < d->n_head; h++) {
        double qd[1024];
        if (!asked(d, q + h * d->head_dim, qd)) {
            printf("%s\n  head %u: q is further than half a step from what takes part\n", what, h);
            a->n_wrong++;
        }
        judge_head(a, c, what, &y, h, qd, from, n, bits + (size_t)h * d->head_dim);
    }
}

static bool on_attn(void *arg, const struct attn_case *c)
{
    struct accuracy *a = arg;
    struct result r = { 0 };
    const char *failed = "";
    char what[256];
    attn_case_print(c, what, sizeof what);
    if (run_attn(&a->s, c, &r, &failed)) {
        printf("%s\n  %s: %s\n", what, failed, a->s.why);
        a->n_wrong++;
        return false;
    }
    /* The last row of each sequence has seen every key; the first only one. */
    for (uint32_t q = 0; q < 2; q++) {
        const struct plane *p = &r.plane[q];
        judge_row(a, c, what, q, 0, p->bits);
        judge_row(a, c, what, q, p->rows - 1, p->bits + (size_t)(p->rows - 1) * p->cols);
    }
    result_free(&r);
    return true;
}

/* --------------------------------------------------------------- pointwise */

/* ss: a lane adds ceil(n / 64) squares by fma, the tree has 6 levels; all are
 * positive, so ss is within g(n / 64 + 7) of the truth (squares below T vanish
 * against eps). Half of that and of the roundings of ss / n and + eps survive
 * the root; the root, 1 / and two products follow:
 *   g((n / 64 + 7 + 2) / 2 + 4) |y| + 4 T, gains being about 1
 * Where ss leaves the floats, y is 0. */
static void judge_norm(struct accuracy *a, const struct point_case *c, const char *what,
                       const struct plane *y, uint32_t n)
{
    float x[1024], w[1024];
    point_weight(c, n, w);
    for (uint32_t t = 0; t < c->n_tok; t++) {
        point_input(c, POINT_X, t, x);
        for (uint32_t from = 0; from < c->cols; from += n) {
            double ss = 0;
            for (uint32_t i = 0; i < n; i++)
                ss += (double)x[from + i] * (double)x[from + i];
            const bool over = ss > (double)FLT_MAX;
            for (uint32_t i = 0; i < n; i++) {
                const size_t at = (size_t)t * c->cols + from + i;
                const double want = over ? 0 : (double)x[from + i] * (double)w[i] /
                                               sqrt(ss / n + (double)c->eps);
                judge(a, y->op, what, at, y->bits[at], want,
                      g((n / 64 + 9) / 2.0 + 4) * fabs(want) + 4 * TINY);
            }
        }
    }
}

/* x1 s rounds, then the fma: u (|x1 s| + |y|), each at least T / 2. */
static void judge_rope(struct accuracy *a, const struct point_case *c, const char *what,
                       const struct plane *y, bool halves)
{
    float x[1024];
    const uint32_t half = c->n_rot / 2;
    for (uint32_t t = 0; t < c->n_tok; t++) {
        const uint32_t *bits = y->bits + (size_t)t * c->cols;
        point_input(c, POINT_X, t, x);
        for (uint32_t h = 0; h < c->cols; h += c->group_cols) {
            for (uint32_t i = 0; i < half; i++) {
                const uint32_t at0 = h + (halves ? i : 2 * i);
                const uint32_t at1 = h + (halves ? i + half : 2 * i + 1);
                const double x0 = (double)x[at0], x1 = (double)x[at1];
                const double co = (double)point_table(c, c->pos + t, i);
                const double si = (double)point_table(c, c->pos + t, half + i);
                const double y0 = x0 * co - x1 * si, y1 = x1 * co + x0 * si;
                judge(a, y->op, what, at0, bits[at0], y0, g(1) * (fabs(x1 * si) + fabs(y0)) + TINY);
                judge(a, y->op, what, at1, bits[at1], y1, g(1) * (fabs(x0 * si) + fabs(y1)) + TINY);
            }
            for (uint32_t i = h + c->n_rot; i < h + c->group_cols; i++)
                judge(a, y->op, what, i, bits[i], (double)x[i], 0);
        }
    }
}

/* relu2: two products. silu: exp32 within 2 u, 1 +, the quotient, the product;
 * where exp32 stops growing (g < -88) what is left is below 88 / e^88 |u|.
 * gelu: the same, with an exponent z that is itself within g(3) |z|, as all its
 * terms have one sign; an error d of z moves 1 / (1 + e^-z) by at most |d| of
 * itself, for |z| up to 88, and what exp32 cuts off is below |g| / e^87. */
static double gelu_of(double g, double *z)
{
    *z = g * ((double)BNP_GELU_A + (double)BNP_GELU_B * g * g);
    return g / (1 + exp(-*z));
}

static void judge_gelu(struct accuracy *a, const char *what, size_t at, uint32_t bits, double gate,
                       double up)
{
    double z;
    const double y = gelu_of(gate, &z) * up;
    judge(a, "glu gelu", what, at, bits, y,
          (g(5) + g(4) * fmin(fabs(z), 88)) * fabs(y) + TINY * (2 + fabs(up)) +
              (z < -86 ? -gate * 0x1p-124 * fabs(up) : 0));
}

static void judge_glu(struct accuracy *a, const struct point_case *c, const char *what,
                      const struct result *r)
{
    float x[1024], y[1024];
    const struct plane *relu2 = plane_of(r, "glu relu2"), *silu = plane_of(r, "glu silu");
    const struct plane *gelu = plane_of(r, "glu gelu");
    const struct plane *add = plane_of(r, "add"), *pick = plane_of(r, "pick");
    for (uint32_t t = 0; t < c->n_tok; t++) {
        point_input(c, POINT_X, t, x);
        point_input(c, POINT_Y, t, y);
        for (uint32_t i = 0; i < c->cols; i++) {
            const size_t at = (size_t)t * c->cols + i;
            const double gate = (double)x[i], up = (double)y[i], pos = fmax(gate, 0);
            const double square = pos * pos, s = gate / (1 + exp(-gate)) * up;
            if (square <= (double)FLT_MAX)
                judge(a, "glu relu2", what, at, relu2->bits[at], square * up,
                      g(2) * fabs(square * up) + TINY * (1 + fabs(up)));
            judge(a, "glu silu", what, at, silu->bits[at], s,
                  g(5) * fabs(s) + TINY * (2 + fabs(up)) +
                      (gate < -88 ? -gate * 0x1p-126 * fabs(up) : 0));
            judge_gelu(a, what, at, gelu->bits[at], gate, up);
            judge(a, "add", what, at, add->bits[at], gate + up, U * fabs(gate + up));
            const size_t picked = (size_t)(c->n_tok - 1 - t) * c->cols + i;
            judge(a, "pick", what, picked, pick->bits[picked], gate, 0);
        }
    }
}

static bool on_point(void *arg, const struct point_case *c)
{
    struct accuracy *a = arg;
    struct result r = { 0 };
    const char *failed = "";
    char what[256];
    point_case_print(c, what, sizeof what);
    if (run_point(&a->s, c, &r, &failed)) {
        printf("%s\n  %s: %s\n", what, failed, a->s.why);
        a->n_wrong++;
        return false;
    }
    judge_norm(a, c, what, plane_of(&r, "rmsnorm"), c->cols);
    judge_norm(a, c, what, plane_of(&r, "rmsnorm of groups in place"), c->group_cols);
    judge_rope(a, c, what, plane_of(&r, "rope halves"), true);
    judge_rope(a, c, what, plane_of(&r, "rope pairs"), false);
    judge_glu(a, c, what, &r);
    result_free(&r);
    return true;
}

int main(int argc, char **argv)
{
    static struct accuracy a;
    if (argc != 2) {
        fprintf(stderr, "usage: accuracy REF.so\n");
        return 2;
    }
    if (!sut_open(&a.s, argv[1], NULL))
        return 2;
    const bool done = cases_point(false, on_point, &a) && cases_attn(false, on_attn, &a) &&
                      cases_linear(false, on_linear, &a);
    bool tests = true;
    for (const struct tally *t = a.tally; t->op; t++) {
        printf("%-28s %9lu values, worst error %.4f of the bound\n", t->op, t->n, t->worst);
        tests = tests && (t->worst >= 0.01 || !strcmp(t->op, "pick"));
    }
    printf("%lu outside their bound\n", a.n_wrong);
    return !(sut_close(&a.s) && done && tests && !a.n_wrong);
}
