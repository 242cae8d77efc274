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
wheel=$(echo "$scratch"/ptl_skel-*.whl)
python -m pip install --quiet -c "$root/constraints.txt" "$wheel[export,video]"
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
run ptl-skel export --ckpt_path run/checkpoints/last.ckpt --out model.onnx
# A video and a pose estimator of a user's own: the models of others are downloads.
cat > walker.py <<'PYTHON'
import av
import numpy as np

from ptl_skel.pose import Poses
from ptl_skel.skeletons import LAYOUTS


class Walker:
    """Finds one person in every image."""

    layout = LAYOUTS["ntu25"]
    preferred_side = None

    def __call__(self, image):
        joints = np.random.default_rng(0).uniform(40, 80, (1, 25, 2))
        return Poses.from_joints(joints, np.ones((1, 25)))


if __name__ == "__main__":
    with av.open("video.mp4", "w") as file:
        stream = file.add_stream("mpeg4", rate=30)
        stream.width = stream.height = 128
        for number in range(90):
            image = np.full((128, 128, 3), 2 * number, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        file.mux(stream.encode())
PYTHON
export PYTHONPATH=$PWD
run python walker.py
run ptl-skel live --model model.onnx --source video.mp4 --estimator walker.Walker \
    --min_probability 0 --out live.mp4 --json events.jsonl
grep -q '"event": "label"' events.jsonl
run ptl-skel profile backbone/reduced.yaml --seconds 0
run ptl-skel report runs --out again
echo "the wheel works"
