import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ptl_skel.backbones import Conv2Plus1D, Conv3D
from ptl_skel.backbones.layers import (
    EveryFrame,
    GlobalAvgPool,
    SpatialConv,
    TemporalConv,
    middle_channels,
)
from ptl_skel.cli.profile import load_backbone
from ptl_skel.training.module import classifier

SIZES = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 7), st.integers(1, 7),
                  st.integers(1, 7))
KERNELS = st.sampled_from([1, 3, 5])


def with_gradients(function, inputs, weight, seed=1):
    inputs, weight = (tensor.detach().clone(memory_format=torch.preserve_format)
                      .requires_grad_() for tensor in (inputs, weight))
    outputs = function(inputs, weight)
    torch.manual_seed(seed)
    outputs.backward(torch.randn(outputs.shape, dtype=outputs.dtype))
    return outputs.detach(), inputs.grad, weight.grad


def assert_same_as_conv3d(conv, inputs):
    """Outputs and gradients, in double precision, of a layer and of `torch.nn.Conv3d`."""
    def own(inputs, weight):
        return torch.func.functional_call(conv, {"weight": weight}, inputs)

    def reference(inputs, weight):
        return F.conv3d(inputs, weight, None, conv.stride, conv.padding)

    results = with_gradients(own, inputs, conv.weight)
    expected = with_gradients(reference, inputs.contiguous(), conv.weight)
    for one, other in zip(results, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


class TestFactorised:
    @settings(max_examples=40, deadline=None)
    @given(SIZES, KERNELS, st.integers(1, 3), st.integers(1, 4), st.booleans(),
           st.sampled_from([SpatialConv, TemporalConv]))
    def test_it_is_exactly_a_3d_convolution(self, size, kernel, stride, out, channels_last, layer):
        torch.manual_seed(0)
        inputs = torch.randn(size, dtype=torch.float64)
        if channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last_3d)
        assert_same_as_conv3d(layer(size[1], out, kernel, stride).double(), inputs)

    @pytest.mark.parametrize(("layer", "kernel", "stride", "padding"), [
        (SpatialConv, (1, 3, 3), (1, 2, 2), (0, 1, 1)),
        (TemporalConv, (3, 1, 1), (2, 1, 1), (1, 0, 0))])
    def test_its_parameters_are_those_of_conv3d(self, layer, kernel, stride, padding):
        conv = layer(4, 6, 3, 2)
        reference = nn.Conv3d(4, 6, kernel, stride, padding, bias=False)
        assert {name: value.shape for name, value in conv.state_dict().items()} == {
            name: value.shape for name, value in reference.state_dict().items()}
        reference.load_state_dict(conv.state_dict())
        inputs = torch.randn(2, 4, 5, 6, 7)
        torch.testing.assert_close(conv(inputs), reference(inputs))

    def test_a_channel_wise_one_is_that_of_conv3d(self):
        conv = TemporalConv(6, 6, 5, 1, groups=6)
        reference = nn.Conv3d(6, 6, (5, 1, 1), 1, (2, 0, 0), groups=6, bias=False)
        reference.load_state_dict(conv.state_dict())
        inputs = torch.randn(2, 6, 7, 3, 4)
        torch.testing.assert_close(conv(inputs), reference(inputs))

    @pytest.mark.parametrize("layer", [SpatialConv, TemporalConv])
    def test_its_views_are_free(self, layer, monkeypatch):
        seen = {}
        convolve = F.conv2d

        def spy(inputs, *args):
            outputs = convolve(inputs, *args)
            seen["inputs"], seen["outputs"] = inputs, outputs
            return outputs

        monkeypatch.setattr(F, "conv2d", spy)
        inputs = torch.randn(2, 16, 4, 6, 8).contiguous(memory_format=torch.channels_last_3d)
        conv = layer(16, 32, 3, 1)
        conv.weight.data = conv.weight.data.contiguous(memory_format=torch.channels_last_3d)
        outputs = conv(inputs)
        assert seen["inputs"].data_ptr() == inputs.data_ptr()
        assert seen["inputs"].is_contiguous(memory_format=torch.channels_last)
        assert outputs.data_ptr() == seen["outputs"].data_ptr()
        assert outputs.is_contiguous(memory_format=torch.channels_last_3d)

    @pytest.mark.parametrize("layer", [SpatialConv, TemporalConv])
    @pytest.mark.parametrize("channels", [4, 15])
    def test_few_channels_never_meet_a_1x1_convolution_with_a_stride(self, layer, channels,
                                                                     monkeypatch):
        """Its gradient would corrupt the heap; sometimes only, so that no test can rely on it."""
        strides = []
        convolve = F.conv2d
        monkeypatch.setattr(F, "conv2d", lambda images, weight, bias, stride, *rest: (
            strides.append(stride), convolve(images, weight, bias, stride, *rest))[1])
        conv = layer(channels, 8, 1, 2)
        inputs = torch.randn(2, channels, 5, 6, 6)
        outputs = conv(inputs.contiguous(memory_format=torch.channels_last_3d))
        assert strides == [(1, 1)]
        torch.testing.assert_close(outputs, F.conv3d(inputs, conv.weight, None, conv.stride))

    def test_a_chain_of_them_stays_channels_last(self):
        unit = Conv2Plus1D(8, 16, (3, 3), (2, 2)).to(memory_format=torch.channels_last_3d)
        inputs = torch.randn(2, 8, 4, 6, 6).contiguous(memory_format=torch.channels_last_3d)
        assert unit(inputs).is_contiguous(memory_format=torch.channels_last_3d)


