#!/usr/bin/env bash
# run.sh OUT [cuda|cpu]: checks and measures mmdmt on one GPU. OUT gets the figures, as Markdown and JSON, and the logs.
# With cpu, shortened plans try the same script where there is no GPU.
set -uo pipefail
mkdir -p "$1"
out=$(cd "$1" && pwd)
device=${2:-cuda}
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}

export OMP_NUM_THREADS=1 MMDMT_GPU_OUT=$out MMDMT_GPU_DEVICE=$device
"$python" -m pytest -m gpu tests/gpu --durations=0 2>&1 | tee "$out/pytest.txt"
status=$?
parts=(loss step classification labeling)
[ "$device" = cpu ] || parts+=(methods configs)
"$python" tools/benchmark.py --device "$device" --only "${parts[@]}" --repeats 7 --json "$out/benchmark.json" | tee "$out/benchmark.md" ||
  status=1
exit $status
