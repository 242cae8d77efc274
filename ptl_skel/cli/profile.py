"""``ptl-skel profile``: what backbones cost, side by side."""

from __future__ import annotations

import os
from argparse import ArgumentError
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentParser
from rich.table import Table

from ptl_skel.backbones import Backbone
from ptl_skel.command import CommandParser, console
from ptl_skel.configs import shipped, suggest_shipped
from ptl_skel.cost.complexity import measure
from ptl_skel.errors import MissingFileError, UserError
from ptl_skel.training.module import classifier

MAX_SECONDS = 3600
"""The longest measurement of a latency that can have been meant."""


def main(args: Sequence[str]) -> None:
    """Prints parameters, GMACs and latency of each backbone with a linear head.

    Raises:
        UserError: A file does not describe a backbone, or a number is out of range.
    """
    parser = CommandParser(
        prog="ptl-skel profile", description="Parameters, GMACs (multiply-accumulates of one "
        "clip, in billions) and latency (median forward pass, batch of one) of backbones.")
    parser.add_argument("backbones", nargs="+", metavar="BACKBONE", help=(
        "YAML file of a backbone, own or shipped, e.g. backbone/reduced.yaml"))
    parser.add_argument("--input", nargs=4, type=int, default=(17, 32, 56, 56),
                        metavar=("C", "T", "H", "W"), help="default: 17 32 56 56")
    parser.add_argument("--classes", type=int, default=60, help="outputs of the head; default: 60")
    parser.add_argument("--threads", type=int, help="CPU threads; default: one a core")
    parser.add_argument("--seconds", type=float, default=2.0,
                        help="how long the latency of each is measured; default: 2")
    options = parser.parse_args(args)
    if min(*options.input, options.classes) < 1:
        raise UserError("--input and --classes must be >= 1")
    if not 0 <= options.seconds <= MAX_SECONDS:
        raise UserError(f"--seconds must lie in 0..{MAX_SECONDS}, got {options.seconds:g}")
    cores = os.cpu_count() or 1
    if options.threads is not None and not 1 <= options.threads <= cores:
        raise UserError(f"--threads must be 1 to {cores}, the cores of this machine, got "
                        f"{options.threads}")
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    table = Table("backbone", "params", "GMACs", "latency", "clips/s")
    for name in options.backbones:
        backbone = load_backbone(name, options.input[0])
        cost = measure(classifier(backbone, options.classes).to(device), tuple(options.input),
                       options.seconds)
        table.add_row(Path(name).stem, f"{cost.params / 1e6:.3f} M", f"{cost.gmacs:.3f}",
                      f"{cost.latency_ms:.1f} ms", f"{1e3 / cost.latency_ms:.1f}")
    shape = "x".join(map(str, options.input))
    table.title = f"input {shape}, {options.classes} classes, {cost.device}"
    console.print(table)


def load_backbone(name: str, in_channels: int) -> Backbone:
    """The backbone that a YAML file describes.

    Raises:
        UserError: There is no such file, or it does not describe a backbone.
    """
    path = Path(shipped(name))
    if not path.is_file():
        raise MissingFileError(f"backbone file {name} does not exist; {suggest_shipped(name)}")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Backbone, "backbone")
    try:
        declared: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        declared["init_args"]["in_channels"] = in_channels
        config = parser.parse_object({"backbone": declared})
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ArgumentError) as error:
        raise UserError(f"{name} does not describe a backbone: {error}") from error
    backbone = parser.instantiate(config).backbone
    assert isinstance(backbone, Backbone)
    return backbone
