#!/bin/sh
# can_fail.sh - shows that a check finds what it is there to find.
#
#   can_fail.sh CHECK CC
#
# Builds small trees that break one rule each and wants the check to refuse
# them, naming the rule; then a tree that breaks none, which it must accept.
set -u
check=$1
cc=$2
here=$(cd "$(dirname "$0")" && pwd)
top=$(mktemp -d) || exit 2
trap 'rm -rf "$top"' EXIT
failures=0
n=0

fresh()                         # an empty project in $src, a build in $build
{
    rm -rf "$top/src" "$top/build"
    src=$top/src
    build=$src/build
    mkdir -p "$src/core/base" "$src/core/model" "$src/core/plug" "$src/core/engine" \
        "$src/core/serve" "$src/plugins/x" "$src/plugins/scalar-ref" "$src/tools" \
        "$src/include" "$src/tests" "$build/lib/bitnet/plugins" "$build/core"
    printf '/* a.c - good. */\n#include "core/base/a.h"\nint a_one(void) { return 1; }\n' > "$src/core/base/a.c"
    printf '/* a.h - good. */\n' > "$src/core/base/a.h"
    printf '#include <stdint.h>\n' > "$src/include/bitnet_plugin.h"
    sed -i '1i /* bitnet_plugin.h - good. */' "$src/include/bitnet_plugin.h"
}

run() { sh "$here/$check.sh" "$src" "$build" > "$top/out" 2>&1; }

refused()                       # refused RULE TEXT-IN-THE-FINDING
{
    n=$((n + 1))
    if run; then
        echo "$check: accepted: $1"; failures=$((failures + 1))
    elif ! grep -q -e "$2" "$top/out"; then
        echo "$check: $1: refused for another reason:"; cat "$top/out"; failures=$((failures + 1))
    fi
}

accepted()
{
    n=$((n + 1))
    if ! run; then
        echo "$check: refused: $1"; cat "$top/out"; failures=$((failures + 1))
    fi
}

put() { printf "/* %s - sample. */\n$2\n" "${1##*/}" > "$src/$1"; }

good='const int bnp_plugin_v1 = 1;'
plugin()                        # plugin SOURCE [LINK OPTION...]
{
    fresh
    echo "$1" > "$top/p.c"
    shift
    "$cc" -shared -fPIC -fvisibility=hidden -nostartfiles -Wl,-z,now -o \
        "$build/lib/bitnet/plugins/p.so" "$top/p.c" "$@" 2> "$top/cc" || { cat "$top/cc"; exit 2; }
}
shown='__attribute__((visibility("default")))'

compiled()                      # compiled FILE FLAGS
{
    fresh
    printf '[\n{\n  "directory": "/b",\n  "command": "/usr/bin/cc %s -o a.o -c %s",\n  "file": "%s"\n}\n]\n' \
        "$2" "$src/$1" "$src/$1" > "$build/compile_commands.json"
}
base='-Wall -Wextra -Wshadow -Wconversion -std=c11'

case $check in
floors)
    fresh; accepted "nothing wrong"
    for pair in base:model base:plug model:plug plug:model model:engine engine:serve plug:engine serve:daemon; do
        fresh; put "core/${pair%:*}/b.c" "#include \"core/${pair#*:}/b.h\""
        refused "$pair" "must not see"
    done
    fresh; put core/engine/b.c '#include "tools/t.h"'; refused "engine sees tools" "must not see"
    fresh; put core/base/b.c '#include "a.h"'; refused "a bare name" "from the top"
    fresh; put core/base/b.c '#include "../base/a.h"'; refused "a relative path" "from the top"
    fresh; put plugins/x/b.c '#include "core/base/a.h"'; refused "plugin sees core" "a plugin includes"
    fresh; put plugins/x/b.c '#include "plugins/scalar-ref/b.h"'; refused "plugin sees plugin" "a plugin includes"
    fresh; put plugins/x/b.c '#  include <core/base/a.h>'; refused "angle brackets" "a plugin includes"
    fresh; put plugins/x/b.c '#include "bitnet_plugin.h"\n#include "plugins/kit/k.h"\n#include "own.h"'
    accepted "what a plugin may include"
    fresh; echo '#include <stdio.h>' >> "$src/include/bitnet_plugin.h"; refused "header and stdio" "stddef and stdint"
    ;;
