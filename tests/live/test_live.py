"""``ptl-skel live`` on small videos and on cameras that fail."""

import _thread
import functools
import http.server
import json
import re
import resource
import shutil
import socket
import struct
import sys
import threading
import time
import urllib.error
import urllib.request
import wave

import numpy as np
import pytest
import torch
from commandline import refusal
from dancers import Dancer, read_events, read_frames, write_video
from PIL import Image

from ptl_skel.cli.verbs import main
from ptl_skel.deploy.runtime import Recognizer
from ptl_skel.errors import UserError
from ptl_skel.live import people, server
from ptl_skel.live.writing import GifWriter
from ptl_skel.pose.video import Video
from ptl_skel.skeletons import SkeletonLayout

DANCER = ("--estimator", "dancers.Dancer")


def live(*args):
    main(["live", *(str(arg) for arg in args)])


@pytest.fixture
def recognise(exported, tmp_path):
    """Runs the command on a source, with an annotated video and events."""
    return lambda source, *args: live(
        "--model", exported, "--source", source, *DANCER, "--out", tmp_path / "out.mp4",
        "--json", tmp_path / "events.jsonl", *args)


def test_each_person_gets_a_label_in_the_video_and_in_the_events(
        recognise, small_video, tmp_path, capsys):
    recognise(small_video, "--min_probability", 0, "--out_side", 80, "--heatmaps")
    assert read_frames(tmp_path / "out.mp4") == [(60, 80)] * 40
    events = read_events(tmp_path / "events.jsonl")
    assert {event["person"] for event in events} == {0, 1}
    first = events[0]
    assert set(first) == {"frame", "time", "person", "event", "label", "probability"}
    assert first["time"] == pytest.approx(first["frame"] / 20, abs=2e-3)
    assert first["event"] == "label"
    assert 0 < first["probability"] <= 1
    said = capsys.readouterr().out
    assert "40 in" in said
    for stage in ("decode", "pose", "recognise", "draw", "frame to label"):
        assert stage in said


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux assigns threads to cores")
@pytest.mark.parametrize(("single_threaded", "output", "assigned"), [
    (True, "--json", [{0}, {1}, {1}]), (True, "--out", []), (False, "--json", [])])
def test_on_two_cores_an_estimator_of_one_thread_has_its_own(
        exported, small_video, tmp_path, monkeypatch, single_threaded, output, assigned):
    cores = []
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1})
    monkeypatch.setattr("os.sched_setaffinity", lambda thread, given: cores.append(given))
    monkeypatch.setattr(Dancer, "single_threaded", single_threaded, raising=False)
    live("--model", exported, "--source", small_video, *DANCER, output, tmp_path / "out.mp4")
    assert sorted(cores, key=list) == assigned


def test_a_short_video_may_become_a_gif(exported, small_video, tmp_path):
    live("--model", exported, "--source", small_video, *DANCER, "--out", tmp_path / "out.gif",
         "--out_side", 80)
    with Image.open(tmp_path / "out.gif") as image:
        assert image.size == (80, 60)
        assert 10 <= image.n_frames <= 20  # ten a second; images that are alike may become one


@pytest.mark.parametrize("rate", [2, 5, 12.5, 60])
def test_a_gif_is_as_long_as_the_video(tmp_path, rate):
    with GifWriter(tmp_path / "out.gif") as gif:
        for number in range(int(2 * rate)):
            gif.write(np.full((20, 30, 3), 7 * number % 255, np.uint8), 1 + number / rate)
    seconds = 0.0
    with Image.open(tmp_path / "out.gif") as image:
        for number in range(image.n_frames):
            image.seek(number)
            seconds += image.info["duration"] / 1000
    assert seconds == pytest.approx(2 - 1 / rate + 0.1, abs=0.1)  # the last one for a tenth


def test_no_label_is_assigned_below_the_threshold(recognise, small_video, tmp_path):
    recognise(small_video, "--min_probability", 1)
    assert read_events(tmp_path / "events.jsonl") == []


