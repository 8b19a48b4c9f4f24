/* vocab_rig.h - one vocabulary that is made and opened, for programs with check
 * that are about what its keys say. */
#ifndef TESTS_UNIT_VOCAB_RIG_H
#define TESTS_UNIT_VOCAB_RIG_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "vocab_make.h"

static struct make *m;             /* from setup to teardown                   */
static struct vocab *v;            /* once it opens; NULL when it was refused  */
static char warn[256];
static struct err e;

static inline void setup(void)
{
    m = calloc(1, sizeof *m);
    ck_assert(m);
    v = NULL;
    e = (struct err){ 0 };
}

static inline void teardown(void)
{
    vocab_close(v);
    make_free(m);
}

static inline void opens(const char *pre)
{
    ck_assert_msg(make_open(m, &v, pre, warn, &e) == 0, "%s", e.text);
}

/* The error has this code, names the file, and says both of these. */
static inline void refused(const char *pre, int code, const char *one, const char *two)
{
    ck_assert_int_eq(make_open(m, &v, pre, warn, &e), code);
    ck_assert_ptr_null(v);
    ck_assert_int_eq(e.code, code);
    ck_assert_msg(strncmp(e.text, "made.gguf: ", 11) == 0, "%s", e.text);
    ck_assert_msg(strstr(e.text, one) && strstr(e.text, two), "%s", e.text);
}

static inline void small_bpe(void)
{
    make_bpe_bytes(m);
    make_merge(m, "a", "b");
    make_merge(m, "ab", "c");
    make_bpe(m);
}

static inline struct tokens ids(const char *text, unsigned flags)
{
    struct tokens t = { 0 };
    ck_assert_int_eq(vocab_encode(v, text, strlen(text), flags, 0, &t, &e), 0);
    return t;
}

/* Frees t. */
static inline void same(struct tokens t, const int32_t *want, size_t n)
{
    ck_assert_uint_eq(t.n, n);
    for (size_t i = 0; i < n; i++)
        ck_assert_int_eq(t.id[i], want[i]);
    free(t.id);
}

#define SAME(t, ...) same(t, (const int32_t[]){ __VA_ARGS__ }, \
                          sizeof (const int32_t[]){ __VA_ARGS__ } / sizeof(int32_t))

#endif
