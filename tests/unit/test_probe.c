/* Promises of core/plug/probe.h. */
#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/plug/hostsvc.h"
#include "core/plug/probe.h"
#include "core/plug/probe_run.h"
#include "plug_dir.h"

static struct plug *plug;
static struct err err;
static struct buf one, two;

static void setup(void)
{
    plug_dir_setup();
    plug_dir_add(PLUG_DIR_REF, "scalar-ref.so");
    struct plug_opts o = plug_dir_opts();
    o.no_test = true;
    plug = plug_dir_open(&o);
}

static void teardown(void)
{
    ck_assert_uint_eq(atomic_load(&plug->ref->plugin->host->mem.n), 1);   /* its device */
    plug_close(plug);
    buf_free(&one);
    buf_free(&two);
    plug_dir_teardown();
}

static const bnp_weight_desc weight = {
    .struct_size = sizeof weight, .format = BNP_FMT_T2, .scale_kind = BNP_SCALE_ROW,
    .flags = BNP_W_MUL | BNP_W_GATHER | BNP_W_TOPK, .rows = 37, .cols = 90, .max_tok = 8 };
static const bnp_attn_desc attention = {
    .struct_size = sizeof attention, .n_head = 4, .n_head_kv = 2, .head_dim = 32, .page_tok = 16,
    .kv_format = BNP_KV_F16, .max_kv = 64, .max_tok = 8, .scale = 0.25f };
static const bnp_point_desc pointwise = {
    .struct_size = sizeof pointwise, .ops = 0x3f, .cols = 160, .max_tok = 8 };

static struct probe probe_of(uint64_t seed, enum probe_fill fill)
{
    return (struct probe){ .seed = seed, .fill = fill, .n_tok = 3 };
}

/* Asks one family, 0 to 2, of d. */
static int ask(struct dev *d, int family, struct probe *p, struct buf *out)
{
    buf_clear(out);
    return family == 0 ? probe_linear(d, &weight, NULL, p, out, &err)
         : family == 1 ? probe_attn(d, &attention, 50, p, out, &err)
                       : probe_point(d, &pointwise, p, out, &err);
}

static uint64_t part_bytes(const struct probe *p)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < p->n_part; i++)
        n += (uint64_t)p->part[i].n_row * p->part[i].cols * 4;
    return n;
}

START_TEST(probe_same_question_same_bytes)
{
    struct probe p = probe_of(5, PROBE_RANDOM), q = p, other = probe_of(6, PROBE_RANDOM);
    ck_assert_msg(!ask(plug->ref, _i, &p, &one), "%s", err.text);
    ck_assert_int_eq(ask(plug->ref, _i, &q, &two), 0);
    ck_assert_uint_eq(one.n, part_bytes(&p));
    ck_assert_uint_eq(one.n, two.n);
    ck_assert_mem_eq(one.p, two.p, one.n);
    ck_assert_int_eq(probe_agree(&p, &one, &two, &(bnp_offer){ .det = BNP_DET_EXACT }, &err), 0);
    ck_assert_int_eq(ask(plug->ref, _i, &other, &two), 0);
    ck_assert_int_ne(memcmp(one.p, two.p, one.n), 0);
}
END_TEST

START_TEST(probe_says_what_its_result_is_made_of)
{
    struct probe p = probe_of(5, PROBE_RANDOM);
    ck_assert_int_eq(ask(plug->ref, 0, &p, &one), 0);
    ck_assert_uint_eq(p.n_part, 5);
    ck_assert_str_eq(p.part[0].op, "mul");
    ck_assert_str_eq(p.part[4].op, "topk logit");
    ck_assert_uint_eq(p.part[2].cols, 90);
    ck_assert_int_eq(ask(plug->ref, 1, &p, &one), 0);
    ck_assert_uint_eq(p.n_part, 1);
    ck_assert_uint_eq(p.part[0].n_row, 100);      /* every row of both sequences */
    ck_assert_int_eq(ask(plug->ref, 2, &p, &one), 0);
    ck_assert_uint_eq(p.n_part, 9);
}
END_TEST

