/* gguf_file.c - the container's bytes. */
#include "tools/write/gguf_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "tools/write/whole.h"

/* --------------------------------------------------------------- container */

static uint64_t padded(uint64_t n)
{
    return (n + GGUF_FILE_ALIGN - 1) / GGUF_FILE_ALIGN * GGUF_FILE_ALIGN;
}

uint64_t gguf_file_data_size(const struct gguf_file_tensor *t, uint32_t n)
{
    uint64_t all = 0;
    for (uint32_t i = 0; i < n; i++)
        all += padded(t[i].size);
    return all;
}

static void put_header(const struct gguf_file *f, const struct gguf_put *keys, struct buf *b)
{
    const uint32_t version = 3;
    const uint64_t n = f->n;
    uint64_t offset = 0;
    buf_add(b, "GGUF", 4);
    buf_add(b, &version, sizeof version);
    buf_add(b, &n, sizeof n);
    buf_add(b, &keys->n, sizeof keys->n);
    buf_add(b, keys->b.p, keys->b.n);
    for (uint32_t i = 0; i < f->n; i++) {
        const struct gguf_file_tensor *t = &f->t[i];
        gguf_put_string(b, t->name, strlen(t->name));
        buf_add(b, &t->n_dims, sizeof t->n_dims);
        buf_add(b, t->ne, t->n_dims * sizeof *t->ne);
        buf_add(b, &t->type, sizeof t->type);
        buf_add(b, &offset, sizeof offset);
        offset += padded(t->size);
    }
}

static int write_padding(struct gguf_file *f, uint64_t at, struct err *e)
{
    static const char zero[GGUF_FILE_ALIGN];
    return file_out_write(&f->out, zero, (size_t)(padded(at) - at), e);
}

/* A file system that cannot do it says so, and then a full disk shows late. */
static int take_room(const struct gguf_file *f, struct err *e)
{
    if (!f->out.temp || !fallocate(f->out.fd, 0, 0, (off_t)f->size) ||
        (errno != ENOSPC && errno != EFBIG && errno != EDQUOT))
        return 0;
    return err_set(e, ERR_IO, "%s: cannot write: %s; it takes %" PRIu64 " bytes", f->out.path,
                   strerror(errno), f->size);
}

static int begin(struct gguf_file *f, const struct gguf_put *keys, struct err *e)
{
    struct buf b = { 0 };
    put_header(f, keys, &b);
    f->size = padded(b.n) + gguf_file_data_size(f->t, f->n);
    int rc = b.failed || keys->b.failed
        ? err_set(e, ERR_NOMEM, "%s: no memory for its header", f->out.path)
        : take_room(f, e);
    if (!rc)
        rc = file_out_write(&f->out, b.p, b.n, e);
    if (!rc)
        rc = write_padding(f, b.n, e);
    buf_free(&b);
    return rc;
}

int gguf_file_open(struct gguf_file *f, const char *path, const struct gguf_put *keys,
                   const struct gguf_file_tensor *t, uint32_t n, struct err *e)
{
    *f = (struct gguf_file){ .out = { .fd = -1 }, .t = t, .n = n };
    int rc = whole_open(&f->out, path, e);
    if (!rc)
        rc = begin(f, keys, e);
    if (rc)
        gguf_file_abort(f);
    return rc;
}

int gguf_file_write(struct gguf_file *f, const void *p, size_t n, struct err *e)
{
    if (!n)
        return 0;
    assert(f->at < f->n && n <= f->t[f->at].size - f->done);
    int rc = file_out_write(&f->out, p, n, e);
    f->done += n;
    if (rc || f->done < f->t[f->at].size)
        return rc;
    rc = write_padding(f, f->done, e);
    f->at++;
    f->done = 0;
    return rc;
}

int gguf_file_commit(struct gguf_file *f, struct err *e)
{
    assert(f->at == f->n);
    int rc = file_out_commit(&f->out, e);
    gguf_file_abort(f);
    return rc;
}

void gguf_file_abort(struct gguf_file *f)
{
    whole_abort(&f->out);
}
