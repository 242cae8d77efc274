import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ptl_skel.data.transforms import compact_box, crop_resize
from ptl_skel.representations import Coordinates, JointHeatmaps, LimbHeatmaps, limbs
from ptl_skel.representations.limbs import _columns
from ptl_skel.skeletons import LAYOUTS, SkeletonLayout

COCO = LAYOUTS["coco17"]
STICK = SkeletonLayout("stick", ("head", "left_hand", "right_hand"), ((0, 1), (0, 2)), ((1, 2),))
SIDES = SkeletonLayout("sides", ("head", "left_hand", "right_hand"), ((0, 1), (0, 2), (1, 2)),
                       ((1, 2),))
GOLDEN_LIMBS = ((0, 1), (0, 2), (1, 3), (2, 4), (0, 5), (5, 7), (7, 9), (0, 6), (6, 8), (8, 10),
                (5, 11), (11, 13), (13, 15), (6, 12), (12, 14), (14, 16), (11, 12))
TOLERANCE = 1e-5  # of the golden cases


def golden(shared, pattern):
    cases = sorted((shared / "golden").glob(pattern))
    assert cases
    return [np.load(case) for case in cases]


def batch_of_one(array):
    return torch.from_numpy(array)[None]


def assert_same(volume, expected, tolerance=TOLERANCE):
    assert volume.shape == expected.shape
    assert not np.isnan(volume).any()
    np.testing.assert_allclose(volume, expected, rtol=0, atol=tolerance)


def draw_slowly(keypoints, scores, size, sigma):
    """The heatmaps ``(V, T, H, W)`` of one clip, pixel by pixel, as PYSKL defines them.

    A pixel counts in a window from trunc(m - 3s) up to and with trunc(m + 3s) on each axis; persons
    are joined by their maximum; joints of a score below 0.001 are not drawn.
    """
    persons, frames, joints = scores.shape
    volume = np.zeros((joints, frames, *size))
    for person, frame, joint in np.ndindex(persons, frames, joints):
        score = float(scores[person, frame, joint])
        x, y = (float(value) for value in keypoints[person, frame, joint])
        if score < 1e-3 or not (math.isfinite(x) and math.isfinite(y)):
            continue
        reach = 3 * sigma
        for row in range(size[0]):
            for column in range(size[1]):
                if not math.trunc(x - reach) <= column <= math.trunc(x + reach):
                    continue
                if not math.trunc(y - reach) <= row <= math.trunc(y + reach):
                    continue
                value = score * math.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * sigma**2))
                volume[joint, frame, row, column] = max(volume[joint, frame, row, column], value)
    return volume


@st.composite
def scenes(draw):
    """Keypoints and scores of one clip, a size and a sigma."""
    size = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    # On a grid: at the cut of the window float32 and the float64 of the oracle may part company.
    sigma = draw(st.integers(1, 40)) / 16
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 2)))
    near, far = st.integers(-6 * 16, 18 * 16), st.integers(-10**9, 10**9)
    coordinate = (near | near | near | far).map(lambda value: value / 16)
    broken = st.sampled_from([math.nan, math.inf, -math.inf, 1e38, -1e38])
    number = shape[0] * shape[1] * 3
    points = draw(st.lists(st.tuples(coordinate | broken, coordinate), min_size=number,
                           max_size=number))
    score = st.sampled_from([0.0, 5e-4, 1e-3, 0.25, 1.0]) | st.floats(0, 1, width=32)
    scores = draw(st.lists(score, min_size=number, max_size=number))
    return (np.array(points, np.float32).reshape(*shape, 3, 2),
            np.array(scores, np.float32).reshape(*shape, 3), size, sigma)


