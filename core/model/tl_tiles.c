/* tl_tiles.c - a table of the published tiles, and tiles given by hand. */
#include "core/model/tl_tiles.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"

/* Published for the shapes of bitnet_b1_58-large and -3B and of Llama 3 8B, and
 * for no others. `ini`: what the presets in the source tree say where it is not
 * what setup_env.py generates, which it does before every conversion. */
struct shape {
    uint32_t rows, cols;
    struct wsrc_tiles setup_env, ini;
};

static const struct shape tl1_shape[] = {
    { 1536, 4096, { 256, 128, 32 }, { 0 } },
    { 1536, 1536, { 128, 64, 64 }, { 0 } },
    { 4096, 1536, { 256, 128, 32 }, { 0 } },
    { 3200, 8640, { 160, 64, 32 }, { 0 } },
    { 3200, 3200, { 320, 128, 64 }, { 0 } },
    { 8640, 3200, { 320, 64, 32 }, { 0 } },
    { 14336, 4096, { 256, 128, 32 }, { 256, 128, 64 } },
    { 4096, 14336, { 128, 64, 64 }, { 256, 128, 32 } },
    { 1024, 4096, { 256, 128, 32 }, { 128, 64, 64 } },
    { 4096, 4096, { 128, 64, 64 }, { 128, 64, 32 } },
};

static const struct shape tl2_shape[] = {
    { 1536, 4096, { 256, 96, 32 }, { 0 } },  { 1536, 1536, { 128, 192, 32 }, { 0 } },
    { 4096, 1536, { 256, 96, 32 }, { 0 } },  { 3200, 8640, { 160, 96, 32 }, { 0 } },
    { 3200, 3200, { 320, 96, 32 }, { 0 } },  { 8640, 3200, { 320, 96, 32 }, { 0 } },
    { 14336, 4096, { 256, 96, 32 }, { 0 } }, { 4096, 14336, { 128, 96, 32 }, { 0 } },
    { 1024, 4096, { 256, 96, 32 }, { 0 } },  { 4096, 4096, { 128, 96, 32 }, { 0 } },
};

enum { N_SHAPE = sizeof tl1_shape / sizeof *tl1_shape };
_Static_assert(sizeof tl2_shape == sizeof tl1_shape, "the same shapes");

static const char *const name[] = { [TL1] = "TL1", [TL2] = "TL2" };

static int fail_shape(enum tl_kind kind, uint32_t rows, uint32_t cols, struct err *e)
{
    struct buf b = { 0 };
    for (size_t i = 0; i < N_SHAPE; i++)
        buf_addf(&b, "%s%ux%u", i ? ", " : "", tl1_shape[i].rows, tl1_shape[i].cols);
    int rc = err_set(e, ERR_UNSUPPORTED, "%ux%u in %s: its tiles are not known, expected one of %s, "
                     "or model.tl_preset = %ux%u:BM/BY/bm", rows, cols, name[kind],
                     b.p ? b.p : "docs/formats.md", rows, cols);
    buf_free(&b);
    return rc;
}

/* "MxK:BM/BY/bm,...": 1 if one is for this shape, 0 if none is, negative if it
 * cannot be read. */
static int given(struct wsrc_tiles *t, uint32_t rows, uint32_t cols, const char *preset,
                 struct err *e)
{
    for (const char *p = preset;; p++) {
        uint32_t v[5];
        for (unsigned i = 0; i < 5; i++) {
            char *end = NULL;
            const unsigned long n = *p >= '1' && *p <= '9' ? strtoul(p, &end, 10) : 0;
            if (!n || n > INT32_MAX || (i < 4 ? *end != "x:/"[i < 2 ? i : 2] : *end && *end != ','))
                return err_set(e, ERR_ARG, "model.tl_preset: \"%.100s\", expected auto, setup_env, "
                               "ini, or MxK:BM/BY/bm with commas between", preset);
            v[i] = (uint32_t)n;
            p = end + (i < 4);
        }
        if (v[0] == rows && v[1] == cols) {
            *t = (struct wsrc_tiles){ v[2], v[3], v[4] };
            return 1;
        }
        if (!*p)
            return 0;
    }
}

