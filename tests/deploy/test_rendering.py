"""The export forms of representations, beside the training forms."""

import numpy as np
import pytest
import torch

from ptl_skel.data.dataset import ClipDataset
from ptl_skel.data.transforms import compact_box, crop_resize, flip, flip_scores
from ptl_skel.deploy.graph import drop_missing
from ptl_skel.deploy.rendering import is_finite, make_dense
from ptl_skel.errors import UserError
from ptl_skel.representations import (
    Coordinates,
    JointHeatmaps,
    LimbHeatmaps,
    NormalizedCoordinates,
    Representation,
)
from ptl_skel.skeletons import get_layout
from ptl_skel.storage import KeypointFile

SIZES = [(56, 56), (20, 40)]
HEATMAPS = [JointHeatmaps, LimbHeatmaps]


def persons(layout, size, seed=0, *, count=3):
    """Joints in and around a map, with what goes wrong: NaN, missing, weak and far joints."""
    random = np.random.default_rng(seed)
    height, width = size
    keypoints = random.uniform(-0.3, 1.3, (2, count, 5, layout.num_joints, 2)) * (width, height)
    scores = random.uniform(0.05, 1, keypoints.shape[:-1])
    scores[0, 0, 1] = 0
    scores[1, -1] = 0
    scores[0, 0, 2, 3] = 1e-4
    scores[0, 0, 3, 3] = np.nan
    scores[0, 0, 3, 4] = np.inf
    keypoints[0, 0, 2, 4] = np.nan
    keypoints[1, 0, 2, 5, 0] = np.inf
    keypoints[1, 0, 3, 6] = -3000
    keypoints[0, 0, 4, 7] = keypoints[0, 0, 4, 8]  # limbs of no length
    return torch.from_numpy(keypoints), torch.from_numpy(scores)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("layout", ["coco17", "penn13", "ntu25"])
@pytest.mark.parametrize("kind", HEATMAPS)
def test_heatmaps_are_those_of_the_training_form(kind, layout, size):
    layout = get_layout(layout)
    representation = kind(layout)
    dense = make_dense(representation, size)
    # In double precision only what is not computed differs: limbs are cut where they reach 1e-6.
    values = persons(layout, size)
    expected = representation(*values, size, torch.float64)
    assert expected.max() > 0.9
    made = dense.double()(*values)
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(dense.flip(made, *values), representation.flip(expected), rtol=0,
                               atol=1e-6)
    single = [each.float() for each in values]
    tolerance = 1e-6 if kind is JointHeatmaps else 1e-4  # of limbs, distances are rounded
    torch.testing.assert_close(dense.float()(*single), representation(*single, size), rtol=0,
                               atol=tolerance)


@pytest.mark.parametrize("stream", ["joint", "bone", "joint_motion", "bone_motion"])
@pytest.mark.parametrize(("count", "kept"), [(1, 2), (2, 2), (3, 2), (3, 1), (1, 4)])
def test_coordinates_are_those_of_the_training_form(stream, count, kept):
    check_coordinates(Coordinates(get_layout("coco17"), stream, persons=kept), count)


@pytest.mark.parametrize("count", [1, 3])
def test_normalized_coordinates_are_those_of_the_training_form(count):
    check_coordinates(NormalizedCoordinates(get_layout("coco17")), count)


def check_coordinates(representation, count):
    """Also of the horizontal flip, which in training is that of the keypoints."""
    layout = representation.layout
    values = drop_missing(*(each.float() for each in persons(layout, (40, 60), count=count)))
    dense = make_dense(representation, (40, 60))
    made, expected = dense(*values), representation(*values, (40, 60))
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-6)
    every = torch.ones(len(made), dtype=torch.bool)
    flipped = flip(values[0], 60, layout, every), flip_scores(values[1], layout, every)
    torch.testing.assert_close(dense.flip(made, *values), representation(*flipped, (40, 60)),
                               rtol=0, atol=1e-6)


def test_no_joint_is_rendered_at_all():
    layout = get_layout("coco17")
    for kind in HEATMAPS:
        made = make_dense(kind(layout), (16, 16))(torch.full((1, 2, 3, 17, 2), torch.nan),
                                                  torch.ones(1, 2, 3, 17))
        assert made.shape == (1, kind(layout).num_channels, 3, 16, 16)
        assert not made.any()


def test_finite_numbers():
    values = torch.tensor([0, -1e38, 3.4e38, torch.inf, -torch.inf, torch.nan])
    assert is_finite(values).tolist() == values.isfinite().tolist()


def test_a_representation_of_ones_own_is_refused():
    class Own(Representation):
        num_channels = 1

        def __call__(self, keypoints, scores, size, dtype=torch.float32):
            return keypoints

        def flip(self, inputs):
            return inputs

    with pytest.raises(UserError, match="representation Own cannot be exported"):
        make_dense(Own(), (8, 8))


@pytest.mark.parametrize("kind", HEATMAPS)
def test_real_clips(kind, penn_file):
    """Box, resizing and heatmaps of Penn Action; a second person is another clip."""
    file = KeypointFile(penn_file)
    batch = ClipDataset(file, np.arange(len(file)), 16).__getitems__(range(len(file)))
    keypoints, scores = (torch.cat([batch[name], batch[name].roll(1, 0)], 1).double()
                         for name in ("keypoints", "scores"))
    representation = kind(file.header.layout)
    box = compact_box(keypoints, scores, batch["frame_size"].double())
    pixels = crop_resize(keypoints, box, (32, 32))
    made = make_dense(representation, (32, 32)).double()(pixels, scores)
    assert made.shape[:3] == (len(file), representation.num_channels, 16)
    torch.testing.assert_close(made, representation(pixels, scores, (32, 32), torch.float64),
                               rtol=0, atol=1e-6)