class TestGolden:
    def test_golden_heatmaps_of_the_reference(self, shared):
        for case in golden(shared, "heatmap_joint_*.npz"):
            render = JointHeatmaps(COCO, float(case["sigma"]))
            volume = render(batch_of_one(case["keypoints"]), batch_of_one(case["scores"]),
                            tuple(case["size"].tolist()))
            assert_same(volume[0].transpose(0, 1).numpy(), case["heatmaps"])

    def test_golden_heatmaps_of_the_reference_in_one_batch(self, shared):
        cases = golden(shared, "heatmap_joint_[01].npz")  # one person and two
        keypoints = torch.zeros(2, 2, 6, 17, 2)
        scores = torch.zeros(2, 2, 6, 17)
        for i, case in enumerate(cases):
            persons = len(case["scores"])
            keypoints[i, :persons] = torch.from_numpy(case["keypoints"])
            scores[i, :persons] = torch.from_numpy(case["scores"])
        volume = JointHeatmaps(COCO)(keypoints, scores, (56, 56))
        for i, case in enumerate(cases):
            assert_same(volume[i].transpose(0, 1).numpy(), case["heatmaps"])

    def test_golden_pipeline_from_pixels_to_both_views(self, shared):
        for case in golden(shared, "pipeline_*.npz"):
            keypoints, scores = batch_of_one(case["keypoints"]), batch_of_one(case["scores"])
            box = compact_box(keypoints, scores, batch_of_one(case["frame_size"]))
            extent = (box[:, 2:] - box[:, :2]).int()
            assert extent.flip(1).tolist() == [case["compact_size"].tolist()]
            visible = case["scores"] > 0
            in_box = (keypoints - box[:, None, None, None, :2])[0].numpy()
            np.testing.assert_allclose(in_box[visible], case["compact_keypoints"][visible],
                                       atol=1e-3, rtol=0)  # px of 1920: float32
            resized = crop_resize(keypoints, box, (64, 64))
            np.testing.assert_allclose(resized[0].numpy()[visible],
                                       case["resized_keypoints"][visible], atol=1e-4, rtol=0)
            render = JointHeatmaps(COCO)
            volume = render(resized, scores, (64, 64))
            views = torch.cat([volume, render.flip(volume)], 2)
            assert_same(views[0].transpose(0, 1).numpy(), case["heatmaps_original_then_flipped"])


class TestAgainstTheDefinition:
    @settings(max_examples=150, deadline=None)
    @given(scenes())
    def test_any_clip_at_any_size_and_sigma(self, scene):
        keypoints, scores, size, sigma = scene
        volume = JointHeatmaps(STICK, sigma)(batch_of_one(keypoints), batch_of_one(scores), size)
        assert_same(volume[0].numpy(), draw_slowly(keypoints, scores, size, sigma), 2e-6)

    @settings(max_examples=20, deadline=None)
    @given(st.integers(1, 4), st.integers(0, 2**31))
    def test_clips_of_a_batch_do_not_touch_each_other(self, clips, seed):
        random = np.random.default_rng(seed)
        keypoints = random.uniform(-5, 15, (clips, 2, 3, 3, 2)).astype(np.float32)
        scores = random.uniform(0, 1, (clips, 2, 3, 3)).astype(np.float32)
        render = JointHeatmaps(STICK)
        volume = render(torch.from_numpy(keypoints), torch.from_numpy(scores), (7, 9))
        for i in range(clips):
            alone = render(batch_of_one(keypoints[i]), batch_of_one(scores[i]), (7, 9))
            assert torch.equal(volume[i], alone[0])

    def test_a_joint_by_hand(self):
        keypoints = torch.full((1, 1, 1, 3, 2), -100.0)
        keypoints[0, 0, 0, 0] = torch.tensor([5.0, 4.5])
        scores = torch.full((1, 1, 1, 3), 0.5)
        image = JointHeatmaps(STICK)(keypoints, scores, (10, 12))[0, 0, 0]
        # Three sigma are 1.8 px: columns trunc(3.2) to trunc(6.8), rows trunc(2.7) to trunc(6.3).
        drawn = {tuple(pixel) for pixel in image.nonzero().tolist()}
        assert drawn == {(row, column) for row in range(2, 7) for column in range(3, 7)}
        assert float(image[4, 5]) == pytest.approx(0.5 * math.exp(-0.25 / 0.72))
        assert float(image[6, 3]) == pytest.approx(0.5 * math.exp(-(2.25 + 4) / 0.72))


