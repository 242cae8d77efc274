"""What the README says, done as it says."""

import functools
import re
import shlex
import signal
from pathlib import Path

import pytest

import preprocessing.__main__
import ptl_skel.__main__
from ptl_skel import cli
from ptl_skel.records import read_predictions, read_result
from ptl_skel.storage import KeypointFile

README = Path(__file__).parents[1] / "README.md"


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """A folder of its own, no time for latency, and a Ctrl-C that still works after Lightning."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(cli, "measure", functools.partial(cli.measure, seconds=0))
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


def blocks(title):
    """Language and text of the code blocks in a section of the README."""
    sections = re.split(r"^## ", README.read_text(encoding="utf-8"), flags=re.MULTILINE)
    section, = (text for text in sections if text.startswith(f"{title}\n"))
    return re.findall(r"^```(\w+)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def do(language, text):
    """Runs a block; the commands in this process, which has imported what takes them long."""
    if language == "python":
        exec(compile(text, README.name, "exec"), {})
        return
    for line in text.replace("\\\n", " ").splitlines():
        match shlex.split(line, comments=True):
            case ["python", "-m", "preprocessing", *arguments]:
                assert preprocessing.__main__.main(arguments) == 0
            case ["ptl-skel", *arguments]:
                ptl_skel.__main__.main(arguments)
            case other:
                assert not other, line


def test_bring_your_own_keypoints():
    for language, text in blocks("Bring your own keypoints"):
        do(language, text)
    file = KeypointFile("mine.h5")
    assert file.header.class_names == ("jump", "walk")
    assert {part: len(clips) for part, clips in file.splits["own"].items()} == {
        "train": 8, "test": 4}
    assert read_result(Path("runs/mine"))["status"] == "finished"
    assert read_predictions(Path("runs/mine/predict")).clip == tuple(KeypointFile("new.h5").ids)
