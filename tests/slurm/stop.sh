#!/usr/bin/env bash
# Usage: tests/slurm/stop.sh FOLDER
# Kills the jobs of the SLURM that start.sh has started, and stops it.
set -uo pipefail

FOLDER=$1
export SLURM_CONF=$FOLDER/slurm.conf
[ -f "$SLURM_CONF" ] || exit 0
timeout 5 scancel --full --signal=KILL --user=root
timeout 5 scancel --user=root
for daemon in slurmd slurmctld munged; do
    process=$(cat "$FOLDER/$daemon.pid" 2> /dev/null) || continue
    kill "$process"
    for _ in $(seq 50); do
        [ -f "$FOLDER/$daemon.pid" ] && grep -qs "$daemon" "/proc/$process/cmdline" || break
        sleep 0.2
    done
done
exit 0
