#!/usr/bin/env bash
# gpu_prepare.sh [SHARED]: collects in .gpu/ what a GPU machine without internet needs besides this
# checkout: wheels, the golden cases, and the keypoint files of four data sets. Git ignores .gpu/.
# SHARED is the folder with data/, golden/ and gpu/wheels.sh; default: PTL_SKEL_SHARED.
set -euo pipefail
cd "$(dirname "$0")/../.."
shared=${1:-${PTL_SKEL_SHARED:-../shared}}
python=${PYTHON:-python3}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
limit_mib=64

mkdir -p .gpu/shared .gpu/data
[ -n "$(ls .gpu/wheels 2>/dev/null)" ] || PATH="$(dirname "$(command -v "$python")"):$PATH" \
    bash "$shared/gpu/wheels.sh" .gpu/wheels -c constraints.txt
rm -rf .gpu/shared/golden
cp -r "$shared/golden" .gpu/shared/
chmod -R u+w .gpu/shared

read_pickle() {  # NAME PICKLE LAYOUT
    [ -f ".gpu/data/$1.h5" ] || "$python" -m preprocessing pyskl "$shared/data/$2" \
        --layout "$3" --out ".gpu/data/$1.h5" --max_loss 100 >/dev/null
}
layouts=tests/benchmarks/layouts
[ -f .gpu/data/penn_action.h5 ] || "$python" -m preprocessing penn_action \
    "$shared/data/penn_action/labels" --out .gpu/data/penn_action.h5 >/dev/null
read_pickle sbu sbu/sbu_interaction.pkl sbu15
read_pickle nw_ucla nw_ucla/nw_ucla_2d.pkl "$layouts/kinect20.yaml"
read_pickle msr_action3d msr_action3d/msr_action3d.pkl "$layouts/msr20.yaml"
tar -cJf .gpu/data.tar.xz -C .gpu/data penn_action.h5 sbu.h5 nw_ucla.h5 msr_action3d.h5

carried=$(du -cm .gpu/wheels .gpu/shared .gpu/data.tar.xz | tail -1 | cut -f1)
tree=$(git ls-files -z | du -cm --files0-from=- | tail -1 | cut -f1)
echo "carry .gpu/wheels .gpu/shared .gpu/data.tar.xz: $carried MiB, and the checkout: $tree MiB"
[ $((carried + tree)) -lt $limit_mib ] || { echo "more than $limit_mib MiB" >&2; exit 1; }
