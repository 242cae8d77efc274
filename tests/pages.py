"""The README and the docs: their code blocks and commands, for tests that do what they say."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from ptl_skel.cli.verbs import main

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """Language, title (or nothing) and text of the code blocks of a page."""
    found = re.findall(r'^```(\w+)(?: title="(.+?)")?\n(.*?)^```$', page.read_text("utf-8"),
                       re.MULTILINE | re.DOTALL)
    return [(language, title, text) for language, title, text in found]


def split_commands(text: str) -> list[list[str]]:
    """The words of each command in a shell block, without comments."""
    lines = [shlex.split(line, comments=True) for line in text.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line]


def commands(page: Path) -> list[list[str]]:
    """The commands of a page: of its shell blocks, of indented ones, and of tables of formats."""
    found = [command for language, _, text in blocks(page) if language == "bash"
             for command in split_commands(text)]
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^ {4}((?:ptl-skel|python|pip) \S.*)$", text, re.MULTILINE)
    cells = re.findall(r"^\| .+ \| `(ptl-skel .+)` \|$", text, re.MULTILINE)
    return found + [shlex.split(line, comments=True) for line in indented + cells]


def rows(text: str) -> list[dict[str, str]]:
    """The rows of the first table in some text, by the heads of the columns."""
    found = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert found
    head, _, *others = [[cell.strip() for cell in line.strip("|").split("|")]
                        for line in found[0].splitlines()]
    return [dict(zip(head, row, strict=True)) for row in others]


def write_titled(page: Path, folder: Path) -> None:
    """Writes the blocks with a title to files of that name."""
    for _, title, text in blocks(page):
        if title:
            path = folder / title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")


def do(language: str, text: str) -> None:
    """Runs a block; the commands in this process, which has imported what takes them long."""
    if language == "python":
        exec(compile(text, "page", "exec"), {})
        return
    for command in split_commands(text):
        if command[0] == "ptl-skel":
            run(command)


def run(command: list[str], *more: str) -> None:
    """Runs ``ptl-skel ...``; patterns are expanded as a shell does."""
    main([str(name) for word in command[1:]
          for name in (sorted(Path().glob(word)) if "*" in word else [word])] + list(more))
