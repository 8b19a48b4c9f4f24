/* hf_files.c - see hf_files.h. */
#include "core/model/hf_files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/model/hf_json.h"

#define MAX_INDEX ((size_t)32 << 20)    /* bytes of the index */
#define MAX_FILES 1024

const char *hf_path(struct arena *mem, const char *dir, const char *name)
{
    const size_t n = strlen(dir), m = strlen(name);
    char *p = n < 4096 && m < 4096 ? arena_alloc(mem, n + m + 2, 1) : NULL;
    if (p)
        snprintf(p, n + m + 2, "%s%s%s", dir, n && dir[n - 1] == '/' ? "" : "/", name);
    return p;
}

bool hf_exists(const char *path)
{
    return !access(path, F_OK) || errno != ENOENT;
}

/* ------------------------------------------------------------------ files */

static int add_file(struct hf_files *f, const char *path, struct err *e)
{
    if (f->n_file == f->cap_file) {
        const size_t cap = f->cap_file ? 2 * f->cap_file : 8;
        struct safetensors **more = realloc(f->file, cap * sizeof *more);
        if (!more)
            return err_set(e, ERR_NOMEM, "%s: no memory to open it", path);
        f->file = more;
        f->cap_file = cap;
    }
    int rc = safetensors_open(&f->file[f->n_file], path, e);
    f->n_file += !rc;
    return rc;
}

static int by_name(const void *a, const void *b)
{
    const struct hf_item *x = a, *y = b;
    return strcmp(x->t->name.p, y->t->name.p);
}

static int list_items(struct hf_files *f, const char *dir, struct err *e)
{
    size_t n = 0;
    for (size_t i = 0; i < f->n_file; i++)
        n += safetensors_n(f->file[i]);
    f->item = calloc(n + 1, sizeof *f->item);
    if (!f->item)
        return err_set(e, ERR_NOMEM, "%s: no memory for its index", dir);
    for (size_t i = 0; i < f->n_file; i++)
        for (size_t k = 0; k < safetensors_n(f->file[i]); k++)
            f->item[f->n_item++] = (struct hf_item){ safetensors_at(f->file[i], k), f->file[i] };
    qsort(f->item, f->n_item, sizeof *f->item, by_name);
    for (size_t i = 1; i < f->n_item; i++)
        if (!by_name(&f->item[i], &f->item[i - 1]))
            return err_set(e, ERR_DATA, "%s: tensor %.100s is in %s too, expected it once",
                           safetensors_name(f->item[i].file), f->item[i].t->name.p,
                           safetensors_name(f->item[i - 1].file));
    return 0;
}

/* ------------------------------------------------------------------ index */

/* A file of this directory: no way out of it, no other kind of file. */
static bool good_name(const char *name)
{
    static const char end[] = ".safetensors";
    const size_t n = strlen(name), tail = sizeof end - 1;
    for (size_t i = 0; i < n; i++)
        if (name[i] == '/' || name[i] == '\\' || name[i] <= 0x20 || name[i] >= 0x7f)
            return false;
    return n > tail && n < 256 && name[0] != '.' && !strcmp(name + n - tail, end);
}

