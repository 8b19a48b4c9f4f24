/* bitnet_plugin.h - the contract between bitnetd and a kernel plugin.
 *
 * A plugin is one shared object that multiplies ternary matrices, and does
 * the few other things a transformer step needs, on one kind of hardware.
 * This file is all a vendor needs: there is no other bitnetd header, and no
 * bitnetd symbol to link against. It is one file, however long, so that one
 * can be copied. plugins/skeleton is the smallest plugin
 * that loads; plugins/scalar-ref is the definition of every right answer.
 *
 * The short version:
 *   1. say who you are, twice: BNP_NOTE(...) and `bnp_plugin_v1`
 *      (both at the end of this file);
 *   2. implement at least one family: linear, attn or point;
 *   3. put the .so into bitnetd's plugin directory and look at
 *      `bitnet-plugins list`.
 *
 * WORDS, always in the same sense:
 *   host     bitnetd, or one of its tools.
 *   device   one place to compute, opened from a plugin. Plugin-owned.
 *   stream   an ordered queue of work on a device. Plugin-owned.
 *   step     one forward pass over a batch of token rows.
 *   row      one token's vector of f32. All activations are rows.
 *   span     a range of memory. Never carries ownership.
 *   borrow   may read it until the call returns, unless a longer time is said.
 *   own      must free it.
 *
 * UNITS: sizes and offsets are bytes, unless the name says tok, rows or cols,
 * which count elements. Little-endian machines only.
 *
 * THREADS: every function stands under one tag.
 *   [load]    main thread, at start, before any request is accepted.
 *   [setup]   one call at a time per device, any host thread. May block,
 *             allocate, take seconds.
 *   [submit]  one call at a time per device, engine thread, hot path. Must
 *             not allocate from the system, wait for another device, touch
 *             files or sleep.
 *   [any]     any thread, concurrently.
 *
 * A plugin MUST NOT: run code at load time (no constructors: this CPU may
 * lack the instructions you were built for); compute on threads of its own
 * (use host->parallel); install signal handlers, fork, exit, abort; write to
 * stdout or stderr; change locale, affinity or the floating-point
 * environment; let a C++ exception cross this boundary. */

#ifndef BITNET_PLUGIN_H
#define BITNET_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---------------------------------------------------------------- Version
 *
 * A plugin built against any minor of a major loads into any host of that
 * major. The major is part of the exported symbol's name, so a host never
 * misreads an alien table: it does not find it.
 *
 * Within a major this file only grows:
 *   - a struct that starts with struct_size may gain fields at its end;
 *   - an enum may gain values; numbers are never reused;
 *   - a struct without struct_size (bnp_span, bnp_rows, bnp_linear_item,
 *     bnp_note) is frozen. There is no hidden padding; reserved fields are
 *     zero and stay unused, for struct_size could not tell that one had come
 *     to life.
 *
 * struct_size is set by whoever owns the memory, to the sizeof it was
 * compiled with. Whoever reads or fills the struct stays inside it and takes
 * a field beyond it as zero; so zero always means "as before this field
 * existed". Test with BNP_HAS before touching a field newer than minor 0.
 *
 * A value you do not know, in a question: BNP_E_UNSUPPORTED. A flag bit you
 * do not know: ignore it, unless it is one of BNP_MUST: BNP_E_UNSUPPORTED. */

#define BNP_ABI_MAJOR 1
#define BNP_ABI_MINOR 4
#define BNP_MUST 0xffff0000u
#define BNP_HAS(p, type, field) \
    ((p)->struct_size >= offsetof(type, field) + sizeof((p)->field))

/* ----------------------------------------------------------------- Status
 *
 * Every int function returns one of these. Before an error other than
 * UNSUPPORTED, call host->report once, with a sentence a human can act on.
 * After an error the call's outputs are unspecified and nothing else has
 * changed. */

typedef enum bnp_status {
    BNP_OK            =  0,
    BNP_E_UNSUPPORTED = -1, /* a plain no; the host routes around it        */
    BNP_E_INVALID     = -2, /* the call breaks this contract: a host bug    */
    BNP_E_NOMEM       = -3, /* host or device memory; the host sheds load   */
    BNP_E_DATA        = -4, /* impossible weights: code 3, a NaN scale      */
    BNP_E_NUMERIC     = -5, /* a NaN or Inf in an input row                 */
    BNP_E_BUSY        = -6, /* queue full: wait for a ticket, retry         */
    BNP_E_DEVICE      = -7, /* device lost: only close calls are legal now  */
    BNP_E_INTERNAL    = -8  /* the plugin's own invariant failed            */
} bnp_status;

