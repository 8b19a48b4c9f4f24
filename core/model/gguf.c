/* gguf.c - reading the container.
 *
 * A cursor walks the header once. It never moves past the end: the first read
 * that would sets `short_at`, every later one gives zero, and the caller finds
 * out once per key or tensor. Nothing is allocated for a count before the file
 * has been seen to be long enough to hold that many. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/f16.h"
#include "core/model/gguf_check.h"
#include "core/model/wtype.h"

/* More than any model has; a count above is nonsense, not a limit to tune. */
#define MAX_KV (1u << 16)
#define MAX_TENSORS (1u << 20)
#define MAX_ALIGN (1u << 20)
#define MAX_KEY 65535

struct cursor {
    const uint8_t *p;
    uint64_t n, at;
    unsigned len_size;           /* bytes of a count, length or dimension */
    bool cut;                    /* the file ended too early */
};

static const uint8_t *take(struct cursor *c, uint64_t n)
{
    if (c->cut || n > c->n - c->at) {
        c->cut = true;
        return NULL;
    }
    const uint8_t *p = c->p + c->at;
    c->at += n;
    return p;
}

static uint64_t little(const uint8_t *p, unsigned size)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < size; i++)
        v |= (uint64_t)p[i] << 8 * i;
    return v;
}

static uint64_t take_int(struct cursor *c, unsigned size)
{
    const uint8_t *p = take(c, size);
    return p ? little(p, size) : 0;
}

static uint64_t take_len(struct cursor *c)
{
    return take_int(c, c->len_size);
}

static struct str take_str(struct cursor *c)
{
    uint64_t n = take_len(c);
    const uint8_t *p = take(c, n);
    return (struct str){ (const char *)p, p ? (size_t)n : 0 };
}

/* Bytes of a value of fixed size; 0 for strings, arrays and unknown types. */
static unsigned elem_size(uint64_t type)
{
    static const uint8_t size[] = {
        [GGUF_U8] = 1, [GGUF_I8] = 1, [GGUF_U16] = 2, [GGUF_I16] = 2, [GGUF_U32] = 4,
        [GGUF_I32] = 4, [GGUF_F32] = 4, [GGUF_BOOL] = 1, [GGUF_U64] = 8, [GGUF_I64] = 8,
        [GGUF_F64] = 8
    };
    return type < sizeof size ? size[type] : 0;
}

static int fail_kv(const struct gguf *g, const struct gguf_kv *kv, struct err *e, const char *what)
{
    return err_set(e, ERR_DATA, "%s: key %.*s: %s", g->name, gguf_quote(kv->key), kv->key.p, what);
}

static int read_array(const struct gguf *g, struct cursor *c, struct gguf_kv *kv, struct err *e)
{
    kv->elem = (uint32_t)take_int(c, 4);
    kv->n = take_len(c);
    if (c->cut)
        return 0;
    if (kv->elem == GGUF_ARRAY)
        return fail_kv(g, kv, e, "an array of arrays, expected an array of plain values");
    unsigned size = elem_size(kv->elem);
    if (!size && kv->elem != GGUF_STR)
        return err_set(e, ERR_DATA, "%s: key %.*s: array of type %u, expected 0 to 12", g->name,
                       gguf_quote(kv->key), kv->key.p, kv->elem);
    uint64_t left = c->n - c->at, least = size ? size : c->len_size;
    if (kv->n > left / least)
        return err_set(e, ERR_DATA, "%s: key %.*s: %" PRIu64 " elements, and the file has %" PRIu64
                       " bytes left", g->name, gguf_quote(kv->key), kv->key.p, kv->n, left);
    uint64_t start = c->at;
    if (size)
        take(c, kv->n * size);
    else
        for (uint64_t i = 0; i < kv->n && !c->cut; i++)
            take_str(c);
    kv->p = c->p + start;
    kv->size = c->at - start;
    return 0;
}

static int read_value(const struct gguf *g, struct cursor *c, struct gguf_kv *kv, struct err *e)
{
    kv->n = 1;
    if (kv->type == GGUF_ARRAY)
        return read_array(g, c, kv, e);
    if (kv->type == GGUF_STR) {
        struct str s = take_str(c);
        kv->p = (const uint8_t *)s.p;
        kv->size = s.n;
        return 0;
    }
    kv->size = elem_size(kv->type);
    if (!kv->size && !c->cut)
        return err_set(e, ERR_DATA, "%s: key %.*s: value of type %u, expected 0 to 12", g->name,
                       gguf_quote(kv->key), kv->key.p, kv->type);
    kv->p = take(c, kv->size);
    return 0;
}

