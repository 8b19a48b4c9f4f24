/* The forward pass against its formulas in double, written independently:
 * every architecture, every file type of a projection, on a tiny model whose
 * norms are not all ones. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitnet_plugin.h"
#include "core/base/f16.h"
#include "core/engine/forward.h"
#include "tests/golden/rig.h"
#include "tests/unit/gguf_make.h"

enum { MAX_DIM = 8640, N_TOK = 9, MAX_VOCAB_TINY = 16 };

/* ------------------------------------------------------------- the formulas */

/* y = W x; ternary weights see x rounded to 8 bits, as the contract says. */
static void mul(const struct wsrc *w, const double *x, double *y)
{
    static float row[MAX_DIM];
    static double q[MAX_DIM];
    double m = 1e-5;
    for (uint32_t i = 0; i < w->cols; i++)
        m = fmax(m, fabs(x[i]));
    for (uint32_t i = 0; i < w->cols; i++)
        q[i] = w->format == BNP_FMT_T2 ? rint(x[i] * 127 / m) * m / 127 : x[i];
    for (uint32_t r = 0; r < w->rows; r++) {
        ck_assert_int_eq(wsrc_read_f32(w, r, row), 0);
        y[r] = 0;
        for (uint32_t i = 0; i < w->cols; i++)
            y[r] += (double)row[i] * q[i];
    }
}

static void norm(const struct model *m, const struct wsrc *w, const double *x, double *y)
{
    static float g[MAX_DIM];
    double ss = 0;
    ck_assert_int_eq(wsrc_read_f32(w, 0, g), 0);
    for (uint32_t i = 0; i < w->cols; i++)
        ss += x[i] * x[i];
    for (uint32_t i = 0; i < w->cols; i++)
        y[i] = x[i] / sqrt(ss / w->cols + (double)m->hp.eps) * (double)g[i];
}

/* y = W norm(h), or W h where this projection has no norm of its own. */
static void project(const struct model *m, const struct model_layer *l, unsigned in, unsigned w,
                    const double *h, double *y)
{
    static double own[MAX_DIM];
    if (l->t[in].t)
        norm(m, &l->t[in], h, own);
    mul(&l->t[w], l->t[in].t ? own : h, y);
}

static void norm_heads(const struct model *m, const struct wsrc *w, uint32_t n_head, double *x)
{
    for (uint32_t i = 0; w->t && i < n_head; i++)
        norm(m, w, x + i * w->cols, x + i * w->cols);
}

/* x += h, or norm(h). */
static void join(const struct model *m, const struct wsrc *post, double *h, double *x)
{
    if (post->t)
        norm(m, post, h, h);
    for (uint32_t i = 0; i < m->hp.n_embd; i++)
        x[i] += h[i];
}

static double activate(const struct model *m, double g)
{
    if (!strcmp(m->arch, "gemma3"))
        return g / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (g + 0.044715 * g * g * g)));
    return m->hp.glu == BNP_GLU_SILU ? g / (1 + exp(-g)) : g > 0 ? g * g : 0;
}

static void turn(const struct model *m, double *x, uint32_t n_head, uint32_t pos)
{
    const struct hparams *hp = &m->hp;
    for (uint32_t h = 0; h < n_head; h++, x += hp->head_dim)
        for (uint32_t i = 0; i < hp->n_rot / 2; i++) {
            const bool pairs = hp->rope_style == BNP_ROPE_PAIRS;
            double *a = &x[pairs ? 2 * i : i], *b = &x[pairs ? 2 * i + 1 : i + hp->n_rot / 2];
            const double t = pos * pow(hp->rope_base, -2.0 * i / hp->n_rot);
            const double a0 = *a, b0 = *b;
            *a = a0 * cos(t) - b0 * sin(t);
            *b = a0 * sin(t) + b0 * cos(t);
        }
}

static double half(double v)
{
    return (double)f16_to_f32(f16_from_f32((float)v));
}

struct cache {
    double k[N_TOK][MAX_DIM], v[N_TOK][MAX_DIM];
};

