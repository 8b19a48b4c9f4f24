/* steps.c - the OpenCL plugin as a device with memory and a queue of its own:
 * what is asynchronous about it, what it gives back, and how it fails.
 *
 * Between the loader and the driver stands a layer (layer.h) that counts objects
 * and lets calls fail. Without a loader, a driver or layers: skipped. */
#include <check.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/opencl/layer.h"
#include "tools/verify/gen.h"
#include "tools/verify/sut.h"

enum { ROWS = 4, COLS = 256, OUT = 64, SKIP = 77 };
#define LONG UINT64_C(60000000000)
#define N_OPTION 4

static struct layer *layer;
static struct sut s;            /* its host, and the plugin without a device */
static const bnp_plugin *p;
static bnp_device *dev;
static bnp_stream *stream;
static bnp_span mem;            /* of some rows                              */

static bool load(const char *const *option, unsigned n)
{
    const struct sut_conf conf = { .option = option, .n_option = n, .isa = UINT64_MAX,
                                   .device = SUT_NO_DEVICE };
    if (!sut_open_as(&s, PLUGIN_SO, &conf))
        return false;
    p = s.p;
    return true;
}

static void open_first(const char *const *option, unsigned n)
{
    const bnp_limits lim = { .struct_size = sizeof lim, .max_tok = 8, .max_seq = 2, .max_pages = 4,
                             .max_out = 8 };
    uint32_t count = 0;
    ck_assert(load(option, n));
    ck_assert_int_eq(p->device_count(&s.host, &count), BNP_OK);
    ck_assert_uint_ge(count, 1);
    ck_assert_int_eq(p->device_open(&s.host, 0, &dev), BNP_OK);
    ck_assert_int_eq(p->device->stream_open(dev, &lim, &stream), BNP_OK);
    ck_assert_int_eq(p->device->mem_alloc(dev, BNP_MEM_WORK, 4096 * 64, 64, &mem), BNP_OK);
}

static void setup(void)
{
    open_first(NULL, 0);
}

/* Nothing of the driver and nothing of the host's memory stays behind. */
static void teardown(void)
{
    *layer = (struct layer){ .context = layer->context, .queue = layer->queue,
                             .buffer = layer->buffer, .program = layer->program,
                             .kernel = layer->kernel, .event = layer->event };
    p->device->mem_free(dev, mem);
    p->device->stream_close(stream);
    p->device_close(dev);
    ck_assert_int_eq(layer_alive(layer), 0);
    ck_assert(sut_close(&s));
}

static bnp_span part(uint32_t i, uint64_t size)          /* pieces of 16 KiB */
{
    return (bnp_span){ .base = mem.base, .offset = mem.offset + i * 16384, .size = size };
}

static bnp_rows rows(uint32_t i, uint32_t cols)
{
    return (bnp_rows){ .mem = part(i, ROWS * cols * 4), .stride = cols * 4, .n_tok = ROWS,
                       .cols = cols };
}

static int begin(void)
{
    const int32_t id[ROWS] = { 0 }, pos[ROWS] = { 0, 1, 2, 3 };
    const bnp_step st = { .struct_size = sizeof st, .n_tok = ROWS, .id = id, .pos = pos };
    return p->device->step_begin(stream, &st);
}

static int end(uint64_t *ticket)
{
    return p->device->step_end(stream, ticket);
}

static int end_and_wait(void)
{
    uint64_t ticket = 0;
    const int rc = end(&ticket);
    return rc ? rc : p->device->wait(stream, ticket, LONG);
}

static void put(uint32_t i, float value, float at_7)
{
    float x[ROWS * COLS];
    for (unsigned k = 0; k < ROWS * COLS; k++)
        x[k] = value;
    x[COLS + 7] = at_7;
    ck_assert_int_eq(p->device->copy_in(stream, part(i, sizeof x), x), BNP_OK);
}

/* ------------------------------------------------------------------ counting */

static bnp_weight *weight_open(bnp_span *storage)
{
    struct gen_weight w = { .desc = { .struct_size = sizeof w.desc, .format = BNP_FMT_T2,
                                      .scale_kind = BNP_SCALE_TENSOR, .rows = OUT, .cols = COLS,
                                      .max_tok = 8, .flags = BNP_W_MUL, .name = "w" },
                            .fill = FILL_RANDOM, .seed = 1 };
    const bnp_weight_src src = gen_source(&w);
    bnp_weight_layout layout = { .struct_size = sizeof layout };
    bnp_weight *out = NULL;
    ck_assert_int_eq(p->linear->layout(dev, &w.desc, &layout), BNP_OK);
    ck_assert_int_eq(p->device->mem_alloc(dev, BNP_MEM_WEIGHT, layout.size, layout.align, storage),
                     BNP_OK);
    ck_assert_int_eq(p->linear->prepare(dev, &w.desc, &src, *storage, &out), BNP_OK);
    return out;
}

