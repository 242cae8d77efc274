"""Interchangeable 3D-CNN backbones, one file per paper; `base` explains how to add one."""

from ptl_skel.backbones.base import Backbone
from ptl_skel.backbones.c3d import C3DLight
from ptl_skel.backbones.conv1d import Conv1D
from ptl_skel.backbones.layers import Conv2Plus1D, Conv3D
from ptl_skel.backbones.r3d import VideoResNet18
from ptl_skel.backbones.resnet import VideoResNet
from ptl_skel.backbones.slowonly import SlowOnly
from ptl_skel.backbones.stgcnpp import STGCNpp
from ptl_skel.backbones.x3d import X3DShallow

__all__ = ["Backbone", "C3DLight", "Conv1D", "Conv2Plus1D", "Conv3D", "STGCNpp", "SlowOnly",
           "VideoResNet", "VideoResNet18", "X3DShallow"]