static int check_bools(const struct gguf *g, const struct gguf_kv *kv, struct err *e)
{
    if (kv->type != GGUF_BOOL && (kv->type != GGUF_ARRAY || kv->elem != GGUF_BOOL))
        return 0;
    for (uint64_t i = 0; i < kv->n; i++)
        if (kv->p[i] > 1)
            return fail_kv(g, kv, e, "a truth value that is neither 0 nor 1");
    return 0;
}

static int fail_cut(const struct gguf *g, struct err *e, const char *what, uint32_t i, uint32_t n)
{
    return err_set(e, ERR_DATA, "%s: the file ends inside %s %u of %u, after %" PRIu64
                   " bytes: it is truncated, or a length in it is wrong", g->name, what, i + 1, n,
                   g->n);
}

static int read_kv(struct gguf *g, struct cursor *c, uint32_t i, struct err *e)
{
    struct gguf_kv *kv = &g->kv[i];
    kv->len_size = c->len_size;
    kv->key = take_str(c);
    kv->type = (uint32_t)take_int(c, 4);
    if (!c->cut && (!kv->key.n || kv->key.n > MAX_KEY || memchr(kv->key.p, 0, kv->key.n)))
        return err_set(e, ERR_DATA, "%s: key %u of %u: %zu bytes of name, expected 1 to %d and "
                       "no NUL", g->name, i + 1, g->n_kv, kv->key.n, MAX_KEY);
    int rc = c->cut ? 0 : read_value(g, c, kv, e);
    if (rc)
        return rc;
    if (c->cut)
        return fail_cut(g, e, "key", i, g->n_kv);
    return check_bools(g, kv, e);
}

static int read_dims(const struct gguf *g, struct cursor *c, struct gguf_tensor *t, struct err *e)
{
    uint64_t n = 1;
    for (unsigned d = 0; d < 4; d++) {
        t->ne[d] = d < t->n_dims ? take_len(c) : 1;
        if (c->cut)
            return 0;
        if (!t->ne[d])
            return err_set(e, ERR_DATA, "%s: tensor %.*s: dimension %u is 0, expected at least 1",
                           g->name, gguf_quote(t->name), t->name.p, d);
        /* 2^56 elements of any type are beyond any file; below, no later
         * product of dimensions and element sizes overflows. */
        if (__builtin_mul_overflow(n, t->ne[d], &n) || n > (uint64_t)1 << 56)
            return err_set(e, ERR_DATA, "%s: tensor %.*s: the product of its dimensions overflows",
                           g->name, gguf_quote(t->name), t->name.p);
    }
    return 0;
}

static int read_tensor(struct gguf *g, struct cursor *c, uint32_t i, struct err *e)
{
    struct gguf_tensor *t = &g->tensor[i];
    t->name = take_str(c);
    t->n_dims = (uint32_t)take_int(c, 4);
    if (c->cut)
        return fail_cut(g, e, "tensor info", i, g->n_tensor);
    if (!t->name.n || t->name.n > GGUF_NAME_MAX || memchr(t->name.p, 0, t->name.n))
        return err_set(e, ERR_DATA, "%s: tensor %u of %u: %zu bytes of name, expected 1 to %d and "
                       "no NUL", g->name, i + 1, g->n_tensor, t->name.n, GGUF_NAME_MAX);
    if (t->n_dims < 1 || t->n_dims > 4)
        return err_set(e, ERR_DATA, "%s: tensor %.*s: %u dimensions, expected 1 to 4", g->name,
                       gguf_quote(t->name), t->name.p, t->n_dims);
    int rc = read_dims(g, c, t, e);
    if (rc)
        return rc;
    t->type = (uint32_t)take_int(c, 4);
    t->offset = take_int(c, 8);
    if (t->type >= WTYPE_INTERNAL)
        return err_set(e, ERR_DATA, "%s: tensor %.*s: type %u, expected one below %u", g->name,
                       gguf_quote(t->name), t->name.p, t->type, WTYPE_INTERNAL);
    return c->cut ? fail_cut(g, e, "tensor info", i, g->n_tensor) : 0;
}

