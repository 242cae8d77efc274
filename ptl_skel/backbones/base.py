"""The interface of a backbone.

Adding a backbone: 1. subclass `Backbone` in a file of its own that names its paper; every width
is an argument; 2. export it in ``backbones/__init__.py``; 3. add a YAML under ``configs/backbone``
that spells out every argument except `in_channels` (and `links`), which come from the data; the
tests then pick it up.
"""

from __future__ import annotations

from typing import ClassVar, cast

from torch import Tensor, nn


class Backbone(nn.Module):
    """Inputs ``(N, in_channels, T, H, W)`` to features ``(N, num_features, T', H', W')``.

    Attributes:
        in_channels: Channels of the inputs.
        num_features: Channels of the features.
        reads: Name of the shipped representation that the network needs instead of heatmaps; a run
            uses it unless its settings name another one.
    """

    reads: ClassVar[str | None] = None
    in_channels: int
    num_features: int

    def __call__(self, inputs: Tensor) -> Tensor:
        """Features of the inputs; see the class."""
        return cast(Tensor, super().__call__(inputs))
