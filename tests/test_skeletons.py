import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptl_skel.errors import UserError
from ptl_skel.skeletons import LAYOUTS, SkeletonLayout, get_layout, map_joints

# Joints of each layout as its data set or estimator documents them.
JOINTS = {"ntu25": 25, "coco17": 17, "openpose18": 18, "body25": 25, "penn13": 13, "sbu15": 15,
          "jhmdb15": 15, "blazepose33": 33, "halpe26": 26, "halpe136": 136,
          "coco_wholebody133": 133,
          "coco_hands59": 59, "hand21": 21, "h36m17": 17, "kinect20": 20, "msr20": 20, "smpl24": 24,
          "holistic75": 75}
OWN = """
name: stick
joints: [head, left_hand, right_hand]
limbs: [[head, left_hand], [head, right_hand]]
pairs: [[left_hand, right_hand]]
"""


def declare(**changes):
    return {"name": "stick", "joints": ["head", "left_hand", "right_hand"],
            "limbs": [["head", "left_hand"], [0, 2]], "pairs": [["left_hand", "right_hand"]],
            **changes}


def test_the_built_in_layouts_have_the_joints_of_their_sources():
    assert {name: layout.num_joints for name, layout in LAYOUTS.items()} == JOINTS


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
class TestEveryBuiltInLayout:
    def test_limbs_link_all_joints(self, layout):
        linked = [{joint} for joint in range(layout.num_joints)]
        for a, b in layout.limbs:
            one = next(part for part in linked if a in part)
            other = next(part for part in linked if b in part)
            if one is not other:
                linked.remove(other)
                one |= other
        # BlazePose draws face, mouth and body without links between them.
        assert len(linked) == (3 if layout.name in {"blazepose33", "holistic75"} else 1)

    def test_every_joint_with_a_side_has_its_counterpart(self, layout):
        for joint, name in enumerate(layout.joints):
            counterpart = layout.joints[layout.mirrored_joints[joint]]
            if name.startswith("face_"):  # numbered around the face
                assert counterpart.startswith("face_")
                continue
            swap = {"left": "right", "right": "left"}
            side = layout.sides[joint]
            assert (side in name) if side in swap else not any(word in name for word in swap)
            assert counterpart == (name.replace(side, swap[side]) if side in swap else name)

    def test_mirroring_twice_changes_nothing(self, layout):
        mirrored = layout.mirrored_joints
        assert [mirrored[mirrored[joint]] for joint in range(layout.num_joints)] == list(
            range(layout.num_joints))

    def test_the_mirror_image_has_the_same_limbs(self, layout):
        mirrored = layout.mirrored_joints
        limbs = {frozenset(limb) for limb in layout.limbs}
        assert {frozenset(mirrored[joint] for joint in limb) for limb in limbs} == limbs

    def test_json_round_trip(self, layout):
        assert SkeletonLayout.from_json(layout.to_json()) == layout


def test_the_face_is_flipped_as_its_points_are_numbered():
    layout = get_layout("coco_wholebody133")
    flipped = {layout.joints[joint]: layout.joints[other]
               for joint, other in enumerate(layout.mirrored_joints)}
    for joint, other in ((0, 16), (8, 8), (19, 24), (30, 30), (36, 45), (41, 46), (48, 54),
                         (57, 57), (60, 64), (65, 67)):
        assert flipped[f"face_{joint}"] == f"face_{other}"
    assert layout.sides[layout.joints.index("face_0")] == "right"  # of the person


def test_a_layout_of_hands_has_the_joints_of_the_whole_body_in_the_same_order():
    body, hands = (get_layout(name).joints for name in ("coco_wholebody133", "coco_hands59"))
    assert [joint for joint in body if joint in hands] == [*hands]


def test_coco_left_elbow_is_mirrored_to_the_right_one():
    layout = get_layout("coco17")
    assert (layout.joints[7], layout.mirrored_joints[7], layout.sides[7]) == ("left_elbow", 8,
                                                                              "left")
    assert layout.mirrored_joints[0] == 0  # nose


