import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from ptl_skel.data.transforms import (
    Augmentation,
    compact_box,
    crop_resize,
    flip,
    flip_scores,
    follow_box,
    random_crop,
    relative_to,
    rotate_scale_shift,
)
from ptl_skel.skeletons import SkeletonLayout

LAYOUT = SkeletonLayout("stick", ("head", "left_hand", "right_hand"), ((0, 1), (0, 2)), ((1, 2),))
FRAME = torch.tensor([[120.0, 160.0]])  # height, width
PLAIN = {"crop_area": (1.0, 1.0), "flip": 0.0}


def clip(*joints):
    """One person in one frame: ``(1, 1, 1, V, 2)``."""
    return torch.tensor(joints, dtype=torch.float32).view(1, 1, 1, -1, 2)


def ones(keypoints):
    return torch.ones(keypoints.shape[:-1])


def random_clips(clips, persons=2, frames=3, seed=0):
    random = torch.Generator().manual_seed(seed)
    keypoints = 20 + 100 * torch.rand(clips, persons, frames, 3, 2, generator=random)
    return keypoints, torch.rand(keypoints.shape[:-1], generator=random)


class TestCompactBox:
    def test_a_square_by_hand(self):
        # x from 50 to 90, y from 20 to 100: the half height 40 counts, a quarter more is 50.
        keypoints = clip((50, 30), (90, 100), (60, 20))
        assert compact_box(keypoints, ones(keypoints), FRAME).tolist() == [[20, 10, 120, 110]]

    def test_corners_are_cut_towards_zero(self):
        # Centre (9.25, 60.5), half size 1.25 * 7.5 = 9.375 (extent 10.5 and 15).
        keypoints = clip((4, 53), (14.5, 68), (5, 60))
        # -0.125 becomes 0, 18.625 becomes 18; 51.125 becomes 51, 69.875 becomes 69.
        assert compact_box(keypoints, ones(keypoints), FRAME).tolist() == [[0, 51, 18, 69]]

    def test_it_holds_all_persons_and_frames_and_may_leave_the_frame(self):
        keypoints = torch.zeros(1, 2, 2, 1, 2)
        keypoints[0, :, :, 0] = torch.tensor([[[10, 10], [30, 20]], [[100, 50], [130, 90]]])
        # x 10 to 130, y 10 to 90: half size 75 around (70, 50).
        assert compact_box(keypoints, ones(keypoints), FRAME).tolist() == [[-5, -25, 145, 125]]

    @pytest.mark.parametrize("value", [(500.0, 900.0), (-1e30, 1e30), (math.inf, math.nan)])
    def test_a_joint_of_score_0_never_counts(self, value):
        keypoints = clip((50, 30), (90, 100), (60, 20), value)
        scores = ones(keypoints)
        scores[..., 3] = 0
        assert compact_box(keypoints, scores, FRAME).tolist() == [[20, 10, 120, 110]]

    def test_a_coordinate_equal_to_0_is_passed_over_by_itself(self):
        # The reference marks missing joints so; the other coordinate of such a joint counts.
        keypoints = clip((50, 30), (90, 100), (60, 20), (0, 140))
        # y 20 to 140: half size 75 around (70, 80).
        assert compact_box(keypoints, ones(keypoints), FRAME).tolist() == [[-5, 5, 145, 155]]

    @pytest.mark.parametrize("joints", [[(50, 30), (59.9, 100)], [(50, 30), (90, 39.9)], [(5, 5)]])
    def test_persons_too_small_get_the_frame(self, joints):
        keypoints = clip(*joints)
        assert compact_box(keypoints, ones(keypoints), FRAME).tolist() == [[0, 0, 160, 120]]

    def test_ten_pixels_are_enough(self):
        keypoints = clip((50, 30), (60, 40))
        assert compact_box(keypoints, ones(keypoints), FRAME).tolist() == [[48, 28, 61, 41]]

    def test_a_clip_without_a_visible_joint_gets_the_frame(self):
        keypoints = clip((50, 30), (90, 100))
        assert compact_box(keypoints, 0 * ones(keypoints), FRAME).tolist() == [[0, 0, 160, 120]]

    def test_each_clip_has_its_own_box(self):
        keypoints, scores = random_clips(5)
        sizes = torch.tensor([[120.0, 160.0]]).expand(5, 2)
        boxes = compact_box(keypoints, scores, sizes)
        for i in range(5):
            one = compact_box(keypoints[i : i + 1], scores[i : i + 1], sizes[:1])
            assert boxes[i].tolist() == one[0].tolist()


