/* fuzz_safetensors.c - any bytes as a safetensors file: it is refused with a
 * line, or every tensor can be read and none touches another. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/safetensors.h"
#include "tests/fuzz/fuzz.h"

static void check_tensor(const struct st_tensor *t, const uint8_t *data, size_t size)
{
    uint64_t n = 1;
    require(t->name.n && !t->name.p[t->name.n] && t->n_dims <= ST_MAX_DIMS);
    require(t->offset <= size && t->size <= size - t->offset && t->data == data + t->offset);
    for (uint32_t d = 0; d < t->n_dims; d++)
        n *= t->dim[d];                 /* the size bounds it */
    require(n ? t->size % n == 0 && t->size / n <= 8 : !t->size);
    require(safetensors_dtype(t->dtype) != NULL);
    if (t->size) {
        volatile uint8_t ends = t->data[0] ^ t->data[t->size - 1];
        (void)ends;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct safetensors *s;
    struct err e = { 0 };
    const int rc = safetensors_open_mem(&s, data, size, "fuzz", &e);
    require(rc == e.code && (rc < 0) == (e.text[0] != 0) && !strchr(e.text, '\n'));
    require((rc < 0) == !s);
    uint64_t end = 0;
    for (size_t i = 0; s && i < safetensors_n(s); i++) {
        const struct st_tensor *t = safetensors_at(s, i);
        check_tensor(t, data, size);
        require(t->offset >= end);
        end = t->offset + t->size;
    }
    safetensors_close(s);
    return 0;
}
