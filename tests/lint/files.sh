#!/bin/sh
# files.sh - every file can be read in one sitting and is finished.
#
# At most 600 lines, unless the opening comment says that the file is a table
# or generated (the ABI header is one file by design). No marks of unfinished
# work, no tabs, no white space at the end of a line, a newline at the end of the
# file. Every C file opens with a comment that says what it owns.
. "$(dirname "$0")/lint.sh"

files=$(lint_text_files)
{
echo "$files" | xargs awk '
function bad(line, what) { printf "%s:%d: %s\n", name, line, what }
function finish() {
    if (name == "")
        return
    if (lines > 600 && name ~ /^(core|plugins|tools|include|tests)\// && !excused &&
        name != "include/bitnet_plugin.h" && name !~ /package-lock\.json$/)
        bad(lines, "more than 600 lines: make it two files")
}
FNR == 1 {
    finish()
    name = FILENAME; excused = 0
    if (name ~ /\.[ch]$/ && $0 !~ /^\/\*/)
        bad(1, "opens without a comment that says what the file owns")
}
FNR <= 12 && /[Gg]enerated (by|from|with)|[Aa] table of|[Tt]ables of/ { excused = 1 }
{ lines = FNR }
/(^|[^A-Za-z0-9_])(TODO|FIXME|XXX|TBD|HACK)([^A-Za-z0-9_]|$)/ { bad(FNR, "unfinished work: " $0) }
/[Pp]laceholder/ && name !~ /\.(html|js|mjs)$/ { bad(FNR, "unfinished work: " $0) }
/\t/ && name !~ /\.[1-9]$/ { bad(FNR, "a tab") }
/[ \t\r]$/ { bad(FNR, "white space at the end of the line") }
END { finish() }'
echo "$files" | while read -r f; do
    if [ -s "$f" ] && [ -n "$(tail -c 1 "$f")" ]; then
        echo "$f: no newline at the end of the file"
    fi
done
} | lint_verdict
