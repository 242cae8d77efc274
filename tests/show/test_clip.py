from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ptl_skel.__main__ import main
from ptl_skel.data.cameras import Camera
from ptl_skel.data.transforms import compact_box, crop_resize
from ptl_skel.show.clip import draw_heatmap, draw_row, draw_skeletons, read_camera, view_clip
from ptl_skel.show.layout import draw_layout
from ptl_skel.skeletons import LAYOUTS, get_layout
from ptl_skel.storage import Clip, ClipWriter, Header, KeypointFile

LAYOUT = LAYOUTS["penn13"]


def write_file(path: Path, clips: list[Clip], num_coordinates: int = 2) -> Path:
    header = Header("tiny", LAYOUT, ("wave $1", "kick"), "test", num_coordinates)
    with ClipWriter(path, header) as writer:
        writer.add("all", clips)
        writer.finish({})
    return path


def make_clip(name: str, *, persons: int = 1, frames: int = 40, label: int = 0,
              num_coordinates: int = 2) -> Clip:
    random = np.random.default_rng(0)
    keypoints = random.uniform(50, 150, (persons, frames, LAYOUT.num_joints, num_coordinates))
    return Clip(name, keypoints, np.ones(keypoints.shape[:3]), (240, 320), label)


@pytest.fixture
def keypoint_file(tmp_path: Path) -> Path:
    return write_file(tmp_path / "tiny.h5", [
        make_clip("one"), make_clip("folder/two", persons=2, frames=7, label=1),
        make_clip("unlabelled", persons=9, frames=1, label=-1)])


