"""From a checkpoint to the graph of an export, and the checks of the exported file."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ptl_skel.cli.ensemble import fuse
from ptl_skel.cli.lightning import load_trained
from ptl_skel.cost.folding import FoldingError, fold_batch_norm
from ptl_skel.data.datamodule import KeypointDataModule
from ptl_skel.data.dataset import ClipDataset, KeypointBatch
from ptl_skel.deploy.export import Arrays, largest_difference
from ptl_skel.deploy.graph import Ensemble, Recognition, Views
from ptl_skel.errors import UserError
from ptl_skel.runs.checkpoints import CALIBRATION, read_record, run_of
from ptl_skel.runs.environment import versions
from ptl_skel.runs.record import read_result
from ptl_skel.training.module import ActionRecognizer

FORMAT, STREAM_FORMAT = 1, 2
"""Versions of files for whole clips and for streams, which `ptl_skel.deploy.runtime` checks."""

DROPPED = "dropped: it does not hold for the mean of several networks"
"""What happens to the calibration of networks that are fused."""

TOLERANCE = 1e-5
"""Largest difference of a probability or a state that is attributed to rounding."""

Trained = tuple[ActionRecognizer, KeypointDataModule]
"""The network of a checkpoint, and the data it was trained on."""

OPTIONS = ("file", "protocol", "class_names", "representation", "camera", "box", "eval_size",
           "use_scores", "in_memory")
"""Options of the data that affect every export."""
CLIP_OPTIONS = ("clip_len", "test_clips", "test_flip")
"""Those that affect files for whole clips."""
STREAM_OPTIONS = ("live_score",)
"""Those that affect files for streams: stride and memory."""


def refuse_without_effect(options: Sequence[str], *, stream: bool) -> None:
    """Checks options that begin with ``--data.``.

    Raises:
        UserError: One has no effect on the file.
    """
    known = OPTIONS + (STREAM_OPTIONS if stream else CLIP_OPTIONS)
    for option in options:
        name = re.match(r"--data\.(\w+)", option)
        if name and name[1] not in known:
            kind = "streams" if stream else "whole clips"
            raise UserError(f"{name[0]} has no effect on a file for {kind}; leave it out. These "
                            f"data options have one: {', '.join(known)}")


def load_networks(checkpoints: Sequence[Path], options: Sequence[str]) -> list[Trained]:
    """The networks of checkpoints that go into one file, with their data.

    Args:
        checkpoints: Checkpoints of runs.
        options: Options that begin with ``--data.``, for each of them.

    Raises:
        UserError: A network has weights that are not finite, or they cannot be fused.
    """
    networks = []
    for checkpoint in checkpoints:
        networks.append(load_trained(["--ckpt_path", str(checkpoint), *options]))
        refuse_not_finite(networks[-1][0], checkpoint)
    refuse_to_fuse(checkpoints, networks)
    return networks


def assemble(checkpoints: Sequence[Path], networks: Sequence[Trained], shares: Sequence[float],
             precision: str = "float32") -> tuple[Recognition | Ensemble, dict[str, Any]]:
    """Networks for whole clips as one module, and its description in the file.

    Args:
        checkpoints: The checkpoint of each network.
        networks: One or several; see `load_networks`.
        shares: The weight of each, with the sum 1.
        precision: That of the file.

    Raises:
        UserError: A network has no export form.
    """
    graphs = [make_graph(model, data) for model, data in networks]
    described = [describe(checkpoint, data, graph.views, precision) for checkpoint, (_, data), graph
                 in zip(checkpoints, networks, graphs, strict=True)]
    if len(graphs) == 1:
        return graphs[0], described[0]
    return Ensemble(graphs, shares), describe_ensemble(described, shares)


def make_graph(model: ActionRecognizer, data: KeypointDataModule) -> Recognition:
    """The network of a checkpoint with folded batch norms and all steps before it.

    Raises:
        UserError: The representation or the camera has no export form.
    """
    maker = data.maker
    if maker.coordinates == 3 and maker.camera is None:
        raise UserError(f"{data.file.path} holds 3D coordinates without a camera; only networks on "
                        "2D pixels, or on heatmaps that a camera projects, can be exported")
    if maker.box == "follow":
        raise UserError("the network was trained on the box that a stream knows (`data.box` "
                        "follow); ptl-skel export --stream writes a file for streams")
    views = Views(data.clip_len, maker.test_clips, maker.test_flip, maker.camera,
                  maker.use_scores)
    size = maker.eval_size, maker.eval_size
    classifier: nn.Module = model.classifier
    try:
        classifier = fold_batch_norm(model.classifier, torch.rand(1, *data.input_shape))
    except FoldingError:  # a user's own network is exported without folding
        classifier = model.classifier
    return Recognition(classifier, maker.representation, size, views).eval()


def refuse_not_finite(model: ActionRecognizer, checkpoint: Path) -> None:
    """Checks the weights of a network.

    Raises:
        UserError: One is not a finite number.
    """
    for name, values in model.state_dict().items():
        if not values.isfinite().all():
            raise UserError(f"{checkpoint}: {name} holds values that are not finite numbers, so "
                            "the training diverged; use an earlier checkpoint, or train again "
                            "with a lower learning rate")


def refuse_difference(difference: float) -> None:
    """Checks the largest difference of a file from PyTorch.

    Raises:
        UserError: It is more than `TOLERANCE`.
    """
    if not difference <= TOLERANCE:
        raise UserError(f"the exported network differs from PyTorch by up to {difference:.1e}, "
                        f"more than {TOLERANCE:.0e}; nothing was written")


def example(graph: Recognition | Ensemble, data: KeypointDataModule
            ) -> tuple[dict[str, Tensor], list[str], dict[str, list[int]]]:
    """Example inputs to export a graph with, names of its outputs, and its dynamic dimensions."""
    frames = graph.views.clip_len * graph.views.num_clips
    shape = 2, 3, frames, data.layout.num_joints
    inputs = {"keypoints": 300 * torch.rand(*shape, graph.views.coordinates),
              "scores": torch.rand(shape)}
    dynamic = {"keypoints": [0, 1], "scores": [0, 1]}
    if graph.views.camera is None:
        inputs["frame_size"] = torch.tensor([[480.0, 640.0]] * 2)
        dynamic["frame_size"] = [0]
    return inputs, ["probabilities"], dynamic


def describe(checkpoint: Path, data: KeypointDataModule, views: Views,
             precision: str = "float32") -> dict[str, Any]:
    """The description of the network in a file."""
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    training: dict[str, Any] = {"checkpoint": str(checkpoint), "sha256": digest}
    try:
        record = read_result(run_of(checkpoint))
    except UserError:  # the checkpoint was moved out of the folder of its run
        record = {}
    training |= {name: record.get(name) for name in ("git_commit", "seed", "command")}
    maker = data.maker
    return {
        "format": FORMAT, "ptl_skel": versions()["ptl_skel"], "class_names": list(data.class_names),
        "layout": json.loads(data.layout.to_json()), "coordinates": views.coordinates,
        "clip_len": views.clip_len, "num_clips": views.num_clips, "flip": views.flip,
        "sampling": "uniform", "size": [maker.eval_size, maker.eval_size],
        "representation": type(maker.representation).__name__, "precision": precision,
        "training": training, CALIBRATION: calibration_of(checkpoint)}


def calibration_of(checkpoint: Path) -> dict[str, Any] | None:
    """What `ptl-skel calibrate` recorded in a checkpoint; None if it is not calibrated."""
    return (read_record(checkpoint) or {}).get(CALIBRATION)


def drops_calibration(checkpoints: Sequence[Path]) -> bool:
    """Whether networks are calibrated whose calibration does not hold for what they become."""
    return len(checkpoints) > 1 and any(map(calibration_of, checkpoints))


def describe_ensemble(parts: Sequence[Mapping[str, Any]], shares: Sequence[float]
                      ) -> dict[str, Any]:
    """The description of several networks in one file, from that of each.

    What they share is described once. A calibration of a network does not hold for their mean.
    """
    own = "size", "flip", "representation", "training"
    shared = {name: value for name, value in parts[0].items() if name not in own}
    return shared | {CALIBRATION: None, "networks": [
        {"weight": share, **{name: part[name] for name in own}}
        for part, share in zip(parts, shares, strict=True)]}


def refuse_to_fuse(checkpoints: Sequence[Path], networks: Sequence[Trained]) -> None:
    """Checks that networks can be fused into one file: that they have the same inputs and classes.

    Raises:
        UserError: They differ in what they share in the file.
    """
    def shared(data: KeypointDataModule) -> dict[str, object]:
        return {"file": data.file.path.resolve(), "protocol": data.protocol,
                "test_clips": data.maker.test_clips, "clip_len": data.clip_len,
                "class_names": data.class_names}

    first, *others = (shared(data) for _, data in networks)
    for checkpoint, other in zip(checkpoints[1:], others, strict=True):
        for name in other:
            if other[name] != first[name]:
                hint = ("" if name in {"clip_len", "class_names"} else
                        f"; --data.{name} sets it for both")
                raise UserError(f"{checkpoints[0]} and {checkpoint} cannot be fused into one "
                                f"file: they differ in data.{name}{hint}")


def choose_clips(data: KeypointDataModule, number: int) -> NDArray[np.int64]:
    """Some evenly spaced clips of the test part, or of the file if there is none."""
    clips = data.parts.get("test", np.empty(0, np.int64))
    if not len(clips):
        clips = np.arange(len(data.file))
    return clips[np.unique(np.linspace(0, len(clips) - 1, number).astype(np.int64))]


def difference_from_torch(path: Path, networks: Sequence[Trained], shares: Sequence[float],
                          clips: NDArray[np.int64]) -> float:
    """The largest difference of a file from PyTorch, for several numbers of clips and persons.

    Args:
        path: Path of the ONNX file.
        networks: The networks in it.
        shares: The weight of each, with the sum 1.
        clips: Clips of the first network's data.

    Raises:
        UserError: The file does not accept all of them.
    """
    def expected(batch: KeypointBatch) -> NDArray[np.float32]:
        probabilities = torch.stack([predict(model, data, batch) for model, data in networks])
        mean: NDArray[np.float32] = fuse(probabilities, shares).numpy()
        return mean

    _, data = networks[0]
    return largest_difference(path, (
        (feed_of(batch, data), [expected(batch)]) for batch in batches_of(data, clips)))


def feed_of(batch: KeypointBatch, data: KeypointDataModule) -> Arrays:
    """A batch as inputs of a file."""
    names = ["keypoints", "scores", *(["frame_size"] if data.maker.camera is None else [])]
    return {name: batch[name].numpy() for name in names}


@torch.inference_mode()
def predict(model: ActionRecognizer, data: KeypointDataModule, batch: KeypointBatch) -> Tensor:
    """Probabilities ``(N, K)`` as `ptl-skel test` computes them."""
    inputs = data.maker.evaluate(batch, torch.float32, several=True)
    probabilities: Tensor = model(inputs).softmax(1)
    return probabilities.view(-1, data.maker.test_views, data.num_classes).mean(1)


def batches_of(data: KeypointDataModule, clips: NDArray[np.int64]) -> Iterator[KeypointBatch]:
    """All clips, in batches of 1, 2, 5 and then 16; those of 2 and 5 have more persons.

    In those, each clip also has the persons of another clip.
    """
    dataset = ClipDataset(data.file, clips, data.clip_len, num_clips=data.maker.test_clips)
    first = 0
    for number in (1, 2, 5, *[16] * len(clips)):
        places = range(first, min(first + number, len(clips)))
        if not places:
            return
        batch = dataset.__getitems__(places)
        if len(places) > 1 and number != 16:
            for name in ("keypoints", "scores"):
                joined = torch.cat([batch[name], batch[name].roll(1, 0)], 1)
                batch = KeypointBatch(**{**batch.tensors, name: joined})
        yield batch
        first += number
