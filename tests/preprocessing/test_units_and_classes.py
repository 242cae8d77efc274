"""Coordinates of mixed or unusual units, classes that are not persons, and links."""

import json
from pathlib import Path

import numpy as np
import pytest
from commandline import preprocess_or_check as main
from pose_inputs import COCO, RANDOM, SIZED, arrays, dump, results, table, walk, write

from ptl_skel.storage import KeypointFile


def store(form, poses):
    """The arguments that read poses in a format."""
    if form == "openpose":
        for i, pose in enumerate(poses):
            write(f"in/v_{i:012d}_keypoints.json", {"people": [{"pose_keypoints_2d": [
                float(value) for joint in pose for value in (*joint, 0.9)]}]})
        return (form, "in", "--layout", "coco17", *SIZED)
    name = {"arrays": lambda: arrays(poses), "tables": lambda: table(poses),
            "coco": lambda: write("one.json", results(poses)),
            "pyskl": lambda: dump("one.pkl", [poses[None]])}[form]()
    return (form, name, *(() if form == "pyskl" else SIZED))


@pytest.mark.parametrize("form", ["arrays", "coco", "openpose", "pyskl", "tables"])
@pytest.mark.parametrize(("axis", "low", "high"), [("x", 0, 1), ("y", 0, 1), ("y", -1, 1)])
def test_one_axis_in_relative_coordinates(refuse, form, axis, low, high):
    poses = walk()
    poses[..., "xy".index(axis)] = RANDOM.uniform(low, high, poses.shape[:2])
    side = {"x": "width", "y": "height"}[axis]
    said = refuse(*store(form, poses))
    assert f"its {axis} are relative, not in pixels" in said
    assert f"multiply {axis} by the {side} of the frame" in said


def test_one_axis_of_some_frames_in_relative_coordinates_is_doubted(run):
    poses = walk()
    poses[6:, :, 1] /= 480
    code, notes = run(*store("coco", poses))
    assert code == 0
    assert notes == ("doubtful: all y of a person lie in -3 to 3 in 50% of the frames; are they "
                     "relative to the frame?")


def test_a_person_at_the_edge_is_not_in_relative_coordinates(run):
    poses = walk()
    poses[8:, :, 0] = 0  # as estimators cut them off
    assert run(*store("coco", poses))[1].startswith("out.h5")


@pytest.mark.parametrize("form", ["arrays", "coco", "pyskl"])
def test_an_axis_that_is_a_mark_everywhere(refuse, form):
    poses = walk()
    poses[..., 1] = -1
    assert "all its y are -1; it may be a mark of what is missing" in refuse(*store(form, poses))


def test_an_axis_that_is_a_mark_of_some_joints_is_doubted(run):
    poses = walk()
    poses[:, 15:, 0] = -1
    code, notes = run(*store("arrays", poses))
    assert code == 0
    assert notes.startswith("doubtful: x is -1 in 24 of 204 joints; if it marks what is missing")


@pytest.mark.parametrize(("change", "message"), [
    (lambda poses: poses * (640, 1), "its coordinates in x are pixels, not shares"),
    (lambda poses: poses * (1, 100), "its coordinates in y are pixels, not shares"),
    (lambda poses: poses - (0, 0.48), "coordinates are negative")])
def test_shares_of_one_axis_only(refuse, change, message):
    np.save("one.npy", change(walk(33, low=0.1, high=0.9)))
    assert message in refuse("mediapipe", "one.npy", *SIZED)


@pytest.mark.parametrize("form", ["arrays", "coco", "pyskl"])
def test_thousandths_are_reported(run, form):
    poses = RANDOM.uniform(0, 1000, (12, 17, 2)).round()
    code, said = run(*store(form, poses))
    assert code == 0
    assert "lie outside the frame; is its size (height, width) right; if they are" in said
    assert "multiply x by width / 1000 and y by height / 1000" in said


def test_thousandths_of_a_large_frame_are_reported(run):
    poses = RANDOM.uniform(0, 1000, (12, 17, 2))
    code, said = run("coco", write("one.json", results(poses)), "--frame_size", "720", "1280")
    assert code == 0
    assert "multiply x by width / 1000" in said


def test_pixels_around_a_centre_are_reported(run):
    poses = walk(low=20, high=200)
    poses[:, 6:, 0] *= -1
    code, said = run(*store("coco", poses))
    assert code == 0
    assert "are the coordinates pixels of the frame?" in said


def test_legs_below_the_frame_are_not_reported(run):
    poses = walk(low=50, high=450)
    poses[:, 11:, 1] = RANDOM.uniform(490, 900, (12, 6))
    assert "doubtful" not in run(*store("coco", poses))[1]