def refusal(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    with pytest.raises(SystemExit) as exit_info:
        main(["show", *map(str, args)])
    assert exit_info.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_a_png_appears_under_the_name_of_the_clip(keypoint_file, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["show", str(keypoint_file), "--clip", "folder/two"])
    assert capsys.readouterr().out == (
        "folder/two · class kick · clip 2 of 3, 7 frames, 2 persons: folder_two.png\n")
    with Image.open("folder_two.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 2 * picture.height  # eight frames in a row


def test_a_gif_shows_every_frame(keypoint_file, tmp_path):
    out = tmp_path / "new folder" / "clip.gif"
    main(["show", str(keypoint_file), "--clip", "one", "--out", str(out), "--clip_len", "5"])
    with Image.open(out) as picture:
        assert picture.format == "GIF"
        assert picture.n_frames == 5
        assert picture.is_animated


@pytest.mark.parametrize(("clip", "expected"), [
    ("1", "one · class wave $1 · clip 1 of 3, 40 frames, 1 person"),
    ("3", "unlabelled · class unknown · clip 3 of 3, 1 frame, 9 persons"),
])
def test_a_clip_can_be_named_by_its_place(keypoint_file, capsys, tmp_path, clip, expected):
    out = tmp_path / "x.png"
    main(["show", str(keypoint_file), "--clip", clip, "--out", str(out), "--frames", "1"])
    assert capsys.readouterr().out == f"{expected}: {out}\n"


def test_an_id_goes_before_a_place(tmp_path, capsys):
    path = write_file(tmp_path / "tiny.h5", [make_clip("2"), make_clip("1")])
    main(["show", str(path), "--clip", "2", "--out", str(tmp_path / "x.png"), "--frames", "1"])
    assert "clip 1 of 2" in capsys.readouterr().out


def test_the_heatmaps_are_those_of_the_network(keypoint_file):
    view = view_clip(KeypointFile(keypoint_file), 0, clip_len=6, size=24, sigma=0.8)
    assert view.heatmaps.shape == (13, 6, 24, 24)
    assert view.frames.min() >= 1
    assert view.frames.max() <= 40
    channel, frame = 4, 3
    peak = np.unravel_index(view.heatmaps[channel, frame].argmax(), (24, 24))
    expected = view.keypoints[0, frame, channel, ::-1]  # the peak is the pixel next to the joint
    np.testing.assert_allclose(peak, expected, atol=0.51)


def test_missing_joints_are_not_drawn(tmp_path):
    clip = make_clip("one", persons=2)
    clip.scores[0, :, 3:] = 0
    clip.scores[1] = 0
    view = view_clip(KeypointFile(write_file(tmp_path / "tiny.h5", [clip])), 0, 6, 24, 0.6)
    axes = draw_row(view, 1).axes[0]
    axes.clear()
    draw_skeletons(axes, view, 0)
    limbs, joints, absent_limbs, absent_joints = axes.collections
    assert len(joints.get_offsets()) == 3
    assert len(limbs.get_paths()) == sum(max(limb) < 3 for limb in LAYOUT.limbs) > 0
    assert len(absent_limbs.get_paths()) == len(absent_joints.get_offsets()) == 0


def test_persons_and_sides_have_their_colours(keypoint_file):
    view = view_clip(KeypointFile(keypoint_file), 1, 6, 24, 0.6)
    axes = draw_row(view, 1).axes[0]
    axes.clear()
    draw_skeletons(axes, view, 0)
    first, joints, second, _ = axes.collections
    assert not np.array_equal(first.get_colors()[0], second.get_colors()[0])
    left, right = LAYOUT.pairs[0]
    colours = joints.get_facecolors()
    assert colours[left][2] > colours[left][0]  # bluish
    assert colours[right][0] > colours[right][2]  # reddish
    draw_heatmap(axes, view, 0)
    image = axes.images[0].get_array()
    assert 0 < image.max() <= 1


def test_mistakes_end_in_a_sentence(keypoint_file, capsys, tmp_path):
    assert "has no clip 'three'; the first of its 3 clips is 'one'" in refusal(
        capsys, keypoint_file, "--clip", "three")
    assert "has no clip '4'" in refusal(capsys, keypoint_file, "--clip", "4")
    assert "nowhere.h5 does not exist" in refusal(capsys, "nowhere.h5", "--clip", "1")
    assert "must be >= 1" in refusal(capsys, keypoint_file, "--clip", "1", "--size", "0")
    assert "`sigma` must be positive" in refusal(
        capsys, keypoint_file, "--clip", "1", "--sigma", "0")
    assert "--frames must be <= 32" in refusal(
        capsys, keypoint_file, "--clip", "1", "--frames", "40", "--clip_len", "50")
    assert "must end in .png or .gif, got x.jpg" in refusal(
        capsys, keypoint_file, "--clip", "1", "--out", "x.jpg")
    assert "cannot be written" in refusal(
        capsys, keypoint_file, "--clip", "1", "--out", keypoint_file / "x.png")


def test_3d_coordinates_are_seen_through_a_camera(spatial_file, tmp_path, capsys):
    file = KeypointFile(spatial_file)
    keypoints, scores = (torch.from_numpy(each.astype(np.float32))[None] for each in file.frames(0))
    for camera in (None, read_camera("camera/side.yaml")):
        view = view_clip(file, 0, len(keypoints[0, 0]), 56, 0.6, camera)
        pixels, seen = (camera or Camera()).project(keypoints, scores)
        box = compact_box(pixels, seen, torch.tensor([[480.0, 640]]))
        # All 7 frames are shown, in their order.
        np.testing.assert_allclose(view.keypoints, crop_resize(pixels, box, (56, 56))[0], atol=1e-3)
        assert (view.heatmaps.max((1, 2, 3)) > 0.3).all()
    out = tmp_path / "side.png"
    main(["show", str(spatial_file), "--clip", "1", "--out", str(out), "--camera",
          "camera/side.yaml"])
    assert out.exists()


def test_the_default_camera_looks_from_the_front():
    assert read_camera("camera/front.yaml") == Camera()


def test_cameras_that_cannot_be_used(capsys, keypoint_file, spatial_file, tmp_path):
    def refused(file, text):
        camera = tmp_path / "camera.yaml"
        camera.write_text(text)
        return refusal(capsys, file, "--clip", "1", "--camera", camera)

    assert "is for 3D coordinates" in refused(keypoint_file, "yaw: 3")
    assert "`pitch` must lie in -90..90" in refused(spatial_file, "pitch: 100")
    assert "camera.yaml: " in refused(spatial_file, "yaw: east")
    assert "camera.yaml: " in refused(spatial_file, "roll: 3")
    assert "needs pixels" in refused(spatial_file, "projection: none")
    assert "the camera sees 0 %" in refused(spatial_file, "{axes: [x, y, -z], distance: null}")
    assert "does not exist" in refusal(
        capsys, spatial_file, "--clip", "1", "--camera", "nowhere.yaml")


@pytest.mark.parametrize("name", ["hand21", "coco_wholebody133", "jhmdb15", "blazepose33"])
def test_a_layout_is_drawn(name, capsys, tmp_path):
    out = tmp_path / "new" / f"{name}.png"
    main(["show", "--layout", name, "--out", str(out)])
    assert out.read_bytes().startswith(b"\x89PNG")
    figure = draw_layout(get_layout(name))
    layout, axes = get_layout(name), figure.axes[0]
    assert len(axes.lines) == len(layout.limbs) + len(layout.pairs)
    places = np.asarray(axes.collections[0].get_offsets())
    assert len(np.unique(places.round(3), axis=0)) == layout.num_joints
    for left, right in layout.pairs:
        assert places[left] == pytest.approx(places[right] * (-1, 1), abs=0.05)
        assert places[left, 0] > places[right, 0]


def test_a_layout_that_cannot_be_drawn(capsys, tmp_path):
    for arguments, message in (
            (["--layout", "coco18"], "must be one of"),
            (["--layout", "coco17", "--out", str(tmp_path / "x.gif")], "must end in .png"),
            (["--layout", "coco17", "--size", "9"], "--size has no effect with --layout"),
            (["a.h5", "--layout", "coco17"], "a.h5 has no effect with --layout"),
            (["a.h5", "--clip", "1", "--frames", "4", "--out", "a.gif"],
             "--frames has no effect on a .gif"),
            ([], "give a keypoint file and --clip, or --layout")):
        with pytest.raises(SystemExit) as ended:
            main(["show", *arguments])
        assert ended.value.code == 2
        assert message in " ".join(capsys.readouterr().err.split())
