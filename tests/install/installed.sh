#!/bin/bash
# installed.sh - an installation is complete and works from where it stands.
#
#   installed.sh BUILD
#
# Installs into a folder of its own and uses what it finds there: runs the
# programs, answers one request, builds a plugin with the header and nothing
# else of this tree. Prints "ok NAME" or "not ok NAME" per test.
set -u
build=$(cd "$1" && pwd)
top=$(mktemp -d) || exit 2
prefix=$top/prefix
daemon=
finish()
{
    [ -z "$daemon" ] || { kill "$daemon"; wait "$daemon"; } 2> /dev/null
    rm -rf "$top"
}
trap finish EXIT

t()                                 # t NAME COMMAND...
{
    local name=$1
    shift
    if "$@" > "$top/out" 2>&1; then
        echo "ok $name"
    else
        echo "not ok $name"
        sed 's/^/    /' "$top/out"
    fi
}

t "cmake --install" cmake --install "$build" --prefix "$prefix"
for file in bin/bitnetd bin/bitnet bin/bitnet-plugins lib/bitnet/plugins/scalar-ref.so \
    include/bitnet_plugin.h lib/pkgconfig/bitnet-plugin.pc etc/bitnet/bitnet.ini \
    share/bitnet/models/story.gguf lib/systemd/system/bitnetd.service \
    share/man/man1/bitnet.1 share/man/man1/bitnet-plugins.1 share/man/man5/bitnet.ini.5 \
    share/man/man8/bitnetd.8; do
    t "installs $file" test -s "$prefix/$file"
done
opencl=                                 # built where the headers are
[ ! -e "$build/lib/bitnet/plugins/opencl.so" ] || opencl='opencl.so '
case $(uname -m) in
    x86_64) plugins="cpu-avx2.so cpu-avx512.so ${opencl}scalar-ref.so" ;;
    aarch64) plugins="cpu-neon.so ${opencl}scalar-ref.so" ;;
    *) plugins=${opencl}scalar-ref.so ;;
esac
release_plugins() { [ "$(cd "$prefix/lib/bitnet/plugins" && echo *)" = "$plugins" ]; }
t "installs the plugins of this processor's family and no other" release_plugins

for page in "$prefix"/share/man/man*/*; do
    t "${page##*/} is clean for mandoc" mandoc -T lint -W warning "$page"
done

# Every option that a program explains stands in its page.
documented()                        # documented PAGE PROGRAM [VERB]
{
    local page option found=0
    page=$(mandoc -T ascii "$prefix/share/man/$1" | sed 's/.\x08//g') || return
    for option in $("$prefix/bin/$2" ${3:+"$3"} --help | grep -oE -- '--[a-z0-9]+(-[a-z0-9]+)*' | sort -u); do
        case $option in
        --help|--version|--prompt|--model|--out|--n-tokens) continue ;;     # the short form is there
        esac
        found=1
        grep -qE -e "(^|[^-a-z0-9])$option([^-a-z0-9]|\$)" <<< "$page" || { echo "$option is missing"; return 1; }
    done
    [ $found = 1 ]
}
t "bitnetd(8) has every option" documented man8/bitnetd.8 bitnetd
t "bitnet-plugins(1) has every option" documented man1/bitnet-plugins.1 bitnet-plugins
for verb in run tokenize logits inspect; do
    t "bitnet(1) has every option of $verb" documented man1/bitnet.1 bitnet $verb
done

# Hardening, and no trace of the folder it was built in.
for program in bitnetd bitnet bitnet-plugins; do
    file=$prefix/bin/$program
    pie() { readelf -hW "$file" | grep -q 'Type: *DYN' && readelf -dW "$file" | grep -q 'FLAGS_1.*NOW.*PIE'; }
    t "$program is position independent and bound at start" pie
    relro() { readelf -lW "$file" | grep -q GNU_RELRO && ! readelf -lW "$file" | grep -q 'GNU_STACK.*RWE'; }
    t "$program has relro and a plain stack" relro
    no_path() { ! readelf -dW "$file" | grep -qE 'RPATH|RUNPATH'; }
    t "$program has no run path" no_path
done
no_trace() { ! grep -rlF -e "$PWD" "$prefix/bin" "$prefix/lib"; }
t "no file names the folder it was built in" no_trace

# A plugin of somebody else: our header by pkg-config, our skeleton's source.
t "pkg-config finds the header" env PKG_CONFIG_PATH="$prefix/lib/pkgconfig" \
    pkg-config --exists --print-errors bitnet-plugin
outside()
{
    mkdir -p "$top/outside/plugins" && cp plugins/skeleton/*.c "$top/outside" || return
    local cflags
    cflags=$(PKG_CONFIG_PATH=$prefix/lib/pkgconfig pkg-config --cflags bitnet-plugin) || return
    # shellcheck disable=SC2086 # flags are words
    (cd "$top/outside" && cc -std=c11 -Wall -Wextra -Werror -O2 -fPIC -fvisibility=hidden $cflags \
        -shared -o plugins/outside.so ./*.c) && chmod 755 "$top/outside/plugins"
}
t "plugins/skeleton compiles outside of the tree" outside
listed() { "$prefix/bin/bitnet-plugins" list --json --dir "$top/outside/plugins" | grep -q skeleton; }
t "bitnet-plugins lists it" listed
t "bitnet-plugins lists the installed ones" "$prefix/bin/bitnet-plugins" list
t "bitnetd --check" "$prefix/bin/bitnetd" --check --conf "$prefix/etc/bitnet/bitnet.ini"

# One completion from the installed daemon, and the same text from the tool.
"$prefix/bin/bitnetd" --conf "$prefix/etc/bitnet/bitnet.ini" --set server.host=127.0.0.1 \
    --set server.port=0 > "$top/daemon.log" 2>&1 < /dev/null &
daemon=$!
url=
for _ in $(seq 150); do
    url=$(grep -oE 'https?://127\.0\.0\.1:[0-9]+' "$top/daemon.log" | head -n 1)
    if [ -n "$url" ] && curl -sf -o /dev/null "$url/health"; then
        break
    fi
    kill -0 $daemon 2> /dev/null || break
    sleep 0.2
done
completes()
{
    cat "$top/daemon.log"
    curl -sS --fail-with-body "$url/v1/completions" -H 'Content-Type: application/json' \
        -d '{"prompt":"The old man","max_tokens":16,"temperature":0}' > "$top/answer" || return
    cat "$top/answer"
    jq -e '.choices[0].text | length > 10' "$top/answer"
}
t "the installed daemon completes a prompt" completes
same_text()
{
    "$prefix/bin/bitnet" run -p 'The old man' -n 16 --temp 0 > "$top/run" || return
    local text
    text=$(jq -r '.choices[0].text' "$top/answer")
    echo "daemon: $text"
    echo "tool: $(cat "$top/run")"
    [ -n "$text" ] && [[ "$(cat "$top/run")" == *"$text"* ]]
}
t "bitnet run writes the same text" same_text
stops() { kill -TERM "$daemon" && wait "$daemon"; }
t "it stops cleanly" stops
daemon=
