"""Full 3D, (2+1)D and reduced on the layouts of others: C3D-light and SlowOnly."""

from functools import partial

import pytest
import torch
import yaml
from torch import nn

from ptl_skel.backbones import C3DLight, Conv2Plus1D, Conv3D, SlowOnly
from ptl_skel.backbones.layers import SpatialConv, TemporalConv
from ptl_skel.backbones.slowonly import Bottleneck
from ptl_skel.cli.profile import load_backbone
from ptl_skel.configs import CONFIGS

HALF = partial(Conv2Plus1D, middle=0.5)
SLOWONLY = {"in_channels": 5, "stem_width": 4, "stem_kernel": 3, "stem_stride": 1,
            "widths": (4, 8), "depths": (1, 2), "strides": ((1, 2), (2, 2)),
            "temporal_kernels": (1, 3)}
LAYOUTS = {"c3d": ("c3d_light", "c3d_r2plus1d", "c3d_reduced"),
           "slowonly": ("slowonly_full3d", "slowonly_r2plus1d", "slowonly_reduced")}


def declared(name):
    return yaml.safe_load((CONFIGS / f"backbone/{name}.yaml").read_text())["init_args"]


def size(module):
    return sum(parameter.numel() for parameter in module.parameters())


class TestC3D:
    @pytest.mark.parametrize("conv", [Conv3D, Conv2Plus1D, HALF])
    def test_features_by_hand(self, conv):
        backbone = C3DLight(5, 2, conv).eval()
        assert backbone(torch.rand(2, 5, 3, 16, 24)).shape == (2, 16, 3, 2, 3)

    def test_all_six_convolutions_are_the_one_given(self):
        backbone = C3DLight(5, 8, HALF)
        units = [module for module in backbone.modules() if isinstance(module, Conv2Plus1D)]
        assert [(unit[0].in_channels, unit[0].out_channels, unit.out_channels)
                for unit in units] == [(5, 4, 8), (8, 8, 16), (16, 16, 32), (32, 16, 32),
                                       (32, 32, 64), (64, 32, 64)]
        assert not any(isinstance(module, Conv3D) for module in backbone.modules())

    def test_full_3d_is_what_it_was_published_as(self):
        assert all(isinstance(getattr(C3DLight(5, 2), name).conv, Conv3D)
                   for name in ("conv1a", "conv2a", "conv3a", "conv3b", "conv4a", "conv4b"))


