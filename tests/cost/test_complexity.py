import pytest
import torch
from torch import nn

from ptl_skel.backbones import Conv2Plus1D, Conv3D
from ptl_skel.cli.profile import load_backbone
from ptl_skel.cost import complexity
from ptl_skel.cost.complexity import measure
from ptl_skel.training.module import classifier


def cost(model, shape):
    return measure(model, shape, seconds=0)


def test_a_convolution_by_hand():
    # 8 outputs from 5 x 3 x 3 x 3 inputs each, at 4 x 6 x 10 places; no bias.
    result = cost(nn.Sequential(Conv3D(5, 8)), (5, 4, 6, 10))
    assert result.params == 8 * 5 * 27
    assert result.gmacs == pytest.approx(8 * 5 * 27 * 240 / 1e9)
    assert result.input_shape == (5, 4, 6, 10)


def test_a_factorised_convolution_by_hand():
    # Stride 2 in time and space: the spatial half sees 4 frames of 3 x 5, the temporal half 2.
    result = cost(Conv2Plus1D(5, 8, (3, 3), (2, 2), middle=0.5), (5, 4, 6, 10))
    assert result.params == 4 * 5 * 9 + 2 * 4 + 8 * 4 * 3
    assert result.gmacs == pytest.approx((4 * 5 * 9 * 60 + 8 * 4 * 3 * 30) / 1e9)


def test_a_linear_layer_by_hand():
    result = cost(nn.Sequential(nn.Flatten(), nn.Linear(24, 7)), (1, 4, 2, 3))
    assert result.params == 24 * 7 + 7
    assert result.gmacs == pytest.approx(24 * 7 / 1e9)


class OverTime(nn.Module):
    """Runs a layer on sequences: inputs ``(N, C, T, 1, 1)`` to ``(N, T, C)``."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, inputs):
        outputs = self.layer(inputs.flatten(2).transpose(1, 2))
        return outputs[0] if isinstance(outputs, tuple) else outputs


@pytest.mark.parametrize(("layer", "macs"), [
    # In each of 10 frames: queries, keys, values and outputs, and the two linear layers; then the
    # products of queries with keys and of the weights with values.
    (nn.TransformerEncoderLayer(16, 4, 32, batch_first=True),
     10 * (4 * 16 * 16 + 2 * 16 * 32) + 2 * 10 * 10 * 16),
    # In each frame four gates, from the input and from the state.
    (nn.LSTM(16, 16, batch_first=True), 10 * 4 * 2 * 16 * 16),
    (nn.GRU(16, 16, batch_first=True, bidirectional=True), 2 * 10 * 3 * 2 * 16 * 16)])
def test_layers_over_time_by_hand(layer, macs):
    """PyTorch runs some as one fused operation, which has to be counted as well."""
    assert cost(OverTime(layer), (16, 10, 1, 1)).gmacs == pytest.approx(macs / 1e9)
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch.backends.mkldnn.is_available() == torch._C._get_mkldnn_enabled()


def test_the_factorised_arm_costs_what_its_layers_cost():
    """A whole network, added up layer by layer with hooks."""
    network = classifier(load_backbone("backbone/r2plus1d.yaml", 17), 60)
    macs = []

    def count(module, inputs, outputs):
        places = outputs[0, 0].numel() if outputs.ndim == 5 else 1
        macs.append(module.weight.numel() * places)

    hooks = [module.register_forward_hook(count) for module in network.modules()
             if isinstance(module, nn.Conv3d | nn.Linear)]
    network.eval()(torch.zeros(1, 17, 8, 24, 20))
    for hook in hooks:
        hook.remove()
    assert len(macs) == 9 * 2 + 3 + 1  # units of two, shortcuts, the linear layer
    assert cost(network, (17, 8, 24, 20)).gmacs == pytest.approx(sum(macs) / 1e9)


@pytest.mark.parametrize("training", [True, False])
def test_the_network_comes_back_as_it_was(training):
    network = nn.Sequential(Conv3D(2, 2), nn.BatchNorm3d(2)).train(training)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    cost(network, (2, 2, 4, 4))
    assert all(module.training == training for module in network.modules())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not any(parameter.grad is not None for parameter in network.parameters())


def test_part_of_it_in_another_mode_stays_so():
    network = nn.Sequential(Conv3D(2, 2), nn.BatchNorm3d(2).eval())
    cost(network, (2, 2, 4, 4))
    assert [module.training for module in network] == [True, False]


def test_latency_is_the_median_after_a_warm_up(monkeypatch):
    class Slow(nn.Linear):
        passes = 0

        def forward(self, inputs):
            Slow.passes += 1
            return super().forward(inputs)

    # The start, the begin and the end of each pass, and a look at the clock when four are done.
    clock = iter([0, 0, 9, 9, 10, 10, 12, 12, 17, 17])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    result = measure(Slow(3, 3), (3,), seconds=0)
    assert Slow.passes == 1 + 2 + 4  # MACs, folding and its check, latency
    assert result.latency_ms == 2000  # the median of 1, 2 and 5 s, without the first pass
    assert "cpu" in result.device


@pytest.mark.parametrize("shape", [(3, 2, 4, 4), (2, 4)])
def test_an_input_that_does_not_fit_is_refused(shape):
    network = nn.Sequential(Conv3D(2, 2)).train()
    with pytest.raises(RuntimeError) as raised:
        cost(network, shape)
    assert raised.value.__notes__ == [f"The network was given inputs of {shape}."]
    assert network.training


def test_slowdown_is_bfloat16_over_float32(monkeypatch):
    def median_ms(model, inputs, seconds):
        assert model(inputs).shape == inputs.shape
        return {torch.float32: 2.0, torch.bfloat16: 3.0}[inputs.dtype]

    monkeypatch.setattr(complexity, "_median_ms", median_ms)
    assert complexity.bfloat16_slowdown() == 1.5
