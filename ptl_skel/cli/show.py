"""``ptl-skel show``: a clip as a network sees it, the evidence for a prediction, a layout."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptl_skel.command import CommandParser, console, writing
from ptl_skel.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_FRAMES = 32
"""Frames side by side in a PNG; more of them would be illegible."""
PICTURE = ("frames", "clip_len", "size", "camera", "sigma")
"""Options for the picture of a clip without a network."""


def main(args: Sequence[str]) -> None:
    """Writes the picture of a clip.

    Raises:
        UserError: A file or a clip does not exist, or an option is out of range.
    """
    parser = _parser()
    options, others = parser.parse_with_data(args)
    if others and options.ckpt_path is None:
        raise UserError(f"{others[0]} needs --ckpt_path: it changes the data of a run")
    if options.layout is not None:
        if options.file is not None:
            raise UserError(f"{options.file} has no effect with --layout; leave one of them out")
        parser.refuse_without_effect(options, ["clip", "ckpt_path", *PICTURE], "with --layout")
        _show_layout(options.layout, options.out)
        return
    if options.file is None or options.clip is None:
        raise UserError("give a keypoint file and --clip, or --layout")
    if options.ckpt_path is not None:
        parser.refuse_without_effect(options, PICTURE, "with --ckpt_path, which shows the inputs "
                                     "of the trained network")
        _show_evidence(options, others)
        return
    if min(options.frames, options.clip_len, options.size) < 1:
        raise UserError("--frames, --clip_len and --size must be >= 1")
    shown = min(options.frames, options.clip_len)
    if shown > MAX_FRAMES:
        raise UserError(f"--frames must be <= {MAX_FRAMES}; a .gif as --out shows every frame")
    if options.out is not None and options.out.lower().endswith(".gif"):
        parser.refuse_without_effect(options, ["frames"], "on a .gif, which shows all of them")
    # Imported here: matplotlib and torch take seconds.
    from ptl_skel.show.clip import draw_row, find_clip, read_camera, save_animation, view_clip
    from ptl_skel.storage import KeypointFile

    file = KeypointFile(options.file)
    clip = find_clip(file, options.clip)
    camera = None if options.camera is None else read_camera(options.camera)
    view = view_clip(file, clip, options.clip_len, options.size, options.sigma, camera)
    out = Path(options.out or _file_name(file.ids[clip]) + ".png")
    if out.suffix.lower() not in {".png", ".gif"}:
        raise UserError(f"--out must end in .png or .gif, got {out}")
    with writing(out):
        if out.suffix.lower() == ".gif":
            save_animation(view, out)
        else:
            draw_row(view, shown).savefig(out, dpi=130)
    console.print(f"{view.title} · {view.facts}: {out}", markup=False,
                  highlight=False, soft_wrap=True)


def _show_evidence(options: Any, others: Sequence[str]) -> None:
    from ptl_skel.cli.evidence import explain_clip, predict_clip
    from ptl_skel.show.evidence import draw_evidence
    from ptl_skel.show.predictions import save_predictions_gif

    arguments = options.ckpt_path, options.file, options.clip, others
    out = None if options.out is None else Path(options.out)
    if out is not None and out.suffix.lower() == ".gif":
        predictions = predict_clip(*arguments)
        with writing(out):
            save_predictions_gif(predictions, out)
        title = predictions.title
    else:
        evidence = explain_clip(*arguments)
        out = out or Path(_file_name(evidence.view.title) + "_evidence.png")
        _save_figure(draw_evidence(evidence), out, "evidence, or in .gif for "
                     "predictions over time")
        title = evidence.title
    console.print(f"{title}: {out}", markup=False, highlight=False, soft_wrap=True)


def _show_layout(name: str, out: str | None) -> None:
    from ptl_skel.show.layout import draw_layout
    from ptl_skel.skeletons import get_layout

    layout = get_layout(name)
    path = Path(out or f"{layout.name}.png")
    _save_figure(draw_layout(layout), path, "a layout")
    console.print(f"{layout.name}: {path}", markup=False, highlight=False, soft_wrap=True)


def _save_figure(figure: Figure, path: Path, what: str) -> None:
    if path.suffix.lower() != ".png":
        raise UserError(f"--out must end in .png for {what}, got {path}")
    with writing(path):
        figure.savefig(path, dpi=130)


def _file_name(clip: str) -> str:
    return re.sub(r"[^\w.-]", "_", clip)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="ptl-skel show", description="Shows a clip as a network sees it: the skeleton in the "
        "box around all persons, and below it the joint heatmaps. With --ckpt_path it shows which "
        "joints and frames the network's prediction depends on. Or shows a joint layout.",
        epilog="With --ckpt_path, options of `ptl-skel test` that begin with --data. are accepted "
        "as well.")
    parser.add_argument("file", metavar="FILE", type=Path, nargs="?", help="keypoint file")
    parser.add_argument("--clip", metavar="ID",
                        help="id of the clip, or its number in the file: 1 for the first")
    parser.add_argument("--ckpt_path", metavar="CHECKPOINT", type=Path, help=(
        "show the evidence for the prediction of a run: each joint is hidden in each time span, "
        "and the colour shows how much the log-odds of the predicted class fall. A .gif as --out "
        "shows the predictions over time"))
    parser.add_argument("--layout", metavar="NAME", help=(
        "show the joint layout of that name, or from a YAML file, instead of a clip"))
    parser.add_argument("--out", metavar="PICTURE", help=(
        "a .png shows some frames in a row, a .gif all frames that the network sees; default: "
        "<clip id>.png"))
    parser.add_argument("--frames", type=int, default=8, help="frames in the row; default: 8")
    parser.add_argument("--clip_len", type=int, default=32,
                        help="frames that the network sees; default: 32")
    parser.add_argument("--size", type=int, default=56,
                        help="height and width of the heatmaps, pixels; default: 56")
    parser.add_argument("--camera", metavar="YAML", help=(
        "camera that projects a file of 3D coordinates, e.g. camera/side.yaml; default: "
        "camera/front.yaml"))
    parser.add_argument("--sigma", type=float, default=0.6,
                        help="width of the Gaussian around a joint, pixels; default: 0.6")
    return parser