static bool is_word(const char *preset)
{
    return !preset || !strcmp(preset, "auto") || !strcmp(preset, "setup_env") ||
           !strcmp(preset, "ini");
}

int tl_tiles_check(const char *preset, struct err *e)
{
    struct wsrc_tiles t;
    return is_word(preset) ? 0 : given(&t, 0, 0, preset, e);     /* no shape is 0x0 */
}

static int find(struct wsrc_tiles *t, bool *guessed, enum tl_kind kind, uint32_t rows,
                uint32_t cols, const char *preset, struct err *e)
{
    const bool ini = !strcmp(preset, "ini"), is_auto = !strcmp(preset, "auto");
    const struct shape *s = kind == TL1 ? tl1_shape : tl2_shape;
    *guessed = false;
    if (!is_word(preset)) {
        const int rc = given(t, rows, cols, preset, e);
        if (rc)
            return rc < 0 ? rc : 0;
    }
    for (size_t i = 0; i < N_SHAPE; i++)
        if (s[i].rows == rows && s[i].cols == cols) {
            *t = ini && s[i].ini.rows ? s[i].ini : s[i].setup_env;
            *guessed = is_auto && s[i].ini.rows;
            return 0;
        }
    return fail_shape(kind, rows, cols, e);
}

/* Tiles given by hand may not fit what they are for. */
static const char *misfit(const struct wsrc_tiles *t, enum tl_kind kind, uint32_t rows,
                          uint32_t cols)
{
    uint64_t size;
    if (kind == TL1)
        return (t->step != 32 && t->step != 64) || rows % t->rows || t->rows % t->step ||
               cols % t->cols || t->cols % (256 / t->step)
            ? "BM/BY/bm: BM divides the rows, BY the columns, bm is 32 or 64 and divides BM, "
              "256 / bm divides BY" : NULL;
    return t->step != 32 || rows % t->rows || t->rows % 32 || t->cols % 24 ||
           cols % t->cols % 32 || !tl2_size(rows, cols, &size) || cols % t->cols > 256
        ? "BM/BY/32: BM is a multiple of 32 and divides the rows, BY a multiple of 24 that leaves "
          "at most 256 columns, a multiple of 32" : NULL;
}

int tl_tiles_find(struct wsrc_tiles *t, bool *guessed, enum tl_kind kind, uint32_t rows,
                  uint32_t cols, const char *preset, struct err *e)
{
    int rc = find(t, guessed, kind, rows, cols, preset ? preset : "auto", e);
    const char *want = rc ? NULL : misfit(t, kind, rows, cols);
    if (want)
        rc = err_set(e, ERR_ARG, "%ux%u with tiles %u/%u/%u, expected %s", rows, cols, t->rows,
                     t->cols, t->step, want);
    return rc;
}

/* What the encoder reserves before the scale, rounded up. It always
 * counts 256 columns as pairs, more than there are. */
static bool tl2_payload(uint64_t rows, uint64_t cols, uint64_t *size)
{
    uint64_t threes, all;
    if (cols < 256 || rows % 32 || cols % 32 ||
        __builtin_mul_overflow((cols - 256) * rows / 3, (uint64_t)5, &threes) ||
        __builtin_add_overflow(threes / 8, 256 * rows / 2 * 4 / 8, &all) || all > UINT64_MAX - 64)
        return false;
    *size = (all + 31) / 32 * 32;
    return true;
}

bool tl2_size(uint64_t rows, uint64_t cols, uint64_t *size)
{
    if (!tl2_payload(rows, cols, size))
        return false;
    *size += 32;
    return true;
}
