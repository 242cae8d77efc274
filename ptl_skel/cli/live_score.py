"""The score of live recognition in a test: predictions before actions are over.

A causal network trained with `box: follow` runs on the clips as streams. Any other network is run
again at each moment, on frames spread over the clip so far, with the box around these.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptl_skel.backbones.layers import is_causal
from ptl_skel.command import console
from ptl_skel.data.datamodule import KeypointDataModule
from ptl_skel.data.dataset import ClipDataset, KeypointBatch
from ptl_skel.data.live import (
    EVERY,
    Track,
    choose_streams,
    join_tracks,
    moments,
    score_moments,
    score_stream,
)
from ptl_skel.data.sampling import sample_test
from ptl_skel.deploy.streaming import StreamNetwork
from ptl_skel.training.module import ActionRecognizer

MAX_FRAMES = 2048
"""Maximum number of frames of all streams in a batch."""
WHOLE = 10**6
"""A memory longer than any clip."""
CHUNK = 64
"""Number of frames of a stream that are rendered at a time."""

Times = NDArray[np.int64]
Floats = NDArray[np.float32]
Predictor = Callable[[Sequence[Track], Sequence[Times]], list[Floats]]
"""Takes tracks, and for each track the numbers of frames seen at n times; returns the probabilities
of each track at these times, ``(n, K)``."""


@torch.inference_mode()
def score_live(model: ActionRecognizer, data: KeypointDataModule, device: torch.device
               ) -> dict[str, float]:
    """Scores of live recognition on the test part by name; empty if `data.live_score` is null.

    Empty on corrupted keypoints as well: streams are made of the keypoints in the file.

    Args:
        model: The network; it is left in evaluation mode.
        data: Provides the test part.
        device: Device to run the network on.
    """
    settings = data.live_score
    if settings is None:
        return {}
    if data.corrupt is not None:
        console.print("data.live_score uses the keypoints of the file: no such scores with "
                      "data.corrupt", soft_wrap=True)
        return {}
    if settings.frame_rate is None:
        console.print("data.live_score.frame_rate is not set: no scores after 0.5, 1 and 2 seconds",
                      soft_wrap=True)
    alone, joined = (make_predictor(model.eval().to(device), data, settings.stride, memory, device)
                     for memory in (WHOLE, settings.memory))
    clips = data.part("test")
    length = data.file.num_frames[clips].astype(np.int64)
    label = data.classes_of(torch.from_numpy(data.file.label[clips].astype(np.int64))).numpy()
    seen = moments(length, settings.frame_rate)
    predictions = predict_clips(alone, data, clips, list(np.stack(list(seen.values()), 1)))
    scores = score_moments(np.stack([each.argmax(1) for each in predictions]), label, seen)
    streams = choose_streams(len(clips))
    total = np.array([length[each].sum() for each in streams])
    times = [np.arange(min(EVERY, frames), frames + 1, EVERY) for frames in total.tolist()]
    predictions = _in_groups(
        joined, lambda i: join_tracks([read_track(data, clips[each]) for each in streams[i]]),
        total, times)
    classes = [each.argmax(1) for each in predictions]
    return scores | score_stream(classes, times, [length[each] for each in streams],
                                 [label[each] for each in streams])


def predict_clips(predictor: Predictor, data: KeypointDataModule, clips: NDArray[np.int64],
                  times: Sequence[Times]) -> list[Floats]:
    """Predictions on separate clips of the file; see `Predictor`."""
    length = data.file.num_frames[clips].astype(np.int64)
    return _in_groups(predictor, lambda i: read_track(data, clips[i]), length, times)


def runs_as_stream(model: ActionRecognizer, data: KeypointDataModule) -> bool:
    """Whether a network is causal and was trained with the box of a stream."""
    return data.maker.box == "follow" and is_causal(model.classifier[0])


def make_predictor(model: ActionRecognizer, data: KeypointDataModule, stride: int, memory: int,
                   device: torch.device) -> Predictor:
    """A function that predicts on videos with a network; see `LiveScore` for the arguments."""
    if runs_as_stream(model, data):
        channels, _, height, width = data.input_shape
        stream = StreamNetwork(copy.deepcopy(model.classifier).cpu(), (channels, height, width),
                               every_frame=True, memory=memory // stride).to(device)
        return lambda tracks, times: predict_on_streams(stream, data, stride, tracks, times)
    return lambda tracks, times: predict_on_windows(model, data, memory, tracks, times)


def predict_on_windows(model: ActionRecognizer, data: KeypointDataModule, memory: int,
                       tracks: Sequence[Track], times: Sequence[Times]) -> list[Floats]:
    """Predictions of a network that is run again at each moment; see `Predictor`."""
    device = next(model.parameters()).device
    predictions = []
    for track, seen in zip(tracks, times, strict=True):
        found = []
        for some in np.array_split(seen, -(-len(seen) // data.batch_size)):
            span = np.minimum(some, memory)
            frames = np.stack([now - long + sample_test(int(long), data.clip_len)[0]
                               for now, long in zip(some, span, strict=True)])
            windows = KeypointBatch(
                keypoints=track.keypoints[:, frames].transpose(0, 1),
                scores=track.scores[:, frames].transpose(0, 1),
                frame_size=track.frame_size.expand(len(some), 2)).to(device)
            inputs = data.maker.evaluate(windows, torch.float32, several=False)
            found.append(model(inputs).softmax(1).cpu().numpy())
        predictions.append(np.concatenate(found))
    return predictions


def predict_on_streams(stream: StreamNetwork, data: KeypointDataModule, stride: int,
                       tracks: Sequence[Track], times: Sequence[Times]) -> list[Floats]:
    """Predictions of a causal network that sees every `stride`-th frame; see `Predictor`."""
    device = stream.linear.weight.device
    keypoints, scores = (_pad([getattr(track, name)[:, ::stride] for track in tracks]).to(device)
                         for name in ("keypoints", "scores"))
    sizes = torch.stack([track.frame_size for track in tracks]).to(device)
    keypoints, scores = data.maker.place(KeypointBatch(
        keypoints=keypoints, scores=scores, frame_size=sizes), several=False)
    states = stream.start(len(tracks))
    found = []
    for first in range(0, scores.shape[2], CHUNK):
        part = slice(first, first + CHUNK)
        inputs = data.maker.representation(keypoints[:, :, part], scores[:, :, part],
                                           (data.maker.eval_size, data.maker.eval_size))
        probabilities, *states = stream(inputs, *states)
        found.append(probabilities.cpu().numpy())
    every = np.concatenate(found, 1)
    return [row[(seen - 1) // stride] for row, seen in zip(every, times, strict=True)]


def read_track(data: KeypointDataModule, clip: int) -> Track:
    """All frames of a clip of the file."""
    every = np.arange(int(data.file.num_frames[clip]))[None]
    batch = ClipDataset(data.file, np.array([clip]), 1).read(np.array([clip]), every)
    return Track(batch["keypoints"][0], batch["scores"][0], batch["frame_size"][0])


def _in_groups(predictor: Predictor, read: Callable[[int], Track], length: NDArray[np.int64],
               times: Sequence[Times]) -> list[Floats]:
    """Predictions on all tracks; tracks of similar length are read and run together."""
    found: dict[int, Floats] = {}
    for group in _groups(length):
        predictions = predictor([read(i) for i in group], [times[i] for i in group])
        found |= dict(zip(group, predictions, strict=True))
    return [found[i] for i in range(len(times))]


def _groups(length: NDArray[np.int64]) -> Iterator[list[int]]:
    """Tracks in order of their length, as many at a time as `MAX_FRAMES` allows."""
    group: list[int] = []
    for i in np.argsort(length, kind="stable").tolist():
        if group and (len(group) + 1) * length[i] > MAX_FRAMES:
            yield group
            group = []
        group.append(i)
    if group:
        yield group


def _pad(values: Sequence[Tensor]) -> Tensor:
    """Stacks tensors ``(M, T, ...)``, padded with zeros for absent persons and frames."""
    persons, frames = (max(value.shape[dim] for value in values) for dim in (0, 1))
    padded = values[0].new_zeros(len(values), persons, frames, *values[0].shape[2:])
    for row, value in zip(padded, values, strict=True):
        row[: value.shape[0], : value.shape[1]] = value
    return padded