constructors)
    plugin "$shown $good"; accepted "nothing wrong"
    plugin "$shown $good __attribute__((constructor)) static void c(void) {}"; refused "constructor" "init_array"
    plugin "$shown $good __attribute__((destructor)) static void c(void) {}"; refused "destructor" "fini_array"
    plugin "$shown $good void _init(void) {}"; refused "_init" "(INIT)"
    plugin "$shown $good static int f(void) { return 1; } static void *r(void) { return (void *)f; }
        int g(void) __attribute__((ifunc(\"r\"))); int h(void) { return g(); }"
    refused "indirect function" "indirect"
    fresh; refused "no plugin" "nothing was checked"
    ;;
exports)
    plugin "$shown $good"; accepted "nothing wrong"
    plugin "$shown $good $shown int other;"; refused "second export" "exports other"
    plugin "$good"; refused "no export" "not an exported data symbol"
    plugin "$shown int bnp_plugin_v1(void) { return 1; }"; refused "a function" "not an exported data symbol"
    for call in abort exit printf puts signal pthread_create dlopen __assert_fail fork setlocale; do
        plugin "$shown $good void $call(void); void f(void) { $call(); }" -fno-builtin
        refused "calls $call" "calls $call, which"
    done
    for call in expf fmaf powl sqrt ldexp rintf; do
        plugin "$shown $good void $call(void); void f(void) { $call(); }" -fno-builtin
        refused "calls $call" "calls $call of libm"
    done
    plugin "$shown $good" -Wl,--no-as-needed -lm; refused "needs libm" "needs .*libm"
    plugin "$shown $good" -Wl,-rpath,/opt; refused "run path" "run path"
    plugin "$shown $good" -Wl,-z,lazy; refused "lazy binding" "lazily"
    plugin "$shown $good" -Wl,-z,execstack; refused "executable stack" "executable stack"
    ;;
flags)
    compiled core/base/a.c "$base -O2 -ffp-contract=off"; accepted "nothing wrong"
    for flag in -ffast-math -Ofast -march=native -funsafe-math-optimizations -ffp-model=fast -mrecip; do
        compiled core/base/a.c "$base -ffp-contract=off $flag"; refused "$flag" "$flag changes"
    done
    compiled core/base/a.c "$base -O2"; refused "contraction" "without -ffp-contract=off"
    compiled core/base/a.c "$base -ffp-contract=off -ffp-contract=fast"; refused "contraction back on" "without -ffp"
    compiled core/base/a.c "-Wall -Wextra -std=c11 -ffp-contract=off"; refused "warnings" "without -Wshadow"
    compiled core/base/a.c "$base -ffp-contract=off -mavx2"; refused "core and avx2" "every machine"
    compiled plugins/x/plugin.c "$base -ffp-contract=off -mavx2"; refused "entry file" "every machine"
    compiled plugins/x/mul.c "$base -ffp-contract=off -mavx2 -O3"; accepted "a kernel file"
    compiled plugins/scalar-ref/mul.c "$base -ffp-contract=off -O3"; refused "scalar-ref -O3" "is built with -O2"
    compiled plugins/scalar-ref/mul.c "$base -ffp-contract=off -O2 -mfma"; refused "scalar-ref -mfma" "every machine"
    compiled plugins/scalar-ref/mul.c "$base -ffp-contract=off -O3 -O2"; accepted "the last -O counts"
    compiled core/base/a.c "$base -ffp-contract=off"; put core/base/b.c '#pragma GCC optimize "fast-math"'
    refused "a pragma" "inside a file"
    fresh; refused "no compile commands" "nothing was checked"
    ;;
files)
    fresh; accepted "nothing wrong"
    fresh; awk 'BEGIN { for (i = 0; i < 600; i++) print "int x;" }' >> "$src/core/base/a.c"
    refused "a long file" "more than 600"
    sed -i '1s/.*/\/* a.c - a table of numbers. *\//' "$src/core/base/a.c"; accepted "a long table"
    for word in TODO FIXME XXX; do
        fresh; put core/base/b.c "/* $word later */"; refused "$word" "unfinished"
    done
    fresh; put core/base/b.c 'char t[] = "/tmp/aXXXXXX";'; accepted "a mkstemp template"
    fresh; put core/base/b.c '/* a placeholder */'; refused "placeholder" "unfinished"
    fresh; put core/base/b.c '\tint x;'; refused "a tab" "a tab"
    fresh; put core/base/b.c 'int x; '; refused "white space" "white space"
    fresh; put core/base/b.c 'int x;\r'; refused "carriage return" "white space"
    fresh; printf 'int x;\n' > "$src/core/base/b.h"; refused "no comment" "opens without"
    fresh; printf '/* b.c - x. */' > "$src/core/base/b.c"; refused "no newline" "no newline"
    ;;
words)
    fresh; accepted "nothing wrong"
    for path in /home/someone/x /root/x /Users/Someone/x; do
        fresh; put core/base/b.c "/* see $path */"; refused "$path" "private path"
    done
    fresh; put core/base/b.c '/* chroot/x */'; accepted "a word that ends in root"
    fresh; put core/base/b.c '/* see issue 7 */'; refused "an issue" "outside the tree"
    ;;
names)
    fresh
    room() { put core/base/a_more.c "$1"; (cd "$build/core" && "$cc" -c -o a_more.c.o "$src/core/base/a_more.c" &&
        rm -f libbitnet_base.a && ar rc libbitnet_base.a a_more.c.o) || exit 2; }
    room 'int a_one(void) { return 1; } static int two(void) { return 2; } int a(void) { return two(); }'
    accepted "nothing wrong"
    room 'int b_one(void) { return 1; }'; refused "another prefix" "names neither"
    room 'int ab(void) { return 1; }'; refused "half a prefix" "names neither"
    fresh; refused "no room" "nothing was checked"
    ;;
manual)
    both() { fresh; mkdir -p "$src/conf" "$src/packaging/man"; printf "$1" > "$src/conf/bitnet.ini"
        printf "$2" > "$src/packaging/man/bitnet.ini.5"; }
    man='.Ss [a]\n.It Cm k = Ar 1\nText.\n.It Cm l =\nText.\n'
    both '[a]\n# t\nk = 1\nl =\n' "$man"; accepted "nothing wrong"
    both '[a]\nk = 2\nl =\n' "$man"; refused "another default" "not in bitnet.ini(5): .a. k 2"
    both '[b]\nk = 1\nl =\n' "$man"; refused "another section" "not in bitnet.ini(5): .b. k"
    both '[a]\nk = 1\n' "$man"; refused "a key too many" "not in conf/bitnet.ini: .a. l"
    both '' "$man"; refused "no keys" "nothing was checked"
    ;;
*)
    echo "can_fail.sh: $check: no samples for this check"; exit 1 ;;
esac
echo "$check: $n samples, $failures judged wrongly"
[ "$failures" -eq 0 ] && [ "$n" -gt 0 ]
