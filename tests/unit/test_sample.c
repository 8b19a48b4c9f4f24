/* test_sample.c - one token from logits, against the definition.
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

static int32_t reference(const struct sample_params *p, const float *logits, uint32_t n_vocab,
                         const int32_t *recent, uint32_t n_recent, uint32_t pos)
{
    static struct ref r[MAX_VOCAB];
    static double w[MAX_VOCAB];
    for (uint32_t i = 0; i < n_vocab; i++) {
        bool seen = false;
        for (uint32_t j = 0; j < n_recent; j++)
            if (n_recent - j <= p->repeat_last_n && recent[j] == (int32_t)i)
                seen = true;
        double l = (double)logits[i], by = (double)p->repeat_penalty;
        r[i] = (struct ref){ seen ? (l > 0 ? l / by : l * by) : l, (int32_t)i };
    }
    qsort(r, n_vocab, sizeof *r, in_order);
    if (p->temperature == 0)
        return r[0].id;
    uint32_t n = p->top_k && p->top_k < n_vocab ? p->top_k : n_vocab;
    double all = 0, sum = 0;
    for (uint32_t i = 0; i < n; i++)
        all += w[i] = exact_exp((r[i].l - r[0].l) / (double)p->temperature);
    uint32_t keep = 0;
    while (keep < n && (keep == 0 || p->top_p == 1 || sum < (double)p->top_p * all))
        sum += w[keep++];
    n = keep;
    while (w[n - 1] < (double)p->min_p)
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

START_TEST(sample_equals_the_definition)
{
    static const float temps[] = { 0, 1e-30f, 0.1f, 0.8f, 1, 2, 100 };
    static const float top_ps[] = { 1e-6f, 0.1f, 0.5f, 0.95f, 0.999f, 1 };
    static const float min_ps[] = { 0, 0.001f, 0.05f, 0.5f, 0.999f };
    static const float pens[] = { 1, 1, 1.1f, 1.5f, 0.5f, 10, 1e-30f };
    static const uint32_t ks[] = { 0, 1, 2, 3, 7, 40, 1000, MAX_VOCAB, UINT32_MAX };
    static const uint32_t lasts[] = { 0, 1, 5, 64, UINT32_MAX };
    static float l[MAX_VOCAB];
    for (int round = 0; round < 3000; round++) {
        uint32_t n = round % 3 ? 1 + below(60) : 1 + below(MAX_VOCAB);
        struct sampler *s = open_sampler(n);
        random_logits(l, n, round % 5);
        struct sample_params p = {
            pick(temps, 7), ks[below(9)], pick(top_ps, 6), pick(min_ps, 5), pick(pens, 7),
            lasts[below(5)], ((uint64_t)below(1u << 31) << 32) | below(1u << 31)
        };
        int32_t recent[100];
        uint32_t n_recent = below(100);
        for (uint32_t i = 0; i < n_recent; i++)
            recent[i] = (int32_t)below(n);
        uint32_t pos = below(1u << 30);
        int32_t got = sample_token(s, &p, l, recent, n_recent, pos);
        int32_t want = reference(&p, l, n, recent, n_recent, pos);
        ck_assert_msg(got == want, "round %d: n %u t %g k %u top_p %g min_p %g pen %g last %u: "
                      "%d, expected %d", round, n, (double)p.temperature, p.top_k,
                      (double)p.top_p, (double)p.min_p, (double)p.repeat_penalty,
                      p.repeat_last_n, got, want);
        sampler_close(s);
    }
}
END_TEST

/* The k largest in order, and some ids that are no tokens among them. */
START_TEST(sample_top_gives_what_all_logits_give)
{
    static const float temps[] = { 0, 1e-30f, 0.1f, 0.8f, 2, 100 };
    static const float top_ps[] = { 1e-6f, 0.5f, 0.95f, 1 };
    static const float min_ps[] = { 0, 0.05f, 0.5f };
    static const uint32_t ks[] = { 1, 2, 7, 40, 64 };
    static float l[MAX_VOCAB];
    static struct ref r[MAX_VOCAB];
    for (int round = 0; round < 2000; round++) {
        const uint32_t n = 1 + below(round % 3 ? 60 : MAX_VOCAB), pos = below(1u << 30);
        struct sampler *s = open_sampler(n);
        struct sample_params p = { pick(temps, 6), ks[below(5)], pick(top_ps, 4), pick(min_ps, 3),
                                   1, 64, below(1u << 31) };
        random_logits(l, n, round % 5);
        for (uint32_t i = 0; i < n; i++)
            r[i] = (struct ref){ (double)l[i], (int32_t)i };
        qsort(r, n, sizeof *r, in_order);
        const uint32_t k = sample_needs(&p);
        ck_assert_uint_eq(k, p.temperature == 0 ? 1 : p.top_k);
        int32_t id[64 + 2];
        float top[64 + 2];
        uint32_t n_top = 0;
        for (uint32_t i = 0; i < k && i < n; i++) {
            if (i < 2 && round % 2) {           /* a row that pads the table */
                id[n_top] = (int32_t)(n + i);
                top[n_top++] = (float)r[i].l;
            }
            id[n_top] = r[i].id;
            top[n_top++] = (float)r[i].l;
        }
        const int32_t want = sample_token(s, &p, l, NULL, 0, pos);
        const int32_t got = sample_top(s, &p, id, top, n_top, pos);
        ck_assert_msg(got == want, "round %d: n %u t %g k %u top_p %g min_p %g: %d, expected %d",
                      round, n, (double)p.temperature, p.top_k, (double)p.top_p, (double)p.min_p,
                      got, want);
        sampler_close(s);
    }
}
END_TEST