static void one_step(const bnp_weight *w, uint32_t i)
{
    const bnp_rows x = rows(0, COLS), y = rows(1, COLS), z = rows(2, OUT);
    const bnp_norm norm = { .struct_size = sizeof norm, .eps = 1e-5f, .weight = part(3, COLS * 4) };
    const bnp_linear_item item = { .weight = w, .y = z };
    const float some[16] = { (float)i };
    uint64_t ticket = 0;
    ck_assert_int_eq(begin(), BNP_OK);
    ck_assert_int_eq(p->device->copy_in(stream, part(0, sizeof some), some), BNP_OK);
    ck_assert_int_eq(p->point->rmsnorm(stream, &norm, &x, &y), BNP_OK);
    ck_assert_int_eq(p->linear->act_prepare(stream, 1, &y, part(4, 4096)), BNP_OK);
    ck_assert_int_eq(p->linear->mul(stream, part(4, 4096), 1, &item, (bnp_span){ 0 }), BNP_OK);
    ck_assert_int_eq(end(&ticket), BNP_OK);
    if (i % 8 == 7)
        ck_assert_int_eq(p->device->wait(stream, ticket, LONG), BNP_OK);
}

START_TEST(ten_thousand_steps_leave_nothing_behind)
{
    bnp_span storage;
    bnp_weight *w = weight_open(&storage);
    put(0, 1.0f, 2.0f);
    put(3, 1.0f, 1.0f);
    for (uint32_t i = 0; i < 64; i++)           /* copies have gone round once */
        one_step(w, i);
    const long alive = layer_alive(layer), n_alloc = s.n_alloc, enqueued = layer->enqueued;
    for (uint32_t i = 0; i < 10000; i++)
        one_step(w, i);
    ck_assert_int_eq(layer_alive(layer), alive);
    ck_assert_int_eq(s.n_alloc, n_alloc);
    ck_assert_int_eq(layer->enqueued, enqueued + 30000);
    p->linear->release(w);
    p->device->mem_free(dev, storage);
}
END_TEST

/* -------------------------------------------------------------- asynchronous */

START_TEST(a_nan_surfaces_in_wait_and_is_gone_after_it)
{
    const bnp_rows x = rows(0, COLS), y = rows(1, COLS);
    const bnp_norm norm = { .struct_size = sizeof norm, .eps = 1e-5f, .weight = part(3, COLS * 4) };
    put(3, 1.0f, 1.0f);
    put(0, 1.0f, 0.0f / (float)(s.n_alloc - s.n_alloc));
    ck_assert_int_eq(begin(), BNP_OK);
    ck_assert_int_eq(p->point->rmsnorm(stream, &norm, &x, &y), BNP_OK);
    ck_assert_int_eq(end_and_wait(), BNP_E_NUMERIC);
    ck_assert_ptr_nonnull(strstr(s.why, "rmsnorm: row 1 column 7"));
    put(0, 1.0f, 1.0f);
    ck_assert_int_eq(begin(), BNP_OK);
    ck_assert_int_eq(p->point->rmsnorm(stream, &norm, &x, &y), BNP_OK);
    ck_assert_int_eq(end_and_wait(), BNP_OK);
}
END_TEST

/* Trouble of a step that nobody waited for is told by the next wait. */
START_TEST(a_later_wait_tells_of_an_earlier_step)
{
    const bnp_rows x = rows(0, COLS), y = rows(1, COLS);
    const bnp_norm norm = { .struct_size = sizeof norm, .eps = 1e-5f, .weight = part(3, COLS * 4) };
    uint64_t first = 0;
    put(0, 1.0f, 1.0f / (float)(s.n_alloc - s.n_alloc));
    ck_assert_int_eq(begin(), BNP_OK);
    ck_assert_int_eq(p->point->rmsnorm(stream, &norm, &x, &y), BNP_OK);
    ck_assert_int_eq(end(&first), BNP_OK);
    ck_assert_int_eq(begin(), BNP_OK);
    ck_assert_int_eq(end_and_wait(), BNP_E_NUMERIC);
    ck_assert_int_eq(p->device->wait(stream, first, LONG), BNP_OK);
}
END_TEST

START_TEST(copy_in_has_taken_its_source_when_it_returns)
{
    enum { N = 200000 };
    static unsigned char src[N], want[N], got[N];
    for (unsigned round = 0; round < 50; round++) {
        for (unsigned i = 0; i < N; i++)
            want[i] = src[i] = (unsigned char)gen_u64(round, i);
        ck_assert_int_eq(p->device->copy_in(stream, part(0, N), src), BNP_OK);
        memset(src, 0, N);
        memset(got, 0, N);
        ck_assert_int_eq(p->device->copy_out(stream, got, part(0, N)), BNP_OK);
        ck_assert_int_eq(begin(), BNP_OK);
        ck_assert_int_eq(end_and_wait(), BNP_OK);
        ck_assert_mem_eq(got, want, N);
    }
}
END_TEST

