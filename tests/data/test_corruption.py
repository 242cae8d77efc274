import numpy as np
import pytest
import torch

from ptl_skel.data.corruption import Corruption
from ptl_skel.data.dataset import KeypointBatch
from ptl_skel.data.transforms import Augmentation, person_sizes
from ptl_skel.errors import UserError
from ptl_skel.skeletons import LAYOUTS


def batch(clips=(3, 8), persons=2, coordinates=2):
    """Standing persons of 100 by 40 units, with some joints missing."""
    generator = torch.Generator().manual_seed(0)
    shape = len(clips), persons, 50, 20
    keypoints = torch.rand(*shape, coordinates, generator=generator) * torch.tensor(
        [40.0, 100.0, 30.0][:coordinates])
    scores = 0.5 + 0.5 * torch.rand(shape, generator=generator)
    scores[:, :, :, 0] = 0
    keypoints[:, :, :, 0] = 0
    return KeypointBatch(keypoints=keypoints, scores=scores, clip=torch.tensor(clips),
                         label=torch.zeros(len(clips)))


def corrupted(kind, level, given=None, seed=0):
    return Corruption(kind, level, seed)(given or batch())


def test_dropped_joints_are_missing_and_the_others_as_they_were():
    before, after = batch(), corrupted("drop", 0.3)
    known = before["scores"] > 0
    left = after["scores"][known]
    assert abs((left == 0).float().mean() - 0.3) < 0.02
    assert torch.equal(left[left > 0], before["scores"][known][left > 0])
    assert torch.equal(after["keypoints"], before["keypoints"])
    assert after["label"] is not None


@pytest.mark.parametrize("coordinates", [2, 3])
def test_displacement_is_relative_to_the_size_of_the_person(coordinates):
    before = batch(coordinates=coordinates)
    moved = Corruption("displace", 0.1)(before)["keypoints"] - before["keypoints"]
    # The larger side is 100, so 10 along each axis, in each frame anew.
    assert person_sizes(before["keypoints"], before["scores"]).flatten().tolist() == (
        pytest.approx([100] * 4, rel=0.02))
    assert moved.std().item() == pytest.approx(10, rel=0.03)
    assert moved.mean().item() == pytest.approx(0, abs=0.3)
    frames = moved[..., 0].flatten(0, 1).movedim(1, 0).flatten(1)
    assert abs(np.corrcoef(frames[0], frames[1])[0, 1]) < 0.3


def test_low_scores_stay_scores():
    before, after = batch(), corrupted("low_scores", 0.9)
    ratio = (after["scores"] / before["scores"])[before["scores"] > 0]
    assert 0.1 <= ratio.min() < 0.12
    assert 0.98 < ratio.max() <= 1
    assert torch.equal(after["keypoints"], before["keypoints"])


@pytest.mark.parametrize("kind", ["drop", "displace", "low_scores"])
class TestEveryKind:
    def test_level_0_changes_nothing(self, kind):
        after = corrupted(kind, 0.0)
        for name in ("keypoints", "scores"):
            assert torch.equal(after[name], batch()[name])

    def test_a_clip_is_the_same_whatever_else_is_in_the_batch(self, kind):
        both = batch(persons=3)
        alone = KeypointBatch(**{name: both[name][1:, :2] if name in {"keypoints", "scores"}
                                 else both[name][1:] for name in both.tensors})
        one, other = Corruption(kind, 0.4)(both), Corruption(kind, 0.4)(alone)
        for name in ("keypoints", "scores"):
            assert torch.equal(one[name][1:, :2], other[name])

    def test_the_seed_decides(self, kind):
        one, again, other = (corrupted(kind, 0.4, seed=seed) for seed in (1, 1, 2))
        name = "keypoints" if kind == "displace" else "scores"
        assert torch.equal(one[name], again[name])
        assert not torch.equal(one[name], other[name])

    def test_an_absent_person_stays_absent(self, kind):
        given = batch()
        given["keypoints"][0, 1], given["scores"][0, 1] = 0, 0
        after = Corruption(kind, 0.4)(given)
        assert not after["scores"][0, 1].any()
        assert after["keypoints"].isfinite().all()


@pytest.mark.parametrize(("arguments", "message"), [
    (("blur", 0.1), "`data.corrupt.kind` must be one of drop, displace, low_scores, got 'blur'"),
    (("drop", 1.5), "`data.corrupt.level` must lie in 0..1, got 1.5"),
    (("drop", float("nan")), "must lie in 0..1"),
    (("drop", 0.1, -1), "`data.corrupt.seed` must be >= 0")])
def test_mistakes(arguments, message):
    with pytest.raises(UserError, match=message):
        Corruption(*arguments).check()


class TestAugmentation:
    """The same degradation in training: each clip gets a level from 0 to the largest."""

    @staticmethod
    def augmented(coordinates=2, **amounts):
        before = batch(clips=range(400), persons=1, coordinates=coordinates)
        augment = Augmentation(crop_area=(1.0, 1.0), flip=0, **amounts)
        torch.manual_seed(0)
        if coordinates == 3:
            return before, *augment.spatial(before["keypoints"], before["scores"])
        box = torch.tensor([0.0, 0, 100, 100]).expand(400, 4)  # of the same size as the image
        return before, *augment(before["keypoints"], before["scores"], box, (100, 100),
                                LAYOUTS["kinect20"])

    @pytest.mark.parametrize("coordinates", [2, 3])
    def test_each_clip_lacks_another_share_of_joints(self, coordinates):
        before, keypoints, scores = self.augmented(coordinates, drop=0.4)
        torch.testing.assert_close(keypoints, before["keypoints"])
        known = before["scores"] > 0
        assert torch.equal(scores[scores > 0], before["scores"][scores > 0])
        missing = (known & (scores == 0)).sum((1, 2, 3)) / known.sum((1, 2, 3))
        assert missing.quantile(0.05) < 0.05
        assert missing.median() == pytest.approx(0.2, abs=0.03)
        assert 0.36 < missing.quantile(0.98) < 0.43

    @pytest.mark.parametrize("coordinates", [2, 3])
    def test_displacement_is_relative_to_the_person(self, coordinates):
        before, keypoints, scores = self.augmented(coordinates, displace=0.1)
        assert torch.equal(scores, before["scores"])
        moved = (keypoints - before["keypoints"]).flatten(1).std(1)  # a person is 100 high
        assert moved.min() < 0.3
        assert moved.median() == pytest.approx(5, abs=0.7)
        assert 9 < moved.max() < 10.5

    @pytest.mark.parametrize("coordinates", [2, 3])
    def test_scores_are_lowered(self, coordinates):
        before, keypoints, scores = self.augmented(coordinates, low_scores=0.8)
        torch.testing.assert_close(keypoints, before["keypoints"])
        known = before["scores"] > 0
        ratio = scores[known] / before["scores"][known]
        assert 0.2 <= ratio.min() < 0.25
        assert ratio.max() <= 1
        assert ratio.mean() == pytest.approx(1 - 0.8 / 4, abs=0.02)

    @pytest.mark.parametrize(("amount", "message"), [
        ({"drop": 1.5}, "`drop` must lie in 0..1, got 1.5"),
        ({"low_scores": -0.1}, "`low_scores` must lie in 0..1, got -0.1"),
        ({"displace": -1}, "`displace` must lie in 0..1, got -1"),
        ({"displace": 1e30}, r"`displace` must lie in 0..1, got 1e\+30")])
    def test_impossible_amounts_are_rejected(self, amount, message):
        with pytest.raises(UserError, match=message):
            Augmentation(**amount)
