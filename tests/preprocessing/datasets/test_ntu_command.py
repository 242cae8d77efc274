"""The command `ntu` on whole folders: editions, counts, flaws, and runs that are killed."""

import multiprocessing
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from commandline import preprocess_or_check as main
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from skeleton_files import CONTENT, NAME, body, file_text, write

from preprocessing.datasets.ntu.facts import MISSING_SAMPLES, OFFICIAL_COUNTS, TRAIN_SUBJECTS_120
from preprocessing.datasets.ntu.protocols import complete, find_edition, parse_name
from preprocessing.datasets.ntu.source import NtuSource
from ptl_skel.storage import KeypointFile, valid_clip


def there(source):
    return [key for key in list(source.keys()) if ".skeleton" in key]


# Editions, and how many of the official samples are there.


def test_edition_60_of_all_of_120(tmp_path):
    extended = ["S018C001P041R001A061", "S002C001P001R001A061"]
    write(tmp_path, NAME, "notes", *extended)
    assert NtuSource(tmp_path).edition == 120
    source = NtuSource(tmp_path, edition=60)
    assert there(source) == [f"{NAME}.skeleton", "notes.skeleton"]
    assert source.header.dataset == "NTU RGB+D 60"
    assert len(source.header.class_names) == 60
    assert set(source.splits([NAME])) == {"xsub", "xview"}
    assert set(NtuSource(write(tmp_path / "60", NAME), edition=120).splits([NAME])) == {
        "xsub", "xset"}
    with pytest.raises(ValueError, match="no sample of NTU RGB"):
        NtuSource(write(tmp_path / "new", *extended), edition=60)
    with pytest.raises(ValueError, match="`edition` must be one of None, 60, 120, got 90"):
        NtuSource(tmp_path, edition=90)


@pytest.mark.parametrize("wrong", ["S001C001P001R001A999", "S033C001P001R001A061"])
def test_a_wrong_name_does_not_make_it_the_other_edition(tmp_path, wrong):
    source = NtuSource(write(tmp_path, NAME, wrong))
    assert source.edition == 60
    assert there(source) == [f"{NAME}.skeleton", f"{wrong}.skeleton"]
    assert not [key for key in list(source.keys()) if key.startswith("S033") and "." not in key]
    with pytest.raises(ValueError, match="there is no such sample"):
        source.read(f"{wrong}.skeleton")


def test_official_counts_follow_from_the_rules():
    """Each performer in a setup has 360 samples, and the official list says what is missing."""
    assert len(list(complete([parse_name(NAME)]))) == 360
    missing = [parse_name(name) for name in MISSING_SAMPLES]
    for edition, all_samples in ((60, 56_880), (120, 114_480)):
        of_edition = [s for s in missing if edition == 120 or find_edition([s]) == 60]
        counts = OFFICIAL_COUNTS[edition]
        lists = NtuSource.splits(
            type("Edition", (), {"edition": edition}), [str(s) for s in of_edition])
        for protocol, parts in counts.items():
            whole = {part: count + len(lists[protocol][part]) for part, count in parts.items()}
            assert sum(whole.values()) == all_samples
            assert whole["train"] % (240 if protocol == "xview" else 360) == 0
            assert whole["test"] % (120 if protocol == "xview" else 360) == 0
    assert len(TRAIN_SUBJECTS_120) == 53


def printed(capsys):
    return [" ".join(re.sub("[│┃]", " ", line).split())
            for line in capsys.readouterr().out.splitlines()]


def test_a_difference_from_the_official_counts_is_explained(tmp_path, capsys):
    """All of performer 1 and some of performer 3 in setup 1."""
    samples = [str(s) for s in complete([parse_name(NAME)])]
    missing = {name for name in samples if name in MISSING_SAMPLES}
    root = write(tmp_path / "in", *samples, "S001C001P003R001A001")
    for name in ("S001C001P001R001A007", "S001C002P001R002A060"):
        (root / f"{name}.skeleton").unlink()
    (root / f"{NAME}.skeleton").write_bytes(CONTENT[:-40])
    out = tmp_path / "out.h5"
    assert main(["ntu", str(root), "--out", str(out), "--workers", "0"]) == 0
    lines = printed(capsys)
    train = 360 - len(missing) - 3
    assert (f"xsub train {train} 40,091 1 flawed; 2 not in the input; {40_091 - train - 3:,} of "
            "performers or setups that are not in the input") in " ".join(lines)
    report = (tmp_path / "out.skipped.csv").read_text().splitlines()
    assert "S001C001P001R001A007,it is not in the input" in report
    assert "S001C002P001R002A060,it is not in the input" in report
    assert "S001C003P003R002A060,it is not in the input" in report
    file = KeypointFile(out)
    assert (file.num_inputs, file.num_lost) == (train + 2, 1)
    assert len(file) == train + 1


