/* test_sample.c - one token from logits: what each parameter promises. */
#include <check.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine/sample.h"

#define NONE ((struct sample_past){ 0 })
#define PAST(n_prompt, ...) \
    ((struct sample_past){ (const int32_t[]){ __VA_ARGS__ }, \
                           sizeof (int32_t[]){ __VA_ARGS__ } / sizeof(int32_t), n_prompt, NULL })
#define PROMPT(...) PAST(0, __VA_ARGS__)

static struct sampler *open_sampler(uint32_t n)
{
    struct sampler *s = NULL;
    struct err e = { 0 };
    ck_assert_int_eq(sampler_open(&s, n, &e), 0);
    return s;
}

START_TEST(sample_needs_all_where_any_token_may_win)
{
    struct sampler *s = open_sampler(100);
    struct sample_params p = SAMPLE_DEFAULT;
    const struct sample_past past = PAST(2, 5, 6, 7, 7, 8);
    ck_assert_uint_eq(sample_needs(s, &p, past), 40);
    p.typical_p = 0.5f;
    ck_assert_uint_eq(sample_needs(s, &p, past), 40);
    p.top_k = 0;
    ck_assert_uint_eq(sample_needs(s, &p, past), 0);
    p.temperature = 0;
    ck_assert_uint_eq(sample_needs(s, &p, past), 1);
    p.repeat_penalty = 1.1f;                     /* 5 6 7 8 */
    ck_assert_uint_eq(sample_needs(s, &p, past), 5);
    p.repeat_last_n = 2;                         /* 7 8 */
    ck_assert_uint_eq(sample_needs(s, &p, past), 3);
    p.repeat_penalty = 0.9f;
    ck_assert_uint_eq(sample_needs(s, &p, past), 0);
    p.repeat_last_n = 0;
    p.repeat_penalty = 1;
    ck_assert_uint_eq(sample_needs(s, &p, past), 1);
    p.frequency_penalty = 0.5f;                  /* 7 8, and not the prompt's */
    ck_assert_uint_eq(sample_needs(s, &p, past), 3);
    p.presence_penalty = -0.5f;
    ck_assert_uint_eq(sample_needs(s, &p, past), 0);
    p.presence_penalty = 0;
    p.bias = (const struct sample_bias[]){ { 8, -1 }, { 9, -1 }, { 9, -2 } };
    p.n_bias = 3;
    ck_assert_uint_eq(sample_needs(s, &p, past), 4);
    p.bias = (const struct sample_bias[]){ { 8, -1 }, { 9, 1 } };
    p.n_bias = 2;
    ck_assert_uint_eq(sample_needs(s, &p, past), 0);
    sampler_close(s);
}
END_TEST

START_TEST(sample_top_without_a_finite_largest_gives_no_token)
{
    struct sampler *s = open_sampler(3);
    struct sample_params p = SAMPLE_GREEDY;
    const float bad[][2] = { { NAN, NAN }, { INFINITY, 1 }, { -INFINITY, -INFINITY } };
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(sample_top(s, &p, (int32_t[]){ 1, 2 }, bad[i], 2, NONE, 0), -1);
    ck_assert_int_eq(sample_top(s, &p, (int32_t[]){ 3, -1 }, (float[]){ 2, 1 }, 2, NONE, 0), -1);
    sampler_close(s);
}
END_TEST

static struct sample_params plain(float temperature)
{
    struct sample_params p = SAMPLE_GREEDY;
    p.temperature = temperature;
    return p;
}

