"""Clips with one file per frame, as OpenPose and Ultralytics write them.

The name of a file ends in the number of its frame: ``jump_000000000012_keypoints.json`` is frame 12
of the video ``jump``. A clip is named after its video. If file names are only numbers, or the same
video is in several folders, it is named after its folder below the root, or after both
(``folder/video``) if the folder contains several such videos.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ptl_skel.errors import MissingFileError, UserError

from ..core.files import check_links, walk
from ..core.source import LeftOut, Unusable
from .poses import Integers

_MAX_DIGITS = 18  # fit in 64 bits
_TIME = re.compile(r"(([01]\d|2[0-3])[-_.:h]?[0-5]\d[-_.:m]?[0-5]\d|(?<!\d)1\d{9})[-_.,]$"
                   r"|^\d+[.,]$", re.ASCII)
"""The part of a name before fractions of a second: it ends in the time of day or in seconds since
1970, or is a number of seconds."""
_PARTS_OF_SECOND = {3, 6, 9}  # digits
_SMALL_STEP = 5  # frames; some show nobody and have no file. Steps in milliseconds are larger


@dataclass(frozen=True)
class FrameFiles:
    """The files of a clip. Their names are computed: a data set has millions of frames.

    Args:
        folder: Their folder.
        head: What their names begin with.
        digits: Minimum number of digits.
        tail: What their names end with.
        frames: The numbers, ``(F,)``.
    """

    folder: Path
    head: str
    digits: int
    tail: str
    frames: Integers

    def __iter__(self) -> Iterator[tuple[int, Path]]:
        """Number and path of each file, in the order of the numbers."""
        for frame in self.frames.tolist():
            yield frame, self.folder / f"{self.head}{frame:0{self.digits}}{self.tail}"


def find_frame_files(root: Path, tail: str) -> dict[str, FrameFiles | Unusable]:
    """The clips in a folder and its subfolders, and files that do not belong to any clip.

    Args:
        root: The folder.
        tail: What the names of the files end with, after the number.

    Raises:
        MissingFileError: There is no such folder.
        UserError: There is no such file in it, or two clips would have the same name.
    """
    if not root.is_dir():
        raise MissingFileError(f"{root} is not a folder; give the one that holds the files "
                               f"<video>_<frame>{tail}")
    videos, flawed = find_videos(root, tail)
    if not videos:
        raise UserError(f"{root} holds no file <video>_<frame>{tail}")
    return {**name_clips(root, videos), **flawed}


def find_videos(root: Path, tail: str
                ) -> tuple[dict[tuple[str, str], FrameFiles], dict[str, Unusable]]:
    """The files of each video, by folder and video; and files that do not belong to any.

    Raises:
        UserError: A video is included twice through links.
    """
    videos: dict[tuple[str, str], FrameFiles] = {}
    flawed: dict[str, Unusable] = {}
    for folder, names in walk(root):
        place = folder.relative_to(root).as_posix()
        found, others = _videos(folder, names, tail)
        videos |= {(place, video): files for video, files in found.items()}
        flawed |= {(folder / name).relative_to(root).as_posix(): reason
                   for name, reason in others.items()}
    check_links(next(iter(files))[1] for files in videos.values())
    return videos, flawed


def name_clips(root: Path, videos: Mapping[tuple[str, str], FrameFiles]) -> dict[str, FrameFiles]:
    """The files of each clip by its name, sorted.

    Raises:
        UserError: Two clips would have the same name.
    """
    same_video = Counter(video for _, video in videos)
    same_place = Counter(place for place, _ in videos)
    clips: dict[str, FrameFiles] = {}
    for (place, video), files in videos.items():
        name = video
        if not video or same_video[video] > 1:
            name = f"{place}/{video}" if video and same_place[place] > 1 else place
        name = root.resolve().name if name == "." else name.removeprefix("./")
        if name in clips:
            raise UserError(f"{files.folder} and {clips[name].folder} both hold a clip that would "
                            f"be named {name!r}; rename one of the folders")
        clips[name] = files
    return dict(sorted(clips.items()))


def _videos(folder: Path, names: list[str],
            tail: str) -> tuple[dict[str, FrameFiles], dict[str, Unusable]]:
    """The files of each video in a folder; and files that do not belong to any, with the reason."""
    pattern = re.compile(rf"(.*?)(\d{{1,{_MAX_DIGITS}}}){re.escape(tail)}", re.ASCII | re.DOTALL)
    numbered: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    flawed: dict[str, Unusable] = {}
    for name in names:
        parts = pattern.fullmatch(name)
        if parts is not None:
            numbered[parts[1].rstrip("_-. ")].append((name, parts[1], parts[2]))
        elif name.endswith(tail):
            flawed[name] = LeftOut("its name does not end in the number of a frame")
    videos: dict[str, FrameFiles] = {}
    for video, found in numbered.items():
        head, digits = found[0][1], min(len(number) for _, _, number in found)
        frames = []
        for name, _, number in found:
            if name == f"{head}{int(number):0{digits}}{tail}":
                frames.append(int(number))
            else:
                flawed[name] = Unusable(f"it is not numbered like {found[0][0]}, of the same clip")
        videos[video] = FrameFiles(folder, head, digits, tail, np.sort(np.array(frames, np.int64)))
    _check_times(folder, videos)
    return videos, flawed


def _check_times(folder: Path, videos: Mapping[str, FrameFiles]) -> None:
    """Checks that the files of a folder are not named by times with fractions of a second.

    Raises:
        UserError: They are, so each second would become a separate clip.
    """
    seconds = [video for video, files in videos.items() if _TIME.search(files.head)
               and files.digits in _PARTS_OF_SECOND and files.frames[-1] < 10**files.digits]
    steps = [step for video in seconds for step in np.diff(videos[video].frames)]
    if len(seconds) > max(1, len(videos) / 2) and steps and np.median(steps) > _SMALL_STEP:
        names = " and ".join(videos[video].head for video in seconds[:2])
        raise UserError(f"{folder} has files named by the time, as {names}: number the frames of "
                        "each clip 0, 1, 2 and so on")
