"""Batch norms folded into convolutions: the same network, faster, for inference only."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.overrides import TorchFunctionMode

Network = TypeVar("Network", bound=nn.Module)


class FoldingError(Exception):
    """The outputs of the folded network differ from those of the network."""


def fold_batch_norm(network: Network, inputs: Tensor) -> Network:
    """A copy in evaluation mode, with batch norms folded into the convolutions before them.

    With fixed statistics, a batch norm is a factor and an offset for each channel. It is folded if
    it directly follows a convolution, both run once, and nothing else uses the output of the
    convolution, e.g. a residual sum; other batch norms are kept.

    Args:
        network: The network, which is not changed.
        inputs: Any inputs it takes, not only zeros: they are used to trace the order of layers, and
            to compare the outputs.

    Raises:
        FoldingError: The outputs differ, e.g. because a subclass changes what a layer computes.
    """
    folded = copy.deepcopy(network).eval()
    with torch.no_grad():
        expected, pairs = _find_pairs(folded, inputs)
        for conv, norm in pairs:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            conv.weight, conv.bias = fuse_conv_bn_weights(
                conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps,
                norm.weight, norm.bias)
        norms = {norm for _, norm in pairs}
        for parent in list(folded.modules()):
            for name, child in parent.named_children():
                if child in norms:
                    setattr(parent, name, nn.Identity())
        # Half of the digits, since rounding errors grow from layer to layer.
        tolerance = torch.finfo(expected.dtype).eps ** 0.5 * expected.abs().max()
        difference = (folded(inputs) - expected).abs().max()
    if not expected.is_meta and not difference <= tolerance:  # meta tensors have no values
        raise FoldingError(f"with batch norms folded, outputs differ by up to {difference:.2g}")
    return folded


def _find_pairs(network: nn.Module, inputs: Tensor
                ) -> tuple[Tensor, list[tuple[_ConvNd, _BatchNorm]]]:
    """Outputs of a network, and its convolutions with the batch norms that can be folded."""
    made: dict[int, tuple[Tensor, _ConvNd]] = {}
    candidates: list[tuple[Tensor, _ConvNd, _BatchNorm]] = []
    runs: Counter[nn.Module] = Counter()
    uses = _CountUses()

    def after_convolution(conv: nn.Module, _: Any, outputs: Tensor) -> None:
        assert isinstance(conv, _ConvNd)
        runs[conv] += 1
        made[id(outputs)] = outputs, conv  # kept alive, so that no other tensor gets its id
        uses.counts[id(outputs)] = 0

    def before_norm(norm: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, _BatchNorm)
        runs[norm] += 1
        if id(args[0]) in made:
            candidates.append((*made[id(args[0])], norm))

    hooks = [module.register_forward_hook(after_convolution) for module in network.modules()
             if isinstance(module, _ConvNd)]
    hooks += [module.register_forward_pre_hook(before_norm) for module in network.modules()
              if isinstance(module, _BatchNorm) and module.track_running_stats]
    with uses:
        outputs = network(inputs)
    for hook in hooks:
        hook.remove()
    return outputs, [(conv, norm) for tensor, conv, norm in candidates
                     if runs[conv] == runs[norm] == uses.counts[id(tensor)] == 1]


class _CountUses(TorchFunctionMode):
    """Counts how often each tensor, by its id, is used to compute another one."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[int] = Counter()

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (),
                           kwargs: Mapping[str, Any] | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if any(_tensors(result)):
            self.counts.update(_tensors((args, kwargs)))
        return result


def _tensors(values: Any) -> Iterator[int]:
    """Ids of the tensors in nested containers."""
    if isinstance(values, Tensor):
        yield id(values)
    elif isinstance(values, Mapping):
        yield from _tensors(tuple(values.values()))
    elif isinstance(values, tuple | list):
        for value in values:
            yield from _tensors(value)