class TestCropResize:
    def test_by_hand(self):
        box = torch.tensor([[20.0, 10.0, 120.0, 60.0]])
        keypoints = clip((20, 10), (120, 60), (70, 20), (-30, 85))
        resized = crop_resize(keypoints, box, (100, 50))  # half as wide, twice as high
        assert_close(resized, clip((0, 0), (50, 100), (25, 20), (-25, 150)))

    def test_whole_frame_of_that_size_changes_nothing(self):
        keypoints, _ = random_clips(2)
        box = torch.tensor([[0.0, 0.0, 160.0, 120.0]]).expand(2, 4)
        assert_close(crop_resize(keypoints, box, (120, 160)), keypoints)


class TestFlip:
    def test_by_hand(self):
        keypoints = clip((10, 1), (20, 2), (56, 3))
        mirrored = flip(keypoints, 56, LAYOUT, torch.tensor([True]))
        assert_close(mirrored, clip((46, 1), (0, 3), (36, 2)))
        scores = torch.tensor([0.1, 0.2, 0.3]).view(1, 1, 1, 3)
        mirrored_scores = flip_scores(scores, LAYOUT, torch.tensor([True]))
        assert_close(mirrored_scores.flatten(), torch.tensor([0.1, 0.3, 0.2]))

    @given(st.lists(st.booleans(), min_size=1, max_size=5), st.integers(1, 200))
    def test_twice_changes_nothing_and_others_stay(self, chosen, width):
        mirror = torch.tensor(chosen)
        keypoints, scores = random_clips(len(chosen))
        once = flip(keypoints, width, LAYOUT, mirror)
        assert_close(flip(once, width, LAYOUT, mirror), keypoints)
        assert torch.equal(once[~mirror], keypoints[~mirror])
        assert not torch.isclose(once[mirror], keypoints[mirror]).all(-1).any()
        once = flip_scores(scores, LAYOUT, mirror)
        assert torch.equal(flip_scores(once, LAYOUT, mirror), scores)
        assert torch.equal(once[~mirror], scores[~mirror])


class TestRotateScaleShift:
    BOX = torch.tensor([[20.0, 10.0, 120.0, 60.0]])  # centre (70, 35)

    def apply(self, keypoints, degrees=0.0, scale=(1.0, 1.0), shift=(0.0, 0.0)):
        return rotate_scale_shift(keypoints, self.BOX, torch.tensor([math.radians(degrees)]),
                                  torch.tensor([scale]), torch.tensor([shift]))

    def test_a_quarter_turn_by_hand(self):
        # In pixels y points down: right of the centre goes below it, below goes left.
        keypoints = clip((80, 35), (70, 40), (70, 35))
        expected = clip((70, 45), (65, 35), (70, 35))
        assert_close(self.apply(keypoints, degrees=90), expected)

    def test_scale_acts_on_each_axis_about_the_centre(self):
        keypoints = clip((80, 35), (70, 45), (60, 25))
        expected = clip((90, 35), (70, 40), (50, 30))
        assert_close(self.apply(keypoints, scale=(2.0, 0.5)), expected)

    def test_there_is_no_matrix_product(self):
        """On a GPU it may use TF32, with 10 bits for a coordinate."""
        augment = Augmentation(rotation=10, scale=0.1, shift=0.1)
        keypoints, scores = random_clips(1)
        with FlopCounterMode(display=False) as counter:
            augment(keypoints, scores, self.BOX, (56, 56), LAYOUT)
            augment.spatial(torch.rand(1, 2, 3, 4, 3), torch.ones(1, 2, 3, 4))
        assert counter.get_total_flops() == 0

    def test_a_turn_comes_before_the_scale(self):
        assert_close(self.apply(clip((80, 35)), 90, (2.0, 0.5)), clip((70, 40)))

    def test_shift_is_relative_to_the_box(self):
        assert_close(self.apply(clip((70, 35)), shift=(0.1, -0.2)), clip((80, 25)))

    def test_each_clip_is_moved_by_its_own_numbers(self):
        keypoints, _ = random_clips(4)
        box = torch.tensor([[0.0, 0, 50, 60], [0, 0, 100, 90], [5, 5, 6, 7], [-9, 0, 90, 9]])
        angle, scale, shift = torch.rand(4), torch.rand(4, 2), torch.rand(4, 2)
        moved = rotate_scale_shift(keypoints, box, angle, scale, shift)
        for i in range(4):
            one = slice(i, i + 1)
            assert_close(moved[one], rotate_scale_shift(
                keypoints[one], box[one], angle[one], scale[one], shift[one]))


