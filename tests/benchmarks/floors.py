"""The least time a network can take: its arithmetic, and the bytes that must cross memory.

What is counted is what autograd runs, operator by operator, on tensors without contents: each
tensor is written once and read once per use. Views cost nothing. ReLU and its gradient count as
part of the operator beside them, and a batch norm reads its input once, so a network that fuses
less than that stays above its floor. The larger of the two times is the floor.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

FUSED = {"aten::relu", "aten::threshold_backward", "aten::clone", "aten::_to_copy",
         "aten::detach"}
"""Part of the operator beside them, or no work that a network has to do."""
STEP = 3
"""A training step multiplies three times as much as its forward pass: two gradients more."""
OPTIMISER_BYTES = 20
"""Of SGD with momentum, for each parameter: reads it, its gradient and momentum, writes two."""


@dataclass(frozen=True)
class Work:
    """What a batch costs at least.

    Attributes:
        flops: Floating-point operations, two for each multiply-accumulate.
        numbers: Floating-point numbers read and written, of the compute dtype.
        other_bytes: Bytes besides: indices, the optimiser.
    """

    flops: float
    numbers: float = 0.0
    other_bytes: float = 0.0

    def num_bytes(self, width: int) -> float:
        """Bytes read and written, with numbers of `width` bytes."""
        return self.numbers * width + self.other_bytes


@dataclass(frozen=True)
class Floor:
    """The larger of two times, seconds, and which of them it is."""

    seconds: float
    kind: str


@dataclass(frozen=True)
class Limits:
    """What a machine reaches.

    Attributes:
        bandwidth: Bytes per second of a copy, read and written.
        flops: Floating-point operations per second of a matrix product, by dtype.
    """

    bandwidth: float
    flops: Mapping[str, float]

    def floor(self, work: Work, dtype: str) -> Floor:
        """The floor of some work in ``bf16``, ``tf32`` or ``fp32``."""
        arithmetic = work.flops / self.flops[dtype]
        memory = work.num_bytes(2 if dtype == "bf16" else 4) / self.bandwidth
        return Floor(arithmetic, "arithmetic") if arithmetic > memory else Floor(memory, "bytes")


class Traffic(TorchDispatchMode):
    """Counts what operators read and write."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no type here
        self.numbers = 0
        self.other_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (),
                           kwargs: dict[str, Any] | None = None) -> Any:
        """Runs an operator, and counts its tensors."""
        results = func(*args, **(kwargs or {}))
        name = func._schema.name
        read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if func.is_view or name in FUSED or name.endswith("_") or not read:
            return results
        written = [leaf for leaf in tree_leaves(results) if isinstance(leaf, Tensor)]
        for tensor in read + written:
            if tensor.is_floating_point():
                self.numbers += tensor.numel()
            else:
                self.other_bytes += tensor.numel() * tensor.element_size()
        return results


def work_of(network: nn.Module, shape: Sequence[int], batch: int, *, training: bool) -> Work:
    """What a batch costs in a training step, or forward only."""
    ghost = copy.deepcopy(network).to("meta").train(training)
    inputs = torch.empty(batch, *shape, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter, Traffic() as forward:
        ghost(inputs)
    flops = float(counter.get_total_flops())
    if not training:
        return Work(flops, forward.numbers, forward.other_bytes)
    label = torch.zeros(batch, dtype=torch.long, device="meta")
    with Traffic() as both:
        F.cross_entropy(ghost(inputs), label).backward()
    parameters = sum(parameter.numel() for parameter in ghost.parameters())
    return Work(STEP * flops, both.numbers, both.other_bytes + OPTIMISER_BYTES * parameters)
