#!/bin/bash
# clients.sh - the official clients, unchanged, against bitnetd: OpenAI's and
# Anthropic's for Node.js, an independent parser of event streams, and curl.
#
#   clients.sh BUILD
#
# Installs the packages of clients/package-lock.json, once, into the build
# folder. Exit status 77: no npm here, and nobody promised that there is.
set -u
build=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.." || exit 2
# shellcheck source=tests/e2e/server_lib.sh
. tests/e2e/server_lib.sh

# shellcheck source=tests/e2e/npm_lib.sh
. tests/e2e/npm_lib.sh

npm_needs npm
clients=$build/e2e-clients
npm_install tests/e2e/clients "$clients"

run() { node "$clients/$1.mjs" "${@:2}" || n_failed=$((n_failed + 1)); }

# ---- all of them, with a key ----

"$bitnet" key --scopes read,infer client > "$top/key" || exit 1
KEY=$(head -n 1 "$top/key")
export KEY
tail -n 1 "$top/key" > "$top/keys"
chmod 600 "$top/keys"
server_start --set server.timeout_s=120 --set chat.template=plain --set server.keys="$top/keys" ||
    exit 1
prompt='Once upon a time'
want=$("$bitnet" run -p "$prompt" -n 32 --seed 11 --json 2> /dev/null | jq -j .text; echo .)
run openai "$url" "$prompt" 32 11 "${want%.}"
run chat "$url"
run responses "$url"
run messages "$url"
run sse "$url"

# ---- curl ----

ask() { curl -sS -H "Authorization: Bearer $KEY" "$@"; }
messages='"messages":[{"role":"user","content":"A fox."}]'
same "curl: chat" "assistant stop" "$(ask "$url/v1/chat/completions" \
    -d "{$messages,\"stop\":\"o\"}" | jq -r '"\(.choices[0].message.role) \(.choices[0].finish_reason)"')"
same "curl: messages without max_tokens" "error invalid_request_error 400" \
    "$(ask -w '%{http_code}' "$url/v1/messages" -d "{$messages}" |
        jq -rj 'if type == "object" then "\(.type) \(.error.type) " else . end')"
same "curl: the prompt of a conversation" "User: A fox.
Assistant:" "$(ask "$url/apply-template" -d "{$messages}" | jq -r .prompt)"
server_stop

# ---- a full queue ----

server_start --set chat.template=plain --set engine.max_seq=1 --set engine.max_queue=1 || exit 1
run retry "$url"
server_stop

# ---- templates by name, or none ----

server_start || exit 1
same "no template: 400, and the names" "400 no_chat_template true" \
    "$(curl -sS -o "$top/answer" -w '%{http_code}' "$url/v1/chat/completions" -d "{$messages}"
       jq -r '" \(.error.code) \(.error.message | contains("zephyr"))"' "$top/answer")"
server_stop
same "unknown template: no start" "1 yes" "$("$bitnetd" --check --set chat.template=jinja \
    > "$top/out" 2>&1; echo "$? $(grep -q '^fail .*chat.template.*llama3' "$top/out" && echo yes)")"

server_verdict
