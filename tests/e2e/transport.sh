#!/bin/bash
# transport.sh - who gets in and how: keys, TLS, Unix sockets, foreign pages,
# limits, and what the access log says of them.
#
#   transport.sh BUILD
set -u
build=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.." || exit 2
# shellcheck source=tests/e2e/server_lib.sh
. tests/e2e/server_lib.sh

body='{"prompt":"The fox","max_tokens":8}'
code() { curl -s -o "$top/body" -w '%{http_code}' -m 60 "$@"; }    # CURL-ARGUMENT...
error() { jq -r .error.code "$top/body"; }
header() { curl -s -o /dev/null -D - -m 60 "$@" | tr -d '\r'; }

# bitnetd must not start, and say so in one line.
refuses()                           # NAME PATTERN ARGUMENT...
{
    local name=$1 pattern=$2
    shift 2
    timeout 60 "$bitnetd" --set log.level=error --set server.port=0 "$@" > "$top/bad.out" \
        2> "$top/bad.err" < /dev/null
    local status=$?
    if [ $status -eq 1 ] && [ "$(wc -l < "$top/bad.err")" -eq 1 ] &&
        grep -q "^bitnetd: .*$pattern" "$top/bad.err"; then
        ok "refuses: $name"
    else
        not_ok "refuses: $name" "status $status" "$(head -n 5 "$top/bad.err")"
    fi
}

# ---- keys ----

for name in reader user boss; do
    case $name in reader) scopes=read ;; user) scopes=read,infer ;; boss) scopes=admin ;; esac
    "$bitnet" key -s $scopes $name > "$top/made"
    head -n 1 "$top/made" > "$top/$name.key"
    tail -n 1 "$top/made" >> "$top/keys"
done
chmod 600 "$top/keys"
reader=$(cat "$top/reader.key") user=$(cat "$top/user.key") boss=$(cat "$top/boss.key")
same "bitnet key: what it prints is a line of the file" 3 "$(grep -c ' sha256:[0-9a-f]\{64\}$' "$top/keys")"
same "bitnet key: the key itself is not in it" 0 "$(grep -c "$user" "$top/keys")"
"$bitnet" key 'a b' > "$top/out" 2> "$top/err"
same "bitnet key: a name with a space is refused" "1 0" "$? $(wc -l < "$top/out")"

server_start --set "server.keys=$top/keys" --set "log.access=$top/access" --set log.level=debug || exit 1
same "no key: 401" "401 invalid_api_key" "$(code "$url/v1/completions" -d "$body") $(error)"
same "no key: WWW-Authenticate" 1 \
    "$(header "$url/v1/models" | grep -ci '^www-authenticate: bearer')"
same "a wrong key: 401" 401 "$(code "$url/v1/models" -H 'Authorization: Bearer bitnet-wrong')"
same "the hash is no key: 401" 401 \
    "$(code "$url/v1/models" -H "x-api-key: $(sed -n 's/.*sha256://p' "$top/keys" | head -n 1)")"
same "no key: health is open" 200 "$(code "$url/health")"
same "no key: an unknown path is 404" 404 "$(code "$url/nowhere")"
same "a reader reads" 200 "$(code "$url/v1/models" -H "Authorization: Bearer $reader")"
same "a reader does not infer: 403" "403 insufficient_scope" \
    "$(code "$url/v1/completions" -H "Authorization: Bearer $reader" -d "$body") $(error)"
same "an admin's key opens nothing else" 403 "$(code "$url/v1/models" -H "x-api-key: $boss")"
same "a user infers" 200 "$(code "$url/v1/completions" -H "authorization: bearer  $user" -d "$body")"
same "x-api-key does too" 200 "$(code "$url/v1/completions" -H "X-Api-Key: $user" -d "$body")"
head -c 900000 /dev/zero | tr '\0' ' ' > "$top/large"
same "a large body without a key: 401, and no 100 Continue" "401 0" \
    "$(code "$url/v1/completions" -H Expect:\ 100-continue -D "$top/head" --data-binary "@$top/large") $(
        grep -c ' 100 ' "$top/head")"
same "the id that the client gave comes back" "X-Request-Id: my-1.x_Y" \
    "$(header "$url/v1/models" -H "x-api-key: $reader" -H 'X-Request-Id: my-1.x_Y' | grep -i request-id)"
same "an id that is none is replaced" 1 \
    "$(header "$url/health" -H 'X-Request-Id: a b"c' | grep -ci '^x-request-id: [0-9a-f]\{32\}$')"
server_stop
same "keys are in no log" 0 "$(cat "$top/access" "$top/err" | grep -cF -e "$user" -e "$reader" -e "$boss")"
same "prompts are in no log" 0 "$(cat "$top/access" "$top/err" | grep -c 'The fox')"
same "the access log has a JSON line per request" "$(wc -l < "$top/access")" \
    "$(jq -c . "$top/access" | wc -l)"
