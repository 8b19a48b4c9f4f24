/* limits_int8.c - multiplying bytes as fast as the processor can.
 *
 * A loop over registers alone: the instructions that a ternary kernel of an
 * instruction set is made of, as many independent ones in flight as their
 * latency needs, no load, no unpacking. What a kernel reaches of it is what its
 * loads and its unpacking leave. Assembly, because compilers move accumulators
 * about where they should not, and because this file is for every machine of
 * its architecture: the instructions are reached only where isa.h says so. */
#include "core/plug/limits.h"

#include "core/base/clock.h"

#define BUDGET_S 0.2
#define PASS_S   0.001                    /* one pass takes this long at least */
#define PASSES   256u
#define SAMPLE_S 0.03                     /* of limits_int8_mean               */

struct loop {
    uint64_t isa;                         /* all of these bits                 */
    const char *name;
    uint32_t macs;                        /* multiply-adds of one turn         */
    void (*run)(uint64_t turns);
};

#define TWELVE(op) op("0") op("1") op("2") op("3") op("4") op("5") \
                   op("6") op("7") op("8") op("9") op("10") op("11")

#if defined(__x86_64__)

#define CLOBBER "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", \
                "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"
#define LOOP(body, end) \
    __asm__ volatile("1:\n\t" body "dec %0\n\tjnz 1b\n\t" end : "+r"(turns) : : CLOBBER)

/* int16 products of the baseline: 8 in 16 bytes. */
#define SSE2(i) "movdqa %%xmm14, %%xmm12\n\tpmaddwd %%xmm15, %%xmm12\n\t" \
                "paddd %%xmm12, %%xmm" i "\n\t"
static void run_sse2(uint64_t turns)
{
    LOOP(TWELVE(SSE2), "");
}

#define AVX2(i) "vpmaddubsw %%ymm14, %%ymm15, %%ymm12\n\t" \
                "vpaddw %%ymm12, %%ymm" i ", %%ymm" i "\n\t"
static void run_avx2(uint64_t turns)
{
    LOOP(TWELVE(AVX2), "vzeroupper");
}

#define AVXVNNI(i) "%{vex%} vpdpbusd %%ymm14, %%ymm15, %%ymm" i "\n\t"
static void run_avxvnni(uint64_t turns)
{
    LOOP(TWELVE(AVXVNNI), "vzeroupper");
}

#define AVX512(i) "vpmaddubsw %%zmm14, %%zmm15, %%zmm12\n\t" \
                  "vpaddw %%zmm12, %%zmm" i ", %%zmm" i "\n\t"
static void run_avx512(uint64_t turns)
{
    LOOP(TWELVE(AVX512), "vzeroupper");
}

#define VNNI512(i) "vpdpbusd %%zmm14, %%zmm15, %%zmm" i "\n\t"
static void run_vnni512(uint64_t turns)
{
    LOOP(TWELVE(VNNI512), "vzeroupper");
}

static const struct loop loops[] = {      /* the best first                    */
    { BNP_ISA(X86_AVX512) | BNP_ISA(X86_VNNI512), "avx512 vpdpbusd", 12 * 64, run_vnni512 },
    { BNP_ISA(X86_AVX512), "avx512 vpmaddubsw+vpaddw", 12 * 64, run_avx512 },
    { BNP_ISA(X86_AVX2) | BNP_ISA(X86_AVXVNNI), "avx vpdpbusd", 12 * 32, run_avxvnni },
    { BNP_ISA(X86_AVX2), "avx2 vpmaddubsw+vpaddw", 12 * 32, run_avx2 },
    { 0, "sse2 pmaddwd+paddd", 12 * 8, run_sse2 },
};

#elif defined(__aarch64__)

#define CLOBBER "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", \
                "v30", "v31"
#define LOOP(body) \
    __asm__ volatile("1:\n\t" body "subs %0, %0, #1\n\tb.ne 1b" : "+r"(turns) : : CLOBBER)
#if defined(__clang__)                    /* what the assembler may take       */
#define WITH(name) __attribute__((target(name)))
#else
#define WITH(name) __attribute__((target("arch=armv8.2-a+" name)))
#endif

