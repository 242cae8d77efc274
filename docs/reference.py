"""Writes the page of all commands and settings when the site is built, from their own parsers."""

from __future__ import annotations

import contextlib
import io
import os
from unittest.mock import patch

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from preprocessing.commands import SOURCES
from ptl_skel.cli.options import LEADING, leading_help
from ptl_skel.cli.verbs import VERBS, main
from ptl_skel.configs import CONFIGS

WIDTH = "100"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the page; called by MkDocs."""
    files.append(File.generated(config, "reference.md", content=write_reference()))
    return files


def write_reference() -> str:
    """The page, in Markdown."""
    parts = ["# Reference", "Generated from the parsers of the commands.", "## Default settings",
             "`ptl_skel/configs/base.yaml`. Every key is also an option of `ptl-skel fit`, with "
             "dots between its parts, as in `--data.augment.flip 0`.",
             _code((CONFIGS / "base.yaml").read_text("utf-8"), "yaml"),
             "## Shipped settings", _shipped(), "## Commands", _code(read_help())]
    for verb in VERBS:
        parts += [f"### {verb}", _code(leading_help(verb).rpartition("\n\n")[0]
                                       if verb in LEADING else read_help(verb))]
        if verb == "fit":
            parts += ["All options of `fit`, most of which the other three take as well:",
                      _code(read_help("fit").removeprefix(leading_help("fit")).strip())]
    for source in [*SOURCES, "synthetic"]:
        parts += [f"### preprocess {source}", _code(read_help("preprocess", source))]
    return "\n\n".join(parts) + "\n"


def read_help(*verb: str) -> str:
    """What ``ptl-skel VERB --help`` prints."""
    printed = io.StringIO()
    with (patch.dict(os.environ, COLUMNS=WIDTH), contextlib.redirect_stdout(printed),
          contextlib.suppress(SystemExit)):
        main([*verb, "--help"])
    return printed.getvalue().replace(f"{CONFIGS}/", "").strip()


def _shipped() -> str:
    """A row for each config that ships, with the first sentence of its comment."""
    rows = ["| file | what it is |", "|---|---|"]
    for path in sorted(CONFIGS.glob("*/*.yaml")):
        if path.parent.name != "layout":  # data.md lists them
            comment = [line[1:].strip() for line in path.read_text("utf-8").splitlines()
                       if line.startswith("#")]
            first = " ".join(comment).partition(". ")[0].replace("|", "\\|")
            rows.append(f"| `{path.parent.name}/{path.name}` | {first} |")
    return "\n".join(rows)


def _code(text: str, language: str = "text") -> str:
    return f"```{language}\n{text.rstrip()}\n```"
