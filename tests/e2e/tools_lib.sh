# tools_lib.sh - running `bitnet` and judging how it ends.
#
# Sourced after server_lib.sh, whose bitnet, top, ok and not_ok it uses.
# shellcheck shell=bash disable=SC2154,SC2034

# Runs the tool; leaves stdout, stderr and the exit code in out, err, status.
# A sanitizer's report counts as a crash.
run()
{
    "$bitnet" "$@" > "$top/out" 2> "$top/err" < "${stdin:-/dev/null}"
    status=$?
}

# The line that is not a warning, and nothing but one; exit code as expected.
refused()                           # NAME STATUS PATTERN ARGUMENT...
{
    local name=$1 want=$2 pattern=$3 lines
    shift 3
    run "$@"
    lines=$(grep -v '^bitnet: warning: ' "$top/err")
    if [ "$status" -ne "$want" ]; then
        not_ok "$name" "exit $status, expected $want" "$lines"
    elif [ "$(printf '%s\n' "$lines" | wc -l)" -ne 1 ] ||
            ! printf '%s' "$lines" | grep -q "^bitnet: .*$pattern"; then
        not_ok "$name" "expected one line with: $pattern" "$lines"
    else
        ok "$name"
    fi
}
