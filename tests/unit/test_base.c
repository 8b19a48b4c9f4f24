/* test_base.c - the promises of core/base, but for exact.h (test_exact.c). */
#include <check.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/base/arena.h"
#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/base/f16.h"
#include "core/base/file.h"
#include "core/base/hist.h"
#include "core/base/log.h"
#include "core/base/mpsc.h"
#include "core/base/ring.h"
#include "core/base/utf8.h"

START_TEST(err_text_is_one_line)
{
    struct err e = { 0 };
    ck_assert_int_eq(err_set(&e, ERR_DATA, "a\nb\x01%s", "c\r"), ERR_DATA);
    ck_assert_str_eq(e.text, "a?b?c?");
    ck_assert_int_eq(err_prefix(&e, "file %d", 7), ERR_DATA);
    ck_assert_str_eq(e.text, "file 7: a?b?c?");
    ck_assert_int_eq(err_set(NULL, ERR_IO, "nobody listens"), ERR_IO);
}
END_TEST

START_TEST(err_prefix_keeps_inside_the_text)
{
    struct err e = { 0 };
    char longer[600];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    err_set(&e, ERR_ARG, "tail");
    err_prefix(&e, "%s", longer);
    ck_assert_uint_eq(strlen(e.text), sizeof e.text - 1);
    err_set(&e, ERR_ARG, "%s", longer);
    err_prefix(&e, "head");
    ck_assert_uint_eq(strlen(e.text), sizeof e.text - 1);
    ck_assert(!strncmp(e.text, "head: xxx", 9));
}
END_TEST

START_TEST(buf_grows_and_stays_terminated)
{
    struct buf b = { 0 };
    for (int i = 0; i < 1000; i++)
        buf_addf(&b, "%d,", i);
    buf_add(&b, "\0z", 2);
    ck_assert(!b.failed);
    ck_assert_uint_eq(b.n, 10 * 2 + 90 * 3 + 900 * 4 + 2);
    ck_assert_int_eq(b.p[b.n], 0);
    ck_assert(!strncmp(b.p, "0,1,2,", 6));
    buf_clear(&b);
    ck_assert_uint_eq(b.n, 0);
    ck_assert_int_eq(b.p[0], 0);
    buf_add(&b, "x", SIZE_MAX - 4);
    ck_assert(b.failed);
    buf_add(&b, "y", 1);
    ck_assert_uint_eq(b.n, 0);
    buf_free(&b);
}
END_TEST

START_TEST(arena_memory_is_zeroed_aligned_and_bounded)
{
    struct arena a = { .max = 300000 };
    for (size_t size = 1; size < 2000; size += 61) {
        unsigned char *p = arena_alloc(&a, size, 3);
        ck_assert_ptr_nonnull(p);
        ck_assert_uint_eq((uintptr_t)p % _Alignof(max_align_t), 0);
        for (size_t i = 0; i < 3 * size; i++)
            if (p[i])
                ck_abort_msg("byte %zu of %zu is not zero", i, 3 * size);
        memset(p, 0xee, 3 * size);
    }
    ck_assert_ptr_nonnull(arena_alloc(&a, 100000, 1));
    char *s = arena_strndup(&a, "abcdef", 3);
    ck_assert_str_eq(s, "abc");
    size_t used = a.used;
    ck_assert_ptr_null(arena_alloc(&a, 300000 - used + 16, 1));
    ck_assert_ptr_null(arena_alloc(&a, SIZE_MAX / 2, 3));
    ck_assert_uint_eq(a.used, used);
    arena_free(&a);
}
END_TEST

