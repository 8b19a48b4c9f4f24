#!/bin/sh
# exports.sh - what a plugin shows, and what it must not call.
#
# It exports one data symbol, needs the C library and nothing else, and calls
# nothing that the contract forbids: no libm (its bits differ from machine to
# machine), no process control, no output, no threads, no loader.
. "$(dirname "$0")/lint.sh"
lint_skip_instrumented

forbidden='
abort|exit|_exit|_Exit|quick_exit|atexit|__cxa_atexit|on_exit|__assert_fail
printf|vprintf|fprintf|vfprintf|dprintf|puts|putchar|putc|fputs|fputc|fwrite|perror|psignal
__printf_chk|__vprintf_chk|__fprintf_chk|__vfprintf_chk|__dprintf_chk|stdout|stderr|syslog
signal|sigaction|sigprocmask|pthread_sigmask|raise|kill|sigaltstack
pthread_create|thrd_create|fork|vfork|clone|execve|execv|execvp|system|popen|posix_spawn
dlopen|dlmopen|dlsym|dlvsym|setlocale|uselocale
sched_setaffinity|pthread_setaffinity_np|fesetround|fesetenv|feenableexcept|fedisableexcept
'
math='
sin|cos|tan|asin|acos|atan|atan2|sinh|cosh|tanh|asinh|acosh|atanh|sincos
exp|exp2|exp10|expm1|log|log2|log10|log1p|pow|sqrt|cbrt|hypot|erf|erfc|tgamma|lgamma
fma|fmod|remainder|remquo|rint|lrint|llrint|nearbyint|round|lround|llround|roundeven|trunc
ceil|floor|fmin|fmax|fdim|fabs|ldexp|frexp|modf|scalbn|scalbln|logb|ilogb|nextafter|nexttoward
'
join() { echo "$1" | tr '\n' '|' | sed 's/||*/|/g; s/^|//; s/|$//'; }

plugins=$(lint_plugins) || exit 1
for so in $plugins; do
    nm -D --defined-only "$so" | awk -v so="$so" '
        { sub(/@.*/, "", $3) }
        $3 == "bnp_plugin_v1" && $2 ~ /[RDB]/ { n++; next }
        { print so ": exports " $3 " (" $2 "), only bnp_plugin_v1 may be seen" }
        END { if (n != 1) print so ": bnp_plugin_v1 is not an exported data symbol" }'
    nm -D --undefined-only "$so" | awk -v so="$so" \
        -v forbidden="^($(join "$forbidden"))\$" -v math="^($(join "$math"))(f|l)?\$" '
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
