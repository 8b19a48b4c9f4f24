/* bad.c - one plugin per kind of badness, chosen by a BAD_ definition, built
 * over scalar-ref's sources so that everything but the one thing is right.
 *
 *   BAD_WRONG_ABI          the note says major 2
 *   BAD_NO_NOTE            no note at all
 *   BAD_NOTE_DIFFERS       the table has another id than the note
 *   BAD_NO_SYMBOL          a note, but no bnp_plugin_v1
 *   BAD_NEEDS_ISA          requires an instruction set that no processor has
 *   BAD_MISSING_FAMILY_FN  a linear table without mul
 *   BAD_CRASH_ON_LOAD      note of major 2 and a constructor that writes the
 *                          file named by BITNET_TEST_MARKER and aborts: proof
 *                          that no code of a refused plugin runs
 *   BAD_SLOW_OPEN          device_open takes 300 ms; otherwise good
 *   BAD_NO_TOPK            the optional topk is NULL; otherwise good
 *   BAD_OLD_TABLES         tables as an older minor would have had them:
 *                          shorter, with garbage behind their end; good */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "plugins/scalar-ref/ref.h"

#define STR_(x) #x
#define STR(x) STR_(x)
#define BAD_ID  "org.bitnetd.test." STR(BAD_NAME)
#define BAD_ALL (BNP_FAM_LINEAR | BNP_FAM_ATTN | BNP_FAM_POINT)

#if defined(BAD_NEEDS_ISA)
#define BAD_ISA (UINT64_C(1) << 63)
#else
#define BAD_ISA UINT64_C(0)
#endif

#if defined(BAD_WRONG_ABI) || defined(BAD_CRASH_ON_LOAD)
#undef BNP_ABI_MAJOR
#define BNP_ABI_MAJOR 2
#endif
#ifndef BAD_NO_NOTE
BNP_NOTE(BAD_ID, "1", BAD_ISA, BNP_DEV_CPU, BAD_ALL)
#endif

#ifdef BAD_CRASH_ON_LOAD
__attribute__((constructor)) static void crash(void)
{
    const char *path = getenv("BITNET_TEST_MARKER");
    FILE *f = path ? fopen(path, "w") : NULL;
    if (f) {
        fputs("code of a refused plugin ran\n", f);
        fclose(f);
    }
    abort();
}
#endif

#ifdef BAD_SLOW_OPEN
static int open_slowly(const bnp_host *host, uint32_t index, bnp_device **out)
{
    const struct timespec wait = { .tv_nsec = 300 * 1000 * 1000 };
    nanosleep(&wait, NULL);
    return ref_device_open(host, index, out);
}
#define OPEN open_slowly
#else
#define OPEN ref_device_open
#endif

#ifdef BAD_OLD_TABLES
/* An older minor's struct ended before these; behind its end comes whatever
 * the compiler put there. A host that looks gets a crash. */
#define TABLE_SIZE(type, first_new) offsetof(type, first_new)
#define GARBAGE(type) ((type)(uintptr_t)0xbad)
#else
#define TABLE_SIZE(type, first_new) sizeof(type)
#define GARBAGE(type) ((type)NULL)
#endif

typedef int topk_fn(bnp_stream *, bnp_span, const bnp_weight *, const bnp_topk *, bnp_span);
typedef int copy_page_fn(bnp_stream *, const bnp_attn_desc *, bnp_span, uint32_t, uint32_t,
                         uint32_t);
typedef const void *extension_fn(const char *);

#ifndef BAD_NO_SYMBOL
static const bnp_linear_ops linear = {
    .struct_size = TABLE_SIZE(bnp_linear_ops, topk), .query = ref_linear_query,
    .layout = ref_linear_layout, .prepare = ref_linear_prepare, .adopt = ref_linear_adopt,
    .release = ref_linear_release, .act_size = ref_act_size, .act_prepare = ref_act_prepare,
#ifndef BAD_MISSING_FAMILY_FN
    .mul = ref_linear_mul,
#endif
    .gather = ref_linear_gather,
#if defined(BAD_NO_TOPK) || defined(BAD_OLD_TABLES)
    .topk = GARBAGE(topk_fn *),
#else
    .topk = ref_linear_topk,
#endif
};

static const bnp_attn_ops attn = {
    .struct_size = TABLE_SIZE(bnp_attn_ops, copy_page), .query = ref_attn_query,
    .page_size = ref_attn_page_size, .append = ref_attn_append, .attend = ref_attn_attend,
#ifdef BAD_OLD_TABLES
    .copy_page = GARBAGE(copy_page_fn *),
#else
    .copy_page = ref_attn_copy_page,
#endif
};

static const bnp_point_ops point = {
    .struct_size = sizeof(bnp_point_ops), .query = ref_point_query, .rmsnorm = ref_point_rmsnorm,
    .rope = ref_point_rope, .glu = ref_point_glu, .add = ref_point_add, .pick = ref_point_pick,
};

const bnp_plugin bnp_plugin_v1 = {
    .struct_size = TABLE_SIZE(bnp_plugin, extension),
    .abi_major = BNP_ABI_MAJOR,
    .abi_minor = BNP_ABI_MINOR,
    .isa_required = BAD_ISA,
#ifdef BAD_NOTE_DIFFERS
    .id = BAD_ID "-really",
#else
    .id = BAD_ID,
#endif
    .version = "1",
    .build = "test",
    .device_count = ref_device_count,
    .device_open = OPEN,
    .device_close = kit_device_close,
    .device_info = ref_device_info,
    .device = &kit_device_ops,
    .linear = &linear,
    .attn = &attn,
    .point = &point,
    .extension = GARBAGE(extension_fn *),
};
#endif