static void attend(const struct hparams *hp, const struct cache *c, uint32_t pos, const double *q,
                   double *out)
{
    for (uint32_t h = 0; h < hp->n_head; h++) {
        const uint32_t at = h / (hp->n_head / hp->n_head_kv) * hp->head_dim;
        double e[N_TOK], sum = 0, top = -INFINITY;
        for (uint32_t j = 0; j <= pos; j++) {
            e[j] = 0;
            for (uint32_t d = 0; d < hp->head_dim; d++)
                e[j] += q[h * hp->head_dim + d] * c->k[j][at + d] / sqrt(hp->head_dim);
            top = fmax(top, e[j]);
        }
        for (uint32_t j = 0; j <= pos; j++)
            sum += e[j] = exp(e[j] - top);
        for (uint32_t d = 0; d < hp->head_dim; d++) {
            double o = 0;
            for (uint32_t j = 0; j <= pos; j++)
                o += e[j] / sum * c->v[j][at + d];
            out[h * hp->head_dim + d] = o;
        }
    }
}

static void layer(const struct model *m, const struct model_layer *l, struct cache *c,
                  uint32_t pos, double *x)
{
    const struct hparams *hp = &m->hp;
    static double h[MAX_DIM], q[MAX_DIM], a[MAX_DIM], u[MAX_DIM];
    norm(m, &l->t[T_ATTN_NORM], x, h);
    project(m, l, T_ATTN_Q_NORM_IN, T_ATTN_Q, h, q);
    project(m, l, T_ATTN_K_NORM_IN, T_ATTN_K, h, c->k[pos]);
    project(m, l, T_ATTN_V_NORM_IN, T_ATTN_V, h, c->v[pos]);
    norm_heads(m, &l->t[T_ATTN_Q_NORM], hp->n_head, q);
    norm_heads(m, &l->t[T_ATTN_K_NORM], hp->n_head_kv, c->k[pos]);
    turn(m, q, hp->n_head, pos);
    turn(m, c->k[pos], hp->n_head_kv, pos);
    for (uint32_t i = 0; i < hp->n_head_kv * hp->head_dim; i++) {
        c->k[pos][i] = half(c->k[pos][i]);
        c->v[pos][i] = half(c->v[pos][i]);
    }
    attend(hp, c, pos, q, a);
    if (l->t[T_ATTN_SUB_NORM].t)
        norm(m, &l->t[T_ATTN_SUB_NORM], a, a);
    mul(&l->t[T_ATTN_OUT], a, h);
    join(m, &l->t[T_ATTN_POST_NORM], h, x);
    norm(m, &l->t[T_FFN_NORM], x, h);
    project(m, l, T_FFN_GATE_NORM_IN, T_FFN_GATE, h, a);
    project(m, l, T_FFN_UP_NORM_IN, T_FFN_UP, h, u);
    for (uint32_t i = 0; i < hp->n_ff; i++)
        a[i] = activate(m, a[i]) * u[i];
    if (l->t[T_FFN_SUB_NORM].t)
        norm(m, &l->t[T_FFN_SUB_NORM], a, a);
    mul(&l->t[T_FFN_DOWN], a, h);
    join(m, &l->t[T_FFN_POST_NORM], h, x);
}

/* Logits, and the rows that the head sees: what embeddings are made of. */
static void formulas(const struct model *m, const int32_t *id, uint32_t n, double *logits,
                     double (*hidden)[MAX_DIM])
{
    static struct cache cache[2];
    static float embd[MAX_DIM];
    const double by = strcmp(m->arch, "gemma3") ? 1 : sqrt(m->hp.n_embd);
    ck_assert_uint_le(m->hp.n_layer, 2);
    for (uint32_t pos = 0; pos < n; pos++) {
        static double x[MAX_DIM];
        ck_assert_int_eq(wsrc_read_f32(&m->embd, (uint32_t)id[pos], embd), 0);
        for (uint32_t i = 0; i < m->hp.n_embd; i++)
            x[i] = (double)embd[i] * by;
        for (uint32_t i = 0; i < m->hp.n_layer; i++)
            layer(m, &m->layer[i], &cache[i], pos, x);
        norm(m, &m->output_norm, x, hidden[pos]);
        mul(&m->head, hidden[pos], logits + pos * m->hp.n_vocab);
    }
}

/* --------------------------------------------------------------- the subject */

/* Norm weights between a half and one and a half, different everywhere; F16, as
 * converters of embedding models write them, or F32. */
static void spice(struct gguf_make *make, bool f16)
{
    uint64_t state = 99;
    for (unsigned i = 0; i < make->n_t; i++) {
        struct make_tensor *t = &make->t[i];
        if (!strstr(t->name, "norm"))
            continue;
        t->type = f16 ? 1 : 0;
        buf_clear(&t->data);
        for (uint64_t j = 0; j < t->ne[0]; j++) {
            const float v = 0.5f + (float)(make_random(&state) % 1024) / 1024;
            const uint16_t h = f16_from_f32(v);
            buf_add(&t->data, f16 ? (const void *)&h : &v, f16 ? sizeof h : sizeof v);
        }
    }
    gguf_make_place(make);
}

