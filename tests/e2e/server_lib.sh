# server_lib.sh - starting and stopping bitnetd, and counting what holds.
#
# Sourced with `build` set to the build folder; prints "ok NAME" or
# "not ok NAME" per test, and server_verdict gives the exit status.
# shellcheck shell=bash disable=SC2154,SC2034
bitnetd=$build/bin/bitnetd
bitnet=$build/bin/bitnet
top=$(mktemp -d) || exit 2
export XDG_CACHE_HOME=$top/cache       # nothing is kept in the user's own
unset CACHE_DIRECTORY
# What kernels take is measured once for all tests of a build, not by each of them.
measured=$build/tests/e2e/timings
mkdir -p "$XDG_CACHE_HOME/bitnet"
cp "$measured" "$XDG_CACHE_HOME/bitnet/timings" 2> /dev/null
pid=
url=
n_failed=0

server_cleanup()
{
    [ -z "$pid" ] || kill -9 "$pid" 2> /dev/null
    wait 2> /dev/null
    chmod -R u+w "$top"
    cp "$top/cache/bitnet/timings" "$measured.$$" 2> /dev/null && mv "$measured.$$" "$measured"
    rm -rf "$top"
}
trap server_cleanup EXIT

ok() { echo "ok $1"; }
not_ok()                            # NAME [LINE...]
{
    echo "not ok $1"
    shift
    [ $# -eq 0 ] || printf '    %s\n' "$@"
    n_failed=$((n_failed + 1))
}

same()                              # NAME WANT GOT
{
    if [ "$2" = "$3" ]; then
        ok "$1"
    else
        not_ok "$1" "want: $2" "got:  $3"
    fi
}

# Starts bitnetd on a free port and waits until it serves. Sets pid and url.
server_start()                      # ARGUMENT...
{
    : > "$top/out"                  # else the last server's url may be read here
    "$bitnetd" --set server.port=0 "$@" > "$top/out" 2> "$top/err" < /dev/null &
    pid=$!
    url=
    for _ in $(seq 1200); do
        url=$(sed -n 's/^listening on //p' "$top/out")
        [ -z "$url" ] || return 0
        kill -0 "$pid" 2> /dev/null || break
        sleep 0.05
    done
    not_ok "bitnetd $* starts" "$(tail -n 3 "$top/err")"
    return 1
}

# Waits for its end, 60 s at most, and sets `status`.
server_wait()
{
    status=timeout
    for _ in $(seq 1200); do
        if ! kill -0 "$pid" 2> /dev/null; then
            wait "$pid"
            status=$?
            break
        fi
        sleep 0.05
    done
    pid=
}

server_stop() { kill "$pid"; server_wait; }

# Text of an answer, streamed or not, from standard input.
text()
{
    sed 's/^data: //; /^\[DONE\]$/d; /^$/d' | jq -sj '.[].choices[]?.text'
    echo .                          # so that $() keeps the text's own newlines
}

server_verdict() { [ $n_failed -eq 0 ]; }
