# npm_lib.sh - tests that are programs for Node.js, with their packages.
#
# Sourced after server_lib.sh, whose top and not_ok it uses.
# shellcheck shell=bash disable=SC2154

# Without one of these programs the test is skipped, unless somebody promised
# that they are there.
npm_needs()                         # PROGRAM...
{
    local program
    for program; do
        command -v "$program" > /dev/null && continue
        echo "skipped: no $program; scripts/deps test installs it"
        [ -z "${CI:-}" ] || { not_ok "$program is installed"; exit 1; }
        exit 77
    done
}

# Copies the folder of a package-lock.json to TO and installs the packages
# there, unless just these were before.
npm_install()                       # FROM TO
{
    mkdir -p "$2"
    cp "$1"/* "$2"
    cmp -s "$2/package-lock.json" "$2/installed" && return
    npm ci --prefix "$2" --no-audit --no-fund > "$top/npm" 2>&1 &&
        cp "$2/package-lock.json" "$2/installed" && return
    not_ok "npm ci" "$(tail -n 5 "$top/npm")"
    exit 1
}
