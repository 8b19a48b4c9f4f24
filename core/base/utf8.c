/* utf8.c - RFC 3629, table 3-7 of Unicode: the second byte's range depends on
 * the first, and that alone excludes surrogates, overlong forms and the part
 * beyond U+10FFFF. */
#include "core/base/utf8.h"

/* Bytes that a sequence starting with c has; 0: c starts none. lo..hi is the
 * range of the second byte. */
static size_t lead(unsigned char c, unsigned char *lo, unsigned char *hi)
{
    *lo = 0x80;
    *hi = 0xbf;
    if (c < 0x80)
        return 1;
    if (c < 0xc2 || c > 0xf4)
        return 0;
    if (c < 0xe0)
        return 2;
    if (c < 0xf0) {
        if (c == 0xe0)
            *lo = 0xa0;
        if (c == 0xed)
            *hi = 0x9f;
        return 3;
    }
    if (c == 0xf0)
        *lo = 0x90;
    if (c == 0xf4)
        *hi = 0x8f;
    return 4;
}

/* How many of p[1..n) continue the sequence of len bytes that p[0] starts. */
static size_t follow(const unsigned char *p, size_t n, size_t len, unsigned char lo,
                     unsigned char hi)
{
    size_t i = 1;
    for (; i < n && i < len; i++, lo = 0x80, hi = 0xbf)
        if (p[i] < lo || p[i] > hi)
            break;
    return i;
}

size_t utf8_decode(const char *text, size_t n, uint32_t *cp)
{
    const unsigned char *p = (const unsigned char *)text;
    unsigned char lo, hi;
    if (!n)
        return 0;
    size_t len = lead(p[0], &lo, &hi);
    if (!len || follow(p, n, len, lo, hi) != len)
        return 0;
    static const unsigned char mask[5] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
    uint32_t v = p[0] & mask[len];
    for (size_t i = 1; i < len; i++)
        v = v << 6 | (p[i] & 0x3f);
    *cp = v;
    return len;
}

size_t utf8_encode(uint32_t cp, char out[4])
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000))
        return 0;
    size_t len = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i; i--, cp >>= 6)
        out[i] = (char)(0x80 | (cp & 0x3f));
    static const unsigned char first[5] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    out[0] = (char)(first[len] | cp);
    return len;
}

size_t utf8_whole(const char *text, size_t n)
{
    const unsigned char *p = (const unsigned char *)text;
    for (size_t k = 1; k <= 3 && k <= n; k++) {
        unsigned char lo, hi;
        const unsigned char *at = p + n - k;
        if (*at >= 0x80 && *at < 0xc0)
            continue;                   /* a continuation: its lead is further left */
        size_t len = lead(*at, &lo, &hi);
        return len > k && follow(at, k, len, lo, hi) == k ? n - k : n;
    }
    return n;
}

void utf8_mend(const char *p, size_t n, struct buf *out)
{
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t cp;
        len = utf8_decode(p + i, n - i, &cp);
        if (len)
            buf_add(out, p + i, len);
        else {
            buf_add(out, "\xef\xbf\xbd", 3);
            len = 1;
        }
    }
}
