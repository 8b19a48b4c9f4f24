#!/bin/bash
# faults.sh - what happens to a server in production: each time there is a clear
# answer, and a request that runs meanwhile gives the text that it gives alone.
#
#   faults.sh BUILD [CONNECTIONS]
#
# CONNECTIONS open ones at once, 500 if not said; 10000 takes a minute and
# `ulimit -n 20000`.
set -u
build=$(cd "$1" && pwd)
n_connections=${2:-500}
cd "$(dirname "$0")/../.." || exit 2
# shellcheck source=tests/e2e/server_lib.sh
. tests/e2e/server_lib.sh

# The slowest plugin, and one thread: a request is to last longer than a fault.
slow=(--set plugins.only=org.bitnetd.scalar-ref)
long='{"prompt":"Once upon a time","max_tokens":80,"stream":true,"seed":3}'
code() { curl -s -o "$top/body" -w '%{http_code}' -m 60 "$@"; }
error() { jq -r .error.code "$top/body" 2> /dev/null; }

companion()                         # a request that runs while something else goes wrong
{
    rm -f "$top/long"
    curl -sS -N -m 60 "$url/v1/completions" -d "$long" > "$top/long" 2> /dev/null &
    client=$!
    for _ in $(seq 400); do [ -s "$top/long" ] && break; sleep 0.01; done
}
unhurt()                            # NAME: its text is what it is alone
{
    wait "$client"
    same "$1: a request that ran is unhurt" "$want" "$(text < "$top/long")"
}
port() { echo "${url##*:}"; }
first_line()                        # of what comes back for standard input; waits for no more
{
    local line
    read -r line < <(nc -q 1 127.0.0.1 "$(port)" <&0)
    echo "${line%$'\r'}"
}
open_raw() { exec {raw}<> "/dev/tcp/127.0.0.1/$(port)"; }          # sets raw
close_raw() { exec {raw}>&-; }

# ---- bytes that are wrong ----

server_start "${slow[@]}" --set server.read_timeout_s=1 --set "log.access=$top/access" || exit 1
companion
wait "$client"
want=$(text < "$top/long")

head -c 1000000 /dev/zero | tr '\0' a > "$top/a"
companion
same "1 MB of headers: 431" 'HTTP/1.1 431 Request Header Fields Too Large' \
    "$( { printf 'GET /health HTTP/1.1\r\nHost: x\r\nX-A: '; cat "$top/a"; printf '\r\n\r\n'; } | first_line)"
same "1 MB of path: 414" 'HTTP/1.1 414 URI Too Long' \
    "$( { printf 'GET /'; cat "$top/a"; printf ' HTTP/1.1\r\nHost: x\r\n\r\n'; } | first_line)"
same "no HTTP at all: closed or 400" 0 \
    "$(head -c 4096 "$bitnetd" | first_line | grep -cvE '^$| 40[0-9] ')"
printf '{"prompt":"\xff\xfe","max_tokens":1}' > "$top/utf8"
same "a body that is not UTF-8: 400" "400 invalid_json" \
    "$(code "$url/v1/completions" --data-binary "@$top/utf8") $(error)"
head -c 200000 /dev/zero | tr '\0' '[' > "$top/deep"
same "JSON that is 200,000 deep: 400" "400 invalid_json" \
    "$(code "$url/v1/completions" --data-binary "@$top/deep") $(error)"
head -c 3000000 /dev/zero | tr '\0' ' ' > "$top/blank"
same "a body over the limit: 413" "413 body_too_large" \
    "$(code "$url/v1/completions" --data-binary "@$top/blank") $(error)"
unhurt "wrong bytes"

# ---- clients that are slow, or gone ----

companion
for i in 1 2 3 4 5 6 7 8; do        # headers, a byte now and then; a body that never ends
    {
        if [ $((i % 2)) = 1 ]; then
            printf 'POST /v1/completions HTTP/1.1\r\nHost: x\r\n'
        else
            printf 'POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n'
        fi
        for _ in $(seq 15); do sleep 0.2; printf x 2> /dev/null || break; done
    } | nc 127.0.0.1 "$(port)" > "$top/loris.$i" 2> /dev/null &
    loris[i]=$!
done
SECONDS=0
wait "${loris[@]}"
same "slow loris: 408 for all eight" 8 "$(grep -l '^HTTP/1.1 408 ' "$top"/loris.* | wc -l)"
unhurt "slow loris"

