/* Promises of core/engine/wcache.h. Whether a matrix came from a file shows in
 * whether its source was read: the plugin here counts prepare and adopt. */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/engine/forward_parts.h"
#include "core/engine/wcache.h"
#include "tests/golden/rig.h"

enum { N_ID = 2, BIG = 1 << 30 };

static const int32_t ids[N_ID] = { 1, 403 };
static struct bnp_linear_ops linear, true_linear;
static unsigned n_prepare, n_adopt;
static char dir[64];
static struct model *model;
static struct plug *plug;
static struct err err;

static int count_prepare(bnp_device *d, const bnp_weight_desc *w, const bnp_weight_src *src,
                         bnp_span storage, bnp_weight **out)
{
    n_prepare++;
    return true_linear.prepare(d, w, src, storage, out);
}

static int count_adopt(bnp_device *d, const bnp_weight_desc *w, bnp_span storage, bnp_weight **out)
{
    n_adopt++;
    return true_linear.adopt(d, w, storage, out);
}

static void setup(void)
{
    strcpy(dir, "/tmp/bitnet-wcache-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    model = rig_model(NULL);
    plug = rig_plug(&(struct rig_opts){ .n_threads = 2 });
    linear = true_linear = *plug->ref->linear;
    linear.prepare = count_prepare;
    linear.adopt = count_adopt;
    plug->ref->linear = &linear;
}

static void for_each_file(void (*fn)(const char *path))
{
    DIR *d = opendir(dir);
    ck_assert_ptr_nonnull(d);
    for (struct dirent *e; (e = readdir(d));) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (e->d_name[0] != '.')
            fn(path);
    }
    closedir(d);
}

static unsigned n_files;
static uint64_t n_bytes;

static void count_file(const char *path)
{
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    n_files++;
    n_bytes += (uint64_t)st.st_size;
}

static unsigned files(void)
{
    n_files = 0;
    n_bytes = 0;
    for_each_file(count_file);
    return n_files;
}

static void remove_file(const char *path)
{
    ck_assert_int_eq(unlink(path), 0);
}

static void teardown(void)
{
    for_each_file(remove_file);
    rmdir(dir);
    plug->ref->linear = &plug->ref->plugin->linear;
    plug_close(plug);
    model_close(model);
}

/* The same model, opened as bitnetd opens it: sums taken aside, content unchecked. */
static struct model *open_kept(const char *path, const void *p, size_t n)
{
    const struct model_opts opts = { .kept = true };
    struct model *m = NULL;
    const int rc = p ? model_open_mem(&m, p, n, path, &opts, &err)
                     : model_open(&m, path, &opts, &err);
    ck_assert_msg(!rc, "%s", err.text);
    ck_assert(m->sums && m->unchecked);
    return m;
}

/* Loads the model; its logits' first bytes go to out. */
static void load(uint64_t max_size, float *out)
{
    struct forward_conf conf = rig_conf(&(struct rig_opts){ 0 });
    conf.weight_cache = dir;
    conf.weight_cache_size = max_size;
    struct rig rig = { .model = model, .plug = plug };
    n_prepare = n_adopt = 0;
    ck_assert_msg(!forward_open(&rig.f, model, plug, &conf, &err), "%s", err.text);
    ck_assert_int_eq(batch_open(&rig.batch, &rig.f->limits, &err), 0);
    rig_logits(&rig, ids, N_ID, 0, out);
    batch_close(&rig.batch);
    forward_close(rig.f);
}

static float *logits(void)
{
    float *p = calloc(N_ID, model->hp.n_vocab * sizeof *p);
    ck_assert_ptr_nonnull(p);
    return p;
}

static bool same_logits(const float *a, const float *b)
{
    return !memcmp(a, b, N_ID * model->hp.n_vocab * sizeof *a);
}

/* A start that finds all n weights, and computes what the first one did. */
static void expect_kept(unsigned n, const float *first)
{
    float *again = logits();
    load(BIG, again);
    ck_assert_uint_eq(n_prepare, 0);
    ck_assert_uint_eq(n_adopt, n);
    ck_assert(same_logits(first, again));
    free(again);
}

START_TEST(a_second_start_prepares_nothing_and_gives_the_same_bits)
{
    float *first = logits();
    load(BIG, first);
    ck_assert_uint_gt(n_prepare, 10);
    ck_assert_uint_eq(n_adopt, 0);
    ck_assert_uint_eq(files(), n_prepare);
    expect_kept(n_prepare, first);
    free(first);
}
END_TEST

