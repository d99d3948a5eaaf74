#!/bin/sh
# One stage of the work: notes its name, and when it began and ended, in nanoseconds.
set -eu
begun=$(date +%s%N)
sleep 0.1
echo "$1 $begun $(date +%s%N)" >stage.txt