@st.composite
def boxes(draw):
    number = st.floats(-500, 500, width=32)
    side = st.floats(1, 500, width=32)
    rows = draw(st.lists(st.tuples(number, number, side, side), min_size=1, max_size=6))
    return torch.tensor([[x, y, x + width, y + height] for x, y, width, height in rows])


class TestRandomCrop:
    @given(boxes(), st.floats(0.1, 1), st.floats(0.1, 1), st.floats(0.3, 3), st.floats(0.3, 3),
           st.integers(0, 2**31))
    def test_it_lies_in_the_box_and_in_the_ranges(self, box, area_1, area_2, aspect_1, aspect_2,
                                                 seed):
        area, aspect = sorted((area_1, area_2)), sorted((aspect_1, aspect_2))
        torch.manual_seed(seed)
        crop = random_crop(box, tuple(area), tuple(aspect))
        extent, size = box[:, 2:] - box[:, :2], crop[:, 2:] - crop[:, :2]
        tolerance = 1e-4 * (extent.amax() + box.abs().amax())
        assert (crop[:, :2] >= box[:, :2] - tolerance).all()
        assert (crop[:, 2:] <= box[:, 2:] + tolerance).all()
        share = size.prod(1) / extent.prod(1)
        ratio = size[:, 0] / size[:, 1]
        whole = (size - extent).abs().amax(1) <= tolerance
        for i in (~whole).nonzero().flatten():
            slack = 1 + 4 * float(tolerance / size[i].min())
            assert area[0] / slack <= share[i] <= area[1] * slack
            assert aspect[0] / slack <= ratio[i] <= aspect[1] * slack

    def test_all_of_the_ranges_is_used(self):
        torch.manual_seed(0)
        crop = random_crop(torch.tensor([[0.0, 0, 100, 100]]).expand(4000, 4), (0.25, 0.5),
                           (0.5, 2.0))
        size = crop[:, 2:] - crop[:, :2]
        share, ratio = size.prod(1) / 1e4, (size[:, 0] / size[:, 1]).log2()
        # Bounds and mean of the even distributions, of the aspect in the logarithm.
        assert_close(torch.stack([share.min(), share.mean(), share.max()]),
                     torch.tensor([0.25, 0.375, 0.5]), atol=0.01, rtol=0)
        assert_close(torch.stack([ratio.min(), ratio.mean(), ratio.max()]),
                     torch.tensor([-1.0, 0.0, 1.0]), atol=0.03, rtol=0)
        room = crop[:, :2] / (100 - size)
        assert_close(room.mean(0), torch.tensor([0.5, 0.5]), atol=0.02, rtol=0)

    def test_a_shape_that_never_fits_gives_the_whole_box(self):
        box = torch.tensor([[3.0, 4.0, 103.0, 14.0]])  # ten times as wide as high
        assert_close(random_crop(box, (0.9, 1.0), (0.75, 1.3333)), box)

    def test_the_first_shape_that_fits_is_taken(self, monkeypatch):
        # One attempt in two fits: area 1 and aspect 2 do not, area 0.25 and aspect 1 do.
        draws = iter([torch.tensor([[1.0, 0.25]]), torch.tensor([[math.log(2), 0.0]]),
                      torch.tensor([[1.0, 0.5]])])
        monkeypatch.setattr("ptl_skel.data.transforms._uniform", lambda *args: next(draws))
        monkeypatch.setattr(torch, "rand_like", lambda like: next(draws))
        crop = random_crop(torch.tensor([[0.0, 0.0, 10.0, 10.0]]), (0.2, 1.0), (1.0, 2.0), 2)
        assert_close(crop, torch.tensor([[5.0, 2.5, 10.0, 7.5]]))


