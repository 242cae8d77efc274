"""Creates the pose estimator for a command."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptl_skel.errors import UserError
from ptl_skel.pose.base import PoseEstimator

ESTIMATORS: Mapping[str, str] = {"movenet": "ptl_skel.pose.movenet.MoveNet",
                                 "movenet-openvino": "ptl_skel.pose.movenet.OpenVinoMoveNet",
                                 "rtmlib": "ptl_skel.pose.rtmlib.RtmPose"}
"""Names of the estimators that ship with the package -> class paths."""

_MEMBERS = ("layout", "preferred_side", "__call__")


def make_estimator(name: str = "movenet", model: Path | str | None = None) -> PoseEstimator:
    """The estimator of that name, or of a class of your own.

    Args:
        name: One of `ESTIMATORS`, or a class path such as ``my_package.poses.MyEstimator``.
        model: Its model, e.g. an ONNX file; passed on as ``model`` if given.

    Raises:
        UserError: There is no such estimator, it takes no model, or the class lacks a member of
            `PoseEstimator`.
    """
    kind = _find_class(ESTIMATORS.get(name, name))
    if model and not _takes_model(kind):
        raise UserError(f"--estimator {name} takes no model: leave --pose_model out, or give its "
                        "class an argument `model`")
    estimator = kind(**({"model": model} if model else {}))
    missing = [member for member in _MEMBERS if not hasattr(estimator, member)]
    if missing:
        raise UserError(f"--estimator {name} is not a pose estimator: it has no "
                        f"{', '.join(missing)}; see ptl_skel.pose.base.PoseEstimator for the "
                        "members that it needs")
    made: PoseEstimator = estimator
    return made


def _takes_model(kind: Any) -> bool:
    return any(each.name == "model" or each.kind is each.VAR_KEYWORD
               for each in inspect.signature(kind).parameters.values())


def _find_class(path: str) -> Any:
    """The class of a class path; errors in the module itself keep their traceback."""
    module, _, name = path.rpartition(".")
    if not module:
        raise UserError(f"--estimator must be {', '.join(ESTIMATORS)} or the class path of your "
                        f"own, e.g. my_package.poses.MyEstimator; got {path!r}")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise UserError(f"--estimator {path}: there is no module {error.name}; install it, or add "
                        "its folder to PYTHONPATH") from error
    if not hasattr(found, name):
        raise UserError(f"--estimator {path}: the module {module} has no {name}")
    return getattr(found, name)
