import csv
import dataclasses
import errno
import io
import multiprocessing
import os
import pickle
import sys
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptl_skel import locks
from ptl_skel.errors import UserError
from ptl_skel.skeletons import SkeletonLayout
from ptl_skel.storage import Clip, ClipWriter, Header, KeypointFile, KeypointFileError, valid_clip

LAYOUT = SkeletonLayout("stick", ("head", "left_hand", "right_hand"), ((0, 1), (0, 2)), ((1, 2),))
HEADER = Header("toys", LAYOUT, ("wave", "walk"), "test")
USES_TMP_PATH = settings(suppress_health_check=[HealthCheck.function_scoped_fixture],
                         max_examples=30, deadline=None)


def make_clip(name="a", persons=1, frames=2, *, header=HEADER, seed=0, **known):
    random = np.random.default_rng(seed)
    shape = persons, frames, header.layout.num_joints
    return Clip(name, random.uniform(0, 100, (*shape, header.num_coordinates)).astype(header.dtype),
                random.uniform(0.1, 1, shape).astype(np.float16), (120, 160), **known)


def write(path, clips, splits=None, *, header=HEADER):
    with ClipWriter(path, header) as writer:
        for clip in clips:
            writer.add(clip.id, [clip])
        writer.finish(splits or {})
    return path


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """Three clips of 2, 3 and 8 rows, and a protocol."""
    clips = [make_clip("a", 1, 2, seed=1, label=0, subject=5, camera=1, setup=2, replication=3),
             make_clip("b", 1, 3, seed=2, label=1), make_clip("c", 2, 4, seed=3)]
    return write(tmp_path / "stored.h5", clips, {"own": {"train": ["b", "a"], "test": ["c"]}})


def same(one: Clip, other: Clip) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(
        dataclasses.astuple(one), dataclasses.astuple(other), strict=True))


