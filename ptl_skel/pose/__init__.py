"""From images to persons: video frames, pose estimators, tracks.

Adding a pose estimator: 1. write a class with the members of `PoseEstimator`; its constructor takes
the file of the model as ``model``, if it needs one; 2. give its class path as ``--estimator``, or
add it to `ESTIMATORS` in `ptl_skel.pose.estimators`; 3. test that an image without persons gives
empty arrays.
"""

from __future__ import annotations

from ptl_skel.pose.base import PoseEstimator, Poses, find_poses
from ptl_skel.pose.estimators import make_estimator
from ptl_skel.pose.tracks import PersonTracker

__all__ = ["PersonTracker", "PoseEstimator", "Poses", "find_poses", "make_estimator"]
