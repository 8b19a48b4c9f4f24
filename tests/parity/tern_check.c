/* tern_check.c - kernels of a packing against plain C.
 *
 * What decides is the extreme: codes all 2 or 3 with activations all 127 are
 * what breaks 16-bit sums, and random numbers never get near it. So every
 * shape is tried with every pair of fills. Three activations of 5 make 15, the
 * largest low digit of a sum that a kernel keeps as 31 * high + low. */
#include "tests/parity/tern_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/verify/gen.h"

#define HOSTILE 0x7fu           /* in slack and padding: read, it shows      */
#define GUARD 0xa5u             /* behind outputs: written, it shows         */
#define GUARD_SIZE 64u
#define ACT_GAP 192u            /* between the activations of two tokens     */

enum codes { CODES_RANDOM, CODES_0, CODES_2, CODES_3, N_CODES };
enum acts { ACTS_RANDOM, ACTS_MAX, ACTS_MIN, ACTS_ALTERNATE, ACTS_5, ACTS_ZERO, N_ACTS };

static const char *const codes_name[] = { "random", "all 0", "all 2", "all 3" };
static const char *const acts_name[] = { "random", "127", "-127", "+-127", "5", "0" };

struct room {                   /* one shape: a panel and its activations    */
    const struct tern *t;
    uint32_t cols, n_tok;
    size_t row_size, panel_size, q_size, act_size, act_stride;
    uint8_t *rows, *panel, *act, *scratch;
    int8_t *w;                  /* [panel_rows][cols]                        */
    int8_t *q;                  /* [n_tok][q_size]                           */
    int32_t *acc, *sum;
    enum codes codes;
    enum acts acts;
};

static void *get(size_t size, uint8_t fill)
{
    uint8_t *p = aligned_alloc(BNP_ALIGN, (size + 2 * BNP_ALIGN - 1) / BNP_ALIGN * BNP_ALIGN);
    if (!p) {
        perror("tern_check");
        exit(1);
    }
    memset(p, fill, (size + 2 * BNP_ALIGN - 1) / BNP_ALIGN * BNP_ALIGN);
    return p;
}

static bool guarded(const void *p, size_t size)
{
    for (size_t i = 0; i < GUARD_SIZE; i++)
        if (((const uint8_t *)p)[size + i] != GUARD)
            return false;
    return true;
}

static bool fail(const struct room *r, const char *what)
{
    printf("%s: %u columns, codes %s, activations %s: %s\n", r->t->name, r->cols,
           codes_name[r->codes], acts_name[r->acts], what);
    return false;
}

/* ------------------------------------------------------------------ fills */

static unsigned code_of(enum codes c, bool plus2, uint64_t seed, uint64_t n)
{
    switch (c) {
    case CODES_RANDOM: return (unsigned)(gen_u64(seed, n) >> 32) % (plus2 ? 4u : 3u);
    case CODES_0: return 0;
    case CODES_2: return 2;
    default: return 3;
    }
}

static int8_t act_of(enum acts a, uint64_t seed, uint32_t col, uint64_t n)
{
    switch (a) {
    case ACTS_RANDOM: return (int8_t)((int)((gen_u64(seed, n) >> 32) % 255) - 127);
    case ACTS_MAX: return 127;
    case ACTS_MIN: return -127;
    case ACTS_ALTERNATE: return col & 1 ? -127 : 127;
    case ACTS_5: return 5;
    default: return 0;
    }
}

static void fill_weights(struct room *r, enum codes c)
{
    const struct tern *t = r->t;
    r->codes = c;
    memset(r->rows, HOSTILE, t->panel_rows * r->row_size);
    for (uint32_t k = 0; k < t->panel_rows; k++) {
        uint8_t *row = r->rows + k * r->row_size;
        memset(row, 0x55, (r->cols + 3) / 4);           /* the tail is code 1 */
        for (uint32_t i = 0; i < r->cols; i++) {
            const size_t n = (size_t)k * r->cols + i;
            const unsigned code = code_of(c, t->plus2, r->cols, n);
            row[i / 4] = (uint8_t)((row[i / 4] & ~(3u << 2 * (i % 4))) | code << 2 * (i % 4));
            r->w[n] = (int8_t)((int)code - 1);
        }
    }
    t->pack(r->rows, r->row_size, r->cols, r->panel);
}