START_TEST(a_full_queue_is_busy_until_a_ticket_is_done)
{
    uint64_t ticket = 0;
    int rc = BNP_OK, n = 0;
    layer->hold = true;
    while (n < 100 && !(rc = begin())) {
        ck_assert_int_eq(end(&ticket), BNP_OK);
        n++;
    }
    ck_assert_int_eq(rc, BNP_E_BUSY);
    ck_assert_int_ge(n, 4);
    layer->hold = false;
    ck_assert_int_eq(p->device->wait(stream, ticket, LONG), BNP_OK);
    ck_assert_int_eq(begin(), BNP_OK);
    ck_assert_int_eq(end_and_wait(), BNP_OK);
}
END_TEST

START_TEST(wait_ends_when_its_time_is_over)
{
    struct timespec a, b;
    uint64_t ticket = 0;
    ck_assert_int_eq(begin(), BNP_OK);
    ck_assert_int_eq(end(&ticket), BNP_OK);
    layer->hold = true;
    clock_gettime(CLOCK_MONOTONIC, &a);
    ck_assert_int_eq(p->device->wait(stream, ticket, 20000000), BNP_E_BUSY);
    clock_gettime(CLOCK_MONOTONIC, &b);
    ck_assert_double_ge((double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) * 1e-9,
                        0.02);
    layer->hold = false;
    ck_assert_int_eq(p->device->wait(stream, ticket, LONG), BNP_OK);
    ck_assert_int_eq(p->device->wait(stream, ticket + 1, 0), BNP_E_INVALID);
}
END_TEST

/* ------------------------------------------------------------------- failing */

START_TEST(a_lost_device_is_a_status)
{
    const bnp_rows x = rows(0, COLS), y = rows(1, COLS);
    ck_assert_int_eq(begin(), BNP_OK);
    layer->enqueue_error = -5;                  /* CL_OUT_OF_RESOURCES */
    ck_assert_int_eq(p->point->add(stream, &x, &y), BNP_E_DEVICE);
    ck_assert_ptr_nonnull(strstr(s.why, "CL_OUT_OF_RESOURCES"));
    ck_assert_int_eq(end_and_wait(), BNP_OK);
    ck_assert_int_eq(begin(), BNP_OK);
    layer->event_state = -5;
    ck_assert_int_eq(end_and_wait(), BNP_E_DEVICE);
    ck_assert_ptr_nonnull(strstr(s.why, "submitted earlier"));
}
END_TEST

START_TEST(memory_that_the_driver_does_not_have)
{
    bnp_span out;
    layer->buffer_error = -4;                   /* CL_MEM_OBJECT_ALLOCATION_FAILURE */
    ck_assert_int_eq(p->device->mem_alloc(dev, BNP_MEM_KV, 4096, 64, &out), BNP_E_NOMEM);
    ck_assert_ptr_nonnull(strstr(s.why, "CL_MEM_OBJECT_ALLOCATION_FAILURE"));
    ck_assert_int_eq(p->device->mem_alloc(dev, BNP_MEM_KV, 4096, 64, &out), BNP_OK);
    p->device->mem_free(dev, out);
}
END_TEST

START_TEST(memory_beyond_the_limit)
{
    static const char *const option[] = { "mem_mib=32" };
    bnp_device_info info = { .struct_size = sizeof info };
    bnp_span big, out;
    teardown();
    open_first(option, 1);
    ck_assert_int_eq(p->device_info(dev, &info), BNP_OK);
    ck_assert_uint_eq(info.mem_size, 32u << 20);
    ck_assert_int_eq(p->device->mem_alloc(dev, BNP_MEM_KV, 16 << 20, 64, &big), BNP_OK);
    ck_assert_int_eq(p->device->mem_alloc(dev, BNP_MEM_KV, 16 << 20, 64, &out), BNP_E_NOMEM);
    ck_assert_ptr_nonnull(strstr(s.why, "left of 33554432"));
    p->device->mem_free(dev, big);
    ck_assert_int_eq(p->device->mem_alloc(dev, BNP_MEM_KV, 16 << 20, 64, &out), BNP_OK);
    p->device->mem_free(dev, out);
}
END_TEST

