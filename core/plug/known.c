/* known.c - the known-answer test: small questions whose answers are fixed.
 *
 * Shapes sit on and around vector widths; fills reach the extremes of every
 * accumulator. scalar-ref's answers are held against the digests below, which
 * were taken when it agreed with a double-precision evaluation; every other
 * device's answers are held against scalar-ref's, value by value. */
#include "core/plug/probe.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/plug/describe.h"

enum family { LINEAR, ATTN, POINT, N_FAMILY };

static const char *const family_name[N_FAMILY] = { "linear", "attention", "pointwise" };

/* BLAKE2b-256 over all answers of a family, in order. They change when the
 * contract, a case or a fill changes, and for no other reason. */
static const char *const ref_digest[N_FAMILY] = {
    [LINEAR] = "5fafb4327e17626f6e8ef64c56d6b3fb757c402b524b9ab1c29bc5788d12b97e",
    [ATTN] = "c56a257e1b95cf7a2a3ba6f3f6c7f9d1870187522fd868348a1e2393425380ad",
    [POINT] = "70f1eb65c3180c3782da64dda8be5848b5c5f9d61298bb01d263b91d41fc808f",
};

struct known {
    enum family family;
    uint32_t n_tok, kv_len;
    enum probe_fill fill;
    union {
        bnp_weight_desc linear;
        bnp_attn_desc attn;
        bnp_point_desc point;
    } d;
};

#define L(format_, scale_, rows_, cols_, block_, flags_, n_tok_, fill_)                     \
    { LINEAR, n_tok_, 0, fill_, { .linear = { sizeof(bnp_weight_desc), format_, scale_,     \
      BNP_ROLE_OTHER, flags_, rows_, cols_, block_, n_tok_, 0, "known" } } }
#define A(kv_format_, head_, kv_, dim_, page_, window_, scale_, kv_len_, n_tok_, fill_)     \
    { ATTN, n_tok_, kv_len_, fill_, { .attn = { sizeof(bnp_attn_desc), head_, kv_, dim_,    \
      page_, kv_format_, window_, kv_len_, n_tok_, scale_ } } }
#define P(ops_, cols_, n_tok_, fill_)                                                       \
    { POINT, n_tok_, 0, fill_, { .point = { sizeof(bnp_point_desc), ops_, cols_, n_tok_ } } }

#define F16 BNP_KV_F16
#define I8 BNP_KV_I8
#define MUL BNP_W_MUL
#define ALL (BNP_W_MUL | BNP_W_GATHER | BNP_W_TOPK)
#define POINT_ALL (BNP_POINT_RMSNORM | BNP_POINT_ROPE | BNP_POINT_RELU2 | BNP_POINT_SILU | \
                   BNP_POINT_ADD | BNP_POINT_PICK)

