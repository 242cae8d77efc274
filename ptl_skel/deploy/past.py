"""Temporal convolutions that keep the frames they have seen, to replace those of a network."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ptl_skel.backbones.layers import EveryFrame, TemporalConv


class Past:
    """The frames that the convolutions of a network keep, in the order in which they run.

    Attributes:
        before: The kept frames before the current ones are processed.
        after: The kept frames afterwards.
        whole: Whether these are all frames that a convolution keeps. Else, `before` are the frames
            that it sees besides a single new one, and `after` is this new one.
    """

    before: list[Tensor]
    after: list[Tensor]
    whole: bool


class StepConv(nn.Module):
    """A causal convolution over time that is padded with the frames it has kept, not with zeros.

    Args:
        conv: The convolution.
        shape: Of its inputs.
        past: Where kept frames come from and go to.

    Attributes:
        kept: Number of frames that it keeps.
        state: Their shape.
        delays: Empty: it sees all of them.
    """

    def __init__(self, conv: TemporalConv, shape: torch.Size, past: Past) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self.stride = conv.stride[0]
        self.kept = conv.past
        self.state: tuple[int, ...] = (conv.in_channels, self.kept, math.prod(shape[3:]))
        self.delays: tuple[int, ...] = ()
        self.past = past

    def forward(self, inputs: Tensor) -> Tensor:
        """``(N, C, T, H, W)`` to ``(N, out_channels, T', H, W)``."""
        size = inputs.shape[3:]
        frames = inputs.flatten(3)
        if self.kept:
            frames = torch.cat([self.past.before.pop(0), frames], 2)
            self.past.after.append(frames[:, :, frames.shape[2] - self.kept :])
        outputs = F.conv2d(frames, self.weight.squeeze(4), self.bias, (self.stride, 1))
        return outputs.view(*outputs.shape[:3], *size)


class FrameConv(nn.Module):
    """The same with a dilation instead of a stride: an output at every frame.

    The frames that an output depends on become channels of a 1x1 convolution, so a single frame
    costs one matrix product.

    Args:
        conv: The convolution.
        shape: Of its inputs.
        past: Where kept frames come from and go to.
        dilation: Frames between those that it sees.

    Attributes:
        kept: Number of frames that it keeps.
        state: Their shape.
        delays: How many frames ago the frames were that it sees, starting with the first one.
    """

    def __init__(self, conv: TemporalConv, shape: torch.Size, past: Past, dilation: int) -> None:
        super().__init__()
        taps = conv.weight.detach().squeeze((3, 4)).transpose(1, 2)  # (out_channels, k, C)
        self.weight = nn.Parameter(taps.flatten(1)[..., None, None])
        self.bias = conv.bias
        self.kept = (conv.kernel_size[0] - 1) * dilation
        self.state: tuple[int, ...] = (self.kept, conv.in_channels, *shape[3:])
        self.delays = tuple(range(self.kept, 0, -dilation))
        self.past = past

    def forward(self, inputs: Tensor) -> Tensor:
        """``(N, C, T, H, W)`` to ``(N, out_channels, T, H, W)``."""
        new = inputs.shape[2]
        frames = inputs.transpose(1, 2)
        images = [frames.flatten(0, 1)]
        if self.kept and self.past.whole:
            frames = torch.cat([self.past.before.pop(0), frames], 1)
            self.past.after.append(frames[:, new:])
            images = [frames[:, self.kept - delay :][:, :new].flatten(0, 1)
                      for delay in (*self.delays, 0)]
        elif self.kept:
            self.past.after.append(images[0])
            images = [*(self.past.before.pop(0) for _ in self.delays), *images]
        outputs = F.conv2d(torch.cat(images, 1), self.weight, self.bias)
        return outputs.view(-1, new, *outputs.shape[1:]).transpose(1, 2)


def watch_convolutions(backbone: nn.Module, frames: Tensor
                       ) -> tuple[Tensor, dict[TemporalConv, torch.Size]]:
    """Features of a clip, and the input shapes of the temporal convolutions, in their order."""
    shapes: dict[TemporalConv, torch.Size] = {}

    def note(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(module, TemporalConv)
        shapes[module] = args[0].shape

    hooks = [module.register_forward_pre_hook(note) for module in backbone.modules()
             if isinstance(module, TemporalConv)]
    features = backbone(frames)
    for hook in hooks:
        hook.remove()
    return features, shapes


def keep_past(backbone: nn.Module, shapes: dict[TemporalConv, torch.Size], past: Past,
              every_frame: bool) -> list[StepConv | FrameConv]:
    """Changes a backbone in place: its temporal layers keep the past, or do not skip frames.

    Args:
        backbone: The network.
        shapes: Input shapes of its temporal convolutions, in the order in which they run.
        past: Where kept frames come from and go to.
        every_frame: Whether to make the frame form.

    Returns:
        The layers that keep frames, in the order in which they run.
    """
    frames = max(shape[2] for shape in shapes.values())
    convs: dict[nn.Module, StepConv | FrameConv] = {
        conv: FrameConv(conv, shape, past, frames // shape[2]) if every_frame
        else StepConv(conv, shape, past) for conv, shape in shapes.items()}
    for parent in list(backbone.modules()):
        for name, child in parent.named_children():
            if child in convs:
                setattr(parent, name, convs[child])
            elif isinstance(child, EveryFrame) and every_frame:
                setattr(parent, name, nn.Identity())
    return [conv for conv in convs.values() if conv.kept]
