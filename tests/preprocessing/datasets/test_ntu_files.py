"""Folders and archives of ``.skeleton`` files."""

import os
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from commandline import preprocess_or_check as main
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from skeleton_files import CONTENT, NAME, body, file_text, write

from preprocessing.core import runner
from preprocessing.datasets.ntu.files import SkeletonFiles
from preprocessing.datasets.ntu.source import NtuSource
from preprocessing.datasets.ntu.text import MAX_BYTES
from ptl_skel.storage import KeypointFile


def archive(path, members, method=zipfile.ZIP_DEFLATED):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def there(source):
    return [key for key in list(source.keys()) if ".skeleton" in key]


def clips_of(source):
    clips = [clip for key in there(source) for clip in source.read(key)]
    return {clip.id: clip.keypoints.tobytes() for clip in clips}


# Archives are read in place.


def test_a_folder_its_archive_and_a_mixture_are_the_same(tmp_path):
    names = [f"S001C001P001R001A{number:03}" for number in range(1, 7)]
    folder = tmp_path / "folder"
    for number, name in enumerate(names):
        write(folder, name, content=file_text([[body(at=(number, 0, 3))]] * 2))
    expected = clips_of(NtuSource(folder))
    assert list(expected) == names
    files = {f"nturgb+d_skeletons/{path.name}": path.read_bytes() for path in folder.iterdir()}
    whole = archive(tmp_path / "s001_to_s017.zip", {"readme.txt": "x", **files})
    assert clips_of(NtuSource(whole)) == expected
    first, second = dict(list(files.items())[:3]), dict(list(files.items())[3:])
    parts = [archive(tmp_path / "parts" / "a.zip", first),
             archive(tmp_path / "parts" / "deep" / "b.ZIP", second)]
    assert clips_of(NtuSource(parts)) == expected
    assert clips_of(NtuSource(tmp_path / "parts")) == expected
    parts[1].unlink()
    for name in second:
        write(tmp_path / "parts" / "deep", Path(name).stem, content=second[name])
    assert clips_of(NtuSource(tmp_path / "parts")) == expected
    assert clips_of(NtuSource([parts[0], tmp_path / "parts" / "deep"])) == expected
    assert not list(tmp_path.rglob("nturgb+d_skeletons"))  # nothing is unpacked


def test_the_command_takes_archives(tmp_path):
    paths = [archive(tmp_path / f"{n}.zip", {f"{NAME[:-1]}{n}.skeleton": CONTENT})
             for n in (1, 2)]
    out = tmp_path / "out.h5"
    assert main(["ntu", *map(str, paths), "--out", str(out), "--workers", "2"]) == 0
    assert KeypointFile(out).ids == [NAME, f"{NAME[:-1]}2"]


def test_the_same_sample_twice_is_reported(tmp_path):
    write(tmp_path, NAME)
    archive(tmp_path / "a.zip", {f"{NAME}.skeleton": CONTENT})
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as file:
        file.writestr(f"{NAME}.skeleton", CONTENT)
        with pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr(f"{NAME}.skeleton", CONTENT)
    runner.run(NtuSource(tmp_path), tmp_path / "out.h5", workers=0)
    file = KeypointFile(tmp_path / "out.h5")
    assert (file.ids, file.num_inputs, file.num_lost) == ([NAME], 1, 0)
    report = (tmp_path / "out.skipped.csv").read_text()
    for key in (f"a.zip/{NAME}.skeleton", f"b.zip/{NAME}.skeleton", f"b.zip/{NAME}.skeleton (2)"):
        assert f"{key},it is the same sample as {NAME}.skeleton" in report


def reason(path, name=NAME):
    files = SkeletonFiles([path])
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"^it ") as refusal:
        files.read(f"{path.name}/{name}.skeleton")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20
    return str(refusal.value)


def patched(path, offset, value, *, of=b"PK\1\2"):
    """Changes the header of the only file in an archive; by default that in its directory."""
    raw = bytearray(path.read_bytes())
    start = raw.rindex(of) + offset
    raw[start : start + len(value)] = value
    path.write_bytes(raw)
    return path


def test_bombs_are_refused(tmp_path):
    bomb = archive(tmp_path / "bomb.zip", {f"{NAME}.skeleton": b"\n" * 2**25})
    assert "would unpack to 32 MB, more than 100 times" in reason(bomb)
    claims = archive(tmp_path / "claims.zip", {f"{NAME}.skeleton": CONTENT})
    patched(claims, 24, struct.pack("<I", MAX_BYTES + 2**20))
    assert "it has 537,919,488 bytes, more than the 536,870,912" in reason(claims)


def test_a_file_that_holds_more_than_it_claims_is_not_unpacked(tmp_path):
    path = archive(tmp_path / "a.zip", {f"{NAME}.skeleton": b"\n" * 2**25})
    patched(path, 24, struct.pack("<I", 1000))
    assert "damaged in the archive: Bad CRC" in reason(path)


def test_what_cannot_be_read_from_an_archive(tmp_path):
    path = archive(tmp_path / "a.zip", {f"{NAME}.skeleton": CONTENT})
    raw = path.read_bytes()
    start = raw.index(b".skeleton") + len(b".skeleton")
    path.write_bytes(raw[:start] + bytes(50) + raw[start + 50 :])
    assert "damaged in the archive" in reason(path)
    path.write_bytes(raw)
    assert "encrypted" in reason(patched(path, 8, b"\1"))
    path = archive(tmp_path / "b.zip", {f"{NAME}.skeleton": CONTENT}, zipfile.ZIP_BZIP2)
    assert "compressed in an unusual way" in reason(path)


@settings(max_examples=60, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1,
                max_size=4))
def test_an_archive_with_changed_bytes_is_refused_or_gives_the_file(tmp_path, changes):
    path = archive(tmp_path / "a.zip", {f"{NAME}.skeleton": CONTENT})
    raw = bytearray(path.read_bytes())
    for place, byte in changes:
        raw[int(place * len(raw))] = byte
    path.write_bytes(raw)
    try:
        files = SkeletonFiles([path])
        for key in files.keys:
            assert files.read(key) == CONTENT
    except ValueError:
        return


def test_a_file_that_would_begin_before_its_archive_is_damaged(tmp_path):
    path = archive(tmp_path / "a.zip", {f"{NAME}.skeleton": CONTENT})
    raw = bytearray(path.read_bytes())
    raw[-6] += 1  # where the list of files begins: a byte later than it does
    path.write_bytes(raw)
    assert "it is damaged in the archive: it would begin before" in reason(path)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\3\4"])
def test_a_broken_archive_is_named(tmp_path, content, capsys):
    (tmp_path / "half.zip").write_bytes(content)
    for given_input in (tmp_path, tmp_path / "half.zip"):
        assert main(["ntu", str(given_input), "--out", str(tmp_path / "out.h5")]) == 2
        complaint = capsys.readouterr().err
        assert "half.zip cannot be read as a zip archive" in complaint
        assert "fetch it again" in complaint


def test_a_large_file_is_refused_before_it_is_read(tmp_path):
    write(tmp_path, NAME)
    os.truncate(tmp_path / f"{NAME}.skeleton", MAX_BYTES + 1)
    with pytest.raises(ValueError, match="536,870,913 bytes, more than the 536,870,912"):
        SkeletonFiles([tmp_path]).read(f"{NAME}.skeleton")