class TestHardInput:
    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("where", ["x", "y", "score"])
    def test_what_is_not_finite_is_not_drawn(self, value, where):
        keypoints, scores = torch.full((1, 1, 2, 3, 2), 4.0), torch.ones(1, 1, 2, 3)
        if where == "score":
            scores[0, 0, 0, 1] = value
        else:
            keypoints[0, 0, 0, 1, "xy".index(where)] = value
        volume = JointHeatmaps(STICK)(keypoints, scores, (8, 8))
        assert volume.isfinite().all()
        assert volume[0, 1, 0].max() == 0
        assert (volume[0, [0, 2]].amax((2, 3)) == 1).all()
        assert volume[0, 1, 1].max() == 1

    def test_three_hundred_persons(self):
        random = np.random.default_rng(0)
        keypoints = random.uniform(-3, 19, (300, 1, 3, 2)).astype(np.float32)
        scores = random.uniform(0, 1, (300, 1, 3)).astype(np.float32)
        volume = JointHeatmaps(STICK)(batch_of_one(keypoints), batch_of_one(scores), (16, 16))
        assert_same(volume[0].numpy(), draw_slowly(keypoints, scores, (16, 16), 0.6), 2e-6)

    def test_one_pixel(self):
        keypoints = torch.tensor([[0.0, 0], [1, 1], [9, 9]]).view(1, 1, 1, 3, 2)
        volume = JointHeatmaps(STICK)(keypoints, torch.ones(1, 1, 1, 3), (1, 1))
        assert volume.flatten().tolist() == pytest.approx([1, math.exp(-1 / 0.36), 0])

    @pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan, math.inf])
    def test_sigma_must_be_positive(self, sigma):
        with pytest.raises(ValueError, match="`sigma` must be positive"):
            JointHeatmaps(STICK, sigma)


class TestVolume:
    def test_memory_is_channels_last_and_of_single_precision(self):
        volume = JointHeatmaps(COCO)(torch.rand(2, 1, 4, 17, 2) * 9, torch.rand(2, 1, 4, 17),
                                     (10, 12))
        assert volume.shape == (2, 17, 4, 10, 12)
        assert volume.is_contiguous(memory_format=torch.channels_last_3d)
        assert volume.dtype == torch.float32
        assert JointHeatmaps(COCO).num_channels == 17

    def test_it_is_made_on_the_device_of_the_keypoints(self):
        # The meta device refuses to meet tensors of any other device.
        keypoints, scores = (torch.zeros(2, 3, 4, 17, *last, device="meta") for last in ((2,), ()))
        volume = JointHeatmaps(COCO)(keypoints, scores, (56, 48))
        assert volume.device.type == "meta"
        assert volume.shape == (2, 17, 4, 56, 48)
        assert JointHeatmaps(COCO).flip(volume).shape == volume.shape

    @given(st.integers(0, 2**31), st.integers(2, 9))
    def test_the_mirror_image_is_that_of_mirrored_joints(self, seed, width):
        # Where the window is symmetric, mirroring the array is mirroring x to W - 1 - x.
        random = np.random.default_rng(seed)
        keypoints = random.integers(0, width, (1, 1, 2, 3, 2)).astype(np.float32)
        scores = random.uniform(0.1, 1, (1, 1, 2, 3)).astype(np.float32)
        render = JointHeatmaps(STICK, 1 / 3)
        size = (width, width)
        volume = render(torch.from_numpy(keypoints), torch.from_numpy(scores), size)
        swapped = keypoints[..., [0, 2, 1], :].copy()
        swapped[..., 0] = width - 1 - swapped[..., 0]
        expected = render(torch.from_numpy(swapped), torch.from_numpy(scores[..., [0, 2, 1]]),
                          size)
        torch.testing.assert_close(render.flip(volume), expected)
        assert torch.equal(render.flip(render.flip(volume)), volume)