/* Byte `at` of every file, counted from the end when negative, is flipped. */
static off_t flip_at;

static void flip(const char *path)
{
    const int fd = open(path, O_RDWR);
    uint8_t b;
    ck_assert_int_ge(fd, 0);
    const off_t at = flip_at >= 0 ? flip_at : lseek(fd, 0, SEEK_END) + flip_at;
    ck_assert_int_eq(pread(fd, &b, 1, at), 1);
    b ^= 1;
    ck_assert_int_eq(pwrite(fd, &b, 1, at), 1);
    close(fd);
}

static void shorten(const char *path)
{
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(truncate(path, st.st_size - 1), 0);
}

static void empty(const char *path)
{
    ck_assert_int_eq(truncate(path, 0), 0);
}

static void open_to_all(const char *path)
{
    ck_assert_int_eq(chmod(path, 0666), 0);
}

/* The last byte of the storage: the end of the file has its size. */
static void flip_last(const char *path)
{
    const int fd = open(path, O_RDONLY);
    uint64_t size;
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pread(fd, &size, sizeof size, lseek(fd, 0, SEEK_END) - 48), sizeof size);
    close(fd);
    flip_at = (off_t)size - 1;
    flip(path);
}

/* The magic, the layout, the size, a hash, the first and the last byte. */
static const struct {
    const char *what;
    void (*fn)(const char *path);
    off_t at;
} harm[] = {
    { "magic", flip, -64 },     { "layout", flip, -56 },   { "size", flip, -48 },
    { "chunks", flip, -40 },    { "key", flip, -32 },      { "hash of hashes", flip, -16 },
    { "hash", flip, -72 },      { "first byte", flip, 0 }, { "last byte", flip_last, 0 },
    { "cut", shorten, 0 },      { "empty", empty, 0 },     { "writable by all", open_to_all, 0 },
};

START_TEST(what_is_damaged_is_made_again)
{
    float *first = logits(), *second = logits();
    load(BIG, first);
    const unsigned n = n_prepare;
    flip_at = harm[_i].at;
    for_each_file(harm[_i].fn);
    load(BIG, second);
    ck_assert_msg(n_adopt == 0 && n_prepare == n, "%s: %u adopted, %u prepared", harm[_i].what,
                  n_adopt, n_prepare);
    ck_assert(same_logits(first, second));
    load(BIG, second);
    ck_assert_msg(n_adopt == n, "%s: not mended", harm[_i].what);
    free(first);
    free(second);
}
END_TEST

START_TEST(the_limit_holds_and_the_oldest_make_room)
{
    float *out = logits();
    load(BIG, out);
    const unsigned n = files();
    const uint64_t all = n_bytes;
    for_each_file(remove_file);
    /* A stranger's entry, older than any: the first to go. */
    char path[128];
    snprintf(path, sizeof path, "%s/0000.bnw", dir);
    const int fd = open(path, O_CREAT | O_WRONLY, 0600);
    ck_assert_int_eq(ftruncate(fd, 4096), 0);
    ck_assert_int_eq(futimens(fd, (struct timespec[]){ { 1, 0 }, { 1, 0 } }), 0);
    close(fd);
    load(all, out);
    ck_assert_uint_eq(files(), n);
    ck_assert_uint_le(n_bytes, all);
    ck_assert_int_ne(access(path, F_OK), 0);
    free(out);
}
END_TEST

START_TEST(a_model_above_the_limit_is_served_without)
{
    float *out = logits();
    load(4096, out);
    ck_assert_uint_gt(n_prepare, 10);
    ck_assert_uint_eq(files(), 0);
    free(out);
}
END_TEST

START_TEST(a_folder_that_others_may_write_is_not_used)
{
    float *out = logits();
    load(BIG, out);
    const unsigned n = n_prepare;
    ck_assert_int_eq(chmod(dir, 0777), 0);
    load(BIG, out);
    ck_assert_uint_eq(n_prepare, n);
    ck_assert_int_eq(chmod(dir, 0700), 0);
    free(out);
}
END_TEST

/* With more than one NUMA node files are read, not mapped. */
START_TEST(storage_may_be_read_as_well_as_mapped)
{
    float *first = logits(), *second = logits();
    load(BIG, first);
    const unsigned n = n_prepare;
    plug->topo.abi.n_numa = 2;
    load(BIG, second);
    ck_assert_uint_eq(n_adopt, n);
    ck_assert(same_logits(first, second));
    flip_at = 0;
    for_each_file(flip);
    load(BIG, second);
    ck_assert_uint_eq(n_prepare, n);
    ck_assert(same_logits(first, second));
    free(first);
    free(second);
}
END_TEST

