"""Interchangeable 3D-CNN backbones, one file per paper."""
