"""What the commands share: shipped configs by name, users' mistakes, the console."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

CONFIGS = Path(__file__).parent / "configs"
"""The YAML files that ship with the package."""

console = Console()


class UserError(Exception):
    """A mistake of the user; the message says what is wrong and what to do, in a sentence."""


def shipped(name: str) -> str:
    """The path of a shipped config given as ``experiment/x.yaml``; anything else as it is."""
    if name.endswith(".yaml") and not Path(name).exists() and (CONFIGS / name).is_file():
        return str(CONFIGS / name)
    return name
