"""Scores the segments of an exported network on joined test clips of a keypoint file.

    python tests/benchmarks/segments.py model.onnx penn.h5
    python tests/benchmarks/segments.py model.onnx penn.h5 --val_fraction 0.2   # to choose settings

Clips are joined as for the score of live recognition (`ptl_skel.data.live`): one person, moved and
scaled so that each clip begins where the last one ended, 30 frames a second.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ptl_skel.data.dataset import ClipDataset
from ptl_skel.data.live import Track, choose_streams, join_tracks
from ptl_skel.data.parts import choose_parts
from ptl_skel.deploy.runtime import Recognizer
from ptl_skel.deploy.runtime_window import Window
from ptl_skel.live.labels import Threshold
from ptl_skel.live.measures import UNKNOWN, score_segments
from ptl_skel.live.people import FramePredictions
from ptl_skel.live.segments import Rules, Tracks
from ptl_skel.storage import KeypointFile

RATE = 30
STRIDE = 4


def main() -> None:
    """Prints the measures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--val_fraction", type=float, default=0.0, help=(
        "of the run, if it held clips out: these are joined instead of the test clips"))
    parser.add_argument("--streams", type=int, default=10)
    parser.add_argument("--window", type=float, default=4.0)
    parser.add_argument("--min_probability", type=float, default=0.5)
    options = parser.parse_args()
    recognizer, file = Recognizer(options.model), KeypointFile(options.file)
    parts, _ = choose_parts(file, "official", val_fraction=options.val_fraction, val_seed=0,
                            val_on_test=False)
    clips = parts["val" if options.val_fraction else "test"]
    rules = Rules(Threshold(options.min_probability))
    pairs = []
    for stream in choose_streams(len(clips))[: options.streams]:
        chosen = clips[stream]
        true = np.repeat(file.label[chosen], file.num_frames[chosen]).astype(np.int64)
        track = join_tracks([read_track(file, int(clip)) for clip in chosen])
        pairs.append((predict(track, recognizer, options.window, rules), true))
    print(f"{len(pairs)} streams, {sum(len(true) for _, true in pairs)} frames")
    for name, value in score_segments(pairs).items():
        print(f"{name:16} {100 * value:.1f} %")


def read_track(file: KeypointFile, clip: int) -> Track:
    """All frames of a clip."""
    every = np.arange(int(file.num_frames[clip]))[None]
    batch = ClipDataset(file, np.array([clip]), 1).read(np.array([clip]), every)
    return Track(batch["keypoints"][0], batch["scores"][0], batch["frame_size"][0])


def predict(track: Track, recognizer: Recognizer, seconds: float, rules: Rules
            ) -> NDArray[np.int64]:
    """Classes of the frames of a track, ``(T,)``."""
    window, tracks, number = Window(recognizer, seconds), Tracks(seconds), np.zeros(1, np.int64)
    frames = track.scores.shape[1]
    for frame in range(frames):
        time = frame / RATE
        window.add(time, {0: (track.keypoints[0, frame].numpy(), track.scores[0, frame].numpy())},
                   (float(track.frame_size[0]), float(track.frame_size[1])))
        fresh = frame % STRIDE == 0
        tracks.add(time, FramePredictions(number, window.recognize() if fresh else {}, fresh))
    classes = np.full(frames, UNKNOWN)
    for each in tracks.segments(recognizer.class_names, rules):
        classes[round(each.start * RATE) : round(each.end * RATE) + 1] = (
            recognizer.class_names.index(each.label))
    return classes


if __name__ == "__main__":
    main()
