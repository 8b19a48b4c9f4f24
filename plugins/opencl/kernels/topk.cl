/* topk.cl - the k largest of a row of logits.
 *
 * A logit and its row make one number of 64 bits that orders as the contract
 * does: larger logits first, then smaller rows; no two are equal. The k-th
 * largest such number is found eight bits at a time, by counting; whatever is
 * not below it is collected, and its place among the k is the count of those
 * above it. One group does one token. */
#define TOPK_ITEMS 256

ulong order(float v, uint id)
{
    const uint u = as_uint(v) == 0x80000000u ? 0 : as_uint(v);      /* -0 is +0 */
    const uint up = u & 0x80000000u ? ~u : u | 0x80000000u;
    return (ulong)up << 32 | (0xffffffffu - id);
}

/* The k-th largest number of the row; hist[256] and found[3] are the group's. */
ulong kth_largest(__global const float *logit, uint n, uint k, __local uint *hist,
                  __local uint *found)
{
    const uint l = get_local_id(0);
    ulong prefix = 0;
    for (int shift = 56; shift >= 0; shift -= 8) {
        hist[l] = 0;
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint i = l; i < n; i += TOPK_ITEMS) {
            const ulong key = order(logit[i], i);
            if (shift == 56 || (key ^ prefix) >> (shift + 8) == 0)
                atomic_inc(&hist[key >> shift & 255]);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        if (!l) {
            uint bucket = 255, left = k;
            while (bucket && hist[bucket] < left)
                left -= hist[bucket--];
            found[0] = bucket;
            found[1] = left;
            found[2] = hist[bucket] == left;    /* all of it is among the k */
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        prefix |= (ulong)found[0] << shift;
        k = found[1];
        const bool done = found[2];
        barrier(CLK_LOCAL_MEM_FENCE);
        if (done)
            break;
    }
    return prefix;
}

__kernel __attribute__((reqd_work_group_size(TOPK_ITEMS, 1, 1)))
void topk(SPAN(logit), const ulong logit_stride, SPAN(best), const ulong best_stride, const uint n,
          const uint k, SPAN(id), SPAN(top), SPAN(exact), const uint want_exact)
{
    __local uint hist[TOPK_ITEMS], found[3], n_best, sick;
    const uint l = get_local_id(0), t = get_group_id(1);
    __global const float *logit = ROW(const float, logit, t);
    __global ulong *best = ROW(ulong, best, t);
    __global int *id = AT(int, id) + (ulong)t * k;
    __global float *top = AT(float, top) + (ulong)t * k;
    if (!l) {
        n_best = sick = 0;
        if (want_exact)
            AT(uint, exact)[t] = n;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint i = l; i < n; i += TOPK_ITEMS) {
        if (isnan(logit[i]))
            sick = 1;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    const ulong least = kth_largest(logit, n, k, hist, found);
    for (uint i = l; i < n; i += TOPK_ITEMS) {
        const ulong key = order(logit[i], i);
        if (key >= least && !sick)
            best[atomic_inc(&n_best)] = key;
    }
    barrier(CLK_GLOBAL_MEM_FENCE | CLK_LOCAL_MEM_FENCE);
    for (uint i = l; i < k; i += TOPK_ITEMS) {
        if (sick) {
            id[i] = (int)i;
            top[i] = as_float(0x7fc00000u);
            continue;
        }
        const ulong mine = best[i];
        uint place = 0;
        for (uint j = 0; j < k; j++)
            place += best[j] > mine;
        const uint row = 0xffffffffu - (uint)mine;
        id[place] = (int)row;
        top[place] = logit[row];
    }
}
