#!/bin/sh
# failures.sh BUILD - no driver, a broken driver, kernels that do not compile, too
# little memory, a damaged cache: each is one line, and the others go on.
set -u
build=$1
plugins=$build/lib/bitnet/plugins
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
export XDG_CACHE_HOME="$tmp/cache"
export POCL_CACHE_DIR="$build/tests/opencl/pocl"        # PoCL's own, so that it need not start anew
mkdir -p "$POCL_CACHE_DIR"
n_bad=0

list() { "$build/bin/bitnet-plugins" list --dir "$plugins" "$@" 2>&1; }

# expect WHAT PATTERN: the text of standard input has a line with it, and the
# reference is still there.
expect()
{
    text=$(cat)
    if ! printf '%s\n' "$text" | grep -q "$2"; then
        echo "$1: expected a line with \"$2\", got:"
        printf '%s\n' "$text"
        n_bad=$((n_bad + 1))
    elif ! printf '%s\n' "$text" | grep -q '^scalar-ref.so .*available'; then
        echo "$1: scalar-ref is gone with it:"
        printf '%s\n' "$text"
        n_bad=$((n_bad + 1))
    fi
}

if list --fast | grep '^opencl.so.*no device found'; then
    exit 77
fi

mkdir "$tmp/none" "$tmp/broken" "$tmp/bogus"
OCL_ICD_VENDORS="$tmp/none/" list | expect 'no driver' '^opencl.so .*available: no device .*finds no driver'

echo /nowhere/libnothing.so > "$tmp/broken/x.icd"
OCL_ICD_VENDORS="$tmp/broken/" list | expect 'a driver that is not there' '^opencl.so .*no device .*finds no driver'

echo "$plugins/scalar-ref.so" > "$tmp/bogus/x.icd"
OCL_ICD_VENDORS="$tmp/bogus/" list | expect 'a driver that is none' '^opencl.so .*no device .*finds no driver'

list --set 'plugin:org.bitnetd.opencl.devices=nobody' |
    expect 'no such device' '^opencl.so .*no device .*holds "nobody"'

list --set 'plugin:org.bitnetd.opencl.build_options=-Dappend=1' |
    expect 'kernels that do not compile' '^opencl.so .*rejected: .*kernels do not compile.*error'

list --set 'plugin:org.bitnetd.opencl.mem_mib=1' |
    expect 'too little memory' '^opencl.so .*rejected: .*bytes; .* left of 1048576'

list --set 'plugin:org.bitnetd.opencl.mem_mib=plenty' |
    expect 'an option that is no number' 'mem_mib = plenty: expected a number'

# The cache: written for this user only, used, seen through when it is damaged.
rm -rf "$tmp/cache"
cached() { list --set plugin:org.bitnetd.opencl.cache=on; }
cached | expect 'a first start' '^opencl.so .*available$'
file=$(ls "$tmp"/cache/bitnet/opencl-*.bin)
case $(stat -c %a "$file") in
600) ;;
*) echo "$file: $(stat -c %a "$file"), expected 600"; n_bad=$((n_bad + 1)) ;;
esac
size=$(stat -c %s "$file")
good=$(cksum < "$file")
stamp=$(stat -c %i "$file")
cached | expect 'a second start' '^opencl.so .*available$'
if [ "$(stat -c %i "$file")" != "$stamp" ]; then
    echo "$file: written again though it was good"
    n_bad=$((n_bad + 1))
fi
printf 'x' | dd of="$file" bs=1 seek=$((size / 2)) conv=notrunc 2> /dev/null
if [ "$(cksum < "$file")" = "$good" ]; then
    printf 'y' | dd of="$file" bs=1 seek=$((size / 2)) conv=notrunc 2> /dev/null
fi
cached | expect 'a byte of the cache that changed' 'damaged; the kernels are compiled again'
cached | expect 'the cache after that' '^opencl.so .*available$'

# The same file without kernels in it, where the driver keeps its own: quicker.
damaged()                               # WHAT: the file has just been damaged
{
    list | expect "$1" 'damaged; the kernels are compiled again'
    if list | grep -q damaged; then
        echo "$1: the file was not written again"
        n_bad=$((n_bad + 1))
    fi
}
head -c 30 "$file" > "$tmp/short"
cat "$tmp/short" > "$file"
damaged 'a cache cut short'
: > "$file"
damaged 'an empty cache'
chmod 666 "$file"
list | expect 'a cache that others may write' 'not used: expected a file of this user'
rm -rf "$tmp/cache"
list --set plugin:org.bitnetd.opencl.cache=off | expect 'no cache' '^opencl.so .*available$'
if ls "$tmp"/cache/bitnet/opencl-* 2> /dev/null; then
    echo "cache=off: a file was written"
    n_bad=$((n_bad + 1))
fi
exit $((n_bad != 0))