same "the access log: the refused" '[null,"127.0.0.1","POST","/v1/completions",401,0,0,true]' \
    "$(head -n 1 "$top/access" | jq -c '[.key, .client, .method, .path, .status, .prompt_tokens,
       .completion_tokens, .queue_ms == null]')"
same "the access log: the served" '["user",200,true,8,true,true,true]' \
    "$(jq -c 'select(.key == "user" and .status == 200) | [.key, .status, .prompt_tokens > 0,
       .completion_tokens, .queue_ms >= 0, .ttft_ms > 0, .total_ms >= .ttft_ms]' "$top/access" |
       sort -u)"
same "the access log: the client's id" 1 "$(grep -c '"id":"my-1.x_Y"' "$top/access")"

chmod 644 "$top/keys"
refuses "keys that others may read" 'server.keys: .*mode 644.*chmod 600' --set "server.keys=$top/keys"
chmod 600 "$top/keys"
echo 'joe infer letmein' > "$top/bad.keys" && chmod 600 "$top/bad.keys"
refuses "a line that is none" 'bad.keys:1: key joe: the third word' --set "server.keys=$top/bad.keys"
same "what the line held is not said" 0 "$(grep -c letmein "$top/bad.err")"

# ---- on the network without keys ----

refuses "strict, open to all" 'server.keys: is empty, and others can connect' \
    --set server.host=0.0.0.0 --set strict.enabled=yes
server_start --set server.host=0.0.0.0 || exit 1
same "open to all: a warning" 1 "$(grep -c 'server.keys: is empty' "$top/err")"
server_stop
server_start --set server.host=0.0.0.0 --set server.open=yes || exit 1
same "server.open: no warning" 0 "$(grep -c 'server.keys' "$top/err")"
server_stop

# ---- pages of other sites ----

server_start --set 'server.cors_origin=https://a.example http://localhost:3000' \
    --set log.access=stderr --set log.prompts=yes || exit 1
same "a page that may call: its origin comes back" "Access-Control-Allow-Origin: https://a.example" \
    "$(header "$url/health" -H 'Origin: https://a.example' | grep -i allow-origin)"
same "a page that may not: 403" "403 origin_not_allowed" \
    "$(code "$url/v1/completions" -H 'Origin: https://b.example' -d "$body") $(error)"
same "the server's own page" 200 "$(code "$url/health" -H "Origin: $url")"
preflight() { header -X OPTIONS "$url/v1/completions" -H "Origin: $1" \
    -H 'Access-Control-Request-Method: POST' -H 'Access-Control-Request-Headers: authorization,x-a'; }
preflight https://a.example > "$top/head"
same "a preflight: 204 with methods and headers" "1 1 1" \
    "$(grep -c '^HTTP/1.1 204' "$top/head") $(grep -ci '^access-control-allow-methods: POST' "$top/head") $(
        grep -ci '^access-control-allow-headers: authorization,x-a' "$top/head")"
same "a foreign preflight: refused" "1 0" \
    "$(preflight https://b.example > "$top/head"; grep -c '^HTTP/1.1 405' "$top/head") $(
        grep -ci '^access-control-allow-origin' "$top/head")"
same "every answer: nosniff, no-store" 2 \
    "$(header "$url/nowhere" | grep -ci -e '^x-content-type-options: nosniff' -e '^cache-control: no-store')"
code "$url/v1/completions" -d "$body" > /dev/null
server_stop
same "log.prompts: the body is in the access log" "$body" \
    "$(grep -h '^{"time"' "$top/err" | jq -r 'select(.status == 200 and .method == "POST") | .body')"
refuses "an origin with a path" 'server.cors_origin: "https://a/b" is no origin' \
    --set server.cors_origin=https://a/b

# ---- how much one request may ask for ----

server_start --set server.max_prompt_tok=8 --set server.max_new_tok=5 || exit 1
same "max_prompt_tok: a longer prompt is 400" "400 context_length_exceeded" \
    "$(code "$url/v1/completions" -d '{"prompt":[1,2,3,4,5,6,7,8,9]}') $(error)"
same "max_new_tok: the answer ends there" '[5,"length"]' \
    "$(curl -sS "$url/v1/completions" -d '{"prompt":[1,2,3,4,5,6,7,8],"max_tokens":100,"seed":1}' |
        jq -c '[.usage.completion_tokens, .choices[0].finish_reason]')"
server_stop

# ---- TLS ----

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
    -addext 'subjectAltName=IP:127.0.0.1' -keyout "$top/tls.key" -out "$top/tls.crt" 2> /dev/null
