#!/bin/sh
# exports.sh - what a plugin shows, and what it must not call.
#
# It exports one data symbol, needs the C library and nothing else, and calls
# nothing that the contract forbids: no libm (its bits differ from machine to
# machine), no process control, no output, no threads, no loader (but for the
# driver of a device that is no CPU).
lists=$(cd "$(dirname "$0")/../.." && pwd)/tools/verify/forbidden.h
. "$(dirname "$0")/lint.sh"
lint_skip_instrumented

# The names of one list of forbidden.h, as a|b|c: bitnet-plugins verify has
# them from there too.
names()
{
    sed -n "/ $1\[\] = {/,/};/p" "$lists" | grep -o '"[^"]*"' | tr -d '"' |
        paste -s -d '|'
}
forbidden=$(names forbidden)
loader=$(names forbidden_loader)
math=$(names forbidden_math)
if [ -z "$forbidden" ] || [ -z "$loader" ] || [ -z "$math" ]; then
    echo "$lists: no lists in it, so nothing was checked" >&2
    exit 1
fi

plugins=$(lint_plugins) || exit 1
# The note's device kind: 2 a GPU, 3 something else, both with a driver.
kind()
{
    at=$(readelf -SW "$1" | sed -n 's/.* \.note\.bitnet  *NOTE  *[0-9a-f]* \([0-9a-f]*\) .*/\1/p')
    [ -z "$at" ] || od -An -tu4 -j$((0x$at + 28)) -N4 "$1" | tr -d ' '
}

for so in $plugins; do
    case $(kind "$so") in
    2 | 3) never=$forbidden ;;
    *) never="$forbidden|$loader" ;;
    esac
    nm -D --defined-only "$so" | awk -v so="$so" '
        { sub(/@.*/, "", $3) }
        $3 == "bnp_plugin_v1" && $2 ~ /[RDB]/ { n++; next }
        { print so ": exports " $3 " (" $2 "), only bnp_plugin_v1 may be seen" }
        END { if (n != 1) print so ": bnp_plugin_v1 is not an exported data symbol" }'
    nm -D --undefined-only "$so" | awk -v so="$so" \
        -v forbidden="^($never)\$" -v math="^($math)(f|l)?\$" '
        { name = $NF; sub(/@.*/, "", name) }
        name ~ forbidden { print so ": calls " name ", which the contract forbids" }
        name ~ math { print so ": calls " name " of libm" }'
    readelf -dW "$so" | awk -v so="$so" '
        /\(NEEDED\)/ && !/\[(libc\.so\.6|ld-linux[-_a-z0-9]*\.so\.[0-9])\]/ {
            print so ": needs " $NF ", only the C library may be needed" }
        /\((RPATH|RUNPATH)\)/ { print so ": has a run path " $NF }
        /\(TEXTREL\)/ { print so ": has text relocations" }
        /\(FLAGS\).*BIND_NOW/ || /\(BIND_NOW\)/ || /\(FLAGS_1\).*NOW/ { now = 1 }
        END { if (!now) print so ": is bound lazily, link it with -z now" }'
    readelf -lW "$so" | awk -v so="$so" '
        $1 == "GNU_STACK" && / RWE / { print so ": asks for an executable stack" }'
done | lint_verdict
