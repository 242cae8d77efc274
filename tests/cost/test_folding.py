import copy

import pytest
import torch
from torch import nn

from ptl_skel.backbones.layers import EveryFrame
from ptl_skel.cli.profile import load_backbone
from ptl_skel.configs import CONFIGS
from ptl_skel.cost.complexity import measure
from ptl_skel.cost.folding import FoldingError, fold_batch_norm
from ptl_skel.training.module import classifier

BACKBONES = sorted(path.name for path in (CONFIGS / "backbone").glob("*.yaml"))
ON_COORDINATES = {"conv1d.yaml", "stgcnpp.yaml"}


def trained(name):
    """A network whose batch norms have seen something, and two inputs."""
    torch.manual_seed(0)
    coordinates = name in ON_COORDINATES
    backbone = load_backbone(f"backbone/{name}", 3 if coordinates else 5)
    shape = (2, 3, 8, 2, 17) if coordinates else (2, 5, 8, 32, 32)
    network = classifier(backbone, 6)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for tensor in (module.weight.data, module.running_var):
                nn.init.uniform_(tensor, 0.8, 1.2)
            for tensor in (module.bias.data, module.running_mean):
                nn.init.normal_(tensor, std=0.1)
    return network.eval(), torch.rand(shape)


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_gives_the_same(name):
    network, inputs = trained(name)
    before = copy.deepcopy(network.state_dict())
    folded = fold_batch_norm(network, inputs[:1])
    with torch.no_grad():
        expected, logits = network(inputs), folded(inputs)
    assert (logits - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert network.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())
    assert not any(isinstance(module, nn.BatchNorm3d) for module in folded.modules())
    sizes = [sum(map(torch.numel, each.parameters())) for each in (folded, network)]
    assert sizes[0] < sizes[1]


def test_a_norm_without_a_convolution_before_it_stays():
    network = nn.Sequential(nn.BatchNorm1d(3), nn.ReLU(), nn.Conv1d(3, 4, 3), nn.ReLU(),
                            nn.BatchNorm1d(4), nn.Conv1d(4, 5, 1), nn.BatchNorm1d(5)).train()
    inputs = torch.randn(2, 3, 7)
    network(inputs)  # statistics of its own
    folded = fold_batch_norm(network, inputs)
    assert network.training
    assert [type(layer) for layer in folded] == [
        nn.BatchNorm1d, nn.ReLU, nn.Conv1d, nn.ReLU, nn.BatchNorm1d, nn.Conv1d, nn.Identity]
    assert torch.allclose(folded(inputs), network.eval()(inputs), atol=1e-6)


class Norm(nn.BatchNorm3d):
    """With statistics of its own."""

    def __init__(self, channels):
        super().__init__(channels)
        nn.init.uniform_(self.running_var, 0.5, 2)
        nn.init.normal_(self.running_mean)


class TwiceUsed(nn.Module):
    """Residual sums of a convolution before and after its batch norm."""

    def __init__(self, how):
        super().__init__()
        self.conv, self.norm = nn.Conv3d(3, 3, 1), Norm(3)
        self.last, self.last_norm = nn.Conv3d(3, 4, 1), Norm(4)
        self.how = how

    def forward(self, inputs):
        conv = self.conv(inputs)
        if self.how == "sum":
            outputs = self.norm(conv) + conv
        elif self.how == "view":
            outputs = self.norm(conv) + conv.flatten(3).view_as(conv)
        elif self.how == "list":
            outputs = torch.stack([conv, self.norm(conv)]).sum(0)
        elif self.how == "before":
            outputs = conv.relu() + self.norm(conv)
        elif self.how == "norm twice":
            outputs = self.norm(conv) + self.norm(inputs)
        else:  # the convolution runs twice
            outputs = self.norm(conv) + self.conv(conv.detach())
        return self.last_norm(self.last(outputs))


@pytest.mark.parametrize("how", ["sum", "view", "list", "before", "norm twice", "conv twice"])
def test_what_is_used_twice_stays_and_the_rest_is_folded(how):
    torch.manual_seed(0)
    network, inputs = TwiceUsed(how).eval(), torch.rand(2, 3, 4, 5, 6)
    folded = fold_batch_norm(network, inputs)
    assert isinstance(folded.norm, nn.BatchNorm3d)
    assert isinstance(folded.last_norm, nn.Identity)
    torch.testing.assert_close(folded(inputs), network(inputs))
    result = measure(network, (3, 4, 5, 6), seconds=0)
    assert result.folded


class Doubled(Norm):
    """A batch norm by its class, but not by what it computes."""

    def forward(self, inputs):
        return 2 * super().forward(inputs)


def test_a_wrong_folding_is_noticed():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(3, 3, 1), Doubled(3)).eval()
    inputs = torch.rand(2, 3, 4, 5, 6)
    with pytest.raises(FoldingError, match="outputs differ by up to"):
        fold_batch_norm(network, inputs)
    with pytest.warns(UserWarning, match="the latency is that of the network as it is"):
        result = measure(network, (3, 4, 5, 6), seconds=0)
    assert not result.folded
    assert result.latency_ms > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions(dtype):
    network, inputs = trained("reduced.yaml")
    network, inputs = network.to(dtype), inputs.to(dtype)
    folded = fold_batch_norm(network, inputs)
    assert not any(isinstance(module, nn.BatchNorm3d) for module in folded.modules())


@pytest.mark.parametrize("name", sorted(set(BACKBONES) - ON_COORDINATES))
def test_memory_is_channels_last_in_every_layer(name):
    network, inputs = trained(name)
    left = []

    def look(layer, _, outputs):
        if not outputs.is_contiguous(memory_format=torch.channels_last_3d):
            left.append(layer)

    for layer in network.backbone.modules():
        if not isinstance(layer, EveryFrame):  # a view with gaps, read by the layer behind it
            layer.register_forward_hook(look)
    network(inputs.contiguous(memory_format=torch.channels_last_3d))
    assert not left