static void fill_acts(struct room *r, enum acts a)
{
    r->acts = a;
    memset(r->q, 0, r->n_tok * r->q_size);
    memset(r->act, HOSTILE, r->n_tok * r->act_stride);
    for (uint32_t t = 0; t < r->n_tok; t++) {
        int8_t *q = r->q + t * r->q_size;
        for (uint32_t i = 0; i < r->cols; i++)
            q[i] = act_of(a, 1, i, t * (uint64_t)r->cols + i);
        if (r->t->build)
            r->t->build(q, r->cols, r->act + t * r->act_stride);
        else
            memcpy(r->act + t * r->act_stride, q, r->q_size);
    }
}

/* ----------------------------------------------------------------- checks */

static bool unpacks(struct room *r)
{
    int8_t *w = get(r->cols + GUARD_SIZE, GUARD);
    bool ok = guarded(r->panel, r->panel_size) || fail(r, "pack wrote behind the panel");
    memset(r->panel + r->panel_size, HOSTILE, GUARD_SIZE);  /* from here on it is read */
    for (uint32_t k = 0; ok && k < r->t->panel_rows; k++) {
        r->t->unpack(r->panel, r->cols, k, w);
        if (memcmp(w, r->w + (size_t)k * r->cols, r->cols))
            ok = fail(r, "unpack gives other weights than were packed");
        else if (!guarded(w, r->cols))
            ok = fail(r, "unpack wrote behind its row");
    }
    free(w);
    return ok;
}

static int32_t plain(const struct room *r, uint32_t row, const int8_t *q, uint32_t first,
                     uint32_t n)
{
    const int8_t *w = r->w + (size_t)row * r->cols + first;
    int32_t acc = 0;
    for (uint32_t i = 0; i < n; i++)
        acc += w[i] * q[first + i];
    return acc;
}

static bool sums_match(const struct room *r, uint32_t n_tok, uint32_t first, uint32_t n)
{
    const uint32_t rows = r->t->panel_rows;
    for (uint32_t t = 0; t < n_tok; t++)
        for (uint32_t k = 0; k < rows; k++) {
            const int32_t want = plain(r, k, r->q + t * r->q_size, first, n);
            const int32_t got = r->acc[(size_t)t * rows + k];
            if (got == want)
                continue;
            printf("%s: %u columns, codes %s, activations %s, columns %u..%u, %u tokens: "
                   "token %u, row %u: %d, expected %d\n", r->t->name, r->cols,
                   codes_name[r->codes], acts_name[r->acts], first, first + n - 1, n_tok, t, k,
                   got, want);
            return false;
        }
    return true;
}

/* Columns first .. first+n-1 of the first n_tok tokens. */
static bool multiplies(struct room *r, bool plus2, uint32_t n_tok, uint32_t first, uint32_t n)
{
    const size_t size = n_tok * (size_t)r->t->panel_rows * sizeof(int32_t);
    for (uint32_t t = 0; t < n_tok; t++) {
        r->sum[t] = 0;
        for (uint32_t i = first; i < first + n; i++)
            r->sum[t] += r->q[t * r->q_size + i];
    }
    memset(r->acc, GUARD, size + GUARD_SIZE);
    r->t->dot(&(struct tern_call){
        .panel = r->panel, .cols = r->cols, .first = first, .n_cols = n, .plus2 = plus2,
        .n_tok = n_tok, .act = r->act, .act_stride = r->act_stride, .sum = r->sum,
        .acc = r->acc, .scratch = r->scratch });
    if (!guarded(r->acc, size))
        return fail(r, "dot wrote behind its sums");
    if (!guarded(r->scratch, r->t->scratch))
        return fail(r, "dot wrote behind its scratch");
    return sums_match(r, n_tok, first, n);
}

/* A few ranges: the first step, the last, one in the middle, halves. */
static bool ranges(struct room *r, bool plus2, uint32_t n_tok)
{
    const uint32_t step = r->t->step, steps = (r->cols - 1) / step + 1;
    const uint32_t last = (steps - 1) * step, half = steps / 2 * step, third = steps / 3 * step;
    if (steps < 2)
        return true;
    return multiplies(r, plus2, n_tok, 0, step) &&
           multiplies(r, plus2, n_tok, last, r->cols - last) &&
           multiplies(r, plus2, n_tok, half, r->cols - half) &&
           multiplies(r, plus2, n_tok, 0, half) &&
           (third == half || multiplies(r, plus2, n_tok, third, half - third));
}

/* ----------------------------------------------------------------- shapes */