def test_the_scene_gets_one_label(recognise, small_video, tmp_path):
    recognise(small_video, "--min_probability", 0, "--together")
    assert {event["person"] for event in read_events(tmp_path / "events.jsonl")} == {None}


def test_a_video_without_persons(exported, small_video, tmp_path, capsys):
    live("--model", exported, "--source", small_video, "--estimator", "dancers.Nobody",
         "--out", tmp_path / "out.mp4", "--json", tmp_path / "events.jsonl")
    assert len(read_frames(tmp_path / "out.mp4")) == 40
    assert read_events(tmp_path / "events.jsonl") == []
    assert re.search(r"with a person +│ 0 ", capsys.readouterr().out)
    main(["segment", str(small_video), "--model", str(exported), "--estimator", "dancers.Nobody",
          "--out", str(tmp_path / "found")])
    assert "nobody was seen in the video" in capsys.readouterr().out


def test_a_checkpoint_is_exported_first(finished_run, small_video, tmp_path):
    live("--ckpt_path", finished_run / "checkpoints" / "last.ckpt", "--source", small_video,
         *DANCER, "--json", tmp_path / "events.jsonl", "--min_probability", 0)
    assert {event["person"] for event in read_events(tmp_path / "events.jsonl")} == {0, 1}


def test_several_checkpoints_are_fused(finished_run, small_video, tmp_path, capsys):
    last = finished_run / "checkpoints" / "last.ckpt"
    calibrated = torch.load(last)
    calibrated["ptl_skel"]["calibration"] = {"min_probability": 0.9}
    torch.save(calibrated, tmp_path / "calibrated.ckpt")
    options = ("--source", small_video, *DANCER, "--json", tmp_path / "events.jsonl",
               "--min_probability", 0, "--overwrite")
    live("--ckpt_path", last, *options)
    single = read_events(tmp_path / "events.jsonl")
    live("--ckpt_path", last, tmp_path / "calibrated.ckpt", *options)
    assert read_events(tmp_path / "events.jsonl") == single  # the weights are the same
    assert "calibration dropped: it does not hold for the mean" in capsys.readouterr().out


def test_a_checkpoint_that_cannot_be_exported(finished_run, small_video, tmp_path, monkeypatch,
                                              capsys):
    last = finished_run / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(last)
    next(iter(checkpoint["state_dict"].values())).fill_(torch.nan)
    torch.save(checkpoint, tmp_path / "diverged.ckpt")
    assert "the training diverged" in refusal(
        capsys, "live", "--ckpt_path", tmp_path / "diverged.ckpt", "--source", small_video, *DANCER)
    monkeypatch.setitem(sys.modules, "onnxscript", None)  # not among the packages for videos
    assert "need the package onnxscript: pip install 'ptl_skel[export]'" in refusal(
        capsys, "live", "--ckpt_path", last, "--source", small_video, *DANCER)


def test_frames_may_change_their_size(recognise, tmp_path):
    video = write_video(tmp_path / "both.ts", ((160, 120), (96, 64)))
    recognise(video)
    assert read_frames(tmp_path / "out.mp4") == [(120, 160)] * 80


def test_damaged_packets_are_skipped(recognise, small_video, tmp_path, capsys):
    content = bytearray(small_video.read_bytes())
    random = np.random.default_rng(0)
    start = content.index(b"mdat") + 4
    for place in random.integers(start, len(content) - 3000, 60):
        content[place] ^= 0x55
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(content)
    recognise(damaged)
    assert 10 < len(read_frames(tmp_path / "out.mp4")) <= 40


def test_a_full_disk_is_reported_and_leaves_a_playable_video(exported, tmp_path, capsys):
    video = write_video(tmp_path / "long.mp4", frames=400)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    try:
        said = refusal(capsys, "live", "--model", exported, "--source", video, *DANCER,
                       "--out", tmp_path / "out.mp4")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
    assert said.startswith(f"--out {tmp_path / 'out.mp4'} cannot be written")
    assert "can be played" in said
    with Video(tmp_path / "out.mp4") as written:  # as players do, it ignores a cut last frame
        assert 15 <= sum(1 for _ in written) < 400


