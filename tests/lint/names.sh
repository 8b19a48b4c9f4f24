#!/bin/sh
# names.sh - a shared name starts with the file it lives in.
#
# What a room's object file shows the linker begins with a word of the file's
# name (heap_push in vocab_heap.c, sampler_open in sample.c), with the name of a
# header of the same room (vocab_piece of vocab.h) or of a struct in one
# (request_open in engine.h), or, for the decoders of one file encoding, with
# the encoding (tq2_row in ternary.c).
. "$(dirname "$0")/lint.sh"
lint_skip_instrumented

encodings='i2s tq1 tq2 tl1 tl2 iq1 iq2 iq4 q1 q2 q3 q4 q5 q6 q8 float int8'

rooms=$(find "$build/core" -name 'libbitnet_*.a' 2>/dev/null | LC_ALL=C sort)
if [ -z "$rooms" ]; then
    echo "$build/core: no room was built, so nothing was checked" >&2
    exit 1
fi
for lib in $rooms; do
    room=${lib##*/libbitnet_}
    room=${room%.a}
    headers=$(find "core/$room" -name '*.h' 2>/dev/null | sed 's|.*/||; s|\.h$||' | tr '\n' ' ')
    structs=$(sed -n 's/^struct \([a-z0-9_]*\) {.*/\1/p' "core/$room"/*.h 2>/dev/null | tr '\n' ' ')
    nm -g --defined-only "$lib" | awk -v allowed="$headers $structs $encodings" -v room="$room" '
        BEGIN { n_allowed = split(allowed, ok, " ") }
        /^[^ ]*\.o:$/ {
            file = $0; sub(/\.o:$/, "", file)
            stem = file; sub(/\.c$/, "", stem); n_word = split(stem, word, "_")
        }
        function starts(name, prefix) {
            return name == prefix || index(name, prefix "_") == 1 || index(name, prefix "r_") == 1
        }
        NF == 3 {
            good = 0
            for (i = 1; i <= n_word; i++) good += starts($3, word[i])
            for (i = 1; i <= n_allowed; i++) good += starts($3, ok[i])
            if (!good) print room "/" file ": " $3 ": the prefix names neither its file nor a header"
        }'
done | lint_verdict
