"""Converts a graph model of TensorFlow.js into an ONNX model, without TensorFlow.

It supports the operations of MoveNet. Integers become int64, as ONNX requires for shapes and
indices. Weights that are stored as float16 remain so; ONNX Runtime casts them once, at loading.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, DTypeLike, NDArray
from onnx import TensorProto, helper, numpy_helper

from ptl_skel.errors import UserError

_OPSET, _IR = 18, 9
_END = 2**31  # end of an open-ended slice
_TO_CHANNELS_FIRST, _TO_CHANNELS_LAST = [0, 3, 1, 2], [0, 2, 3, 1]  # ONNX has channels first

_RENAMED = {
    "Abs": "Abs", "AddN": "Sum", "AddV2": "Add", "Equal": "Equal", "Exp": "Exp", "FloorDiv": "Div",
    "GatherNd": "GatherND", "Greater": "Greater", "GreaterEqual": "GreaterOrEqual",
    "Identity": "Identity", "Less": "Less", "LogicalAnd": "And", "Maximum": "Max", "Minimum": "Min",
    "Mul": "Mul", "Range": "Range", "RealDiv": "Div", "Reciprocal": "Reciprocal",
    "Relu": "Relu", "Reshape": "Reshape", "Select": "Where", "Shape": "Shape", "Sigmoid": "Sigmoid",
    "Size": "Size", "Sqrt": "Sqrt", "Sub": "Sub", "Tile": "Tile"}
_TYPES = {"DT_FLOAT": TensorProto.FLOAT, "DT_INT32": TensorProto.INT64, "DT_BOOL": TensorProto.BOOL}
_PADDING = {"SAME": "SAME_UPPER", "VALID": "VALID"}


def convert_model(model: Mapping[str, Any], blob: bytes) -> onnx.ModelProto:
    """The ONNX model of a graph model.

    The sizes of the input are dynamic if the model declares this, or if they are those of an image.

    Args:
        model: Content of its JSON file.
        blob: Content of its binary files, one after the other.

    Raises:
        UserError: It has an unsupported operation, or the weights do not fit.
    """
    graph = _Graph(read_weights(model, blob))
    for node in model["modelTopology"]["node"]:
        graph.add(node)
    outputs = [entry["name"].split(":")[0] for entry in model["signature"]["outputs"].values()]
    return graph.finish([(name, [int(dim["size"]) for dim in entry["tensorShape"]["dim"]])
                         for name, entry in zip(outputs, model["signature"]["outputs"].values(),
                                                strict=True)])


def read_weights(model: Mapping[str, Any], blob: bytes) -> dict[str, NDArray[Any]]:
    """The weights of a graph model by name: float32, float16 if they are stored so, or int64.

    Raises:
        UserError: The blob is longer or shorter than the model declares, or a weight is stored in
            another format.
    """
    weights: dict[str, NDArray[Any]] = {}
    offset = 0
    for entry in (weight for group in model["weightsManifest"] for weight in group["weights"]):
        stored = entry.get("quantization", {}).get("dtype", entry["dtype"])
        if stored not in {"float32", "float16", "int32"}:
            raise UserError(f"the weight {entry['name']} is stored as {stored}, which cannot be "
                            "converted")
        size = int(np.prod(entry["shape"], dtype=int))
        if offset + size * np.dtype(stored).itemsize > len(blob):
            raise UserError("the binary file of the model is too short")
        values = np.frombuffer(blob, stored, size, offset)
        offset += values.nbytes
        kind = np.int64 if stored == "int32" else values.dtype
        weights[entry["name"]] = values.astype(kind).reshape(entry["shape"])
    if offset != len(blob):
        raise UserError("the binary file of the model is too long")
    return weights


class _Node:
    """A node of the graph model: its inputs and its attributes as Python values."""

    def __init__(self, node: Mapping[str, Any]) -> None:
        self.op, self.name = str(node["op"]), str(node["name"])
        self.inputs = [_reference(name) for name in node.get("input", ()) if name[0] != "^"]
        self._attributes = node.get("attr", {})

    def __call__(self, name: str, default: Any = None) -> Any:
        """An attribute, or `default` if the node does not have it."""
        value = self._attributes.get(name)
        if not value:
            return default
        kind, content = next(iter(value.items()))
        if kind != "list":
            return _decode(kind, content)
        return [_decode(kind, one) for kind, many in content.items() for one in many]


def _reference(name: str) -> str:
    base, _, port = name.partition(":")
    return base if port in {"", "0"} else f"{base}:{port}"


def _decode(kind: str, content: Any) -> Any:
    if kind == "i":
        return int(content)
    return base64.b64decode(content).decode() if kind == "s" else content


class _Graph:
    """The ONNX graph under construction."""

    def __init__(self, weights: Mapping[str, NDArray[Any]]) -> None:
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._values: dict[str, NDArray[Any]] = {}
        self._new = itertools.count()

    def add(self, node: Mapping[str, Any]) -> None:
        """Adds a node of the graph model; its outputs keep their names.

        Raises:
            UserError: The operation is not supported.
        """
        one = _Node(node)
        if one.op in _RENAMED:
            self._emit(_RENAMED[one.op], one.inputs, [one.name])
        elif one.op in _RULES:
            _RULES[one.op](self, one)
        else:
            raise UserError(f"the model has the operation {one.op}, which cannot be converted")

    def finish(self, outputs: Sequence[tuple[str, Sequence[int]]]) -> onnx.ModelProto:
        """The model with outputs of these names and shapes."""
        used = {name for node in self._nodes for name in node.input}
        casts, stored = [], []
        for name, value in self._values.items():
            if name in used and value.dtype == np.float16:
                casts.append(helper.make_node("Cast", [f"{name}/16"], [name],
                                              to=TensorProto.FLOAT))
                stored.append(numpy_helper.from_array(value, f"{name}/16"))
            elif name in used:
                stored.append(numpy_helper.from_array(value, name))
        made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
                for name, shape in outputs]
        graph = helper.make_graph([*casts, *self._nodes], "converted", self._inputs, made, stored)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)],
                                  ir_version=_IR)
        onnx.checker.check_model(model)
        return model

    def _emit(self, op: str, inputs: Sequence[str], outputs: Sequence[str] = (), **attributes: Any
              ) -> str:
        """Adds an ONNX node; returns the name of its first output."""
        outputs = outputs or [f"new/{next(self._new)}"]
        self._nodes.append(helper.make_node(op, inputs, outputs, **attributes))
        return outputs[0]

    def _constant(self, value: ArrayLike, dtype: DTypeLike = np.int64) -> str:
        name = f"new/{next(self._new)}"
        self._values[name] = np.array(value, dtype, order="C")
        return name

    def _integers(self, name: str) -> list[int]:
        """The numbers in a constant."""
        return [int(value) for value in self._values[name].ravel()]

    def _const(self, node: _Node) -> None:
        self._values[node.name] = self._weights[node.name]

    def _placeholder(self, node: _Node) -> None:
        self._inputs.append(helper.make_tensor_value_info(
            node.name, TensorProto.INT32, [1, "height", "width", 3]))

    def _cast(self, node: _Node) -> None:
        self._emit("Cast", node.inputs, [node.name], to=_TYPES[node("DstT")])

    def _convolve(self, node: _Node) -> None:
        kernel = self._values[node.inputs[1]]
        groups = {}
        if "Depthwise" in node.op:
            channels, times = kernel.shape[2:]
            groups["group"] = channels
            kernel = kernel.transpose(2, 3, 0, 1).reshape(channels * times, 1, *kernel.shape[:2])
        else:
            kernel = kernel.transpose(3, 2, 0, 1)
        fused = node("fused_ops", [])
        unknown = set(fused) - {"BiasAdd", "Relu", "Relu6"}
        if unknown:
            raise UserError(f"the model has a convolution with {', '.join(sorted(unknown))}, which "
                            "cannot be converted")
        found = self._emit(
            "Conv", [self._emit("Transpose", node.inputs[:1], perm=_TO_CHANNELS_FIRST),
                     self._constant(kernel, kernel.dtype),
                     *([node.inputs[2]] if "BiasAdd" in fused else ())],
            kernel_shape=kernel.shape[2:], strides=node("strides")[1:3],
            dilations=node("dilations", [1] * 4)[1:3], auto_pad=_PADDING[node("padding")], **groups)
        if "Relu6" in fused:
            found = self._emit("Clip", [found, self._constant(0, np.float32),
                                        self._constant(6, np.float32)])
        elif "Relu" in fused:
            found = self._emit("Relu", [found])
        self._emit("Transpose", [found], [node.name], perm=_TO_CHANNELS_LAST)

    def _max_pool(self, node: _Node) -> None:
        found = self._emit(
            "MaxPool", [self._emit("Transpose", node.inputs[:1], perm=_TO_CHANNELS_FIRST)],
            kernel_shape=node("ksize")[1:3], strides=node("strides")[1:3],
            auto_pad=_PADDING[node("padding")])
        self._emit("Transpose", [found], [node.name], perm=_TO_CHANNELS_LAST)

    def _resize(self, node: _Node) -> None:
        image = self._emit("Transpose", node.inputs[:1], perm=_TO_CHANNELS_FIRST)
        shape = self._emit("Shape", [image], end=2)
        sizes = self._emit("Concat", [shape, node.inputs[1]], axis=0)
        places = ("half_pixel" if node("half_pixel_centers", False) else
                  "align_corners" if node("align_corners", False) else "asymmetric")
        found = self._emit("Resize", [image, "", "", sizes], mode="linear",
                           coordinate_transformation_mode=places)
        self._emit("Transpose", [found], [node.name], perm=_TO_CHANNELS_LAST)

    def _slice(self, node: _Node) -> None:
        begins, ends, steps = (self._integers(name) for name in node.inputs[1:4])
        if node("ellipsis_mask", 0):
            raise UserError("the model has a slice with an ellipsis, which cannot be converted")
        cuts: list[tuple[int, int, int, int]] = []  # axis of the input, begin, end, step
        dropped: list[int] = []  # axes of the input
        new: list[int] = []  # axes of the output
        axis = place = 0
        for i, (begin, end, step) in enumerate(zip(begins, ends, steps, strict=True)):
            masks = {mask for mask in ("begin", "end", "new_axis", "shrink_axis")
                     if node(f"{mask}_mask", 0) >> i & 1}
            if "new_axis" in masks:
                new.append(place)
                place += 1
                continue
            if "shrink_axis" in masks:
                cuts.append((axis, begin, begin + 1 or _END, 1))
                dropped.append(axis)
            else:
                cut = 0 if "begin" in masks else begin, _END if "end" in masks else end, step
                if cut != (0, _END, 1):
                    cuts.append((axis, *cut))
                place += 1
            axis += 1
        found = node.inputs[0]
        if cuts:
            axes, first, last, by = zip(*cuts, strict=True)
            found = self._emit("Slice", [found, *map(self._constant, (first, last, axes, by))])
        if dropped:
            found = self._emit("Squeeze", [found, self._constant(dropped)])
        if new:
            found = self._emit("Unsqueeze", [found, self._constant(new)])
        self._emit("Identity", [found], [node.name])

    def _squeeze(self, node: _Node) -> None:
        self._emit("Squeeze", [*node.inputs, self._constant(node("squeeze_dims"))], [node.name])

    def _expand(self, node: _Node) -> None:
        axes = self._constant(self._integers(node.inputs[1]))
        self._emit("Unsqueeze", [node.inputs[0], axes], [node.name])

    def _pack(self, node: _Node) -> None:
        axis = node("axis", 0)
        parts = [self._emit("Unsqueeze", [part, self._constant([axis])]) for part in node.inputs]
        self._emit("Concat", parts, [node.name], axis=axis)

    def _unpack(self, node: _Node) -> None:
        axis, count = node("axis", 0), node("num")
        parts = [f"new/{next(self._new)}" for _ in range(count)]
        self._emit("Split", node.inputs, parts, axis=axis, num_outputs=count)
        for part, name in zip(parts, _outputs(node, count), strict=True):
            self._emit("Squeeze", [part, self._constant([axis])], [name])

    def _split(self, node: _Node) -> None:
        count = node("num_split")
        self._emit("Split", node.inputs[1:], _outputs(node, count), num_outputs=count,
                   axis=self._integers(node.inputs[0])[0])

    def _fill(self, node: _Node) -> None:
        self._emit("Expand", node.inputs[::-1], [node.name])

    def _top_k(self, node: _Node) -> None:
        number = self._constant(self._integers(node.inputs[1]))
        self._emit("TopK", [node.inputs[0], number], _outputs(node, 2), axis=-1)

    def _arg_max(self, node: _Node) -> None:
        self._emit("ArgMax", node.inputs[:1], [node.name], keepdims=0,
                   axis=self._integers(node.inputs[1])[0])

    def _squared_difference(self, node: _Node) -> None:
        difference = self._emit("Sub", node.inputs)
        self._emit("Mul", [difference, difference], [node.name])

    def _reduce(self, node: _Node) -> None:
        axes = self._constant(self._integers(node.inputs[1]))
        self._emit(f"Reduce{node.op}", [node.inputs[0], axes], [node.name],
                   keepdims=int(node("keep_dims", False)))

    def _concat(self, node: _Node) -> None:
        self._emit("Concat", node.inputs[:-1], [node.name],
                   axis=self._integers(node.inputs[-1])[0])


def _outputs(node: _Node, count: int) -> list[str]:
    """The names by which other nodes refer to the outputs of a node with several outputs."""
    return [node.name, *(f"{node.name}:{i}" for i in range(1, count))]


_RULES: Mapping[str, Callable[[_Graph, _Node], None]] = {
    "ArgMax": _Graph._arg_max, "Cast": _Graph._cast, "ConcatV2": _Graph._concat,
    "Const": _Graph._const, "DepthwiseConv2dNative": _Graph._convolve,
    "ExpandDims": _Graph._expand, "Fill": _Graph._fill,
    "FusedDepthwiseConv2dNative": _Graph._convolve, "Max": _Graph._reduce,
    "MaxPool": _Graph._max_pool, "Pack": _Graph._pack, "Placeholder": _Graph._placeholder,
    "ResizeBilinear": _Graph._resize, "Split": _Graph._split,
    "SquaredDifference": _Graph._squared_difference, "Squeeze": _Graph._squeeze,
    "StridedSlice": _Graph._slice, "Sum": _Graph._reduce, "TopKV2": _Graph._top_k,
    "Unpack": _Graph._unpack, "_FusedConv2D": _Graph._convolve}
