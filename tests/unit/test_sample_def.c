/* test_sample_def.c - one token from logits, against the definition.
 *
 * The reference here sorts everything, keeps everything and cuts by the book;
 * the sampler must agree with it, draw by draw. */
#include <check.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/exact.h"
#include "core/engine/sample.h"

enum { MAX_VOCAB = 3000 };

static struct sampler *open_sampler(uint32_t n)
{
    struct sampler *s = NULL;
    struct err e = { 0 };
    ck_assert_int_eq(sampler_open(&s, n, &e), 0);
    return s;
}

static uint64_t rng = 1;

static uint32_t below(uint32_t n)
{
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((rng >> 33) % n);
}

/* ------------------------------------------------ the definition, slowly */

struct ref {
    double l;
    int32_t id;
};

static int in_order(const void *a, const void *b)
{
    const struct ref *x = a, *y = b;
    if (x->l != y->l)
        return x->l > y->l ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

/* What bias and penalties make of token id's logit. */
static double adjusted(const struct sample_params *p, double l, int32_t id,
                       struct sample_past past)
{
    bool seen = false;
    uint32_t count = 0;
    for (uint32_t i = 0; i < p->n_bias; i++)
        l += p->bias[i].id == id ? (double)p->bias[i].bias : 0;
    for (uint32_t j = 0; j < past.n; j++) {
        seen |= past.id[j] == id && past.n - j <= p->repeat_last_n;
        count += past.id[j] == id && j >= past.n_prompt;
    }
    if (seen)
        l = l > 0 ? l / (double)p->repeat_penalty : l * (double)p->repeat_penalty;
    if (count)
        l -= (double)count * (double)p->frequency_penalty + (double)p->presence_penalty;
    return l;
}

struct near {
    double far;                     /* from the mean, nats                    */
    bool behind;                    /* less likely than the mean              */
    uint32_t rank, steps;           /* in the order; candidates from the mean */
};

static int by_nearness(const void *a, const void *b)
{
    const struct near *x = a, *y = b;
    if (x->far != y->far)
        return x->far < y->far ? -1 : 1;
    if (x->behind != y->behind)
        return x->behind ? 1 : -1;
    return x->steps < y->steps ? -1 : 1;
}

/* Keeps the typical ones of r[0..n), in order. */
static uint32_t typical(const struct sample_params *p, struct ref *r, uint32_t n)
{
    static struct near v[MAX_VOCAB];
    static bool kept[MAX_VOCAB];
    const double t = (double)p->temperature;
    double all = 0, mean = 0, sum = 0;
    uint32_t before = 0, left = 0;
    for (uint32_t i = 0; i < n; i++) {
        all += exact_exp((r[i].l - r[0].l) / t);
        mean += exact_exp((r[i].l - r[0].l) / t) * ((r[0].l - r[i].l) / t);
    }
    mean /= all;
    for (uint32_t i = 0; i < n; i++)
        before += (r[0].l - r[i].l) / t < mean;
    for (uint32_t i = 0; i < n; i++) {
        const double u = (r[0].l - r[i].l) / t;
        v[i] = (struct near){ fabs(u - mean), i >= before, i,
                              i >= before ? i - before : before - 1 - i };
        kept[i] = false;
    }
    qsort(v, n, sizeof *v, by_nearness);
    for (uint32_t i = 0; i < n && sum < (double)p->typical_p * all; i++) {
        kept[v[i].rank] = true;
        sum += exact_exp((r[v[i].rank].l - r[0].l) / t);
    }
    for (uint32_t i = 0; i < n; i++)
        if (kept[i])
            r[left++] = r[i];
    return left;
}

static int32_t reference(const struct sample_params *p, const float *logits, uint32_t n_vocab,
                         struct sample_past past, uint32_t pos)
{
    static struct ref r[MAX_VOCAB];
    static double w[MAX_VOCAB];
    uint32_t n_ref = 0;
    for (uint32_t i = 0; i < n_vocab; i++)
        if (!past.allow || (past.allow[i / 32] >> i % 32 & 1))
            r[n_ref++] = (struct ref){ adjusted(p, (double)logits[i], (int32_t)i, past),
                                       (int32_t)i };
    n_vocab = n_ref;
    qsort(r, n_vocab, sizeof *r, in_order);
    if (!n_vocab || !isfinite(r[0].l))
        return -1;
    const double max = r[0].l, t = (double)p->temperature;
    if (t == 0)
        return r[0].id;
    uint32_t n = p->top_k && p->top_k < n_vocab ? p->top_k : n_vocab;
    if (p->typical_p < 1) {
        while ((r[n - 1].l - max) / t < -37)
            n--;
        n = typical(p, r, n);
    }
    double all = 0, sum = 0;
    for (uint32_t i = 0; i < n; i++)
        all += w[i] = exact_exp((r[i].l - max) / t);
    uint32_t keep = 0;
    while (keep < n && (keep == 0 || p->top_p == 1 || sum < (double)p->top_p * all))
        sum += w[keep++];
    n = keep;
    while (w[n - 1] < (double)p->min_p * w[0])
        n--;
    all = sum = 0;
    for (uint32_t i = 0; i < n; i++)
        all += w[i];
    uint32_t i = 0;
    double target = exact_uniform(p->seed, pos) * all;
    for (sum = w[0]; sum <= target && i + 1 < n; sum += w[i])
        i++;
    return r[i].id;
}

static void random_logits(float *l, uint32_t n, int kind)
{
    for (uint32_t i = 0; i < n; i++) {
        float u = (float)below(1 << 20) / (1 << 20);
        switch (kind) {
        case 0: l[i] = 20 * u - 10; break;                 /* spread          */
        case 1: l[i] = (float)below(4); break;             /* mostly ties     */
        case 2: l[i] = 0; break;                           /* all equal       */
        case 3: l[i] = below(3) ? -INFINITY : 3 * u; break; /* masked         */
        default: l[i] = 200 * u * u * u - 30; break;       /* a few stand out */
        }
    }
    if (kind == 3)
        l[below(n)] = 1;
}

static float pick(const float *from, uint32_t n)
{
    return from[below(n)];
}

/* A past, and biases and penalties that lower only, or also raise. */
struct world {
    int32_t id[100];
    struct sample_past past;
    struct sample_bias bias[8];
    uint32_t allow[MAX_VOCAB / 32 + 1];
};

static void random_world(struct world *w, struct sample_params *p, uint32_t n, bool raise)
{
    static const float lower[] = { 0, 0, 0.1f, 0.75f, 2 }, any[] = { 0, -2, -0.3f, 0.5f, 2 };
    static const float pens[] = { 1, 1.1f, 1.5f, 10, 0.5f, 1e-30f };
    static const uint32_t lasts[] = { 0, 1, 5, 64, UINT32_MAX };
    w->past = (struct sample_past){ w->id, below(100), 0, NULL };
    w->past.n_prompt = below(w->past.n + 1);
    for (uint32_t i = 0; i < w->past.n; i++)
        w->id[i] = (int32_t)below(n);
    p->repeat_penalty = pick(pens, raise ? 6 : 4);
    p->repeat_last_n = lasts[below(5)];
    p->presence_penalty = pick(raise ? any : lower, 5);
    p->frequency_penalty = pick(raise ? any : lower, 5);
    p->n_bias = below(3) ? 0 : below(9);
    p->bias = w->bias;
    for (uint32_t i = 0; i < p->n_bias; i++)
        w->bias[i] = (struct sample_bias){ (int32_t)below(n), (float)below(400) / 10 -
                                                              (raise ? 20 : 40) };
}

START_TEST(sample_equals_the_definition)
{
    static const float temps[] = { 0, 1e-30f, 0.1f, 0.8f, 1, 2, 100 };
    static const float top_ps[] = { 1e-6f, 0.1f, 0.5f, 0.95f, 0.999f, 1 };
    static const float min_ps[] = { 0, 0.001f, 0.05f, 0.5f, 0.999f };
    static const float typ_ps[] = { 1, 1, 1, 1e-6f, 0.2f, 0.5f, 0.9f, 0.9999f };
    static const uint32_t ks[] = { 0, 1, 2, 3, 7, 40, 1000, MAX_VOCAB, UINT32_MAX };
    static float l[MAX_VOCAB];
    for (int round = 0; round < 4000; round++) {
        uint32_t n = round % 3 ? 1 + below(60) : 1 + below(MAX_VOCAB);
        struct sampler *s = open_sampler(n);
        struct world w;
        struct sample_params p = {
            .temperature = pick(temps, 7), .top_k = ks[below(9)], .top_p = pick(top_ps, 6),
            .min_p = pick(min_ps, 5), .typical_p = pick(typ_ps, 8),
            .seed = ((uint64_t)below(1u << 31) << 32) | below(1u << 31)
        };
        random_logits(l, n, round % 5);
        random_world(&w, &p, n, round % 2);
        for (uint32_t i = 0; i <= n / 32; i++)
            w.allow[i] = below(3) ? below(1u << 16) << 16 | below(1u << 16) : 0;
        w.past.allow = below(4) ? NULL : w.allow;
        uint32_t pos = below(1u << 30);
        int32_t got = sample_token(s, &p, l, w.past, pos);
        int32_t want = reference(&p, l, n, w.past, pos);
        ck_assert_msg(got == want, "round %d: n %u t %g k %u typ %g top_p %g min_p %g pen %g last "
                      "%u pres %g freq %g: %d, expected %d", round, n, (double)p.temperature,
                      p.top_k, (double)p.typical_p, (double)p.top_p, (double)p.min_p,
                      (double)p.repeat_penalty, p.repeat_last_n, (double)p.presence_penalty,
                      (double)p.frequency_penalty, got, want);
        sampler_close(s);
    }
}
END_TEST

/* The k largest in order, and some ids that are no tokens among them: the
 * draw is that from all logits, with whatever lowers logits, and with no more
 * than sample_needs says. */
START_TEST(sample_top_gives_what_all_logits_give)
{
    static const float temps[] = { 0, 1e-30f, 0.1f, 0.8f, 2, 100 };
    static const float top_ps[] = { 1e-6f, 0.5f, 0.95f, 1 };
    static const float min_ps[] = { 0, 0.05f, 0.5f };
    static const float typ_ps[] = { 1, 1, 0.3f, 0.9f };
    static const uint32_t ks[] = { 1, 2, 7, 40, 64 };
    static float l[MAX_VOCAB];
    static struct ref r[MAX_VOCAB];
    static int32_t id[MAX_VOCAB + 2];
    static float top[MAX_VOCAB + 2];
    uint32_t partial = 0;
    for (int round = 0; round < 4000; round++) {
        const uint32_t n = 1 + below(round % 3 ? 60 : MAX_VOCAB), pos = below(1u << 30);
        struct sampler *s = open_sampler(n);
        struct world w;
        struct sample_params p = {
            .temperature = pick(temps, 6), .top_k = ks[below(5)], .top_p = pick(top_ps, 4),
            .min_p = pick(min_ps, 3), .typical_p = pick(typ_ps, 4), .seed = below(1u << 31)
        };
        random_logits(l, n, round % 5);
        random_world(&w, &p, n, false);
        for (uint32_t i = 0; i < n; i++)
            r[i] = (struct ref){ (double)l[i], (int32_t)i };
        qsort(r, n, sizeof *r, in_order);
        const uint32_t k = sample_needs(s, &p, w.past);
        ck_assert_uint_ge(k, p.temperature == 0 ? 1 : p.top_k);
        ck_assert_uint_le(k, (p.temperature == 0 ? 1 : p.top_k) + w.past.n + p.n_bias);
        partial += k < n;
        uint32_t n_top = 0;
        for (uint32_t i = 0; i < k && i < n; i++) {
            if (i < 2 && round % 2) {           /* a row that pads the table */
                id[n_top] = (int32_t)(n + i);
                top[n_top++] = (float)r[i].l;
            }
            id[n_top] = r[i].id;
            top[n_top++] = (float)r[i].l;
        }
        const int32_t want = sample_token(s, &p, l, w.past, pos);
        const int32_t got = sample_top(s, &p, id, top, n_top, w.past, pos);
        ck_assert_msg(got == want, "round %d: n %u t %g k %u top_p %g min_p %g typ %g pen %g: %d, "
                      "expected %d", round, n, (double)p.temperature, p.top_k, (double)p.top_p,
                      (double)p.min_p, (double)p.typical_p, (double)p.repeat_penalty, got, want);
        sampler_close(s);
    }
    ck_assert_uint_gt(partial, 1000);
}
END_TEST

/* Whatever part of the largest is there: it is not sure, or right; and it is sure
 * often enough to be worth it. */
START_TEST(sample_some_is_right_when_it_is_sure)
{
    static const float temps[] = { 0, 0.1f, 0.8f, 1, 2 }, top_ps[] = { 0.1f, 0.5f, 0.95f, 1 };
    static const float min_ps[] = { 0, 0.05f, 0.5f }, typ_ps[] = { 1, 1, 1, 0.9f };
    static const uint32_t ks[] = { 1, 2, 7, 40, 64, 1000 };
    static float l[MAX_VOCAB], top[MAX_VOCAB];
    static struct ref r[MAX_VOCAB];
    static int32_t id[MAX_VOCAB];
    uint32_t n_sure = 0, n_unsure = 0;
    for (int round = 0; round < 8000; round++) {
        const uint32_t n = 2 + below(round % 3 ? 60 : MAX_VOCAB - 2), pos = below(1u << 30);
        struct sampler *s = open_sampler(n);
        struct world w;
        struct sample_params p = {
            .temperature = pick(temps, 5), .top_k = ks[below(6)], .top_p = pick(top_ps, 4),
            .min_p = pick(min_ps, 3), .typical_p = pick(typ_ps, 4), .seed = below(1u << 31)
        };
        random_logits(l, n, round % 2 ? 4 : round % 5);
        random_world(&w, &p, n, false);
        for (uint32_t i = 0; i < n; i++)
            r[i] = (struct ref){ (double)l[i], (int32_t)i };
        qsort(r, n, sizeof *r, in_order);
        const uint32_t some = 1 + below(round % 2 ? 4 : n - 1), n_top = some < n ? some : n - 1;
        for (uint32_t i = 0; i < n_top && i < n; i++) {
            id[i] = r[i].id;
            top[i] = (float)r[i].l;
        }
        const int32_t want = sample_token(s, &p, l, w.past, pos);
        const int32_t got = sample_some(s, &p, id, top, n_top, n - n_top, top[n_top - 1], w.past,
                                        pos);
        ck_assert_msg(got == want || got == SAMPLE_UNSURE, "round %d: n %u of %u t %g k %u top_p "
                      "%g min_p %g typ %g: %d, expected %d", round, n_top, n,
                      (double)p.temperature, p.top_k, (double)p.top_p, (double)p.min_p,
                      (double)p.typical_p, got, want);
        n_sure += got != SAMPLE_UNSURE;
        n_unsure += got == SAMPLE_UNSURE;
        sampler_close(s);
    }
    ck_assert_msg(n_sure > 1000 && n_unsure > 1000, "%u sure, %u not", n_sure, n_unsure);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sample_def");
    TCase *t = tcase_create("sample_def");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, sample_equals_the_definition);
    tcase_add_test(t, sample_top_gives_what_all_logits_give);
    tcase_add_test(t, sample_some_is_right_when_it_is_sure);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int bad = srunner_ntests_failed(r);
    srunner_free(r);
    return bad != 0;
}