def draw_limbs_slowly(keypoints, scores, limbs, size, sigma):
    """The limb heatmaps ``(L, T, H, W)`` of one clip, pixel by pixel, as PYSKL defines them."""
    persons, frames, _ = scores.shape
    volume = np.zeros((len(limbs), frames, *size))
    for person, frame, limb in np.ndindex(persons, frames, len(limbs)):
        start, end = limbs[limb]
        (ax, ay), (bx, by) = (keypoints[person, frame, joint].tolist() for joint in (start, end))
        first, second = (float(scores[person, frame, joint]) for joint in (start, end))
        if not all(math.isfinite(value) for value in (ax, ay, bx, by, first, second)):
            continue
        if min(first, second) < 1e-3:
            continue
        strength = min(first, second)
        if (bx - ax) ** 2 + (by - ay) ** 2 < 1:
            bx, by, strength = ax, ay, first
        reach = 3 * sigma
        for row in range(size[0]):
            for column in range(size[1]):
                if not math.trunc(min(ax, bx) - reach) <= column <= math.trunc(max(ax, bx) + reach):
                    continue
                if not math.trunc(min(ay, by) - reach) <= row <= math.trunc(max(ay, by) + reach):
                    continue
                # The nearest point of the segment, by its angles at both ends.
                to_a = math.hypot(column - ax, row - ay)
                to_b = math.hypot(column - bx, row - by)
                long = math.hypot(bx - ax, by - ay)
                if (column - ax) * (bx - ax) + (row - ay) * (by - ay) <= 0:
                    near = to_a
                elif (column - bx) * (ax - bx) + (row - by) * (ay - by) <= 0:
                    near = to_b
                else:
                    near = abs((bx - ax) * (row - ay) - (by - ay) * (column - ax)) / long
                value = strength * math.exp(-(near**2) / (2 * sigma**2))
                volume[limb, frame, row, column] = max(volume[limb, frame, row, column], value)
    return volume


