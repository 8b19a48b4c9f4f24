/* ops.h - one case of one family, run on one plugin, results as planes of f32.
 *
 * The same case gives the same inputs on every plugin, so two results are
 * compared with memcmp. Whatever a call leaves unwritten is a NaN pattern. */
#ifndef VERIFY_OPS_H
#define VERIFY_OPS_H

#include <stdbool.h>
#include <stdint.h>

#include "tools/verify/gen.h"
#include "tools/verify/sut.h"

struct plane {
    const char *op;             /* "mul", "attend", "rmsnorm"...             */
    uint32_t rows, cols;
    uint32_t *bits;             /* [rows][cols]                              */
    double us;                  /* the calls that gave it; 0: not timed      */
};

struct result {
    struct plane plane[12];
    unsigned n;
    bnp_offer offer;            /* what the plugin promised for it           */
    double since, us;           /* the stopwatch: TIMED of ops_help.h        */
};
void result_free(struct result *);

struct linear_case {
    struct gen_weight w;
    enum fill act;
    float act_max;
    uint32_t n_tok;
    uint64_t seed;
};

struct attn_case {
    bnp_attn_desc desc;
    uint32_t kv_len;            /* keys of the longer sequence               */
    uint32_t chunk;             /* rows of a step, at most                   */
    enum fill fill;
    float max;
    uint64_t seed;
};

struct point_case {
    uint32_t cols, n_tok;
    uint32_t group_cols;        /* divides cols, even                        */
    uint32_t n_rot;             /* even, at most group_cols                  */
    uint32_t pos;               /* of the first row, below 64                */
    float eps;
    enum fill fill;
    float max;
    uint64_t seed;
};

/* 0, or the status of the call that failed (named in *failed, the reason in
 * sut->why). BNP_E_UNSUPPORTED from query: the plugin does not offer it. */
int run_linear(struct sut *, const struct linear_case *, struct result *, const char **failed);
int run_attn(struct sut *, const struct attn_case *, struct result *, const char **failed);
int run_point(struct sut *, const struct point_case *, struct result *, const char **failed);

/* Inputs of a case, for an evaluation of one's own. */
void linear_input(const struct linear_case *, uint32_t row, float *x);
float linear_old(const struct linear_case *, uint32_t row, uint32_t col);   /* y before ADD */
enum attn_part { ATTN_Q = 1, ATTN_K, ATTN_V };
void attn_input(const struct attn_case *, enum attn_part, uint32_t seq, uint32_t pos, float *x);
enum point_part { POINT_X = 1, POINT_Y };
void point_input(const struct point_case *, enum point_part, uint32_t row, float *x);
void point_weight(const struct point_case *, uint32_t n, float *w);
float point_table(const struct point_case *, uint32_t pos, uint32_t i);

#endif
