"""Batch norms folded into convolutions: the same network, faster, for inference alone."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.fusion import fuse_conv_bn_weights

Network = TypeVar("Network", bound=nn.Module)


def fold_batch_norm(network: Network, inputs: Tensor) -> Network:
    """A copy in evaluation mode, whose convolutions do what batch norms behind them did.

    With fixed statistics a batch norm is a factor and a summand for each channel. One that does not
    directly follow a convolution stays.

    Args:
        network: Stays as it is.
        inputs: Any inputs it takes: they show what follows what.
    """
    folded = copy.deepcopy(network).eval()
    made: dict[int, tuple[Tensor, _ConvNd]] = {}
    followed: dict[_BatchNorm, _ConvNd] = {}

    def after_convolution(module: nn.Module, _: Any, outputs: Tensor) -> None:
        assert isinstance(module, _ConvNd)
        made[id(outputs)] = outputs, module  # kept, so that no other tensor gets its id

    def before_norm(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(module, _BatchNorm)
        if id(args[0]) in made:
            followed[module] = made[id(args[0])][1]

    hooks = [module.register_forward_hook(after_convolution) for module in folded.modules()
             if isinstance(module, _ConvNd)]
    hooks += [module.register_forward_pre_hook(before_norm) for module in folded.modules()
              if isinstance(module, _BatchNorm) and module.track_running_stats]
    with torch.no_grad():
        folded(inputs)
    for hook in hooks:
        hook.remove()
    for norm, conv in followed.items():
        assert norm.running_mean is not None
        assert norm.running_var is not None
        conv.weight, conv.bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight,
            norm.bias)
    for parent in list(folded.modules()):
        for name, child in parent.named_children():
            if child in followed:
                setattr(parent, name, nn.Identity())
    return folded