START_TEST(probe_every_fill_is_finite_and_differs)
{
    for (enum probe_fill f = PROBE_RANDOM; f < PROBE_N_FILL; f++) {
        for (uint64_t i = 0; i < 3000; i++) {
            const float v = probe_value(f, 3, i);
            ck_assert(v >= -4096.0f && v <= 4096.0f);
        }
        for (int family = 0; family < 3; family++) {
            struct probe p = probe_of(2, f);
            ck_assert_msg(!ask(plug->ref, family, &p, &one), "%s", err.text);
        }
        ck_assert_str_ne(probe_fill_name(f), "unknown");
    }
    ck_assert_float_eq(probe_value(PROBE_SPIKE, 9, 41), 3000.0f);
    const float tiny = probe_value(PROBE_DENORMAL, 9, 0);
    ck_assert(tiny < 1.2e-38f && tiny > -1.2e-38f);
}
END_TEST

START_TEST(probe_numbers_are_these)
{
    /* The known answers depend on them. Computed apart, from the formula. */
    ck_assert_uint_eq(probe_number(1, 0), UINT64_C(0xf4a90164c4749e1a));
    ck_assert_uint_eq(probe_number(77, 1000000), UINT64_C(0xe209fad122df9b43));
    ck_assert_float_eq(probe_value(PROBE_RANDOM, 1, 0), 0x1.d2a4040000000p+0f);
}
END_TEST

START_TEST(probe_attention_with_pages_copied_by_bytes_is_the_same)
{
    struct dev plain = *plug->ref;
    bnp_attn_ops ops = *plug->ref->attn;
    struct probe p = probe_of(11, PROBE_RANDOM), q = p;
    ops.copy_page = NULL;
    plain.attn = &ops;
    ck_assert_int_eq(ask(plug->ref, 1, &p, &one), 0);
    ck_assert_int_eq(ask(&plain, 1, &q, &two), 0);
    ck_assert_uint_eq(one.n, two.n);
    ck_assert_mem_eq(one.p, two.p, one.n);
}
END_TEST

/* scalar-ref behind a device with memory of its own: every byte goes through
 * mem_alloc, copy_in and copy_out. */
static unsigned n_private, n_copied;

static int private_alloc(bnp_device *d, uint32_t kind, uint64_t size, uint64_t align, bnp_span *out)
{
    (void)d;
    (void)kind;
    const uint64_t whole = (size + BNP_SLACK + align - 1) / align * align;
    out->base = aligned_alloc(align < 64 ? 64 : align, whole < 64 ? 64 : whole);
    out->offset = 0;
    out->size = size;
    memset(out->base, 0xcd, whole);
    n_private++;
    return BNP_OK;
}

static void private_free(bnp_device *d, bnp_span s)
{
    (void)d;
    free(s.base);
    n_private--;
}

static int copy_in(bnp_stream *s, bnp_span dst, const void *src)
{
    (void)s;
    memcpy((char *)dst.base + dst.offset, src, dst.size);
    n_copied++;
    return BNP_OK;
}

static int copy_out(bnp_stream *s, void *dst, bnp_span src)
{
    (void)s;
    memcpy(dst, (const char *)src.base + src.offset, src.size);
    n_copied++;
    return BNP_OK;
}

START_TEST(probe_devices_with_private_memory_are_asked_alike)
{
    struct dev far = *plug->ref;
    bnp_device_ops ops = *plug->ref->ops;
    struct probe p = probe_of(8, PROBE_MIXED), q = p;
    ops.mem_alloc = private_alloc;
    ops.mem_free = private_free;
    ops.copy_in = copy_in;
    ops.copy_out = copy_out;
    far.ops = &ops;
    far.info.flags &= ~(uint32_t)BNP_DEV_HOST_MEM;
    ck_assert_int_eq(ask(plug->ref, _i, &p, &one), 0);
    ck_assert_msg(!ask(&far, _i, &q, &two), "%s", err.text);
    ck_assert_uint_eq(one.n, two.n);
    ck_assert_mem_eq(one.p, two.p, one.n);
    ck_assert_uint_eq(n_private, 0);
    ck_assert_uint_gt(n_copied, 3);
}
END_TEST

