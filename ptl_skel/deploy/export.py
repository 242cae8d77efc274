"""Writes modules as ONNX files, and checks that a file computes the same as its module.

`torch.onnx.export` may silently fix dimensions that should be dynamic. So a file is always run with
other batches and numbers of persons before it is saved under its name.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ptl_skel.deploy.rewrite import drop_traces, drop_views, join_activations
from ptl_skel.errors import UserError

OPSET = 20
"""Version of ONNX's operators: from onnx 1.15 (2023), supported since ONNX Runtime 1.17."""
METADATA = "ptl_skel"
"""Key of the metadata that describes the network, as JSON."""

Arrays = Mapping[str, NDArray[Any]]


def require_packages(*packages: str) -> None:
    """Checks that packages of the extra `export` are installed.

    Raises:
        UserError: One is missing.
    """
    for package in packages:
        try:
            import_module(package)
        except ModuleNotFoundError as error:
            raise UserError(f"ONNX files need the package {error.name}: "
                            "pip install 'ptl_skel[export]'") from error


def write_onnx(module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str],
               dynamic: Mapping[str, Sequence[int]], metadata: Mapping[str, Any],
               path: Path) -> None:
    """Writes a module as an ONNX file.

    Args:
        module: In evaluation mode; takes the inputs in their order.
        inputs: Examples by name. Dimensions that are dynamic must be larger than 1 in them.
        outputs: Names of its outputs.
        dynamic: Dimensions of each input that may have any size.
        metadata: Further metadata, stored under `METADATA`.
        path: Where to write.

    Raises:
        UserError: The module uses operations that ONNX does not have.
    """
    import onnx
    from torch.onnx import OnnxExporterError

    shapes: tuple[Any, ...] = tuple(
        dict.fromkeys(dynamic.get(name, ()), torch.export.Dim.DYNAMIC) for name in inputs)
    parameters = inspect.signature(module.forward).parameters.values()
    if any(each.kind is each.VAR_POSITIONAL for each in parameters):  # one entry for all of them
        named = len(parameters) - 1
        shapes = (*shapes[:named], shapes[named:])
    try:
        with _silence(), torch.no_grad():
            program = torch.onnx.export(
                module, tuple(inputs.values()), dynamo=True, opset_version=OPSET,
                input_names=list(inputs), output_names=list(outputs), dynamic_shapes=shapes,
                verbose=False)
    except OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise UserError(f"the network cannot be exported: {reason}") from error
    assert program is not None
    model = program.model_proto
    drop_traces(model)
    join_activations(model)
    drop_views(model)
    add_metadata(model, metadata)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def add_metadata(model: Any, metadata: Mapping[str, Any]) -> None:
    """Adds metadata as JSON to an `onnx.ModelProto`; `read_metadata` of the runtime reads it."""
    import onnx

    onnx.helper.set_model_props(model, {METADATA: json.dumps(metadata)})


def update_metadata(path: Path, metadata: Mapping[str, Any]) -> None:
    """Replaces the metadata of a file."""
    import onnx

    model = onnx.load(path)
    add_metadata(model, metadata)
    onnx.save(model, path)


def open_session(path: Path, threads: int = 1) -> Any:
    """The file in ONNX Runtime, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def largest_difference(path: Path, batches: Iterable[tuple[Arrays, Sequence[NDArray[Any]]]]
                       ) -> float:
    """The largest difference between the outputs of a file and the expected ones.

    If an expected output has values above 1, as the states of streams do, the difference is
    relative to the largest of them, since rounding errors grow with the values.

    Args:
        path: Path of the ONNX file.
        batches: Inputs by name, and the expected outputs; dynamic dimensions may have any size.

    Raises:
        UserError: The file does not take a batch, or its outputs have other shapes.
    """
    session = open_session(path)
    largest = 0.0
    for feed, expected in batches:
        for made, wanted in zip(run(session, feed), expected, strict=True):
            if made.shape != wanted.shape:
                raise UserError(f"the exported network returns outputs {made.shape} instead of "
                                f"{wanted.shape}: the exporter has fixed a dimension")
            difference = np.abs(made - wanted).max(initial=0.0)
            difference /= max(1.0, np.abs(wanted).max(initial=0.0))
            largest = max(largest, np.inf if np.isnan(difference) else float(difference))
    return largest


def run(session: Any, feed: Arrays) -> list[NDArray[Any]]:
    """Outputs of a session.

    Raises:
        UserError: It does not take inputs of these shapes.
    """
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

    try:
        outputs: list[NDArray[Any]] = session.run(None, dict(feed))
    except (Fail, InvalidArgument, RuntimeException) as error:
        shapes = ", ".join(f"{name} {tuple(values.shape)}" for name, values in feed.items())
        raise UserError(f"the exported network does not take {shapes}, because the exporter has "
                        f"fixed a dimension: {str(error).splitlines()[0]}") from error
    return outputs


def list_operators(path: Path) -> list[str]:
    """Names of the ONNX operators that a file uses, in alphabetical order."""
    import onnx

    return sorted({node.op_type for node in onnx.load(path).graph.node})


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Hides the messages of the exporter."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.export")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