class TestLimbs:
    def test_golden_heatmaps_of_the_reference(self, shared):
        for case in golden(shared, "heatmap_limb_*.npz"):
            render = LimbHeatmaps(COCO, float(case["sigma"]), GOLDEN_LIMBS)
            volume = render(batch_of_one(case["keypoints"]), batch_of_one(case["scores"]),
                            tuple(case["size"].tolist()))
            assert_same(volume[0].transpose(0, 1).numpy(), case["heatmaps"])

    @settings(max_examples=50, deadline=None)
    @given(scenes())
    def test_any_clip_at_any_size_and_sigma(self, scene):
        keypoints, scores, size, sigma = scene
        # A limb that starts out of all bounds crosses the image where single precision says.
        keypoints = np.where(np.abs(keypoints) < 1e38, np.clip(keypoints, -40, 60), keypoints)
        keypoints[np.abs(keypoints) == np.float32(1e38)] = np.nan
        volume = LimbHeatmaps(SIDES, sigma)(batch_of_one(keypoints), batch_of_one(scores), size)
        expected = draw_limbs_slowly(keypoints, scores, SIDES.limbs, size, sigma)
        assert_same(volume[0].numpy(), expected, TOLERANCE)

    @settings(max_examples=50, deadline=None)
    @given(scenes())
    def test_all_columns_look_like_those_that_are_needed(self, scene):
        *clip, size, sigma = scene
        clip = [batch_of_one(array) for array in clip]
        expected = LimbHeatmaps(SIDES, sigma)(*clip, size)
        with pytest.MonkeyPatch.context() as patch:  # what runs on a GPU
            patch.setattr(limbs, "_columns",
                          lambda number, most, exactly: _columns(number, most, exactly=False))
            assert torch.equal(LimbHeatmaps(SIDES, sigma)(*clip, size), expected)

    @settings(max_examples=60, deadline=None)
    @given(scenes())
    def test_whatever_comes_it_stays_in_0_to_1(self, scene):
        keypoints, scores, size, sigma = scene
        volume = LimbHeatmaps(SIDES, sigma)(batch_of_one(keypoints), batch_of_one(scores), size)
        assert volume.isfinite().all()
        assert volume.min() >= 0
        assert volume.max() <= 1

    def test_clips_of_a_batch_do_not_touch_each_other(self):
        random = np.random.default_rng(0)
        keypoints = torch.from_numpy(random.uniform(-5, 15, (3, 2, 4, 3, 2)).astype(np.float32))
        scores = torch.from_numpy(random.uniform(0, 1, (3, 2, 4, 3)).astype(np.float32))
        render = LimbHeatmaps(SIDES)
        volume = render(keypoints, scores, (7, 9))
        assert volume.is_contiguous(memory_format=torch.channels_last_3d)
        assert volume.dtype == torch.float32
        for i in range(3):
            alone = render(keypoints[i : i + 1], scores[i : i + 1], (7, 9))
            assert torch.equal(volume[i], alone[0])

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("where", ["x", "y", "score"])
    def test_limbs_of_a_joint_that_is_not_finite_are_not_drawn(self, value, where):
        keypoints, scores = torch.full((1, 1, 2, 3, 2), 4.0), torch.ones(1, 1, 2, 3)
        if where == "score":
            scores[0, 0, 0, 1] = value
        else:
            keypoints[0, 0, 0, 1, "xy".index(where)] = value
        volume = LimbHeatmaps(SIDES)(keypoints, scores, (8, 8))
        assert volume.isfinite().all()
        assert volume[0, :, 0].amax((1, 2)).tolist() == [0, 1, 0]
        assert volume[0, :, 1].amax((1, 2)).tolist() == [1, 1, 1]

    def test_the_mirror_image_is_that_of_mirrored_joints(self):
        random = np.random.default_rng(0)
        keypoints = torch.from_numpy(random.integers(0, 9, (1, 1, 8, 3, 2)).astype(np.float32))
        # Whole pixels and a sigma of 1/3: the box is symmetric. Equal scores: so is a short limb.
        scores, render = torch.ones(1, 1, 8, 3), LimbHeatmaps(SIDES, 1 / 3)
        swapped = keypoints[..., [0, 2, 1], :].clone()
        swapped[..., 0] = 8 - swapped[..., 0]
        volume = render(keypoints, scores, (9, 9))
        torch.testing.assert_close(render.flip(volume), render(swapped, scores, (9, 9)))
        assert torch.equal(render.flip(render.flip(volume)), volume)

    def test_channels_are_the_limbs_of_every_layout(self):
        for layout in LAYOUTS.values():
            render = LimbHeatmaps(layout)
            assert render.num_channels == len(layout.limbs)
            mirrored = [layout.limbs[place] for place in render.flipped_limbs]
            for limb, other in zip(layout.limbs, mirrored, strict=True):
                assert {layout.mirrored_joints[joint] for joint in limb} == set(other)

    @pytest.mark.parametrize(("arguments", "message"), [
        ({"sigma": 0.0}, "`sigma` must be positive"), ({"sigma": math.nan}, "`sigma` must be"),
        ({"limbs": []}, "has no limbs"), ({"limbs": [(0, 3)]}, "must link joints 0 to 2"),
        ({"limbs": [(0, 1)]}, "the horizontal flip of each"),
        ({"limbs": [(1, 2), (2, 1)]}, "each limb once")])
    def test_bad_arguments_are_refused(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            LimbHeatmaps(SIDES, **arguments)


class TestCoordinates:
    # Two frames of 40 x 80 pixels; head, left hand, right hand.
    KEYPOINTS = torch.tensor([[[[40.0, 20], [60, 10], [20, 30]], [[42, 20], [70, 10], [0, 0]]]])
    SCORES = torch.tensor([[[1.0, 0.5, 0.8], [1, 0.7, 0]]])

    def make(self, **arguments):
        return Coordinates(STICK, **arguments)(self.KEYPOINTS[None], self.SCORES[None], (40, 80))

    def test_joints_by_hand(self):
        values = self.make()
        assert values.shape == (1, 3, 2, 2, 3)
        first = torch.tensor([[0.0, 0.5, -0.5], [0, -0.5, 0.5], [1, 0.5, 0.8]])
        second = torch.tensor([[0.05, 0.75, -1], [0, -0.5, -1], [1, 0.7, 0]])
        torch.testing.assert_close(values[0, :, 0, 0], first)
        torch.testing.assert_close(values[0, :, 1, 0], second)
        assert (values[0, :, :, 1] == 0).all()  # the second person is not there

    def test_bones_by_hand(self):
        values = self.make(stream="bone")
        torch.testing.assert_close(values[0, :, 0, 0], torch.tensor(
            [[0.0, 0.5, -0.5], [0, -0.5, 0.5], [1, 0.75, 0.9]]))
        other = self.make(stream="bone", bones=[(1, 2)])  # the others have no bone
        torch.testing.assert_close(other[0, :, 0, 0], torch.tensor(
            [[0.0, 1, 0], [0, -1, 0], [1, 0.65, 0.8]]))

    def test_motion_by_hand(self):
        values = self.make(stream="joint_motion")
        torch.testing.assert_close(values[0, :, 0, 0], torch.tensor(
            [[0.05, 0.25, -0.5], [0, 0, -1.5], [1, 0.6, 0.4]]))
        assert (values[0, :, 1] == 0).all()
        values = self.make(stream="bone_motion")
        torch.testing.assert_close(values[0, :2, 0, 0, 1], torch.tensor([0.2, 0.0]))

    def test_persons_are_cut_and_filled_up(self):
        keypoints = torch.rand(2, 3, 4, 3, 2) * 40
        scores = torch.rand(2, 3, 4, 3)
        all_three = Coordinates(STICK, persons=3)(keypoints, scores, (40, 80))
        assert all_three.shape == (2, 3, 4, 3, 3)
        two = Coordinates(STICK)(keypoints, scores, (40, 80))
        assert torch.equal(two, all_three[:, :, :, :2])
        five = Coordinates(STICK, persons=5)(keypoints, scores, (40, 80))
        assert torch.equal(five[:, :, :, :3], all_three)
        assert five[:, :, :, 3:].abs().max() == 0

    @pytest.mark.parametrize("stream", ["joint", "bone", "joint_motion", "bone_motion"])
    def test_the_mirror_image_is_that_of_mirrored_keypoints(self, stream):
        keypoints, scores = torch.rand(1, 2, 4, 3, 2) * 40, torch.rand(1, 2, 4, 3)
        make = Coordinates(STICK, stream)
        swapped = keypoints[..., [0, 2, 1], :].clone()
        swapped[..., 0] = 80 - swapped[..., 0]
        mirrored = make(swapped, scores[..., [0, 2, 1]], (40, 80))
        torch.testing.assert_close(make.flip(make(keypoints, scores, (40, 80))), mirrored)

    def test_it_is_made_on_the_device_of_the_keypoints(self):
        keypoints, scores = (torch.zeros(2, 1, 4, 17, *last, device="meta") for last in ((2,), ()))
        make = Coordinates(COCO, "bone_motion")
        values = make.flip(make(keypoints, scores, (56, 48)))
        assert (values.device.type, values.shape) == ("meta", (2, 3, 4, 2, 17))

    @pytest.mark.parametrize(("arguments", "message"), [
        ({"stream": "bones"}, "`stream` must be one of joint, bone"),
        ({"persons": 0}, "`persons` must be >= 1, got 0"),
        ({"bones": [(1, 3)]}, "`bones` must link joints 0 to 2")])
    def test_bad_arguments_are_refused(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            Coordinates(STICK, **arguments)


class TestCoordinates3D:
    # Two persons, three frames; head (the root, missing in the first), left hand, right hand.
    KEYPOINTS = torch.tensor([
        [[9.0, 9, 9], [1, 0, 3], [0, 0, 3]], [[1, 1, 4], [2, 1, 4], [9, 9, 9]],
        [[1, 2, 5], [2, 2, 6], [0, 2, 5]]]).expand(2, 3, 3, 3).clone()
    SCORES = torch.tensor([[0, 1, 1], [1, 1, 0], [1, 0.5, 1]]).expand(2, 3, 3).clone()

    def make(self, keypoints=KEYPOINTS, scores=SCORES, **arguments):
        return Coordinates(STICK, **arguments)(keypoints[None], scores[None], (9, 9))[0]

    def test_joints_by_hand(self):
        values = self.make()
        assert values.shape == (3, 3, 2, 3)
        # Relative to (1, 1, 4), the first root that is seen.
        expected = torch.tensor([[[0.0, 0, 0], [0, -1, -1], [-1, -1, -1]],
                                 [[0, 0, 0], [1, 0, 0], [0, 0, 0]],
                                 [[0, 1, 1], [1, 1, 2], [-1, 1, 1]]])
        torch.testing.assert_close(values[:, :, 0].permute(1, 2, 0), expected)

    def test_both_persons_share_the_origin_of_the_first(self):
        keypoints = self.KEYPOINTS.clone()
        keypoints[1] += torch.tensor([5.0, 0, 1])
        values = self.make(keypoints)
        apart = (values[:, :, 1] - values[:, :, 0]).permute(1, 2, 0)[self.SCORES[0] > 0]
        torch.testing.assert_close(apart, torch.tensor([5.0, 0, 1]).expand_as(apart))

    def test_bones_and_motion_by_hand(self):
        bones = self.make(stream="bone")
        assert bones[:, 2, 0].T.tolist() == [[0, 0, 0], [1, 0, 1], [-1, 0, 0]]
        motion = self.make(stream="joint_motion")
        assert motion[:, 1, 0, 1].tolist() == [0, 1, 2]
        assert not motion[:, 2].any()

    @given(st.lists(st.floats(-50, 50), min_size=3, max_size=3))
    def test_where_the_sensor_stands_does_not_matter(self, shift):
        moved = self.KEYPOINTS + torch.tensor(shift)
        torch.testing.assert_close(self.make(moved), self.make(), atol=1e-4, rtol=0)

    def test_without_any_root_the_origin_is_the_middle_of_the_joints(self):
        scores = torch.zeros(2, 3, 3)
        scores[0, 0, 1:] = 1
        values = self.make(scores=scores)
        assert values[:, 0, 0].T.tolist() == [[0, 0, 0], [0.5, 0, 0], [-0.5, 0, 0]]
        assert not self.make(scores=torch.zeros(2, 3, 3)).any()

    @pytest.mark.parametrize("stream", ["joint", "bone", "joint_motion", "bone_motion"])
    def test_the_flip_is_that_of_flipped_keypoints(self, stream):
        make, keypoints = Coordinates(STICK, stream), torch.rand(1, 2, 4, 3, 3)
        scores = torch.ones(1, 2, 4, 3)
        flipped = keypoints[..., [0, 2, 1], :] * torch.tensor([-1.0, 1, 1])
        torch.testing.assert_close(make.flip(make(keypoints, scores, (9, 9))),
                                   make(flipped, scores, (9, 9)))


class TestDtype:
    """Inputs in the precision of a network: computed in single precision, rounded once."""

    @settings(max_examples=50, deadline=None)
    @given(scenes(), st.sampled_from([torch.bfloat16, torch.float16, torch.float64]))
    def test_rounding_comes_last(self, scene, dtype):
        keypoints, scores, size, sigma = scene
        for render in (JointHeatmaps(STICK, sigma), LimbHeatmaps(STICK, sigma), Coordinates(STICK)):
            exact = render(batch_of_one(keypoints), batch_of_one(scores), size)
            rounded = render(batch_of_one(keypoints), batch_of_one(scores), size, dtype)
            assert exact.dtype == torch.float32
            assert rounded.dtype == dtype
            # Largest values of persons included: the largest of rounded values is the rounded one.
            torch.testing.assert_close(rounded, exact.to(dtype), rtol=0, atol=0, equal_nan=True)
