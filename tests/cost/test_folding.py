import copy

import pytest
import torch
from torch import nn

from ptl_skel.cli.profile import load_backbone
from ptl_skel.configs import CONFIGS
from ptl_skel.cost.folding import fold_batch_norm
from ptl_skel.training.module import classifier

BACKBONES = sorted(path.name for path in (CONFIGS / "backbone").glob("*.yaml"))


def trained(name):
    """A network whose batch norms have seen something, and two inputs."""
    torch.manual_seed(0)
    coordinates = name == "stgcnpp.yaml"
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


@pytest.mark.parametrize("name", [name for name in BACKBONES if name != "stgcnpp.yaml"])
def test_memory_is_channels_last_in_every_layer(name):
    network, inputs = trained(name)
    left = []

    def look(layer, _, outputs):
        if not outputs.is_contiguous(memory_format=torch.channels_last_3d):
            left.append(layer)

    for layer in network.backbone.modules():
        layer.register_forward_hook(look)
    network(inputs.contiguous(memory_format=torch.channels_last_3d))
    assert not left
