#!/bin/bash
# operations.sh - bitnetd as those who run it meet it: health, metrics, reload, traces.
#
#   operations.sh BUILD
set -u
build=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.." || exit 2
# shellcheck source=tests/e2e/server_lib.sh
. tests/e2e/server_lib.sh

get() { curl -sS -m 20 "$@"; }
status_of() { curl -sS -m 20 -o /dev/null -w '%{http_code}' "$@"; }
metric() { get "$url/metrics" | awk -v key="$1" '$1 == key { print $2 }'; }

# Waits up to 10 s until a command prints what is wanted.
soon()                              # NAME WANT COMMAND...
{
    local name=$1 want=$2 got
    shift 2
    for _ in $(seq 200); do
        got=$("$@")
        [ "$got" = "$want" ] && break
        sleep 0.05
    done
    same "$name" "$want" "$got"
}
lines() { grep -c "$1" "$top/err"; }

# ---- health and metrics ----

server_start --set engine.draft=4 || exit 1
same "live and ready: 200" "200 200 200" \
    "$(status_of "$url/health/live") $(status_of "$url/health/ready") $(status_of "$url/health")"
for _ in 1 2 3; do
    get "$url/v1/completions" -d '{"prompt":"The fox","max_tokens":9,"temperature":0}' > "$top/answer"
done
tokens=$(jq .usage.completion_tokens "$top/answer")
done='bitnetd_http_requests_total{route="/v1/completions",method="POST",status="200"}'
soon "metrics: three requests" 3 metric "$done"
same "metrics: their tokens" $((3 * tokens)) "$(metric bitnetd_generated_tokens_total)"
same "metrics: their first tokens" 3 "$(metric bitnetd_first_token_seconds_count)"
same "metrics: what Prometheus expects to read" "text/plain; version=0.0.4; charset=utf-8" \
    "$(get -o /dev/null -w '%{content_type}' "$url/metrics")"
long=$(printf 'The fox and the hen. %.0s' $(seq 20))
for _ in 1 2; do
    get "$url/v1/completions" -d "{\"prompt\":\"$long\",\"max_tokens\":40,\"temperature\":0}" > "$top/answer"
done
prompt=$(jq .usage.prompt_tokens "$top/answer")
hit=$(metric bitnetd_prefix_cache_hit_tokens_total)
same "metrics: a prompt that comes again is in the prefix cache" "1 1" \
    "$((hit > prompt / 2)) $((hit < prompt))"
same "metrics: the cache holds pages" 1 "$(($(metric 'bitnetd_kv_pages{state="cached"}') > 0))"
drafted=$(metric bitnetd_draft_tokens_total)
right=$(metric bitnetd_draft_accepted_tokens_total)
same "metrics: guesses, and right ones" "1 1" "$((drafted > 0)) $((right > 0 && right <= drafted))"
curl -sS -N "$url/v1/completions" -d '{"prompt":"Once","max_tokens":900,"stream":true}' \
    > "$top/killed" 2> /dev/null &
victim=$!
for _ in $(seq 400); do [ -s "$top/killed" ] && break; sleep 0.05; done
kill -9 $victim
wait $victim 2> /dev/null
soon "metrics: a client that left is a 499" 1 metric "${done/200/499}"
soon "metrics: and cancelled" 1 metric 'bitnetd_requests_total{finish="cancelled"}'
server_stop

# ---- reload ----

"$bitnet" key --scopes read,infer one > "$top/one" || exit 1
"$bitnet" key --scopes read,infer two > "$top/two" || exit 1
one="Authorization: Bearer $(head -n 1 "$top/one")"
two="Authorization: Bearer $(head -n 1 "$top/two")"
tail -n 1 "$top/one" > "$top/keys"
chmod 600 "$top/keys"
conf()                              # LINE...: the configuration file
{
    printf '[server]\nkeys = %s\nport = 0\n' "$top/keys" > "$top/bitnetd.ini"
    printf '%s\n' "$@" >> "$top/bitnetd.ini"
}
conf 'max_body_kib = 64'
server_start --conf "$top/bitnetd.ini" || exit 1
models=$url/v1/models
same "keys: one, not two" "200 401" "$(status_of -H "$one" "$models") $(status_of -H "$two" "$models")"
head -c 40000 /dev/zero | tr '\0' ' ' > "$top/big"
big() { status_of -H "$two" "$url/v1/completions" --data-binary "@$top/big"; }