companion
open_raw
printf 'POST /v1/completions HTTP/1.1\r\nHost: x\r\nX-Request-Id: half\r\nContent-Length: %d\r\n\r\n%s' \
    ${#long} "$long" | nc -N 127.0.0.1 "$(port)" > "$top/half"
close_raw
unhurt "a half-closed connection"
same "a half-closed connection has left: 499, cut short" '[499,true]' \
    "$(grep '"id":"half"' "$top/access" | jq -c '[.status, .completion_tokens < 80]')"

# ---- many connections, and a full disk under the access log ----

server_stop
server_start "${slow[@]}" --set "server.max_connections=$((n_connections + 8))" \
    --set log.access=/dev/full || exit 1
companion
opened=()
for _ in $(seq "$n_connections"); do
    open_raw 2> /dev/null || break
    opened+=("$raw")
done
same "$n_connections idle connections: a request is served beside them" \
    "$n_connections 200" "${#opened[@]} $(code "$url/v1/models")"
for raw in "${opened[@]}"; do close_raw; done
unhurt "$n_connections connections"
for _ in $(seq 100); do
    left=$(find "/proc/$pid/fd" -lname 'socket:*' 2> /dev/null | wc -l)
    [ "$left" -lt 10 ] && break
    sleep 0.05
done
same "$n_connections connections: none is left" yes "$([ "$left" -lt 10 ] && echo yes || echo "$left")"
same "a full disk under the access log: one line says so" 1 "$(grep -c 'log.access: /dev/full: No space' "$top/err")"
server_stop

server_start "${slow[@]}" --set server.max_connections=4 --set server.read_timeout_s=1 || exit 1
opened=()
for _ in 1 2 3 4 5 6; do open_raw; opened+=("$raw"); done
same "all connections taken by nobody: served once they are cut" 200 "$(code "$url/health")"
for raw in "${opened[@]}"; do close_raw; done
server_stop
server_start "${slow[@]}" --set server.max_per_address=3 || exit 1
opened=()
for _ in 1 2 3; do open_raw; opened+=("$raw"); done
same "max_per_address: one more is closed" 000 "$(code "$url/health")"
for raw in "${opened[@]}"; do close_raw; done
for _ in $(seq 100); do [ "$(code "$url/health")" = 200 ] && break; sleep 0.05; done
same "max_per_address: served again" 200 "$(code "$url/health")"

# ---- death and return ----

companion
port=$(port)
kill -9 "$pid"
wait "$pid" "$client" 2> /dev/null
same "kill -9: the stream breaks off" 0 "$(grep -c DONE "$top/long")"
server_start "${slow[@]}" --set "server.port=$port" || exit 1
companion
unhurt "kill -9 and a start on the same port and cache"

# ---- no memory ----

companion
limit=$(($(awk '/^VmSize/ { print $2 }' "/proc/$pid/status") + 512))
if nm -D "$bitnetd" 2> /dev/null | grep -q '__[at]san_'; then
    wait "$client"
    ok "no memory # SKIP a sanitizer ends what gets no memory"
elif prlimit --pid "$pid" --as=$((limit * 1024)): 2> /dev/null; then
    head -c 900000 /dev/zero | tr '\0' ' ' > "$top/large"
    refused=0
    for _ in $(seq 8); do
        got=$(code "$url/v1/completions" --data-binary "@$top/large")
        case $got in 400 | 500 | 503 | 000) ;; *) refused=$got ;; esac
    done
    same "no memory: refused or served, never wrong" 0 "$refused"
    prlimit --pid "$pid" --as=unlimited:
    unhurt "no memory"
    same "memory again: served" 200 "$(code "$url/v1/completions" -d '{"prompt":"A","max_tokens":2}')"
else
    wait "$client"
    ok "no memory # SKIP no prlimit"
fi
server_stop

# ---- no disk ----

mkdir "$top/full"
: > "$top/out"
(
    ulimit -f 0                     # no file may grow at all: timings, weights, log
    exec "$bitnetd" --set server.port=0 --set "plugins.timings=$top/full/timings" \
        --set "plugins.weight_cache=$top/full" --set "log.access=$top/full/access"
) > >(cat > "$top/out") 2> >(cat > "$top/err") < /dev/null &
pid=$!
url=
for _ in $(seq 400); do
    url=$(sed -n 's/^listening on //p' "$top/out")
    [ -n "$url" ] && break
    sleep 0.05
done
companion
unhurt "a disk that takes nothing"
server_stop
same "a disk that takes nothing: status 0" 0 "$status"
url=
: > "$top/out"
"$bitnetd" --set server.port=0 "${slow[@]}" > "$top/out" 2> /dev/full < /dev/null &
pid=$!
for _ in $(seq 400); do
    url=$(sed -n 's/^listening on //p' "$top/out")
    [ -n "$url" ] && break
    sleep 0.05
done
same "no place for the log: served" 200 "$(code "$url/v1/models")"
server_stop

# ---- a device that stands still ----

mkdir "$top/plugins"
cp "$build/lib/bitnet/plugins/scalar-ref.so" "$build/tests/plugins/faulty/faulty.so" "$top/plugins"
server_start --set "plugins.dir=$top/plugins" --set plugins.linear=org.bitnetd.test.faulty \
    --set plugins.attention=org.bitnetd.scalar-ref --set plugins.pointwise=org.bitnetd.scalar-ref \
    --set server.watchdog_s=1 --set plugin:org.bitnetd.test.faulty.fault=stall-at-step-700 || exit 1
stalled=0
for _ in 1 2 3 4 5 6; do
    companion
    while kill -0 "$client" 2> /dev/null; do
        [ "$(code "$url/health/live")" = 503 ] && stalled=1
        sleep 0.1
    done
    wait "$client"
    [ "$(text < "$top/long")" = "$want" ] || stalled=wrong
    grep -q 'moves on again' "$top/err" && break
done
same "a device stalls: /health/live says so, the text is the same" 1 "$stalled"
same "a device stalls: two lines" "1 1" \
    "$(grep -c 'engine: has not moved on' "$top/err") $(grep -c 'engine: moves on again' "$top/err")"
server_stop

server_verdict
