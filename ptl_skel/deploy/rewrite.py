"""Changes to an ONNX graph that keep its values and make it faster."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

VIEWS = ("Reshape", "Transpose", "Squeeze", "Unsqueeze")
"""Operators that move values without changing them."""


def drop_traces(model: Any) -> None:
    """Drops the source locations of nodes, local paths that take up half of the file.

    Args:
        model: An `onnx.ModelProto`, changed in place.
    """
    graph = model.graph
    del graph.metadata_props[:]
    for each in (graph.node, graph.value_info, graph.input, graph.output, graph.initializer):
        for part in each:
            del part.metadata_props[:]


def join_activations(model: Any) -> None:
    """Moves each ReLU next to its convolution, so that runtimes fuse the two.

    A (2+1)D unit moves frames from the batch back to their own axis before its ReLU, which is then
    after a transposition: ``Conv, Reshape, Transpose, Relu`` becomes ``Conv, Relu, Reshape,
    Transpose``. This saves 5 % of the time in single precision and 10 % in 8 bits.

    Args:
        model: An `onnx.ModelProto`, changed in place.
    """
    nodes = list(model.graph.node)
    source = {output: node for node in nodes for output in node.output}
    uses = Counter(name for node in nodes for name in node.input)
    uses.update(output.name for output in model.graph.output)
    moved: dict[str, Any] = {}  # output of a convolution -> its ReLU
    for relu in nodes:
        if relu.op_type != "Relu":
            continue
        views = []
        before = source.get(relu.input[0])
        while before is not None and before.op_type in VIEWS and uses[before.output[0]] == 1:
            views.append(before)
            before = source.get(before.input[0])
        if not views or before is None or before.op_type != "Conv" or uses[before.output[0]] != 1:
            continue
        conv = before.output[0]
        between, result = relu.input[0], relu.output[0]
        relu.input[0], relu.output[0] = conv, between
        views[-1].input[0], views[0].output[0] = between, result
        moved[conv] = relu
    kept = [node for node in nodes if not any(node is relu for relu in moved.values())]
    del model.graph.node[:]
    for node in kept:
        model.graph.node.append(node)
        if node.op_type == "Conv" and node.output[0] in moved:
            model.graph.node.append(moved[node.output[0]])
    del model.graph.value_info[:]  # names now refer to other values; shapes are inferred again


def drop_views(model: Any) -> None:
    """Drops operators that change the shape of values, but not their order.

    A network that sees a single frame moves an axis of size 1 around. ReLUs and sums then use the
    values from before such operators, and a `Reshape` is kept only if another operator needs the
    shape. So runtimes can fuse convolutions with the sums after them, and reorder memory less
    often.

    Args:
        model: An `onnx.ModelProto`, changed in place.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    shapes = _float_shapes(model)
    source: dict[str, str] = {}  # a value -> one with the same numbers in the same order
    nodes: list[Any] = []
    reshaped: set[str] = set()

    def materialise(name: str) -> str:
        """A name under which the value can be read in this shape."""
        root = source.get(name, name)
        if shapes.get(root) == shapes.get(name):
            return root
        if name not in reshaped:
            reshaped.add(name)
            shape = np.array(shapes[name], np.int64)
            graph.initializer.append(numpy_helper.from_array(shape, f"{name}/shape_of_view"))
            nodes.append(helper.make_node("Reshape", [root, f"{name}/shape_of_view"], [name],
                                          name=f"{name}/view"))
        return name

    for node in graph.node:
        out = node.output[0]
        roots = [source.get(name, name) for name in node.input]
        if out in shapes and node.op_type in VIEWS and _keeps_order(node, shapes):
            source[out] = roots[0]
        elif (out in shapes and node.op_type in ("Relu", "Add") and roots != list(node.input)
              and all(root in shapes and shapes[root] == shapes[roots[0]] for root in roots)):
            source[out] = f"{out}/before_views"
            shapes[source[out]] = shapes[roots[0]]
            nodes.append(helper.make_node(node.op_type, roots, [source[out]], name=node.name))
        else:
            for place, name in enumerate(node.input):
                node.input[place] = materialise(name)
            nodes.append(node)
    made = {name for node in nodes for name in node.output}
    renamed: dict[str, str] = {}
    for output in graph.output:
        root = materialise(output.name)
        if root != output.name and root in made and root not in renamed:
            renamed[root] = output.name
        elif root != output.name:
            nodes.append(helper.make_node("Identity", [root], [output.name]))
    for node in nodes:
        for names in (node.input, node.output):
            names[:] = [renamed.get(name, name) for name in names]
    kept = [copy.deepcopy(node) for node in nodes]  # deleted nodes of a graph lose their content
    del graph.node[:], graph.value_info[:]
    graph.node.extend(kept)
    used = {name for node in kept for name in node.input} | {each.name for each in graph.output}
    constants = [copy.deepcopy(each) for each in graph.initializer if each.name in used]
    del graph.initializer[:]
    graph.initializer.extend(constants)


def _keeps_order(node: Any, shapes: Mapping[str, Sequence[int]]) -> bool:
    """Whether a view keeps the order of its values: transpositions move only axes of size 1."""
    if node.op_type != "Transpose":
        return node.input[0] in shapes
    order = next(each.ints for each in node.attribute if each.name == "perm")
    shape = shapes.get(node.input[0])
    moved = [axis for axis in order if shape is None or shape[axis] != 1]
    return shape is not None and moved == sorted(moved)


def _float_shapes(model: Any) -> dict[str, list[int]]:
    """Shapes of float values with at most one unknown dimension, which is -1."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    found = {each.name: list(each.dims) for each in graph.initializer
             if each.data_type == onnx.TensorProto.FLOAT}
    for each in (*graph.value_info, *graph.input, *graph.output):
        tensor = each.type.tensor_type
        if tensor.elem_type == onnx.TensorProto.FLOAT and tensor.HasField("shape"):
            found[each.name] = [axis.dim_value if axis.HasField("dim_value") else -1
                                for axis in tensor.shape.dim]
    return {name: shape for name, shape in found.items() if shape.count(-1) <= 1}
