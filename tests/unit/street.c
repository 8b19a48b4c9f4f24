/* street.c - see street.h. */
#include "street.h"

#include <check.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "plug_dir.h"

struct plug *plug;
struct plug street;
struct plug_entry entry[3];
struct plug_entry *entries[3] = { &entry[0], &entry[1], &entry[2] };
struct dev dev[3];
struct dev *devs[3] = { &dev[0], &dev[1], &dev[2] };
bnp_linear_ops linear[3];
struct err err;
struct route *route;
struct dev *chosen;
bnp_offer offer;

const bnp_weight_desc weight = {
    .struct_size = sizeof weight, .format = BNP_FMT_T2, .scale_kind = BNP_SCALE_TENSOR,
    .flags = BNP_W_MUL, .rows = 8, .cols = 128, .max_tok = 64, .name = "a" };
const bnp_attn_desc attention = {
    .struct_size = sizeof attention, .n_head = 2, .n_head_kv = 1, .head_dim = 32, .page_tok = 16,
    .kv_format = BNP_KV_F16, .max_kv = 64, .max_tok = 16, .scale = 0.25f };
const bnp_point_desc pointwise = {
    .struct_size = sizeof pointwise, .ops = 0x3f, .cols = 64, .max_tok = 16 };

static int64_t clock_ns = 1000000000;

int __wrap_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t)
{
    (void)id;
    clock_ns += 1000;
    *t = (struct timespec){ .tv_sec = clock_ns / 1000000000, .tv_nsec = clock_ns % 1000000000 };
    return 0;
}

void wait_us(int64_t us)
{
    clock_ns += us * 1000;
}

unsigned n_mul;

int slow_mul(bnp_stream *s, bnp_span act, uint32_t n, const bnp_linear_item *item,
             bnp_span scratch)
{
    n_mul++;
    wait_us(4000);
    return plug->ref->linear->mul(s, act, n, item, scratch);
}

void street_setup(void)
{
    static const char *const id[3] = { QUICK_ID, SLOW_ID, PLUG_REF_ID };
    plug_dir_setup();
    plug_dir_add(PLUG_DIR_REF, "scalar-ref.so");
    struct plug_opts o = plug_dir_opts();
    o.no_test = true;
    plug = plug_dir_open(&o);
    for (unsigned i = 0; i < 3; i++) {
        entry[i] = *plug->ref->plugin;
        snprintf(entry[i].note.raw.id, sizeof entry[i].note.raw.id, "%s", id[i]);
        linear[i] = *plug->ref->linear;
        dev[i] = *plug->ref;
        dev[i].plugin = &entry[i];
        dev[i].linear = &linear[i];
    }
    linear[1].mul = linear[2].mul = slow_mul;
    street = (struct plug){ .entry = entries, .n_entry = 3, .dev = devs, .n_dev = 3,
                            .ref = &dev[2] };
}

void street_teardown(void)
{
    route_close(route);
    route = NULL;
    plug_close(plug);
    plug_dir_teardown();
}

void open_route(struct route_opts o)
{
    if (!o.min_det)
        o.min_det = BNP_DET_EXACT;
    route_close(route);
    ck_assert_int_eq(route_open(&route, &street, &o, &err), 0);
}

void expect_explained(const char *text)
{
    struct buf b = { 0 };
    route_explain(route, &b);
    ck_assert_msg(b.p && strstr(b.p, text), "'%s' lacks '%s'", b.p ? b.p : "", text);
    buf_free(&b);
}
