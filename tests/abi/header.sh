#!/bin/sh
# header.sh SOURCE - the header compiles alone, without a warning and without
# hidden padding, as C99, C11, C17 and C++11, with every compiler found here.
# A compiler that is not installed is named and passed over; gcc must be there.
set -eu
src=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
printf '#include "bitnet_plugin.h"\n' > "$tmp/alone.c"
printf '#include "bitnet_plugin.h"\n#include "bitnet_plugin.h"\n' > "$tmp/twice.c"
n=0

try() {                         # try COMPILER STANDARD LANGUAGE
    command -v "$1" > /dev/null || { echo "$1: not installed, passed over"; return 0; }
    for file in "$tmp/alone.c" "$tmp/twice.c" "$src/tests/abi/use_header.c" "$layout"; do
        [ -n "$file" ] || continue
        "$1" -std="$2" -x "$3" -Wall -Wextra -pedantic -Wpadded -Werror \
            -I"$src/include" -c "$file" -o "$tmp/out.o"
        n=$((n + 1))
    done
}

for cc in gcc clang; do
    for std in c99 c11 c17; do
        layout=$src/tests/abi/layout.c
        [ $std = c99 ] && layout=    # no _Static_assert
        try $cc $std c
    done
done
layout=$src/tests/abi/layout.c
for cxx in g++ clang++; do
    for std in c++11 c++17; do
        try $cxx $std c++
    done
done

# The check itself can fail: a hole in a struct is seen.
printf 'struct hole { char a; int b; }; extern struct hole h;\n' > "$tmp/hole.c"
if gcc -std=c11 -Wpadded -Werror -c "$tmp/hole.c" -o "$tmp/out.o" 2> "$tmp/err"; then
    echo "-Wpadded did not see a hole"
    exit 1
fi
echo "$n compilations"
[ "$n" -ge 9 ]
