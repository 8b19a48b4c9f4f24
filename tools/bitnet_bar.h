/* bitnet_bar.h - a progress bar on standard error, when that is a terminal.
 *
 * Nothing in the first 300 ms: short work needs no bar. One thread. */
#ifndef BITNET_TOOLS_BAR_H
#define BITNET_TOOLS_BAR_H

#include <stdbool.h>
#include <stdint.h>

struct bar {
    const char *what;             /* "loading"; shorter than 40 bytes          */
    bool terminal;
    uint64_t start_ms, drawn_ms;  /* drawn 0: nothing is on the screen         */
};

void bar_open(struct bar *, const char *what);
/* done of all; more: what stands behind it, or NULL. */
void bar_draw(struct bar *, uint64_t done, uint64_t all, const char *more);
void bar_clear(struct bar *);

#endif