class Impatient(Dancer):
    """Presses Ctrl-C at the 20th image."""

    def __call__(self, image):
        if self.seen == 20:
            _thread.interrupt_main()
        return super().__call__(image)


def test_ctrl_c_leaves_a_playable_video_and_a_summary(exported, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("dancers.Dancer", Impatient)
    video = write_video(tmp_path / "long.mp4", frames=2000)
    with pytest.raises(SystemExit) as stopped:
        live("--model", exported, "--source", video, *DANCER, "--out", tmp_path / "out.mp4")
    assert stopped.value.code == 130
    assert "frame to label" in capsys.readouterr().out
    assert 20 <= len(read_frames(tmp_path / "out.mp4")) < 2000


class Broadcast(http.server.BaseHTTPRequestHandler):
    """Sends a stream at about its frame rate, then closes the connection."""

    def __init__(self, content, *args):
        self.content = content
        super().__init__(*args)

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        for start in range(0, len(self.content), 2048):
            try:
                self.wfile.write(self.content[start : start + 2048])
            except ConnectionError:
                return
            time.sleep(0.01)


def broadcast(content, port=0):
    handler = functools.partial(Broadcast, content)
    camera = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    threading.Thread(target=camera.serve_forever, args=(0.05,), daemon=True).start()
    return camera


def test_a_lost_camera_is_reconnected_until_patience_ends(exported, tmp_path, capsys):
    content = write_video(tmp_path / "camera.ts").read_bytes()
    camera = broadcast(content)
    port = camera.server_address[1]

    def fail_and_return():
        time.sleep(1)
        camera.shutdown()
        camera.server_close()
        time.sleep(0.7)
        again = broadcast(content, port)
        time.sleep(1.5)
        again.shutdown()
        again.server_close()

    failing = threading.Thread(target=fail_and_return)
    failing.start()
    with pytest.raises(SystemExit) as stopped:
        live("--model", exported, "--source", f"http://127.0.0.1:{port}/camera.ts", *DANCER,
             "--out", tmp_path / "out.mp4", "--patience", 2.5)
    failing.join()
    said = capsys.readouterr()
    assert stopped.value.code == 2
    assert "no frame from http" in said.err
    assert "was lost; trying to reconnect" in " ".join(said.out.split())
    assert "was reconnected after" in said.out
    assert "camera reconnected" in said.out
    assert len(read_frames(tmp_path / "out.mp4")) > 10  # slow machines drop many


@pytest.fixture
def page():
    """A page that shows grey images and two persons."""
    over = threading.Event()

    def show():
        while not over.wait(0.05):
            page.show(np.full((48, 64, 3), 120, np.uint8), {"facts": "2.0 s", "people": [
                {"person": 0, "label": "squat", "probability": 0.9, "earlier": ["<b>bowl"]},
                {"person": None, "label": None, "probability": 0.3, "earlier": []}]})

    with server.PageServer("127.0.0.1", 0) as page:
        showing = threading.Thread(target=show)
        showing.start()
        until = time.monotonic() + 5
        while not page._feed.state["people"] and time.monotonic() < until:
            time.sleep(0.01)
        yield page
        over.set()
        showing.join()


def test_the_page_streams_images_and_states(page):
    with urllib.request.urlopen(page.url, timeout=5) as response:
        assert b"/stream" in response.read()
    with urllib.request.urlopen(f"{page.url}state", timeout=5) as response:
        assert json.load(response)["people"][0]["label"] == "squat"
    with urllib.request.urlopen(f"{page.url}stream", timeout=5) as response:
        assert "multipart/x-mixed-replace" in response.headers["Content-Type"]
        part = response.read(600)
        assert part.startswith(b"--frame\r\nContent-Type: image/jpeg")
        assert part.split(b"\r\n\r\n", 1)[1].startswith(b"\xff\xd8")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{page.url}../etc/passwd", timeout=5)


@pytest.mark.parametrize("sent", ["", "GET /state HTTP/1.1\r\nHost: a\r\n\r\n"])
def test_a_closed_connection_leaves_no_traceback(page, capsys, sent):
    with socket.create_connection(("127.0.0.1", int(page.url.split(":")[-1][:-1]))) as browser:
        browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # abruptly
        browser.sendall(sent.encode())
    time.sleep(0.2)
    assert capsys.readouterr().err == ""


def test_a_browser_shows_the_page(page):
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium on PATH")
    with playwright.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page()
        tab.goto(page.url, wait_until="commit")
        tab.wait_for_selector("tbody tr")
        rows = tab.eval_on_selector_all("tbody tr", "rows => rows.map(row => row.innerText)")
        assert [row.split("\t") for row in rows] == [
            ["0", "squat", "90 %", "<b>bowl"], ["scene", "unknown", "30 %", ""]]
        tab.wait_for_function("document.querySelector('img').naturalWidth === 64")
        browser.close()


def test_a_session_shows_its_stream_on_the_page(exported, small_video, monkeypatch, capsys):
    shown = []
    monkeypatch.setattr(server.PageServer, "show",
                        lambda _, image, state: shown.append((image.shape, state)))
    live("--model", exported, "--source", small_video, *DANCER, "--serve", 0,
         "--min_probability", 0)
    assert "http://127.0.0.1:" in capsys.readouterr().out
    assert len(shown) == 40
    shape, state = shown[-1]
    assert shape == (120, 160, 3)
    assert [person["person"] for person in state["people"]] == [0, 1]
    assert "pose" in state["facts"]


def test_letters_beyond_ascii_are_drawn(exported, small_video, tmp_path, monkeypatch):
    def last_image(letter):
        def read(model):
            recognizer = Recognizer(model)
            recognizer.class_names = [letter] * len(recognizer.class_names)
            return recognizer

        monkeypatch.setattr(people, "Recognizer", read)
        shown = []
        monkeypatch.setattr(server.PageServer, "show", lambda _, image, __: shown.append(image))
        live("--model", exported, "--source", small_video, *DANCER, "--serve", 0,
             "--min_probability", 0)
        return shown[-1]

    assert (last_image("Ü") == last_image("Ü")).all()
    assert (last_image("Ü") != last_image("Ж")).any()


@pytest.mark.parametrize(("args", "named"), [
    (["--source", "missing.mp4"], "missing.mp4"),
    (["--window", "0"], "--window"),
    (["--stride", "0"], "--stride"),
    (["--smoothing", "-1"], "--smoothing"),
    (["--min_probability", "2"], "--min_probability"),
    (["--out", "video.avi"], ".mp4"),
    (["--out", "taken.mp4"], "--overwrite"),
    (["--out_side", "2", "--serve"], "--out_side must be >= 64"),
    (["--patience", "0", "--source", "9"], "--patience must be positive"),
    (["--patience", "3"], "--patience has no effect on a video file; leave it out"),
    (["--host", "0.0.0.0"], "--host has no effect without --serve"),
    (["--out_side", "640", "--json", "a.jsonl"], "--out_side has no effect without --out or --s"),
    (["--heatmaps"], "--heatmaps has no effect without --out or --serve"),
    (["--overwrite", "--serve"], "--overwrite has no effect without --out or --json"),
    (["--ckpt_path", "last.ckpt"], "--model"),
    (["--data.file", "x.h5"], "--ckpt_path"),
    (["--wat"], "--wat"),
    (["--serve", "99999"], "--serve"),
    (["--model", "taken.mp4"], "taken.mp4"),
    (["--source", "taken.mp4"], "not a video"),
    (["--source", "sound.wav"], "no video stream"),
    (["--estimator", "dancers.Nothing"], "Nothing"),
])
def test_mistakes_are_reported_in_a_sentence(exported, small_video, tmp_path, monkeypatch, capsys,
                                             args, named):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken.mp4").write_text("not a video")
    with wave.open("sound.wav", "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(8000))
    assert named in refusal(capsys, "live", "--model", exported, "--source", small_video,
                            *DANCER, *args)


def test_a_causal_network_takes_no_window(exported, monkeypatch):
    recognizer = people._read(exported)
    recognizer.metadata["stream"] = {}
    monkeypatch.setattr(people, "_read", lambda path: recognizer)
    layout = SkeletonLayout.from_mapping(recognizer.metadata["layout"])
    with pytest.raises(UserError, match=r"--window has no effect on .*, a causal network"):
        people.People(exported, layout, people.Settings(window=4.0))


@pytest.mark.parametrize("output", ["--out", "--json"])
def test_the_source_is_never_overwritten(exported, tmp_path, monkeypatch, capsys, output):
    monkeypatch.chdir(tmp_path)
    video = write_video(tmp_path / "a.mp4")
    content = video.read_bytes()
    for source in ("a.mp4", video):
        assert "is the source" in refusal(capsys, "live", "--model", exported, "--source", source,
                                          *DANCER, output, video, "--overwrite")
    assert video.read_bytes() == content


@pytest.mark.parametrize("command", [["live", "--source"], ["segment", "--out", "found"]])
def test_a_checkpoint_is_not_an_exported_model(finished_run, small_video, capsys, command):
    last = finished_run / "checkpoints" / "last.ckpt"
    assert f"--model {last} is a checkpoint: give it as --ckpt_path" in refusal(
        capsys, *command, small_video, "--model", last)


def test_segments_of_a_video(exported, small_video, tmp_path, capsys):
    main(["segment", str(small_video), "--model", str(exported), *DANCER, "--min_probability",
          "0", "--shortest", "0", "--out", str(tmp_path / "found")])
    assert "segments in 1.9 s" in capsys.readouterr().out
    rows = (tmp_path / "found" / "segments.csv").read_text().splitlines()
    assert rows[0] == "person,start,end,label,probability"
    held = json.loads((tmp_path / "found" / "segments.json").read_text())
    assert len(held["segments"]) == len(rows) - 1
    for person in (0, 1):
        own = [each for each in held["segments"] if each["person"] == person]
        assert own[0]["start"] == pytest.approx(0.1, abs=0.01)  # numbered in the third frame
        assert own[-1]["end"] == pytest.approx(1.95, abs=0.01)
    assert (tmp_path / "found" / "timeline.png").stat().st_size > 1000
    assert "--overwrite" in refusal(capsys, "segment", small_video, "--model", exported, *DANCER,
                                    "--out", tmp_path / "found")


def test_segments_that_cannot_be_written_are_refused_before_the_video_is_read(
        exported, small_video, tmp_path, monkeypatch, capsys):
    images = []
    monkeypatch.setattr("dancers.Dancer.__call__", lambda _, image: images.append(image))
    (tmp_path / "found").write_text("a file")
    said = refusal(capsys, "segment", small_video, "--model", exported, *DANCER, "--out",
                   tmp_path / "found")
    assert f"--out {tmp_path / 'found'} cannot be written" in said
    assert not images


def test_ctrl_c_keeps_the_segments_so_far(exported, tmp_path, monkeypatch):
    monkeypatch.setattr("dancers.Dancer", Impatient)
    video = write_video(tmp_path / "long.mp4", frames=2000)
    with pytest.raises(SystemExit) as stopped:
        main(["segment", str(video), "--model", str(exported), *DANCER, "--min_probability", "0",
              "--out", str(tmp_path / "found")])
    assert stopped.value.code == 130
    held = json.loads((tmp_path / "found" / "segments.json").read_text())
    assert 0.9 < held["seconds"] < 90
    assert held["segments"]
