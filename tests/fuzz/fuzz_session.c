/* fuzz_session.c - any bytes as a saved session.
 *
 * The first byte is ours: when odd, the digest at the end is made right, so that
 * what lies behind that check is reached too. What is accepted has ids of the
 * vocabulary, and the file's own. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine/session.h"
#include "tests/fuzz/fuzz.h"

#define HEADER 40u                /* as session.h has the file                 */
#define SUM    32u

enum { N_VOCAB = 1000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const uint8_t model[SESSION_MODEL] = "0123456789abcdef";
    struct session s;
    struct err e = { 0 };
    size_t size;
    uint8_t *file = fuzz_rest(data, n, &size);
    if (!file)
        return 0;
    if (n && (data[0] & 1) && size >= SUM)
        crypto_generichash(file + size - SUM, SUM, file, size - SUM, NULL, 0);
    const int rc = session_parse(&s, file, size, model, N_VOCAB, &e);
    if (rc) {
        require(rc == ERR_DATA && e.code == rc && e.text[0] && !strchr(e.text, '\n'));
        require(!s.id && !s.n);
    } else {
        require(s.n && size == HEADER + s.n * sizeof *s.id + SUM);
        require(!memcmp(s.id, file + HEADER, s.n * sizeof *s.id));
        for (uint32_t i = 0; i < s.n; i++)
            require(s.id[i] >= 0 && s.id[i] < N_VOCAB);
        session_free(&s);
    }
    free(file);
    return 0;
}
