#!/bin/sh
# Checks the collected outputs of sweep.jdl: all 200 parts are there, each once, and
# together they are pi, but for the terms that were left out.
# Usage: check.sh DIR, where DIR holds a folder for each task.
set -eu
if [ $# -ne 1 ]; then
    echo "usage: check.sh DIR" >&2
    exit 2
fi

find "$1" -name result.txt -exec cat {} + | awk '
    seen[$1]++ { print "part " $1 " is there twice"; bad = 1 }
    { parts++; terms += $2; sum += $3 }
    END {
        pi = atan2(0, -1)
        if (parts != 200)      { print parts + 0 " parts instead of 200"; bad = 1 }
        if (terms != 1000000)  { print terms + 0 " terms instead of 1000000"; bad = 1 }
        # After an even number n of terms, the series is 1/n below pi.
        off = sum + 1e-6 - pi
        if (off > 1e-10 || off < -1e-10) { printf "the sum is off by %g\n", off; bad = 1 }
        if (bad) exit 1
        printf "%d parts, %d terms: %.6f\n", parts, terms, sum
    }'
