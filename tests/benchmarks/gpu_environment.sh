# Sourced by the scripts for a GPU machine: the checkout becomes importable without being installed.
# PYTHON, OUT and PTL_SKEL_SHARED may be set before.
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export PYTHON=${PYTHON:-python3} OUT=${OUT:-$PWD/gpu-out} PYTHONUNBUFFERED=1
mkdir -p "$OUT"
OUT=$(realpath "$OUT")
needed='import jsonargparse, wandb, optuna, submitit'
if [ -d .gpu/wheels ] && ! "$PYTHON" -c "$needed" 2>/dev/null; then
    [ -d .gpu/site ] || "$PYTHON" -m pip install -q --no-index --no-deps --no-compile \
        --target .gpu/site .gpu/wheels/*.whl
    PYTHONPATH=$PWD/.gpu/site${PYTHONPATH:+:$PYTHONPATH}
fi
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
export PTL_SKEL_SHARED=${PTL_SKEL_SHARED:-$PWD/.gpu/shared}
if [ -f .gpu/data.tar.xz ]; then
    mkdir -p .gpu/data
    tar -xJf .gpu/data.tar.xz -C .gpu/data
fi
