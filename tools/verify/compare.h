/* compare.h - where two results differ first. */
#ifndef VERIFY_COMPARE_H
#define VERIFY_COMPARE_H

#include <stddef.h>

#include "tools/verify/ops.h"

struct difference {
    const char *op;
    bool missing;               /* the candidate has no such result          */
    size_t row, col;
    uint32_t want, got;         /* bits                                      */
    bool unwritten;             /* got was never written                     */
};

/* The first difference of plane i of want; false when there is none. got's
 * offer decides: the same bits when it is EXACT (which NaN does not matter),
 * else its bound. topk and glu gelu are what a plugin may leave out, and near ties
 * may be ranked differently by one that is not exact. */
bool compare_plane(const struct result *want, const struct result *got, unsigned i,
                   struct difference *);
/* "mul: row 3 column 17: 3f800001 (1.00000012), reference 3f800000 (1)" */
void compare_print(const struct difference *, char *out, size_t n);

#endif
