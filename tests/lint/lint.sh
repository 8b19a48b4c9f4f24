# lint.sh - what the checks of this folder share; each reads it with a dot.
#
# A check is called with the source folder and the build folder. It prints one
# line per finding, "where: what", and fails when there was one. Each has bad
# samples in can_fail.sh that it must find.

src=$1
build=$2
cd "$src" || exit 2

# The text files that the project wrote, one a line, without ./ in front.
# Corpora and captured vectors are data; this folder spells out what it forbids.
lint_text_files()
{
    find . \( -name .git -o -name build -o -name node_modules -o -path ./tests/lint \
              -o -path './tests/fuzz/*/*' -o -path ./tests/golden/data \) -prune -o -type f \
        \( -name '*.[ch]' -o -name '*.[1-9]' -o -name '*.sh' -o -name '*.cmake' -o -name '*.md' \
           -o -name '*.js' -o -name '*.mjs' -o -name '*.json' -o -name '*.ini' -o -name '*.in' \
           -o -name '*.map' -o -name CMakeLists.txt -o -path './scripts/*' -o -path './.ci/*' \) \
        -print | sed 's|^\./||' | LC_ALL=C sort
}

# The installed plugins, or a failure when there is none to look at.
lint_plugins()
{
    found=$(find "$build/lib/bitnet/plugins" -name '*.so' 2>/dev/null | LC_ALL=C sort)
    if [ -z "$found" ]; then
        echo "$build/lib/bitnet/plugins: no plugin here, so nothing was checked" >&2
        exit 1
    fi
    printf '%s\n' "$found"
}

# Sanitizers and gcov add constructors and undefined names of their own.
lint_skip_instrumented()
{
    if grep -q -e '-fsanitize=' -e '--coverage' "$build/compile_commands.json" 2>/dev/null; then
        echo "skipped: an instrumented build"
        exit 77
    fi
}

# Reads findings on standard input; the last command of every check.
lint_verdict()
{
    awk '{ print } END { exit NR > 0 }'
}
