/* test_logits.c - the model against two independent implementations.
 *
 * story-i2_s is a C++ runtime's I2_S kernels with an F16 cache, story-pytorch
 * the training code's own f32 forward. They agree with each other to a
 * correlation of 0.9995 at the worst position and 0.99995 on average; we must
 * agree with both at least to 0.999 and 0.9999. The same ternary weights in
 * three encodings must give the same. A Hugging Face checkpoint of them has
 * scales, norms and embedding rounded to bfloat16, which is a difference of its
 * own: as far as that it may lie from the two, and from the model 0.999. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "tests/golden/correlation.h"
#include "tests/golden/rig.h"

enum { N_VOCAB = 2048, N_FIRST = 16 };

static const char *const model_path[] = {
    "models/story.gguf", "tests/golden/models/story-tq2_0.gguf",
    "tests/golden/models/story-tq1_0.gguf"
};

static struct golden golden[GOLDEN_N];
static uint32_t n_row;                    /* positions of all prompts          */

static float *read_logits(const char *path)
{
    struct err err = { 0 };
    char *p;
    size_t n;
    ck_assert_msg(file_read(path, 64 << 20, &p, &n, &err) == 0, "%s", err.text);
    ck_assert_uint_eq(n, (size_t)n_row * N_VOCAB * sizeof(float));
    return (float *)(void *)p;
}

/* Largest difference of two rows of logits. */
static double difference(const float *a, const float *b)
{
    double worst = 0;
    for (int i = 0; i < N_VOCAB; i++)
        worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
    return worst;
}

/* The same for an average position. */
static double typical(const float *a, const float *b)
{
    double sum = 0;
    for (uint32_t i = 0; i < n_row; i++)
        sum += difference(a + (size_t)i * N_VOCAB, b + (size_t)i * N_VOCAB);
    return sum / n_row;
}

static void compare(const char *model, const char *name, const float *ours, const float *ref,
                    double least)
{
    double worst = 1, sum = 0;
    for (uint32_t i = 0; i < n_row; i++) {
        double c = correlation(ours + (size_t)i * N_VOCAB, ref + (size_t)i * N_VOCAB, N_VOCAB);
        worst = fmin(worst, c);
        sum += c;
    }
    printf("%s against %s: correlation worst %.6f, average %.6f, largest difference %.3f at a "
           "typical position\n", model, name, worst, sum / n_row, typical(ours, ref));
    ck_assert_double_ge(worst, least);
    ck_assert_double_ge(sum / n_row, 0.9999);
}

static void check_ids(const struct model *m)
{
    for (int i = 0; i < GOLDEN_N; i++) {
        struct tokens t = { 0 };
        struct err err = { 0 };
        int rc = vocab_encode(m->vocab, golden[i].text, strlen(golden[i].text), VOCAB_BOS, 0, &t,
                              &err);
        ck_assert_msg(rc == 0, "%s", err.text);
        ck_assert_uint_eq(t.n, golden[i].n);
        ck_assert_mem_eq(t.id, golden[i].id, t.n * sizeof *t.id);
        free(t.id);
    }
}

/* Logits of all positions of the prompts, for the caller to free. */
static float *logits_of(const char *path)
{
    struct rig r;
    float *out = malloc((size_t)n_row * N_VOCAB * sizeof *out);
    ck_assert_ptr_nonnull(out);
    rig_open(&r, &(struct rig_opts){ .model = path });
    ck_assert_uint_eq(r.model->hp.n_vocab, N_VOCAB);
    check_ids(r.model);
    for (uint32_t i = 0, at = 0; i < GOLDEN_N; at += golden[i++].n)
        rig_logits(&r, golden[i].id, golden[i].n, 0, out + (size_t)at * N_VOCAB);
    rig_close(&r);
    return out;
}

static uint32_t argmax(const float *row)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < N_VOCAB; i++)
        if (row[i] > row[best])
            best = i;
    return best;
}

/* We read the reference's own continuation, so at every token both had the
 * same text before them; up to the first other choice that is what we would
 * have written. Where we choose otherwise, the logits differ by rounding only:
 * our preference must be smaller than noise, which is how far two references
 * lie apart. Such ties are rare, but one ends a continuation's likeness. */
static void check_greedy(struct rig *r, double noise)
{
    int n_whole = 0, n_same = 0;
    float *logits = malloc((size_t)GOLDEN_MAX * N_VOCAB * sizeof *logits);
    ck_assert_ptr_nonnull(logits);
    for (int i = 0; i < GOLDEN_N; i++) {
        const struct golden *g = &golden[i];
        int32_t id[GOLDEN_MAX];
        uint32_t first = GOLDEN_NEW;
        ck_assert_uint_le(g->n + GOLDEN_NEW, GOLDEN_MAX);
        memcpy(id, g->id, g->n * sizeof *id);
        memcpy(id + g->n, g->greedy, sizeof g->greedy);
        rig_logits(r, id, g->n + GOLDEN_NEW - 1, 0, logits);
        for (uint32_t j = 0; j < GOLDEN_NEW; j++) {
            const float *row = logits + (size_t)(g->n + j - 1) * N_VOCAB;
            const uint32_t ours = argmax(row);
            if ((int32_t)ours == g->greedy[j]) {
                n_same++;
                continue;
            }
            const double gap = (double)row[ours] - (double)row[g->greedy[j]];
            printf("prompt %d, token %u: we prefer another by %.4f\n", i, j, gap);
            ck_assert_double_lt(gap, noise);
            first = first < j ? first : j;
        }
        n_whole += first >= N_FIRST;
    }
    printf("%d of %d tokens chosen alike, %d of %d continuations equal for %d tokens; noise %.4f\n",
           n_same, GOLDEN_N * GOLDEN_NEW, n_whole, GOLDEN_N, N_FIRST, noise);
    ck_assert_int_ge(n_same, GOLDEN_N * GOLDEN_NEW * 99 / 100);
    ck_assert_int_ge(n_whole, 9);
    free(logits);
}

