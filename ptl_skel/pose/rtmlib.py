"""RTMPose and RTMO by rtmlib: more accurate than MoveNet, and slower; needs ``rtmlib``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ptl_skel.errors import UserError
from ptl_skel.pose.base import Poses
from ptl_skel.skeletons import LAYOUTS


class RtmPose:
    """RTMPose after the detector YOLOX, or RTMO, which does not need one; joints of COCO.

    rtmlib downloads the weights on first use.

    Reference:
        Jiang et al., "RTMPose", arXiv 2303.07399; Lu et al., "RTMO", arXiv 2312.07526.

    Args:
        model: ``rtmpose`` or ``rtmo``.
        mode: ``lightweight``, ``balanced`` or ``performance``.
        backend: ``onnxruntime``, ``openvino`` or ``opencv``.
        device: ``cpu``, ``cuda`` or ``mps``.

    Raises:
        UserError: rtmlib is not installed, or an argument is not one of these.
    """

    layout = LAYOUTS["coco17"]
    preferred_side = None

    def __init__(self, model: str | Path = "rtmpose", *,
                 mode: Literal["lightweight", "balanced", "performance"] = "balanced",
                 backend: str = "onnxruntime", device: str = "cpu") -> None:
        try:
            import rtmlib
        except ImportError as error:
            raise UserError("RTMPose needs rtmlib: pip install rtmlib") from error
        if str(model) not in {"rtmpose", "rtmo"}:
            raise UserError(f"--pose_model of rtmlib must be rtmpose or rtmo, got {model}")
        if mode not in {"lightweight", "balanced", "performance"}:
            raise UserError("`mode` must be lightweight, balanced or performance, got "
                            f"{mode!r}")
        self._body: Any = rtmlib.Body(pose="rtmo" if str(model) == "rtmo" else None, mode=mode,
                                      backend=backend, device=device)

    def __call__(self, image: NDArray[np.uint8]) -> Poses:
        """The persons in an RGB image ``(H, W, 3)``."""
        image = np.ascontiguousarray(image[..., ::-1])  # rtmlib reads BGR, as OpenCV does
        if self._body.one_stage:
            keypoints, scores = self._body.pose_model(image)
            found = np.asarray(scores).any(1)  # without persons it returns one with scores of 0
            keypoints, scores, boxes = keypoints[found], scores[found], None
        else:
            boxes = np.asarray(self._body.det_model(image)).reshape(-1, 4)
            if not len(boxes):  # without boxes it would take the whole image as a person
                return Poses.nobody(self.layout.num_joints)
            keypoints, scores = self._body.pose_model(image, bboxes=boxes)
        if not len(keypoints):
            return Poses.nobody(self.layout.num_joints)
        scores = np.clip(scores, 0, 1)  # in RTMPose, maxima of a response, which can exceed 1
        poses = Poses.from_joints(np.asarray(keypoints), scores)
        return poses if boxes is None else Poses(poses.keypoints, scores, boxes, poses.confidence)