class TestRoundTrip:
    def test_the_schema_is_the_documented_one(self, stored):
        with h5py.File(stored) as file:
            assert dict(file.attrs).items() >= {
                "format": b"ptl_skel.keypoints", "schema_version": 1, "dataset": b"toys",
                "class_names": b'["wave", "walk"]', "source": b"test", "complete": True}.items()
            assert file["frames/keypoints"].shape == (13, 3, 2)
            assert file["frames/scores"].shape == (13, 3)
            assert file["clips/id"][()].tolist() == [b"a", b"b", b"c"]
            assert file["clips/start"][()].tolist() == [0, 2, 5]
            assert file["clips/subject"][()].tolist() == [5, -1, -1]
            assert file["splits/own/train"][()].tolist() == [0, 1]

    @USES_TMP_PATH
    @given(data=st.data(), dtype=st.sampled_from(["float16", "float32"]),
           coordinates=st.sampled_from([2, 3]),
           sizes=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4)), min_size=1, max_size=4))
    def test_clips_come_back_as_they_were(self, tmp_path, data, dtype, coordinates, sizes):
        header = dataclasses.replace(HEADER, num_coordinates=coordinates, dtype=dtype)
        numbers = data.draw(st.tuples(*[st.integers(-1, 2**31 - 1)] * 4))
        clips = [make_clip(f"clip {i}", *size, header=header, seed=i, label=i % 3 - 1,
                           **dict(zip(("subject", "camera", "setup", "replication"), numbers,
                                      strict=True)))
                 for i, size in enumerate(sizes)]
        path = tmp_path / "file.h5"
        path.unlink(missing_ok=True)
        write(path, clips, header=header)
        for in_memory in (False, True):
            file = KeypointFile(path, in_memory=in_memory)
            assert file.header == header
            assert all(same(file.clip(i), clip) for i, clip in enumerate(clips))

    @pytest.mark.parametrize(("persons", "frames"), [(1, 1), (1, 10_001), (300, 2)])
    def test_extreme_clips(self, tmp_path, persons, frames):
        clip = make_clip("long", persons, frames)
        file = KeypointFile(write(tmp_path / "file.h5", [make_clip(), clip]))
        assert same(file.clip(1), clip)

    def test_moments_of_clips_are_stored_where_they_are_known(self, stored, tmp_path):
        with h5py.File(stored) as file:
            assert not {"fps", "first_frame"} & set(file["clips"])  # as in files of older versions
        assert KeypointFile(stored).fps.tolist() == [0] * 3
        assert KeypointFile(stored).clip(1).first_frame == 0
        clips = [make_clip("a", fps=12.5, first_frame=7), make_clip("b")]
        file = KeypointFile(write(tmp_path / "file.h5", clips))
        assert all(same(file.clip(i), clip) for i, clip in enumerate(clips))
        with pytest.raises(ValueError, match="the frame rate nan and the first frame 0 must be"):
            write(tmp_path / "no.h5", [make_clip("a", fps=float("nan"))])

    def test_splits_and_positions(self, stored, tmp_path):
        file = KeypointFile(stored)
        assert file.split("own", "train").tolist() == [0, 1]
        assert file.split("own", "val").tolist() == []
        assert file.position("c") == 2
        with pytest.raises(KeypointFileError, match="no protocol 'xsub'; it has: own"):
            file.split("xsub", "train")
        without = KeypointFile(write(tmp_path / "without.h5", [make_clip("a")]))
        with pytest.raises(KeypointFileError, match="no split at all, `ptl-skel split"):
            without.split("own", "train")
        with pytest.raises(KeypointFileError, match="no clip 'z'"):
            file.position("z")

    def test_the_fingerprint_is_that_of_the_keypoints(self, tmp_path):
        def fingerprint(name, **changes):
            return KeypointFile(write(tmp_path / name, [make_clip("a", **changes)])).fingerprint()
        first = fingerprint("a.h5")
        assert first == fingerprint("b.h5")
        assert len({first, fingerprint("c.h5", label=1), fingerprint("d.h5", frames=4)}) == 3

    def test_texts_of_any_length_and_alphabet(self, tmp_path):
        header = dataclasses.replace(
            HEADER, dataset="", source="ключ \U0001f57a",
            class_names=tuple(f"class number {label}" for label in range(10_000)))
        path = write(tmp_path / "file.h5", [make_clip("клип", label=9_999)], header=header)
        assert KeypointFile(path).header == header
        assert KeypointFile(path).ids == ["клип"]

    def test_an_empty_part_of_a_split(self, tmp_path):
        path = write(tmp_path / "file.h5", [make_clip()], {"own": {"train": ["a"], "test": []}})
        assert KeypointFile(path).split("own", "test").tolist() == []

    def test_a_file_with_an_open_handle_goes_to_another_process(self, stored):
        file = KeypointFile(stored)
        expected = file.clip(2)
        assert same(pickle.loads(pickle.dumps(file)).clip(2), expected)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            assert same(pool.apply(file.clip, (2,)), expected)

    def test_memory_does_not_grow_with_the_number_of_clips(self, tmp_path):
        clip = make_clip(frames=40_000)  # 1.2 MB
        tracemalloc.start()
        write(tmp_path / "file.h5", (dataclasses.replace(clip, id=str(i)) for i in range(60)))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 40e6  # of 72 MB


class TestValidClip:
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_a_joint_that_is_not_finite_is_missing(self, value):
        clip = make_clip(frames=2)
        clip.keypoints[0, 1, 2, 0] = value
        clip.scores[0, 0, 1] = np.nan
        valid = valid_clip(clip, HEADER)
        expected = clip.scores.copy()
        expected[0, 1, 2] = expected[0, 0, 1] = 0
        assert np.array_equal(valid.scores, expected)
        assert valid.keypoints[0, 1, 2].tolist() == valid.keypoints[0, 0, 1].tolist() == [0, 0]
        assert np.array_equal(valid.keypoints[0, 1, :2], clip.keypoints[0, 1, :2])

    def test_what_overflows_in_float16_is_missing(self):
        clip = make_clip()
        clip.keypoints[0, 0, 0, 0] = 1e5
        valid = valid_clip(clip, dataclasses.replace(HEADER, dtype="float16"))
        assert valid.scores[0, 0, 0] == 0
        assert np.isfinite(valid.keypoints).all()

    def test_scores_beyond_the_range_are_cut(self):
        clip = make_clip()
        clip.scores[0, 0, :2] = 1.5, -3
        assert valid_clip(clip, HEADER).scores[0, 0, :2].tolist() == [1, 0]

    @pytest.mark.parametrize(("changes", "message"), [
        ({"keypoints": np.zeros((0, 2, 3, 2)), "scores": np.zeros((0, 2, 3))}, "no person"),
        ({"keypoints": np.zeros((1, 0, 3, 2)), "scores": np.zeros((1, 0, 3))}, "no frame"),
        ({"keypoints": np.zeros((1, 2, 4, 2))}, r"shape \(1, 2, 4, 2\).*layout stick"),
        ({"keypoints": np.zeros((1, 2, 3, 3))}, "shape"),
        ({"scores": np.zeros((1, 2, 4))}, "scores have the shape"),
        ({"scores": np.zeros((1, 2, 3))}, "no joint is visible"),
        ({"keypoints": np.full((1, 2, 3, 2), np.nan)}, "no joint is visible"),
        ({"label": 2}, "label 2 is out of range: the classes are 0 to 1"),
        ({"label": -2}, "label -2 is out of range"),
        ({"frame_size": (0, 10)}, "frame size"),
        ({"frame_size": (10, 2**40)}, "frame size"),
        ({"id": ""}, "cannot be the name"),
        ({"id": "a\0b"}, "cannot be the name"),
        ({"id": "\udcff"}, "cannot be the name"),
    ])
    def test_a_clip_that_does_not_fit_is_refused(self, changes, message):
        with pytest.raises(ValueError, match=message):
            valid_clip(dataclasses.replace(make_clip(), **changes), HEADER)


