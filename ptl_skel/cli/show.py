"""``ptl-skel show``: a clip as the network sees it, as PNG or GIF; or a joint layout."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ptl_skel.command import CommandParser, console
from ptl_skel.errors import UserError

MAX_FRAMES = 32
"""Frames side by side in a PNG; nobody can read more of them."""


def main(args: Sequence[str]) -> None:
    """Writes the picture of a clip.

    Raises:
        UserError: A file or a clip that does not exist, or an option that is out of range.
    """
    options = _parser().parse_args(args)
    if options.layout is not None:
        _show_layout(options.layout, options.out)
        return
    if options.file is None or options.clip is None:
        raise UserError("give a keypoint file and --clip, or --layout")
    if min(options.frames, options.clip_len, options.size) < 1:
        raise UserError("--frames, --clip_len and --size must be >= 1")
    shown = min(options.frames, options.clip_len)
    if shown > MAX_FRAMES:
        raise UserError(f"--frames must be <= {MAX_FRAMES}; a .gif as --out shows every frame")
    # Imported here: matplotlib and torch take seconds.
    from ptl_skel.show.clip import draw_row, find_clip, read_camera, save_animation, view_clip
    from ptl_skel.storage import KeypointFile

    file = KeypointFile(options.file)
    clip = find_clip(file, options.clip)
    camera = None if options.camera is None else read_camera(options.camera)
    view = view_clip(file, clip, options.clip_len, options.size, options.sigma, camera)
    out = Path(options.out or re.sub(r"[^\w.-]", "_", file.ids[clip]) + ".png")
    if out.suffix.lower() not in {".png", ".gif"}:
        raise UserError(f"--out must end in .png or .gif, got {out}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix.lower() == ".gif":
            save_animation(view, out)
        else:
            draw_row(view, shown).savefig(out, dpi=130)
    except OSError as error:
        raise UserError(f"--out {out} cannot be written: {error.strerror or error}") from error
    console.print(f"{view.title} · {view.facts}: {out}", markup=False,
                  highlight=False, soft_wrap=True)


def _show_layout(name: str, out: str | None) -> None:
    from ptl_skel.show.layout import draw_layout
    from ptl_skel.skeletons import get_layout

    layout = get_layout(name)
    path = Path(out or f"{layout.name}.png")
    if path.suffix.lower() != ".png":
        raise UserError(f"--out must end in .png for a layout, got {path}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_layout(layout).savefig(path, dpi=130)
    except OSError as error:
        raise UserError(f"--out {path} cannot be written: {error.strerror or error}") from error
    console.print(f"{layout.name}: {path}", markup=False, highlight=False, soft_wrap=True)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="ptl-skel show", description="Shows a clip as a network sees it: the skeleton in the "
        "box around all persons, and below it the joint heatmaps. Or shows a joint layout.")
    parser.add_argument("file", metavar="FILE", type=Path, nargs="?", help="keypoint file")
    parser.add_argument("--clip", metavar="ID",
                        help="id of the clip, or its place in the file: 1 for the first")
    parser.add_argument("--layout", metavar="NAME", help=(
        "show the joint layout of that name, or of a YAML file, instead of a clip"))
    parser.add_argument("--out", metavar="PICTURE", help=(
        "a .png shows some frames in a row, a .gif all that the network sees, one after the "
        "other; default: <clip id>.png"))
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
