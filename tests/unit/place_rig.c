/* place_rig.c - see place_rig.h. */
#include "tests/unit/place_rig.h"

#include <check.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/plug/hostsvc.h"
#include "tests/unit/plug_dir.h"

struct rig place_rig;
int32_t place_id[PLACE_TOK];
float *place_want;
struct kv_seq place_seq;

static struct {
    const char *key, *value;
} options[8];
static unsigned n_option;

static const char *option(void *ctx, const char *id, const char *key)
{
    (void)ctx;
    for (unsigned i = 0; i < n_option && !strcmp(id, MEM); i++)
        if (!strcmp(options[i].key, key))
            return options[i].value;
    return NULL;
}

void place_rig_option(const char *key, const char *value)
{
    unsigned i = 0;
    while (i < n_option && strcmp(options[i].key, key))
        i++;
    ck_assert_uint_lt(i, sizeof options / sizeof options[0]);
    options[i].key = key;
    options[i].value = value;
    n_option = i == n_option ? i + 1 : n_option;
}

void place_rig_want(void)
{
    struct golden golden[GOLDEN_N];
    struct rig ref;
    rig_golden(golden);
    for (uint32_t i = 0; i < PLACE_TOK; i++)
        place_id[i] = golden[9].id[i];
    rig_golden_free(golden);
    rig_open(&ref, &(struct rig_opts){ 0 });
    place_want = calloc((size_t)PLACE_TOK * ref.model->hp.n_vocab, sizeof *place_want);
    ck_assert_ptr_nonnull(place_want);
    rig_logits(&ref, place_id, PLACE_TOK, 0, place_want);
    rig_close(&ref);
}

void place_rig_setup(void)
{
    n_option = 0;
    place_seq = (struct kv_seq){ 0 };
    plug_dir_setup();
    plug_dir_add(PLUG_DIR_REF, "scalar-ref.so");
    plug_dir_add(PLUG_DIR_TEST("devmem"), "devmem.so");
}

/* Whatever was allocated for the model is given back, on every device. */
void place_rig_teardown(void)
{
    if (place_rig.f) {
        if (place_seq.page)
            kv_seq_close(&place_rig.f->kv, &place_seq);
        forward_close(place_rig.f);
    }
    place_rig.f = NULL;
    if (place_rig.plug) {
        ck_assert_uint_eq(atomic_load(&place_rig.plug->mem.n), 0);
        /* Nothing but the devices themselves. */
        for (unsigned i = 0; i < place_rig.plug->n_entry; i++) {
            const struct plug_entry *p = place_rig.plug->entry[i];
            ck_assert_uint_eq(atomic_load(&p->host->mem.n), p->n_dev);
        }
        rig_close(&place_rig);
    }
    plug_dir_teardown();
}

struct forward_conf place_rig_conf(const struct place_opts *o)
{
    struct forward_conf c = rig_conf(&(struct rig_opts){ .n_ctx = 64, .max_tok = 32, .max_seq = 2,
                                                         .max_out = 32, .page_tok = 16 });
    c.route.pin_linear = o->linear;
    c.route.pin_attn = o->attn;
    c.route.pin_point = o->point;
    c.route.layers = o->layers;
    c.route.strict = o->strict;
    return c;
}

void place_rig_plug(void)
{
    struct plug_opts o = plug_dir_opts();
    o.option = option;
    o.no_test = true;
    place_rig.plug = plug_dir_open(&o);
    place_rig.model = rig_model(NULL);
}

void place_rig_open(const struct place_opts *o)
{
    struct err err = { 0 };
    const struct forward_conf conf = place_rig_conf(o);
    if (!place_rig.plug)
        place_rig_plug();
    int rc = forward_open(&place_rig.f, place_rig.model, place_rig.plug, &conf, &err);
    ck_assert_msg(rc == 0, "%s", err.text);
    rc = batch_open(&place_rig.batch, &place_rig.f->limits, &err);
    ck_assert_msg(rc == 0, "%s", err.text);
}

struct dev *place_rig_dev(const char *id, uint32_t index)
{
    for (unsigned i = 0; i < place_rig.plug->n_dev; i++) {
        struct dev *d = place_rig.plug->dev[i];
        if (!strcmp(d->plugin->note.raw.id, id) && d->index == index)
            return d;
    }
    ck_abort_msg("no device %s#%u", id, index);
    return NULL;
}

void place_rig_seq(void)
{
    struct err err = { 0 };
    ck_assert_int_eq(kv_seq_open(&place_seq, &place_rig.f->kv, PLACE_TOK, &err), 0);
}

void place_rig_fill(uint32_t from, uint32_t n, int want_out)
{
    batch_clear(&place_rig.batch);
    ck_assert(kv_reserve(&place_rig.f->kv, &place_seq, from + n));
    ck_assert(batch_add(&place_rig.batch, place_id + from, n, from, place_seq.page,
                        place_seq.n_page, want_out));
}

void place_rig_equal(const char *how, uint32_t from, uint32_t n)
{
    const uint32_t n_vocab = place_rig.model->hp.n_vocab;
    for (uint32_t i = 0; i < n; i++)
        ck_assert_msg(!memcmp(forward_out(place_rig.f, i).logits,
                              place_want + (size_t)(from + i) * n_vocab,
                              n_vocab * sizeof *place_want),
                      "%s: the logits at position %u differ from scalar-ref's", how, from + i);
}

void place_rig_check(const char *how, uint32_t chunk)
{
    struct err err = { 0 };
    place_rig_seq();
    for (uint32_t at = 0, n; at < PLACE_TOK; at += n) {
        n = chunk && chunk < PLACE_TOK - at ? chunk : PLACE_TOK - at;
        place_rig_fill(at, n, 2);
        ck_assert_msg(!forward_run(place_rig.f, &place_rig.batch, &err), "%s: %s", how, err.text);
        place_rig_equal(how, at, n);
    }
    kv_seq_close(&place_rig.f->kv, &place_seq);
    place_seq = (struct kv_seq){ 0 };
}
