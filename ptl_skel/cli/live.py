"""``ptl-skel live``: recognises each person in front of a camera, or in a video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from ptl_skel.cli.recognition import (
    add_model_options,
    exported_model,
    make_threshold,
    parse_recognition,
)
from ptl_skel.command import CommandParser, console
from ptl_skel.errors import UserError

if TYPE_CHECKING:
    from ptl_skel.live.session import Summary

_PORT = 8000


def main(args: Sequence[str]) -> None:
    """Recognises persons until the source ends or Ctrl-C is pressed.

    Raises:
        UserError: Something cannot be opened, read or written.
    """
    parser = _parser()
    options, others = parse_recognition(parser, "live", args)
    _check_outputs(parser, options)
    with exported_model(options, others) as model:
        _run(options, model)


def _run(options: Any, model: Path) -> None:
    from contextlib import ExitStack

    from ptl_skel.live.labels import Labels
    from ptl_skel.live.people import People, Settings
    from ptl_skel.live.server import PageServer
    from ptl_skel.live.session import Outputs, Session, open_source
    from ptl_skel.pose import make_estimator

    settings = Settings(options.window, options.stride, together=options.together)
    estimator = make_estimator(options.estimator, options.pose_model)
    people = People(model, estimator.layout, settings)
    labels = Labels(people.class_names, make_threshold(options, people), options.smoothing)
    with ExitStack() as stack:
        source = open_source(options.source, options.patience, _report)
        stack.callback(source.close)
        page = None
        if options.serve is not None:
            page = stack.enter_context(PageServer(options.host, options.serve))
            _report(f"the stream is shown at {page.url}")
        session = Session(source, estimator, people, labels, Outputs(
            options.out, options.json, page, options.out_side, options.heatmaps))
        try:
            session.run()
        finally:
            _print_summary(session.summarise(), options)


def _report(sentence: str) -> None:
    console.print(sentence, markup=False, highlight=False, soft_wrap=True)


def _print_summary(summary: Summary, options: Any) -> None:
    table = Table(title=escape(str(options.source)), show_header=False)
    rate = summary.frames / summary.seconds if summary.seconds else 0.0
    table.add_row("frames", f"{summary.frames:,} in {summary.seconds:.1f} s, {rate:.1f} per second")
    table.add_row("with a person", f"{summary.with_person:,}")
    for name, number in (("dropped", summary.dropped), ("recognised but not drawn",
                         summary.not_drawn), ("damaged packets", summary.damaged),
                         ("camera reconnected", summary.reconnects)):
        if number or name == "dropped":
            table.add_row(name, f"{number:,}")
    table.add_row("frame to label", _format(summary.latency))
    table.add_row("CPU time per frame", f"{summary.cpu:.1f} ms")
    for name, spread in summary.stages.items():
        table.add_row(f"  {name}", _format(spread))
    for name, path in (("annotated video", options.out), ("events", options.json)):
        if path is not None:
            table.add_row(name, escape(str(path)))
    console.print(table)


def _format(spread: tuple[float, float]) -> str:
    return f"{spread[0]:.1f} ms (median), {spread[1]:.1f} ms (95 %)"


def _check_outputs(parser: CommandParser, options: Any) -> None:
    from ptl_skel.pose.camera import is_camera

    if options.serve is None:
        parser.refuse_without_effect(options, ["host"], "without --serve")
    if options.serve is None and options.out is None:
        parser.refuse_without_effect(options, ["out_side", "heatmaps"], "without --out or --serve")
    if options.out is None and options.json is None:
        parser.refuse_without_effect(options, ["overwrite"], "without --out or --json")
    if not is_camera(options.source):
        parser.refuse_without_effect(options, ["patience"], "on a video file")
    if options.out is not None and options.out.suffix.lower() not in {".mp4", ".gif"}:
        raise UserError(f"--out must end in .mp4 or .gif, got {options.out}")
    if options.out is not None and options.json is not None and (
            options.out.resolve() == options.json.resolve()):
        raise UserError("--out and --json must be two files")
    for name in ("out", "json"):
        path = getattr(options, name)
        if path is None or not path.exists():
            continue
        if Path(options.source).exists() and path.samefile(options.source):
            raise UserError(f"--{name} {path} is the source")
        if not options.overwrite:
            raise UserError(f"--{name} {path} exists; --overwrite replaces it")
    if options.out_side < 64:
        raise UserError(f"--out_side must be >= 64, got {options.out_side}")
    if not options.patience > 0:
        raise UserError(f"--patience must be positive, got {options.patience}")


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="ptl-skel live", allow_abbrev=False, description="Recognises the action of each "
        "person in front of a camera or in a video. Without --out, --json and --serve it only "
        "measures the speed.",
        epilog="With --ckpt_path, options of `ptl-skel test` that begin with --data. are accepted "
        "as well, e.g. --data.file. Example: ptl-skel live --model model.onnx --source 0 --serve")
    parser.add_argument("--source", required=True, metavar="SOURCE", help=(
        "number of a camera, 0 for the first; a video file; or an address (rtsp://, http://)"))
    add_model_options(parser)
    parser.add_argument("--smoothing", type=float, default=0.5, metavar="SECONDS", help=(
        "time after which the influence of a prediction has fallen to a third; default: 0.5"))
    outputs = parser.add_argument_group("outputs")
    outputs.add_argument("--out", type=Path, metavar="VIDEO.mp4", help=(
        "write an annotated video; a short one may be a .gif"))
    outputs.add_argument("--json", type=Path, metavar="EVENTS.jsonl", help=(
        "write a line for each changed label"))
    outputs.add_argument("--serve", type=int, nargs="?", const=_PORT, metavar="PORT", help=(
        f"show the annotated stream on a web page; default: port {_PORT}"))
    outputs.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help=(
        "with --serve, the address to listen on: 0.0.0.0 gives other machines access, without a "
        "password; default: 127.0.0.1, this machine only"))
    outputs.add_argument("--out_side", type=int, default=960, metavar="PIXELS", help=(
        "longer side of the annotated video; default: 960"))
    outputs.add_argument("--heatmaps", action="store_true", help=(
        "show the joint heatmaps of the persons in the corner"))
    outputs.add_argument("--overwrite", action="store_true", help="replace --out and --json")
    parser.add_argument("--patience", type=float, default=20.0, metavar="SECONDS", help=(
        "time to wait for a lost camera before giving up; default: 20"))
    return parser