static const struct known known[] = {
    L(BNP_FMT_T2, BNP_SCALE_TENSOR, 64, 256, 0, MUL, 1, PROBE_RANDOM),
    L(BNP_FMT_T2, BNP_SCALE_TENSOR, 64, 256, 0, MUL, 5, PROBE_RANDOM),
    L(BNP_FMT_T2, BNP_SCALE_TENSOR, 33, 2560, 0, MUL, 2, PROBE_MAX),
    L(BNP_FMT_T2, BNP_SCALE_TENSOR, 33, 2560, 0, MUL, 2, PROBE_MIN),
    L(BNP_FMT_T2, BNP_SCALE_TENSOR, 17, 6912, 0, MUL, 1, PROBE_ALTERNATE),
    L(BNP_FMT_T2, BNP_SCALE_TENSOR, 48, 640, 0, MUL, 3, PROBE_SPIKE),
    L(BNP_FMT_T2, BNP_SCALE_TENSOR, 40, 384, 0, MUL, 3, PROBE_MIXED),
    L(BNP_FMT_T2, BNP_SCALE_TENSOR, 40, 384, 0, MUL, 2, PROBE_DENORMAL),
    L(BNP_FMT_T2, BNP_SCALE_TENSOR, 40, 384, 0, MUL, 2, PROBE_ZERO),
    L(BNP_FMT_T2, BNP_SCALE_TENSOR, 1, 1, 0, MUL, 1, PROBE_RANDOM),
    L(BNP_FMT_T2, BNP_SCALE_TENSOR, 7, 37, 0, MUL, 4, PROBE_RANDOM),
    L(BNP_FMT_T2, BNP_SCALE_TENSOR, 31, 129, 0, MUL, 17, PROBE_MIXED),
    L(BNP_FMT_T2, BNP_SCALE_TENSOR, 130, 66, 0, MUL, 33, PROBE_RANDOM),
    L(BNP_FMT_T2, BNP_SCALE_NONE, 16, 128, 0, MUL, 2, PROBE_RANDOM),
    L(BNP_FMT_T2, BNP_SCALE_ROW, 65, 192, 0, MUL, 3, PROBE_RANDOM),
    L(BNP_FMT_T2, BNP_SCALE_BLOCK, 34, 512, 256, MUL, 3, PROBE_RANDOM),
    L(BNP_FMT_T2, BNP_SCALE_BLOCK, 19, 300, 64, MUL, 2, PROBE_MIXED),
    L(BNP_FMT_T2, BNP_SCALE_TENSOR, 33, 1024, 0, MUL | BNP_W_PLUS2, 2, PROBE_MAX),
    L(BNP_FMT_T2, BNP_SCALE_BLOCK, 33, 256, 32, MUL | BNP_W_PLUS2, 3, PROBE_RANDOM),
    L(BNP_FMT_T2, BNP_SCALE_TENSOR, 50, 96, 0, BNP_W_GATHER, 6, PROBE_RANDOM),
    L(BNP_FMT_F16, BNP_SCALE_NONE, 100, 160, 0, ALL, 3, PROBE_RANDOM),
    L(BNP_FMT_F16, BNP_SCALE_NONE, 33, 97, 0, ALL, 2, PROBE_MIXED),
    L(BNP_FMT_F16, BNP_SCALE_NONE, 24, 64, 0, ALL, 2, PROBE_DENORMAL),
    L(BNP_FMT_BF16, BNP_SCALE_NONE, 49, 120, 0, ALL, 2, PROBE_MIXED),
    L(BNP_FMT_F32, BNP_SCALE_NONE, 35, 130, 0, ALL, 3, PROBE_SPIKE),
    L(BNP_FMT_I8, BNP_SCALE_BLOCK, 40, 96, 32, ALL, 2, PROBE_MIXED),
    L(BNP_FMT_I8, BNP_SCALE_BLOCK, 21, 256, 16, ALL, 1, PROBE_ALTERNATE),
    /* One use at a time, for plugins that offer no more. */
    L(BNP_FMT_F16, BNP_SCALE_NONE, 67, 128, 0, MUL, 2, PROBE_MIXED),
    L(BNP_FMT_F16, BNP_SCALE_NONE, 67, 128, 0, MUL | BNP_W_TOPK, 2, PROBE_MIXED),
    L(BNP_FMT_F16, BNP_SCALE_NONE, 21, 72, 0, BNP_W_GATHER, 4, PROBE_RANDOM),
    L(BNP_FMT_BF16, BNP_SCALE_NONE, 67, 128, 0, MUL, 2, PROBE_RANDOM),
    L(BNP_FMT_BF16, BNP_SCALE_NONE, 21, 72, 0, BNP_W_GATHER, 4, PROBE_RANDOM),
    L(BNP_FMT_F32, BNP_SCALE_NONE, 67, 128, 0, MUL, 2, PROBE_RANDOM),
    L(BNP_FMT_F32, BNP_SCALE_NONE, 21, 72, 0, BNP_W_GATHER, 4, PROBE_RANDOM),
    L(BNP_FMT_I8, BNP_SCALE_BLOCK, 67, 128, 32, MUL, 2, PROBE_RANDOM),
    L(BNP_FMT_I8, BNP_SCALE_BLOCK, 21, 80, 16, BNP_W_GATHER, 4, PROBE_RANDOM),
    L(BNP_FMT_I8, BNP_SCALE_ROW, 35, 100, 0, ALL, 2, PROBE_RANDOM),
    L(BNP_FMT_I8, BNP_SCALE_TENSOR, 35, 100, 0, ALL, 2, PROBE_RANDOM),
    A(F16, 4, 2, 32, 16, 0, 0.1767767f, 133, 5, PROBE_RANDOM),
    A(F16, 2, 1, 32, 32, 0, 0.1767767f, 70, 1, PROBE_RANDOM),
    A(F16, 5, 1, 128, 64, 0, 0.08838835f, 40, 9, PROBE_RANDOM),
    A(F16, 2, 2, 80, 16, 0, 0.1118034f, 33, 4, PROBE_MIXED),
    A(F16, 2, 1, 64, 16, 20, 0.125f, 140, 7, PROBE_RANDOM),
    A(F16, 2, 1, 64, 32, 0, 0.125f, 35, 3, PROBE_MAX),
    A(F16, 2, 1, 64, 32, 0, 0.125f, 35, 3, PROBE_SPIKE),
    A(F16, 2, 2, 16, 16, 0, 0.25f, 20, 3, PROBE_DENORMAL),
    A(F16, 3, 3, 48, 16, 0, 0.1443376f, 20, 2, PROBE_ALTERNATE),
    A(I8, 2, 1, 64, 16, 0, 0.125f, 133, 5, PROBE_RANDOM),
    A(I8, 5, 1, 128, 64, 0, 0.08838835f, 40, 9, PROBE_MIXED),
    A(I8, 2, 1, 64, 32, 20, 0.125f, 140, 7, PROBE_SPIKE),
    A(I8, 2, 2, 80, 16, 0, 0.1118034f, 33, 4, PROBE_MAX),
    A(I8, 2, 2, 16, 16, 0, 0.25f, 20, 3, PROBE_DENORMAL),
    P(POINT_ALL, 256, 3, PROBE_RANDOM),
    P(POINT_ALL, 2560, 2, PROBE_MIXED),
    P(POINT_ALL, 80, 7, PROBE_SPIKE),
    P(POINT_ALL, 192, 2, PROBE_MAX),
    P(POINT_ALL, 192, 2, PROBE_MIN),
    P(POINT_ALL, 144, 2, PROBE_DENORMAL),
    P(POINT_ALL, 144, 1, PROBE_ZERO),
    P(BNP_POINT_RMSNORM | BNP_POINT_SILU | BNP_POINT_ADD | BNP_POINT_PICK, 131, 3, PROBE_RANDOM),
    P(BNP_POINT_RMSNORM | BNP_POINT_RELU2 | BNP_POINT_ADD | BNP_POINT_PICK, 1, 2, PROBE_MIXED),
    P(BNP_POINT_RMSNORM, 320, 2, PROBE_MIXED),
    P(BNP_POINT_ROPE, 320, 2, PROBE_MIXED),
    P(BNP_POINT_RELU2, 97, 2, PROBE_MIXED),
    P(BNP_POINT_SILU, 97, 2, PROBE_MIXED),
    /* Newer than the others, so never among them: an older plugin answers those. */
    P(BNP_POINT_GELU, 192, 2, PROBE_RANDOM),
    P(BNP_POINT_GELU, 97, 2, PROBE_MIXED),
    P(BNP_POINT_GELU, 80, 3, PROBE_SPIKE),
    P(BNP_POINT_GELU, 144, 2, PROBE_DENORMAL),
    P(BNP_POINT_ADD, 97, 2, PROBE_MIXED),
    P(BNP_POINT_PICK, 97, 5, PROBE_MIXED),
};
#define N_KNOWN (sizeof known / sizeof known[0])