START_TEST(hist_counts_each_value_in_the_first_bound_that_holds_it)
{
    struct hist h = { 0 }, c = { .kind = HIST_COUNT };
    struct hist_view v;
    const uint64_t t[] = { 0, 100, 101, 600000000, 600000001, UINT32_MAX };
    for (unsigned i = 0; i < 6; i++)
        hist_add(&h, t[i]);
    hist_look(&h, &v);
    ck_assert_uint_eq(v.n_bound, 21);
    ck_assert_uint_eq(v.bound[0], 100);
    ck_assert_uint_eq(v.below[0], 2);
    ck_assert_uint_eq(v.below[1], 3);
    ck_assert_uint_eq(v.below[19], 3);
    ck_assert_uint_eq(v.below[20], 4);
    ck_assert_uint_eq(v.below[21], 6);
    ck_assert_uint_eq(v.sum, UINT64_C(1200000202) + UINT32_MAX);
    hist_add(&c, 8);
    hist_add(&c, 9);
    hist_look(&c, &v);
    ck_assert_uint_eq(v.n_bound, 17);
    ck_assert_uint_eq(v.below[2], 0);
    ck_assert_uint_eq(v.below[3], 1);
    ck_assert_uint_eq(v.below[4], 2);
    ck_assert_uint_eq(v.below[17], 2);
    for (unsigned i = 1; i < v.n_bound; i++)
        ck_assert_uint_lt(v.bound[i - 1], v.bound[i]);
}
END_TEST

START_TEST(ring_keeps_order_and_refuses_when_full)
{
    struct ring q;
    uint32_t v;
    ck_assert_int_eq(ring_open(&q, 5), 0);
    ck_assert_uint_eq(ring_space(&q), 8);
    for (uint32_t round = 0; round < 100; round++) {
        for (uint32_t i = 0; i < 8; i++)
            ck_assert(ring_push(&q, round * 8 + i));
        ck_assert(!ring_push(&q, 0));
        for (uint32_t i = 0; i < 8; i++) {
            ck_assert(ring_pop(&q, &v));
            ck_assert_uint_eq(v, round * 8 + i);
        }
        ck_assert(!ring_pop(&q, &v));
    }
    ring_close(&q);
}
END_TEST

#define RING_WORDS 200000

static void *ring_writer(void *ctx)
{
    for (uint32_t i = 0; i < RING_WORDS;)
        if (ring_push(ctx, i))
            i++;
        else
            sched_yield();
    return NULL;
}

START_TEST(ring_carries_words_between_threads)
{
    struct ring q;
    pthread_t t;
    ck_assert_int_eq(ring_open(&q, 64), 0);
    ck_assert_int_eq(pthread_create(&t, NULL, ring_writer, &q), 0);
    for (uint32_t i = 0, v; i < RING_WORDS;)
        if (!ring_pop(&q, &v))
            sched_yield();
        else if (v != i++)
            ck_abort_msg("word %u is %u", i - 1, v);
    pthread_join(t, NULL);
    ring_close(&q);
}
END_TEST

struct item {
    struct mpsc_node node;
    int pusher, n;
};

#define ITEMS 2000

struct pusher {
    struct mpsc *q;
    int id;
    struct item item[ITEMS];
};

static void *mpsc_pusher(void *ctx)
{
    struct pusher *p = ctx;
    for (int i = 0; i < ITEMS; i++) {
        p->item[i].pusher = p->id;
        p->item[i].n = i;
        mpsc_push(p->q, &p->item[i].node);
    }
    return NULL;
}

START_TEST(mpsc_keeps_each_pushers_order)
{
    struct mpsc q;
    pthread_t t[3];
    struct pusher *p = calloc(3, sizeof *p);
    int next[3] = { 0 }, got = 0;
    ck_assert_int_eq(mpsc_open(&q), 0);
    for (int i = 0; i < 3; i++) {
        p[i].q = &q;
        p[i].id = i;
        pthread_create(&t[i], NULL, mpsc_pusher, &p[i]);
    }
    while (got < 3 * ITEMS)
        for (struct mpsc_node *n = mpsc_take(&q, -1), *after; n; n = after, got++) {
            struct item *it = (struct item *)(void *)n;
            after = n->next;
            if (it->n != next[it->pusher]++)
                ck_abort_msg("pusher %d: item %d came out of order", it->pusher, it->n);
        }
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    ck_assert_ptr_null(mpsc_take(&q, 0));
    mpsc_close(&q);
    free(p);
}
END_TEST

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