/* ----------------------------------------------------------------- Memory
 *
 * On a BNP_DEV_HOST_MEM device base is a CPU address and the data starts at
 * (char *)base + offset. Elsewhere base is what mem_alloc gave, and only the
 * plugin may interpret it.
 *
 * Spans from the host start on 64 bytes, or on the stricter boundary a layout
 * asked for, and 64 bytes past their end are readable, so a kernel may
 * over-read its last vector. The padding between cols and stride may be read
 * and written; its content means nothing. Outputs never overlap inputs unless
 * the function says they may. */

#define BNP_ALIGN 64
#define BNP_SLACK 64

typedef struct bnp_span {
    void    *base;
    uint64_t offset, size;
} bnp_span;

typedef struct bnp_rows {
    bnp_span mem;
    uint64_t stride;            /* bytes from row to row, a multiple of 64  */
    uint32_t n_tok;             /* rows                                     */
    uint32_t cols;              /* f32 elements in a row                    */
} bnp_rows;

typedef struct bnp_device bnp_device;
typedef struct bnp_stream bnp_stream;
typedef struct bnp_weight bnp_weight;

/* ---------------------------------------------------------- Host services
 *
 * Valid from device_count to the last device_close. The plugin borrows it
 * that long. */

enum {                          /* bit numbers: topo.isa, isa_required      */
    BNP_ISA_X86_AVX2    = 0,    /* with FMA, F16C, BMI2                     */
    BNP_ISA_X86_AVXVNNI = 1,
    BNP_ISA_X86_AVX512  = 2,    /* F, BW, DQ, VL, CD                        */
    BNP_ISA_X86_VNNI512 = 3,
    BNP_ISA_X86_VBMI    = 4,
    BNP_ISA_X86_AMX_I8  = 5,
    BNP_ISA_ARM_NEON    = 16,
    BNP_ISA_ARM_DOTPROD = 17,
    BNP_ISA_ARM_I8MM    = 18,
    BNP_ISA_ARM_SVE2    = 19
};
#define BNP_ISA(x) (UINT64_C(1) << BNP_ISA_##x)

typedef struct bnp_topo {
    uint32_t struct_size;
    uint32_t n_workers, n_numa;
    uint32_t cache_line, l1d_size, l2_size;    /* bytes, as one worker sees */
    uint64_t l3_size;                          /* bytes, as one node sees   */
    uint64_t isa;               /* what you may use. Do not ask CPUID: the  */
                                /* host masks bits to test your variants    */
    const uint8_t *worker_numa; /* [n_workers]                              */
} bnp_topo;

enum { BNP_LOG_ERROR = 1, BNP_LOG_WARN, BNP_LOG_INFO, BNP_LOG_DEBUG };

#define BNP_PAR_STATIC (1u << 0)

typedef void bnp_task_fn(void *arg, uint32_t task, uint32_t worker);

typedef struct bnp_host {
    uint32_t struct_size;
    uint16_t abi_major, abi_minor;
    void *ctx;                  /* first argument of everything below       */
    const bnp_topo *topo;

    /* [any]
     * log      one line of text, no newline at its end.
     * report   the reason for the error status about to be returned.
     * alloc    size bytes on an align boundary (a power of two), near NUMA
     *          node numa (-1: anywhere), zero-filled, BNP_SLACK readable past
     *          the end; NULL when there is none. release takes NULL.
     * option   the value of "key" in the configuration section
     *          [plugin:<id>], or NULL. Borrowed until device_close. */
    void (*log)(void *ctx, int level, const char *line);
    void (*report)(void *ctx, int status, const char *why);
    void *(*alloc)(void *ctx, size_t size, size_t align, int numa);
    void (*release)(void *ctx, void *p);
    const char *(*option)(void *ctx, const char *key);

    /* From inside [setup] and [submit] calls. Run fn for every task < n_tasks
     * on the host's pinned workers, the caller among them; return when all
     * are done. Writes before the call are visible to tasks, tasks' writes to
     * the caller after it. Not re-entrant. With BNP_PAR_STATIC, task t of
     * n_tasks runs on the same worker every time: what prepare touched first,
     * mul finds on its own NUMA node. worker is below topo->n_workers.
     * Results must not depend on n_workers. */
    void (*parallel)(void *ctx, uint32_t n_tasks, uint32_t flags,
                     bnp_task_fn *fn, void *arg);
} bnp_host;

/* ---------------------------------------------------------------- Devices */

enum { BNP_DEV_CPU = 1, BNP_DEV_GPU = 2, BNP_DEV_OTHER = 3 };

#define BNP_DEV_HOST_MEM (1u << 0)  /* computes on CPU addresses            */
#define BNP_DEV_SYNC     (1u << 1)  /* [submit] calls complete in place     */

typedef struct bnp_device_info {
    uint32_t struct_size;
    uint32_t kind, flags, reserved;
    char     name[64];          /* "EPYC 9654, avx512 vnni"                 */
    uint64_t mem_size;          /* bytes; 0: the host's memory              */
    uint32_t pci_domain;        /* with pci_bdf, lets hwloc find its node   */
    uint32_t pci_bdf;           /* bus<<8 | device<<3 | function; 0: none   */
} bnp_device_info;

