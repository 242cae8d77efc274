"""Inputs of the kinds in `test_cases`, in other formats and places, by the command line."""

from pathlib import Path

import numpy as np
import pytest
from pose_inputs import (
    H36M,
    RANDOM,
    SIZED,
    arrays,
    dump,
    mmpose,
    results,
    table,
    walk,
    write,
)

from ptl_skel.storage import KeypointFile


@pytest.mark.parametrize("mark", [-1, -999])
def test_joints_marked_by_a_negative_number_are_missing(run, mark):
    poses = walk()
    poses[:, 15:] = mark
    assert run("arrays", arrays(poses), *SIZED) == (
        0, f"joints at the same number in all axes, as {mark}, count as missing: 24")
    keypoints, scores = KeypointFile("out.h5").frames(0)
    assert keypoints.min() == 0
    assert (scores[0] > 0).all(0).tolist() == [True] * 15 + [False] * 2


def test_persons_and_frames_exchanged_in_a_short_clip_are_doubted(run):
    poses = np.repeat(walk(frames=8)[:, None], 2, 1)  # (T, M, V, 2)
    code, notes = run("pyskl", dump("one.pkl", [poses]))
    assert code == 0
    assert notes.startswith("doubtful: it has 8 persons in 2 frames")


@pytest.mark.parametrize("form", ["arrays", "coco", "tables", "pyskl"])
def test_thirteen_joints_need_a_layout(run, form):
    """They may be those of COCO without eyes and ears, or without legs."""
    poses = walk(13)
    arguments = {"arrays": lambda: (arrays(poses), *SIZED),
                 "tables": lambda: (table(poses), *SIZED),
                 "coco": lambda: (write("one.json", results(poses)), *SIZED),
                 "pyskl": lambda: (dump("one.pkl", [poses[None]]),)}[form]()
    code, said = run(form, *arguments)
    assert code == 2
    assert "has 13 joints, which is the number of no layout or of several" in said
    assert "name the layout with --layout, e.g. penn13" in said
    assert run(form, *arguments, "--layout", "penn13")[0] == 0


@pytest.mark.parametrize("form", ["per frame", "per frame, flat", "predictions", "unordered"])
def test_names_of_joints_in_other_forms_of_mmpose(run, form):
    poses = walk()
    frames = mmpose(poses)
    order = sorted(range(17), key=str) if form == "unordered" else range(17)
    meta = {"meta_info": {"keypoint_id2name": {str(i): H36M[i] for i in order}}}
    if form.startswith("per frame"):
        for i, frame in enumerate(frames):
            write(f"in/video/{i:04d}.json", {
                **meta, "instance_info": frame["instances"] if "flat" in form else [frame]})
    elif form == "predictions":
        write("in/one.json", {**meta, "predictions": [frame["instances"] for frame in frames]})
    else:
        write("in/one.json", {**meta, "instance_info": frames})
    assert run("coco", "in", *SIZED)[0] == 0
    file = KeypointFile("out.h5")
    assert file.header.layout.joints == H36M
    np.testing.assert_allclose(file.frames(0)[0][0], poses, rtol=1e-6)


def test_names_of_joints_in_the_second_category(run):
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": 480, "width": 640}
                   for i in range(12)],
        "annotations": [{**person, "image_id": i, "category_id": 2}
                        for i, person in enumerate(results(walk()))],
        "categories": [{"id": 1, "name": "ball"}, {"id": 2, "keypoints": list(H36M)}]}
    assert run("coco", write("one.json", content))[0] == 0
    assert KeypointFile("out.h5").header.layout.name == "h36m17"
    content["categories"][0]["keypoints"] = ["middle"]
    assert run("coco", write("one.json", content), "--overwrite")[0] == 0
    assert KeypointFile("out.h5").header.layout.name == "h36m17"
    for person in content["annotations"]:
        del person["category_id"]
    code, said = run("coco", write("one.json", content), "--overwrite")
    assert code == 2
    assert "its `categories` name different joints" in said


def test_a_layout_of_videopose3d_that_is_not_known(run):
    np.savez("one.npz", positions_2d=np.array({"S1": {"Walk": [walk()]}}, object),
             metadata=np.array({"layout_name": "mpi_inf_3dhp", "video_metadata": {
                 "S1": {"w": 640, "h": 480}}}, object))
    code, said = run("videopose3d", "one.npz")
    assert code == 2
    assert "'mpi_inf_3dhp' is not a built-in layout" in said
    assert run("videopose3d", "one.npz", "--layout", "coco17")[0] == 0


def test_names_of_joints_in_an_array_file(run):
    poses = walk()
    assert run("arrays", arrays(poses[:, ::-1], joint_names=np.array(H36M)[::-1]), *SIZED)[0] == 0
    file = KeypointFile("out.h5")
    assert file.header.layout.name == "h36m17"
    np.testing.assert_allclose(file.frames(0)[0][0], poses, rtol=1e-6)
    code, said = run("arrays", arrays(poses, joint_names=np.array(H36M[1:])), *SIZED)
    assert code == 2
    assert "`joint_names` must be 17 strings" in said


def test_a_file_per_frame_of_a_format_that_has_one_per_clip_is_reported(run):
    Path("clips").mkdir()
    for i, pose in enumerate(walk()):
        np.savez(f"clips/{i:04d}.npz", keypoints=pose[None])
    code, said = run("arrays", "clips", *SIZED)
    assert code == 0
    assert "clips of one frame 12; does each file hold a frame instead of a clip?" in said