conf 'max_body_kib = 16' 'drain_s = 7' '[log]' 'level = debug' '[engine]' 'max_seq = 5'
tail -n 1 "$top/two" > "$top/keys"
kill -HUP "$pid"
soon "reload: the other key counts" 200 status_of -H "$two" "$models"
same "reload: the first does not" 401 "$(status_of -H "$one" "$models")"
same "reload: bodies are limited anew" 413 "$(big)"
soon "reload: a line says what changed" 1 \
    lines 'reload: .* changed: server.max_body_kib, server.drain_s, log.level$'
same "reload: a line says what did not" 1 \
    "$(lines 'warning: reload: .*needs a restart: engine.max_seq$')"
soon "reload: debug lines are logged" 1 eval 'grep -q "^debug: " "$top/err" && echo 1'

conf 'max_body_kib = 1' 'max_seq = 5'
kill -HUP "$pid"
soon "reload of a bad file: one line" 1 \
    lines "error: reload: $top/bitnetd.ini:5: server.max_seq: unknown key"
same "reload of a bad file: nothing changed" 400 "$(status_of -H "$two" "$url/v1/completions" -d '{}')"
conf 'max_body_kib = 64'
echo 'no key' > "$top/keys"
kill -HUP "$pid"
soon "reload of bad keys: one line" 1 lines "error: reload: .*$top/keys:1.*everything stays as it was"
same "reload of bad keys: nothing changed" "200 413" "$(status_of -H "$two" "$models") $(big)"
tail -n 1 "$top/two" > "$top/keys"
kill -HUP "$pid"
soon "reload once more" 400 big
server_stop
same "SIGTERM after reloads: status 0" 0 "$status"

# ---- traces ----

: > "$top/spans"
mkfifo "$top/end"
node tests/e2e/clients/collector.mjs "$top/spans" < "$top/end" > "$top/collector" &
collector=$!
exec 9> "$top/end"
for _ in $(seq 200); do [ -s "$top/collector" ] && break; sleep 0.05; done
server_start --set "trace.otlp_url=$(cat "$top/collector")" --set "log.access=$top/access" || exit 1
trace=4bf92f3577b34da6a3ce929d0e0e4736
ask() { get "$url/v1/completions" -d '{"prompt":"The fox","max_tokens":9,"temperature":0}' "$@"; }
ask -H "traceparent: 00-$trace-00f067aa0ba902b7-01" -H 'X-Request-Id: mine' > "$top/answer"
ask -H "traceparent: 00-$trace-00f067aa0ba902b8-00" > /dev/null     # not sampled
ask -H 'traceparent: 00-nonsense' > /dev/null
status_of "$url/v1/completions" -d '{"prompt":7}' > "$top/bad"
status_of "$url/health" > /dev/null
server_stop                         # posts what is left
spans() { jq -s "[.[].resourceSpans[].scopeSpans[].spans[]] | $1" "$top/spans"; }
same "traces: a span for each request that is sampled" 3 "$(spans length)"
mine='.[] | select(any(.attributes[]; .value.stringValue == "mine"))'
same "traces: the caller's trace goes on" "\"$trace\" \"00f067aa0ba902b7\"" \
    "$(spans "$mine | .traceId, .parentSpanId" | xargs -d '\n')"
same "traces: events in their order" '["queue","prefill","first_token","end"]' \
    "$(spans "$mine | .events | sort_by(.timeUnixNano | tonumber) | map(.name)" | jq -c .)"
attribute() { spans "$mine | .attributes[] | select(.key == \"$1\") | .value | .[]" | jq -c .; }
same "traces: tokens" "\"$(jq .usage.completion_tokens "$top/answer")\"" \
    "$(attribute gen_ai.usage.output_tokens)"
same "traces: model" '"story"' "$(attribute gen_ai.response.model)"
same "traces: why it ended" '{"values":[{"stringValue":"length"}]}' \
    "$(attribute gen_ai.response.finish_reasons)"
same "traces: other requests have traces of their own" 3 "$(spans '[.[].traceId] | unique | length')"
same "traces: an error is one" 2 "$(spans '.[] | select(.status) | .status.code')"
same "traces: the access log has the trace" "\"$trace\"" \
    "$(jq 'select(.id == "mine") | .trace' "$top/access")"
exec 9>&-
wait $collector

server_verdict
