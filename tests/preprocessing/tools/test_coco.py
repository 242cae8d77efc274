"""JSON of COCO's kind: results, annotations, AlphaPose, and MMPose's predictions."""

import json

import pytest

from preprocessing.tools.coco import CocoSource

SIZE = 480, 640


def flat(shift=0.0, score=0.5, joints=17):
    return [value for joint in range(joints) for value in (100.5 + shift + joint, 200.25, score)]


def source(path, content, **options):
    path.write_text(json.dumps(content))
    return CocoSource(path, **{"frame_size": SIZE, **options})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "jump.json"


def positions(clip):
    """x of the first joint, by person and frame; None where it is missing."""
    return [[x if score else None for x, score in zip(row, seen, strict=True)]
            for row, seen in zip(clip.keypoints[:, :, 0, 0].tolist(),
                                 clip.scores[:, :, 0].tolist(), strict=True)]


def test_results(path):
    found = [{"image_id": 1000 + 2 * frame, "category_id": 1, "score": 0.9,
              "keypoints": flat(frame + other)} for frame in (0, 1, 3) for other in (0, 300)]
    reader = source(path, found)
    clip, = reader.read("jump")
    assert reader.header.layout.name == "coco17"
    assert (clip.id, clip.frame_size, clip.scores.max()) == ("jump", SIZE, 0.5)
    assert sorted(positions(clip)) == [[100.5, 101.5, None, 103.5], [400.5, 401.5, None, 403.5]]


@pytest.mark.parametrize(("key", "images"), [
    ("file_name", ["x/img_00001.jpg", "x/img_00002.jpg", "x/img_00010.jpg"]),
    ("image_id", ["1.jpg", "2.jpg", "10.jpg"]),
    ("image_id", ["take2_1.jp2", "take2_2.jp2", "take2_10.jp2"]),
])
def test_frames_by_the_names_of_their_images(path, key, images):
    found = [{key: image, "keypoints": flat(i)} for i, image in enumerate(images)]
    clip, = source(path, found).read("jump")
    assert positions(clip) == [[100.5, 101.5, *[None] * 7, 102.5]]


def test_alphapose(path):
    """Scores beyond 1, a box, and idx as the number of the person."""
    found = [{"image_id": f"{frame}.jpg", "category_id": 1, "keypoints": flat(x, score=1.9),
              "score": 2.9, "box": [1, 2, 3, 4], "idx": number}
             for frame in range(3) for x, number in ((0, [2.0]), (300, 1))]
    clip, = source(path, found).read("jump")
    assert positions(clip) == [[400.5] * 3, [100.5] * 3]
    assert clip.scores.max() == 1


def annotations(**image):
    images = [{"id": 70 + i, "file_name": f"{i:06}.jpg", "height": 480, "width": 640, **image}
              for i in range(1, 5)]
    people = [{"id": i, "image_id": 70 + i, "category_id": 1, "keypoints": flat(i, score=2),
               "num_keypoints": 17, "bbox": [0, 0, 9, 9], "iscrowd": 0} for i in (1, 3)]
    return {"images": images, "annotations": people, "categories": [{"id": 1, "name": "person"}]}


def test_annotations(path):
    content = annotations()
    content["annotations"][0]["keypoints"][2:9:3] = [0, 1, 2]  # unknown, hidden, visible
    clip, = source(path, content, frame_size=None).read("jump")
    assert clip.frame_size == SIZE
    assert clip.scores[0, :, :3].tolist() == [[0, 1, 1], [0] * 3, [1] * 3]


def test_the_size_is_that_of_the_annotations_or_asked_for(path):
    content = annotations()
    for image in content["images"]:
        del image["height"]
    with pytest.raises(ValueError, match="--frame_size HEIGHT WIDTH"):
        source(path, content, frame_size=None)
    assert source(path, content).read("jump")[0].frame_size == SIZE


def test_persons_without_keypoints_are_ignored(path):
    content = annotations()
    content["annotations"].append({"image_id": 72, "bbox": [0, 0, 9, 9]})
    content["annotations"].append({"image_id": 72, "keypoints": [0] * 51, "num_keypoints": 0})
    clip, = source(path, content).read("jump")
    assert positions(clip) == [[101.5, None, 103.5]]


def mmpose(*frames):
    """What MMPose's demo saves; x of each person in each frame."""
    return {"meta_info": {"dataset_name": "coco", "num_keypoints": 17}, "instance_info": [
        {"frame_id": number, "instances": [
            {"keypoints": [[x + joint, 200.25] for joint in range(17)],
             "keypoint_scores": [0.5] * 17, "bbox": [[1, 2, 3, 4]], "bbox_score": 0.75}
            for x in people]} for number, people in enumerate(frames, 1)]}


@pytest.mark.parametrize("part", [None, "instance_info"])  # the demo, the inferencer
def test_mmpose(path, part):
    content = mmpose([], [10.0, 400.0], [], [401.0, 11.0])
    clip, = source(path, content[part] if part else content).read("jump")
    assert sorted(positions(clip)) == [[10, None, 11], [400, None, 401]]
    assert clip.scores.max() == 0.5


def test_persons_with_track_ids(path):
    content = mmpose([10.0, 400.0], [400.0, 10.0])
    for frame in content["instance_info"]:
        for number, person in enumerate(frame["instances"]):
            person["track_id"] = number
    assert positions(source(path, content).read("jump")[0]) == [[10, 400], [400, 10]]


