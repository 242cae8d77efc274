"""MoveNet MultiPose Lightning: up to six persons in 10 to 20 ms on one core."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptl_skel.errors import MissingFileError, UserError
from ptl_skel.pose.base import Poses
from ptl_skel.pose.cache import MOVENET, cache_folder
from ptl_skel.pose.video import scale_image
from ptl_skel.skeletons import LAYOUTS

_SIDE = 256  # px; the longer side that the authors recommend
_MULTIPLE = 32  # px; both sides of the input must be multiples of it
_OUTPUT = 56  # numbers of a person: 17 times y, x, score; then the box and its score


Network = Callable[[NDArray[np.int32]], NDArray[np.float32]]
"""From an image ``(1, H, W, 3)`` to persons ``(1, 6, 56)``."""


class MoveNet:
    """MoveNet MultiPose Lightning on ONNX Runtime, at most six persons with the joints of COCO.

    It always returns all joints, including those that it does not see; their scores are low.

    Reference:
        Votel and Li, "Next-Generation Pose Detection with MoveNet and TensorFlow.js", 2021; the
        model card of MoveNet.MultiPose. The weights are Google's, under Apache-2.0.

    Args:
        model: The ONNX file; by default the one written by ``ptl-skel pose fetch movenet``.
        side: Longer side of the image that the network sees, px; a multiple of 32.
        min_confidence: Persons below it are dropped; it always returns six, most of them spurious.
        min_score: Joints below it count as not found.

    Raises:
        MissingFileError: There is no such file.
        UserError: The file is not this model, ONNX Runtime is missing, or `side` is not a multiple
            of 32.
    """

    layout = LAYOUTS["coco17"]
    single_threaded = True

    def __init__(self, model: Path | str | None = None, *, side: int = _SIDE,
                 min_confidence: float = 0.1, min_score: float = 0.2) -> None:
        if side < _MULTIPLE or side % _MULTIPLE:
            raise UserError(f"`side` must be a multiple of {_MULTIPLE}, got {side}")
        self.preferred_side = side
        self._min_confidence, self._min_score = min_confidence, min_score
        self._network = self._open(_find(model))

    @staticmethod
    def _open(path: Path) -> Network:
        session = _open_session(path)
        name = session.get_inputs()[0].name

        def run(image: NDArray[np.int32]) -> NDArray[np.float32]:
            persons: NDArray[np.float32] = session.run(None, {name: image})[0]
            return persons

        return run

    def __call__(self, image: NDArray[np.uint8]) -> Poses:
        """The persons in an RGB image ``(H, W, 3)``, which is scaled if larger than `side`."""
        small = scale_image(image, self.preferred_side)
        height, width = small.shape[:2]
        rows, columns = (-(-length // _MULTIPLE) * _MULTIPLE for length in (height, width))
        padded = np.zeros((1, rows, columns, 3), np.int32)
        padded[0, :height, :width] = small
        found = self._network(padded)[0]
        found = found[found[:, -1] >= self._min_confidence]
        # Positions are relative to the padded image.
        scale = np.array([columns * image.shape[1] / width, rows * image.shape[0] / height],
                         np.float32)
        joints = found[:, : 3 * self.layout.num_joints].reshape(-1, self.layout.num_joints, 3)
        scores = np.where(joints[..., 2] >= self._min_score, joints[..., 2], 0)
        return Poses(joints[..., 1::-1] * scale, scores,
                     found[:, [52, 51, 54, 53]] * np.tile(scale, 2), found[:, -1])


class OpenVinoMoveNet(MoveNet):
    """MoveNet on OpenVINO, in bfloat16 if the CPU has instructions for it.

    It then takes about half the time; joints move by less than a hundredth of a person's height.
    """

    @staticmethod
    def _open(path: Path) -> Network:
        _open_session(path)  # checks the file
        try:
            import openvino
        except ImportError as error:
            raise UserError("--estimator movenet-openvino needs OpenVINO: pip install openvino"
                            ) from error
        core = openvino.Core()
        compiled: dict[tuple[int, ...], Any] = {}  # fixed shapes take a fifth less time

        def run(image: NDArray[np.int32]) -> NDArray[np.float32]:
            if image.shape not in compiled:
                model = core.read_model(path)
                model.reshape(list(image.shape))
                compiled.clear()  # a video rarely changes its shape
                compiled[image.shape] = core.compile_model(
                    model, "CPU", {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1})
            persons: NDArray[np.float32] = compiled[image.shape](image)[0]
            return persons

        return run


def _find(model: Path | str | None) -> Path:
    path = cache_folder() / MOVENET if model is None else Path(model)
    if not path.is_file():
        raise MissingFileError(
            f"the pose model {path} does not exist; `ptl-skel pose fetch movenet` downloads it "
            "once, or give an ONNX file of MoveNet MultiPose as --pose_model")
    return path


def _open_session(path: Path) -> Any:
    """The session, with one thread: a second one does not make depthwise convolutions faster."""
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError("MoveNet needs ONNX Runtime: pip install 'ptl_skel[video]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    state = onnxruntime.capi.onnxruntime_pybind11_state
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except (state.Fail, state.InvalidProtobuf, state.InvalidGraph, state.NoSuchFile,
            state.NotImplemented, state.InvalidArgument) as error:
        raise UserError(f"{path} is not an ONNX model that ONNX Runtime can read: {error}"
                        ) from error
    given, made = session.get_inputs(), session.get_outputs()
    if (len(given) != 1 or len(given[0].shape) != 4 or given[0].type != "tensor(int32)"
            or len(made) != 1 or len(made[0].shape) != 3):
        raise UserError(f"{path} is an ONNX model, but not MoveNet MultiPose")
    return session