/* All rows in one step, with the state behind the last norm. */
static void run_hidden(struct rig *r, const int32_t *id, uint32_t n)
{
    struct err err = { 0 };
    struct kv_seq s;
    ck_assert_int_eq(kv_seq_open(&s, &r->f->kv, r->f->conf.n_ctx, &err), 0);
    batch_clear(&r->batch);
    ck_assert(kv_reserve(&r->f->kv, &s, n));
    ck_assert(batch_add(&r->batch, id, n, 0, s.page, s.n_page, 1));
    r->batch.hidden = true;
    const int rc = forward_run(r->f, &r->batch, &err);
    ck_assert_msg(rc == 0, "%s", err.text);
    kv_seq_close(&r->f->kv, &s);
}

struct distance {
    double diff, size;
};

static void measure(struct distance *d, const float *got, const double *want, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        d->diff += pow((double)got[i] - want[i], 2);
        d->size += want[i] * want[i];
    }
}

static void judge(const struct rig *r, const char *what, uint32_t type, const struct distance *d,
                  double tolerance)
{
    ck_assert_msg(sqrt(d->diff / d->size) <= tolerance, "%s, type %u: %s off by %.2e of %.2e",
                  r->model->arch, type, what, sqrt(d->diff / d->size), tolerance);
}

static void check_model(const struct tiny *tiny, double tolerance)
{
    const int32_t id[N_TOK] = { 10, 3, 1, 4, 1, 5, 9, 2, 6 };
    static struct gguf_make make;
    struct buf file = { 0 };
    struct err err = { 0 };
    char eps[64];
    gguf_make_tiny(&make, tiny);
    snprintf(eps, sizeof eps, "%s.attention.layer_norm_rms_epsilon", tiny->arch);
    gguf_make_f32(&make, eps, 0.25f);            /* large enough to be seen */
    spice(&make, tiny->proj_norm);
    gguf_make_done(&make, &file);

    struct rig r = { .plug = rig_plug(&(struct rig_opts){ .n_threads = 1 }) };
    const struct model_opts opts = { .i2s_layout = tiny->layout };
    struct forward_conf conf = rig_conf(&(struct rig_opts){ .n_ctx = 32, .max_tok = 16 });
    int rc = model_open_mem(&r.model, file.p, file.n, "tiny", &opts, &err);
    ck_assert_msg(rc == 0, "%s", err.text);
    rc = forward_open(&r.f, r.model, r.plug, &conf, &err);
    ck_assert_msg(rc == 0, "%s", err.text);
    ck_assert_int_eq(batch_open(&r.batch, &r.f->limits, &err), 0);

    const uint32_t n_vocab = r.model->hp.n_vocab;
    float got[N_TOK * MAX_VOCAB_TINY];
    static double want[N_TOK * MAX_VOCAB_TINY], hidden[N_TOK][MAX_DIM];
    struct distance of_logits = { 0 }, of_hidden = { 0 };
    ck_assert_uint_le(n_vocab, MAX_VOCAB_TINY);
    rig_logits(&r, id, N_TOK, 4, got);
    formulas(r.model, id, N_TOK, want, hidden);
    measure(&of_logits, got, want, N_TOK * n_vocab);
    judge(&r, "logits", tiny->linear, &of_logits, tolerance);
    run_hidden(&r, id, N_TOK);
    for (uint32_t i = 0; i < N_TOK; i++)
        measure(&of_hidden, forward_hidden(r.f, i), hidden[i], r.model->hp.n_embd);
    judge(&r, "states", tiny->linear, &of_hidden, tolerance);
    rig_close(&r);
    gguf_make_free(&make);
    buf_free(&file);
}

enum { F16 = 1, Q8_0 = 8, Q6_K = 14, BF16 = 30, TQ1_0 = 34, TQ2_0 = 35, I2_S = 36, Q1_0 = 41, Q2_0 = 42 };

static const char *const arch[] = { "bitnet", "bitnet-25", "bitnet-b1.58", "llama" };

/* Dense rows differ from double by rounding only, a little more where f16
 * keys fall on the other side of a tie. */
