#!/usr/bin/env bash
# gpu_session.sh: the tests with CUDA, then the benchmark, then profiles, within MINUTES (default 12).
# Every step has a limit of its own and leaves its results in OUT (default ./gpu-out) when it ends,
# the benchmark after every row. `DRY_RUN=1` tries the script out on a CPU with tiny shapes.
# gpu_prepare.sh first collects what a machine without internet needs.
set -u
. "$(dirname "$0")/gpu_environment.sh"
minutes=${MINUTES:-12}
dry_run=${DRY_RUN:-}
end=$(($(date +%s) + $("$PYTHON" -c "print(int(60 * $minutes))")))
device=(--device cuda)
if [ -n "$dry_run" ]; then
    export PTL_SKEL_CUDA_DRY_RUN=cpu
    device=(--device cpu --quick)
fi

left() { echo $((end - $(date +%s))); }
step() {  # NAME SECONDS COMMAND...: runs a command within its limit, and the session's
    local name=$1 limit=$2 rest
    shift 2
    rest=$(left)
    [ "$limit" -le "$rest" ] || limit=$rest
    if [ "$limit" -lt 5 ]; then
        echo "== $name: no time left" | tee -a "$OUT/summary.txt"
        return
    fi
    local begin code
    begin=$(date +%s)
    # Interrupted, pytest still reports what it has found.
    timeout --signal=INT --kill-after=20 "$limit" "$@" >"$OUT/$name.txt" 2>&1
    code=$?
    echo "== $name: exit $code after $(($(date +%s) - begin)) s (limit $limit)" \
        | tee -a "$OUT/summary.txt"
}

: >"$OUT/summary.txt"
step environment 30 bash -c 'nvidia-smi; "$PYTHON" -c "
import platform, sys, torch
print(sys.version, platform.platform(), torch.__version__, torch.version.cuda)
print(torch.cuda.get_device_properties(0) if torch.cuda.is_available() else \"no GPU\")
"; git log -1 --oneline; "$PYTHON" -m pip list 2>/dev/null | grep -iE \
    "^(torch|triton|lightning|numpy|h5py|jsonargparse|torchmetrics) "'
profiling=$(($(left) / 8))
parallel=()
"$PYTHON" -c 'import xdist' 2>/dev/null && parallel=(-n 6)
step tests $(($(left) / 3)) "$PYTHON" -m pytest -m cuda tests/cuda -q -p no:cacheprovider \
    --durations=10 "${parallel[@]}"
bench=$(($(left) - profiling))
step bench "$bench" "$PYTHON" tests/benchmarks/gpu.py "${device[@]}" --out "$OUT/gpu.json" \
    --minutes "$("$PYTHON" -c "print(($bench - 5) / 60)")"
step profiles "$(left)" "$PYTHON" tests/benchmarks/profiles.py "${device[@]}"

echo; tail -4 "$OUT/tests.txt"
"$PYTHON" tests/benchmarks/table.py "$OUT/gpu.json"
cat "$OUT/summary.txt"
! grep -qE 'exit [1-9]' "$OUT/summary.txt"
