"""A causal network on a stream: what it computed of earlier frames is kept, not computed again.

There are two forms of a network with the same weights. The step form takes as many frames at a time
as its strides skip, the `period`, and gives one output; nothing is computed twice, it is the
cheapest. The frame form gives an output at every frame: strides become dilations, so each frame is
the last one of a period; its outputs at the ends of periods are those of the step form. It costs
several times as much, and answers from the first frame on.

States are tensors of which each row belongs to one person (or one group that is recognised
together): persons that come and go are rows added and removed. A stream begins with the states that
an empty scene leaves behind, because in training the windows of `camera_rate` begin so; states of
zeros are the zeros that a whole clip is padded with.

Reference:
    Continual 3D convolutional networks, arXiv 2106.00050, for the idea of keeping what later
    frames need. There, networks have no temporal stride and answer with a delay.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ptl_skel.backbones.layers import EveryFrame, TemporalConv, is_causal
from ptl_skel.cost.folding import FoldingError, fold_batch_norm
from ptl_skel.deploy.graph import drop_missing
from ptl_skel.deploy.rendering import make_dense
from ptl_skel.errors import UserError
from ptl_skel.representations import Representation

TOLERANCE = 1e-4
"""How far the features of a stream may be from those of a whole clip, relative to the largest."""


class Stream(nn.Module):
    """Frames of streams and their states to probabilities and new states.

    The probabilities are those of the mean of the outputs so far. From `memory` frames on, the mean
    forgets: of n outputs in that time, each new one then counts 1 / n, an earlier one less and
    less.

    Args:
        classifier: A causal backbone with its head; see `ptl_skel.training.module.classifier`.
        input_shape: Channels, height and width of its inputs.
        every_frame: Whether this is the frame form, else the step form.
        memory: Frames that the mean is over.

    Attributes:
        period: Frames between two outputs of the network on a whole clip.
        chunk: `forward` takes multiples of this number of frames: 1 in the frame form, else
            `period`.
        settle: Frames after which a state does not depend on what was before; whole chunks.

    Raises:
        UserError: The network is not causal, or does more over time than convolve.
    """

    def __init__(self, classifier: nn.Sequential, input_shape: tuple[int, int, int], *,
                 every_frame: bool, memory: int) -> None:
        super().__init__()
        if memory < 1:
            raise UserError(f"the memory of a stream must be >= 1 frame, got {memory}")
        convs = [each for each in classifier.modules() if isinstance(each, TemporalConv)]
        backbone, _ = classifier
        if not is_causal(backbone) or any(conv.groups > 1 for conv in convs):
            raise UserError(
                "a stream needs a causal network, whose outputs do not depend on later frames: "
                "train one with --model.backbone.init_args.conv.init_args.causal true")
        self.period = math.prod(conv.stride[0] for conv in convs)
        self.chunk = 1 if every_frame else self.period
        self.outputs = max(1, memory // self.chunk)
        channels, height, width = input_shape
        frames = torch.rand(1, channels, 2 * self.period, height, width)
        try:
            folded = fold_batch_norm(classifier, frames)
        except FoldingError as error:
            raise UserError(f"the network cannot run on a stream: {error}") from error
        with torch.no_grad():
            backbone, head = folded
            expected, shapes = _watch_convolutions(backbone, frames)
        self._past = _Past()
        self._shapes = _with_past(backbone, shapes, self._past, every_frame)
        self.backbone, self.linear = backbone, cast(nn.Linear, cast(nn.Sequential, head)[-1])
        past, made = self.zeros(1)[2:], []
        with torch.no_grad():
            for chunk in frames.split(self.chunk, 2):
                output, past = self._run(chunk, past)
                made.append(output)
        features = torch.cat(made, 2)
        features = features[:, :, self.period // self.chunk - 1 :: self.period // self.chunk]
        if (features.shape != expected.shape or
                (features - expected).abs().max() > TOLERANCE * expected.abs().max()):
            raise UserError("the network cannot run on a stream: it does more over time than "
                            "causal convolutions do")
        reach = sum((conv.kernel_size[0] - 1) * 2 * self.period // shape[2]
                    for conv, shape in shapes.items())
        self.settle = math.ceil(reach / self.period) * self.period
        past = self.zeros(1)[2:]
        with torch.no_grad():
            _, past = self._run(frames.new_zeros(1, channels, self.settle, height, width), past)
        for number, state in enumerate(past):
            self.register_buffer(f"empty{number}", state)

    def start(self, streams: int) -> list[Tensor]:
        """States of streams that begin after an empty scene; see `zeros` for their order."""
        mean, seen, *past = self.zeros(streams)
        return [mean, seen, *(self.get_buffer(f"empty{number}").expand_as(state).clone()
                              for number, state in enumerate(past))]

    def zeros(self, streams: int) -> list[Tensor]:
        """States that are 0: mean of the outputs, their number, the past of each layer."""
        device = self.linear.weight.device
        return [torch.zeros(streams, *shape, device=device)
                for shape in ((self.linear.in_features,), (), *self._shapes)]

    def forward(self, inputs: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """Probabilities ``(N, T', K)`` after each output, and the new states.

        Args:
            inputs: The next frames of N streams, ``(N, C, T, H, W)``, T a multiple of `chunk`.
            states: Of these streams, in the order of `start`.
        """
        mean, seen, *past = states
        features, past = self._run(inputs, past)
        means = []
        for output in features.mean((3, 4)).unbind(2):
            seen = (seen + 1).clamp(max=self.outputs)
            mean = mean + (output - mean) / seen[:, None]
            means.append(mean)
        probabilities = self.linear(torch.stack(means, 1)).softmax(-1)
        return (probabilities, mean, seen, *past)

    def _run(self, inputs: Tensor, past: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Features ``(N, C, T', H, W)``, and what the layers keep."""
        self._past.before, self._past.after = list(past), []
        features = self.backbone(inputs)
        after, self._past.after = self._past.after, []
        return features, after


class StreamFromKeypoints(nn.Module):
    """The next frames of streams as keypoints, to probabilities and new states; for export.

    Args:
        stream: The network.
        representation: What makes its inputs.
        size: Height and width of the maps, pixels.
    """

    extent: Tensor

    def __init__(self, stream: Stream, representation: Representation,
                 size: tuple[int, int]) -> None:
        super().__init__()
        self.stream = stream
        self.render = make_dense(representation, size)
        self.register_buffer("extent", torch.tensor([size[1], size[0]], dtype=torch.float32))

    def forward(self, keypoints: Tensor, scores: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """Probabilities ``(N, K)`` after these frames, and the new states.

        Args:
            keypoints: Relative to the box of each frame, which is 0 to 1: ``(N, M, P, V, 2)`` for
                the `chunk` P of the stream. A joint that is not finite is missing.
            scores: ``(N, M, P, V)``.
            states: See `Stream`.
        """
        keypoints, scores = drop_missing(keypoints, scores)
        inputs = self.render(keypoints * self.extent, scores)
        probabilities, *new = self.stream(inputs, *states)
        return (probabilities[:, -1], *new)


class _Past:
    """What the convolutions of a network keep of earlier frames, in the order in which they run."""

    before: list[Tensor]
    after: list[Tensor]


class _StepConv(nn.Module):
    """A causal convolution over time that starts with the frames it has kept, not with zeros.

    Args:
        conv: The convolution.
        shape: Of its inputs.
        past: Where kept frames come from and go to.
    """

    def __init__(self, conv: TemporalConv, shape: torch.Size, past: _Past) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self.stride = conv.stride[0]
        self.kept = conv.past
        self.state = conv.in_channels, self.kept, math.prod(shape[3:])
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


class _FrameConv(nn.Module):
    """The same with a dilation instead of a stride: an output at every frame.

    The frames that an output is made of become channels of a 1x1 convolution; so a single frame
    costs a matrix product.

    Args:
        conv: The convolution.
        shape: Of its inputs.
        past: Where kept frames come from and go to.
        dilation: Frames between those that it sees.
    """

    def __init__(self, conv: TemporalConv, shape: torch.Size, past: _Past, dilation: int) -> None:
        super().__init__()
        taps = conv.weight.detach().squeeze((3, 4)).transpose(1, 2)  # (out_channels, k, C)
        self.weight = nn.Parameter(taps.flatten(1)[..., None, None])
        self.bias = conv.bias
        self.dilation = dilation
        self.kept = (conv.kernel_size[0] - 1) * dilation
        self.state = self.kept, conv.in_channels, *shape[3:]
        self.past = past

    def forward(self, inputs: Tensor) -> Tensor:
        """``(N, C, T, H, W)`` to ``(N, out_channels, T, H, W)``."""
        frames = inputs.transpose(1, 2)
        new = frames.shape[1]
        if self.kept:
            frames = torch.cat([self.past.before.pop(0), frames], 1)
            self.past.after.append(frames[:, new:])
        if new == 1:  # as in an export: one operation
            seen = frames[:, :: self.dilation].flatten(1, 2)[:, None]
        else:
            seen = torch.cat([frames[:, start : start + new]
                              for start in range(0, self.kept + 1, self.dilation)], 2)
        outputs = F.conv2d(seen.flatten(0, 1), self.weight, self.bias)
        return outputs.view(-1, new, *outputs.shape[1:]).transpose(1, 2)


def _watch_convolutions(backbone: nn.Module, frames: Tensor
                        ) -> tuple[Tensor, dict[TemporalConv, torch.Size]]:
    """Features of a clip, and the shapes that reach the convolutions over time, in their order."""
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


def _with_past(backbone: nn.Module, shapes: dict[TemporalConv, torch.Size], past: _Past,
               every_frame: bool) -> list[tuple[int, ...]]:
    """Changes a backbone in place: its layers over time keep the past, or skip no frame.

    Args:
        backbone: The network.
        shapes: What reaches its convolutions over time, in the order in which they run.
        past: Where kept frames come from and go to.
        every_frame: Makes the frame form.

    Returns:
        The shapes of the states of a stream, in the order in which they are used.
    """
    frames = max(shape[2] for shape in shapes.values())
    convs: dict[nn.Module, _StepConv | _FrameConv] = {
        conv: _FrameConv(conv, shape, past, frames // shape[2]) if every_frame
        else _StepConv(conv, shape, past) for conv, shape in shapes.items()}
    for parent in list(backbone.modules()):
        for name, child in parent.named_children():
            if child in convs:
                setattr(parent, name, convs[child])
            elif isinstance(child, EveryFrame) and every_frame:
                setattr(parent, name, EveryFrame(1))
    return [conv.state for conv in convs.values() if conv.kept]
