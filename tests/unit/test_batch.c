/* Promises of core/engine/batch.h. */
#include <check.h>
#include <stdint.h>

#include "core/engine/batch.h"

static const struct bnp_limits limits = {
    .struct_size = sizeof limits, .max_tok = 8, .max_seq = 3, .max_pages = 4, .max_out = 5
};
static struct batch b;

static void setup(void)
{
    struct err err;
    ck_assert_int_eq(batch_open(&b, &limits, &err), 0);
}

static void teardown(void)
{
    batch_close(&b);
}

START_TEST(batch_without_limits_is_refused)
{
    struct batch none;
    struct err err = { 0 };
    struct bnp_limits l = limits;
    l.max_out = 0;
    ck_assert_int_eq(batch_open(&none, &l, &err), ERR_ARG);
}
END_TEST

START_TEST(batch_rows_stand_sequence_by_sequence)
{
    const int32_t ids[] = { 7, 8, 9 }, page0[] = { 3, 1 }, page1[] = { 0 };
    ck_assert(batch_add(&b, ids, 3, 15, page0, 2, 1));
    ck_assert(batch_add(&b, ids + 1, 1, 0, page1, 1, 0));
    ck_assert(batch_add(&b, ids, 2, 4, page1, 1, 2));
    const struct bnp_step *s = &b.step;
    ck_assert_uint_eq(s->struct_size, sizeof(struct bnp_step));
    ck_assert_uint_eq(s->n_tok, 6);
    ck_assert_uint_eq(s->n_seq, 3);
    ck_assert_uint_eq(s->n_out, 3);
    ck_assert_uint_eq(s->max_pages, 4);
    const int32_t id[] = { 7, 8, 9, 8, 7, 8 }, pos[] = { 15, 16, 17, 0, 4, 5 };
    const int32_t start[] = { 0, 3, 4, 6 }, len[] = { 18, 1, 6 }, out[] = { 2, 4, 5 };
    const int32_t page[] = { 3, 1, -1, -1, 0, -1, -1, -1, 0, -1, -1, -1 };
    ck_assert_mem_eq(s->id, id, sizeof id);
    ck_assert_mem_eq(s->pos, pos, sizeof pos);
    ck_assert_mem_eq(s->seq_start, start, sizeof start);
    ck_assert_mem_eq(s->kv_len, len, sizeof len);
    ck_assert_mem_eq(s->out_row, out, sizeof out);
    ck_assert_mem_eq(s->page, page, sizeof page);
}
END_TEST

START_TEST(batch_refuses_what_exceeds_a_limit_and_adds_nothing)
{
    const int32_t ids[9] = { 0 }, page[5] = { 0 };
    ck_assert(!batch_add(&b, ids, 9, 0, page, 1, 0));             /* rows      */
    ck_assert(!batch_add(&b, ids, 1, 0, page, 5, 0));             /* pages     */
    ck_assert(!batch_add(&b, ids, 6, 0, page, 1, 2));             /* outputs   */
    ck_assert(!batch_add(&b, ids, 2, INT32_MAX - 1, page, 1, 0)); /* positions */
    ck_assert_uint_eq(b.step.n_tok, 0);
    ck_assert_uint_eq(b.step.n_seq, 0);
    ck_assert(batch_add(&b, ids, 5, 0, page, 1, 2));
    ck_assert(!batch_add(&b, ids, 1, 0, page, 1, 1));
    ck_assert(batch_add(&b, ids, 1, 0, page, 1, 0));
    ck_assert(batch_add(&b, ids, 1, 0, page, 1, 0));
    ck_assert(!batch_add(&b, ids, 1, 0, page, 1, 0));             /* sequences */
    ck_assert_uint_eq(b.step.n_tok, 7);
    ck_assert_uint_eq(b.step.n_out, 5);
}
END_TEST

START_TEST(batch_arrays_never_move)
{
    const struct bnp_step before = b.step;
    const int32_t ids[8] = { 1, 2, 3 }, page[] = { 2 };
    ck_assert(batch_add(&b, ids, 8, 0, page, 1, 1));
    batch_clear(&b);
    ck_assert_uint_eq(b.step.n_tok, 0);
    ck_assert_uint_eq(b.step.n_out, 0);
    ck_assert(batch_add(&b, ids, 2, 0, page, 1, 1));
    ck_assert_int_eq(b.step.out_row[0], 1);
    ck_assert_int_eq(b.step.seq_start[0], 0);
    ck_assert_ptr_eq(b.step.id, before.id);
    ck_assert_ptr_eq(b.step.page, before.page);
    ck_assert_ptr_eq(b.step.out_row, before.out_row);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("batch");
    TCase *c = tcase_create("batch");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, batch_without_limits_is_refused);
    tcase_add_test(c, batch_rows_stand_sequence_by_sequence);
    tcase_add_test(c, batch_refuses_what_exceeds_a_limit_and_adds_nothing);
    tcase_add_test(c, batch_arrays_never_move);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
