/* cases.h - which shapes, variants and fills are tried.
 *
 * Kernels break at the edges of their vectors, panels and accumulators, so the
 * widths lie around every multiple that one might use, and every width meets
 * every fill. full adds the shapes of published models. */
#ifndef VERIFY_CASES_H
#define VERIFY_CASES_H

#include <stdbool.h>

#include "tools/verify/ops.h"

/* Return false from a callback to stop; the walk then returns false too. */
typedef bool linear_case_fn(void *arg, const struct linear_case *);
typedef bool attn_case_fn(void *arg, const struct attn_case *);
typedef bool point_case_fn(void *arg, const struct point_case *);

bool cases_linear(bool full, linear_case_fn *, void *arg);
bool cases_attn(bool full, attn_case_fn *, void *arg);
bool cases_point(bool full, point_case_fn *, void *arg);

/* One line that names the case. */
void linear_case_print(const struct linear_case *, char *out, size_t n);
void attn_case_print(const struct attn_case *, char *out, size_t n);
void point_case_print(const struct point_case *, char *out, size_t n);

#endif