static int rows_of_ones(void *ctx, uint32_t row, uint32_t n, void *dst, size_t stride)
{
    (void)ctx;
    (void)row;
    for (uint32_t r = 0; r < n; r++)
        memset((char *)dst + r * stride, 0xaa, 16);          /* 64 codes of +1 */
    return BNP_OK;
}

static int scales_of_two(void *ctx, uint64_t first, uint64_t n, float *dst)
{
    (void)ctx;
    (void)first;
    for (uint64_t i = 0; i < n; i++)
        dst[i] = 2.0f;
    return BNP_OK;
}

/* All 64 inputs 1000, all weights +1 times 2: q is 127 everywhere, s 0.127. */
START_TEST(probe_given_weights_are_the_ones_multiplied)
{
    const bnp_weight_src src = { .struct_size = sizeof src, .read_rows = rows_of_ones,
                                 .read_scales = scales_of_two };
    const bnp_weight_desc d = { .struct_size = sizeof d, .format = BNP_FMT_T2, .rows = 5,
                                .cols = 64, .scale_kind = BNP_SCALE_TENSOR, .flags = BNP_W_MUL,
                                .max_tok = 3 };
    struct probe p = probe_of(1, PROBE_MAX);
    ck_assert_msg(!probe_linear(plug->ref, &d, &src, &p, &one, &err), "%s", err.text);
    const volatile float s = 127.0f / 1000.0f, factor = 2.0f / s;
    for (unsigned i = 0; i < 15; i++) {
        float y;
        memcpy(&y, one.p + i * 4, 4);
        ck_assert_float_eq(y, 64.0f * 127.0f * factor);
    }
}
END_TEST

static int open_bench(struct probe_bench *b, int family, struct probe_cold *cold)
{
    return family == 0 ? probe_bench_linear(b, plug->ref, &weight, 8, cold)
         : family == 1 ? probe_bench_attn(b, plug->ref, &attention, 50)
                       : probe_bench_point(b, plug->ref, &pointwise);
}

START_TEST(probe_a_bench_is_called_with_any_rows)
{
    struct probe_bench b;
    ck_assert_int_eq(open_bench(&b, _i, NULL), 0);
    for (uint32_t n = 1; n <= 8; n += 7)
        for (unsigned i = 0; i < 3; i++)
            ck_assert(!(i ? 0 : b.set(b.ctx, n)) && !(b.ready ? b.ready(b.ctx) : 0) &&
                      !b.once(b.ctx));
    ck_assert_uint_eq(b.n_copy, 1);
    ck_assert_int_ne(b.set(b.ctx, 9), 0);
    ck_assert_str_ne(b.e.text, "");
    probe_bench_close(&b);
}
END_TEST

/* Copies of a weight that calls take turns on leave no memory behind; a part that
 * holds fewer than two is not used. What caches would hold is left in them. */
START_TEST(probe_benches_share_cold_memory)
{
    struct probe_bench b[3];
    struct probe_cold cold = { .mem.size = 100000, .part = 20000, .end = 25000, .enough = 2 << 20 };
    cold.mem.base = plug_mem_alloc(plug, cold.mem.size, 64);
    for (unsigned i = 0; i < 3; i++) {
        cold.part = i == 2 ? 1500 : 20000;
        ck_assert_int_eq(open_bench(&b[i], 0, &cold), 0);
        ck_assert_uint_gt(b[i].weight_size, 37 * 90 / 4);
        ck_assert_uint_ge(b[i].n_copy, i == 2 ? 1 : 2);
        ck_assert_uint_le(b[i].n_copy * b[i].weight_size, i == 2 ? b[i].weight_size : 20000);
        ck_assert(!b[i].cold && !b[i].set(b[i].ctx, 1));
    }
    ck_assert_uint_eq(cold.used, 40000);
    for (unsigned i = 0; i < 12; i++)
        ck_assert(!b[i % 3].ready(b[i % 3].ctx) && !b[i % 3].once(b[i % 3].ctx));
    ck_assert_uint_eq(cold.n_read, 4 * (b[0].weight_size + b[1].weight_size));
    for (unsigned i = 0; i < 3; i++)
        probe_bench_close(&b[i]);
    plug_mem_free(plug, cold.mem.base);
}
END_TEST

