#!/bin/sh
# Number, mean, standard deviation, smallest and largest value for each station of a
# CSV file with the columns station, day, temperature.
set -eu

tail -n +2 "$1" | sort -t , -k 1,1 | awk -F , '
    function flush() {
        if (n == 0) return
        mean = sum / n
        printf "%-10s %4d %8.2f %8.2f %8.2f %8.2f\n",
            station, n, mean, sqrt(squares / n - mean * mean), low, high
    }
    BEGIN { printf "%-10s %4s %8s %8s %8s %8s\n", "station", "n", "mean", "sd", "min", "max" }
    $1 != station { flush(); station = $1; n = sum = squares = 0; low = high = $3 }
    {
        n++; sum += $3; squares += $3 * $3
        if ($3 < low) low = $3
        if ($3 > high) high = $3
    }
    END { flush() }'
