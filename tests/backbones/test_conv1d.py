"""The 1D-CNN on coordinates, from keypoints on: what it depends on, and what it does not."""

import functools
from pathlib import Path

import pytest
import torch

from ptl_skel.__main__ import main
from ptl_skel.backbones import Conv1D
from ptl_skel.cli import outcome
from ptl_skel.data.dataset import KeypointBatch
from ptl_skel.data.inputs import InputMaker
from ptl_skel.data.transforms import Augmentation
from ptl_skel.representations import NormalizedCoordinates
from ptl_skel.runs.record import read_result
from ptl_skel.skeletons import LAYOUTS, SkeletonLayout

PENN = LAYOUTS["penn13"]
STICK = SkeletonLayout("stick", ("head", "left", "right"), ((0, 1), (0, 2)), ((1, 2),))
STILL = Augmentation(crop_area=(1.0, 1.0), flip=0.0)


def small(layout=PENN, coordinates=2):
    torch.manual_seed(0)
    return Conv1D(coordinates + 1, [8, 12], [1, 2], 3, layout.tree).eval()


def clips(persons=2, layout=PENN):
    """Keypoints ``(N, M, T, V, 2)`` in frames of 240 x 320 pixels, and scores."""
    generator = torch.Generator().manual_seed(1)
    keypoints = 60 + 100 * torch.rand(3, persons, 7, layout.num_joints, 2, generator=generator)
    return keypoints, torch.ones(keypoints.shape[:-1])


def maker(augment=STILL, layout=PENN):
    return InputMaker(NormalizedCoordinates(layout), layout, 2, None, augment, 56, 64, 1, False)


def batch(keypoints, scores):
    return KeypointBatch(keypoints=keypoints, scores=scores,
                         frame_size=torch.tensor([[240.0, 320.0]]).expand(len(keypoints), 2))


def seen(keypoints, scores):
    """What the test makes of clips."""
    return maker().evaluate(batch(keypoints, scores), torch.float32, several=False)


class TestRepresentation:
    def test_the_box_around_the_persons_is_what_counts(self):
        keypoints, scores = clips()
        expected = seen(keypoints, scores)
        assert expected.shape == (3, 3, 7, 2, 13)
        assert expected[:, :2].abs().max() < 1
        # Doubled and moved; the box is rounded to whole pixels.
        moved = seen(2 * keypoints - torch.tensor([40.0, 90.0]), scores)
        torch.testing.assert_close(moved, expected, atol=0.02, rtol=0)

    def test_what_is_missing_is_0_in_every_channel(self):
        keypoints, scores = clips()
        scores[0, 1], scores[1, 0, 2, 4] = 0, 0
        inputs = seen(keypoints, scores)
        assert not inputs[0, :, :, 1].any()
        assert not inputs[1, :, 2, 0, 4].any()
        assert (inputs[:, 2].sum((1, 2, 3)) == (scores > 0).sum((1, 2, 3))).all()

    def test_low_scores_are_as_good_as_high_ones(self):
        keypoints, scores = clips()
        assert torch.equal(seen(keypoints, 0.1 * scores), seen(keypoints, scores))

    def test_the_flip_is_that_of_flipped_keypoints(self):
        keypoints, scores = clips()
        scores[0, 0, 0, 3] = 0
        representation = NormalizedCoordinates(PENN)
        order = PENN.mirrored_joints
        flipped = keypoints[..., order, :] * torch.tensor([-1.0, 1]) + torch.tensor([64.0, 0])
        torch.testing.assert_close(
            representation.flip(representation(keypoints, scores, (64, 64))),
            representation(flipped, scores[..., order], (64, 64)))

    def test_3d_has_a_channel_more(self):
        keypoints = torch.rand(2, 1, 4, 13, 3)
        scores = torch.ones(keypoints.shape[:-1])
        scores[0, 0, 1, 2] = 0
        inputs = NormalizedCoordinates(PENN)(keypoints, scores, (9, 9))
        assert inputs.shape == (2, 4, 4, 1, 13)
        assert torch.equal(inputs[:, 3, :, 0], scores[:, 0])
        assert not inputs[0, :, 1, 0, 2].any()
        # Differences of joints stay those of the file.
        torch.testing.assert_close(inputs[1, :3, 2, 0, 5] - inputs[1, :3, 0, 0, 7],
                                   keypoints[1, 0, 2, 5] - keypoints[1, 0, 0, 7])

    @pytest.mark.parametrize("change", [{"rotation": 20.0}, {"scale": 0.2}, {"shift": 0.2},
                                        {"crop_area": (0.5, 0.6)}, {"flip": 1.0}])
    def test_augmentation_reaches_the_network(self, change):
        changed = Augmentation(**{"crop_area": (1.0, 1.0), "flip": 0.0, **change})
        torch.manual_seed(0)
        still, moved = (maker(augment).train(batch(*clips()), torch.float32)
                        for augment in (STILL, changed))
        assert (moved - still)[:, :2].abs().amax((1, 2, 3, 4)).min() > 0.02
        assert torch.equal(moved[:, 2], still[:, 2])