START_TEST(sample_top_needs_all_where_any_token_may_win)
{
    struct sample_params p = SAMPLE_DEFAULT;
    ck_assert_uint_eq(sample_needs(&p), 40);
    p.top_k = 0;
    ck_assert_uint_eq(sample_needs(&p), 0);
    p.temperature = 0;
    ck_assert_uint_eq(sample_needs(&p), 1);
    p.repeat_penalty = 1.1f;
    ck_assert_uint_eq(sample_needs(&p), 0);
    p.repeat_last_n = 0;
    ck_assert_uint_eq(sample_needs(&p), 1);
    struct sampler *s = open_sampler(3);
    const float bad[][2] = { { NAN, NAN }, { INFINITY, 1 }, { -INFINITY, -INFINITY } };
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(sample_top(s, &p, (int32_t[]){ 1, 2 }, bad[i], 2, 0), -1);
    ck_assert_int_eq(sample_top(s, &p, (int32_t[]){ 3, -1 }, (float[]){ 2, 1 }, 2, 0), -1);
    sampler_close(s);
}
END_TEST

/* ------------------------------------------------------------ the promises */

static struct sample_params plain(float temperature)
{
    return (struct sample_params){ .temperature = temperature, .top_p = 1, .repeat_penalty = 1 };
}

START_TEST(sample_greedy_takes_the_largest_and_the_smaller_id)
{
    struct sampler *s = open_sampler(6);
    const float l[] = { -1, 4, 2, 4, -INFINITY, 4 };
    struct sample_params p = plain(0);
    p.top_k = 1;
    for (uint32_t pos = 0; pos < 50; pos++)
        ck_assert_int_eq(sample_token(s, &p, l, NULL, 0, pos), 1);
    sampler_close(s);
}
END_TEST

START_TEST(sample_nan_or_no_finite_maximum_gives_no_token)
{
    struct sampler *s = open_sampler(3);
    const float bad[][3] = { { 0, NAN, 1 }, { NAN, 0, 0 }, { 0, 0, -NAN }, { 0, INFINITY, 1 },
                             { -INFINITY, -INFINITY, -INFINITY } };
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct sample_params greedy = plain(0), warm = plain(1);
        ck_assert_int_eq(sample_token(s, &greedy, bad[i], NULL, 0, 0), -1);
        ck_assert_int_eq(sample_token(s, &warm, bad[i], NULL, 0, 0), -1);
    }
    sampler_close(s);
}
END_TEST

START_TEST(sample_penalty_counts_a_token_once_and_looks_back_so_far)
{
    struct sampler *s = open_sampler(4);
    const float l[] = { 4, 3, 1.5f, -1 };
    struct sample_params p = plain(0);
    p.repeat_penalty = 2;
    p.repeat_last_n = 3;
    /* 4 becomes 2 once (1 if it counted twice): 3 wins. */
    ck_assert_int_eq(sample_token(s, &p, l, (int32_t[]){ 0, 0, 3 }, 3, 0), 1);
    /* 4 -> 2 and 3 -> 1.5: 0 again; twice, 0 would be 1 and 1 would win. */
    ck_assert_int_eq(sample_token(s, &p, l, (int32_t[]){ 0, 0, 1 }, 3, 0), 0);
    /* 0 lies four back, beyond repeat_last_n. */
    ck_assert_int_eq(sample_token(s, &p, l, (int32_t[]){ 0, 3, 3, 3 }, 4, 0), 0);
    /* A negative logit is multiplied, not divided. */
    const float neg[] = { -1, -1.5f };
    struct sampler *s2 = open_sampler(2);
    ck_assert_int_eq(sample_token(s2, &p, neg, (int32_t[]){ 0 }, 1, 0), 1);
    sampler_close(s2);
    sampler_close(s);
}
END_TEST

