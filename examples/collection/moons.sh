#!/bin/sh
# Tells how many planets have at least $1 moons.
set -eu
awk -F, -v least="$1" '$3 >= least { n++ } END { print n + 0 }' planets.csv
