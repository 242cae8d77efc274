"""The results pages in the docs are what `ptl-skel report` makes of the recorded runs."""

import shlex

import pytest
from pages import ROOT

from ptl_skel.cli.verbs import main

INDEX = (ROOT / "docs/results/index.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line) for line in INDEX.splitlines()
            if line.startswith("ptl-skel report docs/results/records/")]


def lines(text):
    """A page without its pictures, which need a browser."""
    return [line for line in text.splitlines() if line and not line.startswith("![")]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[-1].split("/")[-1])
def test_the_pages_are_those_of_the_records(command, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    page = ROOT / command[-1]
    again = tmp_path / page.name
    main([*command[1:-1], str(again)])
    made = again.read_text(encoding="utf-8").replace(str(again), command[-1])
    assert lines(made) == lines(page.read_text(encoding="utf-8"))


def test_all_records_are_reported():
    recorded = {path.name for path in (ROOT / "docs/results/records").iterdir()}
    assert recorded == {command[2].split("/")[-1] for command in COMMANDS}