START_TEST(two_contexts_are_two_devices_with_memory_of_their_own)
{
    static const char *const option[] = { "contexts=2" };
    uint32_t n = 0;
    bnp_device *other = NULL;
    bnp_span theirs;
    teardown();
    open_first(option, 1);
    ck_assert_int_eq(p->device_count(&s.host, &n), BNP_OK);
    ck_assert_uint_eq(n % 2, 0);
    ck_assert_int_eq(p->device_open(&s.host, 1, &other), BNP_OK);
    ck_assert_int_eq(p->device->mem_alloc(other, BNP_MEM_WORK, 65536, 64, &theirs), BNP_OK);
    bnp_rows x = rows(0, COLS);
    const bnp_rows y = rows(1, COLS);
    x.mem.base = theirs.base;
    ck_assert_int_eq(begin(), BNP_OK);
    ck_assert_int_eq(p->point->add(stream, &x, &y), BNP_E_INVALID);
    ck_assert_ptr_nonnull(strstr(s.why, "of this device's mem_alloc"));
    ck_assert_int_eq(end_and_wait(), BNP_OK);
    p->device->mem_free(other, theirs);
    p->device_close(other);
}
END_TEST

START_TEST(rows_beyond_their_memory_are_refused)
{
    bnp_rows x = rows(0, COLS);
    const bnp_rows y = rows(1, COLS);
    x.mem.offset = 4096 * 64 - 64;              /* the span says it is there, the memory not */
    ck_assert_int_eq(begin(), BNP_OK);
    ck_assert_int_eq(p->point->add(stream, &x, &y), BNP_E_INVALID);
    ck_assert_int_eq(end_and_wait(), BNP_OK);
}
END_TEST

START_TEST(adopted_bytes_with_a_scale_that_is_no_number)
{
    bnp_span storage;
    bnp_weight *w = weight_open(&storage), *again = NULL;
    const bnp_weight_desc d = { .struct_size = sizeof d, .format = BNP_FMT_T2,
                                .scale_kind = BNP_SCALE_TENSOR, .rows = OUT, .cols = COLS,
                                .max_tok = 8, .flags = BNP_W_MUL, .name = "w" };
    const uint32_t nan = 0x7fc00000;
    bnp_span scale = storage;
    scale.offset += OUT * COLS / 4;
    scale.size = sizeof nan;
    ck_assert_int_eq(p->linear->adopt(dev, &d, storage, &again), BNP_OK);
    p->linear->release(again);
    ck_assert_int_eq(p->device->copy_in(stream, scale, &nan), BNP_OK);
    ck_assert_int_eq(begin(), BNP_OK);
    ck_assert_int_eq(end_and_wait(), BNP_OK);
    ck_assert_int_eq(p->linear->adopt(dev, &d, storage, &again), BNP_E_DATA);
    p->linear->release(w);
    p->device->mem_free(dev, storage);
}
END_TEST

static void find_layer(void)
{
    void *lib = dlopen(LAYER_SO, RTLD_NOW | RTLD_LOCAL);
    void *fn = lib ? dlsym(lib, "layer_state") : NULL;
    layer_state_fn *state;
    memcpy(&state, &fn, sizeof state);
    layer = fn ? state() : NULL;
}

static bool ready(void)
{
    uint32_t n = 0;
    setenv("OPENCL_LAYERS", LAYER_SO, 1);
    find_layer();
    if (!layer) {
        printf("%s cannot be opened\n", LAYER_SO);
        exit(1);
    }
    if (!load(NULL, 0) || p->device_count(&s.host, &n) || !n ||
        p->device_open(&s.host, 0, &dev)) {
        printf("skipped: no OpenCL device: %s\n", s.why);
        return false;
    }
    const bool counted = layer->context > 0;
    p->device_close(dev);
    (void)sut_close(&s);
    if (!counted)
        printf("skipped: this OpenCL loader knows no layers\n");
    return counted;
}

int main(void)
{
    if (!ready())
        return SKIP;
    Suite *suite = suite_create("opencl");
    TCase *c = tcase_create("steps");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, ten_thousand_steps_leave_nothing_behind);
    tcase_add_test(c, a_nan_surfaces_in_wait_and_is_gone_after_it);
    tcase_add_test(c, a_later_wait_tells_of_an_earlier_step);
    tcase_add_test(c, copy_in_has_taken_its_source_when_it_returns);
    tcase_add_test(c, a_full_queue_is_busy_until_a_ticket_is_done);
    tcase_add_test(c, wait_ends_when_its_time_is_over);
    tcase_add_test(c, a_lost_device_is_a_status);
    tcase_add_test(c, memory_that_the_driver_does_not_have);
    tcase_add_test(c, memory_beyond_the_limit);
    tcase_add_test(c, two_contexts_are_two_devices_with_memory_of_their_own);
    tcase_add_test(c, rows_beyond_their_memory_are_refused);
    tcase_add_test(c, adopted_bytes_with_a_scale_that_is_no_number);
    suite_add_tcase(suite, c);
    SRunner *r = srunner_create(suite);
    srunner_set_fork_status(r, CK_NOFORK);      /* a driver's threads do not survive a fork */
    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
