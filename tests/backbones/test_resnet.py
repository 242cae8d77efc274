from functools import partial

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import nn

from ptl_skel.backbones import Conv2Plus1D, Conv3D, VideoResNet
from ptl_skel.backbones.layers import SpatialConv
from ptl_skel.backbones.resnet import ResidualBlock
from ptl_skel.cli.profile import load_backbone
from ptl_skel.configs import CONFIGS
from ptl_skel.cost.complexity import measure
from ptl_skel.training.module import classifier

TINY = {"in_channels": 5, "conv": Conv3D, "stem_width": 4, "stem_kernel": (3, 3),
        "stem_stride": (1, 2), "widths": (4, 8), "depths": (1, 2), "strides": ((1, 1), (2, 2)),
        "kernel": (3, 3)}
ARMS = ("full3d", "r2plus1d", "reduced", "narrow")


def parsed(arm):
    return yaml.safe_load((CONFIGS / f"backbone/{arm}.yaml").read_text())


class TestShapes:
    @pytest.mark.parametrize("conv", [Conv3D, Conv2Plus1D, partial(Conv2Plus1D, middle=0.5)])
    @pytest.mark.parametrize(("size", "features"), [
        ((8, 16, 16), (4, 4, 4)), ((5, 9, 7), (3, 3, 2)), ((1, 1, 1), (1, 1, 1))])
    def test_features_by_hand(self, conv, size, features):
        backbone = VideoResNet(**TINY | {"conv": conv}).eval()
        assert (backbone.in_channels, backbone.num_features) == (5, 8)
        assert backbone(torch.rand(2, 5, *size)).shape == (2, 8, *features)

    @pytest.mark.parametrize(("arm", "features"), [
        ("full3d", (256, 2, 2, 2)), ("r2plus1d", (256, 2, 2, 2)), ("reduced", (256, 4, 4, 4)),
        ("narrow", (128, 2, 2, 2))])
    def test_features_of_the_arms(self, arm, features):
        backbone = load_backbone(f"backbone/{arm}.yaml", 17).eval()
        assert backbone.num_features == features[0]
        assert backbone(torch.rand(1, 17, 16, 32, 32)).shape == (1, *features)

    def test_memory_stays_channels_last(self):
        backbone = VideoResNet(**TINY).to(memory_format=torch.channels_last_3d)
        inputs = torch.rand(2, 5, 4, 8, 8).contiguous(memory_format=torch.channels_last_3d)
        assert backbone(inputs).is_contiguous(memory_format=torch.channels_last_3d)


class TestBlock:
    def test_the_identity_is_its_shortcut_where_shapes_stay(self):
        block = ResidualBlock(4, 4, Conv3D, (3, 3), (1, 1)).eval()
        nn.init.zeros_(block.conv2.weight)
        inputs = torch.randn(2, 4, 3, 5, 5)
        torch.testing.assert_close(block(inputs), inputs.relu())

    @pytest.mark.parametrize("stride", [(1, 1), (2, 1), (1, 2), (3, 2)])
    def test_else_it_is_a_strided_1x1x1_convolution(self, stride):
        block = ResidualBlock(4, 6, Conv2Plus1D, (3, 3), stride).eval()
        nn.init.zeros_(block.conv2[3].weight)
        reference = nn.Conv3d(4, 6, 1, (stride[0], stride[1], stride[1]), bias=False)
        reference.load_state_dict(block.shortcut[0].state_dict())
        inputs = torch.randn(2, 4, 7, 5, 6)
        expected = reference(inputs) / (1 + 1e-5) ** 0.5  # the fresh batch norm
        torch.testing.assert_close(block(inputs), expected.relu())

    @pytest.mark.parametrize("stride", [(1, 1), (2, 2)])
    def test_it_adds_two_convolutions_to_its_shortcut(self, stride):
        block = ResidualBlock(4, 4, Conv3D, (3, 3), stride).eval()
        for norm in (block.norm1, block.norm2):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.bias, -1, 1)

        def normed(values, norm):
            by_channel = (-1, 1, 1, 1)
            scale = norm.weight.view(by_channel) / (1 + 1e-5) ** 0.5
            return values * scale + norm.bias.view(by_channel)

        inputs = torch.randn(2, 4, 4, 6, 6)
        strides = stride[0], stride[1], stride[1]
        inner = normed(F.conv3d(inputs, block.conv1.weight, None, strides, 1), block.norm1)
        outer = normed(F.conv3d(inner.relu(), block.conv2.weight, None, 1, 1), block.norm2)
        beside = inputs
        if stride != (1, 1):
            beside = F.conv3d(inputs, block.shortcut[0].weight, None, strides) / (1 + 1e-5) ** 0.5
        torch.testing.assert_close(block(inputs), (outer + beside).relu(), rtol=1e-4, atol=1e-5)

    def test_depths_and_widths_are_what_they_say(self):
        backbone = VideoResNet(**TINY | {"depths": (2, 3)})
        assert [len(stage) for stage in backbone.stages] == [2, 3]
        blocks = [block for stage in backbone.stages for block in stage]
        shapes = [tuple(block.conv1.weight.shape[:2]) for block in blocks]
        assert shapes == [(4, 4), (4, 4), (8, 4), (8, 8), (8, 8)]
        assert [block.conv1.stride for block in blocks] == [
            (1, 1, 1), (1, 1, 1), (2, 2, 2), (1, 1, 1), (1, 1, 1)]
        assert all(block.conv2.stride == (1, 1, 1) for block in blocks)
        shortcuts = [[type(module) for module in block.shortcut] for block in blocks]
        assert shortcuts == [[], [], [SpatialConv, nn.BatchNorm3d], [], []]