def test_a_file_per_clip(tmp_path):
    for name in ("b", "a", "more/c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.json").write_text(json.dumps(mmpose([10.0])))
    (tmp_path / "notes.txt").write_text("")
    reader = CocoSource(tmp_path, frame_size=SIZE)
    assert reader.keys() == ["a", "b", "more/c"]
    assert reader.read("more/c")[0].id == "more/c"


def test_numbered_clips_are_not_frames(tmp_path):
    """Even if the first of them shows nobody."""
    (tmp_path / "clip_1.json").write_text("[]")
    for number in (2, 3):
        (tmp_path / f"clip_{number}.json").write_text(json.dumps(
            [{"image_id": frame, "keypoints": flat(frame)} for frame in range(3)]))
    assert CocoSource(tmp_path, frame_size=SIZE).keys() == ["clip_1", "clip_2", "clip_3"]


def test_a_file_per_frame(tmp_path):
    """Frames that show nobody keep their place."""
    for frame in range(5):
        people = [{"image_id": f"{frame}.jpg", "keypoints": flat(frame)}] * (frame not in {0, 2})
        (tmp_path / f"jump_{frame}.json").write_text(json.dumps(people))
    (tmp_path / "walk.json").write_text(json.dumps(mmpose([10.0], [11.0])))
    reader = CocoSource(tmp_path, frame_size=SIZE)
    assert reader.keys() == ["walk", "jump"]
    assert positions(reader.read("jump")[0]) == [[101.5, None, 103.5, 104.5]]


def flawed(**changes):
    return [{"image_id": 1, "keypoints": flat(), **changes}]


def without(content, part, key):
    for entry in content[part]:
        del entry[key]
    return content


@pytest.mark.parametrize(("content", "message"), [
    (None, "a list of persons"),
    ([[1]], "a list of persons"),
    ({"bodies": []}, "a list of persons"),
    ([], "no person in any frame"),
    (flawed(image_id=None), "no number of a frame in frame_id or file_name or image_id"),
    (flawed(image_id="x.jpg"), "no number of a frame"),
    (flawed(image_id=True) + flawed(image_id="1.jpg"), "True and '1.jpg' have the same number"),
    (flawed() + flawed(image_id="1.jpg"), "1 and '1.jpg' have the same number"),
    (flawed(keypoints=None), "`keypoints`"),
    (flawed(keypoints=[1, 2]), "are not a list x, y, score"),
    (flawed(keypoints=[[1, 2, 3, 4]]), "`keypoints` are not a list"),
    (flawed(keypoints=[[1, 2], [3]]), "`keypoints` is not a list of numbers"),
    (flawed(keypoints={"x": 1}), "not lists of the same length"),
    (flawed(keypoints={"x": ["a"], "y": [1]}), "`x` of `keypoints` is not a list of numbers"),
    (flawed(keypoints=7), "are not a list of x, y and score"),
    (flawed(keypoints=[[1, 2, 3]] * 17, keypoint_scores=[1] * 17), "3 coordinates, not 17 with 2"),
    (flawed(keypoints=[[1, 2, 3, 4]] * 17, keypoint_scores=[1] * 17), "`keypoints` are not a list"),
    (flawed(keypoints=[[1, 2]] * 17, keypoint_scores=[1] * 16), "17 joints, but 16 scores"),
    (flawed(image_id=10**30), "absurdly large"),
    ([*flawed(), {"image_id": 2, "keypoints": flat(joints=18)}], "but in frame 2 one has 18"),
    ({"annotations": []}, "a list of `images`"),
    ({"annotations": 5, "images": []}, "a list of `annotations`"),
    ({"annotations": [{"image_id": 5, "keypoints": [1]}], "images": []}, "not in `images`"),
    (annotations(height="x"), "no common `height`"),
    (annotations(height=[480]), "no common `height`"),
    (annotations(file_name="a1.jpg"), "two of its `images` have the same number"),
    ({"instance_info": [{"frame_id": 1, "instances": 5}]}, "or of `instances`, in each frame"),
    (without(mmpose([1.0]), "instance_info", "frame_id"), "no number of a frame in frame_id"),
])
def test_flawed_files_are_refused(tmp_path, content, message):
    (tmp_path / "fine.json").write_text(json.dumps(mmpose([10.0])))
    (tmp_path / "jump.json").write_text(json.dumps(content))
    reader = CocoSource(tmp_path, frame_size=SIZE)
    with pytest.raises(ValueError, match=message):
        reader.read("jump")


def test_a_file_of_another_size_or_layout(tmp_path):
    sizes = {"a": (480, 640), "b": (0, 640), "c": (10**9, 640)}
    for name, (height, width) in sizes.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(annotations(height=height, width=width)))
    reader = CocoSource(tmp_path)
    for name in "bc":
        with pytest.raises(ValueError, match="the size of its frames is"):
            reader.read(name)
    (tmp_path / "d.json").write_text(json.dumps([{"image_id": 1, "keypoints": flat(joints=18)}]))
    with pytest.raises(ValueError, match="18 joints with 2 coordinates, not 17 with 2"):
        CocoSource(tmp_path).read("d")


def test_an_enormous_file_is_not_read(path, monkeypatch):
    monkeypatch.setattr("preprocessing.core.files.MAX_BYTES", 100)
    path.write_bytes(b"")
    with path.open("r+b") as file:
        file.truncate(300_000_000)  # holes: nothing is written
    with pytest.raises(ValueError, match="300,000,000 bytes, more than"):
        CocoSource(path)


def test_no_input(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none does not exist; give a \.json file"):
        CocoSource(tmp_path / "none")
    with pytest.raises(ValueError, match=r"holds no \.json file"):
        CocoSource(tmp_path)
