#!/bin/bash
# server_openai.sh - the official openai client for Node.js against bitnetd.
#
#   server_openai.sh BUILD
#
# Installs the client, once, into the build folder.
set -u
build=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.." || exit 2
# shellcheck source=tests/e2e/server_lib.sh
. tests/e2e/server_lib.sh

clients=$build/e2e-clients
mkdir -p "$clients"
cp tests/e2e/clients/package.json tests/e2e/clients/openai.mjs "$clients"
wanted=$(jq -r .dependencies.openai tests/e2e/clients/package.json)
present=$(jq -r .version "$clients/node_modules/openai/package.json" 2> /dev/null)
if [ "$present" != "$wanted" ] &&
    ! npm install --prefix "$clients" --no-audit --no-fund --no-package-lock > "$top/npm" 2>&1; then
    not_ok "npm install openai@$wanted" "$(tail -n 5 "$top/npm")"
    exit 1
fi

server_start --set server.timeout_s=120 || exit 1
prompt='Once upon a time'
want=$("$bitnet" run -p "$prompt" -n 32 --seed 11 --json 2> /dev/null | jq -j .text; echo .)
node "$clients/openai.mjs" "$url" "$prompt" 32 11 "${want%.}" || n_failed=1
server_stop
server_verdict