/* Before a copy has its turn, so much else was read as pushes it out of caches. */
START_TEST(probe_a_copy_is_cold_when_its_turn_comes)
{
    static const uint64_t size = UINT64_C(4) << 20;
    struct probe_bench b;
    struct probe_cold cold = { .mem.size = size, .part = 5000, .end = size / 4, .enough = 100000 };
    cold.mem.base = plug_mem_alloc(plug, size, 64);
    ck_assert_int_eq(open_bench(&b, 0, &cold), 0);
    ck_assert(b.cold && b.n_copy >= 2 && !b.set(b.ctx, 1));
    for (unsigned i = 0; i < 3 * b.n_copy; i++) {
        const uint64_t before = cold.n_read;
        ck_assert(!b.ready(b.ctx));
        ck_assert_uint_eq(cold.n_read - before, i % b.n_copy ? 0 : cold.enough);
        ck_assert(!b.once(b.ctx));
        ck_assert_uint_ge(cold.n_read - before, b.weight_size);
    }
    probe_bench_close(&b);
    plug_mem_free(plug, cold.mem.base);
}
END_TEST

START_TEST(probe_impossible_questions_are_errors)
{
    struct probe p = probe_of(1, PROBE_RANDOM);
    struct dev none = *plug->ref;
    bnp_weight_desc w = weight;
    bnp_attn_desc a = attention;
    none.linear = NULL;
    none.attn = NULL;
    none.point = NULL;
    for (int f = 0; f < 3; f++)
        ck_assert_int_eq(ask(&none, f, &p, &one), ERR_UNSUPPORTED);
    p.n_tok = 9;
    for (int f = 0; f < 3; f++)
        ck_assert_int_eq(ask(plug->ref, f, &p, &one), ERR_ARG);
    p.n_tok = 0;
    for (int f = 0; f < 3; f++)
        ck_assert_int_eq(ask(plug->ref, f, &p, &one), ERR_ARG);
    p.n_tok = 2;
    w.rows = 0;
    ck_assert_int_eq(probe_linear(plug->ref, &w, NULL, &p, &one, &err), ERR_ARG);
    w = weight;
    w.format = 99;
    ck_assert_int_eq(probe_linear(plug->ref, &w, NULL, &p, &one, &err), ERR_UNSUPPORTED);
    ck_assert_int_eq(probe_attn(plug->ref, &a, 65, &p, &one, &err), ERR_ARG);
    a.head_dim = UINT32_MAX;
    ck_assert_int_eq(probe_attn(plug->ref, &a, 10, &p, &one, &err), ERR_ARG);
}
END_TEST

static struct buf floats(float *v, size_t n)
{
    return (struct buf){ .p = (char *)v, .n = n * sizeof *v };
}

START_TEST(probe_diff_finds_the_first_wrong_bit_or_bound)
{
    float a[6] = { 1, 2, 3, 4, 0.0f, 6 }, b[6] = { 1, 2, 3, 4, 0.0f, 6 };
    const bnp_offer exact = { .det = BNP_DET_EXACT },
                    loose = { .det = BNP_DET_BOUNDED, .abs_err = 0.0f, .rel_err = 0.125f };
    struct buf x = floats(a, 6), y = floats(b, 6);
    ck_assert_int_eq(probe_diff(&x, &y, &exact, 3), -1);
    b[4] = -0.0f;                                   /* equal numbers, other bits */
    ck_assert_int_eq(probe_diff(&x, &y, &exact, 3), 4);
    ck_assert_int_eq(probe_diff(&x, &y, &loose, 3), -1);
    b[2] = 3.375f;                                  /* 0.125 of the row's 3 */
    ck_assert_int_eq(probe_diff(&x, &y, &loose, 3), -1);
    b[0] = 1.376f;
    ck_assert_int_eq(probe_diff(&x, &y, &loose, 3), 0);
    b[0] = 1;
    b[5] = strtof("nan", NULL);
    ck_assert_int_eq(probe_diff(&x, &y, &loose, 3), 5);
    y.n -= 4;
    b[2] = 3;
    ck_assert_int_eq(probe_diff(&x, &y, &loose, 3), 5);
}
END_TEST