class TestWriter:
    def test_an_existing_file_is_kept(self, stored):
        before = stored.read_bytes()
        with pytest.raises(UserError, match="--overwrite"):
            ClipWriter(stored, HEADER)
        assert stored.read_bytes() == before
        assert not stored.with_name("stored.h5.partial").exists()

    def test_overwrite_replaces_it_when_the_new_one_is_complete(self, stored):
        before = stored.read_bytes()
        with ClipWriter(stored, HEADER, overwrite=True) as writer:
            writer.add("new", [make_clip("new")])
            assert stored.read_bytes() == before
            writer.finish({})
        assert KeypointFile(stored).ids == ["new"]

    def test_a_folder_is_refused(self, tmp_path):
        with pytest.raises(UserError, match="is a folder"):
            ClipWriter(tmp_path, HEADER, overwrite=True)

    def test_unfinished_work_of_another_job_is_kept(self, tmp_path):
        with ClipWriter(tmp_path / "file.h5", HEADER, {"input": "one"}) as writer:
            writer.add("a", [make_clip()])
        with pytest.raises(UserError, match="unfinished work of another job"):
            ClipWriter(tmp_path / "file.h5", HEADER, {"input": "two"})
        with ClipWriter(tmp_path / "file.h5", HEADER, {"input": "one"}) as writer:
            assert writer.done == {"a"}
        with ClipWriter(tmp_path / "file.h5", HEADER, {"input": "two"}, overwrite=True) as writer:
            assert not writer.done

    def test_a_second_writer_of_the_same_file_is_refused(self, tmp_path):
        with (ClipWriter(tmp_path / "file.h5", HEADER),
              pytest.raises(UserError, match="another process is writing")):
            ClipWriter(tmp_path / "file.h5", HEADER)

    @pytest.mark.skipif(sys.platform == "win32", reason="no flock on Windows")
    @pytest.mark.parametrize(("job", "overwrite"), [("one", False), ("two", True)])
    def test_the_work_of_a_running_writer_is_not_discarded(self, tmp_path, job, overwrite):
        path = tmp_path / "file.h5"
        for _ in range(2):  # the second time, the file exists and is made again
            with ClipWriter(path, HEADER, {"input": "one"}, overwrite=True) as writer:
                writer.add("a", [make_clip()])
                if path.exists():
                    with pytest.raises(UserError, match="another process is writing"):
                        ClipWriter(path, HEADER, {"input": job}, overwrite=overwrite)
                writer.finish({})

    @USES_TMP_PATH
    @given(stop=st.integers(0, 5), cut=st.integers(0, 400))
    def test_an_interrupted_file_is_the_same_as_an_uninterrupted_one(self, tmp_path, stop, cut):
        def go_on(writer, last=6):
            for number in range(last):
                name = str(number)
                if name in writer.done:
                    continue
                if number == 2:
                    writer.skip(name, "flawed")
                else:
                    writer.add(name, [make_clip(name, frames=number + 1, seed=number)])

        splits = {"own": {"train": ["0", "1", "2", "5"], "test": ["3"]}}
        for name in ("whole.h5", "resumed.h5"):
            (tmp_path / name).unlink(missing_ok=True)
        with ClipWriter(tmp_path / "whole.h5", HEADER) as writer:
            go_on(writer)
            writer.finish(splits)
        with ClipWriter(tmp_path / "resumed.h5", HEADER) as writer:
            go_on(writer, stop)
        # A process that is killed leaves any beginning of the journal, and more frames than it.
        journal = tmp_path / "resumed.h5.partial" / "journal"
        journal.write_bytes(journal.read_bytes()[:cut])
        with ClipWriter(tmp_path / "resumed.h5", HEADER) as writer:
            go_on(writer)
            writer.finish(splits)
        assert (tmp_path / "whole.h5").read_bytes() == (tmp_path / "resumed.h5").read_bytes()
        assert ((tmp_path / "whole.skipped.csv").read_bytes()
                == (tmp_path / "resumed.skipped.csv").read_bytes())

    def test_work_that_lost_frames_is_not_continued(self, tmp_path):
        with ClipWriter(tmp_path / "file.h5", HEADER) as writer:
            writer.add("a", [make_clip()])
        (tmp_path / "file.h5.partial" / "scores").write_bytes(b"")
        with pytest.raises(KeypointFileError, match="remove it and start again"):
            ClipWriter(tmp_path / "file.h5", HEADER)

    def test_skipped_inputs_are_listed_beside_the_file(self, tmp_path):
        path = tmp_path / "file.h5"
        with ClipWriter(path, HEADER) as writer:
            writer.add("a", [make_clip()])
            writer.skip("bad, \udcff", "broken, really")
            writer.finish({"own": {"train": ["a"]}})
        with (tmp_path / "file.skipped.csv").open(newline="") as file:
            assert list(csv.reader(file)) == [["input", "reason"],
                                              ["bad, \\udcff", "broken, really"]]
        with ClipWriter(path, HEADER, overwrite=True) as writer:
            writer.add("a", [make_clip()])
            writer.finish({})
        assert sorted(tmp_path.iterdir()) == [path]  # the list of the former file is gone

    @pytest.mark.parametrize(("splits", "message"), [
        ({"own": {"train": ["a", "z"]}}, "own/train names 1 unknown clips, among them 'z'"),
        ({"own": {"train": ["a"], "test": ["a"]}}, "own/test names a clip twice"),
        ({"own": {"train": ["a", "a"]}}, "own/train names a clip twice"),
        ({"own": {"training": ["a"]}}, "got 'training'"),
        ({"a/b": {"train": ["a"]}}, "'a/b' cannot be the name"),
    ])
    def test_a_split_that_does_not_fit_the_clips_is_refused(self, tmp_path, splits, message):
        with pytest.raises(UserError, match=message):
            write(tmp_path / "file.h5", [make_clip()], splits)
        assert not (tmp_path / "file.h5").exists()
        with ClipWriter(tmp_path / "file.h5", HEADER) as writer:
            assert writer.done == {"a"}
            writer.finish({})
        assert KeypointFile(tmp_path / "file.h5").ids == ["a"]

    def test_a_file_without_clips_is_refused_with_the_reasons(self, tmp_path):
        def skip_all():
            with ClipWriter(tmp_path / "file.h5", HEADER) as writer:
                writer.skip("a", "too short")
                writer.finish({})

        with pytest.raises(ValueError, match=r"file\.h5 .*no usable clip.*: too short"):
            skip_all()
        assert not list(tmp_path.iterdir())

    def test_two_clips_of_one_name_are_refused(self, tmp_path):
        with ClipWriter(tmp_path / "file.h5", HEADER) as writer:
            writer.add("1", [make_clip("a")])
            with pytest.raises(ValueError, match="named a is already"):
                writer.add("2", [make_clip("a")])
            with pytest.raises(ValueError, match="named b is already"):
                writer.add("3", [make_clip("b"), make_clip("b")])
            assert [clip["id"] for clip in writer.index] == ["a"]


