#!/bin/sh
# Checks the collected outputs of dag.jdl: every stage is there, each once, and none began before
# all that it depends on had ended. (The clocks of the machines that it ran on must agree.)
# Usage: check.sh DIR, where DIR holds a folder for each node.
set -eu
if [ $# -ne 1 ]; then
    echo "usage: check.sh DIR" >&2
    exit 2
fi

find "$1" -name stage.txt -exec cat {} + | awk '
    function after(child, parents,    n, all, i) {
        n = split(parents, all, " ")
        for (i = 1; i <= n; i++) {
            edges++
            if (!(all[i] in end) || !(child in begin) || begin[child] < end[all[i]]) {
                print child " did not wait for " all[i]
                bad = 1
            }
        }
    }
    $1 in begin { print $1 " is there twice"; bad = 1 }
    { begin[$1] = $2 + 0; end[$1] = $3 + 0; stages++ }
    END {
        sweep = "sweep-0 sweep-1 sweep-2 sweep-3"
        for (i = 0; i < 4; i++) after("sweep-" i, "prepare")
        after("left", "prepare")
        after("right", "prepare")
        after("merge", "left right " sweep)
        after("plot", "merge " sweep)
        after("table", "merge " sweep)
        after("archive", "prepare plot table")
        if (stages != 11) { print stages + 0 " stages instead of 11"; bad = 1 }
        if (bad) exit 1
        printf "%d stages in the right order over %d edges\n", stages, edges
    }'
