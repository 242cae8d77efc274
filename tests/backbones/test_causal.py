"""The causal form of (2+1)D: what it sees, and that weights can be moved between the forms."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from ptl_skel.backbones import C3DLight, Conv2Plus1D, Conv3D, SlowOnly, VideoResNet
from ptl_skel.backbones.layers import TemporalConv, is_causal
from ptl_skel.errors import UserError

CAUSAL = partial(Conv2Plus1D, middle=1.0, causal=True)
RESNET = {"in_channels": 5, "stem_width": 4, "stem_kernel": (3, 3), "stem_stride": (2, 2),
          "widths": (4, 8), "depths": (1, 2), "strides": ((1, 1), (2, 2)), "kernel": (3, 3)}
SLOWONLY = {"in_channels": 5, "stem_width": 4, "stem_kernel": 3, "stem_stride": 1,
            "widths": (4, 8), "depths": (1, 2), "strides": ((1, 2), (2, 2)),
            "temporal_kernels": (1, 3)}
NETWORKS = {"resnet": lambda conv: VideoResNet(conv=conv, **RESNET),
            "c3d": lambda conv: C3DLight(5, 2, conv),
            "slowonly": lambda conv: SlowOnly(conv=conv, **SLOWONLY)}


@given(st.sampled_from([(3, 1), (3, 2), (3, 3), (5, 2), (5, 4), (1, 1)]), st.integers(1, 17))
def test_an_output_sees_the_frames_of_its_stride_and_those_before(sizes, frames):
    kernel, stride = sizes
    layer = TemporalConv(2, 3, kernel, stride, causal=True).double()
    inputs = torch.randn(1, 2, frames, 2, 2, dtype=torch.float64)
    outputs = layer(inputs) if frames >= stride else None
    if outputs is None:
        return
    assert outputs.shape[2] == frames // stride
    for place in range(outputs.shape[2]):
        newest = stride * place + stride - 1
        seen = inputs[:, :, max(0, newest - kernel + 1) : newest + 1]
        padded = F.pad(seen, (0, 0, 0, 0, kernel - seen.shape[2], 0))
        by_hand = torch.einsum("nkthw,okt->nohw", padded, layer.weight[:, :, :, 0, 0])
        torch.testing.assert_close(outputs[:, :, place], by_hand)


@pytest.mark.parametrize("name", NETWORKS)
class TestNetworks:
    def test_later_frames_change_nothing(self, name):
        network = NETWORKS[name](CAUSAL).double().eval()
        inputs = torch.rand(2, 5, 24, 16, 16, dtype=torch.float64)
        later = inputs.clone()
        later[:, :, 12:] = torch.rand(2, 5, 12, 16, 16, dtype=torch.float64)
        one, other = network(inputs), network(later)
        seen = 12 * one.shape[2] // 24
        assert torch.equal(one[:, :, :seen], other[:, :, :seen])
        assert not torch.equal(one[:, :, seen:], other[:, :, seen:])

    def test_weights_move_between_the_forms(self, name):
        causal, symmetric = (NETWORKS[name](partial(CAUSAL, causal=each)) for each in (True, False))
        assert [(key, value.shape) for key, value in causal.state_dict().items()] == [
            (key, value.shape) for key, value in symmetric.state_dict().items()]
        causal.load_state_dict(symmetric.state_dict())
        inputs = torch.rand(1, 5, 8, 16, 16)
        assert not torch.equal(causal.eval()(inputs), symmetric.eval()(inputs))

    def test_any_number_of_frames_is_rounded_down(self, name):
        network = NETWORKS[name](CAUSAL).eval()
        strides = [module.stride[0] for module in network.modules()
                   if isinstance(module, TemporalConv)]
        period = int(torch.tensor(strides).prod())
        for frames in (period, period + 1, 3 * period - 1, 3 * period):
            assert network(torch.rand(1, 5, frames, 16, 16)).shape[2] == frames // period

    def test_memory_stays_channels_last(self, name):
        network = NETWORKS[name](CAUSAL).to(memory_format=torch.channels_last_3d)
        inputs = torch.rand(2, 5, 8, 16, 16).contiguous(memory_format=torch.channels_last_3d)
        assert network(inputs).is_contiguous(memory_format=torch.channels_last_3d)

    def test_it_is_known(self, name):
        assert is_causal(NETWORKS[name](CAUSAL))
        assert not is_causal(NETWORKS[name](Conv2Plus1D))
        assert not is_causal(NETWORKS[name](Conv3D))


def test_for_stride_2_and_an_even_number_of_frames_it_is_the_symmetric_convolution():
    causal, symmetric = (TemporalConv(2, 3, 3, 2, causal=each) for each in (True, False))
    causal.load_state_dict(symmetric.state_dict())
    inputs = torch.randn(1, 2, 8, 2, 2)
    torch.testing.assert_close(causal(inputs), symmetric(inputs))


def test_a_stride_longer_than_the_kernel_is_refused():
    with pytest.raises(UserError, match="at least as long as its stride, got 1 and 2"):
        Conv2Plus1D(4, 4, (1, 3), (2, 1), causal=True)
