/* grammar_prog.h - a grammar as a small machine over bytes.
 *
 * An op is a place in a rule; what may come next is found by following ops
 * from it. Op 0 is the end of every rule, so a call that would return there
 * needs no return: right recursion costs no depth.
 *
 *     OP_END                 return
 *     OP_SPLIT   a b         go on at a, and at b
 *     OP_RANGE   lo hi, a    a byte of lo..hi, then a
 *     OP_SET     b, a        a byte of set b, then a
 *     OP_CALL    b, a        rule b, then a
 */
#ifndef BITNET_ENGINE_GRAMMAR_PROG_H
#define BITNET_ENGINE_GRAMMAR_PROG_H

#include <stdint.h>

#include "core/engine/grammar_tree.h"

enum op_kind { OP_END, OP_SPLIT, OP_RANGE, OP_SET, OP_CALL };

struct op {
    uint8_t kind, lo, hi;
    uint32_t a, b;
};

struct byte_set {
    uint64_t bit[4];
};

struct prog {
    struct op *op;           /* [n_op]                                           */
    uint32_t n_op, cap_op;
    struct byte_set *set;    /* [n_set]                                          */
    uint32_t n_set, cap_set;
    uint32_t *entry;         /* [n_rule] first op; 0 also when nothing uses it   */
    uint8_t class_of[256];   /* bytes that no op tells apart share a class       */
    uint8_t byte_of[256];    /* [n_class] one byte of each                       */
    uint32_t n_class;
};

/* From a tree that passed grammar_check. Zeroed prog; grammar_prog_free always. */
int grammar_emit(struct prog *, const struct tree *, struct err *);
void grammar_prog_free(struct prog *);

static inline int byte_set_has(const struct byte_set *s, unsigned byte)
{
    return (int)(s->bit[byte >> 6] >> (byte & 63) & 1);
}

#endif
