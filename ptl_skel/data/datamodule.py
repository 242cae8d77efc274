"""From a keypoint file to the inputs of a network, for each part of a split.

The loaders send coordinates; the inputs of a network are made on its device, after the transfer.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from ptl_skel.data.cameras import CHECKED, Camera
from ptl_skel.data.classes import listed, match_names
from ptl_skel.data.corruption import Corruption
from ptl_skel.data.dataset import (
    ClipDataset,
    DrawSampler,
    IndexDataset,
    KeypointBatch,
    ResidentClips,
)
from ptl_skel.data.inputs import InputMaker
from ptl_skel.data.live import LiveScore
from ptl_skel.data.parts import choose_parts
from ptl_skel.data.sampling import Sampling
from ptl_skel.data.transforms import Augmentation, constant
from ptl_skel.errors import MissingFileError, UserError
from ptl_skel.representations import Representation
from ptl_skel.skeletons import SkeletonLayout
from ptl_skel.storage import KeypointFile, KeypointFileError


class KeypointDataModule(LightningDataModule):
    """Clips of one protocol of a keypoint file.

    Args:
        file: Keypoint file, made by ``ptl-skel preprocess``.
        protocol: The protocol of the file, which defines its training and test parts.
        representation: Makes the inputs of the network, e.g.
            `ptl_skel.representations.JointHeatmaps`.
        clip_len: Frames of a clip.
        size: Height and width of the heatmaps in training, pixels.
        eval_size: The same at validation and test.
        batch_size: Clips in a batch per device; at test time a clip counts once for each view.
        camera: Projects 3D coordinates to the pixels of heatmaps; None for files of pixels, and
            for representations of 3D coordinates.
        augment: Augmentation in training; for 3D coordinates only flip, rotation and scale.
        balanced: Sample clips so that all classes are equally frequent in each epoch, without
            changing its length. Useful if rare classes matter as much as frequent ones, e.g. falls
            among everyday activities; mean-class accuracy and F1 show the effect.
        val_fraction: Fraction of the training part to hold out for validation if the protocol has
            no validation part: whole subjects if they are known, else the same fraction of each
            class. 0 trains on all of it, without validation.
        val_seed: Seed of that choice.
        val_on_test: Validate on the test part, as PYSKL does. The run record notes it, because a
            checkpoint selected this way has seen the test part.
        test_clips: Clips taken from each sample at test time; their probabilities are averaged.
        test_flip: Test on the horizontal flip of each clip as well.
        corrupt: Degrade the keypoints in `validate`, `test` and `predict`, to measure the
            robustness of a network. Has no effect on `fit`, except for the test at its end.
        sampling: How frames are sampled in training: ``uniform``, spread over the whole clip, as in
            validation and test; ``first_part``, for half of the clips spread over a beginning of
            random length, for networks that predict before the action is over; ``camera_rate``,
            windows of every frame, every second or every third, for causal networks.
        box: What heatmaps show: ``clip``, the square around the persons in all frames, or
            ``follow``, a square for each frame that depends only on the frames so far.
        use_scores: Weight joints by their scores; otherwise all joints that are not missing have
            score 1. For networks trained on annotations, which have no other scores.
        live_score: Also test live recognition: predictions before actions are over, and in streams
            of several actions; see `ptl_skel.data.live`. None: do not.
        num_workers: Processes that read; 0 is fastest, since only coordinates are read.
        in_memory: Keep the keypoints in RAM.
        on_device: Keep the keypoints on the device instead (NTU-60: about 0.6 GB) and sample frames
            there: the loader only sends clip indices. The batches are the same.
        seed: Seed of all randomness in training: order, frames, augmentation, dropout.
        class_names: Classes of a model, in its order. Labels of the file are mapped to them by
            name; the file may name fewer classes, or no classes. None: the classes of the file.

    Attributes:
        parts: Clip indices of ``train``, ``val`` and ``test``; empty without a protocol.
        validation: How the validation part was chosen, for the record of a run.

    Raises:
        MissingFileError: There is no such keypoint file.
        UserError: The file cannot be used, has no such protocol, or an argument is out of range.
    """

    def __init__(
        self,
        file: Path,
        representation: Callable[[SkeletonLayout], Representation],
        protocol: str | None = None,
        clip_len: int = 32,
        size: int = 56,
        eval_size: int = 64,
        batch_size: int = 16,
        camera: Camera | None = None,
        augment: Augmentation = Augmentation(),
        balanced: bool = False,
        val_fraction: float = 0.1,
        val_seed: int = 0,
        val_on_test: bool = False,
        test_clips: int = 1,
        test_flip: bool = False,
        corrupt: Corruption | None = None,
        sampling: Sampling = "uniform",
        box: Literal["clip", "follow"] = "clip",
        use_scores: bool = True,
        live_score: LiveScore | None = None,
        num_workers: int = 0,
        in_memory: bool = True,
        on_device: bool = False,
        seed: int = 0,
        class_names: list[str] | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("clip_len", clip_len), ("size", size), ("eval_size", eval_size),
                            ("batch_size", batch_size), ("test_clips", test_clips)):
            if value < 1:
                raise UserError(f"`data.{name}` must be >= 1, got {value}")
        if num_workers < 0:
            raise UserError(f"`data.num_workers` must be >= 0, got {num_workers}")
        if not 0 <= val_fraction < 1:
            raise UserError(f"`data.val_fraction` must lie in 0..1, got {val_fraction}")
        if live_score is not None:
            live_score.check()
        try:
            self.file = KeypointFile(file, in_memory=in_memory and not on_device)
        except MissingFileError as error:
            raise MissingFileError(f"{error}; if it has moved, --data.file gives its path"
                                   ) from error
        self.layout = self.file.header.layout
        names = self.file.header.class_names
        self.class_names = tuple(class_names or names)
        if not self.class_names:
            raise UserError(f"{file} has no labels; make it with `ptl-skel preprocess ... --labels "
                            "FILE.csv`, or name the classes as `data.class_names`")
        if len(self.class_names) == 1:
            raise UserError(f"{file} has only one class, {self.class_names[0]!r}; at least two are "
                            "needed")
        self._class_of_label = match_names(names, self.class_names)
        self.protocol = protocol
        self.maker = InputMaker(
            representation(self.layout), self.layout, self.file.header.num_coordinates,
            camera=camera, augment=augment, size=size, eval_size=eval_size, test_clips=test_clips,
            test_flip=test_flip, box=box, use_scores=use_scores)
        self.corrupt = corrupt
        if corrupt is not None:
            corrupt.check()
        self.clip_len = clip_len
        self.sampling = sampling
        self.live_score = live_score
        self.batch_size = batch_size
        self.balanced = balanced
        self.num_workers = num_workers
        self.on_device = on_device
        self.resident: ResidentClips | None = None
        self.seed = seed
        self.first_epoch = self.first_batch = 0
        self.val_fraction = 0.0 if val_on_test else val_fraction
        self.parts: dict[str, NDArray[np.int64]] = {}
        self.validation = "none"
        if protocol is not None:
            self.parts, self.validation = choose_parts(
                self.file, protocol, val_fraction=val_fraction, val_seed=val_seed,
                val_on_test=val_on_test)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def num_channels(self) -> int:
        """Channels of the inputs."""
        return self.input_shape[0]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of an input at test time, ``(C, T, H, W)``."""
        return self.maker.shape(self.clip_len)

    @property
    def links(self) -> tuple[tuple[int, int], ...]:
        """The skeleton as a tree, for networks on graphs."""
        return self.layout.tree

    @property
    def class_counts(self) -> list[int]:
        """Clips of each class in the training part."""
        classes = np.array(self._class_of_label)[self.file.label[self.part("train")]]
        return [int(count) for count in np.bincount(classes, minlength=self.num_classes)]

    @property
    def has_validation(self) -> bool:
        """Whether there are clips to validate on."""
        return len(self.parts.get("val", ())) > 0

    def part(self, name: str) -> NDArray[np.int64]:
        """Clip indices of ``train``, ``val`` or ``test`` as this data module uses them.

        Raises:
            KeypointFileError: There is no protocol, the part is empty, or contains a class that is
                not one of `class_names`.
        """
        if self.protocol is None:
            has = (f"has: {', '.join(sorted(self.file.splits))}" if self.file.splits else
                   f"has no split, `ptl-skel split {self.file.path} --by class` makes one")
            raise KeypointFileError(f"`data.protocol` is missing; {self.file.path} {has}")
        if not len(self.parts[name]):
            purpose = ("validate on; train with --data.val_fraction 0.2 to hold some out"
                       if name == "val" else f"{name} on")
            raise KeypointFileError(f"protocol {self.protocol!r} of {self.file.path} has no "
                                    f"labelled clip to {purpose}")
        return self._known(self.parts[name])

    def _known(self, clips: NDArray[np.int64]) -> NDArray[np.int64]:
        """The clips, if every class among them is one of `class_names`."""
        if unknown := self.unknown_classes(clips):
            raise KeypointFileError(
                f"{self.file.path} has clips of {listed(unknown)}, which the model does not know; "
                f"its classes are {listed(self.class_names)}")
        return clips

    def unknown_classes(self, clips: NDArray[np.int64] | slice = slice(None)) -> list[str]:
        """The classes of some clips, by default all in the file, that are not in `class_names`."""
        return [self.file.header.class_names[label] for label in np.unique(self.file.label[clips])
                if label >= 0 and self._class_of_label[label] < 0]

    def setup(self, stage: str) -> None:
        """Checks what a trainer is going to use before it starts.

        Args:
            stage: ``fit``, ``validate``, ``test`` or ``predict``.

        Raises:
            KeypointFileError: See `part`.
            UserError: The camera does not see the persons, or no clip is held out although that
                was asked for.
        """
        if stage == "predict":
            self._check_view(np.arange(len(self.file)))
            return
        self._check_view(self.part({"fit": "train", "validate": "val", "test": "test"}[stage]))
        if stage == "fit":
            for clips in self.parts.values():
                self._known(clips)
            if self.val_fraction and not self.has_validation:
                raise UserError(f"`data.val_fraction` {self.val_fraction:g} holds out no clip, as "
                                f"no class of {self.file.path} has enough of them; give more, or "
                                "0 to train without validation")

    def _check_view(self, clips: NDArray[np.int64]) -> None:
        """Rejects a camera that does not see the persons of the clips."""
        camera = self.maker.camera
        if camera is not None:
            some = clips[:: max(1, len(clips) // CHECKED)]
            batch = ClipDataset(self.file, some, self.clip_len).__getitems__(range(len(some)))
            camera.check_view(batch["keypoints"], batch["scores"], self.file.path)

    def state_dict(self) -> dict[str, Any]:
        """Where a resumed run starts: finished epochs, and finished batches of the current one.

        Lightning restores its counts too late: its loader has started its workers by then.
        """
        assert self.trainer is not None
        loop: Any = self.trainer.fit_loop
        epochs = loop.epoch_progress.current
        batches = loop.epoch_loop.batch_progress.current.processed
        if epochs.ready == epochs.processed:  # the batches are those of an epoch that is over
            batches = 0
        later, batch = divmod(batches, max(1, int(self.trainer.num_training_batches)))
        return {"epoch": epochs.processed + later, "batch": batch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `state_dict`."""
        self.first_epoch = state_dict["epoch"]
        self.first_batch = state_dict.get("batch", 0)

    def train_dataloader(self) -> DataLoader[KeypointBatch]:
        """Random clips of the training part, without the last incomplete batch."""
        dataset = self._dataset(self.part("train"), seed=self.seed)
        world = self.trainer.world_size if self.trainer else 1
        return self._loader(dataset, self._train_batch_size(world), shuffle=True)

    def train_batches(self, world: int) -> int:
        """Batches of an epoch in each of that many processes."""
        return len(self.part("train")) // world // self._train_batch_size(world)

    def _train_batch_size(self, world: int) -> int:
        clips = len(self.part("train"))
        if clips < world:
            raise UserError(f"the training part of {self.file.path} has fewer clips ({clips}) than "
                            f"there are processes ({world}); give fewer --trainer.devices")
        return min(self.batch_size, clips // world)

    def val_dataloader(self) -> DataLoader[KeypointBatch] | list[Any]:
        """Clips of the validation part, one view each; empty if nothing is held out."""
        if self.trainer and self.trainer.state.fn == "fit" and not self.has_validation:
            return []
        return self._loader(self._dataset(self.part("val")), self.batch_size)

    def test_dataloader(self) -> DataLoader[KeypointBatch]:
        """Clips of the test part with all their views."""
        return self._views_loader(self.part("test"))

    def predict_dataloader(self) -> DataLoader[KeypointBatch]:
        """All clips of the file with all their views, whatever their labels are.

        The label of a clip whose class is not in `class_names` is -1, unknown.
        """
        return self._views_loader(np.arange(len(self.file)))

    def _views_loader(self, clips: NDArray[np.int64]) -> DataLoader[KeypointBatch]:
        dataset = self._dataset(clips, num_clips=self.maker.test_clips)
        return self._loader(dataset, max(1, self.batch_size // self.maker.test_views))

    def _dataset(self, clips: NDArray[np.int64], *, seed: int | None = None, num_clips: int = 1
                 ) -> ClipDataset:
        kind = IndexDataset if self.on_device else ClipDataset
        return kind(self.file, clips, self.clip_len, seed=seed, num_clips=num_clips,
                    sampling=self.sampling)

    def _loader(self, dataset: ClipDataset, batch_size: int, *,
                shuffle: bool = False) -> DataLoader[KeypointBatch]:
        trainer = self.trainer
        world, rank = (trainer.world_size, trainer.global_rank) if trainer else (1, 0)
        labels = self.file.label[dataset.clips] if shuffle and self.balanced else None
        sampler = DrawSampler(len(dataset), world, rank, self.seed if shuffle else None, labels)
        if shuffle:
            sampler.begin_at(self.first_epoch, self.first_batch * batch_size)
        return DataLoader(
            dataset, batch_size=batch_size, sampler=sampler, num_workers=self.num_workers,
            collate_fn=_as_fetched, drop_last=shuffle, persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator())  # else an iterator advances the global one

    def on_before_batch_transfer(self, batch: KeypointBatch, dataloader_idx: int) -> KeypointBatch:
        """Seeds augmentation and dropout of a training step by its position in the run.

        Thus a run that is resumed from any checkpoint continues as if it had not been interrupted.
        On a CPU its weights are bitwise the same; on CUDA only with ``trainer.deterministic``, as
        for any two runs.
        """
        trainer = self.trainer
        if trainer is not None and trainer.training:
            batch_idx = trainer.fit_loop.epoch_loop.batch_progress.current.ready
            place = self.seed, trainer.current_epoch, batch_idx, trainer.global_rank
            torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0]))
        return batch

    @torch.no_grad()
    def on_after_batch_transfer(self, batch: KeypointBatch, dataloader_idx: int) -> dict[str, Any]:
        """Keypoints to inputs ``(N * views, C, T, H, W)``; label and clip stay ``(N,)``.

        `views` is the number of inputs per clip, which are consecutive.
        """
        if self.on_device:
            if self.resident is None:
                self.resident = ResidentClips(self.file, batch["clip"].device)
            batch = self.resident.fetch(batch, self.clip_len, self.seed, self.sampling)
        trainer = self.trainer
        dtype = self.maker.dtype("32-true" if trainer is None else str(trainer.precision))
        several = trainer is not None and (trainer.testing or trainer.predicting)
        if self.corrupt is not None and trainer is not None and trainer.state.fn != "fit":
            batch = self.corrupt(batch)
        if trainer is not None and trainer.training:
            inputs = self.maker.train(batch, dtype)
        else:
            inputs = self.maker.evaluate(batch, dtype, several=several)
        return {"inputs": inputs, "label": self.classes_of(batch["label"]), "clip": batch["clip"],
                "views": self.maker.test_views if several else 1}

    def classes_of(self, label: Tensor) -> Tensor:
        """Labels of the file as classes of the model; -1 stays -1, as it indexes the last entry."""
        return constant((*self._class_of_label, -1), label.device)[label]


def _as_fetched(batch: Any) -> Any:
    """The batch as the data set returns it: there is nothing to collate."""
    return batch