static bool offers_family(const struct dev *d, enum family f)
{
    return f == LINEAR ? d->linear != NULL : f == ATTN ? d->attn != NULL : d->point != NULL;
}

/* What two devices can both be asked: topk is the one optional question. */
static struct known shared_case(const struct known *k, const struct dev *d)
{
    struct known c = *k;
    if (c.family == LINEAR && d->linear && !d->linear->topk)
        c.d.linear.flags &= ~(uint32_t)BNP_W_TOPK;
    return c;
}

static int query(struct dev *d, const struct known *k, bnp_offer *offer)
{
    *offer = (bnp_offer){ .struct_size = sizeof *offer };
    switch (k->family) {
    case LINEAR:
        return d->linear->query(d->d, &k->d.linear, offer);
    case ATTN:
        return d->attn->query(d->d, &k->d.attn, offer);
    default:
        return d->point->query(d->d, &k->d.point, offer);
    }
}

static int ask(struct dev *d, const struct known *k, struct probe *p, struct buf *out,
               struct err *e)
{
    *p = (struct probe){ .seed = (uint64_t)(k->n_tok * 1000 + k->fill), .fill = k->fill,
                         .n_tok = k->n_tok };
    buf_clear(out);
    switch (k->family) {
    case LINEAR:
        return probe_linear(d, &k->d.linear, NULL, p, out, e);
    case ATTN:
        return probe_attn(d, &k->d.attn, k->kv_len, p, out, e);
    default:
        return probe_point(d, &k->d.point, p, out, e);
    }
}

/* Puts "known answer, <family> <shape>, 3 rows, fill max" before the error. */
static int blame(const struct known *k, struct err *e)
{
    struct buf b = { 0 };
    if (k->family == LINEAR)
        describe_linear(&k->d.linear, &b);
    else if (k->family == ATTN)
        describe_attn(&k->d.attn, &b);
    else
        describe_point(&k->d.point, &b);
    err_prefix(e, "known answer, %s %s, %u rows, fill %s", family_name[k->family],
               b.p ? b.p : "", k->n_tok, probe_fill_name(k->fill));
    buf_free(&b);
    return e ? e->code : ERR_PLUGIN;
}

