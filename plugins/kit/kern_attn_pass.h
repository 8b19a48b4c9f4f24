/* kern_attn_pass.h - scores and values of up to ATTN_GROUP queries, a template
 * that kern_attn.h includes once for each format of pages:
 *
 *   PASS(name)      name_f16 or name_i8
 *   PASS_PER        dimensions in a row of K, keys in a row of V: 1 or 2
 *   PASS_VAL        a vector of a row: VL numbers, or VL pairs; PASS_LOAD(p)
 *   PASS_NUM        what rows are multiplied with: PASS_Q(g, h) those of K for
 *                   query h, PASS_W(g)[h] those of V; PASS_SET(p): PASS_PER of
 *                   them in every lane
 *   PASS_SUM        VL sums; PASS_ZERO, PASS_MAC(by, value, sum),
 *                   PASS_OLD(p), what a query's part holds
 *   PASS_SCORE(g, h, sum, kstep), PASS_OUT(g, h, sum): what becomes of them
 *   PASS_RUN        keys that values are summed of in one go
 *
 * A row of K is 32 bytes and one of V 2 head_dim for both formats, so is a
 * vector 2 VL. */

/* Row i of K, at bytes into the blocks. */
ATTN_INLINE void PASS(scores_row)(uint32_t n, uint32_t n_vec, const char **k, size_t at,
                                  const PASS_NUM **q, uint32_t i, PASS_SUM (*acc)[8])
{
    PASS_VAL key[8];
    for (uint32_t v = 0; v < n_vec; v++)
        key[v] = PASS_LOAD(k[v] + at);
    for (uint32_t h = 0; h < n; h++) {
        const PASS_VAL by = PASS_SET(q[h] + i * PASS_PER);
        for (uint32_t v = 0; v < n_vec; v++)
            acc[h][v] = PASS_MAC(by, key[v], acc[h][v]);
    }
}

/* Scores of the keys of one pass, key j on; keys of blocks outside the chunk are
 * replaced by others and mean nothing. The values of blocks that begin here are
 * fetched, if they are wanted. */
ATTN_INLINE void PASS(scores_pass)(const struct attn_group *g, uint32_t n, uint32_t j, bool fetch)
{
    const uint32_t n_vec = PASS_KEY_VECS(n), run = 64 / ATTN_ROW;
    const uint32_t n_row = (g->c->head_dim + PASS_PER - 1) / PASS_PER;
    const uint32_t n_fetch = (n_vec * VL + ATTN_BLOCK - 1) / ATTN_BLOCK;
    const struct attn_chunk *chunk = g->c->chunk;
    const struct attn_block *block[8] = { 0 };
    const char *k[8] = { 0 }, *ahead[8] = { 0 };
    const PASS_NUM *q[ATTN_GROUP] = { 0 };
    PASS_SUM acc[ATTN_GROUP][8];
    for (uint32_t v = 0; v < n_vec; v++) {
        const uint32_t at = j + v * VL, want = at / ATTN_BLOCK, last = chunk->end - 1;
        const uint32_t b = want < chunk->first ? chunk->first : want < last ? want : last;
        block[v] = &chunk->block[b];
        k[v] = block[v]->k + at % ATTN_BLOCK * 2;
    }
    attn_ahead(chunk, j, n_vec * VL, fetch, k[0], ahead, n_fetch);
    for (uint32_t h = 0; h < n; h++) {
        q[h] = PASS_Q(g, h);
        for (uint32_t v = 0; v < n_vec; v++)
            acc[h][v] = PASS_ZERO;
    }
    uint32_t i = 0;
    for (; i + run <= n_row; i += run) {
        for (uint32_t f = 0; f < n_fetch; f++)
            attn_fetch(ahead[f] + (size_t)i * ATTN_ROW);
        for (uint32_t u = 0; u < run; u++)
            PASS(scores_row)(n, n_vec, k, (size_t)(i + u) * ATTN_ROW, q, i + u, acc);
    }
    for (; i < n_row; i++)
        PASS(scores_row)(n, n_vec, k, (size_t)i * ATTN_ROW, q, i, acc);
    for (uint32_t v = 0; v < n_vec; v++)
        for (uint32_t h = 0; h < n; h++)
            vf_store(&g->s[h][j + v * VL],
                     PASS_SCORE(g, h, acc[h][v], block[v]->kstep + (j + v * VL) % ATTN_BLOCK));
}

/* Rows from..to-1 of one block of V are added to n_vec vectors of dimensions, i
 * on, and as much of the next chunk's K is fetched. */
ATTN_INLINE void PASS(values_block)(uint32_t n, uint32_t n_vec, uint32_t dim,
                                    const PASS_NUM (*w)[BNP_ATTN_CHUNK],
                                    const struct attn_place *at, uint32_t i, uint32_t from,
                                    uint32_t to, PASS_SUM (*acc)[8])
{
    const uint32_t rows = ATTN_BLOCK / PASS_PER, size = n_vec * VL * 2;
    const char *v = at->v + ((size_t)(from % rows) * dim + i) * 2;
    const char *ahead = at->ahead + (size_t)i * 2 * rows;
    const PASS_NUM *p = w[0] + from * PASS_PER;
    for (uint32_t j = from; j < to; j++, v += (size_t)dim * 2, ahead += size, p += PASS_PER) {
        PASS_VAL by[ATTN_GROUP];
        for (uint32_t k = 0; k < size; k += 64)
            attn_fetch(ahead + k);
        for (uint32_t h = 0; h < n; h++)
            by[h] = PASS_SET(p + h * BNP_ATTN_CHUNK);
        for (uint32_t k = 0; k < n_vec; k++) {
            const PASS_VAL value = PASS_LOAD(v + k * VL * 2);
            for (uint32_t h = 0; h < n; h++)
                acc[h][k] = PASS_MAC(by[h], value, acc[h][k]);
        }
    }
}