typedef struct bnp_limits {     /* no step will exceed these                */
    uint32_t struct_size;
    uint32_t max_tok, max_seq, max_pages, max_out;
} bnp_limits;

/* One step. Arrays are CPU memory, borrowed until step_begin returns. The
 * rows of sequence s are seq_start[s] .. seq_start[s+1]-1, at consecutive
 * positions. Row r is at position pos[r] of its sequence; attend lets it see
 * that sequence's keys 0..pos[r]. Pages on which no visible key lies may be
 * -1. A step that is not for attention may have no sequences. */
typedef struct bnp_step {
    uint32_t struct_size;
    uint32_t n_tok, n_seq, max_pages, n_out, reserved;
    const int32_t *id;          /* [n_tok] token ids                        */
    const int32_t *pos;         /* [n_tok]                                  */
    const int32_t *seq_start;   /* [n_seq + 1] first row of each sequence   */
    const int32_t *kv_len;      /* [n_seq] keys, this step's included       */
    const int32_t *page;        /* [n_seq][max_pages] page numbers, or -1   */
    const int32_t *out_row;     /* [n_out] rows whose logits are wanted     */
    uint64_t shape_key;         /* equal and nonzero: same shapes and spans */
                                /* as before, a recorded graph may replay   */
} bnp_step;

enum {                          /* what memory is for: a hint for placement */
    BNP_MEM_WEIGHT = 1, BNP_MEM_KV = 2, BNP_MEM_WORK = 3
};

typedef struct bnp_device_ops {
    uint32_t struct_size, reserved;

    /* [setup] NULL on a BNP_DEV_HOST_MEM device: the host places memory
     * itself, by NUMA node. Either way the host owns it. What new memory
     * holds is unspecified. The host frees it when all work that uses it has
     * been waited for. */
    int  (*mem_alloc)(bnp_device *, uint32_t kind, uint64_t size,
                      uint64_t align, bnp_span *out);
    void (*mem_free)(bnp_device *, bnp_span);

    /* [setup] Allocate here everything [submit] calls will need. */
    int  (*stream_open)(bnp_device *, const bnp_limits *, bnp_stream **out);
    void (*stream_close)(bnp_stream *);

    /* [submit] Work runs in the order it was submitted, copies too; they may
     * be called inside a step and between steps. copy_in has taken src when
     * it returns. copy_out's dst is filled once a ticket taken later has been
     * waited for, and must stay until then. [setup] calls are in no order
     * with the stream: before adopt the host waits for the copy that filled
     * storage. NULL as above. */
    int  (*copy_in)(bnp_stream *, bnp_span dst, const void *src);
    int  (*copy_out)(bnp_stream *, void *dst, bnp_span src);

    /* [submit] Family work happens between begin and end. end gives a ticket,
     * a number that grows; wait returns when all work up to it is done and
     * visible. On BNP_DEV_SYNC wait may be NULL. Trouble in earlier
     * asynchronous work surfaces in wait: once, in the first for its ticket
     * or a later one; the steps behind it ran all the same. BNP_E_BUSY from
     * wait: the time is over and nothing has changed; from step_begin: too
     * many tickets are not done. A step may be ended early, with any part of
     * its work not submitted. */
    int  (*step_begin)(bnp_stream *, const bnp_step *);
    int  (*step_end)(bnp_stream *, uint64_t *ticket);
    int  (*wait)(bnp_stream *, uint64_t ticket, uint64_t timeout_ns);
} bnp_device_ops;

/* ------------------------------------------------------------ Determinism
 *
 *   EXACT    bit for bit what scalar-ref gives, for every legal input, any
 *            batch, any number of workers.
 *   STABLE   bit for bit the same on every run of one build on one device,
 *            whatever else is in the batch and however many workers there
 *            are; and within the error bound of scalar-ref.
 *   BOUNDED  within the error bound of scalar-ref. Nothing more.
 *
 * Error bound, for an output row y and its reference r:
 *   |y[j] - r[j]|  <=  abs_err + rel_err * max_i |r[i]|
 *
 * Everything can be EXACT: integer sums do not care about order, and the few
 * float steps have one fixed order, natural for vector units (lanes run over
 * outputs, each output is a sequential loop). The formulas stand beside each
 * family below, each a single binary32 operation unless it says fma: round to
 * nearest even, no contraction, denormals kept, no libm. docs/numerics.md
 * gives the reasons.
 *
 *   fma(a,b,c)     a*b + c with one rounding.
 *   rint(x)        to the nearest integer, ties to even.
 *   sum64(t[0..n)) 64 lanes, all +0; for i ascending lane[i % 64] += t[i]
 *                  (where t is a product x*y: lane = fma(x, y, lane)); then
 *                  for w = 32,16,8,4,2,1: lane[l] += lane[l+w] for all l < w.
 *                  The result is lane[0].
 *   exp32(x)       x > 88 counts as 88; x < -87 gives +0; otherwise
 *                    n = rint(x * BNP_EXP_LOG2E)
 *                    r = fma(n, -BNP_EXP_LN2_HI, x)
 *                    r = fma(n, -BNP_EXP_LN2_LO, r)
 *                    p = C6; p = fma(p, r, C5); ... p = fma(p, r, C0)
 *                    p * 2^n, by adding n to p's exponent field
 *                  within 1 ulp of the true value for every x of the range
 *                  (all were tried), and exp32(0) is 1. */

