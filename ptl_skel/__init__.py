"""Skeleton-based action recognition with factorised 3D-CNNs on PyTorch Lightning."""
