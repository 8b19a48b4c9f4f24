#!/bin/sh
# words.sh - nothing in the tree points into somebody's own machine.
. "$(dirname "$0")/lint.sh"

lint_text_files | xargs awk '
/(^|[^A-Za-z0-9_.])\/(root|home\/[a-z]|Users\/[A-Za-z])[\/a-z]/ {
    printf "%s:%d: a private path: %s\n", FILENAME, FNR, $0 }
/[Ii]ssue #?[0-9]/ { printf "%s:%d: a number from outside the tree: %s\n", FILENAME, FNR, $0 }
' | lint_verdict
