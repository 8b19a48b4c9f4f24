/* Promises of core/engine/strict.h. The device under suspicion is scalar-ref
 * again, under another name and with a table of ours in front. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine/forward_parts.h"
#include "core/engine/strict.h"
#include "tests/golden/rig.h"

static struct rig rig;
static struct plug_entry other_plugin;
static struct dev other;
static struct bnp_linear_ops linear, true_linear;
static struct bnp_attn_ops attn, true_attn;
static struct buf table;
static struct err err;

static void setup(void)
{
    rig_open(&rig, &(struct rig_opts){ 0 });
    other_plugin = *rig.plug->ref->plugin;
    strcpy(other_plugin.note.raw.id, "org.example.other");
    other = *rig.plug->ref;
    other.plugin = &other_plugin;
    linear = true_linear = *other.linear;
    attn = true_attn = *other.attn;
    other.linear = &linear;
    other.attn = &attn;
    table = (struct buf){ 0 };
    err = (struct err){ 0 };
}

static void teardown(void)
{
    struct forward_state *s = rig.f->state;
    for (uint32_t i = 0; i < s->weights.n; i++)
        s->weights.w[i].dev = rig.plug->ref;
    for (uint32_t i = 0; i <= rig.model->hp.n_layer; i++)
        s->layer[i].attn = s->layer[i].point = rig.plug->ref;
    buf_free(&table);
    rig_close(&rig);
}

static void use_other(void)
{
    struct forward_state *s = rig.f->state;
    for (uint32_t i = 0; i < s->weights.n; i++)
        s->weights.w[i].dev = &other;
    for (uint32_t i = 0; i <= rig.model->hp.n_layer; i++)
        s->layer[i].attn = s->layer[i].point = &other;
}

static unsigned lines_with(const char *word)
{
    unsigned n = 0;
    for (const char *line = table.p; line && *line; line = strchr(line, '\n') + 1) {
        const char *found = strstr(line, word);
        n += found && found < strchr(line, '\n');
    }
    return n;
}

/* q; k and v; out; gate and up; down; head: then attention and pointwise. */
enum { N_LINE = 8 };

START_TEST(strict_reference_itself_passes)
{
    ck_assert_int_eq(strict_check(rig.f, &table, &err), 0);
    ck_assert_uint_eq(lines_with("is the reference"), N_LINE);
}
END_TEST

START_TEST(strict_equal_device_passes_on_every_line)
{
    use_other();
    int rc = strict_check(rig.f, &table, &err);
    ck_assert_msg(rc == 0, "%s", err.text);
    ck_assert_uint_eq(lines_with("equal, bit for bit"), N_LINE);
}
END_TEST

/* One bit of column 7 of the last row, when the matrix has n_ff rows. */
static int lying_mul(bnp_stream *s, bnp_span act, uint32_t n, const bnp_linear_item *item,
                     bnp_span scratch)
{
    int rc = true_linear.mul(s, act, n, item, scratch);
    const bnp_rows *y = &item[0].y;
    if (!rc && y->cols == rig.model->hp.n_ff) {
        char *p = (char *)y->mem.base + y->mem.offset + (y->n_tok - 1) * y->stride;
        ((uint32_t *)(void *)p)[7] ^= 1;
    }
    return rc;
}

START_TEST(strict_names_op_shape_row_and_column)
{
    char shape[32];
    use_other();
    linear.mul = lying_mul;
    snprintf(shape, sizeof shape, "gate,up %ux%u", rig.model->hp.n_ff, rig.model->hp.n_embd);
    ck_assert_int_eq(strict_check(rig.f, &table, &err), ERR_STRICT);
    ck_assert_int_eq(err.code, ERR_STRICT);
    ck_assert_msg(strstr(err.text, shape) && strstr(err.text, "mul: row 0, column 7") &&
                  strstr(err.text, "org.example.other"), "%s", err.text);
    ck_assert(other.disabled);
    ck_assert_uint_eq(lines_with("FAILED"), 1);
    ck_assert_uint_eq(lines_with("equal, bit for bit"), N_LINE - 1);
}
END_TEST

START_TEST(strict_bound_decides_below_exact)
{
    struct weights *ws = &rig.f->state->weights;
    use_other();
    linear.mul = lying_mul;
    for (uint32_t i = 0; i < ws->n; i++) {
        ws->w[i].offer.det = BNP_DET_BOUNDED;
        ws->w[i].offer.rel_err = 1e-4f;
    }
    int rc = strict_check(rig.f, &table, &err);
    ck_assert_msg(rc == 0, "%s", err.text);
    ck_assert_uint_eq(lines_with("within its bound"), N_LINE - 2);
    buf_clear(&table);
    for (uint32_t i = 0; i < ws->n; i++)
        ws->w[i].offer.rel_err = 1e-12f;
    ck_assert_int_eq(strict_check(rig.f, &table, &err), ERR_STRICT);
}
END_TEST

static int refusing_attend(bnp_stream *s, const bnp_attn_desc *d, bnp_span pool, const bnp_rows *q,
                           const bnp_rows *out, bnp_span scratch)
{
    (void)s, (void)d, (void)pool, (void)q, (void)out, (void)scratch;
    return BNP_E_INTERNAL;
}

START_TEST(strict_device_that_errs_fails)
{
    use_other();
    attn.attend = refusing_attend;
    ck_assert_int_eq(strict_check(rig.f, &table, &err), ERR_STRICT);
    ck_assert_msg(strstr(err.text, "attn") && strstr(err.text, "heads of"), "%s", err.text);
    ck_assert_uint_eq(lines_with("FAILED"), 1);
}
END_TEST

START_TEST(strict_disabled_device_is_missing)
{
    use_other();
    other.disabled = true;
    ck_assert_int_eq(strict_check(rig.f, &table, &err), ERR_STRICT);
    ck_assert_uint_eq(lines_with("disabled"), N_LINE);
    for (uint32_t i = 0; i <= rig.model->hp.n_layer; i++)
        rig.f->state->layer[i].point = NULL;
    buf_clear(&table);
    ck_assert_int_eq(strict_check(rig.f, &table, &err), ERR_STRICT);
    ck_assert_uint_eq(lines_with("no device offers it"), 1);
}
END_TEST

START_TEST(strict_needs_the_reference)
{
    struct dev *ref = rig.plug->ref;
    rig.plug->ref = NULL;
    ck_assert_int_eq(strict_check(rig.f, &table, &err), ERR_STRICT);
    ck_assert_ptr_nonnull(strstr(err.text, PLUG_REF_ID));
    rig.plug->ref = ref;
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("strict");
    TCase *c = tcase_create("strict");
    tcase_set_timeout(c, 600);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, strict_reference_itself_passes);
    tcase_add_test(c, strict_equal_device_passes_on_every_line);
    tcase_add_test(c, strict_names_op_shape_row_and_column);
    tcase_add_test(c, strict_bound_decides_below_exact);
    tcase_add_test(c, strict_device_that_errs_fails);
    tcase_add_test(c, strict_disabled_device_is_missing);
    tcase_add_test(c, strict_needs_the_reference);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