static int adopt_nothing(bnp_device *d, const bnp_weight_desc *w, bnp_span storage,
                         bnp_weight **out)
{
    (void)d;
    (void)w;
    (void)storage;
    *out = NULL;
    n_adopt++;
    return BNP_E_DATA;
}

START_TEST(what_the_plugin_refuses_is_made_again)
{
    float *first = logits(), *second = logits();
    load(BIG, first);
    const unsigned n = n_prepare;
    linear.adopt = adopt_nothing;
    load(BIG, second);
    ck_assert_uint_eq(n_adopt, n);
    ck_assert_uint_eq(n_prepare, n);
    ck_assert_uint_eq(files(), n);
    ck_assert(same_logits(first, second));
    free(first);
    free(second);
}
END_TEST

START_TEST(sums_taken_aside_are_the_same)
{
    float *first = logits();
    load(BIG, first);
    const unsigned n = n_prepare;
    struct model *kept = open_kept(gguf_name(model->file), NULL, 0);
    model_close(model);
    model = kept;
    expect_kept(n, first);
    free(first);
}
END_TEST

/* A copy of the model's file in which one code of its last layer is none. */
static char *damage(size_t *n)
{
    const struct wsrc *w = &model->layer[model->hp.n_layer - 1].t[T_FFN_DOWN];
    char *p;
    ck_assert_msg(!file_read(gguf_name(model->file), SIZE_MAX / 2, &p, n, &err), "%s", err.text);
    p[w->t->offset + 5] |= 3;
    return p;
}

/* Whatever else is kept: nothing of it vouches for other bytes. */
START_TEST(what_is_not_kept_is_checked)
{
    float *first = logits();
    struct forward_conf conf = rig_conf(&(struct rig_opts){ 0 });
    struct forward *f;
    size_t n;
    load(BIG, first);
    const unsigned n_kept = files();
    char *p = damage(&n);
    model_close(model);
    model = open_kept("damaged", p, n);
    conf.weight_cache = dir;
    conf.weight_cache_size = BIG;
    ck_assert_int_eq(forward_open(&f, model, plug, &conf, &err), ERR_DATA);
    ck_assert_msg(strstr(err.text, "damaged: tensor blk.") && strstr(err.text, "1 codes are 3"),
                  "%s", err.text);
    ck_assert_uint_eq(files(), n_kept);
    model_close(model);
    model = rig_model(NULL);
    free(p);
    free(first);
}
END_TEST

/* A file that goes while it is the storage is there until it is not needed. */
START_TEST(a_file_may_be_removed_while_it_is_used)
{
    float *first = logits(), *second = logits();
    load(BIG, first);
    struct forward_conf conf = rig_conf(&(struct rig_opts){ 0 });
    conf.weight_cache = dir;
    conf.weight_cache_size = BIG;
    struct rig rig = { .model = model, .plug = plug };
    ck_assert_msg(!forward_open(&rig.f, model, plug, &conf, &err), "%s", err.text);
    for_each_file(remove_file);
    ck_assert_int_eq(batch_open(&rig.batch, &rig.f->limits, &err), 0);
    rig_logits(&rig, ids, N_ID, 0, second);
    batch_close(&rig.batch);
    forward_close(rig.f);
    ck_assert(same_logits(first, second));
    free(first);
    free(second);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("wcache");
    TCase *c = tcase_create("wcache");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, a_second_start_prepares_nothing_and_gives_the_same_bits);
    tcase_add_loop_test(c, what_is_damaged_is_made_again, 0, sizeof harm / sizeof *harm);
    tcase_add_test(c, the_limit_holds_and_the_oldest_make_room);
    tcase_add_test(c, a_model_above_the_limit_is_served_without);
    tcase_add_test(c, a_folder_that_others_may_write_is_not_used);
    tcase_add_test(c, storage_may_be_read_as_well_as_mapped);
    tcase_add_test(c, what_the_plugin_refuses_is_made_again);
    tcase_add_test(c, sums_taken_aside_are_the_same);
    tcase_add_test(c, what_is_not_kept_is_checked);
    tcase_add_test(c, a_file_may_be_removed_while_it_is_used);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