def person(pose, number=0, name="person"):
    return {"name": name, "class": number, "keypoints": {
        "x": pose[:, 0].tolist(), "y": pose[:, 1].tolist(), "visible": [0.9] * len(pose)}}


@pytest.mark.parametrize("form", ["one file", "file per frame"])
@pytest.mark.parametrize("others", [17, 20, 0])
def test_other_classes_of_ultralytics_are_left_out(run, form, others):
    poses = walk()
    frames = [[person(walk(others or 17, frames=1)[0], 16, "dog"), person(pose)] for pose in poses]
    for (dog, _) in frames:
        if not others:
            del dog["keypoints"]
    if form == "one file":
        write("in/one.json", frames)
    else:
        for i, frame in enumerate(frames):
            write(f"in/one/{i:04d}.json", frame)
    code, notes = run("coco", "in", *SIZED)
    assert code == 0
    assert notes == "left out, being of other classes than person: dog (12)"
    np.testing.assert_allclose(KeypointFile("out.h5").frames(0)[0], poses[None], rtol=1e-6)


def test_classes_of_ultralytics_of_which_none_is_called_person(run, refuse):
    frames = [[person(pose, i % 2, ("standing", "fallen")[i % 2])] for i, pose in enumerate(walk())]
    said = refuse("coco", write("one.json", frames), *SIZED)
    assert "it has several classes: fallen (6), standing (6); keep one" in said
    frames = [[person(pose, 0, "worker")] for pose in walk()]
    assert run("coco", write("one.json", frames), *SIZED)[1].startswith("out.h5")
    frames = [[person(pose, 16, "dog")] for pose in walk()]
    code, notes = run("coco", write("one.json", frames), *SIZED, "--overwrite")
    assert code == 0
    assert notes == "doubtful: all are of the class dog; are they persons?"


def test_several_categories_in_coco_results(run, refuse):
    found = results(walk())
    for i, one in enumerate(found):
        one["category_id"] = 1 + i % 2
    assert "it has several classes: 1 (6), 2 (6)" in refuse(
        "coco", write("one.json", found), *SIZED)
    for category in (0, 1):
        for one in found:
            one["category_id"] = category
        assert run("coco", write("one.json", found), *SIZED, "--overwrite")[1].startswith("out.h5")


def test_other_categories_of_coco_annotations_are_left_out(run):
    poses, dogs = walk(), walk(20)
    content = {
        "images": [{"id": i, "height": 480, "width": 640} for i in range(12)],
        "annotations": [{**one, "image_id": i, "category_id": category}
                        for category, found in ((18, dogs), (1, poses))
                        for i, one in enumerate(results(found))],
        "categories": [{"id": 18, "name": "dog", "keypoints": [f"d{i}" for i in range(20)]},
                       {"id": 1, "name": "person"}]}
    code, notes = run("coco", write("one.json", content))
    assert code == 0
    assert notes == "left out, being of other classes than person: dog (12)"
    np.testing.assert_allclose(KeypointFile("out.h5").frames(0)[0], poses[None], rtol=1e-6)
    content["categories"][0]["name"] = "player"
    content["annotations"] = content["annotations"][:12]
    assert run("coco", write("one.json", content), "--layout", "kinect20", "--overwrite")[
        1].startswith("out.h5")


def yolo(classes):
    """Lines of text of the classes, in three frames."""
    Path("in").mkdir(exist_ok=True)
    for frame in range(3):
        Path(f"in/v_{frame}.txt").write_text("".join(
            f"{number} .5 .5 .4 .4 " + f".5 {0.4 + 0.01 * frame} .9 " * 17 + "\n"
            for number in classes))
    return "yolo", "in", *SIZED


def test_classes_of_yolo(run, refuse):
    said = refuse(*yolo([0, 16]))
    assert "it has several classes: 0 (3), 16 (3); keep one, as Ultralytics does with" in said
    assert run(*yolo([0, 0]))[1].startswith("out.h5")
    assert run(*yolo([16]), "--overwrite") == (
        0, "doubtful: all are of the class 16; are they persons?")


@pytest.mark.parametrize("form", ["arrays", "coco", "mediapipe", "openpose", "yolo"])
def test_a_folder_that_is_linked_twice(run, refuse, form):
    if form == "openpose":
        store(form, walk())
    elif form == "yolo":
        yolo([0])
    elif form == "coco":
        write("in/one.json", results(walk()))
    else:
        Path("in").mkdir()
        poses = walk(33, low=0.1, high=0.9) if form == "mediapipe" else walk()
        np.save("in/one.npy", poses)
    Path("root").mkdir()
    Path("in").rename("store")
    options = (*SIZED, *(("--layout", "coco17") if form == "openpose" else ()))
    Path("root/a").symlink_to("../store")
    assert run(form, "root", *options)[0] == 0
    Path("out.h5").unlink()
    Path("root/b").symlink_to("../store")
    said = refuse(form, "root", *options)
    assert "are the same file, since one of them or its folder is a link" in said
    assert "root/a/" in said
    assert "root/b/" in said


