#!/bin/sh
# Adds up COUNT terms of the Leibniz series for pi, from term PART * COUNT on.
# Writes to result.txt: the part, the number of terms, and their sum.
set -eu
part=$1
count=$2

awk -v part="$part" -v count="$count" 'BEGIN {
    first = part * count
    for (k = first; k < first + count; k++)
        sum += (k % 2 ? -4 : 4) / (2 * k + 1)
    printf "%d %d %.17g\n", part, count, sum
}' > result.txt

echo "part $part: $(cat result.txt)"
