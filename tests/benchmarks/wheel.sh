#!/usr/bin/env bash
# Builds the wheel, installs it into an empty environment with the pins of constraints.txt, and goes
# the way of a user from an empty folder. Takes minutes, most of them to install PyTorch:
#   tests/benchmarks/wheel.sh [PYTHON]
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH

"${1:-python3}" -m venv "$scratch/venv"
export PATH="$scratch/venv/bin:$PATH"
# From a copy: setuptools leaves its build folder beside the sources.
mkdir "$scratch/source" "$scratch/user"
git -C "$root" ls-files -z | tar -C "$root" --null --files-from=- -c | tar -C "$scratch/source" -x
python -m pip wheel --quiet --no-deps --wheel-dir "$scratch" "$scratch/source"
python -m pip install --quiet -c "$root/constraints.txt" "$(grep '^torch==' "$root/constraints.txt")"
python -m pip install --quiet -c "$root/constraints.txt" "$scratch"/ptl_skel-*.whl
names=$(python -c 'from importlib.metadata import distribution
print(*{file.parts[0] for file in distribution("ptl_skel").files if ".." not in file.parts
        if not file.parts[0].endswith(".dist-info")})')
test "$names" = ptl_skel || { echo "the wheel installs more than ptl_skel: $names"; exit 1; }

cd "$scratch/user"
run() { echo "\$ $*"; "$@"; }
tiny=(--config experiment/synthetic.yaml --data.file synthetic.h5 --trainer.max_epochs 1
      --trainer.enable_progress_bar false --wandb off)
run ptl-skel preprocess synthetic skeletons --subjects 3 --replications 1
run ptl-skel preprocess ntu skeletons --out synthetic.h5
run ptl-skel check synthetic.h5
run ptl-skel fit "${tiny[@]}" --model.backbone backbone/reduced.yaml --run_dir run
run ptl-skel test --ckpt_path run/checkpoints/last.ckpt
run ptl-skel predict --ckpt_path run/checkpoints/last.ckpt
run ptl-skel sweep backbone.yaml --experiment experiment/synthetic.yaml \
    --set data.file=synthetic.h5 --set trainer.max_epochs=1 --set data.batch_size=16 \
    --set 'seed_everything={values: [0]}' --set wandb=off \
    --set 'model.backbone={values: [backbone/reduced.yaml, backbone/narrow.yaml]}' --out runs
run ptl-skel report runs
test -f runs/report/report.html
run ptl-skel profile backbone/reduced.yaml --seconds 0
run python -m ptl_skel.sweeps report runs --out again
echo "the wheel works"