def test_links_to_files(run, refuse):
    write("root/all/a.json", results(walk()))
    Path("root/up").mkdir()
    link = Path("root/up/a.json")
    link.symlink_to("../all/a.json")
    assert "root/all/a.json and root/up/a.json are the same file" in refuse("coco", "root", *SIZED)
    link.unlink()
    sums = Path("sums/SHA256-0123")  # where programs keep equal content once
    sums.parent.mkdir()
    Path("root/all/a.json").rename(sums)
    for name in ("root/all/a.json", "root/up/b.json", "root/up/a.json"):
        Path(name).symlink_to(sums.resolve())
    assert run("coco", "root", *SIZED)[0] == 0
    assert len(KeypointFile("out.h5")) == 3


def test_a_folder_without_inputs_may_be_linked_twice(run):
    Path("videos").mkdir()
    Path("videos/a.mp4").write_text("")
    for name in "ab":
        write(f"root/{name}/{name}.json", results(walk()))
        Path(f"root/{name}/videos").symlink_to("../../videos")
    assert run("coco", "root", *SIZED)[0] == 0
    assert json.dumps(KeypointFile("out.h5").ids) == '["a/a", "b/b"]'


def test_joints_at_0_0_of_a_pickle(run):
    """Also with a score they are missing, and it is reported."""
    poses = walk()
    poses[3, 5] = 0
    scores = np.full((1, *poses.shape[:2]), 0.5, np.float32)
    assert run("pyskl", dump("one.pkl", [poses[None]], keypoint_score=scores)) == (
        0, "joints at the same number in all axes, as 0, count as missing: 1")
    assert np.argwhere(KeypointFile("out.h5").frames(0)[1] == 0).tolist() == [[0, 3, 5]]
    scores[0, 3, 5] = 0
    name = dump("one.pkl", [poses[None]], keypoint_score=scores)
    assert run("pyskl", name, "--overwrite")[1].startswith("out.h5")


def test_a_mark_within_ten_frame_sizes_is_doubted(run):
    poses = walk()
    poses[::4, 5, 0] = 4999
    code, notes = run(*store("arrays", poses))
    assert code == 0
    assert notes.startswith("doubtful: x is 4999 in 3 of 204 joints; if it marks what is missing")


@pytest.mark.parametrize("form", ["arrays", "pyskl"])
def test_a_third_value_that_is_visibility(refuse, form):
    poses = np.concatenate([walk(), RANDOM.integers(0, 3, (12, 17, 1))], -1)
    form, *arguments = store(form, poses)
    assert "third values look like scores (0 to 2)" in refuse(
        form, *arguments, "--layout", "h36m17")


def test_scores_that_are_visibility_are_not_doubted(run):
    found = results(walk())
    for one in found:
        one["keypoints"][2::3] = [2] * 17
    assert run("coco", write("one.json", found), *SIZED)[1].startswith("out.h5")


def test_a_frame_of_one_pixel(refuse):
    name = dump("one.pkl", [walk()[None]], img_shape=(1, 1))
    assert "from the frame of height 1 and width 1; give its size in pixels" in refuse(
        "pyskl", name)


def test_persons_who_are_all_in_one_frame(refuse):
    said = refuse("coco", write("one.json", results(walk(), [7] * 12)), *SIZED)
    assert "it has 12 persons in frame 7 and no other frame; number the frames" in said