/* The file's own name at the end of its path. */
static const char *base_of(const struct safetensors *s)
{
    const char *path = safetensors_name(s), *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Opens the file unless it is open. Neighbours in the index are mostly in one
 * file, the last that was opened. */
static int need_file(struct hf_files *f, struct arena *mem, const char *dir, const char *index,
                     const char *name, struct err *e)
{
    for (size_t i = f->n_file; i-- > 0;)
        if (!strcmp(base_of(f->file[i]), name))
            return 0;
    if (f->n_file == MAX_FILES)
        return err_set(e, ERR_DATA, "%s: more than %d files, expected fewer", index, MAX_FILES);
    const char *path = hf_path(mem, dir, name);
    return path ? add_file(f, path, e) : err_set(e, ERR_NOMEM, "%s: no memory for a path", dir);
}

static int open_files(struct hf_files *f, struct arena *mem, const char *dir, const char *index,
                      json_t *map, struct err *e)
{
    const char *tensor;
    json_t *file;
    int rc = 0;
    json_object_foreach(map, tensor, file) {
        if (!json_is_string(file) || !good_name(json_string_value(file)))
            return err_set(e, ERR_DATA, "%s: weight_map: the file of a tensor is %s, expected the "
                           "name of a .safetensors file in the same directory", index,
                           json_is_string(file) ? "elsewhere" : hf_json_kind(file));
        rc = need_file(f, mem, dir, index, json_string_value(file), e);
        if (rc)
            return rc;
    }
    return f->n_file ? 0 : err_set(e, ERR_DATA, "%s: weight_map is empty, expected the file of "
                                   "each tensor", index);
}

/* The index and the files say the same. */
static int check_index(const struct hf_files *f, const char *index, json_t *map, struct err *e)
{
    for (size_t i = 0; i < f->n_item; i++) {
        const struct hf_item *at = &f->item[i];
        const char *file = json_string_value(json_object_get(map, at->t->name.p));
        if (!file || strcmp(file, base_of(at->file)))
            return err_set(e, ERR_DATA, "%s: tensor %.100s is in %s, and weight_map says %s, "
                           "expected the same", index, at->t->name.p, base_of(at->file),
                           file ? file : "nothing of it");
    }
    if (json_object_size(map) == f->n_item)
        return 0;
    return err_set(e, ERR_DATA, "%s: weight_map has %zu tensors, and the files have %zu, expected "
                   "the same", index, json_object_size(map), f->n_item);
}

static int open_index(struct hf_files *f, struct arena *mem, const char *dir, const char *index,
                      struct err *e)
{
    json_t *root;
    int rc = hf_json_read(&root, index, MAX_INDEX, e);
    if (rc)
        return rc;
    json_t *map = json_object_get(root, "weight_map");
    if (!json_is_object(map))
        rc = err_set(e, ERR_DATA, "%s: weight_map is %s, expected an object", index,
                     hf_json_kind(map));
    if (!rc)
        rc = open_files(f, mem, dir, index, map, e);
    if (!rc)
        rc = list_items(f, dir, e);
    if (!rc)
        rc = check_index(f, index, map, e);
    json_decref(root);
    return rc;
}

static int open_any(struct hf_files *f, struct arena *mem, const char *dir, struct err *e)
{
    const char *one = hf_path(mem, dir, "model.safetensors");
    const char *index = hf_path(mem, dir, "model.safetensors.index.json");
    const char *pickle = hf_path(mem, dir, "pytorch_model.bin");
    if (!one || !index || !pickle)
        return err_set(e, ERR_NOMEM, "%s: no memory for a path", dir);
    if (hf_exists(one)) {
        int rc = add_file(f, one, e);
        return rc ? rc : list_items(f, dir, e);
    }
    if (hf_exists(index))
        return open_index(f, mem, dir, index, e);
    return err_set(e, ERR_IO, "%s: neither model.safetensors nor model.safetensors.index.json is "
                   "there, expected one of them%s", dir,
                   hf_exists(pickle) ? "; pytorch_model.bin is a program: save the checkpoint "
                                       "again as safetensors" : "");
}

int hf_files_open(struct hf_files *f, const char *dir, struct err *e)
{
    struct arena mem = { 0 };
    *f = (struct hf_files){ 0 };
    int rc = open_any(f, &mem, dir, e);
    arena_free(&mem);
    if (rc)
        hf_files_close(f);
    return rc;
}

void hf_files_close(struct hf_files *f)
{
    for (size_t i = 0; i < f->n_file; i++)
        safetensors_close(f->file[i]);
    free(f->file);
    free(f->item);
    *f = (struct hf_files){ 0 };
}

const struct hf_item *hf_files_find(const struct hf_files *f, const char *name)
{
    for (size_t lo = 0, hi = f->n_item; lo < hi;) {
        const size_t mid = lo + (hi - lo) / 2;
        const int c = strcmp(name, f->item[mid].t->name.p);
        if (!c)
            return &f->item[mid];
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

uint64_t hf_files_size(const struct hf_files *f)
{
    uint64_t n = 0;
    for (size_t i = 0; i < f->n_file; i++)
        n += safetensors_file_size(f->file[i]);
    return n;
}

void hf_files_drop(const struct hf_files *f, const uint8_t *p, uint64_t n)
{
    for (size_t i = 0; i < f->n_file; i++)
        if (safetensors_drop(f->file[i], p, n))
            return;
}
