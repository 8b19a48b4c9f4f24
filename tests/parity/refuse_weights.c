/* refuse_weights.c - descriptions and weights that scalar-ref must refuse. */
#include "tests/parity/refuse.h"

#include <math.h>

static int query(bnp_weight_desc d)
{
    bnp_offer offer = { .struct_size = sizeof offer };
    return s.p->linear->query(s.dev, &d, &offer);
}

#define WITH(field, value) ((void)(d = desc), (void)(d.field = (value)), d)

START_TEST(linear_query_knows_what_it_cannot_do)
{
    bnp_weight_desc d;
    EXPECT(BNP_OK, query(desc));
    EXPECT(BNP_E_UNSUPPORTED, query(WITH(format, 99)));
    EXPECT(BNP_E_UNSUPPORTED, query(WITH(scale_kind, 4)));
    EXPECT(BNP_E_UNSUPPORTED, query(WITH(format, BNP_FMT_F16)));        /* with a scale */
    EXPECT(BNP_E_UNSUPPORTED, query(WITH(flags, 1u << 30)));
    EXPECT(BNP_OK, query(WITH(flags, BNP_W_MUL | 1u << 9)));            /* a hint from later */
    EXPECT(BNP_OK, query(WITH(cols, 1u << 23)));
    EXPECT(BNP_E_UNSUPPORTED, query(WITH(cols, (1u << 23) + 1)));
    EXPECT(BNP_E_INVALID, query(WITH(rows, 0)));
    EXPECT(BNP_E_INVALID, query(WITH(scale_kind, BNP_SCALE_BLOCK)));    /* blocks of 0 columns */
    EXPECT(BNP_E_INVALID, query(WITH(struct_size, 8)));
}
END_TEST

/* Rows and scales from memory, so that each can be wrong in its own way. */
struct bytes {
    uint8_t row[6][64];
    size_t row_size;
    float scale[32];
    int rc;
};

static int bytes_rows(void *ctx, uint32_t first, uint32_t n, void *dst, size_t stride)
{
    const struct bytes *b = ctx;
    for (uint32_t r = 0; r < n; r++)
        memcpy((char *)dst + r * stride, b->row[first + r], b->row_size);
    return b->rc;
}

static int bytes_scales(void *ctx, uint64_t first, uint64_t n, float *dst)
{
    memcpy(dst, ((const struct bytes *)ctx)->scale + first, n * sizeof *dst);
    return BNP_OK;
}

static int prepare(const bnp_weight_desc *d, struct bytes *b, bool adopt)
{
    const bnp_weight_src src = { .struct_size = sizeof src, .ctx = b, .read_rows = bytes_rows,
                                 .read_scales = bytes_scales };
    bnp_weight_layout layout = { .struct_size = sizeof layout };
    int rc = s.p->linear->layout(s.dev, d, &layout);
    if (rc)
        return rc;
    const bnp_span storage = span_new(layout.size);
    bnp_weight *w = NULL;
    rc = s.p->linear->prepare(s.dev, d, &src, storage, &w);
    if (adopt && !rc) {
        s.p->linear->release(w);
        memset(storage.base, 0xff, layout.size);        /* a file that rotted */
        rc = s.p->linear->adopt(s.dev, d, storage, &w);
    }
    if (!rc)
        s.p->linear->release(w);
    else
        ck_assert_ptr_null(w);
    span_free(storage);
    return rc;
}

START_TEST(impossible_weights_are_refused)
{
    struct bytes b = { .row_size = 3, .scale = { 1 } };
    for (int r = 0; r < 6; r++)
        memset(b.row[r], 0x55, 3);
    EXPECT(BNP_OK, prepare(&desc, &b, false));
    EXPECT(BNP_E_DATA, prepare(&desc, &b, true));
    b.row[4][1] = 0x75;                                 /* code 3 in column 6 */
    EXPECT(BNP_E_DATA, prepare(&desc, &b, false));
    desc.flags |= BNP_W_PLUS2;
    EXPECT(BNP_OK, prepare(&desc, &b, false));
    b.row[5][2] = 0x15;                                 /* code 0 behind the last column */
    EXPECT(BNP_E_DATA, prepare(&desc, &b, false));
    b.row[5][2] = 0x55;
    b.scale[0] = NAN;
    EXPECT(BNP_E_DATA, prepare(&desc, &b, false));
    b.scale[0] = -INFINITY;
    EXPECT(BNP_E_DATA, prepare(&desc, &b, false));
    b.scale[0] = 1;
    b.rc = BNP_E_NOMEM;
    EXPECT(BNP_E_NOMEM, prepare(&desc, &b, false));
}
END_TEST

START_TEST(dense_weights_that_are_not_finite_are_refused)
{
    static const struct { uint32_t format; size_t size; uint32_t good, bad; } t[] = {
        { BNP_FMT_F32, 4, 0x7f7fffff, 0xff800000 }, { BNP_FMT_F16, 2, 0x7bff, 0xfc00 },
        { BNP_FMT_BF16, 2, 0x7f7f, 0x7fc0 },
    };
    for (unsigned i = 0; i < 3; i++) {
        struct bytes b = { .row_size = t[i].size * desc.cols };
        desc.format = t[i].format;
        desc.scale_kind = BNP_SCALE_NONE;
        memcpy(b.row[5] + 9 * t[i].size, &t[i].good, t[i].size);
        EXPECT(BNP_OK, prepare(&desc, &b, false));
        memcpy(b.row[5] + 9 * t[i].size, &t[i].bad, t[i].size);
        EXPECT(BNP_E_DATA, prepare(&desc, &b, false));
    }
}
END_TEST

START_TEST(storage_that_is_too_small_is_refused)
{
    gw.desc = desc;
    const bnp_weight_src src = gen_source(&gw);
    bnp_weight_layout layout = { .struct_size = sizeof layout };
    bnp_weight *w;
    EXPECT(BNP_OK, s.p->linear->layout(s.dev, &desc, &layout));
    bnp_span storage = span_new(layout.size);
    storage.size--;
    EXPECT(BNP_E_INVALID, s.p->linear->prepare(s.dev, &desc, &src, storage, &w));
    storage.size++;
    storage.offset = 4;
    EXPECT(BNP_E_INVALID, s.p->linear->prepare(s.dev, &desc, &src, storage, &w));
    span_free(storage);
}
END_TEST

START_TEST(answers_stay_inside_the_askers_struct)
{
    bnp_offer offer;
    memset(&offer, 0xee, sizeof offer);
    offer.struct_size = offsetof(bnp_offer, us);
    EXPECT(BNP_OK, s.p->linear->query(s.dev, &desc, &offer));
    ck_assert_uint_eq(offer.det, BNP_DET_EXACT);
    ck_assert_uint_eq(offer.struct_size, offsetof(bnp_offer, us));
    const unsigned char *byte = (const unsigned char *)&offer;
    for (size_t i = offsetof(bnp_offer, us); i < sizeof offer; i++)
        ck_assert_uint_eq(byte[i], 0xee);
}
END_TEST

void refuse_weights(TCase *tc)
{
    tcase_add_test(tc, linear_query_knows_what_it_cannot_do);
    tcase_add_test(tc, impossible_weights_are_refused);
    tcase_add_test(tc, dense_weights_that_are_not_finite_are_refused);
    tcase_add_test(tc, storage_that_is_too_small_is_refused);
    tcase_add_test(tc, answers_stay_inside_the_askers_struct);
}
