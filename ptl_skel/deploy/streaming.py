"""A causal network on a stream: results for earlier frames are kept, not recomputed.

There are two forms of a network with the same weights. The step form takes as many frames at a time
as the product of its temporal strides, the `period`, and returns one output; nothing is computed
twice, so it is the cheapest. The frame form returns an output at every frame: strides become
dilations, so each frame is the last one of a period; its outputs at the ends of periods are those
of the step form. It costs several times as much, and predicts from the first frame on.

Each row of a state tensor belongs to one person (or one group that is recognised together): rows
are added and removed as persons come and go. A stream starts with the states after an empty scene,
because the windows of `camera_rate` in training do so; states of zeros correspond to the zero
padding of a whole clip.

Reference:
    Continual 3D convolutional networks, arXiv 2106.00050, for the idea of keeping what later frames
    need. There, networks have no temporal stride and predict with a delay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ptl_skel.backbones.layers import TemporalConv, is_causal, temporal_stride
from ptl_skel.cost.folding import FoldingError, fold_batch_norm
from ptl_skel.deploy.graph import drop_missing
from ptl_skel.deploy.past import Past, keep_past, watch_convolutions
from ptl_skel.deploy.rendering import make_dense
from ptl_skel.errors import UserError
from ptl_skel.representations import Representation

TOLERANCE = 1e-4
"""Largest difference of the features of a stream from those of a clip, relative to the largest."""


class StreamNetwork(nn.Module):
    """Maps frames of streams and their states to probabilities and new states.

    The probabilities are computed from the mean of the outputs so far. After `memory` frames, the
    mean forgets: with n outputs in that time, each new one then has weight 1 / n, and earlier ones
    have less and less.

    Args:
        classifier: A causal backbone with its head; see `ptl_skel.training.module.classifier`.
        input_shape: Channels, height and width of its inputs.
        every_frame: Whether this is the frame form instead of the step form.
        memory: Number of frames that the mean covers.

    Attributes:
        period: Frames between two outputs of the network on a whole clip.
        chunk: `forward` takes multiples of this number of frames: 1 in the frame form, else
            `period`.
        settle: Frames after which a state does not depend on earlier ones; a multiple of `chunk`.
        links: What `forward_chunk` takes besides inputs: the index of a state, and by how many
            chunks its output for that state is delayed.

    Raises:
        UserError: The network is not causal, or has temporal operations other than convolutions.
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
        self.period = temporal_stride(backbone)
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
            expected, shapes = watch_convolutions(backbone, frames)
        self._past = Past()
        convs_with_past = keep_past(backbone, shapes, self._past, every_frame)
        self._shapes = [conv.state for conv in convs_with_past]
        self._delays = [conv.delays for conv in convs_with_past]
        self.backbone, self.linear = backbone, cast(nn.Linear, cast(nn.Sequential, head)[-1])
        reach = sum((conv.kernel_size[0] - 1) * 2 * self.period // shape[2]
                    for conv, shape in shapes.items())
        self.settle = math.ceil(reach / self.period) * self.period
        with torch.no_grad():
            self._check_outputs(frames, expected)
            empty = frames.new_zeros(1, channels, self.settle, height, width)
            _, past = self._run(empty, self.zeros(1)[2:])
        for number, state in enumerate(past):
            self.register_buffer(f"empty{number}", state)
        self.links = [(0, 1), (1, 1), *((number, delay) for number, delays in
                                        enumerate(self._delays, 2) for delay in delays or (1,))]

    def _check_outputs(self, frames: Tensor, expected: Tensor) -> None:
        """Checks that the features of a clip that comes in chunks are those of the whole clip.

        Raises:
            UserError: They are not.
        """
        past, made = self.zeros(1)[2:], []
        for chunk in frames.split(self.chunk, 2):
            output, past = self._run(chunk, past)
            made.append(output)
        every = self.period // self.chunk
        features = torch.cat(made, 2)[:, :, every - 1 :: every]
        if (features.shape != expected.shape or
                (features - expected).abs().max() > TOLERANCE * expected.abs().max()):
            raise UserError("the network cannot run on a stream: it does more over time than "
                            "causal convolutions do")

    def start(self, streams: int) -> list[Tensor]:
        """States of streams that start after an empty scene; see `zeros` for their order."""
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
            states: States of these streams, in the order of `start`.
        """
        features, past = self._run(inputs, list(states[2:]))
        return (*self._predict(features, *states[:2]), *past)

    def forward_chunk(self, inputs: Tensor, *delayed: Tensor) -> tuple[Tensor, ...]:
        """The same for one chunk, without moving kept frames that the network does not use.

        In the frame form, a layer of dilation d uses its inputs from d, 2 d, ... frames ago, and
        all frames in between have to be kept. The caller keeps them, so nothing is copied at each
        frame.

        Args:
            inputs: The next chunk of N streams, ``(N, C, chunk, H, W)``.
            delayed: One tensor for each of `links`; `select` takes them out of states.

        Returns:
            Probabilities, and the new part of each state: in the step form all of it, in the frame
            form the newest frame, ``(N, C, H, W)``.
        """
        features, new = self._run(inputs, list(delayed[2:]), whole=False)
        return (*self._predict(features, *delayed[:2]), *new)

    def select(self, states: Sequence[Tensor], newest: bool = False) -> list[Tensor]:
        """The parts of states that `forward_chunk` takes before a chunk, or returns after it."""
        found = list(states[:2])
        for state, delays in zip(states[2:], self._delays, strict=True):
            if delays:  # frames are the second axis
                found += [state[:, -delay] for delay in ((1,) if newest else delays)]
            else:
                found.append(state)
        return found

    def _predict(self, features: Tensor, mean: Tensor, seen: Tensor
                 ) -> tuple[Tensor, Tensor, Tensor]:
        """Probabilities after each output, and the new mean and number of outputs."""
        means = []
        for output in features.mean((3, 4)).unbind(2):
            seen = (seen + 1).clamp(max=self.outputs)
            mean = mean + (output - mean) / seen[:, None]
            means.append(mean)
        return self.linear(torch.stack(means, 1)).softmax(-1), mean, seen

    def _run(self, inputs: Tensor, past: list[Tensor], whole: bool = True
             ) -> tuple[Tensor, list[Tensor]]:
        """Features ``(N, C, T', H, W)``, and what the layers keep."""
        self._past.before, self._past.after, self._past.whole = list(past), [], whole
        features = self.backbone(inputs)
        after, self._past.after = self._past.after, []
        return features, after


class StreamFromKeypoints(nn.Module):
    """Maps the next chunk of keypoints to probabilities and new states; for export.

    Args:
        stream: The network.
        representation: Makes its inputs.
        size: Height and width of the maps, pixels.
        use_scores: Weight joints by their scores; otherwise each is only present or missing.
    """

    extent: Tensor

    def __init__(self, stream: StreamNetwork, representation: Representation,
                 size: tuple[int, int], *, use_scores: bool = True) -> None:
        super().__init__()
        self.stream, self.use_scores = stream, use_scores
        self.dense = make_dense(representation, size)
        self.register_buffer("extent", torch.tensor([size[1], size[0]], dtype=torch.float32))

    def forward(self, keypoints: Tensor, scores: Tensor, *delayed: Tensor) -> tuple[Tensor, ...]:
        """Probabilities ``(N, K)`` after these frames, and the new part of the states.

        Args:
            keypoints: Keypoints of `chunk` frames; see `render`.
            scores: Their scores.
            delayed: See `StreamNetwork.forward_chunk`.
        """
        probabilities, *new = self.stream.forward_chunk(self.render(keypoints, scores), *delayed)
        return (probabilities[:, -1], *new)

    def render(self, keypoints: Tensor, scores: Tensor) -> Tensor:
        """Inputs of the network, ``(N, C, P, H, W)``.

        Args:
            keypoints: Relative to the box of each frame, which is 0 to 1: ``(N, M, P, V, 2)``. A
                joint that is not finite is missing.
            scores: ``(N, M, P, V)``.
        """
        keypoints, scores = drop_missing(keypoints, scores, use_scores=self.use_scores)
        inputs: Tensor = self.dense(keypoints * self.extent, scores)
        return inputs