class TestNetwork:
    def test_measurements_by_hand(self):
        """Three frames of head, left and right, the right one missing in the second."""
        x = torch.tensor([[0.0, 3, 0], [1, 3, 9], [3, 4, 1]]).T
        y = torch.tensor([[0.0, 4, -1], [1, 4, 9], [3, 4, 1]]).T
        known = torch.tensor([[1.0, 1, 1], [1, 1, 0], [1, 1, 1]]).T
        found = small(STICK).measure(torch.stack([x, y, known])[None])[0]
        joints, slow, fast, distances = found.split([6, 6, 6, 3])
        assert joints.T.tolist() == [[0, 3, 0, 0, 4, -1], [1, 3, 0, 1, 4, 0], [3, 4, 1, 3, 4, 1]]
        assert slow.T.tolist() == [[0] * 6, [1, 0, 0, 1, 0, 0], [2, 1, 0, 2, 0, 0]]
        assert fast.T.tolist() == [[0] * 6, [0] * 6, [3, 1, 1, 3, 0, 2]]
        # Head to left, head to right, left to right.
        torch.testing.assert_close(distances.T, torch.tensor(
            [[5.0, 1, 34**0.5], [13**0.5, 0, 0], [2**0.5, 8**0.5, 18**0.5]]))

    @pytest.mark.parametrize(("frames", "left"), [(1, 1), (2, 1), (7, 4), (32, 16)])
    @pytest.mark.parametrize("persons", [1, 3])
    def test_shapes(self, frames, left, persons):
        for coordinates in (2, 3):
            network = small(coordinates=coordinates)
            features = network(torch.rand(2, coordinates + 1, frames, persons, 13))
            assert features.shape == (2, network.num_features, left, 1, 1)

    def test_where_a_missing_joint_lies_does_not_matter(self):
        keypoints, scores = clips()
        scores[:, :, 2:4, 5] = 0
        inputs = seen(keypoints, scores)
        elsewhere = torch.where(inputs[:, 2:] > 0, inputs, torch.tensor([50.0, -1e6, 0]).view(
            1, 3, 1, 1, 1))
        with torch.no_grad():
            torch.testing.assert_close(small()(elsewhere), small()(inputs))

    def test_the_first_missing_joint_is_no_enormous_value(self):
        """Where no joint is missing in training, which ones are missing has no variance."""
        keypoints, scores = clips()
        network = small().train()
        with torch.no_grad():
            for _ in range(60):
                network(seen(keypoints, scores))
            network.eval()
            complete = network(seen(keypoints, scores))
            scores[:, :, :, 5] = 0
            assert network(seen(keypoints, scores)).max() < 2 * complete.max()

    def test_neither_order_nor_absent_persons_matter(self):
        inputs = seen(*clips(3))
        with torch.no_grad():
            expected = small()(inputs)
            torch.testing.assert_close(small()(inputs.flip(3)), expected)
            torch.testing.assert_close(
                small()(torch.nn.functional.pad(inputs, (0, 0, 0, 2))), expected)
            assert not torch.allclose(small()(inputs[:, :, :, :2]), expected)

    def test_gradients_are_finite_whatever_is_missing_or_coincides(self):
        keypoints, scores = clips()
        keypoints[0, 0, :, 3] = keypoints[0, 0, :, 4]
        keypoints[1], scores[1] = 0, 0
        network = small().train()
        network(seen(keypoints, scores)).square().mean().backward()
        gradients = [parameter.grad for parameter in network.parameters()]
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert any(gradient.any() for gradient in gradients)

    def test_it_exports_for_any_number_of_clips(self):
        inputs = seen(*clips())
        some = {0: torch.export.Dim("clips", min=1, max=64)}
        program = torch.export.export(small(), (inputs,), dynamic_shapes=(some,)).module()
        with torch.no_grad():
            torch.testing.assert_close(program(inputs[:1]), small()(inputs[:1]))

    def test_half_a_million_parameters(self, capsys):
        main(["profile", "backbone/conv1d.yaml", "--input", "3", "32", "2", "17", "--seconds", "0"])
        row = next(line for line in capsys.readouterr().out.splitlines() if "conv1d" in line)
        params, gmacs = (float(cell.split()[0]) for cell in row.split("│")[2:4])
        assert 0.4 < params < 0.6
        # Two persons: 255 values of 32 frames, then blocks of 32, 16 and 8 frames.
        width, taps = 128, 5 * 128**2
        one = (255 * width * 32 + 2 * 32 * taps + (2 * 16 + 2 * 8) * taps
               + (16 + 8) * width**2)
        assert gmacs == round((2 * one + 128 * 60) / 1e9, 3)


class TestRuns:
    @pytest.fixture(autouse=True)
    def surroundings(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(outcome, "measure", functools.partial(outcome.measure, seconds=0))

    def fit(self, file, *arguments):
        main(["fit", "--model.backbone", "backbone/conv1d.yaml", "--data.file", str(file),
              "--data.protocol", "cross", "--data.clip_len", "8", "--trainer.max_epochs", "1",
              "--wandb", "off", "--trainer.accelerator", "cpu", "--run_dir", "run",
              "--trainer.enable_progress_bar", "false", *arguments])

    def test_a_run_and_its_test(self, tiny_file):
        self.fit(tiny_file, "--data.augment.rotation", "20", "--data.augment.scale", "0.2")
        main(["test", "--ckpt_path", "run/checkpoints/last.ckpt", "--data.test_clips", "2",
              "--data.test_flip", "true", "--trainer.enable_progress_bar", "false"])
        assert read_result(Path("run"))["model"]["input_shape"] == [3, 8, 1, 13]
        assert read_result(Path("run/test"))["status"] == "finished"

    @pytest.mark.parametrize("camera", [(), ("--data.camera", "camera/rotate.yaml")])
    def test_a_run_in_3d(self, spatial_file, camera):
        self.fit(spatial_file, *camera)
        assert read_result(Path("run"))["model"]["input_shape"] == [4, 8, 1, 13]

    def test_what_it_reads_is_not_replaced_where_it_is_chosen(self, tiny_file, capsys):
        with pytest.raises(SystemExit):
            self.fit(tiny_file, "--data.representation", "representation/limbs.yaml")
        assert "does not read heatmaps" in capsys.readouterr().err
