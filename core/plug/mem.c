/* mem.c - one header in front of every piece, from malloc or from mmap. */
#include "core/plug/mem.h"

#include <hwloc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define LARGE ((uint64_t)1 << 20)         /* bytes from which pages are mapped */
#define HUGE_ALIGN ((uint64_t)2 << 20)    /* a huge page on x86 and AArch64    */

struct head {                             /* ends where the piece begins       */
    void *raw;
    uint64_t raw_size, size;
    uint64_t mapped;
};
_Static_assert(sizeof(struct head) <= BNP_ALIGN, "the header fits in front of any piece");

static void *map_raw(const struct mem *m, uint64_t size, int numa)
{
    void *raw = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED)
        return NULL;
    if (size >= 2 * HUGE_ALIGN)
        (void)madvise(raw, size, MADV_HUGEPAGE);       /* a wish, not a need   */
    hwloc_obj_t node = numa < 0 || !m->topo || !m->topo->hw ? NULL :
        hwloc_get_obj_by_type(m->topo->hw, HWLOC_OBJ_NUMANODE, (unsigned)numa);
    if (node)
        (void)hwloc_set_area_membind(m->topo->hw, raw, size, node->nodeset, HWLOC_MEMBIND_BIND,
                                     HWLOC_MEMBIND_BYNODESET);
    return raw;
}

void *mem_get(struct mem *m, uint64_t size, uint64_t align, int numa)
{
    if ((align & (align - 1)) || align > (UINT64_C(1) << 40) || size > (uint64_t)PTRDIFF_MAX / 2)
        return NULL;
    if (align < BNP_ALIGN)
        align = BNP_ALIGN;
    const bool mapped = size >= LARGE;
    /* One boundary for the header, one to reach the next one. */
    uint64_t raw_size = size + BNP_SLACK + align + BNP_ALIGN;
    raw_size = (raw_size + BNP_ALIGN - 1) / BNP_ALIGN * BNP_ALIGN;
    char *raw = mapped ? map_raw(m, raw_size, numa) : aligned_alloc(BNP_ALIGN, raw_size);
    if (!raw)
        return NULL;
    const uintptr_t first = (uintptr_t)raw + BNP_ALIGN;
    char *p = raw + BNP_ALIGN + ((align - first % align) % align);
    if (!mapped)
        memset(raw, 0, raw_size);
    *((struct head *)(void *)p - 1) = (struct head){ raw, raw_size, size, mapped };
    atomic_fetch_add(&m->n, 1);
    atomic_fetch_add(&m->size, size);
    return p;
}

void mem_put(struct mem *m, void *p)
{
    if (!p)
        return;
    const struct head h = *((struct head *)p - 1);
    atomic_fetch_sub(&m->n, 1);
    atomic_fetch_sub(&m->size, h.size);
    if (h.mapped)
        munmap(h.raw, h.raw_size);
    else
        free(h.raw);
}
