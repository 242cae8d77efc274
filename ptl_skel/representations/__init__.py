"""Keypoints to the inputs of a network; `base` explains how to add a representation."""

from ptl_skel.representations.base import MIN_SCORE, Representation
from ptl_skel.representations.coordinates import Coordinates, NormalizedCoordinates
from ptl_skel.representations.joints import JointHeatmaps
from ptl_skel.representations.limbs import LimbHeatmaps

__all__ = ["MIN_SCORE", "Coordinates", "JointHeatmaps", "LimbHeatmaps",
           "NormalizedCoordinates", "Representation"]
