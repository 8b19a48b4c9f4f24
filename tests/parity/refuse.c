/* refuse.c - what scalar-ref must refuse, with the right status, and with one
 * report for every refusal but a plain no (BNP_E_UNSUPPORTED: none).
 *
 * Weights are in refuse_weights.c; work and steps here. REF_SO is the plugin's
 * path. */
#include "tests/parity/refuse.h"

#include <math.h>

struct sut s;
bnp_weight_desc desc;
struct gen_weight gw;

static void open_ref(void)
{
    ck_assert(sut_open(&s, REF_SO, NULL));
    desc = (bnp_weight_desc){ .struct_size = sizeof desc, .format = BNP_FMT_T2,
                              .scale_kind = BNP_SCALE_TENSOR, .flags = BNP_W_MUL | BNP_W_GATHER,
                              .rows = 6, .cols = 10, .max_tok = 4, .name = "w" };
    gw = (struct gen_weight){ .fill = FILL_RANDOM, .seed = 5 };
}

static void close_ref(void)
{
    ck_assert(sut_close(&s));
}

/* A weight, its activations and one output, all right until a test spoils one. */
struct rig {
    bnp_weight *w;
    bnp_span storage, act, scratch;
    bnp_rows x;
    bnp_linear_item item;
};

static struct rig rig_open(void)
{
    struct rig r = { .x = rows_new(3, desc.cols) };
    gw.desc = desc;
    const bnp_weight_src src = gen_source(&gw);
    bnp_weight_layout layout = { .struct_size = sizeof layout };
    bnp_offer offer = { .struct_size = sizeof offer };
    uint64_t size;
    ck_assert_int_eq(s.p->linear->query(s.dev, &desc, &offer), BNP_OK);
    ck_assert_int_eq(s.p->linear->layout(s.dev, &desc, &layout), BNP_OK);
    r.storage = span_new(layout.size);
    ck_assert_int_eq(s.p->linear->prepare(s.dev, &desc, &src, r.storage, &r.w), BNP_OK);
    ck_assert_int_eq(s.p->linear->act_size(s.dev, layout.act_kind, desc.cols, 3, &size), BNP_OK);
    r.act = span_new(size);
    r.scratch = span_new(offer.scratch_size);
    r.item = (bnp_linear_item){ .weight = r.w, .y = rows_new(3, desc.rows) };
    for (uint32_t t = 0; t < 3; t++)
        gen_fill(FILL_RANDOM, t, 1.0f, row_of(&r.x, t), desc.cols);
    ck_assert_int_eq(sut_step(&s, 3, 0, 1, desc.rows), BNP_OK);
    ck_assert_int_eq(s.p->linear->act_prepare(s.stream, layout.act_kind, &r.x, r.act), BNP_OK);
    return r;
}

static void rig_close(struct rig *r)
{
    s.p->linear->release(r->w);
    span_free(r->storage);
    span_free(r->act);
    span_free(r->scratch);
    span_free(r->x.mem);
    span_free(r->item.y.mem);
    ck_assert_int_eq(sut_step_end(&s), BNP_OK);
}

static int mul(const struct rig *r, bnp_linear_item item, bnp_span scratch)
{
    return s.p->linear->mul(s.stream, r->act, 1, &item, scratch);
}

START_TEST(mul_refuses_what_does_not_fit)
{
    struct rig r = rig_open();
    EXPECT(BNP_OK, mul(&r, r.item, r.scratch));
    bnp_linear_item it = r.item;
    it.y.cols--;
    EXPECT(BNP_E_INVALID, mul(&r, it, r.scratch));
    it = r.item;
    it.y.n_tok = 2;                                     /* the act has 3 */
    EXPECT(BNP_E_INVALID, mul(&r, it, r.scratch));
    it = r.item;
    it.y.stride = 8;
    EXPECT(BNP_E_INVALID, mul(&r, it, r.scratch));
    it = r.item;
    it.y.mem.size = 2 * it.y.stride;
    EXPECT(BNP_E_INVALID, mul(&r, it, r.scratch));
    it = r.item;
    it.y.stride = UINT64_MAX - 63;
    EXPECT(BNP_E_INVALID, mul(&r, it, r.scratch));
    it = r.item;
    it.flags = 1u << 31;
    EXPECT(BNP_E_UNSUPPORTED, mul(&r, it, r.scratch));
    it.flags = BNP_ADD | 1u << 3;                       /* a hint from later */
    EXPECT(BNP_OK, mul(&r, it, r.scratch));
    bnp_span small = r.scratch;
    small.size = 1;
    EXPECT(BNP_E_INVALID, mul(&r, r.item, small));
    rig_close(&r);
}
END_TEST

