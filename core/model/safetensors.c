/* safetensors.c - reading the header and checking it against the file. */
#include "core/model/safetensors.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/arena.h"
#include "core/base/file.h"
#include "core/model/hf_json.h"

/* The largest public model has a header of 200 KiB. */
#define MAX_HEADER ((uint64_t)32 << 20)
#define MAX_TENSORS (1u << 17)
#define MAX_NAME 255

struct safetensors {
    struct file_map map;         /* p == NULL: the bytes are the caller's     */
    const uint8_t *p;
    uint64_t n;                  /* bytes of the file                         */
    uint64_t data;               /* where the data starts                     */
    struct arena mem;            /* what follows                              */
    const char *name;
    struct st_tensor *tensor;    /* [n_tensor], by offset                     */
    size_t n_tensor;
};

static const struct {
    const char *name;
    uint32_t size;               /* bytes of an element                       */
} dtype[ST_DTYPE_N] = {
    [ST_F32] = { "F32", 4 }, [ST_F16] = { "F16", 2 }, [ST_BF16] = { "BF16", 2 },
    [ST_U8] = { "U8", 1 }, [ST_F64] = { "F64", 8 }, [ST_I64] = { "I64", 8 },
    [ST_I32] = { "I32", 4 }, [ST_I16] = { "I16", 2 }, [ST_I8] = { "I8", 1 },
    [ST_U64] = { "U64", 8 }, [ST_U32] = { "U32", 4 }, [ST_U16] = { "U16", 2 },
    [ST_BOOL] = { "BOOL", 1 }, [ST_F8_E4M3] = { "F8_E4M3", 1 }, [ST_F8_E5M2] = { "F8_E5M2", 1 }
};

const char *safetensors_dtype(enum st_dtype d)
{
    return dtype[d].name;
}

