#!/bin/bash
# check.sh - bitnetd --check: what it finds, what it says to do, and its status.
#
#   check.sh BUILD
set -u
build=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.." || exit 2
# shellcheck source=tests/e2e/server_lib.sh
. tests/e2e/server_lib.sh

check() { "$bitnetd" --check --set server.port=0 "$@" > "$top/check" 2> "$top/err" < /dev/null; }

has()                               # NAME PATTERN
{
    if grep -q "$2" "$top/check"; then
        ok "$1"
    else
        not_ok "$1" "no line like $2" "$(grep -v '^linear\|^attention\|^pointwise' "$top/check")"
    fi
}

# NAME PATTERN ARGUMENT...: status 1, a fail line, and the last line says so.
fails()
{
    local name=$1 pattern=$2
    shift 2
    check "$@"
    same "$name: status 1, verdict, nothing on standard error" "1 fail 0" \
        "$? $(tail -n 1 "$top/check") $(wc -l < "$top/err")"
    has "$name: a line with a fix" "^fail $pattern.* - ."
}

check --conf conf/bitnet.ini --set engine.parity=yes
same "all is well: status 0" 0 $?
for word in '^weights ' '^KV cache ' '^linear .*org.bitnetd' '^attention' '^pointwise' \
    '^ok configuration - conf/bitnet.ini' '^ok plugins - scalar-ref.so' '^ok address' '^ok model - bitnet' \
    '^ok devices' '^ok memory plan' '^ok strict - off, and could be turned on' '^ok$\|^warn$'; do
    has "prints $word" "$word"
done
same "each finding has a level, a name, a sentence; a fix unless it is ok" 0 \
    "$(grep '^\(ok\|warn\|fail\) ' "$top/check" | grep -vc '^ok [a-z ]* - .\|^\(warn\|fail\) [a-z ]* - .* - .')"
"$bitnetd" --check --json --set server.port=0 > "$top/json" 2> "$top/err"
same "json: status 0" 0 $?
same "json: the same findings" "$(grep '^\(ok\|warn\|fail\) ' "$top/check" | sed 's/^[a-z]* //; s/ - .*//' | sort)" \
    "$(jq -r '.findings[].what' "$top/json" | sort)"
same "json: nothing but JSON" object "$(jq -r type "$top/json")"
"$bitnetd" --json > /dev/null 2> "$top/err"
same "json without check: status 2" 2 $?

head -c 500000 models/story.gguf > "$top/cut.gguf"
fails "a truncated model" "model - .*cut.gguf" --set "model.path=$top/cut.gguf"
fails "no model" "model file - .*none.gguf" --set "model.path=$top/none.gguf"
fails "a bad key" "configuration - .*engine.max_seq" --set engine.max_seq=many
fails "too little memory" "devices - .*max_mem_mib" --set engine.max_mem_mib=1
fails "no plugins" "plugins - .*nowhere" --set "plugins.dir=$top/nowhere"
fails "an unknown template" "template - chat.template" --set chat.template=nobody
fails "a pin to nobody" "devices - .*org.example.none" --set plugins.linear=org.example.none
mkdir "$top/open" && cp "$build/lib/bitnet/plugins/scalar-ref.so" "$top/open"
chmod 777 "$top/open"
fails "a plugin folder that all may write" "plugins - .*open" --set "plugins.dir=$top/open"
server_start || exit 1
fails "a port in use" "address - .*Address already in use" --set "server.port=${url##*:}"
server_stop
same "several at once: a line each" 3 "$(check --set server.port=no; check \
    --set "server.keys=$top/no" --set trace.otlp_url=x --set log.access=/no/such/place/log
    grep -c '^fail [a-z ]* - ' "$top/check")"

# A plugin that is bad is a warning; where strict mode needs it, a failure.
mkdir "$top/bad" && cp "$build/lib/bitnet/plugins/scalar-ref.so" \
    "$build/tests/plugins/faulty/faulty.so" "$top/bad"
bad=(--set "plugins.dir=$top/bad" --set plugin:org.bitnetd.test.faulty.fault=ternary-bit)
check "${bad[@]}"
same "a bad plugin: status 0" 0 $?
has "a bad plugin: a warning" '^warn plugins - faulty.so rejected: known answer'
has "a bad plugin: strict would not start" '^ok strict - off, and would not start: '
same "a bad plugin: the verdict" warn "$(tail -n 1 "$top/check")"
check "${bad[@]}" --set strict.enabled=yes
same "a bad plugin, strict: status 1" 1 $?
has "a bad plugin, strict: a failure" '^fail devices - .*no device'

server_verdict
