"""Every command in the README and the docs is accepted, and the guides do what they say."""

import datetime
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
from by_hand import BY_HAND, NOT_RUN
from pages import PAGES, README, ROOT, blocks, commands, run, write_titled
from records import config_of, write_run
from tiny import TEST_SUBJECT, tiny_clips, write_clips

from preprocessing import commands as preprocessing
from ptl_skel.cli import lightning as cli
from ptl_skel.cli.verbs import VERBS, main
from ptl_skel.command import CommandParser
from ptl_skel.runs.record import read_result
from ptl_skel.skeletons import LAYOUTS
from ptl_skel.storage import KeypointFile

RUN_BY_TESTS = {
    "data.md": "tests/preprocessing/test_guide.py", "export.md": "tests/deploy/test_guide.py",
    "extend.md": "tests/test_docs.py", "index.md": "tests/test_readme.py",
    "live.md": "tests/live/test_whole_way.py", "networks.md": "tests/test_docs.py",
    "ntu.md": "tests/test_readme.py", "published_weights.md": "tests/test_docs.py",
    "statistics.md": "tests/sweeps/test_statistics_page.py",
    "streaming.md": "tests/deploy/test_stream_files.py", "sweeps.md": "tests/test_docs.py",
    "three_d.md": "tests/test_docs.py", "train.md": "tests/test_docs.py",
    "video.md": "tests/preprocessing/tools/test_video.py"}
"""Pages, and the tests that run their commands, except those that `by_hand` lists."""

UNTESTED = BY_HAND.keys() | NOT_RUN.keys()

SHELL = {"export", "mkdir", "ln", "for", "done"}
"""Words of a shell, which need no test."""

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
            assert program in SHELL or " ".join(command) in UNTESTED, command


def test_every_command_is_run_by_a_test_or_listed_with_what_came_out():
    found = {page.name: {" ".join(command) for command in commands(page)
                         if command[0] not in SHELL} for page in PAGES}
    tested = set().union(*(found[name] for name in RUN_BY_TESTS)) - UNTESTED
    tested |= found["README.md"] - UNTESTED  # see tests/live/test_whole_way.py
    assert set().union(*found.values()) - tested == UNTESTED
    assert not BY_HAND.keys() & NOT_RUN.keys()
    for name, test in RUN_BY_TESTS.items():
        assert name in (ROOT / test).read_text("utf-8")
    for date, result in BY_HAND.values():
        assert datetime.date.fromisoformat(date) >= datetime.date(2026, 11, 1)
        assert result
    assert all(NOT_RUN.values())


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


def test_links_between_pages():
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    dead = [f"{page.relative_to(ROOT)}: {target}" for page in pages
            for target in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8"))
            if "://" not in target and not (page.parent / target).exists()]
    assert not dead


def test_training(tiny_file):
    """docs/train.md, with trainings of one epoch."""
    for name in ("mine.h5", "new.h5"):
        shutil.copy(tiny_file, name)
    for command in commands(ROOT / "docs/train.md"):
        if " ".join(command) not in UNTESTED:
            quick = SHORT if command[1] == "fit" else ()
            run(command, *(quick[:2] if "--ckpt_path" in command else quick))
    choice = {"choice/default", "choice/no_flip"}
    ends = {name: read_result(Path("runs", name))["status"]
            for name in ("mine", "degraded", "balanced", *choice)}
    assert ends == dict.fromkeys(ends, "finished")
    assert not any("tested" in read_result(Path("runs", name)) for name in choice)
    assert "validation clips" in Path("runs/choice/report/report.md").read_text()
    assert {path.name for path in Path("runs/mine").glob("*/predictions.npz")} == {
        "predictions.npz"}
    assert len(list(Path("runs/mine").glob("test*/predictions.npz"))) == 2


