#!/bin/bash
# page.sh - the page at / in Chromium.
#
#   page.sh BUILD [OUTPUT]
#
# Leaves screenshots in OUTPUT, else in the build folder; tests/e2e/output holds
# what came out last. Exit status 77: no npm or no Chromium here, and nobody
# promised that there is.
set -u
build=$(cd "$1" && pwd)
output=$build/e2e-output
[ $# -lt 2 ] || output=$(cd "$2" && pwd)
cd "$(dirname "$0")/../.." || exit 2
# shellcheck source=tests/e2e/server_lib.sh
. tests/e2e/server_lib.sh
# shellcheck source=tests/e2e/npm_lib.sh
. tests/e2e/npm_lib.sh

npm_needs npm chromium
CHROMIUM=$(command -v chromium)
export CHROMIUM
tests=$build/e2e-page
npm_install tests/e2e/page "$tests"
cp tests/e2e/clients/check.mjs "$tests"
mkdir -p "$output"

# ---- without a browser ----

server_start --set chat.template=plain || exit 1
get() { curl -sS -o "$top/body" -w '%{http_code} %{content_type}' "$@"; }
for file in /:index.html:html /app.js:app.js:javascript /style.css:style.css:css; do
    IFS=: read -r path name type <<< "$file"
    same "$path" "200 text/$type; charset=utf-8" "$(get "$url$path")"
    if cmp -s "$top/body" "core/serve/web/$name"; then ok "$path: its bytes"
    else not_ok "$path: its bytes"; fi
    etag=$(curl -sSI "$url$path" | tr -d '\r' | sed -n 's/^ETag: //p')
    same "$path: not again" "304 0" "$(curl -sS -o "$top/body" -w '%{http_code} %{size_download}' \
        -H "If-None-Match: $etag" "$url$path")"
    same "$path: another one" "200" "$(curl -sS -o "$top/body" -w '%{http_code}' \
        -H 'If-None-Match: "0"' "$url$path")"
done
server_stop
server_start --set server.page=no || exit 1
same "server.page = no" "404 application/json" "$(get "$url/")"
same "and its files" "404 application/json" "$(get "$url/app.js")"
server_stop

# ---- four servers, one browser ----

"$bitnet" key --scopes read,infer page > "$top/key" || exit 1
tail -n 1 "$top/key" > "$top/keys"
chmod 600 "$top/keys"
ref=org.bitnetd.scalar-ref
all=()
started=()
start()                             # ARGUMENT...
{
    server_start "$@" || exit 1
    all+=("$url")
    started+=("$pid")
}
trap 'kill -9 "${started[@]}" 2> /dev/null; server_cleanup' EXIT
start --set chat.template=plain
start --set chat.template=plain --set plugins.linear=$ref --set plugins.attention=$ref
start --set chat.template=plain --set server.keys="$top/keys"
start
node "$tests/page.mjs" "${all[@]}" "$(head -n 1 "$top/key")" "$output" || n_failed=$((n_failed + 1))
server_verdict