static int check_offer(const bnp_offer *o, struct err *e)
{
    const bool known_class = o->det >= BNP_DET_EXACT && o->det <= BNP_DET_BOUNDED;
    const bool errors = o->abs_err >= 0 && o->rel_err >= 0 && o->abs_err < 1e30f &&
                        o->rel_err < 1e30f;
    if (known_class && errors && (o->det != BNP_DET_EXACT || (o->abs_err <= 0 && o->rel_err <= 0)))
        return 0;
    return err_set(e, ERR_PLUGIN, "its offer says class %u with errors %g and %g, expected class 1 "
                   "to 3, errors that are numbers, and none when exact", o->det,
                   (double)o->abs_err, (double)o->rel_err);
}

struct known_answers {
    struct answer {
        struct probe p;
        struct buf got;
        bool have;
    } of[N_KNOWN];
};

struct known_answers *known_open(void)
{
    return calloc(1, sizeof(struct known_answers));
}

void known_close(struct known_answers *a)
{
    for (size_t i = 0; a && i < N_KNOWN; i++)
        buf_free(&a->of[i].got);
    free(a);
}

/* scalar-ref's answer to case i, from memory where it was asked before. */
static int ask_ref(struct dev *ref, size_t i, struct known_answers *all, struct answer **out,
                   struct err *e)
{
    struct answer *a = *out = &all->of[i];
    const int rc = a->have ? 0 : ask(ref, &known[i], &a->p, &a->got, e);
    a->have = !rc;
    return rc;
}

static int compare_one(struct dev *d, struct dev *ref, size_t i, struct known_answers *all,
                       struct buf *got, struct err *e)
{
    const struct known *k = &known[i];
    struct answer less = { .have = false }, *want = &less;
    bnp_offer offer;
    struct probe p;
    const struct known c = shared_case(k, d);
    const int status = query(d, &c, &offer);
    if (status == BNP_E_UNSUPPORTED)
        return 0;
    int rc = status ? plug_fail(d->plugin, status, "query", e) : check_offer(&offer, e);
    if (!rc && c.family == LINEAR && c.d.linear.flags != k->d.linear.flags)
        rc = ask(ref, &c, &less.p, &less.got, e);
    else if (!rc)
        rc = ask_ref(ref, i, all, &want, e);
    if (!rc)
        rc = ask(d, &c, &p, got, e);
    if (!rc)
        rc = probe_agree(&p, &want->got, got, &offer, e);
    buf_free(&less.got);
    return rc ? blame(&c, e) : 0;
}

static int compare_all(struct dev *d, struct dev *ref, struct known_answers *all, struct err *e)
{
    struct buf got = { 0 };
    int rc = 0;
    for (size_t i = 0; i < N_KNOWN && !rc; i++)
        if (offers_family(d, known[i].family))
            rc = compare_one(d, ref, i, all, &got, e);
    buf_free(&got);
    return rc ? err_prefix(e, "%s", d->plugin->note.raw.id), rc : 0;
}

/* The answers of one family as a digest, in hex. */
static int digest(struct dev *d, enum family f, struct known_answers *all, char hex[65],
                  struct err *e)
{
    crypto_generichash_state h;
    unsigned char sum[32];
    int rc = 0;
    crypto_generichash_init(&h, NULL, 0, sizeof sum);
    for (size_t i = 0; i < N_KNOWN && !rc; i++) {
        struct answer *a;
        if (known[i].family != f)
            continue;
        rc = ask_ref(d, i, all, &a, e);
        if (rc)
            blame(&known[i], e);
        else
            crypto_generichash_update(&h, (const unsigned char *)a->got.p, a->got.n);
    }
    crypto_generichash_final(&h, sum, sizeof sum);
    sodium_bin2hex(hex, 65, sum, sizeof sum);
    return rc;
}

int probe_known_answers(struct dev *d, struct dev *ref, struct known_answers *all, struct err *e)
{
    if (ref)
        return compare_all(d, ref, all, e);
    for (enum family f = LINEAR; f < N_FAMILY; f++) {
        char hex[65];
        if (!offers_family(d, f))
            return err_set(e, ERR_PLUGIN, "%s: offers no %s family, expected all three",
                           d->plugin->note.raw.id, family_name[f]);
        const int rc = digest(d, f, all, hex, e);
        if (rc)
            return rc;
        if (strcmp(hex, ref_digest[f]))
            return err_set(e, ERR_PLUGIN, "%s: known answers of the %s family have the digest %s, "
                           "expected %s", d->plugin->note.raw.id, family_name[f], hex,
                           ref_digest[f]);
    }
    return 0;
}

void probe_offers(struct dev *d, uint32_t det[3])
{
    det[0] = det[1] = det[2] = 0;
    for (size_t i = 0; i < N_KNOWN; i++) {
        bnp_offer offer;
        const enum family f = known[i].family;
        const struct known c = shared_case(&known[i], d);
        if (offers_family(d, f) && query(d, &c, &offer) == BNP_OK && offer.det > det[f])
            det[f] = offer.det;
    }
}
