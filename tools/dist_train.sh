#!/usr/bin/env bash
# Usage: tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]
# MAX_RESTARTS=3 tools/dist_train.sh CONFIG GPUS --resume starts all processes again if one is lost, three times at most.
set -euo pipefail

CONFIG=$1
GPUS=$2
NNODES=${NNODES:-1}
NODE_RANK=${NODE_RANK:-0}
PORT=${PORT:-29500}
MASTER_ADDR=${MASTER_ADDR:-127.0.0.1}
MAX_RESTARTS=${MAX_RESTARTS:-0}
ROOT=$(cd "$(dirname "$0")/.." && pwd)

MEETING=(--node_rank="$NODE_RANK" --master_addr="$MASTER_ADDR" --master_port="$PORT")
if [ "$MAX_RESTARTS" -gt 0 ]; then
    # Otherwise restarted processes could not meet: they read the addresses of the earlier ones (pytorch issue 135712).
    export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
    MEETING=(--rdzv_backend=c10d --rdzv_endpoint="$MASTER_ADDR:$PORT" --rdzv_id="$PORT")
fi

PYTHONPATH="$ROOT:${PYTHONPATH:-}" python -m torch.distributed.run \
    --nnodes="$NNODES" "${MEETING[@]}" \
    --nproc_per_node="$GPUS" --max_restarts="$MAX_RESTARTS" \
    "$ROOT/tools/train.py" "$CONFIG" --launcher pytorch "${@:3}"