@pytest.mark.parametrize("form", ["annotations", "results"])
def test_videos_that_the_file_names(refuse, form):
    videos = [{"video_id": i // 6} for i in range(12)]
    found = [{**one, "image_id": i} for i, one in enumerate(results(walk()))]
    content = [{**one, **video} for one, video in zip(found, videos, strict=True)]
    if form == "annotations":
        content = {"annotations": found, "images": [
            {"id": i, "height": 480, "width": 640, **video} for i, video in enumerate(videos)]}
    assert "it has frames of 2 videos, by `video_id`: 0, 1" in refuse(
        "coco", write("one.json", content), *SIZED)


def columns(names):
    """A table of two poses in each line, or of poses and scores, under these names."""
    poses = np.concatenate([walk(), walk()], 1).reshape(12, -1)[:, : len(names)]
    Path("one.csv").write_text("\n".join([",".join(["frame", *names]), *(
        ",".join(map(str, [i, *line])) for i, line in enumerate(poses)), ""]))
    return "tables", "one.csv", *SIZED


def test_columns_that_are_there_twice(run, refuse):
    names = [f"{joint}_{axis}" for joint in COCO for axis in "xy"]
    assert "it has the column 'nose_x' twice" in refuse(*columns(names * 2))
    code, notes = run(*columns([*names, *(f"{name}.1" for name in names)]))  # as pandas does
    assert code == 0
    assert notes.startswith("doubtful: columns of each joint are left out: x.1, y.1; scores must")


def test_columns_of_each_joint_that_are_not_read(run):
    def names(third):
        return [f"{joint}_{axis}" for joint in COCO for axis in ("x", "y", third)]

    code, notes = run(*columns(names("accuracy")))
    assert code == 0
    assert notes.startswith("doubtful: columns of each joint are left out: accuracy; scores must")
    assert run(*columns(names("presence")), "--overwrite")[1].startswith("out.h5")


def test_classes_that_differ_only_in_case_are_reported(run):
    Path("labels.csv").write_text("clip,label\nc0,Jump\nc1,jump\nc2,walk\n")
    code, said = run("pyskl", dump("one.pkl", [walk()[None]] * 3), "--labels", "labels.csv")
    assert code == 0
    assert "classes that differ only in case 2: Jump, jump" in said


def test_actions_of_persons_are_not_classes_of_things(run):
    found = [{**one, "class": ("up", "down")[i % 2]} for i, one in enumerate(results(walk()))]
    assert run("coco", write("one.json", found), *SIZED)[1].startswith("out.h5")


def test_a_few_joints_at_the_edge_are_not_relative(run):
    poses = walk(frames=3)
    poses[:, 2:] = 0
    poses[..., :2, 1] = RANDOM.uniform(0, 3, (3, 2))
    assert run(*store("arrays", poses))[1].startswith("out.h5")


def standing(frames=12):
    """COCO keypoints ``(T, 17, 2)`` of a person who stands, in pixels."""
    pose = np.array([[0, 0], [-2, -2], [2, -2], [-4, 0], [4, 0], [-10, 12], [10, 12], [-14, 28],
                     [14, 28], [-16, 42], [16, 42], [-7, 45], [7, 45], [-7, 70], [7, 70], [-7, 95],
                     [7, 95]])
    return np.array([240, 150]) + pose + RANDOM.normal(0, 0.5, (frames, 17, 2))


def metres(poses, axes):
    """Keypoints ``(1, T, 17, 3)`` with x, height and depth on the given axes."""
    height = 3 - poses[..., 1] / 60
    values = np.stack([poses[..., 0] / 60, height, np.full(height.shape, 2.5)], -1)
    return np.stack([values[..., axis] * sign for axis, sign in axes], -1)[None]


def report(run, capsys, file, *more):
    """The summary of an array, which ``check`` has to repeat where it doubts something."""
    code, said = run("arrays", file, *more)
    assert code == 0
    capsys.readouterr()
    main(["check", "out.h5"])
    checked = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert ("doubtful" in said) == ("doubtful" in checked)
    return said


@pytest.mark.parametrize(("change", "message"), [
    (lambda poses: poses[..., ::-1], "persons lie in 100% of the frames; are x and y exchanged"),
    (lambda poses: (640, 480) - poses, "persons are upside down in 100% of the frames; does y")])
def test_persons_who_do_not_stand_are_reported(run, capsys, change, message):
    assert message in report(run, capsys, arrays(change(standing())), *SIZED)


def test_persons_who_stand_lie_down_or_are_cut_off_are_not_reported(run, capsys):
    poses = standing(20)
    poses[:15] = poses[:15, :, ::-1]  # e.g. push-ups in 15 of 20 frames
    poses[15:, 13:] = 0  # the legs are not seen
    assert "doubtful" not in report(run, capsys, arrays(poses), *SIZED)


@pytest.mark.parametrize(("axes", "up"), [
    ([(0, 1), (1, 1), (2, 1)], None), ([(0, 1), (1, -1), (2, 1)], "-y"),
    ([(0, 1), (2, 1), (1, 1)], "z"), ([(1, 1), (0, 1), (2, 1)], "x")])
def test_the_axis_that_points_up_is_reported_in_3d(run, capsys, axes, up):
    np.save("one.npy", metres(standing(), axes))
    said = report(run, capsys, "one.npy", "--layout", "coco17")
    assert ("doubtful" in said) == (up is not None)
    assert up is None or f"posture {up} points up in 100% of the frames, but cameras" in said
