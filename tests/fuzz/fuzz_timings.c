/* fuzz_timings.c - any bytes as a file of measurements.
 *
 * The first byte is ours: when odd, the digest at the end is made right, so that
 * what lies behind that check is reached too. What is refused leaves nothing
 * behind; what is accepted holds only times that can be. */
#include <math.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/plug/timings.h"
#include "tests/fuzz/fuzz.h"

#define HEADER 16u                /* as timings.c has the file                 */
#define ENTRY  64u
#define SUM    32u

static void check_value(const struct timings_value *v)
{
    for (unsigned i = 0; i < TIMINGS_N; i++)
        require(isfinite(v->us[i]) && v->us[i] >= 0);
    require(v->cold <= 1 && v->chosen <= 1 && v->guessed < 1u << TIMINGS_N);
    require(v->unsure < 1u << TIMINGS_N && v->doubt >= 0 && v->doubt <= 1);
}

/* Of equal keys one entry is found, whichever; no more than the file has. */
static void read_back(struct timings *t, const uint8_t *file, size_t n)
{
    uint8_t other[TIMINGS_KEY];
    struct timings_value v, mine = { .us = { 1, 2, 3, 4 } };
    const size_t n_entry = (n - HEADER - SUM) / ENTRY;
    require(n == HEADER + n_entry * ENTRY + SUM && n_entry <= TIMINGS_MAX);
    for (size_t i = 0; i < n_entry; i++) {
        require(timings_find(t, file + HEADER + i * ENTRY, &v));
        check_value(&v);
    }
    memset(other, 0xa5, sizeof other);
    timings_put(t, other, &mine);
    require(timings_find(t, other, &v) && v.us[3] == 4.0f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct timings *t = NULL;
    struct timings_value v;
    struct err e = { 0 };
    size_t size;
    uint8_t *file = fuzz_rest(data, n, &size);
    if (!file || timings_open(&t, NULL, &e)) {
        free(file);
        return 0;
    }
    if (n && (data[0] & 1) && size >= SUM)
        crypto_generichash(file + size - SUM, SUM, file, size - SUM, NULL, 0);
    const int rc = timings_parse(t, file, size, &e);
    if (rc) {
        require(rc == ERR_DATA && e.code == rc && e.text[0] && !strchr(e.text, '\n'));
        require(size < HEADER + TIMINGS_KEY || !timings_find(t, file + HEADER, &v));
    } else {
        read_back(t, file, size);
    }
    timings_close(t);
    free(file);
    return 0;
}