static int read_head(struct gguf *g, struct cursor *c, struct err *e)
{
    const uint8_t *magic = take(c, 4);
    if (!magic || memcmp(magic, "GGUF", 4))
        return err_set(e, ERR_DATA, "%s: not a GGUF file: it does not start with \"GGUF\"",
                       g->name);
    g->version = (uint32_t)take_int(c, 4);
    if (c->cut)
        return err_set(e, ERR_DATA, "%s: the file ends inside the header", g->name);
    if (g->version && !(g->version & 0xffff))
        return err_set(e, ERR_UNSUPPORTED, "%s: a big-endian GGUF file, expected a little-endian "
                       "one: convert it again for little-endian machines", g->name);
    if (g->version < 1 || g->version > 3)
        return err_set(e, ERR_UNSUPPORTED, "%s: GGUF version %u, expected 1, 2 or 3", g->name,
                       g->version);
    c->len_size = g->version == 1 ? 4 : 8;
    return 0;
}

/* A count is believed only when the rest of the file can hold as many of the
 * smallest possible entries. */
static int read_count(const struct gguf *g, uint64_t n, uint64_t left, uint64_t least,
                      uint32_t most, const char *what, struct err *e)
{
    if (n > most || n > left / least)
        return err_set(e, ERR_DATA, "%s: %" PRIu64 " %s announced, expected at most %" PRIu64
                       " in a file of this size", g->name, n, what,
                       left / least < most ? left / least : most);
    return 0;
}

static int read_align(struct gguf *g, uint64_t header_end, struct err *e)
{
    g->align = 32;
    int rc = gguf_get_u64(g, "general.alignment", &g->align, e);
    if (rc < 0)
        return rc;
    if (!g->align || g->align > MAX_ALIGN || (g->align & (g->align - 1)))
        return err_set(e, ERR_DATA, "%s: general.alignment is %" PRIu64 ", expected a power of two "
                       "up to %u", g->name, g->align, MAX_ALIGN);
    g->data = (header_end + g->align - 1) & ~(g->align - 1);
    return 0;
}

static int parse(struct gguf *g, struct err *e)
{
    struct cursor c = { .p = g->p, .n = g->n };
    int rc = read_head(g, &c, e);
    if (rc)
        return rc;
    uint64_t n_tensor = take_len(&c), n_kv = take_len(&c), left = c.n - c.at;
    if (c.cut)
        return err_set(e, ERR_DATA, "%s: the file ends inside the header", g->name);
    rc = read_count(g, n_kv, left, c.len_size + 4 + 1, MAX_KV, "keys", e);
    if (!rc)
        rc = read_count(g, n_tensor, left, 2 * c.len_size + 4 + 4 + 8, MAX_TENSORS, "tensors", e);
    if (rc)
        return rc;
    g->n_kv = (uint32_t)n_kv;
    g->n_tensor = (uint32_t)n_tensor;
    g->kv = calloc((size_t)n_kv + 1, sizeof *g->kv);
    g->tensor = calloc((size_t)n_tensor + 1, sizeof *g->tensor);
    if (!g->kv || !g->tensor)
        return err_set(e, ERR_NOMEM, "%s: no memory for its index", g->name);
    for (uint32_t i = 0; i < g->n_kv && !rc; i++)
        rc = read_kv(g, &c, i, e);
    for (uint32_t i = 0; i < g->n_tensor && !rc; i++)
        rc = read_tensor(g, &c, i, e);
    if (!rc)
        rc = gguf_check_names(g, e);
    if (!rc)
        rc = read_align(g, c.at, e);
    return rc ? rc : gguf_check_tensors(g, e);
}

static int open_common(struct gguf **out, struct gguf *g, const char *name, struct err *e)
{
    g->name = strdup(name);
    int rc = g->name ? parse(g, e) : err_set(e, ERR_NOMEM, "%s: no memory for its name", name);
    if (rc) {
        gguf_close(g);
        return rc;
    }
    *out = g;
    return 0;
}

int gguf_open(struct gguf **out, const char *path, struct err *e)
{
    *out = NULL;
    struct gguf *g = calloc(1, sizeof *g);
    if (!g)
        return err_set(e, ERR_NOMEM, "%s: no memory to open it", path);
    int rc = file_map(&g->map, path, e);
    if (rc) {
        gguf_close(g);
        return rc;
    }
    g->p = g->map.p;
    g->n = g->map.n;
    return open_common(out, g, path, e);
}