class TestArms:
    def test_full_and_factorised_differ_in_the_convolution_alone(self):
        full, factorised = parsed("full3d"), parsed("r2plus1d")
        assert full["init_args"].pop("conv") == {"class_path": "ptl_skel.backbones.Conv3D"}
        assert factorised["init_args"].pop("conv") == {
            "class_path": "ptl_skel.backbones.Conv2Plus1D",
            "init_args": {"middle": "matched", "causal": False}}
        assert full == factorised

    def test_reduced_differs_in_middle_channels_and_strides_alone(self):
        factorised, reduced = parsed("r2plus1d")["init_args"], parsed("reduced")["init_args"]
        assert reduced["conv"]["class_path"] == factorised["conv"]["class_path"]
        assert reduced["conv"]["init_args"] == {"middle": 1.0, "causal": False}
        for name in ("conv", "stem_stride", "strides"):
            assert reduced.pop(name) != factorised.pop(name)
        assert reduced == factorised

    def test_narrow_differs_in_middle_channels_and_widths_alone(self):
        factorised, narrow = parsed("r2plus1d")["init_args"], parsed("narrow")["init_args"]
        narrow["conv"]["init_args"]["middle"] = factorised["conv"]["init_args"]["middle"]
        for name in ("stem_width", "widths"):
            before, after = factorised.pop(name), narrow.pop(name)
            assert torch.tensor(after).mul(2).tolist() == before
        assert factorised == narrow

    def test_parameters_of_the_arms(self):
        full, factorised, reduced, narrow = (
            sum(p.numel() for p in load_backbone(f"backbone/{arm}.yaml", 17).parameters())
            for arm in ARMS)
        # The rule of matched channels: equal but for what is rounded off and the norms between.
        assert abs(factorised / full - 1) < 0.01
        assert reduced < full / 2
        assert narrow < full / 8

    def test_the_default_is_within_its_bounds(self):
        network = classifier(load_backbone("backbone/reduced.yaml", 17), 60)
        cost = measure(network, (17, 32, 56, 56))
        assert cost.gmacs <= 2
        assert cost.params <= 2.2e6

    def test_a_norm_and_a_relu_stand_between_the_halves_only(self):
        full, factorised = (load_backbone(f"backbone/{arm}.yaml", 17)
                            for arm in ("full3d", "r2plus1d"))
        norms = [sum(isinstance(m, nn.BatchNorm3d) for m in net.modules())
                 for net in (full, factorised)]
        units = sum(isinstance(module, Conv2Plus1D) for module in factorised.modules())
        assert units == sum(isinstance(module, Conv3D) for module in full.modules()) == 9
        assert norms[1] - norms[0] == units


class TestArguments:
    @pytest.mark.parametrize(("change", "message"), [
        ({"depths": (1,)}, "an entry for each stage, got 2, 1 and 2"),
        ({"strides": ((1, 1),)}, "an entry for each stage, got 2, 2 and 1"),
        ({"widths": (), "depths": (), "strides": ()}, "an entry for each stage"),
        ({"widths": (4, 0)}, "must be >= 1"), ({"depths": (0, 1)}, "must be >= 1"),
        ({"stem_width": 0}, "must be >= 1"), ({"stem_stride": (0, 1)}, "must be >= 1"),
        ({"strides": ((1, 1), (2, 0))}, "must be >= 1"),
        ({"kernel": (2, 3)}, "kernel sizes must be odd"),
        ({"stem_kernel": (3, 4)}, "kernel sizes must be odd"),
        ({"kernel": (-1, 3)}, "kernel sizes must be odd"),
    ])
    def test_bad_ones_are_refused(self, change, message):
        with pytest.raises(ValueError, match=message):
            VideoResNet(**TINY | change)

    def test_the_same_seed_gives_the_same_weights(self):
        weights = []
        for _ in range(2):
            torch.manual_seed(3)
            weights.append(VideoResNet(**TINY).state_dict())
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