def test_own_layout_from_yaml(tmp_path: Path):
    path = tmp_path / "stick.yaml"
    path.write_text(OWN)
    assert get_layout(path) == get_layout(str(path)) == SkeletonLayout(
        "stick", ("head", "left_hand", "right_hand"), ((0, 1), (0, 2)), ((1, 2),))


@pytest.mark.parametrize(("changes", "message"), [
    ({"joints": [], "limbs": [], "pairs": None}, "at least one joint"),
    ({"limbs": 5}, "list of pairs"),
    ({"joints": "head"}, "list of names"),
    ({"joints": ["head", "head", "left_hand", "right_hand"]}, "names head more than once"),
    ({"limbs": [["head", "tail"]]}, "'tail', which is not one of"),
    ({"limbs": [[0, 3]]}, "joints are 0 to 2"),
    ({"limbs": [[0, -1]]}, "joints are 0 to 2"),
    ({"limbs": [[0, True]]}, "names or indices"),
    ({"limbs": [["head"]]}, "list of pairs"),
    ({"limbs": ["ab"]}, "list of pairs"),
    ({"limbs": [[0, 0]]}, "two different joints"),
    ({"limbs": [[0, 1], [1, 0]]}, "same limb twice"),
    ({"pairs": [[0, 1], [1, 2]]}, "in two pairs"),
    ({"colours": []}, "a layout has the keys"),
])
def test_an_inconsistent_declaration_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        SkeletonLayout.from_mapping(declare(**changes))


@pytest.mark.parametrize("text", ["[1, 2]", "name: x", "", "{unclosed: [", "joints: 5"])
def test_a_yaml_file_that_is_no_layout_is_refused_by_its_name(tmp_path: Path, text):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"own\.yaml"):
        get_layout(path)


def test_a_layout_that_does_not_exist_is_refused_with_the_known_ones(tmp_path: Path):
    with pytest.raises(ValueError, match=r"coco17.*got 'coco18'"):
        get_layout("coco18")
    with pytest.raises(FileNotFoundError, match=r"missing\.yaml"):
        get_layout(tmp_path / "missing.yaml")


@given(st.recursive(st.none() | st.integers() | st.text(max_size=3),
                    lambda inner: st.lists(inner, max_size=3)), st.sampled_from(
                        ["name", "joints", "limbs", "pairs"]))
def test_any_declaration_gives_a_layout_or_a_value_error(value, key):
    try:
        layout = SkeletonLayout.from_mapping(declare(**{key: value}))
    except ValueError:
        return
    assert json.loads(layout.to_json())["joints"] == list(layout.joints)


class TestTree:
    def test_coco_by_hand(self):
        assert LAYOUTS["coco17"].tree == (
            (1, 0), (2, 0), (3, 1), (4, 2), (5, 0), (6, 0), (7, 5), (8, 6), (9, 7), (10, 8),
            (11, 5), (12, 6), (13, 11), (14, 12), (15, 13), (16, 14))

    @pytest.mark.parametrize("name", LAYOUTS)
    def test_every_joint_has_its_way_to_the_first(self, name):
        layout = LAYOUTS[name]
        parents = dict(layout.tree)
        assert sorted(parents) == list(range(1, layout.num_joints))
        for joint in parents:
            steps = 0
            while joint != 0:
                joint, steps = parents[joint], steps + 1
                assert steps < layout.num_joints

    def test_what_no_limb_joins_hangs_on_the_first(self):
        layout = SkeletonLayout("loose", ("a", "b", "c", "d"), ((3, 2),), ())
        assert layout.tree == ((1, 0), (2, 0), (3, 2))


def test_joints_of_one_layout_become_those_of_another():
    coco, penn = LAYOUTS["coco17"], LAYOUTS["penn13"]
    assert map_joints(coco, penn) == (0, *range(5, 17))
    assert map_joints(LAYOUTS["coco_wholebody133"], coco) == tuple(range(17))
    for layout in LAYOUTS.values():
        assert map_joints(layout, layout) == tuple(range(layout.num_joints))
    with pytest.raises(UserError, match="penn13 cannot become those of coco17, which has left_ear"):
        map_joints(penn, coco)