START_TEST(activations_that_are_not_finite_are_refused)
{
    struct rig r = rig_open();
    static const float bad[] = { NAN, INFINITY, -INFINITY };
    for (uint32_t kind = 1; kind <= 2; kind++) {
        uint64_t size;
        EXPECT(BNP_OK, s.p->linear->act_size(s.dev, kind, desc.cols, 3, &size));
        const bnp_span act = span_new(size);
        for (int i = 0; i < 3; i++) {
            float *x = row_of(&r.x, 2) + 9;
            const float before = *x;
            *x = bad[i];
            EXPECT(BNP_E_NUMERIC, s.p->linear->act_prepare(s.stream, kind, &r.x, act));
            *x = before;
            EXPECT(BNP_OK, s.p->linear->act_prepare(s.stream, kind, &r.x, act));
        }
        span_free(act);
    }
    EXPECT(BNP_E_INVALID, s.p->linear->act_prepare(s.stream, 77, &r.x, r.act));
    r.act.size--;
    EXPECT(BNP_E_INVALID, s.p->linear->act_prepare(s.stream, 1, &r.x, r.act));
    rig_close(&r);
}
END_TEST

START_TEST(weights_are_used_as_described)
{
    desc.flags = BNP_W_GATHER;
    struct rig r = rig_open();
    EXPECT(BNP_E_INVALID, mul(&r, r.item, r.scratch));
    const bnp_rows y = rows_new(3, desc.cols);
    EXPECT(BNP_OK, s.p->linear->gather(s.stream, r.w, &y));
    const bnp_topk top = { .struct_size = sizeof top, .k = 1, .n_tok = 3 };
    EXPECT(BNP_E_INVALID, s.p->linear->topk(s.stream, r.act, r.w, &top, r.scratch));
    span_free(y.mem);
    rig_close(&r);
}
END_TEST

START_TEST(topk_refuses_more_than_there_are)
{
    desc.flags = BNP_W_TOPK;
    struct rig r = rig_open();
    bnp_topk top = { .struct_size = sizeof top, .k = 6, .n_tok = 3, .id = span_new(72),
                     .logit = span_new(72) };
    EXPECT(BNP_OK, s.p->linear->topk(s.stream, r.act, r.w, &top, r.scratch));
    top.k = 7;
    EXPECT(BNP_E_INVALID, s.p->linear->topk(s.stream, r.act, r.w, &top, r.scratch));
    top.k = 0;
    EXPECT(BNP_E_INVALID, s.p->linear->topk(s.stream, r.act, r.w, &top, r.scratch));
    top.k = 6;
    top.logit.size = 71;
    EXPECT(BNP_E_INVALID, s.p->linear->topk(s.stream, r.act, r.w, &top, r.scratch));
    span_free(top.id);
    span_free(top.logit);
    rig_close(&r);
}
END_TEST

START_TEST(work_outside_a_step_is_refused)
{
    struct rig r = rig_open();
    const bnp_rows y = rows_new(3, desc.cols);
    EXPECT(BNP_OK, sut_step_end(&s));
    EXPECT(BNP_E_INVALID, mul(&r, r.item, r.scratch));
    EXPECT(BNP_E_INVALID, s.p->linear->act_prepare(s.stream, 1, &r.x, r.act));
    EXPECT(BNP_E_INVALID, s.p->linear->gather(s.stream, r.w, &y));
    EXPECT(BNP_E_INVALID, s.p->point->add(s.stream, &r.x, &y));
    EXPECT(BNP_E_INVALID, sut_step_end(&s));
    EXPECT(BNP_OK, sut_step(&s, 3, 0, 1, 6));
    EXPECT(BNP_E_INVALID, sut_step(&s, 3, 0, 1, 6));    /* the one before has not ended */
    span_free(y.mem);
    rig_close(&r);
}
END_TEST

