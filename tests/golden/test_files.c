/* test_files.c - the story model as other programs' quantizers wrote it.
 *
 * Every matrix is compared with the story's own, and the logits of a few prompts
 * with the story's, under the accuracy that the encoding promises: one that holds
 * ternary weights exactly differs only by how activations are rounded. Figures
 * are printed. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/golden/rig.h"

enum { N_VOCAB = 2048, N_PROMPT = 3 };

static const struct file {
    const char *path;
    double linear, embd;          /* most of |w - story's| / |story's|         */
    double worst, average;        /* least correlation of a position's logits  */
} files[] = {
    { "tests/golden/models/story-q4_k_s.gguf", 1e-3, 0, 0.999, 0.9999 },
    { "tests/golden/models/story-iq2_s.gguf", 0.35, 0, 0.9, 0.98 },
};

/* |a - b| / |b| over all elements, Euclidean. */
static double apart(const struct wsrc *a, const struct wsrc *b)
{
    double off = 0, all = 0;
    float *x = malloc(a->cols * sizeof *x), *y = malloc(b->cols * sizeof *y);
    ck_assert(x && y && a->rows == b->rows && a->cols == b->cols);
    for (uint32_t m = 0; m < a->rows; m++) {
        ck_assert(!wsrc_read_f32(a, m, x) && !wsrc_read_f32(b, m, y));
        for (uint32_t k = 0; k < a->cols; k++) {
            const double d = (double)x[k] - (double)y[k];
            off += d * d;
            all += (double)y[k] * (double)y[k];
        }
    }
    free(x);
    free(y);
    return sqrt(off / all);
}

START_TEST(weights_are_the_storys)
{
    const struct file *f = &files[_i];
    struct model *ours = rig_model(f->path), *story = rig_model(NULL);
    double worst = 0;
    ck_assert_uint_eq(ours->hp.n_layer, story->hp.n_layer);
    for (uint32_t l = 0; l < story->hp.n_layer; l++)
        for (unsigned s = 0; s < T_LAYER_N; s++)
            if (story->layer[l].t[s].t)
                worst = fmax(worst, apart(&ours->layer[l].t[s], &story->layer[l].t[s]));
    const double embd = apart(&ours->embd, &story->embd);
    printf("%s: relative error of matrices %.2g at most, of the embedding %.2g\n", f->path, worst,
           embd);
    ck_assert_double_le(worst, f->linear);
    ck_assert_double_le(embd, f->embd);
    model_close(ours);
    model_close(story);
}
END_TEST

static double correlation(const float *a, const float *b)
{
    double ma = 0, mb = 0, ab = 0, aa = 0, bb = 0;
    for (int i = 0; i < N_VOCAB; i++) {
        ma += (double)a[i] / N_VOCAB;
        mb += (double)b[i] / N_VOCAB;
    }
    for (int i = 0; i < N_VOCAB; i++) {
        const double x = (double)a[i] - ma, y = (double)b[i] - mb;
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    return ab / sqrt(aa * bb);
}

static float *logits_of(const char *path, uint32_t *n_row)
{
    static struct golden golden[GOLDEN_N];
    struct rig r;
    rig_golden(golden);
    *n_row = 0;
    for (int i = 0; i < N_PROMPT; i++)
        *n_row += golden[i].n;
    float *out = malloc((size_t)*n_row * N_VOCAB * sizeof *out);
    ck_assert_ptr_nonnull(out);
    rig_open(&r, &(struct rig_opts){ .model = path });
    for (uint32_t i = 0, at = 0; i < N_PROMPT; at += golden[i++].n)
        rig_logits(&r, golden[i].id, golden[i].n, 0, out + (size_t)at * N_VOCAB);
    rig_close(&r);
    rig_golden_free(golden);
    return out;
}

START_TEST(logits_are_like_the_storys)
{
    const struct file *f = &files[_i];
    uint32_t n;
    float *story = logits_of(NULL, &n), *ours = logits_of(f->path, &n);
    double worst = 1, sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        const double c = correlation(ours + (size_t)i * N_VOCAB, story + (size_t)i * N_VOCAB);
        worst = fmin(worst, c);
        sum += c;
    }
    printf("%s: correlation of logits worst %.6f, average %.6f at %u positions\n", f->path, worst,
           sum / n, n);
    ck_assert_double_ge(worst, f->worst);
    ck_assert_double_ge(sum / n, f->average);
    free(story);
    free(ours);
}
END_TEST

int main(void)
{
    const int n = (int)(sizeof files / sizeof files[0]);
    setvbuf(stdout, NULL, _IOLBF, 0);       /* figures survive a failing child */
    Suite *suite = suite_create("files");
    TCase *c = tcase_create("files");
    tcase_set_timeout(c, 300);
    tcase_add_loop_test(c, weights_are_the_storys, 0, n);
    tcase_add_loop_test(c, logits_are_like_the_storys, 0, n);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