START_TEST(logits_agree_with_two_references)
{
    const char *path = model_path[_i];
    rig_golden(golden);
    n_row = 0;
    for (int i = 0; i < GOLDEN_N; i++)
        n_row += golden[i].n;
    float *i2s = read_logits("tests/golden/story/story-i2_s.logits.f32");
    float *torch = read_logits("tests/golden/story/story-pytorch.logits.f32");
    float *ours = logits_of(path);
    compare(path, "story-i2_s", ours, i2s, 0.999);
    compare(path, "story-pytorch", ours, torch, 0.999);
    struct rig r;
    rig_open(&r, &(struct rig_opts){ .model = path });
    check_greedy(&r, typical(i2s, torch));

    rig_close(&r);
    rig_golden_free(golden);
    free(i2s);
    free(torch);
    free(ours);
}
END_TEST

START_TEST(logits_of_a_checkpoint_are_those_of_its_model)
{
    static const char path[] = "tests/golden/hf/packed";
    rig_golden(golden);
    n_row = 0;
    for (int i = 0; i < GOLDEN_N; i++)
        n_row += golden[i].n;
    float *i2s = read_logits("tests/golden/story/story-i2_s.logits.f32");
    float *torch = read_logits("tests/golden/story/story-pytorch.logits.f32");
    float *hf = logits_of(path), *gguf = logits_of(model_path[0]);
    compare(path, model_path[0], hf, gguf, 0.999);
    compare(path, "story-i2_s", hf, i2s, 0.9985);
    compare(path, "story-pytorch", hf, torch, 0.9985);
    free(hf);
    free(gguf);
    free(i2s);
    free(torch);
    rig_golden_free(golden);
}
END_TEST

/* -------------------------------------------------------------- int8 keys */

/* Sum of -ln p(next token) over a text's positions. */
static double surprise(const float *logits, const int32_t *id, uint32_t n)
{
    double sum = 0;
    for (uint32_t i = 0; i + 1 < n; i++) {
        const float *row = logits + (size_t)i * N_VOCAB;
        const double top = (double)row[argmax(row)];
        double all = 0;
        for (int k = 0; k < N_VOCAB; k++)
            all += exp((double)row[k] - top);
        sum += log(all) + top - (double)row[id[i + 1]];
    }
    return sum;
}

/* The prompts and the reference's continuations, under f16 and int8 keys: how
 * far apart are the two? n_row counts all positions here. */
static void kv_logits(uint32_t kv_format, float *out, double *nats)
{
    struct rig r;
    rig_open(&r, &(struct rig_opts){ .kv_format = kv_format });
    n_row = 0;
    *nats = 0;
    for (uint32_t i = 0; i < GOLDEN_N; i++) {
        int32_t id[GOLDEN_MAX];
        const uint32_t n = golden[i].n + GOLDEN_NEW;
        float *at = out + (size_t)n_row * N_VOCAB;
        memcpy(id, golden[i].id, golden[i].n * sizeof *id);
        memcpy(id + golden[i].n, golden[i].greedy, sizeof golden[i].greedy);
        rig_logits(&r, id, n, 0, at);
        *nats += surprise(at, id, n);
        n_row += n;
    }
    rig_close(&r);
}

START_TEST(int8_keys_change_little)
{
    rig_golden(golden);
    const size_t most = (size_t)GOLDEN_N * GOLDEN_MAX * N_VOCAB;
    float *f16 = malloc(most * sizeof *f16), *i8 = malloc(most * sizeof *i8);
    ck_assert(f16 && i8);
    double nats[2], worst = 1, sum = 0, most_apart = 0;
    uint32_t n_same = 0;
    kv_logits(BNP_KV_F16, f16, &nats[0]);
    kv_logits(BNP_KV_I8, i8, &nats[1]);
    for (uint32_t i = 0; i < n_row; i++) {
        const float *a = f16 + (size_t)i * N_VOCAB, *b = i8 + (size_t)i * N_VOCAB;
        const double c = correlation(a, b, N_VOCAB);
        worst = fmin(worst, c);
        sum += c;
        most_apart = fmax(most_apart, difference(a, b));
        n_same += argmax(a) == argmax(b);
    }
    const double n = n_row - GOLDEN_N, ppl[2] = { exp(nats[0] / n), exp(nats[1] / n) };
    printf("int8 against f16 keys, %u positions: correlation worst %.6f, average %.6f; largest "
           "difference %.3f, typical %.3f; likeliest token alike at %.2f %%; perplexity %.4f and "
           "%.4f\n", n_row, worst, sum / n_row, most_apart, typical(f16, i8),
           100.0 * n_same / n_row, ppl[1], ppl[0]);
    ck_assert_double_lt(worst, 1);                  /* or it was not int8 at all */
    ck_assert_double_ge(worst, 0.998);
    ck_assert_double_ge(sum / n_row, 0.9999);
    ck_assert_double_ge(n_same, 0.98 * n_row);
    ck_assert_double_le(ppl[1], 1.01 * ppl[0]);
    rig_golden_free(golden);
    free(f16);
    free(i8);
}
END_TEST

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);       /* figures survive a failing child */
    Suite *suite = suite_create("golden");
    TCase *c = tcase_create("logits");
    tcase_set_timeout(c, 600);
    tcase_add_loop_test(c, logits_agree_with_two_references, 0,
                        (int)(sizeof model_path / sizeof model_path[0]));
    tcase_add_test(c, logits_of_a_checkpoint_are_those_of_its_model);
    tcase_add_test(c, int8_keys_change_little);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
