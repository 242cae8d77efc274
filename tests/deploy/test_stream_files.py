"""Causal networks as ONNX files for streams, and the runtime that runs them without torch."""

import contextlib
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from commandline import refusal
from dancers import write_video
from pages import rows

from ptl_skel.cli import deployable
from ptl_skel.cli.calibrate import predict_validation
from ptl_skel.cli.lightning import load_trained, parse
from ptl_skel.cli.recognition import exported_model
from ptl_skel.cli.verbs import main
from ptl_skel.data.transforms import follow_box
from ptl_skel.deploy.runtime import Recognizer
from ptl_skel.deploy.runtime_stream import Stream
from ptl_skel.deploy.runtime_window import Window
from ptl_skel.errors import UserError
from ptl_skel.live.labels import MIN_PROBABILITY
from ptl_skel.runs.checkpoints import CALIBRATION, read_record


@pytest.fixture(scope="module")
def checkpoint(tiny_file, tiny_config, tmp_path_factory):
    """Of a causal network that was trained on the box of a stream."""
    folder = tmp_path_factory.mktemp("causal") / "run"
    main(["fit", "--config", str(tiny_config), "--data.file", str(tiny_file), "--run_dir",
          str(folder), "--model.backbone.init_args.conv.init_args.causal", "true",
          "--model.loss_at", "every_output", "--data.sampling", "camera_rate", "--data.box",
          "follow", "--trainer.max_epochs", "1", "--test_after_fit", "false"])
    return folder / "checkpoints/last.ckpt"


@pytest.fixture(scope="module", params=["frame", "step"])
def exported(request, checkpoint, tmp_path_factory):
    """A file for streams, and its form."""
    path = tmp_path_factory.mktemp("streams") / f"{request.param}.onnx"
    main(["export", "--ckpt_path", str(checkpoint), "--out", str(path), "--stream", request.param])
    return path, request.param


def test_scores_that_only_say_which_joints_are_missing(checkpoint):
    from ptl_skel.cli.export_stream import make_stream
    from ptl_skel.cli.lightning import load_trained

    graph = make_stream(*load_trained(["--ckpt_path", str(checkpoint), "--data.use_scores",
                                       "false"]), "frame")
    keypoints = torch.rand(1, 1, 1, 13, 2)
    scores = torch.rand(1, 1, 1, 13) * (torch.arange(13) % 3 > 0)
    assert torch.equal(graph.render(keypoints, scores), graph.render(keypoints, scores / 4))
    assert not torch.equal(graph.render(keypoints, scores),
                           graph.render(keypoints, torch.ones_like(scores)))


def walk(frames, seed=0):
    """A person who walks through a frame of 240 x 320 pixels."""
    random = np.random.default_rng(seed)
    body = random.uniform(-40, 40, (13, 2))
    steps = np.cumsum(random.normal(0, 3, (frames, 1, 2)), 0)
    keypoints = 120 + body + steps + random.normal(0, 2, (frames, 13, 2))
    return keypoints.astype(np.float32), np.ones((frames, 13), np.float32)


ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/streaming.md").read_text(encoding="utf-8")


