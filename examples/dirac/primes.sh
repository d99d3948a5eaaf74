#!/bin/sh
# Counts the primes among COUNT numbers from FROM on; writes the count to FILE.
# The ten counts of primes.jdl add up to 1229, the number of primes below 10,000.
set -eu
from=$1
count=$2
file=$3

awk -v from="$from" -v count="$count" '
    function is_prime(n,   d) {
        if (n < 2) return 0
        for (d = 2; d * d <= n; d++)
            if (n % d == 0) return 0
        return 1
    }
    BEGIN {
        for (n = from; n < from + count; n++) primes += is_prime(n)
        print primes
    }' > "$file"

echo "$(cat "$file") primes from $from on"
