"""Interchangeable 3D-CNN backbones, one file per paper; `base` says how to add one."""

from ptl_skel.backbones.base import Backbone
from ptl_skel.backbones.layers import Conv2Plus1D, Conv3D
from ptl_skel.backbones.resnet import VideoResNet

__all__ = ["Backbone", "Conv2Plus1D", "Conv3D", "VideoResNet"]
