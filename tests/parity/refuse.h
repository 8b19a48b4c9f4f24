/* refuse.h - what the two halves of the refusal tests share. */
#ifndef PARITY_REFUSE_H
#define PARITY_REFUSE_H

#include <check.h>
#include <string.h>

#include "tools/verify/gen.h"
#include "tools/verify/sut.h"

/* Made anew for each test: scalar-ref, and a small ternary weight. */
extern struct sut s;
extern bnp_weight_desc desc;
extern struct gen_weight gw;

/* The status, and one report with a sentence for every error but a plain no. */
#define EXPECT(status, call)                                                     \
    do {                                                                         \
        const unsigned before_ = s.n_report;                                     \
        const int want_ = (status), rc_ = (call);                                \
        ck_assert_msg(rc_ == want_, "%s gave %d, expected %d (%s)", #call, rc_, want_, s.why); \
        ck_assert_uint_eq(s.n_report - before_, want_ != BNP_OK && want_ != BNP_E_UNSUPPORTED); \
        ck_assert(s.n_report == before_ || (s.why_status == want_ && strlen(s.why) > 10)); \
    } while (0)

void refuse_weights(TCase *);           /* refuse_weights.c adds its tests */

#endif