openssl genpkey -algorithm ec -pkeyopt ec_paramgen_curve:prime256v1 -out "$top/other.key" 2> /dev/null
chmod 600 "$top/tls.key" "$top/other.key"
tls=(--set "server.tls_cert=$top/tls.crt" --set "server.tls_key=$top/tls.key")
server_start || exit 1
want=$(curl -sS "$url/v1/completions" -d "$body" | text)
server_stop
server_start "${tls[@]}" || exit 1
same "TLS: the url says so" https "${url%%:*}"
same "TLS: the same text" "$want" \
    "$(curl -sS --cacert "$top/tls.crt" "$url/v1/completions" -d "$body" | text)"
same "TLS: streamed too" "$want" \
    "$(curl -sSN --cacert "$top/tls.crt" "$url/v1/completions" -d "${body%\}},\"stream\":true}" | text)"
for v in 1_2 1_3; do
    same "TLS ${v/_/.} is spoken" 1 "$(openssl s_client -connect "${url#https://}" -tls$v \
        -CAfile "$top/tls.crt" < /dev/null 2>&1 | grep -c 'Verify return code: 0 (ok)' | sed 's/[2-9]/1/')"
done
openssl s_client -connect "${url#https://}" -tls1_1 -cipher DEFAULT@SECLEVEL=0 < /dev/null > "$top/old" 2>&1
same "TLS 1.1 is not" 1 "$(grep -c 'Cipher is (NONE)' "$top/old")"
same "plain HTTP gets nothing" 000 "$(code "http://${url#https://}/health")"
server_stop
refuses "a key that is another's" 'server.tls_key: .*other.key: is not the key of' "${tls[@]:0:2}" \
    --set "server.tls_key=$top/other.key"
refuses "a certificate that is none" 'server.tls_cert: .*expected a certificate' "${tls[@]:2:2}" \
    --set "server.tls_cert=$top/tls.key"
refuses "a certificate without a key" 'server.tls_key: is empty' "${tls[@]:0:2}"
chmod 644 "$top/tls.key"
refuses "a TLS key that others may read" 'server.tls_key: .*chmod 600' "${tls[@]}"

# ---- Unix sockets ----

sock=$top/s.sock
server_start --set "server.host=unix:$sock" --set server.socket_mode=0600 || exit 1
same "a Unix socket: its url" "unix:$sock" "$url"
same "a Unix socket: its mode" 600 "$(stat -c %a "$sock")"
same "a Unix socket: the same text" "$want" \
    "$(curl -sS --unix-socket "$sock" http://x/v1/completions -d "$body" | text)"
refuses "a socket that is in use" 'Address already in use; another program listens there' \
    --set "server.host=unix:$sock"
server_stop
same "SIGTERM removes it" no "$([ -e "$sock" ] && echo yes || echo no)"
server_start --set "server.host=unix:$sock" || exit 1
kill -9 "$pid"; wait "$pid" 2> /dev/null
same "kill -9 leaves it" yes "$([ -S "$sock" ] && echo yes)"
server_start --set "server.host=unix:$sock" || exit 1
same "what was left is replaced" 200 "$(code --unix-socket "$sock" http://x/health)"
server_stop
echo precious > "$sock"
refuses "a file that is no socket" 'is a file and no socket' --set "server.host=unix:$sock"
same "and it is still there" precious "$(cat "$sock")"
refuses "a folder that is not there" 'No such file' --set server.host=unix:/no/where/s.sock
refuses "a mode that is none" 'server.socket_mode: "9" is no mode' --set "server.host=unix:$top/t" \
    --set server.socket_mode=9

# ---- the sandbox ----

chmod 600 "$top/tls.key"
# The search for leaks at exit is a process of its own, which the sandbox forbids.
ASAN_OPTIONS=${ASAN_OPTIONS-}:detect_leaks=0 \
    server_start --set server.sandbox=yes --set "log.access=$top/boxed" "${tls[@]}" || exit 1
same "the sandbox: every thread is in it" 0 \
    "$(grep -h '^Seccomp:' /proc/"$pid"/task/*/status | grep -cv '2$')"
same "the sandbox: the same text" "$want" "$(curl -skS "$url/v1/completions" -d "$body" | text)"
for i in 1 2 3 4; do
    curl -skSN "$url/v1/completions" -d "${body%\}},\"stream\":true}" | text > "$top/boxed.$i" &
    boxed[i]=$!
done
wait "${boxed[@]}"
same "the sandbox: streamed, four at once" "$(printf %s "$want$want$want$want" | tr -d '\n')" "$(cat "$top"/boxed.[1-4] | tr -d '\n')"
server_stop
same "the sandbox: SIGTERM, status 0" 0 "$status"
# A plugin for another processor is a warning in any box.
same "the sandbox: no complaint" 0 \
    "$(grep -e '^error' -e '^warning' "$top/err" | grep -cv 'rejected: needs')"
same "the sandbox: the access log" 5 "$(wc -l < "$top/boxed")"

server_verdict
