"""YAML files that ship with the package: base, backbones, representations, experiments."""

from __future__ import annotations

from pathlib import Path

CONFIGS = Path(__file__).parent
"""Folder of the YAML files."""


def shipped(name: str) -> str:
    """The path of a shipped config given as ``experiment/x.yaml``; anything else as it is."""
    if name.endswith(".yaml") and not Path(name).exists() and (CONFIGS / name).is_file():
        return str(CONFIGS / name)
    return name
