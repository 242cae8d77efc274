"""Recognises actions with an exported network; needs onnxruntime and numpy, not torch.

    python examples/edge.py MODEL.onnx KEYPOINTS.npz

MODEL.onnx was written by `ptl-skel export`. KEYPOINTS.npz holds `keypoints` (persons, frames,
joints, 2) in pixels, `scores` (persons, frames, joints) and `frame_size` (height, width).
"""

import sys
from pathlib import Path

import numpy as np

try:
    from ptl_skel.deploy.runtime import Recognizer
    from ptl_skel.deploy.runtime_window import Window
except ModuleNotFoundError:  # copies of the two files beside this one
    from runtime import Recognizer
    from runtime_window import Window

recognizer = Recognizer(sys.argv[1])
clip = np.load(Path(sys.argv[2]))
keypoints, scores, frame_size = (clip[name] for name in ("keypoints", "scores", "frame_size"))

probabilities = recognizer(keypoints, scores, frame_size)
for label in probabilities.argsort()[::-1][:3]:
    print(f"{probabilities[label]:.3f} {recognizer.class_names[label]}")

# The same clip as a stream of 30 frames a second: a label for each person every half second.
window = Window(recognizer, seconds=4)
for frame in range(keypoints.shape[1]):
    people = {person: (keypoints[person, frame], scores[person, frame])
              for person in range(len(keypoints))}
    window.add(frame / 30, people, tuple(frame_size))
    if frame % 15 == 14:
        print(f"{frame / 30:.1f} s", {person: recognizer.class_names[each.argmax()]
                                      for person, each in window.recognize().items()})