START_TEST(sample_greedy_takes_the_largest_and_the_smaller_id)
{
    struct sampler *s = open_sampler(6);
    const float l[] = { -1, 4, 2, 4, -INFINITY, 4 };
    struct sample_params p = plain(0);
    p.top_k = 1;
    for (uint32_t pos = 0; pos < 50; pos++)
        ck_assert_int_eq(sample_token(s, &p, l, NONE, pos), 1);
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
        ck_assert_int_eq(sample_token(s, &greedy, bad[i], NONE, 0), -1);
        ck_assert_int_eq(sample_token(s, &warm, bad[i], NONE, 0), -1);
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
    ck_assert_int_eq(sample_token(s, &p, l, PROMPT(0, 0, 3), 0), 1);
    /* 4 -> 2 and 3 -> 1.5: 0 again; twice, 0 would be 1 and 1 would win. */
    ck_assert_int_eq(sample_token(s, &p, l, PROMPT(0, 0, 1), 0), 0);
    /* 0 lies four back, beyond repeat_last_n. */
    ck_assert_int_eq(sample_token(s, &p, l, PROMPT(0, 3, 3, 3), 0), 0);
    /* A negative logit is multiplied, not divided. */
    const float neg[] = { -1, -1.5f };
    struct sampler *s2 = open_sampler(2);
    ck_assert_int_eq(sample_token(s2, &p, neg, PROMPT(0), 0), 1);
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
        int32_t id = sample_token(s, p, l, NONE, pos);
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

/* In bits the ladder's tokens carry 1 2 3 4 4, and its entropy is 1.875: token 1
 * is the typical one, then 0, 2, and the two last. */
START_TEST(sample_typical_p_keeps_what_carries_about_the_entropy)
{
    struct sample_params p = plain(1);
    p.typical_p = 0.24f;
    ck_assert_uint_eq(support(&p, LADDER, 5), 0x02);
    p.typical_p = 0.26f;
    ck_assert_uint_eq(support(&p, LADDER, 5), 0x03);
    p.typical_p = 0.76f;
    ck_assert_uint_eq(support(&p, LADDER, 5), 0x07);
    p.typical_p = 0.9f;
    ck_assert_uint_eq(support(&p, LADDER, 5), 0x0f);
    p.typical_p = 0.95f;
    ck_assert_uint_eq(support(&p, LADDER, 5), 0x1f);
    /* top-k comes before: of 8 : 4 the entropy is 0.92 bits, token 0 has 0.58. */
    p.top_k = 2;
    p.typical_p = 0.1f;
    ck_assert_uint_eq(support(&p, LADDER, 5), 0x01);
    /* min-p comes behind, and is relative to the largest of those left: 4. */
    p = plain(1);
    p.typical_p = 0.24f;
    p.min_p = 0.9f;
    ck_assert_uint_eq(support(&p, LADDER, 5), 0x02);
    /* All equal: nothing is nearer than another, the smaller ids stay. */
    const float equal[4] = { 1, 1, 1, 1 };
    p = plain(1);
    p.typical_p = 0.5f;
    ck_assert_uint_eq(support(&p, equal, 4), 0x03);
}
END_TEST

START_TEST(sample_presence_and_frequency_count_generated_tokens)
{
    struct sampler *s = open_sampler(3);
    const float l[] = { 3, 2, 1 };
    struct sample_params p = plain(0);
    p.presence_penalty = 1.5f;
    ck_assert_int_eq(sample_token(s, &p, l, PAST(2, 0, 0), 0), 0);      /* the prompt's */
    ck_assert_int_eq(sample_token(s, &p, l, PAST(0, 0), 0), 1);         /* 1.5 2 1 */
    ck_assert_int_eq(sample_token(s, &p, l, PAST(0, 0, 0, 1), 0), 0);   /* 1.5 0.5 1 */
    p.presence_penalty = 0;
    p.frequency_penalty = 0.75f;
    ck_assert_int_eq(sample_token(s, &p, l, PAST(1, 0, 0), 0), 0);      /* 2.25 2 1 */
    ck_assert_int_eq(sample_token(s, &p, l, PAST(1, 0, 0, 0), 0), 1);   /* 1.5 2 1 */
    p.frequency_penalty = -1;
    p.presence_penalty = 0.5f;
    ck_assert_int_eq(sample_token(s, &p, l, PAST(0, 2, 2, 2), 0), 2);   /* 3 2 3.5 */
    sampler_close(s);
}
END_TEST

START_TEST(sample_bias_is_added_before_the_penalties)
{
    struct sampler *s = open_sampler(3);
    const float l[] = { 3, 2, -1 };
    const struct sample_bias ban[] = { { 0, -100 } }, twice[] = { { 2, 2.5f }, { 2, 2 } };
    struct sample_params p = plain(0);
    p.bias = ban;
    p.n_bias = 1;
    ck_assert_int_eq(sample_token(s, &p, l, NONE, 0), 1);
    p.bias = twice;
    p.n_bias = 2;
    ck_assert_int_eq(sample_token(s, &p, l, NONE, 0), 2);               /* 3 2 3.5 */
    p.repeat_penalty = 2;
    p.repeat_last_n = 8;
    ck_assert_int_eq(sample_token(s, &p, l, PAST(1, 2), 0), 0);         /* 3 2 1.75 */
    sampler_close(s);
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
        count[sample_token(s, &p, LADDER, NONE, pos)]++;
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
        int32_t ra = sample_token(s, &p, a, NONE, pos);
        int32_t rb = rank_b[sample_token(s, &p, b, NONE, pos)];
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
        recent[pos] = sample_token(s, &p, l, (struct sample_past){ recent, pos, 0, NULL }, pos);
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
    struct { struct sample_params p; const char *name; } bad[32];
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
    BAD(typical_p, 0);
    BAD(typical_p, 1.01f);
    BAD(typical_p, NAN);
    BAD(presence_penalty, 2.1f);
    BAD(presence_penalty, -2.1f);
    BAD(presence_penalty, NAN);
    BAD(frequency_penalty, 2.1f);
    BAD(frequency_penalty, -2.1f);
    BAD(frequency_penalty, NAN);
    for (unsigned i = 0; i < n; i++) {
        ck_assert_int_eq(sample_check(&bad[i].p, &e), ERR_ARG);
        ck_assert_msg(!strncmp(e.text, bad[i].name, strlen(bad[i].name)), "%s", e.text);
    }
}
END_TEST

START_TEST(sample_check_refuses_a_bias_out_of_range)
{
    struct sample_params p = SAMPLE_DEFAULT;
    static struct sample_bias many[SAMPLE_MAX_BIAS + 1];
    const float bad[] = { 100.5f, -101, NAN, INFINITY };
    struct err e = { 0 };
    p.bias = many;
    p.n_bias = SAMPLE_MAX_BIAS;
    ck_assert_int_eq(sample_check(&p, &e), 0);
    p.n_bias++;
    ck_assert_int_eq(sample_check(&p, &e), ERR_ARG);
    p.n_bias = 2;
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        many[1].bias = bad[i];
        ck_assert_int_eq(sample_check(&p, &e), ERR_ARG);
        ck_assert_ptr_nonnull(strstr(e.text, "logit_bias"));
    }
    many[1] = (struct sample_bias){ 7, 1 };
    ck_assert_int_eq(sample_check_ids(&p, 8, &e), 0);
    ck_assert_int_eq(sample_check_ids(&p, 7, &e), ERR_ARG);
    many[1].id = -1;
    ck_assert_int_eq(sample_check_ids(&p, 7, &e), ERR_ARG);
    ck_assert_ptr_nonnull(strstr(e.text, "token -1 does not exist"));
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
    tcase_add_test(t, sample_needs_all_where_any_token_may_win);
    tcase_add_test(t, sample_top_without_a_finite_largest_gives_no_token);
    tcase_add_test(t, sample_greedy_takes_the_largest_and_the_smaller_id);
    tcase_add_test(t, sample_nan_or_no_finite_maximum_gives_no_token);
    tcase_add_test(t, sample_penalty_counts_a_token_once_and_looks_back_so_far);
    tcase_add_test(t, sample_top_k_cuts_ties_by_id);
    tcase_add_test(t, sample_top_p_keeps_the_token_that_crosses_the_border);
    tcase_add_test(t, sample_min_p_is_relative_to_the_largest);
    tcase_add_test(t, sample_typical_p_keeps_what_carries_about_the_entropy);
    tcase_add_test(t, sample_presence_and_frequency_count_generated_tokens);
    tcase_add_test(t, sample_bias_is_added_before_the_penalties);
    tcase_add_test(t, sample_temperature_comes_before_the_cuts);
    tcase_add_test(t, sample_frequencies_follow_the_weights);
    tcase_add_test(t, sample_equal_logits_are_ranked_by_id_alone);
    tcase_add_test(t, sample_sequence_for_a_seed_is_pinned);
    tcase_add_test(t, sample_check_names_the_parameter);
    tcase_add_test(t, sample_check_refuses_a_bias_out_of_range);
    tcase_add_test(t, sampler_of_no_tokens_is_refused);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int bad = srunner_ntests_failed(r);
    srunner_free(r);
    return bad != 0;
}