class TestAugmentation:
    BOX = torch.tensor([[20.0, 10.0, 120.0, 110.0]])

    def test_none_at_all_is_crop_and_resize(self):
        keypoints, scores = random_clips(1)
        moved, moved_scores = Augmentation(**PLAIN)(keypoints, scores, self.BOX, (56, 48), LAYOUT)
        assert torch.equal(moved, crop_resize(keypoints, self.BOX, (56, 48)))
        assert torch.equal(moved_scores, scores)

    def test_always_flipped_is_the_mirror_image(self):
        keypoints, scores = random_clips(1)
        augment = Augmentation(crop_area=(1.0, 1.0), flip=1.0)
        moved, moved_scores = augment(keypoints, scores, self.BOX, (56, 48), LAYOUT)
        plain = crop_resize(keypoints, self.BOX, (56, 48))
        assert_close(moved, flip(plain, 48, LAYOUT, torch.tensor([True])))
        assert torch.equal(moved_scores, scores[..., [0, 2, 1]])

    def test_flip_has_its_probability_and_takes_the_scores_along(self):
        torch.manual_seed(0)
        keypoints = clip((30, 20), (40, 30), (100, 30)).expand(3000, -1, -1, -1, -1)
        scores = torch.tensor([0.5, 0.1, 0.9]).expand(3000, 1, 1, 3)
        augment = Augmentation(crop_area=(1.0, 1.0), flip=0.25)
        moved, moved_scores = augment(keypoints, scores, self.BOX.expand(3000, 4), (56, 56),
                                      LAYOUT)
        mirrored = moved_scores[:, 0, 0, 1] == 0.9
        assert 0.22 < mirrored.float().mean() < 0.28
        plain = crop_resize(keypoints[:1], self.BOX, (56, 56))
        assert_close(moved[~mirrored], plain.expand_as(moved)[~mirrored])
        assert_close(moved[mirrored, 0, 0, 0, 0], 56 - plain[0, 0, 0, 0, 0].expand(mirrored.sum()))

    @pytest.mark.parametrize(("change", "bound"), [
        ({"rotation": 10.0}, 50 * 2**0.5 * math.radians(10)), ({"scale": 0.2}, 50 * 2**0.5 * 0.2),
        ({"shift": 0.1}, 10 * 2**0.5), ({"crop_area": (0.5, 1.0)}, 100.0)])
    def test_each_clip_is_varied_anew_within_bounds(self, change, bound):
        torch.manual_seed(0)
        keypoints = clip((20, 10), (120, 110), (120, 10)).expand(200, -1, -1, -1, -1)
        box = self.BOX.expand(200, 4)
        moved, _ = Augmentation(**PLAIN | change)(keypoints, ones(keypoints), box, (100, 100),
                                                  LAYOUT)
        offset = (moved - crop_resize(keypoints, box, (100, 100))).norm(dim=-1)
        assert offset.max() <= bound
        assert offset.max() > 0.8 * bound or "crop_area" in change
        assert len({tuple(row) for row in moved.flatten(1).tolist()}) == 200

    def test_a_joint_outside_the_clip_stays_of_score_0(self):
        keypoints, scores = random_clips(3)
        scores[:, 1] = 0
        _, moved = Augmentation()(keypoints, scores, self.BOX.expand(3, 4), (56, 56), LAYOUT)
        assert (moved[:, 1] == 0).all()
        assert (moved[:, 0] > 0).all()

    @pytest.mark.parametrize(("arguments", "message"), [
        ({"crop_area": (0.0, 1.0)}, "`crop_area` must be a range.*got 0.0 to 1.0"),
        ({"crop_area": (0.9, 0.5)}, "`crop_area`"), ({"crop_area": (0.5, 1.1)}, "at most 1"),
        ({"crop_aspect": (-1.0, 1.0)}, "`crop_aspect`"),
        ({"crop_aspect": (2.0, 1.0)}, "`crop_aspect`"),
        ({"crop_aspect": (1.0, math.inf)}, "`crop_aspect`"),
        ({"crop_area": (math.nan, 1.0)}, "`crop_area`"),
        ({"flip": 1.1}, "`flip` must be a probability, got 1.1"), ({"flip": -0.1}, "`flip`"),
        ({"flip": math.nan}, "`flip`"),
        ({"scale": 1.0}, "`scale` must lie in 0..1"), ({"scale": -0.1}, "`scale`"),
        ({"rotation": -1.0}, "`rotation` must lie in 0..180 degrees"),
        ({"rotation": 400.0}, "`rotation`"),
        ({"shift": -0.1}, "`shift` must lie in 0..1"), ({"shift": 1e30}, "`shift`"),
    ])
    def test_bad_arguments_are_refused(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            Augmentation(**arguments)


class TestFollowBox:
    def track(self, *boxes):
        """Two joints at the corners of each box, one frame each; None: nobody is visible."""
        keypoints = torch.zeros(1, 1, len(boxes), 2, 2)
        scores = torch.zeros(1, 1, len(boxes), 2)
        for frame, box in enumerate(boxes):
            if box is not None:
                keypoints[0, 0, frame] = torch.tensor(box, dtype=torch.float32).view(2, 2)
                scores[0, 0, frame] = 1
        return keypoints, scores, FRAME

    def test_by_hand(self):
        boxes = follow_box(*self.track((40, 20, 80, 100), (60, 20, 100, 100), (60, 40, 100, 80)))
        # Centre (60, 60), half size 1.25 * 40; then a tenth of the way to (80, 60); then another
        # tenth, and a twentieth of the way from 50 to 1.25 * 20.
        assert_close(boxes[0], torch.tensor([
            [10.0, 10, 110, 110], [12, 10, 112, 110],
            [63.8 - 48.75, 60 - 48.75, 63.8 + 48.75, 60 + 48.75]]))

    def test_it_grows_at_once(self):
        boxes = follow_box(*self.track((40, 20, 80, 60), (20, 0, 100, 80)))
        assert_close(boxes[0, 1], torch.tensor([10.0, -10, 110, 90]))

    def test_it_stays_where_nobody_is_and_is_the_frame_before(self):
        boxes = follow_box(*self.track(None, (40, 20, 80, 60), None, None, (40, 20, 80, 60)))
        assert_close(boxes[0, 0], torch.tensor([0.0, -20, 160, 140]))  # 160 x 120, as a square
        for frame in (2, 3, 4):
            assert_close(boxes[0, frame], boxes[0, 1])

    def test_persons_too_small_do_not_move_it(self):
        boxes = follow_box(*self.track((40, 20, 80, 60), (50, 50, 59, 59)))
        assert_close(boxes[0, 1], boxes[0, 0])

    @given(st.integers(0, 100), st.integers(1, 9))
    def test_it_depends_on_nothing_that_comes_later(self, seed, known):
        keypoints, scores = random_clips(2, frames=10, seed=seed)
        sizes = FRAME.expand(2, 2)
        later = keypoints.clone()
        later[:, :, known:] *= 3
        whole, other = (follow_box(each, scores, sizes) for each in (keypoints, later))
        assert torch.equal(whole[:, :known], other[:, :known])
        assert not torch.equal(whole[:, known:], other[:, known:])

    def test_relative_to_it_keypoints_are_uniform_0_and_1_in_the_first_frame(self):
        keypoints, scores, size = self.track((40, 20, 80, 100))
        relative = relative_to(keypoints, follow_box(keypoints, scores, size))
        assert_close(relative[0, 0, 0], torch.tensor([[0.3, 0.1], [0.7, 0.9]]))