/* A step of two sequences, 2 and 1 rows, that a test may spoil. */
struct step {
    int32_t id[3], pos[3], start[3], kv_len[2], page[2][4], out[1];
    bnp_step st;
};

static void step_make(struct step *t)
{
    *t = (struct step){ .id = { 0, 5, 2 }, .pos = { 20, 21, 0 }, .start = { 0, 2, 3 },
                        .kv_len = { 22, 1 }, .page = { { 0, 1, -1, -1 }, { 2, -1, -1, -1 } },
                        .out = { 2 } };
    t->st = (bnp_step){ .struct_size = sizeof t->st, .n_tok = 3, .n_seq = 2, .max_pages = 4,
                        .n_out = 1, .id = t->id, .pos = t->pos, .seq_start = t->start,
                        .kv_len = t->kv_len, .page = t->page[0], .out_row = t->out };
}

static int try_step(const struct step *t)
{
    const int rc = s.p->device->step_begin(s.stream, &t->st);
    return rc ? rc : sut_step_end(&s);
}

#define SPOILED(field, value) (step_make(&t), (void)(t.field = (value)), try_step(&t))

START_TEST(steps_that_contradict_themselves_are_refused)
{
    struct step t;
    step_make(&t);
    EXPECT(BNP_OK, try_step(&t));
    EXPECT(BNP_E_INVALID, SPOILED(st.n_tok, SUT_MAX_TOK + 1));
    EXPECT(BNP_E_INVALID, SPOILED(st.n_seq, SUT_MAX_SEQ + 1));
    EXPECT(BNP_E_INVALID, SPOILED(st.max_pages, SUT_MAX_PAGES + 1));
    EXPECT(BNP_E_INVALID, SPOILED(st.struct_size, 16));
    EXPECT(BNP_E_INVALID, SPOILED(st.pos, NULL));
    EXPECT(BNP_E_INVALID, SPOILED(pos[1], 22));
    EXPECT(BNP_E_INVALID, SPOILED(pos[2], -1));
    EXPECT(BNP_E_INVALID, SPOILED(start[0], 1));
    EXPECT(BNP_E_INVALID, SPOILED(start[1], 4));
    EXPECT(BNP_E_INVALID, SPOILED(start[1], -1));
    EXPECT(BNP_E_INVALID, SPOILED(start[2], 2));
    EXPECT(BNP_E_INVALID, SPOILED(kv_len[0], 23));
    EXPECT(BNP_E_INVALID, SPOILED(kv_len[0], INT32_MIN));
    EXPECT(BNP_E_INVALID, SPOILED(out[0], 3));
    EXPECT(BNP_E_INVALID, SPOILED(out[0], -1));
    EXPECT(BNP_OK, SPOILED(st.n_seq, 0));               /* not for attention */
}
END_TEST

START_TEST(gather_refuses_tokens_outside_the_table)
{
    static const int32_t bad[] = { -1, 6, INT32_MAX };
    struct rig r = rig_open();
    const bnp_rows y = rows_new(3, desc.cols);
    for (int i = 0; i < 3; i++) {
        struct step t;
        step_make(&t);
        t.id[1] = bad[i];
        EXPECT(BNP_OK, sut_step_end(&s));
        EXPECT(BNP_OK, s.p->device->step_begin(s.stream, &t.st));
        EXPECT(BNP_E_INVALID, s.p->linear->gather(s.stream, r.w, &y));
    }
    span_free(y.mem);
    rig_close(&r);
}
END_TEST

static bnp_attn_desc attn_desc(void)
{
    return (bnp_attn_desc){ .struct_size = sizeof(bnp_attn_desc), .n_head = 2, .n_head_kv = 1,
                            .head_dim = 8, .page_tok = 16, .kv_format = BNP_KV_F16, .max_kv = 64,
                            .max_tok = 8, .scale = 0.5f };
}

