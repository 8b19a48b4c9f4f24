/* bitnet_bar.c - see bitnet_bar.h. */
#include "tools/bitnet_bar.h"

#include <stdio.h>
#include <unistd.h>

#include "core/base/clock.h"

void bar_open(struct bar *b, const char *what)
{
    *b = (struct bar){ .what = what, .terminal = isatty(STDERR_FILENO), .start_ms = clock_ms() };
}

void bar_draw(struct bar *b, uint64_t done, uint64_t all, const char *more)
{
    static const char full[] = "##############################";
    const uint64_t now = clock_ms();
    if (!b->terminal || !all || now - b->start_ms < 300 || now - b->drawn_ms < 50)
        return;
    b->drawn_ms = now;
    const double share = (double)done / (double)all;
    fprintf(stderr, "\r%s [%-30.*s] %3d%%%s%s\033[K", b->what, (int)(share * 30), full,
            (int)(share * 100), more ? "  " : "", more ? more : "");
}

void bar_clear(struct bar *b)
{
    if (b->drawn_ms)
        fprintf(stderr, "\r\033[K");
    b->drawn_ms = 0;
}
