/* safetensors_file.c - the header is padded with spaces to a multiple of 8, as
 * the format's own library does, so that data is aligned in a map. */
#include "tools/write/safetensors_file.h"

#include <assert.h>
#include <inttypes.h>

#include "core/base/buf.h"
#include "tools/write/whole.h"

enum { ALIGN = 8 };

/* Returns the bytes of all tensors. */
static uint64_t put_header(const struct safetensors_file_tensor *t, uint32_t n, struct buf *b)
{
    uint64_t at = 0;
    buf_addf(b, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (uint32_t i = 0; i < n; i++, t++) {
        buf_addf(b, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%" PRIu64, t->name, t->dtype, t->dim[0]);
        if (t->n_dims > 1)
            buf_addf(b, ",%" PRIu64, t->dim[1]);
        buf_addf(b, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", at, at + t->size);
        at += t->size;
    }
    buf_add(b, "}", 1);
    buf_add(b, "        ", (ALIGN - b->n % ALIGN) % ALIGN);
    return at;
}

/* Lengths are written as they lie in memory: little-endian machines only. */
static int begin(struct safetensors_file *f, const struct safetensors_file_tensor *t, uint32_t n,
                 struct err *e)
{
    struct buf b = { 0 };
    f->left = put_header(t, n, &b);
    const uint64_t size = b.n;
    int rc = b.failed ? err_set(e, ERR_NOMEM, "%s: no memory for its header", f->out.path)
                      : file_out_write(&f->out, &size, sizeof size, e);
    if (!rc)
        rc = file_out_write(&f->out, b.p, b.n, e);
    buf_free(&b);
    return rc;
}

int safetensors_file_open(struct safetensors_file *f, const char *path,
                          const struct safetensors_file_tensor *t, uint32_t n, struct err *e)
{
    *f = (struct safetensors_file){ .out = { .fd = -1 } };
    int rc = whole_open(&f->out, path, e);
    if (!rc)
        rc = begin(f, t, n, e);
    if (rc)
        safetensors_file_abort(f);
    return rc;
}

int safetensors_file_write(struct safetensors_file *f, const void *p, size_t n, struct err *e)
{
    assert(n <= f->left);
    f->left -= n;
    return file_out_write(&f->out, p, n, e);
}

int safetensors_file_commit(struct safetensors_file *f, struct err *e)
{
    assert(!f->left);
    const int rc = file_out_commit(&f->out, e);
    safetensors_file_abort(f);
    return rc;
}

void safetensors_file_abort(struct safetensors_file *f)
{
    whole_abort(&f->out);
}