START_TEST(attention_query_knows_what_it_cannot_do)
{
    bnp_offer offer = { .struct_size = sizeof offer };
    bnp_attn_desc d = attn_desc();
    EXPECT(BNP_OK, s.p->attn->query(s.dev, &d, &offer));
    d.kv_format = BNP_KV_I8;
    EXPECT(BNP_OK, s.p->attn->query(s.dev, &d, &offer));
    d.head_dim = BNP_KV_I8_DIM;
    EXPECT(BNP_OK, s.p->attn->query(s.dev, &d, &offer));
    d.head_dim++;                                   /* sums could leave 32 bits */
    EXPECT(BNP_E_UNSUPPORTED, s.p->attn->query(s.dev, &d, &offer));
    d = attn_desc();
    d.kv_format = 2;                                /* int8 as minor 3 had it */
    EXPECT(BNP_E_UNSUPPORTED, s.p->attn->query(s.dev, &d, &offer));
    d.kv_format = BNP_KV_I8 + 1;
    EXPECT(BNP_E_UNSUPPORTED, s.p->attn->query(s.dev, &d, &offer));
    d = attn_desc();
    d.page_tok = 48;
    EXPECT(BNP_E_INVALID, s.p->attn->query(s.dev, &d, &offer));
    d = attn_desc();
    d.n_head_kv = 3;
    EXPECT(BNP_E_INVALID, s.p->attn->query(s.dev, &d, &offer));
    d = attn_desc();
    d.scale = NAN;
    EXPECT(BNP_E_INVALID, s.p->attn->query(s.dev, &d, &offer));
}
END_TEST

struct attn_rig {
    bnp_attn_desc d;
    struct step t;
    bnp_span pool, scratch;
    bnp_rows q, k, v;
};

static void attn_open(struct attn_rig *out, uint32_t kv_format)
{
    struct attn_rig r = { .d = attn_desc(), .q = rows_new(3, 16), .k = rows_new(3, 8),
                          .v = rows_new(3, 8) };
    bnp_offer offer = { .struct_size = sizeof offer };
    uint64_t size;
    r.d.kv_format = kv_format;
    ck_assert_int_eq(s.p->attn->query(s.dev, &r.d, &offer), BNP_OK);
    ck_assert_int_eq(s.p->attn->page_size(s.dev, &r.d, &size), BNP_OK);
    r.pool = span_new(size * 3);
    memset(r.pool.base, 0, size * 3);
    r.scratch = span_new(offer.scratch_size);
    for (uint32_t t = 0; t < 3; t++) {
        gen_fill(FILL_RANDOM, t, 1, row_of(&r.q, t), 16);
        gen_fill(FILL_RANDOM, t, 1, row_of(&r.k, t), 8);
        gen_fill(FILL_RANDOM, t, 1, row_of(&r.v, t), 8);
    }
    *out = r;
    step_make(&out->t);
}

static void attn_close(struct attn_rig *r)
{
    span_free(r->pool);
    span_free(r->scratch);
    span_free(r->q.mem);
    span_free(r->k.mem);
    span_free(r->v.mem);
}

static int append(struct attn_rig *r)
{
    ck_assert_int_eq(s.p->device->step_begin(s.stream, &r->t.st), BNP_OK);
    const int rc = s.p->attn->append(s.stream, &r->d, r->pool, &r->k, &r->v);
    ck_assert_int_eq(sut_step_end(&s), BNP_OK);
    return rc;
}

static int attend(struct attn_rig *r)
{
    ck_assert_int_eq(s.p->device->step_begin(s.stream, &r->t.st), BNP_OK);
    const int rc = s.p->attn->attend(s.stream, &r->d, r->pool, &r->q, &r->q, r->scratch);
    ck_assert_int_eq(sut_step_end(&s), BNP_OK);
    return rc;
}

