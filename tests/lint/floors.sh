#!/bin/sh
# floors.sh - a file includes its own folder and lower floors only.
#
# base < model | plug (blind to each other) < engine < serve < daemon
# < main; tools see serve and what is below it.
# Plugins see bitnet_plugin.h and plugins/kit; the header sees stddef and
# stdint. Includes in quotes are written from the top of the tree; a plugin
# names the files of its own folder plainly, so that the folder can move.
. "$(dirname "$0")/lint.sh"

find core plugins tools include -name '*.[ch]' | LC_ALL=C sort | xargs awk '
function bad(what) { printf "%s:%d: %s\n", FILENAME, FNR, what }
function room(path,   part, n) {
    n = split(path, part, "/")
    return part[1] == "core" && n > 2 ? part[2] : part[1] == "core" ? "main" : part[1]
}
BEGIN {
    see["base"] = " base "
    see["model"] = " base model "
    see["plug"] = " base plug "
    see["engine"] = " base model plug engine "
    see["serve"] = " base model plug engine serve "
    see["daemon"] = " base model plug engine serve daemon "
    see["main"] = " base model plug engine serve daemon main "
    see["tools"] = " base model plug engine serve tools "
}
FNR == 1 { me = room(FILENAME); split(FILENAME, part, "/"); folder = part[1] "/" part[2] "/" }
/^[ \t]*#[ \t]*include/ {
    line = $0
    sub(/^[ \t]*#[ \t]*include[ \t]*/, "", line)
    quoted = line ~ /^"/
    what = line
    sub(/^["<]/, "", what); sub(/[">].*$/, "", what)
    if (me == "include") {
        if (line !~ /^<std(def|int)\.h>/)
            bad("the ABI header includes stddef and stdint only, not " what)
    } else if (what ~ /(^|\/)\.\.?\//) {
        bad("write the path from the top of the tree: " what)
    } else if (what == "bitnet_plugin.h") {
    } else if (what ~ /^(core|plugins|tools|tests|include)\// || quoted) {
        if (me == "plugins") {
            if (what ~ /\// && index(what, "plugins/kit/") != 1 && index(what, folder) != 1)
                bad("a plugin includes bitnet_plugin.h, plugins/kit and its own folder, not " what)
        } else if (what !~ /\//)
            bad("write the path from the top of the tree: " what)
        else if (!(me in see) || !index(see[me], " " room(what) " "))
            bad(me " must not see " what)
    }
}' | lint_verdict
