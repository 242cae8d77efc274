"""YAML files that ship with the package: base, backbones, representations, experiments."""

from __future__ import annotations

import difflib
from pathlib import Path

CONFIGS = Path(__file__).parent
"""Folder of the YAML files."""


def shipped(name: str) -> str:
    """The path of a shipped config given as ``experiment/x.yaml``; anything else is unchanged."""
    if name.endswith(".yaml") and not Path(name).exists() and (CONFIGS / name).is_file():
        return str(CONFIGS / name)
    return name


def shipped_names(kind: str | None = None) -> list[str]:
    """Short names of all shipped configs, or of one kind such as ``backbone``."""
    return sorted(f"{path.parent.name}/{path.name}" for path in CONFIGS.glob("*/*.yaml")
                  if kind in (None, path.parent.name))


def suggest_shipped(name: str) -> str:
    """A suggestion for the name of a file that does not exist, as half a sentence."""
    wanted = Path(name)
    of_kind = shipped_names(wanted.parent.name)
    known = {Path(other).stem: other for other in of_kind or shipped_names()}
    near = ([stem for stem in known if stem.startswith(wanted.stem)]  # penn, for penn_action
            or difflib.get_close_matches(wanted.stem, known))
    if near:
        return f"did you mean {' or '.join(known[stem] for stem in near)}?"
    return f"shipped are {', '.join(of_kind)}" if of_kind else "check the path"