START_TEST(attention_stays_inside_its_pages)
{
    struct attn_rig r;
    attn_open(&r, BNP_KV_F16);
    struct step *t = &r.t;
    EXPECT(BNP_OK, append(&r));
    EXPECT(BNP_OK, attend(&r));
    t->page[0][1] = 3;                                  /* the pool has 3 pages */
    EXPECT(BNP_E_INVALID, append(&r));
    EXPECT(BNP_E_INVALID, attend(&r));
    t->page[0][1] = -1;
    EXPECT(BNP_E_INVALID, append(&r));
    t->page[0][1] = 1;
    t->page[0][0] = -1;                                 /* older keys: append does not care */
    EXPECT(BNP_OK, append(&r));
    EXPECT(BNP_E_INVALID, attend(&r));
    r.d.window = 5;                                     /* keys 16..20 and 17..21 */
    EXPECT(BNP_OK, attend(&r));
    r.d.window = 6;
    EXPECT(BNP_E_INVALID, attend(&r));
    r.d.window = 0;
    r.d.max_kv = 21;                                    /* position 21 does not exist */
    EXPECT(BNP_E_INVALID, append(&r));
    r.d.max_kv = 64;
    t->st.n_seq = 0;
    EXPECT(BNP_E_INVALID, append(&r));
    attn_close(&r);
}
END_TEST

START_TEST(attention_refuses_values_that_are_not_numbers)
{
    struct attn_rig r;
    attn_open(&r, BNP_KV_F16);
    EXPECT(BNP_OK, append(&r));
    float *k = row_of(&r.k, 2) + 7, *v = row_of(&r.v, 0), *q = row_of(&r.q, 1) + 3;
    *k = 65519.0f;
    EXPECT(BNP_OK, append(&r));
    *k = 65520.0f;
    EXPECT(BNP_E_NUMERIC, append(&r));
    *k = 0;
    *v = NAN;
    EXPECT(BNP_E_NUMERIC, append(&r));
    *v = 0;
    EXPECT(BNP_OK, append(&r));
    *q = INFINITY;
    EXPECT(BNP_E_NUMERIC, attend(&r));
    for (uint32_t i = 0; i < 8; i++) {
        row_of(&r.k, 1)[i] = 60000.0f;
        row_of(&r.q, 1)[i] = 3e38f;
    }
    EXPECT(BNP_OK, append(&r));
    EXPECT(BNP_E_NUMERIC, attend(&r));                  /* the score overflows */
    attn_close(&r);
}
END_TEST

START_TEST(int8_keys_hold_every_number)
{
    struct attn_rig r;
    attn_open(&r, BNP_KV_I8);
    float *k = row_of(&r.k, 2), *v = row_of(&r.v, 0) + 7;
    for (uint32_t i = 0; i < 8; i++)
        k[i] = i ? 0 : 3.4e38f;
    EXPECT(BNP_OK, append(&r));
    for (uint32_t i = 0; i < 8; i++)
        k[i] = i ? 0 : 1e-45f;
    EXPECT(BNP_OK, append(&r));
    EXPECT(BNP_OK, attend(&r));
    k[7] = -INFINITY;
    EXPECT(BNP_E_NUMERIC, append(&r));
    k[7] = 0;
    *v = NAN;
    EXPECT(BNP_E_NUMERIC, append(&r));
    *v = 0;
    for (uint32_t i = 0; i < 8; i++) {
        row_of(&r.k, 1)[i] = 3e38f;
        row_of(&r.q, 1)[i] = 3e38f;
    }
    EXPECT(BNP_OK, append(&r));
    EXPECT(BNP_E_NUMERIC, attend(&r));                  /* the score overflows */
    for (uint32_t i = 0; i < 8; i++)
        row_of(&r.k, 1)[i] = row_of(&r.q, 1)[i] = 1;
    EXPECT(BNP_OK, append(&r));
    EXPECT(BNP_OK, attend(&r));
    row_of(&r.q, 1)[5] = NAN;                           /* no integer is a NaN */
    EXPECT(BNP_E_NUMERIC, attend(&r));
    row_of(&r.q, 1)[5] = -INFINITY;
    EXPECT(BNP_E_NUMERIC, attend(&r));
    attn_close(&r);
}
END_TEST