/* Nine digits name each float exactly (C++11 has no hexadecimal ones). LN2_HI
 * + LN2_LO is ln 2; C2..C6 are a minimax fit on |r| <= ln 2 / 2, relative error
 * 2^-26.9. */
#define BNP_EXP_LOG2E  1.44269502f
#define BNP_EXP_LN2_HI 0.693147182f
#define BNP_EXP_LN2_LO (-1.90465421e-09f)
#define BNP_EXP_C0     1.0f
#define BNP_EXP_C1     1.0f
#define BNP_EXP_C2     0.499999940f
#define BNP_EXP_C3     0.166665226f
#define BNP_EXP_C4     0.0416682214f
#define BNP_EXP_C5     0.00836790539f
#define BNP_EXP_C6     0.00138058257f

enum { BNP_DET_EXACT = 1, BNP_DET_STABLE = 2, BNP_DET_BOUNDED = 3 };

typedef struct bnp_offer {      /* the answer to "could you do this?"       */
    uint32_t struct_size;
    uint32_t det;               /* BNP_DET_*                                */
    float    abs_err, rel_err;  /* zero when EXACT                          */
    float    us[4];             /* a guess: microseconds for 1, 8, 64, 512  */
                                /* rows, 0 if no idea. The host believes    */
                                /* its stopwatch more                       */
    uint64_t scratch_size;      /* bytes of scratch one call needs          */
} bnp_offer;

/* ------------------------------------------------------- Family 1: linear
 *
 * Weights arrive in one canonical form, whatever the model file used, and
 * leave in whatever form the plugin likes. So do activations: act_prepare may
 * quantize, transpose, build look-up tables - once for all the matrices that
 * share the input.
 *
 * Ternary weights (BNP_FMT_T2), int8 activations per row x of cols elements:
 *   m    = max(max_i |x[i]|, 1e-5f);  s = 127.0f / m
 *   q[i] = clamp(rint(x[i] * s), -128, 127)
 *   acc  = sum_i (code[i] - 1) * q[i]   exact in 32 bits: no wrap, no
 *                                       saturation
 *   one scale per tensor or row (none: 1):  y = (float)acc * (scale / s)
 *   block scales d[g]:  y = +0; for g ascending: y = fma((float)acc[g], d[g],
 *                       y); then y = y * (1.0f / s)
 *
 * Dense weights (all other formats), f32 activations:
 *   w[i] the element as f32: F32 itself; F16 and BF16 widened; I8 is
 *        (float)q * its scale (none: 1), one rounding
 *   y    = +0; for i ascending: y = fma(w[i], x[i], y)
 *
 * With BNP_ADD, y = old y + that. gather gives w[i], of ternary weights
 * (float)(code[i] - 1) * its scale. A NaN or Inf in x is BNP_E_NUMERIC from
 * act_prepare, or from wait if it shows only then; one in the weights or
 * scales is BNP_E_DATA from prepare. Sums that overflow give Inf or NaN as
 * IEEE 754 says; which NaN is not part of the contract. */

enum {                          /* canonical element formats                */
    BNP_FMT_T2   = 1,           /* ternary: element i is bits 2*(i%4) and   */
                                /* up of byte i/4; codes 0,1,2,3 are        */
                                /* -1,0,+1,+2; 3 only with BNP_W_PLUS2.     */
                                /* A row has (cols+3)/4 bytes, its tail     */
                                /* codes are 1                              */
    BNP_FMT_F32  = 2,
    BNP_FMT_F16  = 3,
    BNP_FMT_BF16 = 4,
    BNP_FMT_I8   = 5            /* int8, a row has cols bytes               */
};
enum {                          /* f32 scales, all finite; F32, F16 and     */
                                /* BF16 come with NONE                      */
    BNP_SCALE_NONE   = 0,       /* as if every scale were 1                 */
    BNP_SCALE_TENSOR = 1,       /* 1 scale                                  */
    BNP_SCALE_ROW    = 2,       /* [rows]                                   */
    BNP_SCALE_BLOCK  = 3        /* [rows][ceil(cols / block_cols)]          */
};
enum {                          /* a hint; never changes results            */
    BNP_ROLE_OTHER = 0, BNP_ROLE_QKV = 1, BNP_ROLE_O = 2, BNP_ROLE_UP = 3,
    BNP_ROLE_DOWN = 4, BNP_ROLE_HEAD = 5, BNP_ROLE_EMBED = 6
};

