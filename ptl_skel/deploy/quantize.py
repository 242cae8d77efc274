"""ONNX files in 8 bits: weights per channel, activations calibrated on clips.

Only the network is quantised. Box, resizing and rendering stay in single precision: coordinates in
8 bits would move joints by pixels.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ptl_skel.deploy.export import Arrays

QUANTISED = ("Conv", "Gemm", "Add", "Relu")
"""Operators that compute in 8 bits."""


def quantize(path: Path, out: Path, feeds: Iterable[Arrays]) -> None:
    """Writes the 8-bit form of a file, with its metadata.

    Args:
        path: ONNX file in single precision.
        out: Where to write.
        feeds: Inputs to measure the range of every activation on, one after the other.

    Reference:
        "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
        Inference", arXiv 1712.05877.
    """
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the package has no types
        def __init__(self) -> None:
            self.feeds = iter(feeds)

        def get_next(self) -> dict[str, Any] | None:
            feed = next(self.feeds, None)
            return None if feed is None else dict(feed)

    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(path, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared, out, Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            op_types_to_quantize=list(QUANTISED),
            nodes_to_exclude=before_network(onnx.load(prepared)))
    model = onnx.load(out)
    del model.metadata_props[:]
    model.metadata_props.extend(onnx.load(path, load_external_data=False).metadata_props)
    onnx.save(model, out)


def before_network(model: Any) -> list[str]:
    """Names of the nodes before the first convolutions: box, resizing and rendering.

    Args:
        model: An `onnx.ModelProto` with topologically sorted nodes.
    """
    after: set[str] = set()
    names = []
    for node in model.graph.node:
        if node.op_type == "Conv" or after.intersection(node.input):
            after.update(node.output)
        else:
            names.append(node.name)
    return names