/* Which tokens ever come up, as a bit set, over many positions. */
static uint32_t support(const struct sample_params *p, const float *l, uint32_t n)
{
    struct sampler *s = open_sampler(n);
    uint32_t set = 0;
    for (uint32_t pos = 0; pos < 5000; pos++) {
        int32_t id = sample_token(s, p, l, NULL, 0, pos);
        ck_assert(id >= 0 && (uint32_t)id < n);
        set |= 1u << id;
    }
    sampler_close(s);
    return set;
}

/* Weights 8 : 4 : 2 : 1 : 1, sixteen in all; exact_exp of a rounded log is
 * near these, so the cuts below are placed between, not on, the borders. */
static const float LADDER[5] = { 0, -0.69314718f, -1.38629436f, -2.07944154f, -2.07944154f };

START_TEST(sample_top_k_cuts_ties_by_id)
{
    struct sample_params p = plain(1);
    p.top_k = 4;
    ck_assert_uint_eq(support(&p, LADDER, 5), 0x0f);
    p.top_k = 5;
    ck_assert_uint_eq(support(&p, LADDER, 5), 0x1f);
    p.top_k = 0;
    ck_assert_uint_eq(support(&p, LADDER, 5), 0x1f);
    p.top_k = 1;
    ck_assert_uint_eq(support(&p, LADDER, 5), 0x01);
}
END_TEST

START_TEST(sample_top_p_keeps_the_token_that_crosses_the_border)
{
    struct sample_params p = plain(1);
    p.top_p = 0.49f;
    ck_assert_uint_eq(support(&p, LADDER, 5), 0x01);
    p.top_p = 0.51f;
    ck_assert_uint_eq(support(&p, LADDER, 5), 0x03);
    p.top_p = 0.74f;
    ck_assert_uint_eq(support(&p, LADDER, 5), 0x03);
    p.top_p = 0.76f;
    ck_assert_uint_eq(support(&p, LADDER, 5), 0x07);
    p.top_p = 0.93f;
    ck_assert_uint_eq(support(&p, LADDER, 5), 0x0f);
    p.top_p = 1e-30f;
    ck_assert_uint_eq(support(&p, LADDER, 5), 0x01);
    const float equal[4] = { 1, 1, 1, 1 };                 /* exact weights: on the border */
    p.top_p = 0.5f;
    ck_assert_uint_eq(support(&p, equal, 4), 0x03);
}
END_TEST

START_TEST(sample_min_p_is_relative_to_the_largest)
{
    struct sample_params p = plain(1);
    p.min_p = 0.51f;
    ck_assert_uint_eq(support(&p, LADDER, 5), 0x01);
    p.min_p = 0.49f;
    ck_assert_uint_eq(support(&p, LADDER, 5), 0x03);
    p.min_p = 0.12f;
    ck_assert_uint_eq(support(&p, LADDER, 5), 0x1f);
    const float equal[3] = { 7, 7, 7 };
    p.min_p = 0.999f;
    ck_assert_uint_eq(support(&p, equal, 3), 0x07);
}
END_TEST

START_TEST(sample_temperature_comes_before_the_cuts)
{
    /* At temperature 2 the ladder is 2.83 : 2 : 1.41 : 1 : 1, 8.24 in all. */
    struct sample_params p = plain(2);
    p.top_p = 0.51f;
    ck_assert_uint_eq(support(&p, LADDER, 5), 0x03);
    p.top_p = 0.6f;                    /* (2.83 + 2) / 8.24 = 0.586 */
    ck_assert_uint_eq(support(&p, LADDER, 5), 0x07);
    /* top-p counts what top-k left: 2.83 of 4.83 is 0.586. */
    p.top_k = 2;
    p.top_p = 0.58f;
    ck_assert_uint_eq(support(&p, LADDER, 5), 0x01);
}
END_TEST

START_TEST(sample_frequencies_follow_the_weights)
{
    struct sampler *s = open_sampler(5);
    struct sample_params p = plain(1);
    uint32_t count[5] = { 0 };
    const uint32_t n = 160000;
    for (uint32_t pos = 0; pos < n; pos++)
        count[sample_token(s, &p, LADDER, NULL, 0, pos)]++;
    const double share[5] = { 8, 4, 2, 1, 1 };
    double chi = 0;
    for (int i = 0; i < 5; i++) {
        double want = share[i] * n / 16;
        chi += (count[i] - want) * (count[i] - want) / want;
    }
    ck_assert_msg(chi < 18.5, "chi square %g with 4 degrees of freedom", chi);   /* p = 0.001 */
    sampler_close(s);
}
END_TEST

