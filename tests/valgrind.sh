#!/bin/bash
# valgrind.sh - memory errors and leaks of the optimised code, which the
# sanitizers do not see.
#
#   valgrind.sh BUILD LABELS       LABELS: expression of what ctest leaves out
#
# CK_EXCLUDE_TAGS=slow in the environment leaves out single cases too.
#
# Runs the unit tests and the kept fuzz inputs of a build under memcheck, as many
# at once as there are processors. Prints "ok NAME" or "not ok NAME" per test.
set -u
build=$1
labels=$2

one()                               # one "NAME<tab>COMMAND"
{
    local name=${1%%$'\t'*} command=${1#*$'\t'} out
    # shellcheck disable=SC2086 # our own test programs, without blanks
    if out=$(CK_DEFAULT_TIMEOUT=600 valgrind -q --error-exitcode=99 --suppressions=tests/valgrind.supp --leak-check=full \
        --show-leak-kinds=definite --errors-for-leak-kinds=definite $command 2>&1 < /dev/null); then
        echo "ok valgrind $name"
    else
        printf 'not ok valgrind %s\n%s\n' "$name" "$out"
    fi
}
export -f one

tests=$(ctest --test-dir "$build" -R '^(unit|fuzz)/' -LE "$labels" --show-only=json-v1 |
    jq -r '.tests[] | select(.command) | [.name, (.command | join(" "))] | @tsv')
if [ -z "$tests" ]; then
    echo "not ok valgrind: found no test"
    exit 1
fi
# shellcheck disable=SC2016 # expands in the inner shell
xargs -d '\n' -n 1 -P "$(nproc)" bash -c 'one "$1"' one <<< "$tests"