START_TEST(mpsc_take_waits_as_told_and_a_poke_wakes_it)
{
    struct mpsc q;
    ck_assert_int_eq(mpsc_open(&q), 0);
    double start = now();
    ck_assert_ptr_null(mpsc_take(&q, 30));
    ck_assert_double_ge(now() - start, 0.029);
    mpsc_poke(&q);
    ck_assert_ptr_null(mpsc_take(&q, -1));
    start = now();
    ck_assert_ptr_null(mpsc_take(&q, 20));          /* the poke was spent */
    ck_assert_double_ge(now() - start, 0.019);
    mpsc_close(&q);
}
END_TEST

/* The value of a half by the definition, in double. */
static double half_value(unsigned h)
{
    int e = (int)(h >> 10 & 31);
    double m = h & 0x3ff, v = e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
    return h & 0x8000 ? -v : v;
}

START_TEST(f16_widening_is_exact_for_every_half)
{
    for (unsigned h = 0; h < 0x10000; h++) {
        float f = f16_to_f32((uint16_t)h);
        bool good = (signbit(f) != 0) == h >> 15;
        if ((h & 0x7c00) == 0x7c00)
            good = good && (h & 0x3ff ? isnan(f) : isinf(f));
        else
            good = good && half_value(h) == (double)f && f16_from_f32(f) == h;
        if (!good)
            ck_abort_msg("half 0x%04x gave %g", h, (double)f);
    }
}
END_TEST

/* Every pair of neighbours: their middle goes to the even one, and one step of
 * f32 beside the middle to the nearer. Together with the halves themselves
 * and monotony this fixes the function. */
START_TEST(f16_narrowing_rounds_to_nearest_even)
{
    for (unsigned h = 0; h < 0x7bff; h++) {
        float mid = (float)((half_value(h) + half_value(h + 1)) / 2);
        unsigned even = h & 1 ? h + 1 : h;
        if (f16_from_f32(mid) != even || f16_from_f32(nextafterf(mid, 0)) != h ||
            f16_from_f32(nextafterf(mid, INFINITY)) != h + 1 ||
            f16_from_f32(-mid) != (even | 0x8000))
            ck_abort_msg("between halves 0x%04x and 0x%04x", h, h + 1);
    }
    ck_assert_uint_eq(f16_from_f32(65519.996f), 0x7bff);
    ck_assert_uint_eq(f16_from_f32(65520.0f), 0x7c00);
    ck_assert_uint_eq(f16_from_f32(3e38f), 0x7c00);
    ck_assert_uint_eq(f16_from_f32(-INFINITY), 0xfc00);
    ck_assert_uint_eq(f16_from_f32(NAN) & 0x7e00, 0x7e00);
    ck_assert(bf16_to_f32(0x3fc0) == 1.5f);
}
END_TEST

