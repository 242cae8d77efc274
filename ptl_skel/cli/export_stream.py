"""``ptl-skel export --stream``: a causal network as an ONNX file with its states as inputs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ptl_skel.cli.deployable import STREAM_FORMAT, choose_clips, describe, refuse_difference
from ptl_skel.cli.live_score import read_track
from ptl_skel.data.datamodule import KeypointDataModule
from ptl_skel.data.dataset import KeypointBatch
from ptl_skel.data.live import LiveScore
from ptl_skel.deploy.export import Arrays, largest_difference, write_onnx
from ptl_skel.deploy.graph import Views
from ptl_skel.deploy.streaming import StreamFromKeypoints, StreamNetwork
from ptl_skel.errors import UserError
from ptl_skel.training.module import ActionRecognizer

FORMS = ("frame", "step")
"""A prediction at every frame, or once per `period` of the network."""
FRAMES = 64
"""Frames of each stream on which a file is compared with PyTorch."""
STREAMS = 8
"""Number of these streams, which are run in batches of 1, 2 and 5."""


def write_stream(path: Path, model: ActionRecognizer, data: KeypointDataModule, checkpoint: Path,
                 form: str) -> list[tuple[str, str]]:
    """Writes and checks the file of a causal network for streams; returns rows of the table.

    Raises:
        UserError: The network cannot run on a stream, or the file's outputs differ.
    """
    graph = make_stream(model, data, form)
    settings = data.live_score or LiveScore()
    chunk, states = graph.stream.chunk, graph.stream.start(2)
    joints = data.layout.num_joints
    outputs = ["new_mean", "new_seen", *(f"new_past{number}" for number in range(len(states) - 2))]
    links = [{"input": f"{outputs[number].removeprefix('new_')}_{delay}",
              "output": outputs[number], "delay": delay} for number, delay in graph.stream.links]
    names = [str(link["input"]) for link in links]
    inputs = {"keypoints": torch.rand(2, 3, chunk, joints, 2),
              "scores": torch.rand(2, 3, chunk, joints),
              **dict(zip(names, graph.stream.select(states), strict=True))}
    dynamic = {"keypoints": [0, 1], "scores": [0, 1], **{name: [0] for name in names}}
    metadata = describe(checkpoint, data, Views(chunk)) | {
        "format": STREAM_FORMAT, "sampling": data.sampling,
        "stream": {"form": form, "chunk": chunk, "stride": settings.stride,
                   "memory": settings.memory, "settle": graph.stream.settle, "states": links}}
    write_onnx(graph, inputs, ["probabilities", *outputs], dynamic, metadata, path)
    difference = largest_difference(path, stream_batches(graph, data, names))
    refuse_difference(difference)
    kilobytes = sum(state[0].numel() for state in states) * 4 / 1000
    return [
        ("inputs", f"keypoints (N, M, {chunk}, {joints}, 2), scores (N, M, {chunk}, {joints}), "
                   f"{len(names)} of earlier chunks"),
        ("states", f"{kilobytes:.0f} kB a person"),
        ("difference from PyTorch", f"at most {difference:.1e}, {STREAMS} streams of {FRAMES} "
                                    "frames")]


def make_stream(model: ActionRecognizer, data: KeypointDataModule, form: str
                ) -> StreamFromKeypoints:
    """The network of a checkpoint for streams of keypoints.

    Raises:
        UserError: It cannot run on a stream, or was trained with another box.
    """
    maker, settings = data.maker, data.live_score or LiveScore()
    channels, _, height, width = data.input_shape
    stream = StreamNetwork(model.classifier, (channels, height, width), every_frame=form == "frame",
                           memory=settings.memory // settings.stride)
    if maker.box != "follow":
        raise UserError("a stream cannot know the box around a whole clip, on which the network "
                        "was trained: train one with --data.box follow")
    return StreamFromKeypoints(stream, maker.representation, (maker.eval_size,) * 2,
                               use_scores=maker.use_scores).eval()


@torch.inference_mode()
def stream_batches(graph: StreamFromKeypoints, data: KeypointDataModule, names: list[str]
                   ) -> Iterator[tuple[Arrays, list[Any]]]:
    """Chunks of real clips with the expected states before and after, in several batches."""
    clips = np.resize(choose_clips(data, STREAMS), STREAMS)  # of fewer clips, several times
    stream = graph.stream
    chunk = stream.chunk
    for group in np.array_split(clips, [1, 3]):
        rows = [_relative(data, clip) for clip in group]
        keypoints, scores = (torch.stack([row[part] for row in rows]) for part in (0, 1))
        states = stream.start(len(group))
        for first in range(0, FRAMES - chunk + 1, chunk):
            part = slice(first, first + chunk)
            values = [keypoints[:, :, part], scores[:, :, part]]
            if first % (2 * chunk):  # every second chunk with more persons
                values = [torch.cat([each, each.roll(1, 0)], 1) for each in values]
            feed = dict(zip(["keypoints", "scores", *names], [*values, *stream.select(states)],
                            strict=True))
            probabilities, *states = stream(graph.render(*values), *states)
            yield ({name: each.numpy() for name, each in feed.items()},
                   [each.numpy() for each in (probabilities[:, -1],
                                              *stream.select(states, newest=True))])


def _relative(data: KeypointDataModule, clip: int) -> tuple[Tensor, Tensor]:
    """The first person of a clip, repeated to `FRAMES` frames, relative to its follow box."""
    track = read_track(data, clip)
    frames = torch.arange(FRAMES) % track.scores.shape[1]
    keypoints, scores = data.maker.place(KeypointBatch(
        keypoints=track.keypoints[None, :1, frames], scores=track.scores[None, :1, frames],
        frame_size=track.frame_size[None]), several=False)
    return keypoints[0] / data.maker.eval_size, scores[0]
