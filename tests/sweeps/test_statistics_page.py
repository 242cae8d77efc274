"""docs/statistics.md: every command on it runs."""

from __future__ import annotations

import functools
import re
import shlex
import shutil
from pathlib import Path

import pytest
from records import config_of, write_run

from ptl_skel.__main__ import main
from ptl_skel.cli import outcome

PAGE = Path(__file__).parents[2] / "docs/statistics.md"
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
COMMANDS = [line for block in BLOCKS for line in block.splitlines()]
LABEL = (0, 1, 2) * 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory, finished_run):
    """Runs of four arms with two seeds on what the page names, and one that was trained."""
    folder = tmp_path_factory.mktemp("page")
    data = {"penn": [("penn_action", "official")],
            "sbu": [("sbu", f"fold{number}") for number in (1, 2)]}
    data["study"] = [*data["penn"], *data["sbu"]]
    for name, parts in data.items():
        for dataset, protocol in parts:
            for arm in ("full3d", "reduced", "conv1d", "narrow"):
                for seed in (0, 1):
                    write_run(folder / f"runs/{name}/{arm}-{dataset}-{protocol}-{seed}", seed=seed,
                              config=config_of(arm), dataset=dataset, protocol=protocol,
                              clips=[f"{protocol}-{number}" for number in range(len(LABEL))],
                              label=LABEL, predicted=(1, *LABEL[1:]))
    for seed in (0, 1):
        config = config_of()
        config["data"]["val_seed"] = seed
        write_run(folder / f"runs/augmentation/val_seed={seed}", config=config, part="val",
                  clips=[f"{seed}-{number}" for number in range(5)])
    shutil.copytree(finished_run, folder / "runs/trained/one")
    return folder


def test_the_page_has_commands():
    assert len(COMMANDS) == 9


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_runs(folder, monkeypatch, command):
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sweeps.report.write_pictures", lambda *_: True)
    monkeypatch.setattr(outcome, "measure", functools.partial(outcome.measure, seconds=0))
    program, *arguments = shlex.split(command)
    assert program == "ptl-skel"
    main(arguments)