class TestConv3D:
    @settings(max_examples=20, deadline=None)
    @given(SIZES, KERNELS, KERNELS, st.integers(1, 3), st.integers(1, 3))
    def test_kernel_and_stride_are_temporal_then_spatial(self, size, time, space, faster, finer):
        conv = Conv3D(size[1], 2, (time, space), (faster, finer))
        assert conv.weight.shape == (2, size[1], time, space, space)
        outputs = conv(torch.randn(size))
        frames, height, width = size[2:]
        assert outputs.shape == (size[0], 2, -(-frames // faster), -(-height // finer),
                                 -(-width // finer))


    @pytest.mark.parametrize(("kernel", "frames"), [(3, 1), (3, 2), (3, 3), (5, 2), (5, 4)])
    def test_gradients_in_bfloat16(self, kernel, frames):
        """Of few frames, those of oneDNN are uninitialised memory."""
        torch.manual_seed(0)
        conv = Conv3D(32, 32, (kernel, 3)).to(memory_format=torch.channels_last_3d)
        inputs = torch.randn(4, 32, frames, 4, 4).to(memory_format=torch.channels_last_3d)
        conv(inputs).sum().backward()
        expected, conv.weight.grad = conv.weight.grad, None
        freed = torch.full((2 * conv.weight.numel(),), float("nan"))
        del freed  # what is uninitialised is likely to be this
        with torch.autocast("cpu", torch.bfloat16):
            conv(inputs).sum().backward()
        torch.testing.assert_close(conv.weight.grad, expected, rtol=0.02, atol=0.5)


class TestConv2Plus1D:
    @settings(max_examples=20, deadline=None)
    @given(SIZES, KERNELS, KERNELS, st.integers(1, 3), st.integers(1, 3))
    def test_its_outputs_have_the_shape_of_the_3d_convolution(self, size, time, space, faster,
                                                              finer):
        arguments = size[1], 3, (time, space), (faster, finer)
        inputs = torch.randn(size)
        unit = Conv2Plus1D(*arguments).eval()
        assert unit(inputs).shape == Conv3D(*arguments)(inputs).shape

    @pytest.mark.parametrize(("inputs", "outputs", "kernel", "channels"), [
        # 3 * 9 * 64 * 64 // (9 * 64 + 3 * 64) = 110592 // 768, R(2+1)D's first stage
        (64, 64, (3, 3), 144),
        # 3 * 9 * 64 * 128 // (9 * 64 + 3 * 128) = 221184 // 960 = 230.4, its second
        (64, 128, (3, 3), 230),
        # 5 * 9 * 17 * 32 // (9 * 17 + 5 * 32) = 24480 // 313 = 78.2
        (17, 32, (5, 3), 78),
    ])
    def test_matched_channels_by_hand(self, inputs, outputs, kernel, channels):
        assert middle_channels(inputs, outputs, kernel, "matched") == channels
        unit = Conv2Plus1D(inputs, outputs, kernel, (1, 1), "matched")
        assert unit[0].out_channels == unit[3].in_channels == channels

    @given(st.integers(8, 512), st.integers(8, 512), st.sampled_from([3, 5]),
           st.sampled_from([3, 5]))
    def test_matched_channels_have_the_parameters_of_the_3d_convolution(self, inputs, outputs,
                                                                        time, space):
        full = time * space**2 * inputs * outputs
        channels = middle_channels(inputs, outputs, (time, space), "matched")
        factorised = channels * (space**2 * inputs + time * outputs)
        assert 0.93 * full < factorised <= full
        # One more would be too many.
        assert factorised + space**2 * inputs + time * outputs > full

    @pytest.mark.parametrize("width", [16, 32, 64, 128, 256])
    def test_parameters_of_the_units_of_the_family(self, width):
        for inputs in (width, width // 2):
            full = sum(p.numel() for p in Conv3D(inputs, width).parameters())
            unit = Conv2Plus1D(inputs, width)
            convolutions = unit[0].weight.numel() + unit[3].weight.numel()
            assert 0.93 * full < convolutions <= full
            # 32 outputs of 1x3x3 and 3x1x1 with as many between: (9 + 3) / 27 of the parameters.
            narrow = Conv2Plus1D(width, width, middle=1.0)
            assert narrow[0].weight.numel() + narrow[3].weight.numel() == 12 * width**2

    @pytest.mark.parametrize(("middle", "channels"), [(1.0, 24), (0.5, 12), (2.0, 48), (1, 24),
                                                      (0.01, 1), (0.1, 2), (7.5, 180),
                                                      # From 8 on, whatever the outputs are.
                                                      (8, 8), (8.0, 8), (100, 100)])
    def test_middle_as_a_multiple_of_the_outputs_or_as_it_is(self, middle, channels):
        unit = Conv2Plus1D(7, 24, middle=middle)
        assert [type(module) for module in unit] == [SpatialConv, nn.BatchNorm3d, nn.ReLU,
                                                     TemporalConv]
        assert unit[0].weight.shape == (channels, 7, 1, 3, 3)
        assert unit[3].weight.shape == (24, channels, 3, 1, 1)

    @pytest.mark.parametrize("middle", [0, -1.0, float("nan"), float("inf"), 8.5])
    def test_middle_must_be_one_of_the_three(self, middle):
        with pytest.raises(ValueError, match=rf"a whole number of channels, got {middle}"):
            Conv2Plus1D(8, 8, middle=middle)


class TestGradientsInChannelsLastMemory:
    """What comes back through them has the memory of what went in."""

    @pytest.mark.parametrize(("layer", "reference"), [
        (GlobalAvgPool(), lambda inputs: inputs.mean((2, 3, 4))),
        (EveryFrame(1), lambda inputs: inputs),
        (EveryFrame(3), lambda inputs: inputs[:, :, ::3])])
    def test_values_and_memory(self, layer, reference):
        inputs = torch.rand(2, 3, 7, 4, 5).contiguous(memory_format=torch.channels_last_3d)
        inputs.requires_grad_()
        expected = reference(inputs)
        weights = torch.rand_like(expected)
        outputs = layer(inputs)
        found, = torch.autograd.grad((outputs * weights).sum(), inputs)
        gradient, = torch.autograd.grad((expected * weights).sum(), inputs)
        torch.testing.assert_close(outputs, expected)
        torch.testing.assert_close(found, gradient)
        assert found.is_contiguous(memory_format=torch.channels_last_3d)

    def test_a_network_keeps_it_to_its_first_layer(self):
        network = classifier(load_backbone("backbone/reduced.yaml", 5), 4)
        inputs = torch.rand(2, 5, 8, 16, 16).contiguous(memory_format=torch.channels_last_3d)
        seen = []

        def watch(module, args, outputs):
            outputs.register_hook(lambda gradient: seen.append(
                gradient.is_contiguous(memory_format=torch.channels_last_3d)))

        for module in network.backbone.modules():
            module.register_forward_hook(watch)
        network(inputs).square().mean().backward()
        assert len(seen) > 50
        assert all(seen)