#define BNP_W_PLUS2  (1u << 16) /* must: code 3 occurs and means +2         */
#define BNP_W_MUL    (1u << 0)  /* what the host will call on this weight:  */
#define BNP_W_GATHER (1u << 1)  /* a tied embedding sets both               */
#define BNP_W_TOPK   (1u << 2)
#define BNP_W_IN_PLACE (1u << 3)    /* the source of prepare will have rows: */
                                /* (minor 1) no room is needed for a copy   */

typedef struct bnp_weight_desc {
    uint32_t struct_size;
    uint32_t format, scale_kind, role, flags;
    uint32_t rows, cols;        /* output features, input features; cols is */
                                /* at most 2^23, so that acc cannot wrap    */
    uint32_t block_cols;        /* columns per scale, BNP_SCALE_BLOCK only  */
    uint32_t max_tok;           /* the host will never pass more rows to    */
                                /* mul and topk; gather's are the step's    */
    uint32_t reserved;
    const char *name;           /* "blk.7.attn_q", for messages; borrowed   */
} bnp_weight_desc;

typedef struct bnp_weight_src { /* both functions: [any], so tasks may call */
    uint32_t struct_size, reserved;
    void *ctx;
    /* n_rows rows from `row` on, in the canonical form, dst_stride bytes
     * apart. dst is on 4 bytes at least. */
    int (*read_rows)(void *ctx, uint32_t row, uint32_t n_rows, void *dst,
                     size_t dst_stride);
    /* n scales from index `first` on, counted as scale_kind says. */
    int (*read_scales)(void *ctx, uint64_t first, uint64_t n, float *dst);
    /* Minor 1. Not NULL: the canonical rows where they lie, row_stride bytes
     * apart, on 4 bytes at least, nothing readable behind the last one; they
     * stay until the weight is released, so the plugin need not copy them.
     * read_rows gives the same bytes, and lets the memory behind it go while
     * they are read front to back. */
    const void *rows;
    size_t row_stride;
} bnp_weight_src;

typedef struct bnp_weight_layout {
    uint32_t struct_size;
    uint32_t act_kind;          /* plugin's own number: weights of equal    */
                                /* act_kind and cols share one prepared act */
    uint64_t size, align;       /* storage wanted; align is a power of two, */
                                /* at most 2 MiB                            */
    uint64_t layout_id;         /* nonzero: the prepared bytes hold no      */
                                /* pointers and depend on weights and this  */
                                /* number only: the host may keep them in a */
                                /* file and offer them to adopt             */
} bnp_weight_layout;

#define BNP_ADD (1u << 16)      /* must: y += rather than y =               */

typedef struct bnp_linear_item {
    const bnp_weight *weight;
    bnp_rows y;                 /* y.cols is the weight's rows              */
    uint32_t flags, reserved;
} bnp_linear_item;

/* The k largest of each row's logits and their ids, k <= the weight's rows,
 * largest first, ties to the smaller id: as if every logit had been computed
 * and sorted. When one of a row's logits is NaN, its k logits are NaN. How the plugin finds them is its own affair, as long as it
 * cannot be wrong. */
typedef struct bnp_topk {
    uint32_t struct_size;
    uint32_t k, n_tok, reserved;
    bnp_span id;                /* int32 [n_tok][k]                         */
    bnp_span logit;             /* f32 [n_tok][k]                           */
    bnp_span n_exact;           /* u32 [n_tok]: weight rows evaluated       */
                                /* exactly; size 0: not wanted              */
} bnp_topk;