/* Rows from..to-1 of V, of one run, for n_vec vectors of dimensions, i on; added
 * to +0 if they are the first. */
ATTN_INLINE void PASS(values_strip)(const struct attn_group *g, uint32_t n, uint32_t n_vec,
                                    const struct attn_place *at, uint32_t i, uint32_t from,
                                    uint32_t to, bool first)
{
    const uint32_t rows = ATTN_BLOCK / PASS_PER, dim = g->c->head_dim;
    const PASS_NUM (*w)[BNP_ATTN_CHUNK] = (const PASS_NUM (*)[BNP_ATTN_CHUNK])PASS_W(g);
    float *part[ATTN_GROUP] = { 0 };
    PASS_SUM acc[ATTN_GROUP][8];
    for (uint32_t h = 0; h < n; h++) {
        part[h] = g->query[h].part + ATTN_O + i;
        for (uint32_t k = 0; k < n_vec; k++)
            acc[h][k] = first ? PASS_ZERO : PASS_OLD(part[h] + k * VL);
    }
    if (PASS_RUN == ATTN_BLOCK)
        PASS(values_block)(n, n_vec, dim, w, at + from / rows, i, from, to, acc);
    for (uint32_t j = from, stop; PASS_RUN != ATTN_BLOCK && j < to; j = stop) {
        const uint32_t end = (j / rows + 1) * rows;
        stop = end < to ? end : to;
        PASS(values_block)(n, n_vec, dim, w, at + j / rows, i, j, stop, acc);
    }
    for (uint32_t h = 0; h < n; h++)
        for (uint32_t k = 0; k < n_vec; k++)
            vf_store(part[h] + k * VL, PASS_OUT(g, h, acc[h][k]));
}

/* All dimensions of the values of keys from..to-1; a strip runs through as much
 * of V as stays in the first cache. The last vectors of a row may reach into
 * the next one; those lanes of part mean nothing. */
ATTN_INLINE void PASS(values_pass)(const struct attn_group *g, uint32_t n, uint32_t from,
                                   uint32_t to, bool fetch, bool first)
{
    const uint32_t dim = g->c->head_dim, wide = ATTN_DIM_VECS(n), run = PASS_RUN / PASS_PER;
    const struct attn_chunk *next = fetch ? g->c->next : NULL;
    struct attn_place at[ATTN_BLOCKS];
    for (uint32_t b = from / ATTN_BLOCK; b * ATTN_BLOCK < to; b++) {
        at[b].v = g->c->chunk->block[b].v;
        at[b].ahead = next && b >= next->first && b < next->end ? next->block[b].k : at[b].v;
    }
    to = (to + PASS_PER - 1) / PASS_PER;
    for (uint32_t j = from / PASS_PER, stop; j < to; j = stop, first = false) {
        const uint32_t end = (j / run + 1) * run;
        uint32_t i = 0;
        stop = end < to ? end : to;
        for (; i + wide * VL <= dim && i + (wide + 1) * VL != dim; i += wide * VL)
            PASS(values_strip)(g, n, wide, at, i, j, stop, first);
        for (; i < dim; i += 2 * VL)
            PASS(values_strip)(g, n, 2, at, i, j, stop, first);
    }
}

/* One of each count: functions of their own, so that a loop has the registers to
 * itself. */
#define PASS_COUNT(n)                                                                         \
    static __attribute__((noinline)) void PASS(scores_##n)(const struct attn_group *g,        \
                                                           uint32_t j, bool fetch)            \
    {                                                                                         \
        PASS(scores_pass)(g, n, j, fetch);                                                    \
    }                                                                                         \
    static __attribute__((noinline)) void PASS(values_##n)(                                   \
        const struct attn_group *g, uint32_t from, uint32_t to, bool fetch, bool first)       \
    {                                                                                         \
        PASS(values_pass)(g, n, from, to, fetch, first);                                      \
    }
PASS_COUNT(1)
PASS_COUNT(2)
PASS_COUNT(3)
PASS_COUNT(4)

static const struct attn_pass PASS(pass)[ATTN_GROUP] = {
    { PASS(scores_1), PASS(values_1), PASS_KEY_VECS(1) * VL },
    { PASS(scores_2), PASS(values_2), PASS_KEY_VECS(2) * VL },
    { PASS(scores_3), PASS(values_3), PASS_KEY_VECS(3) * VL },
    { PASS(scores_4), PASS(values_4), PASS_KEY_VECS(4) * VL },
};

#undef PASS_COUNT
#undef PASS
#undef PASS_PER
#undef PASS_VAL
#undef PASS_LOAD
#undef PASS_NUM
#undef PASS_Q
#undef PASS_W
#undef PASS_SET
#undef PASS_SUM
#undef PASS_ZERO
#undef PASS_MAC
#undef PASS_OLD
#undef PASS_SCORE
#undef PASS_OUT
#undef PASS_RUN
#undef PASS_KEY_VECS