class TestBottleneck:
    """A (2+1)D or full bottleneck against the same chain of `torch.nn.Conv3d`."""

    @pytest.mark.parametrize("stride", [(1, 1), (2, 2), (3, 1)])
    @pytest.mark.parametrize("conv", [None, Conv3D, Conv2Plus1D])
    def test_it_adds_three_convolutions_to_its_shortcut(self, conv, stride):
        block = Bottleneck(16, 4, 3, stride, conv).double().eval()
        inputs = torch.randn(2, 16, 7, 6, 5, dtype=torch.float64)
        fresh = (1 + 1e-5) ** 0.5  # what a fresh batch norm divides by
        time, space = stride[0], stride[1]

        def plain(module, strides=1):
            weight = module.weight
            pad = tuple(side // 2 for side in weight.shape[2:])
            return partial(nn.functional.conv3d, weight=weight, stride=strides, padding=pad)

        if conv is Conv2Plus1D:
            spatial, _, _, temporal = block.conv2.conv
            between = plain(spatial, (1, space, space))
            along = plain(temporal, (time, 1, 1))

            def second(values):
                return along((between(values) / fresh).relu())
        else:
            second = plain(block.conv2.conv, (time, space, space))
        outputs = (plain(block.conv1.conv)(inputs) / fresh).relu()
        outputs = plain(block.conv3.conv)((second(outputs) / fresh).relu()) / fresh
        beside = inputs
        if stride != (1, 1):
            beside = plain(block.downsample.conv, (time, space, space))(inputs) / fresh
        torch.testing.assert_close(block(inputs), (outputs + beside).relu())

    @pytest.mark.parametrize(("conv", "shapes"), [
        (None, [(3, 1, 1), (1, 3, 3), (1, 1, 1)]), (Conv3D, [(1, 1, 1), (3, 3, 3), (1, 1, 1)]),
        (Conv2Plus1D, [(1, 1, 1), (1, 3, 3), (3, 1, 1), (1, 1, 1)])])
    def test_kernels_by_hand(self, conv, shapes):
        block = Bottleneck(16, 4, 3, (1, 1), conv)
        assert [module.kernel_size for module in block.modules()
                if isinstance(module, nn.Conv3d)] == shapes

    @pytest.mark.parametrize("conv", [Conv3D, Conv2Plus1D])
    def test_where_it_does_not_look_at_time_it_stays_as_published(self, conv):
        one, other = (Bottleneck(16, 4, 1, (2, 2), choice).eval() for choice in (None, conv))
        other.load_state_dict(one.state_dict())
        assert [type(module) for module in one.modules()] == [
            type(module) for module in other.modules()]
        inputs = torch.randn(1, 16, 5, 4, 4)
        assert torch.equal(one(inputs), other(inputs))


class TestSlowOnly:
    @pytest.mark.parametrize("conv", [None, Conv3D, Conv2Plus1D, HALF])
    def test_features_by_hand(self, conv):
        backbone = SlowOnly(**SLOWONLY, conv=conv).eval()
        assert backbone(torch.rand(2, 5, 5, 16, 9)).shape == (2, 32, 3, 4, 3)

    @pytest.mark.parametrize("conv", [Conv3D, Conv2Plus1D])
    def test_only_stages_that_look_at_time_change(self, conv):
        backbone = SlowOnly(**SLOWONLY, conv=conv)
        seconds = [[type(block.conv2.conv) for block in getattr(backbone, stage)]
                   for stage in backbone.stages]
        assert seconds == [[SpatialConv], [conv, conv]]

    def test_memory_stays_channels_last(self):
        backbone = SlowOnly(**SLOWONLY, conv=HALF).to(memory_format=torch.channels_last_3d)
        inputs = torch.rand(2, 5, 4, 8, 8).contiguous(memory_format=torch.channels_last_3d)
        assert backbone(inputs).is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("layout", LAYOUTS)
class TestArms:
    def test_full_and_factorised_differ_in_the_convolution_alone(self, layout):
        full, factorised, _ = map(declared, LAYOUTS[layout])
        assert full.pop("conv") == {"class_path": "ptl_skel.backbones.Conv3D"}
        assert factorised.pop("conv") == {"class_path": "ptl_skel.backbones.Conv2Plus1D",
                                          "init_args": {"middle": "matched", "causal": False}}
        assert full == factorised

    def test_reduced_differs_in_middle_channels_and_widths_alone(self, layout):
        _, factorised, reduced = map(declared, LAYOUTS[layout])
        assert factorised["conv"]["init_args"].pop("middle") == "matched"
        assert reduced["conv"]["init_args"].pop("middle") == 1.0
        for name in {"width", "widths", "stem_width"}.intersection(reduced):
            before, after = factorised.pop(name), reduced.pop(name)
            assert torch.tensor(after).mul(2).tolist() == before
        assert factorised == reduced

    def test_parameters(self, layout):
        with torch.device("meta"):
            full, factorised, reduced = (
                size(load_backbone(f"backbone/{name}.yaml", 17)) for name in LAYOUTS[layout])
        assert abs(factorised / full - 1) < 0.01
        assert reduced < full / 6

    def test_no_full_convolution_is_left(self, layout):
        for name in LAYOUTS[layout][1:]:
            with torch.device("meta"):
                backbone = load_backbone(f"backbone/{name}.yaml", 17)
            assert {type(module) for module in backbone.modules()
                    if isinstance(module, nn.Conv3d)} == {SpatialConv, TemporalConv}


def test_slowonly_in_full_3d_differs_from_the_published_one_in_the_convolution_alone():
    published, full = declared("slowonly"), declared("slowonly_full3d")
    assert published.pop("conv") is None
    full.pop("conv")
    assert published == full
