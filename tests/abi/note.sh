#!/bin/sh
# note.sh SOURCE - BNP_NOTE gives one section .note.bitnet, in a PT_NOTE segment,
# with exactly the bytes that the header promises, whatever compiler and linker
# made the plugin, and with sections nobody refers to thrown away.
set -eu
src=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

pad() {                         # pad TEXT SIZE: the text and NULs up to SIZE bytes
    printf '%s' "$1"
    head -c $(($2 - ${#1})) /dev/zero
}
{
    printf '\007\0\0\0\170\0\0\0\001\0\0\0bitnet\0\0'   # 7, 120, type 1, name
    printf '\001\0\004\0\0\0\0\0'                       # ABI 1.4, oldest host 0, reserved
    printf '\002\0\0\0\005\0\0\0'                       # GPU, linear and pointwise
    printf '\001\0\0\0\0\001\0\0'                       # bits 0 and 40
    pad org.bitnetd.test.note 64
    pad 7.1-x 32
} > "$tmp/want"
n=0

try() {                         # try COMPILER LANGUAGE LINKER FLAGS...
    cc=$1 lang=$2 ld=$3
    shift 3
    command -v "$cc" > /dev/null && command -v "ld.$ld" > /dev/null || return 0
    so=$tmp/plugin.so
    "$cc" -x "$lang" -I"$src/include" -O2 -fPIC -fvisibility=hidden -ffunction-sections \
        -fdata-sections "$@" -shared -fuse-ld="$ld" -Wl,--gc-sections \
        "$src/tests/abi/use_header.c" -o "$so" 2> "$tmp/err" || { cat "$tmp/err"; exit 1; }
    objcopy -O binary --only-section=.note.bitnet "$so" "$tmp/got"
    cmp "$tmp/want" "$tmp/got" || { echo "$cc $lang $ld $*: other bytes"; exit 1; }
    readelf -SW "$so" | grep -Eq '\.note\.bitnet +NOTE .* A +0 +0 +4$' ||
        { echo "$cc $lang $ld $*: not an allocated note on 4 bytes"; exit 1; }
    readelf -lW "$so" | awk '/^ *Segment Sections/ { map = 1 }
        !map && $1 ~ /^[A-Z_]+$/ && $2 ~ /^0x/ { type[i++] = $1 }
        map && $1 ~ /^[0-9]+$/ && / \.note\.bitnet/ && type[$1 + 0] == "NOTE" { found = 1 }
        END { exit !found }' || { echo "$cc $lang $ld $*: no PT_NOTE segment holds it"; exit 1; }
    # gold also exports the ends of its sections
    [ "$(nm -D --defined-only "$so" | awk '$3 !~ /^_(_bss_start|edata|end)$/ { print $3 }')" = \
        bnp_plugin_v1 ] ||
        { echo "$cc $lang $ld $*: bnp_plugin_v1 is not the one exported symbol"; exit 1; }
    n=$((n + 1))
}

for ld in bfd gold lld; do
    try gcc c $ld -std=c99
    try clang c $ld -std=c11
    try g++ c++ $ld -std=c++11
    try clang++ c++ $ld -std=c++11
done
try gcc c bfd -std=c11 -flto
try clang c lld -std=c11 -flto
try gcc c bfd -std=c11 -s

echo "$n ways to build, the same note"
[ "$n" -ge 3 ]
