/* old_plugin.c - old_plugin PLUGIN.so: the plugin that was built with ABI 1.0
 * still opens, answers and adds. */
#include <stdio.h>
#include <string.h>

#include "tools/verify/gen.h"
#include "tools/verify/sut.h"

static int fail(const char *what)
{
    printf("plugin built with ABI 1.0: %s\n", what);
    return 1;
}

static int adds(struct sut *s)
{
    enum { ROWS = 3, COLS = 37 };
    const bnp_rows x = rows_new(ROWS, COLS), y = rows_new(ROWS, COLS);
    float want[ROWS][COLS];
    for (uint32_t t = 0; t < ROWS; t++) {
        gen_fill(FILL_MIXED, t, 8, row_of(&x, t), COLS);
        gen_fill(FILL_RANDOM, t + 9, 8, row_of(&y, t), COLS);
        for (uint32_t i = 0; i < COLS; i++)
            want[t][i] = row_of(&x, t)[i] + row_of(&y, t)[i];
    }
    int rc = sut_step(s, ROWS, 0, 1, 1) || s->p->point->add(s->stream, &x, &y) || sut_step_end(s);
    for (uint32_t t = 0; t < ROWS; t++)
        rc |= memcmp(want[t], row_of(&y, t), sizeof want[t]);
    span_free(x.mem);
    span_free(y.mem);
    return rc;
}

int main(int argc, char **argv)
{
    static struct sut s;
    if (argc != 2 || !sut_open(&s, argv[1], NULL))
        return fail("does not open");
    bnp_device_info info = { .struct_size = sizeof info };
    if (s.p->device_info(s.dev, &info) || strcmp(info.name, "built with 1.0"))
        return fail("does not know its device");
    bnp_offer offer = { .struct_size = sizeof offer };
    bnp_point_desc d = { .struct_size = sizeof d, .ops = BNP_POINT_ADD, .cols = 37, .max_tok = 3 };
    if (s.p->point->query(s.dev, &d, &offer) || offer.det != BNP_DET_EXACT)
        return fail("does not offer add");
    d.ops |= BNP_POINT_ROPE;
    if (s.p->point->query(s.dev, &d, &offer) != BNP_E_UNSUPPORTED)
        return fail("offers rope");
    if (adds(&s))
        return fail("adds wrong");
    return sut_close(&s) ? 0 : fail("kept memory");
}