START_TEST(pointwise_refuses_what_does_not_fit)
{
    const bnp_point_ops *p = s.p->point;
    const bnp_rows x = rows_new(3, 12), y = rows_new(3, 12), other = rows_new(3, 11);
    for (uint32_t t = 0; t < 3; t++) {
        gen_fill(FILL_RANDOM, t, 1, row_of(&x, t), 12);
        gen_fill(FILL_RANDOM, t, 1, row_of(&y, t), 12);
    }
    bnp_norm norm = { .struct_size = sizeof norm, .eps = 1e-5f, .weight = span_new(48) };
    gen_fill(FILL_RANDOM, 9, 1, norm.weight.base, 12);
    bnp_rope rope = { .struct_size = sizeof rope, .style = BNP_ROPE_PAIRS, .head_dim = 6,
                      .n_rot = 4, .n_pos = 3, .table = span_new(48) };
    gen_fill(FILL_RANDOM, 9, 1, rope.table.base, 12);
    EXPECT(BNP_OK, sut_step(&s, 3, 0, 1, 6));
    EXPECT(BNP_OK, p->rmsnorm(s.stream, &norm, &x, &y));
    EXPECT(BNP_E_INVALID, p->rmsnorm(s.stream, &norm, &x, &other));
    norm.group_cols = 5;
    EXPECT(BNP_E_INVALID, p->rmsnorm(s.stream, &norm, &x, &y));
    norm.group_cols = 4;
    EXPECT(BNP_OK, p->rmsnorm(s.stream, &norm, &x, &y));
    norm.eps = 0;
    EXPECT(BNP_E_INVALID, p->rmsnorm(s.stream, &norm, &x, &y));
    norm.eps = 1e-5f;
    EXPECT(BNP_OK, p->rope(s.stream, &rope, &x));
    rope.style = 3;
    EXPECT(BNP_E_UNSUPPORTED, p->rope(s.stream, &rope, &x));
    rope.style = BNP_ROPE_HALVES;
    rope.n_rot = 3;
    EXPECT(BNP_E_INVALID, p->rope(s.stream, &rope, &x));
    rope.n_rot = 8;
    EXPECT(BNP_E_INVALID, p->rope(s.stream, &rope, &x));
    rope.n_rot = 4;
    rope.n_pos = 2;                                     /* row 2 is at position 2 */
    EXPECT(BNP_E_INVALID, p->rope(s.stream, &rope, &x));
    rope.n_pos = 4;                                     /* the table has 3 */
    EXPECT(BNP_E_INVALID, p->rope(s.stream, &rope, &x));
    EXPECT(BNP_E_UNSUPPORTED, p->glu(s.stream, 4, &x, &x, &y));
    EXPECT(BNP_E_INVALID, p->glu(s.stream, BNP_GLU_SILU, &x, &other, &y));
    EXPECT(BNP_E_INVALID, p->add(s.stream, &other, &y));
    EXPECT(BNP_E_INVALID, p->pick(s.stream, &x, &other));
    row_of(&x, 2)[11] = NAN;
    EXPECT(BNP_E_NUMERIC, p->rmsnorm(s.stream, &norm, &x, &y));
    bnp_rows none = x;
    none.n_tok = none.cols = 0;
    EXPECT(BNP_E_INVALID, p->rmsnorm(s.stream, &norm, &none, &none));
    EXPECT(BNP_OK, sut_step_end(&s));
    span_free(x.mem);
    span_free(y.mem);
    span_free(other.mem);
    span_free(norm.weight);
    span_free(rope.table);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("refuse");
    tcase_add_checked_fixture(tc, open_ref, close_ref);
    refuse_weights(tc);
    tcase_add_test(tc, mul_refuses_what_does_not_fit);
    tcase_add_test(tc, activations_that_are_not_finite_are_refused);
    tcase_add_test(tc, weights_are_used_as_described);
    tcase_add_test(tc, topk_refuses_more_than_there_are);
    tcase_add_test(tc, work_outside_a_step_is_refused);
    tcase_add_test(tc, steps_that_contradict_themselves_are_refused);
    tcase_add_test(tc, gather_refuses_tokens_outside_the_table);
    tcase_add_test(tc, attention_query_knows_what_it_cannot_do);
    tcase_add_test(tc, attention_stays_inside_its_pages);
    tcase_add_test(tc, attention_refuses_values_that_are_not_numbers);
    tcase_add_test(tc, int8_keys_hold_every_number);
    tcase_add_test(tc, pointwise_refuses_what_does_not_fit);
    Suite *suite = suite_create("scalar-ref");
    suite_add_tcase(suite, tc);
    SRunner *run = srunner_create(suite);
    srunner_run_all(run, CK_NORMAL);
    const int failed = srunner_ntests_failed(run);
    srunner_free(run);
    return failed != 0;
}
