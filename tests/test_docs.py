"""Every command in the README and the docs is accepted, and the guides do what they say.

Pages with tests of their own, which run all their commands: data.md in
tests/preprocessing/test_guide.py, video.md in tests/preprocessing/tools/test_video.py, export.md
and streaming.md in tests/deploy, live.md in tests/live/test_whole_way.py, statistics.md in
tests/sweeps/test_statistics_page.py, index.md and ntu.md in tests/test_readme.py.
"""

import itertools
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from pages import PAGES, README, ROOT, blocks, commands, run, write_titled

from preprocessing import commands as preprocessing
from ptl_skel.cli import lightning as cli
from ptl_skel.cli.verbs import VERBS, main
from ptl_skel.command import CommandParser
from ptl_skel.runs.record import read_result
from ptl_skel.storage import KeypointFile

BY_HAND = {
    "git": "needs the address of the repository",
    "wandb": "needs an account; tests/sweeps/test_wandb.py runs an agent on a server of its own",
    "pytest": "the tests themselves",
    "PTL_SKEL_CUDA_DRY_RUN=cpu": "tests/test_cuda_dry_run.py runs it",
    "TRITON_INTERPRET=1": "needs Triton",
    "tests/benchmarks/gpu_prepare.sh": "downloads wheels",
    "DRY_RUN=1": "the session on a GPU machine, takes minutes",
    "MINUTES=9": "the session on a GPU machine",
    "MINUTES=5": "the session on a GPU machine",
    "bash": ".ci/run, the whole check",
    "mkdir": "a shell's own", "ln": "a shell's own", "export": "a shell's own",
    "for": "a shell's own", "done": "a shell's own", ".": "a shell's own",
    "npm": "needs the network",
}
"""First words of commands that no test runs, and why."""

SHORT = ("--trainer.max_epochs", "1", "--data.clip_len", "8", "--data.size", "16",
         "--data.eval_size", "16", "--wandb", "off")


class Parsed(Exception):  # noqa: N818
    """A command was accepted, and would do its work now."""


@pytest.fixture(autouse=True)
def surroundings(command_surroundings):
    """See `command_surroundings`."""


@pytest.fixture
def only_parse(monkeypatch):
    """Commands end when their options are parsed: with `Parsed`, or in silence."""
    parse_args, parse_known = CommandParser.parse_args, CommandParser.parse_known_args
    inside = [0]

    def parse_all(self, *args, **kwargs):
        inside[0] += 1
        try:
            parse_args(self, *args, **kwargs)
        finally:
            inside[0] -= 1
        raise Parsed

    def parse_some(self, *args, **kwargs):
        inside[0] += 1
        try:
            found = parse_known(self, *args, **kwargs)
        finally:
            inside[0] -= 1
        if not inside[0]:  # a command that hands the rest on to the parser of `fit`
            assert all(word.startswith("--data.") for word in found[1][::2]), found[1]
            raise Parsed
        return found

    monkeypatch.setattr(CommandParser, "parse_args", parse_all)
    monkeypatch.setattr(CommandParser, "parse_known_args", parse_some)
    monkeypatch.setattr(cli.SkeletonCLI, "instantiate_classes", lambda self: None)
    monkeypatch.setattr(cli.SkeletonCLI, "_run_subcommand", lambda self, name: None)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_accepted(page, only_parse, finished_run, monkeypatch, capsys):
    write_titled(page, Path())
    monkeypatch.syspath_prepend(Path.cwd())
    if page.name == "extend.md":
        monkeypatch.setitem(preprocessing.SOURCES, "toypose", row_of_the_page(page))
    for command in commands(page):
        program, *words = command
        if program == "ptl-skel":
            assert accepts(words, finished_run), f"{' '.join(command)}: {capsys.readouterr().err}"
        elif program == "make":
            assert f"\n{words[0] if words else 'help'}:" in (ROOT / "Makefile").read_text("utf-8")
        elif program in {"python", "python3"} and words[0] != "-m":
            assert (ROOT / words[0]).is_file(), command
        elif program == "pip":
            check_extras(words)
        else:
            assert program in BY_HAND, command


def accepts(words, finished_run):
    """Whether a verb takes these words; checkpoints exist, as the page assumes."""
    for path in map(Path, words):
        if path.suffix == ".ckpt" and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(finished_run / "checkpoints/last.ckpt")
    try:
        main(words)
    except Parsed:
        return True
    except SystemExit:
        return False
    return words[0] in {"fit", "validate", "test", "predict"}


def check_extras(words):
    """The extras in `pip install` exist."""
    named = set(itertools.chain(*(found.split(",") for found in re.findall(r"\[(.+?)\]",
                                                                           " ".join(words)))))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert named <= set(project["optional-dependencies"])


def test_shipped_files_exist_that_pages_name():
    text = "\n".join(page.read_text("utf-8") for page in PAGES)
    names = set(re.findall(r"\b((?:experiment|backbone|representation|camera)/\w+\.yaml)", text))
    assert len(names) > 15
    assert [name for name in names if not (ROOT / "ptl_skel/configs" / name).is_file()] == []
    files = set(re.findall(r"`((?:examples|sweeps|ptl_skel|preprocessing|tests|docs)/[\w/]+\.\w+)`",
                           text)) - {"preprocessing/tools/toypose.py"}
    assert [name for name in files if not (ROOT / name).is_file()] == []
    table = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/sweeps.md").read_text("utf-8"), re.M)
    assert set(table) == {path.stem for path in (ROOT / "sweeps").glob("*.yaml")}


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="mkdocs is in the extra `docs`")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    reference = (tmp_path / "reference.html").read_text("utf-8")
    for verb in VERBS:
        assert f'id="{verb}"' in reference
    for option in ("--data.augment.flip", "--slots", "--max_persons", "--edition"):
        assert option in reference
    assert "Names of the clips." in (tmp_path / "api.html").read_text("utf-8")


