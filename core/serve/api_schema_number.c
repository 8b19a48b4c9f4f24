/* api_schema_number.c - numbers between bounds, as digits.
 *
 * Whole numbers from a to b of one length are, after the digits that a and b
 * share: a's next digit and what is not below the rest of a; a digit in
 * between and anything; b's next digit and what is not above the rest of b.
 * Other lengths are ranges of their own, from 10..0 to 9..9. Negative numbers
 * are the mirror image. At most 18 digits, so that every parser's 64-bit
 * integer holds them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/serve/api_schema_parts.h"

enum { MAX_DIGIT = 18 };
#define MOST 999999999999999999LL

/* What may follow the whole part of a number. */
enum fraction { FRACTION_NONE, FRACTION_ANY, FRACTION_ZERO, FRACTION_SOME };

static const char *const fraction_text[] = {
    "", " (\".\" [0-9]{1,15})?", " (\".\" \"0\"{1,15})?",
    " \".\" (\"0\"{0,14} [1-9] [0-9]{0,15})"
};

static void bar(struct buf *out, size_t start)
{
    if (out->n > start)
        buf_addf(out, " | ");
}

static void digits(struct buf *out, unsigned n)
{
    if (n)
        buf_addf(out, " [0-9]{%u}", n);
}

/* Digits of one length that are not below p, or (up) not above it. */
static void beyond(struct buf *out, const char *p, unsigned n, bool above)
{
    for (unsigned i = 0; i < n; i++) {
        const char end = above ? '9' : '0';
        if (p[i] != end) {
            buf_addf(out, " | \"%.*s\" [%c-%c]", (int)i, p, above ? p[i] + 1 : '0',
                     above ? '9' : p[i] - 1);
            digits(out, n - i - 1);
        }
    }
}

static void same_length(struct buf *out, const char *a, const char *b, unsigned n)
{
    unsigned k = 0;
    while (k < n && a[k] == b[k])
        k++;
    buf_addf(out, "\"%.*s\"", (int)k, a);
    if (k == n)
        return;
    buf_addf(out, " (\"%c\" (\"%s\"", a[k], a + k + 1);
    beyond(out, a + k + 1, n - k - 1, true);
    buf_addf(out, ")");
    if (b[k] - a[k] > 1) {
        buf_addf(out, " | [%c-%c]", a[k] + 1, b[k] - 1);
        digits(out, n - k - 1);
    }
    buf_addf(out, " | \"%c\" (\"%s\"", b[k], b + k + 1);
    beyond(out, b + k + 1, n - k - 1, false);
    buf_addf(out, "))");
}

/* Whole numbers from a to b, 0 <= a <= b. */
static void whole(struct buf *out, int64_t a, int64_t b)
{
    char from[24], to[24];
    snprintf(from, sizeof from, "%" PRId64, a);
    snprintf(to, sizeof to, "%" PRId64, b);
    const unsigned n = (unsigned)strlen(from), m = (unsigned)strlen(to);
    buf_addf(out, "(");
    for (unsigned k = n; k <= m; k++) {
        char low[24], high[24];
        memset(low, '0', sizeof low);
        memset(high, '9', sizeof high);
        low[0] = '1';
        low[k] = high[k] = 0;
        if (k > n)
            buf_addf(out, " | ");
        same_length(out, k == n ? from : low, k == m ? to : high, k);
    }
    buf_addf(out, ")");
}

struct bound {
    int64_t v;
    bool open;                   /* v itself is excluded */
};

/* Numbers from lo to hi, 0 <= lo. */
static void upward(struct buf *out, const char *sign, struct bound lo, struct bound hi,
                   bool integer)
{
    const size_t start = out->n;
    if (integer) {
        const int64_t a = lo.v + lo.open, b = hi.v - hi.open;
        if (a <= b) {
            buf_addf(out, "%s", sign);
            whole(out, a, b);
        }
        return;
    }
    if (lo.v == hi.v) {
        if (!lo.open && !hi.open)
            buf_addf(out, "%s\"%" PRId64 "\"%s", sign, lo.v, fraction_text[FRACTION_ZERO]);
        return;
    }
    buf_addf(out, "%s\"%" PRId64 "\"%s", sign, lo.v,
             fraction_text[lo.open ? FRACTION_SOME : FRACTION_ANY]);
    if (hi.v - lo.v > 1) {
        bar(out, start);
        buf_addf(out, "%s", sign);
        whole(out, lo.v + 1, hi.v - 1);
        buf_addf(out, "%s", fraction_text[FRACTION_ANY]);
    }
    if (!hi.open) {
        bar(out, start);
        buf_addf(out, "%s\"%" PRId64 "\"%s", sign, hi.v, fraction_text[FRACTION_ZERO]);
    }
}

