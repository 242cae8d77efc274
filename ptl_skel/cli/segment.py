"""``ptl-skel segment``: the actions in a long video, with start and end."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from ptl_skel.cli.recognition import (
    add_model_options,
    exported_model,
    make_threshold,
    parse_recognition,
)
from ptl_skel.command import CommandParser, console, writing
from ptl_skel.errors import UserError

if TYPE_CHECKING:
    from ptl_skel.live.segments import Segment

_SHOWN = 12  # segments in the table


def main(args: Sequence[str]) -> None:
    """Writes the segments of a video.

    Raises:
        UserError: Something cannot be opened, read or written.
    """
    options, others = parse_recognition(_parser(), "segment", args)
    if (options.out / "segments.csv").exists() and not options.overwrite:
        raise UserError(f"--out {options.out} has the segments of a video; --overwrite replaces "
                        "them")
    with exported_model(options, others) as model:
        _segment(options, model)


def _segment(options: Any, model: Path) -> None:
    from ptl_skel.live.people import People, Settings
    from ptl_skel.live.pipeline import Pipeline, Stage
    from ptl_skel.live.segments import Rules, Tracks
    from ptl_skel.pose import Poses, find_poses, make_estimator
    from ptl_skel.pose.video import Frame, Video

    settings = Settings(options.window, options.stride, together=options.together)
    estimator = make_estimator(options.estimator, options.pose_model)
    people = People(model, estimator.layout, settings)
    rules = Rules(make_threshold(options, people), options.gap, options.shortest)
    tracks = Tracks(people.span)
    side, seconds = estimator.preferred_side, 0.0

    def recognise(work: tuple[Frame, Poses]) -> None:
        nonlocal seconds
        frame, poses = work
        tracks.add(frame.time, people.add(frame.time, poses, frame.size))
        seconds = frame.time

    with Video(options.video) as video, Progress(console=console, transient=True) as progress:
        with writing(options.out):  # better now than after hours
            options.out.mkdir(exist_ok=True)
            tempfile.TemporaryFile(dir=options.out).close()

        def frames() -> Iterator[Frame]:
            yield from progress.track(video, total=video.num_frames or None,
                                      description=escape(str(options.video)))

        stages = [Stage("decode", lambda frame: (frame, frame.to_image(side))),
                  Stage("pose", lambda work: (work[0], find_poses(estimator, *work))),
                  Stage("recognise", recognise)]
        try:
            Pipeline(frames(), stages, newest=False, close=lambda: None).run()
        finally:  # even after an error or Ctrl-C, the segments so far are kept
            _write(options, tracks.segments(people.class_names, rules), seconds)
        if tracks.empty:
            console.print("nobody was seen in the video", highlight=False)
        if video.num_damaged:
            console.print(f"{video.num_damaged} damaged packets were skipped", highlight=False)


def _write(options: Any, segments: Sequence[Segment], seconds: float) -> None:
    """Writes table, JSON and picture, and prints the first segments."""
    from ptl_skel.atomic import write_text
    from ptl_skel.live.segments import to_csv, to_json
    from ptl_skel.live.timeline import draw_timeline, format_time

    out: Path = options.out
    with writing(out):
        write_text(out / "segments.csv", to_csv(segments))
        write_text(out / "segments.json", to_json(segments, video=str(options.video),
                                                  seconds=round(seconds, 3)))
        draw_timeline(segments, seconds, options.video.name).savefig(out / "timeline.png", dpi=130)
    table = Table(title=escape(str(options.video)))
    for name in ("person", "start", "end", "label", "probability"):
        table.add_column(name)
    for each in segments[:_SHOWN]:
        table.add_row("scene" if each.person is None else str(each.person),
                      format_time(each.start, seconds),
                      format_time(each.end, seconds), escape(each.label),
                      f"{each.probability:.2f}")
    console.print(table)
    console.print(f"{len(segments):,} segments in {format_time(seconds, seconds)}: "
                  f"segments.csv, segments.json and timeline.png in {out}", markup=False,
                  highlight=False, soft_wrap=True)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="ptl-skel segment", allow_abbrev=False, description="Finds the actions of each person "
        "in a video of any length: start, end, label and probability, as CSV, JSON and a picture.",
        epilog="With --ckpt_path, options of `ptl-skel test` that begin with --data. are accepted "
        "as well, e.g. --data.file.")
    parser.add_argument("video", type=Path, metavar="VIDEO", help="the video")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help=(
        "where segments.csv, segments.json and timeline.png are written"))
    parser.add_argument("--overwrite", action="store_true", help="replace them")
    add_model_options(parser)
    rules = parser.add_argument_group("segments")
    rules.add_argument("--gap", type=float, default=0.5, metavar="SECONDS", help=(
        "merge segments of the same label with at most this much between them; default: 0.5"))
    rules.add_argument("--shortest", type=float, default=0.5, metavar="SECONDS", help=(
        "drop shorter segments; default: 0.5"))
    return parser
