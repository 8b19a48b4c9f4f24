/* attn.h - pages of keys and values as CPU kernels read them, and the kernels.
 *
 * A page holds its kv heads one after the other, each on 64 bytes:
 *
 *   int8 only: kstep f32 [page_tok], vstep f32 [page_tok]
 *   f16   K  [page_tok / 16][head_dim][16]
 *         V  [page_tok][head_dim]
 *   int8  K  [page_tok / 16][(head_dim + 1) / 2][16][2]
 *         V  [page_tok / 2][head_dim][2]
 *
 * so that a vector of scores is 16 keys (or a part of them) and a vector of
 * outputs is neighbouring dimensions: each lane sums in the contract's order, of
 * int8 two products at a time, and K and V are both read front to back. The
 * second of a last odd dimension is never written, and multiplied by 0. Kernels
 * work on one chunk of * BNP_ATTN_CHUNK positions of one kv head: eight blocks of 16 keys, wherever
 * their pages lie. Nothing inside depends on a position, so a page is copied
 * by its bytes. */
#ifndef BITNET_KIT_ATTN_H
#define BITNET_KIT_ATTN_H

#include <stdbool.h>
#include <stdint.h>

#include "bitnet_plugin.h"

#define ATTN_BLOCK 16u                                  /* keys              */
#define ATTN_BLOCKS (BNP_ATTN_CHUNK / ATTN_BLOCK)
#define ATTN_QUERIES 32u        /* the most queries of one call              */

struct attn_block {
    const char *k, *v;          /* 16 keys of each                           */
    const float *kstep, *vstep; /* [16]; int8 only                           */
};

struct attn_chunk {             /* blocks first..end-1 hold visible keys;    */
    uint32_t first, end;        /* the others are not set                    */
    struct attn_block block[ATTN_BLOCKS];
};

/* What a query gets from a chunk: m_c, l_c, and o_c from ATTN_O on, with
 * attn_stride floats from one to the next. */
#define ATTN_O 16u

static inline uint32_t attn_stride(uint32_t head_dim)
{
    return ATTN_O + (head_dim + 31) / 32 * 32;
}

struct attn_query {             /* one head of one row                       */
    const float *q;             /* [head_dim]                                */
    const int16_t *q16;         /* int8 only: what narrow made of q, with    */
    float qstep;                /* what it gave                              */
    float *part;                /* out                                       */
    uint32_t from, to;          /* its keys of the chunk: from..to-1         */
};

struct attn_call {
    uint32_t format, head_dim;  /* BNP_KV_*                                  */
    float scale;
    const struct attn_chunk *chunk;
    const struct attn_chunk *next;      /* the one to come, or NULL          */
    uint32_t n_query;
    const struct attn_query *query;
};

struct attn_kern {
    /* The first query with a score that is NaN or Inf, or n_query. Before that
     * no part of its neighbours can be relied on. */
    uint32_t (*chunk)(const struct attn_call *);
    /* int8 only: q as integers of at most 32767, head_dim of them and up to a
     * whole vector of 0. Gives qstep of bitnet_plugin.h; NaN: one is NaN or Inf,
     * and so is every score then. */
    float (*narrow)(const float *q, uint32_t head_dim, int16_t *to);
    /* out[head_dim] from n_chunk parts, which are used up. */
    void (*combine)(float *part, uint32_t n_chunk, uint32_t head_dim, float *out);
    /* One head's key or value of a token into slot (0..15) of a block, its step
     * into [slot]. False: x holds what the format cannot. */
    bool (*put_k)(uint32_t format, const float *x, uint32_t head_dim, uint32_t slot, char *k,
                  float *kstep);
    bool (*put_v)(uint32_t format, const float *x, uint32_t head_dim, uint32_t slot, char *v,
                  float *vstep);
};

#endif