def test_networks_and_their_ensembles(finished_run, monkeypatch):
    """docs/networks.md, and the ensemble of docs/published_weights.md, on a tiny Penn Action."""
    monkeypatch.setattr("sweeps.report.write_pictures", lambda *_: True)
    write_penn_action()
    shutil.copytree(finished_run, "runs/joint")
    main(["validate", "--ckpt_path", "runs/joint/checkpoints/last.ckpt"])
    for name in ("limb", "conv1d", "narrow"):
        shutil.copytree("runs/joint", f"runs/{name}")
    for arm in ("conv1d", "narrow", "reduced"):
        for dataset in ("one", "other"):
            write_run(Path(f"runs/study/{arm}-{dataset}"), config=config_of(arm), dataset=dataset)
    ensembles = 0
    for command in [*commands(ROOT / "docs/networks.md"),
                    *commands(ROOT / "docs/published_weights.md")]:
        if " ".join(command) not in UNTESTED:
            run(command, *{"fit": SHORT, "profile": ("--seconds", "0")}.get(command[1], ()))
            ensembles += command[1] == "ensemble"
    assert ensembles == 3
    assert Path("runs/both.npz").exists()
    limbs = LAYOUTS["penn13"].limbs
    assert read_result(Path("runs/limbs"))["model"]["input_shape"][0] == len(limbs)
    own = yaml.safe_load(Path("runs/penn_action/config.yaml").read_text())["model"]["backbone"]
    assert own["init_args"]["widths"] == [24, 48, 96, 192]
    assert own["init_args"]["conv"]["init_args"]["middle"] == 0.5


def test_sweeps(monkeypatch, capsys):
    """docs/sweeps.md: the list of commands, and a report of records."""
    monkeypatch.setattr("sweeps.report.write_pictures", lambda *_: True)
    write_penn_action()
    for arm in ("full3d", "reduced"):
        write_run(Path("runs/backbone", arm), config=config_of(arm), clips=list("abc"),
                  label=(0, 1, 2), predicted=(0, 1, 2))
    for command in commands(ROOT / "docs/sweeps.md"):
        if " ".join(command) not in UNTESTED:
            run(command)
    assert "21 runs" in capsys.readouterr().out
    assert Path("runs/backbone/report/report.html").exists()


def write_penn_action():
    """A tiny Penn Action where its experiment expects it."""
    clips = tiny_clips()
    parts = {part: [clip.id for clip in clips if (f" {TEST_SUBJECT} " in clip.id) == (
        part == "test")] for part in ("train", "test")}
    Path("data").mkdir()
    write_clips(Path("data/penn_action.h5"), clips, splits={"official": parts})


def test_3d_skeletons(shared):
    """docs/three_d.md up to the trainings."""
    for name in ("2d", "3d", "data"):
        Path(name).mkdir()
    for name in ("2d", "3d"):
        Path(name, "nw_ucla.pkl").symlink_to(shared / f"data/nw_ucla/nw_ucla_{name}.pkl")
    todo = [command for command in commands(ROOT / "docs/three_d.md")
            if command[0] == "ptl-skel" and " ".join(command) not in UNTESTED]
    for command in sorted(todo, key=lambda command: command[1] != "preprocess"):
        run(command)
    files = [KeypointFile(f"data/nw_ucla_{name}.h5") for name in ("2d", "3d")]
    assert [file.header.num_coordinates for file in files] == [2, 3]
    assert files[0].ids == files[1].ids
    assert files[0].header.dataset == files[1].header.dataset
    assert [command[1] for command in todo].count("show") == 2


def test_a_network_and_a_representation_of_ones_own(tiny_file, monkeypatch, capsys):
    """docs/extend.md: all train, and the first network is an arm of a sweep."""
    page = ROOT / "docs/extend.md"
    write_titled(page, Path())
    monkeypatch.syspath_prepend(Path.cwd())
    shutil.copy(tiny_file, "mine.h5")
    for command in commands(page):
        if command[1] == "fit":
            run(command, *SHORT)
        elif command[1] == "sweep":
            run(command, "--dry_run")
    for name, channels in (("small", 13), ("over_time", 3), ("one_map", 1)):
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
    for page in PAGES:
        text = " ".join(page.read_text("utf-8").split())
        assert re.findall(words, text) == [], page.name


