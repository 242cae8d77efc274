"""Trains on arrays in Python, without the command line.

    python examples/train_on_arrays.py

The arrays are random here: persons who move sideways, or up and down. Put your own in their place.
"""

from functools import partial

import numpy as np
import torch
from lightning.pytorch import Trainer, seed_everything

from ptl_skel.backbones import Conv2Plus1D, VideoResNet
from ptl_skel.data.datamodule import KeypointDataModule
from ptl_skel.representations import JointHeatmaps
from ptl_skel.skeletons import get_layout
from ptl_skel.storage import Clip, ClipWriter, Header
from ptl_skel.training.module import ActionRecognizer

EPOCHS = 20
NAMES = ("sideways", "up and down")

random = np.random.default_rng(0)
header = Header("arrays", get_layout("coco17"), NAMES, source="examples/train_on_arrays.py")
ids = [f"clip{number:02}" for number in range(48)]
with ClipWriter("arrays.h5", header) as writer:
    for number, name in enumerate(ids):
        keypoints = np.repeat(random.uniform(200, 280, (1, 1, 17, 2)), 40, axis=1)
        label = number % 2
        keypoints[..., label] += 60 * np.sin(np.arange(40) / 5)[:, None]  # x or y, pixels
        scores = np.ones(keypoints.shape[:3])  # persons, frames, joints
        writer.add(name, [Clip(name, keypoints, scores, frame_size=(480, 480), label=label)])
    writer.finish({"own": {"train": ids[:32], "test": ids[32:]}})

seed_everything(0)
data = KeypointDataModule("arrays.h5", JointHeatmaps, "own", clip_len=16, size=24, eval_size=24,
                          batch_size=8, val_fraction=0)
backbone = VideoResNet(
    data.num_channels, conv=partial(Conv2Plus1D, middle=1.0), stem_width=16, stem_kernel=(3, 3),
    stem_stride=(1, 2), widths=(16, 32), depths=(1, 1), strides=((1, 1), (2, 2)), kernel=(3, 3))
model = ActionRecognizer(backbone, data.num_classes, partial(torch.optim.AdamW, lr=0.002),
                         warmup=0.15, average=0.03)
trainer = Trainer(max_epochs=EPOCHS, logger=False, enable_checkpointing=False, accelerator="auto")
trainer.fit(model, data)
print(trainer.test(model, data, verbose=False))  # {"test/top1": ...}
clips, labels, probabilities = model.predictions.gather()
for clip, each in zip(clips.tolist(), probabilities, strict=True):
    print(data.file.ids[clip], NAMES[each.argmax()], f"{each.max():.2f}")