class TestGuide:
    def commands(self, verb):
        """The arguments of each command of that verb in the guide."""
        blocks = re.findall(r"```bash\n(.*?)```", GUIDE, re.S)
        lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
        found = [shlex.split(line)[2:] for line in lines if line.startswith(f"ptl-skel {verb} ")]
        assert found
        return found

    def test_its_trainings_are_what_they_say(self, tiny_file):
        window, stream = parse([[*args, "--data.file", str(tiny_file)]
                                for args in self.commands("fit")])
        assert window["data"]["sampling"] == "first_part"
        assert window["data"]["box"] == "clip"
        assert (stream["data"]["sampling"], stream["data"]["box"]) == ("camera_rate", "follow")
        assert stream["model"]["loss_at"] == "every_output"
        assert stream["model"]["backbone"]["init_args"]["conv"]["init_args"]["causal"] is True
        for settings_ in (window, stream):
            score = settings_["data"]["live_score"]
            assert dict(score) == {"frame_rate": 30, "stride": 2, "memory": 64}

    def test_its_results_are_those_of_the_report(self):
        """The page that `ptl-skel report` wrote has a row for each arm, of one or more runs."""
        page = (ROOT / "docs/results/live.md").read_text(encoding="utf-8")
        recorded = rows(page.split("## Live recognition")[1])
        here = rows(GUIDE.split("## Results")[1])
        names = ("narrow", "narrow causal=true", "reduced", "reduced causal=true")
        for row, name in zip(here, names, strict=True):
            [arm] = [arm for arm in recorded if arm["arm"] == name]
            for when, written in row.items():
                if when != "after":
                    assert float(written) == pytest.approx(
                        float(arm[f"after {when}"].strip(" %")), abs=0.06), (row["after"], when)

    def test_its_other_commands_run(self, checkpoint, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        folder = tmp_path / "runs/penn_action_causal/checkpoints"
        folder.mkdir(parents=True)
        (folder / "last.ckpt").symlink_to(checkpoint)
        main(["test", *self.commands("test")[0], "--trainer.accelerator", "cpu"])
        assert len(self.commands("export")) == 2
        main(["export", *self.commands("export")[0]])
        sample = re.search(r"```python\n(.*?)```", GUIDE, re.S)[1]
        keypoints, scores = walk(20)
        frames = [(time / 30, {7: (keypoints[time], scores[time])}, (240, 320))
                  for time in range(20)]
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(sample, {"frames": frames})
        assert said.getvalue().splitlines()[-1].startswith("7 ")


class TestExport:
    def test_the_file_describes_itself(self, exported):
        path, form = exported
        described = Recognizer(path).metadata
        assert described["stream"]["form"] == form
        assert described["stream"]["chunk"] == {"frame": 1, "step": 4}[form]
        assert described["sampling"] == "camera_rate"
        assert described["class_names"] == ["sideways", "up and down", "around"]

    def test_it_predicts_as_pytorch_does_whatever_else_is_in_the_frame(self, exported, checkpoint):
        from ptl_skel.cli.export_stream import make_stream
        from ptl_skel.cli.lightning import load_trained
        from ptl_skel.data.transforms import relative_to

        path, form = exported
        graph = make_stream(*load_trained(["--ckpt_path", str(checkpoint)]), form)
        people = {name: walk(64, seed) for seed, name in enumerate("ab")}
        stream = Stream(Recognizer(path), stride=1)
        for time in range(64):
            stream.add(time / 30, {name: (keypoints[time], scores[time])
                                   for name, (keypoints, scores) in people.items()
                                   if name == "a" or time < 50}, (240, 320))
        keypoints, scores = (torch.from_numpy(each)[None, None] for each in people["a"])
        boxes = follow_box(keypoints, scores, torch.tensor([[240.0, 320.0]]))
        with torch.inference_mode():
            inputs = graph.render(relative_to(keypoints, boxes), scores)
            expected, *_ = graph.stream(inputs, *graph.stream.start(1))
        np.testing.assert_allclose(stream.recognize()["a"], expected[0, -1].numpy(), rtol=0,
                                   atol=1e-6)

    @pytest.mark.parametrize("clips", [1, 3])
    def test_few_clips_are_compared_with_pytorch_in_as_many_streams(self, checkpoint, clips):
        from ptl_skel.cli.export_stream import make_stream, stream_batches
        from ptl_skel.cli.lightning import load_trained

        model, data = load_trained(["--ckpt_path", str(checkpoint)])
        data.parts["test"] = data.parts["test"][:clips]
        graph = make_stream(model, data, "frame")
        names = [f"delayed{number}" for number in range(len(graph.stream.links))]
        sizes = {len(feed["keypoints"]) for feed, _ in stream_batches(graph, data, names)}
        assert sizes == {1, 2, 5}

    @pytest.mark.parametrize("arguments", [["--data.box", "clip"], ["--int8"]])
    def test_what_cannot_be_is_refused(self, checkpoint, tmp_path, capsys, arguments):
        said = refusal(capsys, "export", "--ckpt_path", checkpoint, "--out", tmp_path / "a.onnx",
                       "--stream", *arguments)
        assert ("train one with --data.box follow" in said) or (
            "--stream takes one checkpoint, and not --int8" in said)
        assert not list(tmp_path.iterdir())

    def test_a_file_that_computes_something_else_is_refused_by_live_too(self, checkpoint,
                                                                        monkeypatch):
        monkeypatch.setattr(deployable, "TOLERANCE", -1)
        options = SimpleNamespace(model=None, ckpt_path=[checkpoint])
        with (pytest.raises(UserError, match="differs from PyTorch by up to"),
              exported_model(options, [])):
            pass

    @pytest.mark.parametrize("option", ["test_clips=10", "test_flip=true", "clip_len=16",
                                        "corrupt.kind=missing", "val_fraction=0.5"])
    def test_options_without_effect_are_refused(self, checkpoint, tmp_path, capsys, option):
        said = refusal(capsys, "export", "--ckpt_path", checkpoint, "--out", tmp_path / "a.onnx",
                       "--stream", f"--data.{option}")
        name = re.split("[.=]", option)[0]
        assert f"--data.{name} has no effect on a file for streams; leave it out" in said
        said = refusal(capsys, "live", "--ckpt_path", checkpoint, "--source", "0",
                       "--data.test_clips", "10")
        assert "--data.test_clips has no effect on a file for streams" in said
        assert not list(tmp_path.iterdir())

    def test_files_of_an_earlier_version_are_refused(self, exported, tmp_path, capsys):
        """Their states are other inputs."""
        onnx = pytest.importorskip("onnx")
        model = onnx.load(exported[0])
        metadata = json.loads(model.metadata_props[0].value)
        metadata |= {"format": 1, "ptl_skel": "0.2.0"}
        metadata["stream"]["states"] = ["mean", "seen", "past0"]
        model.metadata_props[0].value = json.dumps(metadata)
        onnx.save(model, tmp_path / "old.onnx")
        said = refusal(capsys, "live", "--model", tmp_path / "old.onnx", "--source", "0",
                       "--estimator", "dancers.Dancer")
        assert "written by version 0.2.0 of ptl_skel in format 1" in said
        assert "export it again" in said

    def test_3d_coordinates_that_a_camera_projects(self, spatial_file, tiny_config, tmp_path):
        """The file takes pixels: what a video shows."""
        main(["fit", "--config", str(tiny_config), "--data.file", str(spatial_file), "--run_dir",
              str(tmp_path / "run"), "--model.backbone.init_args.conv.init_args.causal", "true",
              "--data.sampling", "camera_rate", "--data.box", "follow", "--data.camera",
              "camera/front.yaml", "--trainer.max_epochs", "1", "--test_after_fit", "false"])
        main(["export", "--ckpt_path", str(tmp_path / "run/checkpoints/last.ckpt"), "--out",
              str(tmp_path / "a.onnx"), "--stream"])
        assert Recognizer(tmp_path / "a.onnx").coordinates == 2

    def test_networks_of_whole_clips_are_refused(self, finished_run, tmp_path, capsys):
        said = refusal(capsys, "export", "--ckpt_path", finished_run / "checkpoints/last.ckpt",
                       "--out", tmp_path / "a.onnx", "--stream")
        assert "a stream needs a causal network" in said

    def test_profile_measures_the_next_frames_of_a_person(self, exported, capsys):
        path, form = exported
        main(["profile", "--exported", str(path), "--seconds", "0", "--threads", "1"])
        name = {"frame": "next 1 frame)", "step": "next 4 frames)"}[form]
        assert name in " ".join(capsys.readouterr().out.split())

    def test_without_stream_the_box_is_refused(self, checkpoint, tmp_path, capsys):
        said = refusal(capsys, "export", "--ckpt_path", checkpoint, "--out", tmp_path / "a.onnx")
        assert "export --stream" in said

    def test_the_file_is_not_one_of_clips(self, exported):
        recognizer = Recognizer(exported[0])
        with pytest.raises(ValueError, match="runtime_stream"):
            recognizer(*walk(20), (240, 320))


class TestCalibration:
    @pytest.fixture(scope="module")
    def calibrated(self, checkpoint, tmp_path_factory):
        """The checkpoint with calibrated probabilities, and its file."""
        folder = tmp_path_factory.mktemp("calibrated")
        main(["calibrate", "--ckpt_path", str(checkpoint), "--out", str(folder / "a.ckpt"),
              "--precision", "0.01"])
        main(["export", "--ckpt_path", str(folder / "a.ckpt"), "--out", str(folder / "a.onnx"),
              "--stream"])
        return folder / "a.ckpt", folder / "a.onnx"

    def test_the_temperature_is_applied_once(self, exported, calibrated):
        if exported[1] == "step":
            pytest.skip("the calibrated file is of the frame form")
        temperature = read_record(calibrated[0])[CALIBRATION]["temperature"]
        assert abs(np.log(temperature)) > 0.1
        logs = []
        for path in (exported[0], calibrated[1]):
            stream = Stream(Recognizer(path), stride=1)
            keypoints, scores = walk(30)
            for time in range(30):
                stream.add(time / 30, {"a": (keypoints[time], scores[time])}, (240, 320))
            logs.append(np.log(stream.recognize()["a"].astype(np.float64)))
        expected = logs[0] / temperature
        expected -= np.log(np.exp(expected).sum())
        np.testing.assert_allclose(logs[1], expected, atol=1e-4)

    def test_calibration_has_the_predictions_of_the_runtime(self, calibrated):
        """With the stride and the memory of the stream; some clips are longer than that."""
        model, data = load_trained(["--ckpt_path", str(calibrated[0])])
        logs, _, clip = predict_validation(model, data)
        last = np.append(np.flatnonzero(np.diff(clip)), len(clip) - 1)
        lengths = []
        for number, expected in zip(data.part("val"), logs[last].exp().numpy(), strict=True):
            keypoints, scores = data.file.frames(number)
            stream = Stream(Recognizer(calibrated[1]), together=True)
            for time in range(keypoints.shape[1]):
                stream.add(time / 30, {n: (keypoints[n, time], scores[n, time])
                                       for n in range(len(keypoints))}, (240, 320))
            np.testing.assert_allclose(stream.recognize()[None], expected, atol=1e-5)
            lengths.append(keypoints.shape[1])
        assert max(lengths) > stream.recognizer.metadata["stream"]["memory"]

    def test_live_predicts_alike_from_the_checkpoint_and_from_its_file(self, calibrated, tmp_path):
        pytest.importorskip("av")
        video = write_video(tmp_path / "video.mp4")
        threshold = read_record(calibrated[0])[CALIBRATION]["min_probability"]
        assert threshold != MIN_PROBABILITY
        events = []
        for number, network in enumerate((
                ["--ckpt_path", calibrated[0]], ["--model", calibrated[1]],
                ["--model", calibrated[1], "--min_probability", threshold],
                ["--model", calibrated[1], "--min_probability", 0])):
            out = tmp_path / f"{number}.jsonl"
            main(["live", *map(str, network), "--source", str(video), "--estimator",
                  "dancers.Dancer", "--json", str(out)])
            events.append(out.read_text())
        assert events[0] == events[1] == events[2]
        assert events[3]


class TestStream:
    @pytest.fixture
    def stream(self, exported):
        return Stream(Recognizer(exported[0]), stride=1)

    def show(self, stream, frames, start=0, people="a"):
        for time in range(frames):
            keypoints, scores = walk(1, time)
            stream.add(start + time / 30, dict.fromkeys(people, (keypoints[0], scores[0])),
                       (240, 320))

    def test_the_first_prediction_comes_after_a_chunk(self, stream):
        self.show(stream, stream.chunk - 1)
        assert stream.recognize() == {}
        self.show(stream, 1, start=10)
        self.show(stream, stream.chunk, start=20)
        assert list(stream.recognize()) == ["a"]
        assert stream.recognize()["a"].sum() == pytest.approx(1, abs=1e-5)

    def test_thousands_of_frames_take_no_more_memory(self, stream):
        def held():
            return sum(row.nbytes for track in stream._tracks.values()
                       for rows in track.past.values() for row in rows) + sys.getsizeof(
                           stream._tracks)

        def shapes():
            return {name: [row.shape for row in rows]
                    for name, rows in stream._tracks["a"].past.items()}

        self.show(stream, 50)
        before, first = held(), shapes()
        for number in range(40):  # with 3000 frames, and a new person every 75th
            self.show(stream, 75, start=100 * (number + 1), people=["a", f"person {number}"])
        assert len(stream._tracks) == 2
        assert shapes() == first
        assert held() == 2 * before - sys.getsizeof(stream._tracks)
        assert np.isfinite(stream.recognize()["a"]).all()

    def test_a_person_who_is_away_for_an_hour_is_a_new_one(self, stream):
        self.show(stream, 20)
        assert stream.recognize()
        self.show(stream, 20, start=3600)  # also where no frame came in the meantime
        again = stream.recognize()["a"]
        stream.add(7200, {}, (240, 320))
        assert stream.recognize() == {}
        stream.reset()
        self.show(stream, 20)
        np.testing.assert_array_equal(stream.recognize()["a"], again)

    def test_a_person_who_is_away_for_a_moment_is_the_same(self, stream):
        self.show(stream, 20)
        for time in range(20, 40):
            stream.add(time / 30, {}, (240, 320))
        assert list(stream.recognize()) == ["a"]

    def test_nan_is_a_missing_joint_and_leaves_no_trace(self, stream):
        keypoints, scores = walk(40)
        keypoints[7, 3] = np.nan
        keypoints[8] = np.inf
        scores[9, 2] = np.nan
        for time in range(40):
            stream.add(time, {"a": (keypoints[time], scores[time])}, (240, 320))
        probabilities = stream.recognize()["a"]
        assert np.isfinite(probabilities).all()
        missing = scores.copy()
        missing[7, 3] = missing[8] = missing[9, 2] = 0
        stream.reset()
        for time in range(40):
            stream.add(time, {"a": (np.nan_to_num(keypoints[time], posinf=0), missing[time])},
                       (240, 320))
        np.testing.assert_allclose(stream.recognize()["a"], probabilities, rtol=0, atol=1e-6)

    def test_another_number_of_joints_is_one_sentence(self, stream):
        with pytest.raises(ValueError, match="takes 13 joints"):
            stream.add(0, {"a": (np.zeros((17, 2)), np.zeros(17))}, (240, 320))
        with pytest.raises(ValueError, match="expected scores"):
            stream.add(0, {"a": (np.zeros((13, 2)), np.zeros(12))}, (240, 320))

    def test_other_mistakes(self, stream):
        person = {"a": (np.ones((13, 2)), np.ones(13))}
        stream.add(1, person, (240, 320))
        with pytest.raises(ValueError, match="in order of time"):
            stream.add(1, person, (240, 320))
        with pytest.raises(ValueError, match="positive height and width"):
            stream.add(2, person, (0, 320))
        for name, value in (("stride", 0), ("stride", "2"), ("stride", -1), ("patience", "long"),
                            ("patience", None), ("patience", np.nan)):
            with pytest.raises(ValueError, match=f"`{name}` must be a positive number"):
                Stream(stream.recognizer, **{name: value})
        with pytest.raises(ValueError, match="`stride` must be a whole number"):
            Stream(stream.recognizer, stride=1.5)

    @pytest.mark.parametrize(("time", "person", "frame_size", "said"), [
        ("1.5", None, (240, 320), "the time of a frame is a number of seconds, got str"),
        (None, None, (240, 320), "the time of a frame is a number of seconds, got NoneType"),
        ([1, 2], None, (240, 320), "the time of a frame is a number"),
        (True, None, (240, 320), "the time of a frame is a number"),
        (np.nan, None, (240, 320), "in order of time; got nan"),
        (np.inf, None, (240, 320), "in order of time; got inf"),
        (0.5, None, (240, 320), "in order of time; got 0.5 after 1.0"),
        (2, None, 240, "a frame size is a positive height and width, got 240"),
        (2, None, (240,), "a frame size is a positive height and width"),
        (2, None, (240, 320, 3), "a frame size is a positive height and width"),
        (2, None, (240, np.nan), "a frame size is a positive height and width"),
        (2, None, (-240, 320), "a frame size is a positive height and width"),
        (2, None, ("high", "wide"), "a frame size must be an array of numbers"),
        (2, None, None, "a frame size is a positive height and width"),
        (2, [], (240, 320), "a pair of keypoints and scores, got list"),
        (2, np.ones((13, 2)), (240, 320), "a pair of keypoints and scores, got ndarray"),
        (2, (np.ones((13, 2)),), (240, 320), "a pair of keypoints and scores, got tuple"),
        (2, ("left", "right"), (240, 320), "keypoints must be an array of numbers"),
        (2, ([[1, 2], [3]], np.ones(13)), (240, 320), "keypoints must be an array of numbers"),
        (2, (np.ones((1, 13, 2)), np.ones((1, 13))), (240, 320), "are (joints, coordinates)")])
    def test_each_mistake_is_a_sentence_and_changes_nothing(self, stream, time, person, frame_size,
                                                            said):
        for each in (stream, Window(stream.recognizer)):
            each.add(1, {"a": (np.ones((13, 2)), np.ones(13))}, (240, 320))
            with pytest.raises(ValueError, match=re.escape(said)) as raised:
                each.add(time, {} if person is None else {"a": person}, frame_size)
            assert "\n" not in str(raised.value)
            with pytest.raises(ValueError, match="a dictionary of pairs of keypoints and scores"):
                each.add(2, [], (240, 320))
            each.add(2, {"b": (np.ones((13, 2)), np.ones(13))}, (240, 320))

    @pytest.mark.parametrize("far", [1e9, -1e9, 1e38, 1e300, 4000])
    def test_a_joint_far_away_is_missing(self, stream, far):
        """It does not move the box, which would follow it for seconds."""
        keypoints, scores = walk(40)
        keypoints = keypoints.astype(np.float64)
        missing = scores.copy()
        missing[10, 4] = 0
        predictions = []
        for each in (missing, scores):
            stream.reset()
            for time in range(40):
                stream.add(time, {"a": (keypoints[time], each[time])}, (240, 320))
            predictions.append(stream.recognize()["a"])
            keypoints[10, 4, 1] = far
        np.testing.assert_array_equal(*predictions)

    def test_scores_above_1_count_as_1(self, stream):
        keypoints, scores = walk(24)
        predictions = []
        for factor in (1, 50):
            stream.reset()
            for time in range(24):
                stream.add(time, {"a": (keypoints[time], factor * scores[time])}, (240, 320))
            predictions.append(stream.recognize()["a"])
        np.testing.assert_array_equal(*predictions)

    def test_frames_of_another_size_start_anew(self, stream):
        self.show(stream, 20)
        stream.add(100, {}, (480, 640))
        assert stream.recognize() == {}

    def test_every_second_frame_is_taken(self, exported):
        slow, fast = Stream(Recognizer(exported[0]), stride=2), Stream(Recognizer(exported[0]), 1)
        keypoints, scores = walk(40)
        for time in range(40):
            slow.add(time / 30, {"a": (keypoints[time], scores[time])}, (240, 320))
            if time % 2 == 0:
                fast.add(time / 30, {"a": (keypoints[time], scores[time])}, (240, 320))
        np.testing.assert_array_equal(slow.recognize()["a"], fast.recognize()["a"])

    def test_persons_together(self, exported):
        stream = Stream(Recognizer(exported[0]), stride=1, together=True)
        people = [walk(24, seed) for seed in range(3)]
        for time in range(24):
            count = 1 + time % 3
            stream.add(time / 30, {n: (people[n][0][time], people[n][1][time])
                                   for n in range(count)}, (240, 320))
        assert list(stream.recognize()) == [None]

    def test_fifty_persons_who_come_and_leave(self, stream):
        for time in range(24):
            here = [f"person {number}" for number in range(50) if (time + number) % 20]
            walks = [walk(1, seed=number) for number in range(len(here))]
            stream.add(time / 30, {name: (points[0], scores[0]) for name, (points, scores)
                                   in zip(here, walks, strict=True)}, (240, 320))
        found = stream.recognize()
        assert len(found) == 50
        assert all(each.shape == (3,) and np.isfinite(each).all() for each in found.values())

    def test_the_numbers_of_a_long_stream(self, stream):
        """Times of a year at 30 frames a second; what counts frames does not grow."""
        self.show(stream, 20, start=30 * 86400 * 365)
        expected = stream.recognize()["a"]
        stream.reset()
        self.show(stream, 20)
        np.testing.assert_array_equal(stream.recognize()["a"], expected)
        for _ in range(200):
            stream.add(stream._time + 0.5, {}, (240, 320))
        assert stream._skip in range(stream.stride)
        assert not stream._tracks

    def test_copies_run_where_there_is_nothing_else(self, exported, tmp_path):
        for name in ("runtime", "runtime_stream", "runtime_window"):
            shutil.copy(ROOT / f"ptl_skel/deploy/{name}.py", tmp_path)
        program = (
            "import sys; sys.modules['ptl_skel'] = sys.modules['torch'] = None; "
            "import numpy as np, runtime_window; from runtime import Recognizer; "
            "from runtime_stream import Stream; "
            "stream = Stream(Recognizer(sys.argv[1]), stride=1);"
            "[stream.add(n, {7: (np.eye(13, 2) * n, np.ones(13))}, (9, 9)) for n in range(8)];"
            "print(stream.recognize()[7].sum())")
        done = subprocess.run([sys.executable, "-c", program, str(exported[0])], cwd=tmp_path,
                              capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert float(done.stdout) == pytest.approx(1, abs=1e-5)

    def test_a_file_of_clips_is_refused(self, exported):
        recognizer = Recognizer(exported[0])
        del recognizer.metadata["stream"]
        with pytest.raises(ValueError, match="for whole clips"):
            Stream(recognizer)
