#!/bin/bash
# TORQUE's commands over a throw-away Slurm, for the tests. See README.md. What it takes is what
# slurm.sh takes: this is such a cluster, with the commands of Debian's slurm-wlm-torque.
set -euo pipefail

for program in qsub qstat qdel pbsnodes; do
    # Other batch systems have commands of these names too.
    if ! grep -qs Slurm "$(command -v "$program" || true)" /dev/null; then
        echo "torque.sh: $program is not Slurm's: apt-get install slurm-wlm-torque" >&2
        exit 1
    fi
done
exec bash "$(dirname "$(realpath "$0")")/slurm.sh" "$@"
