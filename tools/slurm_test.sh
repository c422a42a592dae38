#!/usr/bin/env bash
# Usage: tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of tools/test.py]
set -euo pipefail

TOOL=test exec "$(dirname "$0")/slurm_train.sh" "$@"