typedef struct bnp_linear_ops {
    uint32_t struct_size, reserved;

    /* [setup] prepare fills storage from src; adopt finds it filled. The
     * handle is the host's to release and borrows storage until then. The
     * desc is borrowed until the call returns. act_size is the bytes of the
     * span that act_prepare fills. */
    int  (*query)(bnp_device *, const bnp_weight_desc *, bnp_offer *);
    int  (*layout)(bnp_device *, const bnp_weight_desc *,
                   bnp_weight_layout *);
    int  (*prepare)(bnp_device *, const bnp_weight_desc *,
                    const bnp_weight_src *, bnp_span storage,
                    bnp_weight **out);
    int  (*adopt)(bnp_device *, const bnp_weight_desc *, bnp_span storage,
                  bnp_weight **out);            /* NULL: layout_id is 0     */
    void (*release)(bnp_weight *);
    int  (*act_size)(bnp_device *, uint32_t act_kind, uint32_t cols,
                     uint32_t n_tok, uint64_t *size);

    /* [submit] mul gives y of each item from the same act, whose rows are
     * y.n_tok. One row, the matrix-vector case, is the common one. gather
     * puts weight row id[r] of the current step, as f32, into row r of y:
     * embedding lookup. topk may be NULL; scratch is the offer's. */
    int  (*act_prepare)(bnp_stream *, uint32_t act_kind, const bnp_rows *x,
                        bnp_span act);
    int  (*mul)(bnp_stream *, bnp_span act, uint32_t n_items,
                const bnp_linear_item *, bnp_span scratch);
    int  (*gather)(bnp_stream *, const bnp_weight *, const bnp_rows *y);
    int  (*topk)(bnp_stream *, bnp_span act, const bnp_weight *,
                 const bnp_topk *, bnp_span scratch);

    /* [setup] Minor 2. adopt of a weight described as in place: src has the
     * rows. BNP_E_DATA when storage cannot be theirs: the host prepares. NULL:
     * adopt takes those too, or their layout_id is 0. */
    int  (*adopt_rows)(bnp_device *, const bnp_weight_desc *,
                       const bnp_weight_src *, bnp_span storage,
                       bnp_weight **out);
} bnp_linear_ops;

/* ---------------------------------------------------- Family 2: attention
 *
 * Keys and values live in pages of page_tok tokens. Every layer has a pool,
 * and a page number means the same slot in each: its bytes start at
 * number * page_size. The host decides which sequence a page belongs to and
 * may let sequences share a full page; the plugin decides what is inside.
 * With BNP_KV_F16, k (after rope) and v are rounded to f16, nearest even. With
 * BNP_KV_I8 each head's head_dim values x of a k or v become int8 and a step:
 *   m = max(max_d |x[d]|, 1e-30f);  step = m / 127.0f
 *   x[d] is stored as clamp(rint(x[d] * (127.0f / m)), -127, 127)
 * k[j][d] and v[j][d] below are what is stored, kstep[j] and vstep[j] the
 * steps.
 *
 * One query head, position p, over its visible keys j (0..p, or the last
 * `window` of them); query head h reads kv head h / (n_head / n_head_kv):
 *   f16:  score[j] = (+0, then for d ascending fma(q[d], k[j][d], .)) * scale
 *   int8: score[j] = ((float)sum_d Q[d] k[j][d] * kstep[j]) * (qstep * scale)
 *         m = max(max_d |q[d]|, 1e-30f);  qstep = m / 32767.0f
 *         Q[d] = rint(q[d] * (32767.0f / m)), integers: the sum is exact
 *   Chunks are cut at absolute positions 0, 128, 256, ... In chunk c, over
 *   its visible j:
 *     m_c = max score;  e[j] = exp32(score[j] - m_c)
 *     l_c = sum64(e), where e[j] goes to lane (j - chunk start) % 64
 *     f16:  o_c[d] = +0; for j ascending: o_c[d] = fma(e[j], v[j][d], o_c[d])
 *     int8: w[j] = e[j] * vstep[j];  m = max w
 *           W[j] = rint(w[j] * (32767.0f / m)), integers: the sum is exact
 *           o_c[d] = (float)sum_j W[j] v[j][d] * (m / 32767.0f)
 *   M = max m_c; L = +0; O[d] = +0; for c ascending, w = exp32(m_c - M):
 *     L = fma(w, l_c, L); O[d] = fma(w, o_c[d], O[d])
 *   out[d] = O[d] * (1.0f / L)
 * The integer sums fit int32 for heads of up to BNP_KV_I8_DIM; with int8, more
 * is BNP_E_UNSUPPORTED.
 *
 * A NaN or Inf in q, k, v or a score, or a k or v that f16 cannot hold, is
 * BNP_E_NUMERIC. */

enum {                          /* 2 was int8 with sums of floats, to minor 3 */
    BNP_KV_F16 = 1,
    BNP_KV_I8  = 3              /* minor 4                                  */
};

#define BNP_KV_I8_MIN 1e-30f    /* the least m: 127 / m stays a float       */
#define BNP_KV_I8_DIM 512       /* 32767 * 127 * 512 < 2^31                 */

#define BNP_ATTN_CHUNK 128

typedef struct bnp_attn_desc {
    uint32_t struct_size;
    uint32_t n_head, n_head_kv, head_dim;
    uint32_t page_tok;          /* tokens in a page: 16, 32 or 64           */
    uint32_t kv_format;         /* BNP_KV_*                                 */
    uint32_t window;            /* most recent keys seen; 0: all            */
    uint32_t max_kv;            /* longest sequence, tokens                 */
    uint32_t max_tok;           /* rows in a step, at most                  */
    float    scale;             /* multiplies q.k                           */
} bnp_attn_desc;

