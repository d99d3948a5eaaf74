#!/bin/sh
# Checks the collected outputs of collection.jdl.
# Usage: check.sh DIR, where DIR holds a folder for each node.
set -eu
if [ $# -ne 1 ]; then
    echo "usage: check.sh DIR" >&2
    exit 2
fi

bad=0
expect() {
    found=$(tr -d ' ' <"$1")
    if [ "$found" != "$2" ]; then
        echo "$1 holds '$found' instead of '$2'"
        bad=1
    fi
}
expect "$1/count/result.txt" 8
expect "$1/heaviest/result.txt" Jupiter,1898,95
expect "$1/moons/0/result.txt" 6
expect "$1/moons/1/result.txt" 4
expect "$1/moons/2/result.txt" 1
[ "$bad" -eq 0 ] && echo "all results are right"