static void open_room(struct room *r, const struct tern *t, uint32_t cols, uint32_t n_tok)
{
    *r = (struct room){ .t = t, .cols = cols, .n_tok = n_tok };
    r->row_size = ((cols + 3) / 4 + 63) / 64 * 64;
    r->panel_size = t->panel_size(cols);
    r->q_size = (cols + 63u) / 64 * 64;
    r->act_size = t->act_size ? t->act_size(cols) : r->q_size;
    r->act_stride = r->act_size + ACT_GAP;
    r->rows = get(t->panel_rows * r->row_size, HOSTILE);
    r->panel = get(r->panel_size + GUARD_SIZE, GUARD);
    r->act = get(n_tok * r->act_stride, HOSTILE);
    r->scratch = get(t->scratch + GUARD_SIZE, GUARD);
    r->w = get((size_t)t->panel_rows * cols, 0);
    r->q = get(n_tok * r->q_size, 0);
    r->acc = get(n_tok * (size_t)t->panel_rows * sizeof(int32_t) + GUARD_SIZE, GUARD);
    r->sum = get(n_tok * sizeof(int32_t), 0);
}

static void close_room(struct room *r)
{
    free(r->rows);
    free(r->panel);
    free(r->act);
    free(r->scratch);
    free(r->w);
    free(r->q);
    free(r->acc);
    free(r->sum);
}

/* Every pair of fills with max_tok tokens; and with one after the other of the
 * counts below, so that every count meets many shapes. */
static bool shape(const struct tern *t, uint32_t cols, uint32_t max_tok)
{
    static const uint32_t toks[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 33 };
    static uint32_t next;
    struct room r;
    open_room(&r, t, cols, max_tok);
    bool ok = (r.panel_size % 64 == 0 && r.act_size % 64 == 0) ||
              fail(&r, "a size that is no multiple of 64");
    for (enum codes c = 0; ok && c < N_CODES; c++) {
        if (c == CODES_3 && !t->plus2)
            continue;
        memset(r.panel, GUARD, r.panel_size + GUARD_SIZE);
        fill_weights(&r, c);
        const bool plus2 = t->plus2 && (c == CODES_3 || c == CODES_RANDOM);
        ok = unpacks(&r);
        for (enum acts a = 0; ok && a < N_ACTS; a++) {
            const uint32_t tok = toks[next++ % (sizeof toks / sizeof *toks)];
            const uint32_t n_tok = tok < max_tok ? tok : max_tok;
            fill_acts(&r, a);
            ok = multiplies(&r, plus2, max_tok, 0, cols) && multiplies(&r, plus2, n_tok, 0, cols) &&
                 multiplies(&r, plus2, 1, 0, cols) && ranges(&r, plus2, n_tok);
        }
    }
    close_room(&r);
    return ok;
}

/* More columns than kernels add up in one go in 32 bits, at the extreme. */
static bool wide(const struct tern *t)
{
    const uint32_t cols = 2 * 65536 + 22, second = 65536 / t->step * t->step;
    struct room r;
    open_room(&r, t, cols, 2);
    fill_weights(&r, t->plus2 ? CODES_3 : CODES_2);
    memset(r.panel + r.panel_size, HOSTILE, GUARD_SIZE);
    fill_acts(&r, ACTS_MIN);
    const bool ok = multiplies(&r, t->plus2, 1, 0, cols) && multiplies(&r, t->plus2, 2, 0, cols) &&
                    multiplies(&r, t->plus2, 1, second, cols - second);
    close_room(&r);
    return ok;
}

/* What needs no panel to be wrong. */
static bool sane(const struct tern *t)
{
    if (t->panel_rows % 16 == 0 && t->panel_rows >= 16 && t->panel_rows <= 128 && t->step &&
        t->layout && !t->act_size == !t->build)
        return true;
    printf("%s: panel_rows %u, step %u, or one of act_size and build: not as kern.h says\n",
           t->name, t->panel_rows, t->step);
    return false;
}

bool tern_check(const struct tern *t)
{
    static const uint32_t edges[] = { 16, 32, 64, 128, 256, 512, 1024 };
    bool ok = sane(t);
    for (uint32_t cols = 1; ok && cols <= 9; cols++)
        ok = shape(t, cols, 9);
    for (size_t i = 0; ok && i < sizeof edges / sizeof *edges; i++)
        for (uint32_t cols = edges[i] - 2; ok && cols <= edges[i] + 5; cols++)
            ok = shape(t, cols, 9);
    return ok && shape(t, 640, 128) && shape(t, 2558, 33) && shape(t, 2702, 33) &&
           shape(t, 6912, 9) && wide(t);
}