typedef struct bnp_attn_ops {
    uint32_t struct_size, reserved;

    /* [setup] */
    int (*query)(bnp_device *, const bnp_attn_desc *, bnp_offer *);
    int (*page_size)(bnp_device *, const bnp_attn_desc *, uint64_t *size);

    /* [submit] append stores the step's k and v rows, n_head_kv * head_dim
     * wide, k already rotated, at their positions. attend gives each of the
     * step's rows its n_head * head_dim outputs; q and out may be the same
     * rows. copy_page makes dst hold the first n_tok tokens of src; NULL:
     * copying the bytes will do. */
    int (*append)(bnp_stream *, const bnp_attn_desc *, bnp_span pool,
                  const bnp_rows *k, const bnp_rows *v);
    int (*attend)(bnp_stream *, const bnp_attn_desc *, bnp_span pool,
                  const bnp_rows *q, const bnp_rows *out, bnp_span scratch);
    int (*copy_page)(bnp_stream *, const bnp_attn_desc *, bnp_span pool,
                     uint32_t dst, uint32_t src, uint32_t n_tok);
} bnp_attn_ops;

/* ---------------------------------------------------- Family 3: pointwise
 *
 * Small work on rows. y may be x (and gate, or up). */

enum {                          /* bits of bnp_point_desc.ops               */
    BNP_POINT_RMSNORM = 1 << 0,
    BNP_POINT_ROPE    = 1 << 1,
    BNP_POINT_RELU2   = 1 << 2,
    BNP_POINT_SILU    = 1 << 3,
    BNP_POINT_ADD     = 1 << 4,
    BNP_POINT_PICK    = 1 << 5,
    BNP_POINT_GELU    = 1 << 6  /* minor 3                                  */
};
enum { BNP_GLU_RELU2 = 1, BNP_GLU_SILU = 2, BNP_GLU_GELU = 3 };
/* 2 sqrt(2 / pi), and 0.044715 times that: with them g / (1 + exp(-g (A + B
 * g g))) is g/2 (1 + tanh(sqrt(2 / pi) (g + 0.044715 g^3))). */
#define BNP_GELU_A 1.59576917f
#define BNP_GELU_B 0.0713548139f
enum {                          /* which two elements turn together         */
    BNP_ROPE_HALVES = 1,        /* i and i + n_rot/2                        */
    BNP_ROPE_PAIRS  = 2         /* 2i and 2i + 1                            */
};

typedef struct bnp_point_desc {
    uint32_t struct_size;
    uint32_t ops;               /* all that the model needs                 */
    uint32_t cols, max_tok;     /* the widest row, the most rows            */
} bnp_point_desc;

/* Over each group of group_cols columns (0: the whole row), n of them:
 *   ss = sum64(x*x);  r = 1.0f / sqrt(ss / (float)n + eps)
 *   y[i] = x[i] * (r * w[i])
 * A NaN or Inf in x is BNP_E_NUMERIC. */
typedef struct bnp_norm {
    uint32_t struct_size;
    uint32_t group_cols;        /* head_dim for a norm of every head        */
    float    eps;               /* above 0                                  */
    uint32_t reserved;
    bnp_span weight;            /* f32 [group_cols or cols]                 */
} bnp_norm;

/* For i < n_rot/2, (x0, x1) the i-th pair of a head, c and s its cosine and
 * sine at the row's position in the current step:
 *   y0 = fma(x0, c, -(x1 * s));  y1 = fma(x1, c, x0 * s)
 * The elements from n_rot on stay as they are. */
typedef struct bnp_rope {
    uint32_t struct_size;
    uint32_t style, head_dim, n_rot;
    uint32_t n_pos, reserved;
    bnp_span table;             /* f32 [n_pos][n_rot]: n_rot/2 cosines,     */
                                /* then n_rot/2 sines                       */
} bnp_rope;

typedef struct bnp_point_ops {
    uint32_t struct_size, reserved;

    /* [setup] */
    int (*query)(bnp_device *, const bnp_point_desc *, bnp_offer *);

    /* [submit]
     * rmsnorm  see bnp_norm; the rows need not be the step's
     * rope     see bnp_rope; turns every head of x in place
     * glu      RELU2: t = max(g, 0); y = (t * t) * u
     *          SILU:  y = (g / (1.0f + exp32(-g))) * u
     *          GELU:  z = g * fma(g * g, BNP_GELU_B, BNP_GELU_A)
     *                 y = (g / (1.0f + exp32(-z))) * u
     * add      y = x + y
     * pick     y row i = x row out_row[i] of the current step; not in place
     * What glu and add make of a NaN is not part of the contract. */
    int (*rmsnorm)(bnp_stream *, const bnp_norm *, const bnp_rows *x,
                   const bnp_rows *y);
    int (*rope)(bnp_stream *, const bnp_rope *, const bnp_rows *x);
    int (*glu)(bnp_stream *, uint32_t f, const bnp_rows *gate,
               const bnp_rows *up, const bnp_rows *y);
    int (*add)(bnp_stream *, const bnp_rows *x, const bnp_rows *y);
    int (*pick)(bnp_stream *, const bnp_rows *x, const bnp_rows *y);
} bnp_point_ops;