START_TEST(graph_dense_projections_follow_the_formulas)
{
    static const uint32_t type[] = { F16, BF16, Q8_0, Q6_K };
    for (size_t i = 0; i < sizeof type / sizeof type[0]; i++) {
        const struct tiny tiny = { .arch = arch[_i], .n_embd = type[i] == Q6_K ? 256 : 64,
                                   .linear = type[i], .embd = type[i] };
        check_model(&tiny, 1e-4);
    }
}
END_TEST

/* An input that rounds to the neighbouring int8 moves a product by a 127th of
 * its largest input. */
START_TEST(graph_ternary_projections_follow_the_formulas)
{
    static const uint32_t type[] = { I2_S, TQ1_0, TQ2_0 };
    for (size_t i = 0; i < sizeof type / sizeof type[0]; i++)
        check_model(&(struct tiny){ .arch = arch[_i], .n_embd = 256, .linear = type[i] }, 5e-3);
}
END_TEST

/* The embedding models, and their graphs without a norm of every input; heads
 * that do not split the embedding evenly. */
START_TEST(graph_with_norms_of_heads_and_inputs_follows_the_formulas)
{
    static const char *const name[] = { "qwen3", "gemma3" };
    for (uint32_t in = 0; in < 2; in++) {
        struct tiny tiny = { .arch = name[_i], .n_embd = 64, .head_dim = 48, .linear = F16,
                             .proj_norm = in };
        check_model(&tiny, 1e-4);
        tiny = (struct tiny){ .arch = name[_i], .n_embd = 256, .head_dim = 256, .n_ff = 300,
                              .proj_norm = in };
        check_model(&tiny, 5e-3);
    }
}
END_TEST

/* One or two bits a weight and a scale for each group, on the graphs of dense
 * models. */
START_TEST(graph_of_group_scaled_models_follows_the_formulas)
{
    static const char *const name[] = { "qwen3", "llama" };
    static const uint32_t type[] = { Q1_0, Q2_0 };
    for (size_t i = 0; i < sizeof type / sizeof type[0]; i++)
        check_model(&(struct tiny){ .arch = name[_i], .n_embd = 256, .head_dim = 64, .n_ff = 384,
                                    .n_head = 4, .n_head_kv = 2, .linear = type[i] }, 5e-3);
}
END_TEST

/* The widths of bitnet_b1_58-xl and -3B, which fill no blocks of 128: those of
 * layouts a and b go on into the next row. */
START_TEST(graph_of_rows_that_share_blocks_follows_the_formulas)
{
    static const enum i2s_layout layout[] = { I2S_A, I2S_B, I2S_C };
    for (uint32_t n_ff = 5460; n_ff <= 8640; n_ff += 8640 - 5460)
        check_model(&(struct tiny){ .arch = "bitnet", .n_embd = 64, .n_ff = n_ff,
                                    .layout = layout[_i] }, 5e-3);
}
END_TEST

/* What is new in Falcon-E and Falcon3: 16 heads on 2; heads of 256; their base. */
START_TEST(graph_of_falcon_heads_follows_the_formulas)
{
    const struct tiny e = { .arch = "llama", .n_embd = 256, .n_head = 16, .n_head_kv = 2,
                            .rope_base = 1000042 };
    const struct tiny three = { .arch = "llama", .n_embd = 768, .n_head = 3, .n_head_kv = 1,
                                .n_ff = 512, .rope_base = 1000042 };
    const struct tiny keyed = { .arch = "llama", .n_embd = 768, .n_head = 3, .n_head_kv = 1,
                                .n_ff = 512, .rope_base = 1000042, .head_dim = 256 };
    check_model(&e, 5e-3);
    check_model(&three, 5e-3);
    check_model(&keyed, 5e-3);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("graph");
    TCase *c = tcase_create("graph");
    tcase_set_timeout(c, 300);
    tcase_add_loop_test(c, graph_dense_projections_follow_the_formulas, 0, 4);
    tcase_add_loop_test(c, graph_ternary_projections_follow_the_formulas, 0, 4);
    tcase_add_loop_test(c, graph_with_norms_of_heads_and_inputs_follows_the_formulas, 0, 2);
    tcase_add_loop_test(c, graph_of_rows_that_share_blocks_follows_the_formulas, 0, 3);
    tcase_add_loop_test(c, graph_of_group_scaled_models_follows_the_formulas, 0, 2);
    tcase_add_test(c, graph_of_falcon_heads_follows_the_formulas);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