START_TEST(probe_agree_names_op_row_and_column)
{
    float a[8] = { 0 }, b[8] = { 0 };
    const struct probe p = { .n_part = 2, .part = { { "mul", 1, 2 }, { "gather", 2, 3 } } };
    const bnp_offer exact = { .det = BNP_DET_EXACT };
    struct buf x = floats(a, 8), y = floats(b, 8);
    ck_assert_int_eq(probe_agree(&p, &x, &y, &exact, &err), 0);
    b[6] = 1.5f;
    ck_assert_int_eq(probe_agree(&p, &x, &y, &exact, &err), ERR_PLUGIN);
    ck_assert_str_eq(err.text, "gather: row 1, column 1: got 1.5 (3fc00000), expected 0 (00000000)");
    x.n -= 4;
    ck_assert_int_eq(probe_agree(&p, &x, &y, &exact, &err), ERR_PLUGIN);
}
END_TEST

/* When the contract, a case or a fill changes on purpose, the message has the
 * digest to put into core/plug/known.c. */
/* With nothing remembered from another device. */
static int known_answers(struct dev *d, struct dev *ref, struct err *e)
{
    struct known_answers *all = known_open();
    ck_assert_ptr_nonnull(all);
    const int rc = probe_known_answers(d, ref, all, e);
    known_close(all);
    return rc;
}

START_TEST(probe_known_answers_of_scalar_ref_are_known)
{
    const int rc = known_answers(plug->ref, NULL, &err);
    ck_assert_msg(rc == 0, "%s", err.text);
    ck_assert_int_eq(known_answers(plug->ref, plug->ref, &err), 0);
}
END_TEST

static int overstated(bnp_device *d, const bnp_weight_desc *w, bnp_offer *o)
{
    (void)d;
    (void)w;
    o->det = BNP_DET_EXACT;
    o->rel_err = 0.5f;
    return BNP_OK;
}

START_TEST(probe_known_answers_want_consistent_offers)
{
    struct dev odd = *plug->ref;
    bnp_linear_ops ops = *plug->ref->linear;
    ops.query = overstated;
    odd.linear = &ops;
    ck_assert_int_eq(known_answers(&odd, plug->ref, &err), ERR_PLUGIN);
    ck_assert_ptr_nonnull(strstr(err.text, "its offer says class 1 with errors 0 and 0.5"));
    odd.linear = NULL;
    ck_assert_int_eq(known_answers(&odd, plug->ref, &err), 0);
    ck_assert_int_eq(known_answers(&odd, NULL, &err), ERR_PLUGIN);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("probe");
    TCase *c = tcase_create("probe");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, probe_same_question_same_bytes, 0, 3);
    tcase_add_test(c, probe_says_what_its_result_is_made_of);
    tcase_add_test(c, probe_every_fill_is_finite_and_differs);
    tcase_add_test(c, probe_numbers_are_these);
    tcase_add_test(c, probe_attention_with_pages_copied_by_bytes_is_the_same);
    tcase_add_loop_test(c, probe_devices_with_private_memory_are_asked_alike, 0, 3);
    tcase_add_test(c, probe_given_weights_are_the_ones_multiplied);
    tcase_add_loop_test(c, probe_a_bench_is_called_with_any_rows, 0, 3);
    tcase_add_test(c, probe_benches_share_cold_memory);
    tcase_add_test(c, probe_a_copy_is_cold_when_its_turn_comes);
    tcase_add_test(c, probe_impossible_questions_are_errors);
    tcase_add_test(c, probe_diff_finds_the_first_wrong_bit_or_bound);
    tcase_add_test(c, probe_agree_names_op_row_and_column);
    tcase_add_test(c, probe_known_answers_of_scalar_ref_are_known);
    tcase_add_test(c, probe_known_answers_want_consistent_offers);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