/* ------------------------------------------------------------- The plugin
 *
 * Data, not code. */

enum { BNP_FAM_LINEAR = 1 << 0, BNP_FAM_ATTN = 1 << 1, BNP_FAM_POINT = 1 << 2 };

enum {
    BNP_TEST_QUICK = 1,         /* under a second, at every start           */
    BNP_TEST_FULL  = 2          /* minutes, when somebody asks for it       */
};

typedef struct bnp_plugin {
    uint32_t struct_size;
    uint16_t abi_major, abi_minor;  /* BNP_ABI_* of your compilation        */
    uint16_t min_host_minor;        /* oldest host you can live with        */
    uint16_t reserved[3];
    uint64_t isa_required;          /* BNP_ISA() bits: all, or do not load  */
    const char *id;                 /* "com.vendor.chip", the same for ever */
    const char *version;            /* yours, free form                     */
    const char *build;              /* compiler and flags, for bug reports  */

    /* [load]  No device is not an error: *n = 0. A report may say why. */
    int  (*device_count)(const bnp_host *, uint32_t *n);
    int  (*device_open)(const bnp_host *, uint32_t index, bnp_device **out);
    void (*device_close)(bnp_device *);     /* its streams are closed       */

    /* [setup] self_test may be NULL: the host tests you with vectors of its
     * own before first use in any case. */
    int  (*device_info)(bnp_device *, bnp_device_info *);
    int  (*self_test)(bnp_device *, uint32_t level);

    const bnp_device_ops *device;
    const bnp_linear_ops *linear;   /* NULL: this family is not offered     */
    const bnp_attn_ops   *attn;
    const bnp_point_ops  *point;

    /* [any] Experiments, by name: "org.bitnetd.moe-draft/1". May be NULL. */
    const void *(*extension)(const char *name);
} bnp_plugin;

#if defined(__GNUC__)
#define BNP_EXPORT __attribute__((visibility("default")))
#else
#define BNP_EXPORT
#endif

BNP_EXPORT extern const bnp_plugin bnp_plugin_v1;

/* The same facts as an ELF note, section .note.bitnet, so that the host can
 * decide from the file whether to let any of your code near this machine.
 * Put one BNP_NOTE(...) into the source file that defines bnp_plugin_v1:
 *
 *   BNP_NOTE("com.vendor.chip", "1.4", BNP_ISA(X86_AVX2), BNP_DEV_CPU,
 *            BNP_FAM_LINEAR | BNP_FAM_POINT)
 *
 * id holds at most 63 bytes of a-z 0-9 . - and version at most 31; both are
 * the strings of bnp_plugin_v1, as isa_required is. families are those with
 * a table in it. A plugin whose note and table differ is refused. */

#define BNP_NOTE_SECTION ".note.bitnet"
#define BNP_NOTE_NAME    "bitnet"
#define BNP_NOTE_TYPE    1u

typedef struct bnp_note {
    uint32_t name_size;         /* 7: "bitnet" and its NUL                  */
    uint32_t desc_size;         /* what follows name                        */
    uint32_t type;              /* BNP_NOTE_TYPE                            */
    char     name[8];
    uint16_t abi_major, abi_minor, min_host_minor, reserved;
    uint32_t device_kind;       /* BNP_DEV_*                                */
    uint32_t families;          /* BNP_FAM_* bits                           */
    uint32_t isa_lo, isa_hi;    /* isa_required                             */
    char     id[64];
    char     version[32];
} bnp_note;

#ifndef BNP_MIN_HOST_MINOR      /* define it before including this file     */
#define BNP_MIN_HOST_MINOR 0    /* when you need a younger host             */
#endif

#if defined(__GNUC__)
#define BNP_NOTE(id_, version_, isa_, kind_, families_)                      \
    __attribute__((section(BNP_NOTE_SECTION), used, aligned(4)))             \
    static const bnp_note bnp_note_v1 = {                                    \
        sizeof BNP_NOTE_NAME, sizeof(bnp_note) - offsetof(bnp_note, abi_major), \
        BNP_NOTE_TYPE, BNP_NOTE_NAME,                                        \
        BNP_ABI_MAJOR, BNP_ABI_MINOR, BNP_MIN_HOST_MINOR, 0,                 \
        (kind_), (families_),                                                \
        (uint32_t)(uint64_t)(isa_), (uint32_t)((uint64_t)(isa_) >> 32),      \
        id_, version_ };
#endif

#ifdef __cplusplus
}
#endif
#endif