def test_nothing_differs_where_all_samples_are_there(tmp_path, monkeypatch, capsys):
    samples = [str(s) for s in complete([parse_name(NAME)])]
    missing = MISSING_SAMPLES.intersection(samples)
    whole = {"xsub": {"train": 360, "test": 0}, "xview": {"train": 240, "test": 120}}
    splits = NtuSource.splits(type("Edition", (), {"edition": 60}), sorted(missing))
    for protocol, parts in whole.items():
        for part in parts:
            monkeypatch.setitem(OFFICIAL_COUNTS[60][protocol], part,
                                parts[part] - len(splits[protocol][part]))
    root = write(tmp_path / "in", *samples)
    assert main(["ntu", str(root), "--out", str(tmp_path / "out.h5"), "--workers", "0"]) == 0
    lines = [line for line in printed(capsys) if line.startswith(("xsub ", "xview "))]
    assert len(lines) == 4
    assert all(line.endswith(" none") for line in lines)
    report = tmp_path / "out.skipped.csv"
    skipped = report.read_text().splitlines()[1:] if missing else []
    assert all("official list" in line for line in skipped)
    assert len(skipped) == len(missing)


# Flaws, losses, and runs that are killed.

FLAWS = {
    "S001C001P001R001A010": b"", "S001C001P001R001A011": CONTENT[: len(CONTENT) // 2],
    "S001C001P001R001A012": CONTENT.replace(b"\r\n25\r\n", b"\r\n26\r\n"),
    "S001C001P001R001A013": CONTENT.replace(b"-0.25 ", b"broken "),
    "S001C001P001R001A014": b"-5\r\n", "S001C001P001R001A015": b"1\r\n1000000000\r\n",
    "S001C001P001R001A016": bytes(range(256)) * 9, "walk": CONTENT,
    "S001C001P001R001A017": re.sub(rb"1 0 1 1[^\r]*\r\n", b"", CONTENT),
}
REPAIRED = {
    "S001C001P001R001A020": CONTENT + b"\r\n\r\n  \n",
    "S001C001P001R001A021": re.sub(rb"(\r\n-0.25 (\S+ ){4})\S+", rb"\1nan", CONTENT),
}


def flawed_tree(root, good=30):
    write(root, *(f"S001C002P{number:03}R001A001" for number in range(1, good + 1)))
    for name, content in (FLAWS | REPAIRED).items():
        write(root, name, content=content)
    write(root / "again", "S001C002P001R001A001")
    write(root, "S001C002P099R001A001", content=CONTENT.replace(b"\r\n", b"\n"))
    (root / "class_names.txt").write_text("\n".join("abcdefghijklmnopqrstuvwxyz"))
    return root


def test_every_flaw_is_listed(tmp_path, capsys):
    command = ["ntu", str(flawed_tree(tmp_path / "in")), "--workers", "0", "--out"]
    assert main([*command, str(tmp_path / "out.h5")]) == 0
    assert f"{len(FLAWS)} of {len(FLAWS) + 33} inputs" in capsys.readouterr().err
    report = (tmp_path / "out.skipped.csv").read_text()
    for name in (*FLAWS, "again/S001C002P001R001A001"):
        assert f"\n{name}.skeleton," in report
    file = KeypointFile(tmp_path / "out.h5")
    assert set(file.ids) >= set(REPAIRED)
    assert len(file) == 33
    repaired = (tmp_path / "out.repaired.csv").read_text().splitlines()
    assert repaired == [
        "input,reason", "S001C001P001R001A020.skeleton,blank lines are ignored: 3",
        "S001C001P001R001A021.skeleton,joints without a finite position count as missing: 1"]
    at = file.position("S001C001P001R001A021")
    assert (file.frames(at)[1] == 0).sum() == 1
    line_feeds = file.position("S001C002P099R001A001")
    np.testing.assert_array_equal(file.frames(line_feeds)[0], file.frames(line_feeds - 1)[0])
    # the same command again, and strict
    assert main([*command, str(tmp_path / "out.h5"), "--strict"]) == 1
    printed_again = capsys.readouterr()
    assert "nothing to do" in printed_again.out
    assert "more than --max_loss 1 %" in printed_again.err
    assert main([*command, str(tmp_path / "out.h5"), "--strict", "--max_loss", "30"]) == 0


def test_changed_inputs_are_not_taken_for_done(tmp_path, capsys):
    root = write(tmp_path / "in", NAME)
    command = ["ntu", str(root), "--workers", "0", "--out", str(tmp_path / "out.h5")]
    assert main(command) == 0
    shutil.move(root, tmp_path / "moved")
    command[1] = str(tmp_path / "moved")
    assert main(command) == 0  # it does not matter where they lie
    assert "nothing to do" in capsys.readouterr().out
    write(tmp_path / "moved", NAME, content=file_text([[body()]]))
    assert main(command) == 2
    assert "--overwrite" in capsys.readouterr().err


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_killed_at_any_moment_it_resumes(tmp_path):
    """A forked process only takes the time of the work, so any moment of it can be hit."""
    root = flawed_tree(tmp_path / "in", good=60)
    began = time.monotonic()
    assert main(["ntu", str(root), "--workers", "0", "--out", str(tmp_path / "0/out.h5")]) == 0
    seconds = time.monotonic() - began
    context = multiprocessing.get_context("fork")
    random = np.random.default_rng()
    for trial in range(1, 6):
        command = ["ntu", str(root), "--workers", "0", "--out", str(tmp_path / f"{trial}/out.h5")]
        delays = random.uniform(0, 1.3 * seconds, 2)
        for delay in delays:
            process = context.Process(target=main, args=(command,))
            process.start()
            time.sleep(delay)
            process.kill()
            process.join()
        assert main(command) == 0
        assert files_of(tmp_path / str(trial)) == files_of(tmp_path / "0"), delays


def test_the_real_command_killed_with_its_workers(tmp_path):
    root = flawed_tree(tmp_path / "in", good=150)
    assert main(["ntu", str(root), "--workers", "0", "--out", str(tmp_path / "0/out.h5")]) == 0
    command = [sys.executable, "-m", "ptl_skel", "preprocess", "ntu", str(root), "--workers", "2",
               "--out", str(tmp_path / "1/out.h5")]
    journal = tmp_path / "1" / "out.h5.partial" / "journal"
    for lines in (20, 100):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as process:
            while (process.poll() is None
                   and not (journal.exists() and journal.read_bytes().count(b"\n") >= lines)):
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
    assert main([*command[4:-3], "1", *command[-2:]]) == 0
    assert files_of(tmp_path / "1") == files_of(tmp_path / "0")


@settings(max_examples=80, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1,
                max_size=5), st.sampled_from(("change", "insert", "remove")))
def test_a_file_with_changed_bytes_is_refused_or_gives_a_clip(tmp_path, changes, how):
    content = bytearray(file_text([[body(7, at=(t / 9, 0, 3)), body(8)] for t in range(13)]))
    for place, byte in changes:
        at = int(place * len(content))
        content[at : at + (how != "insert")] = b"" if how == "remove" else bytes([byte])
    write(tmp_path, NAME, content=bytes(content))
    began = time.process_time()
    for dimensions in (2, 3):
        source = NtuSource(tmp_path, dimensions=dimensions)
        try:
            clip, = source.read(f"{NAME}.skeleton")
            clip = valid_clip(clip, source.header)
        except ValueError:
            continue
        persons, frames = clip.scores.shape[:2]
        assert persons <= 2
        assert frames <= 13
        assert clip.keypoints.shape == (persons, frames, 25, dimensions)
        assert np.isfinite(clip.keypoints).all()
    assert time.process_time() - began < 2
