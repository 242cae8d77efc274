"""What a network costs: parameters, multiply-accumulates, latency.

Convention: one multiply-accumulate (MAC) is one product added to a sum, in convolutions and matrix
    products; batch norm, activations and pooling are not counted. The FLOPs in papers of this field
    are MACs. Latency is the median time of a forward pass in evaluation mode, with batch norms
    folded into the convolutions, as in deployment.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ptl_skel.cost.folding import FoldingError, fold_batch_norm
from ptl_skel.cost.latency import forward_pass, measure_in_turn


@dataclass(frozen=True)
class Complexity:
    """Cost of one input.

    Attributes:
        params: Number of parameters.
        gmacs: Multiply-accumulates of one input, in billions.
        latency_ms: Median time of a forward pass with a batch of one, batch norms folded,
            milliseconds.
        input_shape: ``(C, T, H, W)`` of the input.
        device: The device on which the latency was measured, e.g. ``cpu, 2 threads``.
        folded: Whether batch norms were folded; False if they cannot be.
    """

    params: int
    gmacs: float
    latency_ms: float
    input_shape: tuple[int, ...]
    device: str
    folded: bool = True


def measure(model: nn.Module, input_shape: tuple[int, ...], seconds: float = 1.0) -> Complexity:
    """Measures a network on one input, on the device of its parameters.

    Args:
        model: Takes ``(N, *input_shape)``; its layers keep their training or evaluation mode.
        input_shape: ``(C, T, H, W)``.
        seconds: How long to measure the latency, approximately; at least three passes.

    Raises:
        RuntimeError: The network does not take inputs of that shape; a note names the shape.
    """
    device = next(model.parameters()).device
    # Not zeros, which could hide wrong folding; the global random state does not change.
    inputs = torch.rand(1, *input_shape, generator=torch.Generator().manual_seed(0)).to(device)
    if inputs.ndim == 5:
        inputs = inputs.contiguous(memory_format=torch.channels_last_3d)
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            with _in_matrix_products(model), FlopCounterMode(display=False) as counter:
                model(inputs)
            deployed, folded = _deployed(model, inputs)
            latency = _median_ms(deployed, inputs, seconds)
    except RuntimeError as error:
        error.add_note(f"The network was given inputs of {tuple(input_shape)}.")
        raise
    finally:
        for module, training in modes:
            module.training = training
    name = (torch.cuda.get_device_name(device) if device.type == "cuda"
            else f"{device.type}, {torch.get_num_threads()} threads")
    return Complexity(sum(parameter.numel() for parameter in model.parameters()),
                      counter.get_total_flops() / 2e9, latency, tuple(input_shape), name,
                      folded)


@contextlib.contextmanager
def _in_matrix_products(model: nn.Module) -> Iterator[None]:
    """Attention and LSTMs run as matrix products: `FlopCounterMode` skips fused operations."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            if any(isinstance(module, nn.RNNBase) for module in model.modules()):
                stack.enter_context(warnings.catch_warnings(action="ignore"))
                stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
                stack.enter_context(torch.backends.cudnn.flags(enabled=False))
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _deployed(model: nn.Module, inputs: torch.Tensor) -> tuple[nn.Module, bool]:
    """The network for deployment, and whether its batch norms are folded."""
    try:
        return fold_batch_norm(model, inputs), True
    except FoldingError as error:
        warnings.warn(f"the latency is that of the network as it is: {error}", stacklevel=3)
        return model, False


def bfloat16_slowdown() -> float:
    """Time of a matrix product in bfloat16 relative to float32, on the CPU.

    Less than 1 if the CPU has instructions for bfloat16, above 10 if PyTorch emulates them. The
    measurement takes less than 0.1 s.
    """
    factors = torch.ones(256, 256)
    product = nn.Linear(256, 256, bias=False)
    with torch.inference_mode():
        single, half = (_median_ms(product.to(dtype), factors.to(dtype), 0)
                        for dtype in (torch.float32, torch.bfloat16))
    return half / single


def _median_ms(model: nn.Module, inputs: torch.Tensor, seconds: float) -> float:
    return measure_in_turn([forward_pass(model, inputs)], seconds)[0].p50_ms
