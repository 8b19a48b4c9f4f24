/* cpu_screen.c - the int8 screen of a head, made while the head is prepared.
 *
 * Only for f16, bf16 and f32: their screen is half of their bytes or less. An
 * int8 head would need as much again, and reading it whole costs as little as
 * reading its screen, so it has none. */
#include "plugins/kit/cpu.h"

#include <string.h>

#include "plugins/kit/topk.h"

bool screen_wanted(const bnp_device *d, const bnp_weight_desc *w)
{
    const bool is_float = w->format == BNP_FMT_F32 || w->format == BNP_FMT_F16 ||
                          w->format == BNP_FMT_BF16;
    return (w->flags & BNP_W_TOPK) && is_float && w->cols <= SCREEN_COLS &&
           w->rows > SCREEN_ROWS && cpu_float(d)->dense && cpu_float(d)->screen;
}

static uint32_t panels(const bnp_weight_desc *w)
{
    return (w->rows - 1) / SCREEN_ROWS + 1;
}

uint64_t screen_size(const bnp_weight_desc *w)
{
    const uint64_t panel = screen_panel_size(w->cols) + 3 * SCREEN_ROWS * sizeof(float);
    return sizeof(struct cpu_screen) + panels(w) * panel;
}

/* A row as f32, then the int8 rows of a panel; 16 elements to spare in each. */
static uint64_t padded(const bnp_weight_desc *w)
{
    return align_up(w->cols, BNP_ALIGN);
}

uint64_t screen_tmp_size(const bnp_weight_desc *w)
{
    return padded(w) * (sizeof(float) + SCREEN_ROWS);
}

void screen_begin(struct cpu_screen *s, const bnp_weight_desc *w)
{
    *s = (struct cpu_screen){ .rows = w->rows, .cols = w->cols, .n_panel = panels(w) };
}

void screen_fill(bnp_device *d, const bnp_weight_desc *w, struct cpu_screen *s, uint32_t panel,
                 const uint8_t *rows, uint32_t n, uint64_t row_size, uint8_t *tmp)
{
    const uint64_t stride = padded(w);
    float *row = (float *)(void *)tmp;
    int8_t *q = (int8_t *)tmp + stride * sizeof *row;
    float *num = (float *)(uintptr_t)screen_floats(s, 0) + panel * SCREEN_ROWS;
    const size_t all = (size_t)s->n_panel * SCREEN_ROWS;
    memset(tmp, 0, screen_tmp_size(w));
    for (uint32_t r = 0; r < SCREEN_ROWS; r++) {
        struct screen_row k = { 0 };
        if (r < n) {
            cpu_float(d)->dense->row(w->format, rows + r * row_size, NULL, w->cols, w->cols, row);
            k = cpu_float(d)->screen->quantize(row, w->cols, q + r * stride);
        }
        num[r] = k.scale;
        num[all + r] = k.err;
        num[2 * all + r] = k.norm;
    }
    int8_t *to = (int8_t *)(uintptr_t)screen_panel(s, panel);
    for (uint32_t p = 0; p < screen_pairs(w->cols); p++)
        for (uint32_t r = 0; r < SCREEN_ROWS; r++, to += 2)
            memcpy(to, q + r * stride + 2 * (size_t)p, 2);
}

static float largest_norm(const struct cpu_screen *s)
{
    const float *norm = screen_floats(s, 2);
    float most = 0;
    for (uint32_t r = 0; r < s->rows; r++)
        most = norm[r] > most ? norm[r] : most;
    return most;
}

static bool is_usable(float norm_max)
{
    return norm_max < 0x1p100f;
}

void screen_end(struct cpu_screen *s)
{
    s->norm_max = largest_norm(s);
    s->usable = is_usable(s->norm_max);
}

/* -------------------------------------------------------------- kept ones */

enum { PROBES = 16 };           /* panels made again                         */

/* A screen of one panel, and what making it needs. */
static uint64_t one_size(const bnp_weight_desc *w)
{
    return align_up(sizeof(struct cpu_screen) + 3 * SCREEN_ROWS * sizeof(float) +
                    screen_panel_size(w->cols), BNP_ALIGN);
}

uint64_t screen_check_size(const bnp_weight_desc *w)
{
    return one_size(w) + screen_tmp_size(w);
}

static bool panel_right(bnp_device *d, const bnp_weight_desc *w, const struct cpu_screen *s,
                        uint32_t panel, const uint8_t *rows, uint64_t row_size, uint8_t *tmp)
{
    struct cpu_screen *one = (struct cpu_screen *)(void *)tmp;
    const uint32_t first = panel * SCREEN_ROWS, left = w->rows - first;
    *one = (struct cpu_screen){ .rows = SCREEN_ROWS, .cols = w->cols, .n_panel = 1 };
    screen_fill(d, w, one, 0, rows + first * row_size, left < SCREEN_ROWS ? left : SCREEN_ROWS,
                row_size, tmp + one_size(w));
    for (unsigned i = 0; i < 3; i++)
        if (memcmp(screen_floats(one, i), screen_floats(s, i) + first,
                   SCREEN_ROWS * sizeof(float)) != 0)
            return false;
    return !memcmp(screen_panel(one, 0), screen_panel(s, panel), screen_panel_size(w->cols));
}

bool screen_right(bnp_device *d, const bnp_weight_desc *w, const struct cpu_screen *s,
                  const uint8_t *rows, uint64_t row_size, uint8_t *tmp)
{
    const uint32_t n = panels(w), probes = n < PROBES ? n : PROBES;
    if (s->rows != w->rows || s->cols != w->cols || s->n_panel != n ||
        s->norm_max != largest_norm(s) || s->usable != is_usable(s->norm_max))
        return false;
    for (uint32_t i = 0; i < probes; i++)
        if (!panel_right(d, w, s, (uint32_t)((uint64_t)(i + 1) * n / probes) - 1, rows, row_size,
                         tmp))
            return false;
    return true;
}