#define NEON(i) "smlal v" i ".8h, v30.8b, v31.8b\n\t"
static void run_neon(uint64_t turns)
{
    LOOP(TWELVE(NEON));
}

#define DOTPROD(i) "sdot v" i ".4s, v30.16b, v31.16b\n\t"
WITH("dotprod")
static void run_dotprod(uint64_t turns)
{
    LOOP(TWELVE(DOTPROD));
}

#define I8MM(i) "smmla v" i ".4s, v30.16b, v31.16b\n\t"
WITH("i8mm")
static void run_i8mm(uint64_t turns)
{
    LOOP(TWELVE(I8MM));
}

static const struct loop loops[] = {
    { BNP_ISA(ARM_I8MM), "i8mm smmla", 12 * 32, run_i8mm },
    { BNP_ISA(ARM_DOTPROD), "dotprod sdot", 12 * 16, run_dotprod },
    { 0, "neon smlal", 12 * 8, run_neon },
};

#else

static void run_none(uint64_t turns)
{
    (void)turns;
}

static const struct loop loops[] = { { 0, "", 0, run_none } };

#endif

static const struct loop *best_loop(uint64_t isa)
{
    const struct loop *l = loops;
    while ((l->isa & isa) != l->isa)
        l++;                              /* the last one needs nothing        */
    return l;
}

struct running {
    const struct loop *loop;
    uint64_t turns;
    double took[TOPO_MAX_WORKERS];        /* seconds of each worker's fastest  */
    double spent[TOPO_MAX_WORKERS];       /* pass, and of all                  */
};

/* Each worker has a clock of its own: a core that somebody else had for a while
 * says nothing about the others. */
static void run_one(void *arg, uint32_t task, uint32_t worker)
{
    struct running *r = arg;
    (void)worker;
    const double start = clock_s();
    r->loop->run(r->turns);
    const double took = clock_s() - start;
    if (took < r->took[task])
        r->took[task] = took;
    r->spent[task] += took;
}

static void pass(struct plug *plug, struct running *r)
{
    workers_run(plug->workers, plug->topo.abi.n_workers, BNP_PAR_STATIC, run_one, r);
}

/* As many turns as take PASS_S, and nothing else yet. */
static bool settle(struct plug *plug, struct running *r)
{
    const uint32_t n = plug->topo.abi.n_workers;
    *r = (struct running){ .loop = best_loop(plug->topo.abi.isa), .turns = 512 };
    if (!r->loop->macs || n > TOPO_MAX_WORKERS)
        return false;
    do {
        r->turns *= 2;
        for (uint32_t w = 0; w < n; w++)
            r->took[w] = 1e9;
        pass(plug, r);
    } while (r->took[0] < PASS_S);
    for (uint32_t w = 0; w < n; w++)
        r->spent[w] = 0;
    return true;
}

/* 1e9 products a second when each worker takes s[w] seconds for turns. */
static double rate_of(const struct plug *plug, const struct running *r, const double *s,
                      double turns)
{
    double rate = 0;
    for (uint32_t w = 0; w < plug->topo.abi.n_workers; w++)
        rate += turns / s[w];
    return rate * r->loop->macs * 1e-9;
}

double limits_int8_gmacs(struct plug *plug)
{
    struct running r;
    if (plug->limits.int8_gmacs > 0 || !settle(plug, &r))
        return plug->limits.int8_gmacs;
    const double end = clock_s() + BUDGET_S;
    for (unsigned i = 0; i < PASSES && (i < 16 || clock_s() < end); i++)
        pass(plug, &r);
    plug->limits.int8_gmacs = rate_of(plug, &r, r.took, (double)r.turns);
    return plug->limits.int8_gmacs;
}

double limits_int8_mean(struct plug *plug)
{
    struct running r;
    if (!settle(plug, &r))
        return 0;
    const double end = clock_s() + SAMPLE_S;
    unsigned n = 0;
    for (; n < 4 || (n < PASSES && clock_s() < end); n++)
        pass(plug, &r);
    return rate_of(plug, &r, r.spent, (double)r.turns * n);
}

const char *limits_int8_name(const struct plug *plug)
{
    return best_loop(plug->topo.abi.isa)->name;
}