def test_training(tiny_file):
    """docs/train.md, with trainings of one epoch; commands on Penn Action are only parsed."""
    for name in ("mine.h5", "new.h5"):
        shutil.copy(tiny_file, name)
    for command in commands(ROOT / "docs/train.md"):
        # All validation clips are right here; tests/cli/test_calibrate.py calibrates a network.
        if "experiment/penn_action.yaml" not in command and command[1] != "calibrate":
            quick = SHORT if command[1] == "fit" else ()
            run(command, *(quick[:2] if "--ckpt_path" in command else quick))
    ends = {path.parent.name: read_result(path.parent)["status"]
            for path in Path("runs").glob("*/result.json")}
    assert ends == dict.fromkeys(("mine", "choice", "balanced"), "finished")
    assert "tested" not in read_result(Path("runs/choice"))
    assert {path.name for path in Path("runs/mine").glob("*/predictions.npz")} == {
        "predictions.npz"}
    assert len(list(Path("runs/mine").glob("test*/predictions.npz"))) == 2
    assert Path("runs/choice/validate/predictions.npz").exists()


def test_a_network_and_a_representation_of_ones_own(tiny_file, monkeypatch, capsys):
    """docs/extend.md: both train, and the network is an arm of a sweep."""
    page = ROOT / "docs/extend.md"
    write_titled(page, Path())
    monkeypatch.syspath_prepend(Path.cwd())
    shutil.copy(tiny_file, "mine.h5")
    for command in commands(page):
        if command[1] == "fit":
            run(command, *SHORT)
        elif command[1] == "sweep":
            run(command, "--dry_run")
    for name, channels in (("small", 13), ("one_map", 1)):
        result = read_result(Path("runs", name))
        assert (result["status"], result["model"]["input_shape"][0]) == ("finished", channels)
    assert "6 runs, 2 at a time" in capsys.readouterr().out
    assert yaml.safe_load(Path("runs/small/config.yaml").read_text())["model"]["backbone"] == {
        "class_path": "my_backbone.Small", "init_args": {"width": 16}}


def test_a_format_of_ones_own(monkeypatch):
    """docs/extend.md: a source that is a module and a row reads, and skips nothing."""
    page = ROOT / "docs/extend.md"
    write_titled(page, Path("own"))
    monkeypatch.syspath_prepend(Path("own/preprocessing/tools").resolve())
    monkeypatch.setitem(preprocessing.SOURCES, "toypose", row_of_the_page(page)._replace(
        source="toypose:ToyposeSource", in_workers=False))
    Path("toys").mkdir()
    for name in ("a", "b"):
        Path("toys", f"{name}.toy").write_text("".join(
            " ".join([str(frame), *(f"{100 + joint + frame} {200 - joint} 0.5"
                                    for joint in range(17))]) + "\n" for frame in range(12)))
    command, = (each for each in commands(page) if each[1:3] == ["preprocess", "toypose"])
    run(command)
    file = KeypointFile("toys.h5")
    assert (file.ids, file.num_frames.tolist(), file.num_lost) == (["a", "b"], [12, 12], 0)
    assert file.frames(1)[0][0, 3, 5].tolist() == [108, 195]


def row_of_the_page(page):
    text, = (text for language, _, text in blocks(page)
             if language == "python" and text.startswith('"toypose"'))
    return eval("{" + text + "}", vars(preprocessing))["toypose"]


def test_a_pose_estimator_of_ones_own(monkeypatch):
    """docs/extend.md: it is asked for each frame of a video."""
    pytest.importorskip("av")
    from videos import walking

    page = ROOT / "docs/extend.md"
    write_titled(page, Path())
    monkeypatch.syspath_prepend(Path.cwd())
    walking(Path("videos/one.mp4"), 9)
    command, = (each for each in commands(page) if each[1:3] == ["preprocess", "video"])
    run(command, "--workers", "1")
    file = KeypointFile("still.h5")
    assert (file.ids, file.num_frames.tolist(), file.header.layout.name) == (["one"], [9], "coco17")


def test_the_example_on_arrays(monkeypatch, capsys):
    path = ROOT / "examples/train_on_arrays.py"
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 50
    runpy.run_path(path)
    accuracy, = re.findall(r"'test/top1': ([\d.]+)", capsys.readouterr().out)
    assert float(accuracy) > 0.9


def test_the_docs_name_every_example():
    text = "\n".join(page.read_text("utf-8") for page in PAGES)
    assert all(f"examples/{path.name}" in text for path in (ROOT / "examples").glob("*.py"))
    assert README.read_text("utf-8").count("examples/") >= 2


def test_python_blocks_are_python():
    for page in PAGES:
        for language, _, text in blocks(page):
            if language == "python" and not text.startswith('"toypose"'):
                compile(text, page.name, "exec")


def test_pages_are_in_plain_english():
    """Without words that a native reader would stumble over."""
    words = r"\b(?:tells|told|but for|passed over|mirror image|is none|says so)\b"
    own = [page for page in PAGES if page.name in {
        "README.md", "index.md", "train.md", "networks.md", "ntu.md", "published_weights.md",
        "sweeps.md", "extend.md", "architecture.md", "data.md"}]
    for page in own:
        text = " ".join(page.read_text("utf-8").split())
        assert re.findall(words, text) == [], page.name


