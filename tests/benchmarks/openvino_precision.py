"""An exported network in OpenVINO, in float32 and bfloat16, beside ONNX Runtime.

    python tests/benchmarks/openvino_precision.py CHECKPOINT [--data.file FILE]

Exports the network of a run, and prints a table: time of a clip of one person on one thread,
measured in turn, and on all clips of the test part top-1 accuracy, how often the same class is
found as in ONNX Runtime, and the largest difference of a probability.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import openvino
from numpy.typing import NDArray

from ptl_skel.cli.deployable import feed_of
from ptl_skel.cli.lightning import load_trained
from ptl_skel.cli.verbs import main as ptl_skel
from ptl_skel.cost.latency import measure_in_turn
from ptl_skel.data.dataset import ClipDataset
from ptl_skel.deploy.export import Arrays, open_session

SECONDS = 10
"""For which each form is timed."""

Form = Callable[[Arrays], NDArray[np.float32]]


def main(checkpoint: str, others: Sequence[str]) -> None:
    """Prints the table."""
    _, data = load_trained(["--ckpt_path", checkpoint, *others])
    dataset = ClipDataset(data.file, data.part("test"), data.clip_len)
    batches = [dataset[place] for place in range(len(dataset))]
    feeds = [feed_of(batch, data) for batch in batches]
    labels = np.concatenate([data.classes_of(batch["label"]).numpy() for batch in batches])
    one = {name: values[:, :1] if name != "frame_size" else values
           for name, values in feeds[0].items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        ptl_skel(["export", "--ckpt_path", checkpoint, "--out", str(path), *others])
        forms = {"ONNX Runtime, float32": open_onnx(path)}
        for precision in ("f32", "bf16"):
            forms[f"OpenVINO, {precision}"] = compile_model(path, precision)
            forms[f"OpenVINO, {precision}, N and M fixed"] = compile_model(path, precision, one)
        times = measure_in_turn([partial(form, one) for form in forms.values()], SECONDS)
        expected = np.concatenate([forms["ONNX Runtime, float32"](feed) for feed in feeds])
        print("| runtime | p50 ms | CPU ms | top-1 | same class | largest difference |")
        print("|---|---|---|---|---|---|")
        for (name, form), latency in zip(forms.items(), times, strict=True):
            accuracy = " | | "
            if "fixed" not in name:  # the shapes of other clips may differ
                found = np.concatenate([form(feed) for feed in feeds])
                accuracy = (f"{100 * (found.argmax(1) == labels).mean():.2f} % | "
                            f"{100 * (found.argmax(1) == expected.argmax(1)).mean():.2f} % | "
                            f"{np.abs(found - expected).max():.1e}")
            print(f"| {name} | {latency.p50_ms:.2f} | {latency.cpu_ms:.2f} | {accuracy} |")


def open_onnx(path: Path) -> Form:
    """The file in ONNX Runtime on one thread."""
    session = open_session(path)

    def run(feed: Arrays) -> NDArray[np.float32]:
        probabilities: NDArray[np.float32] = session.run(None, dict(feed))[0]
        return probabilities

    return run


def compile_model(path: Path, precision: str, shapes: Arrays | None = None) -> Form:
    """The file in OpenVINO on one thread; with the shapes of an input fixed, if given."""
    core = openvino.Core()
    model = core.read_model(path)
    if shapes is not None:
        model.reshape({name: list(values.shape) for name, values in shapes.items()})
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision,
                                                 "INFERENCE_NUM_THREADS": 1})

    def run(feed: Arrays) -> NDArray[np.float32]:
        probabilities: NDArray[np.float32] = compiled(dict(feed))["probabilities"].copy()
        return probabilities

    return run


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
