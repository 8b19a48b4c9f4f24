/* fuzz_note.c - any bytes as a plugin file: refused in one line, or read into
 * a note that keeps what note.h promises. */
#include <stdlib.h>
#include <string.h>

#include "core/plug/note.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct note note;
    struct err e = { 0 };
    const int rc = note_read_mem(&note, data, n, "input", &e);
    if (rc) {
        require(e.code == rc && !strncmp(e.text, "input: ", 7) && !strchr(e.text, '\n'));
        require(!note.raw.id[0] && !note.isa);
        return 0;
    }
    const size_t id = strnlen(note.raw.id, sizeof note.raw.id);
    require(id && id < sizeof note.raw.id);
    require(strspn(note.raw.id, "abcdefghijklmnopqrstuvwxyz0123456789.-") == id);
    require(strnlen(note.raw.version, sizeof note.raw.version) < sizeof note.raw.version);
    require(note.isa == ((uint64_t)note.raw.isa_hi << 32 | note.raw.isa_lo));
    return 0;
}
