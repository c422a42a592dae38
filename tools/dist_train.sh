#!/usr/bin/env bash
# Usage: tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]
# TORCHRUN_ARGS may hold options of torchrun. With --max-restarts=N, it starts all processes again if one is lost; add
# --resume to the arguments then.
set -euo pipefail

CONFIG=$1
GPUS=$2
NNODES=${NNODES:-1}
NODE_RANK=${NODE_RANK:-0}
PORT=${PORT:-29500}
MASTER_ADDR=${MASTER_ADDR:-127.0.0.1}
TORCHRUN_ARGS=${TORCHRUN_ARGS:-}
ROOT=$(cd "$(dirname "$0")/.." && pwd)

# TORCHRUN_ARGS may hold several arguments.
# shellcheck disable=SC2086
PYTHONPATH="$ROOT:${PYTHONPATH:-}" python -m torch.distributed.run \
    --nnodes="$NNODES" --node_rank="$NODE_RANK" --master_addr="$MASTER_ADDR" --master_port="$PORT" \
    --nproc_per_node="$GPUS" $TORCHRUN_ARGS \
    "$ROOT/tools/train.py" "$CONFIG" --launcher pytorch "${@:3}"
