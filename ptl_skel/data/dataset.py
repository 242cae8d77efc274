"""From clips of a keypoint file to batches of keypoints, one call for a whole batch.

`ClipDataset` reads batches from the file. If the whole file is on the device, an `IndexDataset`
returns only indices, from which `ResidentClips` makes the same batches.

Items of a training set are draws, not clips: draw ``k * len + i`` is the k-th pass over clip i, or,
with balanced classes, position k in all epochs, which has clip i. The random frames of a draw
depend only on the seed and its number, so a resumed run, or one with another number of workers,
sees the same frames.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler

from ptl_skel.data.sampling import Sampling, sample_test, sample_train
from ptl_skel.errors import UserError
from ptl_skel.storage import KeypointFile

ROWS_AT_ONCE = 2**16
"""Frames of a person that are copied to a device at a time: 7 MB of NTU RGB+D."""


class KeypointBatch:
    """Tensors of a batch by name, as the loader sends them.

    Deliberately not a mapping: Lightning converts all floats in a mapping to the precision of the
    network, but pixels need single precision (bfloat16 would round them to steps of 8 in a wide
    frame).
    """

    def __init__(self, **tensors: Tensor) -> None:
        self.tensors = tensors

    def __getitem__(self, name: str) -> Tensor:
        """The tensor of that name."""
        return self.tensors[name]

    def to(self, device: torch.device) -> KeypointBatch:
        """The batch on a device, without synchronising with a GPU."""
        return KeypointBatch(**{name: tensor.to(device, non_blocking=device.type == "cuda")
                                for name, tensor in self.tensors.items()})

    def pin_memory(self) -> KeypointBatch:
        """The batch in pinned memory."""
        return KeypointBatch(**{name: tensor.pin_memory() for name, tensor in self.tensors.items()})


class ClipDataset(Dataset[KeypointBatch]):
    """Some clips of a keypoint file.

    Args:
        file: The file.
        clips: Their indices in the file.
        clip_len: Frames T of a clip as the network sees it.
        seed: Seed of the random frames of training clips; None for test clips.
        num_clips: Clips taken from each sample at test time; their frames follow each other.
        sampling: How frames of training clips are sampled.

    Raises:
        UserError: `clip_len` or `num_clips` is less than 1.
    """

    def __init__(self, file: KeypointFile, clips: NDArray[np.int64], clip_len: int, *,
                 seed: int | None = None, num_clips: int = 1,
                 sampling: Sampling = "uniform") -> None:
        if clip_len < 1 or num_clips < 1:
            raise UserError("`clip_len` and the number of clips must be >= 1, got "
                            f"{clip_len} and {num_clips}")
        self.file = file
        self.clips = clips
        self.clip_len = clip_len
        self.seed = seed
        self.num_clips = num_clips
        self.sampling = sampling

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.clips)

    def __getitem__(self, draw: int) -> KeypointBatch:
        """A batch of one clip."""
        return self.__getitems__([draw])

    def __getitems__(self, draws: Sequence[int]) -> KeypointBatch:
        """A batch: keypoints ``(N, M, T, V, C)``, scores ``(N, M, T, V)``, frame_size ``(N, 2)``.

        Also label ``(N,)`` and clip ``(N,)``, the index in the file. M is the largest number of
        persons in the batch; missing persons, and all of them in absent frames, have score 0.
        """
        clips = self.clips[np.asarray(draws) % len(self)]
        return self.read(clips, self.frames(clips, draws))

    def read(self, clips: NDArray[np.int64], frames: NDArray[np.int64]) -> KeypointBatch:
        """The batch of clips of the file ``(N,)`` with given frames ``(N, T)``."""
        file, joints = self.file, self.file.header.layout.num_joints
        shape = len(clips), int(file.num_persons[clips].max()), frames.shape[1]
        keypoints = np.zeros((*shape, joints, file.header.num_coordinates), np.float32)
        scores = np.zeros((*shape, joints), np.float32)
        for i, clip in enumerate(clips):
            persons = file.num_persons[clip]
            all_keypoints, all_scores = file.frames(clip)
            keypoints[i, :persons] = all_keypoints[:, frames[i]]
            scores[i, :persons] = all_scores[:, frames[i]]
        sizes = np.stack([file.height[clips], file.width[clips]], 1).astype(np.float32)
        scores[np.broadcast_to((frames < 0)[:, None], shape)] = 0
        present = np.isfinite(keypoints).all(-1) & (scores > 0)  # a score of NaN is not one
        scores[~present] = 0
        keypoints[~present] = 0
        return KeypointBatch(
            keypoints=torch.from_numpy(keypoints), scores=torch.from_numpy(scores),
            frame_size=torch.from_numpy(sizes),
            label=torch.from_numpy(file.label[clips].astype(np.int64)),
            clip=torch.from_numpy(clips))

    def frames(self, clips: NDArray[np.int64], draws: Sequence[int]) -> NDArray[np.int64]:
        """Which frames of some clips of the file are sampled, ``(N, T)``."""
        num_frames = self.file.num_frames[clips].astype(np.int64)
        if self.seed is None:
            return np.stack([sample_test(frames, self.clip_len, self.num_clips).ravel()
                             for frames in num_frames.tolist()])
        drawn = sample_train(torch.from_numpy(num_frames), self.clip_len, self.seed,
                             torch.tensor(draws), self.sampling)
        return drawn.numpy()


class IndexDataset(ClipDataset):
    """The same clips as indices, from which `ResidentClips` makes the same batches."""

    def __getitems__(self, draws: Sequence[int]) -> KeypointBatch:
        """Clip ``(N,)``, person ``(M,)``, and draw ``(N,)`` or, at the test, frames ``(N, T)``."""
        clips = self.clips[np.asarray(draws) % len(self)]
        persons = int(self.file.num_persons[clips].max())
        batch = {"clip": torch.from_numpy(clips), "person": torch.arange(persons)}
        if self.seed is None:
            return KeypointBatch(**batch, frames=torch.from_numpy(self.frames(clips, draws)))
        return KeypointBatch(**batch, draw=torch.tensor(draws))


class ResidentClips:
    """All keypoints of a file on one device; batches are made without synchronising with it.

    The file is read, copied and cleaned in parts, so the host needs memory for one part only, and
    the device for one copy of the keypoints. Each process of a run reads the file for its own
    device.

    Args:
        file: The file.
        device: Where the keypoints are kept.
    """

    def __init__(self, file: KeypointFile, device: torch.device) -> None:
        shape = file.num_rows, file.header.layout.num_joints
        precision = getattr(torch, file.header.dtype)
        self.keypoints = torch.empty(*shape, file.header.num_coordinates, dtype=precision,
                                     device=device)
        self.scores = torch.empty(shape, dtype=torch.float16, device=device)
        for first in range(0, file.num_rows, ROWS_AT_ONCE):
            part = slice(first, first + ROWS_AT_ONCE)
            keypoints, scores = (torch.from_numpy(values).to(device)
                                 for values in file.rows(part.start, part.stop))
            present = keypoints.isfinite().all(-1) & (scores > 0)  # NaN does not count as a score
            self.keypoints[part] = torch.where(present[..., None], keypoints, 0)
            self.scores[part] = torch.where(present, scores, 0)
        self.start, self.num_frames, self.num_persons, self.label, height, width = (
            torch.from_numpy(numbers.astype(np.int64)).to(device) for numbers in (
                file.start, file.num_frames, file.num_persons, file.label, file.height, file.width))
        self.frame_size = torch.stack([height, width], 1).float()

    def fetch(self, batch: KeypointBatch, clip_len: int, seed: int,
              sampling: Sampling = "uniform") -> KeypointBatch:
        """The batch that `ClipDataset` would read for the indices of an `IndexDataset`.

        Args:
            batch: Of an `IndexDataset`, on the device.
            clip_len: Frames T of a training clip.
            seed: Seed of its random frames.
            sampling: How they are sampled.
        """
        clip, person = batch["clip"], batch["person"]
        num_frames = self.num_frames[clip]
        frames = batch["frames"] if "frames" in batch.tensors else sample_train(
            num_frames, clip_len, seed, batch["draw"], sampling)
        known = person < self.num_persons[clip][:, None]  # (N, M)
        rows = self.start[clip][:, None] + person * num_frames[:, None] * known
        rows = rows[..., None] + frames.clamp(min=0)[:, None]
        keypoints, scores = (
            each.index_select(0, rows.flatten()).view(*rows.shape, *each.shape[1:]).float()
            for each in (self.keypoints, self.scores))
        known = (known[:, :, None] & (frames >= 0)[:, None])[..., None]
        return KeypointBatch(
            keypoints=torch.where(known[..., None], keypoints, 0.0),
            scores=torch.where(known, scores, 0.0), frame_size=self.frame_size[clip],
            label=self.label[clip], clip=clip)


class DrawSampler(DistributedSampler[int]):
    """Draws of one epoch, shuffled by seed and epoch, and divided among the processes.

    Args:
        num_clips: Number of clips.
        processes: Number of processes that share them.
        rank: Rank of this process.
        seed: Seed of the order; None for the order of the file. If shuffled, clips that do not fill
            all processes are dropped, else clips are repeated to fill them.
        labels: Classes of the clips, ``(num_clips,)``. Each epoch then has the same number of clips
            of each class, up to one, and the same length as otherwise: a random part of the clips
            of a frequent class, and those of a rare class several times. None: each clip once.
    """

    def __init__(self, num_clips: int, processes: int, rank: int, seed: int | None,
                 labels: NDArray[np.integer[Any]] | None = None) -> None:
        # The sampler only needs the length of the data set.
        super().__init__(range(num_clips), processes, rank,  # type: ignore[arg-type]
                         seed is not None, seed or 0, drop_last=seed is not None)
        self.num_clips = num_clips
        self.labels = labels
        self._first_epoch = self._first_clip = 0

    def begin_at(self, epoch: int, clip: int) -> None:
        """Starts within an epoch, after that many clips of this process; later ones are whole."""
        self._first_epoch, self._first_clip = epoch, clip
        self.set_epoch(epoch)

    def __iter__(self) -> Iterator[int]:
        """Draw numbers of the epoch given to `set_epoch`."""
        skipped = self._first_clip if self.epoch == self._first_epoch else 0
        if self.labels is None:
            first = self.epoch * self.num_clips
            draws = (first + clip for clip in super().__iter__())
        else:
            # A clip may occur twice in an epoch, so its position in all epochs makes it a new draw.
            clips = balanced_clips(self.labels, (self.seed, self.epoch))
            place = self.epoch * self.num_clips + np.arange(self.num_clips)
            share = slice(self.rank, self.total_size, self.num_replicas)
            draws = iter((place * self.num_clips + clips)[share].tolist())
        return itertools.islice(draws, skipped, None)


def balanced_clips(labels: NDArray[np.integer[Any]], seed: tuple[int, int]) -> NDArray[np.int64]:
    """As many clips as there are labels, in random order, with equally many of each class.

    Clips of a class are repeated only after all of them have been used. If the number of clips is
    not a multiple of the number of classes, random classes have one more.

    Args:
        labels: ``(N,)``.
        seed: Seed of the choice and of the order.
    """
    random = np.random.default_rng(seed)
    classes = random.permutation(np.unique(labels))
    chosen = []
    for place, label in enumerate(classes):
        members = np.flatnonzero(labels == label)
        number = len(labels) // len(classes) + (place < len(labels) % len(classes))
        passes = -(-number // len(members))
        chosen.append(np.concatenate([random.permutation(members) for _ in range(passes)])[:number])
    clips: NDArray[np.int64] = random.permutation(np.concatenate(chosen))
    return clips