@pytest.mark.parametrize("form", ["pyskl", "ctrgcn"])
def test_labels_that_count_from_1_as_numbers_of_numpy(run, form):
    Path("names.txt").write_text("drink\neat\nread\n")
    name = "NTU60_CS.npz"
    if form == "pyskl":
        name = dump("one.pkl", [walk()[None]] * 3, np.arange(1, 4))
    else:
        rows = RANDOM.normal(size=(3, 5, 150)).astype(np.float32)
        np.savez(name, x_train=rows, x_test=rows, y_train=[1, 2, 3], y_test=[1, 2, 3])
    code, said = run(form, name, "--classes", "names.txt")
    assert code == 2
    assert "seem to count from 1" in said


def test_labels_and_subjects_of_pandas(run):
    """A column of integers that lacks one is a column of floats."""
    Path("labels.csv").write_text("clip,label,subject\nc0,0.0,7.0\nc1,,\nc2,1.0,10.0\n")
    name = dump("one.pkl", [walk()[None]] * 3)
    assert run("pyskl", name, "--labels", "labels.csv")[0] == 0
    file = KeypointFile("out.h5")
    assert file.header.class_names == ("0", "1")
    assert file.label.tolist() == [0, -1, 1]
    assert file.subject.tolist() == [7, -1, 10]


def test_labels_in_a_folder(run):
    Path("labels").mkdir()
    code, said = run("pyskl", dump("one.pkl", [walk()[None]]), "--labels", "labels")
    assert code == 2
    assert "--labels labels is a folder; give a CSV file" in said


@pytest.mark.parametrize("form", ["labels", "line per joint", "line per frame"])
@pytest.mark.parametrize("recognised", [False, True])
def test_tables_of_semicolons_and_decimal_commas(run, form, recognised):
    poses = walk(frames=3).round(2)
    if form == "labels":
        Path("labels.csv").write_text("clip;label;split\nc0;up;train\nc1;down;test\n")
        assert run("pyskl", dump("one.pkl", [walk()[None]] * 2), "--labels", "labels.csv")[0] == 0
        assert KeypointFile("out.h5").label.tolist() == [1, 0]
        return
    comma = str.maketrans(".", ",")
    if form == "line per joint":
        lines = ["clip;frame;person;joint;x;y", *(
            f"a;{t};0;{joint};{x};{y}".translate(comma) for t, pose in enumerate(poses)
            for joint, (x, y) in enumerate(pose.tolist()))]
        source, options = "arrays", ("--layout", "coco17")
    else:
        lines = ["frame;" + ";".join(f"x{i};y{i}" for i in range(17)), *(
            f"{t};" + ";".join(map(str, pose.ravel().tolist())).translate(comma)
            for t, pose in enumerate(poses))]
        source, options = "tables", ()
    Path("one.csv").write_text("\n".join([*lines, ""]))
    assert run("keypoints" if recognised else source, "one.csv", *options, *SIZED)[0] == 0
    np.testing.assert_allclose(KeypointFile("out.h5").frames(0)[0][0], poses, rtol=1e-6)


def test_percent_are_doubted(run):
    assert run("coco", write("one.json", results(walk(low=5, high=90))), *SIZED) == (
        0, "doubtful: all joints lie in 0 to 100; are they percent of the frame?")


@pytest.mark.parametrize("form", ["arrays", "coco"])
def test_pixels_with_a_relative_depth(run, form):
    poses = np.concatenate([walk(), RANDOM.normal(0, 0.2, (12, 17, 1))], -1)
    name = arrays(poses) if form == "arrays" else write("one.json", mmpose(poses))
    code, said = run(form, name, "--layout", "h36m17", *SIZED)
    assert code == 2
    assert "x and y are in pixels, but its third values are not" in said


@pytest.mark.parametrize(("images", "message"), [
    ("vid{video}_{frame:04d}.jpg", "look like frames of several videos"),
    ("{video}/{frame:04d}.jpg", "its images lie in 2 folders, such as 0 and 1"),
    ("{name}_{frame:04d}.jpg", "have the same number")])
def test_several_videos_in_a_file_of_results(run, images, message):
    names = [images.format(video=video, name="ab"[video], frame=frame)
             for video in range(2) for frame in range(6)]
    code, said = run("coco", write("one.json", results(walk(), names)), *SIZED)
    assert code == 2
    assert message in said


def test_seconds_and_parts_of_them_are_one_clip(run):
    names = [f"12_00_{i // 10:02d}.{i % 10 * 99:03d}.jpg" for i in range(24)]
    poses = walk(frames=24)
    assert run("coco", write("one.json", results(poses, names)), *SIZED)[0] == 0
    np.testing.assert_allclose(KeypointFile("out.h5").frames(0)[0][0], poses, rtol=1e-6)


@pytest.mark.parametrize("flaw", ["short", "no name"])
def test_a_line_that_belongs_to_no_clip(run, flaw):
    """It may be the first of the clip after it, which would then lack a joint."""
    lines = [f"{clip},{frame},0,{joint},{100 + joint},200" for clip in "ab" for frame in range(3)
             for joint in range(17)]
    head, options = "clip,frame,person,joint,x,y", ("--layout", "coco17")
    if flaw == "short":
        lines[51] = lines[51].removesuffix(",200")
        lines += [line.replace("b", "c", 1) for line in lines[52:]]
    else:
        head, options = "clip," + ",".join(f"x{i},y{i}" for i in range(17)), ()
        lines = [f"{clip}," + ",".join(f"{100 + i},200" for i in range(17))
                 for clip in ("a", "a", "", "b")]
    Path("one.csv").write_text("\n".join([head, *lines, ""]))
    code, said = run("arrays" if flaw == "short" else "tables", "one.csv", *options, *SIZED)
    if flaw == "short":
        assert code == 0
        assert KeypointFile("out.h5").ids == ["c"]
        assert "the line before its first one is damaged" in said
    else:
        assert code == 2
        assert "some of its lines name no clip" in said