int gguf_open_mem(struct gguf **out, const void *p, size_t n, const char *name, struct err *e)
{
    *out = NULL;
    struct gguf *g = calloc(1, sizeof *g);
    if (!g)
        return err_set(e, ERR_NOMEM, "%s: no memory to open it", name);
    g->p = p;
    g->n = n;
    return open_common(out, g, name, e);
}

static int read_parts(struct gguf *g, const struct gguf_parts *parts, struct err *e)
{
    struct cursor c = { .p = parts->kv, .n = parts->kv_size, .len_size = 8 };
    if (parts->n_kv > MAX_KV || parts->n_tensor > MAX_TENSORS)
        return err_set(e, ERR_DATA, "%s: %" PRIu64 " keys and %zu tensors, expected at most %u and "
                       "%u", parts->name, parts->n_kv, parts->n_tensor, MAX_KV, MAX_TENSORS);
    g->n_kv = (uint32_t)parts->n_kv;
    g->n_tensor = (uint32_t)parts->n_tensor;
    g->name = strdup(parts->name);
    g->kv = calloc(parts->n_kv + 1, sizeof *g->kv);
    g->tensor = calloc(parts->n_tensor + 1, sizeof *g->tensor);
    if (!g->name || !g->kv || !g->tensor)
        return err_set(e, ERR_NOMEM, "%s: no memory for its index", parts->name);
    for (size_t i = 0; i < parts->n_tensor; i++)
        g->tensor[i] = parts->tensor[i];
    int rc = 0;
    for (uint32_t i = 0; i < g->n_kv && !rc; i++)
        rc = read_kv(g, &c, i, e);
    return rc ? rc : gguf_check_names(g, e);
}

int gguf_open_parts(struct gguf **out, const struct gguf_parts *parts, struct err *e)
{
    *out = NULL;
    struct gguf *g = calloc(1, sizeof *g);
    if (!g) {
        const int no = err_set(e, ERR_NOMEM, "%s: no memory to open it", parts->name);
        if (parts->close)
            parts->close(parts->owner);
        return no;
    }
    g->n = parts->file_size;
    g->align = 1;
    g->owner = parts->owner;
    g->close = parts->close;
    g->drop = parts->drop;
    int rc = read_parts(g, parts, e);
    if (rc)
        gguf_close(g);
    else
        *out = g;
    return rc;
}

void gguf_close(struct gguf *g)
{
    if (!g)
        return;
    if (g->close)
        g->close(g->owner);
    file_unmap(&g->map);
    free(g->kv);
    free(g->tensor);
    free(g->kv_by_key);
    free(g->tensor_by_name);
    free(g->name);
    free(g);
}

const char *gguf_name(const struct gguf *g)
{
    return g->name;
}

uint32_t gguf_version(const struct gguf *g)
{
    return g->version;
}

uint64_t gguf_file_size(const struct gguf *g)
{
    return g->n;
}

uint64_t gguf_align(const struct gguf *g)
{
    return g->align;
}

size_t gguf_n_kv(const struct gguf *g)
{
    return g->n_kv;
}

const struct gguf_kv *gguf_kv_at(const struct gguf *g, size_t i)
{
    return &g->kv[i];
}

size_t gguf_n_tensors(const struct gguf *g)
{
    return g->n_tensor;
}

const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t i)
{
    return &g->tensor[i];
}