static void between(struct buf *out, struct bound lo, struct bound hi, bool integer)
{
    const size_t start = out->n;
    if (lo.v < 0) {
        struct bound top = { 0, hi.v == 0 && hi.open };
        if (hi.v < 0)
            top = (struct bound){ -hi.v, hi.open };
        else if (integer)
            top = (struct bound){ 1, false };            /* no "-0" */
        upward(out, "\"-\" ", top, (struct bound){ -lo.v, lo.open }, integer);
    }
    if (hi.v >= 0 && !(hi.v == 0 && hi.open)) {
        struct buf up = { 0 };
        upward(&up, "", lo.v < 0 ? (struct bound){ 0, false } : lo, hi, integer);
        if (up.n) {
            bar(out, start);
            buf_add(out, up.p, up.n);
        }
        out->failed |= up.failed;
        buf_free(&up);
    }
}

/* The bound under a keyword, if there is one and it is tighter. For integers a
 * fraction is rounded inwards; for numbers only whole bounds are known. */
static int read_bound(struct schema *s, const json_t *j, const char *keyword, bool low, bool open,
                      bool integer, struct bound *b, bool *has)
{
    const json_t *const v = json_object_get(j, keyword);
    if (!v)
        return 0;
    if (json_is_boolean(v))
        return schema_fail(s, ERR_UNSUPPORTED, keyword, "true or false, as in draft 4, is not "
                           "supported; give the number");
    if (!json_is_number(v))
        return schema_fail(s, ERR_ARG, keyword, "must be a number");
    struct bound x = { 0, open };
    if (json_is_integer(v)) {
        x.v = json_integer_value(v);
    } else {
        const double d = json_number_value(v);
        if (!(d > -1e15 && d < 1e15))
            return schema_fail(s, ERR_UNSUPPORTED, keyword, "must be less than 1e15 either way");
        int64_t r = (int64_t)d;                          /* towards 0 */
        const bool is_whole = (double)r == d;
        if (!is_whole && low == (d > 0))
            r += low ? 1 : -1;
        if (!is_whole && !integer)
            return schema_fail(s, ERR_UNSUPPORTED, keyword, "bounds of numbers must be whole "
                               "numbers; use type integer or a whole bound");
        x.v = r;
        x.open = open && is_whole;
    }
    if (x.v < -MOST || x.v > MOST)
        return schema_fail(s, ERR_UNSUPPORTED, keyword, "more than %d digits", MAX_DIGIT);
    *has = true;
    if (low ? x.v > b->v || (x.v == b->v && x.open) : x.v < b->v || (x.v == b->v && x.open))
        *b = x;
    return 0;
}

int schema_number(struct schema *s, const json_t *j, bool integer, struct buf *out)
{
    struct bound lo = { -MOST, false }, hi = { MOST, false };
    bool has = false;
    int rc = read_bound(s, j, "minimum", true, false, integer, &lo, &has);
    if (!rc)
        rc = read_bound(s, j, "exclusiveMinimum", true, true, integer, &lo, &has);
    if (!rc)
        rc = read_bound(s, j, "maximum", false, false, integer, &hi, &has);
    if (!rc)
        rc = read_bound(s, j, "exclusiveMaximum", false, true, integer, &hi, &has);
    const json_t *const step = json_object_get(j, "multipleOf");
    if (!rc && step && !(integer && json_is_integer(step) && json_integer_value(step) == 1))
        rc = schema_fail(s, ERR_UNSUPPORTED, "multipleOf", "not supported; leave it out, or use "
                         "type integer or enum");
    if (rc)
        return rc;
    if (!has) {
        schema_common(s, integer ? COMMON_INTEGER : COMMON_NUMBER, out);
        return 0;
    }
    const size_t start = out->n;
    if (lo.v <= hi.v)
        between(out, lo, hi, integer);
    if (out->n == start && !out->failed)
        return schema_fail(s, ERR_ARG, NULL, "no number is between these bounds");
    return 0;
}