/* A ck_assert costs a message to the parent process: too much in long loops. */
static bool round_trips(uint32_t cp)
{
    char b[4];
    uint32_t back = 0;
    size_t n = utf8_encode(cp, b);
    if (cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
        return n == 0;
    bool good = n == (cp < 0x80 ? 1u : cp < 0x800 ? 2u : cp < 0x10000 ? 3u : 4u) &&
                utf8_decode(b, n, &back) == n && back == cp && !utf8_decode(b, n - 1, &back) &&
                utf8_whole(b, n) == n;
    for (size_t k = 1; k < n; k++)
        good = good && utf8_whole(b, k) == 0;
    return good;
}

START_TEST(utf8_round_trips_every_code_point)
{
    for (uint32_t cp = 0; cp <= 0x110000; cp++)
        if (!round_trips(cp))
            ck_abort_msg("U+%04X", cp);
}
END_TEST

START_TEST(utf8_refuses_what_rfc_3629_refuses)
{
    static const char *const bad[] = {
        "\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xe2\x28\xa1", "\xc3\xc3"
    };
    uint32_t cp;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(!utf8_decode(bad[i], strlen(bad[i]), &cp), "case %zu", i);
    ck_assert_uint_eq(utf8_whole("ab\xed\xa0", 4), 4);      /* never becomes valid */
    ck_assert_uint_eq(utf8_whole("ab\xed\x9f", 4), 2);      /* may */
    ck_assert_uint_eq(utf8_whole("a\x80\x80\x80\x80", 5), 5);
    ck_assert_uint_eq(utf8_whole("a\xff", 2), 2);
    ck_assert_uint_eq(utf8_whole("a\xf0\x9f\x98", 4), 1);
    ck_assert_uint_eq(utf8_whole("", 0), 0);
}
END_TEST

START_TEST(utf8_mends_byte_by_byte)
{
    struct buf b = { 0 };
    utf8_mend("a\xff\xc3\xa9\xe2\x82", 6, &b);
    utf8_mend("", 0, &b);
    ck_assert(!b.failed);
    ck_assert_str_eq(b.p, "a\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd");
    buf_free(&b);
}
END_TEST

static char dir[] = "/tmp/test_base.XXXXXX";

static const char *in_dir(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void make_dir(void)
{
    memcpy(dir + strlen(dir) - 6, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void remove_dir(void)
{
    static const char *const name[] = { "a", "b", "fifo", "empty" };
    for (size_t i = 0; i < sizeof name / sizeof name[0]; i++)
        unlink(in_dir(name[i]));
    ck_assert_int_eq(rmdir(dir), 0);        /* nothing unfinished is left behind */
}

START_TEST(file_appears_only_when_complete)
{
    struct err e = { 0 };
    struct file_out o;
    struct stat st;
    ck_assert_int_eq(file_out_open(&o, in_dir("a"), &e), 0);
    ck_assert_int_eq(file_out_write(&o, "hello", 5, &e), 0);
    ck_assert_int_ne(stat(in_dir("a"), &st), 0);
    file_out_abort(&o);
    ck_assert_int_ne(stat(in_dir("a"), &st), 0);

    ck_assert_int_eq(file_out_open(&o, in_dir("a"), &e), 0);
    ck_assert_int_eq(file_out_write(&o, "hello", 5, &e), 0);
    ck_assert_int_eq(file_out_commit(&o, &e), 0);
    file_out_abort(&o);
    char *p;
    size_t n;
    ck_assert_int_eq(file_read(in_dir("a"), 5, &p, &n, &e), 0);
    ck_assert_uint_eq(n, 5);
    ck_assert_str_eq(p, "hello");
    free(p);
    ck_assert_int_eq(file_read(in_dir("a"), 4, &p, &n, &e), ERR_LIMIT);
    mode_t mask = umask(0);
    umask(mask);
    ck_assert_int_eq(stat(in_dir("a"), &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0666 & ~mask);
}
END_TEST

START_TEST(file_errors_name_the_file)
{
    struct err e = { 0 };
    struct file_out o;
    struct file_map m;
    ck_assert_int_eq(file_map(&m, in_dir("b"), &e), ERR_IO);
    ck_assert_ptr_nonnull(strstr(e.text, in_dir("b")));
    ck_assert_int_eq(file_map(&m, dir, &e), ERR_IO);
    ck_assert_int_eq(mkfifo(in_dir("fifo"), 0600), 0);
    ck_assert_int_eq(file_map(&m, in_dir("fifo"), &e), ERR_IO);
    close(open(in_dir("empty"), O_CREAT | O_WRONLY, 0600));
    ck_assert_int_eq(file_map(&m, in_dir("empty"), &e), ERR_DATA);
    ck_assert_int_eq(file_out_open(&o, in_dir("no/such"), &e), ERR_IO);
    ck_assert_int_eq(file_out_open(&o, "/dev/full", &e), 0);
    ck_assert_int_eq(file_out_write(&o, "x", 1, &e), ERR_IO);
    ck_assert_ptr_nonnull(strstr(e.text, "/dev/full"));
    file_out_abort(&o);
}
END_TEST

START_TEST(file_map_shows_the_content_and_survives_a_drop)
{
    struct err e = { 0 };
    struct file_out o;
    struct file_map m;
    size_t n = 100000;
    uint8_t *want = malloc(n);
    for (size_t i = 0; i < n; i++)
        want[i] = (uint8_t)(i * 7);
    ck_assert_int_eq(file_out_open(&o, in_dir("a"), &e), 0);
    ck_assert_int_eq(file_out_write(&o, want, n, &e), 0);
    ck_assert_int_eq(file_out_commit(&o, &e), 0);
    ck_assert_int_eq(file_map(&m, in_dir("a"), &e), 0);
    ck_assert_uint_eq(m.n, n);
    ck_assert_mem_eq(m.p, want, n);
    file_drop(&m, m.p + 100, n - 200);
    file_drop(&m, m.p, n + 1);                      /* outside the map: nothing happens */
    ck_assert_mem_eq(m.p, want, n);
    file_unmap(&m);
    free(want);
}
END_TEST

/* What log_line writes, with standard error turned into a pipe meanwhile. */
static const char *logged(enum log_level level, const char *text)
{
    static char line[4096];
    int p[2], keep = dup(STDERR_FILENO);
    ck_assert_int_eq(pipe(p), 0);
    dup2(p[1], STDERR_FILENO);
    log_line(level, "%s", text);
    dup2(keep, STDERR_FILENO);
    close(keep);
    close(p[1]);
    ssize_t n = read(p[0], line, sizeof line - 1);
    close(p[0]);
    line[n > 0 ? n : 0] = 0;
    return line;
}

START_TEST(log_line_cannot_be_forged)
{
    log_setup(LOG_LEVEL_INFO, false);
    ck_assert_str_eq(logged(LOG_LEVEL_WARN, "a\nerror: b\x1b[2J\xff\xc2\x9b"),
                     "warning: a\\x0aerror: b\\x1b[2J\\xff\\x9b\n");
    ck_assert_str_eq(logged(LOG_LEVEL_DEBUG, "quiet"), "");
    log_setup(LOG_LEVEL_DEBUG, true);
    const char *line = logged(LOG_LEVEL_DEBUG, "say \"hi\"\\\n\xff\xc3\xa9");
    ck_assert_ptr_nonnull(strstr(line, "\"level\":\"debug\",\"msg\":\"say \\\"hi\\\"\\\\\\u000a"
                                       "\\ufffd\xc3\xa9\"}\n"));
    char longer[5000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    line = logged(LOG_LEVEL_ERROR, longer);
    ck_assert_uint_le(strlen(line), 2000);
    ck_assert(!strcmp(line + strlen(line) - 3, "\"}\n"));
    log_setup(LOG_LEVEL_INFO, false);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("base");
    TCase *t = tcase_create("memory");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, err_text_is_one_line);
    tcase_add_test(t, err_prefix_keeps_inside_the_text);
    tcase_add_test(t, buf_grows_and_stays_terminated);
    tcase_add_test(t, arena_memory_is_zeroed_aligned_and_bounded);
    tcase_add_test(t, hist_counts_each_value_in_the_first_bound_that_holds_it);
    tcase_add_test(t, ring_keeps_order_and_refuses_when_full);
    tcase_add_test(t, ring_carries_words_between_threads);
    tcase_add_test(t, mpsc_keeps_each_pushers_order);
    tcase_add_test(t, mpsc_take_waits_as_told_and_a_poke_wakes_it);
    tcase_add_test(t, f16_widening_is_exact_for_every_half);
    tcase_add_test(t, f16_narrowing_rounds_to_nearest_even);
    tcase_add_test(t, utf8_round_trips_every_code_point);
    tcase_add_test(t, utf8_refuses_what_rfc_3629_refuses);
    tcase_add_test(t, utf8_mends_byte_by_byte);
    tcase_add_test(t, log_line_cannot_be_forged);
    suite_add_tcase(s, t);
    TCase *f = tcase_create("files");
    tcase_add_checked_fixture(f, make_dir, remove_dir);
    tcase_add_test(f, file_appears_only_when_complete);
    tcase_add_test(f, file_errors_name_the_file);
    tcase_add_test(f, file_map_shows_the_content_and_survives_a_drop);
    suite_add_tcase(s, f);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