const struct gguf_kv *gguf_kv(const struct gguf *g, const char *key)
{
    struct str want = { key, strlen(key) };
    for (uint32_t lo = 0, hi = g->n_kv; lo < hi;) {
        uint32_t mid = lo + (hi - lo) / 2;
        const struct gguf_kv *kv = &g->kv[g->kv_by_key[mid]];
        int c = gguf_str_cmp(want, kv->key);
        if (!c)
            return kv;
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

const struct gguf_tensor *gguf_tensor(const struct gguf *g, const char *name)
{
    struct str want = { name, strlen(name) };
    for (uint32_t lo = 0, hi = g->n_tensor; lo < hi;) {
        uint32_t mid = lo + (hi - lo) / 2;
        const struct gguf_tensor *t = &g->tensor[g->tensor_by_name[mid]];
        int c = gguf_str_cmp(want, t->name);
        if (!c)
            return t;
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

bool gguf_copy(const struct gguf *g, const struct gguf_tensor *t, uint64_t first, uint64_t n,
               void *dst)
{
    if (first > t->size || n > t->size - first)
        return false;
    if (g->map.p)
        return file_copy(&g->map, t->data + first, n, dst);
    memcpy(dst, t->data + first, n);
    gguf_drop(g, t, first, n);
    return true;
}

void gguf_drop(const struct gguf *g, const struct gguf_tensor *t, uint64_t first, uint64_t n)
{
    if (first > t->size || n > t->size - first)
        return;
    if (g->map.p)
        file_drop(&g->map, t->data + first, n);
    else if (g->drop)
        g->drop(g->owner, t->data + first, n);
}

static bool is_signed(uint32_t type)
{
    return type == GGUF_I8 || type == GGUF_I16 || type == GGUF_I32 || type == GGUF_I64;
}

/* The value at p of a signed type of `size` bytes. */
static int64_t signed_at(const uint8_t *p, unsigned size)
{
    uint64_t v = little(p, size), sign = (uint64_t)1 << (8 * size - 1);
    return (int64_t)((v ^ sign) - sign);
}

int gguf_get_u64(const struct gguf *g, const char *key, uint64_t *v, struct err *e)
{
    const struct gguf_kv *kv = gguf_kv(g, key);
    if (!kv)
        return 0;
    unsigned size = elem_size(kv->type);
    if (!size || kv->type == GGUF_F32 || kv->type == GGUF_F64 || kv->type == GGUF_BOOL)
        return fail_kv(g, kv, e, "of another type, expected a whole number");
    if (is_signed(kv->type) && signed_at(kv->p, size) < 0)
        return fail_kv(g, kv, e, "negative, expected a whole number from 0 up");
    *v = little(kv->p, size);
    return 1;
}

int gguf_get_f64(const struct gguf *g, const char *key, double *v, struct err *e)
{
    const struct gguf_kv *kv = gguf_kv(g, key);
    if (!kv)
        return 0;
    if (!elem_size(kv->type) || kv->type == GGUF_BOOL)
        return fail_kv(g, kv, e, "of another type, expected a number");
    double d = gguf_num_at(kv, 0);
    if (!isfinite(d))
        return fail_kv(g, kv, e, "not a finite number");
    *v = d;
    return 1;
}

int gguf_get_bool(const struct gguf *g, const char *key, bool *v, struct err *e)
{
    const struct gguf_kv *kv = gguf_kv(g, key);
    if (!kv)
        return 0;
    if (kv->type != GGUF_BOOL)
        return fail_kv(g, kv, e, "of another type, expected true or false");
    *v = kv->p[0];
    return 1;
}

int gguf_get_str(const struct gguf *g, const char *key, struct str *v, struct err *e)
{
    const struct gguf_kv *kv = gguf_kv(g, key);
    if (!kv)
        return 0;
    if (kv->type != GGUF_STR)
        return fail_kv(g, kv, e, "of another type, expected a string");
    *v = (struct str){ (const char *)kv->p, (size_t)kv->size };
    return 1;
}

bool gguf_next_str(const struct gguf_kv *kv, uint64_t *pos, struct str *s)
{
    if (kv->type != GGUF_ARRAY || kv->elem != GGUF_STR || *pos >= kv->size)
        return false;
    uint64_t n = little(kv->p + *pos, kv->len_size);
    *s = (struct str){ (const char *)kv->p + *pos + kv->len_size, (size_t)n };
    *pos += kv->len_size + n;
    return true;
}

double gguf_num_at(const struct gguf_kv *kv, uint64_t i)
{
    uint32_t type = kv->type == GGUF_ARRAY ? kv->elem : kv->type;
    unsigned size = elem_size(type);
    if (!size)
        return 0;
    const uint8_t *p = kv->p + i * size;
    if (type == GGUF_F32)
        return (double)f32_from_bits((uint32_t)little(p, 4));
    if (type == GGUF_F64) {
        uint64_t u = little(p, 8);
        double d;
        memcpy(&d, &u, sizeof d);
        return d;
    }
    return is_signed(type) ? (double)signed_at(p, size) : (double)little(p, size);
}