/* A tensor's name has been checked before it is quoted. */
__attribute__((format(printf, 4, 5)))
static int fail(const struct safetensors *s, const char *tensor, struct err *e, const char *fmt,
                ...)
{
    char what[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return err_set(e, ERR_DATA, "%s: tensor %.100s: %s", s->name, tensor, what);
}

/* Names go into messages and onto terminals. */
static int check_name(const struct safetensors *s, const char *name, struct err *e)
{
    size_t n = 0;
    while (name[n] > 0x20 && name[n] < 0x7f)
        n++;
    if (!n || name[n] || n > MAX_NAME)
        return err_set(e, ERR_DATA, "%s: a tensor has a name of %zu bytes, expected 1 to %d "
                       "of printable ASCII without spaces", s->name, strlen(name), MAX_NAME);
    return 0;
}

static int read_dtype(const struct safetensors *s, struct st_tensor *t, const json_t *j,
                      struct err *e)
{
    const char *text = json_string_value(json_object_get(j, "dtype"));
    if (!text)
        return fail(s, t->name.p, e, "no dtype, expected the name of a type");
    for (unsigned i = 0; i < ST_DTYPE_N; i++)
        if (!strcmp(text, dtype[i].name)) {
            t->dtype = (enum st_dtype)i;
            return 0;
        }
    return fail(s, t->name.p, e, "dtype \"%s\" is unknown, expected BF16, F16, F32 or U8",
                hf_quote(str_of(text)).text);
}

static bool whole(const json_t *j, uint64_t *v)
{
    if (!json_is_integer(j) || json_integer_value(j) < 0)
        return false;
    *v = (uint64_t)json_integer_value(j);
    return true;
}

/* *size: the bytes that shape and type make. */
static int read_shape(const struct safetensors *s, struct st_tensor *t, const json_t *j,
                      uint64_t *size, struct err *e)
{
    const json_t *shape = json_object_get(j, "shape");
    if (!json_is_array(shape) || json_array_size(shape) > ST_MAX_DIMS)
        return fail(s, t->name.p, e, "its shape is %s, expected an array of at most %d numbers",
                    json_is_array(shape) ? "a longer array" : hf_json_kind(shape), ST_MAX_DIMS);
    t->n_dims = (uint32_t)json_array_size(shape);
    *size = dtype[t->dtype].size;
    for (uint32_t d = 0; d < t->n_dims; d++) {
        if (!whole(json_array_get(shape, d), &t->dim[d]))
            return fail(s, t->name.p, e, "dimension %u is no whole number from 0 up", d);
        if (__builtin_mul_overflow(*size, t->dim[d], size))
            return fail(s, t->name.p, e, "the product of its dimensions overflows, expected "
                        "one that fits the file");
    }
    return 0;
}

static int read_place(const struct safetensors *s, struct st_tensor *t, const json_t *j,
                      uint64_t want, struct err *e)
{
    const json_t *at = json_object_get(j, "data_offsets");
    uint64_t begin, end, all = s->n - s->data;
    if (!json_is_array(at) || json_array_size(at) != 2 || !whole(json_array_get(at, 0), &begin) ||
        !whole(json_array_get(at, 1), &end))
        return fail(s, t->name.p, e, "no data_offsets, expected where it begins and ends");
    if (begin > end || end > all)
        return fail(s, t->name.p, e, "data from %" PRIu64 " to %" PRIu64 ", and the file has %"
                    PRIu64 " bytes of data: it is truncated, or the header wrong", begin, end, all);
    if (end - begin != want)
        return fail(s, t->name.p, e, "%" PRIu64 " bytes of data, expected %" PRIu64 " for its "
                    "shape in %s", end - begin, want, dtype[t->dtype].name);
    t->offset = s->data + begin;
    t->size = want;
    t->data = s->p + t->offset;
    return 0;
}

static int read_tensor(struct safetensors *s, const char *name, const json_t *j, struct err *e)
{
    struct st_tensor *t = &s->tensor[s->n_tensor];
    int rc = check_name(s, name, e);
    if (rc)
        return rc;
    t->name.n = strlen(name);
    t->name.p = arena_strndup(&s->mem, name, t->name.n);
    if (!t->name.p)
        return err_set(e, ERR_NOMEM, "%s: no memory for its index", s->name);
    uint64_t size = 0;
    if (!json_is_object(j))
        return fail(s, name, e, "%s, expected an object with dtype, shape and data_offsets",
                    hf_json_kind(j));
    rc = read_dtype(s, t, j, e);
    if (!rc)
        rc = read_shape(s, t, j, &size, e);
    if (!rc)
        rc = read_place(s, t, j, size, e);
    s->n_tensor += !rc;
    return rc;
}

static int by_offset(const void *a, const void *b)
{
    const struct st_tensor *x = a, *y = b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return (x->size > y->size) - (x->size < y->size);     /* empty ones first */
}

static int check_overlap(struct safetensors *s, struct err *e)
{
    if (s->n_tensor)
        qsort(s->tensor, s->n_tensor, sizeof *s->tensor, by_offset);
    for (size_t i = 1; i < s->n_tensor; i++) {
        const struct st_tensor *a = &s->tensor[i - 1], *b = &s->tensor[i];
        if (b->offset - a->offset < a->size)
            return fail(s, b->name.p, e, "it begins inside tensor %.80s: they overlap, "
                        "expected one behind the other", a->name.p);
    }
    return 0;
}

static int read_header(struct safetensors *s, json_t *root, struct err *e)
{
    size_t n = json_object_size(root);
    if (n > MAX_TENSORS)
        return err_set(e, ERR_DATA, "%s: %zu tensors, expected at most %u", s->name, n,
                       MAX_TENSORS);
    s->tensor = arena_alloc(&s->mem, n + 1, sizeof *s->tensor);
    if (!s->tensor)
        return err_set(e, ERR_NOMEM, "%s: no memory for its index", s->name);
    const char *name;
    json_t *j;
    json_object_foreach(root, name, j) {
        int rc = strcmp(name, "__metadata__") ? read_tensor(s, name, j, e) : 0;
        if (rc)
            return rc;
    }
    return check_overlap(s, e);
}

static int parse(struct safetensors *s, struct err *e)
{
    uint64_t len = 0;
    if (s->n < 8)
        return err_set(e, ERR_DATA, "%s: %" PRIu64 " bytes, expected a safetensors file, which "
                       "starts with 8 bytes that say how long its header is", s->name, s->n);
    for (unsigned i = 0; i < 8; i++)
        len |= (uint64_t)s->p[i] << 8 * i;
    if (len > MAX_HEADER || len > s->n - 8)
        return err_set(e, ERR_DATA, "%s: a header of %" PRIu64 " bytes, expected at most %" PRIu64
                       ": no safetensors file, or it is truncated", s->name, len,
                       s->n - 8 < MAX_HEADER ? s->n - 8 : MAX_HEADER);
    s->data = 8 + len;
    json_t *root;
    int rc = hf_json_parse(&root, s->name, s->p + 8, (size_t)len, e);
    if (rc)
        return rc;
    rc = read_header(s, root, e);
    json_decref(root);
    return rc;
}

static int open_common(struct safetensors **out, struct safetensors *s, const char *name,
                       struct err *e)
{
    s->name = arena_strndup(&s->mem, name, strlen(name));
    int rc = s->name ? parse(s, e) : err_set(e, ERR_NOMEM, "%s: no memory for its name", name);
    if (rc) {
        safetensors_close(s);
        return rc;
    }
    *out = s;
    return 0;
}

int safetensors_open(struct safetensors **out, const char *path, struct err *e)
{
    *out = NULL;
    struct safetensors *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "%s: no memory to open it", path);
    int rc = file_map(&s->map, path, e);
    if (rc) {
        safetensors_close(s);
        return rc;
    }
    s->p = s->map.p;
    s->n = s->map.n;
    return open_common(out, s, path, e);
}

int safetensors_open_mem(struct safetensors **out, const void *p, size_t n, const char *name,
                         struct err *e)
{
    *out = NULL;
    struct safetensors *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "%s: no memory to open it", name);
    s->p = p;
    s->n = n;
    return open_common(out, s, name, e);
}

void safetensors_close(struct safetensors *s)
{
    if (!s)
        return;
    file_unmap(&s->map);
    arena_free(&s->mem);
    free(s);
}

const char *safetensors_name(const struct safetensors *s)
{
    return s->name;
}

uint64_t safetensors_file_size(const struct safetensors *s)
{
    return s->n;
}

size_t safetensors_n(const struct safetensors *s)
{
    return s->n_tensor;
}

const struct st_tensor *safetensors_at(const struct safetensors *s, size_t i)
{
    return &s->tensor[i];
}

bool safetensors_drop(const struct safetensors *s, const uint8_t *p, uint64_t n)
{
    const uintptr_t at = (uintptr_t)p, first = (uintptr_t)s->p;
    if (!s->map.p || at < first || at - first >= s->n)
        return false;
    file_drop(&s->map, p, n);
    return true;
}
