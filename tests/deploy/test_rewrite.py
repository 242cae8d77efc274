"""Rewritten ONNX graphs: the same values from fewer operators."""

import numpy as np
import onnx
import onnxruntime
import pytest

from ptl_skel.deploy.rewrite import drop_views

HEAD = '<ir_version: 9, opset_import: ["" : 20]> g '
RESHAPED = "<int64[5] five = {-1, 3, 1, 4, 4}, int64[4] four = {-1, 3, 4, 4}>"
GRAPHS = {
    # name: (graph, operators that are left)
    "sum of two layouts": (
        f"(float[N,3,4,4] a, float[N,1,3,4,4] b) => (float[N,3,4,4] y) {RESHAPED} {{"
        "p = Reshape(a, five) q = Transpose<perm=[0,2,1,3,4]>(b) s = Add(p, q) r = Relu(s)"
        "y = Reshape(r, four) }", ["Reshape", "Reshape", "Add", "Relu", "Reshape"]),
    "sum of one layout": (
        f"(float[N,3,4,4] a, float[N,3,4,4] b) => (float[N,3,4,4] y) {RESHAPED} {{"
        "p = Reshape(a, five) q = Reshape(b, five) s = Add(p, q) r = Relu(s)"
        "y = Reshape(r, four) }", ["Add", "Relu"]),
    "value that is read in two shapes": (
        f"(float[N,3,4,4] a) => (float[N,3,4,4] y, float[N,3,1,4,4] z) {RESHAPED} {{"
        "e = Exp(a) p = Reshape(e, five) r = Relu(p) z = Exp(r) y = Reshape(r, four) }",
        ["Exp", "Relu", "Reshape", "Exp"]),
    "transposition that moves values": (
        "(float[N,1,3,4] a) => (float[N,3,1,4] y, float[N,1,4,3] z) {"
        "y = Transpose<perm=[0,2,1,3]>(a) z = Transpose<perm=[0,1,3,2]>(a) }",
        ["Transpose", "Reshape"]),
    "two transpositions there and back": (
        "(float[N,1,3,4] a) => (float[N,1,3,4] y) {"
        "p = Transpose<perm=[0,2,3,1]>(a) q = Exp(p) y = Transpose<perm=[0,3,1,2]>(q) }",
        ["Reshape", "Exp", "Reshape"]),
    "input that is an output": (
        f"(float[N,3,4,4] a) => (float[N,3,4,4] y) {RESHAPED} {{"
        "p = Reshape(a, five) y = Reshape(p, four) }", ["Identity"]),
    "value that is two outputs": (
        f"(float[N,3,4,4] a) => (float[N,3,4,4] y, float[N,3,4,4] z) {RESHAPED} {{"
        "e = Exp(a) p = Reshape(e, five) y = Reshape(p, four) z = Reshape(p, four) }",
        ["Exp", "Identity"]),
    "two dynamic dimensions": (
        "(float[N,M,3] a) => (float[M,N,3] y) { y = Transpose<perm=[1,0,2]>(a) }", ["Transpose"]),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_values_stay(name):
    text, left = GRAPHS[name]
    model = onnx.parser.parse_model(HEAD + text)
    before = model.SerializeToString()
    drop_views(model)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == left
    read = {value for node in model.graph.node for value in node.input}
    assert {each.name for each in model.graph.initializer} <= read
    random = np.random.default_rng(0)
    for sizes in ({"N": 1, "M": 1}, {"N": 3, "M": 2}):
        feed = {each.name: random.normal(size=[
            axis.dim_value or sizes[axis.dim_param] for axis in each.type.tensor_type.shape.dim
        ]).astype(np.float32) for each in model.graph.input}
        expected, made = (onnxruntime.InferenceSession(each).run(None, feed)
                          for each in (before, model.SerializeToString()))
        for one, other in zip(made, expected, strict=True):
            np.testing.assert_array_equal(one, other)