START_TEST(sample_equal_logits_are_ranked_by_id_alone)
{
    /* Moving the value classes about moves the drawn rank to another id, but
     * never to another rank: the draw knows only the order. */
    struct sampler *s = open_sampler(8);
    struct sample_params p = plain(0.9f);
    const float a[8] = { 2, 2, 2, 2, 1, 1, 1, 1 }, b[8] = { 1, 2, 1, 2, 1, 2, 1, 2 };
    const int32_t rank_b[8] = { 4, 0, 5, 1, 6, 2, 7, 3 };
    for (uint32_t pos = 0; pos < 2000; pos++) {
        int32_t ra = sample_token(s, &p, a, NULL, 0, pos);
        int32_t rb = rank_b[sample_token(s, &p, b, NULL, 0, pos)];
        ck_assert_int_eq(ra, rb);
    }
    sampler_close(s);
}
END_TEST

START_TEST(sample_sequence_for_a_seed_is_pinned)
{
    /* These ids may change only with the definition: a changed one breaks the
     * replay of every recorded seed. */
    static const int32_t want[24] = {
        40, 132, 297, 330, 363, 119, 165, 99, 33, 185, 271, 27,
        462, 383, 198, 284, 317, 396, 231, 139, 66, 337, 73, 251
    };
    static float l[500];
    for (uint32_t i = 0; i < 500; i++)
        l[i] = (float)((i * 7919u) % 1009u) / 128;      /* exact in binary32 */
    struct sampler *s = open_sampler(500);
    struct sample_params p = SAMPLE_DEFAULT;
    p.seed = 20240229;
    p.repeat_penalty = 1.25f;
    int32_t recent[24];
    for (uint32_t pos = 0; pos < 24; pos++) {
        recent[pos] = sample_token(s, &p, l, recent, pos, pos);
        ck_assert_msg(recent[pos] == want[pos], "position %u: %d, expected %d", pos, recent[pos],
                      want[pos]);
    }
    sampler_close(s);
}
END_TEST

START_TEST(sample_check_names_the_parameter)
{
    const struct sample_params good = SAMPLE_DEFAULT;
    struct err e = { 0 };
    ck_assert_int_eq(sample_check(&good, &e), 0);
    struct { struct sample_params p; const char *name; } bad[14];
    unsigned n = 0;
#define BAD(field, v) \
    do { bad[n].p = good; bad[n].p.field = (v); bad[n++].name = #field; } while (0)
    BAD(temperature, -0.1f);
    BAD(temperature, 100.5f);
    BAD(temperature, NAN);
    BAD(top_p, 0);
    BAD(top_p, 1.01f);
    BAD(top_p, NAN);
    BAD(min_p, -0.01f);
    BAD(min_p, 1);
    BAD(min_p, NAN);
    BAD(repeat_penalty, 0);
    BAD(repeat_penalty, -1);
    BAD(repeat_penalty, 10.5f);
    BAD(repeat_penalty, INFINITY);
    BAD(repeat_penalty, NAN);
    for (unsigned i = 0; i < n; i++) {
        ck_assert_int_eq(sample_check(&bad[i].p, &e), ERR_ARG);
        ck_assert_msg(!strncmp(e.text, bad[i].name, strlen(bad[i].name)), "%s", e.text);
    }
}
END_TEST

START_TEST(sampler_of_no_tokens_is_refused)
{
    struct sampler *s;
    struct err e = { 0 };
    ck_assert_int_eq(sampler_open(&s, 0, &e), ERR_ARG);
    ck_assert_int_eq(sampler_open(&s, 1u << 31, &e), ERR_ARG);
    ck_assert_ptr_null(s);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sample");
    TCase *t = tcase_create("sample");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, sample_equals_the_definition);
    tcase_add_test(t, sample_top_gives_what_all_logits_give);
    tcase_add_test(t, sample_top_needs_all_where_any_token_may_win);
    tcase_add_test(t, sample_greedy_takes_the_largest_and_the_smaller_id);
    tcase_add_test(t, sample_nan_or_no_finite_maximum_gives_no_token);
    tcase_add_test(t, sample_penalty_counts_a_token_once_and_looks_back_so_far);
    tcase_add_test(t, sample_top_k_cuts_ties_by_id);
    tcase_add_test(t, sample_top_p_keeps_the_token_that_crosses_the_border);
    tcase_add_test(t, sample_min_p_is_relative_to_the_largest);
    tcase_add_test(t, sample_temperature_comes_before_the_cuts);
    tcase_add_test(t, sample_frequencies_follow_the_weights);
    tcase_add_test(t, sample_equal_logits_are_ranked_by_id_alone);
    tcase_add_test(t, sample_sequence_for_a_seed_is_pinned);
    tcase_add_test(t, sample_check_names_the_parameter);
    tcase_add_test(t, sampler_of_no_tokens_is_refused);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int bad = srunner_ntests_failed(r);
    srunner_free(r);
    return bad != 0;
}