class TestFullDisk:
    class Disk(io.BytesIO):
        def write(self, _):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def test_while_frames_come_in(self, tmp_path):
        def fill():
            with ClipWriter(tmp_path / "file.h5", HEADER) as writer:
                writer.add("a", [make_clip("a")])
                writer._scores = self.Disk()
                writer.add("b", [make_clip("b")])

        with pytest.raises(OSError, match="No space left"):
            fill()
        self.assert_it_resumes(tmp_path)

    def test_while_the_file_is_put_together(self, tmp_path, monkeypatch):
        def full(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(h5py.Dataset, "__setitem__", full)
            with pytest.raises(OSError, match="No space left"):
                write(tmp_path / "file.h5", [make_clip()])
        self.assert_it_resumes(tmp_path)

    def test_while_the_file_is_closed(self, tmp_path, monkeypatch):
        def full(*_):  # as h5py does it
            raise RuntimeError("flush failed (file write failed: errno = 28, error message = '')")

        with monkeypatch.context() as patch:
            patch.setattr(ClipWriter, "_copy_frames", full)
            with pytest.raises(OSError, match="No space left"):
                write(tmp_path / "file.h5", [make_clip()])
        self.assert_it_resumes(tmp_path)

    def assert_it_resumes(self, folder):
        assert [path.name for path in folder.iterdir()] == ["file.h5.partial"]
        with ClipWriter(folder / "file.h5", HEADER) as writer:
            assert writer.done == {"a"}
            writer.finish({})
        assert KeypointFile(folder / "file.h5").ids == ["a"]


def set_attribute(name, value):
    stored = np.bytes_(value) if isinstance(value, bytes) else value
    return lambda file: file.attrs.__setitem__(name, stored)


def replace(name, value):
    def change(file):
        del file[name]
        if value is not None:
            file[name] = value
    return change


class TestRefusal:
    @pytest.mark.parametrize(("change", "message"), [
        (set_attribute("format", b"other"), "was not written by ptl_skel"),
        (set_attribute("schema_version", 2), "has schema version 2, .* reads 1"),
        (set_attribute("complete", False), "is not complete"),
        (lambda file: file.attrs.__delitem__("complete"), "is damaged"),
        (set_attribute("layout", b"{}"), "is damaged"),
        (set_attribute("layout", b"no json"), "is damaged"),
        (set_attribute("class_names", b"5"), "is damaged"),
        (set_attribute("class_names", b'["wave"]'), "labels out of range, its classes are 0 to 0"),
        (replace("clips/label", np.array([0, 1, 2], np.int32)), "labels out of range"),
        (replace("clips/label", np.array([0, 1, -2], np.int32)), "labels out of range"),
        (replace("clips/label", np.array([0, 1], np.int32)), "clips/label"),
        (replace("clips/label", np.array([0.0, 1, 1])), "clips/label"),
        (replace("clips/label", None), "is damaged"),
        (replace("clips", np.zeros(3)), "is damaged"),
        (replace("clips/id", np.array([b"a", b"a", b"c"])), "two of the same name"),
        (replace("clips/id", np.array([1, 2, 3])), "not a list of texts"),
        (replace("clips/start", np.array([0, 2, 6])), "do not fit its index"),
        (replace("clips/num_frames", np.array([2, 4, 4], np.int32)), "do not fit its index"),
        (replace("clips/num_frames", np.array([2, 3, 0], np.int32)), "num_frames < 1"),
        (replace("clips/num_persons", np.array([1, 1, -2], np.int32)), "num_persons < 1"),
        (replace("clips/height", np.array([1, 1, 0], np.int32)), "height < 1"),
        (replace("frames/keypoints", np.zeros((13, 3, 2))), "do not fit its index"),
        (replace("frames/keypoints", np.float32(0)), "is damaged"),
        (replace("frames/keypoints", np.zeros((12, 3, 2), np.float32)), "do not fit its index"),
        (replace("frames/keypoints", np.zeros((13, 4, 2), np.float32)), "do not fit its index"),
        (replace("frames/scores", np.zeros((13, 3), np.float32)), "do not fit its index"),
        (replace("frames/scores", None), "is damaged"),
        (replace("splits/own/test", np.array([3])), "own/test that names an unknown clip"),
        (replace("splits/own/test", np.array([-1])), "own/test that names an unknown clip"),
        (replace("splits/own/test", np.array(["c"], "S")), "own/test that is not a list of clips"),
        (lambda file: file.__setitem__("splits/own/more", np.array([0])),
         "own/more that is not a list of clips"),
    ])
    def test_a_changed_file(self, stored, change, message):
        with h5py.File(stored, "r+") as file:
            change(file)
        with pytest.raises(KeypointFileError, match=message) as refusal:
            KeypointFile(stored)
        assert str(stored) in str(refusal.value)
        assert "ptl-skel preprocess" in str(refusal.value)

    def test_frames_that_were_never_written(self, stored):
        with h5py.File(stored, "r+") as file:
            del file["frames/scores"]
            file.create_dataset("frames/scores", (13, 3), np.float16)
        with pytest.raises(KeypointFileError, match="does not hold all of /frames/scores"):
            KeypointFile(stored)

    @pytest.mark.parametrize("content", [b"", b"hello", b"\x89HDF\r\n\x1a\n"])
    def test_what_is_no_hdf5(self, tmp_path, content):
        path = tmp_path / "file.h5"
        path.write_bytes(content)
        with pytest.raises(KeypointFileError, match=r"file\.h5 is damaged or not a keypoint file"):
            KeypointFile(path)

    def test_hdf5_of_another_program(self, tmp_path):
        with h5py.File(tmp_path / "file.h5", "w") as file:
            file["data"] = np.zeros(3)
        with pytest.raises(KeypointFileError, match="was not written by ptl_skel"):
            KeypointFile(tmp_path / "file.h5")

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"none\.h5 does not exist; `ptl-skel"):
            KeypointFile(tmp_path / "none.h5")

    @USES_TMP_PATH
    @given(share=st.floats(0, 1, exclude_max=True))
    def test_a_truncated_file(self, stored, share):
        content = stored.read_bytes()
        path = stored.with_name("truncated.h5")
        path.write_bytes(content[:int(share * len(content))])
        with pytest.raises(KeypointFileError, match="damaged"):
            KeypointFile(path)

    @settings(USES_TMP_PATH, max_examples=200)
    @given(share=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
    def test_a_file_with_a_wrong_byte_is_read_or_refused(self, stored, share, value):
        content = bytearray(stored.read_bytes())
        content[int(share * len(content))] = value
        path = stored.with_name("flipped.h5")
        path.write_bytes(content)
        try:
            KeypointFile(path, in_memory=True)
        except KeypointFileError:
            return


class TestLocks:
    """A lock is not damage: the file is fine, and what holds it is named."""

    SAID = (r"file\.h5(\.tmp)? cannot be locked: another program has it open for writing, .* "
            r"set HDF5_USE_FILE_LOCKING=FALSE")

    @pytest.fixture
    def path(self, tmp_path):
        return write(tmp_path / "file.h5", [make_clip()])

    @pytest.mark.skipif(sys.platform == "win32", reason="no flock on Windows")
    def test_a_file_that_is_being_written(self, path):
        import fcntl

        lazy = KeypointFile(path)
        with path.open("rb") as holder:
            fcntl.flock(holder, fcntl.LOCK_EX)
            for read in (lambda: KeypointFile(path), lambda: lazy.frames(0)):
                with pytest.raises(UserError, match=self.SAID) as refused:
                    read()
                assert "make it again" not in str(refused.value)
        assert lazy.frames(0)[0].shape == KeypointFile(path).frames(0)[0].shape

    def test_a_disk_without_locks(self, path, monkeypatch):
        def refuse(*args, **options):
            raise OSError(errno.ENOLCK, "Unable to synchronously open file (unable to lock file, "
                          "errno = 37, error message = 'No locks available')")

        class WithoutLocks:
            LOCK_EX = LOCK_NB = 0

            @staticmethod
            def flock(file, operation):
                raise OSError(errno.ENOLCK, "No locks available")

        def overwrite():
            with ClipWriter(path, HEADER, overwrite=True) as writer:
                writer.add("b", [make_clip("b")])
                writer.finish({})

        monkeypatch.setattr(locks, "fcntl", WithoutLocks, raising=False)
        with monkeypatch.context() as patch:
            patch.setattr(h5py, "File", refuse)
            with pytest.raises(UserError, match=self.SAID):
                KeypointFile(path)
            with pytest.raises(UserError, match=self.SAID):
                overwrite()
        with ClipWriter(path, HEADER, overwrite=True) as writer:  # nothing is lost
            assert writer.done == {"b"}
            writer.finish({})
        assert KeypointFile(path).ids == ["b"]
